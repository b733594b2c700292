//! One stream of bytes, all digests asked for, in one pass.

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Hashes one stream under several algorithms at once.
#[derive(Debug)]
pub struct Hasher {
    states: Vec<State>,
}

#[derive(Debug)]
enum State {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher for `algorithms`.
    pub fn new(algorithms: &[HashAlgorithm]) -> Self {
        let states = algorithms.iter().map(|algorithm| match algorithm {
            HashAlgorithm::Sha1 => State::Sha1(Sha1::new()),
            HashAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            HashAlgorithm::Sha384 => State::Sha384(Sha384::new()),
            HashAlgorithm::Sha512 => State::Sha512(Sha512::new()),
        });
        Self { states: states.collect() }
    }

    /// Takes the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        for state in &mut self.states {
            match state {
                State::Sha1(state) => state.update(bytes),
                State::Sha256(state) => state.update(bytes),
                State::Sha384(state) => state.update(bytes),
                State::Sha512(state) => state.update(bytes),
            }
        }
    }

    /// Takes the next bytes of two streams.
    pub fn update_both((a, a_bytes): (&mut Self, &[u8]), (b, b_bytes): (&mut Self, &[u8])) {
        a.update(a_bytes);
        b.update(b_bytes);
    }

    /// The digests, in the order of the algorithms given.
    pub fn finish(self) -> Vec<Digest> {
        let digests = self.states.into_iter().map(|state| match state {
            State::Sha1(state) => Digest::new(HashAlgorithm::Sha1, &state.finalize()),
            State::Sha256(state) => Digest::new(HashAlgorithm::Sha256, &state.finalize()),
            State::Sha384(state) => Digest::new(HashAlgorithm::Sha384, &state.finalize()),
            State::Sha512(state) => Digest::new(HashAlgorithm::Sha512, &state.finalize()),
        });
        digests.map(|digest| digest.expect("a hash function's output has its own length")).collect()
    }
}

/// The block of SHA-1 and SHA-256 in bytes (FIPS 180-4).
pub const BLOCK_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The one-block message of FIPS 180-4's examples, as `sha1sum`, `sha256sum`, … print it.
    #[test]
    fn abc() {
        let mut hasher = Hasher::new(&HashAlgorithm::ALL);
        hasher.update(b"a");
        hasher.update(b"bc");
        let digests: Vec<String> = hasher.finish().iter().map(ToString::to_string).collect();
        assert_eq!(digests[0], "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(digests[1], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(digests[2].starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"));
        assert!(digests[3].starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
    }
}
