//! One question and its answer: by the route of our own agent, or by Keylime's, of an agent that knows nothing of us.
//!
//! What comes back is what the agent says. [`super::verdict`] decides whether to believe it.

use std::time::Duration;

use bytes::Bytes;
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::evidence::Head;
use goldseal_verifier_core::ima::entry::ByteOrder;
use goldseal_verifier_core::keylime::QuoteText;
use goldseal_verifier_core::tpm::PcrSelection;
use hyper::StatusCode;
use serde::Deserialize;

use super::client::{ClientError, Connection};
use super::nonce::Nonce;
use crate::store::Protocol;

/// The PCRs that are asked for: firmware, boot loader and IMA.
const LAST_PCR: u8 = 10;

/// PCRs 0 to 10 as Keylime writes them.
const KEYLIME_MASK: &str = "0x7ff";

/// The PCR to which Keylime's agents bind their public key: it is in each of their quotes (rust-keylime 0.2.9, quotes_handler.rs).
const KEYLIME_PCR: u8 = 16;

/// What an agent answered.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// The PCR values.
    pub pcr_blob: Vec<u8>,
    /// What the quote must hold.
    pub nonce: Vec<u8>,
    /// What it must be of.
    pub selection: PcrSelection,
    /// The measurement list, binary or ASCII.
    pub list: Bytes,
    /// Index of its first entry.
    pub claimed_first: u64,
    /// Its byte order, where the answer says so.
    pub claimed_order: Option<ByteOrder>,
    /// TPM2B_PUBLIC, where the answer says so.
    pub claimed_ak: Option<Vec<u8>>,
}

/// Why an exchange came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeError {
    /// There is no answer.
    Client(ClientError),
    /// It says that it cannot.
    Status(StatusCode),
    /// It is no answer to such a question.
    BadAnswer(String),
    /// It came too late for its nonce.
    NonceExpired,
    /// This machine gave no randomness.
    NoRandomness,
}

impl ExchangeError {
    /// A stable word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Client(error) => error.reason(),
            Self::Status(_) => "agent-error",
            Self::BadAnswer(_) => "bad-answer",
            Self::NonceExpired => "timeout",
            Self::NoRandomness => "no-randomness",
        }
    }
}

impl std::fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Status(status) => write!(f, "the agent answers with {status}"),
            Self::BadAnswer(what) => write!(f, "the answer is none: {what}"),
            Self::NonceExpired => f.write_str("the answer came too late for its nonce"),
            Self::NoRandomness => f.write_str("this machine gives no randomness for a nonce"),
        }
    }
}

impl From<ClientError> for ExchangeError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// Asks for a quote of PCRs 0 to 10 and the list from entry `from` on.
///
/// # Errors
/// [`ExchangeError`].
pub async fn ask(
    connection: &mut Connection<'_>,
    protocol: Protocol,
    banks: &[HashAlgorithm],
    from: u64,
    lifetime: Duration,
) -> Result<Evidence, ExchangeError> {
    let nonce = Nonce::fresh().map_err(|_| ExchangeError::NoRandomness)?;
    match protocol {
        Protocol::Goldseal => ask_goldseal(connection, banks, from, nonce, lifetime).await,
        Protocol::Keylime => ask_keylime(connection, banks, from, nonce, lifetime).await,
    }
}

async fn ask_goldseal(
    connection: &mut Connection<'_>,
    banks: &[HashAlgorithm],
    from: u64,
    nonce: Nonce,
    lifetime: Duration,
) -> Result<Evidence, ExchangeError> {
    let pcrs = (0..=LAST_PCR).map(|pcr| pcr.to_string()).collect::<Vec<_>>().join(",");
    let pcrs = banks.iter().map(|bank| format!("{bank}:{pcrs}")).collect::<Vec<_>>().join("+");
    let target = format!("/v1/evidence?nonce={}&from={from}&pcrs={pcrs}", nonce.hex());
    let answer = connection.get(&target).await?;
    if answer.status != StatusCode::OK {
        return Err(ExchangeError::Status(answer.status));
    }
    let (head, len) = Head::parse(&answer.body).map_err(|error| ExchangeError::BadAnswer(error.to_string()))?;
    let first = starts_as_asked(head.claimed_first_entry, from)?;
    Ok(Evidence {
        attest: head.attest,
        signature: head.signature,
        pcr_blob: head.pcr_blob,
        nonce: nonce.spend(lifetime).ok_or(ExchangeError::NonceExpired)?,
        selection: selection(banks.iter().flat_map(|bank| (0..=LAST_PCR).map(|pcr| (*bank, pcr))))?,
        list: answer.body.slice(len..),
        claimed_first: first,
        claimed_order: Some(head.claimed_order),
        claimed_ak: Some(head.claimed_ak),
    })
}

/// What is used of Keylime's answer (docs/service.md has the whole of it).
#[derive(Deserialize)]
struct KeylimeAnswer {
    results: KeylimeResults,
}

#[derive(Deserialize)]
struct KeylimeResults {
    quote: String,
    hash_alg: String,
    #[serde(default)]
    ima_measurement_list: Option<String>,
    #[serde(default)]
    ima_measurement_list_entry: Option<u64>,
}

async fn ask_keylime(
    connection: &mut Connection<'_>,
    banks: &[HashAlgorithm],
    from: u64,
    nonce: Nonce,
    lifetime: Duration,
) -> Result<Evidence, ExchangeError> {
    let text = nonce.alphanumeric();
    let target = format!("/v2.1/quotes/integrity?nonce={text}&mask={KEYLIME_MASK}&partial=1&ima_ml_entry={from}");
    let answer = connection.get(&target).await?;
    if answer.status != StatusCode::OK {
        return Err(ExchangeError::Status(answer.status));
    }
    let bad = |error: &dyn std::fmt::Display| ExchangeError::BadAnswer(error.to_string());
    let KeylimeAnswer { results } = serde_json::from_slice(&answer.body).map_err(|error| bad(&error))?;
    let quote = QuoteText::parse(&results.quote).map_err(|error| bad(&error))?;
    let bank = HashAlgorithm::from_name(results.hash_alg.as_bytes()).filter(|bank| banks.contains(bank));
    // It quotes one bank, and says which.
    let bank = bank.ok_or_else(|| bad(&"it quotes a bank that was not asked for"))?;
    let first = starts_as_asked(results.ima_measurement_list_entry.unwrap_or(0), from)?;
    Ok(Evidence {
        attest: quote.attest,
        signature: quote.signature,
        pcr_blob: quote.pcr_blob,
        nonce: nonce.spend_alphanumeric(lifetime).ok_or(ExchangeError::NonceExpired)?,
        selection: selection((0..=LAST_PCR).chain([KEYLIME_PCR]).map(|pcr| (bank, pcr)))?,
        list: ended(results.ima_measurement_list.unwrap_or_default()).into(),
        claimed_first: first,
        claimed_order: None,
        claimed_ak: None,
    })
}

/// Where the list begins: at the entry that was asked for, or at the first of all.
fn starts_as_asked(first: u64, asked: u64) -> Result<u64, ExchangeError> {
    if first == 0 || first == asked {
        return Ok(first);
    }
    Err(ExchangeError::BadAnswer(format!("its list begins at entry {first}, where {asked} was asked for")))
}

fn selection(pcrs: impl Iterator<Item = (HashAlgorithm, u8)>) -> Result<PcrSelection, ExchangeError> {
    PcrSelection::new(pcrs).map_err(|error| ExchangeError::BadAnswer(error.to_string()))
}

/// Some agents trim the last end of line.
fn ended(mut list: String) -> String {
    if !list.is_empty() && !list.ends_with('\n') {
        list.push('\n');
    }
    list
}
