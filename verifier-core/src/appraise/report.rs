//! Findings in their order, and how many entries there were of each class (docs/appraisal.md, Classes).

use super::finding::Finding;

/// Most findings that are kept one by one; all are counted. A machine with as many is not mended line by line.
pub const MAX_FINDINGS: usize = 100_000;

/// What an entry counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Good,
    Signed,
    Excluded,
    BootAggregate,
    Buffer,
    Ignored,
    Violation,
    NotInWhitelist,
    DigestDiffers,
    Malformed,
    Unquoted,
}

/// Entries by class. What has a finding counts in the second half alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files with a listed digest.
    pub good: u64,
    /// Files not listed, signed by a rule's key.
    pub signed: u64,
    /// Files neither listed nor signed, taken by an exclude. Never good.
    pub excluded: u64,
    /// The boot_aggregate as the rules allow it.
    pub boot_aggregate: u64,
    /// Buffers that a rule admits.
    pub buffers: u64,
    /// Keys on keyrings that are not judged.
    pub ignored: u64,
    /// Violations, rejected or reported.
    pub violations: u64,
    /// Files that are not listed.
    pub not_in_whitelist: u64,
    /// Files listed with other digests.
    pub digest_differs: u64,
    /// A boot_aggregate that is not allowed, or none where it must be.
    pub bad_boot_aggregate: u64,
    /// Buffers that no rule admits.
    pub bad_buffers: u64,
    /// Entries of another template, or without its fields.
    pub malformed: u64,
    /// Entries of PCRs that were not quoted.
    pub unquoted: u64,
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<Finding>,
    /// Findings and notes that were counted and not kept.
    pub(super) omitted: u64,
    pub(super) rejects: bool,
    pub(super) counts: Counts,
}

impl Report {
    /// An entry that is allowed.
    pub(super) fn count(&mut self, class: Class) {
        let counts = &mut self.counts;
        raise(match class {
            Class::Good => &mut counts.good,
            Class::Signed => &mut counts.signed,
            Class::Excluded => &mut counts.excluded,
            Class::BootAggregate => &mut counts.boot_aggregate,
            Class::Buffer => &mut counts.buffers,
            Class::Ignored => &mut counts.ignored,
            class => return self.count_bad(class),
        });
    }

    /// An entry that is not.
    pub(super) fn find(&mut self, class: Class, finding: Finding) {
        self.count_bad(class);
        self.about_quote(finding);
    }

    /// What is not allowed, and of no entry.
    pub(super) fn about_quote(&mut self, finding: Finding) {
        self.rejects = true;
        keep(&mut self.findings, &mut self.omitted, finding);
    }

    /// An entry that is allowed, and should be looked at.
    pub(super) fn note(&mut self, class: Class, finding: Finding) {
        self.count_bad(class);
        keep(&mut self.notes, &mut self.omitted, finding);
    }

    fn count_bad(&mut self, class: Class) {
        let counts = &mut self.counts;
        raise(match class {
            Class::Violation => &mut counts.violations,
            Class::DigestDiffers => &mut counts.digest_differs,
            Class::BootAggregate => &mut counts.bad_boot_aggregate,
            Class::Buffer => &mut counts.bad_buffers,
            Class::Malformed => &mut counts.malformed,
            Class::Unquoted => &mut counts.unquoted,
            Class::NotInWhitelist | Class::Good | Class::Signed | Class::Excluded | Class::Ignored => {
                &mut counts.not_in_whitelist
            }
        });
    }
}

fn keep(findings: &mut Vec<Finding>, omitted: &mut u64, finding: Finding) {
    if findings.len() < MAX_FINDINGS {
        findings.push(finding);
    } else {
        raise(omitted);
    }
}

fn raise(count: &mut u64) {
    *count = count.saturating_add(1);
}
