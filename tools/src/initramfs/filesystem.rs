//! Files that hide files: file systems that an initramfs mounts from within itself.

use std::fmt;

/// A file system inside a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filesystem {
    /// squashfs, as dracut's squash module makes it.
    Squashfs,
    /// EROFS.
    Erofs,
    /// Unknown: the name says that it is one.
    ByName,
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::ByName => "by its name",
        })
    }
}

/// Looks at the first bytes of a file as they stream by.
#[derive(Debug)]
pub(super) struct Detector {
    head: Vec<u8>,
}

impl Detector {
    pub(super) fn new() -> Self {
        Self { head: Vec::with_capacity(HEAD_LEN) }
    }

    /// Forgets the file before.
    pub(super) fn restart(&mut self) {
        self.head.clear();
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let missing = HEAD_LEN - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
    }

    pub(super) fn found(&self) -> Option<Filesystem> {
        if self.head.starts_with(SQUASHFS_MAGIC) {
            Some(Filesystem::Squashfs)
        } else if self.head.get(EROFS_SUPERBLOCK..) == Some(EROFS_MAGIC) {
            Some(Filesystem::Erofs)
        } else {
            None
        }
    }
}

/// Whether dracut gives this name to the file system its squash module makes.
pub(super) fn named(path: &[u8]) -> Option<Filesystem> {
    NAMES.iter().any(|name| path.ends_with(name)).then_some(Filesystem::ByName)
}

/// `SQUASHFS_MAGIC`, little endian (include/uapi/linux/magic.h).
const SQUASHFS_MAGIC: &[u8] = b"hsqs";
/// `EROFS_SUPER_MAGIC_V1`, little endian, and `EROFS_SUPER_OFFSET` (fs/erofs/erofs_fs.h).
const EROFS_MAGIC: &[u8] = &[0xe2, 0xe1, 0xf5, 0xe0];
const EROFS_SUPERBLOCK: usize = 1024;
const HEAD_LEN: usize = EROFS_SUPERBLOCK + EROFS_MAGIC.len();
/// dracut modules.d/95squash-*, 99squash.
const NAMES: [&[u8]; 4] = [b"/squashfs-root.img", b"/squash-root.img", b"/squash/root.img", b"/erofs-root.img"];
