//! The log: lines of text for people, of JSON for programs, on standard error.
//!
//! Names from machines and lists are escaped before they come here, so that none can forge a line or steer a terminal.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::refusal::Refusal;

/// Starts to log.
///
/// # Errors
/// `bad-config`: the level is none.
pub fn start(config: &LogConfig) -> Result<(), Refusal> {
    let filter = EnvFilter::try_new(&config.level).map_err(|error| {
        Refusal::new("bad-config", format!("log.level: {error}"), "set it to error, warn, info or debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    // Only a test that runs several services in one process has started already.
    let _ = match config.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
