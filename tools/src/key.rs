//! The keys that seal lists (Ed25519, RFC 8032), in memory and in files.
//!
//! Nothing outside this crate can hold one: a verifier has no code that seals. A key is wiped from memory when it is
//! dropped, shows nothing of itself in `Debug`, and leaves the process only as a key file.

pub mod agent;
pub mod file;
pub mod pem;

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::public_key::{SPKI_LEN, spki_der};
use goldseal_cli::{input, random};
use goldseal_verifier_core::key::PublicKey;
use zeroize::Zeroizing;

/// A private key that seals.
pub struct SealKey(SigningKey);

impl SealKey {
    /// A new key, from the operating system's randomness.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate() -> Result<Self, Failure> {
        let mut seed = Zeroizing::new([0; 32]);
        fill_random(seed.as_mut())?;
        Ok(Self::from_seed(&seed))
    }

    /// The signature over `message` (pure Ed25519: the same message gives the same signature).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The public key, as those who verify see it.
    pub fn public_key(&self) -> PublicKey {
        // RFC 8032, section 5.1.5: a clamped scalar times the base point, which is never of small order.
        PublicKey::from_spki_der(&self.spki_der()).expect("the public key of a seal key is not weak")
    }

    /// SubjectPublicKeyInfo DER of the public key.
    pub fn spki_der(&self) -> [u8; SPKI_LEN] {
        spki_der(self.0.verifying_key().as_bytes())
    }

    fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    random::fill(bytes).map_err(|error| {
        Failure::new(
            Exit::Input,
            "unreadable",
            format!("the kernel gives no randomness: {}", input::reason(&error)),
            "no key can be made on this machine; use another",
        )
    })
}

/// The truth from outside that key files are held against.
#[cfg(test)]
mod openssl {
    use std::path::Path;
    use std::process::Command;

    /// Runs openssl in `folder` and returns what it prints; `%` stands for a blank within an argument.
    pub(super) fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
        let arguments = arguments.split(' ').map(|argument| argument.replace('%', " "));
        let output = Command::new("openssl").args(arguments).current_dir(folder).output();
        let output = output.expect("these tests need openssl 3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 8032, section 7.1, test 3.
    #[test]
    fn signs_as_the_rfc_does() {
        let seed = hex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
        let key = SealKey::from_seed(&seed.try_into().unwrap());
        let public = hex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
        assert_eq!(key.spki_der()[12..], public);
        let signature = hex("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a");
        assert_eq!(key.sign(&hex("af82")).to_vec(), signature);
    }

    #[test]
    fn two_new_keys_differ() {
        assert_ne!(SealKey::generate().unwrap().spki_der(), SealKey::generate().unwrap().spki_der());
    }

    #[test]
    fn is_never_printed() {
        assert_eq!(format!("{:?}", SealKey::from_seed(&[7; 32])), "SealKey(..)");
    }
}
