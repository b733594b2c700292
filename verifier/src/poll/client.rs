//! One connection to one agent: pinned, mutually authenticated, bounded in time and size.
//!
//! Promises: the peer holds the key of exactly the certificate that was registered; no session is resumed (rust-keylime issues
//! tickets, and answers a resumed session with a fatal alert: docs/service.md); no step takes longer than it may; no
//! answer is longer than it may be, is encoded, or leads elsewhere. Does not promise anything of what an answer says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Longest head of an answer, status line and all headers: what common servers allow.
const MAX_HEADERS_LEN: usize = 16 << 10;

/// Most headers in it.
const MAX_HEADERS: usize = 64;

/// An answer up to this length is collected whoever sends it.
const SMALL: usize = 1 << 20;

/// So many longer ones are collected at the same time, so that agents together cannot take all memory.
const LARGE_AT_ONCE: usize = 4;

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To a TCP connection.
    pub connect: Duration,
    /// From there to a TLS session.
    pub handshake: Duration,
    /// From a request to the head of its answer: a TPM takes its time, and may have others to serve.
    pub first_byte: Duration,
    /// All of it.
    pub whole: Duration,
}

/// What all connections have in common.
#[derive(Debug)]
pub struct Client {
    provider: Arc<CryptoProvider>,
    identity: Arc<dyn ResolvesClientCert>,
    timeouts: Timeouts,
    max_body: usize,
    large: Semaphore,
}

impl Client {
    /// A client with this certificate.
    pub fn new(
        provider: Arc<CryptoProvider>,
        identity: Arc<dyn ResolvesClientCert>,
        timeouts: Timeouts,
        max_body: usize,
    ) -> Self {
        Self { provider, identity, timeouts, max_body, large: Semaphore::new(LARGE_AT_ONCE) }
    }

    /// Connects to `HOST:PORT`, to whoever holds the key of exactly this certificate.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn connect(&self, address: &str, certificate: &[u8]) -> Result<Connection<'_>, ClientError> {
        let deadline = Instant::now() + self.timeouts.whole;
        let connecting = timeout(self.timeouts.connect, TcpStream::connect(address)).await;
        let stream = connecting.map_err(|_| ClientError::Timeout(Step::Connect))?.map_err(ClientError::connect)?;
        // Requests are short, and each is waited for.
        stream.set_nodelay(true).map_err(ClientError::connect)?;
        let connector = TlsConnector::from(Arc::new(self.tls(certificate)?));
        let handshake = connector.connect(server_name(address), stream);
        let stream = timeout(self.timeouts.handshake, handshake).await;
        let stream = stream.map_err(|_| ClientError::Timeout(Step::Handshake))?.map_err(ClientError::handshake)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEADERS_LEN)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        // It ends with the sender, or is ended with it.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { client: self, address: address.to_owned(), sender, driver: driver.abort_handle(), deadline })
    }

    fn tls(&self, certificate: &[u8]) -> Result<ClientConfig, ClientError> {
        let verifier = Pinned { certificate: certificate.to_vec(), provider: Arc::clone(&self.provider) };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Broken(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::clone(&self.identity));
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }
}

/// The certificate is compared byte for byte, so that the name in it is of no matter.
fn server_name(address: &str) -> ServerName<'static> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned());
    name.unwrap_or_else(|_| ServerName::from(std::net::IpAddr::from([0, 0, 0, 0])))
}

/// A connection. Dropping it ends it.
#[derive(Debug)]
pub struct Connection<'c> {
    client: &'c Client,
    address: String,
    sender: http1::SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
    deadline: Instant,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Connection<'_> {
    /// Asks for `target`, a path with its query.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&mut self, target: &str) -> Result<Answer, ClientError> {
        let request = Request::get(target)
            .header(header::HOST, &self.address)
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::USER_AGENT, concat!("goldseal-verifier/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let first_byte = self.deadline.min(Instant::now() + self.client.timeouts.first_byte);
        let answer = timeout_at(first_byte, self.sender.send_request(request)).await;
        let answer = answer.map_err(|_| ClientError::Timeout(Step::FirstByte))?.map_err(|e| ClientError::broken(&e))?;
        if let Some(encoding) = answer.headers().get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err(ClientError::Encoded);
        }
        let status = answer.status();
        let body = timeout_at(self.deadline, self.collect(answer)).await;
        Ok(Answer { status, body: body.map_err(|_| ClientError::Timeout(Step::Body))?? })
    }

    async fn collect(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let max = self.client.max_body;
        let mut body = answer.into_body();
        let mut collected = BytesMut::new();
        let mut permit = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::broken(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            let len = collected.len().saturating_add(data.len());
            if len > max {
                return Err(ClientError::TooLong { max });
            }
            if len > SMALL && permit.is_none() {
                // It is never closed.
                permit = self.client.large.acquire().await.ok();
            }
            collected.extend_from_slice(&data);
        }
        Ok(collected.freeze())
    }
}

/// Which step took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The TCP connection.
    Connect,
    /// The TLS session.
    Handshake,
    /// The head of an answer.
    FirstByte,
    /// The rest of it.
    Body,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection.
    Connect(String),
    /// Whoever answers has another certificate than was registered.
    OtherCertificate,
    /// No TLS session.
    Tls(String),
    /// It took too long.
    Timeout(Step),
    /// The connection ended, or what came is no HTTP.
    Broken(String),
    /// The answer is longer than any may be.
    TooLong {
        /// The limit.
        max: usize,
    },
    /// The answer is compressed: nobody asked for that, and a short one may become a long one.
    Encoded,
}

impl ClientError {
    fn connect(error: std::io::Error) -> Self {
        Self::Connect(error.to_string())
    }

    fn handshake(error: std::io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match tls {
            Some(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
                Self::OtherCertificate
            }
            Some(tls) => Self::Tls(tls.to_string()),
            None => Self::Tls(error.to_string()),
        }
    }

    fn broken(error: &hyper::Error) -> Self {
        // What caused it says more: of a refused client certificate that alert.
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Broken(format!("{error}{cause}"))
    }

    /// A stable word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "no-connection",
            Self::OtherCertificate => "other-certificate",
            Self::Tls(_) => "no-tls",
            Self::Timeout(_) => "timeout",
            Self::Broken(_) => "broken-off",
            Self::TooLong { .. } => "too-long",
            Self::Encoded => "encoded",
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::OtherCertificate => f.write_str("whoever answers there has another certificate than was registered"),
            Self::Tls(error) => write!(f, "no TLS session: {error}"),
            Self::Timeout(Step::Connect) => f.write_str("no connection in time"),
            Self::Timeout(Step::Handshake) => f.write_str("no TLS session in time"),
            Self::Timeout(Step::FirstByte) => f.write_str("no answer in time"),
            Self::Timeout(Step::Body) => f.write_str("the answer did not end in time"),
            Self::Broken(error) => write!(f, "the answer broke off: {error}"),
            Self::TooLong { max } => write!(f, "the answer is longer than {max} bytes"),
            Self::Encoded => f.write_str("the answer is compressed, which was not asked for"),
        }
    }
}

impl std::error::Error for ClientError {}

/// Takes one certificate, byte for byte, and nothing else.
#[derive(Debug)]
struct Pinned {
    certificate: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if end_entity.as_ref() == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
