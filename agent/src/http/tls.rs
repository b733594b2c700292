//! Who may connect: clients with a certificate of a configured CA, on every route. Keylime's own agent asks for one on
//! `/version` too (rust-keylime 0.2.9: one listener with one TLS context, which fails without a client certificate).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::TlsIdentity;

/// The longest file of CA certificates: some two hundred of them.
const MAX_CA_FILE: u64 = 1 << 20;

/// TLS 1.2 and 1.3, with client certificates and without resumption: each connection shows its certificate, so that a
/// certificate that has expired opens none.
pub(super) fn server_config(identity: &TlsIdentity, client_cas: &[PathBuf]) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in client_cas {
        for certificate in read_cas(path)? {
            roots.add(certificate).map_err(|_| TlsError::CaFile { path: path.clone() })?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoCa);
    }
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let clients = clients.build().map_err(|error| TlsError::Setup(error.to_string()))?;
    let (key, certificate) = identity.pair();
    let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)
        .map_err(setup)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn read_cas(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error: io::Error| TlsError::CaUnreadable { path: path.to_owned(), kind: error.kind() };
    if std::fs::metadata(path).map_err(fault)?.len() > MAX_CA_FILE {
        return Err(TlsError::CaFile { path: path.to_owned() });
    }
    let pem = std::fs::read(path).map_err(fault)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| TlsError::CaFile { path: path.to_owned() })
}

/// Why TLS cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// Nobody could connect.
    NoCa,
    /// A file of CA certificates cannot be read.
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// It holds no certificates, or something else.
    CaFile {
        /// The file.
        path: PathBuf,
    },
    /// The library refused, in its words.
    Setup(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCa => f.write_str(
                "no CA for client certificates is configured\nname the CA file of the verifier, or nobody can connect",
            ),
            Self::CaUnreadable { path, kind } => {
                write!(f, "{}: {kind}\nname a readable PEM file with CA certificates", path.display())
            }
            Self::CaFile { path } => {
                write!(f, "{}: no CA certificates in PEM\nname a PEM file with CA certificates", path.display())
            }
            Self::Setup(error) => write!(f, "TLS cannot be set up: {error}\nsee the CA files and the state folder"),
        }
    }
}

impl std::error::Error for TlsError {}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    #[test]
    fn there_is_no_server_that_trusts_nobody_or_cannot_tell() {
        let folder = tempfile::tempdir().unwrap();
        let identity = TlsIdentity::load_or_make(folder.path(), &["localhost".to_owned()]).unwrap();
        let error = |cas: &[PathBuf]| server_config(&identity, cas).map(drop).unwrap_err();
        assert_eq!(error(&[]), TlsError::NoCa);
        let path = folder.path().join("ca.pem");
        assert_eq!(
            error(slice::from_ref(&path)),
            TlsError::CaUnreadable { path: path.clone(), kind: io::ErrorKind::NotFound }
        );
        let good = identity.certificate_pem();
        let broken = good.replacen("MII", "MIA", 1);
        let long = good.repeat(4_000);
        for bad in ["", "no PEM", identity.public_key_pem(), &broken, &long] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(error(slice::from_ref(&path)), TlsError::CaFile { path: path.clone() }, "{bad:.200}");
        }
        std::fs::write(&path, good.repeat(2)).unwrap();
        let config = server_config(&identity, &[path]).unwrap();
        assert_eq!(config.send_tls13_tickets, 0);
        assert!(!config.session_storage.can_cache() && !config.ticketer.enabled());
    }
}
