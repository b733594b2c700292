//! `goldseal trust set-threshold`: how many owners of a role it takes.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::envelope::MAX_SIGNATURES;
use goldseal_verifier_core::root::{KeyStatus, NamePattern, RoleName, RoleScope, RoleStatement, Statements};

use crate::root_file::{self, find_key, role_name};

/// Set how many owners of a role must sign, in the draft of a trust root
///
/// The role root is for the next root. Every other role is for lists, by name: a list needs the threshold of each role
/// whose pattern takes its name, and a list that no pattern takes is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The draft; replaced in one step
    pub root: PathBuf,
    /// The role
    #[arg(value_parser = role_name)]
    pub role: RoleName,
    /// How many distinct owners must sign
    #[arg(value_name = "N", value_parser = threshold, required_unless_present = "remove", conflicts_with = "remove")]
    pub threshold: Option<NonZeroUsize>,
    /// The lists it is for: a name, or the beginning of names and `*` [default: those that the role is for already]
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub lists: Option<NamePattern>,
    /// Give the role to this key of the root, by name or key id; repeatable
    #[arg(long, value_name = "KEY", conflicts_with = "remove")]
    pub key: Vec<String>,
    /// Take the threshold out; with its last one, the role goes from all keys
    #[arg(long)]
    pub remove: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust set-threshold site-2.root root 3
  goldseal trust set-threshold site-2.root lists 1
  goldseal trust set-threshold site-2.root web 1 --lists 'web-*' --key alice
  goldseal trust set-threshold site-2.root web --remove

Exit codes:
  0  set, or it was
  2  usage, the threshold could not be met, or the root is signed
  3  the root is refused or cannot be written; it is as it was";

/// A threshold as an argument.
///
/// # Errors
/// What a threshold is.
pub fn threshold(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse::<NonZeroUsize>().ok().filter(|number| number.get() <= MAX_SIGNATURES);
    number.ok_or_else(|| format!("a threshold is a number from 1 to {MAX_SIGNATURES}"))
}

fn pattern(text: &str) -> Result<NamePattern, String> {
    NamePattern::new(text).ok_or_else(|| "it is a list's name, or the beginning of names followed by `*`".to_owned())
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; the file is as it was.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root, role, threshold, lists, key, remove: _, json: _ } = args;
    root_file::edit(&root, ui, |statements| {
        let scope = scope(&root, statements, &role, lists)?;
        for named in &key {
            let id = find_key(&root, statements, named)?.key.key_id();
            if let Some(key) = statements.keys.get_mut(&id) {
                key.roles.insert(role.clone());
            }
        }
        match threshold {
            Some(threshold) => {
                let threshold = threshold.get();
                statements.insert_role(RoleStatement { name: role, scope, threshold });
                Ok(())
            }
            None => remove(&root, statements, &role, scope),
        }
    })
}

/// What the threshold is for: as typed, else the one thing that the role is for.
fn scope(
    path: &Path,
    statements: &Statements,
    role: &RoleName,
    lists: Option<NamePattern>,
) -> Result<RoleScope, Failure> {
    match (role.is_root(), lists) {
        (true, None) => return Ok(RoleScope::Root),
        (true, Some(_)) => {
            return Err(Failure::usage(
                "the role root is for the next root, and for no list",
                "leave out --lists, or name another role",
            ));
        }
        (false, Some(pattern)) => return Ok(RoleScope::Lists(pattern)),
        (false, None) => {}
    }
    let mut scopes = statements.roles.keys().filter(|(name, _)| name == role).map(|(_, scope)| scope);
    match (scopes.next(), scopes.next()) {
        (Some(scope), None) => Ok(scope.clone()),
        (None, _) => Err(Failure::usage(
            format!("{} has no role {role}, and so it is not known what it is for", Printable::path(path)),
            "say which lists: --lists PATTERN, such as 'web-*'",
        )),
        _ => Err(Failure::usage(
            format!("the role {role} is for several patterns of lists"),
            format!("say which: --lists PATTERN; goldseal trust show {} names them", Printable::path(path)),
        )),
    }
}

fn remove(path: &Path, statements: &mut Statements, role: &RoleName, scope: RoleScope) -> Result<(), Failure> {
    if role.is_root() {
        return Err(Failure::usage("without a role root there is no next root", "set another threshold"));
    }
    if statements.roles.remove(&(role.clone(), scope)).is_none() {
        return Err(Failure::usage(
            format!("the role {role} has no threshold for these lists"),
            format!("name one that it has: goldseal trust show {}", Printable::path(path)),
        ));
    }
    if statements.roles.keys().any(|(name, _)| name == role) {
        return Ok(());
    }
    for key in statements.keys.values_mut() {
        key.roles.remove(role);
    }
    // A revoked key that has no other role is not missed: unknown or revoked, it counts for nothing.
    statements.keys.retain(|_, key| !(key.roles.is_empty() && key.status == KeyStatus::Revoked));
    match statements.keys.values().find(|key| key.roles.is_empty()) {
        None => Ok(()),
        Some(key) => Err(Failure::usage(
            format!("the key {} has no other role than {role}", key.name),
            format!(
                "give it another first: goldseal trust add-key {} PUB --replace --roles ROLES",
                Printable::path(path)
            ),
        )),
    }
}
