//! lz4's legacy format, the only one Linux reads (`unlz4`, lib/decompress_unlz4.c): a magic number, then blocks, each a
//! little-endian length and that many bytes, which unpack to at most 8 MiB.
//!
//! Nothing marks the end: the blocks go on to the end of the image, unless a zero word stops them. The magic number may
//! return between blocks (`cat a.lz4 b.lz4`). There is no checksum.

use lz4_flex::block::{DecompressError, decompress_into};

use super::StreamFault;
use super::pipe::{Output, Stop};

/// Decodes the blocks at the start of `input` and returns how many bytes they take.
pub(super) fn decode(input: &[u8], output: &mut Output<'_>) -> Result<usize, Stop> {
    let mut rest = match input.split_first_chunk() {
        Some((&MAGIC, rest)) => rest,
        Some(_) => return Err(StreamFault::Damaged { detail: "wrong magic number".into() }.into()),
        None => return Err(StreamFault::Truncated.into()),
    };
    loop {
        let (word, behind) = rest.split_first_chunk().ok_or(StreamFault::Truncated)?;
        if *word == MAGIC {
            rest = behind;
            continue;
        }
        let length = u32::from_le_bytes(*word) as usize;
        if length == 0 {
            // The word itself is left to the caller, who passes over zeros.
            return Ok(input.len() - rest.len());
        }
        let (block, behind) = behind.split_at_checked(length).ok_or(StreamFault::Truncated)?;
        // No byte of a block makes more than 255: so a short block needs no large buffer.
        let mut buffer = output.buffer(BLOCK.min(length.saturating_mul(255)));
        let unpacked = decompress_into(block, &mut buffer).map_err(damaged)?;
        buffer.truncate(unpacked);
        output.send(buffer, input.len() - behind.len())?;
        if behind.is_empty() {
            return Ok(input.len());
        }
        rest = behind;
    }
}

/// The bytes with which the first block begins as they are, without decoding it: a block may be longer than what is at
/// hand. A cpio header always begins with such bytes, as nothing in it repeats early enough.
pub(super) fn first_literals(input: &[u8]) -> Option<&[u8]> {
    let block = input.strip_prefix(&MAGIC)?.get(4..)?;
    let (token, mut rest) = block.split_first()?;
    let mut length = usize::from(token >> 4);
    if length == 15 {
        loop {
            let (more, behind) = rest.split_first()?;
            length += usize::from(*more);
            rest = behind;
            if *more != 255 {
                break;
            }
        }
    }
    rest.get(..length.min(rest.len()))
}

fn damaged(error: DecompressError) -> StreamFault {
    StreamFault::Damaged { detail: error.to_string() }
}

/// `ARCHIVE_MAGICNUMBER` (0x184C2102, little endian).
const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// `LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE`.
const BLOCK: usize = 8 << 20;
