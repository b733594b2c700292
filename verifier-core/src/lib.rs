//! Sealed golden whitelists and what may be believed about them.

pub mod appraise;
mod body;
pub mod contents;
mod cursor;
pub mod digest;
pub mod entries;
pub mod envelope;
pub mod evidence;
pub mod excludes;
pub mod header;
pub mod hex;
pub mod ima;
mod index;
pub mod key;
pub mod keylime;
pub mod list;
pub mod path;
pub mod pcr;
pub mod provenance;
pub mod root;
pub mod rules;
pub mod time;
pub mod tpm;
pub mod trust;
