//! What serves connections.

pub mod listener;
pub mod rate;
pub mod tls;
