//! Lists nobody vouches for: to show, compare, convert and sign them, and to make them.

use std::fmt;
use std::io::Read;

use crate::body::Body;
use crate::contents::{Contents, ContentsError, LoadError};
use crate::entries::{FileDigest, print_line};
use crate::envelope::{Envelope, HeadError, SignatureLine};
use crate::excludes::Excludes;
use crate::header::{Expiry, FileHash, Header, HeaderError, ListName, SectionSeal, Version, WHITELIST_TYPE};
use crate::provenance::Provenance;
use crate::rules::Rules;
use crate::time::Timestamp;

/// A list in its one encoding whose seal, if it has one, was not checked. Never a reason to trust a machine.
#[derive(Clone, Debug)]
pub struct UnverifiedList {
    envelope: Envelope,
    header: Header,
    contents: Contents,
}

/// Reads a whole list without asking who sealed it.
///
/// # Errors
/// [`InspectError`]: not a list, or not in its one encoding.
pub fn inspect(mut bytes: Vec<u8>) -> Result<UnverifiedList, InspectError> {
    let (envelope, head_len) = Envelope::parse(&bytes).map_err(InspectError::Head)?;
    let head = inspect_head(envelope)?;
    bytes.drain(..head_len);
    let UnverifiedHead { envelope, header } = head;
    let body = Body::check(&header, bytes).map_err(InspectError::Contents)?;
    let contents = Contents::parse(&header, body).map_err(InspectError::Contents)?;
    Ok(UnverifiedList { envelope, header, contents })
}

/// Reads the header of a list without asking who sealed it: how long the rest should be, before any of it is read.
///
/// # Errors
/// [`InspectError`]: not the head of a whitelist.
pub fn inspect_head(envelope: Envelope) -> Result<UnverifiedHead, InspectError> {
    if envelope.claimed_type() != WHITELIST_TYPE {
        return Err(InspectError::WrongType(envelope.claimed_type().to_owned()));
    }
    let header = Header::parse(envelope.claimed_payload()).map_err(InspectError::Header)?;
    Ok(UnverifiedHead { envelope, header })
}

/// The head of a list whose seal, if it has one, was not checked.
#[derive(Clone, Debug)]
pub struct UnverifiedHead {
    envelope: Envelope,
    header: Header,
}

impl UnverifiedHead {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads everything that follows the head in the file.
    ///
    /// # Errors
    /// [`LoadError`]: it cannot be read, the sections do not belong to this header, or they are not in their one encoding.
    pub fn load(self, rest: impl Read) -> Result<UnverifiedList, LoadError> {
        let Self { envelope, header } = self;
        let contents = Contents::parse(&header, Body::read(&header, rest)?)?;
        Ok(UnverifiedList { envelope, header, contents })
    }
}

impl UnverifiedList {
    /// The head, with its signatures.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Puts a signature in its place; one by the same key is replaced. Whether it is right is not checked here.
    ///
    /// # Errors
    /// [`HeadError::TooManySignatures`].
    pub fn insert(&mut self, signature: SignatureLine) -> Result<(), HeadError> {
        self.envelope.insert(signature)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sections.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }
}

/// Why bytes are not a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectError {
    /// The head.
    Head(HeadError),
    /// Not a whitelist but something else in the same container.
    WrongType(String),
    /// The header.
    Header(HeaderError),
    /// The sections.
    Contents(ContentsError),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::WrongType(found) => write!(f, "it says it is {found:?}, which is not a whitelist"),
            Self::Header(error) => error.fmt(f),
            Self::Contents(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InspectError {}

/// A list in the making. Order and repetitions of what goes in do not matter: the printed bytes are canonical.
#[derive(Clone, Debug)]
pub struct Whitelist {
    /// Name of the list.
    pub name: ListName,
    /// Version of the list.
    pub version: Version,
    /// When it was made.
    pub created: Timestamp,
    /// When it goes stale.
    pub expires: Expiry,
    /// Algorithms of its digests; every entry's must be among them.
    pub file_hash: FileHash,
    /// Where the entries came from.
    pub provenance: Provenance,
    /// What the list leaves out.
    pub excludes: Excludes,
    /// What else it accepts.
    pub rules: Rules,
    /// Paths and digests.
    pub entries: Vec<(Vec<u8>, FileDigest)>,
}

impl Whitelist {
    /// The unsealed list as one file, read back and held to every rule of the format.
    ///
    /// # Errors
    /// [`InspectError`] if something that went in breaks the format, such as a path that is not canonical, an exclude
    /// that takes a probe without its rule, or an expiry before the creation.
    pub fn print(self) -> Result<UnverifiedList, InspectError> {
        let Self { name, version, created, expires, file_hash, provenance, excludes, rules, entries } = self;
        let sections = [provenance.print(), excludes.print(), rules.print(), print_entries(entries)];
        let header =
            Header { name, version, created, expires, file_hash, sections: sections.each_ref().map(SectionSeal::of) };
        // Parsing what was printed holds every field to the format, whoever filled it.
        let header = Header::parse(&header.print()).map_err(InspectError::Header)?;
        let envelope = Envelope::unsealed(WHITELIST_TYPE, &header.print());
        let envelope = envelope.ok_or(InspectError::Head(HeadError::TooLong))?;
        let [provenance, excludes, rules, entries] = sections;
        let mut body = provenance;
        body.reserve_exact(excludes.len().saturating_add(rules.len()).saturating_add(entries.len()));
        for section in [excludes, rules, entries] {
            body.extend_from_slice(&section);
        }
        let body = Body::check(&header, body).map_err(InspectError::Contents)?;
        let contents = Contents::parse(&header, body).map_err(InspectError::Contents)?;
        Ok(UnverifiedList { envelope, header, contents })
    }
}

fn print_entries(mut entries: Vec<(Vec<u8>, FileDigest)>) -> Vec<u8> {
    entries.sort_unstable_by(|(a, a_digest), (b, b_digest)| {
        a.cmp(b).then_with(|| a_digest.to_string().cmp(&b_digest.to_string()))
    });
    entries.dedup();
    let mut section = Vec::new();
    for (path, digest) in &entries {
        print_line(path, digest.to_string().as_bytes(), &mut section);
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::HashAlgorithm;
    use crate::entries::{EntryError, EntryProblem};
    use crate::excludes::Pattern;
    use crate::header::Section;
    use crate::rules::Rule;

    fn digest(digit: &str) -> FileDigest {
        FileDigest::parse(digit.repeat(64).as_bytes()).unwrap()
    }

    fn whitelist() -> Whitelist {
        Whitelist {
            name: ListName::new("test").unwrap(),
            version: Version::FIRST,
            created: Timestamp::from_unix(1_000_000).unwrap(),
            expires: Expiry::Never,
            file_hash: FileHash::new(&[HashAlgorithm::Sha256]).unwrap(),
            provenance: Provenance::default(),
            excludes: Excludes::new([Pattern::new(b"/tmp").unwrap()]).unwrap(),
            rules: Rules::new([Rule::BootAggregateAny]),
            entries: vec![
                (b"/b".to_vec(), digest("2")),
                (b"/a\nb".to_vec(), digest("3")),
                (b"/b".to_vec(), digest("1")),
                (b"/b".to_vec(), digest("2")),
            ],
        }
    }

    fn file(list: &UnverifiedList) -> Vec<u8> {
        [list.envelope().print(), list.contents().body().to_vec()].concat()
    }

    #[test]
    fn what_is_printed_is_sorted_and_read_back_the_same() {
        let list = whitelist().print().unwrap();
        assert_eq!(list.contents().entry_count(), 3);
        let again = inspect(file(&list)).unwrap();
        assert_eq!(file(&again), file(&list));
        let mut other_order = whitelist();
        other_order.entries.reverse();
        assert_eq!(file(&other_order.print().unwrap()), file(&list));
    }

    /// Breaks one thing of a list and names the error.
    #[track_caller]
    fn refused(change: impl FnOnce(&mut Whitelist), expected: InspectError) {
        let mut list = whitelist();
        change(&mut list);
        assert_eq!(list.print().unwrap_err(), expected);
    }

    #[test]
    fn what_breaks_the_format_is_not_printed() {
        let entry = |line, problem| InspectError::Contents(ContentsError::Entry(EntryError { line, problem }));
        refused(|list| list.entries.push((b"c".to_vec(), digest("1"))), entry(4, EntryProblem::Path));
        let sha384 = FileDigest::parse("1".repeat(96).as_bytes()).unwrap();
        refused(
            |list| list.entries.push((b"/c".to_vec(), sha384)),
            entry(4, EntryProblem::Algorithm(HashAlgorithm::Sha384)),
        );
        let root = Pattern::new(b"/root").unwrap();
        let excludes = Excludes::new([root.clone()]).unwrap();
        refused(|list| list.excludes = excludes, InspectError::Contents(ContentsError::BroadExclude(root.clone())));
        refused(
            |list| list.rules = Rules::new([Rule::BroadExclude(root.clone())]),
            InspectError::Contents(ContentsError::IdleBroadExclude(root.clone())),
        );
        let mut early = whitelist();
        early.expires = Expiry::At(early.created);
        assert!(matches!(early.print().unwrap_err(), InspectError::Header(error) if error.line == 5));
    }

    #[test]
    fn a_section_is_parsed_only_if_its_hash_is_right() {
        let bytes = file(&whitelist().print().unwrap());
        let mut changed = bytes.clone();
        let last = changed.len() - 2;
        changed[last] ^= 1;
        let tampered = InspectError::Contents(ContentsError::Tampered(Section::Entries));
        assert_eq!(inspect(changed).unwrap_err(), tampered);
        let shorter = bytes[..bytes.len() - 1].to_vec();
        assert!(matches!(inspect(shorter).unwrap_err(), InspectError::Contents(ContentsError::Length { .. })));
        let longer = [&bytes[..], b"\n"].concat();
        assert!(matches!(inspect(longer).unwrap_err(), InspectError::Contents(ContentsError::Length { .. })));
    }
}
