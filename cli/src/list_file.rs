//! Lists as files of this machine, read in two steps: the head, which is short in any file, and the rest.
//!
//! Promises: before the caller asks for the rest, at most [`MAX_HEAD_LEN`] bytes are read; the rest is read once into
//! one allocation, made only if a regular file is as long as its header says. Does not promise anything about
//! origin: between the two steps is where a seal is checked.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use goldseal_verifier_core::contents::{ContentsError, LoadError};
use goldseal_verifier_core::envelope::{Envelope, HeadError, MAX_HEAD_LEN};
use goldseal_verifier_core::header::Header;

use crate::failure::{Exit, Failure};
use crate::input;
use crate::printable::Printable;

/// A file of which only the first bytes were read.
#[derive(Debug)]
pub struct ListFile<R> {
    path: PathBuf,
    start: Vec<u8>,
    source: R,
    /// Of a regular file.
    len: Option<u64>,
}

impl ListFile<File> {
    /// Opens a file and reads the bytes that its head may have.
    ///
    /// # Errors
    /// `unreadable`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let (file, metadata) = input::open_file(path)?;
        Self::new(path, file, metadata.is_file().then_some(metadata.len()))
    }
}

impl<R: Read> ListFile<R> {
    /// The same from any source; `path` is what messages call it.
    ///
    /// # Errors
    /// `unreadable`.
    pub fn new(path: &Path, mut source: R, len: Option<u64>) -> Result<Self, Failure> {
        let mut start = Vec::with_capacity(MAX_HEAD_LEN);
        let read = source.by_ref().take(MAX_HEAD_LEN as u64).read_to_end(&mut start);
        read.map_err(|error| input::cannot_read(path, &error))?;
        Ok(Self { path: path.to_owned(), start, source, len })
    }

    /// The head, and what follows it, still unread.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn head(self) -> Result<(Envelope, Rest<R>), HeadError> {
        let Self { path, mut start, source, len } = self;
        let (envelope, head_len) = Envelope::parse(&start)?;
        start.drain(..head_len);
        let len = len.map(|len| len.saturating_sub(head_len as u64));
        Ok((envelope, Rest { path, start, source, len }))
    }
}

/// What follows the head of a file.
#[derive(Debug)]
pub struct Rest<R> {
    path: PathBuf,
    start: Vec<u8>,
    source: R,
    len: Option<u64>,
}

impl<R: Read> Rest<R> {
    /// All of it, if that is at most `limit` bytes.
    ///
    /// # Errors
    /// `unreadable`, or `malformed` if it is larger.
    pub fn bytes(self, limit: u64) -> Result<Vec<u8>, Failure> {
        let Self { path, start, source, .. } = self;
        let mut bytes = Vec::new();
        input::read_bounded(io::Cursor::new(start).chain(source), &path, limit, &mut bytes)?;
        Ok(bytes)
    }

    /// Lets `load` read it, once it is known to be as long as the header says and to fit into memory.
    ///
    /// # Errors
    /// `unreadable` (exit 3); what is wrong with the list has the exit code given.
    pub fn load<T>(
        self,
        header: &Header,
        exit: Exit,
        load: impl FnOnce(&mut dyn Read) -> Result<T, LoadError>,
    ) -> Result<T, Failure> {
        let Self { path, start, source, len } = self;
        let expected = header.body_len();
        if let Some(found) = len.filter(|found| *found != expected) {
            return Err(bad_contents(&path, exit, &ContentsError::Length { expected, found }));
        }
        // Asked for and given back: an allocation that failed later would end the process without a word.
        let mut probe: Vec<u8> = Vec::new();
        usize::try_from(expected).ok().and_then(|room| probe.try_reserve_exact(room).ok()).ok_or_else(|| {
            Failure::unreadable(
                format!("{} needs {expected} bytes of memory, and there are not as many", Printable::path(&path)),
                "use a machine with more memory",
            )
        })?;
        drop(probe);
        load(&mut io::Cursor::new(start).chain(source)).map_err(|error| match error {
            LoadError::Contents(error) => bad_contents(&path, exit, &error),
            LoadError::Read(error) => input::cannot_read(&path, &error),
            error => malformed(&path, exit, &error),
        })
    }
}

/// A file that was read and is not a list in its one encoding.
pub fn malformed(path: &Path, exit: Exit, error: &dyn fmt::Display) -> Failure {
    refusal(
        path,
        exit,
        "malformed",
        error,
        "check that the right file was named, and get it again from where it was made",
    )
}

/// A list of another kind.
pub fn wrong_type(path: &Path, exit: Exit, error: &dyn fmt::Display) -> Failure {
    refusal(path, exit, "wrong-type", error, "name a whitelist; for a trust root: goldseal trust show FILE")
}

/// Sections that do not belong to the header, or are not in their one encoding.
pub fn bad_contents(path: &Path, exit: Exit, error: &ContentsError) -> Failure {
    match error {
        ContentsError::Length { .. } | ContentsError::Tampered(_) => refusal(
            path,
            exit,
            "tampered",
            error,
            "it was changed or not copied completely: do not use it, and get it again from where it was made",
        ),
        error => malformed(path, exit, error),
    }
}

fn refusal(path: &Path, exit: Exit, reason: &'static str, error: &dyn fmt::Display, todo: &str) -> Failure {
    Failure::new(exit, reason, format!("{}: {error}", Printable::path(path)), todo)
}
