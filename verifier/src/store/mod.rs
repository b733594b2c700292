//! What the service remembers, behind one small trait: SQLite today, and room for a database of several nodes.
//!
//! Promises: each method is one transaction, all of it or nothing; a change of state stands together with its reason, the
//! digest of its evidence and the checkpoint; a row that somebody else changed in between is not overwritten
//! ([`StoreError::Fenced`]); what the tenant asked for and its audit line are one. States follow [`crate::state`].
//!
//! Does not promise that what is stored was right: who can write to the database decides what was accepted.

pub mod records;
pub mod sqlite;

use std::fmt;
use std::pin::Pin;

use goldseal_verifier_core::envelope::Identity;

use crate::refusal::Refusal;
use crate::state::Illegal;
use crate::time::Time;
use crate::uuid::Uuid;

pub use records::*;

/// An answer to be awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// See the module.
pub trait Store: Send + Sync + fmt::Debug {
    /// One machine.
    fn agent<'a>(&'a self, uuid: &'a Uuid) -> Answer<'a, Option<Agent>>;

    /// Machines by name, those after `after`, at most `limit`.
    fn agents<'a>(&'a self, filter: &'a Filter, after: Option<&'a Uuid>, limit: u32) -> Answer<'a, Vec<Agent>>;

    /// How many machines there are in each state.
    fn count<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Vec<(crate::state::State, u64)>>;

    /// The tenant asks for a machine to be polled. [`StoreError::Refused`]: it is already (`exists`), or it registered
    /// and nothing says that it is the right one (`no-identity`, `other-ek`).
    fn provision<'a>(&'a self, uuid: &'a Uuid, provision: &'a Provision, at: Time, actor: &'a str)
    -> Answer<'a, Agent>;

    /// Forgets a machine, with its events, findings and pending registrations. The audit log stays.
    fn delete<'a>(&'a self, uuid: &'a Uuid, at: Time, actor: &'a str) -> Answer<'a, ()>;

    /// Gives machines a list, and has them appraised anew from their first entry. Those that have it already and are
    /// not failed are left alone. Of another name than before it is refused (`wrong-name`) unless `names` says
    /// otherwise. Answers with the machines it moves; with [`Mode::DryRun`] none is.
    fn assign<'a>(
        &'a self,
        filter: &'a Filter,
        policy: &'a Assignment,
        names: Names,
        mode: Mode,
        at: Time,
        actor: &'a str,
    ) -> Answer<'a, Vec<Uuid>>;

    /// Has machines polled again, appraised anew from their first entry.
    fn reactivate<'a>(&'a self, filter: &'a Filter, mode: Mode, at: Time, actor: &'a str) -> Answer<'a, Vec<Uuid>>;

    /// What became of a machine, latest first: those before `before`.
    fn events<'a>(&'a self, uuid: &'a Uuid, before: Option<i64>, limit: u32) -> Answer<'a, Vec<EventRecord>>;

    /// Why a machine is rejected.
    fn findings<'a>(&'a self, uuid: &'a Uuid) -> Answer<'a, Vec<FindingRecord>>;

    /// Findings of all failed machines, grouped by word, name and digest, most machines first.
    fn finding_groups(&self, limit: u32) -> Answer<'_, Vec<FindingGroup>>;

    /// Takes machines that are due: they are due again at `lease`, unless a report comes first. Most urgent first.
    fn claim(&self, now: Time, lease: Time, limit: u32) -> Answer<'_, Vec<Agent>>;

    /// When the next machine is due.
    fn next_due(&self) -> Answer<'_, Option<Time>>;

    /// What polls came to, in one transaction; an answer for each. [`StoreError::Fenced`] for a machine that somebody
    /// changed since it was claimed: its report is dropped.
    fn report<'a>(&'a self, reports: &'a [Report]) -> Answer<'a, Vec<Result<Reported, StoreError>>>;

    /// Has every machine appraised from its first entry when it is next polled: whose seals count has changed. How many
    /// it is.
    fn forget_checkpoints(&self) -> Answer<'_, u64>;

    /// Remembers a registration whose tag is still to come. [`StoreError::Refused`]: there are too many (`busy`).
    fn add_pending<'a>(&'a self, pending: &'a Pending, limits: &'a PendingLimits) -> Answer<'a, ()>;

    /// Registrations of this machine that have not expired.
    fn pending<'a>(&'a self, uuid: &'a Uuid, now: Time) -> Answer<'a, Vec<(i64, Pending)>>;

    /// Makes a pending registration the machine's own, and forgets it. [`StoreError::Refused`] if the machine has another
    /// AK or EK (`known-uuid`), is not the named one (`other-ek`), or nothing says who it is (`no-identity`).
    fn register(&self, pending: i64, at: Time) -> Answer<'_, Agent>;

    /// Forgets expired registrations, and history beyond `events_kept` a machine; how many registrations it was.
    fn tidy(&self, now: Time, events_kept: u32) -> Answer<'_, u64>;

    /// What was accepted so far.
    fn trust(&self) -> Answer<'_, TrustRecord>;

    /// Replaces that, if it is still as it was when `known` was read; its mark is one higher then. For roots, resets and
    /// restored backups.
    fn set_trust<'a>(&'a self, known: &'a TrustRecord, next: &'a Accepted, audit: &'a Audit)
    -> Answer<'a, TrustRecord>;

    /// The same with a list that is accepted. One that is there already gets these signatures: they are no part of its
    /// identity, and those it had may have come to count no more.
    fn add_policy<'a>(
        &'a self,
        policy: &'a NewPolicy,
        known: &'a TrustRecord,
        next: &'a Accepted,
        audit: &'a Audit,
    ) -> Answer<'a, TrustRecord>;

    /// All lists, by name and version, the latest first.
    fn policies(&self) -> Answer<'_, Vec<PolicyRecord>>;

    /// The bytes of a list.
    fn policy_bytes<'a>(&'a self, identity: &'a Identity) -> Answer<'a, Option<Vec<u8>>>;

    /// Remembers a decision that changes nothing else here.
    fn add_audit<'a>(&'a self, audit: &'a Audit) -> Answer<'a, ()>;

    /// Decisions, latest first: those before `before`.
    fn audit(&self, before: Option<i64>, limit: u32) -> Answer<'_, Vec<AuditRecord>>;

    /// Whether it answers.
    fn ping(&self) -> Answer<'_, ()>;
}

/// Why nothing was stored or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else holds the database: ask again later.
    Busy,
    /// There is no room for it.
    Full,
    /// There is no such machine.
    NotFound,
    /// Somebody changed it in between.
    Fenced,
    /// It cannot happen to a machine that stands so.
    Illegal(Illegal),
    /// What was asked is refused.
    Refused(Refusal),
    /// What is stored cannot be read: of a later version, or damaged.
    Damaged {
        /// Where.
        what: String,
    },
    /// Anything else that the database says.
    Database(String),
}

impl StoreError {
    /// Whether the same may succeed later: 503 for the API.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Full | Self::Database(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the database is held by another process"),
            Self::Full => f.write_str("the disk of the database is full"),
            Self::NotFound => f.write_str("there is no such machine"),
            Self::Fenced => f.write_str("it was changed in between"),
            Self::Illegal(illegal) => illegal.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Damaged { what } => write!(f, "the database cannot be read: {what}"),
            Self::Database(error) => write!(f, "the database: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<Illegal> for StoreError {
    fn from(illegal: Illegal) -> Self {
        Self::Illegal(illegal)
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
