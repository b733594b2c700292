//! `trust`: what a transcript cannot hold, above all that every wrong root has its reason.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::world::{World, whitelist};

/// Two days of 2026.
const FIRST: &str = "1767323045";
const SECOND: &str = "1767409445";

/// A folder with `site.root`, which alice and bob signed of three, and a list of theirs.
fn world() -> World {
    let world = World::new();
    at(&world, FIRST, "trust init site.root --key alice.pub --key bob.pub --key carol.pub");
    sign(&world, "site.root", &["alice", "bob"]);
    world.write("list", world.sealed(whitelist(), &["alice", "bob"]));
    world
}

/// Runs the program at this second; it must succeed.
#[track_caller]
fn at(world: &World, second: &str, arguments: &str) -> Output {
    let output = world.command(arguments).env("SOURCE_DATE_EPOCH", second).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[track_caller]
fn sign(world: &World, root: &str, keys: &[&str]) {
    for key in keys {
        at(world, FIRST, &format!("trust sign {root} --key {key}.key"));
    }
}

/// The next root as it is, signed by these.
#[track_caller]
fn next(world: &World, root: &str, next: &str, keys: &[&str]) {
    at(world, SECOND, &format!("trust rotate {root} -o {next}"));
    sign(world, next, keys);
}

#[track_caller]
fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Exit 1 and the reason, from `trust verify`; where the root is only an input it is exit 3 and `bad-root`.
#[track_caller]
fn is_refused(world: &World, roots: &str, reason: &str) -> Value {
    let output = world.run(&format!("trust verify {roots} --json"));
    let answer = object(&output);
    assert_eq!((output.status.code(), &answer["reason"]), (Some(1), &reason.into()), "{answer}");
    let options: String = roots.split(' ').map(|root| format!(" --trust-root {root}")).collect();
    let output = world.run(&format!("verify list --json{options}"));
    assert_eq!((output.status.code(), &object(&output)["reason"]), (Some(3), &"bad-root".into()), "{roots}");
    answer
}

#[test]
fn every_wrong_root_has_its_reason() {
    let world = world();
    let good = String::from_utf8(world.read("site.root")).unwrap();
    for (from, to, reason) in [
        ("version: 1", "version: 2", "bad-signature"),
        (" bob bob ", " bob bbb ", "tampered"),
        ("role root - 2\n", "role root - 2\n\n", "tampered"),
        ("format: 1", "format: 2", "malformed"),
        ("sig ed25519 ", "sig  ed25519 ", "malformed"),
        ("trust-root.v1", "trust-root.v2", "wrong-type"),
    ] {
        assert!(good.contains(from), "{from}");
        world.write("bad.root", good.replacen(from, to, 1));
        is_refused(&world, "bad.root", reason);
    }
    is_refused(&world, "list", "wrong-type");
    world.write("bad.root", "");
    is_refused(&world, "bad.root", "malformed");
    // Longer than any root: read no further.
    world.write("bad.root", [good.as_bytes(), &[b'x'; 2 << 20]].concat());
    world.refuses("trust verify bad.root", 1, "larger than");
    world.refuses("verify list --trust-root bad.root", 3, "larger than");

    at(&world, SECOND, "trust rotate site.root -o next.root");
    is_refused(&world, "site.root next.root", "unsealed");
    sign(&world, "next.root", &["carol"]);
    let answer = is_refused(&world, "site.root next.root", "threshold");
    assert_eq!((&answer["by"], &answer["missing"][1]), (&"previous".into(), &"bob".into()), "{answer}");
    assert_eq!(is_refused(&world, "next.root", "threshold")["by"], "itself");
    sign(&world, "next.root", &["alice"]);
    assert!(world.run("trust verify site.root next.root").status.success());
    is_refused(&world, "site.root site.root", "not-next");
    is_refused(&world, "next.root site.root", "not-next");
}

#[test]
fn roots_of_other_sites_and_of_the_future_are_refused() {
    let world = world();
    at(&world, FIRST, "trust init other.root --key alice.pub --key bob.pub");
    sign(&world, "other.root", &["alice", "bob"]);
    next(&world, "other.root", "other-2.root", &["alice", "bob"]);
    is_refused(&world, "site.root other-2.root", "wrong-name");
    at(&world, "253402300000", "trust init future.root --key alice.pub");
    sign(&world, "future.root", &["alice"]);
    is_refused(&world, "future.root", "from-the-future");
    at(&world, "253402300000", "trust rotate site.root -o future-2.root");
    sign(&world, "future-2.root", &["alice", "bob"]);
    is_refused(&world, "site.root future-2.root", "from-the-future");
}

#[test]
fn a_state_goes_neither_back_nor_aside() {
    let world = world();
    assert!(world.run("state init state").status.success());
    next(&world, "site.root", "next.root", &["alice", "bob"]);
    at(&world, SECOND, "trust rotate site.root -o aside.root --expires 90d");
    sign(&world, "aside.root", &["bob", "carol"]);
    assert!(world.run("trust verify site.root next.root --state state").status.success());
    let before = fs::read(world.path("state/state")).unwrap();
    for (root, reason) in [("aside.root", "equivocation"), ("site.root", "below-floor")] {
        let output = world.run(&format!("trust verify {root} --state state --json"));
        assert_eq!((output.status.code(), &object(&output)["reason"]), (Some(1), &reason.into()), "{root}");
        assert_eq!(fs::read(world.path("state/state")).unwrap(), before);
    }
    // Lists are asked about, and not remembered.
    let output = world.run("trust verify next.root --state state --list list --json");
    let answer = object(&output);
    assert_eq!((output.status.code(), &answer["lists"][0]["verifies"]), (Some(0), &true.into()), "{answer}");
    assert_eq!(fs::read(world.path("state/state")).unwrap(), before);
}

#[test]
fn no_flip_of_a_bit_goes_unseen() {
    let world = world();
    let good = world.read("site.root");
    for at in (0..good.len()).step_by(11) {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        world.write("flipped", &flipped);
        world.refuses("trust verify flipped", 1, "flipped: ");
        world.write("short", &good[..at]);
        world.refuses("trust verify short", 1, "short: ");
    }
}

/// Neither signatures nor refused edits let a draft change.
#[test]
fn a_refused_edit_changes_not_a_byte() {
    let world = world();
    at(&world, FIRST, "trust init draft.root --key alice.pub --key bob.pub");
    fs::set_permissions(world.path("draft.root"), fs::Permissions::from_mode(0o640)).unwrap();
    let (draft, signed) = (world.read("draft.root"), world.read("site.root"));
    for (edit, draft_exit) in [
        ("add-key ROOT carol.pub --roles nobody", 2),
        ("add-key ROOT carol.pub --name alice", 2),
        ("add-key ROOT weak.pub", 3),
        ("revoke ROOT alice", 2),
        ("set-threshold ROOT root 3", 2),
        ("set-threshold ROOT lists 0", 2),
        ("reset ROOT prod 0", 2),
        ("revoke-list ROOT missing", 3),
    ] {
        let output = world.run(&format!("trust {}", edit.replace("ROOT", "draft.root")));
        assert_eq!(output.status.code(), Some(draft_exit), "{edit}");
        let output = world.run(&format!("trust {} --json", edit.replace("ROOT", "site.root")));
        assert_eq!(output.status.code(), Some(2), "{edit}");
        assert!(["sealed", "usage"].map(Value::from).contains(&object(&output)["reason"]), "{edit}");
        assert_eq!((world.read("draft.root"), world.read("site.root")), (draft.clone(), signed.clone()), "{edit}");
    }
    let names = world.names();
    at(&world, FIRST, "trust set-floor draft.root prod 2");
    assert_ne!(world.read("draft.root"), draft);
    assert_eq!(world.path("draft.root").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(world.names(), names);
}

/// A departing owner signs for the old root; whoever was never an owner learns that before the others wait in vain.
#[test]
fn a_signature_that_does_not_count_is_named() {
    let world = world();
    at(&world, SECOND, "trust rotate site.root -o next.root");
    at(&world, SECOND, "trust set-threshold next.root root 1");
    let shown = object(&world.run("trust show next.root --json"));
    let alice = shown["keys"].as_array().unwrap().iter().find(|key| key["name"] == "alice").unwrap();
    at(&world, SECOND, &format!("trust revoke next.root {}", alice["key_id"].as_str().unwrap()));
    at(&world, SECOND, "trust add-key next.root carol.pub --roles lists --replace --name token");
    let said = |key: &str| {
        let output = at(&world, SECOND, &format!("trust sign next.root --key {key}.key"));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said("alice").contains("does not count by next.root itself, which revokes it"));
    assert!(said("carol").contains("does not count by next.root itself, which gives it another role"));
    assert_eq!(said("bob"), "");
}

/// Two keys of one person are one person, in drafts as in chains.
#[test]
fn keys_of_one_owner_count_once() {
    let world = World::new();
    at(&world, FIRST, "trust init pair.root --key alice.pub --key bob.pub --threshold 1");
    at(&world, FIRST, "trust add-key pair.root bob.pub --owner alice --replace");
    world.refuses("trust set-threshold pair.root root 2", 2, "needs 2 owners, and there would be 1");
    at(&world, FIRST, "trust add-key pair.root carol.pub");
    at(&world, FIRST, "trust set-threshold pair.root root 2");
    sign(&world, "pair.root", &["alice", "bob"]);
    world.refuses("trust verify pair.root", 1, "role root: 1 of 2, missing: carol");
    sign(&world, "pair.root", &["carol"]);
    assert!(world.run("trust verify pair.root").status.success());
}

/// A root whose keys have expired can be followed by nobody; its successor is made all the same, and brought by hand.
#[test]
fn expired_keys_do_not_hold_up_the_next_root() {
    let world = World::new();
    at(&world, FIRST, "trust init site.root --key alice.pub");
    at(&world, FIRST, "trust add-key site.root alice.pub --until 1d --replace");
    sign(&world, "site.root", &["alice"]);
    world.refuses(
        "trust verify site.root",
        1,
        "nobody is left who could sign; not counted: alice (no longer valid since",
    );
    let answer = object(&at(&world, SECOND, "trust rotate site.root -o next.root --json"));
    assert!(answer["previous_unmet"].as_str().unwrap().starts_with("by itself, role root: 0 of 1"), "{answer}");
    at(&world, SECOND, "trust add-key next.root bob.pub");
    sign(&world, "next.root", &["alice", "bob"]);
    is_refused_by_previous(&world);
    assert!(world.run("trust verify next.root").status.success());
}

#[track_caller]
fn is_refused_by_previous(world: &World) {
    world.refuses("trust verify site.root next.root", 1, "site.root: by itself, role root: 0 of 1");
}

/// The next root says what its predecessor said, is valid as long, and has no reset.
#[test]
fn rotation_keeps_everything_but_resets() {
    let world = World::new();
    at(&world, FIRST, "trust init site.root --key alice.pub --key bob.pub --threshold 1 --expires 90d");
    for edit in ["set-floor site.root prod 3", "reset site.root prod 4", "revoke site.root bob"] {
        at(&world, FIRST, &format!("trust {edit}"));
    }
    at(&world, FIRST, &format!("trust revoke-list site.root {}", "a".repeat(64)));
    sign(&world, "site.root", &["alice"]);
    at(&world, SECOND, "trust rotate site.root -o next.root");
    let statements = |root: &str| String::from_utf8(world.run(&format!("trust show {root} --keys")).stdout).unwrap();
    assert_eq!(statements("next.root"), statements("site.root").replace("reset prod 4\n", ""));
    let shown = object(&world.run("trust show next.root --json"));
    assert_eq!((&shown["version"], &shown["expires"]), (&2.into(), &"2026-04-03T03:04:05Z".into()), "{shown}");
    world.refuses("trust rotate site.root -o next.root", 2, "next.root exists already");
    world.refuses("trust rotate next.root -o third.root", 3, "next.root: it is not signed");
}
