//! Key files as text: PEM (RFC 7468), which algorithm a key is of, and SubjectPublicKeyInfo (RFC 5280, RFC 8410).
//!
//! Promises: bounded time and memory for a hostile file. Private keys are told apart here and never read.

use std::fmt;

use goldseal_verifier_core::key::{KeyError, PublicKey};
use spki::der::Decode;
use spki::der::pem::{self, LineEnding};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::{SPKI_LEN, ssh};

/// Reads a public key, SubjectPublicKeyInfo PEM or a line of OpenSSH, and returns its SubjectPublicKeyInfo DER.
///
/// # Errors
/// [`KeyFileError`]; a point of small order is [`KeyFileError::Weak`].
pub fn parse_public(file: &[u8]) -> Result<[u8; SPKI_LEN], KeyFileError> {
    if let Some(parsed) = ssh::parse_public(file) {
        return parsed;
    }
    let (label, der) = decode_pem(file)?;
    if label != "PUBLIC KEY" {
        return Err(wrong_content(label));
    }
    let info = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| KeyFileError::Malformed)?;
    check_algorithm(&info.algorithm)?;
    let key = PublicKey::from_spki_der(&der).map_err(|error| match error {
        KeyError::NotOnCurve => KeyFileError::NotOnCurve,
        KeyError::Weak => KeyFileError::Weak,
        // The algorithm is right, so its encoding is not.
        _ => KeyFileError::Malformed,
    })?;
    Ok(key.spki_der())
}

/// The public key as a file.
pub fn public_pem(spki: &[u8; SPKI_LEN]) -> String {
    encode_pem("PUBLIC KEY", spki)
}

/// Why a key file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFileError {
    /// No PEM at all.
    NotPem,
    /// PEM of something else.
    WrongContent {
        /// What it holds, with its article.
        found: &'static str,
    },
    /// PEM that is cut off or damaged, or a key that is not encoded as the standards say.
    Malformed,
    /// A key of another algorithm.
    NotEd25519 {
        /// Which, with its article.
        found: String,
    },
    /// Encrypted in a way that is not read here.
    UnsupportedEncryption,
    /// Trying one passphrase would take more time or memory than any honest file asks for.
    TooCostly,
    /// The passphrase does not open it.
    WrongPassphrase,
    /// The public key that the file carries is not that of its private key.
    PublicKeyMismatch,
    /// The public key is no point of the curve.
    NotOnCurve,
    /// The public key is a point of small order: one signature under it fits many messages.
    Weak,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPem => f.write_str("this is not a PEM file"),
            Self::WrongContent { found } => write!(f, "this is {found}"),
            Self::Malformed => f.write_str("this key file is damaged or cut off"),
            Self::NotEd25519 { found } => write!(f, "this is {found}; goldseal seals with ed25519"),
            Self::UnsupportedEncryption => f.write_str("this key is encrypted in a way that goldseal does not read"),
            Self::TooCostly => f.write_str("opening this key would cost more time or memory than any honest key does"),
            Self::WrongPassphrase => f.write_str("the passphrase is wrong (or the key file is damaged)"),
            Self::PublicKeyMismatch => f.write_str("the public key in this file is not that of its private key"),
            Self::NotOnCurve => f.write_str("this is no valid ed25519 key: its bytes are no point of the curve"),
            Self::Weak => f.write_str("this is a weak key (a point of small order): anybody could seal under it"),
        }
    }
}

impl std::error::Error for KeyFileError {}

/// Whether there is PEM of anything in it.
pub fn is_pem(file: &[u8]) -> bool {
    find(file, PEM_BEGIN).is_some()
}

/// The one PEM block of a file: its label, and what it encodes if that is a key as goldseal reads them.
///
/// # Errors
/// [`KeyFileError::NotPem`], [`KeyFileError::Malformed`]; also if there are two, since which is meant cannot be known.
pub fn decode_pem(file: &[u8]) -> Result<(&str, Zeroizing<Vec<u8>>), KeyFileError> {
    if !is_pem(file) {
        return Err(KeyFileError::NotPem);
    }
    let (block, rest) = first_block(file).ok_or(KeyFileError::Malformed)?;
    // The label first: the older formats have header lines, on which the decoder would stop without naming them.
    let label = pem::decode_label(block).map_err(|_| KeyFileError::Malformed)?;
    if !matches!(label, "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "PUBLIC KEY") {
        return Ok((label, Zeroizing::default()));
    }
    // Which of two keys is meant cannot be known.
    if find(rest, PEM_BEGIN).is_some() {
        return Err(KeyFileError::Malformed);
    }
    let mut decoder = pem::Decoder::new_detect_wrap(block).map_err(|_| KeyFileError::Malformed)?;
    let mut der = Zeroizing::new(Vec::with_capacity(decoder.remaining_len()));
    decoder.decode_to_end(&mut der).map_err(|_| KeyFileError::Malformed)?;
    Ok((label, der))
}

/// What ends with the first END line, and what stands behind it: text there, too, is ignored (RFC 7468, section 2).
fn first_block(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = find(file, PEM_END)?;
    let length = file[end..].iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(file.len() - end);
    Some(file.split_at(end + length))
}

fn find(file: &[u8], line: &[u8]) -> Option<usize> {
    file.windows(line.len()).position(|window| window == line)
}

/// PEM of a key.
pub fn encode_pem(label: &'static str, der: &[u8]) -> String {
    pem::encode_string(label, LineEnding::LF, der).expect("a few hundred bytes under a valid label")
}

/// What there is under a label, where another belongs.
pub fn wrong_content(label: &str) -> KeyFileError {
    let foreign = |found: &str| KeyFileError::NotEd25519 { found: found.to_owned() };
    let found = match label {
        "RSA PRIVATE KEY" | "RSA PUBLIC KEY" => return foreign("an RSA key"),
        "EC PRIVATE KEY" | "EC PARAMETERS" => return foreign("an EC key"),
        "DSA PRIVATE KEY" => return foreign("a DSA key"),
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => "a private key, where a public key belongs",
        "PUBLIC KEY" => "a public key, where the private key belongs",
        "OPENSSH PRIVATE KEY" => OPENSSH_PRIVATE,
        "CERTIFICATE" | "TRUSTED CERTIFICATE" => "a certificate, not a key",
        _ => "PEM of something that is not a key",
    };
    KeyFileError::WrongContent { found }
}

/// Fails if it is a key of another algorithm.
///
/// # Errors
/// [`KeyFileError::NotEd25519`], [`KeyFileError::Malformed`].
pub fn check_algorithm(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), KeyFileError> {
    let found = match algorithm.oid.to_string().as_str() {
        // RFC 8410, section 3: the parameters are absent.
        "1.3.101.112" if algorithm.parameters.is_none() => return Ok(()),
        "1.3.101.112" => return Err(KeyFileError::Malformed),
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => "an RSA key".to_owned(),
        "1.2.840.10045.2.1" => match algorithm.parameters_oid() {
            Ok(P256) => "a P-256 key".to_owned(),
            Ok(P384) => "a P-384 key".to_owned(),
            _ => "an EC key".to_owned(),
        },
        "1.2.840.10040.4.1" => "a DSA key".to_owned(),
        "1.3.101.110" => "an X25519 key".to_owned(),
        "1.3.101.111" => "an X448 key".to_owned(),
        "1.3.101.113" => "an Ed448 key".to_owned(),
        oid => format!("a key of algorithm {oid}"),
    };
    Err(KeyFileError::NotEd25519 { found })
}

/// What [`KeyFileError::WrongContent`] calls a key that ssh-keygen made.
pub const OPENSSH_PRIVATE: &str = "a private key in OpenSSH's own format";

/// How PEM begins.
pub const PEM_BEGIN: &[u8] = b"-----BEGIN ";
const PEM_END: &[u8] = b"-----END ";

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

#[cfg(test)]
mod tests {
    use spki::der::Encode;
    use spki::der::asn1::{BitStringRef, Null};

    use super::*;
    use crate::public_key::spki_der;

    #[test]
    fn parameters_that_the_rfc_does_not_allow_are_refused() {
        let oid = ObjectIdentifier::new_unwrap("1.3.101.112");
        let info = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters: Some(Null.into()) },
            subject_public_key: BitStringRef::from_bytes(&[7; 32]).unwrap(),
        };
        let file = encode_pem("PUBLIC KEY", &info.to_der().unwrap());
        assert_eq!(parse_public(file.as_bytes()), Err(KeyFileError::Malformed));
    }

    /// Every encoding of the eight points whose order divides 8, canonical ones first.
    #[test]
    fn points_of_small_order_are_refused() {
        let point = |first: u8, middle: u8, last: u8| {
            let mut point = [middle; 32];
            (point[0], point[31]) = (first, last);
            point
        };
        let order_8 = |last: u8| {
            let mut point = *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\
                \xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05";
            point[31] = last;
            point
        };
        let other_order_8 = |last: u8| {
            let mut point = *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\
                \x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a";
            point[31] = last;
            point
        };
        let file = |point: [u8; 32]| public_pem(&spki_der(&point));
        for canonical in [
            point(0x01, 0x00, 0x00),
            point(0xec, 0xff, 0x7f),
            point(0x00, 0x00, 0x00),
            point(0x00, 0x00, 0x80),
            order_8(0x05),
            order_8(0x85),
            other_order_8(0x7a),
            other_order_8(0xfa),
        ] {
            assert_eq!(parse_public(file(canonical).as_bytes()), Err(KeyFileError::Weak), "{canonical:02x?}");
        }
        for other in [
            point(0x01, 0x00, 0x80),
            point(0xec, 0xff, 0xff),
            point(0xed, 0xff, 0x7f),
            point(0xed, 0xff, 0xff),
            point(0xee, 0xff, 0x7f),
            point(0xee, 0xff, 0xff),
        ] {
            let error = parse_public(file(other).as_bytes()).unwrap_err();
            assert!(matches!(error, KeyFileError::Weak | KeyFileError::NotOnCurve), "{other:02x?}: {error}");
        }
        assert_eq!(parse_public(file(point(2, 0, 0)).as_bytes()), Err(KeyFileError::NotOnCurve));
    }
}
