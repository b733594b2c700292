//! Whose seals count, as the operator says it in files of this machine: a folder of trust roots, or keys.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_cli::trusted;
use goldseal_verifier_core::root::UnverifiedRoot;
use goldseal_verifier_core::trust::{Now, StateError, TrustRoot, TrustState, TrustedRootError};

use super::refused;
use crate::refusal::Refusal;

/// Most files in the folder: a root a month for eighty years.
const MAX_ROOTS: usize = 1_000;

/// See the module.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Files in the order of their names: the first is vouched for by whoever put it there, each other follows.
    Folder(PathBuf),
    /// Public keys, and how many of them must have sealed a list; all, if nothing is said.
    Keys {
        /// Their files.
        files: Vec<PathBuf>,
        /// How many.
        threshold: Option<NonZeroUsize>,
    },
}

impl Roots {
    /// The root that these lead to, and the file of it; `state` follows.
    ///
    /// # Errors
    /// `bad-root`, `below-floor`, `equivocation`, `unreadable`, `malformed`, `bad-key`, `usage`.
    pub(super) fn follow(
        &self,
        state: &mut TrustState,
        known: Option<&[u8]>,
        now: Now,
    ) -> Result<(TrustRoot, Option<Vec<u8>>), Refusal> {
        match self {
            Self::Folder(folder) => {
                let (root, bytes) = follow_folder(folder, state, known, now)?;
                Ok((root, Some(bytes)))
            }
            Self::Keys { files, threshold } => {
                if state.root().is_some() {
                    return Err(Refusal::new(
                        "bad-root",
                        StateError::NoRoot.to_string(),
                        "set `trust.roots` to the folder of the trust root again",
                    ));
                }
                trusted::trust_root(files, *threshold).map(|root| (root, None)).map_err(refused)
            }
        }
    }
}

fn follow_folder(
    folder: &Path,
    state: &mut TrustState,
    known: Option<&[u8]>,
    now: Now,
) -> Result<(TrustRoot, Vec<u8>), Refusal> {
    let mut current = match known {
        // Held to its own threshold again (docs/format.md, Trust state 6).
        Some(bytes) => Some((anchor(folder, bytes, now)?, bytes.to_vec())),
        None => None,
    };
    let mut found_last = false;
    for path in files(folder)? {
        let bytes = trusted::read_root(&path).map_err(refused)?;
        let bad = |error| refused(trusted::bad_root(&path, &error));
        let claimed = UnverifiedRoot::parse(&bytes).map_err(|error| bad(TrustedRootError::Document(error)))?;
        let root = match &current {
            Some((root, _)) => {
                let version = root.mark().map(|mark| mark.version);
                let identity = root.mark().map(|mark| mark.identity);
                let found = claimed.header().version;
                found_last |= Some(found) == version;
                if Some(found) < version {
                    // One that was left behind.
                    continue;
                }
                if Some(found) == version && Some(claimed.envelope().identity()) == identity {
                    continue;
                }
                match identity {
                    Some(seen) if Some(found) == version => {
                        let found_identity = claimed.envelope().identity();
                        let error = StateError::RootEquivocation { version: found, seen, found: found_identity };
                        return Err(not_followed(&path, &error));
                    }
                    _ => root.advance(&bytes, now).map_err(bad)?,
                }
            }
            None => TrustRoot::anchor(&bytes, now).map_err(bad)?,
        };
        state.accept_root(&root).map_err(|error| not_followed(&path, &error))?;
        found_last = true;
        current = Some((root, bytes));
    }
    let Some((root, bytes)) = current else {
        return Err(Refusal::new(
            "bad-root",
            format!("{} has no trust root", Printable::path(folder)),
            "put the file of one there that you vouch for, or set `trust.keys`",
        ));
    };
    if !found_last {
        let (Some(known), name) = (root.mark().map(|mark| mark.version), Printable::path(folder)) else {
            unreachable!("a root from a file has a mark")
        };
        return Err(Refusal::new(
            "below-floor",
            format!("version {known} of the trust root is followed, and {name} has older ones alone"),
            "put the newest root there again",
        ));
    }
    Ok((root, bytes))
}

fn anchor(folder: &Path, bytes: &[u8], now: Now) -> Result<TrustRoot, Refusal> {
    TrustRoot::anchor(bytes, now).map_err(|error| {
        Refusal::new(
            "lost-state",
            format!("the trust root that was followed no longer holds: {error}"),
            format!(
                "check the clock; else begin anew, with a new database and the root in {}",
                Printable::path(folder)
            ),
        )
    })
}

fn not_followed(path: &Path, error: &StateError) -> Refusal {
    let reason = match error {
        StateError::RootBelow { .. } => "below-floor",
        StateError::RootEquivocation { .. } => "equivocation",
        _ => "bad-root",
    };
    let what = format!("{}: {error}", Printable::path(path));
    Refusal::new(reason, what, "put every root there in its order, each named so that it sorts after the one before")
}

/// Regular files whose names do not begin with a dot.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let read = || {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)?.take(MAX_ROOTS) {
            let path = entry?.path();
            let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_hidden && path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    read().map_err(|error| refused(input::cannot_read(folder, &error)))
}
