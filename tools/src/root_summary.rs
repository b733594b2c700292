//! What people and programs are told about a trust root: who may sign what, and what would stop that.
//!
//! Nothing here is checked: a root says it of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use goldseal_cli::clock;
use goldseal_cli::failure::Failure;
use goldseal_cli::report::Ui;
use goldseal_cli::summary::say;
use goldseal_verifier_core::header::{Expiry, ListName, Version};
use goldseal_verifier_core::root::{
    HolderName, KeyStatement, KeyStatus, NamePattern, RoleName, RoleScope, RoleStatement, Statements, UnverifiedRoot,
};
use goldseal_verifier_core::time::Timestamp;
use serde_json::{Map, Value, json};

/// A root in whole, but for long runs of revoked lists.
///
/// # Errors
/// As [`Ui::say`], [`clock::now`].
pub fn say_root(ui: Ui, root: &UnverifiedRoot) -> Result<(), Failure> {
    let (header, statements) = (root.header(), root.statements());
    say(ui, "name", &header.name)?;
    say(ui, "version", header.version)?;
    say(ui, "identity", root.envelope().identity())?;
    say(ui, "created", header.created)?;
    say(ui, "expires", header.expires)?;
    say_roles(ui, statements)?;
    let now = clock::now()?;
    for (id, key) in &statements.keys {
        let label = match state_of(key, now) {
            KeyState::Valid => "key",
            KeyState::Revoked => "REVOKED",
            KeyState::Later => "LATER",
            KeyState::Expired => "EXPIRED",
        };
        say(ui, label, Described(key))?;
        say(ui, "", id)?;
    }
    for (list, floor) in &statements.floors {
        say(ui, "floor", format_args!("{list}: no version below {floor} is taken"))?;
    }
    for (list, reset) in &statements.resets {
        say(
            ui,
            "RESET",
            format_args!("{list}: versions from {reset} on are taken again, whatever was accepted before"),
        )?;
    }
    for identity in statements.revoked_lists.iter().take(MAX_LISTS) {
        say(ui, "revoked", format_args!("list {identity}"))?;
    }
    match statements.revoked_lists.len().saturating_sub(MAX_LISTS) {
        0 => Ok(()),
        more => say(ui, "revoked", format_args!("… and {more} more: goldseal trust show --keys names them")),
    }
}

/// Most revoked lists shown: what can be read in one go. Everything else that a root says decides who is believed, and
/// is shown in full.
const MAX_LISTS: usize = 50;

/// Who can sign what, now.
///
/// # Errors
/// As [`Ui::say`], [`clock::now`].
pub fn say_roles(ui: Ui, statements: &Statements) -> Result<(), Failure> {
    let now = clock::now()?;
    for role in statements.role_statements() {
        say(ui, "role", format_args!("{} {}: {}", role.name, purpose(&role.scope), signers(statements, &role, now)))?;
    }
    Ok(())
}

/// What the role is for, in words.
pub(crate) fn purpose(scope: &RoleScope) -> String {
    match scope {
        RoleScope::Root => "(the next trust root)".to_owned(),
        RoleScope::Lists(pattern) if *pattern == NamePattern::any() => "(every list)".to_owned(),
        RoleScope::Lists(pattern) => format!("(lists named {pattern})"),
    }
}

/// Such as `2 of alice, bob, carol (from 2027-01-01T00:00:00Z on)`.
pub(crate) fn signers(statements: &Statements, role: &RoleStatement, now: Timestamp) -> String {
    let owners: Vec<String> = owners(statements, &role.name)
        .into_iter()
        .map(|(owner, keys)| match keys.iter().map(|key| (state_of(key, now), key)).min_by_key(|(state, _)| *state) {
            Some((KeyState::Later, key)) => format!("{owner} (only from {})", key.from),
            Some((KeyState::Expired, key)) => format!("{owner} (no longer, since {})", key.until),
            _ => owner.to_string(),
        })
        .collect();
    format!("{} of {}", role.threshold, owners.join(", "))
}

/// Owners of keys of this role that are not revoked, with those keys.
fn owners<'a>(statements: &'a Statements, role: &RoleName) -> BTreeMap<&'a HolderName, Vec<&'a KeyStatement>> {
    let mut owners: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let keys = statements.keys.values();
    for key in keys.filter(|key| key.status == KeyStatus::Active && key.roles.contains(role)) {
        owners.entry(&key.owner).or_default().push(key);
    }
    owners
}

/// Whether a key counts, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum KeyState {
    Valid,
    Later,
    Expired,
    Revoked,
}

fn state_of(key: &KeyStatement, now: Timestamp) -> KeyState {
    match key {
        KeyStatement { status: KeyStatus::Revoked, .. } => KeyState::Revoked,
        KeyStatement { until, .. } if until.is_past_at(now) => KeyState::Expired,
        KeyStatement { from, .. } if now < *from => KeyState::Later,
        _ => KeyState::Valid,
    }
}

/// A key in words; its id is said beside it.
pub(crate) struct Described<'a>(pub(crate) &'a KeyStatement);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyStatement { name, owner, roles, from, until, .. } = self.0;
        write!(f, "{name}, of {owner}: {}; {}", comma(roles), validity(*from, *until))
    }
}

/// As lines of a root have them.
pub(crate) fn comma(roles: &BTreeSet<RoleName>) -> String {
    roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(",")
}

fn validity(from: Timestamp, until: Expiry) -> String {
    match (from == Timestamp::MIN, until) {
        (true, Expiry::Never) => "always".to_owned(),
        (true, Expiry::At(until)) => format!("until {until}"),
        (false, Expiry::Never) => format!("from {from}"),
        (false, Expiry::At(until)) => format!("from {from} until {until}"),
    }
}

/// A root for programs.
pub fn root_fields(root: &UnverifiedRoot) -> Map<String, Value> {
    let (header, statements) = (root.header(), root.statements());
    let keys = statements.keys.iter().map(|(id, key)| {
        json!({
            "key_id": id.to_string(),
            "name": key.name.as_str(),
            "owner": key.owner.as_str(),
            "roles": key.roles.iter().map(RoleName::as_str).collect::<Value>(),
            "from": key.from.to_string(),
            "until": key.until.to_string(),
            "revoked": key.status == KeyStatus::Revoked,
        })
    });
    let roles = statements.role_statements().map(|role| {
        let lists = match &role.scope {
            RoleScope::Root => Value::Null,
            RoleScope::Lists(pattern) => pattern.as_str().into(),
        };
        let owners = owners(statements, &role.name);
        let owners: Value = owners.keys().map(|owner| owner.as_str()).collect();
        json!({ "role": role.name.as_str(), "lists": lists, "threshold": role.threshold, "owners": owners })
    });
    let versions = |versions: &BTreeMap<ListName, Version>| -> Map<String, Value> {
        versions.iter().map(|(list, version)| (list.to_string(), version.number().into())).collect()
    };
    let warnings = warnings(statements, clock::now().ok()).into_iter().map(|warning| Value::from(warning.what));
    let mut fields = Map::new();
    for (key, value) in [
        ("name", json!(header.name.as_str())),
        ("version", json!(header.version.number())),
        ("identity", json!(root.envelope().identity().to_string())),
        ("created", json!(header.created.to_string())),
        ("expires", json!(header.expires.to_string())),
        ("keys", keys.collect()),
        ("roles", roles.collect()),
        ("floors", Value::Object(versions(&statements.floors))),
        ("resets", Value::Object(versions(&statements.resets))),
        ("revoked_lists", statements.revoked_lists.iter().map(ToString::to_string).collect()),
        ("warnings", warnings.collect()),
    ] {
        fields.insert(key.into(), value);
    }
    fields
}

/// Something that works today and stops working by a small mishap, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Warning {
    what: String,
    todo: String,
}

fn warnings(statements: &Statements, now: Option<Timestamp>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if statements.roles.keys().all(|(name, _)| name.is_root()) {
        warnings.push(Warning {
            what: "no role is for lists: nobody can seal one".to_owned(),
            todo: "make one: goldseal trust set-threshold ROOT lists N --lists '*' --key NAME".to_owned(),
        });
    }
    for role in statements.role_statements() {
        let RoleStatement { name, scope, threshold } = &role;
        let owners = owners(statements, name);
        let (purpose, loss) = match scope {
            RoleScope::Root => (purpose(scope), "no next trust root can be signed"),
            RoleScope::Lists(_) => (purpose(scope), "no list can be sealed before the next trust root"),
        };
        let valid = |keys: &&Vec<&KeyStatement>| {
            now.is_none_or(|now| keys.iter().any(|key| state_of(key, now) == KeyState::Valid))
        };
        let today = owners.values().filter(valid).count();
        let what = match threshold {
            threshold if today < *threshold => {
                format!("the role {name} {purpose} needs {threshold} owners, and today {today} could sign")
            }
            1 if owners.len() == 1 => format!("the role {name} {purpose} has one owner: if the key is lost, {loss}"),
            threshold if owners.len() == *threshold => {
                format!("the role {name} {purpose} needs each of its {threshold} owners: if one key is lost, {loss}")
            }
            _ => continue,
        };
        warnings.push(Warning { what, todo: format!("add a key: goldseal trust add-key ROOT PUB --roles {name}") });
    }
    warnings
}

/// What would stop working by a small mishap, as lines of a summary.
///
/// # Errors
/// As [`Ui::say`].
pub fn say_warnings(ui: Ui, statements: &Statements) -> Result<(), Failure> {
    warnings(statements, clock::now().ok()).into_iter().try_for_each(|warning| say(ui, "WARNING", warning.what))
}

/// The same for who edits a draft, on standard error; what could be said of `before` was said then.
pub fn warn(ui: Ui, statements: &Statements, before: Option<&Statements>) {
    let now = clock::now().ok();
    let known = before.map(|before| warnings(before, now)).unwrap_or_default();
    for Warning { what, todo } in warnings(statements, now).into_iter().filter(|warning| !known.contains(warning)) {
        ui.note(format_args!("goldseal trust: {what}\n  {todo}"));
    }
}
