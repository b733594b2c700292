//! A machine in software: a TPM, a kernel that measures, and the golden list it is held to. Everything about it is right;
//! a test changes one thing:
//!
//! ```
//! use goldseal_tests::forge::machine::{Machine, assert_findings};
//!
//! let mut machine = Machine::perfect();
//! machine.run("/root/evil.sh", b"#!/bin/sh");
//! assert_findings(&machine.appraise(), &[("/root/evil.sh", "not-in-whitelist")]);
//! ```

use std::fmt;

use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, Verdict};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::ima::checkpoint::Checkpoint;
use goldseal_verifier_core::ima::list::{Limits, ListError, MeasurementList};
use goldseal_verifier_core::ima::replay::ReplayError;
use goldseal_verifier_core::tpm::{
    AttestationKey, BindError, ExpectedSelection, PcrSelection, QuoteError, QuotedPcrs, Sha1Signatures, read_pcr_blob,
};

use super::ak::{Kind, SoftQuote, SoftTpm, hash};
use super::golden::Golden;
use super::measurements::{Measurement, text};

/// The nonce of its quotes.
pub const NONCE: &[u8] = b"a nonce of this poll";

/// See the module.
#[derive(Debug)]
pub struct Machine {
    pub tpm: SoftTpm,
    /// What it should be running.
    pub golden: Golden,
    /// The list, entry by entry.
    pub list: Vec<Measurement>,
    /// The PCRs that are asked for.
    pub selection: PcrSelection,
    banks: Vec<HashAlgorithm>,
    padded: bool,
}

impl Machine {
    /// Booted and at work. Its TPM has the banks sha1 and sha256, and is asked for PCRs 0 to 10 of sha256.
    pub fn perfect() -> Self {
        let mut machine = Self::off(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
        machine.golden.lists_file("/usr/bin/bash", b"bash").lists_file("/usr/bin/a b", b"blank");
        machine.boot();
        machine.run("/usr/bin/bash", b"bash");
        machine.run("/usr/bin/a_b", b"blank");
        machine
    }

    /// Switched off, with an empty golden list.
    pub fn off(banks: &[HashAlgorithm]) -> Self {
        Self {
            tpm: SoftTpm::with_banks(Kind::P256, banks),
            golden: Golden::new(),
            list: Vec::new(),
            selection: pcrs_0_to_10(&[HashAlgorithm::Sha256]),
            banks: banks.to_vec(),
            padded: false,
        }
    }

    /// A kernel before 5.8 from now on: every bank is extended with SHA-1 and zeros.
    pub fn with_an_old_kernel(mut self) -> Self {
        self.padded = true;
        self
    }

    /// Firmware and kernel start: PCRs 0 to 9, and the boot_aggregate, which the golden list has a rule for.
    pub fn boot(&mut self) {
        self.measure_firmware();
        let aggregate = self.boot_aggregate(HashAlgorithm::Sha256);
        self.golden.rule(format!("boot-aggregate {:?}", Digest::new(HashAlgorithm::Sha256, &aggregate).unwrap()));
        let value = [b"sha256:\0", &aggregate[..]].concat();
        self.measure(Measurement::of("ima-ng", &[&value, &text("boot_aggregate")]));
    }

    /// Firmware and boot loader alone.
    pub fn measure_firmware(&mut self) {
        for bank in self.banks.clone() {
            for pcr in 0..10 {
                self.tpm.extend(bank, pcr, &hash(bank, &[pcr]));
            }
        }
    }

    /// SHA-1 over PCRs 0 to 7, or another hash over PCRs 0 to 9, of the bank of that name.
    pub fn boot_aggregate(&self, bank: HashAlgorithm) -> Vec<u8> {
        let last = if bank == HashAlgorithm::Sha1 { 7 } else { 9 };
        let values: Vec<u8> = (0..=last).flat_map(|pcr| self.tpm.pcr(bank, pcr).as_bytes().to_vec()).collect();
        hash(bank, &values)
    }

    /// The same TPM starts again: a reset, and a list of its own.
    pub fn reboot(&mut self) {
        self.tpm.reset();
        self.list.clear();
        self.measure_firmware();
        let value = digest_field(&self.boot_aggregate(HashAlgorithm::Sha256));
        self.measure(Measurement::of("ima-ng", &[&value, &text("boot_aggregate")]));
    }

    /// A file of these contents is run.
    pub fn run(&mut self, path: &str, contents: &[u8]) {
        self.measure(Measurement::ng(path, contents));
    }

    /// The kernel measures: an entry of the list, and its PCR in every bank.
    pub fn measure(&mut self, measurement: Measurement) {
        self.extend(&measurement);
        self.list.push(measurement);
    }

    /// The PCR alone.
    pub fn extend(&mut self, measurement: &Measurement) {
        for bank in self.banks.clone() {
            let extension = if self.padded { measurement.padded_extension(bank) } else { measurement.extension(bank) };
            self.tpm.extend(bank, measurement.pcr, &extension);
        }
    }

    /// The list as it is read from the kernel.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_from(0)
    }

    /// The entries after the first `accepted`.
    pub fn bytes_from(&self, accepted: usize) -> Vec<u8> {
        self.list[accepted..].iter().flat_map(Measurement::listed).collect()
    }

    /// A quote of what is asked for.
    pub fn quote(&mut self) -> SoftQuote {
        self.tpm.quote(NONCE, &self.selection)
    }

    /// A fresh quote, believed.
    pub fn quoted(&mut self) -> QuotedPcrs {
        let quote = self.quote();
        self.believe(&quote).unwrap()
    }

    /// The steps from a quote to its values.
    ///
    /// # Errors
    /// That of the first step that fails.
    pub fn believe(&self, quote: &SoftQuote) -> Result<QuotedPcrs, Disbelief> {
        let ak = AttestationKey::from_public_area(&self.tpm.public_area()).unwrap();
        let expected = ExpectedSelection::Exactly(&self.selection);
        let verified = ak.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse);
        let verified = verified.map_err(Disbelief::Quote)?;
        verified.bind(read_pcr_blob(&quote.pcrs_blob).unwrap()).map_err(Disbelief::Values)
    }

    /// Quotes, reads the list and judges it, from the first entry.
    pub fn appraise(&mut self) -> AttestationResult {
        self.try_appraise().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same of a machine that may not be believed.
    ///
    /// # Errors
    /// That of the first step that fails.
    pub fn try_appraise(&mut self) -> Result<AttestationResult, Disbelief> {
        let list = self.bytes();
        self.try_appraise_list(&list)
    }

    /// The same of another list than its own.
    ///
    /// # Errors
    /// That of the first step that fails.
    pub fn try_appraise_list(&mut self, list: &[u8]) -> Result<AttestationResult, Disbelief> {
        let quote = self.quote();
        let quoted = self.believe(&quote)?;
        appraise(&self.golden.appraiser(), list, quoted)
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// That of the first step that fails.
    pub fn try_resume(&mut self, checkpoint: &Checkpoint) -> Result<AttestationResult, Disbelief> {
        let quoted = self.quoted();
        let list = self.bytes_from(usize::try_from(checkpoint.accepted()).unwrap().min(self.list.len()));
        let list = MeasurementList::parse(&list, &Limits::DEFAULT).map_err(Disbelief::List)?;
        let appraiser = self.golden.appraiser();
        let evidence = appraiser.resume(&list, quoted, checkpoint).map_err(Disbelief::Replay)?;
        Ok(appraiser.appraise(&evidence))
    }
}

/// Judges a list by a quote, from the first entry.
///
/// # Errors
/// That of the first step that fails.
pub fn appraise(appraiser: &Appraiser, list: &[u8], quoted: QuotedPcrs) -> Result<AttestationResult, Disbelief> {
    let list = MeasurementList::parse(list, &Limits::DEFAULT).map_err(Disbelief::List)?;
    let evidence = appraiser.evidence(&list, quoted).map_err(Disbelief::Replay)?;
    Ok(appraiser.appraise(&evidence))
}

/// The PCRs that goldseal quotes.
pub fn pcrs_0_to_10(banks: &[HashAlgorithm]) -> PcrSelection {
    PcrSelection::new(banks.iter().flat_map(|bank| (0..=10).map(|pcr| (*bank, pcr)))).unwrap()
}

/// The value of a field `d-ng` of this SHA-256 digest.
pub fn digest_field(sha256: &[u8]) -> Vec<u8> {
    [b"sha256:\0", sha256].concat()
}

/// Rejected, with exactly these findings: each the name in its entry, empty if it is about the quote, and its word.
#[track_caller]
pub fn assert_findings(result: &AttestationResult, expected: &[(&str, &str)]) {
    assert_eq!(findings(result), expected.iter().map(|(name, word)| ((*name).to_owned(), *word)).collect::<Vec<_>>());
    let rejected = if expected.is_empty() { Verdict::Accepted } else { Verdict::Rejected };
    assert_eq!(result.verdict(), rejected);
    assert_eq!(result.checkpoint().is_some(), expected.is_empty(), "a checkpoint is of an acceptance");
}

/// The findings as name and word.
pub fn findings(result: &AttestationResult) -> Vec<(String, &'static str)> {
    let name = |name: Option<&[u8]>| name.unwrap_or_default().escape_ascii().to_string();
    result.findings().iter().map(|finding| (name(finding.name.as_deref()), finding.kind.word())).collect()
}

/// Why a machine is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disbelief {
    Quote(QuoteError),
    Values(BindError),
    List(ListError),
    Replay(ReplayError),
}

impl fmt::Display for Disbelief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quote(error) => error.fmt(f),
            Self::Values(error) => error.fmt(f),
            Self::List(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
        }
    }
}
