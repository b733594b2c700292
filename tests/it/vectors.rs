//! testdata/vectors: one file each, with the outcome that every verifier must come to. Walked through the library, through
//! docs/verify.py and through docs/emergency-verify.sh; the vectors themselves come from a fourth hand.
//!
//! Some are judged by trust roots, files of testdata/vectors/roots; those the script is not asked about.
//!
//! A verifier that by its documented nature does not judge what is wrong with a vector is named in its `accepted-by`, and
//! must then accept it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use goldseal_cli::trusted::{not_a_root, trust_root};
use goldseal_tests::World;
use goldseal_verifier_core::contents::{ContentsError, LoadError};
use goldseal_verifier_core::envelope::{Envelope, MAX_HEAD_LEN};
use goldseal_verifier_core::header::{ListName, Version};
use goldseal_verifier_core::list::inspect;
use goldseal_verifier_core::root::UnverifiedRoot;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{
    AdmitError, AuthenticateError, Floor, Freshness, Now, TrustRoot, TrustedRootError,
};

use crate::walls::root;

const SCRIPT: &str = "emergency-verify.sh";
const PYTHON: &str = "verify.py";

/// One file of the folder.
struct Vector {
    name: String,
    /// A reason of docs/exit-codes.md.
    outcome: String,
    /// What is wrong with a root, where that is the outcome: a reason, too.
    root_reason: Option<String>,
    /// Names in testdata/keys.
    trust: Vec<String>,
    /// Names in testdata/vectors/roots: a chain, where no keys are trusted.
    roots: Vec<String>,
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
            root_reason: take("root-reason").map(str::to_owned),
            trust: words(take("trust")),
            roots: words(take("roots")),
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
        assert!(vector.trust.is_empty() != vector.roots.is_empty(), "{}: either keys or roots", vector.name);
        assert_eq!(vector.outcome == "bad-root", vector.root_reason.is_some(), "{}", vector.name);
        vector
    }

    /// What a verifier of this name must come to.
    fn expected_of(&self, verifier: &str) -> String {
        if self.accepted_by.iter().any(|accepting| accepting == verifier) { "ok".to_owned() } else { self.expected() }
    }

    /// The outcome, and what is wrong with a root.
    fn expected(&self) -> String {
        self.root_reason.as_ref().map_or(self.outcome.clone(), |reason| format!("{} {reason}", self.outcome))
    }
}

fn vectors() -> Vec<Vector> {
    files("testdata/vectors", "vector").into_iter().map(|(name, bytes)| Vector::parse(name, &bytes)).collect()
}

/// Names without extension, and bytes.
fn files(folder: &str, extension: &str) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

#[test]
fn the_library_comes_to_each_outcome() {
    for vector in vectors() {
        let found = trusted(&vector).map(|root| judge(&root, &vector).to_owned());
        assert_eq!(found.unwrap_or_else(|reason| reason), vector.expected(), "{}", vector.name);
        // One encoding: whatever is taken for a list is what is printed of it.
        if let Ok(list) = inspect(vector.file.clone()) {
            let printed = [list.envelope().print(), list.contents().body().to_vec()].concat();
            assert!(printed == vector.file, "{}: another encoding", vector.name);
        }
    }
}

/// One encoding: whatever is taken for a root is what is printed of it. And no root is there for nothing.
#[test]
fn roots_are_in_their_one_encoding_and_each_is_used() {
    let roots = files("testdata/vectors/roots", "root");
    let used: BTreeSet<String> = vectors().into_iter().flat_map(|vector| vector.roots).collect();
    assert_eq!(used, roots.keys().cloned().collect());
    let mut parsed = 0;
    for (name, file) in &roots {
        let Ok(root) = UnverifiedRoot::parse(file) else { continue };
        assert_eq!(root.header().print(), root.envelope().claimed_payload(), "{name}");
        assert!([root.envelope().print(), root.statements().print()].concat() == *file, "{name}: another encoding");
        parsed += 1;
    }
    assert!((40..roots.len()).contains(&parsed), "{parsed} of {}", roots.len());
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

/// It knows one key, no trust root, and yes or no.
#[test]
fn the_emergency_script_accepts_and_refuses_the_same() {
    let mut vectors = vectors();
    vectors.retain(|vector| vector.roots.is_empty());
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
        ("ok", "--trust-root ../vectors/roots/ok.root --now 2026-06-01T00:00:00Z", 0, "name: prod\nversion: 42\n"),
        ("ok", "--now 2028-01-01T00:00:00Z --trust-root ../vectors/roots/ok.root", 4, "STALE: signed by alice\n"),
        (
            "ok",
            "--trust-root ../vectors/roots/first-unsigned.root",
            3,
            "NOT VERIFIED: bad-root: trust root 1: unsealed",
        ),
        ("ok", "--trust-root ../vectors/roots/ok.root ../vectors/roots/ok.root", 3, "bad-root: trust root 2: not-next"),
        ("ok", "--trust-root missing.root", 3, "NOT VERIFIED: unreadable: "),
        ("ok", "alice.pub --trust-root ../vectors/roots/ok.root", 2, "NOT VERIFIED: usage: "),
        ("ok", "--threshold 0 --trust-root ../vectors/roots/ok.root", 2, "NOT VERIFIED: usage: "),
        ("ok", "--now 2026-06-01T00:00:00Z", 2, "NOT VERIFIED: usage: "),
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
        "bad-root",
        "bad-signature",
        "below-floor",
        "from-the-future",
        "malformed",
        "no-role",
        "ok",
        "revoked-list",
        "stale",
        "tampered",
        "threshold",
        "unsealed",
        "usage",
        "wrong-name",
        "wrong-type",
    ];
    assert_eq!(outcomes, expected.map(str::to_owned).into());
    assert!(vectors().len() > 400, "vectors have gone");
}

/// The whole way through the library; what it comes to, in the words of docs/exit-codes.md.
fn judge(root: &TrustRoot, vector: &Vector) -> &'static str {
    // No more of the file than the head may have.
    let head = vector.file.get(..MAX_HEAD_LEN).unwrap_or(&vector.file);
    let Ok((envelope, head_len)) = Envelope::parse(head) else { return "malformed" };
    let authentic = match root.authenticate(envelope, Now::by_clock(vector.now)) {
        Ok(authentic) => authentic,
        Err(AuthenticateError::Unsealed) => return "unsealed",
        Err(AuthenticateError::BadSignature { .. }) => return "bad-signature",
        Err(AuthenticateError::Threshold(_) | AuthenticateError::NoneCounts { .. }) => return "threshold",
        Err(AuthenticateError::NoRole(_)) => return "no-role",
        Err(AuthenticateError::RevokedList(_)) => return "revoked-list",
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

/// The keys, or the last root of the chain; else why not, in the same words.
fn trusted(vector: &Vector) -> Result<TrustRoot, String> {
    let Some((first, next)) = vector.roots.split_first() else {
        let keys: Vec<PathBuf> = vector.trust.iter().map(|name| key_file(name)).collect();
        return trust_root(&keys, vector.threshold).map_err(|failure| failure.reason.to_owned());
    };
    let file = |name: &String| fs::read(root().join(format!("testdata/vectors/roots/{name}.root"))).unwrap();
    let now = Now::by_clock(vector.now);
    let bad_root = |error: TrustedRootError| format!("bad-root {}", not_a_root(Path::new("root"), &error).reason);
    let first = TrustRoot::anchor(&file(first), now).map_err(bad_root)?;
    next.iter().try_fold(first, |root, name| root.advance(&file(name), now)).map_err(bad_root)
}

fn key_file(name: &str) -> PathBuf {
    root().join(format!("testdata/keys/{name}.pub"))
}
