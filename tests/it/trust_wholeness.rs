//! Nothing but the very bytes that were sealed: one bit, one byte less, one byte more, and it is refused. And what was
//! sealed as one kind of document is not taken as the other.

use goldseal_tests::World;
use goldseal_tests::forge::{Forge, Refusal};
use goldseal_verifier_core::header::{Expiry, WHITELIST_TYPE};
use goldseal_verifier_core::root::{RootError, TRUST_ROOT_TYPE};
use goldseal_verifier_core::trust::{AuthenticateError, Now, TrustRoot, TrustedRootError};

/// Calls `refused` with everything that differs from `good` a little.
fn for_each_deviation(good: &[u8], refused: impl Fn(&[u8], &str)) {
    for bit in 0..good.len() * 8 {
        let mut flipped = good.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&flipped, &format!("bit {bit} flipped"));
    }
    for length in 0..good.len() {
        refused(&good[..length], &format!("cut to {length} bytes"));
    }
    for byte in 0..=u8::MAX {
        refused(&[good, &[byte]].concat(), &format!("{byte:#04x} appended"));
    }
    for at in 0..good.len() {
        for byte in *b"\n 0" {
            let mut longer = good.to_vec();
            longer.insert(at, byte);
            refused(&longer, &format!("{byte:#04x} inserted at {at}"));
        }
        let mut shorter = good.to_vec();
        shorter.remove(at);
        refused(&shorter, &format!("byte {at} removed"));
    }
}

/// dave alone seals lists, and alice alone the root: every signature there is is needed.
fn small() -> Forge {
    let mut world = Forge::new();
    let statements = &mut world.root.statements;
    statements.roles.clear();
    statements.keys.retain(|_, key| ["alice", "dave"].contains(&key.name.as_str()));
    world.root.threshold("root", None, 1);
    world.root.threshold("list", Some("*"), 1);
    world
}

fn anchor(world: &Forge) -> TrustRoot {
    TrustRoot::anchor(&world.sealed_root(&["alice"]), world.now).unwrap()
}

#[test]
fn a_list_that_differs_in_anything_is_refused() {
    let world = small();
    let root = anchor(&world);
    let good = world.sealed_list(&["dave"]);
    world.verify(&root, &good).unwrap();
    for_each_deviation(&good, |bytes, what| assert!(world.verify(&root, bytes).is_err(), "{what}"));
}

#[test]
fn a_root_that_differs_in_anything_is_refused() {
    let mut world = small();
    let first = anchor(&world);
    world.rotate();
    let good = world.sealed_root(&["alice"]);
    first.advance(&good, world.now).unwrap();
    TrustRoot::anchor(&good, world.now).unwrap();
    for_each_deviation(&good, |bytes, what| {
        assert!(first.advance(bytes, world.now).is_err(), "{what}");
        assert!(TrustRoot::anchor(bytes, world.now).is_err(), "{what}, as the first");
    });
}

/// Signed by those who may sign both kinds.
#[test]
fn a_list_is_no_root_and_a_root_no_list() {
    let mut world = small();
    let roles = world.root.key("dave").roles.clone();
    world.root.key("alice").roles.extend(roles);
    let root = anchor(&world);
    let list = world.sealed_list(&["alice"]);
    let second = world.rotate().file(&["alice"]);
    let as_list = TrustedRootError::Document(RootError::WrongType(WHITELIST_TYPE.to_owned()));
    assert_eq!(root.advance(&list, world.now).map(|_| ()), Err(as_list.clone()));
    assert_eq!(TrustRoot::anchor(&list, world.now).map(|_| ()), Err(as_list));
    match world.verify(&root, &second) {
        Err(Refusal::Authenticate(error)) => {
            assert_eq!(error, AuthenticateError::WrongType(TRUST_ROOT_TYPE.to_owned()));
        }
        other => panic!("{other:?}"),
    }
    // Nor does the program mistake them.
    let folder = World::new();
    folder.file("root", second);
    folder.file("list", list);
    folder.goldseal("verify root --trust-root root").exits(1).says("which is not a whitelist");
    folder.goldseal("verify list --trust-root list").exits(3).says("which is not a trust root");
}

/// The same at the end of time: no addition overflows, and nothing is fresh that has no end.
#[test]
fn times_at_both_ends() {
    use goldseal_verifier_core::time::Timestamp;
    let mut world = small();
    (world.root.created, world.list.created) = (Timestamp::MIN, Timestamp::MIN);
    world.root.key("alice").from = Timestamp::MIN;
    world.root.key("dave").from = Timestamp::MIN;
    world.list.expires = Expiry::At(Timestamp::MAX);
    for clock in [Timestamp::MIN, Timestamp::MAX] {
        world.now = Now::by_clock(clock);
        let root = anchor(&world);
        let policy = world.verify(&root, &world.sealed_list(&["dave"])).unwrap();
        let stale = matches!(policy.freshness(), goldseal_verifier_core::trust::Freshness::Stale { .. });
        assert_eq!(stale, clock == Timestamp::MAX);
    }
}

#[test]
fn the_forge_is_the_same_every_time() {
    let (one, two) = (Forge::new(), Forge::new());
    assert_eq!(one.sealed_list(&["dave", "erin"]), two.sealed_list(&["erin", "dave"]));
    assert_eq!(one.sealed_root(&["alice", "bob"]), two.sealed_root(&["bob", "alice"]));
}
