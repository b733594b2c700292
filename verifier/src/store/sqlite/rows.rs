//! Rows as values, and back.

use std::time::Duration;

use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::header::ListName;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::tpm::{Boot, Clock};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::failed;
use crate::state::{Event, State};
use crate::store::{
    Agent, Assignment, AuditRecord, Change, EkIdentity, Enrolment, EventRecord, FindingRecord, Pending, PolicyRecord,
    Progress, Protocol, Provision, Standing, StoreError,
};
use crate::time::Time;
use crate::uuid::Uuid;

pub(super) fn agent(row: &SqliteRow) -> Result<Agent, StoreError> {
    let enrolment = match optional::<Vec<u8>>(row, "ak")? {
        Some(ak) => Some(enrolment(row, ak)?),
        None => None,
    };
    let provision = match optional::<String>(row, "address")? {
        Some(address) => Some(provision(row, address)?),
        None => None,
    };
    let standing = Standing {
        state: word(row, "state", State::from_word)?,
        since: time(row, "since")?,
        reason: value(row, "reason")?,
        detail: value(row, "detail")?,
        evidence: optional_array(row, "evidence")?,
    };
    Ok(Agent {
        uuid: uuid(row)?,
        generation: value(row, "generation")?,
        enrolment,
        provision,
        standing,
        progress: progress(row)?,
        due: optional_time(row, "due")?,
    })
}

fn enrolment(row: &SqliteRow, ak: Vec<u8>) -> Result<Enrolment, StoreError> {
    let identity = |word: &str| EkIdentity::ALL.into_iter().find(|identity| identity.word() == word);
    Ok(Enrolment {
        ak,
        ek: value(row, "ek")?,
        ek_certificate: value(row, "ek_certificate")?,
        ek_sha256: array(row, "ek_sha256")?,
        tls_certificate: value(row, "tls_certificate")?,
        identity: word(row, "identity", identity)?,
        registered_at: time(row, "registered_at")?,
    })
}

fn provision(row: &SqliteRow, address: String) -> Result<Provision, StoreError> {
    let protocol = |word: &str| Protocol::ALL.into_iter().find(|protocol| protocol.word() == word);
    let interval = optional::<i64>(row, "interval_ms")?;
    Ok(Provision {
        address,
        protocol: word(row, "protocol", protocol)?,
        policy: Assignment { identity: identity(row, "policy")?, name: word(row, "policy_name", ListName::new)? },
        interval: interval.map(|millis| Duration::from_millis(millis.unsigned_abs())),
        keep_polling: value(row, "keep_polling")?,
        named_ek_sha256: optional_array(row, "named_ek_sha256")?,
        trust_first: value(row, "trust_first")?,
        provisioned_at: time(row, "provisioned_at")?,
    })
}

fn progress(row: &SqliteRow) -> Result<Progress, StoreError> {
    let counter = |name| Ok::<_, StoreError>(optional::<i64>(row, name)?.and_then(|count| u32::try_from(count).ok()));
    let boot = counter("reset_count")?.zip(counter("restart_count")?);
    let clock = optional::<i64>(row, "tpm_clock")?.zip(optional::<bool>(row, "tpm_clock_safe")?);
    Ok(Progress {
        checkpoint: value(row, "checkpoint")?,
        boot: boot.map(|(reset_count, restart_count)| Boot { reset_count, restart_count }),
        // A clock of 64 bits is kept as the signed number of the same bits.
        clock: clock.map(|(millis, safe)| Clock { millis: millis.cast_unsigned(), safe }),
        entries: count(row, "entries")?,
        seen: count(row, "seen")?,
        counts: value(row, "counts")?,
        boot_state: value(row, "boot_state")?,
        attested_at: optional_time(row, "attested_at")?,
        contact_at: optional_time(row, "contact_at")?,
        lagging_since: optional_time(row, "lagging_since")?,
        failures: value(row, "failures")?,
        findings: count(row, "findings")?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<EventRecord, StoreError> {
    let blind = optional_time(row, "blind_from")?.zip(optional_time(row, "blind_until")?);
    let from = match optional::<String>(row, "from_state")? {
        Some(_) => Some(word(row, "from_state", State::from_word)?),
        None => None,
    };
    let change = Change {
        event: word(row, "event", Event::from_word)?,
        reason: value(row, "reason")?,
        detail: value(row, "detail")?,
        evidence: optional_array(row, "evidence")?,
        blind,
    };
    let to = word(row, "to_state", State::from_word)?;
    Ok(EventRecord { id: value(row, "id")?, at: time(row, "at")?, from, to, change })
}

pub(super) fn finding(row: &SqliteRow) -> Result<FindingRecord, StoreError> {
    let expected = value::<String>(row, "expected")?;
    let entry = optional::<i64>(row, "entry")?;
    Ok(FindingRecord {
        entry: entry.and_then(|entry| u64::try_from(entry).ok()),
        word: value(row, "word")?,
        name: value(row, "name")?,
        found: value(row, "found")?,
        expected: serde_json::from_str(&expected).map_err(|_| damaged("expected"))?,
        text: value(row, "text")?,
        first_seen: time(row, "first_seen")?,
    })
}

pub(super) fn pending(row: &SqliteRow) -> Result<(i64, Pending), StoreError> {
    let pending = Pending {
        uuid: uuid(row)?,
        source: value(row, "source")?,
        ak: value(row, "ak")?,
        ek: value(row, "ek")?,
        ek_certificate: value(row, "ek_certificate")?,
        ek_sha256: array(row, "ek_sha256")?,
        tls_certificate: value(row, "tls_certificate")?,
        certified: value(row, "certified")?,
        tag: value(row, "tag")?,
        created: time(row, "created")?,
        expires: time(row, "expires")?,
    };
    Ok((value(row, "id")?, pending))
}

pub(super) fn policy(row: &SqliteRow) -> Result<PolicyRecord, StoreError> {
    let signers = value::<String>(row, "signers")?;
    Ok(PolicyRecord {
        identity: identity(row, "identity")?,
        name: word(row, "name", ListName::new)?,
        version: count(row, "version")?,
        created: value(row, "created")?,
        expires: value(row, "expires")?,
        entries: count(row, "entries")?,
        size: count(row, "size")?,
        signers: serde_json::from_str(&signers).map_err(|_| damaged("signers"))?,
        uploaded_at: time(row, "uploaded_at")?,
        uploaded_by: value(row, "uploaded_by")?,
    })
}

pub(super) fn audit(row: &SqliteRow) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        id: value(row, "id")?,
        at: time(row, "at")?,
        actor: value(row, "actor")?,
        action: value(row, "action")?,
        subject: value(row, "subject")?,
        detail: value(row, "detail")?,
    })
}

pub(super) fn uuid(row: &SqliteRow) -> Result<Uuid, StoreError> {
    word(row, "uuid", Uuid::new)
}

pub(super) fn time(row: &SqliteRow, name: &'static str) -> Result<Time, StoreError> {
    value(row, name).map(Time::from_millis)
}

pub(super) fn count(row: &SqliteRow, name: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value::<i64>(row, name)?).map_err(|_| damaged(name))
}

pub(super) fn array<const N: usize>(row: &SqliteRow, name: &'static str) -> Result<[u8; N], StoreError> {
    value::<Vec<u8>>(row, name)?.try_into().map_err(|_| damaged(name))
}

/// A value of a closed set, by the word it is stored as.
pub(super) fn word<T>(row: &SqliteRow, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    read(&value::<String>(row, name)?).ok_or_else(|| damaged(name))
}

pub(super) fn value<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(failed)
}

fn optional<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<Option<T>, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    value(row, name)
}

fn optional_time(row: &SqliteRow, name: &'static str) -> Result<Option<Time>, StoreError> {
    Ok(optional(row, name)?.map(Time::from_millis))
}

fn optional_array<const N: usize>(row: &SqliteRow, name: &'static str) -> Result<Option<[u8; N]>, StoreError> {
    let bytes = optional::<Vec<u8>>(row, name)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| damaged(name))).transpose()
}

/// An identity has one way in, which is its text.
fn identity(row: &SqliteRow, name: &'static str) -> Result<Identity, StoreError> {
    let bytes = value::<Vec<u8>>(row, name)?;
    Identity::from_hex(hex::encode(&bytes).as_bytes()).ok_or_else(|| damaged(name))
}

fn damaged(name: &str) -> StoreError {
    StoreError::Damaged { what: format!("{name} is nothing that this version writes") }
}

/// A count as a column holds it.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Words as a JSON array, for a column or for json_each.
pub(super) fn json<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    serde_json::Value::from_iter(words).to_string()
}
