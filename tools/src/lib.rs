//! What `goldseal` is made of: reading initramfs images and trees, sealing lists, and one file per subcommand.

pub mod failure;
pub mod hash;
pub mod measured;
pub mod printable;
pub mod tree;
