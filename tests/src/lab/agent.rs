//! An agent on a port of loopback, and curl(1) to ask it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use goldseal_agent::http::{Patience, Server, ServerConfig, Sources, TlsIdentity, boot_time};
use goldseal_agent::measurements::{Form, List};
use goldseal_agent::tpm::{AkKind, Tpm, TpmConfig};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Pki, Swtpm};
use crate::World;

/// A running agent, with its state and the lists it reads in a folder of its own. It stops when it goes.
#[derive(Debug)]
pub struct Agent {
    pub world: World,
    pub pki: Pki,
    pub ak: AkKind,
    pub patience: Patience,
    /// How long it waits for its TPM.
    pub deadline: Duration,
    client: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Agent {
    /// Not started yet; its lists are empty.
    pub fn stopped() -> Self {
        let (world, pki) = (World::new(), Pki::new());
        world.file("ascii", "");
        world.file("binary", "");
        let client = pki.client("verifier");
        let deadline = Duration::from_secs(20);
        Self { world, pki, ak: AkKind::EccP256, patience: Patience::default(), deadline, client, running: None }
    }

    /// Started at this TPM.
    pub fn at(swtpm: &Swtpm) -> Self {
        let mut agent = Self::stopped();
        agent.start(swtpm);
        agent
    }

    pub fn start(&mut self, swtpm: &Swtpm) {
        self.start_at(swtpm.tcti());
    }

    /// Starts it at a TPM that is reached so.
    pub fn start_at(&mut self, tcti: String) {
        assert!(self.running.is_none(), "it runs");
        let mut tpm = TpmConfig::new(tcti);
        (tpm.ak, tpm.deadline) = (self.ak, self.deadline);
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let identity = TlsIdentity::load_or_make(&self.world.path(""), &names).unwrap();
        fs::write(self.world.path("server.pem"), identity.certificate_pem()).unwrap();
        let sources = Sources {
            tpm: Tpm::start(tpm).unwrap(),
            ascii: List::open(&self.world.path("ascii"), Form::Ascii).unwrap(),
            binary: List::open(&self.world.path("binary"), Form::Binary).unwrap(),
            banks: Vec::new(),
            boot_log: fs::read(self.world.path("boot-log")).ok(),
            boot_time: boot_time(),
        };
        let config = ServerConfig {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            client_cas: vec![self.pki.ca()],
            patience: self.patience,
        };
        let server = Server::bind(&config, &identity, sources).unwrap();
        let address = server.local_address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let stopped = async { drop(stopped.await) };
            runtime.block_on(server.serve(stopped)).unwrap();
        });
        self.running = Some(Running { address, stop, thread });
    }

    /// Waits until it has ended, which must be as it should.
    pub fn stop(&mut self) {
        let Some(Running { stop, thread, .. }) = self.running.take() else { return };
        let _ = stop.send(());
        thread.join().unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// The certificate of a client that may connect, with its key.
    pub fn client(&self) -> &Path {
        &self.client
    }

    /// The agent's own certificate.
    pub fn server_certificate(&self) -> PathBuf {
        self.world.path("server.pem")
    }

    /// Asks by curl(1), with the client certificate that may.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask(path, &[])
    }

    /// The same with further arguments of curl.
    #[track_caller]
    pub fn ask(&self, path: &str, arguments: &[&str]) -> Answer {
        let output = self.curl(path, arguments, Some(&self.client));
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        Answer::parse(&output.stdout)
    }

    /// curl as it ends, with this client certificate.
    pub fn curl(&self, path: &str, arguments: &[&str], client: Option<&Path>) -> Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--globoff", "--max-time", "60", "--cacert"]);
        command.arg(self.server_certificate());
        if let Some(client) = client {
            command.arg("--cert").arg(client);
        }
        command.args(arguments).arg(format!("https://{}{path}", self.address()));
        command.output().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

/// What curl got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let headers = String::from_utf8(bytes[..end].to_ascii_lowercase()).unwrap();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `results` of a success in Keylime's envelope.
    #[track_caller]
    pub fn results(&self) -> Value {
        let answer = self.json();
        assert_eq!((self.status, &answer["code"], &answer["status"]), (200, &200.into(), &"Success".into()));
        answer["results"].clone()
    }
}
