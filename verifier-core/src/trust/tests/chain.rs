//! Which root may be the first, and which may follow.

use super::super::{UncountedReason, Unmet};
use super::*;
use crate::envelope::HeadError;
use crate::root::{RootError, TRUST_ROOT_TYPE};

/// Two of the three who hold the root.
const BOTH: &[&str] = &["alice", "bob"];

#[track_caller]
fn not_first(file: &[u8], expected: TrustedRootError) {
    assert_eq!(TrustRoot::anchor(file, now()).map(|_| ()), Err(expected));
}

#[track_caller]
fn not_next(root: &Root, file: &[u8], expected: TrustedRootError) {
    assert_eq!(root.trusted().advance(file, now()).map(|_| ()), Err(expected));
}

/// `signed` of the two that hold the root.
fn unmet(signed: usize, missing: &[&str]) -> Unmet {
    Unmet {
        role: Some(role("root")),
        signed,
        threshold: 2,
        missing: missing.iter().map(|name| (*name).to_owned()).collect(),
        uncounted: Vec::new(),
        unknown: Vec::new(),
    }
}

#[test]
fn the_first_is_held_to_its_own_threshold() {
    let root = Root::new();
    let trusted = root.trusted();
    assert_eq!(trusted.mark().map(|mark| (mark.version, mark.identity)), Some((version(1), root.identity())));
    assert_eq!(trusted.header(), Some(root.unsealed().header()));
    assert_eq!(trusted.key_count(), 7);
    not_first(&root.file(&[]), TrustedRootError::Unsealed);
    not_first(&root.file(&["alice"]), TrustedRootError::OwnThreshold(unmet(1, &["bob", "carol"])));
    let mut bad = root.sealed_by(BOTH);
    bad.insert(bad_signature("dave")).unwrap();
    not_first(&bytes(&bad), TrustedRootError::BadSignature { name: "dave".into() });
    // Who seals lists does not hold the root.
    let expected = Unmet {
        uncounted: vec![super::super::Uncounted { name: "dave".into(), reason: UncountedReason::OtherRole }],
        ..unmet(1, &["bob", "carol"])
    };
    not_first(&root.file(&["alice", "dave"]), TrustedRootError::OwnThreshold(expected));
}

#[test]
fn a_root_is_whole() {
    let root = Root::new();
    let mut longer = root.file(BOTH);
    longer.push(b'\n');
    let length = root.unsealed().header().keys.len;
    let expected = RootError::Length { expected: length, found: length + 1 };
    not_first(&longer, TrustedRootError::Document(expected.clone()));
    not_first(b"", TrustedRootError::Document(RootError::Head(HeadError::Empty)));
    let mut next = root.next().file(BOTH);
    next.push(b'\n');
    not_next(&root, &next, TrustedRootError::Document(expected));
    not_next(&root, b"x", TrustedRootError::Document(RootError::Head(HeadError::NotSealedFormat)));
    let mut tampered = root.next().file(BOTH);
    *tampered.last_mut().unwrap() = b' ';
    not_next(&root, &tampered, TrustedRootError::Document(RootError::Tampered));
}

#[test]
fn the_next_is_signed_by_both_thresholds() {
    let root = Root::new();
    // bob leaves, heidi comes: alice and carol suffice for the old, heidi is needed for the new.
    let mut next = root.next();
    next.statements.keys.remove(&public_key("bob").key_id());
    next.statements.insert_key(key("heidi", &["root"]));
    next.threshold("root", None, 3);
    let all = next.file(&["alice", "carol", "heidi"]);
    let second = root.trusted().advance(&all, now()).unwrap();
    assert_eq!(second.mark().map(|mark| (mark.version, mark.identity)), Some((version(2), next.identity())));
    let of_new = Unmet { threshold: 3, ..unmet(2, &["heidi"]) };
    not_next(&root, &next.file(&["alice", "carol"]), TrustedRootError::OwnThreshold(of_new));
    let heidi = public_key("heidi").key_id();
    let of_old = Unmet { unknown: vec![heidi], ..unmet(1, &["bob", "carol"]) };
    not_next(&root, &next.file(&["alice", "heidi"]), TrustedRootError::PreviousThreshold(of_old));
    let mut bad = next.sealed_by(&["alice", "carol", "heidi"]);
    bad.insert(bad_signature("bob")).unwrap();
    not_next(&root, &bytes(&bad), TrustedRootError::BadSignature { name: "bob".into() });
    not_next(&root, &next.file(&[]), TrustedRootError::Unsealed);
}

/// The old threshold is counted by what the old root says of its keys, the new one by what the new root says
/// (docs/format.md, Chain of roots 3).
#[test]
fn revocation_takes_effect_with_the_root_that_says_it() {
    let root = Root::new();
    let mut next = root.next();
    next.key("bob").status = KeyStatus::Revoked;
    let expected = Unmet {
        uncounted: vec![super::super::Uncounted { name: "bob".into(), reason: UncountedReason::Revoked }],
        ..unmet(1, &["carol"])
    };
    not_next(&root, &next.file(BOTH), TrustedRootError::OwnThreshold(expected));
    assert!(root.trusted().advance(&next.file(&["alice", "bob", "carol"]), now()).is_ok());
    // bob is revoked now, and signs no third.
    let second = root.trusted().advance(&next.file(&["alice", "carol"]), now()).unwrap();
    let third = Root { version: 3, ..next.clone() };
    assert!(matches!(
        second.advance(&third.file(BOTH), now()),
        Err(TrustedRootError::PreviousThreshold(unmet)) if unmet.signed == 1
    ));
}

#[test]
fn each_root_is_one_version_on() {
    let root = Root { version: 5, ..Root::new() };
    for found in [4, 5, 7] {
        let other = Root { version: found, ..root.next() };
        let expected = TrustedRootError::NotNext { previous: version(5), found: version(found) };
        not_next(&root, &other.file(BOTH), expected);
    }
    let last = Root { version: crate::header::MAX_VERSION, ..Root::new() };
    let again = last.file(BOTH);
    let expected = TrustedRootError::NotNext { previous: version(last.version), found: version(last.version) };
    not_next(&last, &again, expected);
}

#[test]
fn another_root_does_not_follow() {
    let root = Root::new();
    let other = Root { name: "other", ..root.next() };
    let expected = TrustedRootError::WrongName { expected: name("site"), found: name("other") };
    not_next(&root, &other.file(BOTH), expected);
}

#[test]
fn keys_alone_have_no_next() {
    let keys = vec![super::super::TrustedKey { name: "alice".into(), key: public_key("alice") }];
    let trusted = TrustRoot::of_keys(keys, None).unwrap();
    let next = trusted.advance(&Root::new().next().file(BOTH), now());
    assert_eq!(next.map(|_| ()), Err(TrustedRootError::NoChain));
}

#[test]
fn a_root_from_the_future() {
    // NOW and a day.
    let tomorrow = Root { created: "2026-06-02T00:00:00Z", ..Root::new() };
    assert!(TrustRoot::anchor(&tomorrow.file(BOTH), now()).is_ok());
    let later = Root { created: "2026-06-02T00:00:01Z", ..Root::new() };
    let expected = TrustedRootError::FromTheFuture { created: time(later.created), now: time(NOW) };
    not_first(&later.file(BOTH), expected.clone());
    not_next(&Root::new(), &Root { version: 2, ..later }.file(BOTH), expected);
}

/// Roots on the way may be past their expiry, as long as keys count: only the last one's is told.
#[test]
fn a_stale_root_leads_on() {
    let stale = Root { expires: "2026-01-15T00:00:00Z", ..Root::new() };
    let next = stale.next().next();
    let second = Root { version: 2, expires: "2026-02-15T00:00:00Z", ..stale.next() };
    let trusted = stale.trusted().advance(&second.file(BOTH), now()).unwrap();
    assert!(trusted.advance(&Root { expires: "never", ..next }.file(BOTH), now()).is_ok());
}

#[test]
fn keys_that_are_no_longer_valid_lead_nowhere() {
    let root = Root::new().trusted();
    let late = at("2027-01-01T00:00:00Z");
    assert!(matches!(
        root.advance(&Root::new().next().file(BOTH), late),
        Err(TrustedRootError::PreviousThreshold(unmet)) if unmet.signed == 0 && unmet.uncounted.len() == 2
    ));
}

/// A list is no root, and a root no list, whoever signed it.
#[test]
fn a_list_is_no_root() {
    let list = sealed(whitelist(), BOTH);
    let file = [&list.envelope().print(), list.contents().body()].concat();
    let wrong_type = TrustedRootError::Document(RootError::WrongType(crate::header::WHITELIST_TYPE.to_owned()));
    not_first(&file, wrong_type.clone());
    not_next(&Root::new(), &file, wrong_type);
    let mut root = Root::new();
    for holder in BOTH {
        root.key(holder).roles.insert(role("list"));
    }
    let sealed = root.sealed_by(BOTH);
    let found = root.trusted().authenticate(sealed.envelope().clone(), now()).map(|_| ());
    assert_eq!(found, Err(AuthenticateError::WrongType(TRUST_ROOT_TYPE.to_owned())));
}

#[test]
fn refusals_are_told() {
    for (error, text) in [
        (TrustedRootError::NoChain, "trust in keys alone has no next root".to_owned()),
        (
            TrustedRootError::Document(RootError::Head(HeadError::NotSealedFormat)),
            "it does not begin with `DSSEv1 `: not a trust root".to_owned(),
        ),
        (TrustedRootError::Document(RootError::NoRootRole), "it has no threshold for the role root".to_owned()),
        (TrustedRootError::Unsealed, "it is not signed".to_owned()),
        (
            TrustedRootError::BadSignature { name: "bob".into() },
            "the signature of bob is not right for these bytes".to_owned(),
        ),
        (
            TrustedRootError::PreviousThreshold(unmet(1, &["bob"])),
            "by the root before it, role root: 1 of 2, missing: bob".to_owned(),
        ),
        (TrustedRootError::OwnThreshold(unmet(1, &["bob"])), "by itself, role root: 1 of 2, missing: bob".to_owned()),
        (
            TrustedRootError::WrongName { expected: name("site"), found: name("other") },
            "its name is other, and that before it is site".to_owned(),
        ),
        (
            TrustedRootError::NotNext { previous: version(1), found: version(3) },
            "its version is 3, and that before it is 1: each root follows the one before".to_owned(),
        ),
        (
            TrustedRootError::FromTheFuture { created: time("2027-01-01T00:00:00Z"), now: time(NOW) },
            format!("it was created 2027-01-01T00:00:00Z, and now it is {NOW}"),
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
