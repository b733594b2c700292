//! What the commands of every goldseal program share: how they fail and what they print, how they read and write files,
//! whose seals they trust, and what they accepted before.
//!
//! It has no network client, no TPM and no key that seals: it is in the program that signs and in those that judge.

pub mod clock;
pub mod command_line;
pub mod confirm;
pub mod difference;
pub mod evidence;
pub mod evidence_folder;
pub mod failure;
pub mod file_identity;
pub mod findings;
pub mod input;
pub mod interrupt;
pub mod list_file;
pub mod output;
pub mod policy;
pub mod printable;
pub mod public_key;
pub mod random;
pub mod report;
pub mod state_folder;
pub mod summary;
pub mod times;
pub mod trusted;
pub mod verdict;
