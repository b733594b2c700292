//! Entries: one digest and one path a line, in `sha256sum`'s form (docs/format.md, Entries).

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::thread::{self, ScopedJoinHandle};

use crate::digest::{Digest, HashAlgorithm};
use crate::header::FileHash;
use crate::path;

/// What fs-verity digests begin with, as the kernel writes them in `ima-ngv2` and `ima-sigv2` lists.
const VERITY: &[u8] = b"verity:";

/// The digest of a file: of its contents, or of its fs-verity Merkle tree. One never stands for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileDigest {
    /// Hash of the contents.
    Contents(Digest),
    /// fs-verity digest (Documentation/filesystems/fsverity.rst).
    Verity(Digest),
}

impl FileDigest {
    /// Reads the digest field of an entry. A digest of zeros only is none: it is what a violation looks like.
    pub fn parse(field: &[u8]) -> Option<Self> {
        let digest = match field.strip_prefix(VERITY) {
            None => Self::Contents(Digest::from_hex(field)?),
            Some(tagged) => {
                let colon = tagged.iter().position(|byte| *byte == b':')?;
                let (algorithm, hex) = tagged.split_at_checked(colon)?;
                let digest = Digest::from_hex(hex.strip_prefix(b":")?)?;
                Self::Verity(Some(digest).filter(|digest| digest.algorithm().name().as_bytes() == algorithm)?)
            }
        };
        (!digest.digest().is_zero()).then_some(digest)
    }

    /// The value.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Contents(digest) | Self::Verity(digest) => digest,
        }
    }
}

/// The digest field of an entry.
impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contents(digest) => digest.fmt(f),
            Self::Verity(digest) => write!(f, "verity:{}:{digest}", digest.algorithm()),
        }
    }
}

/// One entry, borrowed from its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path on the target, unescaped.
    pub path: Cow<'a, [u8]>,
    /// The digest field as text.
    pub digest: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Splits a line of a section that [`check`] accepted.
    pub(crate) fn of_checked(line: &'a [u8]) -> Option<Self> {
        let (digest, written) = split(line.strip_prefix(b"\\").unwrap_or(line))?;
        let path = if line.starts_with(b"\\") { Cow::Owned(path::unescape(written)?) } else { Cow::Borrowed(written) };
        Some(Self { path, digest })
    }
}

/// Writes the line of an entry, LF included; `digest` is the digest field as text.
pub fn print_line(path: &[u8], digest: &[u8], section: &mut Vec<u8>) {
    let escaped = path::escape(path);
    if matches!(escaped, Cow::Owned(_)) {
        section.push(b'\\');
    }
    section.extend_from_slice(digest);
    section.extend_from_slice(b"  ");
    section.extend_from_slice(&escaped);
    section.push(b'\n');
}

/// The entries of a section that was checked.
pub(crate) fn iter(section: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    section.split_inclusive(|byte| *byte == b'\n').filter_map(|line| Entry::of_checked(line.strip_suffix(b"\n")?))
}

/// Holds a section to its one encoding and counts its lines. Long sections are checked in parts side by side.
///
/// # Errors
/// [`EntryError`] with the first line at fault.
pub(crate) fn check(section: &[u8], file_hash: &FileHash) -> Result<u64, EntryError> {
    let parts = parts(section);
    let checked: Vec<Result<u64, EntryError>> = thread::scope(|scope| {
        let start = |part| thread::Builder::new().spawn_scoped(scope, move || check_part(part, file_hash));
        let running: Vec<_> = parts.into_iter().map(|part| (part, start(part))).collect();
        let result = |(part, thread): (_, io::Result<ScopedJoinHandle<'_, _>>)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // The system gives no more threads: then this one does it.
            Err(_) => check_part(part, file_hash),
        };
        running.into_iter().map(result).collect()
    });
    checked.into_iter().try_fold(0_u64, |total, lines| {
        let lines = lines.map_err(|error| EntryError { line: total.saturating_add(error.line), ..error })?;
        Ok(total.saturating_add(lines))
    })
}

/// Sections longer than this are worth a thread for each part of this length, up to [`MAX_PARTS`].
const PART_LEN: usize = 4 << 20;

/// More threads than this only wait for memory.
const MAX_PARTS: usize = 8;

/// Whole lines, and the one before them, which the first of them must come after.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    before: Option<&'a [u8]>,
    lines: &'a [u8],
}

/// Cuts a section into parts of about equal length.
fn parts(section: &[u8]) -> Vec<Part<'_>> {
    let count = (section.len() / PART_LEN).clamp(1, MAX_PARTS);
    let mut parts = Vec::new();
    let mut before = None;
    let mut rest = section;
    for left in (1..=count).rev() {
        let aim = rest.len().checked_div(left).unwrap_or(0);
        let end = match rest.get(aim..).and_then(|beyond| memchr::memchr(b'\n', beyond)) {
            Some(offset) if left > 1 => aim.saturating_add(offset).saturating_add(1),
            _ => rest.len(),
        };
        let (lines, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        parts.push(Part { before, lines });
        before = lines.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next()).or(before);
        rest = after;
    }
    parts
}

/// What entries are ordered by: the path, then the digest field.
type Key<'a> = (Cow<'a, [u8]>, &'a [u8]);

fn check_part(part: Part<'_>, file_hash: &FileHash) -> Result<u64, EntryError> {
    // If that line is at fault itself, its own part says so.
    let mut last: Option<Key<'_>> = part.before.and_then(|line| check_line(line, file_hash).ok());
    let mut rest = part.lines;
    let mut lines = 0_u64;
    while !rest.is_empty() {
        lines = lines.saturating_add(1);
        let at = |problem| EntryError { line: lines, problem };
        let end = memchr::memchr(b'\n', rest).ok_or(at(EntryProblem::NoLineEnd))?;
        let (line, after) = rest.split_at_checked(end).ok_or(at(EntryProblem::NoLineEnd))?;
        rest = after.strip_prefix(b"\n").unwrap_or_default();
        let key = check_line(line, file_hash).map_err(at)?;
        if last.is_some_and(|last| last >= key) {
            return Err(at(EntryProblem::Order));
        }
        last = Some(key);
    }
    Ok(lines)
}

/// Digest field and path field of a line without its escape mark.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    // Always the first blank: at any fixed place there may be one of the path's.
    let (digest, rest) = line.split_at_checked(memchr::memchr(b' ', line)?)?;
    Some((digest, rest.strip_prefix(b"  ")?))
}

fn check_line<'a>(line: &'a [u8], file_hash: &FileHash) -> Result<Key<'a>, EntryProblem> {
    let escaped = line.strip_prefix(b"\\");
    let (digest, written) = split(escaped.unwrap_or(line)).ok_or(EntryProblem::Form)?;
    let algorithm = digest_algorithm(digest).ok_or(EntryProblem::Digest)?;
    if !file_hash.algorithms().contains(&algorithm) {
        return Err(EntryProblem::Algorithm(algorithm));
    }
    if escaped.is_none() && is_plainly_canonical(written) {
        return Ok((Cow::Borrowed(written), digest));
    }
    let path = match escaped {
        None => Cow::Borrowed(written),
        Some(_) => Cow::Owned(path::unescape(written).ok_or(EntryProblem::Escape)?),
    };
    // An unescaped line may not need escapes, and an escaped one must; what `unescape` took raw it would escape.
    if path::needs_escape(&path) != escaped.is_some() || (escaped.is_some() && written.contains(&b'\r')) {
        return Err(EntryProblem::Escape);
    }
    if !path::is_canonical(&path) {
        return Err(EntryProblem::Path);
    }
    Ok((path, digest))
}

/// A quick yes for nearly every path: canonical, with nothing to escape and no name that begins with a dot.
fn is_plainly_canonical(path: &[u8]) -> bool {
    let odd = |before: u8, byte: u8| {
        (byte == 0) | (byte == b'\r') | (byte == b'\\') | ((before == b'/') & ((byte == b'/') | (byte == b'.')))
    };
    let pairs = path.iter().zip(path.iter().skip(1));
    path.starts_with(b"/")
        && !path.ends_with(b"/")
        && path.len() <= path::MAX_PATH_LEN
        && !pairs.fold(false, |any, (before, byte)| any | odd(*before, *byte))
}

/// The algorithm of a digest field in its one spelling, not all zeros.
fn digest_algorithm(field: &[u8]) -> Option<HashAlgorithm> {
    if field.starts_with(VERITY) {
        return FileDigest::parse(field).map(|digest| digest.digest().algorithm());
    }
    let algorithm = HashAlgorithm::from_digest_len(field.len() / 2).filter(|_| field.len().is_multiple_of(2))?;
    let zero = field.iter().fold(0, |bits, digit| bits | (digit ^ b'0')) == 0;
    (crate::hex::is_lower(field) && !zero).then_some(algorithm)
}

/// A line of the section is not in its one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryError {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: EntryProblem,
}

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryProblem {
    /// The last line has no LF.
    NoLineEnd,
    /// Not a digest, two blanks, a path.
    Form,
    /// Not lower-case hex of a known length, or all zeros.
    Digest,
    /// An algorithm that the header's `file-hash` does not name.
    Algorithm(HashAlgorithm),
    /// Escaped without need, needed and not escaped, or a wrong escape.
    Escape,
    /// Not an absolute canonical path.
    Path,
    /// Not after the line before it.
    Order,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: ", self.line)?;
        match self.problem {
            EntryProblem::NoLineEnd => f.write_str("the last line has no end"),
            EntryProblem::Form => f.write_str("it is not a digest, two blanks and a path"),
            EntryProblem::Digest => f.write_str("its digest is not lower-case hex of a known length, or all zeros"),
            EntryProblem::Algorithm(algorithm) => write!(f, "its algorithm {algorithm} is not named in the header"),
            EntryProblem::Escape => f.write_str("its path is not escaped as it must be"),
            EntryProblem::Path => f.write_str("its path is not absolute and canonical"),
            EntryProblem::Order => f.write_str("it does not come after the line before it"),
        }
    }
}

impl std::error::Error for EntryError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Result<u64, EntryProblem> {
        let file_hash = FileHash::new(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]).unwrap();
        check(text.as_bytes(), &file_hash).map_err(|error| error.problem)
    }

    #[test]
    fn accepts_the_one_encoding() {
        let (a, b) = ("a".repeat(64), "b".repeat(40));
        let verity = format!("verity:sha256:{}", "c".repeat(64));
        let text = format!("{a}  /a\n{b}  /a\n{verity}  /a\n{a}  /a b\n\\{a}  /a\\nb\n{a}  /\u{1b}\u{e9}\n");
        // 0x0a of the escaped name sorts below the blank of its neighbour.
        assert_eq!(check_text(&text), Err(EntryProblem::Order));
        let text = format!("{a}  /\u{1b}\u{e9}\n{a}  /a\n{b}  /a\n{verity}  /a\n\\{a}  /a\\nb\n{a}  /a b\n");
        assert_eq!(check_text(&text), Ok(6));
        let paths: Vec<_> = iter(text.as_bytes()).map(|entry| entry.path.into_owned()).collect();
        assert_eq!(paths[4], b"/a\nb");
        assert_eq!(check_text(""), Ok(0));
        // Two blanks of a name where a longer digest would end.
        let blanks = format!("{b}  /{}  x\n", "a".repeat(21));
        assert_eq!(blanks.find("  x"), Some(64));
        assert_eq!(check_text(&blanks), Ok(1));
    }

    /// Long enough for several parts; the fault is put into one line after the other around every place it may be cut.
    #[test]
    fn parts_are_checked_as_one_section() {
        let digest = "a".repeat(64);
        let lines: Vec<String> = (0..200_000).map(|n| format!("{digest}  /usr/share/{n:08}\n")).collect();
        let text = lines.concat();
        assert!(parts(text.as_bytes()).len() > 2);
        assert_eq!(parts(text.as_bytes()).iter().map(|part| part.lines).collect::<Vec<_>>().concat(), text.as_bytes());
        assert_eq!(check_text(&text), Ok(200_000));
        let file_hash = FileHash::new(&[HashAlgorithm::Sha256]).unwrap();
        let mut start = 0;
        for Part { lines: part, .. } in parts(text.as_bytes()) {
            for line in [start, (start + part.len()).saturating_sub(lines[0].len())] {
                let number = u64::try_from(line / lines[0].len()).unwrap();
                let mut broken = text.clone().into_bytes();
                broken[line] = b'A';
                let error = check(&broken, &file_hash).unwrap_err();
                assert_eq!(error, EntryError { line: number + 1, problem: EntryProblem::Digest });
                // The same path twice: the later line is at fault, in whichever part it is.
                let mut twice = text.clone().into_bytes();
                let length = lines[0].len();
                if line >= length {
                    twice.copy_within(line - length..line, line);
                    // A later fault of the same part comes second.
                    if let Some(digit) = twice.get_mut(line + length) {
                        *digit = b'A';
                    }
                    let error = check(&twice, &file_hash).unwrap_err();
                    assert_eq!(error, EntryError { line: number + 1, problem: EntryProblem::Order });
                }
            }
            start += part.len();
        }
    }

    #[test]
    fn each_deviation_has_its_error() {
        let a = "a".repeat(64);
        for (text, problem) in [
            (format!("{a}  /a"), EntryProblem::NoLineEnd),
            ("\n".to_owned(), EntryProblem::Form),
            (format!("{a} /a\n"), EntryProblem::Form),
            (format!("{a} */a\n"), EntryProblem::Form),
            (format!("{a}\n"), EntryProblem::Form),
            (format!("{}  /a\n", "a".repeat(63)), EntryProblem::Digest),
            (format!("{}  /a\n", "a".repeat(65)), EntryProblem::Digest),
            (format!("{}  /a\n", "A".repeat(64)), EntryProblem::Digest),
            (format!("{}  /a\n", "0".repeat(64)), EntryProblem::Digest),
            (format!("verity:sha256:{}  /a\n", "0".repeat(64)), EntryProblem::Digest),
            (format!("verity:sha1:{a}  /a\n"), EntryProblem::Digest),
            (format!("ima:sha256:{a}  /a\n"), EntryProblem::Digest),
            (format!("{}  /a\n", "a".repeat(96)), EntryProblem::Algorithm(HashAlgorithm::Sha384)),
            (format!("\\{a}  /a\n"), EntryProblem::Escape),
            (format!("\\{a}  /a\\tb\n"), EntryProblem::Escape),
            (format!("\\{a}  /a\\nb\r\n"), EntryProblem::Escape),
            (format!("{a}  /a\\nb\n"), EntryProblem::Escape),
            (format!("{a}  /a\r\n"), EntryProblem::Escape),
            (format!("{a}  a\n"), EntryProblem::Path),
            (format!("{a}  /a/\n"), EntryProblem::Path),
            (format!("{a}  /a/../b\n"), EntryProblem::Path),
            (format!("{a}   /a\n"), EntryProblem::Path),
            (format!("{a}  /b\n{a}  /a\n"), EntryProblem::Order),
            (format!("{a}  /a\n{a}  /a\n"), EntryProblem::Order),
            (format!("{}  /a\n{a}  /a\n", "b".repeat(64)), EntryProblem::Order),
        ] {
            assert_eq!(check_text(&text), Err(problem), "{text:?}");
        }
    }
}
