//! What no transcript of `show` can hold: other programs that read what it prints, and nobody who does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::header::{Section, SectionSeal};
use goldseal_verifier_core::list::inspect;

use crate::world::{World, odd_whitelist, whitelist};

#[test]
fn each_part_is_printed_byte_for_byte() {
    let world = World::new();
    let bytes = world.sealed(odd_whitelist(), &["alice"]);
    world.write("list", &bytes);
    let list = inspect(bytes.clone()).unwrap();
    let header = world.run("show list --header");
    assert!(bytes.starts_with(&header.stdout) && header.stderr.is_empty());
    assert_eq!(header.stdout, list.envelope().signed_bytes());
    for (section, seal) in Section::ALL.into_iter().zip(&list.header().sections) {
        let shown = world.run(&format!("show list --{section}"));
        assert!(shown.status.success() && shown.stderr.is_empty());
        assert!(!shown.stdout.is_empty());
        assert_eq!(SectionSeal::of(&shown.stdout), *seal, "{section}");
    }
}

#[test]
fn sha256sum_checks_the_entries() {
    let world = World::new();
    let folder = fs::canonicalize(world.folder()).unwrap();
    let mut list = whitelist();
    list.entries.clear();
    for name in ["plain", "with blank", "line\nfeed", "re\rturn", "back\\slash", "\u{1b}[2J\u{e9}"] {
        fs::write(folder.join(name), name).unwrap();
        let path = folder.join(name).into_os_string().into_encoded_bytes();
        list.entries.push((path, FileDigest::Contents(Digest::sha256(name.as_bytes()))));
    }
    world.write("list", world.sealed(list, &[]));
    let check = |entries: &[u8]| {
        let mut sha256sum = Command::new("sha256sum");
        let sha256sum = sha256sum.args(["--check", "--strict", "--quiet"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = sha256sum.stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(entries).unwrap();
        child.wait().unwrap().success()
    };
    let entries = world.run("show list --entries").stdout;
    assert_eq!(entries.iter().filter(|byte| **byte == b'\n').count(), 6);
    assert!(check(&entries));
    fs::write(folder.join("line\nfeed"), "changed").unwrap();
    assert!(!check(&entries));
}

/// `goldseal show LIST --entries | head`
#[test]
fn a_reader_that_leaves_early_is_no_reason_to_complain() {
    let world = World::new();
    let mut list = whitelist();
    let (path, digest) = list.entries[0].clone();
    list.entries.extend((0..10_000).map(|number| ([&path[..], format!("{number}").as_bytes()].concat(), digest)));
    world.write("list", world.sealed(list, &[]));
    for arguments in ["show list --entries", "show list"] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = world.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_full_disk_is_told() {
    let world = World::new();
    world.write("list", world.sealed(whitelist(), &[]));
    for arguments in ["show list --entries", "show list"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut child = world.command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let mut message = String::new();
        child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert!(message.contains("standard output takes no more: no space left on device"), "{message}");
    }
}
