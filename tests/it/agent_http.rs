//! The agent's server, asked by curl, openssl and Python; its TPM is swtpm, and what it sends is judged by
//! verifier-core.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use goldseal_agent::tpm::AkKind;
use goldseal_tests::forge::golden::Golden;
use goldseal_tests::forge::machine::{Disbelief, appraise, assert_findings, digest_field, pcrs_0_to_10};
use goldseal_tests::forge::measurements::{Measurement, text};
use goldseal_tests::lab::{Agent, Answer, Swtpm};
use goldseal_verifier_core::appraise::{AttestationResult, Verdict};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::evidence::Head;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::ima::entry::ByteOrder;
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::tpm::{
    AttestationKey, ExpectedSelection, PcrSelection, QuotedPcrs, Sha1Signatures, read_pcr_blob,
};
use serde_json::Value;

use HashAlgorithm::Sha256;

const NONCE: &str = "0123456789abcdefABCDEF";

/// An agent on a machine whose kernel measures, and the golden list of it.
struct Machine {
    swtpm: Swtpm,
    agent: Agent,
    golden: Golden,
    entries: usize,
}

impl Machine {
    fn booted() -> Self {
        Self::with(|_| {})
    }

    /// Its agent changed before it starts.
    fn with(change: impl FnOnce(&mut Agent)) -> Self {
        let mut agent = Agent::stopped();
        change(&mut agent);
        let mut machine = Self { swtpm: Swtpm::new(), agent, golden: Golden::new(), entries: 0 };
        // Nobody has extended PCRs 0 to 9.
        let aggregate = Digest::sha256(&[0; 10 * 32]);
        machine.golden.rule(format!("boot-aggregate {aggregate:?}"));
        machine.golden.lists_file("/usr/bin/bash", b"bash");
        let value = digest_field(aggregate.as_bytes());
        machine.measure("boot_aggregate", &Measurement::of("ima-ng", &[&value, &text("boot_aggregate")]), &aggregate);
        machine.run("/usr/bin/bash", b"bash");
        machine.agent.start(&machine.swtpm);
        machine
    }

    /// A file is run.
    fn run(&mut self, path: &str, contents: &[u8]) {
        self.measure(path, &Measurement::ng(path, contents), &Digest::sha256(contents));
    }

    /// The kernel adds to the list, then extends.
    fn measure(&mut self, path: impl AsRef<[u8]>, measurement: &Measurement, digest: &Digest) {
        self.list(path, measurement, digest);
        for bank in [HashAlgorithm::Sha1, Sha256] {
            self.swtpm.extend(10, bank.name(), &hex::encode(&measurement.extension(bank)));
        }
    }

    /// The lists alone: the TPM lags behind.
    fn list(&mut self, path: impl AsRef<[u8]>, measurement: &Measurement, digest: &Digest) {
        let template_hash = hex::encode(&measurement.extension(HashAlgorithm::Sha1));
        let line = [format!("10 {template_hash} ima-ng {digest:?} ").as_bytes(), path.as_ref(), b"\n"].concat();
        for (name, bytes) in [("ascii", line), ("binary", measurement.listed())] {
            let mut file = OpenOptions::new().append(true).open(self.agent.world.path(name)).unwrap();
            file.write_all(&bytes).unwrap();
        }
        self.entries += 1;
    }

    #[track_caller]
    fn evidence(&self, from: usize) -> (Head, Vec<u8>) {
        let nonce = hex::encode(NONCE.as_bytes());
        let answer = self.agent.get(&format!("/v1/evidence?nonce={nonce}&from={from}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.headers.contains("content-type: application/octet-stream"), "{}", answer.headers);
        let (head, len) = Head::parse(&answer.body).unwrap();
        (head, answer.body[len..].to_vec())
    }

    #[track_caller]
    fn integrity(&self, from: usize) -> Value {
        let path = format!("/v2.1/quotes/integrity?nonce={NONCE}&mask=0x7ff&partial=0&ima_ml_entry={from}");
        self.agent.get(&path).results()
    }

    fn judge(&self, list: &[u8], quoted: QuotedPcrs) -> Result<AttestationResult, Disbelief> {
        appraise(&self.golden.appraiser(), list, quoted)
    }

    /// By what each route says.
    #[track_caller]
    fn appraise(&self) -> [AttestationResult; 2] {
        let (head, list) = self.evidence(0);
        let own = self.judge(&list, quoted_by(&head)).unwrap();
        let results = self.integrity(0);
        let list = results["ima_measurement_list"].as_str().unwrap();
        let keylime = self.judge(list.as_bytes(), quoted_in(&results, &head.claimed_ak)).unwrap();
        [own, keylime]
    }
}

/// What the own route's quote says, of PCRs 0 to 10.
#[track_caller]
fn quoted_by(head: &Head) -> QuotedPcrs {
    believe(&head.claimed_ak, &head.attest, &head.signature, &head.pcr_blob, &pcrs_0_to_10(&[Sha256]))
}

/// What Keylime's says, of PCR 16 too.
#[track_caller]
fn quoted_in(results: &Value, ak: &[u8]) -> QuotedPcrs {
    let parts: Vec<Vec<u8>> =
        results["quote"].as_str().unwrap().strip_prefix('r').unwrap().split(':').map(decoded).collect();
    let [attest, signature, blob] = parts.as_slice() else { panic!("three parts") };
    let selection = PcrSelection::new((0..=10).chain([16]).map(|pcr| (Sha256, pcr))).unwrap();
    believe(ak, attest, signature, blob, &selection)
}

fn decoded(text: &str) -> Vec<u8> {
    Base64::decode_vec(text).unwrap()
}

#[track_caller]
fn believe(ak: &[u8], attest: &[u8], signature: &[u8], blob: &[u8], selection: &PcrSelection) -> QuotedPcrs {
    let key = AttestationKey::from_public_area(ak).unwrap();
    let expected = ExpectedSelection::Exactly(selection);
    let verified = key.verify_quote(attest, signature, NONCE.as_bytes(), expected, Sha1Signatures::Refuse).unwrap();
    verified.bind(read_pcr_blob(blob).unwrap()).unwrap()
}

#[test]
fn both_routes_are_believed_and_judged() {
    for (kind, enc_alg, sign_alg) in [(AkKind::EccP256, "rsa", "ecdsa"), (AkKind::Rsa2048, "rsa", "rsassa")] {
        let mut machine = Machine::with(|agent| agent.ak = kind);
        for result in machine.appraise() {
            assert_findings(&result, &[]);
        }
        let results = machine.integrity(0);
        assert_eq!(results["hash_alg"], "sha256");
        assert_eq!((&results["enc_alg"], &results["sign_alg"]), (&enc_alg.into(), &sign_alg.into()));
        assert_eq!(results["ima_measurement_list_entry"], 0);
        assert!(results["boottime"].as_u64().unwrap() > 0);

        machine.run("/root/evil_script.sh", b"#!/bin/sh");
        for result in machine.appraise() {
            assert_findings(&result, &[("/root/evil_script.sh", "not-in-whitelist")]);
        }
    }
}

/// PCR 16 tells the text of the key; it is that of the certificate, by openssl.
#[test]
fn the_tls_key_is_bound_to_the_quote() {
    let machine = Machine::booted();
    let (head, _) = machine.evidence(0);
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-pubkey", "-in"]).arg(machine.agent.server_certificate());
    let public_key = goldseal_tests::output_of(&mut openssl);
    let results = machine.integrity(0);
    assert_eq!(results["pubkey"].as_str().unwrap().as_bytes(), public_key);
    let extension = Digest::of(Sha256, [public_key.as_slice()]);
    let expected = Digest::of(Sha256, [&[0; 32], extension.as_bytes()]);
    assert_eq!(quoted_in(&results, &head.claimed_ak).values().value(Sha256, 16), Some(&expected));

    let identity = machine.agent.get(&format!("/v2.1/quotes/identity?nonce={NONCE}")).results();
    assert_eq!(identity["pubkey"], results["pubkey"]);
    assert_eq!(identity.get("ima_measurement_list"), None);
    let parts: Vec<Vec<u8>> =
        identity["quote"].as_str().unwrap().strip_prefix('r').unwrap().split(':').map(decoded).collect();
    let selection = PcrSelection::new([(Sha256, 16)]).unwrap();
    let quoted = believe(&head.claimed_ak, &parts[0], &parts[1], &parts[2], &selection);
    assert_eq!(quoted.values().value(Sha256, 16), Some(&expected));
    // `partial=1` leaves it out.
    let partial = machine.agent.get(&format!("/v2.1/quotes/integrity?nonce={NONCE}&mask=400&partial=1")).results();
    assert_eq!(partial.get("pubkey"), None);
}

#[test]
fn lists_start_where_they_are_asked_to() {
    let mut machine = Machine::booted();
    for number in 0..500 {
        let path = format!("/opt/{number}");
        let (measurement, digest) = (Measurement::ng(&path, b"x"), Digest::sha256(b"x"));
        machine.list(&path, &measurement, &digest);
    }
    let (whole, ascii) = (machine.evidence(0).1, machine.integrity(0)["ima_measurement_list"].clone());
    let ascii = ascii.as_str().unwrap();
    assert_eq!(MeasurementList::parse(&whole, &Limits::DEFAULT).unwrap().len(), machine.entries);
    assert_eq!(ascii.lines().count(), machine.entries);
    for from in [1, 63, 64, 65, 300, machine.entries - 1, machine.entries] {
        let (head, list) = machine.evidence(from);
        assert_eq!((head.claimed_first_entry, head.claimed_order), (from as u64, ByteOrder::Little));
        let parsed = MeasurementList::parse(&list, &Limits::DEFAULT).unwrap();
        assert_eq!(parsed.len(), machine.entries - from);
        assert!(whole.ends_with(&list));
        let results = machine.integrity(from);
        assert_eq!(results["ima_measurement_list_entry"], from);
        let lines: String = ascii.split_inclusive('\n').skip(from).collect();
        assert_eq!(results["ima_measurement_list"], lines.as_str());
    }
    // From beyond the end: all of it.
    for beyond in [machine.entries + 1, usize::MAX] {
        let (head, list) = machine.evidence(beyond);
        assert!(head.claimed_first_entry == 0 && list == whole);
        let results = machine.integrity(beyond);
        assert_eq!(results["ima_measurement_list_entry"], 0);
        assert_eq!(results["ima_measurement_list"], ascii);
    }
}

#[test]
fn a_machine_is_followed_by_increments() {
    let mut machine = Machine::booted();
    let appraiser = machine.golden.appraiser();
    let (head, list) = machine.evidence(0);
    let first = appraise(&appraiser, &list, quoted_by(&head)).unwrap();
    let checkpoint = first.checkpoint().unwrap();
    let follow = |machine: &Machine| {
        let (head, list) = machine.evidence(2);
        assert_eq!(head.claimed_first_entry, checkpoint.accepted());
        let list = MeasurementList::parse(&list, &Limits::DEFAULT).unwrap();
        let evidence = appraiser.resume(&list, quoted_by(&head), checkpoint).unwrap();
        (appraiser.appraise(&evidence), list.len())
    };
    let (nothing_new, entries) = follow(&machine);
    assert_eq!((nothing_new.verdict(), entries), (Verdict::Accepted, 0));
    machine.run("/tmp/evil", b"evil");
    let (evil, entries) = follow(&machine);
    assert_eq!(entries, 1);
    assert_findings(&evil, &[("/tmp/evil", "not-in-whitelist")]);
}

/// The quote comes first: what the list has more is beyond it.
#[test]
fn a_list_may_run_ahead_of_its_quote() {
    let mut machine = Machine::booted();
    let ahead = Measurement::ng("/tmp/later", b"later");
    machine.list("/tmp/later", &ahead, &Digest::sha256(b"later"));
    for result in machine.appraise() {
        assert_findings(&result, &[]);
        assert_eq!(result.entries(), 2);
    }
}

/// While entries are added and extended all the time, each answer holds together.
#[test]
fn lists_grow_between_quote_and_reading() {
    let mut machine = Machine::booted();
    machine.golden.excludes("/var/busy/");
    let appraiser = machine.golden.appraiser();
    let agent = &machine.agent;
    let busy = AtomicBool::new(true);
    let (swtpm, world) = (&machine.swtpm, &agent.world);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while busy.load(Ordering::Relaxed) {
                let measurement = Measurement::ng(format!("/var/busy/{number}"), b"busy");
                let mut file = OpenOptions::new().append(true).open(world.path("binary")).unwrap();
                file.write_all(&measurement.listed()).unwrap();
                for bank in [HashAlgorithm::Sha1, Sha256] {
                    swtpm.extend(10, bank.name(), &hex::encode(&measurement.extension(bank)));
                }
                number += 1;
            }
        });
        let _rest = Rest(&busy);
        let mut lengths = Vec::new();
        for _ in 0..8 {
            let nonce = hex::encode(NONCE.as_bytes());
            let answer = agent.get(&format!("/v1/evidence?nonce={nonce}"));
            let (head, len) = Head::parse(&answer.body).unwrap();
            let result = appraise(&appraiser, &answer.body[len..], quoted_by(&head)).unwrap();
            assert_findings(&result, &[]);
            lengths.push(result.entries());
        }
        assert!(lengths.is_sorted() && lengths[0] < lengths[7], "{lengths:?}");
    });
}

/// The kernel rests when the test is over, however it ends.
struct Rest<'a>(&'a AtomicBool);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn names_that_are_no_utf8_are_replaced_for_keylime_alone() {
    let mut machine = Machine::booted();
    let name = b"/tmp/\"\xff\\\x01\xc3\xa9";
    machine.measure(name, &Measurement::ng(name, b"odd"), &Digest::sha256(b"odd"));
    let (head, list) = machine.evidence(0);
    let result = machine.judge(&list, quoted_by(&head)).unwrap();
    assert_findings(&result, &[(&name.escape_ascii().to_string(), "not-in-whitelist")]);
    let results = machine.integrity(0);
    let ascii = results["ima_measurement_list"].as_str().unwrap();
    assert!(ascii.ends_with(" /tmp/\"\u{fffd}\\\u{1}\u{e9}\n"), "{ascii}");
    // The entry does not have its template hash any more: nobody is deceived.
    let error = machine.judge(ascii.as_bytes(), quoted_in(&results, &head.claimed_ak)).unwrap_err();
    assert!(matches!(error, Disbelief::List(_)), "{error}");
}

#[test]
fn who_has_no_certificate_is_not_answered() {
    let machine = Machine::booted();
    let agent = &machine.agent;
    let other = goldseal_tests::lab::Pki::new();
    let strangers = other.client("verifier");
    let expired = agent.pki.client_until("expired", "20210101000000Z");
    let server = agent.server_certificate();
    for path in ["/version", "/v2.1/quotes/identity?nonce=a", "/v1/evidence?nonce=00"] {
        for (client, alert) in [(None, "certificate"), (Some(&strangers), "alert"), (Some(&expired), "alert")] {
            let output = agent.curl(path, &[], client.map(std::path::PathBuf::as_path));
            let says = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && output.stdout.is_empty(), "{path} {client:?}: {says}");
            // The alert may be overtaken by the end of the connection.
            assert!(says.contains(alert) || says.contains("reset"), "{path} {client:?}: {says}");
        }
        // Nor one that shows the agent its own certificate.
        let own = agent.world.path("tls.pem");
        assert!(!agent.curl(path, &[], Some(&own)).status.success());
    }
    assert_eq!(agent.get("/version").results()["supported_versions"], serde_json::json!(["2.1"]));
    assert!(server.exists());
}

/// openssl sees TLS 1.3 and 1.2, the agent's own certificate, and no ticket to come back with.
#[test]
fn nothing_is_resumed() {
    let machine = Machine::booted();
    for version in ["-tls1_3", "-tls1_2"] {
        let client = machine.agent.client().display().to_string();
        let script = format!(
            "printf 'GET /version HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | \
             openssl s_client -connect {} -CAfile {} -verify_return_error -cert {client} -key {client} {version} \
             -ign_eof -msg 2>&1",
            machine.agent.address(),
            machine.agent.server_certificate().display()
        );
        let said = String::from_utf8_lossy(&goldseal_tests::shell(&machine.agent.world.path(""), &script)).into_owned();
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("HTTP/1.1 200 OK"), "{said}");
        assert!(!said.contains("NewSessionTicket") && !said.contains("Reused,"), "{said}");
    }
    for version in ["-tls1_1", "-tls1"] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &machine.agent.address().to_string(), version]);
        let output = client.stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success(), "{version}");
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, says: &str) {
    let body = answer.json();
    assert_eq!((answer.status, &body["code"]), (status, &status.into()), "{answer:?}");
    assert_eq!((&body["status"], &body["results"]), (&says.into(), &serde_json::json!({})));
}

#[track_caller]
fn problem(answer: &Answer, status: u16, reason: &str, detail: &str) {
    let body = answer.json();
    assert_eq!((answer.status, &body["status"]), (status, &status.into()), "{answer:?}");
    assert_eq!((&body["reason"], &body["detail"]), (&reason.into(), &detail.into()));
    assert!(answer.headers.contains("content-type: application/problem+json"), "{}", answer.headers);
}

#[test]
fn what_is_malformed_is_refused_in_so_many_words() {
    let machine = Machine::booted();
    let agent = &machine.agent;
    let get = |path: &str| agent.get(path);
    refused(&get("/v2.9/quotes/integrity?nonce=a"), 400, "API version not supported: v2.9");
    refused(&get("/v1.0/quotes/identity?nonce=a"), 400, "API version not supported: v1.0");
    refused(&get("/nothing"), 400, "Not Implemented: Use /version or /v2.1 interfaces");
    refused(&get("/v2.1/quotes/identity"), 400, "nonce is missing");
    refused(&get("/v2.1/quotes/identity?nonce=a%20b"), 400, "nonce should be strictly alphanumeric: a%20b");
    let long = "a".repeat(65);
    let integrity = "/v2.1/quotes/integrity?partial=0&mask=0x400&nonce=";
    refused(&get(&format!("{integrity}{long}")), 400, "Nonce is too long (max size: 64): 65");
    refused(&get(&format!("{integrity}a&partial=0")), 400, "partial stands there twice");
    refused(&get(&format!("{integrity}a&ima_ml_entry=-1")), 400, "ima_ml_entry should be a decimal number: -1");
    let says = "mask should be a hex encoded 32-bit integer: zz";
    refused(&get("/v2.1/quotes/integrity?nonce=a&partial=0&mask=zz"), 400, says);
    let says = "uri must contain key 'partial' and value '0' or '1'";
    refused(&get("/v2.1/quotes/integrity?nonce=a&mask=0x400&partial=2"), 400, says);
    refused(&get("/v2.1/quotes/integrity?nonce=a&mask=0x400"), 400, says);
    problem(&get("/v1/evidence"), 400, "bad-request", "nonce is missing");
    let says = "nonce must be lower-case hex of 1 to 66 bytes";
    problem(&get("/v1/evidence?nonce=0G"), 400, "bad-request", says);
    problem(&get("/v1/evidence?nonce=00&from=x"), 400, "bad-request", "from must be a decimal number");
    problem(&get("/v1/other"), 404, "not-found", "there is /v1/evidence alone");

    // A bank that this TPM has not.
    let answer = get("/v1/evidence?nonce=00&pcrs=sha512:0");
    assert_eq!((answer.status, &answer.json()["reason"]), (400, &"bad-request".into()), "{answer:?}");
    // A nonce that fits the protocol and not the TPM: it takes 64 bytes, for want of a longer hash.
    let answer = get(&format!("/v1/evidence?nonce={}", "00".repeat(66)));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(answer.status == 200 || detail.starts_with("the nonce has 66 bytes, and this TPM takes"), "{answer:?}");

    let post = agent.ask("/v2.1/keys/ukey", &["--data", "x=1"]);
    refused(&post, 405, "Method is not supported");
    assert!(post.headers.contains("allow: get") && post.headers.contains("connection: close"), "{}", post.headers);
    let body = agent.ask("/version", &["--request", "GET", "--data", "x=1"]);
    refused(&body, 400, "a GET carries no body");
    let head = agent.ask(&format!("/version?{}", "x".repeat(9_000)), &[]);
    assert_eq!((head.status, head.body.len()), (431, 0));
    let many: Vec<String> = (0..40).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().flat_map(|field| ["--header", field]).collect();
    assert_eq!(agent.ask("/version", &many).status, 431);
    assert_eq!(agent.get("/version").status, 200);
}

#[test]
fn fifty_at_once_are_answered_one_after_another() {
    let machine = Machine::booted();
    let (head, _) = machine.evidence(0);
    thread::scope(|scope| {
        for number in 0..50 {
            let (machine, ak) = (&machine, &head.claimed_ak);
            scope.spawn(move || {
                if number % 2 == 0 {
                    let (head, list) = machine.evidence(0);
                    assert_findings(&machine.judge(&list, quoted_by(&head)).unwrap(), &[]);
                } else {
                    quoted_in(&machine.integrity(0), ak);
                }
            });
        }
    });
}

#[test]
fn a_tpm_that_is_gone_is_a_reason_to_ask_again() {
    let mut machine = Machine::with(|agent| agent.deadline = Duration::from_secs(2));
    machine.evidence(0);
    machine.swtpm.kill();
    let own = machine.agent.get("/v1/evidence?nonce=00");
    assert_eq!((own.status, own.headers.contains("retry-after: 1")), (503, true), "{own:?}");
    let reason = own.json()["reason"].as_str().unwrap().to_owned();
    assert!(["tpm-lost", "tpm-absent"].contains(&reason.as_str()), "{reason}");
    let keylime = machine.agent.get(&format!("/v2.1/quotes/identity?nonce={NONCE}"));
    assert_eq!((keylime.status, &keylime.json()["code"]), (500, &500.into()), "{keylime:?}");
    // /version does not depend on it.
    assert_eq!(machine.agent.get("/version").status, 200);
    machine.swtpm.start_again();
    machine.evidence(0);
}

#[test]
fn a_list_that_is_none_is_told() {
    let machine = Machine::booted();
    let path = machine.agent.world.path("binary");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&[0xff; 400]).unwrap();
    let answer = machine.agent.get("/v1/evidence?nonce=00");
    assert_eq!((answer.status, &answer.json()["reason"]), (500, &"list-unreadable".into()));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("entry 3 at offset") && detail.contains("no TPM has a PCR 4294967295"), "{detail}");
    // The other list is another file.
    machine.integrity(0);
}

#[test]
fn after_a_restart_it_is_the_same_agent() {
    let mut machine = Machine::booted();
    let certificate = std::fs::read(machine.agent.server_certificate()).unwrap();
    let (before, _) = machine.evidence(0);
    machine.agent.stop();
    machine.agent.start(&machine.swtpm);
    let (after, list) = machine.evidence(0);
    assert_eq!(before.claimed_ak, after.claimed_ak);
    assert_eq!(std::fs::read(machine.agent.server_certificate()).unwrap(), certificate);
    assert_findings(&machine.judge(&list, quoted_by(&after)).unwrap(), &[]);
}

#[test]
fn the_boot_log_goes_with_pcr_0() {
    let machine = Machine::with(|agent| drop(agent.world.file("boot-log", b"\0an event log\xff")));
    let results = |mask: &str| {
        let path = format!("/v2.1/quotes/integrity?nonce={NONCE}&mask={mask}&partial=1");
        machine.agent.get(&path).results()
    };
    assert_eq!(decoded(results("0x401")["mb_measurement_list"].as_str().unwrap()), b"\0an event log\xff");
    assert_eq!(results("0x400").get("mb_measurement_list"), None);
}

#[test]
fn who_dawdles_is_not_waited_for() {
    let machine = Machine::with(|agent| {
        agent.patience.handshake = Duration::from_secs(1);
        agent.patience.request = Duration::from_secs(1);
    });
    // One byte of a ClientHello now and then is no handshake.
    let start = Instant::now();
    let mut stream = TcpStream::connect(machine.agent.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for byte in [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain([7; 40]) {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
    let ended =
        stream.read(&mut [0; 1]).map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |read| read == 0);
    assert!(ended && (0.9..8.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    // Nor is a request that never ends one, from a client that may.
    let lasted = python(&machine.agent, DAWDLE);
    let seconds: f64 = lasted.trim().parse().unwrap();
    assert!((0.5..8.0).contains(&seconds), "{seconds}");
    assert_eq!(machine.agent.get("/version").status, 200);
}

const DAWDLE: &str = "
import time
start, s = time.time(), connect()
try:
    for c in b'GET /version HTTP/1.1\\r\\nHost: ' + b'x' * 100:
        s.sendall(bytes([c])); time.sleep(0.1)
except OSError:
    pass
print(time.time() - start)
";

/// A client that asks for a long list and takes none of it holds a descriptor, and not for long.
#[test]
fn who_takes_nothing_is_not_waited_for() {
    let mut machine = Machine::with(|agent| agent.patience.stalled = Duration::from_secs(1));
    let measurement = Measurement::ng(format!("/{}", "x".repeat(4_000)), b"x");
    let listed: Vec<u8> = measurement.listed().repeat(8_000);
    let path = machine.agent.world.path("binary");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&listed).unwrap();
    machine.entries += 8_000;
    let said = python(&machine.agent, STALL);
    assert_eq!(said.trim(), "200");
}

const STALL: &str = "
held = []
for _ in range(8):
    s = connect(); held.append(s)
    s.sendall(b'GET /v1/evidence?nonce=00 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
s = connect()
s.settimeout(50)
s.sendall(b'GET /v1/evidence?nonce=00&from=1 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
print(s.recv(12)[9:].decode())
";

#[test]
fn a_flood_keeps_nobody_out() {
    let machine = Machine::booted();
    let flood: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(machine.agent.address()).unwrap()).collect();
    let start = Instant::now();
    machine.evidence(0);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // The oldest were ended for the sake of the others.
    let mut oldest = &flood[0];
    oldest.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(oldest.read(&mut [0; 1]).map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |read| read == 0));
    drop(flood);
    // Those who may are told if there are too many of them.
    let said = python(&machine.agent, CROWD);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["64 served", "500 too many connections are open; ask again later", "503 busy", "200"]
    );
}

const CROWD: &str = "
import json, time
def get(s, path):
    s.sendall(b'GET ' + path + b' HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    data = b''
    while b'\\r\\n\\r\\n' not in data: data += s.recv(65536)
    head, body = data.split(b'\\r\\n\\r\\n', 1)
    length = int(head.lower().split(b'content-length: ')[1].split(b'\\r\\n')[0])
    while len(body) < length: body += s.recv(65536)
    return int(head[9:12]), json.loads(body)
held = [connect() for _ in range(64)]
print(sum(get(s, b'/version')[0] == 200 for s in held), 'served')
status, body = get(connect(), b'/version')
print(status, body['status'])
status, body = get(connect(), b'/v1/evidence?nonce=00')
print(status, body['reason'])
held.pop().close()
time.sleep(1)
print(get(connect(), b'/version')[0])
";

/// What a script prints in which `connect()` makes a TLS connection with the certificate that may.
#[track_caller]
fn python(agent: &Agent, script: &str) -> String {
    let prelude = format!(
        "import socket, ssl\ncontext = ssl.create_default_context(cafile={:?})\ncontext.load_cert_chain({:?})\n\
         def connect():\n    s = socket.create_connection(('127.0.0.1', {}))\n    \
         return context.wrap_socket(s, server_hostname='127.0.0.1')\n",
        agent.server_certificate(),
        agent.client(),
        agent.address().port()
    );
    let output = goldseal_tests::output_of(Command::new("python3").args(["-c", &format!("{prelude}{script}")]));
    String::from_utf8(output).unwrap()
}
