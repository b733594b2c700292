//! Reading the files named on the command line, and saying in two lines what is wrong with one.
//!
//! Promises: at most `limit` bytes are held, whatever the file is, and a folder is never mistaken for a file. Pipes are
//! read like files, so that `<(…)` works; who must not wait for a writer opens the file itself (seal keys do). Does
//! not promise that the file stays as it was read.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use crate::failure::Failure;
use crate::printable::Printable;

/// Reads a file that must hold something and at most `limit` bytes.
///
/// # Errors
/// `unreadable` if it is missing, a folder, or not permitted; `malformed` if it is empty or larger.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let bytes = read_file_or_empty(path, limit)?;
    if bytes.is_empty() { Err(empty(path)) } else { Ok(bytes) }
}

/// Reads a file of at most `limit` bytes; an empty one is no error.
///
/// # Errors
/// As [`read_file`].
pub fn read_file_or_empty(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let (file, metadata) = open_file(path)?;
    if metadata.is_file() && metadata.len() > limit {
        return Err(too_large(path, limit));
    }
    if metadata.is_file() && (SHARED_READ..=limit).contains(&metadata.len()) {
        return read_shared(&file, metadata.len()).map_err(|error| cannot_read(path, &error));
    }
    let mut bytes = Vec::with_capacity(capacity(metadata.len(), limit));
    read_bounded(file, path, limit, &mut bytes)?;
    Ok(bytes)
}

/// From this length on, a file is read by several threads: most of the time goes into new pages of memory, which they
/// share.
const SHARED_READ: u64 = 4 << 20;

/// Reads a file as long as it said it is. One that is shorter by now is an error; what was appended is not seen.
fn read_shared(file: &File, len: u64) -> io::Result<Vec<u8>> {
    const SHARE: usize = 1 << 20;
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?];
    let shares = bytes.par_chunks_mut(SHARE).enumerate();
    shares.try_for_each(|(index, share)| file.read_exact_at(share, (index * SHARE) as u64))?;
    Ok(bytes)
}

/// Opens a file for reading as a stream. A folder is an error; pipes and devices are not.
///
/// # Errors
/// `unreadable`.
pub fn open_file(path: &Path) -> Result<(File, Metadata), Failure> {
    let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    let metadata = file.metadata().map_err(|error| cannot_read(path, &error))?;
    if metadata.is_dir() {
        return Err(is_folder(path));
    }
    Ok((file, metadata))
}

/// Appends what `source` holds to `bytes`, which should have room for it (see [`capacity`]): secrets must not be copied
/// about by a growing vector.
pub fn read_bounded(source: impl Read, path: &Path, limit: u64, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    // One byte more than allowed tells "too large" from "just fits".
    let read = source.take(limit.saturating_add(1)).read_to_end(bytes);
    let read = read.map_err(|error| cannot_read(path, &error))?;
    if u64::try_from(read).is_ok_and(|read| read <= limit) {
        return Ok(());
    }
    Err(too_large(path, limit))
}

fn too_large(path: &Path, limit: u64) -> Failure {
    Failure::malformed(
        format!("{} is larger than {limit} bytes", Printable::path(path)),
        "no such file needs more; check that the right file was named",
    )
}

/// How much room to reserve for a file that says it has `len` bytes: never more than is allowed, and one byte so that
/// the end is seen without growing.
pub fn capacity(len: u64, limit: u64) -> usize {
    usize::try_from(len.min(limit).saturating_add(1)).unwrap_or(0)
}

pub fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    let name = Printable::path(path);
    match error.kind() {
        io::ErrorKind::NotFound => Failure::unreadable(format!("{name} does not exist"), "check the name"),
        io::ErrorKind::PermissionDenied => Failure::unreadable(
            format!("you are not permitted to read {name}"),
            format!("look at its owner and mode: ls -l {name}"),
        ),
        io::ErrorKind::IsADirectory => is_folder(path),
        io::ErrorKind::NotADirectory => Failure::unreadable(
            format!("{name} does not exist: a part of its path is a file, not a folder"),
            "check the name",
        ),
        _ => Failure::unreadable(
            format!("{name} cannot be read: {}", reason(error)),
            "check the file and the disk that holds it",
        ),
    }
}

pub fn is_folder(path: &Path) -> Failure {
    Failure::unreadable(format!("{} is a folder", Printable::path(path)), "name a file")
}

pub fn empty(path: &Path) -> Failure {
    Failure::malformed(
        format!("{} is empty", Printable::path(path)),
        "check that it was copied completely, and that the right file was named",
    )
}

/// The system's words for an error, without the number that Rust appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::tempdir;

    use super::*;
    use crate::failure::Exit;

    fn refused(path: &Path, limit: u64) -> Failure {
        let failure = read_file(path, limit).expect_err("must be refused");
        assert_eq!(failure.exit, Exit::Input);
        failure
    }

    #[test]
    fn a_long_file_is_read_as_one() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("image");
        let bytes: Vec<u8> = (0..SHARED_READ as u32 / 4 + 1).flat_map(u32::to_le_bytes).collect();
        fs::write(&path, &bytes).unwrap();
        assert!(read_file(&path, u64::MAX).unwrap() == bytes);
        let failure = refused(&path, SHARED_READ);
        assert!(failure.what.ends_with("image is larger than 4194304 bytes"), "{failure}");
    }

    #[test]
    fn reads_up_to_the_limit_and_no_further() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, b"12345678").unwrap();
        assert_eq!(read_file(&path, 8).unwrap(), b"12345678");
        let failure = refused(&path, 7);
        assert_eq!(failure.reason, "malformed");
        assert!(failure.what.ends_with("list is larger than 7 bytes"), "{failure}");
    }

    #[test]
    fn an_endless_device_is_too_large() {
        assert!(refused(Path::new("/dev/zero"), 4096).what.contains("larger"));
    }

    #[test]
    fn an_empty_file_is_refused_only_where_it_must_hold_something() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("empty");
        fs::write(&path, b"").unwrap();
        assert!(refused(&path, 8).what.ends_with("empty is empty"));
        assert_eq!(read_file_or_empty(&path, 8).unwrap(), b"");
    }

    #[test]
    fn says_what_is_wrong_with_the_name() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"x").unwrap();
        assert!(refused(&folder.path().join("mis\u{1b}sing"), 8).what.ends_with("mis\\x1bsing does not exist"));
        assert!(refused(folder.path(), 8).what.ends_with("is a folder"));
        assert!(refused(&file.join("below"), 8).what.contains("not a folder"));
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(refused(&socket, 8).what.ends_with("cannot be read: no such device or address"));
    }

    /// What the shell's `<(…)` hands over.
    #[test]
    fn a_pipe_is_read_like_a_file() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let writer = thread::spawn({
            let path = path.clone();
            move || fs::write(path, b"from a pipe").unwrap()
        });
        assert_eq!(read_file(&path, 64).unwrap(), b"from a pipe");
        writer.join().unwrap();
    }
}
