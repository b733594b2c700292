//! Runs tests/cmd/NAME.trycmd, each in a fresh folder with the keys and lists below.
//!
//! Trycmd writes a backslash as a slash: `/x1b` stands for an escaped ESC.
//!
//! `TRYCMD=overwrite cargo test -p goldseal-tools transcripts` writes down what the program says now: read the diff.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use goldseal_verifier_core::header::{Expiry, Version};
use goldseal_verifier_core::list::{Whitelist, inspect};
use tempfile::tempdir;

use crate::world::{World, next_whitelist, odd_whitelist, time, whitelist};

#[test]
fn transcripts() {
    let cases = tempdir().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let mut worlds = Vec::new();
    let names = [
        "attach", "build", "diff", "excludes", "export", "import", "keygen", "show", "sign", "state", "tbs", "trust",
        "verify",
    ];
    for name in names {
        let world = world();
        // A link, so that TRYCMD=overwrite reaches the source. The empty folder says: run in a copy of the other one.
        symlink(sources.join(format!("{name}.trycmd")), cases.path().join(format!("{name}.trycmd"))).unwrap();
        symlink(world.folder(), cases.path().join(format!("{name}.in"))).unwrap();
        fs::create_dir(cases.path().join(format!("{name}.out"))).unwrap();
        worlds.push(world);
    }
    trycmd::TestCases::new().case(cases.path().join("*.trycmd").to_str().unwrap()).run();
}

fn world() -> World {
    let world = World::new();
    for path in ["tree/usr/bin/one", "tree/usr/bin/two", "tree/var/log/messages", "tree/tmp/scratch"] {
        fs::create_dir_all(world.path(path).parent().unwrap()).unwrap();
        world.write(path, path);
    }
    let good = world.sealed(whitelist(), &["alice", "bob"]);
    world.write("unsealed.whitelist", world.sealed(whitelist(), &[]));
    world.write("alice.whitelist", world.sealed(whitelist(), &["alice"]));
    world.write("prod.whitelist", &good);
    let old = Whitelist { version: Version::new(41).unwrap(), ..whitelist() };
    world.write("old.whitelist", world.sealed(old, &["alice"]));
    let other = Whitelist { created: time("2026-01-01T00:00:01Z"), ..whitelist() };
    world.write("other.whitelist", world.sealed(other, &["alice"]));
    world.write("odd.whitelist", world.sealed(odd_whitelist(), &["alice"]));
    let stale = |list| Whitelist { expires: Expiry::At(time("2026-01-02T00:00:00Z")), ..list };
    world.write("stale.whitelist", world.sealed(stale(whitelist()), &["alice"]));
    let mut future = whitelist();
    future.created = time("9998-01-01T00:00:00Z");
    world.write("future.whitelist", world.sealed(future, &["alice"]));
    let replaced = |from: &str, to: &str| {
        let changed = String::from_utf8(good.clone()).unwrap().replacen(from, to, 1);
        assert_ne!(changed.as_bytes(), good);
        changed
    };
    world.write("version.whitelist", replaced("version: 42", "version: 43"));
    world.write("tampered.whitelist", replaced("/usr/bin/one", "/usr/bin/eno"));
    world.write("short.whitelist", &good[..good.len() - 1]);
    world.write("long.whitelist", [&good[..], b"\n"].concat());
    world.write("text.whitelist", "0123  /usr/bin/one\n");
    world.write("empty.whitelist", "");
    world.write("text.pub", "not a key\n");
    world.write("next.whitelist", world.sealed(next_whitelist(), &["alice"]));
    world.write("good.excludes", "# scratch\n/tmp\n\n/var/log/*\n/home/[^/]+/\\.cache\n");
    world.write("blank.excludes", "/tmp\n/My Files\n");
    world.write("unbalanced.excludes", "/a)|(?:.*\n");
    world.write("broad.excludes", "/usr/s?bin\n/tmp\n");
    let digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    world.write("flat.txt", format!("{digest}  boot_aggregate\r\n{digest} */usr/bin/foo\r\n"));
    world.write("relative.txt", format!("{digest}  /usr/bin/foo\n{digest}  bin/bar\n"));
    world.write("zero.txt", format!("{}  /usr/bin/foo\n", "0".repeat(64)));
    world.write("md5.txt", "acbd18db4cc2f85cedef654fccc4a4d8  /usr/bin/foo\n");
    fs::create_dir(world.path("folder")).unwrap();
    signatures(&world);
    world
}

/// Signatures of bob on unsealed.whitelist, and what is none, each in a file of its own.
fn signatures(world: &World) {
    let line = |list: Whitelist| {
        let sealed = inspect(world.sealed(list, &["bob"])).unwrap();
        sealed.envelope().signatures()[0].clone()
    };
    let bob = line(whitelist());
    let base64 = String::from_utf8(bob.print()).unwrap().trim_end().rsplit(' ').next().unwrap().to_owned();
    world.write("bob.raw", bob.value());
    world.write("bob.base64", format!("{}\n{}\n", &base64[..64], &base64[64..]));
    world.write("bob.sig", bob.print());
    world.write("bob.whitelist", world.sealed(whitelist(), &["bob"]));
    world.write("cut.base64", &base64[..70]);
    world.write("63.raw", &bob.value()[..63]);
    world.write("65.raw", [bob.value(), b"\n"].concat());
    world.write("next.raw", line(next_whitelist()).value());
    world.write("next.sig", line(next_whitelist()).print());
    world.write("unknown.sig", String::from_utf8(bob.print()).unwrap().replace("ed25519", "ml-dsa-87"));
    world.write("ssh.sig", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n");
}
