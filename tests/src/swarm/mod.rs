//! Agents in software that speak the real protocols over TLS, and a service to poll them: for scenarios, and as the load of
//! benches. Each is a [`Machine`](crate::forge::machine::Machine) of Forge behind a socket; a test changes what one answers.
//!
//! Nothing of the protocols here is code of the service or of the agent.

pub mod agent;
pub mod site;

pub use agent::{Behaviour, SoftAgent};
pub use site::Site;
