//! Sixteen streams side by side with AVX-512: one vector holds the same word of sixteen states or blocks.
//!
//! No memory is touched but through slices: the one danger of these functions is a processor that lacks AVX-512.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::{SHA256_CONSTANTS, Stream, take_equally};
use crate::hash::Block;

pub(super) const LANES: usize = 16;

/// From this many streams on, sixteen lanes, some idle, are faster than pairs with the SHA extensions.
pub(super) const WORTHWHILE: usize = 10;

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// A loop written out: an array indexed by its variable stays in registers. The compiler leaves loops this long rolled.
macro_rules! unrolled {
    (for $t:ident in 0..16 $body:block) => {
        unrolled!($t $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (for $t:ident in 0..20 $body:block) => {
        unrolled!($t $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19)
    };
    ($t:ident $body:block $($n:literal)*) => {
        $({
            let $t: usize = $n;
            $body
        })*
    };
}

/// Sixteen streams at most.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha256(streams: &mut [Stream<'_, 8>]) {
    let (count, lanes) = take_equally::<_, LANES>(streams);
    let mut state = load(streams);
    for index in 0..count {
        let mut w = message(&lanes, index);
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (n, constants) in SHA256_CONSTANTS.iter().enumerate() {
            unrolled!(for t in 0..16 {
                let sum0 = xor(ror::<2>(a), ror::<13>(a), ror::<22>(a));
                let sum1 = xor(ror::<6>(e), ror::<11>(e), ror::<25>(e));
                let wk = add(w[t], _mm512_set1_epi32(constants[t / 4][t % 4].cast_signed()));
                let t1 = add(add(add(h, wk), choose(e, f, g)), sum1);
                let t2 = add(sum0, majority(a, b, c));
                (h, g, f, e, d, c, b, a) = (g, f, e, add(d, t1), c, b, a, add(t1, t2));
                // The word of sixteen rounds on takes its place; the last sixteen rounds are the end.
                if n < 3 {
                    let (early, late) = (w[(t + 1) % 16], w[(t + 14) % 16]);
                    let sigma0 = xor(ror::<7>(early), ror::<18>(early), _mm512_srli_epi32::<3>(early));
                    let sigma1 = xor(ror::<17>(late), ror::<19>(late), _mm512_srli_epi32::<10>(late));
                    w[t] = add(add(w[t], sigma0), add(w[(t + 9) % 16], sigma1));
                }
            });
        }
        for (before, after) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *before = add(*before, after);
        }
    }
    store(state, streams);
}

/// Sixteen streams at most.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha1(streams: &mut [Stream<'_, 5>]) {
    let (count, lanes) = take_equally::<_, LANES>(streams);
    let mut state = load(streams);
    for index in 0..count {
        let mut w = message(&lanes, index);
        let [mut a, mut b, mut c, mut d, mut e] = state;
        macro_rules! twenty_rounds {
            ($from:literal, $function:ident, $constant:literal) => {
                unrolled!(for t in 0..20 {
                    let t = $from + t;
                    if t >= 16 {
                        let sum = xor(w[(t - 3) % 16], w[(t - 8) % 16], w[(t - 14) % 16]);
                        w[t % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(sum, w[t % 16]));
                    }
                    let wk = add(w[t % 16], _mm512_set1_epi32(u32::cast_signed($constant)));
                    let sum = add(add(add(e, wk), $function(b, c, d)), _mm512_rol_epi32::<5>(a));
                    (e, d, c, b, a) = (d, c, _mm512_rol_epi32::<30>(b), a, sum);
                });
            };
        }
        // FIPS 180-4, 4.1.1 and 4.2.1.
        twenty_rounds!(0, choose, 0x5a827999);
        twenty_rounds!(20, xor, 0x6ed9eba1);
        twenty_rounds!(40, majority, 0x8f1bbcdc);
        twenty_rounds!(60, xor, 0xca62c1d6);
        for (before, after) in state.iter_mut().zip([a, b, c, d, e]) {
            *before = add(*before, after);
        }
    }
    store(state, streams);
}

#[target_feature(enable = "avx512f")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[target_feature(enable = "avx512f")]
fn ror<const BITS: i32>(x: __m512i) -> __m512i {
    _mm512_ror_epi32::<BITS>(x)
}

// A function of three bits is the number whose bit `4 * x + 2 * y + z` is its result (Intel SDM, volume 2, VPTERNLOG).

#[target_feature(enable = "avx512f")]
fn xor(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1001_0110>(x, y, z)
}

/// Ch of FIPS 180-4, 4.1.1.
#[target_feature(enable = "avx512f")]
fn choose(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1100_1010>(x, y, z)
}

/// Maj of FIPS 180-4, 4.1.1.
#[target_feature(enable = "avx512f")]
fn majority(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1110_1000>(x, y, z)
}

/// Word by word, the blocks at `index` of all lanes.
#[target_feature(enable = "avx512f,avx512bw")]
fn message(lanes: &[&[Block]; LANES], index: usize) -> [__m512i; 16] {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, blocks) in rows.iter_mut().zip(lanes) {
        if let Some(block) = blocks.get(index) {
            let (words, _) = block.as_chunks();
            *row = vector(from_fn(|n| u32::from_be_bytes(words[n])));
        }
    }
    swap_quarters::<8>(&mut rows);
    swap_quarters::<4>(&mut rows);
    swap_quarters::<2>(&mut rows);
    swap_quarters::<1>(&mut rows);
    rows
}

/// One of the steps that transpose sixteen rows of sixteen words: in each square of `2 * SIDE` rows and columns, the
/// upper right and the lower left quarter change places.
#[target_feature(enable = "avx512f")]
fn swap_quarters<const SIDE: usize>(rows: &mut [__m512i; 16]) {
    // Sixteen and above means the second of two rows.
    let upper = vector(from_fn(|n| if n & SIDE == 0 { n } else { 16 + n - SIDE } as u32));
    let lower = vector(from_fn(|n| if n & SIDE == 0 { n + SIDE } else { 16 + n } as u32));
    for n in 0..16 {
        if n & SIDE == 0 {
            let (a, b) = (rows[n], rows[n + SIDE]);
            rows[n] = _mm512_permutex2var_epi32(a, upper, b);
            rows[n + SIDE] = _mm512_permutex2var_epi32(a, lower, b);
        }
    }
}

#[target_feature(enable = "avx512f")]
fn load<const WORDS: usize>(streams: &[Stream<'_, WORDS>]) -> [__m512i; WORDS] {
    from_fn(|word| vector(from_fn(|lane| streams.get(lane).map_or(0, |stream| stream.state[word]))))
}

#[target_feature(enable = "avx512f")]
fn store<const WORDS: usize>(state: [__m512i; WORDS], streams: &mut [Stream<'_, WORDS>]) {
    for (word, vector) in state.into_iter().enumerate() {
        for (lane, stream) in streams.iter_mut().enumerate() {
            let first = _mm512_permutexvar_epi32(_mm512_set1_epi32(lane as i32), vector);
            stream.state[word] = _mm512_cvtsi512_si32(first).cast_unsigned();
        }
    }
}

#[target_feature(enable = "avx512f")]
fn vector(words: [u32; 16]) -> __m512i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = words.map(u32::cast_signed);
    _mm512_setr_epi32(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
}
