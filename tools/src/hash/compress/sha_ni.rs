//! Two streams side by side with the x86 SHA extensions (Intel SDM, volume 2: SHA1RNDS4, SHA256RNDS2): each instruction
//! waits for the one before it in its own stream, and the other stream fills the gap.
//!
//! No memory is touched but through slices: the one danger of these functions is a processor that lacks them.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::{SHA256_CONSTANTS, Stream, take_equally};
use crate::hash::Block;

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn sha256(streams: &mut [Stream<'_, 8>; 2]) {
    let (_, blocks) = take_equally::<_, 2>(streams);
    let states = streams.each_mut().map(|stream| &mut *stream.state);
    // Big-endian words, the first lowest.
    let mask = words(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
    // The instructions want the state as (a, b, e, f) and (c, d, g, h), the first word highest.
    let mut abef = [0, 1].map(|n: usize| words(states[n][0], states[n][1], states[n][4], states[n][5]));
    let mut cdgh = [0, 1].map(|n: usize| words(states[n][2], states[n][3], states[n][6], states[n][7]));
    for (a_block, b_block) in blocks[0].iter().zip(blocks[1]) {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut schedules = [message(a_block, mask), message(b_block, mask)];
        // The compiler unrolls four short loops, and keeps everything in registers; one long loop it leaves as it is.
        macro_rules! sixteen_rounds {
            ($constants:expr) => {
                for [k0, k1, k2, k3] in $constants {
                    let k = words(k3, k2, k1, k0);
                    for n in [0, 1] {
                        let w = &mut schedules[n];
                        let wk = _mm_add_epi32(w[0], k);
                        cdgh[n] = _mm_sha256rnds2_epu32(cdgh[n], abef[n], wk);
                        abef[n] = _mm_sha256rnds2_epu32(abef[n], cdgh[n], _mm_shuffle_epi32::<0b1110>(wk));
                        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), _mm_alignr_epi8::<4>(w[3], w[2]));
                        *w = [w[1], w[2], w[3], _mm_sha256msg2_epu32(sum, w[3])];
                    }
                }
            };
        }
        sixteen_rounds!(SHA256_CONSTANTS[0]);
        sixteen_rounds!(SHA256_CONSTANTS[1]);
        sixteen_rounds!(SHA256_CONSTANTS[2]);
        sixteen_rounds!(SHA256_CONSTANTS[3]);
        for n in [0, 1] {
            abef[n] = _mm_add_epi32(abef[n], abef_before[n]);
            cdgh[n] = _mm_add_epi32(cdgh[n], cdgh_before[n]);
        }
    }
    for (n, state) in states.into_iter().enumerate() {
        let ([a, b, e, f], [c, d, g, h]) = (unpack(abef[n]), unpack(cdgh[n]));
        *state = [a, b, c, d, e, f, g, h];
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn sha1(streams: &mut [Stream<'_, 5>; 2]) {
    let (_, blocks) = take_equally::<_, 2>(streams);
    let states = streams.each_mut().map(|stream| &mut *stream.state);
    // Big-endian words, the first highest.
    let mask = words(0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f);
    let mut abcd = [0, 1].map(|n: usize| words(states[n][0], states[n][1], states[n][2], states[n][3]));
    let mut e = [0, 1].map(|n: usize| words(states[n][4], 0, 0, 0));
    for (a_block, b_block) in blocks[0].iter().zip(blocks[1]) {
        let (abcd_before, e_before) = (abcd, e);
        let mut schedules = [message(a_block, mask), message(b_block, mask)];
        // Four rounds on, e is a rotated by thirty bits; SHA1NEXTE does it, so the first e is rotated back.
        let mut a_before = e.map(|e| _mm_or_si128(_mm_slli_epi32::<2>(e), _mm_srli_epi32::<30>(e)));
        // Five times four rounds under each of the four functions of FIPS 180-4, 4.1.1.
        macro_rules! twenty_rounds {
            ($function:literal) => {
                for _ in 0..5 {
                    for n in [0, 1] {
                        let w = &mut schedules[n];
                        let we = _mm_sha1nexte_epu32(a_before[n], w[0]);
                        a_before[n] = abcd[n];
                        abcd[n] = _mm_sha1rnds4_epu32::<$function>(abcd[n], we);
                        let sum = _mm_xor_si128(_mm_sha1msg1_epu32(w[0], w[1]), w[2]);
                        *w = [w[1], w[2], w[3], _mm_sha1msg2_epu32(sum, w[3])];
                    }
                }
            };
        }
        twenty_rounds!(0);
        twenty_rounds!(1);
        twenty_rounds!(2);
        twenty_rounds!(3);
        for n in [0, 1] {
            e[n] = _mm_sha1nexte_epu32(a_before[n], e_before[n]);
            abcd[n] = _mm_add_epi32(abcd[n], abcd_before[n]);
        }
    }
    for (n, state) in states.into_iter().enumerate() {
        let ([a, b, c, d], [e, ..]) = (unpack(abcd[n]), unpack(e[n]));
        *state = [a, b, c, d, e];
    }
}

/// The first of four words highest.
#[target_feature(enable = "sse2")]
fn words(highest: u32, high: u32, low: u32, lowest: u32) -> __m128i {
    _mm_set_epi32(highest.cast_signed(), high.cast_signed(), low.cast_signed(), lowest.cast_signed())
}

/// The highest of four words first.
#[target_feature(enable = "sse4.1")]
fn unpack(words: __m128i) -> [u32; 4] {
    [
        _mm_extract_epi32::<3>(words).cast_unsigned(),
        _mm_extract_epi32::<2>(words).cast_unsigned(),
        _mm_extract_epi32::<1>(words).cast_unsigned(),
        _mm_extract_epi32::<0>(words).cast_unsigned(),
    ]
}

/// The sixteen words of a block, with the bytes of each four in the order that `mask` gives.
#[target_feature(enable = "ssse3")]
fn message(block: &Block, mask: __m128i) -> [__m128i; 4] {
    let (quarters, _) = block.as_chunks::<8>();
    let half = |index: usize| i64::from_le_bytes(quarters[index]);
    from_fn(|n| _mm_shuffle_epi8(_mm_set_epi64x(half(2 * n + 1), half(2 * n)), mask))
}
