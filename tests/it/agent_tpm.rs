//! The agent's TPM at a real one in software: what it quotes is believed by verifier-core and by tpm2-tools.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use goldseal_agent::tpm::{AkKind, Identity, Quote, QuoteRequest, Tpm, TpmConfig};
use goldseal_tests::lab::Swtpm;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::tpm::{
    AttestationKey, ExpectedSelection, PcrSelection, QuotedPcrs, Sha1Signatures, read_pcr_blob,
};

use HashAlgorithm::Sha256;

const NONCE: &[u8] = b"0123456789abcdef0123456789ABCDEF";

#[test]
fn quotes_of_both_kinds_are_believed() {
    for kind in [AkKind::EccP256, AkKind::Rsa2048] {
        let swtpm = Swtpm::new();
        swtpm.extend(10, "sha256", &"ab".repeat(32));
        let tpm = start(&swtpm, |config| config.ak = kind);
        let identity = tpm.identity_blocking().unwrap();
        let quote = tpm.quote_blocking(request(&[0, 7, 10])).unwrap();
        assert_eq!(quote.banks, [Sha256]);
        let quoted = believed(&identity, &quote, &[(Sha256, 0), (Sha256, 7), (Sha256, 10)]);
        let extended = Digest::of(Sha256, [&[0; 32][..], &[0xab; 32]]);
        assert_eq!(quoted.values().value(Sha256, 10), Some(&extended));
        assert!(tpm2_checkquote(&swtpm, &identity, &quote, NONCE));
        assert!(!tpm2_checkquote(&swtpm, &identity, &quote, b"another nonce"));
        assert_eq!(swtpm.left_over(), "");
    }
}

/// An agent at a TPM, with a short deadline: nothing here takes a real TPM's time.
fn start(swtpm: &Swtpm, change: impl FnOnce(&mut TpmConfig)) -> Tpm {
    let mut config = TpmConfig::new(swtpm.tcti());
    config.deadline = Duration::from_secs(20);
    change(&mut config);
    Tpm::start(config).unwrap()
}

fn request(pcrs: &[u8]) -> QuoteRequest {
    QuoteRequest { pcrs: pcrs.to_vec(), nonce: NONCE.to_vec(), ..QuoteRequest::default() }
}

fn key(identity: &Identity) -> AttestationKey {
    AttestationKey::from_public_area(&identity.ak_public).unwrap()
}

/// What verifier-core makes of a quote, of exactly these PCRs.
#[track_caller]
fn believed(identity: &Identity, quote: &Quote, pcrs: &[(HashAlgorithm, u8)]) -> QuotedPcrs {
    let selection = PcrSelection::new(pcrs.iter().copied()).unwrap();
    let expected = ExpectedSelection::Exactly(&selection);
    let key = key(identity);
    let verified = key.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse);
    verified.unwrap().bind(read_pcr_blob(&quote.pcr_blob).unwrap()).unwrap()
}

fn tpm2_checkquote(swtpm: &Swtpm, identity: &Identity, quote: &Quote, nonce: &[u8]) -> bool {
    for (name, bytes) in [
        ("ak.tpm2b", &identity.ak_public),
        ("attest", &quote.attest),
        ("signature", &quote.signature),
        ("pcrs", &quote.pcr_blob),
    ] {
        fs::write(swtpm.path(name), bytes).unwrap();
    }
    swtpm.tool("tpm2_print -t TPM2B_PUBLIC -f pem ak.tpm2b");
    let pem = swtpm.tool("tpm2_print -t TPM2B_PUBLIC -f pem ak.tpm2b");
    fs::write(swtpm.path("ak.pem"), pem).unwrap();
    let hash = key(identity).scheme().hash;
    let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("tpm2_checkquote -u ak.pem -m attest -s signature -f pcrs -g {hash} -q {nonce}");
    swtpm.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}
