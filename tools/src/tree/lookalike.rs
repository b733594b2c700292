//! A file given as a path to list may have been meant as an image to look into.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the file holds a cpio archive, or is named like an initramfs and begins with a compression the kernel takes.
///
/// A hint for a warning: files that cannot be read are reported elsewhere.
pub(super) fn is_initramfs(file: &Path) -> bool {
    let mut start = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(6).read_to_end(&mut start));
    let name = file.file_name().unwrap_or_default().as_bytes().to_ascii_lowercase();
    let named = [&b"initrd"[..], b"initramfs"].iter().any(|word| name.windows(word.len()).any(|part| part == *word))
        || name.ends_with(b".img");
    read.is_ok()
        && (CPIO.iter().any(|magic| start == *magic) || named && COMPRESSED.iter().any(|m| start.starts_with(m)))
}

/// "New ASCII" cpio, without and with checksums (Documentation/driver-api/early-userspace/buffer-format.rst).
const CPIO: [&[u8; 6]; 2] = [b"070701", b"070702"];

/// gzip (two), bzip2, lzma, xz, lzo, lz4, zstd, as the kernel tells them apart (`compressed_formats`, lib/decompress.c).
const COMPRESSED: [[u8; 2]; 8] =
    [[0x1f, 0x8b], [0x1f, 0x9e], [0x42, 0x5a], [0x5d, 0x00], [0xfd, 0x37], [0x89, 0x4c], [0x02, 0x21], [0x28, 0xb5]];
