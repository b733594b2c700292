//! One cpio record at a time, from any [`Source`]: header, name, body, padding (cpio(5), "New ASCII Format").
//!
//! Linux takes a header's digits as far as they are hex, reads stale memory for a missing NUL and fills up a truncated
//! file with zeros. Nothing of that is accepted here.

use super::pipe::Source;
use super::{Compression, Error, Position};

/// Whether `bytes` begin like a record.
pub(super) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.starts_with(MAGIC_WITH_SUM)
}

/// What a record says of its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Device and number of the inode: hard links have them in common.
    pub(super) inode: (u32, u32, u32),
    /// Type and permissions. Linux keeps 16 bits.
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) body_size: u32,
    pub(super) name_size: u32,
    /// Sum of the bytes of the body, if the format has one.
    pub(super) sum: Option<u32>,
}

impl Header {
    /// Reads the 110 bytes of a header.
    pub(super) fn read<S: Source>(cursor: &mut Cursor<S>) -> Result<Self, Error> {
        let at = cursor.position();
        let mut magic = [0; MAGIC_LEN];
        cursor.fill(&mut magic, at, "header")?;
        if !has_magic(&magic) {
            return Err(Error::NoCpioMagic { at, found: magic });
        }
        let mut fields = [0; FIELDS.len()];
        for (value, field) in fields.iter_mut().zip(FIELDS) {
            let mut digits = [0; 8];
            cursor.fill(&mut digits, at, "header")?;
            *value = number(digits).ok_or(Error::NotHex { at, field })?;
        }
        let [ino, mode, _uid, _gid, links, _mtime, body_size, major, minor, _rmajor, _rminor, name_size, check] =
            fields;
        Ok(Self {
            inode: (major, minor, ino),
            mode: mode as u16,
            links,
            body_size,
            name_size,
            sum: (magic == *MAGIC_WITH_SUM).then_some(check),
        })
    }

    /// Bytes from the header to the body: the name, padded (`N_ALIGN`, init/initramfs.c).
    pub(super) fn name_room(&self) -> u64 {
        ((u64::from(self.name_size) + 1) & !3) + 2
    }
}

/// Eight hex digits of either case.
fn number(digits: [u8; 8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Reads a segment from its front and knows where it is.
#[derive(Debug)]
pub(super) struct Cursor<'s, S> {
    source: &'s mut S,
    /// Offset of the segment in the image.
    segment: u64,
    compression: Compression,
    /// Bytes of the segment passed, as unpacked.
    pub(super) offset: u64,
}

impl<'s, S: Source> Cursor<'s, S> {
    pub(super) fn new(source: &'s mut S, segment: u64, compression: Compression) -> Self {
        Self { source, segment, compression, offset: 0 }
    }

    pub(super) fn position(&self) -> Position {
        match self.compression {
            Compression::None => Position { image: self.segment + self.offset, unpacked: None },
            _ => Position { image: self.segment, unpacked: Some(self.offset) },
        }
    }

    /// The next byte, if there is one.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Error> {
        Ok(self.chunk()?.first().copied())
    }

    /// Passes over zeros.
    pub(super) fn skip_zeros(&mut self) -> Result<(), Error> {
        loop {
            let chunk = self.chunk()?;
            let zeros = chunk.iter().take_while(|byte| **byte == 0).count();
            let all = zeros == chunk.len();
            if zeros > 0 {
                self.consume(zeros);
            }
            if !all || zeros == 0 {
                return Ok(());
            }
        }
    }

    /// Hands the next `count` bytes, which are `part` of the record at `at`, to `take`, piece by piece.
    pub(super) fn pass(
        &mut self,
        count: u64,
        at: Position,
        part: &'static str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Err(Error::Truncated { at, part });
            }
            let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&chunk[..count]);
            self.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// Passes over the bytes up to the next multiple of 4.
    pub(super) fn skip_padding(&mut self, at: Position) -> Result<(), Error> {
        self.pass(self.offset.next_multiple_of(ALIGNMENT) - self.offset, at, "padding", |_| {})
    }

    fn fill(&mut self, buffer: &mut [u8], at: Position, part: &'static str) -> Result<(), Error> {
        let mut filled = 0;
        self.pass(buffer.len() as u64, at, part, |bytes| {
            buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        })
    }

    fn chunk(&mut self) -> Result<&[u8], Error> {
        let (at, compression) = (self.segment, self.compression);
        self.source.chunk().map_err(|fault| Error::Stream { at, compression, fault })
    }

    fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.offset += count as u64;
    }
}

/// Records begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 4;
pub(super) const MAGIC_LEN: usize = 6;
const MAGIC: &[u8; MAGIC_LEN] = b"070701";
const MAGIC_WITH_SUM: &[u8; MAGIC_LEN] = b"070702";
const FIELDS: [&str; 13] = [
    "ino",
    "mode",
    "uid",
    "gid",
    "nlink",
    "mtime",
    "filesize",
    "devmajor",
    "devminor",
    "rdevmajor",
    "rdevminor",
    "namesize",
    "check",
];
