//! A negative answer to whoever asked: a stable word, what happened, and what to do.

use std::fmt;

/// What was asked is refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable word (docs/exit-codes.md, docs/service.md).
    pub reason: &'static str,
    /// What happened.
    pub what: String,
    /// What to do.
    pub todo: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { reason, what: what.into(), todo: todo.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason: _, what, todo } = self;
        write!(f, "{what}\n  {todo}")
    }
}

impl std::error::Error for Refusal {}
