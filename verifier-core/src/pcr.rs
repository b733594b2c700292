//! Values of platform configuration registers, by bank (TPM Part 1, PCR Operations).

use std::collections::BTreeMap;

use crate::digest::{Digest, HashAlgorithm};

/// PCRs of a TPM for PC clients: 0 to 23 (TCG PC Client Platform TPM Profile, PCR Requirements).
pub const PCR_COUNT: u8 = 24;

/// Some PCRs of some banks with their values. Nobody vouches for them: see `QuotedPcrs` for those a TPM signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PcrValues(BTreeMap<HashAlgorithm, BTreeMap<u8, Digest>>);

impl PcrValues {
    /// Adds a value; its algorithm is the bank. `None`, and nothing is added, if there is no such PCR or it has a value
    /// already.
    pub fn insert(&mut self, pcr: u8, value: Digest) -> Option<()> {
        if pcr >= PCR_COUNT || self.value(value.algorithm(), pcr).is_some() {
            return None;
        }
        self.0.entry(value.algorithm()).or_default().insert(pcr, value);
        Some(())
    }

    /// The value of one PCR in one bank.
    pub fn value(&self, bank: HashAlgorithm, pcr: u8) -> Option<&Digest> {
        self.0.get(&bank)?.get(&pcr)
    }

    /// The banks, weakest first.
    pub fn banks(&self) -> impl Iterator<Item = HashAlgorithm> {
        self.0.keys().copied()
    }

    /// The PCRs of one bank with their values, ascending.
    pub fn pcrs(&self, bank: HashAlgorithm) -> impl Iterator<Item = (u8, &Digest)> {
        self.0.get(&bank).into_iter().flatten().map(|(pcr, value)| (*pcr, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pcr_of_each_bank_has_one_value() {
        let value = |text: &str| Digest::from_hex(text.as_bytes()).unwrap();
        let (sha1, sha256) = (value(&"1".repeat(40)), value(&"2".repeat(64)));
        let mut values = PcrValues::default();
        assert_eq!(values.insert(10, sha256), Some(()));
        assert_eq!(values.insert(10, sha1), Some(()));
        assert_eq!(values.insert(10, sha256), None);
        assert_eq!(values.insert(PCR_COUNT, sha256), None);
        assert_eq!(values.banks().collect::<Vec<_>>(), [HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
        assert_eq!(values.value(HashAlgorithm::Sha1, 10), Some(&sha1));
        assert_eq!(values.value(HashAlgorithm::Sha384, 10), None);
        assert_eq!(values.pcrs(HashAlgorithm::Sha256).collect::<Vec<_>>(), [(10, &sha256)]);
    }
}
