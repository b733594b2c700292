//! Reading initramfs images as Linux unpacks them, without unpacking them.
//!
//! A golden list must hold what the kernel will measure, so this module follows the kernel's own rules
//! (`init/initramfs.c`, `lib/decompress_*.c`; Linux 6.1 and 6.12): segments of seven compressions and none, one behind
//! the other; hard links; names reached through symbolic links; later files over earlier ones. The tree exists only as a
//! model in memory (path → inode → digests); file contents are hashed while they stream by and nothing is ever written.
//!
//! What is promised: [`read`] returns exactly the regular files that Linux would leave in rootfs, or an error. What Linux
//! rejects is refused, and so is what it takes silently though something is missing or damaged: a truncated archive, a
//! wrong CRC, digits that are not hex.
//!
//! What is not: file systems inside files of the image are not read (a [`Warning`] names them), and what a boot loader or
//! a UKI's stub adds at boot (`/.extra`) cannot be known from the file. Linux can be built without some decompressors.

mod cpio;
mod decompress;
mod error;
mod filesystem;
mod lz4;
mod lzo;
mod pipe;
mod recognise;
mod rootfs;
mod segments;
#[cfg(test)]
mod tests;
mod uki;

use goldseal_verifier_core::digest::HashAlgorithm;

pub use decompress::Compression;
pub use error::{Error, Limit, Position, Skip, StreamFault, Warning};
pub use filesystem::Filesystem;
pub use recognise::{HEAD_LEN, looks_like_initramfs};

use crate::measured::MeasuredFile;
use segments::Unpacker;

/// Reads `image`: an initramfs image, or a unified kernel image (UKI) that carries one.
///
/// `progress` is called with the number of further bytes of `image` that are done, from any thread; in the end they add
/// up to its length.
pub fn read(
    image: &[u8],
    algorithms: &[HashAlgorithm],
    limits: &Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Unpacked, Error> {
    if image.is_empty() {
        return Err(Error::Empty);
    }
    let mut unpacker = Unpacker::new(algorithms, limits, progress);
    if uki::is_pe(image) {
        let sections = uki::initrds(image)?;
        let bytes: usize = sections.parts.iter().map(|(_, bytes)| bytes.len()).sum();
        progress(image.len().saturating_sub(bytes) as u64);
        unpacker.warnings.extend(sections.warning);
        for (offset, bytes) in sections.parts {
            unpacker.image(bytes, offset)?;
        }
    } else {
        unpacker.image(image, 0)?;
    }
    unpacker.finish()
}

/// What an image leaves in rootfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Every name of every regular file, sorted by path. A hard-linked file stands under each of its names.
    pub files: Vec<MeasuredFile>,
    /// The archives in the order of the image.
    pub segments: Vec<Segment>,
    /// What Linux skips without a word, and what a reader of the list should know.
    pub warnings: Vec<Warning>,
}

/// One archive of an image: a run of uncompressed records, or one compressed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the image.
    pub offset: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// Its length when unpacked, with the padding behind it.
    pub unpacked: u64,
    /// Its records, trailers included.
    pub entries: u64,
}

/// Bounds on what a hostile image can cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all compressed segments together may unpack to. 16 GiB: the kernel keeps them in memory, and the largest
    /// live images have some 3 GB.
    pub unpacked: u64,
    /// Segments. 4,096: four are normal, each costs a thread, and nobody writes so many files on a boot loader's line.
    pub segments: usize,
    /// Records of all segments. 2²¹: the two million entries a whitelist is made for.
    pub records: u64,
    /// Window of zstd and dictionary of xz and lzma. 128 MiB: what Linux' zstd accepts (`ZSTD_WINDOWSIZE_MAX`); the
    /// largest presets are `zstd --ultra -22` with 128 MiB and `xz -9` with 64.
    pub window: u64,
    /// Components looked up while names are resolved. 2²⁸: 128 for each record; names of real images have about 8.
    pub lookups: u64,
    /// Bytes of all resulting paths together. 512 MiB: twice a list of two million lines (234 MB).
    pub path_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked: 16 << 30,
            segments: 4_096,
            records: 1 << 21,
            window: 128 << 20,
            lookups: 1 << 28,
            path_bytes: 512 << 20,
        }
    }
}
