//! Keylime's routes, API 2.1 (docs/agent-protocol.md). Names, texts and codes are those that its verifier and tenant
//! 7.14.3 read, and those of rust-keylime 0.2.9 where they read none.

use base64ct::{Base64, Encoding as _};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::keylime::QuoteText;
use goldseal_verifier_core::pcr::PCR_COUNT;
use goldseal_verifier_core::tpm::{PublicArea, SignatureAlgorithm};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::Service;
use super::body::Body;
use super::query::{Query, decimal};
use super::refusal::Refusal;
use crate::tpm::{Quote, QuoteRequest};

/// The versions of Keylime's API that are spoken, oldest first. Later ones of 2.x change nothing on these routes but
/// add others (`/agent/info` in 2.2, names of algorithms with key sizes in 2.5); Keylime 7.14.3 takes the newest that
/// both sides know.
pub const SUPPORTED_VERSIONS: &[&str] = &["2.1"];

/// The longest nonce (MAX_NONCE_SIZE of rust-keylime). A TPM may take less, and says so.
const MAX_NONCE: usize = 64;

/// The PCR that tells the public key: it is part of every quote here, asked for or not.
const BOUND_PCR: u8 = 16;

/// What Keylime is told of the keys.
#[derive(Debug)]
pub(super) struct Algorithms {
    /// TPM2B_PUBLIC of the attestation key.
    pub(super) ak: Vec<u8>,
    /// Of its signatures, and thus the bank: Keylime takes them for the same.
    hash: HashAlgorithm,
    sign: &'static str,
    encryption: &'static str,
}

/// `GET /version`
pub(super) fn version() -> Response<Body> {
    let newest = SUPPORTED_VERSIONS.last().copied().unwrap_or_default();
    success(Body::whole(text(&Versions { supported_version: newest, supported_versions: SUPPORTED_VERSIONS })))
}

/// `GET /v2.1/quotes/identity`: that the TPM has the attestation key, and that the public key is this machine's.
pub(super) async fn identity(service: &Service, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let nonce = nonce(query)?;
    let algorithms = algorithms(service).await?;
    let quote = quote(service, algorithms, nonce, Vec::new()).await?;
    let results = Results { pubkey: Some(&service.public_key), ..Results::of(quote, algorithms) };
    Ok(success(Body::whole(text(&results))))
}

/// `GET /v2.1/quotes/integrity`: the PCRs, then the list, which may have grown meanwhile.
pub(super) async fn integrity(service: &Service, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let nonce = nonce(query)?;
    let pcrs = mask(query)?;
    let pubkey = match query.get("partial").map_err(Refusal::bad_request)? {
        Some("0") => Some(service.public_key.as_str()),
        Some("1") => None,
        _ => return Err(Refusal::bad_request("uri must contain key 'partial' and value '0' or '1'")),
    };
    let from = first_entry(query)?;
    let boot_log = service.sources.boot_log.as_ref().filter(|_| pcrs.contains(&0));
    let algorithms = algorithms(service).await?;
    let quote = quote(service, algorithms, nonce, pcrs).await?;
    let list = service.sources.ascii.from(from).await?;
    let results = Results {
        pubkey,
        mb_measurement_list: boot_log.map(|log| Base64::encode_string(log)),
        boottime: Some(service.sources.boot_time),
        ima_measurement_list_entry: Some(list.first()),
        ima_measurement_list: Some(""),
        ..Results::of(quote, algorithms)
    };
    // The list is the last string, so that it is written while it is read.
    let mut before = text(&results);
    before.truncate(before.len() - AFTER_LIST.len());
    Ok(success(Body::escaped(before, list, AFTER_LIST)))
}

/// How an answer ends whose last string is the list.
const AFTER_LIST: &str = "\"}}";

fn nonce<'q>(query: &Query<'q>) -> Result<&'q str, Refusal> {
    let nonce = query.need("nonce").map_err(Refusal::bad_request)?;
    if nonce.len() > MAX_NONCE {
        let found = nonce.len();
        return Err(Refusal::bad_request(format!("Nonce is too long (max size: {MAX_NONCE}): {found}")));
    }
    if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let nonce = nonce.escape_default();
        return Err(Refusal::bad_request(format!("nonce should be strictly alphanumeric: {nonce}")));
    }
    Ok(nonce)
}

/// The PCRs of a mask, without the one that is always there.
fn mask(query: &Query<'_>) -> Result<Vec<u8>, Refusal> {
    let mask = query.need("mask").map_err(Refusal::bad_request)?;
    let digits = mask.strip_prefix("0x").unwrap_or(mask);
    let is_hex = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = is_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
    let Some(bits) = bits else {
        let mask = mask.escape_default();
        return Err(Refusal::bad_request(format!("mask should be a hex encoded 32-bit integer: {mask:.40}")));
    };
    let pcrs: Vec<u8> = (0..32).filter(|pcr| bits >> pcr & 1 == 1).collect();
    match pcrs.last() {
        Some(last) if *last >= PCR_COUNT => {
            Err(Refusal::bad_request(format!("mask asks for PCR {last}; the last one is {}", PCR_COUNT - 1)))
        }
        _ => Ok(pcrs.into_iter().filter(|pcr| *pcr != BOUND_PCR).collect()),
    }
}

fn first_entry(query: &Query<'_>) -> Result<u64, Refusal> {
    match query.get("ima_ml_entry").map_err(Refusal::bad_request)? {
        None => Ok(0),
        Some(entry) => decimal(entry).ok_or_else(|| {
            let entry = entry.escape_default();
            Refusal::bad_request(format!("ima_ml_entry should be a decimal number: {entry:.40}"))
        }),
    }
}

async fn quote(service: &Service, algorithms: &Algorithms, nonce: &str, pcrs: Vec<u8>) -> Result<Quote, Refusal> {
    let request = QuoteRequest {
        banks: vec![algorithms.hash],
        pcrs,
        nonce: nonce.into(),
        bind: Some(service.public_key.clone().into()),
    };
    Ok(service.sources.tpm.quote(request).await?)
}

/// Asked for once: as long as the agent runs, the attestation key is the same or there is none.
pub(super) async fn algorithms(service: &Service) -> Result<&Algorithms, Refusal> {
    let ask = || async {
        let identity = service.sources.tpm.identity().await?;
        Algorithms::of(&identity.ek_public, identity.ak_public).ok_or_else(|| {
            let detail = "the TPM shows keys that are none for attestation; see goldseal-agent doctor";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "tpm-failed", detail)
        })
    };
    service.algorithms.get_or_try_init(ask).await
}

impl Algorithms {
    /// Of an endorsement key and an attestation key.
    fn of(ek: &[u8], ak: Vec<u8>) -> Option<Self> {
        let scheme = PublicArea::parse(&ak).ok()?.scheme()?;
        // The words of Keylime's `algorithms.py`.
        let sign = match scheme.algorithm {
            SignatureAlgorithm::RsaSsa => "rsassa",
            SignatureAlgorithm::RsaPss => "rsapss",
            SignatureAlgorithm::Ecdsa => "ecdsa",
            _ => return None,
        };
        let encryption = if PublicArea::parse(ek).ok()?.curve().is_some() { "ecc" } else { "rsa" };
        Some(Self { ak, hash: scheme.hash, sign, encryption })
    }
}

fn success(body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The text of an answer with these results.
fn text<T: Serialize>(results: &T) -> String {
    // Numbers and text alone: there is nothing that JSON cannot say.
    serde_json::to_string(&Success { code: 200, status: "Success", results }).unwrap_or_default()
}

#[derive(Serialize)]
struct Success<'a, T> {
    code: u16,
    status: &'static str,
    results: &'a T,
}

#[derive(Serialize)]
struct Versions {
    supported_version: &'static str,
    supported_versions: &'static [&'static str],
}

#[derive(Default, Serialize)]
struct Results<'a> {
    quote: String,
    hash_alg: &'static str,
    enc_alg: &'static str,
    sign_alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pubkey: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mb_measurement_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boottime: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ima_measurement_list_entry: Option<u64>,
    /// Stands last.
    #[serde(skip_serializing_if = "Option::is_none")]
    ima_measurement_list: Option<&'a str>,
}

impl Results<'_> {
    fn of(quote: Quote, algorithms: &Algorithms) -> Self {
        let Quote { attest, signature, pcr_blob, .. } = quote;
        Self {
            quote: QuoteText { attest, signature, pcr_blob }.to_string(),
            hash_alg: algorithms.hash.name(),
            enc_alg: algorithms.encryption,
            sign_alg: algorithms.sign,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, detail: &str) {
        assert_eq!(result.unwrap_err(), Refusal::bad_request(detail));
    }

    #[test]
    fn nonces_are_short_and_alphanumeric() {
        let of = |query: &str| nonce(&Query::parse(Some(query))).map(str::to_owned);
        assert_eq!(of("nonce=aZ09"), Ok("aZ09".to_owned()));
        assert!(of(&format!("nonce={}", "a".repeat(64))).is_ok());
        refused(of("x=1"), "nonce is missing");
        refused(of("nonce=a&nonce=a"), "nonce stands there twice");
        refused(of("nonce="), "nonce should be strictly alphanumeric: ");
        refused(of("nonce=a%41"), "nonce should be strictly alphanumeric: a%41");
        refused(of("nonce=\u{e9}"), "nonce should be strictly alphanumeric: \\u{e9}");
        refused(of(&format!("nonce={}", "a".repeat(65))), "Nonce is too long (max size: 64): 65");
    }

    #[test]
    fn masks_are_hex() {
        let of = |query: &str| mask(&Query::parse(Some(query)));
        assert_eq!(of("mask=0x400"), Ok(vec![10]));
        assert_eq!(of("mask=408401"), Ok(vec![0, 10, 15, 22]));
        assert_eq!(of("mask=0xC00000"), Ok(vec![22, 23]));
        assert_eq!(of("mask=0x10400"), Ok(vec![10]));
        assert_eq!(of("mask=0"), Ok(vec![]));
        refused(of(""), "mask is missing");
        let bad = ["", "0x", "0x0x4", "g", "+4", "0x100000000", "-1", "%30"];
        for mask in bad {
            refused(of(&format!("mask={mask}")), &format!("mask should be a hex encoded 32-bit integer: {mask}"));
        }
        refused(of("mask=0x1000000"), "mask asks for PCR 24; the last one is 23");
        refused(of("mask=ffffffff"), "mask asks for PCR 31; the last one is 23");
    }

    #[test]
    fn entries_are_decimal() {
        let of = |query: &str| first_entry(&Query::parse(Some(query)));
        assert_eq!(of(""), Ok(0));
        assert_eq!(of("ima_ml_entry=17"), Ok(17));
        for bad in ["", "-1", "1.0", "0x1", "18446744073709551616"] {
            refused(of(&format!("ima_ml_entry={bad}")), &format!("ima_ml_entry should be a decimal number: {bad}"));
        }
    }

    #[test]
    fn an_answer_ends_with_its_list() {
        let results = Results { ima_measurement_list: Some(""), ..Results::default() };
        assert!(text(&results).ends_with(&format!("\"ima_measurement_list\":\"{AFTER_LIST}")));
    }

    #[test]
    fn the_versions_are_told() {
        let Body::Whole(Some(body)) = version().into_body() else { panic!("a whole body") };
        assert_eq!(
            body,
            r#"{"code":200,"status":"Success","results":{"supported_version":"2.1","supported_versions":["2.1"]}}"#
        );
    }
}
