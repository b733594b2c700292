//! Telling an initramfs image from other files, for those who measure one as if it were any file.

use super::pipe::{Source, unpack};
use super::{Compression, Limits, StreamFault, cpio, lz4, uki};

/// How much of a file [`looks_like_initramfs`] wants to see: a bzip2 block decodes only as a whole and holds 900,000 bytes.
pub const HEAD_LEN: usize = 1 << 20;

/// Whether a file that begins with `head` is an initramfs image, or a UKI with one: a cpio archive, or something Linux
/// decompresses that begins like one. A compressed file of another kind is not.
pub fn looks_like_initramfs(head: &[u8]) -> bool {
    if uki::is_pe(head) {
        return uki::has_initrd(head);
    }
    let zeros = head.iter().take_while(|byte| **byte == 0).count();
    let rest = &head[zeros..];
    match Compression::detect(rest) {
        None => cpio::has_magic(rest),
        Some(Compression::Lz4) => lz4::first_literals(rest).is_some_and(cpio::has_magic),
        Some(compression) => {
            let limits = Limits::default();
            let (first, _) = unpack(compression, rest, &limits, limits.unpacked, &|_| {}, first_bytes);
            first.is_ok_and(|first| cpio::has_magic(&first))
        }
    }
}

/// As many bytes as the magic number of a record has, if there are so many.
fn first_bytes(source: &mut impl Source) -> Result<Vec<u8>, StreamFault> {
    let mut first = Vec::with_capacity(cpio::MAGIC_LEN);
    while first.len() < cpio::MAGIC_LEN {
        let chunk = source.chunk()?;
        let taken = chunk.len().min(cpio::MAGIC_LEN - first.len());
        if taken == 0 {
            break;
        }
        first.extend_from_slice(&chunk[..taken]);
        source.consume(taken);
    }
    Ok(first)
}
