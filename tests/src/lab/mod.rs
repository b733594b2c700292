//! Machines to try things on: real programs, and real kernels under qemu.

pub mod guest;
pub mod qemu;
