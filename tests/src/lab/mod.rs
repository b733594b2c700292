//! Machines to try things on: TPMs that are programs, and what a kernel does with them.

pub mod kernel;
pub mod mux;
pub mod swtpm;

pub use kernel::SimulatedKernel;
pub use mux::{Fate, Mux};
pub use swtpm::{Certificates, Swtpm};
