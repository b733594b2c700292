//! What a TPM says of itself.

use goldseal_verifier_core::digest::HashAlgorithm;
use tss_esapi::Context;
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::structures::CapabilityData;

use crate::tpm::error::Fault;
use crate::tpm::link::Link;
use crate::tpm::pcrs;

/// Whose TPM it is, and what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Properties {
    /// Four letters, of the TCG's vendor registry: `IFX`, `INTC`, `IBM`.
    pub manufacturer: String,
    /// The vendor's own words for it.
    pub vendor: String,
    /// The firmware's version as the vendor counts: two numbers of 32 bits.
    pub firmware: (u32, u32),
    /// The active PCR banks that are known here, weakest first.
    pub banks: Vec<HashAlgorithm>,
    /// The longest nonce in bytes.
    pub max_nonce: usize,
}

impl Properties {
    /// The bank to quote if nobody asks for one: sha256, or else the strongest.
    pub fn default_bank(&self) -> Option<HashAlgorithm> {
        let has_sha256 = self.banks.contains(&HashAlgorithm::Sha256);
        if has_sha256 { Some(HashAlgorithm::Sha256) } else { self.banks.iter().max().copied() }
    }
}

impl Link {
    pub(super) fn properties(&mut self) -> Result<Properties, Fault> {
        if let Some(known) = &self.properties {
            return Ok(known.clone());
        }
        let context = self.context()?;
        let mut number = |tag| context.get_tpm_property(tag).map(Option::unwrap_or_default);
        let manufacturer = letters(&[number(PropertyTag::Manufacturer)?]);
        let vendor = letters(&[
            number(PropertyTag::VendorString1)?,
            number(PropertyTag::VendorString2)?,
            number(PropertyTag::VendorString3)?,
            number(PropertyTag::VendorString4)?,
        ]);
        let firmware = (number(PropertyTag::FirmwareVersion1)?, number(PropertyTag::FirmwareVersion2)?);
        // A nonce is a TPM2B_DATA, which has room for a TPMT_HA: the longest digest and its algorithm (TPM Part 2, 10.4).
        let longest_digest = usize::try_from(number(PropertyTag::MaxDigest)?).unwrap_or_default();
        let max_nonce = (longest_digest + 2).min(tss_esapi::structures::Data::MAX_SIZE);
        let properties = Properties { manufacturer, vendor, firmware, banks: active_banks(context)?, max_nonce };
        self.properties = Some(properties.clone());
        Ok(properties)
    }
}

/// Banks that hold PCRs. TPMs also list those that hold none.
fn active_banks(context: &mut Context) -> Result<Vec<HashAlgorithm>, Fault> {
    let (found, _) = context.get_capability(CapabilityType::AssignedPcr, 0, 1)?;
    let CapabilityData::AssignedPcr(list) = found else { return Ok(Vec::new()) };
    let active = list.get_selections().iter().filter(|bank| !bank.is_empty());
    let mut banks: Vec<HashAlgorithm> = active.filter_map(|bank| pcrs::ours(bank.hashing_algorithm())).collect();
    banks.sort_unstable();
    Ok(banks)
}

/// Numbers whose bytes are letters, filled up with zeros or blanks.
fn letters(numbers: &[u32]) -> String {
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
    let text: String = bytes.map(char::from).filter(char::is_ascii_graphic).collect();
    text
}
