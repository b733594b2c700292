//! docs/emergency-verify.sh accepts a sealed file and refuses each one that differs in anything. The file and its
//! signature are made here and by openssl, not by the code under test elsewhere: this is format.md in a second hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const WHITELIST: &str = "application/vnd.goldseal.whitelist.v1";
const TRUST_ROOT: &str = "application/vnd.goldseal.trust-root.v1";

const SECTIONS: [(&str, &str); 4] = [
    ("provenance", "input tree - 2 8 /opt\n"),
    ("excludes", "/opt/cache\n"),
    ("rules", ""),
    (
        "entries",
        "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806  /opt/one\n\
         27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a  /opt/two\n",
    ),
];

#[test]
fn accepts_a_file_sealed_by_openssl() {
    let world = World::new();
    let output = world.verify(&world.sealed(&world.header()), "key.pub");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("name: prod-web\nversion: 42\n"), "{text}");
    assert!(text.contains(&hex(&Sha256::digest(world.header()))), "no identity in {text}");
}

#[test]
fn refuses_what_differs_in_one_place() {
    let world = World::new();
    let header = world.header();
    let good = world.sealed(&header);
    let body = good.len() - SECTIONS.iter().map(|(_, text)| text.len()).sum::<usize>();
    let with = |at: usize, byte: u8| {
        let mut file = good.clone();
        file[at] = byte;
        file
    };
    let text = |from: &str, to: &str| String::from_utf8(good.clone()).unwrap().replacen(from, to, 1).into_bytes();
    let signature = String::from_utf8(good[header.len()..body - 1].to_vec()).unwrap();

    // The last digit before the padding carries two bits of the signature and four zeros: the next digit
    // decodes to the same bytes.
    let last_digit = body - 5;

    for (file, reason) in [
        (with(0, b'd'), "no whitelist"),
        (text("whitelist.v1", "whitelist.v2"), "no whitelist"),
        (text("version: 42", "version: 41"), "does not fit the header"),
        (with(header.len() + 80, b'!'), "no base64"),
        (text("==\n\n", "=\n\n"), "no base64"),
        (with(last_digit, good[last_digit] + 1), "not written as base64"),
        (text(&signature, ""), "no signature of key"),
        (text("sig ed25519", "seg ed25519"), "is no signature"),
        (with(body, b'I'), "section provenance"),
        (text("/opt/cache", "/opt/cachf"), "section excludes"),
        (text("/opt/two", "/opt/tw0"), "section entries"),
        ([&good[..], b"\n"].concat(), "the file has"),
        (good[..good.len() - 1].to_vec(), "section entries"),
        (good[..body - 1].to_vec(), "no empty line"),
        (good[..header.len() - 1].to_vec(), "ends within its header"),
        (good[..20].to_vec(), "no first line"),
        (Vec::new(), "no first line"),
    ] {
        world.refuses(&file, "key.pub", reason);
    }
    // Moved from one section to the next without a change of the bytes.
    let header = String::from_utf8(header).unwrap();
    let moved = header.replace("section: excludes 11", "section: excludes 12");
    assert_ne!(moved, header);
    world.refuses(&world.sealed(moved.as_bytes()), "key.pub", "section excludes");
    for (from, to, reason) in [
        ("format: 1", "format: 2", "unknown format"),
        ("created", "creatid", "no created"),
        ("section: rules", "section: roles", "no section rules"),
        ("section: rules 0", "section: rules 00", "is no length"),
    ] {
        let other = header.replace(from, to);
        let signed = pae(WHITELIST, other.split_once('\n').unwrap().1);
        world.refuses(&world.sealed(&signed), "key.pub", reason);
    }
}

#[test]
fn judges_a_trust_root_likewise() {
    let world = World::new();
    let section = "role root - 1\n";
    let seal = format!("section: keys {} sha256:{}\n", section.len(), hex(&Sha256::digest(section)));
    let lines = "format: 1\nname: site\nversion: 7\ncreated: 2026-11-23T16:00:00Z\nexpires: never\n".to_owned() + &seal;
    let signed = pae(TRUST_ROOT, &lines);
    let good = world.sealed_with(&signed, section);
    let output = world.verify(&good, "key.pub");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("signed this trust root") && text.contains("name: site\nversion: 7\n"), "{text}");
    assert!(text.contains(&hex(&Sha256::digest(&signed))), "no identity in {text}");

    let text = |from: &str, to: &str| String::from_utf8(good.clone()).unwrap().replacen(from, to, 1).into_bytes();
    for (file, reason) in [
        (text("trust-root.v1", "trust-root.v2"), "no trust root"),
        (text("DSSEv1 38", "DSSEv1 37"), "no trust root"),
        (text(" \nformat", "\nformat"), "does not end with a blank"),
        (text("version: 7", "version: 8"), "does not fit the header"),
        (text("role root - 1", "role root - 2"), "section keys"),
        ([&good[..], b"\n"].concat(), "the file has"),
        (good[..good.len() - 1].to_vec(), "section keys"),
    ] {
        world.refuses(&file, "key.pub", reason);
    }
    world.refuses(&good, "other.pub", "no signature of key");
    // The type decides which lines there are.
    let empty = hex(&Sha256::digest(""));
    for (kind, lines, reason) in [
        (TRUST_ROOT, lines.replace("section: keys", "section: rules"), "no section keys"),
        (TRUST_ROOT, lines.replace("section: keys", "file-hash: sha256\nsection: keys"), "no section keys"),
        (TRUST_ROOT, format!("{lines}section: rules 0 sha256:{empty}\n"), "a line too many"),
        (WHITELIST, lines.clone(), "no file-hash"),
    ] {
        world.refuses(&world.sealed_with(&pae(kind, &lines), section), "key.pub", reason);
    }
}

#[test]
fn refuses_other_keys() {
    let world = World::new();
    let good = world.sealed(&world.header());
    world.refuses(&good, "other.pub", "no signature of key");
    world.refuses(&good, "rsa.pub", "no Ed25519 key");
    world.refuses(&good, "key", "no public key");
    world.refuses(&good, "missing", "cannot read");
}

/// A folder with an Ed25519 key, another one, and an RSA key, all made by openssl.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        for (name, kind) in [("key", "ED25519"), ("other", "ED25519"), ("rsa", "RSA")] {
            let (key, public) = (world.path(name), world.path(&format!("{name}.pub")));
            succeeds(Command::new("openssl").args(["genpkey", "-quiet", "-algorithm", kind, "-out"]).arg(&key));
            succeeds(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public));
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn header(&self) -> Vec<u8> {
        let mut lines = "format: 1\nname: prod-web\nversion: 42\ncreated: 2026-11-23T16:00:00Z\nexpires: never\n\
                         file-hash: sha256\n"
            .to_owned();
        for (name, text) in SECTIONS {
            lines += &format!("section: {name} {} sha256:{}\n", text.len(), hex(&Sha256::digest(text)));
        }
        pae(WHITELIST, &lines)
    }

    /// The whole file: `header`, its signature by openssl, and the sections.
    fn sealed(&self, header: &[u8]) -> Vec<u8> {
        self.sealed_with(header, &SECTIONS.map(|(_, text)| text).concat())
    }

    fn sealed_with(&self, header: &[u8], body: &str) -> Vec<u8> {
        let (signed, signature) = (self.path("signed"), self.path("signature"));
        fs::write(&signed, header).unwrap();
        let mut sign = Command::new("openssl");
        sign.args(["pkeyutl", "-sign", "-rawin", "-inkey"]).arg(self.path("key"));
        succeeds(sign.arg("-in").arg(&signed).arg("-out").arg(&signature));
        let base64 = succeeds(Command::new("base64").arg("--wrap=0").arg(&signature));
        let public =
            succeeds(Command::new("openssl").args(["pkey", "-outform", "DER", "-pubout", "-in"]).arg(self.path("key")));
        let mut file = header.to_vec();
        file.extend(format!("sig ed25519 {} ", hex(&Sha256::digest(&public))).bytes());
        file.extend(base64);
        file.extend(b"\n\n");
        file.extend(body.bytes());
        file
    }

    fn verify(&self, file: &[u8], key: &str) -> Output {
        let path = self.path("list");
        fs::write(&path, file).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/emergency-verify.sh");
        Command::new("sh").arg(script).arg(path).arg(self.path(key)).output().unwrap()
    }

    fn refuses(&self, file: &[u8], key: &str, reason: &str) {
        let output = self.verify(file, key);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "expected: {reason}; said: {message}");
        assert!(
            message.starts_with("NOT VERIFIED: ") && message.contains(reason),
            "expected: {reason}; said: {message}"
        );
        assert!(output.stdout.is_empty());
    }
}

/// The DSSE pre-authentication encoding of these header lines; the payload starts with LF.
fn pae(kind: &str, lines: &str) -> Vec<u8> {
    format!("DSSEv1 {} {kind} {} \n{lines}", kind.len(), lines.len() + 1).into_bytes()
}

fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
