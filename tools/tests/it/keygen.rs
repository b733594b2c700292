//! What no transcript of `keygen` can hold: passphrases, and openssl's opinion.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::World;

#[test]
fn openssl_reads_both_kinds_of_key() {
    let world = World::new();
    world.write("passphrase", "correct horse\n");
    for (options, password) in [("--no-passphrase", "pass:"), ("--passphrase-fd 0", "pass:correct horse")] {
        let name = format!("new{}.key", options.len());
        let mut keygen = world.command(&format!("keygen {name} --json {options}"));
        let made = keygen.stdin(std::fs::File::open(world.path("passphrase")).unwrap()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-in", &name, "-passin", password, "-pubout"]).current_dir(world.folder());
        assert_eq!(openssl.output().unwrap().stdout, world.read(&format!("{name}.pub")));
        // The key id as the format's documents compute it.
        let pipe = format!("openssl pkey -pubin -in {name}.pub -outform DER | sha256sum | cut -c -64");
        let id = Command::new("sh").args(["-c", &pipe]).current_dir(world.folder()).output().unwrap().stdout;
        let object: Value = serde_json::from_slice(&made.stdout).unwrap();
        assert_eq!(object["key_id"].as_str().unwrap(), String::from_utf8(id).unwrap().trim());
        assert_eq!(world.path(&name).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// setsid(1): without a terminal of its own the program finds none to ask on.
#[test]
fn without_a_terminal_and_a_passphrase_nothing_is_made() {
    let world = World::new();
    let before = world.names();
    let mut setsid = Command::new("setsid");
    setsid.args(["--wait", env!("CARGO_BIN_EXE_goldseal"), "keygen", "new.key"]).current_dir(world.folder());
    let output = setsid.stdin(Stdio::null()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("there is no terminal to ask for it\n  use --passphrase-fd N"), "{message}");
    assert_eq!(world.names(), before);
}
