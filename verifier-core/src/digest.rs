//! Digests of files as a whitelist and the kernel write them: an algorithm and its value.

use std::fmt;
use std::hint::black_box;

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::hex;

/// A hash algorithm of a PCR bank, a template digest or a listed file.
///
/// The order is the order of the `file-hash` line (docs/format.md, Header).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// SHA-1, 20 bytes (FIPS 180-4). Proves nothing unless a rule says so.
    Sha1,
    /// SHA-256, 32 bytes (FIPS 180-4).
    Sha256,
    /// SHA-384, 48 bytes (FIPS 180-4).
    Sha384,
    /// SHA-512, 64 bytes (FIPS 180-4).
    Sha512,
}

impl HashAlgorithm {
    /// All algorithms, in the order of the `file-hash` line.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The kernel's name, as in IMA lists (`crypto/hash_info.c`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a digest in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of this name; `None` for any other spelling.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }

    /// The algorithm whose digests have `len` bytes.
    pub fn from_digest_len(len: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.digest_len() == len)
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The longest digest, SHA-512, in bytes.
const MAX_DIGEST_LEN: usize = 64;

/// The digest of some bytes under one algorithm. Its length is always that algorithm's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: HashAlgorithm,
    /// Zero beyond `algorithm.digest_len()`.
    bytes: [u8; MAX_DIGEST_LEN],
}

impl Digest {
    /// A digest from its bytes; `None` unless there are exactly `algorithm.digest_len()` of them.
    pub fn new(algorithm: HashAlgorithm, value: &[u8]) -> Option<Self> {
        if value.len() != algorithm.digest_len() {
            return None;
        }
        let mut bytes = [0; MAX_DIGEST_LEN];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self { algorithm, bytes })
    }

    /// SHA-256 of some bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hash_from_memory(&mut hasher, bytes);
        Self::of_sha256(hasher.finalize().into())
    }

    /// A SHA-256 digest from its value.
    pub(crate) fn of_sha256(value: [u8; 32]) -> Self {
        let mut bytes = [0; MAX_DIGEST_LEN];
        for (byte, hashed) in bytes.iter_mut().zip(value) {
            *byte = hashed;
        }
        Self { algorithm: HashAlgorithm::Sha256, bytes }
    }
    /// The digest of these parts, one after the other.
    pub fn of<'a>(algorithm: HashAlgorithm, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        match algorithm {
            HashAlgorithm::Sha1 => Self::finish(algorithm, Sha1::new(), parts),
            HashAlgorithm::Sha256 => Self::finish(algorithm, Sha256::new(), parts),
            HashAlgorithm::Sha384 => Self::finish(algorithm, Sha384::new(), parts),
            HashAlgorithm::Sha512 => Self::finish(algorithm, Sha512::new(), parts),
        }
    }

    fn finish<'a>(
        algorithm: HashAlgorithm,
        mut hasher: impl sha2::Digest,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        for part in parts {
            hasher.update(part);
        }
        let mut bytes = [0; MAX_DIGEST_LEN];
        let value = hasher.finalize();
        if let Some(filled) = bytes.get_mut(..value.len()) {
            filled.copy_from_slice(&value);
        }
        Self { algorithm, bytes }
    }

    /// `byte`, over and over.
    pub fn filled(algorithm: HashAlgorithm, byte: u8) -> Self {
        let mut bytes = [0; MAX_DIGEST_LEN];
        bytes.iter_mut().take(algorithm.digest_len()).for_each(|filled| *filled = byte);
        Self { algorithm, bytes }
    }

    /// The same value as one of `bank`, cut or filled up with zeros.
    pub(crate) fn padded_to(self, bank: HashAlgorithm) -> Self {
        if self.algorithm == bank {
            return self;
        }
        let kept = self.algorithm.digest_len().min(bank.digest_len());
        let mut padded = Self::filled(bank, 0);
        for (to, from) in padded.bytes.iter_mut().zip(self.bytes).take(kept) {
            *to = from;
        }
        padded
    }

    /// A digest from lower-case hex; the algorithm follows from the length (40, 64, 96 or 128 digits).
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let algorithm = HashAlgorithm::from_digest_len(text.len() / 2)?;
        let mut bytes = [0; MAX_DIGEST_LEN];
        hex::decode_lower(text, bytes.get_mut(..algorithm.digest_len())?)?;
        Some(Self { algorithm, bytes })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The value, `algorithm().digest_len()` bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.digest_len()).unwrap_or_default()
    }

    /// Whether every byte is zero: what the kernel writes for a violation, never a file's digest.
    pub fn is_zero(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }
}

/// Hashes bytes that are in no cache. A hash works through its bytes too slowly for the processor to ask memory for many
/// of them at once; a look at one byte of each cache line beforehand does (measured: 2.0 GB/s instead of 1.2).
pub(crate) fn hash_from_memory(hasher: &mut Sha256, bytes: &[u8]) {
    for piece in bytes.chunks(16 << 10) {
        black_box(piece.iter().step_by(64).fold(0, |seen, byte| seen ^ byte));
        hasher.update(piece);
    }
}

/// Lower-case hex, without the algorithm.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, of `abc`: NIST's example values.
    #[test]
    fn each_algorithm_is_its_own() {
        let first_bytes = HashAlgorithm::ALL.map(|algorithm| {
            let digest = Digest::of(algorithm, [&b"a"[..], b"", b"bc"]);
            assert_eq!(digest.algorithm(), algorithm);
            digest.as_bytes()[..4].to_vec()
        });
        assert_eq!(
            first_bytes,
            [*b"\xa9\x99\x3e\x36", *b"\xba\x78\x16\xbf", *b"\xcb\x00\x75\x3f", *b"\xdd\xaf\x35\xa1"]
        );
        assert_eq!(Digest::of(HashAlgorithm::Sha256, [&b"abc"[..]]), Digest::sha256(b"abc"));
    }

    #[test]
    fn the_algorithm_follows_from_the_length() {
        for algorithm in HashAlgorithm::ALL {
            let text = "ab".repeat(algorithm.digest_len());
            let digest = Digest::from_hex(text.as_bytes()).map(|digest| digest.algorithm());
            assert_eq!(digest, Some(algorithm));
        }
        assert_eq!(Digest::from_hex(b""), None);
        assert_eq!(Digest::from_hex(&[b'a'; 63]), None);
        assert_eq!(Digest::from_hex(&[b'A'; 64]), None);
    }

    /// FIPS 180 examples: "abc", as NIST's examples of each algorithm have it.
    #[test]
    fn parts_are_hashed_as_one() {
        for abc in [
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ] {
            let abc = Digest::from_hex(abc.as_bytes()).unwrap();
            assert_eq!(Digest::of(abc.algorithm(), [&b"a"[..], b"", b"bc"]), abc);
        }
    }

    #[test]
    fn a_filled_digest_has_its_length() {
        for algorithm in HashAlgorithm::ALL {
            let ones = Digest::from_hex("ff".repeat(algorithm.digest_len()).as_bytes());
            assert_eq!(Some(Digest::filled(algorithm, 0xff)), ones);
            assert!(Digest::filled(algorithm, 0).is_zero());
        }
    }
}
