//! Writing files so that nothing is ever half-written.
//!
//! A file is written without a name (`O_TMPFILE`), synced, and only then named: whatever kills the process before
//! leaves nothing at all behind. Where the file system has no unnamed files (FAT, NFS), it is written beside its
//! target under a name of its own, which is removed on failure and on Ctrl-C.
//!
//! Promises: the target is the old file or the complete new one at every moment, also after a power cut; an existing
//! file keeps its mode; a symbolic link is followed as the shell's `>` would. Does not promise to keep the owner of a
//! file replaced, and cannot promise any of this for pipes and devices (`-o -`, /dev/stdout), which are written through.

mod interrupt;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use zeroize::Zeroize;

use self::interrupt::Temporary;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::printable::Printable;

/// What `-o` names: a file, written atomically, or a stream, written through.
#[derive(Debug)]
pub enum Output {
    /// A file that appears, complete, when the writing has succeeded.
    File(AtomicFile),
    /// Standard output (`-`), a pipe or a device.
    Stream(Stream),
}

impl Output {
    /// Checks that `path` can be written, before the work begins, and changes nothing that has a name.
    ///
    /// # Errors
    /// `unwritable`: no such folder, not permitted, a folder itself.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let file = io::stdout().as_fd().try_clone_to_owned().map_err(|error| cannot_write(path, &error))?;
            return Ok(Self::Stream(Stream { name: PathBuf::from("standard output"), file: file.into() }));
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.file_type().is_char_device() || metadata.file_type().is_fifo() => {
                let file = OpenOptions::new().write(true).open(path);
                let file = file.map_err(|error| cannot_write(path, &error))?;
                Ok(Self::Stream(Stream { name: path.to_owned(), file }))
            }
            _ => AtomicFile::create(path).map(Self::File),
        }
    }

    /// Writes what `fill` writes; a file is then put in place, replacing the one there was.
    ///
    /// # Errors
    /// `unwritable`; the target is as it was.
    pub fn finish(self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.fill(fill)?.replace(),
            Self::Stream(Stream { name, file }) => write_all(&file, fill).map_err(|error| cannot_write(&name, &error)),
        }
    }
}

/// An open stream; made by [`Output::create`] alone.
#[derive(Debug)]
pub struct Stream {
    name: PathBuf,
    file: File,
}

/// A file being written, still without its name. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: Option<Temporary>,
    target: Target,
}

#[derive(Debug)]
struct Target {
    path: PathBuf,
    folder: PathBuf,
    /// The mode of the file that stands there now.
    replaced_mode: Option<u32>,
}

impl AtomicFile {
    /// Begins a file that will have the usual mode (0666 without the umask's bits), or that of the file it replaces.
    ///
    /// # Errors
    /// As [`Output::create`].
    pub fn create(path: &Path) -> Result<Self, Failure> {
        Self::create_with_mode(path, 0o666)
    }

    /// Begins a file of another mode; the umask's bits are taken off here too.
    ///
    /// # Errors
    /// As [`Output::create`].
    pub fn create_with_mode(path: &Path, mode: u32) -> Result<Self, Failure> {
        let target = Target::find(path)?;
        let (file, temporary) = open_temporary(&target.folder, Mode::from_raw_mode(mode))
            .map_err(|error| cannot_write(&target.path, &error))?;
        Ok(Self { file, temporary, target })
    }

    /// Device and inode, by which a walk over the same folder knows this file and leaves it out.
    ///
    /// # Errors
    /// `unwritable`, if the file cannot even be looked at.
    pub fn identity(&self) -> Result<(u64, u64), Failure> {
        let metadata = self.file.metadata().map_err(|error| cannot_write(&self.target.path, &error))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Writes what `fill` writes and brings it to the disk.
    ///
    /// # Errors
    /// `unwritable`; nothing is left behind.
    pub fn fill(self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<FilledFile, Failure> {
        write_all(&self.file, fill)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| cannot_write(&self.target.path, &error))?;
        Ok(FilledFile(self))
    }
}

/// A file that is complete and on the disk, and lacks only its name. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct FilledFile(AtomicFile);

impl FilledFile {
    /// The mode that the file really has: some file systems know no modes.
    ///
    /// # Errors
    /// `unwritable`.
    pub fn mode(&self) -> Result<u32, Failure> {
        let metadata = self.0.file.metadata().map_err(|error| cannot_write(&self.0.target.path, &error))?;
        Ok(metadata.permissions().mode() & 0o777)
    }

    /// Gives the file its name, in place of the file that has it now.
    ///
    /// # Errors
    /// `unwritable`; the target is as it was.
    pub fn replace(self) -> Result<(), Failure> {
        let AtomicFile { file, temporary, target } = self.0;
        let place = || {
            if let Some(mode) = target.replaced_mode {
                file.set_permissions(fs::Permissions::from_mode(mode))?;
            }
            // Only rename(2) replaces, and only what has a name.
            let temporary = match temporary {
                Some(temporary) => temporary,
                None => Temporary::make(&target.folder, |path| name_unnamed(&file, path))?.0,
            };
            temporary.settle(|path| fs::rename(path, &target.path))
        };
        place().map_err(|error: io::Error| cannot_write(&target.path, &error))?;
        target.sync_folder()
    }

    /// Gives the file its name unless that name is taken, by whatever.
    ///
    /// # Errors
    /// `exists` (exit 2), or `unwritable`; the target is as it was.
    pub fn place_new(self) -> Result<(), Failure> {
        let AtomicFile { file, temporary, target } = self.0;
        let placed = match temporary {
            None => name_unnamed(&file, &target.path),
            Some(temporary) => temporary.settle(|path| rename_new(path, &target.path)),
        };
        placed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&target.path),
            _ => cannot_write(&target.path, &error),
        })?;
        target.sync_folder()
    }
}

impl Target {
    fn find(path: &Path) -> Result<Self, Failure> {
        let path = match fs::symlink_metadata(path) {
            // The kernel decides whether this link may be followed (fs.protected_symlinks), not we.
            Ok(metadata) if metadata.is_symlink() => {
                fs::metadata(path).and_then(|_| fs::canonicalize(path)).map_err(|error| cannot_write(path, &error))?
            }
            _ => path.to_owned(),
        };
        // `out/` has a file name for `Path`, but means a folder.
        if path.file_name().is_none() || path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(is_folder(&path));
        }
        let replaced_mode = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Some(metadata.permissions().mode() & 0o777),
            Ok(metadata) if metadata.is_dir() => return Err(is_folder(&path)),
            Ok(_) => {
                return Err(unwritable(
                    format!("{} is neither a file nor a pipe", Printable::path(&path)),
                    "name a file: -o FILE",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot_write(&path, &error)),
        };
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { path, folder, replaced_mode })
    }

    /// The name, too, survives a power cut.
    fn sync_folder(&self) -> Result<(), Failure> {
        // A folder that may be written and not read cannot be opened, and some file systems do not sync folders.
        let Ok(folder) = File::open(&self.folder) else { return Ok(()) };
        match folder.sync_all() {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(unwritable(
                format!(
                    "{} was written, but its folder was not saved: {}",
                    Printable::path(&self.path),
                    input::reason(&error)
                ),
                "check the disk, then run the command again",
            )),
            _ => Ok(()),
        }
    }
}

fn write_all(file: &File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    let written = fill(&mut writer).and_then(|()| writer.flush());
    // Seal keys are written here too.
    if let (_, Ok(mut buffer)) = writer.into_parts() {
        buffer.zeroize();
    }
    written
}

fn open_temporary(folder: &Path, mode: Mode) -> io::Result<(File, Option<Temporary>)> {
    let unnamed = rustix::fs::open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode).map(File::from);
    match unnamed {
        // Without /proc (an empty chroot) it could never be given a name.
        Ok(file) if link_source(&file).exists() => Ok((file, None)),
        // Whatever hindered this attempt hinders the next, or is only a file system without unnamed files.
        _ => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let (temporary, file) =
                Temporary::make(folder, |path| Ok(File::from(rustix::fs::open(path, flags, mode)?)))?;
            Ok((file, Some(temporary)))
        }
    }
}

/// Fails if `path` exists.
fn name_unnamed(file: &File, path: &Path) -> io::Result<()> {
    Ok(rustix::fs::linkat(CWD, link_source(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// open(2), under O_TMPFILE: the way to name an unnamed file without privileges.
fn link_source(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // NFS cannot rename so, but has hard links; FAT has no hard links, but can.
        Err(rustix::io::Errno::INVAL) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

pub(crate) fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::Usage,
        "exists",
        format!("{} exists already and was left as it is", Printable::path(path)),
        "choose another name, or move it away first",
    )
}

fn is_folder(path: &Path) -> Failure {
    let name = Printable::path(path);
    let example = path.join("golden.whitelist");
    unwritable(format!("{name} names a folder"), format!("name a file in it: {}", Printable::path(&example)))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let name = Printable::path(path);
    let folder = match path.parent().map(Path::as_os_str).map(OsStr::as_bytes) {
        Some(b"") | None => Printable(b"."),
        Some(folder) => Printable(folder),
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if path.is_symlink() => unwritable(
            format!("{name} cannot be written: it is a link to nothing"),
            "remove the link, or make what it points to",
        ),
        io::ErrorKind::NotFound => {
            unwritable(format!("{name} cannot be written: there is no folder {folder}"), "make the folder first")
        }
        io::ErrorKind::PermissionDenied => unwritable(
            format!("{name} cannot be written: you are not permitted to write in {folder}"),
            "write it to a folder of your own",
        ),
        io::ErrorKind::ReadOnlyFilesystem => unwritable(
            format!("{name} cannot be written: its file system is read-only"),
            "write it somewhere else, or mount that file system for writing",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => unwritable(
            format!("{name} cannot be written: {}", input::reason(error)),
            "make room, or write it to another disk; nothing was left behind",
        ),
        _ => unwritable(
            format!("{name} cannot be written: {}", input::reason(error)),
            "check the disk, or write it somewhere else",
        ),
    }
}

fn unwritable(what: impl Into<String>, todo: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, "unwritable", what, todo)
}
