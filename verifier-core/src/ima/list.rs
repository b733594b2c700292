//! The measurement list as received, binary or ASCII, complete or from some entry on.
//!
//! Having a [`MeasurementList`] means that its bytes are entries and nothing else, within limits, and that every template
//! hash is that of its template data. It does not mean that any of it happened: that is for the replay to show.

use std::borrow::Cow;
use std::fmt;

use crate::cursor::Cursor;
use crate::digest::HashAlgorithm;
use crate::pcr::PCR_COUNT;

use super::ascii;
use super::entry::{ByteOrder, Entry, Layout, MAX_LEGACY_NAME, MAX_TEMPLATE_DATA, MAX_TEMPLATE_NAME};

/// How much list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the list. Never more than 4 GiB, since offsets are kept in 32 bits.
    pub bytes: usize,
    /// Entries.
    pub entries: usize,
}

impl Limits {
    /// 1 GiB: four million entries of `ima-sig` at 250 bytes. A kernel holds its list in memory that cannot be swapped,
    /// several times that size, and none gives up as much.
    pub const DEFAULT: Self = Self { bytes: 1 << 30, entries: 1 << 23 };
}

/// Entries, parsed and held against their template hashes. See the module for what that means.
///
/// ```compile_fail
/// // Only parsing makes one.
/// let list = goldseal_verifier_core::ima::list::MeasurementList { bytes: Vec::new().into(), starts: Vec::new() };
/// ```
/// ```compile_fail
/// let list = goldseal_verifier_core::ima::list::MeasurementList::default();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct MeasurementList<'a> {
    /// Binary; of an ASCII list what the kernel would have written.
    bytes: Cow<'a, [u8]>,
    /// Where each entry begins.
    starts: Vec<u32>,
    /// `None` without entries.
    layout: Option<Layout>,
    /// One bit for each PCR that occurs.
    claimed_pcrs: u32,
    violations: usize,
}

impl<'a> MeasurementList<'a> {
    /// Reads a list of either byte order, binary or ASCII, with template hashes of any one algorithm: the first entry
    /// tells them apart. No bytes are an empty list: an increment may be one.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, ListError> {
        Self::parse_increment(bytes, None, limits)
    }

    /// The same for entries whose byte order is known from those before them. Only an ASCII list needs to be told, and
    /// only if it has violations alone; a binary list of another order is refused when it is replayed.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn parse_increment(bytes: &'a [u8], order: Option<ByteOrder>, limits: &Limits) -> Result<Self, ListError> {
        let max = limits.bytes.min(usize::try_from(u32::MAX).unwrap_or(usize::MAX));
        if bytes.len() > max {
            return Err(ListError { entry: 1, offset: 0, problem: ListProblem::TooLong { max } });
        }
        if ascii::is_ascii(bytes) {
            let (binary, layout) = ascii::transcribe(bytes, order, limits)?;
            return Self::parse_binary(Cow::Owned(binary), layout, limits);
        }
        Self::parse_binary(Cow::Borrowed(bytes), detect(bytes), limits)
    }

    fn parse_binary(bytes: Cow<'a, [u8]>, layout: Layout, limits: &Limits) -> Result<Self, ListError> {
        let mut starts = Vec::with_capacity(limits.entries.min(bytes.len() / TYPICAL_ENTRY));
        let (mut claimed_pcrs, mut violations) = (0_u32, 0_usize);
        let mut cursor = Cursor::new(&bytes);
        while !cursor.is_empty() {
            let offset = cursor.offset();
            let at = |problem| ListError::at(starts.len(), offset, problem);
            if starts.len() >= limits.entries {
                return Err(at(ListProblem::TooManyEntries { max: limits.entries }));
            }
            let entry = Entry::read(&mut cursor, layout).map_err(at)?;
            if !entry.fits_template_hash() {
                return Err(at(ListProblem::TemplateHash));
            }
            claimed_pcrs |= pcr_bit(entry.claimed_pcr());
            violations = violations.saturating_add(usize::from(entry.is_violation()));
            starts.push(u32::try_from(offset).map_err(|_| at(ListProblem::TooLong { max: limits.bytes }))?);
        }
        let layout = (!starts.is_empty()).then_some(layout);
        Ok(Self { bytes, starts, layout, claimed_pcrs, violations })
    }

    /// The binary list. Its entries, printed one after the other, are these bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Its byte order; `None` without entries. Of an ASCII list that of its template hashes.
    pub fn byte_order(&self) -> Option<ByteOrder> {
        self.layout.map(|layout| layout.order)
    }

    /// The algorithm of its template hashes; `None` without entries.
    pub fn template_hash(&self) -> Option<HashAlgorithm> {
        self.layout.map(|layout| layout.template_hash)
    }

    /// Number of violations.
    pub fn violations(&self) -> usize {
        self.violations
    }

    /// Whether some entry claims this PCR.
    pub fn claims_pcr(&self, pcr: u8) -> bool {
        self.claimed_pcrs & pcr_bit(pcr) != 0
    }

    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries_from(0)
    }

    /// The entries from the one of this index on, which counts from 0.
    pub fn entries_from(&self, index: usize) -> impl Iterator<Item = Entry<'_>> {
        let rest = self.starts.get(index).and_then(|start| self.bytes.get(usize::try_from(*start).ok()?..));
        let mut cursor = Cursor::new(rest.unwrap_or_default());
        let layout = self.layout;
        // They were read before, so that this ends where the list does.
        std::iter::from_fn(move || Entry::read(&mut cursor, layout?).ok())
    }
}

/// Without the entries, which fill screens.
impl fmt::Debug for MeasurementList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, starts, layout, claimed_pcrs: _, violations } = self;
        f.debug_struct("MeasurementList")
            .field("bytes", &bytes.len())
            .field("entries", &starts.len())
            .field("layout", layout)
            .field("violations", violations)
            .finish()
    }
}

/// The layout in which the first entry can be read, or the most usual one of its byte order. Byte order shows in the PCR
/// and in every length, the length of template hashes in what follows the first of them. No layout is more believed
/// than another: whichever it is, the template data read by it must have the template hashes, and give the quoted PCRs.
fn detect(bytes: &[u8]) -> Layout {
    let orders = [ByteOrder::Little, ByteOrder::Big];
    let layouts = orders
        .into_iter()
        .flat_map(|order| HashAlgorithm::ALL.into_iter().map(move |template_hash| Layout { order, template_hash }));
    let mut fitting = layouts.filter(|layout| Entry::read(&mut Cursor::new(bytes), *layout).is_ok());
    fitting.next().unwrap_or_else(|| {
        let is_pcr =
            |order: &ByteOrder| order.read(&mut Cursor::new(bytes)).is_some_and(|pcr| pcr < u32::from(PCR_COUNT));
        let order = orders.into_iter().find(is_pcr).unwrap_or(ByteOrder::Little);
        Layout { order, template_hash: HashAlgorithm::Sha1 }
    })
}

/// A guess at the size of entries, for memory asked for beforehand: `ima-ng` with a path of 30 bytes.
const TYPICAL_ENTRY: usize = 120;

/// The bit of a PCR in a set of them.
pub(super) fn pcr_bit(pcr: u8) -> u32 {
    1_u32.checked_shl(pcr.into()).unwrap_or_default()
}

/// Bytes that are no measurement list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListError {
    /// The entry at fault, counted from 1.
    pub entry: u64,
    /// Where it begins; in an ASCII list, in the text.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: ListProblem,
}

impl ListError {
    /// An error in the entry after `before` others.
    pub(super) fn at(before: usize, offset: usize, problem: ListProblem) -> Self {
        Self { entry: u64::try_from(before).unwrap_or(u64::MAX).saturating_add(1), offset, problem }
    }
}

/// What can be wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListProblem {
    /// More bytes than are read.
    TooLong {
        /// The most that are.
        max: usize,
    },
    /// More entries than are read.
    TooManyEntries {
        /// The most that are.
        max: usize,
    },
    /// The list ends within the entry.
    CutShort,
    /// No PCR of a TPM.
    Pcr(u32),
    /// A template name that is empty, too long or not printable.
    TemplateName {
        /// Its length.
        len: usize,
    },
    /// Template data that are too long.
    TemplateData {
        /// Their length.
        len: usize,
    },
    /// A name in template `ima` that is too long.
    LegacyName {
        /// Its length.
        len: usize,
    },
    /// The listed template hash is not that of the template data.
    TemplateHash,
    /// Not a line as the kernel writes it.
    AsciiForm,
    /// A template whose fields are unknown, so that its ASCII cannot be read.
    AsciiTemplate,
    /// More lines were joined in vain than is worth while.
    AsciiJoins,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} at offset {}: ", self.entry, self.offset)?;
        match self.problem {
            ListProblem::TooLong { max } => write!(f, "the list is longer than {max} bytes"),
            ListProblem::TooManyEntries { max } => write!(f, "the list has more than {max} entries"),
            ListProblem::CutShort => f.write_str("the list ends within it"),
            ListProblem::Pcr(pcr) => write!(f, "no TPM has a PCR {pcr}"),
            ListProblem::TemplateName { len } => {
                write!(f, "its template name of {len} bytes is not of 1 to {MAX_TEMPLATE_NAME} printable ones")
            }
            ListProblem::TemplateData { len } => {
                write!(f, "its template data of {len} bytes are more than {MAX_TEMPLATE_DATA}")
            }
            ListProblem::LegacyName { len } => write!(f, "its name of {len} bytes is longer than {MAX_LEGACY_NAME}"),
            ListProblem::TemplateHash => f.write_str("its template hash is not that of its template data"),
            ListProblem::AsciiForm => f.write_str("it is not a line as the kernel writes it"),
            ListProblem::AsciiTemplate => f.write_str("its template is unknown; only the binary list can be read"),
            ListProblem::AsciiJoins => f.write_str("too many lines were joined in search of its template hash"),
        }
    }
}

impl std::error::Error for ListError {}

#[cfg(test)]
mod tests {
    use super::super::forge::Forge;
    use super::*;

    fn parse(bytes: &[u8]) -> Result<MeasurementList<'_>, ListError> {
        MeasurementList::parse(bytes, &Limits::DEFAULT)
    }

    #[track_caller]
    fn refused(bytes: &[u8], problem: ListProblem) {
        assert_eq!(parse(bytes), Err(ListError { entry: 1, offset: 0, problem }));
    }

    #[test]
    fn no_bytes_are_no_entries() {
        let list = parse(b"").unwrap();
        assert!(list.is_empty());
        assert_eq!((list.len(), list.byte_order(), list.template_hash()), (0, None, None));
        assert_eq!(list.entries().count(), 0);
    }

    #[test]
    fn the_first_entry_tells_the_layout() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for template_hash in HashAlgorithm::ALL {
                for pcr in [0, 10, 23] {
                    let forge = Forge { pcr, ..Forge::ng("/a") }.in_layout(order, template_hash);
                    for bytes in [forge.entry(), [forge.violation(), forge.entry()].concat()] {
                        let list = parse(&bytes).unwrap();
                        assert_eq!((list.byte_order(), list.template_hash()), (Some(order), Some(template_hash)));
                        assert!(list.claims_pcr(pcr) && !list.claims_pcr(11));
                        assert_eq!(
                            list.entries().map(|entry| entry.claimed_pcr()).collect::<Vec<_>>(),
                            vec![pcr; list.len()]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn all_entries_have_the_layout_of_the_first() {
        let (little, big) = (Forge::ng("/a"), Forge::ng("/b").in_layout(ByteOrder::Big, HashAlgorithm::Sha1));
        let error = |problem| Err(ListError { entry: 2, offset: little.entry().len(), problem });
        assert_eq!(parse(&[little.entry(), big.entry()].concat()), error(ListProblem::Pcr(0x0a00_0000)));
        let sha256 = Forge::ng("/b").in_layout(ByteOrder::Little, HashAlgorithm::Sha256);
        assert!(parse(&[little.entry(), sha256.entry()].concat()).is_err());
    }

    #[test]
    fn a_template_hash_is_that_of_the_template_data() {
        let entry = Forge::ng("/a").entry();
        for at in 4..24 {
            let mut broken = entry.clone();
            broken[at] ^= 1;
            refused(&broken, ListProblem::TemplateHash);
        }
        let mut broken = entry.clone();
        let last = broken.len() - 2;
        broken[last] ^= 1;
        refused(&broken, ListProblem::TemplateHash);
        // The rest of the names' padding is hashed too.
        let legacy = Forge::legacy(&[7; 20], b"/a").entry();
        assert_eq!(parse(&legacy).unwrap().len(), 1);
        let longer = [&legacy[..legacy.len() - 6], b"\x03\0\0\0/ab"].concat();
        refused(&longer, ListProblem::TemplateHash);
    }

    #[test]
    fn pcrs_are_those_of_a_tpm() {
        for pcr in [24, 255, 256, u32::MAX] {
            let mut entry = Forge::ng("/a").entry();
            entry[..4].copy_from_slice(&pcr.to_le_bytes());
            let list = [Forge::ng("/a").entry(), entry].concat();
            assert_eq!(parse(&list).unwrap_err().problem, ListProblem::Pcr(pcr));
        }
    }

    /// Lengths are looked at before anything is taken, so that none of these asks for memory.
    #[test]
    fn lengths_are_limited() {
        let head =
            |template: &str| [&10_u32.to_le_bytes()[..], &[1; 20], template_prefix(template).as_slice()].concat();
        for len in [0, MAX_TEMPLATE_NAME + 1, 0x7fff_ffff, 0xffff_ffff] {
            let name = [&10_u32.to_le_bytes()[..], &[1; 20], &length(len)].concat();
            refused(&name, ListProblem::TemplateName { len });
        }
        for len in [MAX_TEMPLATE_DATA + 1, 0xffff_ffff] {
            refused(&[head("ima-ng"), length(len).to_vec()].concat(), ListProblem::TemplateData { len });
        }
        refused(&[head("ima-ng"), length(MAX_TEMPLATE_DATA).to_vec()].concat(), ListProblem::CutShort);
        for len in [MAX_LEGACY_NAME + 1, 0xffff_ffff] {
            let legacy = [head("ima"), vec![7; 20], length(len).to_vec()].concat();
            refused(&legacy, ListProblem::LegacyName { len });
        }
        let longest = Forge::legacy(&[7; 20], &[b'a'; MAX_LEGACY_NAME]).entry();
        assert_eq!(parse(&longest).unwrap().len(), 1);
        let longest = Forge::of("x", &vec![7; MAX_TEMPLATE_DATA]).entry();
        assert_eq!(parse(&longest).unwrap().len(), 1);
        let longest = Forge::of(&"x".repeat(MAX_TEMPLATE_NAME), b"").entry();
        assert_eq!(parse(&longest).unwrap().len(), 1);
    }

    #[test]
    fn template_names_are_printable() {
        for name in ["ima ng", "ima\n", "\0", "\u{7f}", "\u{e9}", "ima\u{1b}"] {
            refused(&Forge::of(name, b"").entry(), ListProblem::TemplateName { len: name.len() });
        }
    }

    #[test]
    fn entries_and_bytes_are_limited() {
        let entries: Vec<Vec<u8>> = ["/a", "/b", "/c"].map(|name| Forge::ng(name).entry()).into();
        let bytes = entries.concat();
        let ascii = ["/a", "/b", "/c"].map(|name| Forge::ng(name).line()).concat();
        let limited = |bytes: &[u8], limits: Limits| MeasurementList::parse(bytes, &limits).map(|list| list.len());
        let exact = Limits { bytes: bytes.len().max(ascii.len()), entries: 3 };
        assert_eq!(limited(&bytes, exact), Ok(3));
        assert_eq!(limited(&ascii, exact), Ok(3));
        let problem = |bytes: &[u8], limits| limited(bytes, limits).unwrap_err().problem;
        for list in [&bytes, &ascii] {
            assert_eq!(problem(list, Limits { entries: 2, ..exact }), ListProblem::TooManyEntries { max: 2 });
            let max = list.len() - 1;
            assert_eq!(problem(list, Limits { bytes: max, ..exact }), ListProblem::TooLong { max });
        }
    }

    #[test]
    fn entries_can_be_had_from_any_on() {
        let bytes = ["/a", "/b", "/c"].map(|name| Forge::ng(name).entry()).concat();
        let list = parse(&bytes).unwrap();
        let all: Vec<Entry<'_>> = list.entries().collect();
        for index in 0..5 {
            assert!(list.entries_from(index).eq(all.iter().skip(index).copied()));
        }
    }

    fn length(len: usize) -> [u8; 4] {
        u32::try_from(len).unwrap().to_le_bytes()
    }

    fn template_prefix(template: &str) -> Vec<u8> {
        [&length(template.len())[..], template.as_bytes()].concat()
    }
}
