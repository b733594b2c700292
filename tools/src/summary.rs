//! What people and programs are told about a list, by every command in the same words.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::header::Header;
use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::provenance::Fact;
use goldseal_verifier_core::rules::Rule;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::printable::{Printable, json_path};
use crate::report::Ui;

/// One line of a summary.
///
/// # Errors
/// As [`Ui::say`].
pub fn say(ui: Ui, label: &str, value: impl fmt::Display) -> Result<(), Failure> {
    ui.say(format_args!("  {label:<10} {value}"))
}

/// What the header says, for people.
///
/// # Errors
/// As [`Ui::say`].
pub fn say_header(ui: Ui, header: &Header, identity: Identity) -> Result<(), Failure> {
    say(ui, "name", &header.name)?;
    say(ui, "version", header.version)?;
    say(ui, "identity", identity)?;
    say(ui, "created", header.created)?;
    say(ui, "expires", header.expires)?;
    say(ui, "file-hash", &header.file_hash)
}

/// How many signatures, in words.
pub fn signatures(count: usize) -> String {
    format!("{count} signature{}", if count == 1 { "" } else { "s" })
}

/// Key ids, for programs.
pub fn key_ids(ids: &[KeyId]) -> Value {
    ids.iter().map(ToString::to_string).collect()
}

/// What the header says, for programs.
pub fn header_fields(header: &Header, identity: Identity) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("name".into(), json!(header.name.as_str()));
    fields.insert("version".into(), json!(header.version.number()));
    fields.insert("identity".into(), json!(identity.to_string()));
    fields.insert("created".into(), json!(header.created.to_string()));
    fields.insert("expires".into(), json!(header.expires.to_string()));
    fields.insert("file_hash".into(), header.file_hash.algorithms().iter().map(|hash| hash.name()).collect());
    fields
}

/// A list in short, ending with what makes it accept more, or know less, than its reader may think. What is printed is
/// what the list says of itself.
///
/// # Errors
/// As [`Ui::say`].
pub fn say_list(ui: Ui, list: &UnverifiedList) -> Result<(), Failure> {
    let contents = list.contents();
    say_header(ui, list.header(), list.envelope().identity())?;
    say(ui, "entries", contents.entry_count())?;
    say(ui, "excludes", contents.excludes().patterns().len())?;
    say(ui, "rules", contents.rules().as_slice().len())?;
    let facts = contents.provenance().as_slice();
    say_some(ui, "input", facts, |fact| match fact {
        Fact::Input { kind, files, bytes, name, .. } => {
            Some(format!("{} {}: {files} files, {bytes} bytes", kind.name(), Printable(name)))
        }
        _ => None,
    })?;
    say_some(ui, "left out", facts, |fact| match fact {
        Fact::Excluded { count, pattern } => Some(format!("{count} by exclude {}", Printable(pattern))),
        Fact::MountPoint(path) => Some(format!("{} (another file system)", Printable(path))),
        Fact::Skipped(path) => Some(format!("{} (does not outlive a boot)", Printable(path))),
        _ => None,
    })?;
    say_some(ui, "GAP", facts, |fact| match fact {
        Fact::Gap { reason, path } => Some(format!("{} is missing ({})", Printable(path), reason.name())),
        _ => None,
    })?;
    say_some(ui, "WARNING", facts, |fact| match fact {
        Fact::Warning(text) => Some(Printable(text).to_string()),
        _ => None,
    })?;
    say_some(ui, "CONFLICT", facts, |fact| match fact {
        Fact::Conflict(path) => Some(format!("{} has other digests in other inputs", Printable(path))),
        _ => None,
    })?;
    say_some(ui, "BROAD", &contents.excludes().broad(), |(pattern, probe)| {
        Some(format!("exclude {} takes {probe}: what is there may be anything", Printable(pattern.as_str().as_bytes())))
    })?;
    say_some(ui, "LOOSE", contents.rules().as_slice(), |rule| {
        Some(format!("{}: {}", Printable(rule.to_string().as_bytes()), loosens(rule)?))
    })
}

/// Lines of one kind, the first of them only if there are many.
fn say_some<T>(ui: Ui, label: &str, items: &[T], line: impl Fn(&T) -> Option<String>) -> Result<(), Failure> {
    let mut lines = items.iter().filter_map(line);
    for line in lines.by_ref().take(MAX_LINES) {
        say(ui, label, line)?;
    }
    match lines.count() {
        0 => Ok(()),
        more => say(ui, label, format_args!("… and {more} more")),
    }
}

/// A list for programs: its header, counts, and in full what makes it accept more, or know less.
pub fn list_fields(list: &UnverifiedList) -> Map<String, Value> {
    let contents = list.contents();
    let (mut gaps, mut warnings, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
    for fact in contents.provenance().as_slice() {
        match fact {
            Fact::Gap { reason, path } => {
                let mut gap = json_path(OsStr::from_bytes(path));
                gap.insert("reason".into(), json!(reason.name()));
                gaps.push(Value::Object(gap));
            }
            Fact::Warning(text) => warnings.push(json!(String::from_utf8_lossy(text))),
            Fact::Conflict(path) => conflicts.push(Value::Object(json_path(OsStr::from_bytes(path)))),
            _ => {}
        }
    }
    let broad: Vec<&str> = contents.excludes().broad().iter().map(|(pattern, _)| pattern.as_str()).collect();
    let loose = contents.rules().as_slice().iter().filter(|rule| loosens(rule).is_some());
    let loose: Vec<String> = loose.map(ToString::to_string).collect();
    let mut fields = header_fields(list.header(), list.envelope().identity());
    for (key, value) in [
        ("entries", json!(contents.entry_count())),
        ("excludes", json!(contents.excludes().patterns().len())),
        ("rules", json!(contents.rules().as_slice().len())),
        ("gaps", json!(gaps)),
        ("warnings", json!(warnings)),
        ("conflicts", json!(conflicts)),
        ("broad_excludes", json!(broad)),
        ("loose_rules", json!(loose)),
    ] {
        fields.insert(key.into(), value);
    }
    fields
}

/// What a rule accepts that a list without rules does not; `None` for one that only says what is expected, and for
/// `broad-exclude`, which is told with its exclude.
fn loosens(rule: &Rule) -> Option<&'static str> {
    match rule {
        Rule::AcceptBankSha1 => Some("a quote over SHA-1 PCRs alone is believed"),
        Rule::AcceptDigestSha1 => Some("a file's SHA-1 digest is believed"),
        Rule::AcceptReplayPaddedSha1 => Some("lists are replayed over SHA-1 template digests"),
        Rule::BootAggregateAny => Some("every boot_aggregate is accepted"),
        Rule::FileSignature { .. } => Some("files signed by this key need not be listed"),
        Rule::IgnoreKeyring(_) => Some("any key may be put on this keyring"),
        Rule::Template(name) if name == "ima" => Some("entries of this template have SHA-1 or MD5 digests"),
        Rule::ViolationReport => Some("files written while they were measured are reported only"),
        _ => None,
    }
}

/// Most lines of one kind in a summary; `show --provenance`, `--excludes` and `--rules` print them all.
const MAX_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_only_expect_something_are_not_loose() {
        let hex = "1".repeat(64);
        for strict in [
            format!("boot-aggregate sha256:{hex}"),
            format!("pcr sha256 7 {hex}"),
            format!("keyring .ima sha256:{hex}"),
            format!("buffer kernel_version sha256:{hex}"),
            "template ima-ng".to_owned(),
        ] {
            assert_eq!(loosens(&Rule::parse(strict.as_bytes()).unwrap()), None, "{strict}");
        }
        for loose in ["boot-aggregate any", "violation report", "ignore-keyring .ima", "template ima"] {
            assert!(loosens(&Rule::parse(loose.as_bytes()).unwrap()).is_some(), "{loose}");
        }
    }
}
