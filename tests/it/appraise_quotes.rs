//! A perfect machine whose quote says something else, or nothing, about its list.

use goldseal_tests::forge::ak::{AK_ATTRIBUTES, SoftQuote};
use goldseal_tests::forge::machine::{Disbelief, Machine, NONCE, appraise, assert_findings, pcrs_0_to_10};
use goldseal_tests::forge::measurements::Measurement;
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::ima::list::ListProblem;
use goldseal_verifier_core::ima::replay::{ReplayError, ReplayMode};
use goldseal_verifier_core::tpm::{
    AkIdentity, AttestationKey, AttestationKeyError, Attribute, BindError, ExpectedSelection, PcrSelection, QuoteError,
    Sha1Signatures, UncheckedAttestationKey, read_pcr_blob,
};

use HashAlgorithm::{Sha1, Sha256};

fn selection(pcrs: impl IntoIterator<Item = (HashAlgorithm, u8)>) -> PcrSelection {
    PcrSelection::new(pcrs).unwrap()
}

#[test]
fn what_was_asked_for_is_quoted() {
    let mut machine = Machine::perfect();
    let without = selection((0..=9).map(|pcr| (Sha256, pcr)));
    let quote = machine.tpm.quote(NONCE, &without);
    let missing = QuoteError::NotQuoted(selection([(Sha256, 10)]));
    assert_eq!(machine.believe(&quote).map(drop), Err(Disbelief::Quote(missing)));
    let more = machine.tpm.quote(NONCE, &pcrs_0_to_10(&[Sha1, Sha256]));
    let beyond = QuoteError::NotExpected(pcrs_0_to_10(&[Sha1]));
    assert_eq!(machine.believe(&more).map(drop), Err(Disbelief::Quote(beyond)));
}

#[test]
fn values_are_labelled_as_they_were_signed() {
    let mut machine = Machine::perfect();
    let quote = machine.quote();
    let relabelled = selection((0..=9).chain([11]).map(|pcr| (Sha256, pcr)));
    let blob = machine.tpm.quote(NONCE, &relabelled).pcrs_blob;
    let missing = BindError::Missing(selection([(Sha256, 10)]));
    assert_eq!(machine.believe(&SoftQuote { pcrs_blob: blob, ..quote }).map(drop), Err(Disbelief::Values(missing)));
}

#[test]
fn the_nonce_is_that_of_this_poll() {
    let mut machine = Machine::perfect();
    for nonce in [&NONCE[..NONCE.len() - 1], &[NONCE, b"\0"].concat(), b"that of another poll", b""] {
        let quote = machine.tpm.quote(nonce, &machine.selection.clone());
        let other = QuoteError::OtherNonce { quoted: nonce.to_vec() };
        assert_eq!(machine.believe(&quote).map(drop), Err(Disbelief::Quote(other)));
    }
}

#[test]
fn nothing_follows_the_statement() {
    let mut machine = Machine::perfect();
    let mut quote = machine.quote();
    quote.attest.push(0);
    quote.signature = machine.tpm.sign(&quote.attest);
    let Err(Disbelief::Quote(QuoteError::Attest(error))) = machine.believe(&quote) else { panic!("{quote:?}") };
    assert!(error.to_string().contains("1 byte"), "{error}");
}

#[test]
fn the_key_is_an_attestation_key() {
    let machine = Machine::perfect();
    let area = machine.tpm.public_area();
    let at = area.windows(4).position(|bytes| bytes == AK_ATTRIBUTES.to_be_bytes()).unwrap();
    let mut unrestricted = area.clone();
    unrestricted[at..at + 4].copy_from_slice(&(AK_ATTRIBUTES & !0x0001_0000).to_be_bytes());
    let missing = AttestationKeyError::AttributeMissing(Attribute::Restricted);
    assert_eq!(AttestationKey::from_public_area(&unrestricted), Err(missing));
    assert!(AttestationKey::from_public_area(&area).is_ok());
}

/// Of a key from a PEM file nothing is proven, and the result says so.
#[test]
fn a_pem_key_is_asserted() {
    let mut machine = Machine::perfect();
    let quote = machine.quote();
    let key = UncheckedAttestationKey::from_pem_unchecked(machine.tpm.pem().as_bytes()).unwrap();
    let expected = ExpectedSelection::Exactly(&machine.selection);
    let verified = key.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse).unwrap();
    let quoted = verified.bind(read_pcr_blob(&quote.pcrs_blob).unwrap()).unwrap();
    let result = appraise(&machine.golden.appraiser(), &machine.bytes(), quoted).unwrap();
    assert_findings(&result, &[]);
    assert!(matches!(result.ak(), AkIdentity::Asserted { .. }));
    assert!(result.ak().to_string().starts_with("asserted"));
    let proven = machine.appraise();
    assert!(matches!(proven.ak(), AkIdentity::Proven { .. }));
    // The checkpoint of the one does not hold for the other, though it is the same key.
    let refused = machine.try_resume(result.checkpoint().unwrap()).map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "the checkpoint is of another AK");
}

/// A quote of other PCRs than that of the list confirms nothing of it.
#[test]
fn a_quote_without_pcr_10_accepts_nothing() {
    let mut machine = Machine::perfect();
    machine.selection = selection((0..=9).map(|pcr| (Sha256, pcr)));
    let refused = machine.try_appraise().map(drop);
    assert_eq!(refused, Err(Disbelief::Replay(ReplayError::NothingToReplay)));
    // Not even if the list is of a PCR that is quoted.
    machine.selection = selection((0..=9).chain([11]).map(|pcr| (Sha256, pcr)));
    machine.list.clear();
    machine.measure(Measurement::ng("/usr/bin/bash", b"bash").in_pcr(11));
    assert_findings(&machine.appraise(), &[("", "no-boot-aggregate")]);
}

#[test]
fn a_pcr_that_is_not_quoted_confirms_nothing() {
    let mut machine = Machine::perfect();
    machine.measure(Measurement::ng("/usr/bin/bash", b"bash").in_pcr(11));
    // At the end of the list too, where it might as well have been made later.
    assert_findings(&machine.appraise(), &[("/usr/bin/bash", "unquoted-entry")]);
    machine.run("/usr/bin/bash", b"bash");
    let result = machine.appraise();
    assert_findings(&result, &[("/usr/bin/bash", "unquoted-entry")]);
    assert_eq!((result.counts().unquoted, result.counts().good), (1, 3));
    // Quoted, it is judged as any other.
    machine.selection = selection((0..=11).map(|pcr| (Sha256, pcr)));
    assert_findings(&machine.appraise(), &[]);
}

/// Nothing covers the PCR column of an entry, but the replay of that PCR does not come out if it is wrong.
#[test]
fn an_entry_stays_in_its_pcr() {
    let mut machine = Machine::perfect();
    machine.list[1].pcr = 11;
    let refused = ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries: 3 };
    assert_eq!(machine.try_appraise().map(drop), Err(Disbelief::Replay(refused.clone())));
    machine.selection = selection((0..=11).map(|pcr| (Sha256, pcr)));
    assert_eq!(machine.try_appraise().map(drop), Err(Disbelief::Replay(refused)));
}

#[test]
fn the_list_is_what_was_extended() {
    let perfect = Machine::perfect;
    let refused = |list: &[Measurement], machine: &mut Machine| {
        let bytes: Vec<u8> = list.iter().flat_map(Measurement::listed).collect();
        let refused = machine.try_appraise_list(&bytes).map(drop);
        let expected = ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries: list.len() };
        assert_eq!(refused, Err(Disbelief::Replay(expected)));
    };
    let mut machine = perfect();
    let list = machine.list.clone();
    for dropped in 0..list.len() {
        let mut list = list.clone();
        list.remove(dropped);
        refused(&list, &mut machine);
    }
    refused(&[list[0].clone(), list[2].clone(), list[1].clone()], &mut machine);
    refused(&[list[0].clone(), list[1].clone(), list[1].clone(), list[2].clone()], &mut machine);
    let mut hidden = perfect();
    hidden.run("/root/evil.sh", b"evil");
    refused(&list, &mut hidden);
    let mut excused = perfect();
    excused.run("/root/evil.sh", b"evil");
    let disguised = Measurement { violation: true, ..Measurement::ng("/root/evil.sh", b"evil") };
    refused(&[&list[..], &[disguised]].concat(), &mut excused);
    // What was added after the quote is not believed, and harms nothing.
    let longer = [machine.bytes(), Measurement::ng("/root/evil.sh", b"evil").listed()].concat();
    let result = machine.try_appraise_list(&longer).unwrap();
    assert_findings(&result, &[]);
    assert_eq!(result.tail(), 1);
}

#[test]
fn an_empty_list_is_none() {
    let mut machine = Machine::perfect();
    assert_eq!(machine.try_appraise_list(b"").map(drop), Err(Disbelief::Replay(ReplayError::Empty)));
    // Nor is any list that of a PCR that was never extended.
    let list = machine.bytes();
    machine.tpm.reset();
    let refused = Disbelief::Replay(ReplayError::NothingExtended { bank: Sha256 });
    assert_eq!(machine.try_appraise_list(&list).map(drop), Err(refused));
}

#[test]
fn a_list_is_entries_and_nothing_else() {
    let mut machine = Machine::perfect();
    let mut list = machine.bytes();
    list.push(0);
    let Err(Disbelief::List(error)) = machine.try_appraise_list(&list) else { panic!("accepted") };
    assert_eq!((error.entry, error.problem), (4, ListProblem::CutShort));
    // The template hash is held against the template data, whether or not the replay would notice.
    let mut list = machine.bytes();
    let last = list.len() - 2;
    list[last] ^= 1;
    let Err(Disbelief::List(error)) = machine.try_appraise_list(&list) else { panic!("accepted") };
    assert_eq!((error.entry, error.problem), (3, ListProblem::TemplateHash));
}

/// Kernels before 5.8 extend every bank with SHA-1 and zeros; that is replayed by rule alone.
#[test]
fn padded_sha1_takes_a_rule() {
    let mut machine = Machine::off(&[Sha1, Sha256]).with_an_old_kernel();
    machine.golden.lists_file("/usr/bin/bash", b"bash");
    machine.boot();
    machine.run("/usr/bin/bash", b"bash");
    let refused = || Disbelief::Replay(ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries: 2 });
    assert_eq!(machine.try_appraise().map(drop), Err(refused()));
    machine.golden.rule("accept-replay padded-sha1");
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!(result.mode(), ReplayMode::PaddedSha1);
    // It goes on in that mode.
    machine.run("/root/evil.sh", b"evil");
    let next = machine.try_resume(result.checkpoint().unwrap()).unwrap();
    assert_findings(&next, &[("/root/evil.sh", "not-in-whitelist")]);
    // A newer kernel's list is replayed as it is; and of one that is neither the error is that of newer kernels.
    let mut newer = Machine::perfect();
    newer.golden.rule("accept-replay padded-sha1");
    assert_eq!(newer.appraise().mode(), ReplayMode::PerBank);
    newer.list.pop();
    assert_eq!(newer.try_appraise().map(drop), Err(refused()));
}
