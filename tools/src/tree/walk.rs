//! Lists the regular files of the sources, without opening any but a source that is a file itself.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_cli::file_identity::FileIdentity;
use goldseal_verifier_core::path;
use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxAttributes, StatxFlags, makedev, statx};
use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use super::{Gap, Options, Reason, Source, VOLATILE, errno};
use crate::initramfs;

/// What the sources hold, in no particular order; paths are paths of the target unless they say otherwise.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<FoundFile>,
    pub(super) excluded: Vec<Vec<u8>>,
    pub(super) skipped: Vec<Vec<u8>>,
    pub(super) mount_points: Vec<Vec<u8>>,
    pub(super) gaps: Vec<Gap>,
    pub(super) lookalikes: Vec<Vec<u8>>,
}

/// One name of a regular file.
#[derive(Debug)]
pub(super) struct FoundFile {
    /// Index into the sources.
    pub(super) source: usize,
    pub(super) host_path: PathBuf,
    pub(super) identity: FileIdentity,
    pub(super) size: u64,
    /// Any execute bit.
    pub(super) executable: bool,
}

pub(super) fn walk(sources: &[Source], options: &Options<'_>) -> Found {
    let mut found = Found::default();
    for (index, source) in sources.iter().enumerate() {
        let device = match status(&source.dir) {
            Ok(status) => identity(&status).device,
            Err(reason) => {
                found.gap(source, &source.dir, reason);
                continue;
            }
        };
        let names = found.folders(source, device, options);
        let files = names.into_par_iter().filter_map(|name| examine(name, index, source, device, options));
        for file in files.collect::<Vec<_>>() {
            match file {
                Examined::File(file) => {
                    if file.host_path == source.dir && is_initramfs(&file.host_path) {
                        found.lookalikes.push(source.target.clone());
                    }
                    found.files.push(file);
                }
                Examined::Excluded(path) => found.excluded.push(path),
                Examined::MountPoint(path) => found.mount_points.push(path),
                Examined::Gap(host_path, reason) => found.gap(source, &host_path, reason),
            }
        }
    }
    found
}

impl Found {
    /// Walks the folders of one source and returns the names in them that the directory calls regular files.
    fn folders(&mut self, source: &Source, device: u64, options: &Options<'_>) -> Vec<PathBuf> {
        let mut names = Vec::new();
        let mut entries = WalkDir::new(&source.dir).follow_links(false).into_iter();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    // Only a loop of followed links has no I/O error, and none is followed.
                    let reason = error.io_error().map_or(Errno::LOOP, errno);
                    self.gap(source, error.path().unwrap_or(&source.dir), Reason::Unreadable(reason.raw_os_error()));
                    continue;
                }
            };
            if entry.file_type().is_file() {
                names.push(entry.into_path());
            } else if entry.file_type().is_dir() {
                let path = source.target_of(entry.path());
                if source.skip_volatile && is_volatile(&entry) {
                    self.skipped.push(path);
                } else if (options.excluded)(&path) {
                    self.excluded.push(path);
                } else {
                    match status(entry.path()) {
                        Ok(status) if options.cross_filesystems || identity(&status).device == device => continue,
                        Ok(_) => self.mount_points.push(path),
                        Err(reason) => self.gap(source, entry.path(), reason),
                    }
                }
                entries.skip_current_dir();
            }
        }
        names
    }

    fn gap(&mut self, source: &Source, host_path: &Path, reason: Reason) {
        self.gaps.push(Gap { path: source.target_of(host_path), host_path: host_path.to_owned(), reason });
    }
}

enum Examined {
    File(FoundFile),
    Excluded(Vec<u8>),
    MountPoint(Vec<u8>),
    Gap(PathBuf, Reason),
}

/// `None`: it is the caller's own file, or not a regular file after all.
fn examine(
    host_path: PathBuf,
    source_index: usize,
    source: &Source,
    device: u64,
    options: &Options<'_>,
) -> Option<Examined> {
    let path = source.target_of(&host_path);
    if (options.excluded)(&path) {
        return Some(Examined::Excluded(path));
    }
    if !path::is_canonical(&path) {
        return Some(Examined::Gap(host_path, Reason::PathTooLong));
    }
    let status = match status(&host_path) {
        Ok(status) => status,
        Err(reason) => return Some(Examined::Gap(host_path, reason)),
    };
    if FileType::from_raw_mode(status.stx_mode.into()) != FileType::RegularFile {
        return None;
    }
    let identity = identity(&status);
    if options.never.contains(&identity) {
        return None;
    }
    // A union file system may give its files other device numbers than its folders, so the number alone says nothing.
    if identity.device != device
        && !options.cross_filesystems
        && status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    {
        return Some(Examined::MountPoint(path));
    }
    let executable = status.stx_mode & 0o111 != 0;
    Some(Examined::File(FoundFile { source: source_index, host_path, identity, size: status.stx_size, executable }))
}

fn is_volatile(entry: &DirEntry) -> bool {
    entry.depth() == 1 && VOLATILE.iter().any(|name| name.as_bytes() == entry.file_name().as_bytes())
}

fn status(path: &Path) -> Result<Statx, Reason> {
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
        .map_err(|errno| Reason::Unreadable(errno.raw_os_error()))
}

fn identity(status: &Statx) -> FileIdentity {
    FileIdentity { device: makedev(status.stx_dev_major, status.stx_dev_minor), inode: status.stx_ino }
}

/// A file given as a source may have been meant as an image to look into. A hint for a warning: files that cannot be read
/// are reported elsewhere.
fn is_initramfs(file: &Path) -> bool {
    let mut head = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(initramfs::HEAD_LEN as u64).read_to_end(&mut head));
    read.is_ok() && initramfs::looks_like_initramfs(&head)
}
