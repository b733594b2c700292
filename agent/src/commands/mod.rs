//! One file per subcommand.

pub mod check;
pub mod doctor;
pub mod identity;
pub mod install_policy;
pub mod serve;
