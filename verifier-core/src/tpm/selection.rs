//! Which PCRs of which banks.

use std::collections::BTreeMap;
use std::fmt;

use crate::digest::HashAlgorithm;
use crate::pcr::{PCR_COUNT, PcrValues};
use crate::tpm::algorithm;
use crate::tpm::reader::{Reader, StructureError};

/// Most banks in a TPML_PCR_SELECTION: TPM2_NUM_PCR_BANKS of the TSS 2.0 headers.
pub(super) const MAX_BANKS: usize = 16;

/// Most bytes in a TPMS_PCR_SELECT: TPM2_PCR_SELECT_MAX of the TSS 2.0 headers. PCRs of a PC take 3.
pub(super) const MAX_SELECT: usize = 4;

/// Which PCRs of which banks. Never none: an empty selection would be met by any quote.
///
/// ```compile_fail
/// let none = goldseal_verifier_core::tpm::PcrSelection::default();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrSelection(
    /// Not empty, and no mask is zero.
    BTreeMap<HashAlgorithm, Mask>,
);

/// One bit for each PCR.
type Mask = u32;

impl PcrSelection {
    /// A selection of these PCRs; their order is of no matter.
    ///
    /// # Errors
    /// [`SelectionError`]: none at all, or one that a TPM does not have.
    pub fn new(pcrs: impl IntoIterator<Item = (HashAlgorithm, u8)>) -> Result<Self, SelectionError> {
        let mut masks = BTreeMap::new();
        for (bank, pcr) in pcrs {
            if pcr >= PCR_COUNT {
                return Err(SelectionError::NoSuchPcr { pcr });
            }
            *masks.entry(bank).or_default() |= bit(pcr);
        }
        Self::of_masks(masks).ok_or(SelectionError::Empty)
    }

    /// The PCRs that have a value; `None` if none has.
    pub fn of(values: &PcrValues) -> Option<Self> {
        let mask = |bank| values.pcrs(bank).fold(0, |mask, (pcr, _)| mask | bit(pcr));
        Self::of_masks(values.banks().map(|bank| (bank, mask(bank))).collect())
    }

    /// Whether it has this PCR.
    pub fn contains(&self, bank: HashAlgorithm, pcr: u8) -> bool {
        self.0.get(&bank).is_some_and(|mask| mask & bit(pcr) != 0)
    }

    /// Its PCRs, by bank, weakest first, and number.
    pub fn iter(&self) -> impl Iterator<Item = (HashAlgorithm, u8)> {
        self.0.iter().flat_map(|(bank, mask)| pcrs_of(*mask).map(|pcr| (*bank, pcr)))
    }

    /// The banks it has PCRs of, weakest first.
    pub fn banks(&self) -> impl Iterator<Item = HashAlgorithm> {
        self.0.keys().copied()
    }

    /// Its PCRs that `other` lacks; `None` if there are none.
    pub fn beyond(&self, other: &Self) -> Option<Self> {
        let lacking =
            |(bank, mask): (&HashAlgorithm, &Mask)| (*bank, mask & !other.0.get(bank).copied().unwrap_or_default());
        Self::of_masks(self.0.iter().map(lacking).collect())
    }

    fn of_masks(mut masks: BTreeMap<HashAlgorithm, Mask>) -> Option<Self> {
        masks.retain(|_, mask| *mask != 0);
        (!masks.is_empty()).then_some(Self(masks))
    }
}

/// As tpm2-tools write it: `sha1:10+sha256:0,1,10`.
impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (bank, mask)) in self.0.iter().enumerate() {
            let pcrs: Vec<String> = pcrs_of(*mask).map(|pcr| pcr.to_string()).collect();
            write!(f, "{}{bank}:{}", if index == 0 { "" } else { "+" }, pcrs.join(","))?;
        }
        Ok(())
    }
}

/// Why some PCRs are no selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectionError {
    /// There are none.
    Empty,
    /// A TPM has 24.
    NoSuchPcr {
        /// The one asked for.
        pcr: u8,
    },
}

impl fmt::Display for SelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no PCR is selected"),
            Self::NoSuchPcr { pcr } => write!(f, "there is no PCR {pcr}; the last is {}", PCR_COUNT.saturating_sub(1)),
        }
    }
}

impl std::error::Error for SelectionError {}

/// A selection in the order in which a TPM hashes it: bank by bank as listed, in each by number (TPM Part 3,
/// TPM2_Quote). Each bank stands there once, maybe without PCRs, as it does if the TPM has not got that bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OrderedSelection(Vec<(HashAlgorithm, Mask)>);

impl OrderedSelection {
    /// TPML_PCR_SELECTION (TPM Part 2, 10.9) of TPMS_PCR_SELECTION (10.6).
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, StructureError> {
        let count = reader.u32("pcrSelect.count")?;
        let mut selection = Self::with_count(count)?;
        for _ in 0..count {
            let bank = algorithm::read_hash(reader, "pcrSelect.hash")?;
            let size = usize::from(reader.u8("pcrSelect.sizeofSelect")?);
            check_size(size)?;
            selection.push(bank, reader.take("pcrSelect.pcrSelect", size)?)?;
        }
        Ok(selection)
    }

    /// An empty one that may get so many banks.
    pub(super) fn with_count(count: u32) -> Result<Self, StructureError> {
        match usize::try_from(count) {
            Ok(count) if count <= MAX_BANKS => Ok(Self(Vec::with_capacity(count))),
            found => {
                let found = found.unwrap_or(usize::MAX);
                Err(StructureError::TooLong { field: "pcrSelect.count", found, max: MAX_BANKS })
            }
        }
    }

    /// One more bank, with its bits: PCR 0 is the lowest of the first byte.
    pub(super) fn push(&mut self, bank: HashAlgorithm, select: &[u8]) -> Result<(), StructureError> {
        let mut bytes = [0; MAX_SELECT];
        for (byte, selected) in bytes.iter_mut().zip(select) {
            *byte = *selected;
        }
        let mask = Mask::from_le_bytes(bytes);
        if let Some(pcr) = pcrs_of(mask).find(|pcr| *pcr >= PCR_COUNT) {
            return Err(StructureError::Value { field: "pcrSelect.pcrSelect", found: pcr.into() });
        }
        if self.0.iter().any(|(known, _)| *known == bank) {
            let found = algorithm::hash_id(bank).into();
            return Err(StructureError::Value { field: "pcrSelect.hash", found });
        }
        self.0.push((bank, mask));
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (HashAlgorithm, u8)> {
        self.0.iter().flat_map(|(bank, mask)| pcrs_of(*mask).map(|pcr| (*bank, pcr)))
    }

    /// `None` if it has no PCR.
    pub(super) fn as_set(&self) -> Option<PcrSelection> {
        PcrSelection::of_masks(self.0.iter().copied().collect())
    }
}

pub(super) fn check_size(size: usize) -> Result<(), StructureError> {
    if size > MAX_SELECT {
        return Err(StructureError::TooLong { field: "pcrSelect.sizeofSelect", found: size, max: MAX_SELECT });
    }
    Ok(())
}

pub(super) fn bit(pcr: u8) -> Mask {
    Mask::from(1u8).checked_shl(pcr.into()).unwrap_or_default()
}

fn pcrs_of(mask: Mask) -> impl Iterator<Item = u8> {
    (0..32).filter(move |pcr| mask & bit(*pcr) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: HashAlgorithm = HashAlgorithm::Sha1;
    const SHA256: HashAlgorithm = HashAlgorithm::Sha256;

    fn selection(pcrs: &[(HashAlgorithm, u8)]) -> PcrSelection {
        PcrSelection::new(pcrs.iter().copied()).unwrap()
    }

    #[test]
    fn a_selection_is_a_set_and_never_empty() {
        let some = selection(&[(SHA256, 10), (SHA1, 23), (SHA256, 0), (SHA256, 10)]);
        assert_eq!(some.iter().collect::<Vec<_>>(), [(SHA1, 23), (SHA256, 0), (SHA256, 10)]);
        assert_eq!(some.to_string(), "sha1:23+sha256:0,10");
        assert!(some.contains(SHA256, 10) && !some.contains(SHA256, 23) && !some.contains(HashAlgorithm::Sha512, 10));
        assert!(!some.contains(SHA1, 255));
        assert_eq!(PcrSelection::new([]), Err(SelectionError::Empty));
        assert_eq!(PcrSelection::new([(SHA1, 24)]), Err(SelectionError::NoSuchPcr { pcr: 24 }));
        assert_eq!(PcrSelection::of(&PcrValues::default()), None);
    }

    #[test]
    fn differences_have_a_direction() {
        let less = selection(&[(SHA1, 1), (SHA256, 10)]);
        let more = selection(&[(SHA1, 1), (SHA1, 2), (SHA256, 10), (HashAlgorithm::Sha384, 10)]);
        assert_eq!(less.beyond(&more), None);
        assert_eq!(more.beyond(&less), Some(selection(&[(SHA1, 2), (HashAlgorithm::Sha384, 10)])));
        assert_eq!(more.beyond(&more), None);
    }

    #[test]
    fn lists_are_read_in_their_order() {
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            let selection = OrderedSelection::read(&mut reader)?;
            reader.finish().map(|()| selection.iter().collect::<Vec<_>>())
        };
        let list = b"\0\0\0\x02\0\x0b\x03\x01\x04\0\0\x04\x01\x80";
        assert_eq!(read(list), Ok(vec![(SHA256, 0), (SHA256, 10), (SHA1, 7)]));
        assert_eq!(read(b"\0\0\0\0"), Ok(vec![]));
        assert_eq!(read(b"\0\0\0\x01\0\x0b\x04\0\0\0\0"), Ok(vec![]));
        assert_eq!(read(b"\0\0\0\x11"), Err(StructureError::TooLong { field: "pcrSelect.count", found: 17, max: 16 }));
        assert_eq!(
            read(b"\0\0\0\x01\0\x0b\x05\0\0\0\0\0"),
            Err(StructureError::TooLong { field: "pcrSelect.sizeofSelect", found: 5, max: 4 })
        );
        assert_eq!(
            read(b"\0\0\0\x01\0\x0b\x04\0\0\0\x01"),
            Err(StructureError::Value { field: "pcrSelect.pcrSelect", found: 24 })
        );
        assert_eq!(
            read(b"\0\0\0\x02\0\x0b\x01\x01\0\x0b\x01\x02"),
            Err(StructureError::Value { field: "pcrSelect.hash", found: 11 })
        );
        assert_eq!(
            read(b"\0\0\0\x01\0\x12\x03\0\0\0"),
            Err(StructureError::UnknownAlgorithm { field: "pcrSelect.hash", id: 0x12 })
        );
    }
}
