//! What a new list accepts that the old one did not, and the other way about: for `diff`, for whoever is about to seal a
//! new version, and for the service's API.
//!
//! Both lists are in their one encoding, so one pass over their sorted entries is enough. A change is marked **looser**
//! if by it alone the list accepts what it did not accept before; listing another digest or path is what new versions
//! are for, and is not marked. Does not compare provenance, and knows nothing about seals.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt;

use goldseal_verifier_core::contents::Contents;
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::excludes::Pattern;
use goldseal_verifier_core::header::{Expiry, Header};
use goldseal_verifier_core::rules::Rule;
use serde_json::{Map, Value, json};

use crate::printable::{Printable, PrintableLine, json_path};

/// How two lists differ. Paths are borrowed from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Lines of the header.
    pub header: Vec<HeaderChange>,
    /// Patterns, in their order.
    pub excludes: Vec<LineChange>,
    /// Statements, in their order.
    pub rules: Vec<LineChange>,
    /// Paths, in their order.
    pub entries: Vec<EntryChange<'a>>,
}

/// One of two lists. Who vouches for it is the caller's to know.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its header.
    pub header: &'a Header,
    /// Its sections.
    pub contents: &'a Contents,
}

/// Compares two lists.
pub fn between<'a>(old: Side<'a>, new: Side<'a>) -> Difference<'a> {
    Difference {
        header: header_changes(old.header, new.header),
        excludes: exclude_changes(old.contents.excludes().patterns(), new.contents.excludes().patterns()),
        rules: rule_changes(old.contents.rules().as_slice(), new.contents.rules().as_slice()),
        entries: entry_changes(old.contents, new.contents),
    }
}

impl Difference<'_> {
    /// Whether both lists judge every machine alike: entries, excludes, rules and file-hash are equal.
    pub fn is_none(&self) -> bool {
        self.entries.is_empty()
            && self.excludes.is_empty()
            && self.rules.is_empty()
            && self.header.iter().all(|change| change.field != FILE_HASH)
    }

    /// How many changes are looser.
    pub fn looser(&self) -> usize {
        self.header.iter().filter(|change| change.looser).count()
            + self.excludes.iter().chain(&self.rules).filter(|change| change.looser).count()
            + usize::from(self.counts().now_excluded > 0)
    }

    /// Paths by what became of them.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.entries.iter().for_each(|change| counts.add(change.kind));
        counts
    }

    /// For people: header, excludes and rules first, then the entries.
    pub fn text(&self, detail: Detail) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(detail, &mut text);
        text
    }

    fn write(&self, detail: Detail, text: &mut String) -> fmt::Result {
        for HeaderChange { field, old, new, looser } in &self.header {
            writeln!(text, "{field}: {old} -> {new}{}", mark(*looser))?;
        }
        for (word, changes) in [("exclude", &self.excludes), ("rule", &self.rules)] {
            for LineChange { kind, line, looser } in changes {
                let sign = kind.sign();
                writeln!(text, "{sign} {word} {}{}", PrintableLine(line.as_bytes()), mark(*looser))?;
            }
        }
        if self.entries.is_empty() {
            return writeln!(text, "entries: the same");
        }
        writeln!(text, "entries: {}", self.counts())?;
        match detail {
            Detail::Folders => {
                for (folder, counts) in self.folders() {
                    writeln!(text, "  {}: {counts}", Printable(folder))?;
                }
            }
            Detail::Paths => {
                for EntryChange { kind, path } in &self.entries {
                    writeln!(text, "{} {}{}", kind.sign(), Printable(path), kind.remark())?;
                }
            }
        }
        Ok(())
    }

    /// For programs.
    pub fn json(&self, detail: Detail) -> Map<String, Value> {
        let lines = |changes: &[LineChange], word: &str| -> Value {
            let changes = changes.iter();
            let change = |change: &LineChange| json!({ "change": change.kind.word(), word: change.line, "looser": change.looser });
            changes.map(change).collect()
        };
        let header = self.header.iter();
        let header = header.map(
            |change| json!({ "field": change.field, "old": change.old, "new": change.new, "looser": change.looser }),
        );
        let with_counts = |mut object: Map<String, Value>, counts: Counts| {
            object.extend(counts.json());
            Value::Object(object)
        };
        let mut entries = self.counts().json();
        match detail {
            Detail::Folders => {
                let folders = self.folders().into_iter();
                let folders = folders.map(|(folder, counts)| with_counts(json_path(OsStr::from_bytes(folder)), counts));
                entries.insert("folders".into(), folders.collect());
            }
            Detail::Paths => {
                let paths = self.entries.iter().map(|change| {
                    let mut object = json_path(OsStr::from_bytes(&change.path));
                    object.insert("change".into(), json!(change.kind.word()));
                    Value::Object(object)
                });
                entries.insert("paths".into(), paths.collect());
            }
        }
        let mut object = Map::new();
        object.insert("header".into(), header.collect());
        object.insert("excludes".into(), lines(&self.excludes, "pattern"));
        object.insert("rules".into(), lines(&self.rules, "rule"));
        object.insert("entries".into(), Value::Object(entries));
        object.insert("looser".into(), json!(self.looser()));
        object
    }

    /// The changes by the folder they happened in; where that is too many, by what is above, as deep as fits.
    fn folders(&self) -> Vec<(&[u8], Counts)> {
        let by_depth = |depth| {
            let mut folders: BTreeMap<&[u8], Counts> = BTreeMap::new();
            for change in &self.entries {
                folders.entry(folder(&change.path, depth)).or_default().add(change.kind);
                if depth > 1 && folders.len() > MAX_FOLDERS {
                    return None;
                }
            }
            Some(folders)
        };
        let folders = [usize::MAX, 6, 5, 4, 3, 2, 1].into_iter().find_map(by_depth);
        folders.expect("the last depth always fits").into_iter().collect()
    }
}

/// Most folders shown: what can be read in one go.
const MAX_FOLDERS: usize = 50;

/// How entries are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Counted by folder.
    Folders,
    /// One by one.
    Paths,
}

/// A changed line of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChange {
    /// Which.
    pub field: &'static str,
    /// Its old value.
    pub old: String,
    /// Its new value.
    pub new: String,
    /// Whether the list accepts more by it, or for longer.
    pub looser: bool,
}

/// An exclude or a rule that only one of the lists has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineChange {
    /// Added or removed.
    pub kind: LineChangeKind,
    /// As it is in the list.
    pub line: String,
    /// Whether the list accepts more by it.
    pub looser: bool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineChangeKind {
    /// The new list has it.
    Added,
    /// The old list had it.
    Removed,
}

impl LineChangeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
        }
    }
}

/// A path whose digests are not the same in both lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryChange<'a> {
    /// What became of it.
    pub kind: EntryChangeKind,
    /// The path.
    pub path: Cow<'a, [u8]>,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryChangeKind {
    /// The old list does not have it.
    Added,
    /// The new list does not have it, and refuses it.
    Removed,
    /// Both have it, with different digests.
    Changed,
    /// The new list does not have it but excludes it: whatever its digest is, it is accepted. Looser.
    NowExcluded,
}

impl EntryChangeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::NowExcluded => "now-excluded",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed | Self::NowExcluded => '-',
            Self::Changed => '~',
        }
    }

    fn remark(self) -> &'static str {
        match self {
            Self::NowExcluded => "   (excluded now: LOOSER)",
            Self::Added | Self::Removed | Self::Changed => "",
        }
    }
}

/// How many paths became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`EntryChangeKind::Added`].
    pub added: usize,
    /// [`EntryChangeKind::Removed`].
    pub removed: usize,
    /// [`EntryChangeKind::Changed`].
    pub changed: usize,
    /// [`EntryChangeKind::NowExcluded`].
    pub now_excluded: usize,
}

impl Counts {
    fn add(&mut self, kind: EntryChangeKind) {
        *match kind {
            EntryChangeKind::Added => &mut self.added,
            EntryChangeKind::Removed => &mut self.removed,
            EntryChangeKind::Changed => &mut self.changed,
            EntryChangeKind::NowExcluded => &mut self.now_excluded,
        } += 1;
    }

    fn json(self) -> Map<String, Value> {
        let Self { added, removed, changed, now_excluded } = self;
        let counts = [("added", added), ("removed", removed), ("changed", changed), ("now_excluded", now_excluded)];
        counts.into_iter().map(|(word, count)| (word.to_owned(), json!(count))).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, removed, changed, now_excluded } = self;
        let counts = [(added, "added"), (removed, "removed"), (changed, "changed"), (now_excluded, "excluded now")];
        let counts = counts.into_iter().filter(|(count, _)| **count > 0);
        let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
        write!(f, "{}{}", counts.join(", "), mark(*now_excluded > 0))
    }
}

fn mark(looser: bool) -> &'static str {
    if looser { "   (LOOSER)" } else { "" }
}

const FILE_HASH: &str = "file-hash";

fn header_changes(old: &Header, new: &Header) -> Vec<HeaderChange> {
    let later = match (old.expires, new.expires) {
        (Expiry::At(old), Expiry::At(new)) => new > old,
        (Expiry::At(_), Expiry::Never) => true,
        (Expiry::Never, _) => false,
    };
    let has_sha1 = |header: &Header| header.file_hash.algorithms().contains(&HashAlgorithm::Sha1);
    let fields = [
        ("name", old.name.to_string(), new.name.to_string(), false),
        ("version", old.version.to_string(), new.version.to_string(), false),
        ("created", old.created.to_string(), new.created.to_string(), false),
        ("expires", old.expires.to_string(), new.expires.to_string(), later),
        (FILE_HASH, old.file_hash.to_string(), new.file_hash.to_string(), has_sha1(new) && !has_sha1(old)),
    ];
    let changed = fields.into_iter().filter(|(_, old, new, _)| old != new);
    changed.map(|(field, old, new, looser)| HeaderChange { field, old, new, looser }).collect()
}

fn exclude_changes(old: &[Pattern], new: &[Pattern]) -> Vec<LineChange> {
    let lines = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).zip(patterns.to_vec()).collect();
    line_changes(lines(old), lines(new), |kind, _| kind == LineChangeKind::Added)
}

fn rule_changes(old: &[Rule], new: &[Rule]) -> Vec<LineChange> {
    let lines = |rules: &[Rule]| rules.iter().map(ToString::to_string).zip(rules.to_vec()).collect();
    line_changes(lines(old), lines(new), |kind, rule| match kind {
        LineChangeKind::Added => added_rule_is_looser(rule, old),
        LineChangeKind::Removed => removed_rule_is_looser(rule, old, new),
    })
}

/// Both sides are sorted by line, and so are the changes.
fn line_changes<T>(
    old: BTreeMap<String, T>,
    new: BTreeMap<String, T>,
    is_looser: impl Fn(LineChangeKind, &T) -> bool,
) -> Vec<LineChange> {
    let removed = old.iter().filter(|(line, _)| !new.contains_key(*line)).map(|item| (LineChangeKind::Removed, item));
    let added = new.iter().filter(|(line, _)| !old.contains_key(*line)).map(|item| (LineChangeKind::Added, item));
    let mut changes: Vec<LineChange> = removed
        .chain(added)
        .map(|(kind, (line, value))| LineChange { kind, line: line.clone(), looser: is_looser(kind, value) })
        .collect();
    changes.sort_by(|a, b| a.line.cmp(&b.line));
    changes
}

/// Every statement accepts more, with these exceptions: the first value of a PCR and the first `template` restrict, and
/// some say what another statement said already.
fn added_rule_is_looser(rule: &Rule, old: &[Rule]) -> bool {
    match rule {
        Rule::Pcr { .. } => old.iter().any(|other| same_pcr(rule, other)),
        Rule::Template(name) => !accepts_template(old, name),
        Rule::BootAggregate(_) => !old.contains(&Rule::BootAggregateAny),
        Rule::Keyring { label, .. } => !old.contains(&Rule::IgnoreKeyring(label.clone())),
        _ => true,
    }
}

/// The other way about: the last value of a PCR restricted, and without any `template` the default ones are back.
fn removed_rule_is_looser(rule: &Rule, old: &[Rule], new: &[Rule]) -> bool {
    match rule {
        Rule::Pcr { .. } => !new.iter().any(|other| same_pcr(rule, other)),
        Rule::Template(_) => {
            let back = DEFAULT_TEMPLATES.iter().filter(|name| accepts_template(new, name));
            back.into_iter().any(|name| !accepts_template(old, name)) && !has_templates(new)
        }
        _ => false,
    }
}

fn same_pcr(a: &Rule, b: &Rule) -> bool {
    matches!((a, b), (Rule::Pcr { index: a, value: x }, Rule::Pcr { index: b, value: y })
        if a == b && x.algorithm() == y.algorithm())
}

/// Templates that a list without `template` rules accepts (docs/format.md, Rules).
const DEFAULT_TEMPLATES: [&str; 4] = ["ima-ng", "ima-sig", "ima-ngv2", "ima-sigv2"];

fn has_templates(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| matches!(rule, Rule::Template(_)))
}

fn accepts_template(rules: &[Rule], name: &str) -> bool {
    if has_templates(rules) {
        rules.iter().any(|rule| matches!(rule, Rule::Template(accepted) if accepted == name))
    } else {
        DEFAULT_TEMPLATES.contains(&name)
    }
}

/// One pass over both lists, by path and digest.
fn entry_changes<'a>(old: &'a Contents, new: &'a Contents) -> Vec<EntryChange<'a>> {
    let excludes = new.excludes();
    let mut changes = Vec::new();
    let mut finish = |path: Cow<'a, [u8]>, seen: Seen| {
        let kind = match seen {
            Seen { old: false, new: false, .. } => return,
            Seen { old: false, both: false, .. } => EntryChangeKind::Added,
            Seen { new: false, both: false, .. } if excludes.takes(&path) => EntryChangeKind::NowExcluded,
            Seen { new: false, both: false, .. } => EntryChangeKind::Removed,
            _ => EntryChangeKind::Changed,
        };
        changes.push(EntryChange { kind, path });
    };
    let mut olds = old.entries().peekable();
    let mut news = new.entries().peekable();
    let mut current: Option<(Cow<'a, [u8]>, Seen)> = None;
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => (&old.path, old.digest).cmp(&(&new.path, new.digest)),
        };
        let old = if order.is_le() { olds.next() } else { None };
        let new = if order.is_ge() { news.next() } else { None };
        let Some(entry) = old.or(new) else { break };
        let mut seen = match current.take() {
            Some((path, seen)) if path == entry.path => seen,
            before => {
                if let Some((path, seen)) = before {
                    finish(path, seen);
                }
                Seen::default()
            }
        };
        match order {
            Ordering::Less => seen.old = true,
            Ordering::Greater => seen.new = true,
            Ordering::Equal => seen.both = true,
        }
        current = Some((entry.path, seen));
    }
    if let Some((path, seen)) = current {
        finish(path, seen);
    }
    changes
}

/// Where one path's digests were found.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Some digest in the old list alone.
    old: bool,
    /// Some digest in the new list alone.
    new: bool,
    /// Some digest in both.
    both: bool,
}

/// The folder of a path, cut to `depth` components.
fn folder(path: &[u8], depth: usize) -> &[u8] {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    match slashes.skip(1).take(depth).last() {
        Some(end) => &path[..end],
        None => b"/",
    }
}

#[cfg(test)]
mod tests {
    use goldseal_verifier_core::entries::FileDigest;
    use goldseal_verifier_core::excludes::Excludes;
    use goldseal_verifier_core::header::{FileHash, ListName, Version};
    use goldseal_verifier_core::list::{UnverifiedList, Whitelist};
    use goldseal_verifier_core::provenance::Provenance;
    use goldseal_verifier_core::rules::Rules;
    use goldseal_verifier_core::time::Timestamp;

    use super::*;

    fn between<'a>(old: &'a UnverifiedList, new: &'a UnverifiedList) -> Difference<'a> {
        let side = |list: &'a UnverifiedList| Side { header: list.header(), contents: list.contents() };
        super::between(side(old), side(new))
    }

    const DAY: u64 = 86_400;

    fn time(day: u64) -> Timestamp {
        Timestamp::from_unix(day * DAY).unwrap()
    }

    fn digest(digit: u8) -> FileDigest {
        FileDigest::parse(&[digit; 64]).unwrap()
    }

    fn rule(line: &str) -> Rule {
        Rule::parse(line.replace("HEX", &"5".repeat(64)).replace("OTHER", &"6".repeat(64)).as_bytes()).unwrap()
    }

    /// What both lists begin as; a test changes one thing.
    fn whitelist() -> Whitelist {
        Whitelist {
            name: ListName::new("test").unwrap(),
            version: Version::FIRST,
            created: time(1),
            expires: Expiry::At(time(10)),
            file_hash: FileHash::new(&[HashAlgorithm::Sha256]).unwrap(),
            provenance: Provenance::default(),
            excludes: Excludes::none(),
            rules: Rules::new([]),
            entries: vec![(b"/bin/a".to_vec(), digest(b'1')), (b"/bin/b".to_vec(), digest(b'2'))],
        }
    }

    fn list(change: impl FnOnce(&mut Whitelist)) -> UnverifiedList {
        let mut list = whitelist();
        change(&mut list);
        list.print().unwrap()
    }

    fn excludes(patterns: &[&str]) -> Excludes {
        Excludes::new(patterns.iter().map(|text| Pattern::new(text.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn lists_that_judge_alike_do_not_differ() {
        let old = list(|_| {});
        let new = list(|list| (list.version, list.created) = (Version::new(2).unwrap(), time(2)));
        let difference = between(&old, &new);
        assert!(difference.is_none());
        assert_eq!(difference.looser(), 0);
        assert_eq!(
            difference.text(Detail::Folders),
            "version: 1 -> 2\ncreated: 1970-01-02T00:00:00Z -> 1970-01-03T00:00:00Z\nentries: the same\n"
        );
    }

    #[test]
    fn an_expiry_that_is_later_is_looser() {
        for (old, new, looser) in [
            (Expiry::At(time(10)), Expiry::At(time(11)), true),
            (Expiry::At(time(10)), Expiry::Never, true),
            (Expiry::At(time(11)), Expiry::At(time(10)), false),
            (Expiry::Never, Expiry::At(time(10)), false),
        ] {
            let (old, new) = (list(|list| list.expires = old), list(|list| list.expires = new));
            let difference = between(&old, &new);
            assert_eq!((difference.header.len(), difference.header[0].looser), (1, looser));
            assert!(difference.is_none(), "what is accepted is the same, and only for another time");
        }
    }

    #[test]
    fn sha1_among_the_algorithms_is_looser() {
        let with = |algorithms: &[HashAlgorithm]| list(|list| list.file_hash = FileHash::new(algorithms).unwrap());
        let (one, two) = (with(&[HashAlgorithm::Sha256]), with(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]));
        for (old, new, looser) in [(&one, &two, true), (&two, &one, false)] {
            let difference = between(old, new);
            assert!(!difference.is_none());
            assert_eq!((difference.header[0].field, difference.header[0].looser), ("file-hash", looser));
        }
        let sha384 = with(&[HashAlgorithm::Sha256, HashAlgorithm::Sha384]);
        assert!(!between(&one, &sha384).header[0].looser);
    }

    #[test]
    fn an_added_exclude_is_looser() {
        let old = list(|list| list.excludes = excludes(&["/a", "/c"]));
        let new = list(|list| list.excludes = excludes(&["/b", "/c"]));
        let difference = between(&old, &new);
        let change = |kind, line: &str, looser| LineChange { kind, line: line.to_owned(), looser };
        let expected = [change(LineChangeKind::Removed, "/a", false), change(LineChangeKind::Added, "/b", true)];
        assert_eq!(difference.excludes, expected);
        assert!(!difference.is_none());
    }

    /// Old rules, new rules, the changed lines and whether each is looser.
    #[track_caller]
    fn rules_change(old: &[&str], new: &[&str], expected: &[(&str, bool)]) {
        let rules = |lines: &[&str]| Rules::new(lines.iter().map(|line| rule(line)));
        let (old, new) = (list(|list| list.rules = rules(old)), list(|list| list.rules = rules(new)));
        let difference = between(&old, &new);
        let found: Vec<(String, bool)> = difference
            .rules
            .iter()
            .map(|change| (format!("{}{}", change.kind.sign(), change.line), change.looser))
            .collect();
        let expected: Vec<(String, bool)> =
            expected.iter().map(|(line, looser)| (format!("{}{}", &line[..1], rule(&line[1..])), *looser)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn statements_that_accept_more_are_looser() {
        for line in [
            "accept-bank sha1",
            "accept-digest sha1",
            "accept-replay padded-sha1",
            "boot-aggregate any",
            "boot-aggregate sha256:HEX",
            "buffer x sha256:HEX",
            "ignore-keyring .ima",
            "keyring .ima sha256:HEX",
            "violation report",
        ] {
            rules_change(&[], &[line], &[(&format!("+{line}"), true)]);
            rules_change(&[line], &[], &[(&format!("-{line}"), false)]);
        }
        rules_change(
            &["boot-aggregate any"],
            &["boot-aggregate sha256:HEX"],
            &[("-boot-aggregate any", false), ("+boot-aggregate sha256:HEX", false)],
        );
        rules_change(
            &["ignore-keyring .ima"],
            &["keyring .ima sha256:HEX"],
            &[("-ignore-keyring .ima", false), ("+keyring .ima sha256:HEX", false)],
        );
    }

    #[test]
    fn the_first_value_of_a_pcr_restricts_and_a_further_one_does_not() {
        let (first, second) = ("pcr sha256 7 HEX", "pcr sha256 7 OTHER");
        rules_change(&[], &[first], &[("+pcr sha256 7 HEX", false)]);
        rules_change(&[first], &[first, second], &[("+pcr sha256 7 OTHER", true)]);
        rules_change(&[first], &[second], &[("-pcr sha256 7 HEX", false), ("+pcr sha256 7 OTHER", true)]);
        rules_change(&[first, second], &[first], &[("-pcr sha256 7 OTHER", false)]);
        rules_change(&[first], &[], &[("-pcr sha256 7 HEX", true)]);
        rules_change(&[first], &[first, "pcr sha256 8 HEX"], &[("+pcr sha256 8 HEX", false)]);
    }

    #[test]
    fn templates_restrict_until_the_last_is_gone() {
        rules_change(&[], &["template ima-ng"], &[("+template ima-ng", false)]);
        rules_change(&[], &["template ima"], &[("+template ima", true)]);
        rules_change(
            &["template ima-ng"],
            &["template ima-sig"],
            &[("-template ima-ng", false), ("+template ima-sig", true)],
        );
        rules_change(&["template ima-ng"], &[], &[("-template ima-ng", true)]);
        let all = ["template ima-ng", "template ima-ngv2", "template ima-sig", "template ima-sigv2"];
        rules_change(&all, &[], &all.map(|line| format!("-{line}")).each_ref().map(|line| (line.as_str(), false)));
    }

    #[test]
    fn each_path_is_told_once() {
        let old =
            list(|list| list.entries.extend([(b"/opt/x".to_vec(), digest(b'1')), (b"/o".to_vec(), digest(b'1'))]));
        let new = list(|list| {
            list.excludes = excludes(&["/opt"]);
            list.entries = vec![
                (b"/bin/a".to_vec(), digest(b'1')),
                (b"/bin/a".to_vec(), digest(b'3')),
                (b"/bin/b".to_vec(), digest(b'4')),
                (b"/bin/c\n".to_vec(), digest(b'5')),
                (b"/bin/c\n".to_vec(), digest(b'6')),
            ];
        });
        let difference = between(&old, &new);
        let found: Vec<(&[u8], EntryChangeKind)> =
            difference.entries.iter().map(|change| (&*change.path, change.kind)).collect();
        let expected = [
            (&b"/bin/a"[..], EntryChangeKind::Changed),
            (b"/bin/b", EntryChangeKind::Changed),
            (b"/bin/c\n", EntryChangeKind::Added),
            (b"/o", EntryChangeKind::Removed),
            (b"/opt/x", EntryChangeKind::NowExcluded),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            difference.text(Detail::Folders),
            "+ exclude /opt   (LOOSER)\n\
             entries: 1 added, 1 removed, 2 changed, 1 excluded now   (LOOSER)\n  \
             /: 1 removed\n  /bin: 1 added, 2 changed\n  /opt: 1 excluded now   (LOOSER)\n"
        );
        assert_eq!(
            difference.text(Detail::Paths).lines().skip(2).collect::<Vec<_>>(),
            ["~ /bin/a", "~ /bin/b", "+ /bin/c\\n", "- /o", "- /opt/x   (excluded now: LOOSER)"]
        );
        // The same the other way about: nothing is lost, nothing is looser.
        let back = between(&new, &old);
        assert_eq!(back.counts(), Counts { added: 2, removed: 1, changed: 2, now_excluded: 0 });
        assert_eq!(back.looser(), 0);
    }

    #[test]
    fn many_folders_are_told_by_what_is_above() {
        let old = list(|list| list.entries.clear());
        let new = list(|list| {
            list.entries = (0..200).map(|n| (format!("/a/{}/{n}/x", n % 3).into_bytes(), digest(b'1'))).collect();
        });
        let difference = between(&old, &new);
        let text = difference.text(Detail::Folders);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["  /a/0: 67 added", "  /a/1: 67 added", "  /a/2: 66 added"]);
    }

    #[test]
    fn folders_of_paths() {
        for (path, depth, expected) in
            [("/a", 9, "/"), ("/a/b", 9, "/a"), ("/a/b/c", 9, "/a/b"), ("/a/b/c", 1, "/a"), ("/a/b/c/d", 2, "/a/b")]
        {
            assert_eq!(folder(path.as_bytes(), depth), expected.as_bytes(), "{path} {depth}");
        }
    }
}
