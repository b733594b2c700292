//! Machines to try things on: real agents, TPMs that are programs, and real kernels under qemu.

pub mod agent;
pub mod guest;
pub mod pki;
pub mod qemu;
pub mod swtpm;

pub use agent::{Agent, Answer};
pub use pki::Pki;
pub use swtpm::{Certificates, Swtpm};
