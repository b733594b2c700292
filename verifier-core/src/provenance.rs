//! Provenance: where the entries of a list came from, and what is missing (docs/format.md, Provenance).
//!
//! One fact a line. No time, host name or job count: the same inputs give the same lines on any machine.

use std::fmt;

use crate::cursor::{Cursor, decimal};
use crate::digest::{Digest, HashAlgorithm};
use crate::path::{escape, unescape};

/// Longest line in bytes: a path of 4,095 bytes, each escaped, and the words before it.
const MAX_LINE_LEN: usize = 16 << 10;

/// What kind of input it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum InputKind {
    /// A whitelist of another format.
    Flat,
    /// A measurement list: what ran on a machine.
    ImaLog,
    /// An initramfs image.
    Initramfs,
    /// A goldseal list whose seal was not checked; its digest is its identity.
    List,
    /// A file or folder of the building machine, listed under its own path.
    Path,
    /// The root folder of a target.
    Root,
    /// A goldseal list whose seal was checked; its digest is its identity.
    SealedList,
    /// A unified kernel image.
    Uki,
}

impl InputKind {
    const ALL: [Self; 8] =
        [Self::Flat, Self::ImaLog, Self::Initramfs, Self::List, Self::Path, Self::Root, Self::SealedList, Self::Uki];

    /// Its word in the section.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::ImaLog => "ima-log",
            Self::Initramfs => "initramfs",
            Self::List => "list",
            Self::Path => "path",
            Self::Root => "root",
            Self::SealedList => "sealed-list",
            Self::Uki => "uki",
        }
    }
}

/// Why a file that should be listed is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GapReason {
    /// It changed while it was read, twice.
    Changed,
    /// A list cannot write its path.
    Path,
    /// It could not be opened or read.
    Unreadable,
    /// It went away between listing its folder and opening it.
    Vanished,
}

impl GapReason {
    const ALL: [Self; 4] = [Self::Changed, Self::Path, Self::Unreadable, Self::Vanished];

    /// Its word in the section.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Path => "path",
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
        }
    }
}

/// One line. Names are bytes and are escaped as paths are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// Inputs gave this path different digests; all are listed.
    Conflict(Vec<u8>),
    /// An exclude took this many files and folders; a folder counts once, with all below.
    Excluded {
        /// Files and folders taken.
        count: u64,
        /// The pattern, as written.
        pattern: Vec<u8>,
    },
    /// This path is missing.
    Gap {
        /// Why.
        reason: GapReason,
        /// Path on the target.
        path: Vec<u8>,
    },
    /// Something was read.
    Input {
        /// What it was.
        kind: InputKind,
        /// SHA-256 where it is a file; the identity where it is a list.
        sha256: Option<Digest>,
        /// Paths it gave.
        files: u64,
        /// Bytes of their contents.
        bytes: u64,
        /// Its name as given.
        name: Vec<u8>,
    },
    /// Another file system is mounted here and was not entered.
    MountPoint(Vec<u8>),
    /// A folder left out because its contents do not outlive a boot.
    Skipped(Vec<u8>),
    /// Something a signer should know.
    Warning(Vec<u8>),
}

impl Fact {
    /// Reads one line, its LF left out.
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.len() > MAX_LINE_LEN || line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return None;
        }
        let mut text = Cursor::new(line);
        let word = text.until(b' ')?;
        let name = |text: &mut Cursor<'_>| unescape(text.take_rest()?).filter(|name| !name.is_empty());
        let fact = match word {
            b"conflict" => Self::Conflict(name(&mut text)?),
            b"excluded" => Self::Excluded { count: decimal(text.until(b' ')?, u64::MAX)?, pattern: name(&mut text)? },
            b"gap" => {
                let reason = text.until(b' ')?;
                let reason = GapReason::ALL.into_iter().find(|known| known.name().as_bytes() == reason)?;
                Self::Gap { reason, path: name(&mut text)? }
            }
            b"input" => {
                let kind = text.until(b' ')?;
                let kind = InputKind::ALL.into_iter().find(|known| known.name().as_bytes() == kind)?;
                let sha256 = match text.until(b' ')? {
                    b"-" => None,
                    hex => Some(Digest::from_hex(hex).filter(|digest| digest.algorithm() == HashAlgorithm::Sha256)?),
                };
                let files = decimal(text.until(b' ')?, u64::MAX)?;
                let bytes = decimal(text.until(b' ')?, u64::MAX)?;
                Self::Input { kind, sha256, files, bytes, name: name(&mut text)? }
            }
            b"mount-point" => Self::MountPoint(name(&mut text)?),
            b"skipped" => Self::Skipped(name(&mut text)?),
            b"warning" => Self::Warning(name(&mut text)?),
            _ => return None,
        };
        Some(fact)
    }

    /// The line, its LF left out.
    pub fn print(&self) -> Vec<u8> {
        let (words, name) = match self {
            Self::Conflict(path) => ("conflict".to_owned(), path),
            Self::Excluded { count, pattern } => (format!("excluded {count}"), pattern),
            Self::Gap { reason, path } => (format!("gap {}", reason.name()), path),
            Self::Input { kind, sha256, files, bytes, name } => {
                let sha256 = sha256.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
                (format!("input {} {sha256} {files} {bytes}", kind.name()), name)
            }
            Self::MountPoint(path) => ("mount-point".to_owned(), path),
            Self::Skipped(path) => ("skipped".to_owned(), path),
            Self::Warning(text) => ("warning".to_owned(), text),
        };
        [words.as_bytes(), b" ", &escape(name)].concat()
    }
}

/// All facts of a list, sorted as their lines, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance(Vec<Fact>);

impl Provenance {
    /// Facts in canonical order; their order and repetitions do not matter.
    pub fn new(facts: impl IntoIterator<Item = Fact>) -> Self {
        let mut facts: Vec<Fact> = facts.into_iter().collect();
        facts.sort_by_cached_key(Fact::print);
        facts.dedup();
        Self(facts)
    }

    /// The facts in the order of their lines.
    pub fn as_slice(&self) -> &[Fact] {
        &self.0
    }

    /// Whether something that should be listed is missing.
    pub fn has_gaps(&self) -> bool {
        self.0.iter().any(|fact| matches!(fact, Fact::Gap { .. }))
    }

    /// The section: one fact a line.
    pub fn print(&self) -> Vec<u8> {
        self.0.iter().flat_map(|fact| [&fact.print()[..], b"\n"].concat()).collect()
    }
}

/// A line of the section is no fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactError;

impl fmt::Display for FactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not a fact about an input")
    }
}

impl std::error::Error for FactError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_survives_parse_and_print() {
        let sha256 = "5".repeat(64);
        for line in [
            "conflict /a b".to_owned(),
            "excluded 12 /tmp/.*".to_owned(),
            "gap unreadable /a\\nb".to_owned(),
            format!("input initramfs {sha256} 1259 123456 /boot/initrd.img"),
            format!("input ima-log {sha256} 118 12345 ima-log"),
            "input root - 0 0 /mnt".to_owned(),
            "mount-point /mnt".to_owned(),
            "skipped /proc".to_owned(),
            "warning a squashfs image".to_owned(),
        ] {
            assert_eq!(Fact::parse(line.as_bytes()).map(|fact| fact.print()), Some(line.into_bytes()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "conflict",
            "conflict ",
            "Conflict /a",
            "excluded /a",
            "excluded 01 /a",
            "gap lost /a",
            "gap changed ",
            "input root - 0 /a",
            "input tree - 0 0 /a",
            "input root 55 0 0 /a",
            "input root - 0 0 ",
            "warning a\\tb",
            "skipped a\rb",
            "skipped a\nb",
        ] {
            assert_eq!(Fact::parse(bad.as_bytes()), None, "{bad:?}");
        }
        let long = [b"warning ", &vec![b'a'; MAX_LINE_LEN][..]].concat();
        assert_eq!(Fact::parse(&long), None);
    }
}
