//! Key files as text: PKCS#8 (RFC 5958, RFC 8410) and SubjectPublicKeyInfo, in PEM (RFC 7468).
//!
//! Writes version 1 of PKCS#8, which every openssl with Ed25519 reads; reads versions 1 and 2, plain or encrypted by
//! PBES2 (RFC 8018). Promises: bounded time and memory for a hostile file, and that the public key a file carries
//! beside the private one belongs to it. Whose key it is, and who may read the file, is not known here.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use pkcs8::der::pem::{self, LineEnding};
use pkcs8::der::{Decode, Encode};
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Prf, Salt, ScryptParams};
use pkcs8::pkcs5::{self, EncryptionScheme as Pkcs5Scheme};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{
    EncryptedPrivateKeyInfo, EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef,
    der,
};
use zeroize::Zeroizing;

use super::{SPKI_LEN, SealKey, fill_random, spki_der};
use crate::failure::Failure;
use crate::passphrase::Passphrase;

/// Reads a private key.
///
/// # Errors
/// [`KeyFileError`].
pub fn parse_private(file: &[u8]) -> Result<PrivateKeyFile, KeyFileError> {
    let (label, der) = decode_pem(file)?;
    match label {
        "PRIVATE KEY" => parse_private_der(&der).map(PrivateKeyFile::Plain),
        "ENCRYPTED PRIVATE KEY" => EncryptedKey::parse(&der).map(PrivateKeyFile::Encrypted),
        _ => Err(wrong_content(label)),
    }
}

/// A private key as a file holds it.
#[derive(Debug)]
pub enum PrivateKeyFile {
    /// Ready to seal.
    Plain(SealKey),
    /// Needs its passphrase.
    Encrypted(EncryptedKey),
}

/// A private key under a passphrase. What it costs to try one is known to be bounded.
pub struct EncryptedKey {
    parameters: Parameters,
    ciphertext: Vec<u8>,
}

impl EncryptedKey {
    fn parse(der: &[u8]) -> Result<Self, KeyFileError> {
        let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| match error.kind() {
            der::ErrorKind::OidUnknown { .. } => KeyFileError::UnsupportedEncryption,
            _ => KeyFileError::Malformed,
        })?;
        let Pkcs5Scheme::Pbes2(parameters) = info.encryption_algorithm else {
            return Err(KeyFileError::UnsupportedEncryption);
        };
        check_cost(&parameters.kdf)?;
        Ok(Self { parameters, ciphertext: info.encrypted_data.as_bytes().to_vec() })
    }

    /// Opens the key.
    ///
    /// # Errors
    /// [`KeyFileError::WrongPassphrase`], which damage to the file looks like too; or what is wrong with the key inside.
    pub fn decrypt(&self, passphrase: &Passphrase) -> Result<SealKey, KeyFileError> {
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        let der = self.parameters.decrypt_in_place(passphrase.expose(), &mut buffer).map_err(|error| match error {
            pkcs5::Error::DecryptFailed => KeyFileError::WrongPassphrase,
            pkcs5::Error::UnsupportedAlgorithm { .. } => KeyFileError::UnsupportedEncryption,
            _ => KeyFileError::Malformed,
        })?;
        // One wrong passphrase in 256 leaves what looks like valid padding, and then no key.
        parse_private_der(der).map_err(|error| match error {
            KeyFileError::Malformed => KeyFileError::WrongPassphrase,
            error => error,
        })
    }
}

impl fmt::Debug for EncryptedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedKey(..)")
    }
}

/// Reads a public key and returns its SubjectPublicKeyInfo DER.
///
/// # Errors
/// [`KeyFileError`]; a point of small order is [`KeyFileError::Weak`].
pub fn parse_public(file: &[u8]) -> Result<[u8; SPKI_LEN], KeyFileError> {
    let (label, der) = decode_pem(file)?;
    if label != "PUBLIC KEY" {
        return Err(wrong_content(label));
    }
    let info = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| KeyFileError::Malformed)?;
    check_algorithm(&info.algorithm)?;
    let point = info.subject_public_key.as_bytes().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let point = point.ok_or(KeyFileError::Malformed)?;
    let key = VerifyingKey::from_bytes(&point).map_err(|_| KeyFileError::NotOnCurve)?;
    if key.is_weak() {
        return Err(KeyFileError::Weak);
    }
    Ok(spki_der(&point))
}

/// The key as a file: encrypted if there is a passphrase.
///
/// # Errors
/// If the system gives no randomness.
pub fn private_pem(key: &SealKey, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, Failure> {
    let mut der = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
    der[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
    der[PKCS8_PREFIX.len()..].copy_from_slice(key.seed());
    match passphrase {
        None => Ok(Zeroizing::new(encode_pem("PRIVATE KEY", der.as_ref()))),
        Some(passphrase) => {
            let encrypted = encrypt(der.as_ref(), passphrase)?;
            Ok(Zeroizing::new(encode_pem("ENCRYPTED PRIVATE KEY", &encrypted)))
        }
    }
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

fn decode_pem(file: &[u8]) -> Result<(&str, Zeroizing<Vec<u8>>), KeyFileError> {
    if !file.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
        return Err(KeyFileError::NotPem);
    }
    // Empty lines at the end come from editors and copying; the strict grammar has none.
    let file = file.trim_ascii();
    // The label first: the older formats have header lines, on which the decoder would stop without naming them.
    let label = pem::decode_label(file).map_err(|_| KeyFileError::Malformed)?;
    if !matches!(label, "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "PUBLIC KEY") {
        return Ok((label, Zeroizing::default()));
    }
    let mut decoder = pem::Decoder::new_detect_wrap(file).map_err(|_| KeyFileError::Malformed)?;
    let mut der = Zeroizing::new(Vec::with_capacity(decoder.remaining_len()));
    decoder.decode_to_end(&mut der).map_err(|_| KeyFileError::Malformed)?;
    Ok((label, der))
}

fn encode_pem(label: &'static str, der: &[u8]) -> String {
    pem::encode_string(label, LineEnding::LF, der).expect("a few hundred bytes under a valid label")
}

fn wrong_content(label: &str) -> KeyFileError {
    let foreign = |found: &str| KeyFileError::NotEd25519 { found: found.to_owned() };
    let found = match label {
        "RSA PRIVATE KEY" | "RSA PUBLIC KEY" => return foreign("an RSA key"),
        "EC PRIVATE KEY" | "EC PARAMETERS" => return foreign("an EC key"),
        "DSA PRIVATE KEY" => return foreign("a DSA key"),
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => "a private key, where a public key belongs",
        "PUBLIC KEY" => "a public key, where the private key belongs",
        "OPENSSH PRIVATE KEY" => "a private key in OpenSSH's own format",
        "CERTIFICATE" | "TRUSTED CERTIFICATE" => "a certificate, not a key",
        _ => "PEM of something that is not a key",
    };
    KeyFileError::WrongContent { found }
}

fn parse_private_der(der: &[u8]) -> Result<SealKey, KeyFileError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyFileError::Malformed)?;
    check_algorithm(&info.algorithm)?;
    // RFC 8410, section 7: the private key is an OCTET STRING within the OCTET STRING.
    let seed = info.private_key.as_bytes().strip_prefix(&[0x04, 0x20]);
    let seed = seed.and_then(|seed| <&[u8; 32]>::try_from(seed).ok()).ok_or(KeyFileError::Malformed)?;
    let key = SealKey::from_seed(seed);
    match info.public_key {
        Some(public) if public.as_bytes() != Some(key.0.verifying_key().as_bytes()) => {
            Err(KeyFileError::PublicKeyMismatch)
        }
        _ => Ok(key),
    }
}

fn check_algorithm(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), KeyFileError> {
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

fn check_cost(kdf: &Kdf) -> Result<(), KeyFileError> {
    match kdf {
        Kdf::Pbkdf2(pbkdf2) if pbkdf2.prf == Pbkdf2Prf::HmacWithSha1 => Err(KeyFileError::UnsupportedEncryption),
        Kdf::Pbkdf2(pbkdf2) => match pbkdf2.iteration_count {
            0 => Err(KeyFileError::Malformed),
            1..=MAX_PBKDF2_ITERATIONS => Ok(()),
            _ => Err(KeyFileError::TooCostly),
        },
        Kdf::Scrypt(scrypt) => {
            let (n, r, p) = (scrypt.cost_parameter, scrypt.block_size.into(), scrypt.parallelization.into());
            // RFC 7914, section 2: N is a power of two larger than 1.
            if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
                return Err(KeyFileError::Malformed);
            }
            let within = |blocks: Option<u64>, limit| blocks.is_some_and(|blocks| blocks <= limit);
            let lanes = u64::checked_mul(r, p);
            if within(n.checked_mul(r), MAX_SCRYPT_BLOCKS)
                && within(lanes, MAX_SCRYPT_LANE_BLOCKS)
                && within(lanes.and_then(|lanes| lanes.checked_mul(n)), MAX_SCRYPT_WORK)
            {
                Ok(())
            } else {
                Err(KeyFileError::TooCostly)
            }
        }
        _ => Err(KeyFileError::UnsupportedEncryption),
    }
}

fn encrypt(der: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, Failure> {
    let mut salt = [0; 16];
    fill_random(&mut salt)?;
    let mut iv = [0; 16];
    fill_random(&mut iv)?;
    let scrypt = ScryptParams {
        salt: Salt::new(salt).expect("16 bytes are within the limit of 32"),
        cost_parameter: SCRYPT_N,
        block_size: SCRYPT_R,
        parallelization: SCRYPT_P,
        key_length: None,
    };
    let parameters = Parameters { kdf: Kdf::Scrypt(scrypt), encryption: EncryptionScheme::Aes256Cbc { iv } };
    let ciphertext = parameters.encrypt(passphrase.expose(), der).expect("these parameters are valid");
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: parameters.into(),
        encrypted_data: der::asn1::OctetString::new(ciphertext).expect("64 bytes are a valid length"),
    };
    Ok(info.to_der().expect("every field has a DER encoding"))
}

const PEM_BEGIN: &[u8] = b"-----BEGIN ";

/// PKCS#8 version 1 of an Ed25519 key (RFC 8410, section 7): this prefix, then the 32 bytes of the seed.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// 16 MiB: the largest power of two under which openssl, which stops at 32 MiB (SCRYPT_MAX_MEM), still reads the file.
const SCRYPT_N: u64 = 1 << 14;
const SCRYPT_R: u16 = 8;
/// What the OWASP Password Storage Cheat Sheet pairs with N = 2^14, r = 8.
const SCRYPT_P: u16 = 5;

/// RFC 8018, section 4.2: what may be appropriate "for especially critical keys".
const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
/// N × r blocks of 128 bytes, 128 MiB: the largest setting of the OWASP cheat sheet (N = 2^17, r = 8).
const MAX_SCRYPT_BLOCKS: u64 = 1 << 20;
/// r × p blocks of 128 bytes, 128 KiB: OWASP's largest is 80 (r = 8, p = 10).
const MAX_SCRYPT_LANE_BLOCKS: u64 = 1 << 10;
/// N × r × p: four times OWASP's largest, a few seconds.
const MAX_SCRYPT_WORK: u64 = 1 << 22;
