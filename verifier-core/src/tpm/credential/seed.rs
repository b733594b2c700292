//! The seed of a credential, and how it travels (TPM Part 1, "Secret Sharing" in the annexes on RSA and on ECC).

use p256::elliptic_curve::ops::Mul;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, NonZeroScalar, ProjectivePoint, PublicKey,
};
use rsa::Oaep;
use zeroize::Zeroizing;

use crate::cursor::Cursor;
use crate::digest::HashAlgorithm;
use crate::tpm::credential::derive::kdf_e;
use crate::tpm::credential::endorsement::{EncryptionKey, EndorsementKey};
use crate::tpm::credential::given::GivenBytes;
use crate::tpm::credential::{CredentialEntropy, CredentialError, sized};

/// What the seed is for, with the NUL that counts (TPM Part 1, "Credential Protection").
const LABEL: &[u8] = b"IDENTITY\0";

/// A seed as long as the hash of the endorsement key's Name, and the TPMU_ENCRYPTED_SECRET from which its TPM gets it.
pub(super) fn share(
    ek: &EndorsementKey,
    entropy: CredentialEntropy,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), CredentialError> {
    let hash = ek.public_area().name_algorithm();
    let mut entropy = Cursor::new(entropy.0.as_slice());
    let shared = match &ek.key {
        EncryptionKey::Rsa(key) => encrypted(key, hash, &mut entropy),
        EncryptionKey::P256(key) => agreed(key, hash, &mut entropy),
        EncryptionKey::P384(key) => agreed(key, hash, &mut entropy),
    };
    shared.ok_or(CredentialError::NotRandom)
}

/// RSA: a random seed, by OAEP under the Name's hash.
fn encrypted(
    key: &rsa::PublicKey,
    hash: HashAlgorithm,
    entropy: &mut Cursor<'_>,
) -> Option<(Zeroizing<Vec<u8>>, Vec<u8>)> {
    let seed = Zeroizing::new(entropy.take(hash.digest_len())?.to_vec());
    let mut padding = GivenBytes::new(entropy.take(hash.digest_len())?);
    let secret = match hash {
        HashAlgorithm::Sha1 => None,
        HashAlgorithm::Sha256 => key.encrypt(&mut padding, Oaep::<sha2::Sha256>::new_with_label(LABEL), &seed).ok(),
        HashAlgorithm::Sha384 => key.encrypt(&mut padding, Oaep::<sha2::Sha384>::new_with_label(LABEL), &seed).ok(),
        HashAlgorithm::Sha512 => key.encrypt(&mut padding, Oaep::<sha2::Sha512>::new_with_label(LABEL), &seed).ok(),
    };
    Some((seed, secret?))
}

/// ECC: the seed comes of a Diffie-Hellman agreement with a key for this once, whose point travels as a TPMS_ECC_POINT.
/// Coordinates keep their leading zeros everywhere (TPM Part 1, "ECC Point Padding").
fn agreed<C>(ek: &PublicKey<C>, hash: HashAlgorithm, entropy: &mut Cursor<'_>) -> Option<(Zeroizing<Vec<u8>>, Vec<u8>)>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C> + AffineCoordinates<FieldRepr = FieldBytes<C>>,
{
    let ours = Zeroizing::new(candidate::<C>(entropy)?);
    let shared = PublicKey::<C>::from_affine(ProjectivePoint::<C>::mul(ek.to_projective(), **ours).into()).ok()?;
    let shared = Zeroizing::new(shared.as_affine().x());
    let public = PublicKey::<C>::from_secret_scalar(&ours);
    let (x, y) = (public.as_affine().x(), public.as_affine().y());
    let seed = kdf_e(hash, &shared, LABEL, &x, &ek.as_affine().x());
    Some((seed, [sized(&x), sized(&y)].concat()))
}

/// The first private key among the candidates (FIPS 186-5, A.2.2).
fn candidate<C: CurveArithmetic>(entropy: &mut Cursor<'_>) -> Option<NonZeroScalar<C>> {
    let mut repr = FieldBytes::<C>::default();
    while let Some(bytes) = entropy.take(repr.len()) {
        repr.copy_from_slice(bytes);
        if let Some(scalar) = NonZeroScalar::<C>::from_repr(repr).into_option() {
            return Some(scalar);
        }
    }
    None
}
