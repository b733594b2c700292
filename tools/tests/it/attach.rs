//! `attach` and `tbs`: what transcripts cannot hold.

use std::fs::{self, File};
use std::io;
use std::process::{Command, Stdio};

use goldseal_verifier_core::envelope::{MAX_SIGNATURES, SignatureLine};
use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::list::inspect;

use crate::world::{World, bytes, whitelist};

/// A folder with an unsealed list, and one that bob has sealed.
fn world() -> World {
    let world = World::new();
    world.write("list", world.sealed(whitelist(), &[]));
    world.write("bobs", world.sealed(whitelist(), &["bob"]));
    world
}

#[test]
fn what_is_to_be_signed_is_on_standard_output_byte_for_byte() {
    let world = world();
    let signed = inspect(world.read("list")).unwrap().envelope().signed_bytes().to_vec();
    assert_eq!(world.run("tbs list").stdout, signed);
    assert_eq!(world.run("tbs bobs").stdout, signed, "signatures do not change it");
    assert!(world.run("tbs list -o bytes").status.success());
    assert_eq!(world.read("bytes"), signed);
    let mut pipe = Command::new("sh");
    pipe.args(["-c", "cat bobs | \"$0\" tbs /dev/stdin", env!("CARGO_BIN_EXE_goldseal")]).current_dir(world.folder());
    assert_eq!(pipe.output().unwrap().stdout, signed);
}

#[test]
fn every_form_gives_the_list_that_sign_gives() {
    let world = world();
    assert!(world.run("sign --detached list --key bob.key -o bob.sig").status.success());
    let line = world.run("sign --detached list --key bob.key").stdout;
    assert_eq!(world.read("bob.sig"), line, "nothing else is on standard output");
    world.write("raw", inspect(world.read("bobs")).unwrap().envelope().signatures()[0].value());
    let mut base64 = Command::new("base64");
    world.write("base64", base64.arg("raw").current_dir(world.folder()).output().unwrap().stdout);
    let unsealed = world.read("list");
    for form in ["bob.sig", "raw", "base64", "bobs"] {
        let run = world.run(&format!("attach list {form} --key bob.pub -o out"));
        assert!(run.status.success(), "{form}: {}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(world.read("out"), world.read("bobs"), "{form}");
        assert_eq!(world.read("list"), unsealed, "{form}");
    }
    assert!(world.run("attach list bob.sig --key bob.pub").status.success());
    assert_eq!(world.read("list"), world.read("bobs"));
}

/// What several signers sent, put together by cat(1) or joined one by one.
#[test]
fn several_signatures_at_once() {
    let world = world();
    for name in ["alice", "bob"] {
        assert!(world.run(&format!("sign --detached list --key {name}.key -o {name}.sig")).status.success());
    }
    world.write("sigs", [world.read("alice.sig"), world.read("bob.sig")].concat());
    world.refuses("attach list sigs --trust alice.pub", 2, "cannot be checked without that key");
    assert!(world.run("attach list sigs --trust alice.pub --trust bob.pub -o out").status.success());
    assert_eq!(world.read("out"), world.sealed(whitelist(), &["alice", "bob"]));
    world.write("twice", [world.read("bob.sig"), world.read("bob.sig")].concat());
    assert!(world.run("attach list twice --key bob.pub -o out").status.success());
    assert_eq!(world.read("out"), world.read("bobs"));
}

#[test]
fn a_full_list_has_no_room() {
    let world = world();
    let mut list = whitelist().print().unwrap();
    for number in 0..MAX_SIGNATURES {
        let id = KeyId::from_hex(format!("{number:064x}").as_bytes()).unwrap();
        list.insert(SignatureLine::ed25519(id, [7; 64])).unwrap();
    }
    world.write("list", bytes(&list));
    world.refuses("attach list bobs --key bob.pub", 3, "it has more than 16 signatures with this one");
    assert_eq!(world.read("list"), bytes(&list));
}

/// A signature under the id of a key that is not its own would otherwise push the right one out.
#[test]
fn a_signature_that_differs_from_the_one_there_is_must_be_right() {
    let world = world();
    let text = String::from_utf8(world.read("bobs")).unwrap();
    let digit = text.find("==\n\n").unwrap() - 8;
    let changed = [&text[..digit], if &text[digit..=digit] == "A" { "B" } else { "A" }, &text[digit + 1..]].concat();
    world.write("changed", &changed);
    world.refuses("attach bobs changed --key bob.pub", 3, "changed is no signature of bob over bobs");
    world.refuses("attach bobs changed --trust alice.pub", 2, "cannot be checked");
    world.refuses("attach changed bobs --key bob.pub", 3, "the signature of bob is not right for these bytes");
    assert_eq!((world.read("bobs"), world.read("changed")), (text.into_bytes(), changed.into_bytes()));
}

#[test]
fn what_is_no_file_is_read_and_not_replaced() {
    let world = world();
    let list = world.read("list");
    let piped = |command: &str| {
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("cat list | \"$0\" {command}"), env!("CARGO_BIN_EXE_goldseal")]);
        sh.current_dir(world.folder()).stdin(Stdio::null()).output().unwrap()
    };
    for command in ["attach /dev/stdin bobs --key bob.pub", "sign /dev/stdin --key bob.key"] {
        let refused = piped(command);
        assert_eq!(refused.status.code(), Some(2), "{command}");
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(message.contains("/dev/stdin is not a file, and cannot be replaced"), "{message}");
        assert!(piped(&format!("{command} -o out")).status.success(), "{command}");
        assert_eq!(world.read("out"), world.read("bobs"));
    }
    assert_eq!(world.read("list"), list);
    // The signature, too, may come through a pipe.
    let (reader, mut writer) = io::pipe().unwrap();
    io::Write::write_all(&mut writer, &world.read("bobs")).unwrap();
    drop(writer);
    assert!(world.command("attach list /dev/stdin --key bob.pub").stdin(reader).status().unwrap().success());
    assert_eq!(world.read("list"), world.read("bobs"));
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let world = world();
    for command in ["tbs list", "sign --detached list --key bob.key"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = world.command(command).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("standard output cannot be written: no space left on device"), "{message}");
    }
    let before = (world.read("list"), world.names());
    // Where nothing can be made, nothing can be replaced.
    let folder = world.path("folder");
    fs::create_dir(&folder).unwrap();
    world.refuses("attach list bobs --key bob.pub -o folder/none/list", 3, "there is no folder");
    fs::remove_dir(&folder).unwrap();
    assert_eq!((world.read("list"), world.names()), before);
}

/// A copy of which only the head arrived has all of its signatures; the rest is not looked at, nor needed.
#[test]
fn the_head_of_a_copy_is_enough() {
    let world = world();
    let head = inspect(world.read("bobs")).unwrap().envelope().print();
    world.write("head", head);
    assert!(world.run("attach list head --key bob.pub").status.success());
    assert!(world.run("verify list --trust bob.pub").status.success());
}

/// Keys are taken as OpenSSH writes them, too.
#[test]
fn the_key_may_be_a_line_of_openssh() {
    let world = world();
    let spki = goldseal_cli::public_key::read_public_key(&world.path("bob.pub")).unwrap();
    world.write("blob", [b"\0\0\0\x0bssh-ed25519\0\0\0\x20", &spki[12..]].concat());
    let mut base64 = Command::new("base64");
    let line = base64.args(["--wrap=0", "blob"]).current_dir(world.folder()).output().unwrap().stdout;
    world.write("ssh.pub", [b"ssh-ed25519 ", &line[..], b" bob@example\n"].concat());
    assert!(world.run("attach list bobs --key ssh.pub").status.success());
    assert!(world.run("verify list --trust ssh.pub").status.success());
    world.refuses("sign list --key alice.key -o ssh.pub", 2, "ssh.pub is a key");
    world.refuses("sign list --key ssh.pub", 3, "this is a public key, where the private key belongs");
}
