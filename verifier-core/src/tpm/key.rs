//! Keys that sign quotes, and what is known of them.

use std::fmt;

use ring::signature as ring_signature;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};

use crate::digest::{Digest, HashAlgorithm};
use crate::tpm::algorithm::{SignatureAlgorithm, SignatureScheme};
use crate::tpm::public_area::{Attribute, Name, PublicArea, PublicAreaError};
use crate::tpm::quote::{self, ExpectedSelection, QuoteError, Sha1Signatures, VerifiedQuote};
use crate::tpm::signature::{MAX_RSA, QuoteSignature, Value};
use crate::tpm::spki::{self, SpkiError};

/// Shortest RSA modulus in bytes: 2,048 bits (NIST SP 800-131A, revision 2, section 3).
const MIN_RSA: usize = 256;

/// Smallest RSA exponent (FIPS 186-4, appendix B.3.1), and that of nearly all TPM keys.
const MIN_EXPONENT: u32 = 65_537;

/// A key whose public area says that a TPM signs with it only what it has made itself. That there is a TPM which holds
/// such a key is for enrolment to find out: whoever has only these bytes may have written them.
///
/// ```compile_fail
/// use goldseal_verifier_core::tpm::{AttestationKey, UncheckedAttestationKey};
/// fn promote(key: UncheckedAttestationKey) -> AttestationKey {
///     key.into()
/// }
/// ```
/// ```compile_fail
/// let key = goldseal_verifier_core::tpm::AttestationKey { area: todo!(), scheme: todo!() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationKey {
    area: PublicArea,
    scheme: SignatureScheme,
}

impl AttestationKey {
    /// Takes a TPM2B_PUBLIC or TPMT_PUBLIC and holds its attributes against those of an attestation key.
    ///
    /// # Errors
    /// [`AttestationKeyError`]: not a public area, or not of a restricted signing key that never leaves its TPM.
    pub fn from_public_area(bytes: &[u8]) -> Result<Self, AttestationKeyError> {
        let area = PublicArea::parse(bytes)?;
        // TPM Part 2, 8.3. Without `restricted` a key signs any digest; without the next three it may have been made
        // elsewhere, or be elsewhere too; a key that also decrypts is for storage.
        for required in [
            Attribute::Restricted,
            Attribute::Sign,
            Attribute::FixedTpm,
            Attribute::FixedParent,
            Attribute::SensitiveDataOrigin,
        ] {
            if !area.has(required) {
                return Err(AttestationKeyError::AttributeMissing(required));
            }
        }
        if area.has(Attribute::Decrypt) {
            return Err(AttestationKeyError::AttributeForbidden(Attribute::Decrypt));
        }
        // The Name stands for all of the above, so its hash has to hold.
        if area.name_algorithm() == HashAlgorithm::Sha1 {
            return Err(AttestationKeyError::WeakName);
        }
        // A TPM makes no restricted signing key without (TPM Part 2, 12.2, TPMS_ASYM_PARMS).
        let scheme = area.scheme().ok_or(AttestationKeyError::NoScheme)?;
        if !area.key().can_verify(scheme) {
            return Err(AttestationKeyError::Unsupported(scheme));
        }
        Ok(Self { area, scheme })
    }

    /// The public area.
    pub fn public_area(&self) -> &PublicArea {
        &self.area
    }

    /// The Name, computed from the public area.
    pub fn name(&self) -> Name {
        self.area.name()
    }

    /// How it signs.
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// Checks a quote: a TPMS_ATTEST, the TPMT_SIGNATURE of it, and that it is of these PCRs and for this nonce.
    ///
    /// # Errors
    /// [`QuoteError`] with the first thing that is wrong. Nothing of `attest` is looked at before the signature of its
    /// bytes is found right.
    pub fn verify_quote(
        &self,
        attest: &[u8],
        signature: &[u8],
        nonce: &[u8],
        expected: ExpectedSelection<'_>,
        sha1: Sha1Signatures,
    ) -> Result<VerifiedQuote, QuoteError> {
        let identity = AkIdentity::Proven { name: self.name() };
        quote::verify(self.area.key(), Some(self.scheme), identity, attest, signature, nonce, expected, sha1)
    }
}

/// A public key of which somebody says that it is an attestation key. Nothing proves that a TPM holds it: it may sign
/// whatever its owner likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncheckedAttestationKey {
    key: PublicKey,
}

impl UncheckedAttestationKey {
    /// Takes a PEM file with a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`SpkiError`]: not one such key, or one that must not be used.
    pub fn from_pem_unchecked(pem: &[u8]) -> Result<Self, SpkiError> {
        Self::from_spki_der_unchecked(&spki::from_pem(pem)?)
    }

    /// Takes SubjectPublicKeyInfo DER.
    ///
    /// # Errors
    /// As [`UncheckedAttestationKey::from_pem_unchecked`].
    pub fn from_spki_der_unchecked(der: &[u8]) -> Result<Self, SpkiError> {
        Ok(Self { key: spki::read(der)? })
    }

    /// SubjectPublicKeyInfo DER.
    pub fn spki_der(&self) -> Vec<u8> {
        spki::print(&self.key)
    }

    /// As [`AttestationKey::verify_quote`], under any scheme of such a key.
    ///
    /// # Errors
    /// As there.
    pub fn verify_quote(
        &self,
        attest: &[u8],
        signature: &[u8],
        nonce: &[u8],
        expected: ExpectedSelection<'_>,
        sha1: Sha1Signatures,
    ) -> Result<VerifiedQuote, QuoteError> {
        let identity = AkIdentity::Asserted { spki_sha256: Digest::sha256(&self.spki_der()) };
        quote::verify(&self.key, None, identity, attest, signature, nonce, expected, sha1)
    }
}

/// Which key signed a quote, and what is known of it. Only a check of a quote makes one.
///
/// ```compile_fail
/// use goldseal_verifier_core::tpm::{AkIdentity, Name};
/// fn forge(name: Name) -> AkIdentity {
///     AkIdentity::Proven { name }
/// }
/// ```
/// ```compile_fail
/// use goldseal_verifier_core::{digest::Digest, tpm::AkIdentity};
/// let forged = AkIdentity::Asserted { spki_sha256: Digest::sha256(b"") };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AkIdentity {
    /// The attributes of an attestation key are part of this Name.
    #[non_exhaustive]
    Proven {
        /// The key's Name.
        name: Name,
    },
    /// Somebody says that it is an attestation key.
    #[non_exhaustive]
    Asserted {
        /// SHA-256 of the key's SubjectPublicKeyInfo DER.
        spki_sha256: Digest,
    },
}

impl AkIdentity {
    /// What checkpoints are bound to. Never the same for a proven key and an asserted one: a Name is longer than a digest.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Proven { name } => name.to_bytes(),
            Self::Asserted { spki_sha256 } => spki_sha256.as_bytes().to_vec(),
        }
    }
}

impl fmt::Display for AkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven { name } => write!(f, "proven, its Name is {name}"),
            Self::Asserted { spki_sha256 } => write!(f, "asserted, the SHA-256 of its public key is {spki_sha256}"),
        }
    }
}

/// Why a public area is not that of an attestation key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttestationKeyError {
    /// It is no public area.
    PublicArea(PublicAreaError),
    /// An attestation key has this attribute, and this one does not.
    AttributeMissing(Attribute),
    /// An attestation key does not have this attribute, and this one does.
    AttributeForbidden(Attribute),
    /// Its Name is a SHA-1 digest.
    WeakName,
    /// It does not say how it signs.
    NoScheme,
    /// It signs in a way that cannot be checked here.
    Unsupported(SignatureScheme),
}

impl From<PublicAreaError> for AttestationKeyError {
    fn from(error: PublicAreaError) -> Self {
        Self::PublicArea(error)
    }
}

impl fmt::Display for AttestationKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicArea(error) => error.fmt(f),
            Self::AttributeMissing(attribute) => write!(f, "it is not an attestation key: it lacks {attribute}"),
            Self::AttributeForbidden(attribute) => write!(f, "it is not an attestation key: it has {attribute}"),
            Self::WeakName => f.write_str("its Name is a SHA-1 digest"),
            Self::NoScheme => f.write_str("it does not say how it signs"),
            Self::Unsupported(scheme) => write!(f, "it signs by {scheme}, which cannot be checked"),
        }
    }
}

impl std::error::Error for AttestationKeyError {}

/// A public key of use here. That a point is on its curve shows when a signature is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        /// From 2,048 to 4,096 bits, without a leading zero.
        modulus: Vec<u8>,
        exponent: u32,
    },
    Ecc {
        curve: Curve,
        /// Uncompressed (SEC 1, 2.3.3).
        point: Vec<u8>,
    },
}

impl PublicKey {
    pub(super) fn rsa(modulus: &[u8], exponent: u32) -> Result<Self, PublicKeyError> {
        let is_full = modulus.first().is_some_and(|first| *first >= 0x80);
        if !is_full || modulus.len() < MIN_RSA || modulus.len() > MAX_RSA {
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let top = modulus.get(zeros).map_or(8, |byte| byte.leading_zeros());
            let bytes = u32::try_from(modulus.len().saturating_sub(zeros)).unwrap_or(u32::MAX);
            return Err(PublicKeyError::ModulusLength { bits: bytes.saturating_mul(8).saturating_sub(top) });
        }
        if exponent < MIN_EXPONENT || exponent.is_multiple_of(2) {
            return Err(PublicKeyError::Exponent { found: exponent });
        }
        Ok(Self::Rsa { modulus: modulus.to_vec(), exponent })
    }

    /// An uncompressed point; `None` for anything else.
    pub(super) fn of_point(curve: Curve, point: &[u8]) -> Option<Self> {
        let coordinates = point.strip_prefix(&[UNCOMPRESSED])?;
        (coordinates.len() / 2 == curve.field_len() && coordinates.len().is_multiple_of(2))
            .then(|| Self::Ecc { curve, point: point.to_vec() })
    }

    /// A point from numbers that may lack leading zeros, as TPMs may write them.
    pub(super) fn of_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        let mut point = vec![UNCOMPRESSED];
        for coordinate in [x, y] {
            point.extend(std::iter::repeat_n(0, curve.field_len().checked_sub(coordinate.len())?));
            point.extend_from_slice(coordinate);
        }
        Some(Self::Ecc { curve, point })
    }

    /// Whether a signature by this key under this scheme can be checked at all.
    pub(super) fn can_verify(&self, scheme: SignatureScheme) -> bool {
        match self {
            Self::Rsa { .. } => rsa_parameters(scheme).is_some(),
            Self::Ecc { curve, .. } => ecdsa_algorithm(*curve, scheme).is_some(),
        }
    }

    /// Whether `signature` is this key's over exactly these bytes.
    pub(super) fn verifies(&self, message: &[u8], signature: &QuoteSignature<'_>) -> bool {
        let scheme = signature.claimed_scheme();
        match (self, signature.value) {
            (Self::Rsa { modulus, exponent }, Value::Rsa(value)) => rsa_parameters(scheme).is_some_and(|parameters| {
                let exponent = exponent.to_be_bytes();
                let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
                let exponent = exponent.get(zeros..).unwrap_or_default();
                RsaPublicKeyComponents { n: modulus.as_slice(), e: exponent }.verify(parameters, message, value).is_ok()
            }),
            (Self::Ecc { curve, point }, Value::Ecc { r, s }) => {
                ecdsa_algorithm(*curve, scheme).is_some_and(|algorithm| {
                    // Ecdsa-Sig-Value (RFC 3279, section 2.2.3): of the encodings that ring takes, the one that it
                    // takes for all combinations of curve and hash.
                    let value = spki::sequence(&[spki::integer(r), spki::integer(s)].concat());
                    UnparsedPublicKey::new(algorithm, point).verify(message, &value).is_ok()
                })
            }
            _ => false,
        }
    }
}

/// First byte of an uncompressed point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 0x04;

fn rsa_parameters(scheme: SignatureScheme) -> Option<&'static ring_signature::RsaParameters> {
    match (scheme.algorithm, scheme.hash) {
        (SignatureAlgorithm::RsaSsa, HashAlgorithm::Sha1) => {
            Some(&ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY)
        }
        (SignatureAlgorithm::RsaSsa, HashAlgorithm::Sha256) => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA256),
        (SignatureAlgorithm::RsaSsa, HashAlgorithm::Sha384) => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA384),
        (SignatureAlgorithm::RsaSsa, HashAlgorithm::Sha512) => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA512),
        (SignatureAlgorithm::RsaPss, HashAlgorithm::Sha256) => Some(&ring_signature::RSA_PSS_2048_8192_SHA256),
        (SignatureAlgorithm::RsaPss, HashAlgorithm::Sha384) => Some(&ring_signature::RSA_PSS_2048_8192_SHA384),
        (SignatureAlgorithm::RsaPss, HashAlgorithm::Sha512) => Some(&ring_signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

fn ecdsa_algorithm(
    curve: Curve,
    scheme: SignatureScheme,
) -> Option<&'static ring_signature::EcdsaVerificationAlgorithm> {
    match (scheme.algorithm, curve, scheme.hash) {
        (SignatureAlgorithm::Ecdsa, Curve::P256, HashAlgorithm::Sha256) => {
            Some(&ring_signature::ECDSA_P256_SHA256_ASN1)
        }
        (SignatureAlgorithm::Ecdsa, Curve::P256, HashAlgorithm::Sha384) => {
            Some(&ring_signature::ECDSA_P256_SHA384_ASN1)
        }
        (SignatureAlgorithm::Ecdsa, Curve::P384, HashAlgorithm::Sha256) => {
            Some(&ring_signature::ECDSA_P384_SHA256_ASN1)
        }
        (SignatureAlgorithm::Ecdsa, Curve::P384, HashAlgorithm::Sha384) => {
            Some(&ring_signature::ECDSA_P384_SHA384_ASN1)
        }
        _ => None,
    }
}

/// Curves of attestation and endorsement keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Curve {
    /// NIST P-256 (FIPS 186-4, D.1.2.3).
    P256,
    /// NIST P-384 (FIPS 186-4, D.1.2.4).
    P384,
}

impl Curve {
    /// The curve of this TPM_ECC_CURVE (TPM Part 2, 6.4).
    pub(super) fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0003 => Some(Self::P256),
            0x0004 => Some(Self::P384),
            _ => None,
        }
    }

    /// Bytes of a coordinate.
    pub(super) fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

/// Why a public key must not be used, whatever it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// An RSA modulus below 2,048 bits, above 4,096, or not of whole bytes.
    ModulusLength {
        /// Its length.
        bits: u32,
    },
    /// An RSA exponent that is even or below 65,537.
    Exponent {
        /// Its value.
        found: u32,
    },
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ModulusLength { bits } => write!(f, "its modulus has {bits} bits; from 2048 to 4096 are believed"),
            Self::Exponent { found } => write!(f, "its exponent is {found}; odd ones from 65537 are believed"),
        }
    }
}

impl std::error::Error for PublicKeyError {}
