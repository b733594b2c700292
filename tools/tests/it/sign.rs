//! What no transcript of `sign` can hold: passphrases, modes, signals, and programs that are not ours.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use goldseal_verifier_core::envelope::{MAX_SIGNATURES, SignatureLine};
use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::list::inspect;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{World, bytes, next_whitelist, whitelist};

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

/// A key whose passphrase is asked for holds the program up where a person would read what is shown.
fn waiting(world: &World, arguments: &str) -> (Child, io::PipeWriter) {
    world.write("passphrase", "correct horse\n");
    let passphrase = File::open(world.path("passphrase")).unwrap();
    assert!(world.command("keygen new.key --passphrase-fd 0").stdin(passphrase).status().unwrap().success());
    let (reader, writer) = io::pipe().unwrap();
    let mut sign = world.command(&format!("{arguments} --key new.key --passphrase-fd 0"));
    let mut child = sign.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = io::BufReader::new(child.stdout.as_mut().unwrap());
    let mut line = String::new();
    while !line.contains("input") {
        line.clear();
        assert_ne!(io::BufRead::read_line(&mut told, &mut line).unwrap(), 0);
    }
    (child, writer)
}

/// Whoever changes the file while its signer reads what is shown gets neither a signature nor their file lost.
#[test]
fn a_list_that_changes_while_it_is_shown_is_left_as_it_is() {
    let rewritten: fn(&World) = |world| world.write("list", world.sealed(next_whitelist(), &[]));
    let replaced: fn(&World) = |world| {
        world.write("other", world.read("list"));
        fs::rename(world.path("other"), world.path("list")).unwrap();
    };
    let removed: fn(&World) = |world| fs::remove_file(world.path("list")).unwrap();
    for change in [rewritten, replaced, removed] {
        let world = world();
        let (child, mut writer) = waiting(&world, "sign list");
        change(&world);
        let (list, names) = (fs::read(world.path("list")).ok(), world.names());
        io::Write::write_all(&mut writer, b"correct horse\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{message}");
        assert!(message.contains("list was changed since it was shown; it was left as it is"), "{message}");
        assert_eq!((fs::read(world.path("list")).ok(), world.names()), (list, names));
    }
}

/// Into another file goes what was shown, whatever became of the first.
#[test]
fn what_is_signed_is_what_was_shown() {
    let world = world();
    let (child, mut writer) = waiting(&world, "sign list -o out");
    world.write("list", world.sealed(next_whitelist(), &[]));
    io::Write::write_all(&mut writer, b"correct horse\n").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(world.run("verify out --trust new.key.pub --name prod").status.success());
    assert_eq!(inspect(world.read("out")).unwrap().header().version, whitelist().version);
}

/// Runs the program on a terminal of script(1), types `typed` once it asks, and returns its exit code and what is shown.
fn on_a_terminal(world: &World, arguments: &str, typed: &[u8]) -> Option<(i32, String)> {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_goldseal"));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).current_dir(world.folder());
    let child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: no script(1) to make a terminal");
        return None;
    };
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut byte) = (Vec::new(), [0]);
    while !shown.ends_with(b"[y/N] ") && io::Read::read(&mut screen, &mut byte).unwrap() > 0 {
        shown.push(byte[0]);
    }
    let _ = io::Write::write_all(&mut keyboard, typed);
    io::Read::read_to_end(&mut screen, &mut shown).unwrap();
    drop(keyboard);
    Some((child.wait().unwrap().code().unwrap(), String::from_utf8(shown).unwrap()))
}

#[test]
fn on_a_terminal_nothing_is_signed_without_a_yes() {
    let world = world();
    let unsealed = world.read("list");
    for no in ["n\n", "\n", "yes please\n", "\x04", "\x03"] {
        let Some((exit, shown)) = on_a_terminal(&world, "sign list --key alice.key", no.as_bytes()) else { return };
        // Ctrl-C ends it as it ends any program.
        assert_eq!(exit, if no == "\x03" { 130 } else { 2 }, "{no:?}: {shown}");
        let asked = shown.find("Sign this? [y/N]").unwrap();
        assert!(shown.find("version    42").unwrap() < asked, "{shown}");
        assert_eq!(world.read("list"), unsealed, "{no:?}");
    }
    let (exit, shown) = on_a_terminal(&world, "sign --detached list --key alice.key -o out --json", b"n\n").unwrap();
    assert_eq!(exit, 2);
    assert!(shown.contains(r#""reason":"declined""#), "{shown}");
    assert!(!world.path("out").exists());
    let (exit, shown) = on_a_terminal(&world, "sign list --key alice.key", b"y\n").unwrap();
    assert!(exit == 0 && shown.contains("SIGNED: "), "{shown}");
    let (exit, shown) = on_a_terminal(&world, "sign list --key bob.key --yes", b"").unwrap();
    assert!(exit == 0 && !shown.contains("Sign this?"), "{shown}");
}

#[test]
fn a_service_has_its_passphrase_as_a_credential() {
    let world = world();
    fs::create_dir(world.path("credentials")).unwrap();
    world.write("credentials/goldseal-passphrase", "correct horse\n");
    world.write("credentials/other", "another one");
    let run = |arguments: &str| {
        let mut command = world.command(arguments);
        command.env("CREDENTIALS_DIRECTORY", world.path("credentials")).output().unwrap()
    };
    for command in ["keygen new.key", "sign list --key new.key", "keygen other.key --passphrase-credential other"] {
        let output = run(command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(run("sign list --key other.key").status.code(), Some(3), "the passphrase is another one");
    assert!(run("sign list --key other.key --passphrase-credential other").status.success());
    world.write("flat", format!("{}  /a\n", "1".repeat(64)));
    for command in ["build /usr/bin/env", "import flat"] {
        let sealed = run(&format!("{command} -o {}.list --quiet --seal new.key", &command[..5]));
        assert!(sealed.status.success(), "{command}: {}", String::from_utf8_lossy(&sealed.stderr));
    }
    world.refuses("sign list --key new.key --passphrase-credential other", 2, "$CREDENTIALS_DIRECTORY names no folder");
    world.refuses("import flat -o out --passphrase-fd 0", 2, "there is a passphrase, and no key that it is for");
}
