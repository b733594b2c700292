//! One file per subcommand: its arguments, its help with an example, and what it does.

pub mod appraise;
pub mod attach;
pub mod build;
pub mod diff;
pub mod excludes;
pub mod explain;
pub mod export;
pub mod ima_policy;
pub mod import;
pub mod keygen;
pub mod show;
pub mod sign;
pub mod state;
pub mod tbs;
pub mod tenant;
pub mod trust;
pub mod verify;
