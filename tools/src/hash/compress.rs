//! The compression functions of SHA-1 and SHA-256 (FIPS 180-4, 6.1.2 and 6.2.2), for one stream and for many.
//!
//! One stream is the work of the sha1 and sha2 crates. Many streams go side by side on x86: sixteen where there is
//! AVX-512, two where there are the SHA extensions. On other processors streams take turns.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

use super::Block;

/// The initial hash value of SHA-1 (FIPS 180-4, 5.3.1).
pub(super) const SHA1_START: [u32; 5] = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];

/// The initial hash value of SHA-256 (FIPS 180-4, 5.3.3).
pub(super) const SHA256_START: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The state of one stream, and the blocks that it has yet to take.
pub(super) struct Stream<'a, const WORDS: usize> {
    pub(super) state: &'a mut [u32; WORDS],
    pub(super) blocks: &'a [Block],
}

/// The number of streams that this processor is busiest with.
pub(super) fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if avx512::is_supported() {
        return avx512::LANES;
    }
    2
}

pub(super) fn sha1(state: &mut [u32; 5], blocks: &[Block]) {
    sha1::block_api::compress(state, blocks);
}

pub(super) fn sha256(state: &mut [u32; 8], blocks: &[Block]) {
    sha2::block_api::compress256(state, blocks);
}

pub(super) fn sha1_many(streams: &mut [Stream<'_, 5>]) {
    #[cfg(target_arch = "x86_64")]
    side_by_side(streams, sha_ni::sha1, avx512::sha1);
    for stream in streams {
        sha1(stream.state, stream.blocks);
    }
}

pub(super) fn sha256_many(streams: &mut [Stream<'_, 8>]) {
    #[cfg(target_arch = "x86_64")]
    side_by_side(streams, sha_ni::sha256, avx512::sha256);
    for stream in streams {
        sha256(stream.state, stream.blocks);
    }
}

/// Takes equally many blocks of neighbouring streams, and leaves what some have more. `two` must be of [`sha_ni`],
/// `sixteen` of [`avx512`].
#[cfg(target_arch = "x86_64")]
fn side_by_side<'a, const WORDS: usize>(
    streams: &mut [Stream<'a, WORDS>],
    two: unsafe fn(&mut [Stream<'a, WORDS>; 2]),
    sixteen: unsafe fn(&mut [Stream<'a, WORDS>]),
) {
    for group in streams.chunks_mut(avx512::LANES) {
        if group.len() >= avx512::WORTHWHILE && avx512::is_supported() {
            #[expect(unsafe_code, reason = "needs a processor with AVX-512")]
            // SAFETY: the processor has every feature that the functions of `avx512` are compiled for.
            unsafe {
                sixteen(group);
            }
        } else if sha_ni::is_supported() {
            for pair in group.as_chunks_mut().0 {
                #[expect(unsafe_code, reason = "needs a processor with the SHA extensions")]
                // SAFETY: the processor has every feature that the functions of `sha_ni` are compiled for.
                unsafe {
                    two(pair);
                }
            }
        }
    }
}

/// Takes from each stream as many blocks as the shortest has. Lanes without a stream have none.
#[cfg(target_arch = "x86_64")]
fn take_equally<'a, const WORDS: usize, const LANES: usize>(
    streams: &mut [Stream<'a, WORDS>],
) -> (usize, [&'a [Block]; LANES]) {
    let count = streams.iter().map(|stream| stream.blocks.len()).min().unwrap_or(0);
    let mut lanes: [&[Block]; LANES] = [&[]; LANES];
    for (lane, stream) in lanes.iter_mut().zip(streams) {
        (*lane, stream.blocks) = stream.blocks.split_at(count);
    }
    (count, lanes)
}

/// FIPS 180-4, 4.2.2.
#[cfg(target_arch = "x86_64")]
const SHA256_CONSTANTS: [[[u32; 4]; 4]; 4] = [
    [
        [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5],
        [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
        [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3],
        [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
    ],
    [
        [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc],
        [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
        [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7],
        [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
    ],
    [
        [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13],
        [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
        [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3],
        [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
    ],
    [
        [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5],
        [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
        [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208],
        [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
    ],
];

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::array::from_fn;
    use std::fmt::Debug;

    use super::*;

    /// Knuth's linear congruential generator (The Art of Computer Programming, 3.3.4): the same numbers on every run.
    fn next(random: &mut u64) -> u32 {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 32) as u32
    }

    /// Every state and every block is another, so that lanes cannot be confused; each stream has some blocks more than
    /// the shortest, and must keep them.
    fn holds_to_the_crate<const WORDS: usize>(
        count: usize,
        kernel: impl FnOnce(&mut [Stream<'_, WORDS>]),
        alone: impl Fn(&mut [u32; WORDS], &[Block]),
    ) where
        [u32; WORDS]: Debug + PartialEq,
    {
        let mut random = count as u64;
        let before: Vec<[u32; WORDS]> = (0..count).map(|_| from_fn(|_| next(&mut random))).collect();
        let mut block = |_| from_fn(|_| (next(&mut random) >> 24) as u8);
        let blocks: Vec<Vec<Block>> = (0..count).map(|n| (0..5 + n % 3).map(&mut block).collect()).collect();

        let mut after = before.clone();
        let mut streams: Vec<_> =
            after.iter_mut().zip(&blocks).map(|(state, blocks)| Stream { state, blocks }).collect();
        kernel(&mut streams);
        for (stream, blocks) in streams.iter().zip(&blocks) {
            assert_eq!(stream.blocks, &blocks[5..]);
        }
        for (n, (mut state, blocks)) in before.into_iter().zip(&blocks).enumerate() {
            alone(&mut state, &blocks[..5]);
            assert_eq!(after[n], state, "stream {n} of {count}");
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "needs a processor with AVX-512")]
    fn sixteen_lanes_give_what_one_gives() {
        if !avx512::is_supported() {
            eprintln!("skipped: this processor has no AVX-512");
            return;
        }
        for count in 1..=avx512::LANES {
            // SAFETY: the processor has AVX-512.
            holds_to_the_crate(count, |streams| unsafe { avx512::sha1(streams) }, sha1);
            // SAFETY: as above.
            holds_to_the_crate(count, |streams| unsafe { avx512::sha256(streams) }, sha256);
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "needs a processor with the SHA extensions")]
    fn two_lanes_give_what_one_gives() {
        if !sha_ni::is_supported() {
            eprintln!("skipped: this processor has no SHA extensions");
            return;
        }
        // SAFETY: the processor has the SHA extensions.
        holds_to_the_crate(2, |streams| unsafe { sha_ni::sha1(streams.as_mut_array().unwrap()) }, sha1);
        // SAFETY: as above.
        holds_to_the_crate(2, |streams| unsafe { sha_ni::sha256(streams.as_mut_array().unwrap()) }, sha256);
    }
}
