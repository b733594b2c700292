//! docs/signing.md, run as it stands, with the programs it names: openssl, OpenSSH's agent, a token of SoftHSM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use goldseal_tests::{Run, World, goldseal, output_of};

use crate::walls::root;

/// A folder with version 42 of a list and the one before it, and a key of openssl's.
fn world() -> World {
    let world = World::new();
    world.file("tree/one", "one");
    world.goldseal("build --name prod --list-version 41 -o prod-41.whitelist --quiet tree").exits(0);
    world.file("tree/two", "two");
    let mut build = world.command("build --previous prod-41.whitelist -o prod.whitelist --quiet tree");
    output_of(build.env("SOURCE_DATE_EPOCH", "1767409445"));
    output_of(&mut sh(&world, "umask 077; openssl genpkey -quiet -algorithm ed25519 -out bob.key"));
    output_of(&mut sh(&world, "openssl pkey -in bob.key -pubout -out bob.pub"));
    world
}

/// A script in which `goldseal` is the binary under test.
fn sh(world: &World, script: &str) -> Command {
    let folder = goldseal().parent().unwrap();
    let path = std::env::join_paths([folder].into_iter().chain([Path::new("/usr/bin"), Path::new("/bin")])).unwrap();
    let mut sh = Command::new("sh");
    sh.args(["-ec", script]).current_dir(world.path(".")).env("PATH", path).env("LC_ALL", "C").stdin(Stdio::null());
    sh
}

/// The first block of commands under this heading of docs/signing.md.
fn recipe(heading: &str) -> String {
    let page = fs::read_to_string(root().join("docs/signing.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect(heading);
    let lines = section.lines().skip_while(|line| !line.starts_with("    "));
    let block: String = lines.map_while(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect();
    assert!(block.lines().count() >= 2 && block.contains("goldseal "), "{heading}: {block}");
    block
}

/// The list is sealed with this key, by goldseal's word and by that of openssl and coreutils.
#[track_caller]
fn is_sealed(world: &World, key: &str) {
    world.goldseal(&format!("verify prod.whitelist --trust {key}")).exits(0);
    let script = root().join("docs/emergency-verify.sh");
    output_of(Command::new("sh").arg(script).args(["prod.whitelist", key]).current_dir(world.path(".")));
}

#[test]
fn a_key_file_of_openssl() {
    let world = world();
    world.file("passphrase", "correct horse\n");
    let shown = String::from_utf8(output_of(&mut sh(&world, &recipe("A key file")))).unwrap();
    assert!(shown.contains("changes since prod-41.whitelist") && shown.contains("entries: 1 added"), "{shown}");
    assert!(shown.contains("SIGNED: ") && shown.contains("UNCHANGED: "), "three files hold one key: {shown}");
    is_sealed(&world, "key.pub");
}

#[test]
fn openssl_signs_elsewhere() {
    let world = world();
    output_of(&mut sh(&world, &recipe("openssl, on another machine")));
    is_sealed(&world, "bob.pub");
}

#[test]
fn goldseal_signs_elsewhere() {
    let world = world();
    output_of(&mut sh(&world, &recipe("goldseal, on another machine")));
    is_sealed(&world, "bob.pub");
}

/// OpenSSH's agent, on a socket of the world's own.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(world: &World) -> Self {
        let socket = world.path("agent");
        let mut agent = Command::new("ssh-agent");
        // Confirmations (`ssh-add -c`) are denied.
        agent.arg("-D").arg("-a").arg(&socket).env("SSH_ASKPASS", "/bin/false").env("DISPLAY", ":0");
        let agent = agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(|child| Self { child, socket });
        let agent = agent.unwrap();
        for _ in 0..200 {
            if agent.socket.exists() {
                return agent;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("ssh-agent makes no socket");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_ssh_agent_holds_the_key() {
    let world = world();
    let unsealed = fs::read(world.path("prod.whitelist")).unwrap();
    let agent = Agent::start(&world);
    output_of(sh(&world, &recipe("ssh-agent")).env("SSH_AUTH_SOCK", &agent.socket));
    world.goldseal("verify prod.whitelist --trust golden.pub").exits(0);
    // The agent's key as openssl reads it: made by ssh-keygen, checked by the emergency script.
    let sealed = fs::read(world.path("prod.whitelist")).unwrap();
    let pem = "(printf '\\060\\052\\060\\005\\006\\003\\053\\145\\160\\003\\041\\000'; \
               cut -d ' ' -f 2 golden.pub | base64 -d | tail -c 32) | openssl pkey -pubin -inform DER -out golden.pem";
    output_of(&mut sh(&world, pem));
    is_sealed(&world, "golden.pem");

    // Any of the two spellings names the key; the signature is the same each time (RFC 8032).
    fs::write(world.path("prod.whitelist"), &unsealed).unwrap();
    let sign = |arguments: &str, exit| {
        let mut command = world.command(&format!("sign prod.whitelist {arguments}"));
        command.env("SSH_AUTH_SOCK", &agent.socket);
        Run::of(command).exits(exit)
    };
    sign("--ssh-agent golden.pem", 0);
    assert_eq!(fs::read(world.path("prod.whitelist")).unwrap(), sealed);

    fs::write(world.path("prod.whitelist"), &unsealed).unwrap();
    sign("--ssh-agent bob.pub -o out", 3).says("does not hold the key bob.pub (it holds 1)");
    let with_agent = |script: &str| output_of(sh(&world, script).env("SSH_AUTH_SOCK", &agent.socket));
    with_agent("ssh-add -q -D; ssh-add -q -c golden");
    sign("--ssh-agent golden.pub -o out", 3).says("the ssh-agent refused to sign");
    with_agent("ssh-add -q -D");
    sign("--ssh-agent golden.pub -o out", 3).says("(it holds 0)");
    assert!(!world.path("out").exists());
    assert_eq!(fs::read(world.path("prod.whitelist")).unwrap(), unsealed);
}

#[test]
fn a_token_holds_the_key() {
    let world = world();
    fs::create_dir(world.path("tokens")).unwrap();
    let tokens = world.path("tokens");
    world.file("softhsm2.conf", format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()));
    let environment = [
        ("SOFTHSM2_CONF", world.path("softhsm2.conf")),
        ("PIN", "648219".into()),
        // Where Debian's package libsofthsm2 puts it, on any architecture.
        ("module", "/usr/lib/softhsm/libsofthsm2.so".into()),
    ];
    let init = "softhsm2-util --init-token --free --label goldseal --so-pin 82641973 --pin $PIN";
    output_of(sh(&world, init).envs(environment.clone()));
    output_of(sh(&world, &recipe("A PKCS#11 token")).envs(environment.clone()));
    is_sealed(&world, "token.pub");

    // As much as may ever be signed.
    fs::write(world.path("long"), [b'x'; 1024]).unwrap();
    let long = "pkcs11-tool --module $module --token-label goldseal --login --pin env:PIN --sign --mechanism EDDSA \
                --id 01 -i long -o long.sig";
    output_of(sh(&world, long).envs(environment));
    output_of(&mut sh(&world, "openssl pkeyutl -verify -rawin -pubin -inkey token.pub -in long -sigfile long.sig"));
}
