//! One stream of bytes, all digests asked for, in one pass; and many streams side by side.
//!
//! Each step of a hash function waits for the one before, so that one stream leaves most of a processor idle. Many
//! streams together ([`Hasher::update_many`]) fill it: [`lanes`] says how many. Where a processor has nothing to run
//! them side by side they take turns; the digests are the same.

mod compress;

use compress::Stream;
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

    /// Takes the next bytes of many streams. It is fastest where the shares are equal, and of whole blocks
    /// ([`BLOCK_LEN`]) except at a stream's end; it is right in any case.
    pub fn update_many<'a>(streams: impl IntoIterator<Item = (&'a mut Self, &'a [u8])>) {
        let (mut sha1, mut sha256) = (Vec::new(), Vec::new());
        for (hasher, bytes) in streams {
            let blocks = hasher.take(bytes);
            if blocks.is_empty() {
                continue;
            }
            for state in &mut hasher.states {
                match state {
                    State::Sha1(state) => sha1.push(Stream { state, blocks }),
                    State::Sha256(state) => sha256.push(Stream { state, blocks }),
                    State::Sha384(_) | State::Sha512(_) => {}
                }
            }
        }
        compress::sha1_many(&mut sha1);
        compress::sha256_many(&mut sha256);
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
}

/// The number of streams that keeps one core of this machine busiest in [`Hasher::update_many`].
pub fn lanes() -> usize {
    compress::lanes()
}

/// The block of SHA-1 and SHA-256 in bytes (FIPS 180-4, 1).
pub const BLOCK_LEN: usize = 64;

type Block = [u8; BLOCK_LEN];

#[cfg(test)]
mod tests {
    use std::iter;

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

    #[test]
    fn every_short_length_alone_and_beside_others() {
        let messages: Vec<_> = (0..300).map(|len| message(len as u64, len)).collect();
        for message in &messages {
            let mut alone = Hasher::new(&HashAlgorithm::ALL);
            alone.update(message);
            assert_eq!(alone.finish(), expected(message), "{}", message.len());
        }
        let mut hashers: Vec<_> = messages.iter().map(|_| Hasher::new(&HashAlgorithm::ALL)).collect();
        Hasher::update_many(iter::zip(&mut hashers, messages.iter().map(Vec::as_slice)));
        for (hasher, message) in iter::zip(hashers, &messages) {
            assert_eq!(hasher.finish(), expected(message), "{}", message.len());
        }
    }

    #[test]
    fn any_number_of_streams_of_any_length_in_any_chunks() {
        let mut random = 3;
        for count in 0..40 {
            let messages: Vec<_> = (0..count).map(|n| message(n, (next(&mut random) % 20_000) as usize)).collect();
            let mut rests: Vec<_> = messages.iter().map(Vec::as_slice).collect();
            let mut hashers: Vec<_> = messages.iter().map(|_| Hasher::new(&HashAlgorithm::ALL)).collect();
            while rests.iter().any(|rest| !rest.is_empty()) {
                Hasher::update_many(iter::zip(&mut hashers, &mut rests).map(|(hasher, rest)| {
                    let chunk = rest.split_off(..(next(&mut random) as usize % 1_000).min(rest.len()));
                    (hasher, chunk.expect("it ends within the rest"))
                }));
            }
            for (hasher, message) in iter::zip(hashers, &messages) {
                assert_eq!(hasher.finish(), expected(message), "of {count}");
            }
        }
    }

    #[test]
    fn streams_under_different_algorithms() {
        let messages: Vec<_> = (0..20).map(|n| message(n, 1_000)).collect();
        let algorithms = |n: usize| match n % 2 {
            0 => &[HashAlgorithm::Sha256, HashAlgorithm::Sha1][..],
            _ => &[HashAlgorithm::Sha1],
        };
        let mut hashers: Vec<_> = (0..20).map(|n| Hasher::new(algorithms(n))).collect();
        Hasher::update_many(iter::zip(&mut hashers, messages.iter().map(Vec::as_slice)));
        for (n, (hasher, message)) in iter::zip(hashers, &messages).enumerate() {
            let [sha1, sha256, ..] = expected(message)[..] else { unreachable!() };
            assert_eq!(hasher.finish(), [&[sha256, sha1][..], &[sha1]][n % 2], "{n}");
        }
    }
}
