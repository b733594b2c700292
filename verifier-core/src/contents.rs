//! The sections of a list: hashed against the header first, then parsed, each held to its one encoding.

use std::fmt;
use std::ops::Range;

use crate::cursor::Cursor;
use crate::digest::Digest;
use crate::entries::{self, Entry, EntryError};
use crate::excludes::{Excludes, ExcludesError, Pattern, PatternError};
use crate::header::{Header, Section};
use crate::provenance::{Fact, FactError, Provenance};
use crate::rules::{Rule, RuleError, Rules};

/// The sections of one list: exactly the bytes whose hashes its header carries, and what they say.
///
/// Whoever holds it knows that header and sections belong together; about the header it says nothing.
#[derive(Clone, Debug)]
pub struct Contents {
    body: Vec<u8>,
    ranges: [Range<usize>; 4],
    provenance: Provenance,
    excludes: Excludes,
    rules: Rules,
    entry_count: u64,
}

impl Contents {
    /// Takes everything that follows the head.
    ///
    /// # Errors
    /// [`ContentsError`]: another length, a section with another hash, or one that is not in its one encoding.
    /// Nothing is parsed before every section's hash was compared.
    pub(crate) fn load(header: &Header, body: Vec<u8>) -> Result<Self, ContentsError> {
        let ranges = section_ranges(header, body.len())?;
        for ((section, seal), range) in Section::ALL.into_iter().zip(&header.sections).zip(&ranges) {
            let bytes = body.get(range.clone()).unwrap_or_default();
            if Digest::sha256(bytes) != seal.sha256 {
                return Err(ContentsError::Tampered(section));
            }
        }
        let section = |section: Section| Self::slice(&body, &ranges, section);
        let provenance = parse_lines(section(Section::Provenance), Section::Provenance, |line| {
            Fact::parse(line).ok_or(LineProblem::Fact(FactError))
        })?;
        let excludes = parse_lines(section(Section::Excludes), Section::Excludes, |line| {
            Pattern::new(line).map_err(LineProblem::Pattern)
        })?;
        let rules =
            parse_lines(section(Section::Rules), Section::Rules, |line| Rule::parse(line).map_err(LineProblem::Rule))?;
        let entry_count = entries::check(section(Section::Entries), &header.file_hash).map_err(ContentsError::Entry)?;
        let excludes = Excludes::new(excludes).map_err(ContentsError::Excludes)?;
        let rules = Rules::new(rules);
        check_broad(&excludes, &rules)?;
        Ok(Self { provenance: Provenance::new(provenance), excludes, rules, entry_count, ranges, body })
    }

    /// A section's bytes as they are in the file.
    pub fn section(&self, section: Section) -> &[u8] {
        Self::slice(&self.body, &self.ranges, section)
    }

    fn slice<'a>(body: &'a [u8], ranges: &[Range<usize>; 4], section: Section) -> &'a [u8] {
        let [provenance, excludes, rules, entries] = ranges;
        let range = match section {
            Section::Provenance => provenance,
            Section::Excludes => excludes,
            Section::Rules => rules,
            Section::Entries => entries,
        };
        body.get(range.clone()).unwrap_or_default()
    }

    /// All sections' bytes: what follows the head.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The entries in their order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        entries::iter(self.section(Section::Entries))
    }

    /// Number of entries; a path with two digests counts twice.
    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// Where the entries came from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What the list leaves out.
    pub fn excludes(&self) -> &Excludes {
        &self.excludes
    }

    /// What else it accepts.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

fn section_ranges(header: &Header, found: usize) -> Result<[Range<usize>; 4], ContentsError> {
    let wrong =
        || ContentsError::Length { expected: header.body_len(), found: u64::try_from(found).unwrap_or(u64::MAX) };
    if usize::try_from(header.body_len()).ok() != Some(found) {
        return Err(wrong());
    }
    let mut start = 0_usize;
    let mut ranges = [const { 0..0 }; 4];
    for (range, seal) in ranges.iter_mut().zip(&header.sections) {
        let end = usize::try_from(seal.len).ok().and_then(|len| start.checked_add(len)).ok_or_else(wrong)?;
        *range = start..end;
        start = end;
    }
    Ok(ranges)
}

/// Reads a section of lines, strictly ascending.
fn parse_lines<T>(
    bytes: &[u8],
    section: Section,
    parse: impl Fn(&[u8]) -> Result<T, LineProblem>,
) -> Result<Vec<T>, ContentsError> {
    let mut lines = Cursor::new(bytes);
    let mut parsed = Vec::new();
    let mut previous: Option<&[u8]> = None;
    let mut number = 0_u64;
    while !lines.is_empty() {
        number = number.saturating_add(1);
        let at = |problem| ContentsError::Line { section, line: number, problem };
        let line = lines.line().ok_or(at(LineProblem::NoLineEnd))?;
        if previous.is_some_and(|previous| previous >= line) {
            return Err(at(LineProblem::Order));
        }
        parsed.push(parse(line).map_err(at)?);
        previous = Some(line);
    }
    Ok(parsed)
}

/// A pattern that takes a probe needs its `broad-exclude` rule, and such a rule needs its pattern.
fn check_broad(excludes: &Excludes, rules: &Rules) -> Result<(), ContentsError> {
    let mut declared = Vec::new();
    for rule in rules.as_slice() {
        if let Rule::BroadExclude(pattern) = rule {
            declared.push(pattern);
        }
    }
    let broad: Vec<&Pattern> = excludes.broad().into_iter().map(|(pattern, _)| pattern).collect();
    if let Some(pattern) = broad.iter().find(|pattern| !declared.contains(pattern)) {
        return Err(ContentsError::BroadExclude((*pattern).clone()));
    }
    if let Some(pattern) = declared.iter().find(|pattern| !broad.contains(pattern)) {
        return Err(ContentsError::IdleBroadExclude((*pattern).clone()));
    }
    Ok(())
}

/// Why sections do not belong to their header, or are not in their one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentsError {
    /// The file is longer or shorter than its header says.
    Length {
        /// Bytes after the head, by the header.
        expected: u64,
        /// Bytes after the head; of a longer file perhaps not all were counted.
        found: u64,
    },
    /// The section does not have the hash in the header.
    Tampered(Section),
    /// A line of provenance, excludes or rules.
    Line {
        /// The section.
        section: Section,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A line of the entries.
    Entry(EntryError),
    /// The excludes together.
    Excludes(ExcludesError),
    /// This exclude takes a probe and has no `broad-exclude` rule.
    BroadExclude(Pattern),
    /// This `broad-exclude` rule names no exclude that takes a probe.
    IdleBroadExclude(Pattern),
}

/// What can be wrong with a line of provenance, excludes or rules.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineProblem {
    /// The last line has no LF.
    NoLineEnd,
    /// Not after the line before it.
    Order,
    /// Not a fact.
    Fact(FactError),
    /// Not a pattern.
    Pattern(PatternError),
    /// Not a rule.
    Rule(RuleError),
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLineEnd => f.write_str("the last line has no end"),
            Self::Order => f.write_str("it does not come after the line before it"),
            Self::Fact(error) => error.fmt(f),
            Self::Pattern(error) => error.fmt(f),
            Self::Rule(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ContentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } if found > expected => {
                write!(f, "after the head it has more than the {expected} bytes that its header says")
            }
            Self::Length { expected, found } => {
                write!(f, "after the head it has {found} bytes where its header says {expected}")
            }
            Self::Tampered(section) => {
                write!(f, "the section {section} does not have the hash that its header carries")
            }
            Self::Line { section, line, problem } => write!(f, "section {section}, line {line}: {problem}"),
            Self::Entry(error) => error.fmt(f),
            Self::Excludes(error) => error.fmt(f),
            Self::BroadExclude(pattern) => {
                write!(
                    f,
                    "the exclude {:?} takes system paths and no broad-exclude rule says that it is meant",
                    pattern.as_str()
                )
            }
            Self::IdleBroadExclude(pattern) => {
                write!(f, "the rule broad-exclude {:?} names no exclude that takes system paths", pattern.as_str())
            }
        }
    }
}

impl std::error::Error for ContentsError {}
