//! The configuration: one TOML file, of which every key has a default but whose seals count.
//!
//! Promises: a key that is not known is an error; `--print-config` shows every key with what it means and what is in
//! effect, and reads back as the same. No key turns off that lists are sealed, quotes verified, or AKs bound to EKs.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::ima::list::Limits as ListLimits;
use serde::Deserialize;

use crate::api::access::ClientConfig;
use crate::api::config::ApiConfig;
use crate::api::rate::Rate;
use crate::evidence_store;
use crate::policies::{Roots, refused};
use crate::poll;
use crate::poll::client::Timeouts;
use crate::poll::verdict::Rules;
use crate::refusal::Refusal;
use crate::registrar;
use crate::store::PendingLimits;

/// Where it is looked for.
pub const DEFAULT_PATH: &str = "/etc/goldseal/verifier.toml";

/// Longest file.
const MAX_CONFIG: u64 = 1 << 20;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[service]`
    pub service: ServiceConfig,
    /// `[trust]`
    pub trust: TrustConfig,
    /// `[poll]`
    pub poll: PollConfig,
    /// `[registrar]`
    pub registrar: RegistrarConfig,
    /// `[api]`
    pub api: ApiConfig,
    /// `[evidence]`
    pub evidence: EvidenceConfig,
    /// `[log]`
    pub log: LogConfig,
}

/// `[service]`: where things are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceConfig {
    /// Folder of all that is not configured to be elsewhere.
    pub state: PathBuf,
    /// The database.
    pub database: Option<PathBuf>,
    /// The mark by which an older database is noticed.
    pub mark: Option<PathBuf>,
    /// Events kept of each machine.
    pub events_kept: u32,
}

/// `[trust]`: whose seals count.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustConfig {
    /// Folder of trust roots.
    pub roots: PathBuf,
    /// Public keys instead.
    pub keys: Vec<PathBuf>,
    /// How many of them must have sealed a list.
    pub threshold: Option<NonZeroUsize>,
}

/// `[poll]`: how machines are asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PollConfig {
    /// Seconds between polls of one machine.
    pub interval_seconds: u64,
    /// Longest wait for one that does not answer.
    pub max_backoff_seconds: u64,
    /// Polls without an answer after which a machine is unreachable.
    pub unreachable_after: u32,
    /// Seconds for which a quote may leave out what was seen before.
    pub lagging_seconds: u64,
    /// Machines asked at once.
    pub concurrency: usize,
    /// Banks that are quoted.
    pub banks: Vec<String>,
    /// Milliseconds to a TCP connection.
    pub connect_ms: u64,
    /// Milliseconds from there to a TLS session.
    pub handshake_ms: u64,
    /// Milliseconds to the head of an answer.
    pub first_byte_ms: u64,
    /// Milliseconds for all of it.
    pub whole_ms: u64,
    /// Seconds for which a nonce is good.
    pub nonce_seconds: u64,
    /// Bytes of an answer.
    pub max_body: usize,
    /// Entries of a measurement list.
    pub max_entries: usize,
    /// The certificate that agents are shown.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// `[registrar]`: how machines register.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrarConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Folder of CA certificates of TPM makers.
    pub ek_authorities: Option<PathBuf>,
    /// Seconds for which a registration waits for its tag.
    pub pending_seconds: u64,
    /// How many wait, in all.
    pub max_pending: u32,
    /// How many wait, of one address.
    pub max_pending_per_source: u32,
    /// Requests of one address.
    pub rate: Rate,
}

/// `[evidence]`: what is kept of machines that are failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvidenceConfig {
    /// Its folder.
    pub folder: Option<PathBuf>,
    /// Folders of one machine.
    pub per_machine: usize,
    /// Bytes of all.
    pub max_bytes: u64,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Lines of text, or of JSON.
    pub format: LogFormat,
    /// What is logged.
    pub level: String,
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self { state: "/var/lib/goldseal-verifier".into(), database: None, mark: None, events_kept: 1_000 }
    }
}

impl Default for TrustConfig {
    fn default() -> Self {
        Self { roots: "/etc/goldseal/roots".into(), keys: Vec::new(), threshold: None }
    }
}

impl Default for PollConfig {
    fn default() -> Self {
        Self {
            interval_seconds: 30,
            max_backoff_seconds: 600,
            unreachable_after: 3,
            lagging_seconds: 300,
            concurrency: 256,
            banks: vec!["sha256".to_owned()],
            connect_ms: 5_000,
            handshake_ms: 5_000,
            first_byte_ms: 20_000,
            whole_ms: 60_000,
            nonce_seconds: 60,
            max_body: 64 << 20,
            max_entries: 1_000_000,
            certificate: None,
            key: None,
        }
    }
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        let registrar::Settings { pending, limits, rate } = registrar::Settings::default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8_890)),
            ek_authorities: None,
            pending_seconds: pending.as_secs(),
            max_pending: limits.total,
            max_pending_per_source: limits.per_source,
            rate,
        }
    }
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self { folder: None, per_machine: 8, max_bytes: 4 << 30 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// `unreadable`, or `bad-config` with the line that is wrong.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let bytes = input::read_file_or_empty(path, MAX_CONFIG).map_err(refused)?;
        let text = String::from_utf8(bytes).map_err(|_| bad(path, &"it is not text"))?;
        let config: Self = toml::from_str(&text).map_err(|error| bad(path, &error))?;
        config.check().map_err(|what| bad(path, &what))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let PollConfig { interval_seconds, concurrency, max_body, max_entries, certificate, key, .. } = &self.poll;
        for (name, value) in [
            ("poll.interval_seconds", *interval_seconds),
            ("poll.concurrency", u64::try_from(*concurrency).unwrap_or(u64::MAX)),
            ("poll.max_body", u64::try_from(*max_body).unwrap_or(u64::MAX)),
            ("poll.max_entries", u64::try_from(*max_entries).unwrap_or(u64::MAX)),
            ("poll.unreachable_after", self.poll.unreachable_after.into()),
            ("poll.nonce_seconds", self.poll.nonce_seconds),
            ("evidence.per_machine", u64::try_from(self.evidence.per_machine).unwrap_or(u64::MAX)),
        ] {
            if value == 0 {
                return Err(format!("{name} must not be 0"));
            }
        }
        if certificate.is_some() != key.is_some() {
            return Err("poll.certificate and poll.key belong together".to_owned());
        }
        if self.trust.threshold.is_some() && self.trust.keys.is_empty() {
            return Err("trust.threshold is of trust.keys, and there are none".to_owned());
        }
        self.banks().map(drop)
    }

    fn banks(&self) -> Result<Vec<HashAlgorithm>, String> {
        let bank = |name: &String| {
            HashAlgorithm::from_name(name.as_bytes()).ok_or_else(|| format!("poll.banks: {name:?} is no bank"))
        };
        let banks = self.poll.banks.iter().map(bank).collect::<Result<Vec<_>, _>>()?;
        if banks.is_empty() { Err("poll.banks is empty".to_owned()) } else { Ok(banks) }
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.service.database.clone().unwrap_or_else(|| self.service.state.join("verifier.db"))
    }

    /// Where its mark is.
    pub fn mark(&self) -> PathBuf {
        self.service.mark.clone().unwrap_or_else(|| self.service.state.join("verifier.mark"))
    }

    /// Whose seals count.
    pub fn roots(&self) -> Roots {
        let TrustConfig { roots, keys, threshold } = &self.trust;
        if keys.is_empty() {
            Roots::Folder(roots.clone())
        } else {
            Roots::Keys { files: keys.clone(), threshold: *threshold }
        }
    }

    /// Where evidence is kept, and how much.
    pub fn evidence(&self) -> (PathBuf, evidence_store::Limits) {
        let EvidenceConfig { folder, per_machine, max_bytes } = &self.evidence;
        let folder = folder.clone().unwrap_or_else(|| self.service.state.join("evidence"));
        (folder, evidence_store::Limits { per_machine: *per_machine, bytes: *max_bytes })
    }

    /// How long each step of a poll may take.
    pub fn timeouts(&self) -> Timeouts {
        let PollConfig { connect_ms, handshake_ms, first_byte_ms, whole_ms, .. } = self.poll;
        let [connect, handshake, first_byte, whole] =
            [connect_ms, handshake_ms, first_byte_ms, whole_ms].map(Duration::from_millis);
        Timeouts { connect, handshake, first_byte, whole }
    }

    /// How to poll.
    ///
    /// # Panics
    /// If it was not read by [`Config::read`] and names no bank.
    pub fn settings(&self) -> poll::Settings {
        let poll = &self.poll;
        let timeouts = self.timeouts();
        // Everything a poll may take, the second question included, and the storing of its report.
        let lease = timeouts.connect + timeouts.handshake + timeouts.whole + Duration::from_secs(30);
        poll::Settings {
            interval: Duration::from_secs(poll.interval_seconds),
            max_backoff: Duration::from_secs(poll.max_backoff_seconds),
            concurrency: poll.concurrency,
            lease,
            nonce_lifetime: Duration::from_secs(poll.nonce_seconds),
            banks: self.banks().expect("it was checked when it was read"),
            rules: Rules {
                limits: ListLimits { bytes: poll.max_body, entries: poll.max_entries },
                lagging: Duration::from_secs(poll.lagging_seconds),
                unreachable_after: poll.unreachable_after,
            },
        }
    }

    /// How machines register.
    pub fn registrar(&self) -> registrar::Settings {
        let RegistrarConfig { pending_seconds, max_pending, max_pending_per_source, rate, .. } = self.registrar;
        let limits = PendingLimits {
            total: max_pending,
            per_source: max_pending_per_source,
            ..registrar::Settings::default().limits
        };
        registrar::Settings { pending: Duration::from_secs(pending_seconds), limits, rate }
    }

    /// Every key with what it means and what is in effect, as a file to be read.
    pub fn print(&self) -> String {
        let Self { service, trust, poll, registrar, api, evidence, log } = self;
        let mut out =
            String::from("# goldseal-verifier. Every key, and what is in effect; what is left out is as it is here.\n");
        let mut section = Section { out: &mut out };
        section.begin("service");
        section.key("Folder of all that is not told to be elsewhere.", "state", path(&service.state));
        section.key("The database: one file of SQLite.", "database", path(&self.database()));
        section.key(
            "What tells an older database, put back from a backup. Keep it where that backup does not come from.",
            "mark",
            path(&self.mark()),
        );
        section.key("Events kept of each machine.", "events_kept", service.events_kept.to_string());
        section.begin("trust");
        section.key(
            "Folder of trust roots, in the order of their names: one that you vouch for, then each that followed it. Read at \
             start and on SIGHUP.",
            "roots",
            path(&trust.roots),
        );
        section.key("Public keys instead, for a site without a trust root.", "keys", paths(&trust.keys));
        section.optional(
            "How many of them must have sealed a list. Left out: all.",
            "threshold",
            trust.threshold.map(|threshold| threshold.to_string()),
            "1",
        );
        section.begin("poll");
        section.key("Seconds between polls of one machine.", "interval_seconds", poll.interval_seconds.to_string());
        section.key(
            "The longest wait for a machine that does not answer: the wait doubles each time.",
            "max_backoff_seconds",
            poll.max_backoff_seconds.to_string(),
        );
        section.key(
            "Polls without an answer after which a machine is unreachable.",
            "unreachable_after",
            poll.unreachable_after.to_string(),
        );
        section.key(
            "Seconds for which a quote may leave out entries that were seen before; then the machine is failed.",
            "lagging_seconds",
            poll.lagging_seconds.to_string(),
        );
        section.key("Machines asked at the same time.", "concurrency", poll.concurrency.to_string());
        section.key("Banks that are quoted: sha256, sha384, sha512, sha1.", "banks", strings(&poll.banks));
        section.key("Milliseconds to a connection.", "connect_ms", poll.connect_ms.to_string());
        section.key("Milliseconds from there to a TLS session.", "handshake_ms", poll.handshake_ms.to_string());
        section.key("Milliseconds to the beginning of an answer.", "first_byte_ms", poll.first_byte_ms.to_string());
        section.key("Milliseconds for the whole poll.", "whole_ms", poll.whole_ms.to_string());
        section.key("Seconds for which a nonce is good.", "nonce_seconds", poll.nonce_seconds.to_string());
        section.key("Bytes of an answer.", "max_body", poll.max_body.to_string());
        section.key("Entries of a measurement list.", "max_entries", poll.max_entries.to_string());
        section.optional(
            "The certificate that agents are shown, PEM. Left out: one of its own, poll.crt in the state folder.",
            "certificate",
            poll.certificate.as_deref().map(path),
            "\"/etc/goldseal/verifier.crt\"",
        );
        section.optional("Its key.", "key", poll.key.as_deref().map(path), "\"/etc/goldseal/verifier.key\"");
        section.begin("registrar");
        section.key("Where machines register, in the clear.", "listen", format!("\"{}\"", registrar.listen));
        section.optional(
            "Folder of CA certificates of TPM makers. Left out: no certificate of an EK counts.",
            "ek_authorities",
            registrar.ek_authorities.as_deref().map(path),
            "\"/etc/goldseal/ek-authorities\"",
        );
        section.key(
            "Seconds for which a registration waits for its tag.",
            "pending_seconds",
            registrar.pending_seconds.to_string(),
        );
        section.key("How many wait at once.", "max_pending", registrar.max_pending.to_string());
        section.key(
            "How many of them from one address.",
            "max_pending_per_source",
            registrar.max_pending_per_source.to_string(),
        );
        section.key("Requests of one address.", "rate", rate(registrar.rate));
        section.begin("api");
        section.key("Where the tenant asks, by TLS.", "listen", format!("\"{}\"", api.listen));
        section.key("Names in the certificate that the service makes for itself.", "names", strings(&api.names));
        section.optional(
            "A certificate instead, PEM. Left out: one of its own, api.crt in the state folder.",
            "certificate",
            api.certificate.as_deref().map(path),
            "\"/etc/goldseal/api.crt\"",
        );
        section.optional("Its key.", "key", api.key.as_deref().map(path), "\"/etc/goldseal/api.key\"");
        section.optional(
            "File of bearer tokens: lines NAME ROLE SHA256, as goldseal tenant token prints them. Read at start and on \
             SIGHUP.",
            "tokens",
            api.tokens.as_deref().map(path),
            "\"/etc/goldseal/tokens\"",
        );
        section.optional(
            "Authorities of client certificates, PEM.",
            "client_ca",
            api.client_ca.as_deref().map(path),
            "\"/etc/goldseal/clients.pem\"",
        );
        section.key(
            "Which of their certificates are known: { name, role = \"read\" or \"operate\", and sha256 or subject }.",
            "clients",
            format!("[{}]", api.clients.iter().map(client).collect::<Vec<_>>().join(", ")),
        );
        section.key("Requests of each that is known.", "rate", rate(api.rate));
        section.key(
            "Requests of each address that shows no known credentials.",
            "stranger_rate",
            rate(api.stranger_rate),
        );
        section.key("Bytes of a list.", "max_policy", api.max_policy.to_string());
        section.key("Connections at once.", "max_connections", api.max_connections.to_string());
        section.key("Seconds for an answer.", "answer_seconds", api.answer_seconds.to_string());
        section.key(
            "Seconds that polling may stand still before health says so.",
            "poller_age_seconds",
            api.poller_age_seconds.to_string(),
        );
        section.begin("evidence");
        section.key("Evidence of machines that were failed.", "folder", path(&self.evidence().0));
        section.key("Folders of one machine; the oldest give way.", "per_machine", evidence.per_machine.to_string());
        section.key("Bytes of all, lists not counted.", "max_bytes", evidence.max_bytes.to_string());
        section.begin("log");
        let format = if log.format == LogFormat::Text { "\"text\"" } else { "\"json\"" };
        section.key("text, or json: one object a line.", "format", format.to_owned());
        section.key("error, warn, info, debug, or a filter of tracing-subscriber.", "level", string(&log.level));
        out
    }
}

/// Writes keys with what they mean.
struct Section<'a> {
    out: &'a mut String,
}

impl Section<'_> {
    fn begin(&mut self, name: &str) {
        let _ = write!(self.out, "\n[{name}]\n");
    }

    fn key(&mut self, meaning: &str, name: &str, value: String) {
        let _ = write!(self.out, "# {meaning}\n{name} = {value}\n");
    }

    /// Without a value it is shown with an example, as a comment.
    fn optional(&mut self, meaning: &str, name: &str, value: Option<String>, example: &str) {
        match value {
            Some(value) => self.key(meaning, name, value),
            None => self.key(meaning, &format!("#{name}"), example.to_owned()),
        }
    }
}

fn rate(Rate { per_second, burst }: Rate) -> String {
    format!("{{ per_second = {per_second}, burst = {burst} }}")
}

fn client(ClientConfig { name, role, sha256, subject }: &ClientConfig) -> String {
    let by = [("sha256", sha256), ("subject", subject)];
    let by =
        by.into_iter().filter_map(|(key, value)| value.as_ref().map(|value| format!(", {key} = {}", string(value))));
    format!("{{ name = {}, role = \"{}\"{} }}", string(name), role.word(), by.collect::<String>())
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn strings(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| string(text)).collect::<Vec<_>>().join(", "))
}

fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}

fn paths(paths: &[PathBuf]) -> String {
    format!("[{}]", paths.iter().map(|one| path(one)).collect::<Vec<_>>().join(", "))
}

fn bad(file: &Path, error: &dyn std::fmt::Display) -> Refusal {
    let text = Printable(error.to_string().trim_end().as_bytes()).to_string().replace("\\n", "\n  ");
    Refusal::new(
        "bad-config",
        format!("{}: {text}", Printable::path(file)),
        "mend it; goldseal-verifier --print-config shows every key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access::Role;

    fn parsed(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    /// What is printed names the derived paths; with them written down nothing else differs.
    fn spelled_out(mut config: Config) -> Config {
        config.service.database = Some(config.database());
        config.service.mark = Some(config.mark());
        config.evidence.folder = Some(config.evidence().0);
        config
    }

    #[test]
    fn what_is_printed_reads_back() {
        let default = Config::default();
        assert_eq!(parsed(&default.print()), Ok(spelled_out(default.clone())));
        let mut other = default;
        other.trust = TrustConfig {
            roots: "/r \"x\"".into(),
            keys: vec!["/a.pub".into(), "/b.pub".into()],
            threshold: NonZeroUsize::new(2),
        };
        other.poll.certificate = Some("/c".into());
        other.poll.key = Some("/k".into());
        other.registrar.ek_authorities = Some("/ek".into());
        other.registrar.rate = Rate { per_second: 7, burst: 8 };
        other.api = ApiConfig {
            certificate: Some("/a".into()),
            key: Some("/b".into()),
            tokens: Some("/t".into()),
            client_ca: Some("/ca".into()),
            clients: vec![ClientConfig {
                name: "robot".to_owned(),
                role: Role::Read,
                sha256: None,
                subject: Some("CN=\"robot\"".to_owned()),
            }],
            ..ApiConfig::default()
        };
        other.log.format = LogFormat::Json;
        assert_eq!(parsed(&other.print()), Ok(spelled_out(other)));
    }

    /// Each key of the file is shown, also those that are left out by default.
    #[test]
    fn every_key_is_printed() {
        let printed = Config::default().print();
        let uncommented: String = printed
            .lines()
            .map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let config: Config = toml::from_str(&uncommented).unwrap();
        assert!(config.trust.threshold.is_some() && config.poll.key.is_some());
        assert!(config.poll.certificate.is_some() && config.registrar.ek_authorities.is_some());
        assert!(config.api.certificate.is_some() && config.api.key.is_some());
        assert!(config.api.tokens.is_some() && config.api.client_ca.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (bad, says) in [
            ("[poll]\ninterval = 30\n", "unknown field"),
            ("[poll]\ninterval_seconds = 0\n", "must not be 0"),
            ("[poll]\nbanks = []\n", "is empty"),
            ("[poll]\nbanks = [\"md5\"]\n", "no bank"),
            ("[poll]\nkey = \"/k\"\n", "belong together"),
            ("[trust]\nthreshold = 2\n", "there are none"),
            ("[trust]\nthreshold = 0\n", "invalid value"),
            ("[trust]\nskip = true\n", "unknown field"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains(says), "{bad:?}: {error}");
        }
        assert_eq!(parsed(""), Ok(Config::default()));
    }
}
