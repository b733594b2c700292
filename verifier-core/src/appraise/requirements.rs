//! The rules of a list, sorted by what they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::{Digest, HashAlgorithm};
use crate::rules::{DEFAULT_TEMPLATES, Rule, Rules};

use super::file_signature::FileSigner;

/// What a list demands and admits beyond its entries (docs/format.md, Rules). What is not here is the strict reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Requirements {
    pub(super) accept_bank_sha1: bool,
    pub(super) accept_digest_sha1: bool,
    pub(super) accept_padded_sha1: bool,
    pub(super) any_boot_aggregate: bool,
    pub(super) boot_aggregates: Vec<Digest>,
    pub(super) pcrs: BTreeMap<(HashAlgorithm, u8), Vec<Digest>>,
    /// Empty: the default set.
    templates: BTreeSet<Vec<u8>>,
    pub(super) ignored_keyrings: BTreeSet<Vec<u8>>,
    /// Digests of keys and other buffers by their labels.
    pub(super) buffers: BTreeMap<Vec<u8>, Vec<Digest>>,
    pub(super) signers: Vec<FileSigner>,
    pub(super) report_violations: bool,
}

impl Requirements {
    pub(super) fn new(rules: &Rules) -> Self {
        let mut all = Self::default();
        for rule in rules.as_slice() {
            match rule {
                Rule::AcceptBankSha1 => all.accept_bank_sha1 = true,
                Rule::AcceptDigestSha1 => all.accept_digest_sha1 = true,
                Rule::AcceptReplayPaddedSha1 => all.accept_padded_sha1 = true,
                Rule::BootAggregateAny => all.any_boot_aggregate = true,
                Rule::BootAggregate(digest) => all.boot_aggregates.push(*digest),
                // It speaks of an exclude, which is asked itself.
                Rule::BroadExclude(_) => {}
                Rule::Buffer { label, digest } | Rule::Keyring { label, digest } => {
                    all.buffers.entry(label.as_str().into()).or_default().push(*digest);
                }
                Rule::FileSignature { algorithm, spki, pattern } => {
                    all.signers.extend(FileSigner::new(*algorithm, spki, pattern));
                }
                Rule::IgnoreKeyring(label) => {
                    all.ignored_keyrings.insert(label.as_str().into());
                }
                Rule::Pcr { index, value } => {
                    all.pcrs.entry((value.algorithm(), *index)).or_default().push(*value);
                }
                Rule::Template(name) => {
                    all.templates.insert(name.as_str().into());
                }
                Rule::ViolationReport => all.report_violations = true,
            }
        }
        all
    }

    /// Whether entries of files may have this template.
    pub(super) fn allows_template(&self, name: &[u8]) -> bool {
        if self.templates.is_empty() {
            DEFAULT_TEMPLATES.iter().any(|template| template.as_bytes() == name)
        } else {
            self.templates.contains(name)
        }
    }

    /// Whether a digest of this algorithm may prove something.
    pub(super) fn accepts_digest(&self, algorithm: HashAlgorithm) -> bool {
        algorithm != HashAlgorithm::Sha1 || self.accept_digest_sha1
    }

    /// Whether a quoted bank may prove something.
    pub(super) fn accepts_bank(&self, bank: HashAlgorithm) -> bool {
        bank != HashAlgorithm::Sha1 || self.accept_bank_sha1
    }
}
