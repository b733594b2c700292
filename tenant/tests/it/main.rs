//! The program against verifiers that work, are dead, slow, or lie; and transcripts of its command line.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod commands;
mod fake;
mod hostile;
mod transcripts;
