//! Keys from a seed, and what is done with them (TPM Part 1, "Key Derivation" and "Symmetric Encryption").

use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use ring::hmac as ring_hmac;
use zeroize::Zeroizing;

use crate::digest::{Digest, HashAlgorithm};

/// KDFa: NIST SP 800-108 in counter mode with HMAC (TPM Part 1, "KDFa()"). Nothing here has a second context.
pub(super) fn kdf_a(hash: HashAlgorithm, key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<Vec<u8>> {
    // Labels are hashed with the NUL that ends them.
    expand(bits, |counter| hmac(hash, key, &[&counter, label, &[0], context, &bits.to_be_bytes()]))
}

/// KDFe: NIST SP 800-56A's concatenation (TPM Part 1, "KDFe for ECDH"), for as many bits as the hash has. The label
/// brings its NUL along.
pub(super) fn kdf_e(
    hash: HashAlgorithm,
    shared_x: &[u8],
    label: &[u8],
    ephemeral_x: &[u8],
    static_x: &[u8],
) -> Zeroizing<Vec<u8>> {
    let bits = u32::try_from(hash.digest_len()).unwrap_or_default().saturating_mul(8);
    expand(bits, |counter| {
        Digest::of(hash, [counter.as_slice(), shared_x, label, ephemeral_x, static_x]).as_bytes().to_vec()
    })
}

/// Blocks, counted from 1, until there are so many bits. All derived here is of whole bytes.
fn expand(bits: u32, block: impl Fn([u8; 4]) -> Vec<u8>) -> Zeroizing<Vec<u8>> {
    let len = usize::try_from(bits / 8).unwrap_or_default();
    let mut derived = Zeroizing::new(Vec::with_capacity(len));
    for counter in 1u32.. {
        let missing = len.saturating_sub(derived.len());
        if missing == 0 {
            break;
        }
        derived.extend(Zeroizing::new(block(counter.to_be_bytes())).iter().take(missing));
    }
    derived
}

/// HMAC (FIPS 198-1) of these parts, one after the other.
pub(super) fn hmac(hash: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let algorithm = match hash {
        HashAlgorithm::Sha1 => ring_hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => ring_hmac::HMAC_SHA256,
        HashAlgorithm::Sha384 => ring_hmac::HMAC_SHA384,
        HashAlgorithm::Sha512 => ring_hmac::HMAC_SHA512,
    };
    let mut context = ring_hmac::Context::with_key(&ring_hmac::Key::new(algorithm, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().to_vec()
}

/// AES in CFB mode with whole blocks fed back and an initialisation vector of zeros (NIST SP 800-38A, 6.3; TPM Part 1,
/// "Credential Protection"), by a key of 16, 24 or 32 bytes.
pub(super) fn encrypt_cfb(key: &[u8], data: &mut [u8]) {
    match key.len() {
        16 => encrypt_cfb_by::<aes::Aes128>(key, data),
        24 => encrypt_cfb_by::<aes::Aes192>(key, data),
        _ => encrypt_cfb_by::<aes::Aes256>(key, data),
    }
}

fn encrypt_cfb_by<C: BlockCipherEncrypt + KeyInit>(key: &[u8], data: &mut [u8]) {
    // No key has another length. If one had, nothing of the data would be given out.
    let Ok(cipher) = C::new_from_slice(key) else { return data.fill(0) };
    let mut feedback = Block::<C>::default();
    for chunk in data.chunks_mut(feedback.len()) {
        cipher.encrypt_block(&mut feedback);
        for (byte, fed) in chunk.iter_mut().zip(feedback.iter_mut()) {
            *byte ^= *fed;
            *fed = *byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    const SEED: &[u8; 32] = b"seedseedseedseedseedseedseedseed";

    /// By `crypt_kdfa` and `crypt_kdfe` of keylime 7.14.3, which are python-cryptography's KBKDFHMAC and ConcatKDFHash.
    const DERIVED: [(HashAlgorithm, [&str; 3]); 3] = [
        (
            HashAlgorithm::Sha256,
            [
                "90ac9111dc1ac6a758f26072731583995ac7523a3c9b11f1181f34abc1eab2e4f5e9cea9645f8fadfed4b8ca12b807356eab9730c097c\
                 2581eadd090d0d8aeb29457ba6bca9629ca43364adfed1bd91277ff45f8533c26fb53707b2d71146a9ab6790958ac88eae8b1c8d45b0e\
                 5028ffb0fc296fa6af03750d81c85cbb621eee",
                "e511934a2c13fd8b9a0ba5fc00a593926bb33d95667507c9c67f51c8786f714a",
                "4f5973dce6d667165fff39b722f0c48f2f6a785a9daddcbe3770472c92a59bae",
            ],
        ),
        (
            HashAlgorithm::Sha384,
            [
                "9711c682777881640aec3636778a18fdf5ba9c97bb0e855ea6be9bb007801f9667f3cee0b57d5d09547baa9183f8dbde15455efceb075\
                 b6ddb4053aa56d9972b20c18c896b9840860365d9858c1180eff040ee9adf76daa9da1a5ad4f15d6c4c97ffd76cec853c56c7b2854dcd\
                 29b31e1827110106dfccaf7f08e3ddd6a60d85",
                "d840b9505f5e4f2694c76ac4a8592720157d67bd5caa9b66ff3f90007200716c14b73a682ab88f076491f74717ca4b60",
                "19174016b2dd4dbdb68ced74a18a3bc1969906fed9bebe27dc00deb688380dca13f98393105bbe7699cd6a868d5dc70b",
            ],
        ),
        (
            HashAlgorithm::Sha512,
            [
                "039f58b05fee1392540eac60086a4797500554bb21220d90867936fb4f8845001612bfb879bb0a0357953251553e88117f95280a3c07e\
                 291a22ab9e1aff99a1e861eb7063145527a681e7599be9cd31a33fc035e7bc2eeb6acedea5c296cc9b185da0fdd4b306955bc88aca10e\
                 97a1344029c36d296d1dd2b15e77d6fa6817a2",
                "17ab800a5b077546d2511d973587725c18123d100fca1eb1627d65a6210c3899320c5e6c5754329fb02e0fa04bf9f5927ff19ae0e62e2\
                 f1d655d3ab3d22e73f2",
                "22a9b76b82a6e03472156e8cdef10051ef4cd26afa6bad03dd309921c9a4ee13e1a1dd41269b1aaa491a3a30a3b6f390a2301e88819ad\
                 5a93528a9805f8317b7",
            ],
        ),
    ];

    #[test]
    fn keys_are_derived_as_elsewhere() {
        let ephemeral: Vec<u8> = [&[0; 31][..], b"x"].concat();
        let shared: Vec<u8> = (0..32).collect();
        for (hash, [long, integrity, agreed]) in DERIVED {
            assert_eq!(hex::encode(&kdf_a(hash, SEED, b"STORAGE", b"\0\x0bname", 1024)), long);
            let bits = u32::try_from(hash.digest_len()).unwrap() * 8;
            assert_eq!(hex::encode(&kdf_a(hash, SEED, b"INTEGRITY", b"", bits)), integrity);
            assert_eq!(hex::encode(&kdf_e(hash, &shared, b"IDENTITY\0", &ephemeral, &[b'y'; 32])), agreed);
        }
        // The length is part of what is hashed: a shorter key is no beginning of a longer one.
        let short = kdf_a(HashAlgorithm::Sha256, SEED, b"STORAGE", b"\0\x0bname", 128);
        assert_eq!(hex::encode(&short), "dcab37b4b1022aece243d69079d19c82");
    }

    /// By `openssl enc -aes-128-cfb -K 5a… -iv 00…` and its like.
    #[test]
    fn ciphertext_is_openssls() {
        for (len, expected) in [
            (16, "0aac8bc87d98fbc560327fda183c335c7e0fe44e291923acfb8e90747aeee84ef59a"),
            (24, "10f72ce68db4945bbbab99e5f38b0e8aab83a6e31db5704d9227e29413789095b28c"),
            (32, "458c4f874ed19aa6b395e8c14105ad0c3418a766fdf2431097d840232051495706dc"),
        ] {
            let mut data = *b"thirty-four bytes of an identity!!";
            encrypt_cfb(&[0x5a; 32][..len], &mut data);
            assert_eq!(hex::encode(&data), expected);
        }
    }
}
