//! The judgement: a quote, a list that it confirms, and a sealed whitelist, to a verdict with its reasons.
//!
//! ```text
//! MeasurementList, QuotedPcrs ─▶ Appraiser::evidence ─▶ Evidence ─▶ Appraiser::appraise ─▶ AttestationResult
//! ```
//!
//! An `Err` on the way says that something cannot be believed. A rejected machine is a result: what was found is believed
//! and not allowed. Without a quote there is a [`Trial`], which never comes to a verdict.
//!
//! Not proven by an acceptance: that what is beyond the quote is good, that a listed program is harmless, and what the
//! kernel's ima_policy does not measure (docs/threat-model.md).

mod boot;
mod evidence;
mod file_signature;
mod finding;
mod judge;
mod report;
mod requirements;

use crate::contents::Contents;
use crate::envelope::Identity;
use crate::header::Section;
use crate::ima::checkpoint::{Binding, Checkpoint};
use crate::ima::entry::Entry;
use crate::ima::list::MeasurementList;
use crate::ima::replay::{IMA_PCR, NumberedEntry, ReplayError, ReplayMode};
use crate::index::PathIndex;
use crate::tpm::{AkIdentity, Boot, Clock, QuotedPcrs};
use crate::trust::{Freshness, TrustedPolicy};

pub use boot::BootState;
pub use evidence::Evidence;
pub use finding::{Finding, FindingKind, MeasuredDigest, SignatureNote};
pub use report::{Counts, MAX_FINDINGS};

use judge::{Judge, Position};
use report::{Class, Report};
use requirements::Requirements;

/// A policy made ready to judge machines: looking up a path takes the same time in a list of any length.
#[derive(Debug)]
pub struct Appraiser {
    policy: TrustedPolicy,
    prepared: Prepared,
}

/// An index of the entries, and the rules sorted.
#[derive(Debug)]
struct Prepared {
    index: PathIndex,
    requirements: Requirements,
}

impl Prepared {
    fn new(contents: &Contents) -> Self {
        Self {
            index: PathIndex::of_checked(contents.section(Section::Entries), contents.entry_count()),
            requirements: Requirements::new(contents.rules()),
        }
    }

    fn judge<'p>(&'p self, contents: &'p Contents) -> Judge<'p> {
        Judge { contents, index: &self.index, requirements: &self.requirements }
    }
}

impl Appraiser {
    /// Makes a policy ready.
    pub fn new(policy: TrustedPolicy) -> Self {
        let prepared = Prepared::new(policy.contents());
        Self { policy, prepared }
    }

    /// The policy.
    pub fn policy(&self) -> &TrustedPolicy {
        &self.policy
    }

    /// Replays a list from its first entry to the values of a quote: as kernels do, and only if a rule accepts it as
    /// kernels before 5.8 did.
    ///
    /// # Errors
    /// [`ReplayError`] of the first attempt.
    pub fn evidence<'l>(&self, list: &'l MeasurementList<'l>, quoted: QuotedPcrs) -> Result<Evidence<'l>, ReplayError> {
        let replayed = Evidence::replay(list, &quoted, ReplayMode::PerBank);
        if replayed.is_ok() || !self.prepared.requirements.accept_padded_sha1 {
            return replayed;
        }
        Evidence::replay(list, &quoted, ReplayMode::PaddedSha1).or(replayed)
    }

    /// Goes on where an accepted appraisal ended; `list` begins with the entry after it, and may be empty.
    ///
    /// # Errors
    /// [`ReplayError`]; the checkpoint may belong to another key, boot or policy.
    pub fn resume<'l>(
        &self,
        list: &'l MeasurementList<'l>,
        quoted: QuotedPcrs,
        checkpoint: &Checkpoint,
    ) -> Result<Evidence<'l>, ReplayError> {
        Evidence::resume(list, &quoted, checkpoint, self.policy.identity())
    }

    /// The judgement.
    pub fn appraise(&self, evidence: &Evidence<'_>) -> AttestationResult {
        let (list, quoted) = (evidence.list(), evidence.quoted());
        let judge = self.prepared.judge(self.policy.contents());
        let mut report = Report::default();
        let (boot_state, of_boot) = boot::judge(&self.prepared.requirements, quoted.values(), list.values());
        of_boot.into_iter().for_each(|finding| report.about_quote(finding));
        if list.before() > 0 {
            let changed = boot::changed(&self.prepared.requirements, quoted.values());
            changed.into_iter().for_each(|finding| report.about_quote(finding));
        }
        for NumberedEntry { number, entry } in list.unquoted() {
            let name = entry.fields().ok().and_then(|fields| fields.name).map(<[u8]>::to_vec);
            let kind = FindingKind::UnquotedEntry { claimed_pcr: entry.claimed_pcr() };
            report.find(Class::Unquoted, Finding { entry: Some(number), name, kind });
        }
        let mut position = if list.before() == 0 { Position::First } else { Position::Later };
        for NumberedEntry { number, entry } in list.entries() {
            let here = if entry.claimed_pcr() == IMA_PCR {
                std::mem::replace(&mut position, Position::Later)
            } else {
                Position::Later
            };
            judge.judge(number, &entry, here, Some(quoted.values()), &mut report);
        }
        if position == Position::First {
            // PCR 10 is not quoted, and so nothing of it was judged.
            let kind = FindingKind::NoBootAggregate;
            report.find(Class::BootAggregate, Finding { entry: None, name: None, kind });
        }
        report.findings.sort_by_key(|finding| finding.entry);
        let verdict = if report.rejects { Verdict::Rejected } else { Verdict::Accepted };
        let checkpoint = match verdict {
            Verdict::Accepted => {
                let ak = quoted.ak().to_bytes();
                let binding = Binding { ak: &ak, boot: quoted.boot(), policy: self.policy.identity().to_bytes() };
                Checkpoint::of_accepted(list, &binding)
            }
            Verdict::Rejected => None,
        };
        AttestationResult {
            verdict,
            findings: report.findings,
            notes: report.notes,
            omitted: report.omitted,
            counts: report.counts,
            boot_state,
            freshness: self.policy.freshness(),
            policy: self.policy.identity(),
            ak: *quoted.ak(),
            boot: quoted.boot(),
            clock: quoted.clock(),
            mode: list.mode(),
            entries: list.total(),
            before: list.before(),
            tail: list.tail_len(),
            checkpoint,
        }
    }
}

/// What a machine is to be held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that the quote confirms is allowed.
    Accepted,
    /// Something is not.
    Rejected,
}

/// What an appraisal came to. Only an appraisal makes one.
///
/// ```compile_fail
/// # use goldseal_verifier_core::appraise::{AttestationResult, Verdict};
/// fn forge(result: AttestationResult) -> AttestationResult {
///     AttestationResult { verdict: Verdict::Accepted, ..result }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AttestationResult {
    verdict: Verdict,
    findings: Vec<Finding>,
    notes: Vec<Finding>,
    omitted: u64,
    counts: Counts,
    boot_state: BootState,
    freshness: Freshness,
    policy: Identity,
    ak: AkIdentity,
    boot: Boot,
    clock: Clock,
    mode: ReplayMode,
    entries: u64,
    before: u64,
    tail: usize,
    checkpoint: Option<Checkpoint>,
}

impl AttestationResult {
    /// The verdict. Whether the policy is fresh is another matter: see [`AttestationResult::freshness`].
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What is not allowed: first what is about the quote, then by entry.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What is allowed and should be looked at: violations under `violation report`.
    pub fn notes(&self) -> &[Finding] {
        &self.notes
    }

    /// Findings and notes beyond [`MAX_FINDINGS`]: counted, not kept.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Entries by class.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether the quote says what was booted.
    pub fn boot_state(&self) -> BootState {
        self.boot_state
    }

    /// Whether the policy is past its expiry.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Identity of the policy.
    pub fn policy(&self) -> Identity {
        self.policy
    }

    /// The attestation key, and whether it is proven to be one.
    pub fn ak(&self) -> &AkIdentity {
        &self.ak
    }

    /// The boot.
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The TPM's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// How the list was replayed.
    pub fn mode(&self) -> ReplayMode {
        self.mode
    }

    /// Entries since boot that the quote confirms.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Those of them that were accepted earlier, and not looked at again.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// Entries beyond the quote: neither judged nor believed.
    pub fn tail(&self) -> usize {
        self.tail
    }

    /// Where the next appraisal may go on. A rejection has none: it is repeated until the policy or the boot changes.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }
}

/// What a list would say of measurements that nobody vouches for: without a quote, or by a draft that nobody sealed. It
/// has findings and counts, and never a verdict.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What would not be allowed.
    pub findings: Vec<Finding>,
    /// What would be allowed and looked at.
    pub notes: Vec<Finding>,
    /// Findings and notes that were counted and not kept.
    pub omitted: u64,
    /// Entries by class.
    pub counts: Counts,
}

/// Tries a list, sealed or not, on whole measurement lists.
#[derive(Debug)]
pub struct Trier<'c> {
    contents: &'c Contents,
    prepared: Prepared,
}

impl<'c> Trier<'c> {
    /// Makes a list ready.
    pub fn new(contents: &'c Contents) -> Self {
        Self { contents, prepared: Prepared::new(contents) }
    }

    /// Every entry of a list, whatever its PCR, the tail included.
    pub fn try_list(&self, list: &MeasurementList<'_>) -> Trial {
        let judge = self.prepared.judge(self.contents);
        let mut report = Report::default();
        let mut position = Position::First;
        for (number, entry) in (1_u64..).zip(list.entries()) {
            let here = if entry.claimed_pcr() == IMA_PCR {
                std::mem::replace(&mut position, Position::Later)
            } else {
                Position::Later
            };
            judge.judge(number, &entry, here, None, &mut report);
        }
        let Report { findings, notes, omitted, counts, rejects: _ } = report;
        Trial { findings, notes, omitted, counts }
    }

    /// One entry of a list, other than its first.
    pub fn try_entry(&self, number: u64, entry: &Entry<'_>) -> Trial {
        let mut report = Report::default();
        self.prepared.judge(self.contents).judge(number, entry, Position::Later, None, &mut report);
        let Report { findings, notes, omitted, counts, rejects: _ } = report;
        Trial { findings, notes, omitted, counts }
    }

    /// The entries of all paths that the kernel writes as `name`.
    pub fn entries<'s>(&'s self, name: &'s [u8]) -> impl Iterator<Item = crate::entries::Entry<'s>> {
        self.prepared.index.entries(self.contents.section(Section::Entries), name)
    }
}
