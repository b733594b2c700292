//! PCRs in the library's terms.

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::pcr::PcrValues;
use goldseal_verifier_core::tpm::PcrSelection;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::PcrSelectionList;
use tss_esapi::tss2_esys::TPML_PCR_SELECTION;
use tss_esapi::{Context, WrapperErrorKind};

use crate::tpm::TpmError;
use crate::tpm::error::Fault;

/// Reads PCRs. The TPM gives up to eight at a time.
pub(super) fn read(context: &mut Context, selection: &PcrSelection) -> Result<PcrValues, Fault> {
    let mut values = PcrValues::default();
    let mut left: Vec<(HashAlgorithm, u8)> = selection.iter().collect();
    while !left.is_empty() {
        let (_, given, digests) = context.pcr_read(list(left.iter().copied())?)?;
        let before = left.len();
        // In the order of the list, in each bank by number (TPM Part 3, TPM2_PCR_Read).
        let mut digests = digests.value().iter();
        for bank in given.get_selections() {
            for slot in bank.selected() {
                let digest = digests.next().zip(ours(bank.hashing_algorithm()));
                let value = digest.and_then(|(digest, bank)| Digest::new(bank, digest.value()));
                let pcr = u8::try_from(u32::from(slot).trailing_zeros()).ok();
                let inserted = pcr.zip(value).and_then(|(pcr, value)| values.insert(pcr, value));
                inserted.ok_or_else(|| TpmError::Misbehaved("PCR values that were not asked for".to_owned()))?;
            }
        }
        left.retain(|(bank, pcr)| values.value(*bank, *pcr).is_none());
        if left.len() == before {
            return Err(TpmError::Misbehaved(format!("it does not tell the value of {left:?}")).into());
        }
    }
    Ok(values)
}

/// A selection as the TPM takes it: its banks in this order, which is that of the PCR blob too. The crate's own builder
/// has no order.
pub(super) fn list(pcrs: impl IntoIterator<Item = (HashAlgorithm, u8)>) -> Result<PcrSelectionList, Fault> {
    let too_many = || TpmError::Library(WrapperErrorKind::WrongParamSize);
    let mut list = TPML_PCR_SELECTION::default();
    let mut banks: Vec<HashAlgorithm> = Vec::new();
    for (bank, pcr) in pcrs {
        let known = banks.iter().position(|known| *known == bank);
        let index = known.unwrap_or_else(|| {
            banks.push(bank);
            banks.len() - 1
        });
        let selection = list.pcrSelections.get_mut(index).ok_or_else(too_many)?;
        (selection.hash, selection.sizeofSelect) = (theirs(bank).into(), SELECT);
        *selection.pcrSelect.get_mut(usize::from(pcr / 8)).ok_or_else(too_many)? |= 1 << (pcr % 8);
    }
    list.count = u32::try_from(banks.len()).map_err(|_| too_many())?;
    Ok(PcrSelectionList::try_from(list)?)
}

/// Bytes of bits for the 24 PCRs of a PC.
const SELECT: u8 = 3;

/// The library's name of a hash.
pub(super) fn theirs(hash: HashAlgorithm) -> HashingAlgorithm {
    match hash {
        HashAlgorithm::Sha1 => HashingAlgorithm::Sha1,
        HashAlgorithm::Sha256 => HashingAlgorithm::Sha256,
        HashAlgorithm::Sha384 => HashingAlgorithm::Sha384,
        HashAlgorithm::Sha512 => HashingAlgorithm::Sha512,
    }
}

/// Our name of a hash, if it is known here.
pub(super) fn ours(hash: HashingAlgorithm) -> Option<HashAlgorithm> {
    HashAlgorithm::ALL.into_iter().find(|known| theirs(*known) == hash)
}

/// A digest in the library's terms.
pub(super) fn digest(digest: &Digest) -> Result<tss_esapi::structures::Digest, Fault> {
    let too_long = |_| TpmError::Library(WrapperErrorKind::WrongParamSize);
    Ok(tss_esapi::structures::Digest::try_from(digest.as_bytes()).map_err(too_long)?)
}
