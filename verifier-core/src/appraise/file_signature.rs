//! IMA file signatures: `signature_v2_hdr` over a file's digest (security/integrity/integrity.h, digsig_asymmetric.c);
//! docs/appraisal.md, How an entry is judged, 5.2.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;

use crate::cursor::Cursor;
use crate::digest::{Digest, HashAlgorithm};
use crate::excludes::{Excludes, Pattern};
use crate::rules::FileSignatureAlgorithm;

use super::finding::SignatureNote;

/// EVM_IMA_XATTR_DIGSIG in `enum evm_ima_xattr_type`: a signature over the digest of the contents.
const TYPE_DIGSIG: u8 = 3;

/// The version of the header whose signature is asymmetric.
const VERSION: u8 = 2;

/// The shortest modulus in bytes: RSA of 2,048 bits (NIST SP 800-131A).
const MIN_MODULUS_LEN: usize = 256;

/// `enum hash_algo` (include/uapi/linux/hash_info.h) of those that may prove something.
fn hash_algorithm(number: u8) -> Option<HashAlgorithm> {
    match number {
        4 => Some(HashAlgorithm::Sha256),
        5 => Some(HashAlgorithm::Sha384),
        6 => Some(HashAlgorithm::Sha512),
        _ => None,
    }
}

/// A key that may sign files below a pattern.
#[derive(Clone, Debug)]
pub(super) struct FileSigner {
    key: Key,
    pattern: Excludes,
}

#[derive(Clone, Debug)]
enum Key {
    Rsa(Box<rsa::PublicKey>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl FileSigner {
    /// The signer of a rule; `None` if no signature by its key can be checked here, which then accepts nothing.
    pub(super) fn new(algorithm: FileSignatureAlgorithm, spki: &[u8], pattern: &Pattern) -> Option<Self> {
        let key = match algorithm {
            FileSignatureAlgorithm::RsaPkcs1 => {
                let key = rsa::PublicKey::from_public_key_der(spki).ok().filter(|key| key.size() >= MIN_MODULUS_LEN)?;
                Key::Rsa(Box::new(key))
            }
            FileSignatureAlgorithm::Ecdsa => {
                let p256 = p256::ecdsa::VerifyingKey::from_public_key_der(spki).map(Key::P256);
                p256.or_else(|_| p384::ecdsa::VerifyingKey::from_public_key_der(spki).map(Key::P384)).ok()?
            }
        };
        Some(Self { key, pattern: Excludes::new([pattern.clone()]).ok()? })
    }

    fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        match &self.key {
            Key::Rsa(key) => match digest.algorithm() {
                HashAlgorithm::Sha1 => false,
                HashAlgorithm::Sha256 => {
                    key.pkcs1v15_verify_prehash::<sha2::Sha256>(digest.as_bytes(), signature).is_ok()
                }
                HashAlgorithm::Sha384 => {
                    key.pkcs1v15_verify_prehash::<sha2::Sha384>(digest.as_bytes(), signature).is_ok()
                }
                HashAlgorithm::Sha512 => {
                    key.pkcs1v15_verify_prehash::<sha2::Sha512>(digest.as_bytes(), signature).is_ok()
                }
            },
            Key::P256(key) => p256::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(digest.as_bytes(), &signature).is_ok()),
            Key::P384(key) => p384::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(digest.as_bytes(), &signature).is_ok()),
        }
    }
}

/// Whether a rule's key signed this digest, for a file of this name; else what is known of the signature.
pub(super) fn check(
    signers: &[FileSigner],
    name: &[u8],
    digest: Option<Digest>,
    field: &[u8],
) -> Result<(), SignatureNote> {
    let Some(kind) = field.first() else { return Err(SignatureNote::None) };
    if *kind != TYPE_DIGSIG {
        return Err(SignatureNote::NotAccepted { kind: *kind });
    }
    let mut signers = signers.iter().filter(|signer| signer.pattern.takes(name)).peekable();
    if signers.peek().is_none() {
        return Err(SignatureNote::NoRule);
    }
    let (digest, signature) = digest.zip(signature_over(field, digest)).ok_or(SignatureNote::Bad)?;
    if signers.any(|signer| signer.verifies(&digest, signature)) { Ok(()) } else { Err(SignatureNote::Bad) }
}

/// The signature of a field whose header names the digest's algorithm. Its key id is a hint and not looked at.
fn signature_over(field: &[u8], digest: Option<Digest>) -> Option<&[u8]> {
    let mut header = Cursor::new(field);
    header.literal(&[TYPE_DIGSIG, VERSION])?;
    let algorithm = header.take(1)?.first().copied().and_then(hash_algorithm)?;
    header.take(4)?;
    let length = <[u8; 2]>::try_from(header.take(2)?).ok()?;
    let signature = header.take_rest()?;
    let fits = usize::from(u16::from_be_bytes(length)) == signature.len();
    (fits && digest?.algorithm() == algorithm).then_some(signature)
}
