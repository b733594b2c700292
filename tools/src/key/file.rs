//! Key files on disk: who may read them, and how they come to be.
//!
//! A private key is opened only by its own name (no symbolic link), if it is a regular file that belongs to the user
//! or root and that nobody else may read or change. A new pair never overwrites anything.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::output::{self, AtomicFile, FilledFile};
use goldseal_cli::printable::Printable;
use goldseal_cli::public_key::pem::{KeyFileError, OPENSSH_PRIVATE, is_pem, parse_public, public_pem};
use goldseal_cli::public_key::{MAX_KEY_FILE, bad_key};
use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::SealKey;
use super::pem::{self, PrivateKeyFile};
use crate::passphrase::Passphrase;

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

/// Whether a file that starts so is a key, or PEM of anything: nothing to be overwritten. A list may hold such a name.
pub fn is_key_file(start: &[u8]) -> bool {
    !start.starts_with(b"DSSEv1 ") && (is_pem(start) || parse_public(start).is_ok())
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
    let public_pem = public_pem(&key.spki_der());
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
    place_pair(private, public, &public_path)
}

/// The name of the public key's file: that of the key with `.pub` appended.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".pub");
    PathBuf::from(name)
}

/// The public file first: if the second name cannot be given, it is no private key that has to be removed.
fn place_pair(private: FilledFile, public: FilledFile, public_path: &Path) -> Result<(), Failure> {
    public.place_new()?;
    private.place_new().inspect_err(|_| {
        let _ = fs::remove_file(public_path);
    })
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
    let mut bytes = Zeroizing::new(Vec::with_capacity(input::capacity(metadata.len(), MAX_KEY_FILE)));
    input::read_bounded(&file, path, MAX_KEY_FILE, &mut bytes)?;
    if bytes.is_empty() {
        return Err(input::empty(path));
    }
    if parse_public(&bytes).is_ok() {
        // Everybody may read it; what is wrong with it the caller says.
        return Ok(bytes);
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
    Ok(bytes)
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
        KeyFileError::WrongContent { found: OPENSSH_PRIVATE } => {
            bad_key(what, "load it with ssh-add, and sign through the agent: goldseal sign FILE --ssh-agent KEY.pub")
        }
        KeyFileError::Malformed | KeyFileError::PublicKeyMismatch => {
            bad_key(what, "restore the key from a copy, or make a new one: goldseal keygen KEY")
        }
        _ => bad_key(what, "name a PKCS#8 PEM file with an ed25519 key, or make one: goldseal keygen KEY"),
    }
}

/// What the group and everybody else may do.
const OTHERS: u32 = 0o077;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};
    use std::path::Path;

    use goldseal_cli::public_key::read_public_key;
    use rustix::fs::{CWD, FileType, mknodat};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::key::openssl::openssl;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    fn never() -> Result<Passphrase, Failure> {
        panic!("a plain key needs no passphrase")
    }

    /// A folder with a plain key pair in it.
    fn plain_key() -> (TempDir, PathBuf) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("golden.key");
        create_key_pair(&path, || Ok(None)).unwrap();
        (folder, path)
    }

    fn refused(path: &Path) -> Failure {
        let failure = read_seal_key(path, never).expect_err("must be refused");
        assert_eq!(failure.exit, Exit::Input);
        failure
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// The first thing that is wrong with them is not that others may read them.
    #[test]
    fn what_is_no_private_key_is_called_so_whatever_its_mode() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("key");
        create_key_pair(&path, || Ok(None)).unwrap();
        let failure = read_seal_key(&public_path(&path), || unreachable!()).unwrap_err();
        assert_eq!(failure.reason, "bad-key");
        assert!(failure.what.contains("public key"), "{failure}");
        let empty = folder.path().join("empty");
        fs::write(&empty, "").unwrap();
        assert_eq!(read_seal_key(&empty, || unreachable!()).unwrap_err().reason, "malformed");
    }

    #[test]
    fn a_new_pair_is_two_files_that_openssl_reads() {
        let (folder, path) = plain_key();
        assert_eq!(names(folder.path()), ["golden.key", "golden.key.pub"]);
        assert_eq!((mode(&path), mode(&public_path(&path)) & !0o044), (0o600, 0o600));
        let key = read_seal_key(&path, never).unwrap();
        assert_eq!(read_public_key(&public_path(&path)).unwrap(), key.spki_der());
        assert_eq!(openssl(folder.path(), "pkey -in golden.key -pubout"), fs::read(public_path(&path)).unwrap());
        let der = openssl(folder.path(), "pkey -pubin -in golden.key.pub -outform DER");
        assert_eq!(der, key.spki_der());
    }

    #[test]
    fn an_encrypted_pair_opens_with_its_passphrase_only() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("golden.key");
        let key = create_key_pair(&path, || Ok(Some(passphrase("correct horse")))).unwrap();
        assert_eq!(openssl(folder.path(), "pkey -in golden.key -passin pass:correct%horse -pubout -outform DER"), {
            key.spki_der()
        });
        let opened = read_seal_key(&path, || Ok(passphrase("correct horse"))).unwrap();
        assert_eq!(opened.spki_der(), key.spki_der());
        let failure = read_seal_key(&path, || Ok(passphrase("correct house"))).unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Input, "wrong-passphrase"));
        let failure = read_seal_key(&path, || Err(Failure::usage("no terminal", ""))).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_else_made() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("golden.key");
        for taken in [path.clone(), public_path(&path)] {
            fs::write(&taken, b"mine").unwrap();
            let failure = create_key_pair(&path, || panic!("asked in vain")).unwrap_err();
            assert_eq!((failure.exit, failure.reason), (Exit::Usage, "exists"));
            assert_eq!(fs::read(&taken).unwrap(), b"mine");
            assert_eq!(names(folder.path()).len(), 1);
            fs::remove_file(&taken).unwrap();
            symlink("nowhere", &taken).unwrap();
            assert_eq!(create_key_pair(&path, || Ok(None)).unwrap_err().reason, "exists");
            assert_eq!(names(folder.path()).len(), 1);
            fs::remove_file(&taken).unwrap();
        }
    }

    /// Somebody takes the name while the key is being written.
    #[test]
    fn a_pair_that_cannot_be_completed_leaves_nothing() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("golden.key");
        let public_path = public_path(&path);
        let filled = |path: &Path| AtomicFile::create(path).unwrap().fill(|file| file.write_all(b"new")).unwrap();
        let (private, public) = (filled(&path), filled(&public_path));
        fs::write(&path, b"mine").unwrap();
        assert_eq!(place_pair(private, public, &public_path).unwrap_err().reason, "exists");
        assert_eq!(names(folder.path()), ["golden.key"]);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_key_in_no_folder_is_unwritable() {
        let folder = tempdir().unwrap();
        let failure = create_key_pair(&folder.path().join("no/golden.key"), || Ok(None)).unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Input, "unwritable"));
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_key_that_others_can_read_or_change_is_refused() {
        let (_folder, path) = plain_key();
        for bits in [0o604, 0o602, 0o601, 0o640, 0o620, 0o610, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            let failure = refused(&path);
            assert_eq!(failure.reason, "unsafe-key");
            assert!(failure.what.ends_with(&format!("(mode {bits:04o})")), "{failure}");
            assert!(failure.todo.starts_with("chmod 600 "), "{failure}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        read_seal_key(&path, never).unwrap();
    }

    #[test]
    fn a_key_of_another_user_is_refused() {
        let (_folder, path) = plain_key();
        if chown(&path, Some(12345), None).is_err() {
            eprintln!("SKIPPED a_key_of_another_user_is_refused: only root can give a file away");
            return;
        }
        let failure = refused(&path);
        assert_eq!(failure.reason, "unsafe-key");
        assert!(failure.what.contains("(uid 12345)"), "{failure}");
    }

    #[test]
    fn only_a_regular_file_of_its_own_name_is_opened() {
        let (folder, path) = plain_key();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        let failure = refused(&link);
        assert_eq!(failure.reason, "unsafe-key");
        assert!(failure.todo.ends_with("golden.key"), "{failure}");
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(refused(&pipe).reason, "unsafe-key");
        assert!(refused(folder.path()).what.ends_with("is a folder"));
        assert!(refused(&folder.path().join("missing")).what.ends_with("does not exist"));
    }

    #[test]
    fn a_file_of_the_wrong_size_is_refused() {
        let (folder, path) = plain_key();
        let wrong = folder.path().join("wrong");
        fs::copy(&path, &wrong).unwrap();
        fs::write(&wrong, b"").unwrap();
        assert!(refused(&wrong).what.ends_with("is empty"));
        fs::write(&wrong, vec![b' '; 64 * 1024 + 1]).unwrap();
        assert!(refused(&wrong).what.ends_with("is larger than 65536 bytes"));
        fs::write(&wrong, b"not a key").unwrap();
        let failure = refused(&wrong);
        assert_eq!(failure.reason, "bad-key");
        assert!(failure.what.ends_with("wrong: this is not a PEM file"), "{failure}");
    }

    #[test]
    fn the_files_of_a_pair_are_not_taken_for_each_other() {
        let (_folder, path) = plain_key();
        let failure = read_public_key(&path).unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Input, "bad-key"));
        assert!(failure.what.ends_with("this is a private key, where a public key belongs"), "{failure}");
        fs::set_permissions(public_path(&path), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(refused(&public_path(&path)).what.ends_with("where the private key belongs"));
    }

    /// pkeyutl cannot read the message from a pipe: it wants to know the length.
    #[test]
    fn openssl_verifies_a_signature() {
        let (folder, path) = plain_key();
        fs::write(folder.path().join("message"), b"DSSEv1").unwrap();
        let signature = read_seal_key(&path, never).unwrap().sign(b"DSSEv1");
        fs::write(folder.path().join("signature"), signature).unwrap();
        let verified = openssl(
            folder.path(),
            "pkeyutl -verify -rawin -pubin -inkey golden.key.pub -in message -sigfile signature",
        );
        assert_eq!(verified, b"Signature Verified Successfully\n");
    }
}
