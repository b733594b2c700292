//! Looking up paths as the kernel writes them, in entries that stay the bytes they were (docs/decisions/0005-lookups.md).
//!
//! A hash table of offsets, four bytes a slot: a list of a million paths takes some eight megabytes beside its bytes.
//! Paths that the kernel writes alike, such as `/a b` and `/a_b`, are found together.

use std::borrow::Cow;
use std::fmt;

use crate::entries::{self, Entry, FileDigest};
use crate::path;

/// Slots for each path, so that searches stay short: at most this part of the table is filled, one in two.
const SLOTS_PER_PATH: usize = 2;

/// An index over the entries of one section. Whoever asks gives the same section again.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PathIndex {
    /// Offset of a path's first line, plus one; zero is empty. A power of two of them.
    slots: Vec<u32>,
}

impl PathIndex {
    /// Indexes a section that was checked. Positions in it fit in 32 bits (`MAX_ENTRIES_LEN`).
    pub(crate) fn of_checked(section: &[u8], entry_count: u64) -> Self {
        let paths = usize::try_from(entry_count).unwrap_or(usize::MAX);
        let count = paths.saturating_mul(SLOTS_PER_PATH).max(1).checked_next_power_of_two().unwrap_or(1);
        let mut index = Self { slots: vec![0; count] };
        let mut previous: &[u8] = &[];
        for (offset, line) in lines(section) {
            let written = written_path(line);
            // Entries of one path follow each other, and one spelling has one path.
            if written != previous {
                index.insert(&kernel_name(line, written), offset);
                previous = written;
            }
        }
        index
    }

    fn insert(&mut self, name: &[u8], offset: usize) {
        let value = u32::try_from(offset).unwrap_or(u32::MAX).saturating_add(1);
        let mut place = self.place(name);
        while let Some(slot) = self.slots.get_mut(place) {
            if *slot == 0 {
                *slot = value;
                return;
            }
            place = self.after(place);
        }
    }

    /// The entries of all paths that the kernel writes as `name`.
    pub(crate) fn entries<'s, 'n>(&'s self, section: &'s [u8], name: &'n [u8]) -> Matches<'s, 'n> {
        Matches { index: self, section, name, place: self.place(name), written: &[], lines: &[] }
    }

    fn place(&self, name: &[u8]) -> usize {
        usize::try_from(hash(name)).unwrap_or(0) & self.slots.len().saturating_sub(1)
    }

    fn after(&self, place: usize) -> usize {
        place.saturating_add(1) & self.slots.len().saturating_sub(1)
    }
}

impl fmt::Debug for PathIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathIndex({} slots)", self.slots.len())
    }
}

/// The entries of one name.
#[derive(Debug)]
pub(crate) struct Matches<'s, 'n> {
    index: &'s PathIndex,
    section: &'s [u8],
    name: &'n [u8],
    place: usize,
    /// The path that was found, as it is written; its lines follow each other.
    written: &'s [u8],
    /// The section from its next line on.
    lines: &'s [u8],
}

impl<'s> Iterator for Matches<'s, '_> {
    type Item = Entry<'s>;

    fn next(&mut self) -> Option<Entry<'s>> {
        loop {
            if let Some(entry) = self.next_line() {
                return Some(entry);
            }
            let slot = *self.index.slots.get(self.place)?;
            let offset = usize::try_from(slot.checked_sub(1)?).ok()?;
            self.place = self.index.after(self.place);
            self.find(self.section.get(offset..).unwrap_or_default());
        }
    }
}

impl<'s> Matches<'s, '_> {
    /// Begins with the lines of another path, if it has the name.
    fn find(&mut self, lines: &'s [u8]) {
        let line = memchr::memchr(b'\n', lines).and_then(|end| lines.get(..end)).unwrap_or_default();
        let written = written_path(line);
        if *kernel_name(line, written) == *self.name {
            (self.written, self.lines) = (written, lines);
        }
    }

    /// The next line, if it still is of the path.
    fn next_line(&mut self) -> Option<Entry<'s>> {
        let end = memchr::memchr(b'\n', self.lines)?;
        let (line, rest) = self.lines.split_at_checked(end)?;
        let same = written_path(line) == self.written;
        self.lines = if same { rest.strip_prefix(b"\n").unwrap_or_default() } else { &[] };
        if same { Entry::of_checked(line) } else { None }
    }
}

/// Every line with its offset, LF left out.
fn lines(section: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0_usize;
    memchr::memchr_iter(b'\n', section).filter_map(move |end| {
        let line = section.get(start..end)?;
        let offset = std::mem::replace(&mut start, end.saturating_add(1));
        Some((offset, line))
    })
}

/// The path of a line as it is written: behind the digest field and two blanks.
fn written_path(line: &[u8]) -> &[u8] {
    let path = memchr::memchr(b' ', line).and_then(|blank| line.get(blank..)?.strip_prefix(b"  "));
    path.unwrap_or_default()
}

/// The path of a line as the kernel writes it.
fn kernel_name<'s>(line: &[u8], written: &'s [u8]) -> Cow<'s, [u8]> {
    if line.starts_with(b"\\") {
        let path = path::unescape(written).unwrap_or_default();
        return Cow::Owned(path::kernel_name(&path).into_owned());
    }
    path::kernel_name(written)
}

/// Spreads names over 32 bits, eight bytes at a time. Not secret: paths are those of a sealed list, and a machine that
/// makes up names to look for finds no more of them in one place than its signers put there.
fn hash(name: &[u8]) -> u32 {
    // Odd and without a pattern: the golden ratio, as for Fibonacci hashing (Knuth, TAOCP 3, 6.4).
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| {
        let product = (state ^ word).wrapping_mul(FACTOR);
        product ^ (product >> 32)
    };
    let (words, rest) = name.as_chunks::<8>();
    let state =
        words.iter().fold(u64::try_from(name.len()).unwrap_or(0), |state, word| mix(state, u64::from_le_bytes(*word)));
    let last = rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    let state = mix(mix(state, last), 0);
    u32::try_from(state >> 32).unwrap_or(0)
}

/// The digest of an entry.
pub(crate) fn digest_of(entry: &Entry<'_>) -> Option<FileDigest> {
    entries::FileDigest::parse(entry.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> String {
        format!("1{number:063x}")
    }

    fn found(section: &str, name: &str) -> Vec<(String, String)> {
        let section = section.as_bytes();
        let count = u64::try_from(lines(section).count()).unwrap();
        let index = PathIndex::of_checked(section, count);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let entries = index.entries(section, name.as_bytes());
        let mut found: Vec<_> = entries.map(|entry| (text(&entry.path), text(entry.digest))).collect();
        // The order is that of the table.
        found.sort();
        found
    }

    #[test]
    fn every_path_is_found_and_no_other() {
        let section: String = (0..5_000).map(|number| format!("{}  /usr/{number:04}\n", digest(number))).collect();
        let index = PathIndex::of_checked(section.as_bytes(), 5_000);
        for number in 0..5_000 {
            let name = format!("/usr/{number:04}");
            let mut entries = index.entries(section.as_bytes(), name.as_bytes());
            let entry = entries.next().unwrap();
            assert_eq!((&*entry.path, entry.digest), (name.as_bytes(), digest(number).as_bytes()));
            assert_eq!(entries.next(), None);
        }
        for name in ["", "/", "/usr", "/usr/", "/usr/5000", "/usr/0001/", "usr/0001", "/usr/0001\n"] {
            assert_eq!(index.entries(section.as_bytes(), name.as_bytes()).next(), None, "{name:?}");
        }
    }

    /// Each once, though their lines may follow each other and their places are the same.
    #[test]
    fn paths_that_the_kernel_writes_alike_are_found_together() {
        let line = |number, path: &str| format!("{}  {path}\n", digest(number));
        let section = [line(1, "/a b"), line(2, "/a b"), line(3, "/a_b"), line(4, "/a_bc")].concat();
        let pair = |path: &str, number| (path.to_owned(), digest(number));
        assert_eq!(found(&section, "/a_b"), [pair("/a b", 1), pair("/a b", 2), pair("/a_b", 3)]);
        assert_eq!(found(&section, "/a b"), []);
        assert_eq!(found(&section, "/a_bc"), [pair("/a_bc", 4)]);
    }

    #[test]
    fn names_are_compared_unescaped() {
        let section = format!("\\{}  /a\\nb\n{}  /c\n", digest(1), digest(2));
        assert_eq!(found(&section, "/a\nb"), [("/a\nb".to_owned(), digest(1))]);
        assert_eq!(found(&section, "/a\\nb"), []);
    }

    /// A name that reads as the end of one line and the next one whole.
    #[test]
    fn names_end_with_their_line() {
        let section = format!("{}  /a\n{}  /b\n", digest(1), digest(2));
        for name in [format!("/a\n{}  /b", digest(2)), format!("/a\n{}", digest(2)), "/a\n".to_owned()] {
            assert_eq!(found(&section, &name), []);
        }
    }

    #[test]
    fn nothing_is_found_in_an_empty_list() {
        assert_eq!(found("", "/a"), []);
    }

    /// Names that differ in little are spread as if they were drawn by lot.
    #[test]
    fn names_are_spread() {
        let names = |from: fn(usize) -> String| (0..100_000).map(from).collect::<Vec<_>>();
        for names in [
            names(|number| format!("/usr/lib/modules/6.1/kernel/{number:06}.ko")),
            names(|number| format!("/{number:06}/usr/lib/modules/6.1/kernel.ko")),
            names(|number| "/a".repeat(number % 2_000 + 1) + &number.to_string()),
        ] {
            let section: String = names.iter().map(|name| format!("{}  {name}\n", digest(1))).collect();
            let index = PathIndex::of_checked(section.as_bytes(), 100_000);
            // Steps to an empty place: by lot 2.5 of a half full table for a name that is not there (Knuth, 6.4), fewer here.
            let steps = |name: &str| {
                let mut place = index.place(name.as_bytes());
                let mut steps = 0;
                while index.slots[place] != 0 {
                    place = index.after(place);
                    steps += 1;
                }
                steps
            };
            let steps: Vec<usize> = names.iter().map(|name| steps(&format!("{name}x"))).collect();
            let (sum, most) = (steps.iter().sum::<usize>(), steps.iter().max());
            assert!(sum < 100_000 * 5 / 2 && most < Some(&200), "{sum} {most:?}");
        }
    }

    /// A full table would be searched for ever.
    #[test]
    fn half_of_the_table_is_empty() {
        for count in [1, 2, 3, 1_000] {
            let section: String = (0..count).map(|number| format!("{}  /{number:04}\n", digest(number))).collect();
            let index = PathIndex::of_checked(section.as_bytes(), u64::try_from(count).unwrap());
            let used = index.slots.iter().filter(|slot| **slot != 0).count();
            assert!(used == count && index.slots.len() >= 2 * count, "{count}");
        }
    }
}
