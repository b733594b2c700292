//! Why a command stops: an exit code, a stable reason, and a message in two parts.
//!
//! Exit codes and reasons are an API (docs/exit-codes.md): documented, tested, never reused.

use std::fmt;

use serde_json::{Map, Value};

/// The exit code of a command (docs/exit-codes.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; yes; the same.
    Done = 0,
    /// A negative answer: not sealed as asked, differs, written but incomplete.
    No = 1,
    /// The command line, a pattern or a rule is wrong, or it would overwrite something.
    Usage = 2,
    /// An input could not be read or is not what it should be; the output could not be written.
    Input = 3,
    /// Good, but past its expiry.
    Stale = 4,
}

/// What happened and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// A stable word for programs (`unreadable`, `malformed`, `usage` …), listed in docs/exit-codes.md.
    pub reason: &'static str,
    /// First line of the message: what happened. Names in it are already escaped for a terminal. Empty if nobody is
    /// left to be told.
    pub what: String,
    /// Second line: what to do.
    pub todo: String,
    /// Further fields of the `--json` object.
    pub fields: Map<String, Value>,
}

impl Failure {
    /// The command line is wrong (exit 2).
    pub fn usage(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", what, todo)
    }

    /// An input cannot be opened or read (exit 3).
    pub fn unreadable(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Exit::Input, "unreadable", what, todo)
    }

    /// An input is not what it should be (exit 3).
    pub fn malformed(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Exit::Input, "malformed", what, todo)
    }

    /// Any other.
    pub fn new(exit: Exit, reason: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { exit, reason, what: what.into(), todo: todo.into(), fields: Map::new() }
    }

    /// Adds a field to the `--json` object.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// Adds several fields to the `--json` object.
    #[must_use]
    pub fn with_all(mut self, fields: Map<String, Value>) -> Self {
        self.fields.extend(fields);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.what, self.todo)
    }
}

impl std::error::Error for Failure {}
