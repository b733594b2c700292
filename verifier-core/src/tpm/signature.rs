//! What a TPM signs with a quote's key: TPMT_SIGNATURE (TPM Part 2, 11.3).

use crate::tpm::algorithm::{self, SignatureAlgorithm, SignatureScheme};
use crate::tpm::reader::{Reader, StructureError};

/// Longest RSA signature or modulus in bytes: TPM2_MAX_RSA_KEY_BYTES of the TSS 2.0 headers, 4,096 bits.
pub(super) const MAX_RSA: usize = 512;

/// Longest number of an elliptic curve in bytes: P-384 is the largest curve known here.
pub(super) const MAX_ECC: usize = 48;

/// Longest TPMT_SIGNATURE: that of RSA. One on a curve takes less.
pub(crate) const MAX_SIGNATURE: usize = 2 + 2 + (2 + MAX_RSA);

/// A signature, before anybody has checked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteSignature<'a> {
    scheme: SignatureScheme,
    pub(super) value: Value<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// TPMS_SIGNATURE_RSA.
    Rsa(&'a [u8]),
    /// TPMS_SIGNATURE_ECC. TPMs may leave out leading zeros.
    Ecc { r: &'a [u8], s: &'a [u8] },
}

impl<'a> QuoteSignature<'a> {
    /// Reads a TPMT_SIGNATURE.
    ///
    /// # Errors
    /// [`StructureError`]: not exactly one, or of an algorithm with which no quote is signed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StructureError> {
        let mut reader = Reader::new(bytes);
        let id = reader.u16("sigAlg")?;
        let algorithm =
            SignatureAlgorithm::from_id(id).ok_or(StructureError::UnknownAlgorithm { field: "sigAlg", id })?;
        let hash = algorithm::read_hash(&mut reader, "signature.hash")?;
        let value = match algorithm {
            SignatureAlgorithm::RsaSsa | SignatureAlgorithm::RsaPss => {
                Value::Rsa(reader.sized("signature.sig", MAX_RSA)?)
            }
            SignatureAlgorithm::Ecdsa => Value::Ecc {
                r: reader.sized("signature.signatureR", MAX_ECC)?,
                s: reader.sized("signature.signatureS", MAX_ECC)?,
            },
        };
        reader.finish()?;
        Ok(Self { scheme: SignatureScheme { algorithm, hash }, value })
    }

    /// How it says it was made.
    pub fn claimed_scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::HashAlgorithm;

    #[test]
    fn each_kind_is_read_to_its_end() {
        let ecdsa = QuoteSignature::parse(b"\0\x18\0\x0b\0\x01r\0\x02ss").unwrap();
        assert_eq!(ecdsa.value, Value::Ecc { r: b"r", s: b"ss" });
        assert_eq!(
            ecdsa.claimed_scheme(),
            SignatureScheme { algorithm: SignatureAlgorithm::Ecdsa, hash: HashAlgorithm::Sha256 }
        );
        let pss = QuoteSignature::parse(b"\0\x16\0\x0c\0\x01x").unwrap();
        assert_eq!(pss.value, Value::Rsa(b"x"));
        assert_eq!(pss.claimed_scheme().to_string(), "RSAPSS with sha384");
        let refused: [(&[u8], StructureError); 6] = [
            (b"\0\x14\0\x0b\0\x01xy", StructureError::Trailing { count: 1 }),
            (b"\0\x14\0\x0b\0\x02x", StructureError::Truncated { field: "signature.sig" }),
            (b"\0\x14\0\x0b\x02\x01", StructureError::TooLong { field: "signature.sig", found: 513, max: 512 }),
            (b"\0\x18\0\x0b\0\x31", StructureError::TooLong { field: "signature.signatureR", found: 49, max: 48 }),
            // ECDAA, which has one more field; and SHA3-256.
            (b"\0\x1a\0\x0b\0\0", StructureError::UnknownAlgorithm { field: "sigAlg", id: 0x1a }),
            (b"\0\x14\0\x27\0\x01x", StructureError::UnknownAlgorithm { field: "signature.hash", id: 0x27 }),
        ];
        for (bytes, error) in refused {
            assert_eq!(QuoteSignature::parse(bytes), Err(error));
        }
    }
}
