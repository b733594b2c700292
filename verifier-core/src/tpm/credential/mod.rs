//! Binding an attestation key to a certified TPM: what TPM2_MakeCredential does, without a TPM (TPM Part 1, "Credential
//! Protection"; Part 3, TPM2_MakeCredential).
//!
//! A secret is encrypted so that only one TPM gets at it, and only if it also holds one other key:
//!
//! 1. [`EndorsementKey::from_public_area`]: the key is one with which a TPM opens nothing but what has this form.
//! 2. [`make_credential`]: a seed that only the endorsement key opens; from the seed a key for the cipher and one for an
//!    HMAC; and in the HMAC the [`Name`] of the attestation key. TPM2_ActivateCredential gives the secret out only where
//!    both keys are.
//! 3. Whoever then shows the secret has both. [`AuthTag`](crate::keylime::AuthTag) is how it is shown.
//!
//! What is still open afterwards: whether the endorsement key is that of a TPM at all. Its certificate says that.

mod derive;
mod endorsement;
mod given;
mod seed;

use std::fmt;

use zeroize::Zeroizing;

use crate::tpm::public_area::{Name, Symmetric};
use crate::tpm::reader::{Reader, StructureError};
use crate::tpm::signature::MAX_RSA;

pub use endorsement::{EndorsementKey, EndorsementKeyError};

/// Longest TPMS_ID_OBJECT (TPM Part 2, 12.4): an HMAC and an encrypted secret, each as long as a SHA-512 digest and its
/// size.
const MAX_ID_OBJECT: usize = 2 * (2 + 64);

/// Longest TPMU_ENCRYPTED_SECRET (TPM Part 2, 11.4): what RSA makes; a point takes less.
const MAX_ENCRYPTED_SECRET: usize = MAX_RSA;

/// How tpm2-tools begin what is no plain structure of the TPM: `MAGIC` and `VERSION_1` in `lib/files.c`.
const FILE_MAGIC: u32 = 0xbadc_c0de;
const FILE_VERSION: u32 = 1;

/// Encrypts `secret` for the TPM that holds both `ek` and the key of this Name. Secret and randomness are used up: neither
/// may serve twice.
///
/// # Errors
/// [`CredentialError`]: the randomness is none.
pub fn make_credential(
    ek: &EndorsementKey,
    ak: Name,
    secret: CredentialSecret,
    entropy: CredentialEntropy,
) -> Result<Credential, CredentialError> {
    let hash = ek.public_area().name_algorithm();
    let name = ak.to_bytes();
    let (seed, encrypted_secret) = seed::share(ek, entropy)?;
    let Symmetric { key_bits } = ek.cipher();
    // TPM Part 1, "Symmetric Encryption" and "HMAC" of credential protection.
    let key = derive::kdf_a(hash, &seed, b"STORAGE", &name, key_bits.into());
    let mut identity = sized(secret.as_bytes());
    derive::encrypt_cfb(&key, &mut identity);
    let hmac_bits = u32::try_from(hash.digest_len()).unwrap_or_default().saturating_mul(8);
    let hmac_key = derive::kdf_a(hash, &seed, b"INTEGRITY", b"", hmac_bits);
    let integrity = derive::hmac(hash, &hmac_key, &[&identity, &name]);
    Ok(Credential { id_object: [sized(&integrity), identity].concat(), encrypted_secret })
}

/// A TPM2B_ buffer of something shorter than 64 KiB: all that comes here is some hundred bytes.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}

/// What the owner of both keys can recover, and nobody else. As long as a SHA-256 digest: no credential may be longer
/// than the hash of the endorsement key's Name (TPM Part 3, TPM2_MakeCredential).
///
/// It is made for one credential. What is expected back, such as [`AuthTag`](crate::keylime::AuthTag), is computed before.
///
/// ```compile_fail
/// use goldseal_verifier_core::tpm::credential::CredentialSecret;
/// fn twice(secret: CredentialSecret) -> (CredentialSecret, CredentialSecret) {
///     (secret.clone(), secret)
/// }
/// ```
pub struct CredentialSecret(Zeroizing<[u8; CredentialSecret::LEN]>);

impl CredentialSecret {
    /// Its length in bytes.
    pub const LEN: usize = 32;

    /// A secret of fresh random bytes.
    pub fn new(random: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Shows nothing of it.
impl fmt::Debug for CredentialSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialSecret")
    }
}

/// Randomness for one credential: seed and padding of RSA, or the key that a point is agreed with.
///
/// ```compile_fail
/// use goldseal_verifier_core::tpm::credential::CredentialEntropy;
/// fn twice(entropy: CredentialEntropy) -> (CredentialEntropy, CredentialEntropy) {
///     (entropy.clone(), entropy)
/// }
/// ```
pub struct CredentialEntropy(Zeroizing<[u8; CredentialEntropy::LEN]>);

impl CredentialEntropy {
    /// Its length in bytes: what RSA takes at the most, two SHA-512 digests. It is also four candidates for a key on P-256
    /// and two for one on P-384.
    pub const LEN: usize = 2 * 64;

    /// Takes fresh random bytes.
    pub fn new(random: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(random))
    }
}

/// Shows nothing of it.
impl fmt::Debug for CredentialEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialEntropy")
    }
}

/// What TPM2_ActivateCredential takes. Anybody can have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    id_object: Vec<u8>,
    encrypted_secret: Vec<u8>,
}

impl Credential {
    /// Reads the file that `tpm2_makecredential` writes; Keylime's registrars send the same.
    ///
    /// # Errors
    /// [`StructureError`]: not exactly such a file.
    pub fn from_file(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut reader = Reader::new(bytes);
        for (field, expected) in [("magic", FILE_MAGIC), ("version", FILE_VERSION)] {
            let found = reader.u32(field)?;
            if found != expected {
                return Err(StructureError::Value { field, found: found.into() });
            }
        }
        let id_object = reader.sized("credential", MAX_ID_OBJECT)?.to_vec();
        let encrypted_secret = reader.sized("secret", MAX_ENCRYPTED_SECRET)?.to_vec();
        reader.finish()?;
        Ok(Self { id_object, encrypted_secret })
    }

    /// The file that [`Credential::from_file`] reads, as `tpm2_activatecredential -i` takes it.
    pub fn to_file(&self) -> Vec<u8> {
        let head = [FILE_MAGIC.to_be_bytes(), FILE_VERSION.to_be_bytes()].concat();
        [head, sized(&self.id_object), sized(&self.encrypted_secret)].concat()
    }

    /// The contents of a TPM2B_ID_OBJECT.
    pub fn id_object(&self) -> &[u8] {
        &self.id_object
    }

    /// The contents of a TPM2B_ENCRYPTED_SECRET.
    pub fn encrypted_secret(&self) -> &[u8] {
        &self.encrypted_secret
    }
}

/// Why there is no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialError {
    /// No candidate for a key in these random bytes. Of true randomness the chance is one in 2^128, so that nearly
    /// certainly the bytes are not random.
    NotRandom,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRandom => f.write_str("the bytes that should be random are not"),
        }
    }
}

impl std::error::Error for CredentialError {}
