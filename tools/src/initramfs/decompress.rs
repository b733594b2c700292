//! The compressions that Linux unpacks (`lib/decompress.c`), each stopping exactly at the end of one stream, because
//! reading goes on behind it.
//!
//! Only what Linux' own decoder reads is accepted; checksums that it skips (gzip, lzo) are verified here.

use std::fmt;
use std::io::{self, Read};

use liblzma::stream::Stream;

use super::pipe::{Output, Stop};
use super::{StreamFault, lz4, lzo};

/// How a segment is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// The format of LZMA utils, `.lzma`.
    Lzma,
    /// xz.
    Xz,
    /// lzop.
    Lzo,
    /// lz4, legacy format.
    Lz4,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// What Linux takes `bytes` for: it looks at two bytes (`compressed_formats`, lib/decompress.c).
    pub(super) fn detect(bytes: &[u8]) -> Option<Self> {
        Some(match bytes.get(..2)? {
            [0x1f, 0x8b | 0x9e] => Self::Gzip,
            [0x42, 0x5a] => Self::Bzip2,
            [0x5d, 0x00] => Self::Lzma,
            [0xfd, 0x37] => Self::Xz,
            [0x89, 0x4c] => Self::Lzo,
            [0x02, 0x21] => Self::Lz4,
            [0x28, 0xb5] => Self::Zstd,
            _ => return None,
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Decodes the stream at the start of `input` and returns how many bytes it takes.
pub(super) fn decode(
    compression: Compression,
    input: &[u8],
    window: u64,
    output: &mut Output<'_>,
) -> Result<usize, Stop> {
    match compression {
        Compression::None => unreachable!("an uncompressed segment is read in place"),
        Compression::Gzip => {
            check_gzip_header(input)?;
            pump(flate2::bufread::GzDecoder::new(input), input, output, |decoder| decoder.get_ref().len())
        }
        Compression::Bzip2 => {
            pump(bzip2::bufread::BzDecoder::new(input), input, output, |decoder| decoder.get_ref().len())
        }
        Compression::Lzma => lzma(Stream::new_lzma_decoder(window.saturating_add(LZMA_STATE)), input, output),
        Compression::Xz => {
            check_xz_header(input)?;
            lzma(Stream::new_stream_decoder(window.saturating_add(LZMA_STATE), 0), input, output)
        }
        Compression::Lzo => lzo::decode(input, output),
        Compression::Lz4 => lz4::decode(input, output),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input).map_err(damaged)?.single_frame();
            decoder.window_log_max(window.max(1).ilog2()).map_err(damaged)?;
            pump(decoder, input, output, |decoder| decoder.get_ref().len())
        }
    }
}

fn lzma(stream: Result<Stream, liblzma::stream::Error>, input: &[u8], output: &mut Output<'_>) -> Result<usize, Stop> {
    let stream = stream.map_err(|error| damaged(error.into()))?;
    pump(liblzma::bufread::XzDecoder::new_stream(input, stream), input, output, |decoder| decoder.get_ref().len())
}

/// Linux skips ten bytes and a file name (`__gunzip`, lib/decompress_inflate.c): with any other field it would decode
/// something else than we do.
fn check_gzip_header(input: &[u8]) -> Result<(), StreamFault> {
    const TEXT_AND_NAME: u8 = 0x01 | 0x08;
    match input {
        [0x1f, 0x8b, 8, flags, ..] if flags & !TEXT_AND_NAME == 0 => Ok(()),
        [0x1f, 0x8b, 8, _, ..] => Err(StreamFault::NotForLinux {
            detail: "its header has fields other than a file name; compress it with gzip -n",
        }),
        [0x1f, 0x8b, _, _, ..] | [0x1f, 0x9e, ..] => {
            Err(StreamFault::NotForLinux { detail: "an old method of compression; compress it with gzip -n" })
        }
        _ => Err(StreamFault::Truncated),
    }
}

/// Linux checks CRC32 or nothing (`dec_stream_header`, lib/xz/xz_dec_stream.c), and refuses other checks.
fn check_xz_header(input: &[u8]) -> Result<(), StreamFault> {
    match input.get(7) {
        Some(0 | 1) => Ok(()),
        Some(_) => Err(StreamFault::NotForLinux {
            detail: "its integrity check is not CRC32; compress it with xz --check=crc32",
        }),
        None => Err(StreamFault::Truncated),
    }
}

/// Decodes to the end. `left` says how much of the input a decoder has not consumed.
fn pump<D: Read>(
    mut decoder: D,
    input: &[u8],
    output: &mut Output<'_>,
    left: impl Fn(&D) -> usize,
) -> Result<usize, Stop> {
    loop {
        let mut buffer = output.buffer(CHUNK);
        let mut filled = 0;
        let end = loop {
            match decoder.read(&mut buffer[filled..]) {
                Ok(0) => break Some(Ok(())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(Err(damaged(error))),
            }
            if filled == buffer.len() {
                break None;
            }
        };
        buffer.truncate(filled);
        let consumed = input.len() - left(&decoder);
        output.send(buffer, consumed)?;
        match end {
            None => {}
            Some(Ok(())) => return Ok(consumed),
            Some(Err(fault)) => return Err(fault.into()),
        }
    }
}

fn damaged(error: io::Error) -> StreamFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => StreamFault::Truncated,
        _ => StreamFault::Damaged { detail: error.to_string() },
    }
}

/// Bytes handed over at once: large against the cost of a hand-over, small against a core's cache.
const CHUNK: usize = 256 << 10;
/// What liblzma needs besides the dictionary, rounded up (its documentation: about 32 KiB of state; 64 KiB of buffers).
const LZMA_STATE: u64 = 1 << 20;
