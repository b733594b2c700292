//! A verifier that says what a test tells it to, over TLS on loopback.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

/// What is said.
pub(crate) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str, String),
    /// These bytes in place of an answer.
    Raw(Vec<u8>),
    /// A header, then a byte now and then for ever.
    Drip,
    /// A header that claims nothing, then bytes without end.
    Flood,
    /// Nothing.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `METHOD PATH`.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A verifier, with a folder for whoever asks it.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(crate) fn new(reply: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let folder = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        fs::write(folder.path().join("verifier.crt"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("token"), "a-token\n").unwrap();
        let config = format!(
            "verifier = \"{address}\"\nverifier_cert = {:?}\ntoken_file = {:?}\ntrust = [{:?}]\ntimeout = 20\n",
            folder.path().join("verifier.crt"),
            folder.path().join("token"),
            testdata("keys/alice.pub"),
        );
        fs::write(folder.path().join("tenant.toml"), config).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (known, reply) = (Arc::clone(&asked), Arc::new(reply));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, known, reply) = (Arc::clone(&tls), Arc::clone(&known), Arc::clone(&reply));
                thread::spawn(move || drop(serve(stream.unwrap(), tls, &known, reply.as_ref())));
            }
        });
        Self { address, folder, asked }
    }

    /// Answers everything with one value.
    pub(crate) fn saying(status: u16, value: Value) -> Self {
        Self::new(move |_, _| Reply::Json(status, value.clone()))
    }

    pub(crate) fn tenant(&self, arguments: &str) -> Ran {
        self.tenant_of(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn tenant_of(&self, arguments: &[&str]) -> Ran {
        let config = self.folder.path().join("tenant.toml");
        Ran::of(Command::new(PROGRAM).args(arguments).arg("--config").arg(config))
    }

    /// What came, as `METHOD PATH`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.line.clone()).collect()
    }
}

fn serve(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    known: &Mutex<Vec<Asked>>,
    reply: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let connection = ServerConnection::new(tls).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    loop {
        let asked = read(&mut stream)?;
        let number = {
            let mut known = known.lock().unwrap();
            known.push(asked.clone());
            known.len()
        };
        let answer = |status: u16, media: &str, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status} X\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n{body}")
                .into_bytes()
        };
        match reply(&asked, number) {
            Reply::Json(status, value) => {
                let media = if status < 400 { "application/json" } else { "application/problem+json" };
                stream.write_all(&answer(status, media, &value.to_string()))?;
            }
            Reply::Text(status, media, text) => stream.write_all(&answer(status, media, &text))?,
            Reply::Raw(bytes) => {
                stream.write_all(&bytes)?;
                stream.conn.send_close_notify();
                return stream.flush();
            }
            Reply::Drip => {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n",
                )?;
                loop {
                    stream.write_all(b" ")?;
                    thread::sleep(Duration::from_millis(50));
                }
            }
            Reply::Flood => {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
                )?;
                loop {
                    stream.write_all(b"10000\r\n")?;
                    stream.write_all(&[b' '; 0x10000])?;
                    stream.write_all(b"\r\n")?;
                }
            }
            Reply::Silence => loop {
                thread::sleep(Duration::from_secs(1));
            },
        }
    }
}

fn read(stream: &mut impl Read) -> std::io::Result<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    Ok(Asked { line, head, body })
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_goldseal-tenant");

/// A finished run of the program.
#[derive(Debug)]
pub(crate) struct Ran {
    output: Output,
    pub(crate) took: Duration,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let start = Instant::now();
        let output = command.stdin(Stdio::null()).env("LC_ALL", "C").output().unwrap();
        Self { output, took: start.elapsed() }
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.output.status.code(), Some(code), "{}\n{}", self.stdout(), self.stderr());
        self
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    /// Standard error holds this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "expected: {text}\n{}", self.stderr());
        self
    }

    /// Standard output holds this.
    #[track_caller]
    pub(crate) fn shows(self, text: &str) -> Self {
        assert!(self.stdout().contains(text), "expected: {text}\n{}", self.stdout());
        self
    }

    /// The object on standard output, which has this reason.
    #[track_caller]
    pub(crate) fn reason(&self, reason: &str) -> Value {
        let object: Value =
            serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(object["exit"].as_i64(), self.output.status.code().map(i64::from));
        assert_eq!(object["reason"], reason, "{object}");
        object
    }

    /// The reason of the object on standard output.
    pub(crate) fn reason_of(&self) -> String {
        let object: Value = serde_json::from_slice(&self.output.stdout).unwrap();
        object["reason"].as_str().unwrap().to_owned()
    }

    /// Nothing that was printed can do anything to a terminal.
    #[track_caller]
    pub(crate) fn harmless(self) -> Self {
        for text in [self.stdout(), self.stderr()] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
        }
        self
    }
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("testdata").join(name)
}

/// Writes the list of a vector: what follows its first empty line.
pub(crate) fn list(folder: &Path, vector: &str) -> PathBuf {
    let bytes = fs::read(testdata(&format!("vectors/{vector}.vector"))).unwrap();
    let start = bytes.windows(2).position(|bytes| bytes == b"\n\n").unwrap() + 2;
    let path = folder.join(format!("{vector}.whitelist"));
    fs::write(&path, &bytes[start..]).unwrap();
    path
}

/// SHA-256 of the signed bytes of `ok-never-expires`, by docs/format.md: of the file up to its first `sig` line.
pub(crate) fn identity(list: &Path) -> String {
    let bytes = fs::read(list).unwrap();
    let end = bytes.windows(5).position(|bytes| bytes == b"\nsig ").unwrap() + 1;
    let sums = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut sums = sums.unwrap();
    sums.stdin.take().unwrap().write_all(&bytes[..end]).unwrap();
    let output = sums.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// A machine as a verifier shows it.
pub(crate) fn machine(uuid: &str, state: &str) -> Value {
    serde_json::json!({
        "uuid": uuid, "state": state, "since": "2026-01-02T03:04:05Z", "reason": "", "detail": "",
        "address": "neptune:9002", "protocol": "goldseal", "identity": "first seen", "findings": 0, "entries": 7,
        "policy": { "identity": "0".repeat(64), "name": "prod" }, "attested_at": null,
    })
}

/// All that is known of it.
pub(crate) fn details(uuid: &str, state: &str) -> Value {
    serde_json::json!({ "agent": machine(uuid, state), "findings": [], "events": [], "clears": [] })
}
