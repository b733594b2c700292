//! Keys under which credentials are made.

use std::fmt;

use rsa::BoxedUint;

use crate::digest::{Digest, HashAlgorithm};
use crate::tpm::algorithm::SignatureScheme;
use crate::tpm::key::{Curve, PublicKey};
use crate::tpm::public_area::{Attribute, PublicArea, PublicAreaError, Symmetric};

/// A key whose public area says that a TPM opens with it only what has a TPM's form. That a TPM holds it is what its
/// certificate says, not these bytes.
///
/// ```compile_fail
/// use goldseal_verifier_core::tpm::{PublicArea, credential::EndorsementKey};
/// fn promote(area: PublicArea) -> EndorsementKey {
///     area.into()
/// }
/// ```
/// ```compile_fail
/// let key = goldseal_verifier_core::tpm::credential::EndorsementKey { area: todo!(), cipher: todo!(), key: todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct EndorsementKey {
    area: PublicArea,
    cipher: Symmetric,
    pub(super) key: EncryptionKey,
}

/// The public key, ready for use.
#[derive(Clone, Debug)]
pub(super) enum EncryptionKey {
    Rsa(Box<rsa::PublicKey>),
    P256(p256::PublicKey),
    P384(p384::PublicKey),
}

impl EndorsementKey {
    /// Takes a TPM2B_PUBLIC or TPMT_PUBLIC and holds it against what the TCG EK Credential Profile (section 2.1.5) and
    /// TPM2_MakeCredential demand of such a key.
    ///
    /// # Errors
    /// [`EndorsementKeyError`]: not a public area, or not of a storage key that never leaves its TPM.
    pub fn from_public_area(bytes: &[u8]) -> Result<Self, EndorsementKeyError> {
        let area = PublicArea::parse(bytes)?;
        // Without `restricted` a key opens anything, for whoever may use it; without the last three it may have been made
        // elsewhere, or be elsewhere too.
        for required in [
            Attribute::Restricted,
            Attribute::Decrypt,
            Attribute::FixedTpm,
            Attribute::FixedParent,
            Attribute::SensitiveDataOrigin,
        ] {
            if !area.has(required) {
                return Err(EndorsementKeyError::AttributeMissing(required));
            }
        }
        if area.has(Attribute::Sign) {
            return Err(EndorsementKeyError::AttributeForbidden(Attribute::Sign));
        }
        // The Name's hash is also that of the padding, of the derivation of keys and of the HMAC.
        if area.name_algorithm() == HashAlgorithm::Sha1 {
            return Err(EndorsementKeyError::WeakName);
        }
        if let Some(scheme) = area.scheme() {
            return Err(EndorsementKeyError::Signs(scheme));
        }
        let cipher = area.symmetric().ok_or(EndorsementKeyError::NoCipher)?;
        if !matches!(cipher.key_bits, 128 | 192 | 256) {
            return Err(EndorsementKeyError::UnknownCipher { key_bits: cipher.key_bits });
        }
        let key = EncryptionKey::of(area.key()).ok_or(EndorsementKeyError::NotAKey)?;
        Ok(Self { area, cipher, key })
    }

    /// The public area.
    pub fn public_area(&self) -> &PublicArea {
        &self.area
    }

    /// SHA-256 of the SubjectPublicKeyInfo DER: how operators name an endorsement key, and what
    /// `openssl pkey -pubin -outform DER | sha256sum` shows of one.
    pub fn sha256(&self) -> Digest {
        Digest::sha256(&self.area.spki_der())
    }

    pub(super) fn cipher(&self) -> Symmetric {
        self.cipher
    }
}

impl EncryptionKey {
    /// `None` if the numbers are no key.
    fn of(key: &PublicKey) -> Option<Self> {
        match key {
            PublicKey::Rsa { modulus, exponent } => {
                let bits = u32::try_from(modulus.len()).ok()?.checked_mul(8)?;
                let modulus = BoxedUint::from_be_slice(modulus, bits).ok()?;
                let exponent = BoxedUint::from_be_slice(&exponent.to_be_bytes(), u32::BITS).ok()?;
                Some(Self::Rsa(Box::new(rsa::PublicKey::new(modulus, exponent).ok()?)))
            }
            // That the point is on its curve is checked here.
            PublicKey::Ecc { curve: Curve::P256, point } => {
                p256::PublicKey::from_sec1_bytes(point).ok().map(Self::P256)
            }
            PublicKey::Ecc { curve: Curve::P384, point } => {
                p384::PublicKey::from_sec1_bytes(point).ok().map(Self::P384)
            }
        }
    }
}

/// Why a public area is not that of an endorsement key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndorsementKeyError {
    /// It is no public area.
    PublicArea(PublicAreaError),
    /// An endorsement key has this attribute, and this one does not.
    AttributeMissing(Attribute),
    /// An endorsement key does not have this attribute, and this one does.
    AttributeForbidden(Attribute),
    /// Its Name is a SHA-1 digest.
    WeakName,
    /// It has a scheme by which to sign.
    Signs(SignatureScheme),
    /// It has no cipher, as storage keys have.
    NoCipher,
    /// There is no AES with such keys.
    UnknownCipher {
        /// Bits of its key.
        key_bits: u16,
    },
    /// Its numbers are no public key: a point that is not on its curve, or an even modulus.
    NotAKey,
}

impl From<PublicAreaError> for EndorsementKeyError {
    fn from(error: PublicAreaError) -> Self {
        Self::PublicArea(error)
    }
}

impl fmt::Display for EndorsementKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicArea(error) => error.fmt(f),
            Self::AttributeMissing(attribute) => write!(f, "it is not an endorsement key: it lacks {attribute}"),
            Self::AttributeForbidden(attribute) => write!(f, "it is not an endorsement key: it has {attribute}"),
            Self::WeakName => f.write_str("its Name is a SHA-1 digest"),
            Self::Signs(scheme) => write!(f, "it is not an endorsement key: it signs by {scheme}"),
            Self::NoCipher => f.write_str("it is not an endorsement key: it has no cipher"),
            Self::UnknownCipher { key_bits } => write!(f, "its cipher has keys of {key_bits} bits, which AES has not"),
            Self::NotAKey => f.write_str("its numbers are no public key"),
        }
    }
}

impl std::error::Error for EndorsementKeyError {}
