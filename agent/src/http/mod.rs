//! What the agent serves: Keylime's agent protocol and goldseal's own route, over HTTPS with client certificates.
//!
//! docs/agent-protocol.md says what is asked and answered. Whoever asks has shown a certificate of a configured CA
//! before a byte of HTTP is read; it may be compromised all the same, so that every quantity it chooses has a limit.
//!
//! | file | what it is about |
//! |---|---|
//! | `identity.rs` | the agent's own key and certificate |
//! | `tls.rs` | who may connect |
//! | `connections.rs` | how many, and for how long |
//! | `routes.rs` | what is asked |
//! | `keylime.rs`, `evidence.rs` | the answers |
//! | `query.rs`, `refusal.rs`, `body.rs`, `json.rs` | their parts |

mod body;
mod connections;
mod evidence;
mod identity;
mod json;
mod keylime;
mod paced;
mod query;
mod refusal;
mod routes;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use goldseal_verifier_core::digest::HashAlgorithm;
use tokio::sync::OnceCell;

pub use self::connections::Patience;
pub use self::identity::{IdentityError, TlsIdentity};
pub use self::keylime::SUPPORTED_VERSIONS;
pub use self::tls::TlsError;

use crate::measurements::List;
use crate::tpm::Tpm;

/// Where and for whom.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub address: SocketAddr,
    /// PEM files with the certificates of the CAs whose clients may connect.
    pub client_cas: Vec<PathBuf>,
    /// How long clients are waited for.
    pub patience: Patience,
}

/// What is asked for and answered with.
#[derive(Debug)]
pub struct Sources {
    /// The TPM.
    pub tpm: Tpm,
    /// The ASCII list, for Keylime.
    pub ascii: List,
    /// The binary list, for the own route.
    pub binary: List,
    /// The banks that the own route quotes by default; none stands for the TPM's default bank.
    pub banks: Vec<HashAlgorithm>,
    /// The firmware's event log, for Keylime verifiers that ask for PCR 0; `None` where there is none.
    pub boot_log: Option<Vec<u8>>,
    /// When the machine was booted, in seconds since 1970: see [`boot_time`].
    pub boot_time: u64,
}

/// A server that has a port and does not answer yet. A port below 1024 and the files of the CAs may need privileges
/// that answering does not.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    tls: Arc<rustls::ServerConfig>,
    service: Arc<Service>,
    patience: Patience,
}

impl Server {
    /// Takes a port.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn bind(config: &ServerConfig, identity: &TlsIdentity, sources: Sources) -> Result<Self, ServerError> {
        let tls = tls::server_config(identity, &config.client_cas).map_err(ServerError::Tls)?;
        let bind = || {
            let listener = std::net::TcpListener::bind(config.address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener =
            bind().map_err(|error: io::Error| ServerError::Bind { address: config.address, kind: error.kind() })?;
        let public_key = identity.public_key_pem().to_owned();
        let service = Service { sources, public_key, algorithms: OnceCell::new() };
        Ok(Self { listener, tls, service: Arc::new(service), patience: config.patience })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// That of the system.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is ready, then finishes what is under way. Must be called within a runtime.
    ///
    /// # Errors
    /// [`ServerError::Bind`], if the runtime does not take the socket.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let address = self.listener.local_addr();
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(|error| ServerError::Bind {
            address: address.unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0))),
            kind: error.kind(),
        })?;
        connections::serve(listener, self.tls, self.service, self.patience, stop).await;
        Ok(())
    }
}

/// What all connections share.
#[derive(Debug)]
struct Service {
    sources: Sources,
    /// SubjectPublicKeyInfo PEM of the TLS key, which Keylime's quotes are bound to by PCR 16.
    public_key: String,
    /// Known once the TPM has told its keys.
    algorithms: OnceCell<keylime::Algorithms>,
}

/// When the machine was booted, in seconds since 1970, from `/proc/stat`. Keylime's verifier compares it with the last
/// one, and starts at entry 0 if it is another: a list that is longer after a boot than before would be taken for a
/// manipulated one. 0, which is what it assumes if it is told nothing, if it is not to be had.
///
/// It moves when the clock is set, so it is asked for once; after a restart of the agent that costs one whole list.
pub fn boot_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0)
}

/// Why nothing is served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The port cannot be had.
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        kind: io::ErrorKind,
    },
    /// TLS cannot be set up.
    Tls(TlsError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, kind } => {
                write!(f, "{address}: {kind}\nchoose an address of this machine and a free port")
            }
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// `uptime -s` computes it from the clock and the time since boot, another way than the kernel's.
    #[test]
    fn the_boot_time_is_that_of_the_machine() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let up: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((boot_time() as f64 - (now - up)).abs() < 5.0, "{}", boot_time());
    }
}
