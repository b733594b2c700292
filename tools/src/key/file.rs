//! Key files on disk: who may read them, and how they come to be.
//!
//! A private key is opened only by its own name (no symbolic link), if it is a regular file that belongs to the user
//! or root and that nobody else may read or change. A new pair never overwrites anything.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::pem::{self, KeyFileError, PrivateKeyFile};
use super::{SPKI_LEN, SealKey};
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{self, AtomicFile};
use crate::passphrase::Passphrase;
use crate::printable::Printable;

/// Reads a seal key; `ask` is called only if the key is encrypted.
///
/// # Errors
/// `unreadable`, `unsafe-key` (owner, mode, symbolic link), `bad-key`, `wrong-passphrase`, or what `ask` says.
pub fn read_seal_key(path: &Path, ask: impl FnOnce() -> Result<Passphrase, Failure>) -> Result<SealKey, Failure> {
    let bytes = read_private_file(path)?;
    match pem::parse_private(&bytes).map_err(|error| bad_private(path, &error))? {
        PrivateKeyFile::Plain(key) => Ok(key),
        PrivateKeyFile::Encrypted(key) => key.decrypt(&ask()?).map_err(|error| bad_private(path, &error)),
    }
}

/// Reads a public key and returns its SubjectPublicKeyInfo DER.
///
/// # Errors
/// `unreadable`, `malformed` (empty, too large) or `bad-key`.
pub fn read_public_key(path: &Path) -> Result<[u8; SPKI_LEN], Failure> {
    let bytes = input::read_file(path, MAX_KEY_FILE)?;
    pem::parse_public(&bytes).map_err(|error| bad_public(path, &error))
}

/// Makes a new key and its two files; `ask` gives the passphrase, if there is to be one.
///
/// # Errors
/// As [`check_vacant`] and [`write_key_pair`], or what `ask` says.
pub fn create_key_pair(
    path: &Path,
    ask: impl FnOnce() -> Result<Option<Passphrase>, Failure>,
) -> Result<SealKey, Failure> {
    check_vacant(path)?;
    let passphrase = ask()?;
    let key = SealKey::generate()?;
    write_key_pair(path, &key, passphrase.as_ref())?;
    Ok(key)
}

/// Fails if either file of the pair exists already: to be known before anybody types a passphrase.
///
/// # Errors
/// `exists` (exit 2).
pub fn check_vacant(path: &Path) -> Result<(), Failure> {
    for path in [path, &public_path(path)] {
        if fs::symlink_metadata(path).is_ok() {
            return Err(output::exists(path));
        }
    }
    Ok(())
}

/// Writes KEY, for its owner alone, and KEY.pub.
///
/// # Errors
/// `exists` (exit 2) or `unwritable`; then neither file was made.
pub fn write_key_pair(path: &Path, key: &SealKey, passphrase: Option<&Passphrase>) -> Result<(), Failure> {
    check_vacant(path)?;
    let private_pem = pem::private_pem(key, passphrase)?;
    let public_pem = pem::public_pem(&key.spki_der());
    let public_path = public_path(path);
    let private = AtomicFile::create_with_mode(path, 0o600)?.fill(|file| file.write_all(private_pem.as_bytes()))?;
    let public =
        AtomicFile::create_with_mode(&public_path, 0o644)?.fill(|file| file.write_all(public_pem.as_bytes()))?;
    if private.mode()? & OTHERS != 0 {
        return Err(Failure::new(
            Exit::Input,
            "unwritable",
            format!("{} would be readable by everybody on that file system", Printable::path(path)),
            "keep the key on a file system with modes, or mount that one with umask=077",
        ));
    }
    // The public file first: if the second name cannot be given, it is no private key that has to be removed.
    public.place_new()?;
    private.place_new().inspect_err(|_| {
        let _ = fs::remove_file(&public_path);
    })
}

/// The name of the public key's file: that of the key with `.pub` appended.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".pub");
    PathBuf::from(name)
}

fn read_private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = Printable::path(path);
    // NONBLOCK: a pipe in its place must not hold us up before it is refused.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // open(2): the last component is a symbolic link.
        Err(rustix::io::Errno::LOOP) => {
            return Err(unsafe_key(
                format!("{name} is a symbolic link, and a seal key is opened only by its own name"),
                match fs::read_link(path) {
                    Ok(target) => format!("name the key itself: {}", Printable::path(&target)),
                    Err(_) => "name the key itself".to_owned(),
                },
            ));
        }
        Err(error) => return Err(input::cannot_read(path, &io::Error::from(error))),
    };
    let metadata = file.metadata().map_err(|error| input::cannot_read(path, &error))?;
    if metadata.is_dir() {
        return Err(input::is_folder(path));
    }
    if !metadata.is_file() {
        return Err(unsafe_key(format!("{name} is not a regular file"), "name the key file itself"));
    }
    if ![geteuid().as_raw(), 0].contains(&metadata.uid()) {
        return Err(unsafe_key(
            format!("{name} belongs to another user (uid {}), who can read and replace it", metadata.uid()),
            "seal as the key's owner: goldseal sign FILE --key KEY",
        ));
    }
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(unsafe_key(
            format!("{name} can be read or changed by others (mode {:04o})", metadata.mode() & 0o7777),
            format!("chmod 600 {name}   (on a file system without modes: mount it with umask=077)"),
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(input::capacity(metadata.len(), MAX_KEY_FILE)));
    input::read_bounded(&file, path, MAX_KEY_FILE, &mut bytes)?;
    if bytes.is_empty() { Err(input::empty(path)) } else { Ok(bytes) }
}

fn unsafe_key(what: impl Into<String>, todo: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, "unsafe-key", what, todo)
}

fn bad_private(path: &Path, error: &KeyFileError) -> Failure {
    let name = Printable::path(path);
    let what = format!("{name}: {error}");
    match error {
        KeyFileError::WrongPassphrase => Failure::new(Exit::Input, "wrong-passphrase", what, "try again"),
        KeyFileError::UnsupportedEncryption | KeyFileError::TooCostly => bad_key(
            what,
            format!("encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 1000000 -in {name} -out NEW"),
        ),
        KeyFileError::Malformed | KeyFileError::PublicKeyMismatch => {
            bad_key(what, "restore the key from a copy, or make a new one: goldseal keygen KEY")
        }
        _ => bad_key(what, "name a PKCS#8 PEM file with an ed25519 key, or make one: goldseal keygen KEY"),
    }
}

fn bad_public(path: &Path, error: &KeyFileError) -> Failure {
    let what = format!("{}: {error}", Printable::path(path));
    let todo = match error {
        KeyFileError::Weak | KeyFileError::NotOnCurve => "do not trust it, and ask where it came from",
        _ => "name the .pub file that goldseal keygen wrote (openssl pkey -in KEY -pubout makes it from a key)",
    };
    bad_key(what, todo)
}

fn bad_key(what: impl Into<String>, todo: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, "bad-key", what, todo)
}

/// 64 KiB: an Ed25519 key file has 119 to some 400 bytes, and may have text in front.
pub const MAX_KEY_FILE: u64 = 64 * 1024;

/// What the group and everybody else may do.
const OTHERS: u32 = 0o077;
