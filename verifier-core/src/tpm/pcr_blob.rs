//! The PCR blob that `tpm2_quote -o` writes, also the third field of a Keylime agent's quote: two C structures of
//! tpm2-tools, in the memory layout of a little-endian machine.
//!
//! A TPML_PCR_SELECTION of 132 bytes, a count, then so many TPML_DIGESTs of 532 bytes. Both are arrays of full length.
//! What lies behind the used part of an array, and between fields, is not looked at: older Keylime agents copy their
//! memory there.

use std::{fmt, iter};

use crate::digest::{Digest, HashAlgorithm};
use crate::pcr::PcrValues;
use crate::tpm::algorithm;
use crate::tpm::reader::{Reader, StructureError};
use crate::tpm::selection::{self, MAX_BANKS, MAX_SELECT, OrderedSelection, check_size};

/// Digests in a TPML_DIGEST (TPM Part 2, 10.9; the reply of TPM2_PCR_Read).
const DIGESTS: usize = 8;

/// Bytes in the buffer of a TPM2B_DIGEST in memory: SHA-512, the longest.
const BUFFER: usize = 64;

/// Bytes of a TPML_PCR_SELECTION in memory: a count and 16 entries of 8.
const SELECTION_LEN: usize = 4 + MAX_BANKS * 8;

/// Bytes of a TPML_DIGEST in memory: a count and its digests with their sizes.
const LIST_LEN: usize = 4 + DIGESTS * (2 + BUFFER);

/// Bytes of bits that hold the 24 PCRs of a PC.
const PRINTED_SELECT: u8 = 3;

/// Most TPML_DIGESTs: TPM2_MAX_PCRS in `lib/pcr.h` of tpm2-tools.
const MAX_LISTS: usize = 32;

/// Longest blob: its fields as the module says, and as many lists of digests as there may be.
pub(crate) const MAX_PCR_BLOB: usize =
    4 + MAX_BANKS * (2 + 1 + MAX_SELECT + 1) + 4 + MAX_LISTS * (4 + DIGESTS * (2 + BUFFER));

/// Reads the values, each with the bank and PCR that the blob itself gives it. Nobody vouches for them:
/// [`VerifiedQuote::bind`](crate::tpm::VerifiedQuote::bind) does.
///
/// # Errors
/// [`PcrBlobError`]: not exactly such a blob, or not one value for each of its PCRs.
pub fn read_pcr_blob(bytes: &[u8]) -> Result<PcrValues, PcrBlobError> {
    let mut reader = Reader::new(bytes);
    let selection = read_selection(&mut reader)?;
    let lists = reader.u32_le("count")?;
    let lists = bounded("count", lists, MAX_LISTS)?;
    let mut selected = selection.iter();
    let mut values = PcrValues::default();
    for _ in 0..lists {
        let count = bounded("digests.count", reader.u32_le("digests.count")?, DIGESTS)?;
        for index in 0..DIGESTS {
            let size = usize::from(reader.u16_le("digests.size")?);
            let buffer = reader.take("digests.buffer", BUFFER)?;
            if index >= count {
                continue;
            }
            let (bank, pcr) = selected.next().ok_or(PcrBlobError::MoreValues)?;
            let value = buffer.get(..size).and_then(|value| Digest::new(bank, value));
            // Each PCR of a selection comes up once.
            value.and_then(|value| values.insert(pcr, value)).ok_or(PcrBlobError::ValueLength {
                bank,
                pcr,
                found: size,
            })?;
        }
    }
    reader.finish()?;
    match selected.next() {
        Some((bank, pcr)) => Err(PcrBlobError::NoValue { bank, pcr }),
        None => Ok(values),
    }
}

/// Writes values as `tpm2_quote -o` does on a little-endian machine: bank by bank, weakest first, so that a quote of the
/// same PCRs has to be asked for in that order ([`PcrSelection::iter`](crate::tpm::PcrSelection::iter) has it). Whatever
/// is not in use is zero. [`read_pcr_blob`] gives the same values back.
pub fn print_pcr_blob(values: &PcrValues) -> Vec<u8> {
    let banks: Vec<HashAlgorithm> = values.banks().collect();
    let mut out = printed_count(banks.len());
    for bank in &banks {
        let mask = values.pcrs(*bank).fold(0, |mask, (pcr, _)| mask | selection::bit(pcr));
        out.extend(algorithm::hash_id(*bank).to_le_bytes());
        out.push(PRINTED_SELECT);
        out.extend(mask.to_le_bytes());
        out.push(0);
    }
    out.resize(SELECTION_LEN, 0);
    let digests: Vec<&Digest> = banks.iter().flat_map(|bank| values.pcrs(*bank)).map(|(_, digest)| digest).collect();
    let lists = digests.chunks(DIGESTS);
    out.extend(printed_count(lists.len()));
    for list in lists {
        let end = out.len().saturating_add(LIST_LEN);
        out.extend(printed_count(list.len()));
        for digest in list {
            let value = digest.as_bytes();
            out.extend(u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
            out.extend_from_slice(value);
            out.extend(iter::repeat_n(0, BUFFER.saturating_sub(value.len())));
        }
        out.resize(end, 0);
    }
    out
}

/// Of banks and of PCRs: small.
fn printed_count(count: usize) -> Vec<u8> {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes().to_vec()
}

/// TPML_PCR_SELECTION in memory: a count, then 16 entries of a hash, a size, 4 bytes of bits and one of padding.
fn read_selection(reader: &mut Reader<'_>) -> Result<OrderedSelection, StructureError> {
    let count = reader.u32_le("pcrSelect.count")?;
    let mut selection = OrderedSelection::with_count(count)?;
    let count = bounded("pcrSelect.count", count, MAX_BANKS)?;
    for index in 0..MAX_BANKS {
        let hash = reader.u16_le("pcrSelect.hash")?;
        let size = usize::from(reader.u8("pcrSelect.sizeofSelect")?);
        let select = reader.take("pcrSelect.pcrSelect", MAX_SELECT)?;
        reader.take("padding", 1)?;
        if index < count {
            check_size(size)?;
            selection.push(algorithm::hash_of(hash, "pcrSelect.hash")?, select.get(..size).unwrap_or_default())?;
        }
    }
    Ok(selection)
}

fn bounded(field: &'static str, count: u32, max: usize) -> Result<usize, StructureError> {
    let found = usize::try_from(count).unwrap_or(usize::MAX);
    if found > max { Err(StructureError::TooLong { field, found, max }) } else { Ok(found) }
}

/// Why a PCR blob cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PcrBlobError {
    /// Not exactly the two structures.
    Structure(StructureError),
    /// A value has not the length of its bank's digests.
    ValueLength {
        /// The bank.
        bank: HashAlgorithm,
        /// The PCR.
        pcr: u8,
        /// The value's length in bytes.
        found: usize,
    },
    /// A selected PCR has no value.
    NoValue {
        /// The bank.
        bank: HashAlgorithm,
        /// The PCR.
        pcr: u8,
    },
    /// There are more values than selected PCRs.
    MoreValues,
}

impl From<StructureError> for PcrBlobError {
    fn from(error: StructureError) -> Self {
        Self::Structure(error)
    }
}

impl fmt::Display for PcrBlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(error) => error.fmt(f),
            Self::ValueLength { bank, pcr, found } => write!(f, "its value of {bank}:{pcr} has {found} bytes"),
            Self::NoValue { bank, pcr } => write!(f, "it has no value of {bank}:{pcr}, which it selects"),
            Self::MoreValues => f.write_str("it has more values than it selects PCRs"),
        }
    }
}

impl std::error::Error for PcrBlobError {}
