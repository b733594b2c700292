//! One stream of bytes, all digests asked for, in one pass; and two streams side by side.
//!
//! SHA instructions wait for their own results, so that one stream leaves most of such a processor idle. Two streams
//! together ([`Hasher::update_both`]) take little longer than one. Where a processor has no such instructions the
//! streams take turns; the digests are the same.

mod compress;

use std::mem::discriminant;

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use sha2::{Digest as _, Sha384, Sha512};

/// Hashes one stream under several algorithms at once.
#[derive(Debug)]
pub struct Hasher {
    states: Vec<State>,
    /// Bytes taken so far.
    length: u64,
    /// The last `length % BLOCK_LEN` of them, which SHA-1 and SHA-256 have not seen yet.
    partial: [u8; BLOCK_LEN],
}

/// SHA-1 and SHA-256 take whole blocks only. SHA-384 and SHA-512 have other blocks, and keep their own.
#[derive(Debug)]
enum State {
    Sha1([u32; 5]),
    Sha256([u32; 8]),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher for `algorithms`.
    pub fn new(algorithms: &[HashAlgorithm]) -> Self {
        let states = algorithms.iter().map(|algorithm| match algorithm {
            HashAlgorithm::Sha1 => State::Sha1(compress::SHA1_START),
            HashAlgorithm::Sha256 => State::Sha256(compress::SHA256_START),
            HashAlgorithm::Sha384 => State::Sha384(Sha384::new()),
            HashAlgorithm::Sha512 => State::Sha512(Sha512::new()),
        });
        Self { states: states.collect(), length: 0, partial: [0; BLOCK_LEN] }
    }

    /// Takes the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.take(bytes);
        self.compress(blocks);
    }

    /// Takes the next bytes of two streams. It is fastest where both have the same algorithms, equal shares, and shares
    /// of whole blocks ([`BLOCK_LEN`]) except at a stream's end; it is right in any case.
    pub fn update_both((a, a_bytes): (&mut Self, &[u8]), (b, b_bytes): (&mut Self, &[u8])) {
        let (a_blocks, b_blocks) = (a.take(a_bytes), b.take(b_bytes));
        let both = if a.is_like(b) { a_blocks.len().min(b_blocks.len()) } else { 0 };
        let (a_both, a_rest) = a_blocks.split_at(both);
        let (b_both, b_rest) = b_blocks.split_at(both);
        for states in a.states.iter_mut().zip(&mut b.states) {
            match states {
                (State::Sha1(a), State::Sha1(b)) => compress::sha1_both([a, b], [a_both, b_both]),
                (State::Sha256(a), State::Sha256(b)) => compress::sha256_both([a, b], [a_both, b_both]),
                _ => {}
            }
        }
        a.compress(a_rest);
        b.compress(b_rest);
    }

    /// The digests, in the order of the algorithms given.
    pub fn finish(mut self) -> Vec<Digest> {
        // FIPS 180-4, 5.1.1: a one bit, zeros, and the length in bits in the last eight bytes of a block.
        let filled = self.filled();
        self.partial[filled] = 0x80;
        self.partial[filled + 1..].fill(0);
        let mut padding = [self.partial, [0; BLOCK_LEN]];
        let blocks = if filled < BLOCK_LEN - 8 { 1 } else { 2 };
        let bits = self.length.checked_mul(8).expect("nobody hashes two exbibytes");
        padding[blocks - 1][BLOCK_LEN - 8..].copy_from_slice(&bits.to_be_bytes());
        self.compress(&padding[..blocks]);

        let digest = |state| match state {
            State::Sha1(state) => Digest::new(HashAlgorithm::Sha1, state.map(u32::to_be_bytes).as_flattened()),
            State::Sha256(state) => Digest::new(HashAlgorithm::Sha256, state.map(u32::to_be_bytes).as_flattened()),
            State::Sha384(state) => Digest::new(HashAlgorithm::Sha384, &state.finalize()),
            State::Sha512(state) => Digest::new(HashAlgorithm::Sha512, &state.finalize()),
        };
        let digests = self.states.into_iter().map(digest);
        digests.map(|digest| digest.expect("a hash function's output has its own length")).collect()
    }

    /// Takes in what [`Self::compress`] will not see of `bytes`, and returns what it must.
    fn take<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [Block] {
        for state in &mut self.states {
            match state {
                State::Sha384(state) => state.update(bytes),
                State::Sha512(state) => state.update(bytes),
                State::Sha1(_) | State::Sha256(_) => {}
            }
        }
        let filled = self.filled();
        self.length += bytes.len() as u64;
        if filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_LEN - filled));
            self.partial[filled..filled + head.len()].copy_from_slice(head);
            if filled + head.len() < BLOCK_LEN {
                return &[];
            }
            self.compress(&[self.partial]);
            bytes = rest;
        }
        let (blocks, tail) = bytes.as_chunks();
        self.partial[..tail.len()].copy_from_slice(tail);
        blocks
    }

    fn compress(&mut self, blocks: &[Block]) {
        for state in &mut self.states {
            match state {
                State::Sha1(state) => compress::sha1(state, blocks),
                State::Sha256(state) => compress::sha256(state, blocks),
                State::Sha384(_) | State::Sha512(_) => {}
            }
        }
    }

    /// How much of `partial` is used.
    fn filled(&self) -> usize {
        (self.length % BLOCK_LEN as u64) as usize
    }

    fn is_like(&self, other: &Self) -> bool {
        let pairs = self.states.iter().zip(&other.states);
        self.states.len() == other.states.len() && pairs.into_iter().all(|(a, b)| discriminant(a) == discriminant(b))
    }
}

/// The block of SHA-1 and SHA-256 in bytes (FIPS 180-4, 1).
pub const BLOCK_LEN: usize = 64;

type Block = [u8; BLOCK_LEN];

#[cfg(test)]
mod tests {
    use sha1::Sha1;
    use sha2::Sha256;

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

    /// Bytes without a period that a block boundary could hide.
    fn message(seed: u64, len: usize) -> Vec<u8> {
        let mut random = seed;
        (0..len).map(|_| (next(&mut random) >> 32) as u8).collect()
    }

    /// Knuth's linear congruential generator (The Art of Computer Programming, 3.3.4): the same chunks on every run.
    fn next(random: &mut u64) -> u64 {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *random >> 16
    }

    /// Truth from the hash crates' own streams, which share no code with [`Hasher`] but the compression of one block.
    fn expected(message: &[u8]) -> Vec<Digest> {
        let digests = [
            Digest::new(HashAlgorithm::Sha1, &Sha1::digest(message)),
            Digest::new(HashAlgorithm::Sha256, &Sha256::digest(message)),
            Digest::new(HashAlgorithm::Sha384, &Sha384::digest(message)),
            Digest::new(HashAlgorithm::Sha512, &Sha512::digest(message)),
        ];
        digests.map(Option::unwrap).to_vec()
    }

    fn pair() -> (Hasher, Hasher) {
        (Hasher::new(&HashAlgorithm::ALL), Hasher::new(&HashAlgorithm::ALL))
    }

    #[test]
    fn every_short_length_alone_and_beside_another() {
        for len in 0..300 {
            let (a_message, b_message) = (message(1, len), message(2, 300 - len));
            let mut alone = Hasher::new(&HashAlgorithm::ALL);
            alone.update(&a_message);
            assert_eq!(alone.finish(), expected(&a_message), "{len}");

            let (mut a, mut b) = pair();
            Hasher::update_both((&mut a, &a_message), (&mut b, &b_message));
            assert_eq!(a.finish(), expected(&a_message), "{len}");
            assert_eq!(b.finish(), expected(&b_message), "{len}");
        }
    }

    #[test]
    fn any_lengths_in_any_chunks() {
        let mut random = 3;
        for _ in 0..300 {
            let mut len = || (next(&mut random) % 20_000) as usize;
            let (a_message, b_message) = (message(4, len()), message(5, len()));
            let (mut a, mut b) = pair();
            let (mut a_rest, mut b_rest) = (&a_message[..], &b_message[..]);
            while !a_rest.is_empty() || !b_rest.is_empty() {
                let mut chunk = |rest: &[u8]| (next(&mut random) as usize % 1_000).min(rest.len());
                let (a_chunk, a_tail) = a_rest.split_at(chunk(a_rest));
                let (b_chunk, b_tail) = b_rest.split_at(chunk(b_rest));
                Hasher::update_both((&mut a, a_chunk), (&mut b, b_chunk));
                (a_rest, b_rest) = (a_tail, b_tail);
            }
            assert_eq!(a.finish(), expected(&a_message));
            assert_eq!(b.finish(), expected(&b_message));
        }
    }

    #[test]
    fn streams_under_different_algorithms() {
        let (a_message, b_message) = (message(6, 1_000), message(7, 1_000));
        let mut a = Hasher::new(&[HashAlgorithm::Sha256, HashAlgorithm::Sha1]);
        let mut b = Hasher::new(&[HashAlgorithm::Sha1]);
        Hasher::update_both((&mut a, &a_message), (&mut b, &b_message));
        let (a_expected, b_expected) = (expected(&a_message), expected(&b_message));
        assert_eq!(a.finish(), [a_expected[1], a_expected[0]]);
        assert_eq!(b.finish(), [b_expected[0]]);
    }
}
