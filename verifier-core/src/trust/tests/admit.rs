//! Name, floors and time of an authentic header; and the sections after it.

use super::super::{AdmitError, Freshness, MAX_CLOCK_SKEW_SECONDS, Seen, StaleDocument};
use super::*;
use crate::contents::{ContentsError, LoadError};
use crate::header::Section;

fn list() -> UnverifiedList {
    sealed(whitelist(), &["dave", "erin"])
}

/// Version 10 of `web`, held to a floor.
fn admit(root: &Root, now: Now, floor: &Floor) -> Result<Freshness, AdmitError> {
    let authentic = root.trusted().authenticate(list().envelope().clone(), now).unwrap();
    authentic.admit(now, floor).map(|admitted| admitted.freshness())
}

fn seen(number: u64, identity: Option<Identity>) -> Floor {
    Floor { seen: Some(Seen { version: version(number), identity }), ..Floor::default() }
}

#[test]
fn the_name_is_the_one_asked_for() {
    let named = |text| Floor { name: Some(name(text)), ..Floor::default() };
    assert_eq!(admit(&Root::new(), now(), &named("web")), Ok(Freshness::Current));
    let expected = AdmitError::WrongName { expected: name("db"), found: name("web") };
    assert_eq!(admit(&Root::new(), now(), &named("db")), Err(expected));
}

/// Three floors, and the highest decides.
#[test]
fn nothing_below_any_floor() {
    let below = |floor| Err(AdmitError::BelowFloor { floor: version(floor), found: version(10) });
    let root = |floor: Option<u64>| {
        let mut root = Root::new();
        root.statements.floors.extend(floor.map(|floor| (name("web"), version(floor))));
        root.statements.floors.insert(name("other"), version(99));
        root
    };
    let asked = |floor| Floor { version: Some(version(floor)), ..Floor::default() };
    assert_eq!(admit(&root(Some(10)), now(), &asked(10)), Ok(Freshness::Current));
    assert_eq!(admit(&root(None), now(), &asked(11)), below(11));
    assert_eq!(admit(&root(Some(12)), now(), &asked(11)), below(12));
    assert_eq!(admit(&root(Some(11)), now(), &asked(12)), below(12));
    assert_eq!(admit(&root(None), now(), &seen(11, None)), below(11));
    assert_eq!(admit(&root(None), now(), &seen(10, None)), Ok(Freshness::Current));
}

/// What is in use stays usable; what is from the future does not become so.
#[test]
fn no_floor_applies_to_what_is_in_use() {
    let mut root = Root::new();
    root.statements.floors.insert(name("web"), version(11));
    assert!(matches!(admit(&root, now(), &Floor::default()), Err(AdmitError::BelowFloor { .. })));
    let again = |clock: &str| {
        let authentic = root.trusted().authenticate(list().envelope().clone(), now()).unwrap();
        authentic.admit_in_use(Now::by_clock(time(clock))).map(|admitted| admitted.freshness())
    };
    assert_eq!(again(NOW), Ok(Freshness::Current));
    assert!(matches!(again("9999-01-01T00:00:00Z"), Ok(Freshness::Stale { .. })));
    assert!(matches!(again("2020-01-01T00:00:00Z"), Err(AdmitError::FromTheFuture { .. })));
}

/// One version, two lists: the second is refused. A list seen before is the same list.
#[test]
fn equivocation() {
    let identity = list().envelope().identity();
    let other = sealed(whitelist_with(|list| list.expires = Expiry::Never), &[]).envelope().identity();
    assert_eq!(admit(&Root::new(), now(), &seen(10, Some(identity))), Ok(Freshness::Current));
    let expected = AdmitError::Equivocation { version: version(10), seen: other, found: identity };
    assert_eq!(admit(&Root::new(), now(), &seen(10, Some(other))), Err(expected));
    assert_eq!(admit(&Root::new(), now(), &seen(9, Some(other))), Ok(Freshness::Current));
}

#[test]
fn from_the_future() {
    // The list was created at 2026-05-01T00:00:00Z.
    assert_eq!(admit(&Root::new(), at("2026-04-30T00:00:00Z"), &Floor::default()), Ok(Freshness::Current));
    let expected =
        AdmitError::FromTheFuture { created: time("2026-05-01T00:00:00Z"), now: time("2026-04-29T23:59:59Z") };
    assert_eq!(admit(&Root::new(), at("2026-04-29T23:59:59Z"), &Floor::default()), Err(expected.clone()));
    // The bound does not help it: it may have been carried away by such a list.
    let bound = Now::not_before(time("2026-04-29T23:59:59Z"), Some(time(NOW)));
    assert_eq!(admit(&Root::new(), bound, &Floor::default()), Err(expected));
}

/// At the second of the expiry, by T. The list is told before the root.
#[test]
fn stale_is_told_and_no_error() {
    let list = |since: &str| Freshness::Stale { document: StaleDocument::List, since: time(since) };
    let root = |since: &str| Freshness::Stale { document: StaleDocument::TrustRoot, since: time(since) };
    let early = Root { expires: "2026-07-01T00:00:00Z", ..Root::new() };
    let floor = Floor::default();
    assert_eq!(admit(&Root::new(), at("2026-07-31T23:59:59Z"), &floor), Ok(Freshness::Current));
    assert_eq!(admit(&Root::new(), at("2026-08-01T00:00:00Z"), &floor), Ok(list("2026-08-01T00:00:00Z")));
    assert_eq!(admit(&early, at("2026-06-30T23:59:59Z"), &floor), Ok(Freshness::Current));
    assert_eq!(admit(&early, at("2026-07-01T00:00:00Z"), &floor), Ok(root("2026-07-01T00:00:00Z")));
    assert_eq!(admit(&early, at("2026-08-01T00:00:00Z"), &floor), Ok(list("2026-08-01T00:00:00Z")));
    let never = Root { expires: "never", ..Root::new() };
    assert_eq!(admit(&never, at("2026-07-31T23:59:59Z"), &floor), Ok(Freshness::Current));
    let set_back = Now::not_before(time(NOW), Some(time("2026-08-01T00:00:00Z")));
    assert_eq!(admit(&Root::new(), set_back, &floor), Ok(list("2026-08-01T00:00:00Z")));
}

#[test]
fn now_is_the_later_of_clock_and_bound() {
    let (early, late) = (time("2026-01-01T00:00:00Z"), time("2026-01-02T00:00:00Z"));
    for (now, expected) in [
        (Now::by_clock(early), (early, early)),
        (Now::not_before(early, None), (early, early)),
        (Now::not_before(early, Some(late)), (late, early)),
        (Now::not_before(late, Some(early)), (late, late)),
    ] {
        assert_eq!((now.time(), now.clock()), expected);
    }
    assert_eq!(MAX_CLOCK_SKEW_SECONDS, 86_400);
    // At the end of time nothing is later.
    assert!(!Now::by_clock(Timestamp::MAX).is_future(Timestamp::MAX));
}

/// An authentic header over sections that were changed: nothing comes of it.
#[test]
fn the_sections_are_those_that_were_signed() {
    let list = list();
    let admitted = || {
        let authentic = Root::new().trusted().authenticate(list.envelope().clone(), now()).unwrap();
        authentic.admit(now(), &Floor::default()).unwrap()
    };
    assert_eq!(admitted().header(), list.header());
    let mut changed = list.contents().body().to_vec();
    changed[0] ^= 1;
    let load = |bytes: &[u8]| match admitted().load(bytes) {
        Err(LoadError::Contents(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(load(&changed), ContentsError::Tampered(Section::Entries));
    let expected = list.header().body_len();
    assert_eq!(load(&changed[1..]), ContentsError::Length { expected, found: expected - 1 });
    let policy = admitted().load(list.contents().body()).unwrap();
    assert_eq!(policy.header(), list.header());
    assert_eq!(policy.authentic().header(), list.header());
    assert_eq!(policy.contents().body(), list.contents().body());
}

#[test]
fn refusals_are_told() {
    let identity = list().envelope().identity();
    for (error, text) in [
        (AdmitError::WrongName { expected: name("db"), found: name("web") }, "its name is web, not db".to_owned()),
        (AdmitError::BelowFloor { floor: version(11), found: version(10) }, "its version is 10, below 11".to_owned()),
        (
            AdmitError::Equivocation { version: version(10), seen: identity, found: identity },
            format!("version 10 was accepted before as {identity}, and this one is {identity}"),
        ),
        (
            AdmitError::FromTheFuture { created: time(NOW), now: time("2026-01-01T00:00:00Z") },
            format!("it was created {NOW}, and now it is 2026-01-01T00:00:00Z"),
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
