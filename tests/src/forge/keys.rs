//! Seal keys that are made of their names: every run signs the same bytes.

use ed25519_dalek::{Signer as _, SigningKey};
use goldseal_verifier_core::envelope::{Envelope, SignatureLine};
use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::root::{HolderName, KeyStatement, KeyStatus, RoleName};
use sha2::{Digest as _, Sha256};

use super::time;

fn seal_key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(name).into())
}

pub fn public_key(name: &str) -> PublicKey {
    // SubjectPublicKeyInfo of Ed25519 (RFC 8410, section 4).
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let point = seal_key(name).verifying_key().to_bytes();
    PublicKey::from_spki_der(&[prefix.as_slice(), &point].concat()).unwrap()
}

/// The signature of this name's key on a head.
pub fn signature(name: &str, envelope: &Envelope) -> SignatureLine {
    let value = seal_key(name).sign(envelope.signed_bytes()).to_bytes();
    SignatureLine::ed25519(public_key(name).key_id(), value)
}

/// A line under this name's key id whose signature is none.
pub fn bad_signature(name: &str) -> SignatureLine {
    SignatureLine::ed25519(public_key(name).key_id(), [1; 64])
}

/// A key that is called as its owner, and valid from 2020 on.
pub fn key(name: &str, roles: &[&str]) -> KeyStatement {
    KeyStatement {
        key: public_key(name),
        name: HolderName::new(name).unwrap(),
        owner: HolderName::new(name).unwrap(),
        roles: roles.iter().map(|role| RoleName::new(role).unwrap()).collect(),
        from: time("2020-01-01T00:00:00Z"),
        until: Expiry::Never,
        status: KeyStatus::Active,
    }
}
