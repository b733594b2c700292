//! Machines to try things on: TPMs that are programs, and what a kernel does with them.

pub mod agent;
pub mod pki;
pub mod swtpm;

pub use agent::{Agent, Answer};
pub use pki::Pki;
pub use swtpm::{Certificates, Swtpm};
