//! One agent in software.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::tpm::PcrSelection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::forge::ak::{Kind, SoftQuote};
use crate::forge::machine::Machine;
use crate::forge::measurements::Measurement;

/// What an agent does with a request for evidence.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// It answers as it should.
    #[default]
    Honest,
    /// It takes the connection and says nothing.
    Stall,
    /// It says nothing from the beginning, not even TLS.
    StallHandshake,
    /// It sends a byte now and then.
    Drip,
    /// It answers with something else.
    Garbage,
    /// It answers with what is no HTTP.
    NoHttp,
    /// It answers with this status.
    Status(u16),
    /// It ends in the middle of its answer.
    Vanish,
    /// Its answer says that it is compressed.
    Compressed,
    /// Its answer has no end.
    Endless,
    /// It answers as it did at first.
    Replay,
    /// Its quotes are fresh, and for the first nonce it saw.
    OldNonce,
    /// Its quote is another machine's, whose AK it does not name.
    OtherQuote,
    /// It quotes PCR 10 alone.
    FewerPcrs,
    /// It leaves out the last entries of its list.
    Shrink(usize),
    /// One entry of its list says something else, with its template hash in order.
    Rewrite(usize),
    /// It begins its list somewhere else than was asked.
    StartAt(usize),
}

/// What it shows, and what it was asked.
#[derive(Debug)]
pub struct State {
    /// What it runs on.
    pub machine: Machine,
    /// What it does.
    pub behaviour: Behaviour,
    /// The entries from which evidence was asked for, in order.
    pub asked: Vec<u64>,
    /// All nonces, in order.
    pub nonces: Vec<String>,
    first_answer: Option<Vec<u8>>,
}

/// See the module.
#[derive(Debug)]
pub struct SoftAgent {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    certificate: Vec<u8>,
    client_ca: std::path::PathBuf,
    task: AbortHandle,
}

impl Drop for SoftAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SoftAgent {
    /// Listens on loopback, with a certificate of its own, for clients that this certificate is of.
    pub async fn start(machine: Machine, client_ca: &Path) -> Self {
        Self::start_at(machine, client_ca, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn start_at(machine: Machine, client_ca: &Path, address: SocketAddr) -> Self {
        let state =
            State { machine, behaviour: Behaviour::Honest, asked: Vec::new(), nonces: Vec::new(), first_answer: None };
        let state = Arc::new(Mutex::new(state));
        let (config, certificate) = server_config(client_ca);
        let (address, task) = listen(Arc::clone(&state), config, address).await;
        Self { state, address, certificate, client_ca: client_ca.to_owned(), task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// DER of its certificate.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its machine and the rest, to look at or to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A file is run on it.
    pub fn run(&self, path: &str, contents: &[u8]) {
        self.state().machine.run(path, contents);
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// It answers at the same place with another certificate.
    pub async fn change_certificate(&mut self) {
        self.task.abort();
        let (config, _) = server_config(&self.client_ca);
        // The port is free when the listener is dropped, which abort does not wait for.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if let Ok(listener) = TcpListener::bind(self.address).await {
                self.task = serve(Arc::clone(&self.state), config, listener);
                return;
            }
        }
        panic!("{} stays taken", self.address);
    }

    /// Nobody answers there any more.
    pub fn vanish(&self) {
        self.task.abort();
    }
}

fn server_config(client_ca: &Path) -> (Arc<ServerConfig>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["agent".to_owned()]).unwrap();
    let certificate = made.cert.der().to_vec();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(client_ca).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier);
    (Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap()), certificate)
}

async fn listen(state: Arc<Mutex<State>>, config: Arc<ServerConfig>, address: SocketAddr) -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, serve(state, config, listener))
}

fn serve(state: Arc<Mutex<State>>, config: Arc<ServerConfig>, listener: TcpListener) -> AbortHandle {
    let acceptor = TlsAcceptor::from(config);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (state, acceptor) = (Arc::clone(&state), acceptor.clone());
            tokio::spawn(async move {
                if matches!(state.lock().unwrap().behaviour, Behaviour::StallHandshake) {
                    tokio::time::sleep(Duration::from_secs(3_600)).await;
                }
                // Whoever has no certificate that it takes gets no further.
                if let Ok(stream) = acceptor.accept(stream).await {
                    requests(&state, stream).await;
                }
            });
        }
    });
    serving.abort_handle()
}

async fn requests(state: &Mutex<State>, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            let mut chunk = [0; 2_048];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(len) => buffer.extend_from_slice(&chunk[..len]),
            }
        };
        let request = String::from_utf8(buffer.drain(..end).collect()).unwrap();
        let target = request.split(' ').nth(1).unwrap().to_owned();
        let behaviour = state.lock().unwrap().behaviour.clone();
        if !answer(state, &behaviour, &target, &mut stream).await {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Whether the connection goes on.
async fn answer(
    state: &Mutex<State>,
    behaviour: &Behaviour,
    target: &str,
    stream: &mut (impl AsyncWrite + Unpin),
) -> bool {
    let body = state.lock().unwrap().answer(target);
    let head = |len: usize, more: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n{more}\r\n").into_bytes();
    let whole = |body: &[u8]| [&head(body.len(), ""), body].concat();
    let bytes = match behaviour {
        Behaviour::Stall | Behaviour::StallHandshake => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return false;
        }
        Behaviour::Drip => {
            let _ = stream.write_all(&head(body.len(), "")).await;
            for byte in body {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    break;
                }
            }
            return false;
        }
        Behaviour::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {}
            return false;
        }
        Behaviour::Vanish => {
            let _ = stream.write_all(&[&head(body.len(), ""), &body[..body.len() / 2]].concat()).await;
            let _ = stream.flush().await;
            return false;
        }
        Behaviour::Garbage => whole(&[0x41; 500]),
        Behaviour::NoHttp => b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        Behaviour::Status(status) => format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        Behaviour::Compressed => [&head(body.len(), "Content-Encoding: gzip\r\n"), &body[..]].concat(),
        _ => whole(&body),
    };
    stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok()
}

impl State {
    fn answer(&mut self, target: &str) -> Vec<u8> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        let nonce = value("nonce").unwrap_or_default();
        let is_keylime = path.starts_with("/v2.1/");
        let from: usize = value(if is_keylime { "ima_ml_entry" } else { "from" }).unwrap_or_default().parse().unwrap();
        self.asked.push(u64::try_from(from).unwrap());
        self.nonces.push(nonce.clone());
        let quoted = if matches!(self.behaviour, Behaviour::OldNonce) { self.nonces[0].clone() } else { nonce };
        let answer = match path {
            "/v1/evidence" => self.goldseal(&hex(&quoted), from),
            "/v2.1/quotes/integrity" => {
                assert_eq!((value("mask").as_deref(), value("partial").as_deref()), (Some("0x7ff"), Some("1")));
                self.keylime(quoted.as_bytes(), from)
            }
            other => panic!("asked for {other}"),
        };
        let first = self.first_answer.get_or_insert_with(|| answer.clone()).clone();
        if matches!(self.behaviour, Behaviour::Replay) { first } else { answer }
    }

    fn goldseal(&mut self, nonce: &[u8], from: usize) -> Vec<u8> {
        let selection = self.machine.selection.clone();
        let SoftQuote { attest, signature, pcrs_blob } = self.quote(nonce, &selection);
        let (first, list) = self.list(from);
        let [attest, signature, pcrs, ak] =
            [attest, signature, pcrs_blob, self.machine.tpm.public_area()].map(|part| Base64::encode_string(&part));
        let head = format!(
            "goldseal-evidence 1\nquote {attest}\nsignature {signature}\npcrs {pcrs}\nlist {first} little\nak {ak}\n\n"
        );
        let list: Vec<u8> = list.iter().flat_map(Measurement::listed).collect();
        [head.into_bytes(), list].concat()
    }

    /// PCR 16 is in every quote of Keylime's agents; the list is text.
    fn keylime(&mut self, nonce: &[u8], from: usize) -> Vec<u8> {
        let selection = PcrSelection::new((0..=10).chain([16]).map(|pcr| (HashAlgorithm::Sha256, pcr))).unwrap();
        let SoftQuote { attest, signature, pcrs_blob } = self.quote(nonce, &selection);
        let [attest, signature, pcrs] = [attest, signature, pcrs_blob].map(|part| Base64::encode_string(&part));
        let (first, list) = self.list(from);
        let lines: String = list.iter().map(Measurement::line).collect();
        let results = serde_json::json!({
            "quote": format!("r{attest}:{signature}:{pcrs}"), "hash_alg": "sha256", "enc_alg": "rsa", "sign_alg": "ecdsa",
            "ima_measurement_list": lines, "ima_measurement_list_entry": first,
        });
        serde_json::json!({ "code": 200, "status": "Success", "results": results }).to_string().into_bytes()
    }

    fn quote(&mut self, nonce: &[u8], selection: &PcrSelection) -> SoftQuote {
        match self.behaviour {
            Behaviour::OtherQuote => {
                let mut other = Machine::perfect();
                other.tpm.use_key(if self.machine.tpm.kind() == Kind::P256 { Kind::RsaSsa } else { Kind::P256 });
                other.tpm.quote(nonce, selection)
            }
            Behaviour::FewerPcrs => {
                let fewer = PcrSelection::new([(HashAlgorithm::Sha256, 10)]).unwrap();
                self.machine.tpm.quote(nonce, &fewer)
            }
            _ => self.machine.tpm.quote(nonce, selection),
        }
    }

    /// From the entry asked for, or from the first if there is none such.
    fn list(&self, from: usize) -> (usize, Vec<Measurement>) {
        let mut list = self.machine.list.clone();
        match self.behaviour {
            Behaviour::Shrink(count) => list.truncate(list.len() - count),
            Behaviour::Rewrite(index) => list[index] = Measurement::ng("/usr/bin/bash", b"something else"),
            _ => {}
        }
        let from = if let Behaviour::StartAt(index) = self.behaviour { index } else { from };
        let first = if from > list.len() { 0 } else { from };
        (first, list.split_off(first))
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
