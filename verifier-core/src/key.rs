//! Keys that check seals. The keys that make seals are not known here.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::hex;

/// Length of an Ed25519 signature in bytes (RFC 8032, section 5.1.6).
pub const SIGNATURE_LEN: usize = 64;

/// SubjectPublicKeyInfo DER of an Ed25519 key (RFC 8410, section 4): this prefix, then the 32 bytes of the key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const SPKI_LEN: usize = 44;

/// An Ed25519 public key that is not weak. Having one says nothing about who owns it or whether it is trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads SubjectPublicKeyInfo DER (RFC 8410, section 4).
    ///
    /// # Errors
    /// [`KeyError`] for any other kind of key, for bytes that are no point of the curve in its one encoding, and for a
    /// point of small order, under which one signature fits many messages (RFC 8032, section 5.1.7; strict
    /// verification).
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let point = der.strip_prefix(&SPKI_PREFIX).ok_or(KeyError::NotEd25519)?;
        let point = <[u8; 32]>::try_from(point).map_err(|_| KeyError::NotEd25519)?;
        let key = VerifyingKey::from_bytes(&point).map_err(|_| KeyError::NotOnCurve)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        // Decompression takes a y of p to 2^255 - 1 too; RFC 8032, section 5.1.3, does not.
        if key.to_edwards().compress().to_bytes() != point {
            return Err(KeyError::NotOnCurve);
        }
        Ok(Self(key))
    }

    /// SubjectPublicKeyInfo DER.
    pub fn spki_der(&self) -> [u8; SPKI_LEN] {
        let mut der = [0; SPKI_LEN];
        for (byte, value) in der.iter_mut().zip(SPKI_PREFIX.into_iter().chain(self.0.to_bytes())) {
            *byte = value;
        }
        der
    }

    /// The key id: SHA-256 of the SubjectPublicKeyInfo DER (docs/format.md, Signatures 2).
    pub fn key_id(&self) -> KeyId {
        KeyId(Sha256::digest(self.spki_der()).into())
    }

    /// Whether `signature` is this key's over `message`: the strict rules of RFC 8032, section 5.1.7, with S < L,
    /// canonical encodings, and neither R nor the key of small order.
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

/// Why a public key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the SubjectPublicKeyInfo of an Ed25519 key.
    NotEd25519,
    /// Its bytes encode no point of the curve, or not in the one way there is.
    NotOnCurve,
    /// A point of small order.
    Weak,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotEd25519 => "it is not an Ed25519 public key",
            Self::NotOnCurve => "its bytes are no point of the Ed25519 curve",
            Self::Weak => "it is a weak key (a point of small order)",
        })
    }
}

impl std::error::Error for KeyError {}

/// SHA-256 of a key's SubjectPublicKeyInfo DER: a hint for finding the key, never a reason to trust it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// Reads 64 lower-case hex digits.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut id = [0; 32];
        hex::decode_lower(text, &mut id)?;
        Some(Self(id))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const RFC_KEY: [u8; 32] = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
        0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ];

    fn spki(point: [u8; 32]) -> Vec<u8> {
        [&SPKI_PREFIX[..], &point].concat()
    }

    #[test]
    fn survives_der() {
        let key = PublicKey::from_spki_der(&spki(RFC_KEY));
        assert_eq!(key.map(|key| key.spki_der().to_vec()), Ok(spki(RFC_KEY)));
    }

    /// y = 3 is that of a point of large order; 3 + p means the same and is another key id.
    #[test]
    fn a_point_has_one_encoding() {
        let mut point = [0; 32];
        point[0] = 3;
        assert!(PublicKey::from_spki_der(&spki(point)).is_ok());
        let mut other = [0xff; 32];
        (other[0], other[31]) = (0xf0, 0x7f);
        assert_eq!(PublicKey::from_spki_der(&spki(other)), Err(KeyError::NotOnCurve));
    }

    #[test]
    fn weak_and_foreign_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_spki_der(&spki(identity)), Err(KeyError::Weak));
        assert_eq!(PublicKey::from_spki_der(&spki([0; 32])), Err(KeyError::Weak));
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(PublicKey::from_spki_der(&spki(off_curve)), Err(KeyError::NotOnCurve));
        let mut longer = spki(RFC_KEY);
        longer.push(0);
        assert_eq!(PublicKey::from_spki_der(&longer), Err(KeyError::NotEd25519));
        let mut x25519 = spki(RFC_KEY);
        x25519[8] = 0x6e;
        assert_eq!(PublicKey::from_spki_der(&x25519), Err(KeyError::NotEd25519));
    }

    /// RFC 8032, section 7.1, test 1: the signature of nothing.
    const RFC_SIGNATURE: [u8; 64] = [
        0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72, 0x90, 0x86, 0xe2, 0xcc, 0x80, 0x6e, 0x82, 0x8a, 0x84, 0x87,
        0x7f, 0x1e, 0xb8, 0xe5, 0xd9, 0x74, 0xd8, 0x73, 0xe0, 0x65, 0x22, 0x49, 0x01, 0x55, 0x5f, 0xb8, 0x82, 0x15,
        0x90, 0xa3, 0x3b, 0xac, 0xc6, 0x1e, 0x39, 0x70, 0x1c, 0xf9, 0xb4, 0x6b, 0xd2, 0x5b, 0xf5, 0xf0, 0x59, 0x5b,
        0xbe, 0x24, 0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b,
    ];

    #[test]
    fn a_signature_is_over_these_bytes_and_has_one_spelling() {
        let key = PublicKey::from_spki_der(&spki(RFC_KEY)).unwrap();
        assert!(key.verifies(b"", &RFC_SIGNATURE));
        assert!(!key.verifies(b"x", &RFC_SIGNATURE));
        // S + L is the same scalar (RFC 8032, section 5.1.7, step 1 refuses it).
        let order = [
            0xed_u8, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut malleable = RFC_SIGNATURE;
        let mut carry = 0;
        for (byte, add) in malleable[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_ne!(malleable, RFC_SIGNATURE);
        assert!(!key.verifies(b"", &malleable));
    }

    /// As `openssl pkey -pubin -outform DER | sha256sum` prints it.
    #[test]
    fn a_key_id_is_the_hash_of_the_der() {
        let key = PublicKey::from_spki_der(&spki(RFC_KEY)).unwrap();
        let id = "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9";
        assert_eq!(key.key_id().to_string(), id);
        assert_eq!(KeyId::from_hex(id.as_bytes()), Some(key.key_id()));
        assert_eq!(format!("{key:?} {:?}", key.key_id()), format!("PublicKey({id}) KeyId({id})"));
        for bad in [id.trim_start_matches('0'), &id.to_uppercase(), ""] {
            assert_eq!(KeyId::from_hex(bad.as_bytes()), None);
        }
    }

    #[test]
    fn refusals_are_told() {
        for (error, text) in [
            (KeyError::NotEd25519, "it is not an Ed25519 public key"),
            (KeyError::NotOnCurve, "its bytes are no point of the Ed25519 curve"),
            (KeyError::Weak, "it is a weak key (a point of small order)"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
