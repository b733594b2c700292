//! Who the service is to agents: a certificate that they are told to take.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::api::tls;
use crate::refusal::Refusal;

/// A certificate with its key, and the file of it.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// For TLS.
    pub resolver: Arc<dyn ResolvesClientCert>,
    /// What agents are given.
    pub certificate: PathBuf,
}

impl ClientIdentity {
    /// Reads these files, or an own certificate in `folder`, made at the first start.
    ///
    /// # Errors
    /// [`Refusal`] `bad-root`.
    pub fn load(files: Option<(&Path, &Path)>, folder: &Path, provider: &CryptoProvider) -> Result<Self, Refusal> {
        let (certificate, key) = match files {
            Some((certificate, key)) => (certificate.to_owned(), key.to_owned()),
            None => tls::own(folder, "poll", &["goldseal-verifier".to_owned()])?,
        };
        let (chain, key_der) = tls::chain_and_key(&certificate, &key)?;
        let certified = CertifiedKey::from_der(chain, key_der, provider).map_err(|error| {
            Refusal::new(
                "bad-root",
                format!("{} and its key cannot be used: {error}", certificate.display()),
                "name a certificate and its own key in PEM, or leave both out: the service makes its own",
            )
        })?;
        Ok(Self { resolver: Arc::new(SingleCertAndKey::from(certified)), certificate })
    }
}
