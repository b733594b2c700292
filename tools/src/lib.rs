//! What `goldseal` is made of: reading initramfs images and trees, sealing lists, and one file per subcommand.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod difference;
pub mod excludes_file;
pub mod failure;
pub mod flat;
pub mod gather;
pub mod harden;
pub mod hash;
pub mod initramfs;
pub mod input;
mod interrupt;
pub mod key;
pub mod keylime;
pub mod list_file;
pub mod making;
pub mod measured;
pub mod output;
pub mod passphrase;
pub mod printable;
pub mod progress;
pub mod report;
pub mod statements;
pub mod summary;
pub mod tree;
pub mod trusted;
