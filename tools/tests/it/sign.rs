//! What no transcript of `sign` can hold: passphrases, modes, signals, and programs that are not ours.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use goldseal_verifier_core::envelope::{MAX_SIGNATURES, SignatureLine};
use goldseal_verifier_core::key::KeyId;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{World, bytes, whitelist};

/// A folder with an unsealed list.
fn world() -> World {
    let world = World::new();
    world.write("list", world.sealed(whitelist(), &[]));
    world
}

#[test]
fn coreutils_and_openssl_alone_verify_what_was_signed() {
    let world = world();
    assert!(world.run("sign list --key alice.key").status.success());
    assert!(world.run("sign list --key bob.key --trust alice.pub").status.success());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/emergency-verify.sh");
    let verify = |key| {
        let mut sh = Command::new("sh");
        sh.arg(&script).args(["list", key]).current_dir(world.folder()).output().unwrap()
    };
    for key in ["alice.pub", "bob.pub"] {
        let output = verify(key);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!verify("carol.pub").status.success());
}

#[test]
fn signing_twice_changes_not_a_byte() {
    let world = world();
    assert!(world.run("sign list --key alice.key").status.success());
    let (once, inode) = (world.read("list"), world.path("list").metadata().unwrap().ino());
    let again = world.run("sign list --key alice.key");
    assert!(String::from_utf8_lossy(&again.stdout).contains("UNCHANGED"));
    assert_eq!((world.read("list"), world.path("list").metadata().unwrap().ino()), (once.clone(), inode));
    assert!(world.run("sign list --key alice.key -o copy").status.success());
    assert_eq!(world.read("copy"), once);
}

#[test]
fn the_order_of_signers_does_not_matter() {
    let world = world();
    world.write("other", world.read("list"));
    for (list, keys) in [("list", ["alice", "bob"]), ("other", ["bob", "alice"])] {
        for key in keys {
            assert!(world.run(&format!("sign {list} --key {key}.key")).status.success());
        }
    }
    assert_eq!(world.read("list"), world.read("other"));
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let world = world();
    let before = world.read("list");
    world.write("right", "correct horse\n");
    world.write("wrong", "correct house\n");
    let run = |arguments: &str, passphrase: &str| {
        world.command(arguments).stdin(File::open(world.path(passphrase)).unwrap()).output().unwrap()
    };
    assert!(run("keygen new.key --passphrase-fd 0", "right").status.success());
    let refused = run("sign list --key new.key --passphrase-fd 0 --json", "wrong");
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stdout).contains(r#""reason":"wrong-passphrase""#));
    assert_eq!(world.read("list"), before);
    assert!(run("sign list --key new.key --passphrase-fd 0", "right").status.success());
    assert!(world.run("verify list --trust new.key.pub").status.success());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let world = world();
    let before = world.read("list");
    fs::set_permissions(world.path("alice.key"), fs::Permissions::from_mode(0o644)).unwrap();
    world.refuses("sign list --key alice.key", 3, "(mode 0644)\n  chmod 600 alice.key");
    assert_eq!(world.read("list"), before);
}

#[test]
fn the_list_keeps_its_mode_and_its_other_name() {
    let world = world();
    fs::set_permissions(world.path("list"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("list", world.path("link")).unwrap();
    assert!(world.run("sign link --key alice.key").status.success());
    assert!(world.path("link").is_symlink());
    assert_eq!(world.path("list").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(world.run("verify list --trust alice.pub").status.success());
}

/// A signature of an algorithm to come is kept as it is; the line of a known key under it is a wrong signature.
#[test]
fn a_signature_of_an_unknown_algorithm_is_kept() {
    let world = world();
    assert!(world.run("sign list --key alice.key").status.success());
    let line = format!("sig ml-dsa-87 {} {}\n\n", "f".repeat(64), "AAAA".repeat(1_200));
    let text = String::from_utf8(world.read("list")).unwrap();
    world.write("list", text.replacen("\n\n", &format!("\n{line}"), 1));
    let signed = world.run("sign list --key bob.key");
    assert!(String::from_utf8_lossy(&signed.stdout).contains(&format!("{} (kept, NOT checked", "f".repeat(64))));
    assert!(String::from_utf8(world.read("list")).unwrap().contains(&line));
    world.write("list", text.replacen("sig ed25519", "sig ml-dsa-87", 1));
    world.refuses("sign list --key bob.key --trust alice.pub", 3, "the signature of alice is not right");
}

#[test]
fn there_is_room_for_so_many_signatures() {
    let world = world();
    let mut list = whitelist().print().unwrap();
    for number in 0..MAX_SIGNATURES {
        let id = KeyId::from_hex(format!("{number:064x}").as_bytes()).unwrap();
        list.insert(SignatureLine::ed25519(id, [7; 64])).unwrap();
    }
    world.write("list", bytes(&list));
    world.refuses("sign list --key alice.key", 3, "it has more than 16 signatures with this one");
    assert_eq!(world.read("list"), bytes(&list));
}

/// Ctrl-C while it waits for the passphrase: the list is as it was, and nothing lies beside it.
#[test]
fn an_interrupt_leaves_nothing_behind() {
    let world = world();
    world.write("passphrase", "correct horse\n");
    let passphrase = File::open(world.path("passphrase")).unwrap();
    assert!(world.command("keygen new.key --passphrase-fd 0").stdin(passphrase).status().unwrap().success());
    let (list, names) = (world.read("list"), world.names());
    let (reader, writer) = io::pipe().unwrap();
    let mut sign = world.command("sign list --key new.key --passphrase-fd 0");
    let mut child = sign.stdin(reader).stdout(Stdio::piped()).spawn().unwrap();
    // It has told all about the list when it waits for the key, and the output is begun by then.
    let mut told = io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("rules") {
        line.clear();
        assert_ne!(io::BufRead::read_line(&mut told, &mut line).unwrap(), 0);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    drop(writer);
    assert_eq!((world.read("list"), world.names()), (list, names));
}

/// Nobody reads on when it is done; the exit code speaks of the list.
#[test]
fn a_reader_that_leaves_early_does_not_undo_a_signature() {
    let world = world();
    world.write("passphrase", "correct horse\n");
    let passphrase = File::open(world.path("passphrase")).unwrap();
    assert!(world.command("keygen new.key --passphrase-fd 0").stdin(passphrase).status().unwrap().success());
    let (reader, mut writer) = io::pipe().unwrap();
    let mut sign = world.command("sign list --key new.key --passphrase-fd 0");
    let mut child = sign.stdin(reader).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    // The last line before it waits for the passphrase.
    while !line.contains("input") {
        line.clear();
        assert_ne!(io::BufRead::read_line(&mut told, &mut line).unwrap(), 0);
    }
    drop(told);
    io::Write::write_all(&mut writer, b"correct horse\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(world.run("verify list --trust new.key.pub").status.success());
}
