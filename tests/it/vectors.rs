//! testdata/vectors: one file each, with the outcome that every verifier must come to. Walked through the library, through
//! docs/verify.py and through docs/emergency-verify.sh; the vectors themselves come from a fourth hand.
//!
//! A verifier that by its documented nature does not judge what is wrong with a vector is named in its `accepted-by`, and
//! must then accept it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use goldseal_tests::World;
use goldseal_tools::trusted::trust_root;
use goldseal_verifier_core::contents::{ContentsError, LoadError};
use goldseal_verifier_core::envelope::{Envelope, MAX_HEAD_LEN};
use goldseal_verifier_core::header::{ListName, Version};
use goldseal_verifier_core::list::inspect;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{AdmitError, AuthenticateError, Floor, Freshness, Now};

use crate::walls::root;

const SCRIPT: &str = "emergency-verify.sh";
const PYTHON: &str = "verify.py";

/// One file of the folder.
struct Vector {
    name: String,
    /// A reason of docs/exit-codes.md.
    outcome: String,
    /// Names in testdata/keys.
    trust: Vec<String>,
    threshold: Option<NonZeroUsize>,
    now: Timestamp,
    floor: Floor,
    accepted_by: Vec<String>,
    /// The file to verify.
    file: Vec<u8>,
}

impl Vector {
    /// Lines of `key: value`, an empty line, and the file as it is. Every key must be known.
    fn parse(name: String, bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap();
        let (text, file) = (std::str::from_utf8(&bytes[..end]).unwrap(), bytes[end + 2..].to_vec());
        let mut lines: BTreeMap<&str, &str> = text.lines().map(|line| line.split_once(": ").unwrap()).collect();
        assert_eq!(lines.len(), text.lines().count(), "{name}: a key twice");
        let mut take = |key: &str| lines.remove(key);
        let words = |text: Option<&str>| text.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let vector = Self {
            outcome: take("outcome").unwrap().to_owned(),
            trust: words(take("trust")),
            threshold: take("threshold").map(|number| number.parse().unwrap()),
            now: Timestamp::parse(take("now").unwrap().as_bytes()).unwrap(),
            floor: Floor {
                seen: None,
                name: take("name").map(|name| ListName::new(name).unwrap()),
                version: take("min-version").map(|number| Version::new(number.parse().unwrap()).unwrap()),
            },
            accepted_by: words(take("accepted-by")),
            file,
            name,
        };
        assert!(lines.remove("comment").is_some() && lines.is_empty(), "{}: {lines:?}", vector.name);
        vector
    }

    /// What a verifier of this name must come to.
    fn expected_of(&self, verifier: &str) -> &str {
        if self.accepted_by.iter().any(|accepting| accepting == verifier) { "ok" } else { &self.outcome }
    }
}

fn vectors() -> Vec<Vector> {
    let folder = root().join("testdata/vectors");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "vector")).collect();
    paths.sort();
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| Vector::parse(name(path), &fs::read(path).unwrap())).collect()
}

#[test]
fn the_library_comes_to_each_outcome() {
    for vector in vectors() {
        assert_eq!(judge(&vector), vector.outcome, "{}", vector.name);
        // One encoding: whatever is taken for a list is what is printed of it.
        if let Ok(list) = inspect(vector.file.clone()) {
            let printed = [list.envelope().print(), list.contents().body().to_vec()].concat();
            assert!(printed == vector.file, "{}: another encoding", vector.name);
        }
    }
}

#[test]
fn the_second_verifier_comes_to_each_outcome() {
    let output = Command::new("/usr/bin/python3").arg(root().join("tests/verify-vectors.py")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let outcomes: BTreeMap<&str, &str> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let vectors = vectors();
    assert_eq!(outcomes.len(), vectors.len());
    for vector in vectors {
        assert_eq!(outcomes[vector.name.as_str()], vector.expected_of(PYTHON), "{}", vector.name);
    }
}

/// It knows one key, and yes or no.
#[test]
fn the_emergency_script_accepts_and_refuses_the_same() {
    let vectors = vectors();
    let run = |vectors: &[Vector]| {
        let world = World::new();
        for vector in vectors {
            world.file("list", &vector.file);
            let mut script = Command::new("sh");
            script.arg(root().join("docs").join(SCRIPT)).arg(world.path("list")).arg(key_file(&vector.trust[0]));
            let output = script.output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            let expected = i32::from(vector.expected_of(SCRIPT) != "ok");
            assert_eq!(output.status.code(), Some(expected), "{}: {message}", vector.name);
            assert_eq!(message.starts_with("NOT VERIFIED: "), expected == 1, "{}: {message}", vector.name);
        }
    };
    let (first, second) = vectors.split_at(vectors.len() / 2);
    thread::scope(|scope| {
        scope.spawn(|| run(first));
        run(second);
    });
}

/// The command line of the second verifier: exit codes as `goldseal verify` has them.
#[test]
fn the_second_verifier_has_the_exit_codes_of_verify() {
    let world = World::new();
    let vectors = vectors();
    for (name, arguments, exit, words) in [
        ("ok", "alice.pub --now 2026-06-01T00:00:00Z", 0, "name: prod\nversion: 42\n"),
        ("ok-one-of-two", "alice.pub bob.pub --threshold 1 --now 2026-06-01T00:00:00Z", 0, "VERIFIED: signed by "),
        ("ok", "alice.pub --now 2036-06-01T00:00:00Z", 4, "STALE: signed by "),
        ("unsealed", "alice.pub", 1, "NOT VERIFIED: unsealed: "),
        ("ok", "alice.pub --name other --now 2026-06-01T00:00:00Z", 1, "NOT VERIFIED: wrong-name: "),
        ("ok", "alice.pub --threshold 2", 2, "NOT VERIFIED: usage: "),
        ("ok", "alice.pub --now yesterday", 2, "--now"),
        ("ok", "weak.pub", 3, "NOT VERIFIED: bad-key: "),
        ("ok", "missing.pub", 3, "NOT VERIFIED: unreadable: "),
    ] {
        let vector = vectors.iter().find(|vector| vector.name == name).unwrap();
        world.file("list", &vector.file);
        let mut python = Command::new("/usr/bin/python3");
        python.arg("-B").arg(root().join("docs").join(PYTHON)).arg(world.path("list")).args(arguments.split(' '));
        let output = python.current_dir(root().join("testdata/keys")).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
    }
}

/// The outcomes are the words that programs branch on, and each one that verification can give has a vector.
#[test]
fn every_reason_of_verify_has_a_vector() {
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    let outcomes: BTreeSet<String> = vectors().into_iter().map(|vector| vector.outcome).collect();
    for outcome in &outcomes {
        assert!(page.contains(&format!("\n| `{outcome}` |")), "{outcome} is no reason");
    }
    let expected = [
        "bad-key",
        "bad-signature",
        "below-floor",
        "from-the-future",
        "malformed",
        "ok",
        "stale",
        "tampered",
        "threshold",
        "unsealed",
        "usage",
        "wrong-name",
        "wrong-type",
    ];
    assert_eq!(outcomes, expected.map(str::to_owned).into());
    assert!(vectors().len() > 200, "vectors have gone");
}

/// The whole way through the library; what it comes to, in the words of docs/exit-codes.md.
fn judge(vector: &Vector) -> &'static str {
    let keys: Vec<PathBuf> = vector.trust.iter().map(|name| key_file(name)).collect();
    let root = match trust_root(&keys, vector.threshold) {
        Ok(root) => root,
        Err(failure) => return failure.reason,
    };
    // No more of the file than the head may have.
    let head = vector.file.get(..MAX_HEAD_LEN).unwrap_or(&vector.file);
    let Ok((envelope, head_len)) = Envelope::parse(head) else { return "malformed" };
    let authentic = match root.authenticate(envelope, Now::by_clock(vector.now)) {
        Ok(authentic) => authentic,
        Err(AuthenticateError::Unsealed) => return "unsealed",
        Err(AuthenticateError::BadSignature { .. }) => return "bad-signature",
        Err(AuthenticateError::Threshold { .. }) => return "threshold",
        Err(AuthenticateError::WrongType(_)) => return "wrong-type",
        Err(AuthenticateError::Header(_)) => return "malformed",
        Err(other) => panic!("{other}"),
    };
    let admitted = match authentic.admit(Now::by_clock(vector.now), &vector.floor) {
        Ok(admitted) => admitted,
        Err(AdmitError::WrongName { .. }) => return "wrong-name",
        Err(AdmitError::BelowFloor { .. }) => return "below-floor",
        Err(AdmitError::FromTheFuture { .. }) => return "from-the-future",
        Err(other) => panic!("{other}"),
    };
    let policy = match admitted.load(io::Cursor::new(&vector.file[head_len..])) {
        Ok(policy) => policy,
        Err(LoadError::Contents(ContentsError::Length { .. } | ContentsError::Tampered(_))) => return "tampered",
        Err(LoadError::Contents(_)) => return "malformed",
        Err(other) => panic!("{other}"),
    };
    match policy.freshness() {
        Freshness::Current => "ok",
        Freshness::Stale { .. } => "stale",
    }
}

fn key_file(name: &str) -> PathBuf {
    root().join(format!("testdata/keys/{name}.pub"))
}
