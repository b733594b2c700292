//! What the quoted PCRs say of the boot (docs/appraisal.md, How a quote is judged; Boot state).

use crate::digest::{Digest, HashAlgorithm};
use crate::entries::FileDigest;
use crate::ima::boot_aggregate;
use crate::pcr::PcrValues;

use super::finding::{Finding, FindingKind, MeasuredDigest};
use super::requirements::Requirements;

/// Whether the quote and the list's rules say what the machine booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootState {
    /// The PCRs of the boot are quoted, and constrained: by a `boot-aggregate` of theirs, or by `pcr` rules for each of
    /// PCR 0 to 7.
    Proven,
    /// They are not both.
    Unproven,
}

impl BootState {
    /// A stable word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Unproven => "unproven",
        }
    }
}

/// Holds the quoted PCRs against the rules, and `replayed`, those of them that the list gives: a strong bank proves a list
/// only if the list's own PCRs are quoted in it.
pub(super) fn judge(
    requirements: &Requirements,
    quoted: &PcrValues,
    replayed: &PcrValues,
) -> (BootState, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut find = |kind| findings.push(Finding { entry: None, name: None, kind });
    let is_proven = |pcr| {
        let mut banks = replayed.banks().filter(|bank| replayed.value(*bank, pcr).is_some());
        banks.any(|bank| requirements.accepts_bank(bank))
    };
    let mut pcrs = replayed.banks().flat_map(|bank| replayed.pcrs(bank)).map(|(pcr, _)| pcr);
    if !pcrs.all(is_proven) {
        find(FindingKind::Sha1BankAlone);
    }
    for ((bank, pcr), expected) in &requirements.pcrs {
        match quoted.value(*bank, *pcr) {
            None => find(FindingKind::PcrNotQuoted { bank: *bank, pcr: *pcr }),
            Some(found) if expected.contains(found) => {}
            Some(found) => {
                find(FindingKind::PcrValue { pcr: *pcr, found: Box::new(*found), expected: expected.clone() });
            }
        }
    }
    let proven = is_aggregate_proven(requirements, quoted) || are_pcrs_proven(requirements, quoted);
    (if proven { BootState::Proven } else { BootState::Unproven }, findings)
}

/// What an appraisal that goes on from a checkpoint holds the PCRs of the boot against: the boot_aggregate, which was held
/// against them when its entry was judged, is the one that the rules name. Of several algorithms the list's is not known
/// any more, nor is any value under `boot-aggregate any`; then it is for the next appraisal from the first entry.
pub(super) fn changed(requirements: &Requirements, quoted: &PcrValues) -> Option<Finding> {
    let expected = &requirements.boot_aggregates;
    let algorithm = expected.first()?.algorithm();
    if requirements.any_boot_aggregate || expected.iter().any(|rule| rule.algorithm() != algorithm) {
        return None;
    }
    let recomputed = boot_aggregate::recompute(quoted, algorithm).filter(|digest| !expected.contains(digest))?;
    let found = MeasuredDigest::Known(FileDigest::Contents(recomputed));
    let kind = FindingKind::BootAggregate { found, expected: expected.clone() };
    Some(Finding { entry: None, name: None, kind })
}

/// The quoted PCRs give a boot_aggregate that the rules name.
fn is_aggregate_proven(requirements: &Requirements, quoted: &PcrValues) -> bool {
    let banks = HashAlgorithm::ALL.into_iter().filter(|bank| requirements.accepts_bank(*bank));
    let recomputed: Vec<Digest> = banks.filter_map(|bank| boot_aggregate::recompute(quoted, bank)).collect();
    requirements.boot_aggregates.iter().any(|rule| recomputed.contains(rule))
}

/// In some bank each of PCR 0 to 7 is quoted and has a value that the rules name.
fn are_pcrs_proven(requirements: &Requirements, quoted: &PcrValues) -> bool {
    let holds = |bank, pcr| {
        let expected = requirements.pcrs.get(&(bank, pcr));
        expected.zip(quoted.value(bank, pcr)).is_some_and(|(expected, found)| expected.contains(found))
    };
    let mut banks = HashAlgorithm::ALL.into_iter().filter(|bank| requirements.accepts_bank(*bank));
    banks.any(|bank| (0..8).all(|pcr| holds(bank, pcr)))
}
