//! An endorsement key in software: what TPM2_ActivateCredential does, for whoever has the private key (TPM Part 1,
//! "Credential Protection"). Derivations and encodings are its own: nothing here is code of the verifier.

use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use goldseal_verifier_core::digest::HashAlgorithm;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::ToSec1Point;
use ring::hmac;
use rsa::Oaep;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PublicKeyParts;

use super::ak::{hash, hash_id, pem_body, sized};

/// TPMA_OBJECT of the low-range templates (TCG EK Credential Profile 2.5, B.3): fixedTPM, fixedParent,
/// sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
pub const EK_ATTRIBUTES: u32 = 0x0003_00b2;

/// PolicyA of that profile: PolicySecret with the endorsement hierarchy.
const POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// What key a [`SoftEk`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EkKind {
    /// RSA-2048, SHA-256, AES-128: template L-1.
    Rsa2048,
    /// P-256, SHA-256, AES-128: template L-2.
    P256,
    /// P-384, SHA-384, AES-256, as template H-3.
    P384,
}

impl EkKind {
    pub const ALL: [Self; 3] = [Self::Rsa2048, Self::P256, Self::P384];
}

#[derive(Debug)]
enum Key {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
}

/// The private key, and what its public area says. The fields may be changed before it is shown to anybody.
#[derive(Debug)]
pub struct SoftEk {
    key: Key,
    /// The hash of its Name, and of all derivations.
    pub name_hash: HashAlgorithm,
    pub attributes: u32,
    pub policy: Vec<u8>,
    /// TPMT_SYM_DEF_OBJECT, marshalled.
    pub symmetric: Vec<u8>,
    /// TPMT_RSA_SCHEME or TPMT_ECC_SCHEME, marshalled.
    pub scheme: Vec<u8>,
    /// Modulus, or both coordinates.
    pub unique: [Vec<u8>; 2],
}

impl SoftEk {
    pub fn new(kind: EkKind) -> Self {
        let (key, unique, name_hash) = match kind {
            EkKind::Rsa2048 => {
                let der = pem_body(include_str!("../../../testdata/keys/ak-rsa.key"));
                let key = Box::new(rsa::PrivateKey::from_pkcs8_der(&der).unwrap());
                let modulus = key.n().to_be_bytes().to_vec();
                (Key::Rsa(key), [modulus, Vec::new()], HashAlgorithm::Sha256)
            }
            EkKind::P256 => {
                let der = pem_body(include_str!("../../../testdata/keys/ak-p256.key"));
                let key = p256::SecretKey::from_pkcs8_der(&der).unwrap();
                let unique = halves(key.public_key().to_sec1_point(false).as_bytes());
                (Key::P256(key), unique, HashAlgorithm::Sha256)
            }
            EkKind::P384 => {
                let der = pem_body(include_str!("../../../testdata/keys/ak-p384.key"));
                let key = p384::SecretKey::from_pkcs8_der(&der).unwrap();
                let unique = halves(key.public_key().to_sec1_point(false).as_bytes());
                (Key::P384(key), unique, HashAlgorithm::Sha384)
            }
        };
        let bits = if kind == EkKind::P384 { 256 } else { 128 };
        Self {
            key,
            name_hash,
            attributes: EK_ATTRIBUTES,
            policy: POLICY.to_vec(),
            symmetric: aes_cfb(bits),
            scheme: vec![0x00, 0x10],
            unique,
        }
    }

    /// TPM2B_PUBLIC.
    pub fn public_area(&self) -> Vec<u8> {
        let rsa = matches!(self.key, Key::Rsa(_));
        let mut area = if rsa { 0x0001u16 } else { 0x0023 }.to_be_bytes().to_vec();
        area.extend(hash_id(self.name_hash).to_be_bytes());
        area.extend(self.attributes.to_be_bytes());
        area.extend(sized(&self.policy));
        area.extend([&self.symmetric[..], &self.scheme].concat());
        let [first, second] = &self.unique;
        if rsa {
            area.extend(u16::try_from(first.len() * 8).unwrap().to_be_bytes());
            area.extend(0u32.to_be_bytes());
            area.extend(sized(first));
        } else {
            area.extend(if first.len() == 32 { 0x0003u16 } else { 0x0004 }.to_be_bytes());
            // No key derivation.
            area.extend(0x0010u16.to_be_bytes());
            area.extend([sized(first), sized(second)].concat());
        }
        sized(&area)
    }

    /// The secret of a credential, given as the contents of TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, for the key of
    /// this Name; `None` if it is not for this key and that Name.
    pub fn open(&self, id_object: &[u8], encrypted_secret: &[u8], name: &[u8]) -> Option<Vec<u8>> {
        let seed = self.seed(encrypted_secret)?;
        let (integrity, identity) = split_sized(id_object)?;
        let bits = self.name_hash.digest_len() * 8;
        let key = kdf_a(self.name_hash, &seed, b"INTEGRITY\0", b"", bits);
        let key = hmac::Key::new(ring_hmac(self.name_hash), &key);
        hmac::verify(&key, &[identity, name].concat(), integrity).ok()?;
        let bits = usize::from(u16::from_be_bytes([self.symmetric[2], self.symmetric[3]]));
        let secret = decrypt_cfb(&kdf_a(self.name_hash, &seed, b"STORAGE\0", name, bits), identity);
        match split_sized(&secret)? {
            (secret, []) => Some(secret.to_vec()),
            _ => None,
        }
    }

    fn seed(&self, encrypted: &[u8]) -> Option<Vec<u8>> {
        let label = &b"IDENTITY\0"[..];
        match &self.key {
            Key::Rsa(key) => match self.name_hash {
                HashAlgorithm::Sha1 => None,
                HashAlgorithm::Sha256 => key.decrypt(Oaep::<sha2::Sha256>::new_with_label(label), encrypted).ok(),
                HashAlgorithm::Sha384 => key.decrypt(Oaep::<sha2::Sha384>::new_with_label(label), encrypted).ok(),
                HashAlgorithm::Sha512 => key.decrypt(Oaep::<sha2::Sha512>::new_with_label(label), encrypted).ok(),
            },
            Key::P256(_) | Key::P384(_) => {
                let (x, rest) = split_sized(encrypted)?;
                let (y, rest) = split_sized(rest)?;
                let shared = self.agreed(x, y).filter(|_| rest.is_empty())?;
                // One block is as long as the hash.
                let block = [&[0, 0, 0, 1], shared.as_slice(), label, x, &self.unique[0]].concat();
                Some(hash(self.name_hash, &block))
            }
        }
    }

    /// The first coordinate of the point that both sides have.
    fn agreed(&self, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
        let point = [&[4], x, y].concat();
        match &self.key {
            Key::Rsa(_) => None,
            Key::P256(key) => {
                let theirs = p256::PublicKey::from_sec1_bytes(&point).ok()?;
                Some((theirs.to_projective() * *key.to_nonzero_scalar()).to_affine().x().to_vec())
            }
            Key::P384(key) => {
                let theirs = p384::PublicKey::from_sec1_bytes(&point).ok()?;
                Some((theirs.to_projective() * *key.to_nonzero_scalar()).to_affine().x().to_vec())
            }
        }
    }
}

/// TPMT_SYM_DEF_OBJECT of AES in CFB mode.
pub fn aes_cfb(bits: u16) -> Vec<u8> {
    [0x0006u16.to_be_bytes(), bits.to_be_bytes(), 0x0043u16.to_be_bytes()].concat()
}

fn halves(point: &[u8]) -> [Vec<u8>; 2] {
    let (x, y) = point[1..].split_at(point.len() / 2);
    [x.to_vec(), y.to_vec()]
}

fn split_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*size).into())
}

fn ring_hmac(algorithm: HashAlgorithm) -> hmac::Algorithm {
    match algorithm {
        HashAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
        HashAlgorithm::Sha512 => hmac::HMAC_SHA512,
    }
}

fn kdf_a(algorithm: HashAlgorithm, key: &[u8], label: &[u8], context: &[u8], bits: usize) -> Vec<u8> {
    let key = hmac::Key::new(ring_hmac(algorithm), key);
    let end = u32::try_from(bits).unwrap().to_be_bytes();
    let blocks = (1u32..).map(|counter| hmac::sign(&key, &[&counter.to_be_bytes(), label, context, &end].concat()));
    let blocks = blocks.take(bits.div_ceil(8).div_ceil(algorithm.digest_len()));
    let bytes: Vec<u8> = blocks.flat_map(|block| block.as_ref().to_vec()).collect();
    bytes[..bits / 8].to_vec()
}

fn decrypt_cfb(key: &[u8], data: &[u8]) -> Vec<u8> {
    match key.len() {
        16 => decrypt_cfb_by::<aes::Aes128>(key, data),
        24 => decrypt_cfb_by::<aes::Aes192>(key, data),
        _ => decrypt_cfb_by::<aes::Aes256>(key, data),
    }
}

fn decrypt_cfb_by<C: BlockCipherEncrypt + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    let mut before = Block::<C>::default();
    let mut plain = Vec::new();
    for chunk in data.chunks(before.len()) {
        cipher.encrypt_block(&mut before);
        plain.extend(chunk.iter().zip(before.iter()).map(|(byte, fed)| byte ^ fed));
        before[..chunk.len()].copy_from_slice(chunk);
    }
    plain
}
