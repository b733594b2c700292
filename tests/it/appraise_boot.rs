//! A perfect machine that booted something else, or does not say what.

use goldseal_tests::forge::ak::hash;
use goldseal_tests::forge::machine::{Machine, assert_findings, digest_field, pcrs_0_to_10};
use goldseal_tests::forge::measurements::{Measurement, text};
use goldseal_verifier_core::appraise::{AttestationResult, BootState};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::tpm::PcrSelection;

use HashAlgorithm::{Sha1, Sha256, Sha384};

/// The word of the boot_aggregate's finding.
const OTHER: &str = "boot-aggregate";

fn aggregate(field: &[u8]) -> Measurement {
    Measurement::of("ima-ng", &[field, &text("boot_aggregate")])
}

/// A machine of these banks, started, with this first entry.
fn booted(banks: &[HashAlgorithm], first: impl Fn(&Machine) -> Measurement) -> Machine {
    let mut machine = Machine::off(banks);
    machine.measure_firmware();
    let first = first(&machine);
    machine.measure(first);
    machine
}

fn state(result: &AttestationResult) -> BootState {
    result.boot_state()
}

#[test]
fn the_first_entry_is_the_boot_aggregate() {
    let mut machine = booted(&[Sha256], |_| Measurement::ng("/usr/bin/bash", b"bash"));
    machine.golden.lists_file("/usr/bin/bash", b"bash").rule("boot-aggregate any");
    assert_findings(&machine.appraise(), &[("/usr/bin/bash", "no-boot-aggregate")]);
    // A buffer of that name is none, nor is a violation, nor a file called so.
    for first in [Measurement::buffer("boot_aggregate", b"x"), Measurement::ng("/boot_aggregate", b"x")] {
        let mut machine = booted(&[Sha256], |_| first.clone());
        machine.golden.rule("boot-aggregate any").rule("ignore-keyring boot_aggregate").excludes("/boot_aggregate");
        let name = if first.template == "ima-buf" { "boot_aggregate" } else { "/boot_aggregate" };
        assert_findings(&machine.appraise(), &[(name, "no-boot-aggregate")]);
    }
    let mut machine = booted(&[Sha256], |_| Measurement::violation("boot_aggregate"));
    machine.golden.rule("boot-aggregate any").rule("violation report");
    assert_findings(&machine.appraise(), &[("", "no-boot-aggregate")]);
}

#[test]
fn there_is_one_boot_aggregate() {
    let mut machine = Machine::perfect();
    let again = machine.list[0].clone();
    machine.measure(again);
    machine.measure(Measurement::ng("boot_aggregate", b"a file called so"));
    let later = [("boot_aggregate", "later-boot-aggregate"), ("boot_aggregate", "later-boot-aggregate")];
    assert_findings(&machine.appraise(), &later);
}

#[test]
fn it_is_one_that_a_rule_names() {
    let mut machine = Machine::perfect();
    machine.golden.drops_rules("boot-aggregate");
    assert_findings(&machine.appraise(), &[("boot_aggregate", OTHER)]);
    machine.golden.rule(format!("boot-aggregate sha256:{}", "1".repeat(64)));
    let result = machine.appraise();
    assert_findings(&result, &[("boot_aggregate", OTHER)]);
    assert_eq!(state(&result), BootState::Unproven);
    machine.golden.rule("boot-aggregate any");
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!(state(&result), BootState::Unproven);
    // Its own, as one of several.
    let own = Digest::new(Sha256, &machine.boot_aggregate(Sha256)).unwrap();
    machine.golden.drops_rules("boot-aggregate any").rule(format!("boot-aggregate {own:?}"));
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!(state(&result), BootState::Proven);
}

/// The list's is as golden as can be, and the PCRs are another machine's.
#[test]
fn it_is_that_of_the_quoted_pcrs() {
    let golden = Digest::sha256(b"of a golden machine");
    let mut machine = booted(&[Sha256], |_| aggregate(&digest_field(golden.as_bytes())));
    for rule in [format!("boot-aggregate {golden:?}"), "boot-aggregate any".to_owned()] {
        machine.golden.rule(rule);
        let result = machine.appraise();
        assert_findings(&result, &[("boot_aggregate", "boot-aggregate-of-other-pcrs")]);
        assert_eq!(state(&result), BootState::Unproven);
        machine.golden.drops_rules("boot-aggregate");
    }
    // Where those are not quoted, the list's word is all there is.
    machine.golden.rule(format!("boot-aggregate {golden:?}"));
    machine.selection = PcrSelection::new([(Sha256, 10)]).unwrap();
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!(state(&result), BootState::Unproven);
    // One PCR of ten is missing: no boot_aggregate can be recomputed.
    machine.selection = PcrSelection::new((0..=10).filter(|pcr| *pcr != 9).map(|pcr| (Sha256, pcr))).unwrap();
    assert_findings(&machine.appraise(), &[]);
}

/// With no bank that it knows, a kernel writes zeros: that is no boot_aggregate of the quoted PCRs, and none at all.
#[test]
fn zeros_are_a_boot_aggregate_of_nothing() {
    let mut machine = booted(&[Sha384], |_| aggregate(&digest_field(&[0; 32])));
    machine.selection = pcrs_0_to_10(&[Sha384]);
    assert_findings(&machine.appraise(), &[("boot_aggregate", OTHER)]);
    machine.golden.rule("boot-aggregate any");
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!(state(&result), BootState::Unproven);
    // Rules for the PCRs prove it all the same.
    for pcr in 0..8 {
        machine.golden.rule(format!("pcr sha384 {pcr} {}", machine.tpm.pcr(Sha384, pcr)));
    }
    assert_eq!(state(&machine.appraise()), BootState::Proven);
}

#[test]
fn a_boot_aggregate_of_sha1_takes_pcrs_0_to_7() {
    let mut machine =
        booted(&[Sha1, Sha256], |machine| aggregate(&[b"sha1:\0", &machine.boot_aggregate(Sha1)[..]].concat()));
    let own = Digest::new(Sha1, &machine.boot_aggregate(Sha1)).unwrap();
    machine.golden.rule(format!("boot-aggregate {own:?}"));
    machine.selection = pcrs_0_to_10(&[Sha1, Sha256]);
    let result = machine.appraise();
    assert_findings(&result, &[]);
    // SHA-1 proves nothing unless a rule says that it does.
    assert_eq!(state(&result), BootState::Unproven);
    machine.golden.rule("accept-bank sha1");
    assert_eq!(state(&machine.appraise()), BootState::Proven);
    // Another one is found out by that bank.
    let mut machine = booted(&[Sha1, Sha256], |_| aggregate(&[b"sha1:\0", &hash(Sha1, b"x")[..]].concat()));
    machine.golden.rule("boot-aggregate any");
    machine.selection = pcrs_0_to_10(&[Sha1, Sha256]);
    assert_findings(&machine.appraise(), &[("boot_aggregate", "boot-aggregate-of-other-pcrs")]);
}

#[test]
fn a_digest_without_a_known_algorithm_is_no_boot_aggregate() {
    for field in [&b"sm3:\0"[..], b"verity:sha256:\0"] {
        let mut machine = booted(&[Sha256], |_| aggregate(&[field, &[7; 32]].concat()));
        machine.golden.rule("boot-aggregate any");
        assert_findings(&machine.appraise(), &[("boot_aggregate", OTHER)]);
    }
}

#[test]
fn pcr_rules_are_held_against_the_quote() {
    let mut machine = Machine::perfect();
    machine.golden.drops_rules("boot-aggregate").rule("boot-aggregate any");
    for pcr in 0..8 {
        assert_eq!(state(&machine.appraise()), BootState::Unproven, "{pcr} PCRs");
        machine.golden.rule(format!("pcr sha256 {pcr} {}", machine.tpm.pcr(Sha256, pcr)));
    }
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!(state(&result), BootState::Proven);
    // An alternative changes nothing.
    machine.golden.rule(format!("pcr sha256 3 {}", "1".repeat(64)));
    assert_eq!(state(&machine.appraise()), BootState::Proven);
    // Only the alternative is left.
    machine.golden.drops_rules(&format!("pcr sha256 3 {}", machine.tpm.pcr(Sha256, 3)));
    let result = machine.appraise();
    assert_findings(&result, &[("", "pcr-value")]);
    let said = result.findings()[0].kind.to_string();
    assert!(said.ends_with(&format!("expected sha256:{}", "1".repeat(64))), "{said}");
    assert_eq!(state(&result), BootState::Unproven);
}

#[test]
fn a_pcr_of_a_rule_is_quoted() {
    let mut machine = Machine::perfect();
    machine.golden.rule(format!("pcr sha256 16 {}", machine.tpm.pcr(Sha256, 16)));
    assert_findings(&machine.appraise(), &[("", "pcr-not-quoted")]);
    machine.golden.rule(format!("pcr sha1 0 {}", machine.tpm.pcr(Sha1, 0)));
    assert_findings(&machine.appraise(), &[("", "pcr-not-quoted"), ("", "pcr-not-quoted")]);
    machine.selection = PcrSelection::new((0..=16).flat_map(|pcr| [(Sha1, pcr), (Sha256, pcr)])).unwrap();
    assert_findings(&machine.appraise(), &[]);
}

#[test]
fn a_list_is_proven_in_a_strong_bank() {
    let mut machine = Machine::perfect();
    machine.selection = pcrs_0_to_10(&[Sha1]);
    assert_findings(&machine.appraise(), &[("", "sha1-bank-alone")]);
    // A strong bank of other PCRs than the list's does not help.
    let pcrs = (0..=10).map(|pcr| (Sha1, pcr)).chain((0..=9).map(|pcr| (Sha256, pcr)));
    machine.selection = PcrSelection::new(pcrs).unwrap();
    assert_findings(&machine.appraise(), &[("", "sha1-bank-alone")]);
    // Each PCR of the list has to have one.
    machine.measure(Measurement::ng("/usr/bin/bash", b"bash").in_pcr(11));
    machine.selection = PcrSelection::new([(Sha256, 10), (Sha1, 10), (Sha1, 11)]).unwrap();
    assert_findings(&machine.appraise(), &[("", "sha1-bank-alone")]);
    machine.golden.rule("accept-bank sha1");
    assert_findings(&machine.appraise(), &[]);
}
