//! `goldseal trust add-key`: one more key in a draft, or another statement of one that is there.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::{clock, times};
use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::root::{HolderName, KeyStatement, KeyStatus, RoleName};
use goldseal_verifier_core::time::Timestamp;

use crate::root_file::{self, holder_name, role_name};

/// Add a key to the draft of a trust root
///
/// Keys of one owner count once: a second key of alice makes her no two people. A role needs a threshold before a key
/// can have it (see goldseal trust set-threshold).
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The draft; replaced in one step
    pub root: PathBuf,
    /// The public key
    #[arg(value_name = "PUB")]
    pub key: PathBuf,
    /// What it is called [default: its file's name without .pub and .key]
    #[arg(long, value_name = "NAME", value_parser = holder_name)]
    pub name: Option<HolderName>,
    /// Who holds it [default: its name]
    #[arg(long, value_name = "NAME", value_parser = holder_name)]
    pub owner: Option<HolderName>,
    /// What it may sign
    #[arg(long, value_name = "ROLES", value_delimiter = ',', default_value = "root,lists", value_parser = role_name)]
    pub roles: Vec<RoleName>,
    /// It counts from then on: 2027-05-23T00:00:00Z, or a number of days from now such as 7d [default: always]
    #[arg(long, value_name = "TIME|DAYS")]
    pub from: Option<String>,
    /// It no longer counts from then on: never, 2027-05-23T00:00:00Z, or a number of days from now such as 365d
    #[arg(long, value_name = "never|TIME|DAYS", default_value = "never")]
    pub until: String,
    /// The key is there already: say this of it instead
    #[arg(long)]
    pub replace: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust add-key site-2.root dave.pub
  goldseal trust add-key site-2.root token.pub --name alice-token --owner alice
  goldseal trust add-key site-2.root ci.pub --roles lists --until 365d

Exit codes:
  0  added, or it is there with just this
  2  usage, the key is there with something else, or the root is signed
  3  the root or the key is refused, or the root cannot be written; it is as it was";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; the file is as it was.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root, key, name, owner, roles, from, until, replace, json: _ } = args;
    root_file::edit(&root, ui, |statements| {
        let (key, name) = root_file::read_key(&key, name)?;
        let (from, until) = validity(from.as_deref(), &until)?;
        let owner = owner.unwrap_or_else(|| name.clone());
        let roles = roles.into_iter().collect();
        let new = KeyStatement { key, name, owner, roles, from, until, status: KeyStatus::Active };
        let (id, shown) = (new.key.key_id(), new.name.clone());
        let path = Printable::path(&root);
        match statements.insert_key(new) {
            Some(old) if old.status == KeyStatus::Revoked => Err(Failure::usage(
                format!("this key was revoked in {path}, where it is called {}: {id}", old.name),
                "make a new one: goldseal keygen KEY",
            )),
            Some(old) if !replace && statements.keys.get(&id) != Some(&old) => Err(Failure::usage(
                format!("{path} has this key already, with other words: {} ({id})", old.name),
                "say --replace, with all that is to be said of it",
            )),
            None if replace => Err(Failure::usage(
                format!("{path} does not have the key {shown} ({id})"),
                "leave out --replace, or name the key that is to be changed",
            )),
            _ => Ok(()),
        }
    })
}

fn validity(from: Option<&str>, until: &str) -> Result<(Timestamp, Expiry), Failure> {
    let now = clock::created()?;
    let from = match from {
        None => Timestamp::MIN,
        Some(typed) => times::parse_time(typed, now).ok_or_else(|| {
            Failure::usage(
                format!("--from {} is not a time", Printable(typed.as_bytes())),
                "use a time such as 2027-05-23T00:00:00Z, or a number of days such as 7d",
            )
        })?,
    };
    let until = times::parse_expiry("--until", until, now)?;
    if until.is_past_at(from) {
        return Err(Failure::usage(
            format!("the key would count from {from} and no longer from {until}"),
            "say an --until that is later than --from",
        ));
    }
    Ok((from, until))
}
