//! A folder with keys and lists in which everything is right; tests change one thing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use goldseal_cli::public_key::read_public_key;
use goldseal_tools::key::file::read_seal_key;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::envelope::SignatureLine;
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use goldseal_verifier_core::header::{Expiry, FileHash, ListName, Version};
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::list::{UnverifiedList, Whitelist};
use goldseal_verifier_core::provenance::{Fact, GapReason, InputKind, Provenance};
use goldseal_verifier_core::rules::{Rule, Rules};
use goldseal_verifier_core::time::Timestamp;
use tempfile::TempDir;

pub(crate) struct World(TempDir);

impl World {
    /// The keys of testdata/keys: nobody but their owner may read the private ones, which git does not keep.
    pub(crate) fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/keys");
        for entry in fs::read_dir(keys).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "key" || extension == "pub") {
                let copy = world.path(path.file_name().unwrap().to_str().unwrap());
                fs::copy(&path, &copy).unwrap();
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        world
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names in the folder, to see that nothing was left behind.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The bytes of `list`, sealed with keys of this folder.
    pub(crate) fn sealed(&self, list: Whitelist, keys: &[&str]) -> Vec<u8> {
        let mut list = list.print().unwrap();
        for key in keys {
            let public = read_public_key(&self.path(&format!("{key}.pub"))).unwrap();
            let key = read_seal_key(&self.path(&format!("{key}.key")), || panic!("not encrypted")).unwrap();
            let id = PublicKey::from_spki_der(&public).unwrap().key_id();
            let signature = key.sign(list.envelope().signed_bytes());
            list.insert(SignatureLine::ed25519(id, signature)).unwrap();
        }
        bytes(&list)
    }

    /// The program, run in this folder.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goldseal"));
        command.args(arguments.split_whitespace()).current_dir(self.folder()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program and expects this exit code and these words on standard error.
    #[track_caller]
    pub(crate) fn refuses(&self, arguments: &str, exit: i32, words: &str) {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{arguments}: {message}");
        assert!(message.contains(words), "{arguments}: {message}");
    }
}

pub(crate) fn bytes(list: &UnverifiedList) -> Vec<u8> {
    [list.envelope().print(), list.contents().body().to_vec()].concat()
}

/// A list with nothing odd in it.
pub(crate) fn whitelist() -> Whitelist {
    let digest = |text: &[u8]| FileDigest::Contents(Digest::sha256(text));
    let fact = Fact::Input { kind: InputKind::Root, sha256: None, files: 2, bytes: 12, name: b"/mnt".to_vec() };
    Whitelist {
        name: ListName::new("prod").unwrap(),
        version: Version::new(42).unwrap(),
        created: time("2026-01-01T00:00:00Z"),
        expires: Expiry::Never,
        file_hash: FileHash::new(&[HashAlgorithm::Sha256]).unwrap(),
        provenance: Provenance::new([fact]),
        excludes: Excludes::new([Pattern::new(b"/var/log").unwrap()]).unwrap(),
        rules: Rules::new([Rule::parse(format!("boot-aggregate sha256:{}", "1".repeat(64)).as_bytes()).unwrap()]),
        entries: vec![(b"/usr/bin/one".to_vec(), digest(b"one")), (b"/usr/bin/two\n".to_vec(), digest(b"two"))],
    }
}

/// A list with everything that a summary should make stand out.
pub(crate) fn odd_whitelist() -> Whitelist {
    let gap = |path: &str| Fact::Gap { reason: GapReason::Unreadable, path: path.as_bytes().to_vec() };
    let facts = (0..12).map(|number| gap(&format!("/srv/{number:02}"))).chain([
        Fact::Input { kind: InputKind::Initramfs, sha256: None, files: 2, bytes: 12, name: b"initrd.img".to_vec() },
        Fact::Conflict(b"/usr/bin/one".to_vec()),
        Fact::Warning(b"initrd.img: a squashfs \x1b[2J".to_vec()),
        Fact::Skipped(b"/proc".to_vec()),
        Fact::MountPoint(b"/mnt/usb".to_vec()),
        Fact::Excluded { count: 3, pattern: b"/root".to_vec() },
    ]);
    let rules = ["boot-aggregate any", "broad-exclude /root", "violation report"];
    Whitelist {
        provenance: Provenance::new(facts),
        excludes: Excludes::new([Pattern::new(b"/root").unwrap()]).unwrap(),
        rules: Rules::new(rules.map(|rule| Rule::parse(rule.as_bytes()).unwrap())),
        ..whitelist()
    }
}

/// What could follow [`whitelist`]: something of everything is changed.
pub(crate) fn next_whitelist() -> Whitelist {
    let digest = |text: &[u8]| FileDigest::Contents(Digest::sha256(text));
    let list = whitelist();
    let rules = [Rule::parse(b"violation report").unwrap(), Rule::BootAggregateAny];
    Whitelist {
        version: Version::new(43).unwrap(),
        created: time("2026-02-01T00:00:00Z"),
        excludes: Excludes::new([Pattern::new(b"/opt").unwrap()]).unwrap(),
        rules: Rules::new(list.rules.as_slice().iter().cloned().chain(rules)),
        entries: vec![(b"/usr/bin/one".to_vec(), digest(b"1")), (b"/usr/lib/three".to_vec(), digest(b"three"))],
        ..list
    }
}

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text.as_bytes()).unwrap()
}
