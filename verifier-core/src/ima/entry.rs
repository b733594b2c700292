//! One entry of a measurement list: its layout, and what of it is hashed.

use crate::cursor::Cursor;
use crate::digest::{Digest, HashAlgorithm};
use crate::pcr::PCR_COUNT;

use super::list::ListProblem;
use super::template::LEGACY;

/// The longest template name: 15 fields of 16 bytes with 14 bars are 254 (IMA_TEMPLATE_NUM_FIELDS_MAX,
/// IMA_TEMPLATE_FIELD_ID_MAX_LEN in `ima.h`); ima-evm-utils reads one more (TCG_EVENT_NAME_LEN_MAX).
pub const MAX_TEMPLATE_NAME: usize = 255;

/// The longest template data. The kernel sets no limit; 15 fields as long as the longest extended attribute
/// (XATTR_SIZE_MAX, 64 KiB, `include/uapi/linux/limits.h`) stay below it.
pub const MAX_TEMPLATE_DATA: usize = 1 << 20;

/// The longest name in template `ima` (IMA_EVENT_NAME_LEN_MAX in `ima.h`).
pub const MAX_LEGACY_NAME: usize = 255;

/// Digests in template `ima` are SHA-1 (IMA_DIGEST_SIZE in `ima.h`). With `ima_hash=md5` the kernel writes 16 bytes there,
/// which nothing in the list tells: such lists are refused, as they do not fit their template hashes.
pub(super) const LEGACY_DIGEST_LEN: usize = 20;

/// What of an entry tells its length, at the longest: PCR, SHA-1 template hash, template name, and in template `ima` the
/// digest, with their lengths and the last one.
pub(super) const MAX_BEGINNING: usize = 4 + 20 + (4 + MAX_TEMPLATE_NAME) + LEGACY_DIGEST_LEN + 4;

/// The name of template `ima` is hashed with NULs up to here (ima_calc_field_array_hash_tfm in `ima_crypto.c`).
const LEGACY_HASHED_NAME: [u8; MAX_LEGACY_NAME + 1] = [0; MAX_LEGACY_NAME + 1];

/// Byte order of the numbers of a list, those inside the hashed template data included. It is the machine's own, or
/// little-endian with `ima_canonical_fmt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// `little` or `big`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }

    /// The order of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Little, Self::Big].into_iter().find(|order| order.name().as_bytes() == name)
    }

    /// The next number of a cursor.
    pub(super) fn read(self, cursor: &mut Cursor<'_>) -> Option<u32> {
        let bytes = cursor.take(4)?.try_into().ok()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }

    /// A length from the cursor and as many bytes after it.
    pub(super) fn read_prefixed<'a>(self, cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
        let length = self.read(cursor)?;
        cursor.take(usize::try_from(length).ok()?)
    }

    /// The number that is all of these bytes.
    pub(super) fn number(self, bytes: &[u8]) -> Option<u32> {
        let mut cursor = Cursor::new(bytes);
        self.read(&mut cursor).filter(|_| cursor.is_empty())
    }

    /// The same of 16 bits.
    pub(super) fn short_number(self, bytes: &[u8]) -> Option<u16> {
        let bytes = bytes.try_into().ok()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    pub(super) fn short_bytes(self, number: u16) -> [u8; 2] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    pub(super) fn bytes(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }
}

/// What all entries of a list have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) order: ByteOrder,
    /// SHA-1, except in the `*_runtime_measurements_<alg>` files of newer kernels.
    pub(super) template_hash: HashAlgorithm,
}

/// One entry, borrowed from its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub(super) layout: Layout,
    pub(super) claimed_pcr: u8,
    pub(super) template_hash: &'a [u8],
    pub(super) claimed_template: &'a [u8],
    pub(super) data: TemplateData<'a>,
}

/// The values of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateData<'a> {
    /// Each field behind its length: every template but `ima`.
    Prefixed(&'a [u8]),
    /// Template `ima`.
    Legacy {
        /// 20 bytes.
        digest: &'a [u8],
        /// Without NUL.
        name: &'a [u8],
    },
}

impl<'a> Entry<'a> {
    /// Reads the next entry (ima_measurements_show in `ima_fs.c`): PCR, template hash, name of the template, template data.
    pub(super) fn read(cursor: &mut Cursor<'a>, layout: Layout) -> Result<Self, ListProblem> {
        let (head, digest, length) = read_lengths(cursor, layout)?;
        let bytes = cursor.take(length).ok_or(ListProblem::CutShort)?;
        let data = match digest {
            Some(digest) => TemplateData::Legacy { digest, name: bytes },
            None => TemplateData::Prefixed(bytes),
        };
        let Head { claimed_pcr, template_hash, claimed_template } = head;
        Ok(Self { layout, claimed_pcr, template_hash, claimed_template, data })
    }

    /// How many bytes the entry takes that begins so; `None` where more of them must be seen to tell, which
    /// [`MAX_BEGINNING`] always do.
    pub(super) fn length(beginning: &[u8], layout: Layout) -> Result<Option<usize>, ListProblem> {
        let mut cursor = Cursor::new(beginning);
        match read_lengths(&mut cursor, layout) {
            Ok((_, _, length)) => Ok(cursor.offset().checked_add(length)),
            Err(ListProblem::CutShort) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Writes the bytes it was read from.
    pub fn print(&self, out: &mut Vec<u8>) {
        let order = self.layout.order;
        let prefixed = |out: &mut Vec<u8>, bytes: &[u8]| {
            // No part is longer than MAX_TEMPLATE_DATA.
            out.extend(order.bytes(u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
            out.extend_from_slice(bytes);
        };
        out.extend(order.bytes(self.claimed_pcr.into()));
        out.extend_from_slice(self.template_hash);
        prefixed(out, self.claimed_template);
        match self.data {
            TemplateData::Prefixed(data) => prefixed(out, data),
            TemplateData::Legacy { digest, name } => {
                out.extend_from_slice(digest);
                prefixed(out, name);
            }
        }
    }

    /// The PCR it says it was extended into. No hash covers it; that PCR's replay does not come out if it is wrong.
    pub fn claimed_pcr(&self) -> u8 {
        self.claimed_pcr
    }

    /// The template it says it is of, printable ASCII without blanks. Nothing covers it: another name keeps every hash.
    pub fn claimed_template(&self) -> &'a [u8] {
        self.claimed_template
    }

    /// The template hash as listed. [`MeasurementList`](super::list::MeasurementList) has held it against the template data.
    pub fn template_hash(&self) -> &'a [u8] {
        self.template_hash
    }

    /// The template data, which the PCRs cover unless it is a violation.
    pub fn template_data(&self) -> TemplateData<'a> {
        self.data
    }

    /// Whether it notes that a file was written while it was measured: its template hash is all zeros. Then nothing
    /// covers its template data either.
    pub fn is_violation(&self) -> bool {
        self.template_hash.iter().all(|byte| *byte == 0)
    }

    /// The hash of its template data.
    pub(super) fn hash(&self, algorithm: HashAlgorithm) -> Digest {
        match self.data {
            TemplateData::Prefixed(data) => Digest::of(algorithm, [data]),
            TemplateData::Legacy { digest, name } => {
                let padding = LEGACY_HASHED_NAME.get(name.len()..).unwrap_or_default();
                Digest::of(algorithm, [digest, name, padding])
            }
        }
    }

    /// Whether the listed template hash is that of its template data; a violation has none.
    pub(super) fn fits_template_hash(&self) -> bool {
        self.hash(self.layout.template_hash).as_bytes() == self.template_hash || self.is_violation()
    }
}

/// What stands before the template data.
struct Head<'a> {
    claimed_pcr: u8,
    template_hash: &'a [u8],
    claimed_template: &'a [u8],
}

/// An entry up to its last length: head, in template `ima` the digest, and how many bytes follow.
fn read_lengths<'a>(
    cursor: &mut Cursor<'a>,
    layout: Layout,
) -> Result<(Head<'a>, Option<&'a [u8]>, usize), ListProblem> {
    let Layout { order, template_hash } = layout;
    let pcr = order.read(cursor).ok_or(ListProblem::CutShort)?;
    let claimed_pcr = u8::try_from(pcr).ok().filter(|pcr| *pcr < PCR_COUNT).ok_or(ListProblem::Pcr(pcr))?;
    let template_hash = cursor.take(template_hash.digest_len()).ok_or(ListProblem::CutShort)?;
    let len = bounded(order, cursor, MAX_TEMPLATE_NAME, |len| ListProblem::TemplateName { len })?;
    let claimed_template = cursor.take(len).ok_or(ListProblem::CutShort)?;
    if !is_template_name(claimed_template) {
        return Err(ListProblem::TemplateName { len });
    }
    let head = Head { claimed_pcr, template_hash, claimed_template };
    if claimed_template == LEGACY {
        let digest = cursor.take(LEGACY_DIGEST_LEN).ok_or(ListProblem::CutShort)?;
        let len = bounded(order, cursor, MAX_LEGACY_NAME, |len| ListProblem::LegacyName { len })?;
        return Ok((head, Some(digest), len));
    }
    let len = bounded(order, cursor, MAX_TEMPLATE_DATA, |len| ListProblem::TemplateData { len })?;
    Ok((head, None, len))
}

/// A length, which is at most `max`.
fn bounded(
    order: ByteOrder,
    cursor: &mut Cursor<'_>,
    max: usize,
    too_long: impl Fn(usize) -> ListProblem,
) -> Result<usize, ListProblem> {
    let length = order.read(cursor).ok_or(ListProblem::CutShort)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > max {
        return Err(too_long(length));
    }
    Ok(length)
}

/// Template names come from a list of the kernel or from its command line: printable, without blanks.
pub(super) fn is_template_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= MAX_TEMPLATE_NAME && name.iter().all(u8::is_ascii_graphic)
}
