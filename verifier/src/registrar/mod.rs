//! Registration: a machine shows that its TPM holds its AK. The routes of Keylime's registrar, in the clear, as its agents
//! speak them.
//!
//! ```text
//! POST /v2.1/agents/{uuid} {aik_tpm, ek_tpm, ekcert, mtls_cert}  ─▶ {blob}: a secret that only this EK opens, beside this AK
//! PUT  /v2.1/agents/{uuid} {auth_tag}                            ─▶ the machine's own, if the tag is made of the secret
//! ```
//!
//! Promises: nothing that a POST says counts before its tag is right, and a wrong tag changes nothing; a machine that is known keeps
//! its AK and EK; where a machine is polled is the tenant's to say, whatever `ip` and `port` stand there. Does not promise that
//! an EK belongs to a machine: its certificate or the tenant says that ([`crate::enrolment`]).

mod authorities;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base64ct::{Base64, Encoding};
use goldseal_cli::printable::Printable;
use goldseal_cli::random;
use goldseal_verifier_core::keylime::AuthTag;
use goldseal_verifier_core::tpm::AttestationKey;
use goldseal_verifier_core::tpm::credential::{CredentialEntropy, CredentialSecret, EndorsementKey, make_credential};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::api::listener::Peer;
use crate::api::rate::{Limiter, Rate};
use crate::enrolment;
use crate::refusal::Refusal;
use crate::store::{Pending, PendingLimits, Store, StoreError};
use crate::time::Time;
use crate::uuid::Uuid;

pub use authorities::{Authorities, CertificateError};

/// The version of Keylime's API that is spoken.
const VERSION: &str = "2.1";

/// Longest body: two public areas, two certificates of 4 KiB and their base64.
const MAX_BODY: usize = 64 << 10;

/// Longest TPM2B_PUBLIC as base64: an RSA key of 4,096 bits takes 800 characters.
const MAX_PUBLIC_TEXT: usize = 4 << 10;

/// Longest certificate as PEM.
const MAX_CERTIFICATE_TEXT: usize = 16 << 10;

/// How much is taken.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a registration waits for its tag. A TPM takes seconds.
    pub pending: Duration,
    /// How many of them there may be.
    pub limits: PendingLimits,
    /// Of each address.
    pub rate: Rate,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pending: Duration::from_secs(300),
            limits: PendingLimits { per_uuid_and_source: 4, per_source: 1_000, total: 10_000 },
            // A gateway that a thousand machines are behind, after a power cut.
            rate: Rate { per_second: 10, burst: 200 },
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Registrar {
    store: Arc<dyn Store>,
    authorities: RwLock<Arc<Authorities>>,
    settings: Settings,
    limiter: Limiter<IpAddr>,
    wake: Arc<Notify>,
}

impl Registrar {
    /// `wake` is told when a machine can be polled.
    pub fn new(store: Arc<dyn Store>, authorities: Authorities, settings: Settings, wake: Arc<Notify>) -> Arc<Self> {
        let limiter = Limiter::new(settings.rate);
        Arc::new(Self { store, authorities: RwLock::new(Arc::new(authorities)), settings, limiter, wake })
    }

    /// Others vouch for EKs from now on.
    pub fn set_authorities(&self, authorities: Authorities) {
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
    }

    /// The routes.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/version", get(version))
            .route("/v2.1/agents/{uuid}", post(offer).put(activate))
            .fallback(async || refuse(StatusCode::BAD_REQUEST, "API version not supported"))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self)
    }

    /// Makes a secret that only the TPM with this EK opens, and only if it holds this AK.
    async fn challenge(&self, uuid: Uuid, offered: &Offer, source: IpAddr) -> Result<Vec<u8>, StoreError> {
        let at = Time::now();
        let offered = Offered::read(offered)?;
        let authorities = Arc::clone(&self.authorities.read().unwrap_or_else(PoisonError::into_inner));
        let certified = match &offered.ek_certificate {
            Some(der) => match authorities.certify(der, &offered.ek, at) {
                Ok(()) => true,
                // A certificate of another key is a lie, or a mistake that nobody should get used to.
                Err(error @ CertificateError::OtherKey) => {
                    return Err(Refusal::new("other-ek", error.to_string(), "send the certificate of the EK").into());
                }
                Err(error) => {
                    tracing::info!(
                        "{uuid}: its EK certificate does not count: {}",
                        Printable(error.to_string().as_bytes())
                    );
                    false
                }
            },
            None => false,
        };
        let ak_name = offered.ak.name();
        let (secret, entropy) = (fresh().map(CredentialSecret::new)?, fresh().map(CredentialEntropy::new)?);
        let tag = AuthTag::of(secret.as_bytes(), uuid.as_str());
        let mut ek_sha256 = [0; 32];
        ek_sha256.copy_from_slice(offered.ek.sha256().as_bytes());
        let pending = Pending {
            uuid,
            source: source.to_string(),
            ak: offered.ak_bytes,
            ek: offered.ek_bytes,
            ek_certificate: offered.ek_certificate,
            ek_sha256,
            tls_certificate: offered.tls_certificate,
            certified,
            tag: tag.to_hex().into_bytes(),
            created: at,
            expires: at.plus(self.settings.pending),
        };
        let known = self.store.agent(&pending.uuid).await?;
        enrolment::admit(known.as_ref(), &pending)?;
        let credential = make_credential(&offered.ek, ak_name, secret, entropy)
            .map_err(|error| Refusal::new("bad-ek", error.to_string(), "register again"))?;
        self.store.add_pending(&pending, &self.settings.limits).await?;
        Ok(credential.to_file())
    }

    /// Takes the registration that this tag is of, if there is one.
    async fn confirm(&self, uuid: &Uuid, tag: &AuthTag) -> Result<(), StoreError> {
        let at = Time::now();
        let pending = self.store.pending(uuid, at).await?;
        let is_its = |pending: &Pending| AuthTag::parse(&pending.tag).is_ok_and(|expected| expected.matches(tag));
        // All are compared, so that the time says nothing about which it was.
        let mut found = None;
        for (id, pending) in &pending {
            if is_its(pending) {
                found = Some(*id);
            }
        }
        let Some(id) = found else {
            let todo = "register again; if it stays so, AK and EK are not of one TPM";
            return Err(Refusal::new("wrong-tag", "the tag is of no registration that waits", todo).into());
        };
        let agent = self.store.register(id, at).await?;
        let identity = agent.enrolment.map(|enrolment| enrolment.identity.word()).unwrap_or_default();
        tracing::info!("{uuid}: registered, identity: {identity}");
        self.wake.notify_one();
        Ok(())
    }

    fn admit(&self, peer: Option<&Peer>) -> Result<IpAddr, Box<Response>> {
        let source = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
        match self.limiter.take(&source, Instant::now()) {
            Ok(()) => Ok(source),
            Err(wait) => {
                let seconds = wait.as_secs().saturating_add(1).to_string();
                let response = refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests: try again later");
                Err(Box::new(([(header::RETRY_AFTER, seconds)], response).into_response()))
            }
        }
    }
}

fn fresh<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    match random::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(StoreError::Database(format!("the kernel gives no randomness: {error}"))),
    }
}

/// What an agent posts; there is more, which is not used.
#[derive(Debug, Deserialize)]
struct Offer {
    aik_tpm: String,
    ek_tpm: String,
    #[serde(default)]
    ekcert: Option<String>,
    #[serde(default)]
    mtls_cert: Option<String>,
}

/// The same, read.
struct Offered {
    ak: AttestationKey,
    ak_bytes: Vec<u8>,
    ek: EndorsementKey,
    ek_bytes: Vec<u8>,
    ek_certificate: Option<Vec<u8>>,
    tls_certificate: Option<Vec<u8>>,
}

impl Offered {
    fn read(offer: &Offer) -> Result<Self, Refusal> {
        let ak_bytes = public("aik_tpm", &offer.aik_tpm)?;
        let ak = AttestationKey::from_public_area(&ak_bytes)
            .map_err(|error| Refusal::new("bad-ak", format!("aik_tpm: {error}"), "send an attestation key"))?;
        let ek_bytes = public("ek_tpm", &offer.ek_tpm)?;
        let ek = EndorsementKey::from_public_area(&ek_bytes)
            .map_err(|error| Refusal::new("bad-ek", format!("ek_tpm: {error}"), "send an endorsement key"))?;
        let ek_certificate = match offer.ekcert.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => {
                let der = certificate("ekcert", text)?;
                let trimmed = authorities::trimmed(&der).map(<[u8]>::to_vec);
                Some(trimmed.ok_or_else(|| malformed("ekcert is no certificate"))?)
            }
            None => None,
        };
        let tls_certificate = match offer.mtls_cert.as_deref().filter(|text| !text.is_empty() && *text != "disabled") {
            Some(text) => Some(certificate("mtls_cert", text)?),
            None => None,
        };
        Ok(Self { ak, ak_bytes, ek, ek_bytes, ek_certificate, tls_certificate })
    }
}

fn public(field: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    if text.len() > MAX_PUBLIC_TEXT {
        return Err(malformed(format!("{field} is longer than a public area")));
    }
    Base64::decode_vec(text).map_err(|_| malformed(format!("{field} is not padded base64")))
}

/// PEM, or base64 of DER, as agents send either.
fn certificate(field: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    if text.len() > MAX_CERTIFICATE_TEXT {
        return Err(malformed(format!("{field} is longer than a certificate")));
    }
    let der = if text.trim_start().starts_with("-----BEGIN") {
        CertificateDer::from_pem_slice(text.as_bytes()).ok().map(|der| der.to_vec())
    } else {
        Base64::decode_vec(text.trim_end()).ok()
    };
    der.ok_or_else(|| malformed(format!("{field} is neither PEM nor base64")))
}

fn malformed(what: impl Into<String>) -> Refusal {
    Refusal::new("malformed", what, "send what docs/service.md says of registration")
}

/// The tag, as an agent puts it.
#[derive(Debug, Deserialize)]
struct Activation {
    auth_tag: String,
}

async fn version() -> Response {
    success(json!({ "current_version": VERSION, "supported_versions": [VERSION] }))
}

async fn offer(
    State(registrar): State<Arc<Registrar>>,
    peer: Option<Extension<Peer>>,
    Path(uuid): Path<String>,
    body: Bytes,
) -> Response {
    let source = match registrar.admit(peer.as_deref()) {
        Ok(source) => source,
        Err(response) => return *response,
    };
    let Some(uuid) = Uuid::new(&uuid) else { return bad_uuid() };
    let Ok(offered) = serde_json::from_slice::<Offer>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "the body is no registration");
    };
    match registrar.challenge(uuid.clone(), &offered, source).await {
        Ok(file) => success(json!({ "blob": Base64::encode_string(&file) })),
        Err(error) => failed(&uuid, source, &error),
    }
}

async fn activate(
    State(registrar): State<Arc<Registrar>>,
    peer: Option<Extension<Peer>>,
    Path(uuid): Path<String>,
    body: Bytes,
) -> Response {
    let source = match registrar.admit(peer.as_deref()) {
        Ok(source) => source,
        Err(response) => return *response,
    };
    let Some(uuid) = Uuid::new(&uuid) else { return bad_uuid() };
    let activation = serde_json::from_slice::<Activation>(&body).ok();
    let Some(tag) = activation.and_then(|activation| AuthTag::parse(activation.auth_tag.as_bytes()).ok()) else {
        return refuse(StatusCode::BAD_REQUEST, "the body holds no tag");
    };
    match registrar.confirm(&uuid, &tag).await {
        Ok(()) => success(json!({})),
        Err(error) => failed(&uuid, source, &error),
    }
}

fn bad_uuid() -> Response {
    refuse(StatusCode::BAD_REQUEST, crate::uuid::UuidError.to_string())
}

fn failed(uuid: &Uuid, source: IpAddr, error: &StoreError) -> Response {
    tracing::warn!("{uuid}: not registered, from {source}: {}", Printable(error.to_string().as_bytes()));
    let status = match error {
        StoreError::Refused(Refusal { reason: "known-uuid" | "other-ek" | "no-identity", .. }) => StatusCode::FORBIDDEN,
        StoreError::Refused(Refusal { reason: "busy", .. }) => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::Refused(_) | StoreError::NotFound | StoreError::Illegal(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    match error {
        StoreError::Refused(refusal) => refuse(status, format!("{}: {}", refusal.what, refusal.todo)),
        // What goes on inside is no stranger's business.
        _ => refuse(status, "not now: try again later"),
    }
}

/// The envelope of Keylime's answers.
fn success(results: Value) -> Response {
    Json(json!({ "code": 200, "status": "Success", "results": results })).into_response()
}

fn refuse(status: StatusCode, text: impl Into<String>) -> Response {
    let body = json!({ "code": status.as_u16(), "status": text.into(), "results": {} });
    (status, Json(body)).into_response()
}
