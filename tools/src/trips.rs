//! What a measurement list would trip over, grouped by kind and folder, and for each group what would admit it.
//!
//! No verdict: nobody vouches for the measurement list, and perhaps nobody for the whitelist. What is proposed admits no
//! more than it says; what would take system paths is never proposed without saying so.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use goldseal_cli::printable::json_path;
use goldseal_verifier_core::appraise::{Finding, FindingKind, MeasuredDigest};
use goldseal_verifier_core::contents::Contents;
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use goldseal_verifier_core::rules::{DEFAULT_TEMPLATES, Label, Rule};
use serde_json::{Map, Value, json};

use crate::learn::buffer_rule;

/// Most files of a group that get a line of their own where the folder is not proposed.
const MOST_FILES: usize = 10;

/// Top folders whose folders are never proposed whole: what runs from there is what a whitelist is for.
const SYSTEM: [&str; 9] = ["bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr"];

/// What stands in the way of entries of one kind in one folder, or of one other thing.
#[derive(Debug)]
pub struct Group {
    /// The word of the finding.
    pub word: &'static str,
    /// The folder of the files, without the last `/`; nothing for what is no file.
    pub folder: Option<Vec<u8>>,
    /// Entries.
    pub entries: u64,
    /// Names with what was measured.
    pub names: BTreeMap<Vec<u8>, BTreeSet<String>>,
    /// Options of `goldseal build` that would admit it, each with a remark or an empty one.
    pub admit: Vec<(String, String)>,
    /// What else to say.
    pub remark: &'static str,
}

/// Groups findings. They are those of one list, whose contents say what is allowed already.
pub fn group<'f>(contents: &Contents, findings: impl IntoIterator<Item = &'f Finding>) -> Vec<Group> {
    let mut groups: BTreeMap<(&'static str, Vec<u8>), Group> = BTreeMap::new();
    for finding in findings {
        let word = finding.kind.word();
        let name = finding.name.clone().unwrap_or_default();
        let folder = is_of_file(&finding.kind).then(|| folder(&name).to_vec());
        let admit = admit(contents, &finding.kind, &name);
        let key = folder.clone().unwrap_or_else(|| admit.iter().flat_map(|(line, _)| line.bytes()).collect());
        let group = groups.entry((word, key)).or_insert_with(|| Group {
            word,
            folder,
            entries: 0,
            names: BTreeMap::new(),
            admit,
            remark: remark(&finding.kind),
        });
        group.entries += 1;
        let measured = group.names.entry(name).or_default();
        measured.extend(finding.kind.found().map(ToString::to_string));
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in groups.iter_mut().filter(|group| group.word == "not-in-whitelist") {
        group.admit = excludes(group.folder.as_deref().unwrap_or_default(), group.names.keys());
    }
    groups
}

impl Group {
    /// For programs.
    pub fn json(&self) -> Value {
        let path = |name: &Vec<u8>| json_path(OsStr::from_bytes(name));
        let names = self.names.iter().map(|(name, found)| {
            let mut object = path(name);
            object.insert("found".into(), json!(found));
            Value::Object(object)
        });
        let admit = self.admit.iter().map(|(option, remark)| json!({ "option": option, "remark": remark }));
        let folder = self.folder.as_ref().map(|folder| Value::Object(path(folder)));
        let mut object = Map::new();
        for (key, value) in [
            ("word", json!(self.word)),
            ("folder", json!(folder)),
            ("entries", json!(self.entries)),
            ("names", names.collect()),
            ("admit", admit.collect()),
            ("remark", json!(self.remark)),
        ] {
            object.insert(key.into(), value);
        }
        Value::Object(object)
    }
}

/// Whether it is about a file that has a folder.
fn is_of_file(kind: &FindingKind) -> bool {
    matches!(kind, FindingKind::NotInWhitelist { .. } | FindingKind::DigestDiffers { .. })
}

fn folder(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&[], |slash| &path[..slash])
}

/// Options that admit what is no matter of folders.
fn admit(contents: &Contents, kind: &FindingKind, name: &[u8]) -> Vec<(String, String)> {
    let rule = |rule: Rule, remark: &str| vec![(format!("--rule {}", quoted(&rule.to_string())), remark.to_owned())];
    match kind {
        FindingKind::Sha1Digest { .. } => rule(Rule::AcceptDigestSha1, "LOOSE: then SHA-1 proves a file"),
        FindingKind::Violation => rule(Rule::ViolationReport, "LOOSE: then every violation is a note"),
        FindingKind::BootAggregate { found, .. } => match contents_digest(found) {
            Some(digest) => vec![(format!("--boot-aggregate {digest:?}"), String::new())],
            None => Vec::new(),
        },
        FindingKind::Buffer { found, .. } => {
            let known = Label::new(name).zip(contents_digest(found));
            known.map(|(label, digest)| rule(buffer_rule(label, digest), "")).unwrap_or_default()
        }
        FindingKind::Template { claimed } => templates(contents, claimed),
        _ => Vec::new(),
    }
}

fn contents_digest(found: &MeasuredDigest) -> Option<Digest> {
    match found {
        MeasuredDigest::Known(FileDigest::Contents(digest)) => Some(*digest),
        _ => None,
    }
}

/// A `template` rule replaces the default set, which has to be said then too.
fn templates(contents: &Contents, claimed: &[u8]) -> Vec<(String, String)> {
    let parse = |name: &[u8]| Rule::parse(&[b"template ", name].concat()).ok();
    let Some(wanted) = parse(claimed) else { return Vec::new() };
    let has_rules = contents.rules().as_slice().iter().any(|rule| matches!(rule, Rule::Template(_)));
    let defaults = DEFAULT_TEMPLATES.iter().filter(|_| !has_rules).filter_map(|name| parse(name.as_bytes()));
    let option = |rule: Rule| (format!("--rule {}", quoted(&rule.to_string())), String::new());
    [wanted].into_iter().chain(defaults).map(option).collect()
}

/// The folder's pattern; those of its files where there is one alone, or the folder's would take system paths.
fn excludes<'n>(folder: &[u8], names: impl ExactSizeIterator<Item = &'n Vec<u8>>) -> Vec<(String, String)> {
    let is_of_system = SYSTEM.iter().any(|system| folder.split(|byte| *byte == b'/').nth(1) == Some(system.as_bytes()));
    let may_be_whole = !folder.is_empty() && !is_of_system && names.len() > 1;
    let whole = option(folder).filter(|(_, probe)| probe.is_none() && may_be_whole);
    if let Some((option, _)) = whole {
        return vec![(option, "then anything in this folder passes".to_owned())];
    }
    let broad = |probe: Option<&str>| match probe {
        Some(probe) => format!("BROAD: it takes {probe}, and needs --allow-broad-exclude"),
        None => "then this file may be anything".to_owned(),
    };
    let more = names.len().saturating_sub(MOST_FILES);
    let files = names.take(MOST_FILES).filter_map(|name| option(name));
    let mut options: Vec<(String, String)> = files.map(|(option, probe)| (option, broad(probe))).collect();
    if let Some((_, remark)) = options.last_mut().filter(|_| more > 0) {
        remark.push_str(&format!("; … and so for {more} more"));
    }
    options
}

/// The option that excludes exactly this, with the system path it would take.
fn option(path: &[u8]) -> Option<(String, Option<&'static str>)> {
    let pattern = Pattern::new(literal(path).as_bytes()).ok()?;
    let excludes = Excludes::new([pattern.clone()]).ok()?;
    let probe = excludes.broad().first().map(|(_, probe)| *probe);
    Some((format!("--exclude {}", quoted(pattern.as_str())), probe))
}

/// A pattern for exactly these bytes.
fn literal(path: &[u8]) -> String {
    let mut pattern = String::new();
    for chunk in path.utf8_chunks() {
        for part in chunk.valid().split_inclusive(char::is_control) {
            let text = part.trim_end_matches(char::is_control);
            // Outside of a class a hyphen needs no escape.
            pattern.push_str(&regex_syntax::escape(text).replace("\\-", "-"));
            for byte in part[text.len()..].bytes() {
                pattern.push_str(&format!("\\x{byte:02x}"));
            }
        }
        for byte in chunk.invalid() {
            pattern.push_str(&format!("\\x{byte:02x}"));
        }
    }
    pattern
}

/// For a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What no option admits, or what else to say.
fn remark(kind: &FindingKind) -> &'static str {
    match kind {
        FindingKind::DigestDiffers { .. } => {
            "no exclude and no rule admits it: a listed path's digests decide. Measure the files again, if they are good"
        }
        FindingKind::RelativeName { .. } => "nothing admits it: the kernel wrote no path, and a list has paths alone",
        FindingKind::Fields(_) | FindingKind::NoFile { .. } => {
            "nothing admits it: the entry is not what a kernel writes"
        }
        FindingKind::NoBootAggregate => "nothing admits it: the list is not whole, or not of one boot",
        FindingKind::LaterBootAggregate => "nothing admits it: only the first entry may be called so",
        FindingKind::BufferDigest { .. } => "nothing admits it: the buffer is not what its digest says",
        FindingKind::Template { .. } => "such rules replace the default templates, which therefore stand beside it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_literal() {
        for path in
            [&b"/opt/a+b.(c)[d]{e}|f^g$h\\-i*j?k"[..], b"/opt/a\nb\tc\x7f", b"/opt/\xff\xfe", "/opt/é".as_bytes()]
        {
            let pattern = Pattern::new(literal(path).as_bytes()).unwrap();
            let excludes = Excludes::new([pattern]).unwrap();
            assert!(excludes.takes(path), "{path:?}");
            assert!(!excludes.takes(b"/opt/axb") && !excludes.takes(b"/opt/other"), "{path:?}");
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn broad_patterns_are_named_or_not_proposed() {
        let names = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>();
        let (app, bin) = (names(&["/opt/app/x", "/opt/app/y"]), names(&["/usr/bin/bash", "/usr/bin/x"]));
        let options = |folder: &str, paths: &[Vec<u8>]| excludes(folder.as_bytes(), paths.iter());
        assert_eq!(
            options("/opt/app", &app),
            [("--exclude '/opt/app'".into(), "then anything in this folder passes".into())]
        );
        assert_eq!(options("/opt/app", &app[..1])[0].0, "--exclude '/opt/app/x'");
        let bin = options("/usr/bin", &bin);
        assert_eq!(bin[0].0, "--exclude '/usr/bin/bash'");
        assert!(bin[0].1.starts_with("BROAD: it takes /usr/bin/bash"), "{bin:?}");
        assert_eq!(bin[1], ("--exclude '/usr/bin/x'".into(), "then this file may be anything".into()));
        assert_eq!(options("", &names(&["/init", "/run.sh"]))[1].0, r"--exclude '/run\.sh'");
        let libraries = names(&["/usr/lib/a-b.so", "/usr/lib/c.so"]);
        assert_eq!(options("/usr/lib", &libraries)[0].0, r"--exclude '/usr/lib/a-b\.so'");
        assert_eq!(options("/usrlocal/lib", &libraries)[0].0, "--exclude '/usrlocal/lib'");
    }
}
