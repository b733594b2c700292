//! The listener, over TLS on loopback.

use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::api::access::{ClientConfig as KnownClient, Role};
use crate::api::listener::{self, ConnectionLimits};
use crate::api::tls::{Certificate, Tls};

struct Served {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
    _world: World,
}

async fn serve(world: World, limits: ConnectionLimits, client_ca: Option<&Path>) -> Served {
    let own = Certificate::Own { folder: world.folder.path().to_owned(), names: vec!["localhost".to_owned()] };
    let tls = Tls::load(&own, client_ca).unwrap();
    let certificate = CertificateDer::from_pem_file(&tls.certificate).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = router(Arc::clone(&world.api));
    let ended = tokio::spawn(listener::serve(listener, Some(tls.config), router, limits, async {
        let _ = stopped.await;
    }));
    Served { address, certificate, stop: Some(stop), ended, _world: world }
}

impl Served {
    async fn connect(
        &self,
        client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

/// What the other side says until it closes, or nothing if it only closes.
async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn quick() -> ConnectionLimits {
    ConnectionLimits {
        // A quarter of them for one address: three.
        connections: 12,
        handshake: Duration::from_millis(500),
        header: Duration::from_millis(500),
        lifetime: Duration::from_secs(3),
    }
}

const ASK: &str = "GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn whoever_stalls_is_closed_and_others_are_served() {
    let served = serve(World::new().await, quick(), None).await;
    let start = Instant::now();
    // Says nothing at all; says half a header; never reads.
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let mut half = served.connect(None).await.unwrap();
    half.write_all(b"GET /v1/health HTTP/1.1\r\nhost:").await.unwrap();
    let mut good = served.connect(None).await.unwrap();
    good.write_all(ASK.as_bytes()).await.unwrap();
    let answer = read_all(&mut good).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    assert_eq!(read_all(&mut silent).await, "");
    assert!(!read_all(&mut half).await.contains("200"));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // An address has its places, and no more.
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(served.connect(None).await.unwrap());
    }
    assert!(served.connect(None).await.is_err());
    drop(held);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let served = serve(World::new().await, quick(), None).await;
    for garbage in ["\r\n\r\n\0\u{1b}[2J", "GET /v1/health HTTP/9.9\r\n\r\n"] {
        let mut stream = served.connect(None).await.unwrap();
        stream.write_all(garbage.as_bytes()).await.unwrap();
        assert!(!read_all(&mut stream).await.contains(" 200 "), "{garbage:?}");
    }
    let mut stream = served.connect(None).await.unwrap();
    let long = format!("GET /v1/health HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let _ = stream.write_all(long.as_bytes()).await;
    assert!(!read_all(&mut stream).await.contains(" 200 "));
    // Plain HTTP on the port is no TLS.
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(ASK.as_bytes()).await.unwrap();
    assert!(!read_all(&mut plain).await.contains("HTTP/1.1"));
}

#[tokio::test]
async fn it_stops_when_asked_and_finishes_what_is_under_way() {
    let mut served = serve(World::new().await, ConnectionLimits::default(), None).await;
    let mut idle = served.connect(None).await.unwrap();
    idle.write_all(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    idle.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    served.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), &mut served.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_client_certificate_counts_if_the_list_vouches_for_it_and_it_is_known() {
    let issue = |name: &str, issuer: &rcgen::Issuer<'_, rcgen::KeyPair>| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, issuer).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    };
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, others) = (authority("ours"), authority("others"));
    let world = World::new().await;
    let ca = world.folder.path().join("ca.pem");
    fs::write(&ca, ours.pem()).unwrap();
    let robot =
        KnownClient { name: "robot".to_owned(), role: Role::Read, sha256: None, subject: Some("CN=robot".to_owned()) };
    world.api.set_access(Access::new("", &[robot]).unwrap());
    let served = serve(world, quick(), Some(&ca)).await;
    let status = async |client| {
        let mut stream = served.connect(client).await.ok()?;
        let ask = "GET /v1/agents HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.ok()?;
        read_all(&mut stream).await.split(' ').nth(1).map(str::to_owned)
    };
    assert_eq!(status(Some(issue("robot", &ours))).await.as_deref(), Some("200"));
    assert_eq!(status(Some(issue("stranger", &ours))).await.as_deref(), Some("401"));
    assert_eq!(status(None).await.as_deref(), Some("401"));
    // One of the same name by somebody else does not even get through the handshake.
    assert_eq!(status(Some(issue("robot", &others))).await, None);
}
