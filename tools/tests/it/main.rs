//! The program as its users meet it: transcripts in tests/cmd, and here what transcripts cannot hold.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod agent;
mod attach;
mod command_line;
mod diff;
mod export;
mod import;
mod keygen;
mod show;
mod sign;
mod tenant;
mod transcripts;
mod trust;
mod verify;
mod world;
