//! Public keys of those who seal, from files. Private ones are made, read and used in tools alone.

pub mod pem;
pub mod ssh;

use std::path::Path;

use self::pem::KeyFileError;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::printable::Printable;

/// SubjectPublicKeyInfo DER of an Ed25519 key (RFC 8410, section 4): this prefix, then the 32 bytes of the key.
pub const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Length of that DER.
pub const SPKI_LEN: usize = 44;

/// Reads a public key, PEM or a line of OpenSSH, and returns its SubjectPublicKeyInfo DER.
///
/// # Errors
/// `unreadable`, `malformed` (empty, too large) or `bad-key`.
pub fn read_public_key(path: &Path) -> Result<[u8; SPKI_LEN], Failure> {
    let bytes = input::read_file(path, MAX_KEY_FILE)?;
    pem::parse_public(&bytes).map_err(|error| bad_public(path, &error))
}

/// The DER of the key of these 32 bytes.
pub fn spki_der(point: &[u8; 32]) -> [u8; SPKI_LEN] {
    let mut der = [0; SPKI_LEN];
    der[..SPKI_PREFIX.len()].copy_from_slice(&SPKI_PREFIX);
    der[SPKI_PREFIX.len()..].copy_from_slice(point);
    der
}

fn bad_public(path: &Path, error: &KeyFileError) -> Failure {
    let what = format!("{}: {error}", Printable::path(path));
    let todo = match error {
        KeyFileError::Weak | KeyFileError::NotOnCurve => "do not trust it, and ask where it came from",
        _ => "name a public key: PEM as of goldseal keygen or openssl pkey -in KEY -pubout, or an ssh-ed25519 line",
    };
    bad_key(what, todo)
}

/// A file that is no key that can be used.
pub fn bad_key(what: impl Into<String>, todo: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, "bad-key", what, todo)
}

/// 64 KiB: an Ed25519 key file has 119 to some 400 bytes, and may have text in front.
pub const MAX_KEY_FILE: u64 = 64 * 1024;
