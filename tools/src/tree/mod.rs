//! Reads folders and files of this machine: every regular file's path on the target machine, and its digests.
//!
//! A golden list must be complete, so whatever cannot be read, vanishes, or changes while it is read is an error that
//! names it, unless the caller asks to keep going and takes the gaps. A directory tree is hostile ground: only regular
//! files are opened, a symlink inside is never followed, and names are bytes.
//!
//! The result depends on the files alone: not on the number of threads, the order of directory entries or the order
//! in which files were read. Work is spread over the threads of the current rayon pool, the largest files first, so
//! that no large file is left for the end.
//!
//! What it does not promise: a snapshot. Each file is as it was when it was read; a change of content that leaves
//! size, mtime and ctime as they were (within the kernel's timestamp granularity, a few milliseconds) is not seen.

mod content;
mod walk;

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_cli::file_identity::FileIdentity;
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::path;
use rayon::prelude::*;
use rustix::io::Errno;

use crate::measured::MeasuredFile;
use content::{Content, Outcome};

/// Reads all files of all `sources`, in the current rayon pool.
///
/// 1. Walk the sources and list their regular files.
/// 2. Put the names of one inode together: its content is read once, however many names and sources lead to it.
/// 3. Read and hash the contents, the largest first, several at a time per thread.
/// 4. Give each name its digests, sorted; one path listed twice with the same digests is one file.
pub fn read(sources: &[Source], options: &Options<'_>, progress: &dyn Progress) -> Result<Tree, Error> {
    let mut found = walk::walk(sources, options);
    // Hours of reading are not spent on a list that is already known to be incomplete.
    refuse_gaps(&mut found.gaps, options)?;

    found
        .files
        .par_sort_unstable_by(|a, b| (a.identity, a.source, &a.host_path).cmp(&(b.identity, b.source, &b.host_path)));
    let contents: Vec<Content<'_>> =
        found.files.chunk_by(|a, b| a.identity == b.identity).map(|names| Content::new(names, options.scope)).collect();
    let outcomes = content::hash_all(&contents, options.algorithms, progress);
    drop(contents);

    let mut tree = Tree { counts: vec![Counts::default(); sources.len()], ..Tree::default() };
    let mut outcomes = outcomes.into_iter();
    let mut last: Option<(FileIdentity, Outcome)> = None;
    for file in found.files {
        if last.as_ref().is_none_or(|(identity, _)| *identity != file.identity) {
            last = Some((file.identity, outcomes.next().expect("one outcome per identity")));
        }
        let (_, outcome) = last.as_ref().expect("set above");
        let source = &sources[file.source];
        match outcome {
            Outcome::Hashed { digests, bytes } => {
                tree.counts[file.source].files += 1;
                tree.counts[file.source].bytes += bytes;
                tree.files.push(MeasuredFile { path: source.target_of(&file.host_path), digests: digests.clone() });
            }
            Outcome::NotCode => tree.not_code += 1,
            Outcome::Failed(reason) => found.gaps.push(Gap {
                path: source.target_of(&file.host_path),
                host_path: file.host_path,
                reason: *reason,
            }),
        }
    }
    refuse_gaps(&mut found.gaps, options)?;

    tree.files.par_sort_unstable_by(|a, b| (&a.path, &a.digests).cmp(&(&b.path, &b.digests)));
    tree.files.dedup();
    // Another source may have entered what this one did not.
    found.mount_points.retain(|path| sources.iter().all(|source| source.target != *path));
    tree.excluded = sorted(found.excluded);
    tree.skipped = sorted(found.skipped);
    tree.mount_points = sorted(found.mount_points);
    tree.lookalikes = sorted(found.lookalikes);
    tree.gaps = found.gaps;
    Ok(tree)
}

/// A folder or file of this machine, and where it stands on the target machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Absolute and without symlinks.
    dir: PathBuf,
    /// `/`, or canonical as [`path::is_canonical`] says.
    target: Vec<u8>,
    skip_volatile: bool,
}

impl Source {
    /// A folder or file that has the same path on the target. Its own symlinks are resolved, as the kernel logs paths:
    /// `/bin` becomes `/usr/bin` where it leads there. For `/`, the [`VOLATILE`] folders are skipped.
    pub fn path(path: &Path) -> Result<Self, Error> {
        let dir = resolve(path)?;
        let target = dir.as_os_str().as_bytes().to_vec();
        let skip_volatile = target == b"/";
        Self::new(dir, target, skip_volatile)
    }

    /// A folder that is the target's `/`. The [`VOLATILE`] folders in it are skipped.
    pub fn root(dir: &Path) -> Result<Self, Error> {
        Self::new(resolve(dir)?, b"/".to_vec(), true)
    }

    /// A folder or file that stands at `target` on the target.
    pub fn at(target: &[u8], dir: &Path) -> Result<Self, Error> {
        Self::new(resolve(dir)?, target.to_vec(), false)
    }

    fn new(dir: PathBuf, target: Vec<u8>, skip_volatile: bool) -> Result<Self, Error> {
        if target != b"/" && !path::is_canonical(&target) {
            return Err(Error::Target { target });
        }
        let kind = fs::metadata(&dir).map_err(|error| Error::Source { path: dir.clone(), errno: errno(&error) })?;
        match (kind.is_dir(), kind.is_file()) {
            (true, _) => {}
            (_, true) if target == b"/" => return Err(Error::NotAFolder { path: dir }),
            (_, true) => {}
            _ => return Err(Error::NotRegular { path: dir }),
        }
        Ok(Self { dir, target, skip_volatile })
    }

    /// The same, with the [`VOLATILE`] folders.
    #[must_use]
    pub fn with_volatile(self) -> Self {
        Self { skip_volatile: false, ..self }
    }

    /// The folder or file, its symlinks resolved.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it stands on the target.
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// The path on the target of `host_path`, which is `dir` or below it. It may be longer than an entry may be.
    fn target_of(&self, host_path: &Path) -> Vec<u8> {
        let below = host_path.strip_prefix(&self.dir).expect("a walk stays below its root").as_os_str().as_bytes();
        let mut target = Vec::with_capacity(self.target.len() + 1 + below.len());
        target.extend_from_slice(&self.target);
        if !below.is_empty() {
            if self.target != b"/" {
                target.push(b'/');
            }
            target.extend_from_slice(below);
        }
        target
    }
}

/// Folders directly below a root that hold nothing of its own: the kernel's file systems and what a boot leaves behind.
pub const VOLATILE: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];

/// How to read.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Each file gets one digest per algorithm, in this order.
    pub algorithms: &'a [HashAlgorithm],
    /// Which regular files to list.
    pub scope: Scope,
    /// Whether to enter other file systems mounted below a source.
    pub cross_filesystems: bool,
    /// Whether to return gaps instead of an error.
    pub keep_going: bool,
    /// Whether a path of the target is taken by an exclude. A folder taken is not entered.
    pub excluded: &'a (dyn Fn(&[u8]) -> bool + Sync),
    /// Files never to list: the output file.
    pub never: &'a [FileIdentity],
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("algorithms", &self.algorithms)
            .field("scope", &self.scope)
            .field("cross_filesystems", &self.cross_filesystems)
            .field("keep_going", &self.keep_going)
            .field("never", &self.never)
            .finish_non_exhaustive()
    }
}

/// Which regular files to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// What can run: any execute bit, ELF magic, `#!`, or a kernel module's name. (The execute bit alone would miss
    /// libraries and modules, which most distributions install without it.)
    Code,
}

/// Told about the reading, from many threads at once, often: it must be cheap.
pub trait Progress: Sync {
    /// The walk is over: so many contents of so many bytes are about to be read.
    fn found(&self, contents: u64, bytes: u64);
    /// So many more bytes were read.
    fn bytes(&self, count: u64);
    /// One more content was read to its end.
    fn content(&self);
}

/// Tells nobody.
impl Progress for () {
    fn found(&self, _: u64, _: u64) {}
    fn bytes(&self, _: u64) {}
    fn content(&self) {}
}

/// What was read. All paths are paths of the target; every list is sorted and names each thing once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// All files. A path occurs twice only if two sources gave it different digests.
    pub files: Vec<MeasuredFile>,
    /// Per source, in the order given.
    pub counts: Vec<Counts>,
    /// What the excludes took; a folder stands for everything below it.
    pub excluded: Vec<Vec<u8>>,
    /// The [`VOLATILE`] folders that were skipped.
    pub skipped: Vec<Vec<u8>>,
    /// Mount points that were not entered, by this or any other source.
    pub mount_points: Vec<Vec<u8>>,
    /// What is missing; empty unless the caller asked to keep going.
    pub gaps: Vec<Gap>,
    /// How many files were left out because they are not code.
    pub not_code: u64,
    /// Sources that are a file and look like an initramfs image, which is listed as a file here and not looked into.
    pub lookalikes: Vec<Vec<u8>>,
}

/// What one source held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Names listed.
    pub files: u64,
    /// The sum of their sizes; an inode counts under each of its names.
    pub bytes: u64,
}

/// Something that should be in the list and is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// On the target. Not canonical if the reason is [`Reason::PathTooLong`].
    pub path: Vec<u8>,
    /// On this machine.
    pub host_path: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// Why a file or folder could not be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The kernel refused to open or read it, or it is gone: the error number.
    Unreadable(i32),
    /// It changed while it was read, and again while it was read a second time.
    Changed,
    /// It is not a regular file any more.
    NotRegular,
    /// Its path on the target is longer than Linux can name ([`path::MAX_PATH_LEN`]).
    PathTooLong,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(number) => f.write_str(&input::reason(&std::io::Error::from_raw_os_error(*number))),
            Self::Changed => f.write_str("it changes while it is read"),
            Self::NotRegular => f.write_str("it stopped being a regular file"),
            Self::PathTooLong => write!(f, "its path is longer than {} bytes", path::MAX_PATH_LEN),
        }
    }
}

/// Why there is no tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A source does not exist or cannot be reached.
    Source {
        /// As given, or resolved.
        path: PathBuf,
        /// The kernel's reason.
        errno: Errno,
    },
    /// A source is neither a folder nor a regular file.
    NotRegular {
        /// Resolved.
        path: PathBuf,
    },
    /// A source is to be the target's `/` and is not a folder.
    NotAFolder {
        /// Resolved.
        path: PathBuf,
    },
    /// A path on the target is not canonical.
    Target {
        /// As given.
        target: Vec<u8>,
    },
    /// Files or folders could not be read.
    Incomplete {
        /// The one with the smallest path.
        first: Gap,
        /// How many others there are.
        others: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { path, errno } => write!(f, "{}: {errno}", Printable::path(path)),
            Self::NotRegular { path } => write!(f, "{} is neither a folder nor a regular file", Printable::path(path)),
            Self::NotAFolder { path } => write!(f, "{} is not a folder", Printable::path(path)),
            Self::Target { target } => write!(f, "{} is not a canonical absolute path", Printable(target)),
            Self::Incomplete { first, others } => {
                write!(f, "{}: {}", Printable::path(&first.host_path), first.reason)?;
                match others {
                    0 => Ok(()),
                    1 => f.write_str(", and 1 other could not be read"),
                    _ => write!(f, ", and {others} others could not be read"),
                }
            }
        }
    }
}

impl std::error::Error for Error {}

fn resolve(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|error| Error::Source { path: path.to_owned(), errno: errno(&error) })
}

fn errno(error: &std::io::Error) -> Errno {
    // Without a number it did not come from the kernel: a path with a NUL in it.
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

fn refuse_gaps(gaps: &mut Vec<Gap>, options: &Options<'_>) -> Result<(), Error> {
    gaps.sort_unstable();
    gaps.dedup();
    match gaps.first() {
        Some(first) if !options.keep_going => Err(Error::Incomplete { first: first.clone(), others: gaps.len() - 1 }),
        _ => Ok(()),
    }
}

fn sorted(mut paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    paths.sort_unstable();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests;
