//! Who must have signed a list: one change each, and exactly its answer.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::super::{TrustRootError, TrustedKey, Uncounted, UncountedReason, Unmet};
use super::*;
use crate::envelope::ED25519;
use crate::header::{HeaderError, WHITELIST_TYPE};
use crate::root::TRUST_ROOT_TYPE;

#[track_caller]
fn refused(root: &TrustRoot, envelope: Envelope, expected: AuthenticateError) {
    assert_eq!(root.authenticate(envelope, now()).map(|_| ()), Err(expected));
}

fn envelope(holders: &[&str]) -> Envelope {
    sealed(whitelist(), holders).envelope().clone()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `signed` of the two that the role list needs.
fn unmet(signed: usize, missing: &[&str]) -> Unmet {
    Unmet {
        role: Some(role("list")),
        signed,
        threshold: 2,
        missing: names(missing),
        uncounted: Vec::new(),
        unknown: Vec::new(),
    }
}

fn uncounted(name: &str, reason: UncountedReason) -> Vec<Uncounted> {
    vec![Uncounted { name: name.to_owned(), reason }]
}

#[test]
fn unsealed() {
    refused(&Root::new().trusted(), envelope(&[]), AuthenticateError::Unsealed);
}

#[test]
fn one_of_two() {
    let expected = AuthenticateError::Threshold(unmet(1, &["erin", "frank"]));
    refused(&Root::new().trusted(), envelope(&["dave"]), expected);
}

#[test]
fn two_keys_of_one_owner_count_once() {
    let mut root = Root::new();
    root.key("erin").owner = HolderName::new("dave").unwrap();
    refused(
        &root.trusted(),
        envelope(&["dave", "erin"]),
        AuthenticateError::Threshold(Unmet { signed: 1, missing: names(&["frank"]), ..unmet(1, &[]) }),
    );
}

/// Whatever a known key may sign: that its signature is wrong says that bytes were changed.
#[test]
fn a_bad_signature_of_any_known_key_refuses() {
    let mut root = Root::new();
    root.key("frank").status = KeyStatus::Revoked;
    root.key("erin").until = Expiry::At(time("2026-05-31T23:59:59Z"));
    root.key("grace").from = time("2026-06-01T00:00:01Z");
    root.statements.insert_key(key("heidi", &["list"]));
    let root = root.trusted();
    for holder in ["frank", "erin", "grace", "alice"] {
        let mut envelope = envelope(&["dave", "heidi"]);
        assert!(root.authenticate(envelope.clone(), now()).is_ok());
        envelope.insert(bad_signature(holder)).unwrap();
        refused(&root, envelope, AuthenticateError::BadSignature { name: holder.to_owned() });
    }
}

/// Who signs with a key that is not known can put anything there; it neither counts nor refuses.
#[test]
fn unknown_keys_are_told_and_neither_checked_nor_counted() {
    let root = Root::new().trusted();
    let mallory = public_key("mallory").key_id();
    for signature in [signature("mallory", &envelope(&[])), bad_signature("mallory")] {
        let mut enough = envelope(&["dave", "erin"]);
        enough.insert(signature.clone()).unwrap();
        let authentic = root.authenticate(enough, now()).unwrap();
        assert_eq!(authentic.unknown_signers(), [mallory]);
        assert_eq!(authentic.signers().len(), 2);
        let mut one = envelope(&["dave"]);
        one.insert(signature).unwrap();
        let expected = Unmet { unknown: vec![mallory], ..unmet(1, &["erin", "frank"]) };
        refused(&root, one, AuthenticateError::Threshold(expected));
    }
}

/// A line that names another algorithm carries no signature of this key, whatever its bytes.
#[test]
fn the_algorithm_is_the_keys_own() {
    let good = envelope(&["dave", "erin"]);
    let renamed = String::from_utf8(good.print()).unwrap().replacen("sig ed25519 ", "sig ed25519ph ", 1);
    let (renamed, _) = Envelope::parse(renamed.as_bytes()).unwrap();
    let first = good.signatures()[0].key_id();
    let expected = ["dave", "erin"].into_iter().find(|name| public_key(name).key_id() == first).unwrap();
    assert_ne!(renamed.signatures()[0].algorithm(), ED25519);
    refused(&Root::new().trusted(), renamed, AuthenticateError::BadSignature { name: expected.to_owned() });
}

/// What does not count is told with its reason, also where enough others signed.
#[test]
fn right_signatures_that_do_not_count() {
    type Change<'a> = &'a dyn Fn(&mut Root);
    let cases: [(&str, Change<'_>, UncountedReason); 4] = [
        ("frank", &|root| root.key("frank").status = KeyStatus::Revoked, UncountedReason::Revoked),
        (
            "frank",
            &|root| root.key("frank").from = time("2026-06-01T00:00:01Z"),
            UncountedReason::NotYetValid { from: time("2026-06-01T00:00:01Z") },
        ),
        (
            "frank",
            &|root| root.key("frank").until = Expiry::At(time(NOW)),
            UncountedReason::Expired { until: time(NOW) },
        ),
        ("alice", &|_| {}, UncountedReason::OtherRole),
    ];
    for (holder, change, reason) in cases {
        let mut root = Root::new();
        change(&mut root);
        let root = root.trusted();
        let missing: &[&str] = if holder == "alice" { &["erin", "frank"] } else { &["erin"] };
        let expected = Unmet { uncounted: uncounted(holder, reason.clone()), ..unmet(1, missing) };
        refused(&root, envelope(&["dave", holder]), AuthenticateError::Threshold(expected));
        let authentic = root.authenticate(envelope(&["dave", "erin", holder]), now()).unwrap();
        assert_eq!(authentic.uncounted(), uncounted(holder, reason));
        let signers: BTreeSet<&str> = authentic.signers().iter().map(|signer| signer.name.as_str()).collect();
        assert_eq!(signers, BTreeSet::from(["dave", "erin"]));
    }
}

/// A key counts from its first second up to the one before its last.
#[test]
fn a_key_counts_within_its_validity() {
    let mut root = Root::new();
    root.key("erin").from = time("2026-06-01T00:00:00Z");
    root.key("erin").until = Expiry::At(time("2026-06-02T00:00:00Z"));
    let root = root.trusted();
    let counts = |at: &str| root.authenticate(envelope(&["dave", "erin"]), Now::by_clock(time(at))).is_ok();
    assert_eq!(
        ["2026-05-31T23:59:59Z", "2026-06-01T00:00:00Z", "2026-06-01T23:59:59Z", "2026-06-02T00:00:00Z"].map(counts),
        [false, true, true, false]
    );
}

/// Validity is judged at T, which a clock that was set back does not lower.
#[test]
fn validity_is_judged_at_the_bound_where_it_is_later() {
    let mut root = Root::new();
    root.key("erin").until = Expiry::At(time("2026-06-02T00:00:00Z"));
    let root = root.trusted();
    let set_back = Now::not_before(time(NOW), Some(time("2026-06-02T00:00:00Z")));
    assert!(matches!(
        root.authenticate(envelope(&["dave", "erin"]), set_back),
        Err(AuthenticateError::Threshold(unmet)) if unmet.signed == 1
    ));
}

#[test]
fn every_role_for_the_name_must_be_satisfied() {
    let root = Root::new().trusted();
    let production = |holders| sealed(whitelist_with(|list| list.name = name("prod-db")), holders).envelope().clone();
    let of_production = Unmet {
        role: Some(role("production")),
        signed: 0,
        threshold: 1,
        missing: names(&["grace"]),
        uncounted: ["dave", "erin"]
            .map(|name| Uncounted { name: name.into(), reason: UncountedReason::OtherRole })
            .into(),
        unknown: Vec::new(),
    };
    let mut expected = of_production;
    let order: Vec<_> = production(&["dave", "erin"]).signatures().iter().map(SignatureLine::key_id).collect();
    expected.uncounted.sort_by_key(|uncounted| order.iter().position(|id| *id == public_key(&uncounted.name).key_id()));
    refused(&root, production(&["dave", "erin"]), AuthenticateError::Threshold(expected));
    let expected = Unmet { uncounted: uncounted("grace", UncountedReason::OtherRole), ..unmet(1, &["erin", "frank"]) };
    refused(&root, production(&["dave", "grace"]), AuthenticateError::Threshold(expected));
    let authentic = root.authenticate(production(&["dave", "erin", "grace"]), now()).unwrap();
    assert_eq!(authentic.signers().len(), 3);
    assert!(authentic.uncounted().is_empty());
    assert_eq!(authentic.thresholds(), [(Some(role("list")), 2), (Some(role("production")), 1)]);
    // A name that only begins alike is no name of production.
    assert_eq!(root.authenticate(envelope(&["dave", "erin"]), now()).unwrap().thresholds(), [(Some(role("list")), 2)]);
}

/// Holders of the root seal no lists by that, however many sign.
#[test]
fn the_root_role_seals_no_list() {
    let mut root = Root::new();
    root.statements.roles.clear();
    root.threshold("root", None, 2);
    root.threshold("list", Some("web"), 1);
    root.threshold("production", Some("prod-*"), 1);
    let (found, expected) =
        (root.trusted().authenticate(envelope(&["alice"]), now()), uncounted("alice", UncountedReason::OtherRole));
    assert_eq!(found.map(|_| ()), Err(AuthenticateError::NoneCounts { uncounted: expected, unknown: Vec::new() }));
}

/// Where a role is for every list it is known what is missing before anything is parsed; else only that none counts.
#[test]
fn nothing_is_parsed_while_nothing_counts() {
    let mut named = Root::new();
    named.statements.roles.remove(&(role("list"), RoleScope::Lists(NamePattern::any())));
    named.threshold("list", Some("w*"), 2);
    let mut broken = Envelope::unsealed("some/type", b"no header").unwrap();
    broken.insert(signature("mallory", &broken)).unwrap();
    let unknown = vec![public_key("mallory").key_id()];
    refused(
        &named.trusted(),
        broken.clone(),
        AuthenticateError::NoneCounts { uncounted: Vec::new(), unknown: unknown.clone() },
    );
    let expected = Unmet { unknown, ..unmet(0, &["dave", "erin", "frank"]) };
    refused(&Root::new().trusted(), broken, AuthenticateError::Threshold(expected));
}

#[test]
fn another_type() {
    let payload = whitelist().print().unwrap().envelope().claimed_payload().to_vec();
    let mut envelope = Envelope::unsealed(TRUST_ROOT_TYPE, &payload).unwrap();
    envelope.insert(signature("dave", &envelope)).unwrap();
    refused(&Root::new().trusted(), envelope, AuthenticateError::WrongType(TRUST_ROOT_TYPE.to_owned()));
}

#[test]
fn no_header() {
    let mut envelope = Envelope::unsealed(WHITELIST_TYPE, b"\nformat: 2\n").unwrap();
    envelope.insert(signature("dave", &envelope)).unwrap();
    let expected = HeaderError { line: 1, expected: "`format: 1`" };
    refused(&Root::new().trusted(), envelope, AuthenticateError::Header(expected));
}

#[test]
fn no_role_for_the_name() {
    let mut root = Root::new();
    root.statements.roles.remove(&(role("list"), RoleScope::Lists(NamePattern::any())));
    root.threshold("list", Some("db"), 2);
    refused(&root.trusted(), envelope(&["dave", "erin"]), AuthenticateError::NoRole(name("web")));
}

#[test]
fn a_revoked_list() {
    let mut root = Root::new();
    let list = envelope(&["dave", "erin"]);
    root.statements.revoked_lists.insert(list.identity());
    refused(&root.trusted(), list, AuthenticateError::RevokedList(envelope(&[]).identity()));
    // Another list of the same version is not it.
    let other = sealed(whitelist_with(|list| list.expires = Expiry::Never), &["dave", "erin"]);
    assert!(root.trusted().authenticate(other.envelope().clone(), now()).is_ok());
}

#[test]
fn who_signed_is_told_with_the_owner() {
    let mut root = Root::new();
    root.key("erin").owner = HolderName::new("erin@example.com").unwrap();
    let authentic = root.trusted().authenticate(envelope(&["dave", "erin"]), now()).unwrap();
    let mut signers: Vec<_> = authentic.signers().to_vec();
    signers.sort_by(|a, b| a.name.cmp(&b.name));
    let expected = [("dave", "dave"), ("erin", "erin@example.com")];
    for (signer, (name, owner)) in signers.iter().zip(expected) {
        assert_eq!((signer.name.as_str(), signer.owner.as_deref()), (name, Some(owner)));
        assert_eq!(signer.key_id, public_key(name).key_id());
    }
    assert_eq!(signers.len(), 2);
    assert_eq!(authentic.identity(), envelope(&[]).identity());
}

#[test]
fn keys_alone() {
    let key = |name: &str| TrustedKey { name: name.to_owned(), key: public_key(name) };
    let of = |names: &[&str], threshold| {
        TrustRoot::of_keys(names.iter().map(|name| key(name)).collect(), NonZeroUsize::new(threshold))
    };
    assert_eq!(of(&[], 0).map(|_| ()), Err(TrustRootError::NoKeys));
    assert_eq!(of(&["dave"], 2).map(|_| ()), Err(TrustRootError::Unreachable { threshold: 2, keys: 1 }));
    let twice = vec![key("erin"), key("dave"), TrustedKey { name: "again".into(), ..key("dave") }];
    let expected = TrustRootError::SameKey { first: "dave".into(), second: "again".into() };
    assert_eq!(TrustRoot::of_keys(twice, None).map(|_| ()), Err(expected));

    let unnamed = |signed, threshold, missing| {
        AuthenticateError::Threshold(Unmet { role: None, signed, threshold, ..unmet(signed, missing) })
    };
    let all = of(&["erin", "dave"], 0).unwrap();
    refused(&all, envelope(&["dave"]), unnamed(1, 2, &["erin"]));
    let authentic = all.authenticate(envelope(&["dave", "erin"]), now()).unwrap();
    assert_eq!(authentic.thresholds(), [(None, 2)]);
    assert!(authentic.signers().iter().all(|signer| signer.owner.is_none()));
    let one = of(&["erin", "dave"], 1).unwrap();
    assert!(one.authenticate(envelope(&["erin"]), at("1970-01-01T00:00:00Z")).is_ok());
    assert!(one.authenticate(envelope(&["erin"]), at("9999-12-31T23:59:59Z")).is_ok());
    assert_eq!((one.key_count(), one.mark(), one.header()), (2, None, None));
}

/// What people are told, in whole sentences.
#[test]
fn unmet_thresholds_are_told() {
    let nobody = Unmet { signed: 1, ..unmet(1, &[]) };
    assert_eq!(nobody.to_string(), "role list: 1 of 2, and nobody is left who could sign");
    let mallory = public_key("mallory").key_id();
    let all = Unmet {
        role: None,
        uncounted: vec![
            Uncounted { name: "a".into(), reason: UncountedReason::Revoked },
            Uncounted { name: "b".into(), reason: UncountedReason::NotYetValid { from: time(NOW) } },
            Uncounted { name: "c".into(), reason: UncountedReason::Expired { until: time(NOW) } },
            Uncounted { name: "d".into(), reason: UncountedReason::OtherRole },
        ],
        unknown: vec![mallory],
        ..unmet(0, &["dave", "erin"])
    };
    assert_eq!(
        all.to_string(),
        format!(
            "0 of 2, missing: dave, erin; not counted: a (revoked), b (valid only from {NOW}), \
             c (no longer valid since {NOW}), d (has another role); signed by unknown keys: {mallory}"
        )
    );
}

#[test]
fn refusals_are_told() {
    let identity = envelope(&[]).identity();
    let mallory = public_key("mallory").key_id();
    let none =
        AuthenticateError::NoneCounts { uncounted: uncounted("a", UncountedReason::Revoked), unknown: vec![mallory] };
    for (error, text) in [
        (AuthenticateError::Unsealed, "it is not sealed".to_owned()),
        (
            AuthenticateError::BadSignature { name: "dave".into() },
            "the signature of dave is not right for these bytes".to_owned(),
        ),
        (AuthenticateError::Threshold(unmet(1, &["erin"])), "role list: 1 of 2, missing: erin".to_owned()),
        (none, format!("none of its signatures counts: a (revoked), {mallory} (unknown)")),
        (AuthenticateError::WrongType("x/y".into()), "it is sealed as \"x/y\", which is not a whitelist".to_owned()),
        (
            AuthenticateError::Header(HeaderError { line: 1, expected: "`format: 1`" }),
            "header line 1 is not `format: 1`".to_owned(),
        ),
        (AuthenticateError::NoRole(name("web")), "the trust root lets nobody seal lists named web".to_owned()),
        (AuthenticateError::RevokedList(identity), format!("the trust root revokes this very list: {identity}")),
    ] {
        assert_eq!(error.to_string(), text);
    }
    for (error, text) in [
        (TrustRootError::NoKeys, "no key is trusted"),
        (TrustRootError::SameKey { first: "a".into(), second: "b".into() }, "a and b are the same key"),
        (
            TrustRootError::Unreachable { threshold: 2, keys: 1 },
            "2 signatures are wanted, more than there are trusted keys: 1",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
