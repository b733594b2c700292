//! Machines to try things on: real agents, TPMs that are programs, kernels that are simulated, and real ones under qemu.

pub mod agent;
pub mod guest;
pub mod kernel;
pub mod keylime;
pub mod mux;
pub mod pki;
pub mod qemu;
pub mod swtpm;

pub use agent::{Agent, Answer};
pub use kernel::SimulatedKernel;
pub use keylime::Keylime;
pub use mux::{Fate, Mux};
pub use pki::Pki;
pub use swtpm::{Certificates, Swtpm};
