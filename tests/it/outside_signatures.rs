//! Strict verification, held to signatures that others made: each file of testdata/wycheproof and testdata/speccheck.
//!
//! docs/format.md, Signatures: S below the group order, canonical encodings, neither the key nor R of small order.

use std::fs;
use std::path::Path;

use goldseal_verifier_core::key::{KeyError, PublicKey};
use serde_json::Value;

use crate::walls::root;

/// One signature and what its makers, or a strict reading of them, say about it.
struct Vector {
    name: String,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    is_valid: bool,
}

/// Vectors whose result here is not their makers', each with the reason. None: Wycheproof has no valid signature that
/// strict verification refuses, and of speccheck only the strict reading is asked for.
const EXCUSED: [(&str, &str); 0] = [];

#[test]
fn every_outside_signature_is_judged_as_its_makers_say() {
    let mut counted = Vec::new();
    for (folder, read) in [("wycheproof", wycheproof as fn(&str) -> Vec<Vector>), ("speccheck", speccheck)] {
        let files = files(&root().join("testdata").join(folder));
        assert!(!files.is_empty(), "testdata/{folder} has moved");
        for (file, text) in files {
            let vectors = read(&text);
            for vector in &vectors {
                let excuse = EXCUSED.iter().find(|(name, _)| *name == vector.name);
                let agrees = verifies(vector) == vector.is_valid;
                assert!(agrees != excuse.is_some(), "{folder}/{file}: {} (excused: {excuse:?})", vector.name);
            }
            let valid = vectors.iter().filter(|vector| vector.is_valid).count();
            counted.push((folder, vectors.len(), valid));
        }
    }
    assert_eq!(counted, [("wycheproof", 151, 88), ("speccheck", 12, 1)]);
}

/// They do not get as far as a signature: one that they made would fit many messages.
#[test]
fn keys_of_small_order_are_refused_when_they_are_loaded() {
    let text = fs::read_to_string(root().join("testdata/speccheck/ed25519.txt")).unwrap();
    let loaded: Vec<_> = speccheck(&text).iter().map(|vector| PublicKey::from_spki_der(&vector.key).err()).collect();
    let weak: Vec<usize> = (0..loaded.len()).filter(|number| loaded[*number] == Some(KeyError::Weak)).collect();
    assert_eq!(weak, [0, 1, 10, 11]);
    assert!(loaded.iter().flatten().all(|error| *error == KeyError::Weak), "{loaded:?}");
}

/// A signature of another length is none: the container does not let it through either.
fn verifies(vector: &Vector) -> bool {
    let Ok(key) = PublicKey::from_spki_der(&vector.key) else { return false };
    vector.signature.as_slice().try_into().is_ok_and(|signature| key.verifies(&vector.message, signature))
}

/// Wycheproof, schema `eddsa_verify_schema_v1.json`: the keys come as SubjectPublicKeyInfo.
fn wycheproof(text: &str) -> Vec<Vector> {
    let file: Value = serde_json::from_str(text).unwrap();
    assert_eq!(file["schema"], "eddsa_verify_schema_v1.json");
    let groups = file["testGroups"].as_array().unwrap().iter();
    let vectors = groups.flat_map(|group| {
        group["tests"].as_array().unwrap().iter().map(|test| Vector {
            name: format!("{}: {}", test["tcId"], test["comment"]),
            key: hex(group["publicKeyDer"].as_str().unwrap()),
            message: hex(test["msg"].as_str().unwrap()),
            signature: hex(test["sig"].as_str().unwrap()),
            is_valid: match test["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("a result to think about: {other}"),
            },
        })
    });
    let vectors: Vec<Vector> = vectors.collect();
    assert_eq!(file["numberOfTests"], vectors.len());
    vectors
}

/// Speccheck: a count, then three lines for each vector. Only number 3 is good under strict verification.
fn speccheck(text: &str) -> Vec<Vector> {
    let mut lines = text.lines();
    let count: usize = lines.next().unwrap().parse().unwrap();
    let mut field = |name: &str| hex(lines.next().unwrap().strip_prefix(name).unwrap());
    let vectors = (0..count).map(|number| Vector {
        name: number.to_string(),
        message: field("msg="),
        key: [&hex("302a300506032b6570032100")[..], &field("pbk=")].concat(),
        signature: field("sig="),
        is_valid: number == 3,
    });
    let vectors = vectors.collect();
    assert_eq!(lines.next(), None);
    vectors
}

/// Names and contents of a folder's files but its README.
fn files(folder: &Path) -> Vec<(String, String)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension != "md"));
    paths.map(|path| (path.file_name().unwrap().display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii());
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
