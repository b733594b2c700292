//! Reading lists from files, and telling programs what they are.

use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::contents::Contents;
use goldseal_verifier_core::envelope::{Envelope, MAX_HEAD_LEN};
use goldseal_verifier_core::header::{Header, MAX_ENTRIES_LEN, MAX_SECTION_LEN};
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::list::{self, UnverifiedList};
use goldseal_verifier_core::trust::{AuthenticateError, TrustRoot, TrustedKey};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::input;
use crate::key;
use crate::printable::Printable;
use crate::report::Outcome;

/// The longest file that can be a list, in bytes: a head and four sections, each at its limit.
pub const MAX_LIST_LEN: u64 = MAX_HEAD_LEN as u64 + 3 * MAX_SECTION_LEN + MAX_ENTRIES_LEN;

/// Reads a whole list; its seal, if it has one, is not checked.
///
/// # Errors
/// `unreadable`, or `malformed` for what is no list (exit 3).
pub fn read_unverified(path: &Path) -> Result<UnverifiedList, Failure> {
    let bytes = input::read_file(path, MAX_LIST_LEN)?;
    list::inspect(bytes).map_err(|error| {
        Failure::malformed(
            format!("{} is not a goldseal list: {error}", Printable::path(path)),
            "make it again, or read a flat whitelist with `goldseal import`",
        )
    })
}

/// Trust in some public-key files, each named by its file name without `.pub`; `None` if there are none.
///
/// # Errors
/// A key that cannot be read or used (exit 3), one key twice, or a threshold that cannot be met (`usage`).
pub fn trust_root(files: &[PathBuf], threshold: Option<NonZeroUsize>) -> Result<Option<TrustRoot>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut keys = Vec::new();
    for file in files {
        let spki = key::file::read_public_key(file)?;
        let key = PublicKey::from_spki_der(&spki).map_err(|error| {
            Failure::new(
                Exit::Input,
                "bad-key",
                format!("{}: {error}", Printable::path(file)),
                "give the .pub file of an ed25519 key",
            )
        })?;
        let name = file.file_name().unwrap_or_default().as_bytes();
        let name = Printable(name.strip_suffix(b".pub").unwrap_or(name)).to_string();
        keys.push(TrustedKey { name, key });
    }
    let root = TrustRoot::of_keys(keys, threshold).map_err(|error| {
        Failure::usage(error.to_string(), "give each --trust key once, and a --threshold they can meet")
    })?;
    Ok(Some(root))
}

/// Holds a list that is only a source to the keys that must have sealed it.
///
/// # Errors
/// The reason of the seal's failure (exit 3: an input that is not what it should be).
pub fn check_seal(path: &Path, list: &UnverifiedList, trust: &TrustRoot) -> Result<(), Failure> {
    let authentic = trust.authenticate(list.envelope().clone());
    authentic.map(|_| ()).map_err(|error| {
        Failure::new(
            Exit::Input,
            seal_reason(&error),
            format!("{}: {error}", Printable::path(path)),
            "get the list again from whoever sealed it",
        )
    })
}

/// The stable word for a seal that is not as asked.
pub fn seal_reason(error: &AuthenticateError) -> &'static str {
    match error {
        AuthenticateError::Unsealed => "unsealed",
        AuthenticateError::BadSignature { .. } => "bad-signature",
        AuthenticateError::Threshold { .. } => "threshold",
        _ => "malformed",
    }
}

/// Adds what every `--json` object about a list says.
pub fn describe(outcome: Outcome, header: &Header, envelope: &Envelope, contents: &Contents) -> Outcome {
    let key_ids: Vec<Value> =
        envelope.signatures().iter().map(|line| json!({ "key_id": line.key_id().to_string() })).collect();
    outcome
        .with("name", header.name.as_str())
        .with("version", header.version.number())
        .with("identity", envelope.identity().to_string())
        .with("created", header.created.to_string())
        .with("expires", header.expires.to_string())
        .with("entries", contents.entry_count())
        .with("signers", key_ids)
}
