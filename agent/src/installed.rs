//! The whitelist that this machine is held to by `check`: kept with what was accepted before it, so that nothing older
//! takes its place.
//!
//! `STATE/policy` is a state folder (docs/format.md, Trust state 5) with one file more, `whitelist`: the bytes of the list
//! that was accepted last. Promises: a list is looked at no further than its seal is right; what is put in place is byte
//! for byte what was verified; the floor rises first, so that after a crash between the two the old list is refused
//! rather than an older one taken later. It is read through all the same steps at each use.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use goldseal_cli::clock;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::ListFile;
use goldseal_cli::output::AtomicFile;
use goldseal_cli::policy;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::state_folder::StateFolder;
use goldseal_cli::trusted::{self, TrustArgs};
use goldseal_cli::{input, report::Ui};
use goldseal_verifier_core::trust::{Floor, Freshness, Now, TrustRoot, TrustedPolicy};

use crate::config::Config;

/// The agent's state folder as far as it is about whitelists.
#[derive(Debug)]
pub struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// That of this configuration.
    pub fn of(config: &Config) -> Self {
        Self { folder: config.state.join(FOLDER) }
    }

    /// The list in it.
    pub fn list(&self) -> PathBuf {
        self.folder.join(LIST)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a list was installed.
    pub fn is_there(&self) -> bool {
        fs::symlink_metadata(self.list()).is_ok()
    }

    /// Begins on a machine that has accepted nothing yet.
    ///
    /// # Errors
    /// `exists` if it has; `unwritable`.
    pub fn begin(&self) -> Result<(), Failure> {
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent).map_err(|error| {
                let what = format!("{} cannot be made: {}", Printable::path(parent), input::reason(&error));
                Failure::new(Exit::Input, "unwritable", what, "run as root, or configure another state folder")
            })?;
        }
        StateFolder::init(&self.folder, clock::now()?).map(drop).map_err(|failure| match failure.reason {
            "exists" => Failure { todo: "leave out --init: what was accepted stands".to_owned(), ..failure },
            _ => failure,
        })
    }

    /// Verifies a list and puts it in place of the one there is.
    ///
    /// # Errors
    /// Exit 1 for what is wrong with the list, 4 (`stale`) if only its time is over, 3 for what cannot be read or
    /// written; then the list that was there is there.
    pub fn install(&self, file: &Path, trust: &TrustArgs) -> Result<(TrustedPolicy, TrustRoot), Failure> {
        let mut state = self.open()?;
        let now = state.now(clock::now()?);
        let root = follow(&mut state, trust, now)?;
        let (source, metadata) = input::open_file(file)?;
        let len = metadata.is_file().then_some(metadata.len());
        let target = AtomicFile::create_with_mode(&self.list(), 0o644)?;
        let mut verified = None;
        let filled = target.fill(|out| {
            let copied = ListFile::new(file, Copied { source, out }, len);
            let floor = Floor { name: None, version: None, seen: None };
            let checked =
                copied.and_then(|list| policy::check(list, file, &root, |name| state.floor(name, &floor), now));
            let is_good = checked.is_ok();
            verified = Some(checked);
            if is_good { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        // What is wrong with the list tells more than that it was not written.
        let policy = match verified {
            Some(checked) => checked?,
            None => return Err(filled.err().unwrap_or_else(nothing_read)),
        };
        let filled = filled?;
        if let Freshness::Stale { document, since } = policy.freshness() {
            let what =
                format!("{}: the {} is stale since {since}", Printable::path(file), policy::stale_document(document));
            let todo = "get the next version: a stale list is not installed, and the one there stays";
            return Err(Failure::new(Exit::Stale, "stale", what, todo).with_all(policy::fields(policy.authentic())));
        }
        state.accept(&policy)?;
        filled.replace()?;
        Ok((policy, root))
    }

    /// The list that was installed, verified again.
    ///
    /// # Errors
    /// `no-policy` if there is none; what no longer holds (exit 3).
    pub fn load(&self, trust: &TrustArgs) -> Result<TrustedPolicy, Failure> {
        if !self.is_there() {
            return Err(Failure::new(
                Exit::Input,
                "no-policy",
                format!("no whitelist is installed: {} does not exist", Printable::path(&self.list())),
                "name one: --policy FILE; or install it: goldseal-agent install-policy FILE",
            ));
        }
        let mut state = self.open()?;
        let now = state.now(clock::now()?);
        let root = follow(&mut state, trust, now)?;
        let floor = Floor { name: None, version: None, seen: None };
        let list = self.list();
        let checked = policy::check(ListFile::open(&list)?, &list, &root, |name| state.floor(name, &floor), now);
        checked.map_err(|failure| policy::not_believed(failure).with_all(json_path(&list)))
    }

    /// The trust root that is followed, if one is.
    ///
    /// # Errors
    /// `lost-state`, `bad-root`.
    pub fn root(&self) -> Result<Option<TrustRoot>, Failure> {
        if fs::symlink_metadata(&self.folder).is_err() {
            return Ok(None);
        }
        let state = self.open()?;
        state.root(state.now(clock::now()?))
    }

    fn open(&self) -> Result<StateFolder, Failure> {
        StateFolder::open(&self.folder).map_err(|failure| match failure.reason {
            "lost-state" => Failure {
                todo: "if this machine is new: goldseal-agent install-policy FILE --init; if the state was lost, find out \
                       how before you do so"
                    .to_owned(),
                ..failure
            },
            _ => failure,
        })
    }
}

/// Trust as asked for; without a word the root that the state follows.
fn follow(state: &mut StateFolder, trust: &TrustArgs, now: Now) -> Result<TrustRoot, Failure> {
    let root = match trust.trust.is_empty() {
        true => state.follow(&trust.trust_root, now, trusted::bad_root)?,
        false => state.without_root().and_then(|()| trust.root())?,
    };
    root.ok_or_else(policy::nobody_trusted)
}

/// Trust as typed, or else as configured.
pub fn trust(typed: TrustArgs, config: &Config) -> TrustArgs {
    if !typed.trust.is_empty() || !typed.trust_root.is_empty() {
        return typed;
    }
    TrustArgs { trust: config.trust.clone(), threshold: config.threshold(), trust_root: config.trust_root.clone() }
}

/// Reads, and writes what was read.
struct Copied<'a> {
    source: File,
    out: &'a mut dyn Write,
}

impl Read for Copied<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.out.write_all(&buffer[..count])?;
        Ok(count)
    }
}

fn nothing_read() -> Failure {
    Failure::unreadable("the list was not read", "try again")
}

/// Says what was installed.
///
/// # Errors
/// As [`Ui::say`].
pub fn say(ui: Ui, policy: &TrustedPolicy) -> Result<(), Failure> {
    policy::say_judging(ui, policy)?;
    goldseal_cli::summary::say(ui, "entries", policy.contents().entry_count())
}

const FOLDER: &str = "policy";
const LIST: &str = "whitelist";
