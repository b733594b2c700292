//! `import`: what a transcript cannot hold.

use std::fs;
use std::path::Path;

use goldseal_verifier_core::list::inspect;

use crate::world::World;

const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn order_repetitions_and_spelling_do_not_matter() {
    let world = World::new();
    world.write("a", format!("{SHA256}  /b\n{SHA1}  /a\n{SHA256}  /a\n"));
    let upper = SHA1.to_uppercase();
    world.write("b", format!("{SHA256} */a\r\n{upper} /a\r\n{SHA256}  //b\r\n{SHA256}  /b\r\n"));
    for name in ["a", "b"] {
        assert!(world.run(&format!("import {name} -o {name}.list --quiet")).status.success());
    }
    let entries = world.run("show a.list --entries").stdout;
    assert_eq!(entries, format!("{SHA1}  /a\n{SHA256}  /a\n{SHA256}  /b\n").into_bytes());
    assert_eq!(world.run("show b.list --entries").stdout, entries);
    let header = String::from_utf8(world.run("show b.list --header").stdout).unwrap();
    assert!(header.contains("file-hash: sha1,sha256\n"), "{header}");
}

#[test]
fn what_excludes_take_is_left_out_and_counted() {
    let world = World::new();
    world.write("flat", format!("{SHA256}  /opt/x/1\n{SHA256}  /opt/x/2\n{SHA256}  /opt/y\n{SHA256}  /usr/z\n"));
    assert!(world.run("import flat -o list --exclude /opt/. --quiet").status.success());
    let list = inspect(world.read("list")).unwrap();
    assert_eq!(list.contents().entry_count(), 1);
    let provenance = String::from_utf8(world.run("show list --provenance").stdout).unwrap();
    assert!(provenance.contains("excluded 2 /opt/.\n"), "a folder counts once: {provenance}");
}

#[test]
fn a_line_at_fault_leaves_nothing_behind() {
    let world = World::new();
    world.write("flat", format!("{SHA256}  /a\n{SHA256}  /a/../b\n"));
    let before = world.names();
    world.refuses("import flat -o list", 3, "flat, line 2: /a/../b cannot be the path of a listed file");
    world.refuses("import flat -o flat", 3, "line 2");
    world.refuses("import flat -o none/list", 3, "line 2");
    assert_eq!(world.names(), before);
}

#[test]
fn an_input_is_not_overwritten() {
    let world = World::new();
    let flat = format!("{SHA256}  /a\n");
    world.write("flat", &flat);
    world.refuses("import flat -o flat", 2, "flat is one of the inputs");
    assert_eq!(world.read("flat"), flat.into_bytes());
}

/// A list of coreutils' own sums of this package's sources: the digests are right, not only well-formed.
#[test]
fn digests_are_those_of_the_files() {
    let world = World::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    let sums = std::process::Command::new("sha512sum").arg(&source).output().unwrap().stdout;
    world.write("sums", &sums);
    assert!(world.run("import sums -o list --quiet").status.success());
    let list = inspect(world.read("list")).unwrap();
    let entry = list.contents().entries().next().unwrap();
    let mut hasher = goldseal_tools::hash::Hasher::new(&[goldseal_verifier_core::digest::HashAlgorithm::Sha512]);
    hasher.update(&fs::read(&source).unwrap());
    assert_eq!(entry.digest, hasher.finish()[0].to_string().as_bytes());
}
