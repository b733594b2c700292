//! TPM structures read a second time, by libtss2-mu through tss-esapi: what we accept it accepts with the same meaning,
//! and what it refuses we refuse. We are stricter: nothing may be left over, and some algorithms are not for quotes.

use std::fs;

use goldseal_tests::quotes::{captured_files, captured_quotes};
use goldseal_verifier_core::tpm::{ClaimedAttest, PublicArea, QuoteSignature};
use tss_esapi::structures::{Attest, AttestInfo, Public, PublicBuffer, Signature};
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::{Error, WrapperErrorKind};

#[test]
fn attests_mean_the_same() {
    let (mut both, mut neither, mut stricter) = (0, 0, 0);
    for quote in captured_quotes() {
        for bytes in variants(&quote.attest) {
            match (ClaimedAttest::parse(&bytes), Attest::unmarshall(&bytes)) {
                (Ok(ours), Ok(theirs)) => {
                    assert_eq!(ours.claimed_nonce(), theirs.extra_data().value(), "{}", quote.name);
                    assert_eq!(ours.claimed_qualified_signer(), theirs.qualified_signer().value());
                    assert_eq!(ours.claimed_clock().millis, theirs.clock_info().clock());
                    assert_eq!(ours.claimed_clock().safe, theirs.clock_info().safe());
                    assert_eq!(ours.claimed_boot().reset_count, theirs.clock_info().reset_count());
                    assert_eq!(ours.claimed_boot().restart_count, theirs.clock_info().restart_count());
                    assert_eq!(ours.claimed_firmware_version(), theirs.firmware_version());
                    let AttestInfo::Quote { info } = theirs.attested() else { panic!("{}: no quote", quote.name) };
                    assert_eq!(ours.claimed_pcr_digest(), info.pcr_digest().value());
                    both += 1;
                }
                (Err(_), Err(_)) => neither += 1,
                (Err(_), Ok(_)) => stricter += 1,
                (Ok(_), Err(error)) => panic!("{}: only we accept it: {error}", quote.name),
            }
        }
    }
    assert!(both > 1_000 && neither > 1_000 && stricter > 0, "{both} {neither} {stricter}");
}

#[test]
fn signatures_are_taken_by_both() {
    let (mut both, mut neither) = (0, 0);
    for quote in captured_quotes() {
        for bytes in variants(&quote.signature) {
            match (QuoteSignature::parse(&bytes), Signature::unmarshall(&bytes)) {
                (Ok(_), Ok(theirs)) => {
                    assert_eq!(theirs.marshall().unwrap(), bytes, "{}", quote.name);
                    both += 1;
                }
                (Err(_), _) => neither += 1,
                (Ok(_), Err(error)) => panic!("{}: only we accept it: {error}", quote.name),
            }
        }
    }
    assert!(both > 1_000 && neither > 1_000, "{both} {neither}");
}

#[test]
fn public_areas_are_taken_by_both() {
    let (mut both, mut neither, mut nameless) = (0, 0, 0);
    for path in captured_files("ak-", "tpm2b").into_iter().chain(captured_files("ek-", "tpm2b")) {
        let captured = fs::read(&path).unwrap();
        assert!(PublicArea::parse(&captured).is_ok() && second_reading(&captured).is_ok(), "{}", path.display());
        for bytes in variants(&captured) {
            match (PublicArea::parse(&bytes), second_reading(&bytes)) {
                (Ok(_), Ok(theirs)) => {
                    // Behind the length stands the TPMT_PUBLIC, which both read to its last byte.
                    assert_eq!(theirs.marshall().unwrap(), bytes[2..], "{}", path.display());
                    both += 1;
                }
                (Err(_), _) => neither += 1,
                // Values that the crate's types have no name for, such as reserved attributes: libtss2-mu read them.
                (Ok(_), Err(Error::WrapperError(WrapperErrorKind::InvalidParam))) => nameless += 1,
                (Ok(_), Err(error)) => panic!("{}: only we accept it: {error}", path.display()),
            }
        }
    }
    assert!(both > 1_000 && neither > 1_000 && nameless < both / 10, "{both} {neither} {nameless}");
}

fn second_reading(bytes: &[u8]) -> Result<Public, Error> {
    PublicBuffer::unmarshall(bytes).and_then(Public::try_from)
}

/// The bytes; with each byte changed in two ways; cut at each length; and with one byte more.
fn variants(bytes: &[u8]) -> Vec<Vec<u8>> {
    let changed = (0..bytes.len()).flat_map(|at| {
        [0x01, 0x80].map(|bits| {
            let mut changed = bytes.to_vec();
            changed[at] ^= bits;
            changed
        })
    });
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let longer = [bytes, &[0]].concat();
    std::iter::once(bytes.to_vec()).chain(changed).chain(cut).chain([longer]).collect()
}
