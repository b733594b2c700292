//! `goldseal diff`: what a new list accepts that an old one did not, and the other way about.

use std::path::PathBuf;

use goldseal_cli::difference::{self, Detail};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::list::UnverifiedList;
use serde_json::{Value, json};

use crate::unverified_list::{self, list_fields, side};

/// Compare two lists, sealed or not: header, excludes and rules first, then entries by folder
///
/// What makes the new list accept more by itself is marked LOOSER: an added exclude, most added rules, a later expiry,
/// SHA-1 among the algorithms, a path that was listed and now is excluded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  goldseal diff prod-41.whitelist prod-42.whitelist

Seals are not checked: see `goldseal verify`.
Exit codes: 0 entries, excludes, rules and file-hash are equal, 1 they differ, 2 usage, 3 a list
cannot be read.")]
pub struct Args {
    /// The list there was
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The list that is to replace it
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Name every path instead of counting by folder
    #[arg(long)]
    pub paths: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: a list that cannot be read (exit 3).
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let old = unverified_list::read(&args.old)?;
    let new = unverified_list::read(&args.new)?;
    let detail = if args.paths { Detail::Paths } else { Detail::Folders };
    let difference = difference::between(side(&old), side(&new));
    ui.raw(difference.text(detail).as_bytes())?;
    let outcome = if difference.is_none() { Outcome::done() } else { Outcome::new(Exit::No, "differs") };
    if !ui.json {
        return Ok(outcome);
    }
    let mut outcome = outcome.with("old", described(&old)).with("new", described(&new));
    outcome.fields.extend(difference.json(detail));
    Ok(outcome)
}

fn described(list: &UnverifiedList) -> Value {
    let signers = list.envelope().signatures().iter();
    let signers = signers.map(|line| json!({ "key_id": line.key_id().to_string() }));
    let mut fields = list_fields(list);
    fields.insert("signers".into(), signers.collect());
    Value::Object(fields)
}
