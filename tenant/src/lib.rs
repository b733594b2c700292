//! `goldseal tenant`: what an operator says to a goldseal-verifier, and what it answers.
//!
//! Promises: no list is sent whose seal was not checked here first; nothing that a verifier answers is larger, later or
//! more colourful on a terminal than it may be. It judges no machine: verdicts are the verifier's.

pub mod answers;
pub mod client;
pub mod command_line;
pub mod commands;
pub mod config;
pub mod hosts;
pub mod old_style;
pub mod sealed;
pub mod table;
pub mod tls;
pub mod verdict;
