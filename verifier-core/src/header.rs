//! The header of a whitelist: the payload that is signed (docs/format.md, Header). A trust root's header
//! ([`crate::root`]) shares its first lines.

use std::fmt;

use crate::cursor::{Cursor, decimal};
use crate::digest::{Digest, HashAlgorithm};
use crate::time::Timestamp;

/// `payloadType` of a whitelist in its DSSE encoding.
pub const WHITELIST_TYPE: &str = "application/vnd.goldseal.whitelist.v1";

/// The largest version: 15 digits stay exact in a JSON number.
pub const MAX_VERSION: u64 = 999_999_999_999_999;

/// Longest section of entries in bytes: positions in it fit in 32 bits; thirty million lines of usual length.
pub const MAX_ENTRIES_LEN: u64 = 0xffff_ffff;

/// Longest of the other sections in bytes: room for every exclude there may be at its full length.
pub const MAX_SECTION_LEN: u64 = 64 << 20;

/// The name of a list: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListName(String);

impl ListName {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 64;

    /// A name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let starts = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit());
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
        (starts && text.len() <= Self::MAX_LEN && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a list: 1 to [`MAX_VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of a list without a predecessor.
    pub const FIRST: Self = Self(1);

    /// A version, if it is one.
    pub fn new(number: u64) -> Option<Self> {
        (1..=MAX_VERSION).contains(&number).then_some(Self(number))
    }

    /// A version as headers write it: decimal, without a leading zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        decimal(text, MAX_VERSION).and_then(Self::new)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The next version; `None` after the last.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).and_then(Self::new)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a document goes stale, or a key stops to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It does not.
    Never,
    /// From this second on.
    At(Timestamp),
}

impl Expiry {
    /// `never`, or a time.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"never" => Some(Self::Never),
            time => Timestamp::parse(time).map(Self::At),
        }
    }

    /// Whether it has come at `time`.
    pub fn is_past_at(self, time: Timestamp) -> bool {
        matches!(self, Self::At(since) if time >= since)
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::At(time) => time.fmt(f),
        }
    }
}

/// The algorithms a list's digests may have: at least one, each once, in the order of [`HashAlgorithm::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHash(Vec<HashAlgorithm>);

impl FileHash {
    /// The algorithms in canonical order; `None` if there are none.
    pub fn new(algorithms: &[HashAlgorithm]) -> Option<Self> {
        let mut algorithms = algorithms.to_vec();
        algorithms.sort_unstable();
        algorithms.dedup();
        (!algorithms.is_empty()).then_some(Self(algorithms))
    }

    /// The algorithms, in canonical order.
    pub fn algorithms(&self) -> &[HashAlgorithm] {
        &self.0
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let algorithms: Option<Vec<_>> = text.split(|byte| *byte == b',').map(HashAlgorithm::from_name).collect();
        let algorithms = algorithms?;
        algorithms.is_sorted_by(|a, b| a < b).then_some(Self(algorithms))
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|algorithm| algorithm.name()).collect();
        f.write_str(&names.join(","))
    }
}

/// A part of a list after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Where the entries came from.
    Provenance,
    /// Patterns whose files are left out.
    Excludes,
    /// What else is accepted.
    Rules,
    /// The digests and paths.
    Entries,
}

impl Section {
    /// All sections in the order of the file.
    pub const ALL: [Self; 4] = [Self::Provenance, Self::Excludes, Self::Rules, Self::Entries];

    /// Its name in the header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provenance => "provenance",
            Self::Excludes => "excludes",
            Self::Rules => "rules",
            Self::Entries => "entries",
        }
    }

    const fn max_len(self) -> u64 {
        match self {
            Self::Entries => MAX_ENTRIES_LEN,
            Self::Provenance | Self::Excludes | Self::Rules => MAX_SECTION_LEN,
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Length and SHA-256 of one section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionSeal {
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of these bytes.
    pub sha256: Digest,
}

impl SectionSeal {
    /// The seal of these bytes.
    pub fn of(section: impl AsRef<[u8]>) -> Self {
        let section = section.as_ref();
        Self { len: u64::try_from(section.len()).unwrap_or(u64::MAX), sha256: Digest::sha256(section) }
    }

    /// Its line in a header.
    pub(crate) fn print(&self, name: &str) -> String {
        format!("section: {name} {} sha256:{}\n", self.len, self.sha256)
    }
}

/// A header as parsed. Whether anybody signed it is another matter: see `AuthenticHeader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name of the list.
    pub name: ListName,
    /// Version of the list.
    pub version: Version,
    /// When it was made, by the maker's clock.
    pub created: Timestamp,
    /// When it goes stale.
    pub expires: Expiry,
    /// Algorithms of its digests.
    pub file_hash: FileHash,
    /// Seals of the sections, in the order of [`Section::ALL`].
    pub sections: [SectionSeal; 4],
}

impl Header {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`HeaderError`] with the line (from 1, the payload's own first LF not counted) and what stands there by rights.
    pub fn parse(payload: &[u8]) -> Result<Self, HeaderError> {
        let mut lines = HeaderLines::start(payload)?;
        let (name, version, created, expires) = lines.document()?;
        let file_hash =
            lines.field("file-hash", "`file-hash: ` and some of sha1,sha256,sha384,sha512", FileHash::parse)?;
        let mut section = |section: Section| {
            let expected = "`section: NAME LENGTH sha256:HEX`, all four in their order";
            lines.section(section.name(), section.max_len(), expected)
        };
        let [provenance, excludes, rules, entries] = Section::ALL;
        let sections = [section(provenance)?, section(excludes)?, section(rules)?, section(entries)?];
        lines.end()?;
        Ok(Self { name, version, created, expires, file_hash, sections })
    }

    /// The payload: `parse(print()) == self`.
    pub fn print(&self) -> Vec<u8> {
        let mut text = print_document(&self.name, self.version, self.created, self.expires);
        text.push_str(&format!("file-hash: {}\n", self.file_hash));
        for (section, seal) in Section::ALL.into_iter().zip(&self.sections) {
            text.push_str(&seal.print(section.name()));
        }
        text.into_bytes()
    }

    /// Length of all sections together, in bytes.
    pub fn body_len(&self) -> u64 {
        self.sections.iter().fold(0, |sum, seal| sum.saturating_add(seal.len))
    }
}

/// Reads the payload of any document in the container, line by line.
pub(crate) struct HeaderLines<'a> {
    cursor: Cursor<'a>,
    line: usize,
}

impl<'a> HeaderLines<'a> {
    /// The LF before the first line.
    pub(crate) fn start(payload: &'a [u8]) -> Result<Self, HeaderError> {
        let mut cursor = Cursor::new(payload);
        cursor.literal(b"\n").ok_or(HeaderError { line: 0, expected: "an LF before the first line" })?;
        Ok(Self { cursor, line: 0 })
    }

    /// The lines every document begins with: `format`, and the four returned.
    pub(crate) fn document(&mut self) -> Result<(ListName, Version, Timestamp, Expiry), HeaderError> {
        self.field("format", "`format: 1`", |value| (value == b"1").then_some(()))?;
        let name = self.field("name", "`name: [a-z0-9][a-z0-9._-]{0,63}`", |value| {
            std::str::from_utf8(value).ok().and_then(ListName::new)
        })?;
        let version = self.field("version", "`version: ` and a number from 1 to 999999999999999", Version::parse)?;
        let created = self.field("created", "`created: YYYY-MM-DDThh:mm:ssZ`", Timestamp::parse)?;
        let expires = self.field("expires", "`expires: ` and a time after `created`, or `never`", |value| {
            Expiry::parse(value).filter(|expires| !expires.is_past_at(created))
        })?;
        Ok((name, version, created, expires))
    }

    /// `section: NAME LENGTH sha256:HEX`.
    pub(crate) fn section(
        &mut self,
        name: &str,
        max_len: u64,
        expected: &'static str,
    ) -> Result<SectionSeal, HeaderError> {
        self.field("section", expected, |value| {
            let mut value = Cursor::new(value);
            value.literal(name.as_bytes())?;
            value.literal(b" ")?;
            let len = decimal(value.until(b' ')?, max_len)?;
            value.literal(b"sha256:")?;
            let sha256 = Digest::from_hex(value.take(64)?)?;
            value.is_empty().then_some(SectionSeal { len, sha256 })
        })
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), HeaderError> {
        let line = self.line.saturating_add(1);
        if self.cursor.is_empty() { Ok(()) } else { Err(HeaderError { line, expected: "the end of the header" }) }
    }

    /// The value of the next line, which must be `key: VALUE`.
    fn field<T>(
        &mut self,
        key: &str,
        expected: &'static str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, HeaderError> {
        self.line = self.line.saturating_add(1);
        let value = self.cursor.line().and_then(|line| {
            let mut line = Cursor::new(line);
            line.literal(key.as_bytes())?;
            line.literal(b": ")?;
            line.take_rest()
        });
        value.and_then(parse).ok_or(HeaderError { line: self.line, expected })
    }
}

/// The lines that [`HeaderLines::document`] reads, after the LF before them.
pub(crate) fn print_document(name: &ListName, version: Version, created: Timestamp, expires: Expiry) -> String {
    format!("\nformat: 1\nname: {name}\nversion: {version}\ncreated: {created}\nexpires: {expires}\n")
}

/// A line of the header is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderError {
    /// The line, counted from 1.
    pub line: usize,
    /// What belongs there.
    pub expected: &'static str,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header line {} is not {}", self.line, self.expected)
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text() -> String {
        format!(
            "\nformat: 1\nname: prod-web\nversion: 42\ncreated: 2026-11-23T16:00:00Z\nexpires: 2027-05-23T00:00:00Z\n\
             file-hash: sha1,sha256\nsection: provenance 0 sha256:{EMPTY}\nsection: excludes 0 sha256:{EMPTY}\n\
             section: rules 0 sha256:{EMPTY}\nsection: entries 17 sha256:{EMPTY}\n"
        )
    }

    #[test]
    fn survives_parse_and_print() {
        let header = Header::parse(text().as_bytes());
        assert_eq!(header.as_ref().map(Header::print), Ok(text().into_bytes()));
        assert_eq!(header.map(|header| header.body_len()), Ok(17));
    }

    /// Each case changes one thing and names the line that must be blamed.
    #[test]
    fn each_line_is_held_to_its_form() {
        let long = format!("name: {}", "a".repeat(65));
        let cases = [
            ("\nformat", "format", 0),
            ("format: 1", "format: 2", 1),
            ("format: 1", "Format: 1", 1),
            ("name: prod-web", "name: -prod", 2),
            ("name: prod-web", "name: Prod", 2),
            ("name: prod-web", "name: ", 2),
            ("name: prod-web", &long, 2),
            ("name: prod-web\n", "", 2),
            ("version: 42", "version: 0", 3),
            ("version: 42", "version: 042", 3),
            ("version: 42", "version: 1000000000000000", 3),
            ("16:00:00Z", "16:00:00", 4),
            ("expires: 2027-05-23T00:00:00Z", "expires: 2026-11-23T16:00:00Z", 5),
            ("expires: 2027-05-23T00:00:00Z", "expires: Never", 5),
            ("sha1,sha256\n", "sha256,sha1\n", 6),
            ("sha1,sha256\n", "sha1,sha1\n", 6),
            ("sha1,sha256\n", "\n", 6),
            ("sha1,sha256\n", "md5\n", 6),
            ("sha1,sha256\n", "sha256,\n", 6),
            ("section: provenance", "section: excludes", 7),
            ("section: excludes 0 ", "section: excludes 00 ", 8),
            ("section: excludes 0 ", "section: excludes 67108865 ", 8),
            ("section: rules 0 sha256:e", "section: rules 0 sha256:E", 9),
            ("section: rules 0 sha256:e3", "section: rules 0 sha1:e3", 9),
            ("section: entries 17 ", "section: entries 4294967296 ", 10),
            ("b855\n", "b855 \n", 7),
        ];
        for (from, to, line) in cases {
            let error = Header::parse(text().replacen(from, to, 1).as_bytes()).err();
            assert_eq!(error.map(|error| error.line), Some(line), "{from:?} → {to:?}");
        }
        let longer = text() + "\n";
        assert_eq!(Header::parse(longer.as_bytes()).err().map(|error| error.line), Some(11));
        let cut = text();
        assert_eq!(Header::parse(cut.trim_end().as_bytes()).err().map(|error| error.line), Some(10));
    }

    #[test]
    fn the_largest_header_fits_the_smallest_token() {
        let time = Timestamp::MAX.to_string();
        let before = "9999-12-31T23:59:58Z";
        let name = "z".repeat(ListName::MAX_LEN);
        let text = format!(
            "\nformat: 1\nname: {name}\nversion: {MAX_VERSION}\ncreated: {before}\nexpires: {time}\n\
             file-hash: sha1,sha256,sha384,sha512\nsection: provenance {MAX_SECTION_LEN} sha256:{EMPTY}\n\
             section: excludes {MAX_SECTION_LEN} sha256:{EMPTY}\nsection: rules {MAX_SECTION_LEN} sha256:{EMPTY}\n\
             section: entries {MAX_ENTRIES_LEN} sha256:{EMPTY}\n"
        );
        assert!(Header::parse(text.as_bytes()).is_ok());
        let signed = crate::envelope::pae(WHITELIST_TYPE, text.as_bytes());
        assert!(signed.len() <= crate::envelope::MAX_SIGNED_LEN, "{}", signed.len());
    }
}
