//! Algorithm numbers (TPM Part 2, 6.3, TPM_ALG_ID; values of the TCG Algorithm Registry), as far as attestation and
//! endorsement keys use them.

use std::fmt;

use crate::digest::HashAlgorithm;
use crate::tpm::reader::{Reader, StructureError};

pub(super) const RSA: u16 = 0x0001;
pub(super) const KEYEDHASH: u16 = 0x0008;
pub(super) const AES: u16 = 0x0006;
pub(super) const NULL: u16 = 0x0010;
pub(super) const RSASSA: u16 = 0x0014;
pub(super) const RSAPSS: u16 = 0x0016;
pub(super) const ECDSA: u16 = 0x0018;
pub(super) const ECC: u16 = 0x0023;
pub(super) const SYMCIPHER: u16 = 0x0025;
pub(super) const CFB: u16 = 0x0043;

const HASHES: [(u16, HashAlgorithm); 4] = [
    (0x0004, HashAlgorithm::Sha1),
    (0x000b, HashAlgorithm::Sha256),
    (0x000c, HashAlgorithm::Sha384),
    (0x000d, HashAlgorithm::Sha512),
];

/// A TPMI_ALG_HASH that is not TPM_ALG_NULL.
pub(super) fn read_hash(reader: &mut Reader<'_>, field: &'static str) -> Result<HashAlgorithm, StructureError> {
    hash_of(reader.u16(field)?, field)
}

pub(super) fn hash_of(id: u16, field: &'static str) -> Result<HashAlgorithm, StructureError> {
    let known = HASHES.iter().find(|(known, _)| *known == id);
    known.map(|(_, hash)| *hash).ok_or(StructureError::UnknownAlgorithm { field, id })
}

pub(super) fn hash_id(hash: HashAlgorithm) -> u16 {
    HASHES.iter().find(|(_, known)| *known == hash).map_or(NULL, |(id, _)| *id)
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignatureScheme {
    /// The algorithm.
    pub algorithm: SignatureAlgorithm,
    /// The hash of what is signed. A quote's PCRs are hashed with it too.
    pub hash: HashAlgorithm,
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.algorithm.name(), self.hash)
    }
}

/// Signature algorithms of attestation keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).
    RsaSsa,
    /// RSASSA-PSS (RFC 8017, section 8.1). Only a salt as long as the hash is believed, which newer TPMs use, and
    /// swtpm. Some older ones take the longest salt that fits (TPM Part 1, revision 1.38, B.7): their signatures are
    /// refused as wrong.
    RsaPss,
    /// ECDSA (FIPS 186-4, section 6).
    Ecdsa,
}

impl SignatureAlgorithm {
    /// The algorithm of this TPM_ALG_ID, if a quote can be signed with it.
    pub(super) fn from_id(id: u16) -> Option<Self> {
        match id {
            RSASSA => Some(Self::RsaSsa),
            RSAPSS => Some(Self::RsaPss),
            ECDSA => Some(Self::Ecdsa),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RsaSsa => "RSASSA",
            Self::RsaPss => "RSAPSS",
            Self::Ecdsa => "ECDSA",
        }
    }
}
