//! Sealed golden whitelists and what may be believed about them.

pub mod digest;
pub mod hex;
pub mod path;
