//! What a new trust root lets happen that the old one did not, and the other way about: for whoever is about to sign it.
//!
//! A change is marked **looser** if by it alone something is accepted that was not accepted before. Knows nothing about
//! signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use goldseal_verifier_core::header::{Expiry, Version};
use goldseal_verifier_core::root::{
    KeyStatement, KeyStatus, NamePattern, RoleName, RoleScope, Statements, UnverifiedRoot,
};
use goldseal_verifier_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock;
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
