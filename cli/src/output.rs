//! Writing files so that nothing is ever half-written.
//!
//! A file is written without a name (`O_TMPFILE`), synced, and only then named: whatever kills the process before
//! leaves nothing at all behind. Where the file system has no unnamed files (FAT, NFS), it is written beside its
//! target under a name of its own, which is removed on failure and on Ctrl-C.
//!
//! Promises: the target is the old file or the complete new one at every moment, also after a power cut; an existing
//! file keeps its mode; a symbolic link is followed as the shell's `>` would. Does not promise to keep the owner of a
//! file replaced, and cannot promise any of this for pipes and devices (`-o -`, /dev/stdout), which are written through.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use zeroize::Zeroize;

use crate::failure::{Exit, Failure};
use crate::file_identity::FileIdentity;
use crate::input;
use crate::interrupt::Temporary;
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

    /// What is written, and the file that it replaces, by which a walk over their folder knows them and leaves them out.
    ///
    /// # Errors
    /// `unwritable`, if the output cannot even be looked at.
    pub fn identities(&self) -> Result<Vec<FileIdentity>, Failure> {
        let (name, file) = match self {
            Self::File(AtomicFile { file, target, .. }) => (&target.path, file),
            Self::Stream(Stream { name, file }) => (name, file),
        };
        let written = file.metadata().map_err(|error| cannot_write(name, &error))?;
        let replaced = match self {
            Self::File(file) => fs::metadata(&file.target.path).ok(),
            Self::Stream(_) => None,
        };
        Ok([written].iter().chain(&replaced).map(FileIdentity::from).collect())
    }

    /// Writes what `fill` writes; a file is then put in place, replacing the one there was.
    ///
    /// # Errors
    /// `unwritable`; the target is as it was.
    pub fn finish(self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        self.finish_if(fill, || Ok(()))
    }

    /// The same, if nothing speaks against it once all is written and only the name is missing; a stream is asked first.
    ///
    /// # Errors
    /// `unwritable`, or what `check` says; the target is as it was.
    pub fn finish_if(
        self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
        check: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::File(file) => {
                let filled = file.fill(fill)?;
                check()?;
                filled.replace()
            }
            Self::Stream(Stream { name, file }) => {
                check()?;
                write_all(&file, fill).map_err(|error| cannot_write(&name, &error))
            }
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
        _ => open_named(folder, mode).map(|(file, temporary)| (file, Some(temporary))),
    }
}

fn open_named(folder: &Path, mode: Mode) -> io::Result<(File, Temporary)> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = Temporary::make(folder, |path| Ok(File::from(rustix::fs::open(path, flags, mode)?)))?;
    Ok((made.1, made.0))
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
        Err(rustix::io::Errno::INVAL) => link_new(from, to),
        renamed => Ok(renamed?),
    }
}

fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

pub fn exists(path: &Path) -> Failure {
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

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::fs::symlink;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};
    use std::thread;

    use rustix::fs::{FileType, mknodat};
    use rustix::process::{Pid, Signal, kill_process};
    use tempfile::tempdir;

    use super::*;

    /// Every way a file can be written: without a name, and beside its target.
    const WAYS: [fn(&Path) -> AtomicFile; 2] = [unnamed, named];

    fn unnamed(path: &Path) -> AtomicFile {
        let file = AtomicFile::create(path).unwrap();
        if file.temporary.is_some() {
            eprintln!("SKIPPED writing without a name: {} has no unnamed files", path.display());
        }
        file
    }

    fn named(path: &Path) -> AtomicFile {
        let target = Target::find(path).unwrap();
        let (file, temporary) = open_named(&target.folder, Mode::from_raw_mode(0o666)).unwrap();
        AtomicFile { file, temporary: Some(temporary), target }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode()
    }

    #[test]
    fn a_new_file_has_the_mode_that_any_program_would_give_it() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("plain"), b"").unwrap();
        for way in WAYS {
            let path = folder.path().join("list");
            way(&path).fill(|file| file.write_all(b"new")).unwrap().replace().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(mode(&path), mode(&folder.path().join("plain")));
            assert_eq!(names(folder.path()), ["list", "plain"]);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_file_replaced_keeps_its_mode() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("list");
        for way in WAYS {
            fs::write(&path, b"old and longer").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
            let file = way(&path).fill(|file| file.write_all(b"new")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old and longer");
            file.replace().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(mode(&path) & 0o7777, 0o604);
            assert_eq!(names(folder.path()), ["list"]);
        }
    }

    #[test]
    fn a_name_that_is_taken_stays_as_it_is() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("list");
        for way in WAYS {
            way(&path).fill(|file| file.write_all(b"first")).unwrap().place_new().unwrap();
            let failure = way(&path).fill(|file| file.write_all(b"second")).unwrap().place_new().unwrap_err();
            assert_eq!((failure.exit, failure.reason), (Exit::Usage, "exists"));
            assert_eq!(fs::read(&path).unwrap(), b"first");
            assert_eq!(names(folder.path()), ["list"]);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_hard_link_does_where_rename_cannot() {
        let folder = tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for (bytes, done) in [(b"first ", true), (b"second", false)] {
            fs::write(&from, bytes).unwrap();
            assert_eq!(link_new(&from, &to).is_ok(), done);
            assert_eq!(fs::read(&to).unwrap(), b"first ");
            assert_eq!(from.exists(), !done);
        }
    }

    #[test]
    fn what_fails_or_is_given_up_leaves_nothing() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, b"old").unwrap();
        for way in WAYS {
            let failure = way(&path)
                .fill(|file| {
                    file.write_all(&vec![b'x'; 1 << 20])?;
                    Err(io::Error::from(io::ErrorKind::StorageFull))
                })
                .unwrap_err();
            assert_eq!((failure.exit, failure.reason), (Exit::Input, "unwritable"));
            drop(way(&path));
            drop(way(&path).fill(|file| file.write_all(b"new")).unwrap());
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(names(folder.path()), ["list"]);
        }
    }

    /// The target becomes a folder while the file is written.
    #[test]
    fn what_cannot_be_placed_leaves_nothing() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("list");
        for way in WAYS {
            let file = way(&path).fill(|file| file.write_all(b"new")).unwrap();
            fs::create_dir(&path).unwrap();
            assert_eq!(file.replace().unwrap_err().reason, "unwritable");
            assert_eq!(names(folder.path()), ["list"]);
            fs::remove_dir(&path).unwrap();
        }
    }

    #[test]
    fn says_what_is_wrong_with_the_name() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("file"), b"").unwrap();
        symlink("nowhere", folder.path().join("dangling")).unwrap();
        for (name, words) in [
            ("", "names a folder"),
            ("new/", "names a folder"),
            ("no/list", "there is no folder"),
            ("file/list", "not a directory"),
            ("dangling", "a link to nothing"),
        ] {
            let failure = Output::create(&folder.path().join(name)).unwrap_err();
            assert_eq!((failure.exit, failure.reason), (Exit::Input, "unwritable"));
            assert!(failure.what.contains(words), "{failure}");
        }
        assert_eq!(names(folder.path()), ["dangling", "file"]);
    }

    /// As the shell's `>` does, and a link to the current list stays one.
    #[test]
    fn a_link_is_followed() {
        let folder = tempdir().unwrap();
        fs::create_dir(folder.path().join("lists")).unwrap();
        fs::write(folder.path().join("lists/42"), b"old").unwrap();
        let link = folder.path().join("current");
        symlink("lists/42", &link).unwrap();
        Output::create(&link).unwrap().finish(|file| file.write_all(b"new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(folder.path().join("lists/42")).unwrap(), b"new");
        assert_eq!(names(&folder.path().join("lists")), ["42"]);
    }

    #[test]
    fn a_name_without_a_folder_is_in_this_one() {
        let target = Target::find(Path::new("goldseal-probe")).unwrap();
        assert_eq!(target.folder, Path::new("."));
    }

    #[test]
    fn pipes_and_devices_are_written_through() {
        let folder = tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        Output::create(&pipe).unwrap().finish(|file| file.write_all(b"list")).unwrap();
        assert_eq!(reader.join().unwrap(), b"list");
        let failure = Output::create(Path::new("/dev/full")).unwrap().finish(|file| file.write_all(b"list"));
        let failure = failure.unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Input, "unwritable"));
        assert!(failure.what.contains("no space left on device"), "{failure}");
        assert!(matches!(Output::create(Path::new("-")).unwrap(), Output::Stream(_)));
    }

    #[test]
    fn knows_itself_in_a_walk() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, b"old").unwrap();
        let replaced = fs::metadata(&path).unwrap();
        let output = Output::File(named(&path));
        let name = names(folder.path()).into_iter().find(|name| name != "list").unwrap();
        let written = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(output.identities().unwrap(), [FileIdentity::from(&written), FileIdentity::from(&replaced)]);
    }

    // What follows needs a process of its own: these tests run themselves again, as `child`.

    const FOLDER: &str = "GOLDSEAL_TEST_FOLDER";

    fn child(wrapper: &[&str], test: &str, folder: &Path) -> Command {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", &format!("output::tests::{test}")]);
        command.env(FOLDER, folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// In the child: has begun `list`, says so, waits for a line, and finishes.
    fn write_when_told(way: fn(&Path) -> AtomicFile, folder: &Path) {
        let file = way(&folder.join("list"));
        // Large enough to have reached the file.
        let file = file.fill(|file| file.write_all(&vec![b'x'; 1 << 20])).unwrap();
        println!("\nbegun");
        io::stdin().read_line(&mut String::new()).unwrap();
        file.replace().unwrap();
    }

    fn begun(mut command: Command) -> Child {
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.as_mut().unwrap());
        assert!(output.lines().any(|line| line.unwrap() == "begun"));
        child
    }

    fn send(child: &Child, signal: Signal) {
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn ended_by(child: &mut Child, signal: Signal) -> Option<i32> {
        // Held open to the end: a closed one would tell the child to finish.
        let _input = child.stdin.take();
        send(child, signal);
        child.wait().unwrap().signal()
    }

    #[test]
    fn an_unnamed_file_vanishes_with_its_process() {
        if let Some(folder) = env::var_os(FOLDER) {
            return write_when_told(unnamed, Path::new(&folder));
        }
        let folder = tempdir().unwrap();
        if unnamed(&folder.path().join("list")).temporary.is_some() {
            return;
        }
        for signal in [Signal::INT, Signal::KILL] {
            let mut child = begun(child(&["env"], "an_unnamed_file_vanishes_with_its_process", folder.path()));
            assert!(names(folder.path()).is_empty());
            assert_eq!(ended_by(&mut child, signal), Some(signal.as_raw()));
            assert!(names(folder.path()).is_empty());
        }
    }

    #[test]
    fn a_named_file_is_removed_on_ctrl_c() {
        if let Some(folder) = env::var_os(FOLDER) {
            return write_when_told(named, Path::new(&folder));
        }
        let folder = tempdir().unwrap();
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let mut child = begun(child(&["env"], "a_named_file_is_removed_on_ctrl_c", folder.path()));
            assert_eq!(names(folder.path()).len(), 1);
            assert_eq!(ended_by(&mut child, signal), Some(signal.as_raw()));
            assert!(names(folder.path()).is_empty());
        }
    }

    #[test]
    fn a_signal_that_nohup_had_ignored_stays_ignored() {
        if let Some(folder) = env::var_os(FOLDER) {
            return write_when_told(named, Path::new(&folder));
        }
        let folder = tempdir().unwrap();
        let mut child = begun(child(&["nohup"], "a_signal_that_nohup_had_ignored_stays_ignored", folder.path()));
        send(&child, Signal::HUP);
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(names(folder.path()), ["list"]);
    }

    #[test]
    fn a_full_disk_keeps_the_old_file() {
        if let Some(folder) = env::var_os(FOLDER) {
            let path = Path::new(&folder).join("list");
            for way in WAYS {
                fs::write(&path, b"old").unwrap();
                let failure = way(&path).fill(|file| file.write_all(&vec![b'x'; 1 << 20])).unwrap_err();
                assert_eq!((failure.exit, failure.reason), (Exit::Input, "unwritable"));
                assert!(failure.what.contains("no space left on device"), "{failure}");
                assert_eq!(fs::read(&path).unwrap(), b"old");
                assert_eq!(names(Path::new(&folder)), ["list"]);
            }
            println!("\nbegun");
            return;
        }
        let folder = tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size=64k tmpfs '{}' && exec \"$@\"", folder.path().display());
        let possible = Command::new("unshare").args(["-m", "sh", "-c", &mount, "sh", "true"]).status();
        if !possible.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED a_full_disk_keeps_the_old_file: mounting a small disk is not permitted here");
            return;
        }
        let wrapper = ["unshare", "-m", "sh", "-c", &mount, "sh"];
        let child = child(&wrapper, "a_full_disk_keeps_the_old_file", folder.path()).output().unwrap();
        assert!(child.status.success() && child.stdout.windows(7).any(|line| line == b"\nbegun\n"), "{child:?}");
    }
}
