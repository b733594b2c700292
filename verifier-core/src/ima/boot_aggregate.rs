//! The boot_aggregate that a kernel computes from the PCRs of its boot.

use crate::digest::{Digest, HashAlgorithm};
use crate::pcr::PcrValues;

/// The name of its entry: the first one of PCR 10, by which the list is tied to this boot. A file may be called so too.
pub const NAME: &[u8] = b"boot_aggregate";

/// The PCRs that go into it: 0 to 7 under SHA-1, 0 to 9 under any other algorithm (ima_calc_boot_aggregate_tfm in
/// `ima_crypto.c`, Linux 5.8 and later).
pub fn pcrs(algorithm: HashAlgorithm) -> std::ops::Range<u8> {
    match algorithm {
        HashAlgorithm::Sha1 => 0..8,
        HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512 => 0..10,
    }
}

/// The boot_aggregate of an algorithm: that of its entry, which need not be the one of the other entries. It is over the
/// bank of the same algorithm. `None` if one of the PCRs has no value.
///
/// Which algorithm it is, the kernel decides: that of `ima_hash=` if there is such a bank, else SHA-256, else SHA-1. With
/// none of these banks, as without a TPM, its digest is all zeros (ima_calc_boot_aggregate).
pub fn recompute(values: &PcrValues, algorithm: HashAlgorithm) -> Option<Digest> {
    let values: Option<Vec<&Digest>> = pcrs(algorithm).map(|pcr| values.value(algorithm, pcr)).collect();
    Some(Digest::of(algorithm, values?.into_iter().map(Digest::as_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against captures it is held in the tests of measurement lists; only the other algorithms are not among those.
    #[test]
    fn each_algorithm_has_its_bank_and_pcrs() {
        for algorithm in HashAlgorithm::ALL {
            let count = if algorithm == HashAlgorithm::Sha1 { 8 } else { 10 };
            let mut values = PcrValues::default();
            let mut all = Vec::new();
            for pcr in 0..count {
                assert_eq!(recompute(&values, algorithm), None);
                values.insert(pcr, Digest::filled(algorithm, pcr)).unwrap();
                all.extend(vec![pcr; algorithm.digest_len()]);
            }
            // Values of further PCRs, and of other banks, are not looked at.
            values.insert(10, Digest::filled(algorithm, 10)).unwrap();
            assert_eq!(recompute(&values, algorithm), Some(Digest::of(algorithm, [&all[..]])));
            assert!(HashAlgorithm::ALL.iter().all(|other| *other == algorithm || recompute(&values, *other).is_none()));
        }
    }
}
