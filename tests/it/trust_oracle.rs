//! Who may seal what, decided a second time: docs/format.md, Trust root and Verifying 2, in loops over what was said, with
//! no thought of speed. It must agree with the code under test on random roots, signers, names and times.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use goldseal_tests::forge::{Forge, bad_signature, key, name, public_key, signature, time};
use goldseal_verifier_core::envelope::{Envelope, SignatureLine};
use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::root::{HolderName, KeyStatus, RoleName};
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{AuthenticateError, Now, TrustRoot, TrustedRootError};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Just, Strategy, TestCaseError, prop, prop_oneof};
use proptest::sample::subsequence;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Keys that a root may have, and two that no root has.
const KEYS: [&str; 6] = ["k0", "k1", "k2", "k3", "k4", "k5"];
const SIGNERS: [&str; 8] = ["k0", "k1", "k2", "k3", "k4", "k5", "stranger", "mallory"];
const OWNERS: [&str; 4] = ["ann", "ben", "cat", "dan"];
const ROLES: [&str; 4] = ["root", "one", "two", "three"];
const PATTERNS: [&str; 8] = ["*", "w*", "web", "web*", "web-*", "web-1", "x", "we"];
const NAMES: [&str; 5] = ["web", "web-1", "we", "w", "db"];

/// What a root says, in words.
#[derive(Clone, Debug)]
struct Said {
    keys: Vec<SaidKey>,
    /// Name, pattern, threshold.
    roles: BTreeSet<(&'static str, &'static str)>,
    thresholds: Vec<usize>,
    root_threshold: usize,
}

#[derive(Clone, Debug)]
struct SaidKey {
    name: &'static str,
    owner: &'static str,
    roles: Vec<&'static str>,
    from: u64,
    until: Option<u64>,
    revoked: bool,
}

/// Signatures on a document: the signer, and whether the signature is right.
type Signatures = Vec<(&'static str, bool)>;

#[test]
fn who_may_seal_a_list() {
    let cases = (said(), signatures(), 0..NAMES.len(), 0..24_u64);
    agree(&cases, &["unsealed", "bad", "none", "no-role", "too-few", "sealed"], |(said, signatures, list, at)| {
        let list = NAMES[list];
        let mut world = world(&said);
        world.list.name = name(list);
        let mut envelope = world.sealed(&[]).envelope().clone();
        sign(&mut envelope, &signatures);
        // By holders of whom the oracle knows nothing, and who are no lists' signers.
        let root = TrustRoot::anchor(&world.sealed_root(&["anchor-1", "anchor-2"]), world.now).unwrap();
        let found = root.authenticate(envelope, Now::by_clock(point(at)));
        let answer = who_sealed(&said, &signatures, list, at);
        match (&answer, found) {
            (Answer::Unsealed, Err(AuthenticateError::Unsealed)) => Ok("unsealed"),
            (Answer::Bad(names), Err(AuthenticateError::BadSignature { name })) if names.contains(&name.as_str()) => {
                Ok("bad")
            }
            (Answer::NoneCounts, Err(AuthenticateError::NoneCounts { .. })) => Ok("none"),
            (Answer::NoneCounts, Err(AuthenticateError::Threshold(unmet))) if unmet.signed == 0 => Ok("none"),
            (Answer::NoRole, Err(AuthenticateError::NoRole(found))) if found == name(list) => Ok("no-role"),
            (Answer::TooFew(roles), Err(AuthenticateError::Threshold(unmet))) => {
                let role = unmet.role.unwrap().to_string();
                let told = (role, unmet.signed, unmet.threshold);
                if roles.contains(&told) { Ok("too-few") } else { Err(format!("{answer:?}, told {told:?}")) }
            }
            (Answer::Sealed { roles, signers }, Ok(authentic)) => {
                let told =
                    |(role, threshold): &(Option<RoleName>, usize)| (role.as_ref().unwrap().to_string(), *threshold);
                let mut met: Roles = authentic.thresholds().iter().map(told).collect();
                met.sort();
                let counted: Vec<KeyId> = authentic.signers().iter().map(|signer| signer.key_id).collect();
                let known = signatures.iter().filter(|(name, _)| said.keys.iter().any(|key| key.name == *name)).count();
                let agrees = met == *roles
                    && counted.len() == signers.len()
                    && counted.into_iter().collect::<BTreeSet<_>>()
                        == signers.iter().map(|name| public_key(name).key_id()).collect()
                    && authentic.uncounted().len() == known - signers.len()
                    && authentic.unknown_signers().len() == signatures.len() - known;
                if agrees { Ok("sealed") } else { Err(format!("{answer:?}, found {authentic:?}")) }
            }
            (_, found) => Err(format!("expected {answer:?}, found {found:?}")),
        }
    });
}

#[test]
fn which_root_may_follow() {
    let cases = (said(), said(), signatures(), 12..24_u64);
    agree(&cases, &["unsealed", "bad", "old", "new", "follows"], |(old, new, signatures, at)| {
        let old_world = world(&old);
        let mut next = world(&new);
        next.rotate();
        // The anchors hold and sign the first root only.
        for anchor in ["anchor-1", "anchor-2"] {
            next.root.statements.keys.remove(&public_key(anchor).key_id());
        }
        if next.root.statements.check().is_err() {
            return Ok("no document");
        }
        let mut next = next.root.sealed(&[]);
        for (signer, right) in &signatures {
            next.insert(line(signer, *right, next.envelope())).unwrap();
        }
        let file = [&next.envelope().print(), next.section()].concat();
        let root = TrustRoot::anchor(&old_world.sealed_root(&["anchor-1", "anchor-2"]), old_world.now).unwrap();
        let found = root.advance(&file, Now::by_clock(point(at)));
        let bad = |said: &Said| {
            signatures.iter().any(|(name, right)| !right && said.keys.iter().any(|key| key.name == *name))
        };
        let of_old = owners(&old, &signatures, "root", point(at).unix()).len();
        let of_new = owners(&new, &signatures, "root", point(at).unix()).len();
        let expected = if signatures.is_empty() {
            ("unsealed", 0)
        } else if bad(&old) {
            ("bad", 0)
        } else if of_old < old.root_threshold {
            ("old", of_old)
        } else if bad(&new) {
            ("bad", 0)
        } else if of_new < new.root_threshold {
            ("new", of_new)
        } else {
            ("follows", 0)
        };
        let found = match found {
            Err(TrustedRootError::Unsealed) => ("unsealed", 0),
            Err(TrustedRootError::BadSignature { .. }) => ("bad", 0),
            Err(TrustedRootError::PreviousThreshold(unmet)) => ("old", unmet.signed),
            Err(TrustedRootError::OwnThreshold(unmet)) => ("new", unmet.signed),
            Ok(_) => ("follows", 0),
            Err(other) => return Err(format!("{other:?}")),
        };
        if found == expected { Ok(found.0) } else { Err(format!("expected {expected:?}, found {found:?}")) }
    });
}

/// Holds both to the same cases, the same ones in every run, among which each outcome must occur often.
fn agree<S: Strategy>(cases: &S, outcomes: &[&str], judge: impl Fn(S::Value) -> Result<&'static str, String>) {
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let reached = RefCell::new(BTreeMap::new());
    let run = runner.run(cases, |case| {
        let outcome = judge(case).map_err(TestCaseError::fail)?;
        *reached.borrow_mut().entry(outcome).or_insert(0) += 1;
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    let reached = reached.into_inner();
    let rare: Vec<_> =
        outcomes.iter().filter(|outcome| reached.get(*outcome).is_none_or(|count| *count < 25)).collect();
    assert!(rare.is_empty(), "{rare:?} of {reached:?}");
}

/// Roles with their thresholds, sorted; one that takes the list by two patterns is there twice.
type Roles = Vec<(String, usize)>;

/// What the oracle says.
#[derive(Debug)]
enum Answer {
    Unsealed,
    /// One of these is told.
    Bad(Vec<&'static str>),
    NoneCounts,
    NoRole,
    /// Every role that is not satisfied, with the owners counted; one of these is told.
    TooFew(BTreeSet<(String, usize, usize)>),
    Sealed {
        roles: Roles,
        signers: BTreeSet<&'static str>,
    },
}

fn who_sealed(said: &Said, signatures: &Signatures, list: &str, at: u64) -> Answer {
    let at = point(at).unix();
    if signatures.is_empty() {
        return Answer::Unsealed;
    }
    let mut bad = Vec::new();
    for (signer, right) in signatures {
        for key in &said.keys {
            if key.name == *signer && !right {
                bad.push(*signer);
            }
        }
    }
    if !bad.is_empty() {
        return Answer::Bad(bad);
    }
    let mut any_counts = false;
    for (role, _) in &said.roles {
        any_counts |= !owners(said, signatures, role, at).is_empty();
    }
    if !any_counts {
        return Answer::NoneCounts;
    }
    let (mut matching, mut too_few) = (Vec::new(), BTreeSet::new());
    let mut signers = BTreeSet::new();
    for ((role, pattern), threshold) in said.roles.iter().zip(&said.thresholds) {
        if !takes(pattern, list) {
            continue;
        }
        matching.push((role.to_string(), *threshold));
        let owners = owners(said, signatures, role, at);
        if owners.len() < *threshold {
            too_few.insert((role.to_string(), owners.len(), *threshold));
        }
        for (signer, _) in signatures {
            for key in &said.keys {
                if key.name == *signer && counts(key, role, at) {
                    signers.insert(*signer);
                }
            }
        }
    }
    matching.sort();
    if matching.is_empty() {
        Answer::NoRole
    } else if !too_few.is_empty() {
        Answer::TooFew(too_few)
    } else {
        Answer::Sealed { roles: matching, signers }
    }
}

/// The distinct owners whose right signatures count for a role.
fn owners(said: &Said, signatures: &Signatures, role: &str, at: u64) -> BTreeSet<&'static str> {
    let mut owners = BTreeSet::new();
    for (signer, right) in signatures {
        for key in &said.keys {
            if key.name == *signer && *right && counts(key, role, at) {
                owners.insert(key.owner);
            }
        }
    }
    owners
}

fn counts(key: &SaidKey, role: &str, at: u64) -> bool {
    let begun = point(key.from).unix() <= at;
    let ended = key.until.is_some_and(|until| point(until).unix() <= at);
    key.roles.contains(&role) && !key.revoked && begun && !ended
}

fn takes(pattern: &str, name: &str) -> bool {
    let mut rest = name.chars();
    for expected in pattern.chars() {
        if expected == '*' {
            return true;
        }
        if rest.next() != Some(expected) {
            return false;
        }
    }
    rest.next().is_none()
}

/// A root that says it, and two holders more, by whom it can be signed whatever it says.
fn world(said: &Said) -> Forge {
    let mut world = Forge::new();
    let root = &mut world.root;
    root.statements.keys.clear();
    root.statements.roles.clear();
    for anchor in ["anchor-1", "anchor-2"] {
        root.statements.insert_key(key(anchor, &["root"]));
    }
    for said in &said.keys {
        let mut key = key(said.name, &said.roles);
        key.owner = HolderName::new(said.owner).unwrap();
        key.from = point(said.from);
        key.until = said.until.map_or(Expiry::Never, |until| Expiry::At(point(until)));
        key.status = if said.revoked { KeyStatus::Revoked } else { KeyStatus::Active };
        root.statements.insert_key(key);
    }
    root.threshold("root", None, said.root_threshold);
    for ((role, pattern), threshold) in said.roles.iter().zip(&said.thresholds) {
        root.threshold(role, Some(pattern), *threshold);
    }
    world
}

fn sign(envelope: &mut Envelope, signatures: &Signatures) {
    for (signer, right) in signatures {
        envelope.insert(line(signer, *right, envelope)).unwrap();
    }
}

fn line(signer: &str, right: bool, envelope: &Envelope) -> SignatureLine {
    if right { signature(signer, envelope) } else { bad_signature(signer) }
}

/// Hours around the world's now.
fn point(hours: u64) -> Timestamp {
    time("2026-05-31T12:00:00Z").plus_seconds(hours * 3_600).unwrap()
}

/// Right ones, mostly: a bad one of a known key ends the matter.
fn signatures() -> impl Strategy<Value = Signatures> {
    let signers = subsequence(SIGNERS.to_vec(), 0..=SIGNERS.len());
    signers.prop_flat_map(|signers| {
        signers.into_iter().map(|name| (Just(name), prop::bool::weighted(0.97))).collect::<Vec<_>>()
    })
}

fn said_key(name: &'static str) -> impl Strategy<Value = SaidKey> {
    let roles = subsequence(ROLES.to_vec(), 1..=ROLES.len());
    let validity = prop_oneof![4 => Just((0, None)), 1 => (0..12_u64, prop::option::of(13..24_u64))];
    (0..OWNERS.len(), roles, validity, prop::bool::weighted(0.15)).prop_map(
        move |(owner, roles, (from, until), revoked)| SaidKey {
            name,
            owner: OWNERS[owner],
            roles,
            from,
            until,
            revoked,
        },
    )
}

/// Roots that are accepted as documents: every role of a key has a threshold, and every threshold can be met.
fn said() -> impl Strategy<Value = Said> {
    let keys = subsequence(KEYS.to_vec(), 1..=KEYS.len());
    let keys = keys.prop_flat_map(|names| names.into_iter().map(said_key).collect::<Vec<_>>());
    let roles = btree_set((1..ROLES.len(), 0..PATTERNS.len()), 0..5);
    (keys, roles, vec(1..4_usize, 5), 1..3_usize).prop_map(|(mut keys, roles, wanted, root_threshold)| {
        let owners = |keys: &[SaidKey], role: &str| {
            let active = keys.iter().filter(|key| !key.revoked && key.roles.contains(&role));
            active.map(|key| key.owner).collect::<BTreeSet<_>>().len()
        };
        let roles: BTreeSet<_> = roles.into_iter().map(|(role, pattern)| (ROLES[role], PATTERNS[pattern])).collect();
        let roles: BTreeSet<_> = roles.into_iter().filter(|(role, _)| owners(&keys, role) > 0).collect();
        let wanted = roles.iter().zip(wanted);
        let thresholds = wanted.map(|((role, _), wanted)| wanted.min(owners(&keys, role))).collect();
        for key in &mut keys {
            key.roles.retain(|role| *role == "root" || roles.iter().any(|(known, _)| known == role));
        }
        keys.retain(|key| !key.roles.is_empty());
        Said { keys, roles, thresholds, root_threshold }
    })
}
