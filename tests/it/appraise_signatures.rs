//! Files that are not listed and signed: accepted by rule, and by nothing that is almost right.

use std::fs;

use goldseal_tests::forge::ak::hash;
use goldseal_tests::forge::file_signatures::{self, FileKey, openssl_sign, signature_field};
use goldseal_tests::forge::machine::{Machine, assert_findings};
use goldseal_tests::forge::measurements::{Measurement, digest, text};
use goldseal_tests::{World, shell};
use goldseal_verifier_core::appraise::{FindingKind, SignatureNote};
use goldseal_verifier_core::digest::HashAlgorithm;

use HashAlgorithm::{Sha1, Sha256, Sha384, Sha512};

const PATH: &str = "/opt/signed/app";
const CONTENTS: &[u8] = b"#!/bin/app";

/// `None` if the file was accepted as signed.
fn note(rules: &[String], measurement: Measurement) -> Option<SignatureNote> {
    let mut machine = Machine::perfect();
    for rule in rules {
        machine.golden.rule(rule.as_str());
    }
    machine.measure(measurement);
    let result = machine.appraise();
    if result.findings().is_empty() {
        assert_eq!((result.counts().signed, result.counts().good, result.counts().excluded), (1, 2, 0));
        return None;
    }
    assert_findings(&result, &[(PATH, "not-in-whitelist")]);
    let FindingKind::NotInWhitelist { signature, .. } = result.findings()[0].kind else { panic!("{result:?}") };
    Some(signature)
}

fn signed(field: &[u8]) -> Measurement {
    Measurement::sig(PATH, CONTENTS, field)
}

fn rule(key: FileKey) -> Vec<String> {
    vec![key.rule("/opt/signed")]
}

#[test]
fn each_kind_of_key_signs() {
    for key in FileKey::ALL {
        for algorithm in [Sha256, Sha384, Sha512] {
            let field = key.sign(algorithm, CONTENTS);
            let measurement = Measurement::of("ima-sig", &[&digest(algorithm, CONTENTS), &text(PATH), &field]);
            assert_eq!(note(&rule(key), measurement), None, "{key:?} {algorithm}");
        }
    }
}

#[test]
fn a_signature_is_by_the_key_of_a_rule() {
    for key in FileKey::ALL {
        let measurement = || signed(&key.sign(Sha256, CONTENTS));
        assert_eq!(note(&[], measurement()), Some(SignatureNote::NoRule));
        for other in FileKey::ALL.into_iter().filter(|other| *other != key) {
            assert_eq!(note(&rule(other), measurement()), Some(SignatureNote::Bad), "{key:?} by {other:?}");
        }
        // One of several.
        let all: Vec<String> = FileKey::ALL.into_iter().map(|key| key.rule("/opt/signed")).collect();
        assert_eq!(note(&all, measurement()), None);
    }
}

#[test]
fn a_signature_counts_below_its_pattern() {
    let measurement = || signed(&FileKey::P256.sign(Sha256, CONTENTS));
    for (pattern, expected) in [
        ("/opt", None),
        ("/opt/signed/app", None),
        ("/opt/signed/.*", None),
        ("/opt/signed/ap", Some(SignatureNote::NoRule)),
        ("/opt/signe", Some(SignatureNote::NoRule)),
        ("/usr/local", Some(SignatureNote::NoRule)),
    ] {
        assert_eq!(note(&[FileKey::P256.rule(pattern)], measurement()), expected, "{pattern}");
    }
    let mut machine = Machine::perfect();
    machine.golden.rule(FileKey::P256.rule("/?opt"));
    machine.measure(Measurement::sig("opt/app", CONTENTS, &FileKey::P256.sign(Sha256, CONTENTS)));
    assert_findings(&machine.appraise(), &[("opt/app", "relative-name")]);
}

#[test]
fn a_signature_is_over_the_digest_of_the_entry() {
    let field = FileKey::Rsa.sign(Sha256, b"other contents");
    assert_eq!(note(&rule(FileKey::Rsa), signed(&field)), Some(SignatureNote::Bad));
    // Right, and its header names another algorithm than the entry's digest has.
    for (of_digest, of_header) in [(Sha256, Sha512), (Sha512, Sha256), (Sha384, Sha256)] {
        let field = FileKey::Rsa.sign(of_header, CONTENTS);
        let measurement = Measurement::of("ima-sig", &[&digest(of_digest, CONTENTS), &text(PATH), &field]);
        assert_eq!(note(&rule(FileKey::Rsa), measurement), Some(SignatureNote::Bad), "{of_digest} {of_header}");
    }
}

/// Whatever the rules say of SHA-1 elsewhere.
#[test]
fn a_signature_over_sha1_is_none() {
    let field = FileKey::Rsa.sign(Sha1, CONTENTS);
    let measurement = || Measurement::of("ima-sig", &[&digest(Sha1, CONTENTS), &text(PATH), &field]);
    assert_eq!(note(&rule(FileKey::Rsa), measurement()), Some(SignatureNote::Bad));
    let mut rules = rule(FileKey::Rsa);
    rules.extend(["accept-digest sha1".to_owned(), "accept-bank sha1".to_owned()]);
    assert_eq!(note(&rules, measurement()), Some(SignatureNote::Bad));
}

#[test]
fn only_type_3_is_accepted() {
    let mut field = FileKey::P256.sign(Sha256, CONTENTS);
    for kind in [0, 1, 2, 4, 5, 6, 7, 0xff] {
        field[0] = kind;
        assert_eq!(note(&rule(FileKey::P256), signed(&field)), Some(SignatureNote::NotAccepted { kind }));
    }
    assert_eq!(note(&rule(FileKey::P256), signed(b"")), Some(SignatureNote::None));
    field[0] = 3;
    for version in [0, 1, 3] {
        field[1] = version;
        assert_eq!(note(&rule(FileKey::P256), signed(&field)), Some(SignatureNote::Bad), "version {version}");
    }
}

#[test]
fn a_field_is_one_signature_exactly() {
    for key in [FileKey::Rsa, FileKey::P256] {
        let field = key.sign(Sha256, CONTENTS);
        for length in 1..field.len() {
            assert_eq!(note(&rule(key), signed(&field[..length])), Some(SignatureNote::Bad), "{length} bytes");
        }
        let longer = [&field[..], b"\0"].concat();
        assert_eq!(note(&rule(key), signed(&longer)), Some(SignatureNote::Bad));
        // With the length that it has.
        let longer = signature_field(Sha256, &[&field[9..], b"\0"].concat());
        assert_eq!(note(&rule(key), signed(&longer)), Some(SignatureNote::Bad));
        for at in 9..field.len() {
            let mut changed = field.clone();
            changed[at] ^= 1;
            assert_eq!(note(&rule(key), signed(&changed)), Some(SignatureNote::Bad), "byte {at}");
        }
        // The key id is a hint.
        let mut changed = field.clone();
        changed[3..7].fill(0);
        assert_eq!(note(&rule(key), signed(&changed)), None);
    }
}

/// The list decides before any signature does.
#[test]
fn a_listed_path_is_not_saved_by_its_signature() {
    let mut machine = Machine::perfect();
    machine.golden.rule(FileKey::P256.rule("/opt/signed")).lists_file(PATH, b"golden contents").excludes("/opt/signed");
    machine.measure(signed(&FileKey::P256.sign(Sha256, CONTENTS)));
    assert_findings(&machine.appraise(), &[(PATH, "digest-differs")]);
}

/// And a signature before the excludes do, so that it is counted as what it is.
#[test]
fn a_signed_file_is_not_excluded() {
    let mut machine = Machine::perfect();
    machine.golden.rule(FileKey::P256.rule("/opt/signed")).excludes("/opt/signed");
    machine.measure(signed(&FileKey::P256.sign(Sha256, CONTENTS)));
    machine.measure(signed(b""));
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!((result.counts().signed, result.counts().excluded), (1, 1));
}

/// fs-verity digests are signed in another way, which is not accepted.
#[test]
fn a_verity_digest_has_no_such_signature() {
    let value = [b"verity:sha256:\0", &hash(Sha256, CONTENTS)[..]].concat();
    let field = FileKey::P256.sign(Sha256, CONTENTS);
    let measurement = Measurement::of("ima-sigv2", &[&value, &text(PATH), &field]);
    assert_eq!(note(&rule(FileKey::P256), measurement), Some(SignatureNote::Bad));
}

/// Template evm-sig has it among the extended attributes.
#[test]
fn template_evm_sig_has_the_signature_elsewhere() {
    let field = FileKey::P256.sign(Sha256, CONTENTS);
    let length = |value: &[u8]| u32::try_from(value.len()).unwrap().to_le_bytes();
    let evm = |evm: &[u8], names: &str, values: &[&[u8]]| {
        let lengths: Vec<u8> = values.iter().flat_map(|value| length(value)).collect();
        let (value, name) = (digest(Sha256, CONTENTS), text(PATH));
        let owner = 0_u32.to_le_bytes();
        let fields = [&value[..], &name, evm, &text(names), &lengths, &values.concat(), &owner, &owner, &[0xed, 0x81]];
        Measurement::of("evm-sig", &fields)
    };
    let mut rules = rule(FileKey::P256);
    rules.extend(["template evm-sig".to_owned(), "template ima-ng".to_owned()]);
    assert_eq!(note(&rules, evm(b"", "security.ima", &[&field])), None);
    let (selinux, ima) = (&b"label"[..], &field[..]);
    assert_eq!(note(&rules, evm(b"", "security.selinux|security.ima", &[selinux, ima])), None);
    assert_eq!(note(&rules, evm(b"\x05", "security.selinux|security.ima", &[selinux, ima])), None);
    let not_accepted = Some(SignatureNote::NotAccepted { kind: 5 });
    for (names, values) in [
        ("security.ima|security.selinux", &[selinux, ima][..]),
        ("security.selinux|security.ima", &[ima]),
        ("security.imb", &[ima]),
        ("security.ima", &[b"\x04\x04hash"]),
        ("security.ima", &[]),
    ] {
        assert_eq!(note(&rules, evm(b"\x05", names, values)), not_accepted, "{names}");
        assert_eq!(note(&rules, evm(b"", names, values)), Some(SignatureNote::None), "{names}");
    }
}

#[test]
fn a_key_of_rsa_has_2048_bits_and_more() {
    let world = World::new();
    for (bits, expected) in [(1_024, Some(SignatureNote::NoRule)), (2_048, None), (4_096, None)] {
        shell(
            &world.path(""),
            &format!("openssl genrsa -out key {bits} && openssl rsa -in key -pubout -outform DER -out pub"),
        );
        let rules = [file_signatures::rule("rsa-pkcs1", &fs::read(world.path("pub")).unwrap(), "/opt/signed")];
        let field = signature_field(Sha256, &openssl_sign(&world.path("key"), Sha256, CONTENTS));
        assert_eq!(note(&rules, signed(&field)), expected, "{bits} bits");
    }
}
