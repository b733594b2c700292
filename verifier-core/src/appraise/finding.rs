//! What is held against a machine: believed, and not allowed (docs/appraisal.md, Findings).

use std::fmt;

use crate::digest::{Digest, HashAlgorithm};
use crate::entries::FileDigest;
use crate::hex;
use crate::ima::fields::{DigestKind, FieldDigest, FieldError};

/// One thing that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry of the list, counted from 1 since boot; `None` if it is about the quote.
    pub entry: Option<u64>,
    /// The name in that entry, as the kernel writes it. Of a violation nothing in it is proven.
    pub name: Option<Vec<u8>>,
    /// What it is.
    pub kind: FindingKind,
}

/// What is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The path is not listed, no signature rule takes it and no exclude.
    NotInWhitelist {
        /// What was measured.
        found: MeasuredDigest,
        /// What is known of its signature.
        signature: SignatureNote,
    },
    /// The path is listed, with other digests.
    DigestDiffers {
        /// What was measured.
        found: MeasuredDigest,
        /// The path's digests in the list.
        expected: Vec<FileDigest>,
    },
    /// It is a digest of the list or of a rule, and of SHA-1, which no rule accepts.
    Sha1Digest {
        /// What was measured.
        found: MeasuredDigest,
    },
    /// A file's name without a path: the kernel could not resolve it, or it was too long for its template.
    RelativeName {
        /// What was measured.
        found: MeasuredDigest,
    },
    /// The template is none that the list allows.
    Template {
        /// Its claimed name.
        claimed: Vec<u8>,
    },
    /// The entry does not have the fields of its template.
    Fields(FieldError),
    /// The template has no digest or no name, so that it tells of no file.
    NoFile {
        /// Its claimed name.
        claimed: Vec<u8>,
    },
    /// A file was written while it was measured, or the reverse.
    Violation,
    /// The first entry of PCR 10 is not the boot_aggregate, or PCR 10 is not quoted.
    NoBootAggregate,
    /// A boot_aggregate that is not the first entry.
    LaterBootAggregate,
    /// No rule says what the boot_aggregate may be, or it is another.
    BootAggregate {
        /// What was measured.
        found: MeasuredDigest,
        /// What the rules allow.
        expected: Vec<Digest>,
    },
    /// The boot_aggregate in the list is not that of the quoted PCRs.
    BootAggregateOfOtherPcrs {
        /// What was measured.
        found: MeasuredDigest,
        /// Of the quoted PCRs.
        recomputed: Box<Digest>,
    },
    /// A measured buffer that no rule admits.
    Buffer {
        /// Digest of the buffer.
        found: MeasuredDigest,
        /// What the rules admit under its label.
        expected: Vec<Digest>,
    },
    /// The digest of a buffer is not that of the buffer in the entry.
    BufferDigest {
        /// What the entry says.
        found: MeasuredDigest,
    },
    /// The PCR of this entry was not quoted: nothing confirms it.
    UnquotedEntry {
        /// Its claimed PCR.
        claimed_pcr: u8,
    },
    /// A rule constrains this PCR, and it was not quoted.
    PcrNotQuoted {
        /// The bank.
        bank: HashAlgorithm,
        /// The PCR.
        pcr: u8,
    },
    /// The PCR has a value that the rules do not allow.
    PcrValue {
        /// The PCR.
        pcr: u8,
        /// Its quoted value; the algorithm is the bank.
        found: Box<Digest>,
        /// What the rules allow.
        expected: Vec<Digest>,
    },
    /// The quote covers the list's PCRs in the SHA-1 bank alone, which no rule accepts.
    Sha1BankAlone,
}

impl FindingKind {
    /// A stable word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotInWhitelist { .. } => "not-in-whitelist",
            Self::DigestDiffers { .. } => "digest-differs",
            Self::Sha1Digest { .. } => "sha1-digest",
            Self::RelativeName { .. } => "relative-name",
            Self::Template { .. } => "template",
            Self::Fields(_) => "fields",
            Self::NoFile { .. } => "no-file",
            Self::Violation => "violation",
            Self::NoBootAggregate => "no-boot-aggregate",
            Self::LaterBootAggregate => "later-boot-aggregate",
            Self::BootAggregate { .. } => "boot-aggregate",
            Self::BootAggregateOfOtherPcrs { .. } => "boot-aggregate-of-other-pcrs",
            Self::Buffer { .. } => "buffer",
            Self::BufferDigest { .. } => "buffer-digest",
            Self::UnquotedEntry { .. } => "unquoted-entry",
            Self::PcrNotQuoted { .. } => "pcr-not-quoted",
            Self::PcrValue { .. } => "pcr-value",
            Self::Sha1BankAlone => "sha1-bank-alone",
        }
    }

    /// What was measured, where something was.
    pub const fn found(&self) -> Option<&MeasuredDigest> {
        match self {
            Self::NotInWhitelist { found, .. }
            | Self::DigestDiffers { found, .. }
            | Self::Sha1Digest { found }
            | Self::RelativeName { found }
            | Self::BootAggregate { found, .. }
            | Self::BootAggregateOfOtherPcrs { found, .. }
            | Self::Buffer { found, .. }
            | Self::BufferDigest { found } => Some(found),
            _ => None,
        }
    }
}

/// In words, without the name.
impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInWhitelist { found, signature } => {
                write!(f, "not in the whitelist: {found}")?;
                match signature {
                    SignatureNote::None => Ok(()),
                    SignatureNote::NoRule => f.write_str(" (signed, and no rule takes the signature)"),
                    SignatureNote::NotAccepted { kind } => {
                        write!(f, " (its signature is of type {kind:02x}, never accepted)")
                    }
                    SignatureNote::Bad => f.write_str(" (its signature is not right, or by another key)"),
                }
            }
            Self::DigestDiffers { found, expected } => {
                write!(
                    f,
                    "digest differs: {found}, expected {}",
                    alternatives(expected, |digest| MeasuredDigest::Known(*digest).to_string())
                )
            }
            Self::Sha1Digest { found } => write!(f, "a SHA-1 digest, which no rule accepts: {found}"),
            Self::RelativeName { found } => write!(f, "a name without a path, which nothing can list: {found}"),
            Self::Template { claimed } => {
                write!(f, "its template is not allowed: {}", String::from_utf8_lossy(claimed).escape_debug())
            }
            Self::Fields(error) => error.fmt(f),
            Self::NoFile { claimed } => {
                write!(f, "its template tells of no file: {}", String::from_utf8_lossy(claimed).escape_debug())
            }
            Self::Violation => f.write_str("a violation: a file was written while it was measured, or the reverse"),
            Self::NoBootAggregate => f.write_str("the first entry of PCR 10 is not the boot_aggregate"),
            Self::LaterBootAggregate => f.write_str("a boot_aggregate that is not the first entry"),
            Self::BootAggregate { found, expected } if expected.is_empty() => {
                write!(f, "no rule says what the boot_aggregate may be: {found}")
            }
            Self::BootAggregate { found, expected } => {
                write!(f, "another boot_aggregate: {found}, expected {}", alternatives(expected, tagged))
            }
            Self::BootAggregateOfOtherPcrs { found, recomputed } => {
                write!(f, "the boot_aggregate is {found}, and that of the quoted PCRs is {recomputed:?}")
            }
            Self::Buffer { found, expected } if expected.is_empty() => {
                write!(f, "a measured buffer that no rule admits: {found}")
            }
            Self::Buffer { found, expected } => {
                write!(f, "another measured buffer: {found}, expected {}", alternatives(expected, tagged))
            }
            Self::BufferDigest { found } => write!(f, "its digest is not that of its buffer: {found}"),
            Self::UnquotedEntry { claimed_pcr } => {
                write!(f, "its PCR {claimed_pcr} is not quoted: nothing confirms it")
            }
            Self::PcrNotQuoted { bank, pcr } => write!(f, "a rule constrains PCR {pcr} of {bank}, which is not quoted"),
            Self::PcrValue { pcr, found, expected } => {
                write!(f, "PCR {pcr} is {found:?}, expected {}", alternatives(expected, tagged))
            }
            Self::Sha1BankAlone => f.write_str("the list is proven in the SHA-1 bank alone, and no rule accepts that"),
        }
    }
}

fn alternatives<T>(expected: &[T], text: impl Fn(&T) -> String) -> String {
    expected.iter().map(text).collect::<Vec<_>>().join(" or ")
}

fn tagged(digest: &Digest) -> String {
    format!("{digest:?}")
}

/// What is known of the signature of a file that is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureNote {
    /// There is none.
    None,
    /// There is one, and no rule is for this path.
    NoRule,
    /// It is of a kind that is shown and never accepted: 05 (portable EVM) or 06 (fs-verity), or an unknown one.
    NotAccepted {
        /// Its first byte.
        kind: u8,
    },
    /// No rule's key made it over this digest.
    Bad,
}

/// A digest as measured: perhaps of an algorithm that is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasuredDigest {
    /// Of a known algorithm and its length.
    Known(FileDigest),
    /// Any other.
    Unknown {
        /// What stands before the algorithm, such as `verity`.
        prefix: Vec<u8>,
        /// The algorithm's name as it stands there.
        algorithm: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
}

impl MeasuredDigest {
    pub(super) fn of(field: &FieldDigest<'_>) -> Self {
        match (field.kind, field.digest()) {
            (DigestKind::Contents, Some(digest)) => Self::Known(FileDigest::Contents(digest)),
            (DigestKind::Verity, Some(digest)) => Self::Known(FileDigest::Verity(digest)),
            (kind, _) => Self::Unknown {
                prefix: match kind {
                    DigestKind::Contents => Vec::new(),
                    DigestKind::Verity => b"verity".to_vec(),
                    DigestKind::Other(prefix) => prefix.to_vec(),
                },
                algorithm: field.algorithm.to_vec(),
                value: field.value.to_vec(),
            },
        }
    }
}

/// `ALG:HEX`, or `verity:ALG:HEX`.
impl fmt::Display for MeasuredDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(FileDigest::Contents(digest)) => write!(f, "{digest:?}"),
            Self::Known(FileDigest::Verity(digest)) => write!(f, "verity:{digest:?}"),
            Self::Unknown { prefix, algorithm, value } => {
                for part in [prefix, algorithm].into_iter().filter(|part| !part.is_empty()) {
                    write!(f, "{}:", String::from_utf8_lossy(part).escape_debug())?;
                }
                f.write_str(&hex::encode(value))
            }
        }
    }
}
