//! The ASCII list, written as the binary list it stands for.
//!
//! Keylime's agents send no other. File names stand in it raw, so a name may hold whole lines. A line is therefore
//! taken for an entry only if what it says has the template hash it says; where it has not, the lines after it are joined
//! to it until it has. A violation has no template hash: it ends where the next entry seems to begin, and a name that
//! pretends to be one makes the list not replay. Nothing here is believed more than the binary list would be.

use crate::cursor::{Cursor, decimal};
use crate::digest::{Digest, HashAlgorithm};
use crate::hex;
use crate::pcr::PCR_COUNT;

use super::entry::{ByteOrder, Entry, LEGACY_DIGEST_LEN, Layout, MAX_TEMPLATE_DATA, TemplateData, is_template_name};
use super::list::{Limits, ListError, ListProblem};
use super::template::{Field, Form, Format, LEGACY};

/// The longest text of one entry: hex of the longest template data, and as much again for the rest.
const MAX_TEXT: usize = 4 * MAX_TEMPLATE_DATA;

/// Bytes of template data that are hashed in vain for one list: some hundred milliseconds. A path of PATH_MAX (4,096
/// bytes, `include/uapi/linux/limits.h`) that is all LF takes 8 MiB of them, one of ten lines a few hundred bytes.
const MAX_JOINED: usize = 64 << 20;

/// Whether bytes are an ASCII list: the PCR in two characters, then a blank. In a binary one of either byte order the third
/// byte is NUL.
pub(super) fn is_ascii(bytes: &[u8]) -> bool {
    matches!(bytes, [b' ' | b'0'..=b'9', b'0'..=b'9', b' ', ..])
}

/// The binary list of a text, with its layout. The order of its numbers is the one in which they have their hashes.
pub(super) fn transcribe(
    text: &[u8],
    order: Option<ByteOrder>,
    limits: &Limits,
) -> Result<(Vec<u8>, Layout), ListError> {
    let template_hash = template_hash(text).ok_or(ListError::at(0, 0, ListProblem::AsciiForm))?;
    let transcribe = |order| {
        let layout = Layout { order, template_hash };
        transcribe_in(layout, text, limits).map(|binary| (binary, layout))
    };
    match order {
        Some(order) => transcribe(order),
        None => transcribe(ByteOrder::Little).or_else(|little| {
            // Where both fail, the one that came further tells more.
            transcribe(ByteOrder::Big).map_err(|big| if big.entry > little.entry { big } else { little })
        }),
    }
}

/// The algorithm of the first template hash, by its length.
fn template_hash(text: &[u8]) -> Option<HashAlgorithm> {
    HashAlgorithm::ALL.into_iter().find(|algorithm| Head::read(&mut Cursor::new(text), *algorithm).is_some())
}

fn transcribe_in(layout: Layout, text: &[u8], limits: &Limits) -> Result<Vec<u8>, ListError> {
    let mut binary = Vec::new();
    let mut work = Work { data: Vec::new(), joins_left: MAX_JOINED };
    let (mut rest, mut entries) = (text, 0_usize);
    while !rest.is_empty() {
        let at = |problem| ListError::at(entries, text.len().saturating_sub(rest.len()), problem);
        if entries >= limits.entries {
            return Err(at(ListProblem::TooManyEntries { max: limits.entries }));
        }
        rest = transcribe_entry(layout, rest, &mut work, &mut binary).map_err(at)?;
        if binary.len() > limits.bytes {
            return Err(ListError::at(entries, 0, ListProblem::TooLong { max: limits.bytes }));
        }
        entries = entries.saturating_add(1);
    }
    Ok(binary)
}

struct Work {
    /// Template data of the entry at hand.
    data: Vec<u8>,
    /// Of [`MAX_JOINED`], what is left.
    joins_left: usize,
}

/// Transcribes one entry, of as many lines as it takes (ima_ascii_measurements_show in `ima_fs.c`); returns what follows.
fn transcribe_entry<'t>(
    layout: Layout,
    text: &'t [u8],
    work: &mut Work,
    binary: &mut Vec<u8>,
) -> Result<&'t [u8], ListProblem> {
    let mut cursor = Cursor::new(text);
    let head = Head::read(&mut cursor, layout.template_hash).ok_or(ListProblem::AsciiForm)?;
    let format = Format::of(head.template).ok_or(ListProblem::AsciiTemplate)?;
    let blanks = format.fields().count().saturating_sub(1);
    let mut problem = ListProblem::AsciiForm;
    for (values, rest) in candidates(cursor.take_rest().unwrap_or_default(), blanks) {
        work.data.clear();
        if encode(head.template == LEGACY, format, layout.order, values, &mut work.data).is_some() {
            let entry = head.entry(layout, &work.data).ok_or(ListProblem::AsciiForm)?;
            let complete = match entry.is_violation() {
                true => rest.is_empty() || Head::read(&mut Cursor::new(rest), layout.template_hash).is_some(),
                false => entry.fits_template_hash(),
            };
            if complete {
                entry.print(binary);
                return Ok(rest);
            }
            problem = ListProblem::TemplateHash;
        }
        work.joins_left = work.joins_left.checked_sub(values.len()).ok_or(ListProblem::AsciiJoins)?;
    }
    Err(problem)
}

/// The beginnings of `text` that end before an LF and hold this many blanks, each with what follows. Within a value there
/// is no blank: the kernel writes `_` for it.
fn candidates(text: &[u8], blanks: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (mut from, mut found) = (0_usize, 0_usize);
    let ends = memchr::memchr_iter(b'\n', text).map_while(move |end| {
        let line = text.get(from..end)?;
        from = end.saturating_add(1);
        found = found.saturating_add(memchr::memchr_iter(b' ', line).count());
        (found <= blanks && end <= MAX_TEXT).then_some((end, found))
    });
    ends.filter(move |(_, found)| *found == blanks)
        .filter_map(|(end, _)| Some((text.get(..end)?, text.get(end..)?.strip_prefix(b"\n")?)))
}

/// What stands before the values of an entry.
struct Head<'t> {
    pcr: u8,
    template_hash: Digest,
    template: &'t [u8],
}

impl<'t> Head<'t> {
    fn read(cursor: &mut Cursor<'t>, template_hash: HashAlgorithm) -> Option<Self> {
        let pcr = cursor.take(2)?;
        let pcr = decimal(pcr.strip_prefix(b" ").unwrap_or(pcr), u8::MAX.into())?;
        let pcr = u8::try_from(pcr).ok().filter(|pcr| *pcr < PCR_COUNT)?;
        cursor.literal(b" ")?;
        let hex = cursor.take(template_hash.digest_len().saturating_mul(2))?;
        let template_hash = Digest::from_hex(hex)?;
        cursor.literal(b" ")?;
        let template = cursor.until(b' ').filter(|name| is_template_name(name))?;
        Some(Self { pcr, template_hash, template })
    }

    /// The entry of these template data.
    fn entry<'a>(&'a self, layout: Layout, data: &'a [u8]) -> Option<Entry<'a>> {
        let data = if self.template == LEGACY {
            let (digest, name) = data.split_at_checked(LEGACY_DIGEST_LEN)?;
            TemplateData::Legacy { digest, name }
        } else {
            TemplateData::Prefixed(data)
        };
        Some(Entry {
            layout,
            claimed_pcr: self.pcr,
            template_hash: self.template_hash.as_bytes(),
            claimed_template: self.template,
            data,
        })
    }
}

/// Template data of the values that blanks separate, as many as the format has fields.
fn encode(legacy: bool, format: Format<'_>, order: ByteOrder, values: &[u8], data: &mut Vec<u8>) -> Option<()> {
    for (field, value) in format.fields().zip(values.split(|byte| *byte == b' ')) {
        if legacy {
            match field {
                Field::Digest if value.len() == 2 * LEGACY_DIGEST_LEN => encode_hex(value, data)?,
                Field::Name => data.extend_from_slice(value),
                _ => return None,
            }
            continue;
        }
        let start = data.len();
        data.extend([0; 4]);
        encode_value(field.form(), order, value, data)?;
        let length = data.len().checked_sub(start)?.checked_sub(4)?;
        let prefix = data.get_mut(start..start.checked_add(4)?)?;
        prefix.copy_from_slice(&order.bytes(u32::try_from(length).ok()?));
    }
    Some(())
}

fn encode_value(form: Form, order: ByteOrder, value: &[u8], data: &mut Vec<u8>) -> Option<()> {
    match form {
        // What has no value has no length (`field_show` is left out), but a name always has its NUL.
        Form::Hex | Form::NamedDigest | Form::TextOrNothing | Form::Number | Form::ShortNumber if value.is_empty() => {}
        Form::Hex => encode_hex(value, data)?,
        Form::NamedDigest => {
            let colon = memchr::memrchr(b':', value)?;
            let (prefix, hex) = value.split_at_checked(colon.checked_add(1)?)?;
            data.extend_from_slice(prefix);
            data.push(0);
            encode_hex(hex, data)?;
        }
        Form::Text | Form::TextOrNothing => {
            data.extend_from_slice(value);
            data.push(0);
        }
        Form::Number => {
            let number = u32::try_from(decimal(value, u32::MAX.into())?).ok()?;
            data.extend(order.bytes(number));
        }
        Form::ShortNumber => {
            let number = u16::try_from(decimal(value, u16::MAX.into())?).ok()?;
            data.extend(order.short_bytes(number));
        }
    }
    Some(())
}

fn encode_hex(hex: &[u8], data: &mut Vec<u8>) -> Option<()> {
    let start = data.len();
    data.resize(start.checked_add(hex.len() / 2)?, 0);
    hex::decode_lower(hex, data.get_mut(start..)?)
}

#[cfg(test)]
mod tests {
    use super::super::forge::Forge;
    use super::super::list::MeasurementList;
    use super::*;

    fn parse(text: &[u8]) -> Result<MeasurementList<'_>, ListError> {
        MeasurementList::parse(text, &Limits::DEFAULT)
    }

    #[track_caller]
    fn same(forges: &[Forge]) {
        let (text, binary): (Vec<u8>, Vec<u8>) =
            (forges.iter().flat_map(Forge::line).collect(), forges.iter().flat_map(Forge::entry).collect());
        assert_eq!(parse(&text).unwrap().bytes(), binary);
    }

    #[test]
    fn binary_lists_are_not_taken_for_text() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for pcr in 0..PCR_COUNT {
                let forge = Forge { pcr, ..Forge::ng("/a") }.in_layout(order, HashAlgorithm::Sha1);
                assert!(!is_ascii(&forge.entry()));
                assert!(is_ascii(&forge.line()));
            }
        }
        assert!(!is_ascii(b"") && !is_ascii(b"10") && !is_ascii(b"\x31\x30\0"));
    }

    #[test]
    fn pcrs_below_ten_have_a_blank() {
        same(&[Forge { pcr: 9, ..Forge::ng("/a") }, Forge::ng("/b")]);
        for bad in ["010 ", "9 ", "+9 ", "24 ", "99 "] {
            let line = [bad.as_bytes(), &Forge::ng("/a").line()[3..]].concat();
            assert!(parse(&[&Forge::ng("/b").line()[..], &line].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_may_hold_lines() {
        let forged = String::from_utf8(Forge::ng("/evil").line()).unwrap();
        // A name has no blanks, yet may look like a line in all else.
        let forged = forged.replace(' ', "_");
        for name in ["/a\nb", "/a\n", "/\n\n\n", "/a\tb\rc", &format!("/a\n{forged}"), &"/\n".repeat(2000)] {
            same(&[Forge::ng("/first"), Forge::ng(name), Forge::ng("/last")]);
            same(&[Forge::sig(name, b"\x03abc"), Forge::sig(name, b"")]);
        }
    }

    /// Nothing tells where the name of a violation ends but what comes after it.
    #[test]
    fn a_violation_ends_where_an_entry_begins() {
        let lines = |name: &str| [Forge::ng(name).violation_line(), Forge::ng("/last").line()].concat();
        let binary = |name: &str| [Forge::ng(name).violation(), Forge::ng("/last").entry()].concat();
        for name in ["/a", "/a\nb", "/a\n", "/a\n10_"] {
            assert_eq!(parse(&lines(name)).unwrap().bytes(), binary(name), "{name:?}");
            assert_eq!(parse(&Forge::ng(name).violation_line()).map(|list| list.len()), Ok(1), "{name:?}");
        }
        // An entry that the kernel never made: it is read, and the replay will not find it in the PCR.
        let forged = format!("/a\n{}", String::from_utf8(Forge::ng("/evil").line()).unwrap());
        assert_eq!(parse(&lines(forged.trim_end())).map(|list| list.len()), Ok(3));
    }

    #[test]
    fn the_byte_order_is_that_of_the_hashes() {
        let forge = Forge::ng("/a").in_layout(ByteOrder::Big, HashAlgorithm::Sha256);
        let text = [forge.violation_line(), forge.line()].concat();
        assert_eq!(parse(&text).unwrap().bytes(), [forge.violation(), forge.entry()].concat());
        // Violations alone have no hash to tell it by.
        let told =
            |order| MeasurementList::parse_increment(&text[..forge.violation_line().len()], order, &Limits::DEFAULT);
        assert_eq!(told(Some(ByteOrder::Big)).unwrap().bytes(), forge.violation());
        assert_eq!(told(None).unwrap().byte_order(), Some(ByteOrder::Little));
        // What is told holds.
        let wrong = MeasurementList::parse_increment(&text, Some(ByteOrder::Little), &Limits::DEFAULT);
        assert_eq!(wrong.unwrap_err().problem, ListProblem::TemplateHash);
    }

    #[test]
    fn every_field_is_written_as_the_kernel_does() {
        let digest = [&b"sha256:\0"[..], &[0xab; 32]].concat();
        let field = super::super::forge::field;
        let start = [field(&digest), field(b"/a\0")].concat();
        let text = format!("sha256:{} /a", "ab".repeat(32));
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for (template, more, shown) in [
                ("ima-modsig", vec![&b"\x03"[..], b"sha1:\0\xcd", b"\xef"], " 03 sha1:cd ef"),
                ("ima-modsig", vec![b"", b"", b""], "   "),
                ("d-ng|n-ng|iuid|igid|imode", vec![b"", b"", b""], "   "),
                ("d-ng|n-ng|xattrnames", vec![b"security.ima|security.evm\0"], " security.ima|security.evm"),
            ] {
                let data = [&start[..], &more.iter().flat_map(|value| field(value)).collect::<Vec<u8>>()].concat();
                same(&[Forge::shown(template, &data, &format!("{text}{shown}")).in_layout(order, HashAlgorithm::Sha1)]);
            }
            let numbers = match order {
                ByteOrder::Little => [&b"\x04\0\0\0\xe8\x03\0\0"[..], b"\x02\0\0\0\xed\x81"].concat(),
                ByteOrder::Big => [&b"\0\0\0\x04\0\0\x03\xe8"[..], b"\0\0\0\x02\x81\xed"].concat(),
            };
            // The other lengths are turned by `in_layout`; these two values are theirs already.
            let forge = Forge::shown("d-ng|n-ng", &start, &text).in_layout(order, HashAlgorithm::Sha1);
            let data = [&forge.data[..], &numbers].concat();
            let forge = Forge {
                template: "d-ng|n-ng|iuid|imode".to_owned(),
                data,
                shown: format!("{text} 1000 33261").into(),
                ..forge
            };
            same(&[forge]);
        }
        same(&[Forge::legacy(&[0xab; 20], b"/a\nb"), Forge::legacy(&[0; 20], b"boot_aggregate")]);
    }

    #[test]
    fn each_deviation_has_its_error() {
        let good = String::from_utf8(Forge::sig("/a", b"\x03").line()).unwrap();
        let problem = |text: &str| parse(text.as_bytes()).unwrap_err().problem;
        assert_eq!(parse(good.as_bytes()).map(|list| list.len()), Ok(1));
        for (from, to, expected) in [
            ("\n", "", ListProblem::AsciiForm),
            (" ima-sig ", " ima-new ", ListProblem::AsciiTemplate),
            (" ima-sig ", " ima-ng ", ListProblem::AsciiForm),
            (" ima-sig ", "  ima-sig ", ListProblem::AsciiForm),
            (" /a ", " /b ", ListProblem::TemplateHash),
            (" /a ", "  /a ", ListProblem::AsciiForm),
            (" /a ", " /\0 ", ListProblem::TemplateHash),
            (" 03\n", " 04\n", ListProblem::TemplateHash),
            (" 03\n", " 3\n", ListProblem::AsciiForm),
            (" 03\n", " 0G\n", ListProblem::AsciiForm),
            (" 03\n", " 03 \n", ListProblem::AsciiForm),
            (" 03\n", " 03\r\n", ListProblem::AsciiForm),
            ("sha256:", "sha256;", ListProblem::AsciiForm),
            ("sha256:", "SHA256:", ListProblem::TemplateHash),
        ] {
            let broken = good.replace(from, to);
            assert_ne!(broken, good);
            assert_eq!(problem(&broken), expected, "{broken:?}");
        }
        assert_eq!(problem(&good.to_uppercase()), ListProblem::AsciiForm);
        for value in ["-1", "01", "65536", "+1", "1.0", "0x1"] {
            let line = Forge::shown("imode", b"\x02\0\0\0\x01\0", value).line();
            let text = [good.as_bytes(), &line].concat();
            assert_eq!(parse(&text).unwrap_err().problem, ListProblem::AsciiForm, "{value}");
        }
    }

    /// A name of LF alone is one candidate a byte; a list of such names would be hashed for hours.
    #[test]
    fn joining_lines_has_an_end() {
        let forge = Forge::ng(&"\n".repeat(4000));
        let one = forge.line();
        let costs: usize = (0..4000).map(|length| 7 + 64 + 1 + length).sum();
        let fits = MAX_JOINED / costs;
        assert!(fits >= 4, "{costs}");
        assert_eq!(parse(&one.repeat(fits)).map(|list| list.len()), Ok(fits));
        let error = parse(&one.repeat(fits + 1)).unwrap_err();
        assert_eq!((error.entry, error.problem), (u64::try_from(fits + 1).unwrap(), ListProblem::AsciiJoins));
    }
}
