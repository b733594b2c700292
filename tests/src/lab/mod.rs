//! Machines to try things on: TPMs that are programs, and what a kernel does with them.

pub mod swtpm;

pub use swtpm::{Certificates, Swtpm};
