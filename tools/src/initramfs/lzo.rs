//! lzop's container as Linux reads it (`unlzo`, lib/decompress_unlzo.c): a header, then blocks of at most 256 KiB, each
//! with its length, its compressed length and one checksum of the unpacked bytes; a zero length ends it.
//!
//! Linux skips the checksums; here they are verified.

use super::StreamFault;
use super::pipe::{Output, Stop};

/// Decodes the stream at the start of `input` and returns how many bytes it takes.
pub(super) fn decode(input: &[u8], output: &mut Output<'_>) -> Result<usize, Stop> {
    let mut fields = Fields { rest: input };
    let checksum = header(&mut fields)?;
    loop {
        let unpacked = fields.number()? as usize;
        if unpacked == 0 {
            return Ok(input.len() - fields.rest.len());
        }
        let packed = fields.number()? as usize;
        let expected = fields.number()?;
        if unpacked > BLOCK || packed == 0 || packed > unpacked {
            return Err(damaged("impossible block length").into());
        }
        let block = fields.take(packed)?;
        let mut buffer = output.buffer(unpacked);
        if packed == unpacked {
            buffer.copy_from_slice(block);
        } else {
            match lzokay::decompress::decompress(block, &mut buffer) {
                Ok(length) if length == unpacked => {}
                Ok(_) => return Err(damaged("wrong block length").into()),
                Err(error) => return Err(StreamFault::Damaged { detail: error.to_string() }.into()),
            }
        }
        if checksum.of(&buffer) != expected {
            return Err(damaged("wrong checksum").into());
        }
        output.send(buffer, input.len() - fields.rest.len())?;
    }
}

/// Reads the header as Linux does: the name, the times and the header's own checksum do not matter to it.
fn header(fields: &mut Fields<'_>) -> Result<Checksum, StreamFault> {
    if fields.take(MAGIC.len())? != MAGIC {
        return Err(damaged("wrong magic number"));
    }
    let version = u16::from_be_bytes(fields.array()?);
    let _library_version_and_version_needed: [u8; 4] = fields.array()?;
    let _method: [u8; 1] = fields.array()?;
    if version >= 0x0940 {
        let _level: [u8; 1] = fields.array()?;
    }
    let flags = fields.number()?;
    if flags & HAS_FILTER != 0 {
        let _filter = fields.number()?;
    }
    let _mode_and_time: [u8; 8] = fields.array()?;
    if version >= 0x0940 {
        let _high_time = fields.number()?;
    }
    let [name_length] = fields.array()?;
    let _name = fields.take(usize::from(name_length))?;
    let _header_checksum = fields.number()?;
    match flags & (UNPACKED_ADLER32 | PACKED_ADLER32 | UNPACKED_CRC32 | PACKED_CRC32) {
        UNPACKED_ADLER32 => Ok(Checksum::Adler32),
        UNPACKED_CRC32 => Ok(Checksum::Crc32),
        _ => Err(StreamFault::NotForLinux {
            detail: "not exactly one checksum for each block; compress it with lzop and no options for checksums",
        }),
    }
}

#[derive(Clone, Copy)]
enum Checksum {
    Adler32,
    Crc32,
}

impl Checksum {
    fn of(self, bytes: &[u8]) -> u32 {
        match self {
            Self::Adler32 => adler32(bytes),
            Self::Crc32 => {
                let mut crc = flate2::Crc::new();
                crc.update(bytes);
                crc.sum()
            }
        }
    }
}

/// Adler-32 (RFC 1950, section 8.2).
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    /// Bytes after which the sums still fit into 32 bits.
    const RUN: usize = 5_552;
    let (mut a, mut b) = (1, 0);
    for run in bytes.chunks(RUN) {
        for byte in run {
            a += u32::from(*byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

/// Big-endian fields from the front of a slice.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], StreamFault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(StreamFault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StreamFault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(StreamFault::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u32, StreamFault> {
        Ok(u32::from_be_bytes(self.array()?))
    }
}

fn damaged(detail: &str) -> StreamFault {
    StreamFault::Damaged { detail: detail.into() }
}

const MAGIC: &[u8] = &[0x89, b'L', b'Z', b'O', 0, b'\r', b'\n', 0x1a, b'\n'];
/// `LZO_BLOCK_SIZE`.
const BLOCK: usize = 256 << 10;
// lzop's conf.h: F_ADLER32_D, F_ADLER32_C, F_CRC32_D, F_CRC32_C, F_H_FILTER.
const UNPACKED_ADLER32: u32 = 0x1;
const PACKED_ADLER32: u32 = 0x2;
const UNPACKED_CRC32: u32 = 0x100;
const PACKED_CRC32: u32 = 0x200;
const HAS_FILTER: u32 = 0x800;
