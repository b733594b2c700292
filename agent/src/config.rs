//! The agent's configuration: one TOML file, environment variables over it, flags over both.
//!
//! [`KEYS`] is the one table of keys: help, environment and flags come from it, and tests hold the struct, docs/agent.md
//! and packaging/agent.toml against it. Promises: a key or variable that is not known is an error, never a setting that
//! silently does nothing; every value was looked at before anything is done.

mod args;
mod layers;
mod uuid;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use goldseal_verifier_core::digest::HashAlgorithm;
use serde::{Deserialize, Serialize};

pub use args::ConfigArgs;
pub use layers::{Environment, load};
pub use uuid::UuidPolicy;

/// Where the file is looked for if none is named.
pub const DEFAULT_FILE: &str = "/etc/goldseal/agent.toml";

/// What a variable of the environment begins with.
pub const PREFIX: &str = "GOLDSEAL_AGENT_";

/// What the agent is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub tcti: String,
    pub ek: Ek,
    pub ak: Ak,
    pub ak_hash: String,
    pub ak_handle: String,
    pub owner_password_file: PathBuf,
    pub endorsement_password_file: PathBuf,
    pub tpm_seconds: u64,
    pub banks: Vec<String>,
    pub measurements: PathBuf,
    pub ascii_measurements: PathBuf,
    pub boot_log: PathBuf,
    pub listen: SocketAddr,
    pub client_ca: Vec<PathBuf>,
    pub names: Vec<String>,
    pub registrar: String,
    pub uuid: UuidPolicy,
    pub contact: String,
    pub state: PathBuf,
    pub user: String,
    pub group: String,
    pub log_format: LogFormat,
    pub log_level: LogLevel,
    pub trust: Vec<PathBuf>,
    pub threshold: usize,
    pub trust_root: Vec<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcti: String::new(),
            ek: Ek::Auto,
            ak: Ak::EccP256,
            ak_hash: String::new(),
            ak_handle: "0x81010010".to_owned(),
            owner_password_file: PathBuf::new(),
            endorsement_password_file: PathBuf::new(),
            tpm_seconds: 30,
            banks: Vec::new(),
            measurements: "/sys/kernel/security/ima/binary_runtime_measurements".into(),
            ascii_measurements: "/sys/kernel/security/ima/ascii_runtime_measurements".into(),
            boot_log: "/sys/kernel/security/tpm0/binary_bios_measurements".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 9002)),
            client_ca: Vec::new(),
            names: Vec::new(),
            registrar: String::new(),
            uuid: UuidPolicy::HashEk,
            contact: String::new(),
            state: "/var/lib/goldseal-agent".into(),
            user: String::new(),
            group: String::new(),
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            trust: Vec::new(),
            threshold: 0,
            trust_root: Vec::new(),
        }
    }
}

/// The endorsement key to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ek {
    /// The one that has a certificate.
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "ecc-p256")]
    EccP256,
}

/// The attestation key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ak {
    #[serde(rename = "ecc-p256")]
    EccP256,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// The least that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Config {
    /// What is wrong with values that only look right.
    ///
    /// # Errors
    /// The key, and what it must be.
    fn check(&self) -> Result<(), (&'static str, String)> {
        self.banks().map_err(|bank| ("banks", format!("{bank:?} is no PCR bank: sha1, sha256, sha384 or sha512")))?;
        self.ak_hash()
            .map_err(|hash| ("ak_hash", format!("{hash:?} is no hash of a TPM: sha1, sha256, sha384 or sha512")))?;
        self.ak_handle().ok_or(("ak_handle", "a handle is written as 0x81010010".to_owned()))?;
        if !(1..=MAX_TPM_SECONDS).contains(&self.tpm_seconds) {
            return Err(("tpm_seconds", format!("it is a number from 1 to {MAX_TPM_SECONDS}")));
        }
        if !self.contact.is_empty() {
            self.contact().ok_or(("contact", "write it as an IP address and a port: 192.0.2.7:9002".to_owned()))?;
        }
        if !self.trust.is_empty() && !self.trust_root.is_empty() {
            return Err(("trust", "give keys or a trust root, not both".to_owned()));
        }
        Ok(())
    }

    /// The banks to quote; none stands for the TPM's default.
    ///
    /// # Errors
    /// What is no bank.
    pub fn banks(&self) -> Result<Vec<HashAlgorithm>, String> {
        self.banks.iter().map(|bank| hash(bank).ok_or_else(|| bank.clone())).collect()
    }

    /// The hash of the attestation key; `None` stands for the TPM's default.
    ///
    /// # Errors
    /// What is no hash.
    pub fn ak_hash(&self) -> Result<Option<HashAlgorithm>, String> {
        let asked = Some(self.ak_hash.as_str()).filter(|name| !name.is_empty());
        asked.map(|name| hash(name).ok_or_else(|| name.to_owned())).transpose()
    }

    /// Where the attestation key is.
    pub fn ak_handle(&self) -> Option<u32> {
        u32::from_str_radix(self.ak_handle.strip_prefix("0x")?, 16).ok()
    }

    /// Where verifiers reach the agent, as the registrar is told: where it listens, if nothing else was said and that is
    /// one address.
    pub fn contact(&self) -> Option<SocketAddr> {
        match self.contact.as_str() {
            "" => Some(self.listen).filter(|listen| !listen.ip().is_unspecified()),
            contact => contact.parse().ok(),
        }
    }

    /// How many of the keys must have sealed a list; `None` stands for all.
    pub fn threshold(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.threshold)
    }
}

/// Banks of TPMs that quotes are judged by.
fn hash(name: &str) -> Option<HashAlgorithm> {
    HashAlgorithm::from_name(name.as_bytes()).filter(|hash| {
        matches!(hash, HashAlgorithm::Sha1 | HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
    })
}

/// A verifier has given up long before.
const MAX_TPM_SECONDS: u64 = 600;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// In the file; in capitals after [`PREFIX`] in the environment; with `-` for `_` as a flag.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it is for, in one line.
    pub help: &'static str,
}

impl Key {
    /// Its variable.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Its flag, without dashes; `None` where commands have an argument of their own for it.
    pub fn flag(&self) -> Option<String> {
        (!matches!(self.name, "trust" | "threshold" | "trust_root")).then(|| self.name.replace('_', "-"))
    }
}

/// What kind of value a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// Joined by commas in environment and flags.
    List,
}

const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, help }
}

/// Every key, in the order of [`Config`].
pub const KEYS: [Key; 26] = [
    key("tcti", Kind::Text, "How the TPM is reached; empty: $TPM2TOOLS_TCTI, $TCTI, or device:/dev/tpmrm0"),
    key("ek", Kind::Text, "Endorsement key: auto (the one with a certificate), rsa-2048 or ecc-p256"),
    key("ak", Kind::Text, "Attestation key to make: ecc-p256, or rsa-2048 for Keylime's tenant"),
    key("ak_hash", Kind::Text, "Hash of its signatures; empty: sha256, or the TPM's strongest bank"),
    key("ak_handle", Kind::Text, "Persistent handle that it is kept at"),
    key("owner_password_file", Kind::Text, "File with the password of the owner hierarchy; empty: none"),
    key("endorsement_password_file", Kind::Text, "File with the password of the endorsement hierarchy; empty: none"),
    key("tpm_seconds", Kind::Number, "Longest time that the TPM may take for one request"),
    key("banks", Kind::List, "PCR banks that are quoted by default; none: sha256, or the TPM's strongest"),
    key("measurements", Kind::Text, "The kernel's measurement list, binary"),
    key("ascii_measurements", Kind::Text, "The same as text, for Keylime"),
    key("boot_log", Kind::Text, "The firmware's event log, for Keylime; empty: none"),
    key("listen", Kind::Text, "Address and port to listen at"),
    key("client_ca", Kind::List, "PEM files of the CAs whose clients may connect"),
    key("names", Kind::List, "Names and addresses in the agent's own certificate; none: those it has"),
    key("registrar", Kind::Text, "Registrar to register with, HOST:PORT; empty: none"),
    key("uuid", Kind::Text, "The machine's name in the protocol: hash_ek, machine-id, dmi, or a name"),
    key("contact", Kind::Text, "IP address and port that the registrar is told; empty: that of listen"),
    key("state", Kind::Text, "Folder of the agent's own key and of the installed whitelist"),
    key("user", Kind::Text, "User to become once TPM and lists are open; empty: stay"),
    key("group", Kind::Text, "Group to become; empty: the user's own"),
    key("log_format", Kind::Text, "text or json"),
    key("log_level", Kind::Text, "error, warn, info, debug or trace"),
    key("trust", Kind::List, "Public keys that must have sealed a whitelist (check, install-policy)"),
    key("threshold", Kind::Number, "How many of them; 0: all"),
    key("trust_root", Kind::List, "Trust root that says whose seals count, and those that followed it"),
];

#[cfg(test)]
mod tests;
