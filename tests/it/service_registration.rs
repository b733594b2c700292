//! Registration: who gets in, who does not, and what a stranger can change.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use goldseal_tests::forge::ak::Kind;
use goldseal_tests::forge::ek::{EkKind, SoftEk};
use goldseal_tests::forge::machine::Machine;
use goldseal_tests::swarm::site::run;
use goldseal_tests::swarm::{Site, SoftAgent};
use goldseal_tests::{output_of, shell};
use goldseal_verifier::registrar::{Authorities, CertificateError};
use goldseal_verifier::state::State;
use goldseal_verifier::store::{Assignment, EkIdentity, Protocol, Provision};
use goldseal_verifier::time::Time;
use goldseal_verifier::uuid::Uuid;
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::keylime::AuthTag;
use goldseal_verifier_core::tpm::AttestationKey;
use goldseal_verifier_core::tpm::credential::{Credential, EndorsementKey};
use serde_json::{Value, json};

/// A machine as the registrar sees it.
struct Candidate {
    ek: SoftEk,
    ak: Vec<u8>,
    certificate: Vec<u8>,
}

impl Candidate {
    fn of(agent: &SoftAgent, ek: EkKind) -> Self {
        let ak = agent.state().machine.tpm.public_area();
        Self { ek: SoftEk::new(ek), ak, certificate: agent.certificate().to_vec() }
    }

    fn ek_sha256(&self) -> [u8; 32] {
        let ek = EndorsementKey::from_public_area(&self.ek.public_area()).unwrap();
        ek.sha256().as_bytes().try_into().unwrap()
    }

    fn offer(&self) -> Value {
        json!({
            "aik_tpm": Base64::encode_string(&self.ak),
            "ek_tpm": Base64::encode_string(&self.ek.public_area()),
            "mtls_cert": Base64::encode_string(&self.certificate),
            // Nobody polls there.
            "ip": "192.0.2.1", "port": 1,
        })
    }

    /// What TPM2_ActivateCredential gives out.
    fn open(&self, answer: &Value) -> Option<Vec<u8>> {
        let file = Base64::decode_vec(answer["results"]["blob"].as_str().unwrap()).unwrap();
        let credential = Credential::from_file(&file).unwrap();
        let name = AttestationKey::from_public_area(&self.ak).unwrap().name().to_bytes();
        self.ek.open(credential.id_object(), credential.encrypted_secret(), &name)
    }

    /// The whole way; the status of its last step.
    async fn register(&self, registrar: SocketAddr, uuid: &str) -> u16 {
        let (status, answer) = post(registrar, uuid, self.offer()).await;
        if status != 200 {
            return status;
        }
        let tag = AuthTag::of(&self.open(&answer).unwrap(), uuid).to_hex();
        put(registrar, uuid, &tag).await
    }
}

async fn post(registrar: SocketAddr, uuid: &str, offer: Value) -> (u16, Value) {
    request(registrar, format!("POST /v2.1/agents/{uuid}"), offer.to_string()).await
}

async fn put(registrar: SocketAddr, uuid: &str, tag: &str) -> u16 {
    request(registrar, format!("PUT /v2.1/agents/{uuid}"), json!({ "auth_tag": tag }).to_string()).await.0
}

/// HTTP by hand, beside the runtime that answers it.
async fn request(registrar: SocketAddr, line: String, body: String) -> (u16, Value) {
    let asking = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(registrar).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is refused may not be read to its end.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{line}: {answer}")).parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    });
    asking.await.unwrap()
}

/// Asks for a machine to be polled.
async fn provision(
    site: &Site,
    uuid: &str,
    agent: &SoftAgent,
    named: Option<[u8; 32]>,
    trust_first: bool,
) -> Result<(), String> {
    let golden = agent.state().machine.golden.clone();
    let record = site.upload(&golden).await.unwrap().record;
    let provision = Provision {
        address: agent.address().to_string(),
        protocol: Protocol::Goldseal,
        policy: Assignment { identity: record.identity, name: record.name },
        interval: None,
        keep_polling: false,
        named_ek_sha256: named,
        trust_first,
        provisioned_at: Time::now(),
    };
    let provisioned = site.store().provision(&Uuid::new(uuid).unwrap(), &provision, Time::now(), "test").await;
    provisioned.map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_machine_registers_and_is_polled_where_the_tenant_says() {
    run(async {
        let site = Site::start().await;
        let registrar = site.service().registrar_address();
        let (status, answer) = request(registrar, "GET /version".to_owned(), String::new()).await;
        assert_eq!(
            (status, &answer["results"]),
            (200, &json!({"current_version": "2.1", "supported_versions": ["2.1"]}))
        );
        for (number, kind) in EkKind::ALL.into_iter().enumerate() {
            let agent = site.agent(Machine::perfect()).await;
            let (name, candidate) = (format!("m{number}"), Candidate::of(&agent, kind));
            // Before and after the tenant asks for it.
            if number == 0 {
                assert_eq!(candidate.register(registrar, &name).await, 200);
                let stands = site.look(&Uuid::new(&name).unwrap()).await;
                assert_eq!((stands.standing.state, stands.due), (State::Registered, None));
                provision(&site, &name, &agent, Some(candidate.ek_sha256()), false).await.unwrap();
            } else {
                provision(&site, &name, &agent, Some(candidate.ek_sha256()), false).await.unwrap();
                let stands = site.look(&Uuid::new(&name).unwrap()).await;
                assert_eq!((stands.standing.state, stands.due), (State::Provisioned, None));
                assert_eq!(candidate.register(registrar, &name).await, 200);
            }
            let accepted = site.until(&Uuid::new(&name).unwrap(), State::Accepted).await;
            assert_eq!(accepted.enrolment.unwrap().identity, EkIdentity::Named);
            assert_eq!(accepted.provision.unwrap().address, agent.address().to_string());
        }
    });
}

#[test]
fn who_is_not_shown_to_be_the_machine_is_refused() {
    run(async {
        let site = Site::start().await;
        let registrar = site.service().registrar_address();
        let agent = site.agent(Machine::perfect()).await;
        let candidate = Candidate::of(&agent, EkKind::P256);
        // No certificate, and nobody named it.
        provision(&site, "certified", &agent, None, false).await.unwrap();
        assert_eq!(candidate.register(registrar, "certified").await, 403);
        // Another is named.
        provision(&site, "named", &agent, Some([7; 32]), true).await.unwrap();
        assert_eq!(candidate.register(registrar, "named").await, 403);
        for uuid in ["certified", "named"] {
            let stands = site.look(&Uuid::new(uuid).unwrap()).await;
            assert_eq!((stands.standing.state, stands.enrolment), (State::Provisioned, None));
        }
        // Registered before the tenant asked: then the tenant is told.
        assert_eq!(candidate.register(registrar, "early").await, 200);
        let early = Uuid::new("early").unwrap();
        assert_eq!(site.look(&early).await.enrolment.unwrap().identity, EkIdentity::Unconfirmed);
        assert!(provision(&site, "early", &agent, None, false).await.unwrap_err().contains("nothing says"));
        assert!(provision(&site, "early", &agent, Some([7; 32]), false).await.unwrap_err().contains("is named"));
        assert_eq!(site.look(&early).await.standing.state, State::Registered);
        // The first to come, for ever.
        provision(&site, "early", &agent, None, true).await.unwrap();
        for _ in 0..2 {
            assert_eq!(site.look(&early).await.enrolment.unwrap().identity.word(), "first seen");
            assert_eq!(candidate.register(registrar, "early").await, 200);
        }
    });
}

#[test]
fn a_stranger_changes_nothing() {
    run(async {
        let site = Site::start().await;
        let registrar = site.service().registrar_address();
        let agent = site.agent(Machine::perfect()).await;
        let machine = Candidate::of(&agent, EkKind::Rsa2048);
        provision(&site, "neptune", &agent, None, true).await.unwrap();
        let (uuid, tag) = (Uuid::new("neptune").unwrap(), "0".repeat(96));

        // A registration under way is not disturbed by others for the same name, with right and with wrong tags.
        let (status, answer) = post(registrar, "neptune", machine.offer()).await;
        assert_eq!(status, 200);
        let mut other_tpm = Machine::perfect();
        other_tpm.tpm.use_key(Kind::P384);
        let other = site.agent(other_tpm).await;
        let stranger = Candidate::of(&other, EkKind::P384);
        for _ in 0..6 {
            assert_eq!(post(registrar, "neptune", stranger.offer()).await.0, 200);
            assert_eq!(put(registrar, "neptune", &tag).await, 400);
        }
        assert_eq!(site.look(&uuid).await.enrolment, None);
        assert_eq!(put(registrar, "neptune", "no tag").await, 400);
        // Whoever has another EK opens nothing.
        assert_eq!(stranger.ek.open(&[], &[], &[]), None);
        assert_eq!(stranger.open(&answer), None);
        let right = AuthTag::of(&machine.open(&answer).unwrap(), "neptune").to_hex();
        // The tag is of one name.
        assert_eq!(put(registrar, "venus", &right).await, 400);
        // The same source had too many under way, and its oldest gave way: the machine registers once more.
        assert_eq!(put(registrar, "neptune", &right).await, 400);
        assert_eq!(machine.register(registrar, "neptune").await, 200);
        let enrolled = site.look(&uuid).await.enrolment.unwrap();
        assert_eq!(enrolled.ak, machine.ak);

        // Now it is known: another AK or EK is refused, and a wrong tag changes nothing.
        assert_eq!(post(registrar, "neptune", stranger.offer()).await.0, 403);
        let half = Candidate { ek: SoftEk::new(EkKind::P384), ak: machine.ak.clone(), certificate: Vec::new() };
        assert_eq!(post(registrar, "neptune", half.offer()).await.0, 403);
        assert_eq!(post(registrar, "neptune", machine.offer()).await.0, 200);
        assert_eq!(put(registrar, "neptune", &tag).await, 400);
        assert_eq!(site.look(&uuid).await.enrolment.unwrap(), enrolled);
        site.until(&uuid, State::Accepted).await;
    });
}

#[test]
fn what_is_no_registration_is_refused() {
    run(async {
        let mut site = Site::stopped();
        site.config.registrar.rate.per_second = 1;
        site.config.registrar.rate.burst = 20;
        site.restart().await;
        let registrar = site.service().registrar_address();
        let agent = site.agent(Machine::perfect()).await;
        let good = Candidate::of(&agent, EkKind::P256).offer();
        let with = |field: &str, value: &str| {
            let mut offer = good.clone();
            offer[field] = value.into();
            offer
        };
        // An EK is no AK, nor the other way about.
        let (ak, ek) = (good["aik_tpm"].as_str().unwrap(), good["ek_tpm"].as_str().unwrap());
        for (name, offer) in [
            ("m", with("aik_tpm", ek)),
            ("m", with("ek_tpm", ak)),
            ("m", with("aik_tpm", "?")),
            ("m", with("ek_tpm", &"A".repeat(5_000))),
            ("m", with("ekcert", "MAA")),
            ("m", with("mtls_cert", "-----BEGIN nothing")),
            ("m", json!({ "aik_tpm": ak })),
            ("m", json!([])),
            ("..%2f", good.clone()),
            ("-m", good.clone()),
        ] {
            assert_eq!(post(registrar, name, offer.clone()).await.0, 400, "{name} {offer}");
        }
        let large = with("ekcert", &"A".repeat(100_000));
        assert_eq!(post(registrar, "m", large).await.0, 413);
        let (status, answer) = request(registrar, "POST /v9.9/agents/m".to_owned(), good.to_string()).await;
        assert_eq!((status, answer["status"].as_str()), (400, Some("API version not supported")));
        assert_eq!(site.store().agent(&Uuid::new("m").unwrap()).await.unwrap(), None);
        // Who asks too much waits.
        let mut last = 0;
        for _ in 0..25 {
            last = post(registrar, "m", good.clone()).await.0;
        }
        assert_eq!(last, 429);
    });
}

/// The CA of a swtpm, and the certificate that it made for the EK of another kernel's machine (testdata/captures).
#[test]
fn a_certificate_vouches_for_one_ek_under_a_trusted_authority() {
    let captures = goldseal_verifier_workspace().join("testdata/captures");
    let read = |path: &str| std::fs::read(captures.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let ek = EndorsementKey::from_public_area(&read("sig-violations/ek-rsa.tpm2b")).unwrap();
    let certificate = read("sig-violations/nv-0x01c00002.der");
    let other = EndorsementKey::from_public_area(&read("banks4-aks/ek-rsa.tpm2b")).unwrap();
    let folder = tempfile_folder();
    let certify =
        |der: &[u8], ek: &EndorsementKey, now: Time| Authorities::read(folder.path()).unwrap().certify(der, ek, now);
    let now = Time::from_millis(1_796_000_000_000);

    let chain = |result: Result<(), CertificateError>| matches!(result, Err(CertificateError::Chain(_)));
    assert!(Authorities::read(folder.path()).unwrap().is_empty() && chain(certify(&certificate, &ek, now)));
    std::fs::copy(captures.join("_shared/ek-ca-root.pem"), folder.path().join("root.pem")).unwrap();
    assert!(chain(certify(&certificate, &ek, now)), "the one in between is not there");
    std::fs::copy(captures.join("_shared/ek-ca-issuer.pem"), folder.path().join("issuer.pem")).unwrap();
    assert_eq!(certify(&certificate, &ek, now), Ok(()));
    assert_eq!(certify(&certificate, &other, now), Err(CertificateError::OtherKey));
    assert!(chain(certify(&certificate, &ek, Time::from_millis(0))), "before it was made");
    let mut changed = certificate.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(chain(certify(&changed, &ek, now)));
    assert!(matches!(certify(&certificate[1..], &ek, now), Err(CertificateError::Malformed(_))));
    std::fs::write(folder.path().join("note.txt"), "no certificate").unwrap();
    assert_eq!(Authorities::read(folder.path()).unwrap_err().reason, "malformed");
}

/// openssl makes certificates of the same key by the same authority, for other uses.
#[test]
fn the_leaf_itself_must_be_one_of_an_endorsement_key() {
    let folder = tempfile_folder();
    let ek = SoftEk::new(EkKind::Rsa2048);
    let area = EndorsementKey::from_public_area(&ek.public_area()).unwrap();
    std::fs::write(folder.path().join("ek.der"), area.public_area().spki_der()).unwrap();
    shell(
        folder.path(),
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=maker \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign 2>/dev/null\n\
         openssl pkey -pubin -inform DER -in ek.der -out ek.pub\n\
         openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout any.key -out any.csr -subj /CN=tpm 2>/dev/null\n\
         mkdir authorities; cp ca.pem authorities/",
    );
    let certificate = |name: &str, extensions: &str| {
        std::fs::write(folder.path().join("extensions"), extensions).unwrap();
        let mut sign = Command::new("openssl");
        sign.args([
            "x509",
            "-req",
            "-in",
            "any.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "30",
        ]);
        sign.args(["-force_pubkey", "ek.pub", "-extfile", "extensions", "-outform", "DER", "-out", name]);
        output_of(sign.current_dir(folder.path()));
        std::fs::read(folder.path().join(name)).unwrap()
    };
    let authorities = Authorities::read(&folder.path().join("authorities")).unwrap();
    let certify = |der: &[u8]| authorities.certify(der, &area, Time::now());
    let good = "extendedKeyUsage=2.23.133.8.1\nbasicConstraints=critical,CA:FALSE\n";
    assert_eq!(certify(&certificate("good.der", good)), Ok(()));
    let other = Err(CertificateError::OtherUsage);
    assert_eq!(certify(&certificate("none.der", "basicConstraints=critical,CA:FALSE\n")), other);
    assert_eq!(certify(&certificate("server.der", "extendedKeyUsage=serverAuth\n")), other);
    assert_eq!(
        certify(&certificate("ca.der", "extendedKeyUsage=2.23.133.8.1\nbasicConstraints=critical,CA:TRUE\n")),
        other
    );
}

/// The same through the service, by what an agent posts; and a certificate of another EK.
#[test]
fn a_certificate_registers_a_machine() {
    run(async {
        let captures = goldseal_verifier_workspace().join("testdata/captures");
        let mut site = Site::stopped();
        let authorities = site.world.path("authorities");
        std::fs::create_dir(&authorities).unwrap();
        for name in ["ek-ca-root.pem", "ek-ca-issuer.pem"] {
            std::fs::copy(captures.join("_shared").join(name), authorities.join(name)).unwrap();
        }
        site.config.registrar.ek_authorities = Some(authorities);
        site.restart().await;
        let registrar = site.service().registrar_address();
        let agent = site.agent(Machine::perfect()).await;
        provision(&site, "neptune", &agent, None, false).await.unwrap();
        let mut offer = Candidate::of(&agent, EkKind::P256).offer();
        let certificate = std::fs::read(captures.join("sig-violations/nv-0x01c00002.der")).unwrap();
        // As it is read from the TPM, with what stands behind it in the NV index.
        offer["ekcert"] = Base64::encode_string(&[&certificate[..], &[0xff; 300]].concat()).into();
        assert_eq!(post(registrar, "neptune", offer.clone()).await.0, 403, "a certificate of another EK");
        let ek = std::fs::read(captures.join("sig-violations/ek-rsa.tpm2b")).unwrap();
        offer["ek_tpm"] = Base64::encode_string(&ek).into();
        assert_eq!(post(registrar, "neptune", offer).await.0, 200);
        let uuid = Uuid::new("neptune").unwrap();
        let pending = site.store().pending(&uuid, Time::now()).await.unwrap();
        assert!(pending[0].1.certified && pending[0].1.ek_certificate.as_ref() == Some(&certificate));
        let spki = EndorsementKey::from_public_area(&ek).unwrap().public_area().spki_der();
        assert_eq!(pending[0].1.ek_sha256, Digest::sha256(&spki).as_bytes());
        // Without its tag it is nobody.
        assert_eq!(site.look(&uuid).await.enrolment, None);
    });
}

fn goldseal_verifier_workspace() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn tempfile_folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
