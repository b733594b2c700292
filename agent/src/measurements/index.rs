//! Where entries begin, as far as anybody will ask: one in [`STRIDE`] is noted, the others are found from there.

use goldseal_verifier_core::ima::entry::ByteOrder;
use goldseal_verifier_core::ima::list::ListError;
use goldseal_verifier_core::ima::walk::Walk;

use super::Form;

/// Entries from one that is noted to the next: some 10 KB of list. The notes of 100,000 entries take 12 KB.
const STRIDE: u64 = 64;

/// Counts the entries of a list while it is read, and notes where they begin.
#[derive(Debug)]
pub(super) struct Index {
    at: Position,
    /// Offsets of the entries 0, `STRIDE`, 2 × `STRIDE`, …
    noted: Vec<usize>,
}

impl Index {
    pub(super) fn new(form: Form) -> Self {
        Self { at: Position::start(form), noted: vec![0] }
    }

    /// Complete entries.
    pub(super) fn entries(&self) -> u64 {
        self.at.entries
    }

    /// Where the last complete entry ends.
    pub(super) fn end(&self) -> usize {
        self.at.offset
    }

    /// Byte order of a binary list; `None` before its first entry.
    pub(super) fn byte_order(&self) -> Option<ByteOrder> {
        self.at.walk.as_ref().and_then(Walk::byte_order)
    }

    /// The next bytes of the list.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), ListError> {
        while self.at.next_end(&mut bytes)? {
            if self.at.entries.is_multiple_of(STRIDE) {
                self.noted.push(self.at.offset);
            }
        }
        Ok(())
    }

    /// The last noted position that is not behind this entry, which must be there.
    pub(super) fn before(&self, entry: u64) -> Position {
        let note = usize::try_from(entry / STRIDE).unwrap_or(usize::MAX).min(self.noted.len() - 1);
        Position::at(note as u64 * STRIDE, self.noted[note], &self.at)
    }
}

/// An offset at which an entry begins, and how to go on from there.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// Entries before it.
    pub(super) entries: u64,
    pub(super) offset: usize,
    /// `None` if lines are counted.
    walk: Option<Walk>,
    /// Of the line at hand, what was seen.
    begun: usize,
}

impl Position {
    fn start(form: Form) -> Self {
        let walk = (form == Form::Binary).then(Walk::new);
        Self { entries: 0, offset: 0, walk, begun: 0 }
    }

    fn at(entries: u64, offset: usize, like: &Self) -> Self {
        let walk = like.walk.as_ref().map(|walk| Walk::resume(entries, offset, walk.byte_order()));
        Self { entries, offset, walk, begun: 0 }
    }

    /// Goes on to the end of the entry at hand, and takes what is before it out of `bytes`; `false` if it has not
    /// ended.
    pub(super) fn next_end(&mut self, bytes: &mut &[u8]) -> Result<bool, ListError> {
        if let Some(walk) = &mut self.walk {
            let ended = walk.next_end(bytes)?;
            (self.entries, self.offset) = (walk.entries(), walk.end());
            return Ok(ended);
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.begun += bytes.len();
            *bytes = &[];
            return Ok(false);
        };
        self.offset += self.begun + end + 1;
        (self.entries, self.begun) = (self.entries + 1, 0);
        *bytes = &bytes[end + 1..];
        Ok(true)
    }
}
