//! Credentials made here, opened by a TPM.

use std::fs;

use goldseal_tests::forge::ak::{Kind, SoftTpm};
use goldseal_tests::forge::ek::{EkKind, SoftEk};
use goldseal_tests::lab::Swtpm;
use goldseal_verifier_core::tpm::credential::{Credential, CredentialEntropy, EndorsementKey};
use goldseal_verifier_core::tpm::{AttestationKey, Name};

use crate::credential::{SECRET, endorsement_key, entropy, made};

/// Key types of `tpm2_createek`: of the low-range templates, and of the high-range ones with SHA-384 and AES-256. Those
/// give the key an empty password beside its policy.
const EKS: [(&str, bool); 4] = [("rsa", true), ("ecc", true), ("rsa3072", false), ("ecc384", false)];

#[test]
fn a_tpm_opens_what_is_made_here() {
    let tpm = Swtpm::new();
    for (kind, by_policy) in EKS {
        let (ek, ak) = keys_of(&tpm, kind);
        for byte in [0x01, 0xfe] {
            let credential = made(&ek, ak, entropy(byte));
            assert_eq!(activated(&tpm, &credential, by_policy), Some(SECRET.to_vec()), "{kind}");
        }
        // The first coordinate of the point begins with a zero, and travels with it.
        if ek.public_area().curve().is_some() {
            let credential = (0u32..).map(|count| made(&ek, ak, counted(count)));
            let mut padded = credential.filter(|credential| credential.encrypted_secret()[2] == 0);
            assert_eq!(activated(&tpm, &padded.next().unwrap(), by_policy), Some(SECRET.to_vec()), "{kind}");
        }
        let other = AttestationKey::from_public_area(&SoftTpm::new(Kind::P256).public_area()).unwrap();
        let for_another = made(&ek, other.name(), entropy(1));
        assert_eq!(activated(&tpm, &for_another, by_policy), None, "{kind}: the Name is not bound");
        let under_another = SoftEk::new(EkKind::P256);
        let under_another = made(&endorsement_key(&under_another), ak, entropy(1));
        assert_eq!(activated(&tpm, &under_another, by_policy), None, "{kind}");
    }
}

/// An endorsement key of this type and an attestation key below it, both made by tpm2-tools.
fn keys_of(tpm: &Swtpm, kind: &str) -> (EndorsementKey, Name) {
    tpm.tool("tpm2_flushcontext -t");
    tpm.tool(&format!("tpm2_createek -Q -c ek.ctx -G {kind} -u ek.pub"));
    tpm.tool("tpm2_flushcontext -t");
    tpm.tool("tpm2_createak -Q -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name");
    tpm.tool("tpm2_flushcontext -t");
    let ek = EndorsementKey::from_public_area(&fs::read(tpm.path("ek.pub")).unwrap()).unwrap();
    let ak = AttestationKey::from_public_area(&fs::read(tpm.path("ak.pub")).unwrap()).unwrap();
    assert_eq!(ak.name().to_bytes(), fs::read(tpm.path("ak.name")).unwrap());
    (ek, ak.name())
}

/// What `tpm2_activatecredential` makes of it; `None` if the TPM refuses.
fn activated(tpm: &Swtpm, credential: &Credential, by_policy: bool) -> Option<Vec<u8>> {
    fs::write(tpm.path("credential"), credential.to_file()).unwrap();
    let _ = fs::remove_file(tpm.path("out"));
    let mut line = "tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o out".to_owned();
    if by_policy {
        tpm.tool("tpm2_startauthsession -Q --policy-session -S session.ctx");
        tpm.tool("tpm2_policysecret -Q -S session.ctx -c e");
        line.push_str(" -P session:session.ctx");
    }
    let output = tpm.command(&line).output().unwrap();
    if by_policy {
        tpm.tool("tpm2_flushcontext session.ctx");
    }
    tpm.tool("tpm2_flushcontext -t");
    assert_eq!(output.status.success(), tpm.path("out").exists());
    output.status.success().then(|| fs::read(tpm.path("out")).unwrap())
}

fn counted(count: u32) -> CredentialEntropy {
    let mut random = [1; CredentialEntropy::LEN];
    random[..4].copy_from_slice(&count.to_be_bytes());
    CredentialEntropy::new(random)
}
