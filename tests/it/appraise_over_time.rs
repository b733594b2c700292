//! A machine that is polled again and again: what was accepted need not be looked at twice, and what was evil stays so.

use goldseal_tests::forge::ak::Kind;
use goldseal_tests::forge::machine::{Disbelief, Machine, assert_findings, pcrs_0_to_10};
use goldseal_tests::forge::measurements::Measurement;
use goldseal_verifier_core::appraise::{AttestationResult, BootState, Verdict};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::ima::checkpoint::{Checkpoint, Mismatch};
use goldseal_verifier_core::ima::replay::ReplayError;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{Freshness, StaleDocument};

use HashAlgorithm::{Sha1, Sha256};

const EVIL: &[(&str, &str)] = &[("/root/evil.sh", "not-in-whitelist")];

fn evil(machine: &mut Machine) {
    machine.run("/root/evil.sh", b"evil");
}

fn work(machine: &mut Machine) {
    machine.run("/usr/bin/bash", b"bash");
}

/// The checkpoint of an accepted machine, as a service keeps it.
fn checkpoint(result: &AttestationResult) -> Checkpoint {
    Checkpoint::parse(&result.checkpoint().unwrap().print()).unwrap()
}

fn refused(machine: &mut Machine, checkpoint: &Checkpoint) -> Mismatch {
    match machine.try_resume(checkpoint) {
        Err(Disbelief::Replay(ReplayError::Checkpoint(mismatch))) => mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_is_new_is_judged() {
    let mut machine = Machine::perfect();
    let first = machine.appraise();
    work(&mut machine);
    let next = machine.try_resume(&checkpoint(&first)).unwrap();
    assert_findings(&next, &[]);
    assert_eq!((next.before(), next.entries(), next.counts().good, next.counts().boot_aggregate), (3, 4, 1, 0));
    assert_eq!(next.boot_state(), BootState::Proven);
    // The checkpoint is that of the whole list.
    assert_eq!(next.checkpoint(), machine.appraise().checkpoint());
}

#[test]
fn nothing_new_is_accepted() {
    let mut machine = Machine::perfect();
    let first = machine.appraise();
    let next = machine.try_resume(&checkpoint(&first)).unwrap();
    assert_findings(&next, &[]);
    assert_eq!((next.before(), next.entries(), next.counts()), (3, 3, &Default::default()));
    assert_eq!(next.checkpoint(), first.checkpoint());
}

/// Evil, then activated anew: judged from entry 0, and found again.
#[test]
fn evil_is_found_again_from_the_first_entry() {
    let mut machine = Machine::perfect();
    evil(&mut machine);
    for _ in 0..3 {
        assert_findings(&machine.appraise(), EVIL);
        work(&mut machine);
    }
}

/// Evil, and polled on from the last checkpoint that there is: that before it.
#[test]
fn evil_is_never_left_behind() {
    let mut machine = Machine::perfect();
    let accepted = checkpoint(&machine.appraise());
    evil(&mut machine);
    for _ in 0..3 {
        let result = machine.try_resume(&accepted).unwrap();
        assert_findings(&result, EVIL);
        assert_eq!(result.checkpoint(), None);
        work(&mut machine);
    }
    // Its entry cannot be left out, nor the entries up to it.
    let whole = machine.list.clone();
    for without in 3..machine.list.len() {
        machine.list.remove(without);
        let entries = machine.list.len() - 3;
        let missing = ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries };
        assert_eq!(machine.try_resume(&accepted).map(drop), Err(Disbelief::Replay(missing)));
        machine.list = whole.clone();
    }
}

/// A list that ends before the evil does is not that of the quote; one that goes on after it is only longer.
#[test]
fn evil_beyond_the_quote_is_found_with_the_next_one() {
    let mut machine = Machine::perfect();
    let quote = machine.quote();
    let quoted = machine.believe(&quote).unwrap();
    evil(&mut machine);
    let appraiser = machine.golden.appraiser();
    let early = goldseal_tests::forge::machine::appraise(&appraiser, &machine.bytes(), quoted).unwrap();
    assert_findings(&early, &[]);
    assert_eq!((early.entries(), early.tail()), (3, 1));
    assert_findings(&machine.try_resume(&checkpoint(&early)).unwrap(), EVIL);
}

#[test]
fn a_checkpoint_is_of_one_boot() {
    let mut machine = Machine::perfect();
    let accepted = checkpoint(&machine.appraise());
    let before = machine.quoted().boot();
    machine.reboot();
    let after = machine.quoted().boot();
    assert_eq!(refused(&mut machine, &accepted), Mismatch::Boot { expected: before, found: after });
    assert_findings(&machine.appraise(), &[]);
    // A restart alone, and a resume after which the PCRs are what they were.
    let mut machine = Machine::perfect();
    let accepted = checkpoint(&machine.appraise());
    machine.tpm.resume();
    let after = machine.quoted().boot();
    assert_eq!(refused(&mut machine, &accepted), Mismatch::Boot { expected: before, found: after });
    assert_findings(&machine.appraise(), &[]);
}

#[test]
fn a_checkpoint_is_of_one_policy() {
    let mut machine = Machine::perfect();
    machine.golden.lists_file("/root/evil.sh", b"evil");
    evil(&mut machine);
    let accepted = checkpoint(&machine.appraise());
    // The next version takes it back.
    machine.golden.version = 2;
    machine.golden.forgets(|path| path == b"/root/evil.sh");
    assert_eq!(refused(&mut machine, &accepted), Mismatch::Policy);
    assert_findings(&machine.appraise(), EVIL);
}

#[test]
fn a_checkpoint_is_of_one_key() {
    let mut machine = Machine::perfect();
    let accepted = checkpoint(&machine.appraise());
    machine.tpm.use_key(Kind::P384);
    assert_eq!(refused(&mut machine, &accepted), Mismatch::Ak);
    assert_findings(&machine.appraise(), &[]);
}

#[test]
fn a_checkpoint_is_of_the_same_banks() {
    let mut machine = Machine::perfect();
    machine.golden.rule("accept-bank sha1");
    let accepted = checkpoint(&machine.appraise());
    for banks in [&[Sha1][..], &[Sha1, Sha256]] {
        machine.selection = pcrs_0_to_10(banks);
        let expected = Mismatch::Banks { expected: vec![Sha256], found: banks.to_vec() };
        assert_eq!(refused(&mut machine, &accepted), expected);
    }
}

/// A rejection gives nothing to go on from, even where only a note is missing.
#[test]
fn a_rejection_has_no_checkpoint() {
    let mut machine = Machine::perfect();
    machine.measure(Measurement::violation("/x"));
    let result = machine.appraise();
    assert_eq!((result.verdict(), result.checkpoint()), (Verdict::Rejected, None));
    machine.golden.rule("violation report");
    let result = machine.appraise();
    assert!(result.verdict() == Verdict::Accepted && result.checkpoint().is_some());
}

/// What the PCRs say of the boot is held against the rules each time, as from the first entry.
#[test]
fn the_boot_stays_what_it_was() {
    let mut machine = Machine::perfect();
    let accepted = checkpoint(&machine.appraise());
    machine.tpm.extend(Sha256, 9, &[7; 32]);
    assert_findings(&machine.appraise(), &[("boot_aggregate", "boot-aggregate-of-other-pcrs")]);
    assert_findings(&machine.try_resume(&accepted).unwrap(), &[("", "boot-aggregate")]);
    let mut machine = Machine::perfect();
    machine.golden.rule(format!("pcr sha256 9 {}", machine.tpm.pcr(Sha256, 9)));
    machine.golden.drops_rules("boot-aggregate").rule("boot-aggregate any");
    let accepted = checkpoint(&machine.appraise());
    machine.tpm.extend(Sha256, 9, &[7; 32]);
    assert_findings(&machine.try_resume(&accepted).unwrap(), &[("", "pcr-value")]);
}

/// A stale policy goes on finding; that it is stale stands beside the verdict.
#[test]
fn a_stale_policy_says_so() {
    let mut machine = Machine::perfect();
    assert_eq!(machine.appraise().freshness(), Freshness::Current);
    let since = Timestamp::parse(b"2026-06-30T23:59:59Z").unwrap();
    machine.golden.expires = Expiry::At(since);
    let stale = Freshness::Stale { document: StaleDocument::List, since };
    let result = machine.appraise();
    assert_eq!((result.verdict(), result.freshness()), (Verdict::Accepted, stale));
    evil(&mut machine);
    let result = machine.appraise();
    assert_eq!((result.verdict(), result.freshness()), (Verdict::Rejected, stale));
    assert_eq!(result.policy(), machine.golden.policy().identity());
}
