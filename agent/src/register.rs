//! Registration with a registrar that speaks Keylime's protocol (keylime 7.14.3, web/registrar): who this machine's TPM is,
//! and the proof that it holds both keys. Three calls over plain HTTP, as Keylime's own agent makes them:
//!
//! 1. GET /version: which versions of the protocol the registrar speaks.
//! 2. POST /v2.1/agents/UUID: both keys, the endorsement key's certificate, and this agent's own. The answer holds a
//!    credential, which only this TPM can open.
//! 3. PUT /v2.1/agents/UUID: a tag, which only who has opened it can compute ([`AuthTag`]).
//!
//! Nothing that is sent is secret, and a registrar that lies gets nothing by it: what it is told it has to check, and what
//! it answers is opened by the TPM for these two keys alone. After a restart the same calls are made with the same keys;
//! the registrar takes that as the same machine.

mod backoff;
mod client;
mod error;

use std::net::IpAddr;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::keylime::AuthTag;
use goldseal_verifier_core::tpm::credential::Credential;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::tpm::{Tpm, TpmError};

use backoff::Backoff;
use client::{Answer, Client};

pub use error::{RegisterError, Step};

/// The version that is spoken: the oldest with all that is needed, which registrars since Keylime 7.0 know.
const VERSION: &str = "2.1";

/// How often in a row a tag may be refused. A second registration of the same machine, which crosses this one, makes the
/// first one's tag wrong; more often that does not happen.
const MAX_TAG_REFUSALS: u32 = 3;

/// Where to register, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The registrar: `host:port`, an IPv6 address in brackets.
    pub registrar: String,
    /// The name of this machine at verifiers: letters, digits, `-`, `_` and `.`.
    pub uuid: String,
    /// Where verifiers reach this agent, if they are to be told. Keylime's registrar takes IPv4 addresses alone.
    pub contact: Option<(IpAddr, u16)>,
    /// The certificate of this agent's HTTPS, as PEM. Verifiers believe no other.
    pub certificate_pem: String,
    /// Longest time of one call, from the connection's first packet to the answer's last byte.
    pub deadline: Duration,
}

impl Registration {
    /// As long as Keylime's own programs wait (`request_timeout` in their configuration).
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);
}

/// What a registrar is told of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// TPM2B_PUBLIC of the endorsement key.
    pub ek_public: Vec<u8>,
    /// Its certificate, DER, if there is one of this key.
    pub ek_certificate: Option<Vec<u8>>,
    /// TPM2B_PUBLIC of the attestation key.
    pub ak_public: Vec<u8>,
}

/// A TPM, as far as registration needs one.
pub trait Enrollable {
    /// Its keys.
    fn keys(&self) -> impl Future<Output = Result<Keys, TpmError>>;

    /// The secret of a credential for these keys.
    fn activate(&self, credential: Credential) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, TpmError>>;
}

impl Enrollable for Tpm {
    async fn keys(&self) -> Result<Keys, TpmError> {
        let identity = self.identity().await?;
        let ek_certificate = identity.ek_certificate.der().map(<[u8]>::to_vec);
        Ok(Keys { ek_public: identity.ek_public, ek_certificate, ak_public: identity.ak_public })
    }

    async fn activate(&self, credential: Credential) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.activate(credential.id_object().to_vec(), credential.encrypted_secret().to_vec()).await
    }
}

/// Registers, and tries again until it has worked or never will. Dropping the future ends it at any point.
///
/// # Errors
/// [`RegisterError`], one that trying again would not change ([`RegisterError::is_final`]).
pub async fn register(registration: &Registration, tpm: &impl Enrollable) -> Result<(), RegisterError> {
    let mut backoff = Backoff::new();
    let mut tag_refusals = 0;
    loop {
        let error = match register_once(registration, tpm).await {
            Ok(()) => {
                info!(uuid = %registration.uuid, registrar = %registration.registrar, "registered");
                return Ok(());
            }
            Err(error) => error,
        };
        tag_refusals = if matches!(error, RegisterError::TagRefused { .. }) { tag_refusals + 1 } else { 0 };
        if error.is_final() || tag_refusals == MAX_TAG_REFUSALS {
            return Err(error);
        }
        let delay = backoff.next();
        warn!(
            registrar = %registration.registrar,
            "not registered: {error}; to do: {}; the next attempt is in {} s",
            error.advice(),
            delay.as_secs()
        );
        tokio::time::sleep(delay).await;
    }
}

/// One attempt.
///
/// # Errors
/// [`RegisterError`].
pub async fn register_once(registration: &Registration, tpm: &impl Enrollable) -> Result<(), RegisterError> {
    check_uuid(&registration.uuid)?;
    let client = Client::new(&registration.registrar, registration.deadline)?;
    check_version(&client.call(Step::Version, Method::GET, "/version", None).await?)?;
    let path = format!("/v{VERSION}/agents/{}", registration.uuid);

    let keys = tpm.keys().await.map_err(RegisterError::Tpm)?;
    let answer = client.call(Step::Keys, Method::POST, &path, Some(description(registration, &keys))).await?;
    let credential = credential_in(accepted(Step::Keys, answer)?)?;

    let secret = tpm.activate(credential).await.map_err(RegisterError::Tpm)?;
    let tag = AuthTag::of(&secret, &registration.uuid).to_hex();
    let answer = client.call(Step::Tag, Method::PUT, &path, Some(json!({ "auth_tag": tag }))).await?;
    accepted(Step::Tag, answer).map(drop)
}

/// It becomes part of a path: what would need an escape there is refused.
fn check_uuid(uuid: &str) -> Result<(), RegisterError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // Keylime's registrar has room for 80 characters.
    let good = (1..=80).contains(&uuid.len()) && uuid.bytes().all(is_plain) && !uuid.starts_with('.');
    if good { Ok(()) } else { Err(RegisterError::Uuid { found: uuid.to_owned() }) }
}

fn check_version(answer: &Answer) -> Result<(), RegisterError> {
    if answer.code != StatusCode::OK {
        return Err(answer.refusal(Step::Version));
    }
    let supported = answer.results.get("supported_versions").and_then(Value::as_array);
    let supported = supported.ok_or(RegisterError::Malformed { step: Step::Version })?;
    if supported.iter().any(|version| version == VERSION) {
        return Ok(());
    }
    let supported = supported.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Err(RegisterError::Versions { ours: VERSION, supported })
}

/// The body of the second call.
fn description(registration: &Registration, keys: &Keys) -> Value {
    let mut body = json!({
        "ek_tpm": Base64::encode_string(&keys.ek_public),
        "aik_tpm": Base64::encode_string(&keys.ak_public),
        "mtls_cert": registration.certificate_pem,
    });
    if let Some(der) = &keys.ek_certificate {
        body["ekcert"] = certificate_pem(der).into();
    }
    if let Some((ip, port)) = registration.contact {
        body["ip"] = ip.to_string().into();
        body["port"] = port.into();
    }
    body
}

/// A certificate as PEM (RFC 7468, section 5).
fn certificate_pem(der: &[u8]) -> String {
    let base64 = Base64::encode_string(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.extend([line, "\n"]);
        rest = after;
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn accepted(step: Step, answer: Answer) -> Result<Value, RegisterError> {
    if answer.code == StatusCode::OK { Ok(answer.results) } else { Err(answer.refusal(step)) }
}

fn credential_in(results: Value) -> Result<Credential, RegisterError> {
    let malformed = RegisterError::Malformed { step: Step::Keys };
    let blob = results.get("blob").and_then(Value::as_str).ok_or(malformed.clone())?;
    let file = Base64::decode_vec(blob).map_err(|_| malformed)?;
    Credential::from_file(&file).map_err(RegisterError::Credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_part_of_a_path_are_refused() {
        for good in ["d432fbb3-d2f1-4a97-9ef7-75bd81c00000", "web_1.example.org", &"a".repeat(80)] {
            assert_eq!(check_uuid(good), Ok(()));
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a?b", "a b", "a%2f", "\u{e9}", "a\n", &"a".repeat(81)] {
            assert_eq!(check_uuid(bad), Err(RegisterError::Uuid { found: bad.to_owned() }), "{bad:?}");
        }
    }

    #[test]
    fn certificates_are_pem() {
        let pem = certificate_pem(&[0x30; 100]);
        let lines: Vec<&str> = pem.lines().collect();
        assert_eq!(lines.iter().map(|line| line.len()).collect::<Vec<_>>(), [27, 64, 64, 8, 25]);
        assert_eq!(Base64::decode_vec(&lines[1..4].concat()).unwrap(), [0x30; 100]);
    }
}
