//! The rows, as values.

use std::time::Duration;

use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::header::ListName;
use goldseal_verifier_core::tpm::{Boot, Clock};

use crate::state::{Event, State};
use crate::time::Time;
use crate::uuid::Uuid;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub uuid: Uuid,
    /// Raised by every change of the row but a claim's lease; reports are held against it.
    pub generation: i64,
    /// Who it is; `None` until it registered.
    pub enrolment: Option<Enrolment>,
    /// What the tenant asked for; `None` until it did.
    pub provision: Option<Provision>,
    /// How it stands.
    pub standing: Standing,
    /// Where its appraisal is.
    pub progress: Progress,
    /// When it is asked next; `None`: it is not.
    pub due: Option<Time>,
}

/// Who a machine is: what its registration proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// TPM2B_PUBLIC of the AK.
    pub ak: Vec<u8>,
    /// TPM2B_PUBLIC of the EK in whose TPM the AK is.
    pub ek: Vec<u8>,
    /// The EK's certificate, DER, if it came with one.
    pub ek_certificate: Option<Vec<u8>>,
    /// SHA-256 of the EK's SubjectPublicKeyInfo DER.
    pub ek_sha256: [u8; 32],
    /// DER of the certificate with which it serves TLS. The registration claims it, and nothing else is answered to.
    pub tls_certificate: Option<Vec<u8>>,
    /// What says that this EK is the machine's.
    pub identity: EkIdentity,
    /// When.
    pub registered_at: Time,
}

/// What says that an EK is that of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EkIdentity {
    /// The tenant named it.
    Named,
    /// A certificate by a trusted authority.
    Certificate,
    /// Nothing: it was the first to come, as the tenant allowed.
    FirstSeen,
    /// Nothing yet: the tenant has not asked for this machine.
    Unconfirmed,
}

impl EkIdentity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Named, Self::Certificate, Self::FirstSeen, Self::Unconfirmed];

    /// As it is shown.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Certificate => "certificate",
            Self::FirstSeen => "first seen",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// What the tenant asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provision {
    /// Where to poll: `HOST:PORT`, of the tenant and never of the registration.
    pub address: String,
    /// How to ask.
    pub protocol: Protocol,
    /// By which list it is judged.
    pub policy: Assignment,
    /// How often; `None`: as the service is configured.
    pub interval: Option<Duration>,
    /// Whether a failed machine is polled all the same. It stays failed.
    pub keep_polling: bool,
    /// SHA-256 of the SubjectPublicKeyInfo DER of the EK that it must have.
    pub named_ek_sha256: Option<[u8; 32]>,
    /// Whether the first EK that comes is believed.
    pub trust_first: bool,
    /// When.
    pub provisioned_at: Time,
}

/// A list as machines are given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its identity.
    pub identity: Identity,
    /// Its name.
    pub name: ListName,
}

/// How an agent is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// By the route of our own agent: the binary list.
    Goldseal,
    /// By Keylime's routes: the ASCII list.
    Keylime,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Goldseal, Self::Keylime];

    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Goldseal => "goldseal",
            Self::Keylime => "keylime",
        }
    }
}

/// How a machine stands, since when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// A stable word.
    pub reason: String,
    /// In words. Names in it are escaped already.
    pub detail: String,
    /// SHA-256 of the evidence.
    pub evidence: Option<[u8; 32]>,
}

/// Where the appraisal of a machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the checkpoint where the next one goes on.
    pub checkpoint: Option<Vec<u8>>,
    /// The boot of the last quote that was believed.
    pub boot: Option<Boot>,
    /// The clock of that quote.
    pub clock: Option<Clock>,
    /// Entries since boot that it confirmed.
    pub entries: u64,
    /// Entries since boot that were seen with it, the tail included.
    pub seen: u64,
    /// Entries by class, as a JSON object.
    pub counts: String,
    /// Whether that quote said what was booted.
    pub boot_state: Option<String>,
    /// When it was believed.
    pub attested_at: Option<Time>,
    /// When the machine last answered, whatever that was.
    pub contact_at: Option<Time>,
    /// Since when quotes leave out what was seen.
    pub lagging_since: Option<Time>,
    /// Polls in a row without an answer.
    pub failures: u32,
    /// Findings of its rejection, also those that are not kept one by one.
    pub findings: u64,
}

/// What a poll came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The machine.
    pub uuid: Uuid,
    /// The generation it was claimed at.
    pub generation: i64,
    /// When.
    pub at: Time,
    /// What happened, in order. May be empty: an answer failed to come, and it was not the last that may.
    pub changes: Vec<Change>,
    /// Where the appraisal is now.
    pub progress: Progress,
    /// Replaces those there were.
    pub findings: Option<Vec<FindingRecord>>,
    /// When it is asked next, unless it comes to [`State::Failed`] and is not polled then.
    pub due: Time,
}

/// One thing that happened, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub event: Event,
    /// A stable word.
    pub reason: String,
    /// In words. Names in it are escaped already.
    pub detail: String,
    /// SHA-256 of the evidence.
    pub evidence: Option<[u8; 32]>,
    /// Of a new boot, the time for which nothing is known.
    pub blind: Option<(Time, Time)>,
}

/// How a machine stands after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// When it is asked next; `None`: it is not.
    pub due: Option<Time>,
}

/// An event of a machine, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Later events have higher numbers.
    pub id: i64,
    /// When.
    pub at: Time,
    /// How it stood; `None` of the first.
    pub from: Option<State>,
    /// How it stands since.
    pub to: State,
    /// What happened.
    pub change: Change,
}

/// A finding of a machine, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRecord {
    /// The entry, counted from 1 since boot; `None` if it is about the quote.
    pub entry: Option<u64>,
    /// A stable word.
    pub word: String,
    /// The name in that entry, as the kernel wrote it: any bytes.
    pub name: Option<Vec<u8>>,
    /// What was measured, as `ALG:HEX`.
    pub found: Option<String>,
    /// What would have been right.
    pub expected: Vec<String>,
    /// In words, escaped.
    pub text: String,
    /// When this machine was first rejected for it.
    pub first_seen: Time,
}

/// Findings that say the same, of several machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingGroup {
    /// A stable word.
    pub word: String,
    /// The name in the entries.
    pub name: Option<Vec<u8>>,
    /// What was measured.
    pub found: Option<String>,
    /// Machines.
    pub machines: u64,
    /// When the first of them was.
    pub first_seen: Time,
    /// Some of them.
    pub examples: Vec<Uuid>,
}

/// Which machines. All of its conditions hold; none given takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// These.
    pub uuids: Option<Vec<Uuid>>,
    /// In one of these states.
    pub states: Option<Vec<State>>,
    /// With this list.
    pub policy: Option<Identity>,
    /// With a list of this name.
    pub policy_name: Option<ListName>,
    /// With such a finding.
    pub finding: Option<FindingFilter>,
}

impl Filter {
    /// One machine.
    pub fn uuid(uuid: &Uuid) -> Self {
        Self { uuids: Some(vec![uuid.clone()]), ..Self::default() }
    }
}

/// Which findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingFilter {
    /// The name in the entry.
    pub name: Vec<u8>,
    /// What was measured there; `None` takes anything.
    pub found: Option<String>,
}

/// Whether machines may get a list of another name than they had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// They may not.
    Keep,
    /// They may: the tenant said so.
    Change,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Do,
    /// It is only said what would be.
    DryRun,
}

/// A registration whose tag is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The machine that it says it is.
    pub uuid: Uuid,
    /// Where it came from.
    pub source: String,
    /// TPM2B_PUBLIC.
    pub ak: Vec<u8>,
    /// TPM2B_PUBLIC.
    pub ek: Vec<u8>,
    /// DER.
    pub ek_certificate: Option<Vec<u8>>,
    /// SHA-256 of the EK's SubjectPublicKeyInfo DER.
    pub ek_sha256: [u8; 32],
    /// DER.
    pub tls_certificate: Option<Vec<u8>>,
    /// Whether a trusted authority certifies the EK.
    pub certified: bool,
    /// The tag that only the TPM of this EK can lead to.
    pub tag: Vec<u8>,
    /// When it came.
    pub created: Time,
    /// When it counts no more.
    pub expires: Time,
}

/// How many pending registrations there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingLimits {
    /// Of one machine from one source; the oldest gives way.
    pub per_uuid_and_source: u32,
    /// From one source.
    pub per_source: u32,
    /// In all.
    pub total: u32,
}

/// What was accepted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRecord {
    /// Which database this is: random.
    pub database: [u8; 16],
    /// How often it was changed.
    pub mark: i64,
    /// That.
    pub accepted: Accepted,
}

/// What was accepted, as text and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Text of a [`goldseal_verifier_core::trust::TrustState`].
    pub state: Vec<u8>,
    /// The file of the trust root that is followed; `None` with keys alone.
    pub root: Option<Vec<u8>>,
}

/// A list that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPolicy {
    /// What is shown of it.
    pub record: PolicyRecord,
    /// The file.
    pub bytes: Vec<u8>,
}

/// What is shown of a list. Decisions are made by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// SHA-256 of its signed bytes.
    pub identity: Identity,
    /// Its name.
    pub name: ListName,
    /// Its version.
    pub version: u64,
    /// When it says it was made.
    pub created: String,
    /// Until when it is fresh.
    pub expires: String,
    /// Its entries.
    pub entries: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Who sealed it, of those trusted when it was uploaded.
    pub signers: Vec<String>,
    /// When it came.
    pub uploaded_at: Time,
    /// By whom.
    pub uploaded_by: String,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub at: Time,
    /// Whose.
    pub actor: String,
    /// A stable word.
    pub action: &'static str,
    /// What it is about.
    pub subject: String,
    /// In words. Names in it are escaped already.
    pub detail: String,
}

/// A decision as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Later ones have higher numbers.
    pub id: i64,
    /// When.
    pub at: Time,
    /// Whose.
    pub actor: String,
    /// A stable word.
    pub action: String,
    /// What it is about.
    pub subject: String,
    /// In words.
    pub detail: String,
}
