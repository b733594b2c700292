//! Which verifier is asked, and how it is known: from the command line, else from a file.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goldseal_cli::failure::Failure;
use goldseal_cli::input::read_file;
use goldseal_cli::printable::Printable;
use goldseal_cli::trusted::TrustArgs;
use goldseal_verifier_core::hex;
use serde::Deserialize;

use crate::client::Client;
use crate::tls::{Identity, Known, Tls, certificates, fingerprint};

/// Where the file stands unless said otherwise.
pub const CONFIG_FILE: &str = "/etc/goldseal/tenant.toml";

/// The service's port unless said otherwise.
const VERIFIER_PORT: u16 = 8_881;

/// An agent's port unless said otherwise: Keylime's.
const AGENT_PORT: u16 = 9_002;

/// Seconds for an answer unless said otherwise.
const TIMEOUT: u64 = 10;

/// Longest configuration, and longest file of a token.
const MAX_CONFIG: u64 = 1 << 20;
const MAX_TOKEN_FILE: u64 = 4_096;

/// Which verifier is asked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Verifier")]
pub struct ConnectArgs {
    /// The verifier, as HOST or HOST:PORT
    #[arg(short = 'v', long, global = true, value_name = "VERIFIER")]
    pub verifier: Option<String>,
    /// SHA-256 of the verifier's certificate, as its log has it
    #[arg(long, global = true, value_name = "HEX", conflicts_with_all = ["verifier_cert", "ca"])]
    pub fingerprint: Option<String>,
    /// The verifier's very certificate, PEM
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "ca")]
    pub verifier_cert: Option<PathBuf>,
    /// Authorities of the verifier's certificate, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with the bearer token
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Client certificate instead of a token, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Seconds for an answer [default: 10]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// File with what is not said on the command line [default: /etc/goldseal/tenant.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long, global = true)]
    pub json: bool,
}

/// What the file may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    verifier: Option<String>,
    fingerprint: Option<String>,
    verifier_cert: Option<PathBuf>,
    ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    timeout: Option<u64>,
    agent_port: Option<u16>,
    /// Sealed list that machines are given.
    pub policy: Option<PathBuf>,
    /// The name that it must have.
    pub name: Option<String>,
    trust: Vec<PathBuf>,
    threshold: Option<NonZeroUsize>,
    trust_root: Vec<PathBuf>,
    /// Folder that remembers what was accepted.
    pub state: Option<PathBuf>,
    /// Whether the first EK that comes is believed.
    pub trust_first_registration: bool,
}

impl Config {
    /// Reads the file that is named, else the usual one where there is one.
    ///
    /// # Errors
    /// `unreadable`, `malformed`.
    pub fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(CONFIG_FILE));
        if named.is_none() && !path.exists() {
            return Ok(Self::default());
        }
        let bytes = read_file(path, MAX_CONFIG)?;
        let text = String::from_utf8_lossy(&bytes);
        toml::from_str(&text).map_err(|error| {
            let what = format!("{}: {}", Printable::path(path), Printable(error.message().as_bytes()));
            Failure::malformed(what, "see docs/tenant.md for what it may say")
        })
    }

    /// Whose seals count: as typed, else as the file says.
    pub fn trust(&self, typed: TrustArgs) -> TrustArgs {
        if typed.trust.is_empty() && typed.trust_root.is_empty() {
            TrustArgs { trust: self.trust.clone(), threshold: self.threshold, trust_root: self.trust_root.clone() }
        } else {
            typed
        }
    }

    /// `HOST:PORT` of an agent.
    ///
    /// # Errors
    /// `usage`.
    pub fn agent_address(&self, typed: &str) -> Result<String, Failure> {
        with_port(typed, self.agent_port.unwrap_or(AGENT_PORT))
    }

    /// The verifier, to be asked.
    ///
    /// # Errors
    /// `usage` if it is not said which, or nothing says how it is known; `unreadable`, `malformed`.
    pub fn connect(&self, args: &ConnectArgs) -> Result<Client, Failure> {
        let verifier = args.verifier.as_ref().or(self.verifier.as_ref()).ok_or_else(|| {
            Failure::usage(
                "it is not said which verifier",
                format!("name it: -v VERIFIER, or verifier = in {CONFIG_FILE}"),
            )
        })?;
        let verifier = verifier.strip_prefix("https://").unwrap_or(verifier).trim_end_matches('/');
        let verifier = with_port(verifier, VERIFIER_PORT)?;
        let known = self.known(args)?;
        let identity = match (
            args.client_cert.as_ref().or(self.client_cert.as_ref()),
            args.client_key.as_ref().or(self.client_key.as_ref()),
        ) {
            (Some(certificate), Some(key)) => Some(Identity::read(certificate, key)?),
            _ => None,
        };
        let token = args.token_file.as_ref().or(self.token_file.as_ref()).map(|path| token(path)).transpose()?;
        if token.is_none() && identity.is_none() {
            return Err(Failure::usage(
                "nothing says who asks",
                "name a token: --token-file FILE, or a certificate: --client-cert FILE --client-key FILE",
            ));
        }
        let deadline = Duration::from_secs(args.timeout.or(self.timeout).unwrap_or(TIMEOUT).clamp(1, 3_600));
        Ok(Client::new(verifier, Tls::new(&known, identity)?, token, deadline))
    }

    fn known(&self, args: &ConnectArgs) -> Result<Known, Failure> {
        let typed = args.fingerprint.is_some() || args.verifier_cert.is_some() || args.ca.is_some();
        let (hex_digest, certificate, ca) = if typed {
            (&args.fingerprint, &args.verifier_cert, &args.ca)
        } else {
            (&self.fingerprint, &self.verifier_cert, &self.ca)
        };
        match (hex_digest, certificate, ca) {
            (Some(digest), None, None) => {
                let lower = digest.replace(':', "").to_lowercase();
                let mut sha256 = [0; 32];
                hex::decode_lower(lower.as_bytes(), &mut sha256).map(|()| Known::Fingerprint(sha256)).ok_or_else(|| {
                    Failure::usage(
                        format!("{} is no fingerprint", Printable(digest.as_bytes())),
                        "it has 64 hex digits: openssl x509 -noout -fingerprint -sha256 -in FILE",
                    )
                })
            }
            (None, Some(path), None) => {
                let chain = certificates(path)?;
                Ok(chain
                    .first()
                    .map_or_else(|| Known::Authorities(Vec::new()), |leaf| Known::Fingerprint(fingerprint(leaf))))
            }
            (None, None, Some(path)) => Ok(Known::Authorities(certificates(path)?)),
            _ => Err(Failure::usage(
                "nothing says which certificate the verifier has, or too much does",
                "say one of: --fingerprint HEX, as the service's log has it; --verifier-cert FILE; --ca FILE",
            )),
        }
    }
}

fn token(path: &Path) -> Result<String, Failure> {
    let bytes = read_file(path, MAX_TOKEN_FILE)?;
    let token = bytes.trim_ascii();
    let is_right = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    let token = std::str::from_utf8(token).ok().filter(|_| is_right);
    token.map(str::to_owned).ok_or_else(|| {
        Failure::malformed(
            format!("{} holds no token", Printable::path(path)),
            "a token is one line, as `goldseal tenant token NAME -o FILE` writes it",
        )
    })
}

/// `HOST:PORT`; an IPv6 address stands in brackets.
fn with_port(typed: &str, port: u16) -> Result<String, Failure> {
    let host_ends = match typed.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|at| at + 2),
        None => Some(typed.find(':').unwrap_or(typed.len())),
    };
    let split = host_ends.and_then(|at| typed.split_at_checked(at));
    let is_right = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte));
    match split.filter(|(host, _)| !host.is_empty() && is_right(host)) {
        Some((host, "")) => Ok(format!("{host}:{port}")),
        Some((host, rest))
            if rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) =>
        {
            Ok(format!("{host}{rest}"))
        }
        _ => Err(Failure::usage(
            format!("{} is neither HOST nor HOST:PORT", Printable(typed.as_bytes())),
            "for example neptune, neptune:9002, 10.0.0.7 or [::1]:9002",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_there_is_none() {
        let port = |typed| with_port(typed, 7).map_err(|failure| failure.reason);
        for (typed, expected) in [
            ("neptune", "neptune:7"),
            ("neptune:9", "neptune:9"),
            ("10.0.0.7", "10.0.0.7:7"),
            ("[::1]", "[::1]:7"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(port(typed), Ok(expected.to_owned()));
        }
        for bad in ["", ":9", "a:", "a:0", "a:65536", "::1", "[::1", "a/b", "a b", "user@a", "http://a", "a\n"] {
            assert_eq!(port(bad), Err("usage"), "{bad:?}");
        }
    }

    #[test]
    fn what_is_unknown_in_the_file_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("tenant.toml");
        std::fs::write(&file, "verifier = \"a\"\ntrust = [\"k.pub\"]\n").unwrap();
        let config = Config::read(Some(&file)).unwrap();
        let nothing = || TrustArgs { trust: Vec::new(), threshold: None, trust_root: Vec::new() };
        assert_eq!(config.trust(nothing()).trust, [PathBuf::from("k.pub")]);
        // What is typed is not mixed with what stands in the file.
        let typed = config.trust(TrustArgs { trust_root: vec!["r".into()], ..nothing() });
        assert_eq!((typed.trust.len(), typed.trust_root.len()), (0, 1));
        std::fs::write(&file, "verifer = \"a\"\n").unwrap();
        assert!(Config::read(Some(&file)).unwrap_err().what.contains("unknown field `verifer`"));
        assert_eq!(Config::read(Some(&folder.path().join("none"))).unwrap_err().reason, "unreadable");
    }
}
