//! Registration, at registrars that are good, unwell, slow, hostile, or none.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use goldseal_agent::register::{Enrollable, Keys, RegisterError, Registration, Step, register, register_once};
use goldseal_agent::tpm::TpmError;
use goldseal_tests::forge::ak::{Kind, SoftTpm};
use goldseal_tests::forge::ek::{EkKind, SoftEk};
use goldseal_verifier_core::keylime::AuthTag;
use goldseal_verifier_core::tpm::credential::{
    Credential, CredentialEntropy, CredentialSecret, EndorsementKey, make_credential,
};
use goldseal_verifier_core::tpm::{AttestationKey, StructureError};
use serde_json::{Value, json};
use zeroize::Zeroizing;

const UUID: &str = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
const SECRET: [u8; 32] = [0x42; 32];

#[test]
fn three_calls_and_it_is_registered() {
    let registrar = Registrar::start(|call| call.good());
    let tpm = SoftEnrollable::new();
    assert_eq!(run(register(&registrar.registration(), &tpm)), Ok(()));
    let calls = registrar.calls();
    let lines: Vec<&str> = calls.iter().map(|call| call.line.as_str()).collect();
    let path = format!("/v2.1/agents/{UUID}");
    assert_eq!(lines, ["GET /version HTTP/1.1", &format!("POST {path} HTTP/1.1"), &format!("PUT {path} HTTP/1.1")]);
    assert_eq!(
        calls[1].body,
        json!({
            "ek_tpm": Base64::encode_string(&tpm.ek.public_area()),
            "aik_tpm": Base64::encode_string(&tpm.ak.public_area()),
            "ekcert": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            "mtls_cert": "a certificate",
            "ip": "192.0.2.1",
            "port": 9002,
        })
    );
    assert_eq!(calls[2].body, json!({ "auth_tag": AuthTag::of(&SECRET, UUID).to_hex() }));
    // Keylime's registrar takes no type without a body.
    let typed = calls.iter().map(|call| call.head.to_lowercase().contains("\ncontent-type: application/json\r\n"));
    assert_eq!(typed.collect::<Vec<_>>(), [false, true, true]);
    for call in &calls {
        assert!(call.head.to_lowercase().contains(&format!("\nhost: {}\r\n", registrar.address)), "{}", call.head);
    }
    // Once more, as after a restart, and with less to tell.
    let plain = Registration { contact: None, ..registrar.registration() };
    let bare = SoftEnrollable { certificate: None, ..SoftEnrollable::new() };
    assert_eq!(run(register(&plain, &bare)), Ok(()));
    let body = registrar.calls().remove(1).body;
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["aik_tpm", "ek_tpm", "mtls_cert"]);
}

#[test]
fn what_never_works_is_not_tried_again() {
    let refused = |registrar: &Registrar| {
        let error = run(register(&registrar.registration(), &SoftEnrollable::new())).unwrap_err();
        assert!(error.is_final() && !error.advice().is_empty());
        (error, registrar.calls().len())
    };
    let others = Registrar::start(|call| call.on("POST", 403, "forbidden\u{1b}[2J"));
    let (error, calls) = refused(&others);
    assert_eq!((&error, calls), (&RegisterError::OtherKeys { status: "forbidden\u{1b}[2J".into() }, 2));
    let shown = error.to_string();
    assert_eq!(shown, "the registrar knows this machine's name with other keys: forbidden\\x1b[2J");
    for (method, code, step, calls) in [
        ("GET", 404, Step::Version, 1),
        ("POST", 400, Step::Keys, 2),
        ("POST", 413, Step::Keys, 2),
        ("PUT", 403, Step::Tag, 3),
    ] {
        let registrar = Registrar::start(move |call| call.on(method, code, "no"));
        assert_eq!(refused(&registrar), (RegisterError::Refused { step, code, status: "no".into() }, calls));
    }
    let newer = Registrar::start(|call| match call.method() {
        "GET" => answer(200, &json!({ "supported_versions": ["3.0", 4] })),
        _ => call.good(),
    });
    assert_eq!(refused(&newer), (RegisterError::Versions { ours: "2.1", supported: vec!["3.0".into()] }, 1));
}

#[test]
fn what_may_pass_is_tried_again() {
    for (method, code) in [("GET", 500), ("POST", 503), ("POST", 429), ("PUT", 408), ("PUT", 404)] {
        let registrar =
            Registrar::start(move |call| if call.before == 0 { call.on(method, code, "later") } else { call.good() });
        let start = Instant::now();
        assert_eq!(run(register(&registrar.registration(), &SoftEnrollable::new())), Ok(()), "{method} {code}");
        assert!(start.elapsed() >= Duration::from_millis(500), "{method} {code}: at once");
    }
    // A TPM that is busy the first time.
    let registrar = Registrar::start(|call| call.good());
    let busy = SoftEnrollable { busy: Cell::new(1), ..SoftEnrollable::new() };
    assert_eq!(run(register(&registrar.registration(), &busy)), Ok(()));
    let broken = SoftEnrollable { broken: true, ..SoftEnrollable::new() };
    let error = RegisterError::Tpm(TpmError::Failed { code: 0x101 });
    assert_eq!(run(register(&registrar.registration(), &broken)), Err(error));
}

#[test]
fn a_tag_that_stays_refused_is_given_up() {
    let registrar = Registrar::start(|call| call.on("PUT", 400, "wrong"));
    let error = run(register(&registrar.registration(), &SoftEnrollable::new())).unwrap_err();
    assert_eq!(error, RegisterError::TagRefused { status: "wrong".into() });
    assert_eq!(registrar.calls().len(), 9);
}

#[test]
fn each_fault_of_a_registrar_has_its_name() {
    let once = |answer: fn(&Call) -> Vec<u8>| {
        let registrar = Registrar::start(answer);
        let start = Instant::now();
        let error = run(register_once(&registrar.registration(), &SoftEnrollable::new())).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(!error.is_final() && !error.advice().is_empty() && !error.to_string().is_empty());
        error
    };
    let version = Step::Version;
    assert_eq!(once(|_| Vec::new()), RegisterError::Broken { step: version });
    assert_eq!(once(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), RegisterError::Broken { step: version });
    assert_eq!(
        once(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}".to_vec()),
        RegisterError::Broken { step: version }
    );
    let long = |_: &Call| [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 70_000]].concat();
    assert_eq!(once(long), RegisterError::TooLong { step: version, max: 65_536 });
    for body in ["", "[]", "{}", "null", "{\"results\":{\"supported_versions\":1}}"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let registrar = Registrar::start(move |_| answer.clone().into_bytes());
        let error = run(register_once(&registrar.registration(), &SoftEnrollable::new()));
        assert_eq!(error, Err(RegisterError::Malformed { step: version }), "{body}");
    }
    let blob = |results: fn() -> Value| {
        let registrar =
            Registrar::start(move |call| if call.method() == "POST" { answer(200, &results()) } else { call.good() });
        run(register_once(&registrar.registration(), &SoftEnrollable::new())).unwrap_err()
    };
    assert_eq!(blob(|| json!({})), RegisterError::Malformed { step: Step::Keys });
    assert_eq!(blob(|| json!({ "blob": "!" })), RegisterError::Malformed { step: Step::Keys });
    let truncated = RegisterError::Credential(StructureError::Truncated { field: "magic" });
    assert_eq!(blob(|| json!({ "blob": "" })), truncated);
    // For the keys of somebody else.
    let elsewhere =
        blob(|| json!({ "blob": Base64::encode_string(&credential(&SoftEk::new(EkKind::P384)).to_file()) }));
    assert_eq!(elsewhere, RegisterError::Tpm(TpmError::CredentialRefused { code: 0 }));
}

#[test]
fn a_registrar_that_stalls_or_is_not_there_costs_its_deadline_alone() {
    let registrar = Registrar::start(|_| {
        thread::sleep(Duration::from_secs(3));
        Vec::new()
    });
    let registration = Registration { deadline: Duration::from_millis(300), ..registrar.registration() };
    let start = Instant::now();
    let error = run(register_once(&registration, &SoftEnrollable::new()));
    assert_eq!(error, Err(RegisterError::TimedOut { step: Step::Version }));
    assert!(start.elapsed() < Duration::from_secs(2));
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    let registration = Registration { registrar: nobody, ..registration };
    let error = run(register_once(&registration, &SoftEnrollable::new()));
    let kind = std::io::ErrorKind::ConnectionRefused;
    assert_eq!(error, Err(RegisterError::Unreachable { step: Step::Version, kind }));
}

#[test]
fn addresses_that_are_none_are_refused() {
    let registrar = Registrar::start(|call| call.good());
    for bad in [
        "",
        "host",
        "host:",
        "host:0",
        "host:99999",
        "http://host:1",
        "a@host:1",
        "host:1/path",
        ":1",
        "ho st:1",
        "host:1\n",
    ] {
        let registration = Registration { registrar: bad.into(), ..registrar.registration() };
        let error = run(register(&registration, &SoftEnrollable::new()));
        assert_eq!(error, Err(RegisterError::Registrar { found: bad.into() }), "{bad:?}");
    }
    let registration = Registration { uuid: "../agents".into(), ..registrar.registration() };
    let error = run(register(&registration, &SoftEnrollable::new()));
    assert_eq!(error, Err(RegisterError::Uuid { found: "../agents".into() }));
}

/// A registrar of one connection after another, each with one request.
struct Registrar {
    address: String,
    seen: Receiver<Call>,
}

/// What came in.
#[derive(Clone)]
struct Call {
    line: String,
    head: String,
    body: Value,
    /// Calls of the same method before.
    before: usize,
}

impl Registrar {
    fn start(respond: impl Fn(&Call) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (calls, seen) = channel();
        thread::spawn(move || {
            let mut lines = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut call = read(&stream);
                call.before = lines.iter().filter(|line| **line == call.line).count();
                lines.push(call.line.clone());
                let answer = respond(&call);
                if calls.send(call).is_err() {
                    return;
                }
                let _ = stream.write_all(&answer);
            }
        });
        Self { address, seen }
    }

    fn registration(&self) -> Registration {
        Registration {
            registrar: self.address.clone(),
            uuid: UUID.into(),
            contact: Some((Ipv4Addr::new(192, 0, 2, 1).into(), 9002)),
            certificate_pem: "a certificate".into(),
            deadline: Duration::from_secs(10),
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.seen.try_iter().collect()
    }
}

impl Call {
    fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    /// What a good registrar answers.
    fn good(&self) -> Vec<u8> {
        match self.method() {
            "GET" => answer(200, &json!({ "current_version": "2.6", "supported_versions": ["2.0", "2.1", "2.6"] })),
            "POST" => {
                let blob = Base64::encode_string(&credential(&SoftEk::new(EkKind::P256)).to_file());
                answer(200, &json!({ "blob": blob }))
            }
            _ => answer(200, &json!({})),
        }
    }

    /// A refusal of this method, else what is good.
    fn on(&self, method: &str, code: u16, status: &str) -> Vec<u8> {
        if self.method() != method {
            return self.good();
        }
        let body = json!({ "code": code, "status": status, "results": {} }).to_string();
        format!("HTTP/1.1 {code} No\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }
}

fn answer(code: u16, results: &Value) -> Vec<u8> {
    let body = json!({ "code": code, "status": "Success", "results": results }).to_string();
    format!("HTTP/1.1 {code} OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn read(stream: &TcpStream) -> Call {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut head = line.clone();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head:?}");
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Call { line: line.trim_end().to_owned(), head, body, before: 0 }
}

fn credential(ek: &SoftEk) -> Credential {
    let ek = EndorsementKey::from_public_area(&ek.public_area()).unwrap();
    let ak = AttestationKey::from_public_area(&SoftTpm::new(Kind::RsaSsa).public_area()).unwrap().name();
    make_credential(&ek, ak, CredentialSecret::new(SECRET), CredentialEntropy::new([1; CredentialEntropy::LEN]))
        .unwrap()
}

/// A TPM in software, which can be busy or broken.
struct SoftEnrollable {
    ek: SoftEk,
    ak: SoftTpm,
    certificate: Option<Vec<u8>>,
    busy: Cell<u32>,
    broken: bool,
}

impl SoftEnrollable {
    fn new() -> Self {
        let (ek, ak) = (SoftEk::new(EkKind::P256), SoftTpm::new(Kind::RsaSsa));
        Self { ek, ak, certificate: Some(vec![0x30, 0]), busy: Cell::new(0), broken: false }
    }
}

impl Enrollable for SoftEnrollable {
    async fn keys(&self) -> Result<Keys, TpmError> {
        if self.broken {
            return Err(TpmError::Failed { code: 0x101 });
        }
        if let Some(left) = self.busy.get().checked_sub(1) {
            self.busy.set(left);
            return Err(TpmError::Busy { code: 0x922 });
        }
        Ok(Keys {
            ek_public: self.ek.public_area(),
            ek_certificate: self.certificate.clone(),
            ak_public: self.ak.public_area(),
        })
    }

    async fn activate(&self, credential: Credential) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let name = AttestationKey::from_public_area(&self.ak.public_area()).unwrap().name().to_bytes();
        let secret = self.ek.open(credential.id_object(), credential.encrypted_secret(), &name);
        secret.map(Zeroizing::new).ok_or(TpmError::CredentialRefused { code: 0 })
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
