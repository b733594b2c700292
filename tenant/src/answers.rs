//! What a verifier answers, as far as it is read here. Unknown fields are left to `--json`.

use serde::Deserialize;

/// A machine.
#[derive(Clone, Debug, Deserialize)]
pub struct Agent {
    /// Its name.
    pub uuid: String,
    /// How it stands.
    pub state: String,
    /// Since when.
    pub since: String,
    /// Why: a word.
    #[serde(default)]
    pub reason: String,
    /// Why, in words.
    #[serde(default)]
    pub detail: String,
    /// Where it is polled.
    pub address: Option<String>,
    /// How it is asked.
    pub protocol: Option<String>,
    /// By what it is judged.
    pub policy: Option<PolicyName>,
    /// What says that its EK is the right one.
    pub identity: Option<String>,
    /// Findings of its rejection.
    #[serde(default)]
    pub findings: u64,
    /// Entries that its last quote confirmed.
    #[serde(default)]
    pub entries: u64,
    /// When its last quote was believed.
    pub attested_at: Option<String>,
}

/// Which list.
#[derive(Clone, Debug, Deserialize)]
pub struct PolicyName {
    /// Its identity.
    pub identity: String,
    /// Its name.
    pub name: String,
}

/// A page of machines.
#[derive(Clone, Debug, Deserialize)]
pub struct Agents {
    /// Some of them.
    pub agents: Vec<Agent>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A machine, and all that is known of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Details {
    /// How it stands.
    pub agent: Agent,
    /// Why it is rejected.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What became of it.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What would clear it.
    #[serde(default)]
    pub clears: Vec<String>,
    /// Whether its last quote said what was booted.
    pub boot_state: Option<String>,
}

/// A finding.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// The entry.
    pub entry: Option<u64>,
    /// A word.
    pub word: String,
    /// The name in it.
    pub path: Option<String>,
    /// In words.
    #[serde(default)]
    pub text: String,
    /// When it was first found.
    #[serde(default)]
    pub first_seen: String,
}

/// What happened.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// When.
    pub at: String,
    /// What: a word.
    pub event: String,
    /// How it stands since.
    pub to: String,
    /// Why: a word.
    #[serde(default)]
    pub reason: String,
}

/// Findings, grouped.
#[derive(Clone, Debug, Deserialize)]
pub struct Groups {
    /// Most machines first.
    pub findings: Vec<Group>,
}

/// The same finding on several machines.
#[derive(Clone, Debug, Deserialize)]
pub struct Group {
    /// A word.
    pub word: String,
    /// The name in the entries.
    pub path: Option<String>,
    /// What was measured.
    pub found: Option<String>,
    /// How many machines.
    pub machines: u64,
    /// When the first of them was.
    pub first_seen: String,
    /// Some of them.
    #[serde(default)]
    pub examples: Vec<String>,
}

/// A sealed list.
#[derive(Clone, Debug, Deserialize)]
pub struct Policy {
    /// Its identity.
    pub identity: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Until when it is fresh.
    pub expires: String,
    /// Its entries.
    pub entries: u64,
    /// Who sealed it.
    #[serde(default)]
    pub signers: Vec<String>,
    /// When it came.
    pub uploaded_at: String,
    /// By whom.
    pub uploaded_by: String,
}

/// All lists.
#[derive(Clone, Debug, Deserialize)]
pub struct Policies {
    /// By name and version.
    pub policies: Vec<Policy>,
}

/// What was done to several machines, or would be.
#[derive(Clone, Debug, Deserialize)]
pub struct Moved {
    /// How many.
    pub count: u64,
    /// Some of them.
    #[serde(default)]
    pub uuids: Vec<String>,
}

/// A page of decisions.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditLog {
    /// Latest first.
    pub audit: Vec<AuditLine>,
}

/// A decision.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditLine {
    /// When.
    pub at: String,
    /// Whose.
    pub actor: String,
    /// A word.
    pub action: String,
    /// What it is about.
    pub subject: String,
    /// In words.
    pub detail: String,
}
