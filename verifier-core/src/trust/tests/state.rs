//! What was accepted only rises, but for a signed reset.

use super::super::{AdmitError, MAX_STATE_LEN, RootMark, Seen, StateError, TrustState};
use super::*;

const BOTH: &[&str] = &["alice", "bob"];

fn list(number: u64) -> UnverifiedList {
    sealed(whitelist_with(|list| list.version = version(number)), &["dave", "erin"])
}

fn accept(state: &mut TrustState, root: &TrustRoot, list: &UnverifiedList) -> Result<(), AdmitError> {
    state.accept(&policy(root, list))
}

fn seen(state: &TrustState) -> Option<(u64, Option<Identity>)> {
    state.seen(&name("web")).map(|seen| (seen.version.number(), seen.identity))
}

fn next_of(root: &TrustRoot, next: &Root) -> TrustRoot {
    root.advance(&next.file(BOTH), now()).unwrap()
}

#[test]
fn a_list_raises_it_and_an_older_one_does_not_lower_it() {
    let (root, mut state) = (Root::new().trusted(), TrustState::new());
    assert_eq!((seen(&state), state.bound(), state.root()), (None, None, None));
    accept(&mut state, &root, &list(10)).unwrap();
    assert_eq!(seen(&state), Some((10, Some(list(10).envelope().identity()))));
    accept(&mut state, &root, &list(10)).unwrap();
    accept(&mut state, &root, &list(12)).unwrap();
    let before = state.clone();
    let expected = AdmitError::BelowFloor { floor: version(12), found: version(11) };
    assert_eq!(accept(&mut state, &root, &list(11)), Err(expected));
    let other =
        sealed(whitelist_with(|list| (list.version, list.expires) = (version(12), Expiry::Never)), &["dave", "erin"]);
    let (seen, found) = (list(12).envelope().identity(), other.envelope().identity());
    let expected = AdmitError::Equivocation { version: version(12), seen, found };
    assert_eq!(accept(&mut state, &root, &other), Err(expected));
    assert_eq!(state, before);
    assert_eq!(state.lists().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["web"]);
}

/// The bound is the latest `created` of what was accepted, and never falls.
#[test]
fn the_bound_rises_with_what_is_accepted() {
    let (root, mut state) = (Root::new().trusted(), TrustState::new());
    state.accept_root(&root).unwrap();
    assert_eq!(state.bound(), Some(time("2026-01-01T00:00:00Z")));
    accept(&mut state, &root, &list(10)).unwrap();
    assert_eq!(state.bound(), Some(time("2026-05-01T00:00:00Z")));
    let older = sealed(
        whitelist_with(|list| (list.version, list.created) = (version(11), time("2026-04-01T00:00:00Z"))),
        &["dave", "erin"],
    );
    accept(&mut state, &root, &older).unwrap();
    state.accept_root(&next_of(&root, &Root::new().next())).unwrap();
    assert_eq!(state.bound(), Some(time("2026-05-01T00:00:00Z")));
    let clock = time("2026-02-01T00:00:00Z");
    assert_eq!(state.now(clock), Now::not_before(clock, Some(time("2026-05-01T00:00:00Z"))));
}

#[test]
fn roots_follow_one_by_one() {
    let first = Root::new();
    let root = first.trusted();
    let mut state = TrustState::new();
    state.accept_root(&root).unwrap();
    assert_eq!(state.root(), Some(RootMark { version: version(1), identity: first.identity() }));
    let second = next_of(&root, &first.next());
    let third = next_of(&second, &first.next().next());
    let missing = StateError::MissingRoot { known: version(1), found: version(3) };
    assert_eq!(state.accept_root(&third), Err(missing));
    state.accept_root(&second).unwrap();
    state.accept_root(&second).unwrap();
    let below = StateError::RootBelow { known: version(2), found: version(1) };
    assert_eq!(state.accept_root(&root), Err(below));
    state.accept_root(&third).unwrap();
    assert_eq!(state.root(), third.mark());
}

/// The next version is not enough: it must have been shown to follow the very root that is followed.
#[test]
fn a_root_that_was_not_led_to_is_not_followed() {
    let first = Root::new();
    let mut state = TrustState::new();
    state.accept_root(&first.trusted()).unwrap();
    let missing = StateError::MissingRoot { known: version(1), found: version(2) };
    // Vouched for, but not by the root before it.
    assert_eq!(state.accept_root(&first.next().trusted()), Err(missing.clone()));
    // It follows another first root.
    let other = Root { expires: "never", ..first.clone() };
    assert_eq!(state.accept_root(&next_of(&other.trusted(), &first.next())), Err(missing));
    let equivocation =
        StateError::RootEquivocation { version: version(1), seen: first.identity(), found: other.identity() };
    assert_eq!(state.accept_root(&other.trusted()), Err(equivocation));
    assert_eq!(state.root(), first.trusted().mark());
    state.accept_root(&next_of(&first.trusted(), &first.next())).unwrap();
}

#[test]
fn keys_alone_do_not_take_the_place_of_a_root() {
    let keys = vec![super::super::TrustedKey { name: "dave".into(), key: public_key("dave") }];
    let keys = TrustRoot::of_keys(keys, None).unwrap();
    let mut state = TrustState::new();
    assert_eq!(state.accept_root(&keys), Ok(()));
    assert_eq!(state, TrustState::new());
    state.accept_root(&Root::new().trusted()).unwrap();
    assert_eq!(state.accept_root(&keys), Err(StateError::NoRoot));
}

/// A root's floor protects a machine that has seen nothing, and raises one that has.
#[test]
fn floors_of_a_root_raise_what_was_seen() {
    let mut root = Root::new();
    root.statements.floors.insert(name("web"), version(10));
    let mut fresh = TrustState::new();
    fresh.accept_root(&root.trusted()).unwrap();
    assert_eq!(seen(&fresh), Some((10, None)));
    let identity = list(10).envelope().identity();
    accept(&mut fresh, &root.trusted(), &list(10)).unwrap();
    assert_eq!(seen(&fresh), Some((10, Some(identity))));

    let first = Root::new().trusted();
    for (number, expected) in
        [(9, (10, None)), (10, (10, Some(identity))), (11, (11, Some(list(11).envelope().identity())))]
    {
        let mut state = TrustState::new();
        state.accept_root(&first).unwrap();
        accept(&mut state, &first, &list(number)).unwrap();
        let next = Root { statements: root.statements.clone(), ..Root::new().next() };
        state.accept_root(&next_of(&first, &next)).unwrap();
        assert_eq!(seen(&state), Some(expected), "{number}");
    }
}

/// A stolen key has raised the list to the last version there is. The next root lowers it, once.
#[test]
fn a_reset_lowers_what_was_seen_once() {
    let first = Root::new().trusted();
    let mut state = TrustState::new();
    state.accept_root(&first).unwrap();
    let last = crate::header::MAX_VERSION;
    accept(&mut state, &first, &list(last)).unwrap();
    let mut next = Root::new().next();
    next.statements.resets.insert(name("web"), version(11));
    next.statements.resets.insert(name("other"), version(5));
    let second = next_of(&first, &next);
    state.accept_root(&second).unwrap();
    assert_eq!(seen(&state), Some((11, None)));
    assert_eq!(state.seen(&name("other")), None);
    let below = AdmitError::BelowFloor { floor: version(11), found: version(10) };
    assert_eq!(accept(&mut state, &second, &list(10)), Err(below));
    accept(&mut state, &second, &list(12)).unwrap();
    // The same root again, as at every verification: not a second time.
    state.accept_root(&second).unwrap();
    assert_eq!(seen(&state), Some((12, Some(list(12).envelope().identity()))));
}

/// A reset lowers and never raises; where it names the version seen, that stays what it was.
#[test]
fn a_reset_does_not_raise() {
    for (number, reset, expected) in [(10, 10, Some(10)), (10, 11, Some(10)), (11, 10, None)] {
        let first = Root::new().trusted();
        let mut state = TrustState::new();
        state.accept_root(&first).unwrap();
        accept(&mut state, &first, &list(number)).unwrap();
        let mut next = Root::new().next();
        next.statements.resets.insert(name("web"), version(reset));
        state.accept_root(&next_of(&first, &next)).unwrap();
        let expected = (10, expected.map(|number| list(number).envelope().identity()));
        assert_eq!(seen(&state), Some(expected), "{number} {reset}");
    }
}

/// First the resets, then the floors: a root with both leaves the floor.
#[test]
fn a_reset_above_a_floor_leaves_the_reset() {
    let first = Root::new().trusted();
    let mut state = TrustState::new();
    state.accept_root(&first).unwrap();
    accept(&mut state, &first, &list(50)).unwrap();
    let mut next = Root::new().next();
    next.statements.floors.insert(name("web"), version(11));
    next.statements.resets.insert(name("web"), version(12));
    state.accept_root(&next_of(&first, &next)).unwrap();
    assert_eq!(seen(&state), Some((12, None)));
}

#[test]
fn one_list_is_forgotten() {
    let (root, mut state) = (Root::new().trusted(), TrustState::new());
    accept(&mut state, &root, &list(10)).unwrap();
    let expected = Seen { version: version(10), identity: Some(list(10).envelope().identity()) };
    assert_eq!(state.forget(&name("web")), Some(expected));
    assert_eq!(state.forget(&name("web")), None);
    assert_eq!(seen(&state), None);
}

fn text() -> String {
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    format!("goldseal-state 1\nbound 2026-05-01T00:00:00Z\nroot 3 {one}\nlist a 1 -\nlist web 10 {two}\n")
}

#[test]
fn survives_print_and_parse() {
    for text in [text(), "goldseal-state 1\n".into(), "goldseal-state 1\nlist a 1 -\n".into()] {
        let state = TrustState::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(state.print()).unwrap(), text);
        assert_eq!(TrustState::parse(&state.print()), Ok(state));
    }
    let (root, mut state) = (Root::new().trusted(), TrustState::new());
    state.accept_root(&root).unwrap();
    accept(&mut state, &root, &list(10)).unwrap();
    assert_eq!(TrustState::parse(&state.print()), Ok(state));
}

/// Each case changes one thing, and the line at fault is named; 0 where the order or the whole is.
#[test]
fn a_damaged_state_is_no_state() {
    let zeros = "0".repeat(63);
    for (from, to, line) in [
        ("goldseal-state 1", "goldseal-state 2", 1),
        ("goldseal-state 1\n", "", 1),
        ("bound", "bond", 2),
        ("bound 2026", "bound 2O26", 2),
        ("root 3", "root 03", 3),
        ("root 3", "root 0", 3),
        ("root 3 1", "root 3 ", 3),
        ("root 3 1", "root 3 g", 3),
        ("list a 1 -", "list A 1 -", 4),
        ("list a 1 -", "list a 0 -", 4),
        ("list a 1 -", "list a 1 ", 4),
        ("list a 1 -", "list a 1", 4),
        ("list a 1 -", &format!("list a 1 {zeros}"), 4),
        ("list a 1 -\n", "\nlist a 1 -\n", 4),
        ("list a 1 -\n", "list a 1 -\nlist a 1 -\n", 0),
        ("list a 1 -\n", "list a 1 -\nlist a 2 -\n", 0),
        ("list a 1 -\n", "list z 1 -\n", 0),
        ("bound 2026-05-01T00:00:00Z\n", "bound 2026-05-01T00:00:00Z\nbound 2026-05-01T00:00:00Z\n", 0),
    ] {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text(), "{from}");
        assert_eq!(TrustState::parse(changed.as_bytes()), Err(StateError::Malformed { line }), "{from:?} → {to:?}");
    }
    let text = text();
    // At the end of a line it is a state, of less: where it lies on a disk, what follows it says that it is whole.
    for length in 0..text.len() {
        let cut = &text.as_bytes()[..length];
        assert_eq!(TrustState::parse(cut).is_ok(), cut.ends_with(b"\n"), "{length}");
    }
}

#[test]
fn the_longest_state() {
    let mut text = "goldseal-state 1\n".to_owned();
    let mut number = 10_000_000;
    while text.len() + 40 <= MAX_STATE_LEN {
        text += &format!("list l{number} 1 -\n");
        number += 1;
    }
    let padding = MAX_STATE_LEN - text.len() - "list z 1 -\n".len();
    text += &format!("list z{} 1 -\n", "z".repeat(padding));
    assert_eq!(text.len(), MAX_STATE_LEN);
    assert!(TrustState::parse(text.as_bytes()).is_ok());
    text = text.replacen("list z", "list zz", 1);
    assert_eq!(TrustState::parse(text.as_bytes()), Err(StateError::Malformed { line: 0 }));
}

#[test]
fn refusals_are_told() {
    let identity = Root::new().identity();
    for (error, text) in [
        (StateError::Malformed { line: 0 }, "it is not a state as goldseal writes it".to_owned()),
        (StateError::Malformed { line: 4 }, "line 4 is not one of a state".to_owned()),
        (StateError::NoRoot, "it follows a trust root, and keys alone were given".to_owned()),
        (
            StateError::RootBelow { known: version(2), found: version(1) },
            "it follows version 2 of the trust root, and the one given is version 1".to_owned(),
        ),
        (
            StateError::MissingRoot { known: version(2), found: version(4) },
            "it follows version 2 of the trust root, and nothing leads from there to version 4".to_owned(),
        ),
        (
            StateError::RootEquivocation { version: version(2), seen: identity, found: identity },
            format!("it follows {identity} as version 2 of the trust root, and the one given is {identity}"),
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
