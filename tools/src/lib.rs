//! What `goldseal` is made of: reading initramfs images and trees, sealing lists, and one file per subcommand.

pub mod cli;
pub mod commands;
pub mod excludes_file;
pub mod failure;
pub mod flat;
pub mod harden;
pub mod hash;
pub mod input;
pub mod key;
pub mod measured;
pub mod output;
pub mod passphrase;
pub mod printable;
pub mod report;
