//! How one entry is judged, in this order (docs/appraisal.md, How an entry is judged):
//!
//! 1. a violation by rule alone, since nothing in its entry is authentic;
//! 2. fields and template;
//! 3. the boot_aggregate, which is the first entry and no other;
//! 4. a measured buffer by its label and digest;
//! 5. a file by its listed digests, which nothing overrides; not listed, by its signature; not signed, by the excludes.

use crate::contents::Contents;
use crate::digest::{Digest, HashAlgorithm};
use crate::entries::FileDigest;
use crate::header::Section;
use crate::ima::boot_aggregate;
use crate::ima::entry::Entry;
use crate::ima::fields::{DigestKind, Fields};
use crate::index::{PathIndex, digest_of};
use crate::pcr::PcrValues;

use super::file_signature;
use super::finding::{Finding, FindingKind, MeasuredDigest};
use super::report::{Class, Report};
use super::requirements::Requirements;

/// The kernel's name for the first entry.
const BOOT_AGGREGATE: &[u8] = b"boot_aggregate";

/// The kernel's template of measured buffers.
const BUFFER_TEMPLATE: &[u8] = b"ima-buf";

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The first of PCR 10 since boot.
    First,
    /// Any other.
    Later,
}

/// A list that entries are held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'p> {
    pub(super) contents: &'p Contents,
    pub(super) index: &'p PathIndex,
    pub(super) requirements: &'p Requirements,
}

/// What became of an entry.
enum Outcome {
    Counted(Class),
    Found(Class, FindingKind),
}

impl Judge<'_> {
    /// Judges one entry. Without quoted PCRs nothing is recomputed from them.
    pub(super) fn judge(
        &self,
        number: u64,
        entry: &Entry<'_>,
        position: Position,
        quoted: Option<&PcrValues>,
        report: &mut Report,
    ) {
        if entry.is_violation() {
            self.violation(number, entry, report);
            if position == Position::First {
                report.find(
                    Class::BootAggregate,
                    Finding { entry: Some(number), name: None, kind: FindingKind::NoBootAggregate },
                );
            }
            return;
        }
        let (name, outcome) = match entry.fields() {
            Ok(fields) => (fields.name, self.fields(entry, &fields, position, quoted)),
            Err(error) => (None, Outcome::Found(Class::Malformed, FindingKind::Fields(error))),
        };
        match outcome {
            Outcome::Counted(class) => report.count(class),
            Outcome::Found(class, kind) => {
                report.find(class, Finding { entry: Some(number), name: name.map(<[u8]>::to_vec), kind });
            }
        }
    }

    fn violation(&self, number: u64, entry: &Entry<'_>, report: &mut Report) {
        let name = entry.fields().ok().and_then(|fields| fields.name).map(<[u8]>::to_vec);
        let violation = Finding { entry: Some(number), name, kind: FindingKind::Violation };
        if self.requirements.report_violations {
            report.note(Class::Violation, violation);
        } else {
            report.find(Class::Violation, violation);
        }
    }

    fn fields(
        &self,
        entry: &Entry<'_>,
        fields: &Fields<'_>,
        position: Position,
        quoted: Option<&PcrValues>,
    ) -> Outcome {
        let claimed = entry.claimed_template();
        let is_buffer = claimed == BUFFER_TEMPLATE;
        if !is_buffer && !self.requirements.allows_template(claimed) {
            return Outcome::Found(Class::Malformed, FindingKind::Template { claimed: claimed.to_vec() });
        }
        let Some((digest, name)) = fields.digest.zip(fields.name) else {
            return Outcome::Found(Class::Malformed, FindingKind::NoFile { claimed: claimed.to_vec() });
        };
        let known = digest.digest();
        let measured = match (digest.kind, known) {
            (DigestKind::Contents, Some(digest)) => Some(FileDigest::Contents(digest)),
            (DigestKind::Verity, Some(digest)) => Some(FileDigest::Verity(digest)),
            _ => None,
        };
        let found = || MeasuredDigest::of(&digest);
        match position {
            Position::First if is_buffer || name != BOOT_AGGREGATE => {
                return Outcome::Found(Class::BootAggregate, FindingKind::NoBootAggregate);
            }
            Position::First => return self.boot_aggregate(measured, found, quoted),
            Position::Later if name == BOOT_AGGREGATE => {
                return Outcome::Found(Class::BootAggregate, FindingKind::LaterBootAggregate);
            }
            Position::Later => {}
        }
        if is_buffer {
            return self.buffer(fields, name, known, found);
        }
        self.file(name, measured, entry.signature(fields), found)
    }

    fn boot_aggregate(
        &self,
        measured: Option<FileDigest>,
        found: impl Fn() -> MeasuredDigest,
        quoted: Option<&PcrValues>,
    ) -> Outcome {
        let requirements = self.requirements;
        let digest = match measured {
            Some(FileDigest::Contents(digest)) => Some(digest),
            _ => None,
        };
        let allowed =
            |digest: Digest| requirements.any_boot_aggregate || requirements.boot_aggregates.contains(&digest);
        if !digest.is_some_and(allowed) {
            let expected = requirements.boot_aggregates.clone();
            return Outcome::Found(Class::BootAggregate, FindingKind::BootAggregate { found: found(), expected });
        }
        let recomputed =
            digest.zip(quoted).and_then(|(digest, quoted)| boot_aggregate::recompute(quoted, digest.algorithm()));
        match recomputed {
            Some(recomputed) if Some(recomputed) != digest => {
                let recomputed = Box::new(recomputed);
                let kind = FindingKind::BootAggregateOfOtherPcrs { found: found(), recomputed };
                Outcome::Found(Class::BootAggregate, kind)
            }
            _ => Outcome::Counted(Class::BootAggregate),
        }
    }

    fn buffer(
        &self,
        fields: &Fields<'_>,
        label: &[u8],
        digest: Option<Digest>,
        found: impl Fn() -> MeasuredDigest,
    ) -> Outcome {
        if !fields.digest_is_of_buffer() {
            return Outcome::Found(Class::Buffer, FindingKind::BufferDigest { found: found() });
        }
        if self.requirements.ignored_keyrings.contains(label) {
            return Outcome::Counted(Class::Ignored);
        }
        let expected = self.requirements.buffers.get(label).map(Vec::as_slice).unwrap_or_default();
        match digest {
            Some(digest) if expected.contains(&digest) && !self.requirements.accepts_digest(digest.algorithm()) => {
                Outcome::Found(Class::Buffer, FindingKind::Sha1Digest { found: found() })
            }
            Some(digest) if expected.contains(&digest) => Outcome::Counted(Class::Buffer),
            _ => Outcome::Found(Class::Buffer, FindingKind::Buffer { found: found(), expected: expected.to_vec() }),
        }
    }

    fn file(
        &self,
        name: &[u8],
        measured: Option<FileDigest>,
        signature: &[u8],
        found: impl Fn() -> MeasuredDigest,
    ) -> Outcome {
        if !name.starts_with(b"/") {
            return Outcome::Found(Class::NotInWhitelist, FindingKind::RelativeName { found: found() });
        }
        let section = self.contents.section(Section::Entries);
        let mut listed = false;
        for entry in self.index.entries(section, name) {
            listed = true;
            if measured.is_some() && digest_of(&entry) == measured {
                return match measured {
                    Some(digest) if !self.requirements.accepts_digest(digest.digest().algorithm()) => {
                        Outcome::Found(Class::DigestDiffers, FindingKind::Sha1Digest { found: found() })
                    }
                    _ => Outcome::Counted(Class::Good),
                };
            }
        }
        if listed {
            let expected = self.index.entries(section, name).filter_map(|entry| digest_of(&entry)).collect();
            return Outcome::Found(Class::DigestDiffers, FindingKind::DigestDiffers { found: found(), expected });
        }
        let contents = match measured {
            Some(FileDigest::Contents(digest)) if digest.algorithm() != HashAlgorithm::Sha1 => Some(digest),
            _ => None,
        };
        match file_signature::check(&self.requirements.signers, name, contents, signature) {
            Ok(()) => Outcome::Counted(Class::Signed),
            Err(_) if self.contents.excludes().takes(name) => Outcome::Counted(Class::Excluded),
            Err(signature) => {
                Outcome::Found(Class::NotInWhitelist, FindingKind::NotInWhitelist { found: found(), signature })
            }
        }
    }
}
