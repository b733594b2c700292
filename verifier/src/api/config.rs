//! The part of the configuration that is about the API.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use goldseal_cli::input::read_file_or_empty;
use serde::Deserialize;

use super::Limits;
use super::access::{Access, ClientConfig};
use super::listener::ConnectionLimits;
use super::rate::Rate;
use super::tls::Certificate;
use crate::refusal::Refusal;

/// Longest file of tokens: a thousand lines, and as many of comments.
const MAX_TOKENS_FILE: u64 = 1 << 20;

/// `[api]` in the configuration. What is left out is as its default says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names in the certificate that the service makes for itself.
    pub names: Vec<String>,
    /// A certificate instead, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// File of tokens: lines `NAME ROLE SHA256`.
    pub tokens: Option<PathBuf>,
    /// Authorities of client certificates, PEM.
    pub client_ca: Option<PathBuf>,
    /// Which of their certificates are known.
    pub clients: Vec<ClientConfig>,
    /// Of each that is known.
    pub rate: Rate,
    /// Of each address that shows no known credentials.
    pub stranger_rate: Rate,
    /// Longest list, in bytes.
    pub max_policy: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// Seconds for an answer.
    pub answer_seconds: u64,
    /// Seconds that polling may stand still before health says so.
    pub poller_age_seconds: u64,
}

impl Default for ApiConfig {
    fn default() -> Self {
        let Limits { rate, stranger_rate, policy, answer, poller_age, .. } = Limits::default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8_881)),
            names: vec!["localhost".to_owned()],
            certificate: None,
            key: None,
            tokens: None,
            client_ca: None,
            clients: Vec::new(),
            rate,
            stranger_rate,
            max_policy: policy,
            max_connections: ConnectionLimits::default().connections,
            answer_seconds: answer.as_secs(),
            poller_age_seconds: poller_age.as_secs(),
        }
    }
}

impl ApiConfig {
    /// How much may be asked.
    pub fn limits(&self) -> Limits {
        Limits {
            rate: self.rate,
            stranger_rate: self.stranger_rate,
            policy: self.max_policy,
            answer: Duration::from_secs(self.answer_seconds.max(1)),
            poller_age: Duration::from_secs(self.poller_age_seconds.max(1)),
            ..Limits::default()
        }
    }

    /// How many connections.
    pub fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits { connections: self.max_connections.max(1), ..ConnectionLimits::default() }
    }

    /// Who is known. Read at start and on SIGHUP.
    ///
    /// # Errors
    /// [`Refusal`], with what is wrong there.
    pub fn access(&self) -> Result<Access, Refusal> {
        let refused = |what: String| Refusal::new("bad-root", what, "mend [api], or the file that it names");
        let tokens = match &self.tokens {
            Some(path) => read_file_or_empty(path, MAX_TOKENS_FILE)
                .map_err(|failure| Refusal::new("bad-root", failure.what, failure.todo))?,
            None => Vec::new(),
        };
        let tokens = String::from_utf8(tokens).map_err(|_| refused("tokens: not text".to_owned()))?;
        if !self.clients.is_empty() && self.client_ca.is_none() {
            return Err(refused("clients are named, and no client_ca that vouches for them".to_owned()));
        }
        Access::new(&tokens, &self.clients).map_err(|error| refused(error.to_string()))
    }

    /// Which certificate it shows; an own one is kept in `folder`.
    ///
    /// # Errors
    /// [`Refusal`], if there is a certificate without its key, or the other way about.
    pub fn tls(&self, folder: &Path) -> Result<Certificate, Refusal> {
        match (&self.certificate, &self.key) {
            (None, None) => Ok(Certificate::Own { folder: folder.to_owned(), names: self.names.clone() }),
            (Some(certificate), Some(key)) => {
                Ok(Certificate::Files { certificate: certificate.clone(), key: key.clone() })
            }
            _ => Err(Refusal::new(
                "bad-root",
                "[api] has a certificate without its key, or a key without its certificate",
                "name both, or none: the service makes its own",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_loopback_and_what_is_unknown_is_refused() {
        let config: ApiConfig = toml::from_str("").unwrap();
        assert!(config.listen.ip().is_loopback() && config.access().unwrap().is_empty());
        assert!(toml::from_str::<ApiConfig>("token = \"/x\"").unwrap_err().to_string().contains("unknown field"));
        let config: ApiConfig = toml::from_str(
            "listen = \"127.0.0.1:1\"\nclient_ca = \"/ca\"\nrate = { per_second = 1, burst = 2 }\n\
             [[clients]]\nname = \"robot\"\nrole = \"read\"\nsubject = \"CN=robot\"\n",
        )
        .unwrap();
        assert!(!config.access().unwrap().is_empty());
        assert_eq!(config.limits().rate, Rate { per_second: 1, burst: 2 });
        let nobody_vouches = ApiConfig { client_ca: None, ..config };
        assert!(nobody_vouches.access().unwrap_err().what.contains("no client_ca"));
        let half = ApiConfig { key: Some("/k".into()), ..ApiConfig::default() };
        assert!(half.tls(Path::new("/")).is_err());
    }
}
