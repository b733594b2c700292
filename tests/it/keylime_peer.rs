//! The agent under Keylime's own registrar, verifier and tenant: programs that nobody here wrote.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use goldseal_agent::register::{RegisterError, Registration, register};
use goldseal_agent::tpm::{AkKind, EkKind, Tpm, TpmConfig};
use goldseal_tests::forge::ak::hash;
use goldseal_tests::forge::measurements::Measurement;
use goldseal_tests::lab::{Keylime, Mux, SimulatedKernel, Swtpm};
use goldseal_tests::{World, goldseal_agent};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::hex;
use serde_json::{Value, json};

const UUID: &str = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
const BANKS: [HashAlgorithm; 2] = [HashAlgorithm::Sha1, HashAlgorithm::Sha256];

/// Enrolled by the tenant, which checks the certificate of the endorsement key; attested; and caught.
#[test]
fn keylime_enrols_attests_and_catches() {
    let keylime = Keylime::start();
    let swtpm = Swtpm::new();
    let mux = Mux::new(&swtpm);
    let world = World::new();
    let mut kernel = SimulatedKernel::boot(&mux.socket(), &BANKS, &world.path("ima"));
    let good: Vec<Measurement> =
        (0..40).map(|number| Measurement::ng(format!("/usr/bin/tool-{number}"), &[number])).collect();
    for measurement in &good[..30] {
        kernel.measure(measurement);
    }
    let agent = Agent::start(&keylime, &mux, &kernel, &world);
    let policy = world.file("policy.json", policy(&kernel, 40).to_string());

    // A registration that nobody has proven to be a TPM's is refused by the tenant.
    let refused = agent.added(&keylime, &policy);
    assert!(
        refused.is_err_and(|log| log.contains("No Root CA matched EK Certificate")),
        "without the maker's certificate"
    );
    fs::copy(swtpm.issuer(), keylime.tpm_cert_store().join("issuer.pem")).unwrap();
    agent.added(&keylime, &policy).unwrap();

    let count = |status: &Value| status["attestation_count"].as_u64().unwrap();
    let attested = |times| keylime.wait_for(UUID, "attested", |status| count(status) >= times);
    let status = attested(3);
    assert_eq!(status["operational_state"], "Get Quote", "{status}");
    assert_eq!((&status["hash_alg"], &status["sign_alg"]), (&json!("sha256"), &json!("rsassa")), "{status}");

    // What is new is sent alone, and good.
    for measurement in &good[30..] {
        kernel.measure(measurement);
    }
    let status = attested(count(&status) + 3);
    assert_eq!(status["operational_state"], "Get Quote", "{status}");

    kernel.measure(&Measurement::ng("/root/evil_script.sh", b"#!/bin/sh\n"));
    let failed = |status: &Value| status["operational_state"] != "Get Quote";
    let status = keylime.wait_for(UUID, "failed", failed);
    assert_eq!(status["operational_state"], "Invalid Quote", "{status}");
    assert_eq!(status["last_event_id"], "ima.validation.ima-ng.not_in_allowlist", "{status}");
    let log = keylime.log("keylime_verifier");
    assert!(log.contains("File not found in allowlist: /root/evil_script.sh"), "{log}");
    assert!(log.contains(&format!("Agent {UUID} failed, stopping polling")), "{log}");
}

/// The same machine comes again with the same key; another key is refused, for good.
#[test]
fn keylimes_registrar_knows_a_machine_again_and_no_other() {
    let keylime = Keylime::start();
    let swtpm = Swtpm::new();
    for kind in [EkKind::Rsa2048, EkKind::EccP256] {
        let uuid = format!("{UUID}-{kind:?}").to_lowercase();
        let registration = Registration {
            registrar: keylime.registrar(),
            uuid: uuid.clone(),
            contact: None,
            certificate_pem: "disabled".to_owned(),
            deadline: Registration::DEFAULT_DEADLINE,
        };
        let mut config = TpmConfig::new(swtpm.tcti());
        (config.ek, config.ak) = (Some(kind), AkKind::Rsa2048);
        for _ in 0..2 {
            let tpm = Tpm::start(config.clone()).unwrap();
            assert_eq!(run(register(&registration, &tpm)), Ok(()), "{kind:?}");
        }
        let known = keylime.registered(&uuid);
        let tpm = Tpm::start(config.clone()).unwrap();
        let identity = tpm.identity_blocking().unwrap();
        assert_eq!(known["aik_tpm"], base64(&identity.ak_public), "{known}");
        assert_eq!(known["ek_tpm"], base64(&identity.ek_public), "{known}");
        drop(tpm);

        config.ak_handle += 1;
        let other = Tpm::start(config).unwrap();
        let error = run(register(&registration, &other)).unwrap_err();
        assert!(matches!(error, RegisterError::OtherKeys { .. }), "{error}");
        swtpm.tool("tpm2_evictcontrol -Q -C o -c 0x81010010");
        swtpm.tool("tpm2_evictcontrol -Q -C o -c 0x81010011");
    }
}

/// The agent, as its users start it.
struct Agent {
    process: Child,
    port: String,
    /// What it logs.
    lines: Lines<BufReader<ChildStderr>>,
}

impl Agent {
    /// Serves what this kernel measures, and is registered.
    fn start(keylime: &Keylime, mux: &Mux, kernel: &SimulatedKernel, world: &World) -> Self {
        let mut command = Command::new(goldseal_agent());
        // Keylime's tenant takes no ECDSA.
        command.args(["serve", "--ak", "rsa-2048", "--listen", "127.0.0.1:0", "--uuid", UUID]);
        command.arg("--registrar").arg(keylime.registrar()).arg("--client-ca").arg(keylime.client_ca());
        command.arg("--tcti").arg(mux.tcti()).arg("--state").arg(world.path("state"));
        command.arg("--measurements").arg(kernel.binary()).arg("--ascii-measurements").arg(kernel.ascii());
        let mut process = command.current_dir(world.path("")).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut agent = Self { process, port: String::new(), lines };
        let serving = agent.logged("serving");
        agent.port = serving.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        agent.logged(" registered");
        agent
    }

    /// Its next line with this text.
    fn logged(&mut self, text: &str) -> String {
        let mut log = Vec::new();
        for line in self.lines.by_ref() {
            log.push(line.unwrap());
            if log.last().is_some_and(|line| line.contains(text)) {
                return log.pop().unwrap();
            }
        }
        panic!("it has ended without {text:?}: {log:?}");
    }

    /// Added by the tenant; else what that has logged.
    fn added(&self, keylime: &Keylime, policy: &Path) -> Result<(), String> {
        let policy = policy.to_str().unwrap();
        let arguments = ["-c", "add", "-t", "127.0.0.1", "-tp", &self.port, "-u", UUID, "--runtime-policy", policy];
        let output = keylime.tenant(&arguments);
        let log = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if output.status.success() { Ok(()) } else { Err(log) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Keylime's runtime policy of what a kernel has measured first, and of so many tools.
fn policy(kernel: &SimulatedKernel, tools: u8) -> Value {
    let list = fs::read_to_string(kernel.ascii()).unwrap();
    let boot_aggregate = list.lines().next().unwrap().split(' ').nth(3).unwrap().split(':').nth(1).unwrap();
    let mut digests = json!({ "boot_aggregate": [boot_aggregate] });
    for number in 0..tools {
        digests[format!("/usr/bin/tool-{number}")] = json!([hex::encode(&hash(HashAlgorithm::Sha256, &[number]))]);
    }
    json!({
        "meta": { "version": 1, "generator": 0 },
        "release": 0,
        "digests": digests,
        "excludes": [],
        "keyrings": {},
        "ima": { "ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null },
        "ima-buf": {},
        "verification-keys": "",
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding as _;
    base64ct::Base64::encode_string(bytes)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
