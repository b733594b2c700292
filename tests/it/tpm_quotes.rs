//! Every quote of testdata/captures: believed as it was taken, and not if one thing about it is another.

use std::collections::BTreeSet;
use std::fs;

use goldseal_tests::quotes::{CapturedQuote, captured_quote_named, captured_quotes, captures, unhex};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::pcr::PcrValues;
use goldseal_verifier_core::tpm::{
    AkIdentity, AttestationKey, BindError, ExpectedSelection, PcrBlobError, PcrSelection, QuoteError, QuotedPcrs,
    Sha1Signatures, StructureError, UncheckedAttestationKey, VerifiedQuote, print_pcr_blob, read_pcr_blob,
};

#[test]
fn every_quote_is_believed() {
    for quote in captured_quotes() {
        let name = &quote.name;
        let verified = verify(&quote).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(verified.selection(), &quote.selection, "{name}");
        let quoted = verified.bind(values(&quote)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(PcrSelection::of(quoted.values()).as_ref(), Some(&quote.selection), "{name}");
        assert_eq!(quoted.signature_hash(), quote.hash(), "{name}");
        let AkIdentity::Proven { name: ak, .. } = quoted.ak() else { panic!("{name}: {}", quoted.ak()) };
        assert_eq!(ak.to_bytes(), fs::read(quote.case.join(format!("ak-{}.name", quote.ak))).unwrap(), "{name}");
    }
}

#[test]
fn a_pem_key_believes_the_same_and_only_asserts() {
    for quote in captured_quotes() {
        let name = &quote.name;
        let key = UncheckedAttestationKey::from_pem_unchecked(&quote.pem()).unwrap();
        let expected = ExpectedSelection::Exactly(&quote.selection);
        let verified = key.verify_quote(
            &quote.attest,
            &quote.signature,
            &quote.nonce,
            expected,
            Sha1Signatures::AcceptDangerously,
        );
        let quoted = verified.unwrap_or_else(|error| panic!("{name}: {error}")).bind(values(&quote)).unwrap();
        let AkIdentity::Asserted { spki_sha256, .. } = quoted.ak() else { panic!("{name}: {}", quoted.ak()) };
        assert_eq!(spki_sha256, &Digest::sha256(&key.spki_der()));
        assert_eq!(quoted.values(), bound(&quote).values(), "{name}");
    }
}

/// As tpm2_pcrread printed them a moment later.
#[test]
fn values_are_those_that_were_read_aside() {
    let mut compared = 0;
    for quote in captured_quotes() {
        let Ok(text) = fs::read_to_string(quote.file("pcrs").with_file_name("pcrs.yaml")) else { continue };
        let quoted = bound(&quote);
        let mut bank = None;
        for line in text.lines() {
            let (key, value) = line.trim().split_once(':').unwrap();
            match value.trim().strip_prefix("0x") {
                None => bank = HashAlgorithm::from_name(key.as_bytes()),
                Some(hex) => {
                    let pcr: u8 = key.trim().parse().unwrap();
                    if let Some(found) = quoted.values().value(bank.unwrap(), pcr) {
                        assert_eq!(found.as_bytes(), unhex(hex), "{}: {bank:?} {pcr}", quote.name);
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 1_000, "{compared}");
}

#[test]
fn the_nonce_is_compared_in_full() {
    for quote in captured_quotes() {
        let with = |nonce: &[u8]| verify(&CapturedQuote { nonce: nonce.to_vec(), ..quote.clone() }).map(drop);
        let other = Err(QuoteError::OtherNonce { quoted: quote.nonce.clone() });
        let mut changed = quote.nonce.clone();
        changed[0] ^= 1;
        assert_eq!(with(&changed), other, "{}", quote.name);
        assert_eq!(with(&quote.nonce[..quote.nonce.len() - 1]), other, "{}", quote.name);
        assert_eq!(with(&[&quote.nonce[..], &[0]].concat()), other, "{}", quote.name);
        assert_eq!(with(&[]), Err(QuoteError::EmptyNonce), "{}", quote.name);
    }
}

#[test]
fn the_selection_is_compared_in_both_directions() {
    for quote in captured_quotes() {
        let pcrs: Vec<(HashAlgorithm, u8)> = quote.selection.iter().collect();
        let with = |pcrs: &[(HashAlgorithm, u8)]| {
            let selection = PcrSelection::new(pcrs.iter().copied()).unwrap();
            verify(&CapturedQuote { selection, ..quote.clone() }).map(drop)
        };
        let one = |pcr| PcrSelection::new([pcr]).unwrap();
        let more = (pcrs[0].0, 16);
        assert_eq!(with(&[&pcrs[..], &[more]].concat()), Err(QuoteError::NotQuoted(one(more))), "{}", quote.name);
        if let [fewer @ .., last] = pcrs.as_slice()
            && !fewer.is_empty()
        {
            assert_eq!(with(fewer), Err(QuoteError::NotExpected(one(*last))), "{}", quote.name);
        }
        // A bank that is not quoted at all; it comes first of what is wrong.
        let unquoted = HashAlgorithm::ALL.into_iter().find(|bank| !quote.selection.banks().any(|known| known == *bank));
        if let Some(bank) = unquoted {
            assert_eq!(with(&[(bank, 10)]), Err(QuoteError::NotQuoted(one((bank, 10)))), "{}", quote.name);
        }
    }
}

#[test]
fn as_quoted_takes_what_is_there_and_tells() {
    for quote in captured_quotes() {
        let verified = verify_with(&quote, ExpectedSelection::AsQuoted, Sha1Signatures::AcceptDangerously).unwrap();
        assert_eq!(verified.selection(), &quote.selection, "{}", quote.name);
    }
}

#[test]
fn sha1_signatures_take_courage() {
    let mut refused = 0;
    for quote in captured_quotes() {
        let verified = verify_with(&quote, ExpectedSelection::Exactly(&quote.selection), Sha1Signatures::Refuse);
        if quote.hash() == HashAlgorithm::Sha1 {
            assert_eq!(verified, Err(QuoteError::Sha1Signature), "{}", quote.name);
            refused += 1;
        } else {
            assert!(verified.is_ok(), "{}", quote.name);
        }
    }
    assert!(refused > 0);
}

#[test]
fn another_key_does_not_do() {
    let quotes = captured_quotes();
    let keys: BTreeSet<Vec<u8>> = quotes.iter().map(CapturedQuote::public_area).collect();
    let keys: Vec<AttestationKey> = keys.iter().map(|area| AttestationKey::from_public_area(area).unwrap()).collect();
    assert!(keys.len() > 20);
    for quote in &quotes {
        let own = AttestationKey::from_public_area(&quote.public_area()).unwrap();
        for key in keys.iter().filter(|key| **key != own) {
            let expected = ExpectedSelection::Exactly(&quote.selection);
            let sha1 = Sha1Signatures::AcceptDangerously;
            let error = key.verify_quote(&quote.attest, &quote.signature, &quote.nonce, expected, sha1).unwrap_err();
            let expected = if key.scheme() == own.scheme() {
                QuoteError::BadSignature
            } else {
                QuoteError::OtherScheme { key: key.scheme(), signature: own.scheme() }
            };
            assert_eq!(error, expected, "{}", quote.name);
        }
    }
}

#[test]
fn every_byte_of_the_statement_is_signed() {
    for quote in captured_quotes() {
        for at in 0..quote.attest.len() {
            let mut changed = quote.clone();
            changed.attest[at] ^= 1 << (at % 8);
            assert_eq!(verify(&changed).map(drop), Err(QuoteError::BadSignature), "{}: byte {at}", quote.name);
        }
        let longer = CapturedQuote { attest: [&quote.attest[..], &[0]].concat(), ..quote.clone() };
        assert_eq!(verify(&longer).map(drop), Err(QuoteError::BadSignature), "{}", quote.name);
        let shorter = CapturedQuote { attest: quote.attest[1..].to_vec(), ..quote.clone() };
        assert_eq!(verify(&shorter).map(drop), Err(QuoteError::BadSignature), "{}", quote.name);
    }
}

#[test]
fn every_byte_of_the_signature_counts() {
    for quote in captured_quotes() {
        // sigAlg, hash, and the size of the first number.
        let header = 6;
        let second_size = quote.ak.starts_with("ecc").then(|| {
            let first = usize::from(u16::from_be_bytes([quote.signature[4], quote.signature[5]]));
            header + first..header + first + 2
        });
        for at in 0..quote.signature.len() {
            let mut changed = quote.clone();
            changed.signature[at] ^= 1 << (at % 8);
            let error = verify(&changed).unwrap_err();
            let is_value = at >= header && !second_size.as_ref().is_some_and(|range| range.contains(&at));
            match error {
                QuoteError::BadSignature => assert!(is_value, "{}: byte {at}", quote.name),
                QuoteError::Signature(_) | QuoteError::OtherScheme { .. } => {
                    assert!(!is_value, "{}: byte {at}: {error}", quote.name);
                }
                _ => panic!("{}: byte {at}: {error}", quote.name),
            }
        }
        let longer = CapturedQuote { signature: [&quote.signature[..], &[0]].concat(), ..quote.clone() };
        let trailing = QuoteError::Signature(StructureError::Trailing { count: 1 });
        assert_eq!(verify(&longer).map(drop), Err(trailing), "{}", quote.name);
        let mut shorter = quote.clone();
        shorter.signature.pop();
        assert!(matches!(verify(&shorter), Err(QuoteError::Signature(StructureError::Truncated { .. }))));
    }
}

/// A changed byte of the PCR blob is refused, or says nothing: then the values are the same.
#[test]
fn every_byte_of_the_values_counts() {
    for quote in captured_quotes() {
        let verified = verify(&quote).unwrap();
        let bound = bound(&quote);
        let used = used_bytes(&quote.blob);
        for at in 0..quote.blob.len() {
            let mut changed = quote.blob.clone();
            changed[at] ^= 1 << (at % 8);
            let values = match read_pcr_blob(&changed) {
                Ok(values) => values,
                Err(error) => {
                    assert!(used[at] != Use::Nothing, "{}: byte {at}: {error}", quote.name);
                    continue;
                }
            };
            match verified.clone().bind(values) {
                Ok(same) => {
                    // A shorter bit map that still holds all bits says the same.
                    assert!(matches!(used[at], Use::Nothing | Use::SelectSize), "{}: byte {at}", quote.name);
                    assert_eq!(same, bound, "{}: byte {at}", quote.name);
                }
                Err(BindError::OtherDigest { .. }) => assert_eq!(used[at], Use::Value, "{}: byte {at}", quote.name),
                Err(error) => assert_eq!(used[at], Use::Label, "{}: byte {at}: {error}", quote.name),
            }
        }
        let longer = [&quote.blob[..], &[0]].concat();
        let trailing = PcrBlobError::Structure(StructureError::Trailing { count: 1 });
        assert_eq!(read_pcr_blob(&longer), Err(trailing), "{}", quote.name);
        for length in 0..quote.blob.len() {
            assert!(
                matches!(
                    read_pcr_blob(&quote.blob[..length]),
                    Err(PcrBlobError::Structure(StructureError::Truncated { .. }))
                ),
                "{}: {length} bytes",
                quote.name
            );
        }
    }
}

/// tpm2_quote wrote these, with the banks in this order and zeros where nothing stands.
#[test]
fn values_are_printed_as_tpm2_quote_writes_them() {
    for quote in captured_quotes() {
        assert!(print_pcr_blob(&values(&quote)) == quote.blob, "{}", quote.name);
    }
}

#[test]
fn values_of_all_pcrs_of_all_banks_are_printed_and_read_again() {
    let mut all = PcrValues::default();
    assert_eq!(read_pcr_blob(&print_pcr_blob(&all)), Ok(all.clone()));
    for (bank, pcr) in HashAlgorithm::ALL.into_iter().flat_map(|bank| (0..24).map(move |pcr| (bank, pcr))) {
        all.insert(pcr, Digest::of(bank, [&[pcr][..]])).unwrap();
        assert_eq!(read_pcr_blob(&print_pcr_blob(&all)), Ok(all.clone()), "{bank}:{pcr}");
    }
}

#[test]
fn relabelled_values_are_refused() {
    let quote = captured_quote_named("banks4-aks/q1/quote-rsa-sha256-pcr10");
    let verified = verify(&quote).unwrap();
    let one = |bank, pcr| PcrSelection::new([(bank, pcr)]).unwrap();
    // The same value as PCR 11: its bit is in the second byte of pcrSelect, after count, hash and size.
    let mut blob = quote.blob.clone();
    blob[8] = 0x08;
    let bound = verified.clone().bind(read_pcr_blob(&blob).unwrap());
    assert_eq!(bound, Err(BindError::Missing(one(HashAlgorithm::Sha256, 10))));
    // As of the bank sha384, where it is too short, and of SHA3-256, where it is not.
    let mut blob = quote.blob.clone();
    blob[4] = 0x0c;
    let length = PcrBlobError::ValueLength { bank: HashAlgorithm::Sha384, pcr: 10, found: 32 };
    assert_eq!(read_pcr_blob(&blob), Err(length));
    blob[4] = 0x27;
    let unknown = StructureError::UnknownAlgorithm { field: "pcrSelect.hash", id: 0x27 };
    assert_eq!(read_pcr_blob(&blob), Err(PcrBlobError::Structure(unknown)));
}

#[test]
fn values_of_another_selection_are_refused() {
    let all = captured_quote_named("banks4-aks/q1/quote-rsa-all");
    let verified = verify(&all).unwrap();
    let values = values(&all);
    let one = |bank, pcr| PcrSelection::new([(bank, pcr)]).unwrap();
    let (bank, pcr) = (HashAlgorithm::Sha384, 7);

    let without: PcrValues = filtered(&values, |of, index| (of, index) != (bank, pcr));
    assert_eq!(verified.clone().bind(without), Err(BindError::Missing(one(bank, pcr))));
    assert_eq!(verified.clone().bind(PcrValues::default()), Err(BindError::Missing(all.selection.clone())));

    let mut with = values.clone();
    with.insert(16, *values.value(bank, pcr).unwrap()).unwrap();
    assert_eq!(verified.clone().bind(with), Err(BindError::NotQuoted(one(bank, 16))));

    // Two values change places.
    let mut swapped = filtered(&values, |of, index| of != bank || index > 1);
    swapped.insert(0, *values.value(bank, 1).unwrap()).unwrap();
    swapped.insert(1, *values.value(bank, 0).unwrap()).unwrap();
    assert!(matches!(verified.clone().bind(swapped), Err(BindError::OtherDigest { .. })));
    assert!(verified.bind(values).is_ok());
}

/// Values of another moment of the same boot.
#[test]
fn values_of_another_quote_are_refused() {
    let (before, after) = ("tampered-pcr10/q1/quote-rsa-all", "tampered-pcr10/q2/quote-rsa-all");
    let (before, after) = (captured_quote_named(before), captured_quote_named(after));
    let bound = verify(&after).unwrap().bind(values(&before));
    assert!(matches!(bound, Err(BindError::OtherDigest { .. })), "{bound:?}");
}

#[test]
fn counters_and_clock_are_those_of_the_boots() {
    let first = bound(&captured_quote_named("reboot-1/q1/quote-rsa-all"));
    let second = bound(&captured_quote_named("reboot-2/q1/quote-rsa-all"));
    assert_eq!(first.ak(), second.ak());
    assert!(second.boot().reset_count > first.boot().reset_count);
    assert_eq!((first.boot().restart_count, second.boot().restart_count), (0, 0));
    let (before, after) = ("ng-incremental/q1/quote-ecc-all", "ng-incremental/q2/quote-ecc-all");
    let (before, after) = (bound(&captured_quote_named(before)), bound(&captured_quote_named(after)));
    assert_eq!(before.boot(), after.boot());
    assert!(before.clock().millis < after.clock().millis);
    assert_eq!(before.firmware_version(), after.firmware_version());
}

#[test]
fn no_quote_is_left_out() {
    let all = std::process::Command::new("find").arg(captures()).args(["-name", "*.msg"]).output().unwrap().stdout;
    let all = String::from_utf8(all).unwrap().lines().count();
    assert_eq!(captured_quotes().len(), all);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Nothing,
    /// A count, a size, a bank or a bit.
    Label,
    SelectSize,
    Value,
}

/// What each byte of a PCR blob is used for, by the layout in the TSS 2.0 headers.
fn used_bytes(blob: &[u8]) -> Vec<Use> {
    let number = |at: usize| usize::from(u16::from_le_bytes([blob[at], blob[at + 1]]));
    let mut used = vec![Use::Nothing; blob.len()];
    used[..4].fill(Use::Label);
    for bank in 0..number(0) {
        let at = 4 + 8 * bank;
        used[at..at + 2].fill(Use::Label);
        used[at + 2] = Use::SelectSize;
        used[at + 3..at + 3 + usize::from(blob[at + 2])].fill(Use::Label);
    }
    used[132..136].fill(Use::Label);
    for list in 0..number(132) {
        let start = 136 + 532 * list;
        used[start..start + 4].fill(Use::Label);
        for digest in 0..number(start) {
            let at = start + 4 + 66 * digest;
            used[at..at + 2].fill(Use::Label);
            used[at + 2..at + 2 + number(at)].fill(Use::Value);
        }
    }
    used
}

fn filtered(values: &PcrValues, keep: impl Fn(HashAlgorithm, u8) -> bool) -> PcrValues {
    let mut kept = PcrValues::default();
    for bank in values.banks() {
        for (pcr, value) in values.pcrs(bank).filter(|(pcr, _)| keep(bank, *pcr)) {
            kept.insert(pcr, *value).unwrap();
        }
    }
    kept
}

fn verify(quote: &CapturedQuote) -> Result<VerifiedQuote, QuoteError> {
    verify_with(quote, ExpectedSelection::Exactly(&quote.selection), Sha1Signatures::AcceptDangerously)
}

fn verify_with(
    quote: &CapturedQuote,
    expected: ExpectedSelection<'_>,
    sha1: Sha1Signatures,
) -> Result<VerifiedQuote, QuoteError> {
    let key = AttestationKey::from_public_area(&quote.public_area()).unwrap();
    key.verify_quote(&quote.attest, &quote.signature, &quote.nonce, expected, sha1)
}

fn values(quote: &CapturedQuote) -> PcrValues {
    read_pcr_blob(&quote.blob).unwrap_or_else(|error| panic!("{}: {error}", quote.name))
}

fn bound(quote: &CapturedQuote) -> QuotedPcrs {
    verify(quote).unwrap().bind(values(quote)).unwrap()
}
