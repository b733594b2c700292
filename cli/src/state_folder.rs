//! The state folder of `--state DIR`: what was accepted on this machine, so that nothing older is accepted again.
//!
//! `DIR/state` is the state of docs/format.md, Trust state 1 and 5: its text, an empty line, and the bytes of the trust root it follows, if
//! it follows one. It is replaced in one step; `DIR/history` has one line for each decision of a person about it.
//! While it is open nobody else can open it, so that two runs cannot lower each other's floor.
//!
//! Promises: a state that is missing or damaged is an error, never a fresh start. Does not promise anything against
//! who may write in the folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use goldseal_verifier_core::header::ListName;
use goldseal_verifier_core::root::UnverifiedRoot;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{
    Floor, MAX_STATE_LEN, Now, RootMark, StateError, TrustRoot, TrustState, TrustedPolicy, TrustedRootError,
};
use rustix::fs::{FlockOperation, flock};

use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::AtomicFile;
use crate::printable::{Printable, PrintableLine};
use crate::trusted::{self, MAX_ROOT_FILE};

/// An open state folder. What is on the disk changes in whole steps: a root followed, a list accepted, a reset.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    state: TrustState,
    /// The bytes of the root that the state follows.
    root: Option<Vec<u8>>,
    /// Held until it is dropped.
    _lock: File,
}

impl StateFolder {
    /// Makes the folder of a consumer that is new, with an empty state.
    ///
    /// # Errors
    /// `exists` if it has a state, `unwritable`.
    pub fn init(path: &Path, now: Timestamp) -> Result<Self, Failure> {
        let lock = make_and_lock(path)?;
        if fs::symlink_metadata(path.join(STATE)).is_ok() {
            return Err(Failure::new(
                Exit::Usage,
                "exists",
                format!("{} has a state already", Printable::path(path)),
                format!("use it, or: goldseal state reset {} --reason TEXT", Printable::path(path)),
            ));
        }
        let folder = Self { path: path.to_owned(), state: TrustState::new(), root: None, _lock: lock };
        folder.write_history(now, "init")?;
        folder.save()?;
        Ok(folder)
    }

    /// Opens a state that must be there (docs/format.md, Trust state 7).
    ///
    /// # Errors
    /// `lost-state` if it is missing or damaged, `unreadable`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let lock = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(lost(path, "it does not exist")),
            _ => lock(path)?,
        };
        let file = path.join(STATE);
        if matches!(fs::symlink_metadata(&file), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Err(lost(path, "it holds no state"));
        }
        let bytes = input::read_file_or_empty(&file, MAX_STATE_FILE)?;
        let (text, root) = split(&bytes).ok_or_else(|| lost(path, "its state is cut short"))?;
        let state = TrustState::parse(text).map_err(|error| lost(path, &error.to_string()))?;
        let root = (!root.is_empty()).then(|| root.to_vec());
        let followed = root.as_deref().map(UnverifiedRoot::parse).transpose();
        let followed = followed.map_err(|error| lost(path, &format!("its trust root is no longer one: {error}")))?;
        if followed.as_ref().map(mark) != state.root() {
            return Err(lost(path, "its trust root is not the one it follows"));
        }
        Ok(Self { path: path.to_owned(), state, root, _lock: lock })
    }

    /// What was accepted.
    pub fn state(&self) -> &TrustState {
        &self.state
    }

    /// The time to decide at.
    pub fn now(&self, clock: Timestamp) -> Now {
        self.state.now(clock)
    }

    /// The trust root it follows, read and held to its own threshold again (docs/format.md, Trust state 6).
    ///
    /// # Errors
    /// `lost-state` if it was damaged or its keys no longer count; `bad-root` if the clock stands before it.
    pub fn root(&self, now: Now) -> Result<Option<TrustRoot>, Failure> {
        let Some(bytes) = &self.root else { return Ok(None) };
        TrustRoot::anchor(bytes, now).map(Some).map_err(|error| match error {
            TrustedRootError::FromTheFuture { .. } => trusted::bad_root(&self.path.join(STATE), &error),
            // It was accepted whole and signed by enough: it was damaged since, or its keys have come to their end.
            _ => lost(&self.path, &format!("its trust root no longer holds: {error}")),
        })
    }

    /// The bytes of that root.
    pub fn root_bytes(&self) -> Option<&[u8]> {
        self.root.as_deref()
    }

    /// Walks from the root it follows to the last of `paths`, one by one, and saves where that leads. A state that
    /// follows none begins with the first.
    ///
    /// Older roots than the one it follows may stand before it, so that one command line serves fresh machines and
    /// others.
    ///
    /// # Errors
    /// What `refused` makes of a root that does not follow, `below-floor` for a chain that ends before the one followed,
    /// `equivocation` for another root of a version that was followed.
    pub fn follow(
        &mut self,
        paths: &[PathBuf],
        now: Now,
        refused: fn(&Path, &TrustedRootError) -> Failure,
    ) -> Result<Option<TrustRoot>, Failure> {
        let mut root = self.root(now)?;
        let before = self.state.clone();
        for (index, path) in paths.iter().enumerate() {
            let bytes = trusted::read_root(path)?;
            let bad = |error| refused(path, &error);
            let claimed = UnverifiedRoot::parse(&bytes).map_err(|error| bad(TrustedRootError::Document(error)))?;
            let next = match root.as_ref().map(|known| (known, known.mark())) {
                Some((_, Some(known))) if claimed.header().version < known.version => {
                    if index + 1 < paths.len() {
                        continue;
                    }
                    let found = claimed.header().version;
                    return Err(not_followed(path, &StateError::RootBelow { known: known.version, found }));
                }
                Some((_, Some(known))) if claimed.header().version == known.version => {
                    let (version, seen, found) = (known.version, known.identity, claimed.envelope().identity());
                    if seen == found {
                        continue;
                    }
                    return Err(not_followed(path, &StateError::RootEquivocation { version, seen, found }));
                }
                Some((known, _)) => known.advance(&bytes, now),
                None => TrustRoot::anchor(&bytes, now),
            };
            let next = next.map_err(bad)?;
            self.state.accept_root(&next).map_err(|error| not_followed(path, &error))?;
            self.root = Some(bytes);
            root = Some(next);
        }
        if self.state != before {
            self.save()?;
        }
        Ok(root)
    }

    /// Keys alone must not take the place of a trust root (docs/format.md, Trust state 4).
    ///
    /// # Errors
    /// `bad-root`.
    pub fn without_root(&self) -> Result<(), Failure> {
        if self.state.root().is_none() {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Input,
            "bad-root",
            format!("{}: {}", Printable::path(&self.path), StateError::NoRoot),
            "leave out --trust, or begin anew: goldseal state reset DIR --reason TEXT",
        ))
    }

    /// `floor` with what was seen of a list.
    pub fn floor(&self, name: &ListName, floor: &Floor) -> Floor {
        Floor { seen: self.state.seen(name), ..floor.clone() }
    }

    /// Remembers a list and saves it. Only a list that is whole can be given.
    ///
    /// # Errors
    /// `unwritable`; then the state is as it was.
    pub fn accept(&mut self, policy: &TrustedPolicy) -> Result<(), Failure> {
        let before = self.state.clone();
        self.state.accept(policy).map_err(|error| {
            Failure::new(Exit::No, "below-floor", error.to_string(), "get the newest version of the list")
        })?;
        if self.state == before { Ok(()) } else { self.save() }
    }

    /// Forgets one list, or everything, for a reason that is written down first.
    ///
    /// # Errors
    /// `unwritable`; `usage` if nothing is known of the list.
    pub fn reset(path: &Path, list: Option<&ListName>, reason: &str, now: Timestamp) -> Result<Self, Failure> {
        let folder = match list {
            Some(name) => {
                let mut folder = Self::open(path)?;
                if folder.state.forget(name).is_none() {
                    return Err(Failure::usage(
                        format!("{} has seen no list named {name}", Printable::path(path)),
                        format!("goldseal state show {} names them", Printable::path(path)),
                    ));
                }
                folder
            }
            None => Self { path: path.to_owned(), state: TrustState::new(), root: None, _lock: make_and_lock(path)? },
        };
        let what = list.map_or_else(|| "reset".to_owned(), |name| format!("reset {name}"));
        folder.write_history(now, &format!("{what}: {}", PrintableLine(reason.as_bytes())))?;
        folder.save()?;
        Ok(folder)
    }

    /// The decisions of people about it, oldest first.
    ///
    /// # Errors
    /// `unreadable`.
    pub fn history(&self) -> Result<String, Failure> {
        let bytes = input::read_file_or_empty(&self.path.join(HISTORY), MAX_HISTORY)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Replaces the state on the disk in one step.
    ///
    /// # Errors
    /// `unwritable`; then it is as it was.
    fn save(&self) -> Result<(), Failure> {
        let text = self.state.print();
        if text.len() > MAX_STATE_LEN {
            // It could not be read again.
            return Err(Failure::new(
                Exit::Input,
                "unwritable",
                format!("the state {} would be longer than {MAX_STATE_LEN} bytes", Printable::path(&self.path)),
                "forget lists that are no longer used: goldseal state reset DIR --list NAME --reason TEXT",
            ));
        }
        let root = self.root.as_deref().unwrap_or_default();
        let file = AtomicFile::create_with_mode(&self.path.join(STATE), 0o600)?;
        let write = |out: &mut dyn Write| {
            out.write_all(&text)?;
            out.write_all(b"\n")?;
            out.write_all(root)
        };
        file.fill(write)?.replace()
    }

    fn write_history(&self, now: Timestamp, what: &str) -> Result<(), Failure> {
        let path = self.path.join(HISTORY);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| {
            file.write_all(format!("{now} {what}\n").as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| cannot_write(&path, &error))
    }
}

/// What a state remembers of a root.
fn mark(root: &UnverifiedRoot) -> RootMark {
    RootMark { version: root.header().version, identity: root.envelope().identity() }
}

/// The state's text, and the root's bytes after an empty line.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    Some((&bytes[..=end], &bytes[end + 2..]))
}

fn make_and_lock(path: &Path) -> Result<File, Failure> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot_write(path, &error)),
        _ => lock(path),
    }
}

/// Waits for whoever has it open: they are done within seconds.
fn lock(path: &Path) -> Result<File, Failure> {
    let file = File::open(path).map_err(|error| input::cannot_read(path, &error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::unreadable(
            format!("{} is not a folder", Printable::path(path)),
            "name the state's folder",
        ));
    }
    flock(&file, FlockOperation::LockExclusive).map_err(|error| input::cannot_read(path, &io::Error::from(error)))?;
    Ok(file)
}

fn lost(path: &Path, why: &str) -> Failure {
    let name = Printable::path(path);
    Failure::new(
        Exit::Input,
        "lost-state",
        format!("the state {name} cannot be used: {why}"),
        format!(
            "if it is new: goldseal state init {name}; if it was lost, find out how, then: goldseal state reset {name} --reason TEXT"
        ),
    )
}

fn not_followed(path: &Path, error: &StateError) -> Failure {
    let what = format!("{}: {error}", Printable::path(path));
    match error {
        StateError::RootBelow { .. } => {
            Failure::new(Exit::No, "below-floor", what, "it was replaced: get the newest trust root")
        }
        StateError::RootEquivocation { .. } => Failure::new(
            Exit::No,
            "equivocation",
            what,
            "somebody signed two roots as one: do not use either before you know which is right",
        ),
        _ => Failure::new(
            Exit::Input,
            "bad-root",
            what,
            "give the roots between them too: --trust-root NEXT --trust-root THE-ONE-AFTER …",
        ),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Input,
        "unwritable",
        format!("{} cannot be written: {}", Printable::path(path), input::reason(error)),
        "check its folder, its mode and the disk",
    )
}

const STATE: &str = "state";
const HISTORY: &str = "history";

/// Longest state on the disk: the text, an empty line, and a root.
const MAX_STATE_FILE: u64 = MAX_STATE_LEN as u64 + 1 + MAX_ROOT_FILE;

/// Longest history: tens of thousands of decisions.
const MAX_HISTORY: u64 = 4 << 20;
