//! Machines to try things on: TPMs that are programs, and real kernels under qemu.

pub mod guest;
pub mod qemu;
pub mod swtpm;

pub use swtpm::{Certificates, Swtpm};
