//! The keys that the command line trusts. They come from the operator, never from the file they verify.

use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::envelope::MAX_HEAD_LEN;
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::root::{MAX_KEYS_LEN, RootError};
use goldseal_verifier_core::trust::{AuthenticateError, Now, TrustRoot, TrustedKey, TrustedRootError, Unmet};
use serde_json::{Map, Value};

use crate::clock;
use crate::failure::{Exit, Failure};
use crate::input::read_file_or_empty;
use crate::list_file;
use crate::printable::{Printable, json_path};
use crate::public_key::read_public_key;
use crate::summary::key_ids;

/// Whose seals count: keys, or a trust root that names them.
#[derive(Debug, Default, clap::Args)]
pub struct TrustArgs {
    /// Public key that must have sealed the list; one each, repeatable
    #[arg(long, value_name = "PUB")]
    pub trust: Vec<PathBuf>,
    /// How many of the --trust keys must have sealed it [default: all]
    #[arg(long, value_name = "N", requires = "trust")]
    pub threshold: Option<NonZeroUsize>,
    /// Trust root that says whose seals count: first one that you vouch for, then each that followed it; repeatable
    #[arg(long, value_name = "ROOT", conflicts_with_all = ["trust", "threshold"])]
    pub trust_root: Vec<PathBuf>,
}

impl TrustArgs {
    /// Trust as asked for; `None` if nothing was.
    ///
    /// # Errors
    /// As [`trust_root`] and [`follow`].
    pub fn root(&self) -> Result<Option<TrustRoot>, Failure> {
        if !self.trust.is_empty() {
            return trust_root(&self.trust, self.threshold).map(Some);
        }
        let Some((first, next)) = self.trust_root.split_first() else { return Ok(None) };
        let now = Now::by_clock(clock::now()?);
        let anchor = anchor(first, now)?;
        next.iter().try_fold(anchor, |root, path| follow(&root, path, now)).map(Some)
    }

    /// The files named, so that no output is written over one.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.trust.iter().chain(&self.trust_root).map(PathBuf::as_path)
    }
}

/// The first root of a chain.
///
/// # Errors
/// `unreadable`, or `bad-root`.
pub fn anchor(path: &Path, now: Now) -> Result<TrustRoot, Failure> {
    TrustRoot::anchor(&read_root(path)?, now).map_err(|error| bad_root(path, &error))
}

/// The root after `root`.
///
/// # Errors
/// As [`anchor`].
pub fn follow(root: &TrustRoot, path: &Path, now: Now) -> Result<TrustRoot, Failure> {
    root.advance(&read_root(path)?, now).map_err(|error| bad_root(path, &error))
}

/// The bytes of a root's file.
///
/// # Errors
/// `unreadable`, or `malformed` if it is larger than any root.
pub fn read_root(path: &Path) -> Result<Vec<u8>, Failure> {
    read_file_or_empty(path, MAX_ROOT_FILE)
}

/// A trust root that cannot be used, where it is only an input.
pub fn bad_root(path: &Path, error: &TrustedRootError) -> Failure {
    let todo = match error {
        TrustedRootError::NotNext { .. } => {
            "give every root in its order: --trust-root FIRST --trust-root NEXT …".to_owned()
        }
        error => root_todo(path, error),
    };
    refused_root(path, error, Exit::Input, "bad-root", todo)
}

/// A trust root that is not as it should be, where that was the question: exit 1, and what exactly is wrong.
pub fn not_a_root(path: &Path, error: &TrustedRootError) -> Failure {
    let reason = match error {
        TrustedRootError::Document(error) => return bad_document(path, Exit::No, error),
        TrustedRootError::Unsealed => "unsealed",
        TrustedRootError::BadSignature { .. } => "bad-signature",
        TrustedRootError::PreviousThreshold(_) | TrustedRootError::OwnThreshold(_) => "threshold",
        TrustedRootError::WrongName { .. } => "wrong-name",
        TrustedRootError::NotNext { .. } => "not-next",
        TrustedRootError::FromTheFuture { .. } => "from-the-future",
        _ => "malformed",
    };
    refused_root(path, error, Exit::No, reason, root_todo(path, error)).with_all(json_path(path))
}

/// A file that was read and is no trust root in its one encoding.
pub fn bad_document(path: &Path, exit: Exit, error: &RootError) -> Failure {
    let what = format!("{}: {}", Printable::path(path), TrustedRootError::Document(error.clone()));
    match error {
        RootError::WrongType(_) => Failure::new(exit, "wrong-type", what, NAME_A_ROOT),
        RootError::Length { .. } | RootError::Tampered => Failure::new(
            exit,
            "tampered",
            what,
            "it was changed or not copied completely: do not use it, and get it again from where it was made",
        ),
        _ => Failure::new(
            exit,
            "malformed",
            what,
            "check that the right file was named, and get it again from where it was made",
        ),
    }
    .with_all(json_path(path))
}

fn refused_root(path: &Path, error: &TrustedRootError, exit: Exit, reason: &'static str, todo: String) -> Failure {
    let failure = Failure::new(exit, reason, format!("{}: {error}", Printable::path(path)), todo);
    match error {
        TrustedRootError::OwnThreshold(unmet) => failure.with("by", "itself").with_all(unmet_fields(unmet)),
        TrustedRootError::PreviousThreshold(unmet) => failure.with("by", "previous").with_all(unmet_fields(unmet)),
        _ => failure,
    }
}

fn root_todo(path: &Path, error: &TrustedRootError) -> String {
    let name = Printable::path(path);
    match error {
        TrustedRootError::Document(RootError::WrongType(_)) => {
            "name a trust root; a list is what it is held against".to_owned()
        }
        TrustedRootError::Unsealed | TrustedRootError::OwnThreshold(_) | TrustedRootError::PreviousThreshold(_) => {
            format!("have it signed: goldseal trust sign {name} --key KEY")
        }
        TrustedRootError::NotNext { .. } => {
            "give every root in its order, the first one you vouch for first".to_owned()
        }
        TrustedRootError::FromTheFuture { .. } => {
            "check the clock of this machine, then that of the machine where the root was made".to_owned()
        }
        _ => "do not use it, and get it again from where it was made".to_owned(),
    }
}

/// What is missing, for programs.
pub fn unmet_fields(unmet: &Unmet) -> Map<String, Value> {
    let Unmet { role, signed, threshold, missing, uncounted, unknown } = unmet;
    let mut fields = Map::new();
    if let Some(role) = role {
        fields.insert("role".into(), role.as_str().into());
    }
    fields.insert("signed".into(), (*signed).into());
    fields.insert("threshold".into(), (*threshold).into());
    fields.insert("missing".into(), missing.clone().into());
    fields.insert("uncounted".into(), uncounted.iter().map(ToString::to_string).collect());
    fields.insert("unknown_signers".into(), key_ids(unknown));
    fields
}

/// Reads the keys of `--trust PUB`, each named as its file without `.pub`.
///
/// # Errors
/// `unreadable`, `malformed` or `bad-key` of the first that cannot be used; `usage` if two are the same key.
pub fn read_trusted_keys(paths: &[PathBuf]) -> Result<Vec<TrustedKey>, Failure> {
    let mut keys: Vec<TrustedKey> = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let key = read_trusted_key(path)?;
        let same = keys.iter().zip(paths).take(index).find(|(known, _)| known.key == key.key);
        if let Some((_, first)) = same {
            return Err(Failure::usage(
                format!("{} and {} are the same key", Printable::path(first), Printable::path(path)),
                "give each key once: --trust PUB",
            ));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Reads one key, named as its file without `.pub`.
///
/// # Errors
/// `unreadable`, `malformed` or `bad-key`.
pub fn read_trusted_key(path: &Path) -> Result<TrustedKey, Failure> {
    let key = PublicKey::from_spki_der(&read_public_key(path)?).map_err(|error| {
        Failure::new(
            Exit::Input,
            "bad-key",
            format!("{}: {error}", Printable::path(path)),
            "do not trust it, and ask where it came from",
        )
    })?;
    Ok(TrustedKey { name: name(path), key })
}

/// Trust in the keys of `--trust PUB`; without a threshold all of them must have signed.
///
/// # Errors
/// As [`read_trusted_keys`]; `usage` if the threshold cannot be met.
pub fn trust_root(paths: &[PathBuf], threshold: Option<NonZeroUsize>) -> Result<TrustRoot, Failure> {
    TrustRoot::of_keys(read_trusted_keys(paths)?, threshold)
        .map_err(|error| Failure::usage(error.to_string(), "lower --threshold, or trust more keys: --trust PUB"))
}

/// What is wrong with a seal. The exit code is the caller's: a negative answer, or an input that is refused.
pub fn not_authentic(path: &Path, exit: Exit, error: &AuthenticateError) -> Failure {
    let what = format!("{}: {error}", Printable::path(path));
    match error {
        AuthenticateError::Unsealed => Failure::new(
            exit,
            "unsealed",
            what,
            format!("have it signed: goldseal sign {} --key KEY", Printable::path(path)),
        ),
        AuthenticateError::BadSignature { .. } => Failure::new(
            exit,
            "bad-signature",
            what,
            "the list or its signature was changed: do not use it, and get it again from where it was sealed",
        ),
        AuthenticateError::Threshold(unmet) => Failure::new(
            exit,
            "threshold",
            what,
            format!("have it signed by them: goldseal sign {} --key KEY", Printable::path(path)),
        )
        .with_all(unmet_fields(unmet)),
        AuthenticateError::NoneCounts { uncounted, unknown } => Failure::new(
            exit,
            "threshold",
            what,
            "have it signed by keys that the trust root has: goldseal trust show ROOT",
        )
        .with("uncounted", uncounted.iter().map(ToString::to_string).collect::<Value>())
        .with("unknown_signers", key_ids(unknown)),
        AuthenticateError::NoRole(_) => Failure::new(
            exit,
            "no-role",
            what,
            "check its name, or let a role seal it: goldseal trust set-threshold ROOT ROLE N --lists PATTERN",
        ),
        AuthenticateError::RevokedList(_) => {
            Failure::new(exit, "revoked-list", what, "do not use it, and get the version that replaced it")
        }
        AuthenticateError::WrongType(_) => list_file::wrong_type(path, exit, error),
        error => list_file::malformed(path, exit, error),
    }
}

/// What to do where a trust root belongs and something else is.
pub const NAME_A_ROOT: &str = "name a trust root; to make one: goldseal trust init ROOT --key PUB";

/// Longest file of a trust root: a head and its section.
pub const MAX_ROOT_FILE: u64 = MAX_HEAD_LEN as u64 + MAX_KEYS_LEN;

/// Escaped already: it is shown in many places.
fn name(path: &Path) -> String {
    let file_name = path.file_name().unwrap_or(path.as_os_str()).as_bytes();
    Printable(file_name.strip_suffix(b".pub").filter(|name| !name.is_empty()).unwrap_or(file_name)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_called_as_its_file() {
        for (path, expected) in [
            ("keys/alice.pub", "alice"),
            ("alice.key.pub", "alice.key"),
            ("alice.pem", "alice.pem"),
            ("keys/.pub", ".pub"),
            ("a\u{1b}[2J.pub", "a\\x1b[2J"),
        ] {
            assert_eq!(name(Path::new(path)), expected);
        }
    }
}
