//! The public area of a key in a TPM: TPMT_PUBLIC (TPM Part 2, 12.2), with or without the size of a TPM2B_PUBLIC.

use std::fmt;

use crate::digest::{Digest, HashAlgorithm};
use crate::hex;
use crate::tpm::algorithm::{self, SignatureAlgorithm, SignatureScheme};
use crate::tpm::key::{Curve, PublicKey, PublicKeyError};
use crate::tpm::reader::{Reader, StructureError};
use crate::tpm::signature::{MAX_ECC, MAX_RSA};
use crate::tpm::spki;

/// Longest policy: a SHA-512 digest (TPM2B_DIGEST, TPM Part 2, 10.4).
const MAX_POLICY: usize = 64;

/// Longest TPMT_PUBLIC: the fields of an RSA key at their longest; a key on a curve takes less. Nothing longer is hashed.
const MAX_AREA: usize = 2 + 2 + 4 + (2 + MAX_POLICY) + (2 + 2 + 2) + (2 + 2) + 2 + 4 + (2 + MAX_RSA);

/// The exponent that a zero stands for (TPM Part 2, 12.2, TPMS_RSA_PARMS).
const DEFAULT_EXPONENT: u32 = 65_537;

/// What a TPM tells of a key: its attributes and its public part. Anybody can write such bytes; that a TPM holds the key
/// is what enrolment shows, by the [`Name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicArea {
    name: Name,
    attributes: u32,
    policy: Vec<u8>,
    symmetric: Option<Symmetric>,
    scheme: Option<SignatureScheme>,
    key: PublicKey,
}

impl PublicArea {
    /// Reads a TPM2B_PUBLIC or a TPMT_PUBLIC.
    ///
    /// # Errors
    /// [`PublicAreaError`]: not exactly one; or of a key, a curve or a parameter that attestation and endorsement keys
    /// do not have.
    pub fn parse(bytes: &[u8]) -> Result<Self, PublicAreaError> {
        let area = without_size(bytes)?;
        if area.len() > MAX_AREA {
            let found = area.len();
            return Err(StructureError::TooLong { field: "publicArea", found, max: MAX_AREA }.into());
        }
        let mut reader = Reader::new(area);
        let kind = reader.u16("type")?;
        let name_algorithm = algorithm::read_hash(&mut reader, "nameAlg")?;
        let attributes = reader.u32("objectAttributes")?;
        let policy = reader.sized("authPolicy", MAX_POLICY)?.to_vec();
        let (symmetric, scheme, key) = match kind {
            algorithm::RSA => read_rsa(&mut reader)?,
            algorithm::ECC => read_ecc(&mut reader)?,
            id => return Err(StructureError::UnknownAlgorithm { field: "type", id }.into()),
        };
        reader.finish()?;
        let name = Name(Digest::of(name_algorithm, [area]));
        Ok(Self { name, attributes, policy, symmetric, scheme, key })
    }

    /// The Name, computed from the bytes that were read.
    pub fn name(&self) -> Name {
        self.name
    }

    /// The hash of the Name.
    pub fn name_algorithm(&self) -> HashAlgorithm {
        self.name.0.algorithm()
    }

    /// Whether it has this attribute.
    pub fn has(&self, attribute: Attribute) -> bool {
        self.attributes & attribute.mask() != 0
    }

    /// The policy that opens it; empty if there is none.
    pub fn policy(&self) -> &[u8] {
        &self.policy
    }

    /// The cipher by which a storage key protects what is below it, such as an endorsement key.
    pub fn symmetric(&self) -> Option<Symmetric> {
        self.symmetric
    }

    /// How it signs, if that is fixed.
    pub fn scheme(&self) -> Option<SignatureScheme> {
        self.scheme
    }

    /// The curve it is on; `None` of an RSA key.
    pub fn curve(&self) -> Option<Curve> {
        match self.key {
            PublicKey::Ecc { curve, .. } => Some(curve),
            PublicKey::Rsa { .. } => None,
        }
    }

    /// SubjectPublicKeyInfo DER of the public key, as in certificates.
    pub fn spki_der(&self) -> Vec<u8> {
        spki::print(&self.key)
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// A TPMT_PUBLIC begins with its type, a TPM2B_PUBLIC with its size. No public area is so short that its size could be
/// taken for a type.
fn without_size(bytes: &[u8]) -> Result<&[u8], StructureError> {
    let mut reader = Reader::new(bytes);
    match reader.u16("publicArea")? {
        algorithm::RSA | algorithm::KEYEDHASH | algorithm::ECC | algorithm::SYMCIPHER => Ok(bytes),
        size => {
            let area = reader.take("publicArea", size.into())?;
            reader.finish()?;
            Ok(area)
        }
    }
}

type Parts = (Option<Symmetric>, Option<SignatureScheme>, PublicKey);

/// TPMS_RSA_PARMS, then TPM2B_PUBLIC_KEY_RSA.
fn read_rsa(reader: &mut Reader<'_>) -> Result<Parts, PublicAreaError> {
    let symmetric = read_symmetric(reader)?;
    let scheme = read_scheme(reader, &[SignatureAlgorithm::RsaSsa, SignatureAlgorithm::RsaPss])?;
    let key_bits = reader.u16("keyBits")?;
    let exponent = match reader.u32("exponent")? {
        0 => DEFAULT_EXPONENT,
        exponent => exponent,
    };
    let modulus = reader.sized("unique.rsa", MAX_RSA)?;
    let key = PublicKey::rsa(modulus, exponent)?;
    if modulus.len().checked_mul(8) != Some(key_bits.into()) {
        return Err(StructureError::Value { field: "keyBits", found: key_bits.into() }.into());
    }
    Ok((symmetric, scheme, key))
}

/// TPMS_ECC_PARMS, then TPMS_ECC_POINT.
fn read_ecc(reader: &mut Reader<'_>) -> Result<Parts, PublicAreaError> {
    let symmetric = read_symmetric(reader)?;
    let scheme = read_scheme(reader, &[SignatureAlgorithm::Ecdsa])?;
    let id = reader.u16("curveID")?;
    let curve = Curve::from_id(id).ok_or(StructureError::UnknownAlgorithm { field: "curveID", id })?;
    // No key derivation is in use (TPM Part 2, 12.2, TPMS_ECC_PARMS).
    match reader.u16("kdf")? {
        algorithm::NULL => {}
        id => return Err(StructureError::UnknownAlgorithm { field: "kdf", id }.into()),
    }
    let (x, y) = (reader.sized("unique.ecc.x", MAX_ECC)?, reader.sized("unique.ecc.y", MAX_ECC)?);
    let found = x.len().max(y.len());
    let key = PublicKey::of_coordinates(curve, x, y);
    let key = key.ok_or(StructureError::TooLong { field: "unique.ecc", found, max: curve.field_len() })?;
    Ok((symmetric, scheme, key))
}

/// TPMT_SYM_DEF_OBJECT (TPM Part 2, 11.1): nothing, or AES in CFB mode.
fn read_symmetric(reader: &mut Reader<'_>) -> Result<Option<Symmetric>, StructureError> {
    match reader.u16("symmetric.algorithm")? {
        algorithm::NULL => Ok(None),
        algorithm::AES => {
            let key_bits = reader.u16("symmetric.keyBits")?;
            match reader.u16("symmetric.mode")? {
                algorithm::CFB => Ok(Some(Symmetric { key_bits })),
                id => Err(StructureError::UnknownAlgorithm { field: "symmetric.mode", id }),
            }
        }
        id => Err(StructureError::UnknownAlgorithm { field: "symmetric.algorithm", id }),
    }
}

/// TPMT_RSA_SCHEME or TPMT_ECC_SCHEME (TPM Part 2, 11.2): nothing, or one of those that have a hash and no more.
fn read_scheme(
    reader: &mut Reader<'_>,
    allowed: &[SignatureAlgorithm],
) -> Result<Option<SignatureScheme>, StructureError> {
    let id = reader.u16("scheme")?;
    if id == algorithm::NULL {
        return Ok(None);
    }
    let algorithm = SignatureAlgorithm::from_id(id).filter(|algorithm| allowed.contains(algorithm));
    let algorithm = algorithm.ok_or(StructureError::UnknownAlgorithm { field: "scheme", id })?;
    let hash = algorithm::read_hash(reader, "scheme.hash")?;
    Ok(Some(SignatureScheme { algorithm, hash }))
}

/// A cipher: AES in CFB mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symmetric {
    /// Bits of its key.
    pub key_bits: u16,
}

/// Attributes that decide what a key is (TPM Part 2, 8.3, TPMA_OBJECT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// It never leaves this TPM.
    FixedTpm,
    /// It never gets another parent.
    FixedParent,
    /// The TPM has made its private part.
    SensitiveDataOrigin,
    /// It signs only what the TPM has made, or decrypts only what has the TPM's form.
    Restricted,
    /// It decrypts.
    Decrypt,
    /// It signs.
    Sign,
}

impl Attribute {
    fn mask(self) -> u32 {
        match self {
            Self::FixedTpm => 0x0000_0002,
            Self::FixedParent => 0x0000_0010,
            Self::SensitiveDataOrigin => 0x0000_0020,
            Self::Restricted => 0x0001_0000,
            Self::Decrypt => 0x0002_0000,
            Self::Sign => 0x0004_0000,
        }
    }
}

/// As the specification spells it.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FixedTpm => "fixedTPM",
            Self::FixedParent => "fixedParent",
            Self::SensitiveDataOrigin => "sensitiveDataOrigin",
            Self::Restricted => "restricted",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
        })
    }
}

/// The Name of a key: the hash algorithm and the digest of its public area (TPM Part 1, Names). It is computed, never
/// taken from outside.
///
/// ```compile_fail
/// use goldseal_verifier_core::{digest::Digest, tpm::Name};
/// let forged = Name(Digest::sha256(b"a public area"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Digest);

impl Name {
    /// The contents of a TPM2B_NAME.
    pub fn to_bytes(self) -> Vec<u8> {
        [&algorithm::hash_id(self.0.algorithm()).to_be_bytes()[..], self.0.as_bytes()].concat()
    }
}

/// Lower-case hex of the bytes, as tpm2-tools print it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.to_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// Why bytes are no public area of use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicAreaError {
    /// Not exactly one public area, or of a kind that is not known here.
    Structure(StructureError),
    /// A key that must not be used.
    Key(PublicKeyError),
}

impl From<StructureError> for PublicAreaError {
    fn from(error: StructureError) -> Self {
        Self::Structure(error)
    }
}

impl From<PublicKeyError> for PublicAreaError {
    fn from(error: PublicKeyError) -> Self {
        Self::Key(error)
    }
}

impl fmt::Display for PublicAreaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PublicAreaError {}
