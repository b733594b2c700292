//! Runs tests/cmd/NAME.trycmd, each in a fresh folder with the keys and lists below.
//!
//! Trycmd writes a backslash as a slash: `/x1b` stands for an escaped ESC.
//!
//! `TRYCMD=overwrite cargo test -p goldseal-tools transcripts` writes down what the program says now: read the diff.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::header::{Expiry, Version};
use goldseal_verifier_core::list::{Whitelist, inspect};
use goldseal_verifier_core::rules::{Rule, Rules};
use tempfile::tempdir;

use crate::world::{World, next_whitelist, odd_whitelist, time, whitelist};

#[test]
fn transcripts() {
    let cases = tempdir().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let mut worlds = Vec::new();
    let names = [
        "appraise",
        "attach",
        "build",
        "diff",
        "excludes",
        "explain",
        "export",
        "ima-policy",
        "import",
        "keygen",
        "show",
        "sign",
        "state",
        "tbs",
        "trust",
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
    machine(&world);
    world
}

/// A machine of testdata/captures, before (`q1`) and after (`q2`) a script ran that nobody listed, and a list of its
/// files.
fn machine(world: &World) {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/captures");
    let case = captures.join("ng-incremental");
    let copy = |from: &str, to: &str| world.write(to, fs::read(case.join(from)).unwrap());
    copy("ak-rsa.tpm2b", "ak");
    copy("ak-rsa.pem", "ak.pem");
    copy("../bufs/q1/ascii_runtime_measurements", "bufs.ascii");
    copy("../sigv2-verity/q1/ascii_runtime_measurements", "verity.ascii");
    for dump in ["q1", "q2"] {
        copy(&format!("{dump}/binary_runtime_measurements"), &format!("{dump}.log"));
        copy(&format!("{dump}/ascii_runtime_measurements"), &format!("{dump}.ascii"));
        for part in ["msg", "sig", "pcrs"] {
            copy(&format!("{dump}/quote-rsa-all.{part}"), &format!("{dump}.{part}"));
        }
    }
    kernels(world, &captures);
    let sums = fs::read(captures.join("_shared/rootfs-sha256sums.txt")).unwrap();
    let entry = |line: &[u8]| {
        let digest = FileDigest::parse(&line[..64]).unwrap();
        (line[66..].to_vec(), digest)
    };
    // Escaped lines are left out: this machine opened none of those files.
    let lines = sums.split(|byte| *byte == b'\n').filter(|line| line.first().is_some_and(u8::is_ascii_hexdigit));
    let mut entries: Vec<(Vec<u8>, FileDigest)> = lines.map(entry).collect();
    // Copied there when the machine starts.
    let uname = entries.iter().find(|(path, _)| path == b"/opt/tools/uname").unwrap().1;
    entries.push((b"/opt/disk-uname".to_vec(), uname));
    world.write("sums.txt", &sums);
    let aggregate = "boot-aggregate sha256:bce220042fa29df9ab46c553c32584def437dd083966e6cc6dac080eb3f3a0a7";
    let list = Whitelist { entries, rules: Rules::new([Rule::parse(aggregate.as_bytes()).unwrap()]), ..whitelist() };
    world.write("machine.whitelist", world.sealed(list.clone(), &["alice"]));
    let expires = Expiry::At(time("2026-01-02T00:00:00Z"));
    world.write("stale-machine.whitelist", world.sealed(Whitelist { expires, ..list }, &["alice"]));
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

/// Folders with /proc and /sys of kernels: one as it should be, one with nothing of IMA, one of an old kernel's ways, and one
/// whose ima_policy leaves something out.
fn kernels(world: &World, captures: &Path) {
    let kernel = |name: &str, case: &str, policy: Option<&str>| {
        let ima = world.path(&format!("{name}/sys/kernel/security/integrity/ima"));
        fs::create_dir_all(&ima).unwrap();
        symlink("integrity/ima", world.path(&format!("{name}/sys/kernel/security/ima"))).unwrap();
        fs::create_dir(world.path(&format!("{name}/proc"))).unwrap();
        world.write(&format!("{name}/proc/mounts"), "securityfs /sys/kernel/security securityfs rw 0 0\n");
        let case = captures.join(case);
        world.write(&format!("{name}/proc/cmdline"), fs::read(case.join("proc-cmdline")).unwrap());
        let list = fs::read(case.join("q1/binary_runtime_measurements")).unwrap();
        fs::write(ima.join("binary_runtime_measurements"), list).unwrap();
        if let Some(policy) = policy {
            fs::write(ima.join("policy"), policy).unwrap();
        }
    };
    let keylime = fs::read_to_string(captures.join("_shared/keylime-nolsm")).unwrap();
    kernel("kernel", "keylime-policy", Some(&keylime));
    kernel("hidden", "ng-incremental", None);
    kernel("legacy", "ima-legacy-sha1", Some("measure func=BPRM_CHECK\ndont_measure fsname=ext4\n"));
    kernel("no-tpm", "no-tpm", Some(&format!("dont_measure fsname=ext4\n{keylime}")));
    fs::create_dir_all(world.path("bare/proc")).unwrap();
    kernel("broken", "ng-incremental", None);
    world.write("broken/sys/kernel/security/ima/binary_runtime_measurements", "what is this?");
}
