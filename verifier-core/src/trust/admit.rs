//! From an authentic header to a policy: the right name, not below the floor, in time, and whole.

use std::fmt;
use std::io::Read;

use super::state::Seen;
use super::threshold::{Signer, Uncounted};
use crate::body::Body;
use crate::contents::{Contents, LoadError};
use crate::envelope::Identity;
use crate::header::{Expiry, Header, ListName, Version};
use crate::key::KeyId;
use crate::root::RoleName;
use crate::time::Timestamp;

/// How far a document may claim to come from the future: clocks of air-gapped machines are set by hand, and the day may
/// be another one there.
pub const MAX_CLOCK_SKEW_SECONDS: u64 = 24 * 60 * 60;

/// The time a decision is made at: the later of the clock and of what accepted documents prove to be past (docs/format.md,
/// Time 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    clock: Timestamp,
    bound: Option<Timestamp>,
}

impl Now {
    /// By the clock alone.
    pub fn by_clock(clock: Timestamp) -> Self {
        Self { clock, bound: None }
    }

    /// By the clock, and never before `bound`: see [`super::TrustState::now`].
    pub fn not_before(clock: Timestamp, bound: Option<Timestamp>) -> Self {
        Self { clock, bound }
    }

    /// T: the later of clock and bound. A clock that was set back makes nothing fresh again (docs/format.md,
    /// Time 3).
    pub fn time(self) -> Timestamp {
        self.bound.map_or(self.clock, |bound| bound.max(self.clock))
    }

    /// The clock, however wrong.
    pub fn clock(self) -> Timestamp {
        self.clock
    }

    /// Whether `created` is more than [`MAX_CLOCK_SKEW_SECONDS`] ahead of the clock. The bound plays no part, so that
    /// documents cannot carry it away step by step (docs/format.md, Time 2).
    pub fn is_future(self, created: Timestamp) -> bool {
        self.clock.plus_seconds(MAX_CLOCK_SKEW_SECONDS).is_some_and(|latest| created > latest)
    }
}

/// A header that enough trusted keys signed, byte for byte. It may be old; nothing is known about the sections.
///
/// ```compile_fail,E0277
/// fn believe(header: goldseal_verifier_core::header::Header) -> goldseal_verifier_core::trust::AuthenticHeader {
///     header.into()
/// }
/// ```
/// ```compile_fail,E0382
/// use goldseal_verifier_core::trust::{AuthenticHeader, Floor, Now};
///
/// fn twice(header: AuthenticHeader, now: Now, floor: &Floor) {
///     // Each step consumes the value before it: what was refused is not asked again with a lower floor.
///     let _ = header.admit(now, floor);
///     let _ = header.admit(now, &Floor::default());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AuthenticHeader {
    pub(super) header: Header,
    pub(super) identity: Identity,
    pub(super) signers: Vec<Signer>,
    pub(super) uncounted: Vec<Uncounted>,
    pub(super) unknown: Vec<KeyId>,
    /// The roles it satisfies.
    pub(super) thresholds: Vec<(Option<RoleName>, usize)>,
    /// The trust root's floor for lists of this name.
    pub(super) root_floor: Option<Version>,
    /// When the trust root goes stale, if it is a document.
    pub(super) root_expiry: Option<Expiry>,
}

/// What a list must at least be, besides what the trust root says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// The name it must have; `None` takes any.
    pub name: Option<ListName>,
    /// The lowest version; `None` takes any.
    pub version: Option<Version>,
    /// The highest version of this list that was accepted before ([`super::TrustState::seen`]).
    pub seen: Option<Seen>,
}

/// Whether a list, or the trust root behind it, is past its expiry. Callers must say what they do with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Neither is.
    Current,
    /// One is.
    Stale {
        /// Which.
        document: StaleDocument,
        /// Its expiry.
        since: Timestamp,
    },
}

/// What went stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleDocument {
    /// The list.
    List,
    /// The trust root: there may be a newer one that revokes a signer.
    TrustRoot,
}

impl AuthenticHeader {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// SHA-256 of the signed bytes.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Who signed it, of those trusted.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Known keys that signed it rightly and do not count.
    pub fn uncounted(&self) -> &[Uncounted] {
        &self.uncounted
    }

    /// Keys that signed it and are not trusted; they were neither checked nor counted.
    pub fn unknown_signers(&self) -> &[KeyId] {
        &self.unknown
    }

    /// The thresholds that it met, with their roles where a trust root names them.
    pub fn thresholds(&self) -> &[(Option<RoleName>, usize)] {
        &self.thresholds
    }

    /// Holds the header against floors and the time (docs/format.md, Verifying 3).
    ///
    /// # Errors
    /// [`AdmitError`]. Being stale is no error: see [`AdmittedHeader::freshness`].
    pub fn admit(self, now: Now, floor: &Floor) -> Result<AdmittedHeader, AdmitError> {
        let header = &self.header;
        if let Some(expected) = floor.name.as_ref().filter(|expected| **expected != header.name) {
            return Err(AdmitError::WrongName { expected: expected.clone(), found: header.name.clone() });
        }
        let floors = [floor.version, self.root_floor];
        if let Some(floor) = floors.into_iter().flatten().max().filter(|floor| header.version < *floor) {
            return Err(AdmitError::BelowFloor { floor, found: header.version });
        }
        if let Some(seen) = &floor.seen {
            seen.admits(header.version, self.identity)?;
        }
        self.in_time(now)
    }

    /// Holds the header of a list that was admitted before, and by which machines are judged, against the time alone: no
    /// floor applies to what is in use (docs/format.md, Floor and lists in use). That it was admitted is the caller's to
    /// know; for what is taken anew there is [`AuthenticHeader::admit`].
    ///
    /// # Errors
    /// [`AdmitError::FromTheFuture`].
    pub fn admit_in_use(self, now: Now) -> Result<AdmittedHeader, AdmitError> {
        self.in_time(now)
    }

    fn in_time(self, now: Now) -> Result<AdmittedHeader, AdmitError> {
        let header = &self.header;
        if now.is_future(header.created) {
            return Err(AdmitError::FromTheFuture { created: header.created, now: now.clock() });
        }
        let expiries = [(StaleDocument::List, Some(header.expires)), (StaleDocument::TrustRoot, self.root_expiry)];
        let stale = expiries.into_iter().find_map(|(document, expiry)| match expiry {
            Some(Expiry::At(since)) if now.time() >= since => Some(Freshness::Stale { document, since }),
            _ => None,
        });
        Ok(AdmittedHeader { authentic: self, freshness: stale.unwrap_or(Freshness::Current) })
    }
}

/// Why an authentic list is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdmitError {
    /// Another name was asked for.
    WrongName {
        /// The name asked for.
        expected: ListName,
        /// Its name.
        found: ListName,
    },
    /// A later version was asked for.
    BelowFloor {
        /// The lowest version that is taken.
        floor: Version,
        /// Its version.
        found: Version,
    },
    /// This version was accepted before with other contents: somebody signs two lists as one.
    Equivocation {
        /// The version.
        version: Version,
        /// The identity accepted before.
        seen: Identity,
        /// Its identity.
        found: Identity,
    },
    /// Made more than [`MAX_CLOCK_SKEW_SECONDS`] after now.
    FromTheFuture {
        /// When it says it was made.
        created: Timestamp,
        /// The clock.
        now: Timestamp,
    },
}

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongName { expected, found } => write!(f, "its name is {found}, not {expected}"),
            Self::BelowFloor { floor, found } => write!(f, "its version is {found}, below {floor}"),
            Self::Equivocation { version, seen, found } => {
                write!(f, "version {version} was accepted before as {seen}, and this one is {found}")
            }
            Self::FromTheFuture { created, now } => write!(f, "it was created {created}, and now it is {now}"),
        }
    }
}

impl std::error::Error for AdmitError {}

/// An authentic header of the right name, not below the floor, or in use already. Nothing is known about the sections yet.
///
/// ```compile_fail,E0599
/// fn skip(authentic: goldseal_verifier_core::trust::AuthenticHeader) {
///     // Sections are loaded only after `admit`.
///     let _ = authentic.load(std::io::empty());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AdmittedHeader {
    authentic: AuthenticHeader,
    freshness: Freshness,
}

impl AdmittedHeader {
    /// The header.
    pub fn header(&self) -> &Header {
        self.authentic.header()
    }

    /// Whether it is past its expiry.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Reads everything that follows the head in the file, once, and hashes it while it comes in. Nothing of it is parsed
    /// before every section's hash was compared (docs/format.md, Verifying 4).
    ///
    /// # Errors
    /// [`LoadError`]: it cannot be read, a section is not the one that was signed, or not in its one encoding.
    pub fn load(self, rest: impl Read) -> Result<TrustedPolicy, LoadError> {
        let contents = Contents::parse(self.header(), Body::read(self.header(), rest)?)?;
        Ok(TrustedPolicy { admitted: self, contents })
    }
}

/// A sealed whitelist in whole (docs/format.md, Verifying 5): every section hashed as signed, and parsed. It may be stale (see
/// [`TrustedPolicy::freshness`]), and whether it is the right one for a machine is the caller's to know.
///
/// ```compile_fail,E0277
/// fn unsealed(list: goldseal_verifier_core::list::UnverifiedList) -> goldseal_verifier_core::trust::TrustedPolicy {
///     list.into()
/// }
/// ```
/// ```compile_fail,E0451
/// use goldseal_verifier_core::contents::Contents;
/// use goldseal_verifier_core::trust::{AdmittedHeader, TrustedPolicy};
///
/// fn of_parts(admitted: AdmittedHeader, contents: Contents) -> TrustedPolicy {
///     // Those of another list.
///     TrustedPolicy { admitted, contents }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TrustedPolicy {
    admitted: AdmittedHeader,
    contents: Contents,
}

impl TrustedPolicy {
    /// The header.
    pub fn header(&self) -> &Header {
        self.admitted.header()
    }

    /// SHA-256 of the signed bytes.
    pub fn identity(&self) -> Identity {
        self.admitted.authentic.identity()
    }

    /// The header and who signed it.
    pub fn authentic(&self) -> &AuthenticHeader {
        &self.admitted.authentic
    }

    /// Whether it is past its expiry.
    pub fn freshness(&self) -> Freshness {
        self.admitted.freshness()
    }

    /// The sections.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }
}
