//! What a machine needs to be attested, looked at piece by piece.
//!
//! Everything is read below a root folder, so that tests can show it machines that lack one thing. Only the TPM itself is
//! asked on the machine alone.

mod ima;
mod place;
mod tpm;

use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;

use crate::config::Config;

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Which thing; a word for programs too.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub what: String,
    /// How to mend it; empty if nothing is to be done.
    pub todo: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it must be.
    Good,
    /// Not needed, and worth knowing.
    Note,
    /// The machine cannot be attested so.
    Missing,
}

impl Examined {
    fn good(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Good, what: what.into(), todo: String::new() }
    }

    fn note(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Note, what: what.into(), todo: todo.into() }
    }

    fn missing(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Missing, what: what.into(), todo: todo.into() }
    }

    fn failed(check: &'static str, failure: Failure) -> Self {
        Self::missing(check, failure.what, failure.todo)
    }
}

/// Looks at everything, the TPM first.
pub fn examine(config: &Config, root: &Path, is_this_machine: bool) -> Vec<Examined> {
    let mut examined = tpm::files(config, root);
    if is_this_machine {
        examined.extend(tpm::ask(config));
    }
    examined.extend(ima::examine(config, root));
    examined.extend(place::examine(config, root));
    examined
}

/// An absolute path below the root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests;
