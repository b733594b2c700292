//! What a new trust root lets happen that the old one did not, and the other way about: for whoever is to sign it.
//!
//! A change is marked **looser** if by it alone something is accepted that was not accepted before. Knows nothing about
//! signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use goldseal_cli::clock;
use goldseal_verifier_core::header::{Expiry, Version};
use goldseal_verifier_core::root::{
    KeyStatement, KeyStatus, NamePattern, RoleName, RoleScope, Statements, UnverifiedRoot,
};
use goldseal_verifier_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::root_summary::{Described, comma, purpose, signers};

/// How two roots differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    header: Vec<Change>,
    statements: Vec<Change>,
    /// Who must sign, if the one follows the other.
    signers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    kind: ChangeKind,
    line: String,
    looser: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChangeKind {
    Added,
    Removed,
    Changed,
}

/// Compares two roots.
pub fn between(old: &UnverifiedRoot, new: &UnverifiedRoot) -> Difference {
    let follows = old.header().version.next() == Some(new.header().version);
    let must_sign = |root: &UnverifiedRoot| {
        let role = root.statements().role_statements().find(|role| role.name.is_root())?;
        let now = clock::now().unwrap_or(Timestamp::MIN);
        Some(format!("by version {}: {}", root.header().version, signers(root.statements(), &role, now)))
    };
    Difference {
        header: header_changes(old, new),
        statements: statement_changes(old.statements(), new.statements()),
        signers: [old, new].into_iter().filter(|_| follows).filter_map(must_sign).collect(),
    }
}

impl Difference {
    /// For people: the header, statements, and who must sign.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.header.iter().chain(&self.statements).try_for_each(|change| writeln!(text, "{change}"));
        if self.statements.is_empty() {
            text.push_str("statements: the same\n");
        }
        let _ = self.signers.iter().try_for_each(|line| writeln!(text, "must sign, {line}"));
        text
    }

    /// Who must sign, if the one follows the other.
    pub fn must_sign(&self) -> &[String] {
        &self.signers
    }

    /// The statements alone, indented.
    pub fn edits(&self) -> String {
        self.statements.iter().map(|change| format!("  {change}\n")).collect()
    }

    /// For programs.
    pub fn json(&self) -> Map<String, Value> {
        let changes = |changes: &[Change]| -> Value {
            let change =
                |change: &Change| json!({ "change": change.kind.word(), "line": change.line, "looser": change.looser });
            changes.iter().map(change).collect()
        };
        let looser = self.header.iter().chain(&self.statements).filter(|change| change.looser).count();
        let mut fields = Map::new();
        fields.insert("header".into(), changes(&self.header));
        fields.insert("statements".into(), changes(&self.statements));
        fields.insert("looser".into(), looser.into());
        fields.insert("must_sign".into(), self.signers.clone().into());
        fields
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            ChangeKind::Added => "+ ",
            ChangeKind::Removed => "- ",
            ChangeKind::Changed => "",
        };
        write!(f, "{sign}{}{}", self.line, if self.looser { "   (LOOSER)" } else { "" })
    }
}

impl ChangeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

fn change(kind: ChangeKind, line: String, looser: bool) -> Change {
    Change { kind, line, looser }
}

fn header_changes(old: &UnverifiedRoot, new: &UnverifiedRoot) -> Vec<Change> {
    let (old, new) = (old.header(), new.header());
    let fields = [
        ("name", old.name.to_string(), new.name.to_string(), false),
        ("version", old.version.to_string(), new.version.to_string(), false),
        ("created", old.created.to_string(), new.created.to_string(), false),
        ("expires", old.expires.to_string(), new.expires.to_string(), is_later(old.expires, new.expires)),
    ];
    let changed = fields.into_iter().filter(|(_, old, new, _)| old != new);
    changed
        .map(|(field, old, new, looser)| change(ChangeKind::Changed, format!("{field}: {old} -> {new}"), looser))
        .collect()
}

fn is_later(old: Expiry, new: Expiry) -> bool {
    match (old, new) {
        (Expiry::At(old), Expiry::At(new)) => new > old,
        (old, new) => old != Expiry::Never && new == Expiry::Never,
    }
}

fn statement_changes(old: &Statements, new: &Statements) -> Vec<Change> {
    let mut changes = key_changes(old, new);
    changes.extend(role_changes(old, new));
    let floors = map_changes(&old.floors, &new.floors, |old, new| new < old);
    changes.extend(
        floors.into_iter().map(|(kind, list, values, looser)| change(kind, format!("floor {list}{values}"), looser)),
    );
    let sinks = |old: Option<&Version>, new: Option<&Version>| new.is_some() && (old.is_none() || new < old);
    let resets = map_changes(&old.resets, &new.resets, sinks);
    changes.extend(
        resets.into_iter().map(|(kind, list, values, looser)| change(kind, format!("reset {list}{values}"), looser)),
    );
    let added = new.revoked_lists.difference(&old.revoked_lists);
    changes.extend(added.map(|list| change(ChangeKind::Added, format!("revoked list {list}"), false)));
    let removed = old.revoked_lists.difference(&new.revoked_lists);
    changes.extend(removed.map(|list| change(ChangeKind::Removed, format!("revoked list {list}"), true)));
    changes
}

/// What became of the values of a map: its key, the values in words, and whether `looser` says so of them.
fn map_changes<'a, K: Ord, V: Ord + fmt::Display>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
    looser: impl Fn(Option<&V>, Option<&V>) -> bool,
) -> Vec<(ChangeKind, &'a K, String, bool)> {
    let subjects: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    let changes = subjects.into_iter().filter_map(|subject| {
        let (old, new) = (old.get(subject), new.get(subject));
        let (kind, values) = match (old, new) {
            (Some(old), Some(new)) if old != new => (ChangeKind::Changed, format!(": {old} -> {new}")),
            (None, Some(new)) => (ChangeKind::Added, format!(": {new}")),
            (Some(old), None) => (ChangeKind::Removed, format!(": {old}")),
            _ => return None,
        };
        Some((kind, subject, values, looser(old, new)))
    });
    changes.collect()
}

fn role_changes(old: &Statements, new: &Statements) -> Vec<Change> {
    // A further threshold for lists that had none before lets somebody seal them.
    let all_had_one = old.roles.keys().any(|(_, scope)| *scope == RoleScope::Lists(NamePattern::any()));
    let looser = |old: Option<&usize>, new: Option<&usize>| match (old, new) {
        (None, _) => !all_had_one,
        (Some(_), None) => true,
        (Some(old), Some(new)) => new < old,
    };
    let changes = map_changes(&old.roles, &new.roles, looser).into_iter();
    let line =
        |(name, scope): &(RoleName, RoleScope), values| format!("threshold of {name} {}{values}", purpose(scope));
    changes.map(|(kind, role, values, looser)| change(kind, line(role, values), looser)).collect()
}

fn key_changes(old: &Statements, new: &Statements) -> Vec<Change> {
    let ids: BTreeSet<_> = old.keys.keys().chain(new.keys.keys()).collect();
    let mut changes = Vec::new();
    for id in ids {
        match (old.keys.get(id), new.keys.get(id)) {
            (Some(old), Some(new)) => changes.extend(changes_of_key(old, new)),
            (None, Some(new)) => {
                let active = new.status == KeyStatus::Active;
                let revoked = if active { "" } else { ", revoked" };
                changes.push(change(ChangeKind::Added, format!("key {}{revoked} ({id})", Described(new)), active));
            }
            (Some(old), None) => changes.push(change(ChangeKind::Removed, format!("key {} ({id})", old.name), false)),
            (None, None) => {}
        }
    }
    changes
}

fn changes_of_key(old: &KeyStatement, new: &KeyStatement) -> Vec<Change> {
    let status = |key: &KeyStatement| if key.status == KeyStatus::Revoked { "revoked" } else { "active" };
    let gained = new.roles.difference(&old.roles).next().is_some();
    let fields = [
        ("name", old.name.to_string(), new.name.to_string(), false),
        // Two keys of one owner count once, and of two owners twice.
        ("owner", old.owner.to_string(), new.owner.to_string(), true),
        ("roles", comma(&old.roles), comma(&new.roles), gained),
        ("from", old.from.to_string(), new.from.to_string(), new.from < old.from),
        ("until", old.until.to_string(), new.until.to_string(), is_later(old.until, new.until)),
        ("status", status(old).to_owned(), status(new).to_owned(), new.status == KeyStatus::Active),
    ];
    let changed = fields.into_iter().filter(|(_, old, new, _)| old != new);
    let line = |field, before, after| format!("key {}: {field} {before} -> {after}", old.name);
    changed
        .map(|(field, before, after, looser)| change(ChangeKind::Changed, line(field, before, after), looser))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use goldseal_verifier_core::header::{ListName, SectionSeal};
    use goldseal_verifier_core::root::RootHeader;

    use super::*;
    use goldseal_cli::public_key::read_public_key;

    /// A key of testdata/keys as a statement; `rest` begins with its name.
    fn key(file: &str, rest: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../testdata/keys/{file}.pub"));
        let pem = fs::read_to_string(&path).unwrap();
        let spki: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let key = goldseal_verifier_core::key::PublicKey::from_spki_der(&read_public_key(&path).unwrap()).unwrap();
        format!("key {} ed25519 {spki} {rest}\n", key.key_id())
    }

    /// Two keys, of which one is to be found in the text as `carol`.
    fn text() -> String {
        [
            "floor prod 5\n".to_owned(),
            key("bob", "bob bob lists,root 1970-01-01T00:00:00Z never active"),
            key("carol", "carol carol lists,root 2026-01-01T00:00:00Z 2027-01-01T00:00:00Z active"),
            key("alice", "alice alice lists,root 1970-01-01T00:00:00Z never active"),
            "reset prod 7\n".to_owned(),
            format!("revoke-list {}\n", "a".repeat(64)),
            "role lists web-* 2\n".to_owned(),
            "role root - 2\n".to_owned(),
        ]
        .concat()
    }

    fn root(text: &str, version: u64, expires: &str) -> UnverifiedRoot {
        let header = RootHeader {
            name: ListName::new("site").unwrap(),
            version: Version::new(version).unwrap(),
            created: Timestamp::parse(b"2026-01-01T00:00:00Z").unwrap(),
            expires: Expiry::parse(expires.as_bytes()).unwrap(),
            keys: SectionSeal::of(""),
        };
        UnverifiedRoot::new(header, &Statements::parse(text.as_bytes()).unwrap()).unwrap()
    }

    /// One thing changes at a time; the other way about it is looser just if it was not, but where both are.
    #[test]
    fn what_accepts_more_is_marked() {
        let old = root(&text(), 1, "never");
        let carol = key("carol", "carol carol lists,root 2026-01-01T00:00:00Z 2027-01-01T00:00:00Z active");
        for (from, to, line, looser, looser_back) in [
            ("floor prod 5", "floor prod 6", "floor prod: 5 -> 6", false, true),
            ("floor prod 5\n", "", "- floor prod: 5", true, false),
            ("reset prod 7", "reset prod 6", "reset prod: 7 -> 6", true, false),
            ("reset prod 7\n", "", "- reset prod: 7", false, true),
            ("lists web-* 2", "lists web-* 1", "threshold of lists (lists named web-*): 2 -> 1", true, false),
            ("role lists", "role lists * 3\nrole lists", "+ threshold of lists (every list): 3", true, true),
            ("root - 2", "root - 3", "threshold of root (the next trust root): 2 -> 3", false, true),
            ("carol carol lists", "token carol lists", "key carol: name carol -> token", false, false),
            ("carol carol lists", "carol bob lists", "key carol: owner carol -> bob", true, true),
            ("carol lists,root 2026", "carol root 2026", "key carol: roles lists,root -> root", false, true),
            (
                "2026-01-01T00:00:00Z 2027",
                "2026-02-01T00:00:00Z 2027",
                "key carol: from 2026-01-01T00:00:00Z -> 2026-02-01T00:00:00Z",
                false,
                true,
            ),
            (
                "2027-01-01T00:00:00Z active",
                "never active",
                "key carol: until 2027-01-01T00:00:00Z -> never",
                true,
                false,
            ),
            (
                "2027-01-01T00:00:00Z active",
                "2027-01-01T00:00:00Z revoked",
                "key carol: status active -> revoked",
                false,
                true,
            ),
            (&carol, "", "- key carol (", false, true),
        ] {
            let changed = text().replacen(from, to, 1);
            assert_ne!(changed, text(), "{from}");
            let new = root(&changed, 1, "never");
            let difference = between(&old, &new);
            assert!(difference.text().starts_with(line), "{}", difference.text());
            assert_eq!((difference.statements.len(), difference.statements[0].looser), (1, looser), "{line}");
            assert_eq!(between(&new, &old).statements[0].looser, looser_back, "back: {line}");
        }
        let revoked = format!("revoke-list {}\n", "a".repeat(64));
        let new = root(&text().replace(&revoked, ""), 1, "never");
        assert_eq!(between(&old, &new).edits(), format!("  - revoked list {}   (LOOSER)\n", "a".repeat(64)));
        assert_eq!(between(&new, &old).edits(), format!("  + revoked list {}\n", "a".repeat(64)));
    }

    /// A threshold more can only be stricter where every list had one before.
    #[test]
    fn another_threshold_is_looser_where_there_was_none() {
        let every = text().replace("role lists web-*", "role lists *");
        let both = every.replace("role lists * 2\n", "role lists * 2\nrole lists web 1\n");
        let difference = between(&root(&every, 1, "never"), &root(&both, 1, "never"));
        assert_eq!(difference.edits(), "  + threshold of lists (lists named web): 1\n");
    }

    #[test]
    fn who_must_sign_is_said_of_a_successor_only() {
        let (one, two) = (root(&text(), 1, "2026-06-01T00:00:00Z"), root(&text(), 2, "2026-07-01T00:00:00Z"));
        let difference = between(&one, &two);
        assert_eq!(difference.must_sign().len(), 2);
        assert!(difference.must_sign()[0].starts_with("by version 1: 2 of alice, bob, carol"), "{difference:?}");
        let text = difference.text();
        assert!(text.contains("expires: 2026-06-01T00:00:00Z -> 2026-07-01T00:00:00Z   (LOOSER)\n"), "{text}");
        assert!(text.contains("version: 1 -> 2\nexpires") && text.contains("statements: the same\n"), "{text}");
        assert_eq!(between(&two, &one).must_sign(), [""; 0]);
        assert_eq!(between(&one, &one).json()["looser"], 0);
    }
}
