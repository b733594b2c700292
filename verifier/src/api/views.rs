//! What is shown, as JSON. Names of files may be any bytes: `path` is text, and `path_base64` has the bytes where text
//! cannot. Everything else was escaped when it was stored.

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::hex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{self, EventRecord, FindingGroup, FindingRecord, PolicyRecord};

/// A machine.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agent {
    /// Its name.
    pub uuid: String,
    /// How it stands: a stable word.
    #[schema(example = "accepted")]
    pub state: String,
    /// Since when.
    pub since: String,
    /// Why: a stable word.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// Where it is polled; none before it is provisioned.
    pub address: Option<String>,
    /// How it is asked: `goldseal` or `keylime`.
    pub protocol: Option<String>,
    /// The list that judges it.
    pub policy: Option<PolicyName>,
    /// What says that its EK is the right one: `named`, `certificate`, `first seen`, `unconfirmed`.
    pub identity: Option<String>,
    /// Findings of its rejection.
    pub findings: u64,
    /// Entries of its measurement list that its last quote confirmed.
    pub entries: u64,
    /// When its last quote was believed.
    pub attested_at: Option<String>,
    /// When it last answered.
    pub contact_at: Option<String>,
    /// Polls in a row without an answer.
    pub failures: u32,
}

/// Which list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyName {
    /// SHA-256 of its signed bytes.
    pub identity: String,
    /// Its name.
    pub name: String,
}

impl From<&store::Agent> for Agent {
    fn from(agent: &store::Agent) -> Self {
        let store::Agent { uuid, enrolment, provision, standing, progress, .. } = agent;
        Self {
            uuid: uuid.to_string(),
            state: standing.state.word().to_owned(),
            since: standing.since.to_string(),
            reason: standing.reason.clone(),
            detail: standing.detail.clone(),
            address: provision.as_ref().map(|provision| provision.address.clone()),
            protocol: provision.as_ref().map(|provision| provision.protocol.word().to_owned()),
            policy: provision.as_ref().map(|provision| PolicyName {
                identity: provision.policy.identity.to_string(),
                name: provision.policy.name.to_string(),
            }),
            identity: enrolment.as_ref().map(|enrolment| enrolment.identity.word().to_owned()),
            findings: progress.findings,
            entries: progress.entries,
            attested_at: progress.attested_at.map(|at| at.to_string()),
            contact_at: progress.contact_at.map(|at| at.to_string()),
            failures: progress.failures,
        }
    }
}

/// Machines, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agents {
    /// At most `limit` of them.
    pub agents: Vec<Agent>,
    /// What to send as `after` for the next ones; none if these were the last.
    pub next: Option<String>,
}

/// A machine, and all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Details {
    /// How it stands.
    pub agent: Agent,
    /// SHA-256 of its EK's SubjectPublicKeyInfo, once it registered.
    pub ek_sha256: Option<String>,
    /// SHA-256 of the EK that the tenant named.
    pub named_ek_sha256: Option<String>,
    /// SHA-256 of the TLS certificate that it is held to.
    pub tls_sha256: Option<String>,
    /// When it registered.
    pub registered_at: Option<String>,
    /// When the tenant asked for it.
    pub provisioned_at: Option<String>,
    /// How often it is polled, in seconds; none: as the service is configured.
    pub interval: Option<u64>,
    /// Whether it is polled even when it failed.
    pub keep_polling: bool,
    /// Whether its last quote said what was booted.
    pub boot_state: Option<String>,
    /// Entries of its measurement list by class.
    #[schema(value_type = Object)]
    pub counts: serde_json::Value,
    /// Digest of the evidence for its state.
    pub evidence: Option<String>,
    /// Why it is rejected: the first of its findings.
    pub findings: Vec<Finding>,
    /// What became of it, latest first.
    pub events: Vec<Event>,
    /// What would lead to `accepted`.
    pub clears: Vec<String>,
}

/// Something believed and not allowed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Finding {
    /// The entry, counted from 1 since boot; none if it is about the quote.
    pub entry: Option<u64>,
    /// A stable word.
    pub word: String,
    /// The name in the entry.
    pub path: Option<String>,
    /// Its bytes, where `path` cannot have them.
    pub path_base64: Option<String>,
    /// What was measured.
    pub found: Option<String>,
    /// What would have been right.
    pub expected: Vec<String>,
    /// In words.
    pub text: String,
    /// When the machine was first rejected for it.
    pub first_seen: String,
}

impl From<&FindingRecord> for Finding {
    fn from(finding: &FindingRecord) -> Self {
        let (path, path_base64) = path(finding.name.as_deref());
        Self {
            entry: finding.entry,
            word: finding.word.clone(),
            path,
            path_base64,
            found: finding.found.clone(),
            expected: finding.expected.clone(),
            text: finding.text.clone(),
            first_seen: finding.first_seen.to_string(),
        }
    }
}

/// A name as text, and its bytes where text cannot have them.
fn path(name: Option<&[u8]>) -> (Option<String>, Option<String>) {
    let base64 = name.filter(|name| std::str::from_utf8(name).is_err()).map(Base64::encode_string);
    (name.map(|name| String::from_utf8_lossy(name).into_owned()), base64)
}

/// Something that happened to a machine.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Later events have higher numbers.
    pub id: i64,
    /// When.
    pub at: String,
    /// What: a stable word.
    pub event: String,
    /// How it stood.
    pub from: Option<String>,
    /// How it stands since.
    pub to: String,
    /// Why: a stable word.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// Digest of the evidence.
    pub evidence: Option<String>,
    /// Of a new boot: from when nothing is known.
    pub blind_from: Option<String>,
    /// Of a new boot: until when nothing is known.
    pub blind_until: Option<String>,
}

impl From<&EventRecord> for Event {
    fn from(event: &EventRecord) -> Self {
        let EventRecord { id, at, from, to, change } = event;
        Self {
            id: *id,
            at: at.to_string(),
            event: change.event.word().to_owned(),
            from: from.map(|state| state.word().to_owned()),
            to: to.word().to_owned(),
            reason: change.reason.clone(),
            detail: change.detail.clone(),
            evidence: change.evidence.map(|digest| hex::encode(&digest)),
            blind_from: change.blind.map(|(from, _)| from.to_string()),
            blind_until: change.blind.map(|(_, until)| until.to_string()),
        }
    }
}

/// The same finding on several machines.
#[derive(Debug, Serialize, ToSchema)]
pub struct Group {
    /// A stable word.
    pub word: String,
    /// The name in the entries.
    pub path: Option<String>,
    /// Its bytes, where `path` cannot have them.
    pub path_base64: Option<String>,
    /// What was measured.
    pub found: Option<String>,
    /// How many machines.
    pub machines: u64,
    /// When the first of them was.
    pub first_seen: String,
    /// Some of them.
    pub examples: Vec<String>,
}

impl From<&FindingGroup> for Group {
    fn from(group: &FindingGroup) -> Self {
        let (path, path_base64) = path(group.name.as_deref());
        Self {
            word: group.word.clone(),
            path,
            path_base64,
            found: group.found.clone(),
            machines: group.machines,
            first_seen: group.first_seen.to_string(),
            examples: group.examples.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Groups of findings, most machines first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Groups {
    /// At most `limit` of them.
    pub findings: Vec<Group>,
}

/// A sealed list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Policy {
    /// SHA-256 of its signed bytes.
    pub identity: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// When it says it was made.
    pub created: String,
    /// Until when it is fresh, or `never`.
    pub expires: String,
    /// Its entries.
    pub entries: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Who sealed it.
    pub signers: Vec<String>,
    /// When it came.
    pub uploaded_at: String,
    /// By whom.
    pub uploaded_by: String,
}

impl From<&PolicyRecord> for Policy {
    fn from(policy: &PolicyRecord) -> Self {
        Self {
            identity: policy.identity.to_string(),
            name: policy.name.to_string(),
            version: policy.version,
            created: policy.created.clone(),
            expires: policy.expires.clone(),
            entries: policy.entries,
            size: policy.size,
            signers: policy.signers.clone(),
            uploaded_at: policy.uploaded_at.to_string(),
            uploaded_by: policy.uploaded_by.clone(),
        }
    }
}

/// Sealed lists, by name and version, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Policies {
    /// All of them.
    pub policies: Vec<Policy>,
}

/// A sealed list, and the machines that it judges.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyDetails {
    /// What its header says.
    pub policy: Policy,
    /// Whether its seals count now, and it is in time: `current`, `stale` or `no-policy`.
    pub freshness: String,
    /// Why it judges nothing, if it does not.
    pub problem: Option<String>,
    /// Machines that it judges, by state.
    pub agents: Vec<Count>,
}

/// How many machines stand so.
#[derive(Debug, Serialize, ToSchema)]
pub struct Count {
    /// The state.
    pub state: String,
    /// How many.
    pub machines: u64,
}

impl Count {
    pub(super) fn all(counts: Vec<(crate::state::State, u64)>) -> Vec<Self> {
        counts.into_iter().map(|(state, machines)| Self { state: state.word().to_owned(), machines }).collect()
    }
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLine {
    /// Later ones have higher numbers.
    pub id: i64,
    /// When.
    pub at: String,
    /// Whose.
    pub actor: String,
    /// A stable word.
    pub action: String,
    /// What it is about.
    pub subject: String,
    /// In words.
    pub detail: String,
}

/// Decisions, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLog {
    /// At most `limit` of them.
    pub audit: Vec<AuditLine>,
    /// What to send as `before` for the next ones; none if these were the last.
    pub next: Option<i64>,
}

/// Which machines a request is about, and what was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Moved {
    /// Whether nothing was done, as asked.
    pub dry_run: bool,
    /// How many machines.
    pub count: usize,
    /// The first of them, by name.
    pub uuids: Vec<String>,
}

/// Whether the service works. Who shows no credentials learns the status alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or `failing`.
    pub status: String,
    /// Whether the database answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<bool>,
    /// Seconds since polling last went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poller_age: Option<u64>,
    /// Machines by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<Count>>,
    /// The service's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
