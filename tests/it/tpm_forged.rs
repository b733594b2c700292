//! Quotes by a software TPM: right in all but one thing, and signed again.

use goldseal_tests::forge::ak::{Kind, SoftAttest, SoftQuote, SoftTpm, sized};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::tpm::{
    AttestError, AttestationKey, BindError, Boot, Clock, ExpectedSelection, PcrSelection, QuoteError, QuotedPcrs,
    Sha1Signatures, SignatureAlgorithm, SignatureScheme, StructureError, UncheckedAttestationKey, VerifiedQuote,
    read_pcr_blob,
};

const SHA1: HashAlgorithm = HashAlgorithm::Sha1;
const SHA256: HashAlgorithm = HashAlgorithm::Sha256;
const NONCE: &[u8] = b"twenty bytes of nonce";

#[test]
fn an_unbroken_quote_is_believed() {
    for kind in Kind::ALL {
        let mut tpm = SoftTpm::new(kind);
        tpm.extend(SHA256, 10, &[5; 32]);
        let quote = tpm.quote(NONCE, &selection());
        let quoted = verify(&tpm, &quote).unwrap().bind(read_pcr_blob(&quote.pcrs_blob).unwrap()).unwrap();
        assert_eq!(quoted.values().value(SHA256, 10), Some(&tpm.pcr(SHA256, 10)));
        assert_eq!(quoted.values().value(SHA1, 17).unwrap().as_bytes(), [0xff; 20]);
        assert_eq!(quoted.firmware_version(), 0x2026_0101_0000_0001);
        let unchecked = UncheckedAttestationKey::from_pem_unchecked(tpm.pem().as_bytes()).unwrap();
        let expected = selection();
        let expected = ExpectedSelection::Exactly(&expected);
        unchecked.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse).unwrap();
    }
}

#[test]
fn what_is_signed_must_be_a_quote_and_nothing_else() {
    for kind in Kind::ALL {
        assert_eq!(
            broken(kind, |attest| attest.magic ^= 1),
            attest_error(AttestError::NotFromTpm { found: 0xff54_4346 })
        );
        // TPM_ST_ATTEST_CERTIFY, as a restricted key signs it too.
        assert_eq!(broken(kind, |attest| attest.kind = 0x8017), attest_error(AttestError::NotAQuote { found: 0x8017 }));
        let safe = StructureError::Value { field: "safe", found: 2 };
        assert_eq!(broken(kind, |attest| attest.safe = 2), attest_error(AttestError::Structure(safe)));
        let name = StructureError::TooLong { field: "qualifiedSigner", found: 67, max: 66 };
        let error = broken(kind, |attest| attest.qualified_signer = vec![0; 67]);
        assert_eq!(error, attest_error(AttestError::Structure(name)));
    }
}

#[test]
fn a_signed_byte_too_many_is_refused() {
    for kind in Kind::ALL {
        let mut tpm = SoftTpm::new(kind);
        let mut bytes = tpm.attest(NONCE, &selection()).encode();
        bytes.push(0);
        let quote = SoftQuote { signature: tpm.sign(&bytes), attest: bytes, pcrs_blob: Vec::new() };
        let trailing = StructureError::Trailing { count: 1 };
        assert_eq!(verify(&tpm, &quote), Err(attest_error(AttestError::Structure(trailing))));
    }
}

#[test]
fn a_statement_longer_than_any_quote_is_not_even_hashed() {
    let tpm = SoftTpm::new(Kind::P256);
    let long = vec![0; 350];
    let quote = SoftQuote { signature: tpm.sign(&long), attest: long, pcrs_blob: Vec::new() };
    assert_eq!(verify(&tpm, &quote), Err(QuoteError::TooLong { found: 350, max: 349 }));
}

#[test]
fn nonces_are_compared_in_full() {
    let other = |nonce: &[u8]| QuoteError::OtherNonce { quoted: nonce.to_vec() };
    for nonce in [&NONCE[1..], &NONCE[..NONCE.len() - 1], &[NONCE, b"\0"].concat(), b""] {
        assert_eq!(broken(Kind::P256, |attest| attest.extra_data = nonce.to_vec()), other(nonce));
    }
}

#[test]
fn a_quote_of_nothing_proves_nothing() {
    let mut tpm = SoftTpm::new(Kind::P256);
    let mut attest = tpm.attest(NONCE, &selection());
    for selected in [vec![], vec![(SHA256, vec![])], vec![(SHA1, vec![]), (SHA256, vec![])]] {
        attest.selection = selected;
        attest.pcr_digest = tpm.pcr_digest(&attest.selection);
        let quote = tpm.sign_quote(&attest);
        assert_eq!(verify(&tpm, &quote), Err(QuoteError::NothingQuoted));
        assert_eq!(verify_as_quoted(&tpm, &quote), Err(QuoteError::NothingQuoted));
    }
}

#[test]
fn the_signed_selection_decides() {
    let mut tpm = SoftTpm::new(Kind::P256);
    let one = |bank, pcr| PcrSelection::new([(bank, pcr)]).unwrap();
    // PCR 10 is left out of the quote, and its value is beside it all the same.
    let mut attest = tpm.attest(NONCE, &selection());
    let full = attest.selection.clone();
    attest.selection[1].1.retain(|pcr| *pcr != 10);
    attest.pcr_digest = tpm.pcr_digest(&attest.selection);
    let mut quote = tpm.sign_quote(&attest);
    quote.pcrs_blob = tpm.pcrs_blob(&full);
    assert_eq!(verify(&tpm, &quote), Err(QuoteError::NotQuoted(one(SHA256, 10))));
    let bound = verify_as_quoted(&tpm, &quote).unwrap().bind(read_pcr_blob(&quote.pcrs_blob).unwrap());
    assert_eq!(bound, Err(BindError::NotQuoted(one(SHA256, 10))));

    // One more than was asked for; and a bank that the TPM has not got, which adds nothing.
    let mut attest = tpm.attest(NONCE, &selection());
    attest.selection[1].1.push(16);
    assert_eq!(verify(&tpm, &tpm.sign_quote(&attest)), Err(QuoteError::NotExpected(one(SHA256, 16))));
    let mut attest = tpm.attest(NONCE, &selection());
    attest.selection.push((HashAlgorithm::Sha384, vec![]));
    let quote = tpm.sign_quote(&attest);
    assert_eq!(verify(&tpm, &quote).unwrap().selection(), &selection());
    bind(&tpm, &quote);

    // One bank twice.
    let mut attest = tpm.attest(NONCE, &selection());
    attest.selection.push((SHA256, vec![10]));
    let twice = StructureError::Value { field: "pcrSelect.hash", found: 0x0b };
    let error = attest_error(AttestError::Structure(twice));
    assert_eq!(verify(&tpm, &tpm.sign_quote(&attest)), Err(error));
}

/// A TPM hashes the banks in the order in which it was asked for them.
#[test]
fn banks_are_hashed_in_the_order_of_the_quote() {
    let mut tpm = SoftTpm::new(Kind::P256);
    tpm.extend(SHA1, 0, &[1; 20]);
    let mut attest = tpm.attest(NONCE, &selection());
    let digest_of_usual_order = attest.pcr_digest.clone();
    attest.selection.reverse();
    attest.pcr_digest = tpm.pcr_digest(&attest.selection);
    assert_ne!(attest.pcr_digest, digest_of_usual_order);
    bind(&tpm, &tpm.sign_quote(&attest));
    attest.pcr_digest = digest_of_usual_order;
    let quote = tpm.sign_quote(&attest);
    let bound = verify(&tpm, &quote).unwrap().bind(read_pcr_blob(&quote.pcrs_blob).unwrap());
    assert!(matches!(bound, Err(BindError::OtherDigest { .. })));
}

#[test]
fn the_digest_is_of_the_schemes_hash() {
    let scheme = |algorithm, hash| SignatureScheme { algorithm, hash };
    let error = broken(Kind::P384, |attest| attest.pcr_digest = vec![0; 32]);
    let p384 = scheme(SignatureAlgorithm::Ecdsa, HashAlgorithm::Sha384);
    assert_eq!(error, QuoteError::DigestLength { scheme: p384, found: 32 });
    let error = broken(Kind::RsaPss, |attest| attest.pcr_digest = vec![]);
    let pss = scheme(SignatureAlgorithm::RsaPss, SHA256);
    assert_eq!(error, QuoteError::DigestLength { scheme: pss, found: 0 });
}

/// The same RSA key, once for RSASSA and once for RSAPSS: each quote is believed of its own key only.
#[test]
fn the_scheme_of_the_key_decides() {
    let (mut ssa, pss) = (SoftTpm::new(Kind::RsaSsa), SoftTpm::new(Kind::RsaPss));
    let quote = ssa.quote(NONCE, &selection());
    let scheme = |algorithm| SignatureScheme { algorithm, hash: SHA256 };
    assert_eq!(
        verify(&pss, &quote),
        Err(QuoteError::OtherScheme {
            key: scheme(SignatureAlgorithm::RsaPss),
            signature: scheme(SignatureAlgorithm::RsaSsa)
        })
    );
    // The label alone does not make it the other.
    let mut relabelled = quote.clone();
    relabelled.signature[1] = 0x16;
    assert_eq!(verify(&pss, &relabelled), Err(QuoteError::BadSignature));
    let unchecked = UncheckedAttestationKey::from_pem_unchecked(ssa.pem().as_bytes()).unwrap();
    let as_quoted = |quote: &SoftQuote| {
        let expected = ExpectedSelection::AsQuoted;
        unchecked.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse).map(drop)
    };
    assert_eq!(as_quoted(&quote), Ok(()));
    assert_eq!(as_quoted(&relabelled), Err(QuoteError::BadSignature));
    // A signature of a kind that such a key does not make.
    let ecdsa = SoftTpm::new(Kind::P256).quote(NONCE, &selection());
    assert_eq!(as_quoted(&ecdsa), Err(QuoteError::Unsupported(scheme(SignatureAlgorithm::Ecdsa))));
}

/// r and s are numbers: a TPM may leave out leading zeros, and may not.
#[test]
fn short_numbers_of_a_signature_are_padded() {
    for kind in [Kind::P256, Kind::P384] {
        let length = if kind == Kind::P256 { 32 } else { 48 };
        let mut tpm = SoftTpm::new(kind);
        let attest = tpm.attest(NONCE, &selection());
        // One in 128 signatures has such a number.
        let quote = (0..10_000).map(|_| tpm.sign_quote(&attest)).find(|quote| quote.signature[6] == 0).unwrap();
        let (r, s) = (&quote.signature[6..6 + length], &quote.signature[8 + length..]);
        let short = r.iter().position(|byte| *byte != 0).map(|zeros| &r[zeros..]).unwrap();
        let with = |r: &[u8], s: &[u8]| {
            let signature = [&quote.signature[..4], &sized(r), &sized(s)].concat();
            verify(&tpm, &SoftQuote { signature, ..quote.clone() }).map(drop)
        };
        assert_eq!(with(r, s), Ok(()));
        assert_eq!(with(short, s), Ok(()));
        assert_eq!(with(s, r), Err(QuoteError::BadSignature));
        assert_eq!(with(&[], s), Err(QuoteError::BadSignature));
        assert_eq!(with(r, &[]), Err(QuoteError::BadSignature));
        assert_eq!(with(&[0; 32], &[0; 32]), Err(QuoteError::BadSignature));
        assert_eq!(with(&[0xff; 32], s), Err(QuoteError::BadSignature));
    }
}

/// A key that is no point of its curve verifies nothing.
#[test]
fn a_point_off_the_curve_verifies_nothing() {
    for kind in [Kind::P256, Kind::P384] {
        let mut tpm = SoftTpm::new(kind);
        let quote = tpm.quote(NONCE, &selection());
        let mut area = tpm.public_area();
        *area.last_mut().unwrap() ^= 1;
        let key = AttestationKey::from_public_area(&area).unwrap();
        let result = key.verify_quote(
            &quote.attest,
            &quote.signature,
            NONCE,
            ExpectedSelection::AsQuoted,
            Sha1Signatures::Refuse,
        );
        assert_eq!(result, Err(QuoteError::BadSignature));
    }
}

#[test]
fn boots_and_the_clock_are_told() {
    let mut tpm = SoftTpm::new(Kind::P256);
    let now = |tpm: &mut SoftTpm| {
        let quote = tpm.quote(NONCE, &selection());
        bind(tpm, &quote)
    };
    let boot = |reset_count, restart_count| Boot { reset_count, restart_count };
    tpm.extend(SHA256, 10, &[1; 32]);
    let first = now(&mut tpm);
    assert_eq!((first.boot(), first.clock()), (boot(1, 0), Clock { millis: 11_000, safe: true }));
    tpm.resume();
    let resumed = now(&mut tpm);
    assert_eq!((resumed.boot(), resumed.values()), (boot(1, 1), first.values()));
    tpm.restart();
    let restarted = now(&mut tpm);
    assert_eq!(restarted.boot(), boot(1, 2));
    assert!(restarted.values().value(SHA256, 10).unwrap().is_zero());
    tpm.reset();
    assert_eq!(now(&mut tpm).boot(), boot(2, 0));
    tpm.power_cut();
    let cut = now(&mut tpm);
    assert_eq!((cut.boot(), cut.clock()), (boot(3, 0), Clock { millis: 14_000, safe: false }));
}

/// The error of a quote whose statement was changed and then signed.
fn broken(kind: Kind, change: impl FnOnce(&mut SoftAttest)) -> QuoteError {
    let mut tpm = SoftTpm::new(kind);
    let mut attest = tpm.attest(NONCE, &selection());
    change(&mut attest);
    verify(&tpm, &tpm.sign_quote(&attest)).unwrap_err()
}

fn attest_error(error: AttestError) -> QuoteError {
    QuoteError::Attest(error)
}

fn selection() -> PcrSelection {
    PcrSelection::new([(SHA1, 0), (SHA1, 17), (SHA256, 0), (SHA256, 10), (SHA256, 23)]).unwrap()
}

fn verify(tpm: &SoftTpm, quote: &SoftQuote) -> Result<VerifiedQuote, QuoteError> {
    let expected = selection();
    verify_with(tpm, quote, ExpectedSelection::Exactly(&expected))
}

fn verify_as_quoted(tpm: &SoftTpm, quote: &SoftQuote) -> Result<VerifiedQuote, QuoteError> {
    verify_with(tpm, quote, ExpectedSelection::AsQuoted)
}

fn verify_with(tpm: &SoftTpm, quote: &SoftQuote, expected: ExpectedSelection<'_>) -> Result<VerifiedQuote, QuoteError> {
    let key = AttestationKey::from_public_area(&tpm.public_area()).unwrap();
    key.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse)
}

fn bind(tpm: &SoftTpm, quote: &SoftQuote) -> QuotedPcrs {
    verify(tpm, quote).unwrap().bind(read_pcr_blob(&quote.pcrs_blob).unwrap()).unwrap()
}
