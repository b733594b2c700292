//! The kernel's measurement lists, read so that what is new costs only what is new, and nothing is held that need not
//! be.
//!
//! securityfs makes the text anew for every reader (`seq_file`): a read returns a page at most and walks the kernel's
//! list up to where it stands, and a read that does not go on where the last one through the same descriptor ended
//! makes the kernel write everything before it once more (`seq_read_iter` and `traverse` in `fs/seq_file.c`).
//! Therefore:
//!
//! - one descriptor stays at the end. Before each answer it reads what is new, and an index notes where entries
//!   begin;
//! - the last `RECENT` bytes are kept, so that a verifier that was here before is served from memory;
//! - whoever starts earlier gets one of `READERS` descriptors, all of them opened at the start, when the agent may
//!   still open them, and reads on with it.
//!
//! An answer is a [`Snapshot`]: entries from one on to the last that was complete when it was taken. The list may grow
//! meanwhile; it only grows within a boot, and a boot is longer than an agent lives.

mod index;
mod readers;
mod snapshot;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldseal_verifier_core::ima::entry::ByteOrder;
use goldseal_verifier_core::ima::list::{Limits, ListError};
use tokio::sync::Mutex;

pub use self::snapshot::Snapshot;

use self::index::{Index, Position};
use self::readers::Readers;

/// Where the kernel shows the binary list: one entry after the other, with SHA-1 template hashes.
pub const BINARY: &str = "/sys/kernel/security/ima/binary_runtime_measurements";

/// Where it shows the ASCII list.
pub const ASCII: &str = "/sys/kernel/security/ima/ascii_runtime_measurements";

/// Bytes at the end of the list that are kept: some hundred entries, more than a busy machine adds between two polls.
const RECENT: usize = 64 << 10;

/// Descriptors for those who start earlier: so many lists are under way at once, the others wait.
const READERS: usize = 4;

/// Bytes that are read in one go: what passes through memory for each list under way.
const PIECE: usize = 32 << 10;

/// The longest list, which a verifier would not read either.
const MAX_LIST: usize = Limits::DEFAULT.bytes;

/// How a list is written, and thus how its entries are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Entry by entry.
    Binary,
    /// By lines, as Keylime counts: an entry with LF in its name is several.
    Ascii,
}

/// One list of the kernel. Clones are the same list.
#[derive(Clone, Debug)]
pub struct List(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    readers: Readers,
    known: Mutex<Known>,
}

/// The list as far as it was read.
#[derive(Debug)]
struct Known {
    /// Stays at the end.
    file: File,
    index: Index,
    /// The last bytes that were read; of an entry that is not complete, too.
    recent: Vec<u8>,
    /// Bytes that were read.
    len: usize,
    /// What is no entry stays none.
    malformed: Option<ListError>,
}

impl List {
    /// Opens a list as often as it will ever be needed. Nothing is read yet.
    ///
    /// # Errors
    /// [`ListReadError::Open`].
    pub fn open(path: &Path, form: Form) -> Result<Self, ListReadError> {
        let open =
            || File::open(path).map_err(|error| ListReadError::Open { path: path.to_owned(), kind: error.kind() });
        let known = Known { file: open()?, index: Index::new(form), recent: Vec::new(), len: 0, malformed: None };
        let readers = (0..READERS).map(|_| open()).collect::<Result<Vec<File>, ListReadError>>()?;
        Ok(Self(Arc::new(Inner { path: path.to_owned(), readers: Readers::new(readers), known: Mutex::new(known) })))
    }

    /// The list from this entry on, or from 0 if it has not as many; exactly as many are an empty answer.
    ///
    /// # Errors
    /// [`ListReadError`].
    pub async fn from(&self, entry: u64) -> Result<Snapshot, ListReadError> {
        let mut known = self.0.known.lock().await;
        known.read_on(&self.0.path).await?;
        let total = known.index.entries();
        let first = if entry <= total { entry } else { 0 };
        let taken = Taken { first, end: known.index.end(), order: known.index.byte_order() };
        if first == total {
            return Ok(Snapshot::of_bytes(taken, Vec::new()));
        }
        let near = known.index.before(first);
        if let Some(bytes) = known.recent_from(near.offset, taken.end) {
            let skipped = near.skip_to(first, &bytes);
            return Ok(Snapshot::of_bytes(taken, bytes.get(skipped..).unwrap_or_default().to_vec()));
        }
        // Others may go on while this one reads, or waits for its turn.
        drop(known);
        let reader = self.0.readers.take(near.offset).await;
        Snapshot::read(taken, near, reader, self.0.path.clone())
    }
}

/// What a snapshot is of.
#[derive(Clone, Copy, Debug)]
struct Taken {
    first: u64,
    /// Offset at which the last complete entry ends.
    end: usize,
    order: Option<ByteOrder>,
}

impl Known {
    /// Reads what is new.
    async fn read_on(&mut self, path: &Path) -> Result<(), ListReadError> {
        let mut piece = vec![0; PIECE];
        let mut since_yield = 0;
        loop {
            if let Some(error) = self.malformed {
                return Err(ListReadError::Malformed { path: path.to_owned(), error });
            }
            let count = read_at(&self.file, &mut piece, self.len, path)?;
            if count == 0 {
                return Ok(());
            }
            self.take(piece.get(..count).unwrap_or_default());
            if self.len > MAX_LIST {
                return Err(ListReadError::TooLong { path: path.to_owned() });
            }
            since_yield += count;
            if since_yield >= PIECE {
                // A long list is read in between other work.
                since_yield = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.recent.extend_from_slice(bytes);
        self.len += bytes.len();
        if self.recent.len() >= 2 * RECENT {
            self.recent.drain(..self.recent.len() - RECENT);
        }
        self.malformed = self.index.read(bytes).err();
    }

    /// The bytes from one offset to another, if all are kept.
    fn recent_from(&self, from: usize, to: usize) -> Option<Vec<u8>> {
        let kept_from = self.len - self.recent.len();
        let range = from.checked_sub(kept_from)?..to.checked_sub(kept_from)?;
        self.recent.get(range).map(<[u8]>::to_vec)
    }
}

impl Position {
    /// How many of these bytes, which begin here, are before entry `first`.
    fn skip_to(mut self, first: u64, bytes: &[u8]) -> usize {
        let start = self.offset;
        let mut rest = bytes;
        while self.entries < first && self.next_end(&mut rest) == Ok(true) {}
        self.offset - start
    }
}

/// Reads once; at the end of the list nothing.
fn read_at(file: &File, piece: &mut [u8], offset: usize, path: &Path) -> Result<usize, ListReadError> {
    loop {
        match file.read_at(piece, offset as u64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ListReadError::Read { path: path.to_owned(), kind: error.kind() }),
            Ok(count) => return Ok(count),
        }
    }
}

/// Why a list cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListReadError {
    /// It cannot be opened.
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// It cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// It is no measurement list.
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        error: ListError,
    },
    /// It is longer than anybody reads.
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It was longer before.
    Shrunk {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for ListReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, kind } => {
                write!(f, "{}: {kind}\nmount securityfs, run as root, and see that the kernel has IMA", path.display())
            }
            Self::Read { path, kind } => write!(f, "{}: {kind}\nsee what the kernel's log says", path.display()),
            Self::Malformed { path, error } => {
                write!(f, "{}: {error}\nname the kernel's own list in the configuration", path.display())
            }
            Self::TooLong { path } => write!(
                f,
                "{}: longer than {MAX_LIST} bytes\nmeasure less by the ima_policy, and boot again",
                path.display()
            ),
            Self::Shrunk { path } => write!(
                f,
                "{}: shorter than it was\nname the kernel's own list in the configuration, which only grows",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ListReadError {}

#[cfg(test)]
mod tests;
