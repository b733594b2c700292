//! The keys that the command line trusts. They come from the operator, never from the file they verify.

use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::trust::{AuthenticateError, TrustRoot, TrustedKey};

use crate::failure::{Exit, Failure};
use crate::key::file::read_public_key;
use crate::list_file;
use crate::printable::Printable;
use crate::summary::key_ids;

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

/// The same where trust is optional: `None` without `--trust`.
///
/// # Errors
/// As [`trust_root`].
pub fn optional_root(paths: &[PathBuf], threshold: Option<NonZeroUsize>) -> Result<Option<TrustRoot>, Failure> {
    if paths.is_empty() { Ok(None) } else { trust_root(paths, threshold).map(Some) }
}

/// Holds a list that is only an input to the keys that must have sealed it.
///
/// # Errors
/// What is wrong with its seal (exit 3).
pub fn check_seal(path: &Path, list: &UnverifiedList, root: &TrustRoot) -> Result<(), Failure> {
    let authentic = root.authenticate(list.envelope().clone());
    authentic.map(|_| ()).map_err(|error| not_authentic(path, Exit::Input, &error))
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
        AuthenticateError::Threshold { signed, threshold, missing, unknown } => Failure::new(
            exit,
            "threshold",
            what,
            format!("have it signed by them: goldseal sign {} --key KEY", Printable::path(path)),
        )
        .with("signed", *signed)
        .with("threshold", *threshold)
        .with("missing", missing.clone())
        .with("unknown_signers", key_ids(unknown)),
        AuthenticateError::WrongType(_) => list_file::wrong_type(path, exit, error),
        error => list_file::malformed(path, exit, error),
    }
}

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
