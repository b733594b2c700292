//! What `goldseal export` says about a list, read by other programs: an envelope with the same signatures, a statement,
//! and docs/export.md's way to a policy that Keylime takes as signed.

use std::fs;
use std::process::Command;

use goldseal_tests::{World, output_of, shell};
use serde_json::{Value, json};

use crate::walls::root;

/// alice and bob have sealed it: a vector, whose signatures were made by Python.
fn sealed() -> World {
    let world = World::new();
    let vector = fs::read(root().join("testdata/vectors/ok-two-of-two.vector")).unwrap();
    let end = vector.windows(2).position(|two| two == b"\n\n").unwrap();
    world.file("list", &vector[end + 2..]);
    for key in ["alice", "bob", "carol"] {
        world.file(format!("{key}.pub"), fs::read(root().join(format!("testdata/keys/{key}.pub"))).unwrap());
    }
    world
}

/// What tests/verify-dsse.py says to `envelope` under these keys: type and payload, if it verifies.
fn verify(world: &World, envelope: &str, keys: &[&str]) -> Option<String> {
    let mut python = Command::new("/usr/bin/python3");
    python.arg(root().join("tests/verify-dsse.py")).arg(world.path(envelope));
    python.args(keys.iter().map(|key| world.path(format!("{key}.pub"))));
    let output = python.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() || message.ends_with("no good signature\n"), "{message}");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// securesystemslib 1.6.0 was asked by hand as well: its `dsse.Envelope.verify` took both keys at a threshold of 2.
#[test]
fn an_envelope_has_the_same_signatures() {
    let world = sealed();
    world.goldseal("export list --format dsse --trust alice.pub --trust bob.pub -o list.dsse.json").exits(0);
    let said = verify(&world, "list.dsse.json", &["alice", "bob"]).unwrap();
    let list = fs::read_to_string(world.path("list")).unwrap();
    let (line, header) = list.split_once("sig ed25519").unwrap().0.split_once('\n').unwrap();
    assert_eq!(said, format!("application/vnd.goldseal.whitelist.v1\n\n{header}"));
    assert!(line.ends_with(&format!(" {} ", header.len() + 1)), "the payload starts with the LF of {line}");
    assert_eq!(verify(&world, "list.dsse.json", &["carol"]), None);

    let envelope = object(&fs::read(world.path("list.dsse.json")).unwrap());
    let lines = list.lines().filter_map(|line| line.strip_prefix("sig ed25519 "));
    let lines: Vec<&str> = lines.collect();
    let signatures = envelope["signatures"].as_array().unwrap().iter();
    let signatures = signatures.map(|line| format!("{} {}", line["keyid"], line["sig"]).replace('"', ""));
    assert_eq!(signatures.collect::<Vec<_>>(), lines);
    // Each byte of what is signed counts.
    for (from, to) in [("whitelist.v1", "whitelist.v2"), ("CmZvcm1hdDogMQ", "CmZvcm1hdDogMg")] {
        let text = fs::read_to_string(world.path("list.dsse.json")).unwrap();
        assert_eq!(text.matches(from).count(), 1);
        world.file("changed.json", text.replace(from, to));
        assert_eq!(verify(&world, "changed.json", &["alice"]), None, "{from}");
    }
}

/// A line of an algorithm that nobody knows yet is a signature like others, for whoever knows it.
#[test]
fn an_envelope_has_every_signature_line() {
    let world = sealed();
    let vector = fs::read(root().join("testdata/vectors/ok-unknown-algorithm.vector")).unwrap();
    let end = vector.windows(2).position(|two| two == b"\n\n").unwrap();
    world.file("list", &vector[end + 2..]);
    world.goldseal("export list --format dsse -o list.dsse.json").exits(0);
    let envelope = object(&fs::read(world.path("list.dsse.json")).unwrap());
    assert_eq!(envelope["signatures"].as_array().unwrap().len(), 2);
    assert!(verify(&world, "list.dsse.json", &["alice"]).is_some());
}

#[test]
fn an_envelope_without_signatures_is_not_written() {
    let world = World::new();
    world.file("tree/one", "one");
    world.build("--root tree --name prod");
    for trust in ["", "--trust alice.pub"] {
        world.file("alice.pub", fs::read(root().join("testdata/keys/alice.pub")).unwrap());
        let before = world.snapshot();
        let run = world.goldseal(&format!("export out.whitelist --format dsse {trust} -o out.json --json")).exits(3);
        assert_eq!(object(run.stdout())["reason"], "unsealed");
        assert_eq!(world.snapshot(), before);
    }
}

#[test]
fn a_statement_names_the_file_and_what_it_was_made_from() {
    let world = World::new();
    world.file("tree/one", "one");
    world.file("sums", shell(&world.path("tree"), "sha256sum one | sed 's, , /usr/bin/,2'"));
    world.goldseal("import sums -o imported --name base").exits(0);
    world.goldseal("build --root tree --list imported --name prod -o list --seal-new key --no-passphrase").exits(0);
    world.goldseal("export list --format in-toto -o statement --trust key.pub").exits(0);
    let statement = object(&fs::read(world.path("statement")).unwrap());
    let sum =
        |name: &str| String::from_utf8(shell(&world.path("."), &format!("sha256sum {name} | cut -c -64"))).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], sum("list").trim());
    assert_eq!(statement["subject"].as_array().unwrap().len(), 1);
    let predicate = &statement["predicate"];
    assert_eq!(
        predicate["list"]["identity"]["sha256"],
        object(world.goldseal("show list --json").stdout())["identity"]
    );
    assert_eq!(predicate["signers"][0]["verified"], true);
    let keyid = shell(&world.path("."), "openssl pkey -pubin -in key.pub -outform DER | sha256sum | cut -c -64");
    assert_eq!(predicate["signers"][0]["keyid"], String::from_utf8(keyid).unwrap().trim());
    // As the list itself says it.
    let provenance = world.list("list").provenance();
    let line = provenance.lines().find_map(|line| line.strip_prefix("input list ")).unwrap();
    let [identity, files, bytes, name] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let number = |text: &str| text.parse::<u64>().unwrap();
    let base = json!([{
        "name": name,
        "digest": { "sha256": identity },
        "annotations": { "kind": "list", "digestOf": "identity", "files": number(files), "bytes": number(bytes) },
    }]);
    assert_eq!(identity, object(world.goldseal("show imported --json").stdout())["identity"]);
    let tree = json!([{ "name": "tree", "annotations": { "kind": "root", "files": 1, "bytes": 3 } }]);
    assert_eq!(predicate["otherInputs"], tree);
    assert_eq!(predicate["resolvedDependencies"], base);

    // Nothing of when, where and by whose key it was checked, but whether.
    world.goldseal("export list --format in-toto -o again").exits(0);
    let again = fs::read_to_string(world.path("again")).unwrap();
    let first = fs::read_to_string(world.path("statement")).unwrap();
    assert_eq!(again.replace("\"verified\": false", "\"verified\": true"), first);
    assert_ne!(again, first);
}

/// The lines of docs/export.md, run as they are. Keylime 7.14.3 was asked by hand: `ima.verify_runtime_policy` took the
/// outcome and refused it with another type.
#[test]
fn keylime_policies_are_signed_by_openssl() {
    let page = fs::read_to_string(root().join("docs/export.md")).unwrap();
    let recipe = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let recipe = recipe.filter(|block| block.contains("openssl dgst")).collect::<String>();
    let world = sealed();
    world.goldseal("export list --format keylime-json -o policy.json").exits(0);
    shell(&world.path("."), "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ecdsa.pem");
    shell(&world.path("."), &format!("set -eu\n{recipe}"));
    let envelope = object(&fs::read(world.path("policy.dsse.json")).unwrap());
    assert_eq!(envelope["payloadType"], "application/vnd.keylime+json");
    // The verifier's own encoding of what is signed, and openssl's verdict on it.
    let check = "import base64, json
envelope = json.load(open('policy.dsse.json'))
kind, payload = envelope['payloadType'].encode(), base64.b64decode(envelope['payload'], validate=True)
assert payload == open('policy.json', 'rb').read()
open('signed', 'wb').write(b'DSSEv1 %d %b %d %b' % (len(kind), kind, len(payload), payload))
open('signature', 'wb').write(base64.b64decode(envelope['signatures'][0]['sig'], validate=True))
";
    output_of(Command::new("/usr/bin/python3").args(["-c", check]).current_dir(world.path(".")));
    let verified = shell(
        &world.path("."),
        "openssl pkey -in ecdsa.pem -pubout -out ecdsa.pub
         openssl dgst -sha256 -verify ecdsa.pub -signature signature signed",
    );
    assert_eq!(verified, b"Verified OK\n");
    let keyid = shell(&world.path("."), "sha256sum <ecdsa.pub | cut -c -64");
    assert_eq!(envelope["signatures"][0]["keyid"], String::from_utf8(keyid).unwrap().trim());
}

#[track_caller]
fn object(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}
