//! The fields of an entry, by its claimed template.
//!
//! That the template data parses as the fields of a template says nothing of the template's name: see
//! [`Entry::claimed_template`]. Which templates, algorithms and names are good is for the appraisal to decide.

use std::fmt;

use crate::cursor::Cursor;
use crate::digest::{Digest, HashAlgorithm};

use super::entry::{ByteOrder, Entry, TemplateData};
use super::template::{Field, Format};

/// Fields of one entry. `None` where the template has no such field; a field without a value is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// `d`, `d-ng` or `d-ngv2`: of the file, the buffer or the PCRs.
    pub digest: Option<FieldDigest<'a>>,
    /// `n` or `n-ng`, without its NUL: a path, a bare name or a label. The kernel writes `_` for each blank.
    pub name: Option<&'a [u8]>,
    /// `sig`: the value of security.ima or security.evm, its type first.
    pub signature: Option<&'a [u8]>,
    /// `buf`: what was hashed instead of a file.
    pub buffer: Option<&'a [u8]>,
    /// `d-modsig`: of the file without its appended signature. `None` for a file that has none.
    pub modsig_digest: Option<FieldDigest<'a>>,
    /// `modsig`: the appended signature.
    pub modsig: Option<&'a [u8]>,
    /// `evmsig`: the portable EVM signature.
    pub evm_signature: Option<&'a [u8]>,
    /// `xattrnames`, without its NUL.
    pub xattr_names: Option<&'a [u8]>,
    /// `xattrlengths`, numbers of 32 bits in the list's byte order.
    pub xattr_lengths: Option<&'a [u8]>,
    /// `xattrvalues`, one after the other.
    pub xattr_values: Option<&'a [u8]>,
    /// `iuid`; `None` for an entry that is of no file.
    pub uid: Option<u32>,
    /// `igid`, likewise.
    pub gid: Option<u32>,
    /// `imode`, likewise.
    pub mode: Option<u16>,
}

/// What a digest field says it is the digest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestKind<'a> {
    /// Of the contents: `d`, `d-ng`, and `d-ngv2` with `ima:`.
    Contents,
    /// fs-verity digest: `d-ngv2` with `verity:`.
    Verity,
    /// `d-ngv2` with another prefix.
    Other(&'a [u8]),
}

/// A digest field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldDigest<'a> {
    /// What it is of.
    pub kind: DigestKind<'a>,
    /// The algorithm's name as it stands there; of field `d`, which has none, by its length.
    pub algorithm: &'a [u8],
    /// The value, of whatever length.
    pub value: &'a [u8],
}

impl FieldDigest<'_> {
    /// The digest; `None` if its algorithm is none we know, or its length is another one's.
    pub fn digest(&self) -> Option<Digest> {
        Digest::new(HashAlgorithm::from_name(self.algorithm)?, self.value)
    }
}

impl<'a> Entry<'a> {
    /// The fields, which take up the template data exactly.
    ///
    /// # Errors
    /// [`FieldError`]: not of a template we know, or not coded as its fields are.
    pub fn fields(&self) -> Result<Fields<'a>, FieldError> {
        let format = Format::of(self.claimed_template()).ok_or(FieldError::UnknownTemplate)?;
        let mut reader = Reader { order: self.layout.order, seen: 0, fields: Fields::default() };
        match self.template_data() {
            TemplateData::Prefixed(data) => {
                let mut cursor = Cursor::new(data);
                for field in format.fields() {
                    let value = reader.order.read_prefixed(&mut cursor).ok_or(FieldError::CutShort(field.id()))?;
                    reader.set(field, value)?;
                }
                if !cursor.is_empty() {
                    return Err(FieldError::Trailing { offset: cursor.offset() });
                }
            }
            TemplateData::Legacy { digest, name } => {
                reader.set(Field::Digest, digest)?;
                reader.fields.name = Some(without_nul(name).ok_or(FieldError::Value(Field::Name.id()))?);
            }
        }
        Ok(reader.fields)
    }
}

impl<'a> Entry<'a> {
    /// The file's signature, its type first; empty without one. It is what the kernel puts into field `sig`: security.ima
    /// if that is a signature, else the portable EVM one (ima_eventsig_init in `ima_template_lib.c`). Template `evm-sig`,
    /// which has no such field, has both elsewhere.
    pub fn signature(&self, fields: &Fields<'a>) -> &'a [u8] {
        let attribute = || self.attribute(fields, b"security.ima").filter(|value| matches!(value, [3 | 6, ..]));
        fields.signature.or_else(attribute).or(fields.evm_signature).unwrap_or_default()
    }

    /// The value of an extended attribute of template `evm-sig` (evm_read_protected_xattrs in `evm_main.c`): names with
    /// bars between them, and as many lengths and values.
    fn attribute(&self, fields: &Fields<'a>, name: &[u8]) -> Option<&'a [u8]> {
        let mut lengths = Cursor::new(fields.xattr_lengths?);
        let mut values = Cursor::new(fields.xattr_values?);
        for known in fields.xattr_names?.split(|byte| *byte == b'|') {
            let length = self.layout.order.read(&mut lengths)?;
            let value = values.take(usize::try_from(length).ok()?)?;
            if known == name {
                return Some(value);
            }
        }
        None
    }
}

impl Fields<'_> {
    /// Whether there is a buffer and the digest field is its hash under its own algorithm. Without that an `ima-buf` entry
    /// says nothing: an `ima-sig` entry under its name has the same three fields and hashes. An empty buffer is none
    /// (ima_eventbuf_init in `ima_template_lib.c`), else an empty file without a signature would be one.
    pub fn digest_is_of_buffer(&self) -> bool {
        let (Some(digest), Some(buffer)) = (self.digest, self.buffer) else { return false };
        let may_be = digest.kind == DigestKind::Contents && !buffer.is_empty();
        digest.digest().is_some_and(|digest| may_be && Digest::of(digest.algorithm(), [buffer]) == digest)
    }
}

/// Puts values where they belong, each kind once: of two digests or names nobody could say which one counts.
struct Reader<'a> {
    order: ByteOrder,
    /// One bit for each kind of field.
    seen: u32,
    fields: Fields<'a>,
}

impl<'a> Reader<'a> {
    fn set(&mut self, field: Field, value: &'a [u8]) -> Result<(), FieldError> {
        let kind = kind_bit(field);
        if self.seen & kind != 0 {
            return Err(FieldError::Repeated(field.id()));
        }
        self.seen |= kind;
        self.read(field, value).ok_or(FieldError::Value(field.id()))
    }

    fn read(&mut self, field: Field, value: &'a [u8]) -> Option<()> {
        let fields = &mut self.fields;
        match field {
            Field::Digest => fields.digest = Some(unnamed(value)?),
            Field::DigestNg => fields.digest = Some(named(value)?),
            Field::DigestNgv2 => fields.digest = Some(tagged(value)?),
            Field::Name | Field::NameNg => fields.name = Some(text(value)?),
            Field::Signature => fields.signature = Some(value),
            Field::Buffer => fields.buffer = Some(value),
            Field::ModsigDigest if value.is_empty() => fields.modsig_digest = None,
            Field::ModsigDigest => fields.modsig_digest = Some(named(value)?),
            Field::Modsig => fields.modsig = Some(value),
            Field::EvmSignature => fields.evm_signature = Some(value),
            Field::XattrNames if value.is_empty() => fields.xattr_names = Some(value),
            Field::XattrNames => fields.xattr_names = Some(text(value)?),
            Field::XattrLengths => fields.xattr_lengths = Some(value),
            Field::XattrValues => fields.xattr_values = Some(value),
            Field::Uid | Field::Gid | Field::Mode if value.is_empty() => {}
            Field::Uid => fields.uid = Some(self.order.number(value)?),
            Field::Gid => fields.gid = Some(self.order.number(value)?),
            Field::Mode => fields.mode = Some(self.order.short_number(value)?),
        }
        Some(())
    }
}

fn kind_bit(field: Field) -> u32 {
    match field {
        Field::Digest | Field::DigestNg | Field::DigestNgv2 => 1,
        Field::Name | Field::NameNg => 1 << 1,
        Field::Signature => 1 << 2,
        Field::Buffer => 1 << 3,
        Field::ModsigDigest => 1 << 4,
        Field::Modsig => 1 << 5,
        Field::EvmSignature => 1 << 6,
        Field::Uid => 1 << 7,
        Field::Gid => 1 << 8,
        Field::Mode => 1 << 9,
        Field::XattrNames => 1 << 10,
        Field::XattrLengths => 1 << 11,
        Field::XattrValues => 1 << 12,
    }
}

/// Field `d`: SHA-1 or MD5, by length (ima_template_hash_algo_allowed in `ima_template_lib.c`).
fn unnamed(value: &[u8]) -> Option<FieldDigest<'_>> {
    let algorithm: &[u8] = match value.len() {
        20 => b"sha1",
        16 => b"md5",
        _ => return None,
    };
    Some(FieldDigest { kind: DigestKind::Contents, algorithm, value })
}

/// Field `d-ng`: `ALGORITHM:`, NUL, digest. Split at the first such pair: a digest may hold one too.
fn named(value: &[u8]) -> Option<FieldDigest<'_>> {
    let mut nuls = memchr::memchr_iter(0, value);
    let (prefix, rest) = nuls.find_map(|nul| {
        let (prefix, rest) = value.split_at_checked(nul)?;
        Some((prefix.strip_suffix(b":")?, rest))
    })?;
    Some(FieldDigest { kind: DigestKind::Contents, algorithm: prefix, value: rest.strip_prefix(&[0])? })
}

/// Field `d-ngv2`: `TYPE:ALGORITHM:`, NUL, digest.
fn tagged(value: &[u8]) -> Option<FieldDigest<'_>> {
    let digest = named(value)?;
    let mut prefix = Cursor::new(digest.algorithm);
    let kind = match prefix.until(b':')? {
        b"ima" => DigestKind::Contents,
        b"verity" => DigestKind::Verity,
        other => DigestKind::Other(other),
    };
    Some(FieldDigest { kind, algorithm: prefix.take_rest()?, value: digest.value })
}

/// A string with its NUL.
fn text(value: &[u8]) -> Option<&[u8]> {
    without_nul(value.strip_suffix(&[0])?)
}

fn without_nul(name: &[u8]) -> Option<&[u8]> {
    memchr::memchr(0, name).is_none().then_some(name)
}

/// Why template data are not the fields of the entry's claimed template. It names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldError {
    /// No template of the kernel, nor a format of its fields.
    UnknownTemplate,
    /// The template data end within this field.
    CutShort(&'static str),
    /// Something follows the last field, from here on.
    Trailing {
        /// Where the fields end.
        offset: usize,
    },
    /// Two fields of this kind.
    Repeated(&'static str),
    /// A value that the kernel does not write into this field.
    Value(&'static str),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTemplate => f.write_str("its template is none of the kernel's"),
            Self::CutShort(field) => write!(f, "its template data end within field {field}"),
            Self::Trailing { offset } => write!(f, "its template data go on at {offset}, after the last field"),
            Self::Repeated(field) => write!(f, "its template has field {field} beside another of the kind"),
            Self::Value(field) => write!(f, "field {field} does not hold what the kernel writes there"),
        }
    }
}

impl std::error::Error for FieldError {}

#[cfg(test)]
mod tests {
    use super::super::forge::{Forge, field};
    use super::super::list::{Limits, MeasurementList};
    use super::*;

    /// What the fields of one entry of these data come to.
    fn read(template: &str, data: &[u8], check: impl Fn(Result<Fields<'_>, FieldError>)) {
        let bytes = Forge::of(template, data).entry();
        let list = MeasurementList::parse(&bytes, &Limits::DEFAULT).unwrap();
        check(list.entries().next().unwrap().fields());
    }

    fn refused(template: &str, data: &[u8], error: FieldError) {
        read(template, data, |fields| assert_eq!(fields, Err(error), "{template}"));
    }

    #[test]
    fn a_digest_begins_after_the_first_colon_and_nul() {
        let data = [field(b"sha1:\0\x3a\0\x3a\0"), field(b"/a\0")].concat();
        read("ima-ng", &data, |fields| {
            let digest = fields.unwrap().digest.unwrap();
            assert_eq!((digest.algorithm, digest.value), (&b"sha1"[..], &b"\x3a\0\x3a\0"[..]));
            assert_eq!(digest.digest(), None);
        });
    }

    #[test]
    fn unknown_algorithms_and_kinds_keep_their_names() {
        let data = [field(b"fsverity:sm3:\0abc"), field(b"/a\0")].concat();
        read("ima-ngv2", &data, |fields| {
            let digest = fields.unwrap().digest.unwrap();
            let expected = FieldDigest { kind: DigestKind::Other(b"fsverity"), algorithm: b"sm3", value: b"abc" };
            assert_eq!((digest, digest.digest()), (expected, None));
        });
        let sha256 = [&b"verity:sha256:\0"[..], &[7; 32]].concat();
        let data = [field(&sha256), field(b"/a\0")].concat();
        read("ima-ngv2", &data, |fields| {
            let digest = fields.unwrap().digest.unwrap();
            assert_eq!(
                (digest.kind, digest.digest()),
                (DigestKind::Verity, Digest::new(HashAlgorithm::Sha256, &[7; 32]))
            );
        });
        // As d-ng the prefix is the algorithm's name, which is none.
        read("ima-ng", &data, |fields| {
            let digest = fields.unwrap().digest.unwrap();
            assert_eq!((digest.algorithm, digest.digest()), (&b"verity:sha256"[..], None));
        });
    }

    #[test]
    fn spelled_formats_are_read_by_their_fields() {
        let data = [field(b"sha1:\0abc"), field(b"/a\0"), field(b""), field(&1000_u32.to_le_bytes())].concat();
        read("d-ng|n-ng|sig|iuid", &data, |fields| {
            let fields = fields.unwrap();
            assert_eq!(
                (fields.name, fields.signature, fields.uid, fields.gid),
                (Some(&b"/a"[..]), Some(&b""[..]), Some(1000), None)
            );
        });
        // Not laid out as `ima` is, though its format is the same.
        read("d|n", &[field(&[7; 20]), field(b"/a\0")].concat(), |fields| {
            let digest = fields.unwrap().digest.unwrap();
            assert_eq!((digest.algorithm, digest.value), (&b"sha1"[..], &[7; 20][..]));
        });
        read("d|n", &[field(&[7; 16]), field(b"/a\0")].concat(), |fields| {
            assert_eq!(fields.unwrap().digest.unwrap().algorithm, b"md5");
        });
    }

    #[test]
    fn an_appended_signature_has_a_digest_of_its_own() {
        let (digest, name) = (field(b"sha256:\0abc"), field(b"/a.ko\0"));
        let with =
            [&digest, &name, &field(b"\x03sig"), &field(b"sha512:\0def"), &field(b"pkcs7")].map(Vec::as_slice).concat();
        read("ima-modsig", &with, |fields| {
            let fields = fields.unwrap();
            assert_eq!((fields.signature, fields.modsig), (Some(&b"\x03sig"[..]), Some(&b"pkcs7"[..])));
            assert_eq!(fields.modsig_digest.unwrap().algorithm, b"sha512");
        });
        let without = [digest, name, field(b""), field(b""), field(b"")].concat();
        read("ima-modsig", &without, |fields| assert_eq!(fields.unwrap().modsig_digest, None));
    }

    #[test]
    fn each_deviation_has_its_error() {
        let (digest, name) = (field(b"sha1:\0abc"), field(b"/a\0"));
        let both = [&digest[..], &name].concat();
        refused("ima-new", &both, FieldError::UnknownTemplate);
        refused("d-ng|n-ng|", &both, FieldError::UnknownTemplate);
        refused("ima-sig", &both, FieldError::CutShort("sig"));
        refused("ima-ng", &both[..both.len() - 1], FieldError::CutShort("n-ng"));
        refused("ima-ng", b"", FieldError::CutShort("d-ng"));
        refused("ima-ng", &[&both[..], b"\0"].concat(), FieldError::Trailing { offset: both.len() });
        refused("d-ng|n-ng|n", &[&both[..], &name].concat(), FieldError::Repeated("n"));
        refused("d|d-ng|n-ng", &[&field(&[7; 20])[..], &both].concat(), FieldError::Repeated("d-ng"));
        refused("d-ng|n-ng|sig|sig", &[&both[..], &field(b""), &field(b"")].concat(), FieldError::Repeated("sig"));
        for bad in [&b""[..], b"sha1", b"sha1:", b"sha1\0abc", b"sha1: abc"] {
            refused("ima-ng", &[&field(bad)[..], &name].concat(), FieldError::Value("d-ng"));
        }
        for bad in [&b"sha1:\0abc"[..], b"\0"] {
            refused("ima-ngv2", &[&field(bad)[..], &name].concat(), FieldError::Value("d-ngv2"));
        }
        for bad in [&b""[..], b"/a", b"/a\0\0", b"/a\0b\0"] {
            refused("ima-ng", &[&digest[..], &field(bad)].concat(), FieldError::Value("n-ng"));
        }
        for length in [0, 15, 17, 19, 21, 32] {
            refused("d|n", &[&field(&vec![7; length])[..], &name].concat(), FieldError::Value("d"));
        }
        for (id, lengths) in [("iuid", [2, 3, 5]), ("igid", [2, 3, 8]), ("imode", [1, 3, 4])] {
            for length in lengths {
                let data = [&both[..], &field(&vec![7; length])].concat();
                refused(&format!("d-ng|n-ng|{id}"), &data, FieldError::Value(id));
            }
        }
        refused("d-ng|n-ng|xattrnames", &[&both[..], &field(b"a")].concat(), FieldError::Value("xattrnames"));
    }

    /// The 276 bytes that `ima` hashes can be those of another template: digest and name are then cut elsewhere.
    #[test]
    fn other_template_data_are_no_legacy_entry() {
        let mut name = b"/".repeat(276 - 4 - 40 - 4 - 1);
        name.push(0);
        let digest = [&b"sha256:\0"[..], &[7; 32]].concat();
        let data = [field(&digest), field(&name)].concat();
        let hashed = [&data[..], &[]].concat();
        assert_eq!(hashed.len(), 276);
        let (digest, rest) = data.split_at(20);
        let name = &rest[..255];
        let relabelled = Forge::legacy(digest, name).entry();
        assert_eq!(relabelled[4..24], Forge::of("ima-ng", &data).entry()[4..24]);
        let list = MeasurementList::parse(&relabelled, &Limits::DEFAULT).unwrap();
        assert_eq!(list.entries().next().unwrap().fields(), Err(FieldError::Value("n")));
    }

    #[test]
    fn only_a_buffer_with_its_hash_is_one() {
        let check = |digest: &[u8], buffer: &[u8], is_buffer| {
            let data = [field(digest), field(b"label\0"), field(buffer)].concat();
            read("ima-buf", &data, |fields| assert_eq!(fields.unwrap().digest_is_of_buffer(), is_buffer));
        };
        let digest =
            |prefix: &[u8], algorithm, of: &[u8]| [prefix, b"\0", Digest::of(algorithm, [of]).as_bytes()].concat();
        check(&digest(b"sha256:", HashAlgorithm::Sha256, b"abc"), b"abc", true);
        check(&digest(b"sha1:", HashAlgorithm::Sha1, b"abc"), b"abc", true);
        check(&digest(b"sha256:", HashAlgorithm::Sha256, b"abc"), b"abd", false);
        check(&digest(b"sha1:", HashAlgorithm::Sha256, b"abc"), b"abc", false);
        check(&digest(b"sm3:", HashAlgorithm::Sha256, b"abc"), b"abc", false);
        check(&digest(b"sha256:", HashAlgorithm::Sha256, b""), b"", false);
    }
}
