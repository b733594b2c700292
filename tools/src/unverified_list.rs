//! Lists that nobody vouches for yet: read whole, held to the keys of an input, and told about.
//!
//! What is here serves making, showing and comparing lists, and nothing that judges a machine: this is why it is not
//! where every program finds it.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use goldseal_cli::clock;
use goldseal_cli::difference::Side;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::{self, ListFile, Rest};
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::Ui;
use goldseal_cli::summary::{header_fields, say, say_header};
use goldseal_cli::trusted;
use goldseal_verifier_core::envelope::Envelope;
use goldseal_verifier_core::list::{InspectError, UnverifiedList, inspect_head};
use goldseal_verifier_core::provenance::Fact;
use goldseal_verifier_core::rules::Rule;
use goldseal_verifier_core::trust::{AuthenticHeader, Now, TrustRoot};
use serde_json::{Map, Value, json};

/// Reads a whole list without asking who sealed it.
///
/// # Errors
/// `unreadable`, or what is wrong with the file: `malformed`, `wrong-type`, `tampered` (exit 3 all).
pub fn read(path: &Path) -> Result<UnverifiedList, Failure> {
    let (envelope, rest) =
        ListFile::open(path)?.head().map_err(|error| list_file::malformed(path, Exit::Input, &error))?;
    load(path, envelope, rest)
}

/// The same when the head was read already.
///
/// # Errors
/// As [`read`].
pub fn load(path: &Path, envelope: Envelope, rest: Rest<impl Read>) -> Result<UnverifiedList, Failure> {
    let refused = |error| match error {
        InspectError::WrongType(_) => list_file::wrong_type(path, Exit::Input, &error),
        error => list_file::malformed(path, Exit::Input, &error),
    };
    let head = inspect_head(envelope).map_err(refused)?;
    let header = head.header().clone();
    rest.load(&header, Exit::Input, |rest| head.load(rest))
}

/// To be compared with another.
pub fn side(list: &UnverifiedList) -> Side<'_> {
    Side { header: list.header(), contents: list.contents() }
}

/// Holds a list that is only an input to the keys that must have sealed it.
///
/// # Errors
/// What is wrong with its seal (exit 3).
pub fn check_seal(path: &Path, list: &UnverifiedList, root: &TrustRoot) -> Result<AuthenticHeader, Failure> {
    let authentic = root.authenticate(list.envelope().clone(), Now::by_clock(clock::now()?));
    authentic.map_err(|error| trusted::not_authentic(path, Exit::Input, &error))
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
