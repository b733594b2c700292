//! How a command tells what it found: text for people, one JSON object for programs, an exit code for both.

use std::fmt;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::failure::{Exit, Failure};
use crate::input;

/// Version of the JSON objects' shape; it grows only when a field changes its meaning or goes away.
const SCHEMA: u64 = 1;

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub exit: Exit,
    /// A stable word for programs, `ok` if there is nothing to say (docs/exit-codes.md).
    pub reason: &'static str,
    /// Further fields of the JSON object.
    pub fields: Map<String, Value>,
}

impl Outcome {
    /// Done, with nothing to add.
    pub fn done() -> Self {
        Self::new(Exit::Done, "ok")
    }

    /// Any other.
    pub fn new(exit: Exit, reason: &'static str) -> Self {
        Self { exit, reason, fields: Map::new() }
    }

    /// Adds a field to the JSON object.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// Adds several fields to the JSON object.
    #[must_use]
    pub fn with_all(mut self, fields: Map<String, Value>) -> Self {
        self.fields.extend(fields);
        self
    }
}

/// Where text for people goes: standard output, or standard error when `--json` has the former.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// `--json` was given.
    pub json: bool,
}

impl Ui {
    /// The same where standard output is taken by bytes of another kind: text for people goes to standard error.
    #[must_use]
    pub fn aside(self) -> Self {
        Self { json: true }
    }

    /// One line of an answer.
    ///
    /// # Errors
    /// [`Failure`] if standard output takes no more; a closed pipe is one too, so that `| head` ends the work.
    pub fn say(self, line: impl fmt::Display) -> Result<(), Failure> {
        let written = if self.json { writeln!(io::stderr(), "{line}") } else { writeln!(io::stdout(), "{line}") };
        written.map_err(|error| Self::lost_output(&error))
    }

    /// Bytes of an answer, as they are.
    ///
    /// # Errors
    /// As [`Ui::say`].
    pub fn raw(self, bytes: &[u8]) -> Result<(), Failure> {
        let written = if self.json { io::stderr().write_all(bytes) } else { io::stdout().write_all(bytes) };
        written.map_err(|error| Self::lost_output(&error))
    }

    /// A line beside the answer: a warning, a hint, a summary. Always on standard error.
    pub fn note(self, line: impl fmt::Display) {
        // Nobody is left to be told if standard error is closed.
        let _ = writeln!(io::stderr(), "{line}");
    }

    fn lost_output(error: &io::Error) -> Failure {
        let what = match error.kind() {
            // Whoever wrote `| head` has seen enough.
            io::ErrorKind::BrokenPipe => String::new(),
            _ => format!("standard output takes no more: {}", input::reason(error)),
        };
        Failure::new(Exit::Input, "output", what, "make room, or redirect it elsewhere")
    }
}

/// Prints what a command of `program` came to and gives its exit code; `command` is empty if none was recognised.
pub fn finish(program: &str, command: &str, ui: Ui, result: Result<Outcome, Failure>) -> Exit {
    let (outcome, message) = match result {
        Ok(outcome) => (outcome, None),
        Err(Failure { exit, reason, what, todo, fields }) => (Outcome { exit, reason, fields }, Some((what, todo))),
    };
    if let Some((what, todo)) = message.as_ref().filter(|(what, _)| !what.is_empty()) {
        let blank = if command.is_empty() { "" } else { " " };
        ui.note(format_args!("{program}{blank}{command}: {what}\n  {todo}"));
    }
    if ui.json {
        let mut object = Map::new();
        object.insert("schema".into(), json!(SCHEMA));
        object.insert("command".into(), json!(command));
        object.insert("exit".into(), json!(outcome.exit as u8));
        object.insert("reason".into(), json!(outcome.reason));
        if let Some((what, todo)) = message {
            object.insert("message".into(), json!({ "what": what, "todo": todo }));
        }
        object.extend(outcome.fields);
        let _ = writeln!(io::stdout(), "{}", Value::Object(object));
    }
    outcome.exit
}
