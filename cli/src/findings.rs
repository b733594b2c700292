//! What an appraisal found, in the words of operators and of programs.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use goldseal_verifier_core::appraise::{Counts, Finding, FindingKind, MeasuredDigest};
use goldseal_verifier_core::entries::FileDigest;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::printable::{Printable, json_path};
use crate::report::Ui;

/// Most findings of one kind that are spelled out for people; `--json` has all that were kept.
pub const SHOWN: usize = 50;

/// Counts by their names.
pub fn counts(counts: &Counts) -> [(&'static str, u64); 13] {
    [
        ("good", counts.good),
        ("signed", counts.signed),
        ("excluded", counts.excluded),
        ("boot_aggregate", counts.boot_aggregate),
        ("buffers", counts.buffers),
        ("ignored", counts.ignored),
        ("violations", counts.violations),
        ("not_in_whitelist", counts.not_in_whitelist),
        ("digest_differs", counts.digest_differs),
        ("bad_boot_aggregate", counts.bad_boot_aggregate),
        ("bad_buffers", counts.bad_buffers),
        ("malformed", counts.malformed),
        ("unquoted", counts.unquoted),
    ]
}

/// Counts for people: those that are not zero.
pub fn counts_text(of: &Counts) -> String {
    let counted = counts(of).into_iter().filter(|(_, count)| *count > 0);
    let words: Vec<String> = counted.map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// Counts for programs.
pub fn counts_json(of: &Counts) -> Value {
    Value::Object(counts(of).into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect())
}

/// The four counts that operators of Keylime know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImaErrors {
    /// Entries whose template hash is wrong. A list with one is refused before it is judged, so that this is 0.
    pub template_hash: u64,
    /// Files that are not in the whitelist.
    pub fnf: u64,
    /// Files with another digest than the whitelist's.
    pub hash: u64,
    /// Entries that the whitelist vouches for: files by digest or signature, buffers, the boot_aggregate. What an
    /// exclude or an ignored keyring lets pass is not among them.
    pub good: u64,
}

impl ImaErrors {
    /// Of an appraisal.
    pub fn of(counts: &Counts) -> Self {
        let Counts { good, signed, boot_aggregate, buffers, .. } = *counts;
        Self {
            template_hash: 0,
            fnf: counts.not_in_whitelist,
            hash: counts.digest_differs,
            good: good + signed + boot_aggregate + buffers,
        }
    }

    /// For programs.
    pub fn json(self) -> Value {
        json!({ "template_hash": self.template_hash, "fnf": self.fnf, "hash": self.hash, "good": self.good })
    }
}

impl fmt::Display for ImaErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { template_hash, fnf, hash, good } = self;
        write!(f, "IMA ERRORS: template-hash {template_hash} fnf {fnf} hash {hash} good {good}")
    }
}

/// Prints findings by kind, the first of each spelled out.
///
/// # Errors
/// As [`Ui::say`].
pub fn say_all(ui: Ui, label: &str, findings: &[Finding], omitted: u64) -> Result<(), Failure> {
    let mut kinds: Vec<&'static str> = Vec::new();
    for finding in findings {
        if !kinds.contains(&finding.kind.word()) {
            kinds.push(finding.kind.word());
        }
    }
    for word in kinds {
        let of_kind = || findings.iter().filter(move |finding| finding.kind.word() == word);
        let count = of_kind().count();
        ui.say(format_args!("\n{label} {word}: {count}"))?;
        for finding in of_kind().take(SHOWN) {
            say_one(ui, finding)?;
        }
        if count > SHOWN {
            ui.say(format_args!("  … and {} more; --json has them all", count - SHOWN))?;
        }
    }
    if omitted > 0 {
        ui.say(format_args!("\n{omitted} more findings were counted and not kept"))?;
    }
    Ok(())
}

fn say_one(ui: Ui, finding: &Finding) -> Result<(), Failure> {
    if let FindingKind::NotInWhitelist { .. } = finding.kind {
        ui.say(format_args!("File not found in whitelist: {}", name(finding)))?;
        let text = text(&finding.kind);
        return ui.say(format_args!("  {}{}", place(finding), text.trim_start_matches("not in the whitelist: ")));
    }
    let name = finding.name.as_deref().map(|name| format!("{}: ", Printable(name))).unwrap_or_default();
    ui.say(format_args!("  {}{name}{}", place(finding), text(&finding.kind)))
}

fn place(finding: &Finding) -> String {
    finding.entry.map(|entry| format!("entry {entry}: ")).unwrap_or_default()
}

fn name(finding: &Finding) -> Printable<'_> {
    Printable(finding.name.as_deref().unwrap_or_default())
}

/// What was found, in words.
pub fn text(kind: &FindingKind) -> String {
    match kind {
        FindingKind::DigestDiffers { found, expected } => {
            let expected: Vec<String> = expected.iter().map(file_digest).collect();
            format!("digest differs: {found}, expected {}", expected.join(" or "))
        }
        kind => Printable(kind.to_string().as_bytes()).to_string(),
    }
}

/// `ALG:HEX`, or `verity:ALG:HEX`.
pub fn file_digest(digest: &FileDigest) -> String {
    MeasuredDigest::Known(*digest).to_string()
}

/// A finding for programs.
pub fn json(finding: &Finding) -> Value {
    let Finding { entry, name, kind } = finding;
    let mut object = Map::new();
    object.insert("entry".into(), json!(entry));
    object.insert("word".into(), json!(kind.word()));
    if let Some(name) = name {
        object.extend(json_path(OsStr::from_bytes(name)));
    }
    let (found, expected) = digests(kind);
    object.insert("found".into(), json!(found));
    object.insert("expected".into(), json!(expected));
    object.insert("text".into(), json!(text(kind)));
    Value::Object(object)
}

/// What was found and what would have been right, as far as both are digests.
pub fn digests(kind: &FindingKind) -> (Option<String>, Vec<String>) {
    let expected = match kind {
        FindingKind::DigestDiffers { expected, .. } => expected.iter().map(file_digest).collect(),
        FindingKind::BootAggregate { expected, .. }
        | FindingKind::Buffer { expected, .. }
        | FindingKind::PcrValue { expected, .. } => expected.iter().map(|digest| format!("{digest:?}")).collect(),
        FindingKind::BootAggregateOfOtherPcrs { recomputed, .. } => vec![format!("{recomputed:?}")],
        _ => Vec::new(),
    };
    let found = match kind {
        FindingKind::PcrValue { found, .. } => Some(format!("{found:?}")),
        kind => kind.found().map(ToString::to_string),
    };
    (found, expected)
}
