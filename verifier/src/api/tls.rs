//! Certificates of the service's own: the one with which the API answers, and those that it takes from clients; and the one
//! that agents are shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldseal_cli::input::read_file;
use goldseal_cli::output::AtomicFile;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::hex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::refusal::Refusal;

/// Longest file of certificates: a few hundred of them.
const MAX_PEM: u64 = 1 << 20;

/// Which certificate the API shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// These files, in PEM.
    Files {
        /// The certificate, and those up to its authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// One that vouches for itself, made at the first start and kept in this folder as `api.crt`. Clients are given it as a file, or
    /// its fingerprint.
    Own {
        /// The folder.
        folder: PathBuf,
        /// What the service is called.
        names: Vec<String>,
    },
}

/// How the API speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate's DER, in hex: what a tenant pins.
    pub fingerprint: String,
    /// The file of the certificate.
    pub certificate: PathBuf,
}

impl Tls {
    /// Reads the certificate, or makes it; with a CA list clients may show certificates of their own.
    ///
    /// # Errors
    /// [`Refusal`] `bad-root` for what cannot be used.
    pub fn load(certificate: &Certificate, client_ca: Option<&Path>) -> Result<Self, Refusal> {
        let (file, key) = match certificate {
            Certificate::Files { certificate, key } => (certificate.clone(), key.clone()),
            Certificate::Own { folder, names } => own(folder, "api", names)?,
        };
        let (chain, key_der) = chain_and_key(&file, &key)?;
        let fingerprint = chain.first().map(|leaf| hex::encode(Digest::sha256(leaf).as_bytes())).unwrap_or_default();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| unusable(&file, &error))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| unusable(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| unusable(path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key_der).map_err(|error| unusable(&key, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint, certificate: file })
    }
}

/// A certificate, those up to its authority, and its key.
///
/// # Errors
/// [`Refusal`] `bad-root`.
pub fn chain_and_key(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Refusal> {
    let chain = certificates(certificate)?;
    if chain.is_empty() {
        return Err(unusable(certificate, &"it holds no certificate"));
    }
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, &error))?;
    Ok((chain, key_der))
}

/// The files of an own certificate, `STEM.crt` and `STEM.key`; made where there are none.
///
/// # Errors
/// [`Refusal`] `bad-root`.
pub fn own(folder: &Path, stem: &str, names: &[String]) -> Result<(PathBuf, PathBuf), Refusal> {
    let (certificate, key) = (folder.join(format!("{stem}.crt")), folder.join(format!("{stem}.key")));
    if !certificate.exists() {
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| unusable(&certificate, &error))?;
        // The key first: a certificate without one would never be mended.
        write(&key, 0o600, made.signing_key.serialize_pem().as_bytes())?;
        write(&certificate, 0o644, made.cert.pem().as_bytes())?;
    }
    Ok((certificate, key))
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Refusal> {
    let file = AtomicFile::create_with_mode(path, mode).and_then(|file| file.fill(|to| to.write_all(bytes)));
    file.and_then(|file| file.replace()).map_err(|failure| Refusal::new("bad-root", failure.what, failure.todo))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let bytes = read(path)?;
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| unusable(path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    read_file(path, MAX_PEM).map_err(|failure| Refusal::new("bad-root", failure.what, failure.todo))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(
        "bad-root",
        format!("{} cannot be used for TLS: {error}", Printable::path(path)),
        "name a certificate and its key in PEM, or leave both out: the service makes its own",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_own_certificate_is_made_once_and_its_key_is_private() {
        let folder = tempfile::TempDir::new().unwrap();
        let own = Certificate::Own { folder: folder.path().to_owned(), names: vec!["localhost".to_owned()] };
        let (first, second) = (Tls::load(&own, None).unwrap(), Tls::load(&own, None).unwrap());
        assert_eq!(first.fingerprint, second.fingerprint);
        let key = folder.path().join("api.key");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        // openssl says the same of it.
        let openssl = std::process::Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(&first.certificate)
            .output()
            .unwrap();
        let said = String::from_utf8(openssl.stdout).unwrap().to_lowercase().replace(':', "");
        assert!(said.trim().ends_with(&first.fingerprint), "{said}");
        let other = Certificate::Files { certificate: key.clone(), key };
        assert!(Tls::load(&other, None).unwrap_err().what.contains("holds no certificate"));
    }
}
