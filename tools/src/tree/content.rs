//! Reads and hashes the contents of files, each once, many at a time per thread.
//!
//! A processor hashes several streams side by side faster than one after the other, so each thread keeps as many files
//! open as that takes, and hashes equal stretches of them together ([`Hasher::update_many`]).

use std::iter;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use goldseal_cli::file_identity::FileIdentity;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use rayon::prelude::*;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, read, retry_on_intr};

use super::walk::FoundFile;
use super::{Progress, Reason, Scope};
use crate::hash::{self, BLOCK_LEN, Hasher};

/// The names of one inode, at least one.
#[derive(Debug)]
pub(super) struct Content<'a> {
    names: &'a [FoundFile],
    /// Whether its first bytes decide if it is listed.
    undecided: bool,
}

impl<'a> Content<'a> {
    pub(super) fn new(names: &'a [FoundFile], scope: Scope) -> Self {
        let undecided = scope == Scope::Code
            && !names.iter().any(|name| name.executable || is_module(name.host_path.as_os_str().as_bytes()));
        Self { names, undecided }
    }

    fn size(&self) -> u64 {
        self.names[0].size
    }
}

/// What became of one content.
#[derive(Debug)]
pub(super) enum Outcome {
    Hashed { digests: Vec<Digest>, bytes: u64 },
    NotCode,
    Failed(Reason),
}

/// Reads all `contents`; the outcomes stand in their order.
pub(super) fn hash_all(
    contents: &[Content<'_>],
    algorithms: &[HashAlgorithm],
    progress: &dyn Progress,
) -> Vec<Outcome> {
    progress.found(contents.len() as u64, contents.iter().map(Content::size).sum());
    // Large ones first, so that the threads end together; the others by inode, which suits disks that seek.
    let mut order: Vec<usize> = (0..contents.len()).collect();
    order.sort_by_key(|index| match contents[*index].size() {
        size @ LARGE.. => u64::MAX - size,
        _ => u64::MAX,
    });
    let threads = rayon::current_num_threads();
    let lanes = hash::lanes().min(MAX_OPEN / threads).max(1);
    let queue = Queue { contents, order, next: AtomicUsize::new(lanes * threads), algorithms, progress };
    let outcomes = rayon::broadcast(|thread| {
        // The first files are dealt out, so that no thread opens all the large ones before another is awake.
        let dealt = queue.order.iter().copied().skip(thread.index()).step_by(threads).take(lanes);
        work(&queue, dealt.chain(iter::from_fn(|| queue.next())), lanes)
    });
    let mut outcomes: Vec<(usize, Outcome)> = outcomes.into_iter().flatten().collect();
    outcomes.par_sort_unstable_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// From this size on, opening a file costs nothing beside hashing it.
const LARGE: u64 = 1 << 20;

/// Files open at once: half of what a process may have open by custom (getrlimit(2), RLIMIT_NOFILE of 1,024).
const MAX_OPEN: usize = 512;

struct Queue<'a> {
    contents: &'a [Content<'a>],
    order: Vec<usize>,
    next: AtomicUsize,
    algorithms: &'a [HashAlgorithm],
    progress: &'a dyn Progress,
}

impl Queue<'_> {
    fn next(&self) -> Option<usize> {
        self.order.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }
}

/// One thread's work: its lanes, until there are no more `files`.
fn work(queue: &Queue<'_>, mut files: impl Iterator<Item = usize>, lanes: usize) -> Vec<(usize, Outcome)> {
    let mut outcomes = Vec::new();
    let mut lanes: Vec<Lane> = iter::repeat_with(Lane::new).take(lanes).collect();
    loop {
        for lane in &mut lanes {
            lane.fill(queue, &mut files, &mut outcomes);
        }
        if lanes.iter().all(|lane| lane.file.is_none()) {
            return outcomes;
        }
        let share = lanes.iter().map(|lane| lane.buffer.blocks()).filter(|blocks| *blocks > 0).min().unwrap_or(0);
        Hasher::update_many(lanes.iter_mut().filter_map(|lane| {
            let file = lane.file.as_mut()?;
            Some((&mut file.hasher, lane.buffer.take(share)))
        }));
    }
}

/// One of the files a thread is reading, and what was read of it and is not hashed yet.
struct Lane {
    file: Option<OpenFile>,
    buffer: Buffer,
}

impl Lane {
    fn new() -> Self {
        Self { file: None, buffer: Buffer { bytes: vec![0; BUFFER_LEN], start: 0, end: 0 } }
    }

    /// Afterwards there are bytes to hash, or there is no file left to read.
    fn fill(
        &mut self,
        queue: &Queue<'_>,
        files: &mut impl Iterator<Item = usize>,
        outcomes: &mut Vec<(usize, Outcome)>,
    ) {
        while self.buffer.len() == 0 {
            let Some(mut file) = self.file.take() else {
                let Some(index) = files.next() else { return };
                self.open(index, Attempt::First, queue, outcomes);
                continue;
            };
            let outcome = match file.read(&mut self.buffer, queue) {
                Ok(Step::More) => {
                    self.file = Some(file);
                    continue;
                }
                Err(Reason::Changed) if file.attempt == Attempt::First => {
                    self.open(file.index, Attempt::Second, queue, outcomes);
                    continue;
                }
                Ok(Step::End) => Outcome::Hashed { bytes: file.count, digests: file.hasher.finish() },
                Ok(Step::NotCode) => Outcome::NotCode,
                Err(reason) => Outcome::Failed(reason),
            };
            queue.progress.content();
            outcomes.push((file.index, outcome));
        }
    }

    fn open(&mut self, index: usize, attempt: Attempt, queue: &Queue<'_>, outcomes: &mut Vec<(usize, Outcome)>) {
        match OpenFile::open(index, attempt, queue) {
            Ok(file) => self.file = Some(file),
            Err(reason) => outcomes.push((index, Outcome::Failed(reason))),
        }
    }
}

struct OpenFile {
    fd: OwnedFd,
    /// Index of its content.
    index: usize,
    attempt: Attempt,
    before: Snapshot,
    /// Bytes read.
    count: u64,
    hasher: Hasher,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Second,
}

enum Step {
    /// Bytes were read into the buffer.
    More,
    /// The file was read to its end and did not change.
    End,
    /// It does not begin as code does.
    NotCode,
}

impl OpenFile {
    fn open(index: usize, attempt: Attempt, queue: &Queue<'_>) -> Result<Self, Reason> {
        let names = queue.contents[index].names;
        // Should the name lead to something else by now: a FIFO must not block, a terminal must not become ours.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| open(&names[0].host_path, flags, Mode::empty())).map_err(|errno| match errno {
            Errno::LOOP => Reason::NotRegular,
            errno => unreadable(errno),
        })?;
        let before = Snapshot::of(&fd)?;
        // One name may have been replaced since the walk: then it is the new file that counts. Several names must
        // still be the inode that they all lead to.
        if names.len() > 1 && before.identity != names[0].identity {
            return Err(Reason::Changed);
        }
        Ok(Self { fd, index, attempt, before, count: 0, hasher: Hasher::new(queue.algorithms) })
    }

    fn read(&mut self, buffer: &mut Buffer, queue: &Queue<'_>) -> Result<Step, Reason> {
        // The size says where the end is; a file that claims to be empty is asked.
        if self.count == 0 || self.count < self.before.size {
            let is_start = self.count == 0;
            let bytes = buffer.read(&self.fd).map_err(unreadable)?;
            self.count += bytes.len() as u64;
            queue.progress.bytes(bytes.len() as u64);
            if is_start && queue.contents[self.index].undecided && !starts_as_code(bytes) {
                buffer.clear();
                return Ok(Step::NotCode);
            }
            if self.count > self.before.size {
                buffer.clear();
                return Err(Reason::Changed);
            }
            if buffer.len() > 0 {
                return Ok(Step::More);
            }
        }
        if self.count == self.before.size && Snapshot::of(&self.fd)? == self.before {
            Ok(Step::End)
        } else {
            Err(Reason::Changed)
        }
    }
}

/// What changes with the content of a file. A name that is taken from the inode changes its ctime.
#[derive(PartialEq, Eq)]
struct Snapshot {
    identity: FileIdentity,
    size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Snapshot {
    fn of(fd: &OwnedFd) -> Result<Self, Reason> {
        let status = fstat(fd).map_err(unreadable)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(Reason::NotRegular);
        }
        Ok(Self {
            identity: FileIdentity { device: status.st_dev, inode: status.st_ino },
            size: u64::try_from(status.st_size).map_err(|_| unreadable(Errno::OVERFLOW))?,
            modified: (status.st_mtime, status.st_mtime_nsec),
            changed: (status.st_ctime, status.st_ctime_nsec),
        })
    }
}

struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Fills the empty buffer with one read.
    fn read(&mut self, fd: &OwnedFd) -> Result<&[u8], Errno> {
        (self.start, self.end) = (0, retry_on_intr(|| read(fd, &mut self.bytes[..]))?);
        Ok(&self.bytes[..self.end])
    }

    /// Whole blocks that are left.
    fn blocks(&self) -> usize {
        self.len() / BLOCK_LEN
    }

    /// The next `blocks`, and with the last block what follows it, so that the hasher need not copy but at a file's end.
    fn take(&mut self, blocks: usize) -> &[u8] {
        let len = if blocks < self.blocks() { blocks * BLOCK_LEN } else { self.len() };
        self.start += len;
        &self.bytes[self.start - len..self.start]
    }
}

/// Large enough that a read costs little beside hashing what it read, small enough for the second-level cache to hold
/// those of all lanes.
const BUFFER_LEN: usize = 64 << 10;

/// The name of a kernel module, compressed or not (`modprobe`, kmod).
fn is_module(name: &[u8]) -> bool {
    [&b".ko"[..], b".ko.gz", b".ko.xz", b".ko.zst"].iter().any(|suffix| name.ends_with(suffix))
}

/// ELF (its specification, e_ident) or a script (`execve(2)`).
fn starts_as_code(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") || bytes.starts_with(b"#!")
}

fn unreadable(errno: Errno) -> Reason {
    Reason::Unreadable(errno.raw_os_error())
}
