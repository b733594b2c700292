//! `export`, held against coreutils and against what other programs would read.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use goldseal_verifier_core::header::FileHash;
use goldseal_verifier_core::list::Whitelist;
use goldseal_verifier_core::rules::{Rule, Rules};
use serde_json::Value;

use crate::world::{World, whitelist};

fn digest(field: &str) -> FileDigest {
    FileDigest::parse(field.as_bytes()).unwrap()
}

fn sha1() -> FileDigest {
    digest(&"a".repeat(40))
}

fn sha256() -> FileDigest {
    digest(&"b".repeat(64))
}

fn verity() -> FileDigest {
    digest(&format!("verity:sha256:{}", "c".repeat(64)))
}

/// `entries` under both algorithms.
fn list(world: &World, entries: &[(&[u8], FileDigest)], rules: &[&str]) {
    let entries = entries.iter().map(|(path, digest)| (path.to_vec(), *digest)).collect();
    let rules = rules.iter().map(|rule| Rule::parse(rule.as_bytes()).unwrap());
    let file_hash = FileHash::new(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]).unwrap();
    let list = Whitelist { entries, rules: Rules::new(rules), file_hash, ..whitelist() };
    world.write("list", world.sealed(list, &[]));
}

#[test]
fn sums_are_what_coreutils_write() {
    let world = World::new();
    let names: [&[u8]; 7] = [b"a blank", b"back\\slash", b"cr\r", b"line\nfeed", b"plain", b"star*", b"\xff"];
    let paths: Vec<_> = names.iter().map(|name| world.folder().join(std::ffi::OsStr::from_bytes(name))).collect();
    for path in &paths {
        fs::write(path, path.as_os_str().as_bytes()).unwrap();
    }
    for algorithm in ["sha1", "sha256", "sha384", "sha512"] {
        let sums = Command::new(format!("{algorithm}sum")).args(&paths).output().unwrap().stdout;
        assert!(!sums.is_empty());
        world.write("sums", &sums);
        assert!(world.run("import sums -o list --quiet").status.success());
        let output = world.run(&format!("export list --format sha256sum --hash {algorithm}"));
        assert_eq!(output.stdout, sums, "{algorithm}");
        world.write("exported", &output.stdout);
        let mut check = Command::new(format!("{algorithm}sum"));
        let check = check.args(["--check", "--strict", "--quiet"]).arg(world.path("exported")).output().unwrap();
        assert!(check.status.success(), "{check:?}");
    }
}

#[test]
fn a_flat_list_says_the_same_after_export_and_import() {
    let world = World::new();
    let hex = "d".repeat(64);
    let rules = [
        format!("boot-aggregate sha256:{hex}"),
        format!("buffer kernel_version sha256:{hex}"),
        format!("buffer own-label sha256:{hex}"),
        format!("keyring .ima sha256:{hex}"),
        "accept-digest sha1".to_owned(),
    ];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    list(&world, &[(b"/a b", sha1()), (b"/a b", sha256()), (b"/c\n", sha256()), (b"/\xff", sha256())], &rules);
    assert!(world.run("export list --format flat -o flat").status.success());
    assert!(world.run("import flat -o again --quiet --rule accept-digest\u{a0}sha1").status.code() == Some(2));
    assert!(world.run("import flat -o again --quiet").status.success());
    assert_eq!(world.run("show again --entries").stdout, world.run("show list --entries").stdout);
    let without = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("accept-digest sha1\n", "");
    assert_eq!(without(world.run("show again --rules").stdout), without(world.run("show list --rules").stdout));
}

#[test]
fn sha1_digests_that_the_list_does_not_believe_stay_in_it() {
    let world = World::new();
    let entries: [(&[u8], FileDigest); 2] = [(b"/a", sha1()), (b"/a", sha256())];
    list(&world, &entries, &[]);
    assert_eq!(world.run("export list --format flat").stdout, format!("{}  /a\n", sha256()).into_bytes());
    let asked = world.run("export list --format flat --hash sha1").stdout;
    assert_eq!(asked, format!("{}  /a\n", sha1()).into_bytes());
    list(&world, &entries, &["accept-digest sha1"]);
    let both = world.run("export list --format flat").stdout;
    assert_eq!(both, format!("{}  /a\n{}  /a\n", sha1(), sha256()).into_bytes());
}

#[test]
fn paths_that_a_format_cannot_hold_are_refused_or_named() {
    let world = World::new();
    list(&world, &[(b"/a", sha256()), (b"/a", verity()), (b"/lost", verity()), (b"/x\xff", sha256())], &[]);
    for (format, lost) in [("sha256sum", 1), ("flat", 1), ("keylime-json", 2)] {
        let before = world.names();
        world.refuses(&format!("export list --format {format} -o out"), 3, "cannot be exported");
        assert_eq!(world.names(), before);
        let output = world.run(&format!("export list --format {format} --keep-going -o out --json"));
        assert_eq!(output.status.code(), Some(1));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["reason"], "incomplete");
        let paths = answer["losses"]["paths"].as_array().unwrap();
        assert_eq!(paths.len(), lost);
        assert_eq!(paths[0]["path"], "/lost");
        if let Some(second) = paths.get(1) {
            assert_eq!(second["path_base64"], "L3j/");
        }
        assert!(!String::from_utf8_lossy(&world.read("out")).contains("/lost"));
        fs::remove_file(world.path("out")).unwrap();
    }
}

#[test]
fn a_listed_path_that_keylime_would_not_look_at_is_named() {
    let world = World::new();
    let excludes = Excludes::new([Pattern::new(b"/opt").unwrap(), Pattern::new(b"/\\xff").unwrap()]).unwrap();
    let entries = vec![(b"/opt/x".to_vec(), sha256())];
    world.write("list", world.sealed(Whitelist { entries, excludes, ..whitelist() }, &[]));
    let output = world.run("export list --format keylime-json");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("looser: /opt/x"), "{message}");
    assert!(message.contains("left out: exclude /\\xff: "), "{message}");
    let policy: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(policy["excludes"].as_array().unwrap().len(), 1);
}
