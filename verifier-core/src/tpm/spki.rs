//! Public keys as SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), DER or PEM, each with exactly one encoding.

use std::fmt;

use base64ct::{Base64, Encoding};
use spki::SubjectPublicKeyInfo;
use spki::der::Reader as _;
use spki::der::asn1::{AnyRef, BitStringRef, UintRef};

use crate::tpm::key::{Curve, PublicKey, PublicKeyError};

/// Longest PEM file of a public key that is read: an RSA key of 4,096 bits takes 800 bytes.
const MAX_PEM: usize = 4_096;

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// AlgorithmIdentifier of RSA: rsaEncryption, NULL (RFC 3279, section 2.3.1).
const RSA_ALGORITHM: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// SubjectPublicKeyInfo of a key on P-256 or P-384 (RFC 5480, section 2): this prefix, then the uncompressed point.
const P256_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_PREFIX: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The DER in a PEM file (RFC 7468, section 13) that holds one public key and nothing else.
pub(super) fn from_pem(pem: &[u8]) -> Result<Vec<u8>, SpkiError> {
    if pem.len() > MAX_PEM {
        return Err(SpkiError::TooLong { found: pem.len(), max: MAX_PEM });
    }
    let text = std::str::from_utf8(pem).map_err(|_| SpkiError::NotPem)?.trim_ascii();
    let body = text.strip_prefix(PEM_BEGIN).and_then(|text| text.strip_suffix(PEM_END));
    let base64: String = body.ok_or(SpkiError::NotPem)?.lines().collect();
    Base64::decode_vec(&base64).map_err(|_| SpkiError::NotPem)
}

/// Reads a key that is of use here.
pub(super) fn read(der: &[u8]) -> Result<PublicKey, SpkiError> {
    for (curve, prefix) in [(Curve::P256, P256_PREFIX), (Curve::P384, P384_PREFIX)] {
        if let Some(point) = der.strip_prefix(prefix) {
            return PublicKey::of_point(curve, point).ok_or(SpkiError::NotAKey);
        }
    }
    let (modulus, exponent) = rsa_parts(der).ok_or(SpkiError::NotAKey)?;
    let key = PublicKey::rsa(modulus, exponent)?;
    // What was left unread above, and other encodings of the same key.
    if print(&key) != der {
        return Err(SpkiError::NotAKey);
    }
    Ok(key)
}

fn rsa_parts(der: &[u8]) -> Option<(&[u8], u32)> {
    type Spki<'a> = SubjectPublicKeyInfo<AnyRef<'a>, BitStringRef<'a>>;
    let spki = Spki::try_from(der).ok()?;
    let key = AnyRef::try_from(spki.subject_public_key.as_bytes()?).ok()?;
    // RSAPublicKey (RFC 8017, appendix A.1.1).
    let (modulus, exponent) = key
        .sequence(|reader| -> spki::der::Result<_> { Ok((reader.decode::<UintRef<'_>>()?, reader.decode::<u32>()?)) })
        .ok()?;
    Some((modulus.as_bytes(), exponent))
}

/// SubjectPublicKeyInfo DER.
pub(super) fn print(key: &PublicKey) -> Vec<u8> {
    match key {
        PublicKey::Ecc { curve: Curve::P256, point } => [P256_PREFIX, point].concat(),
        PublicKey::Ecc { curve: Curve::P384, point } => [P384_PREFIX, point].concat(),
        PublicKey::Rsa { modulus, exponent } => {
            let parts = [integer(modulus), integer(&exponent.to_be_bytes())].concat();
            let bits = tlv(BIT_STRING, &[&[0], tlv(SEQUENCE, &parts).as_slice()].concat());
            tlv(SEQUENCE, &[RSA_ALGORITHM, &bits].concat())
        }
    }
}

/// DER of a positive INTEGER.
pub(super) fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits: Vec<u8> = number.iter().copied().skip(zeros).collect();
    match digits.first() {
        Some(first) if *first < 0x80 => tlv(INTEGER, &digits),
        _ => tlv(INTEGER, &[&[0], digits.as_slice()].concat()),
    }
}

/// DER of a SEQUENCE.
pub(super) fn sequence(contents: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, contents)
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits: Vec<u8> = length.into_iter().skip(zeros).collect();
    let mut encoding = vec![tag];
    match digits.as_slice() {
        [] => encoding.push(0),
        [short] if *short < 0x80 => encoding.push(*short),
        long => {
            // At most eight: a length is a usize.
            encoding.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            encoding.extend_from_slice(long);
        }
    }
    encoding.extend_from_slice(contents);
    encoding
}

/// Why a PEM file or DER is no key of use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpkiError {
    /// Longer than a public key.
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Not one PEM block `PUBLIC KEY` and nothing else.
    NotPem,
    /// Not the one DER encoding of an RSA key, or of a key on P-256 or P-384.
    NotAKey,
    /// A key that must not be used.
    Key(PublicKeyError),
}

impl From<PublicKeyError> for SpkiError {
    fn from(error: PublicKeyError) -> Self {
        Self::Key(error)
    }
}

impl fmt::Display for SpkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { found, max } => write!(f, "it has {found} bytes, and a public key at most {max}"),
            Self::NotPem => f.write_str("it is not one PEM block PUBLIC KEY"),
            Self::NotAKey => f.write_str("it is not an RSA key, nor one on P-256 or P-384"),
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SpkiError {}
