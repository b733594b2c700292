//! What was accepted before: the floor that nothing sinks below but by a signed reset (docs/format.md, Trust state).
//!
//! A value: whoever keeps it reads it before and writes it after, in one step, and treats its loss as an error.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use super::admit::{AdmitError, Now, TrustedPolicy};
use super::root::TrustRoot;
use crate::cursor::Cursor;
use crate::envelope::Identity;
use crate::header::{ListName, Version};
use crate::time::Timestamp;

/// Longest state in bytes: some five thousand lists.
pub const MAX_STATE_LEN: usize = 1 << 20;

/// The highest version of a list that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The version.
    pub version: Version,
    /// Its identity; `None` if a trust root set the version and no list of it was accepted yet.
    pub identity: Option<Identity>,
}

impl Seen {
    /// Whether a list may follow (docs/format.md, Verifying 3b).
    ///
    /// # Errors
    /// [`AdmitError::BelowFloor`] or [`AdmitError::Equivocation`].
    pub(super) fn admits(&self, version: Version, found: Identity) -> Result<(), AdmitError> {
        if version < self.version {
            return Err(AdmitError::BelowFloor { floor: self.version, found: version });
        }
        match self.identity {
            Some(seen) if version == self.version && seen != found => {
                Err(AdmitError::Equivocation { version, seen, found })
            }
            _ => Ok(()),
        }
    }
}

/// Which trust root it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootMark {
    /// Its version.
    pub version: Version,
    /// Its identity.
    pub identity: Identity,
}

/// What one consumer of lists has accepted so far. It only rises, but for the resets of trust roots.
///
/// ```compile_fail,E0616
/// let mut state = goldseal_verifier_core::trust::TrustState::new();
/// state.lists.clear();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustState {
    bound: Option<Timestamp>,
    root: Option<RootMark>,
    lists: BTreeMap<ListName, Seen>,
}

impl TrustState {
    /// Nothing accepted yet. Only for a consumer that is new: one that lost its state has to be told so by a person.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time to decide at: never before what accepted documents prove to be past.
    pub fn now(&self, clock: Timestamp) -> Now {
        Now::not_before(clock, self.bound)
    }

    /// The latest `created` of all accepted documents.
    pub fn bound(&self) -> Option<Timestamp> {
        self.bound
    }

    /// The trust root accepted last.
    pub fn root(&self) -> Option<RootMark> {
        self.root
    }

    /// The highest version accepted of a list.
    pub fn seen(&self, name: &ListName) -> Option<Seen> {
        self.lists.get(name).copied()
    }

    /// All lists, by name.
    pub fn lists(&self) -> impl Iterator<Item = (&ListName, &Seen)> {
        self.lists.iter()
    }

    /// Forgets one list: a person's decision.
    pub fn forget(&mut self, name: &ListName) -> Option<Seen> {
        self.lists.remove(name)
    }

    /// Follows a trust root: the first, the same, or the one that [`TrustRoot::advance`] made of it. Its resets lower
    /// what was seen, once; then its floors raise it (docs/format.md, Trust state 2).
    ///
    /// # Errors
    /// [`StateError`]; nothing is changed.
    pub fn accept_root(&mut self, root: &TrustRoot) -> Result<(), StateError> {
        let Some(mark) = root.mark() else {
            return if self.root.is_some() { Err(StateError::NoRoot) } else { Ok(()) };
        };
        if let Some(known) = self.root {
            let (version, leads) = (mark.version, root.follows() == Some(known.identity));
            match version.cmp(&known.version) {
                Ordering::Equal if mark.identity == known.identity => return Ok(()),
                Ordering::Equal => {
                    let (seen, found) = (known.identity, mark.identity);
                    return Err(StateError::RootEquivocation { version, seen, found });
                }
                Ordering::Less => return Err(StateError::RootBelow { known: known.version, found: version }),
                // The next version alone proves nothing: the thresholds of the one followed must have signed it. So no
                // root is passed over, and `advance` saw to it that each is one version on.
                Ordering::Greater if !leads => {
                    return Err(StateError::MissingRoot { known: known.version, found: version });
                }
                Ordering::Greater => {}
            }
        }
        for (name, reset) in root.resets() {
            if let Some(seen) = self.lists.get_mut(name).filter(|seen| seen.version > reset) {
                *seen = Seen { version: reset, identity: None };
            }
        }
        for (name, floor) in root.floors() {
            let raised = Seen { version: floor, identity: None };
            let seen = self.lists.entry(name.clone()).or_insert(raised);
            if seen.version < floor {
                *seen = raised;
            }
        }
        self.root = Some(mark);
        self.bound = self.bound.max(root.header().map(|header| header.created));
        Ok(())
    }

    /// Remembers a list. Having a [`TrustedPolicy`] proves that it is whole: an authentic header over a damaged body
    /// raises nothing (docs/format.md, Trust state 3).
    ///
    /// # Errors
    /// [`AdmitError::BelowFloor`] or [`AdmitError::Equivocation`], if it was admitted against another state; nothing is
    /// changed.
    pub fn accept(&mut self, policy: &TrustedPolicy) -> Result<(), AdmitError> {
        let header = policy.header();
        if let Some(seen) = self.seen(&header.name) {
            seen.admits(header.version, policy.identity())?;
        }
        let seen = Seen { version: header.version, identity: Some(policy.identity()) };
        self.lists.insert(header.name.clone(), seen);
        self.bound = self.bound.max(Some(header.created));
        Ok(())
    }

    /// Reads a state in its one encoding (docs/format.md, Trust state 1).
    ///
    /// # Errors
    /// [`StateError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Self, StateError> {
        let malformed = |line| StateError::Malformed { line };
        if text.len() > MAX_STATE_LEN {
            return Err(malformed(0));
        }
        let mut lines = Cursor::new(text);
        lines.literal(FIRST_LINE).ok_or(malformed(1))?;
        let mut state = Self::default();
        let mut number = 1_usize;
        while !lines.is_empty() {
            number = number.saturating_add(1);
            lines.line().and_then(|line| state.parse_line(line)).ok_or(malformed(number))?;
        }
        // One encoding: order, repetitions and spelling are held by printing it again.
        if state.print() == text { Ok(state) } else { Err(malformed(0)) }
    }

    fn parse_line(&mut self, line: &[u8]) -> Option<()> {
        let mut text = Cursor::new(line);
        match text.until(b' ')? {
            b"bound" => self.bound = Some(Timestamp::parse(text.take_rest()?)?),
            b"root" => {
                let version = Version::parse(text.until(b' ')?)?;
                self.root = Some(RootMark { version, identity: Identity::from_hex(text.take_rest()?)? });
            }
            b"list" => {
                let name = ListName::new(std::str::from_utf8(text.until(b' ')?).ok()?)?;
                let version = Version::parse(text.until(b' ')?)?;
                let identity = match text.take_rest()? {
                    b"-" => None,
                    hex => Some(Identity::from_hex(hex)?),
                };
                self.lists.insert(name, Seen { version, identity });
            }
            _ => return None,
        }
        Some(())
    }

    /// The state as text: `parse(print()) == self`.
    pub fn print(&self) -> Vec<u8> {
        let mut text = FIRST_LINE.to_vec();
        if let Some(bound) = self.bound {
            text.extend_from_slice(format!("bound {bound}\n").as_bytes());
        }
        if let Some(RootMark { version, identity }) = self.root {
            text.extend_from_slice(format!("root {version} {identity}\n").as_bytes());
        }
        for (name, Seen { version, identity }) in &self.lists {
            let identity = identity.map_or_else(|| "-".to_owned(), |identity| identity.to_string());
            text.extend_from_slice(format!("list {name} {version} {identity}\n").as_bytes());
        }
        text
    }
}

const FIRST_LINE: &[u8] = b"goldseal-state 1\n";

/// Why a state cannot be read, or a trust root does not follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// Not a state in its one encoding.
    Malformed {
        /// The line at fault, counted from 1; 0 if it is the whole.
        line: usize,
    },
    /// It follows a trust root, and none was given.
    NoRoot,
    /// An older trust root than the one followed.
    RootBelow {
        /// The version followed.
        known: Version,
        /// The version given.
        found: Version,
    },
    /// A later trust root that the one followed does not lead to.
    MissingRoot {
        /// The version followed.
        known: Version,
        /// The version given.
        found: Version,
    },
    /// Another trust root of the version followed.
    RootEquivocation {
        /// The version.
        version: Version,
        /// The identity followed.
        seen: Identity,
        /// The identity given.
        found: Identity,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line: 0 } => f.write_str("it is not a state as goldseal writes it"),
            Self::Malformed { line } => write!(f, "line {line} is not one of a state"),
            Self::NoRoot => f.write_str("it follows a trust root, and keys alone were given"),
            Self::RootBelow { known, found } => {
                write!(f, "it follows version {known} of the trust root, and the one given is version {found}")
            }
            Self::MissingRoot { known, found } => {
                write!(
                    f,
                    "it follows version {known} of the trust root, and nothing leads from there to version {found}"
                )
            }
            Self::RootEquivocation { version, seen, found } => {
                write!(f, "it follows {seen} as version {version} of the trust root, and the one given is {found}")
            }
        }
    }
}

impl std::error::Error for StateError {}
