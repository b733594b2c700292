//! The entries that one answer carries, piece by piece.

use std::path::PathBuf;

use goldseal_verifier_core::ima::entry::ByteOrder;

use super::index::Position;
use super::readers::Reader;
use super::{ListReadError, PIECE, Taken, read_at};

/// Entries from one on, to the last that was complete when it was taken. It never ends within an entry.
#[derive(Debug)]
pub struct Snapshot {
    first: u64,
    order: Option<ByteOrder>,
    /// Bytes that were read and not given out.
    ready: Vec<u8>,
    /// Where the rest comes from; `None` when there is none.
    rest: Option<Rest>,
    path: PathBuf,
}

#[derive(Debug)]
struct Rest {
    reader: Reader,
    /// Where to stop.
    end: usize,
}

impl Snapshot {
    /// Of bytes that are at hand.
    pub(super) fn of_bytes(taken: Taken, bytes: Vec<u8>) -> Self {
        Self { first: taken.first, order: taken.order, ready: bytes, rest: None, path: PathBuf::new() }
    }

    /// Reads from a position on, up to the first entry.
    pub(super) fn read(taken: Taken, mut near: Position, reader: Reader, path: PathBuf) -> Result<Self, ListReadError> {
        let rest = Some(Rest { reader, end: taken.end });
        let mut snapshot = Self { first: taken.first, order: taken.order, ready: Vec::new(), rest, path };
        while near.entries < taken.first {
            snapshot.ready = snapshot.read_on()?;
            let mut bytes = snapshot.ready.as_slice();
            while near.entries < taken.first {
                match near.next_end(&mut bytes) {
                    Ok(true) => {}
                    Ok(false) => break,
                    // It was an entry when it was noted.
                    Err(_) => return Err(snapshot.shrunk()),
                }
            }
            let taken = snapshot.ready.len() - bytes.len();
            snapshot.ready.drain(..taken);
        }
        Ok(snapshot)
    }

    /// Index of the first entry: the one that was asked for, or 0.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Byte order of a binary list; that of this machine if it has no entries yet.
    pub fn byte_order(&self) -> ByteOrder {
        let native = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
        self.order.unwrap_or(native)
    }

    /// The next bytes, or none at the end.
    ///
    /// # Errors
    /// [`ListReadError`]: then what was given out must not be taken for all of it.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, ListReadError> {
        if !self.ready.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ready)));
        }
        if self.rest.is_none() {
            return Ok(None);
        }
        let piece = self.read_on()?;
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// A piece from the list; none only at the end, where the descriptor goes back.
    fn read_on(&mut self) -> Result<Vec<u8>, ListReadError> {
        let Some(rest) = &mut self.rest else { return Err(self.shrunk()) };
        let mut piece = vec![0; PIECE.min(rest.end - rest.reader.offset)];
        let mut filled = 0;
        while filled < piece.len() {
            let count = read_at(rest.reader.file(), &mut piece[filled..], rest.reader.offset, &self.path)?;
            if count == 0 {
                return Err(self.shrunk());
            }
            filled += count;
            rest.reader.offset += count;
        }
        if rest.reader.offset == rest.end {
            self.rest = None;
        }
        Ok(piece)
    }

    fn shrunk(&self) -> ListReadError {
        ListReadError::Shrunk { path: self.path.clone() }
    }
}
