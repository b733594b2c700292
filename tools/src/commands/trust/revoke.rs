//! `goldseal trust revoke`: a key that never counts again.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::root::{HolderName, KeyStatus};

use crate::root_file::{self, find_key, holder_name};

/// Revoke a key in the draft of a trust root, or every key of one owner
///
/// The key stays in the root as revoked, so that it is known and counts for nothing. It is refused if a threshold could
/// no longer be met: then another key is added first. Lists that need the key's signature no longer verify under the
/// root: `goldseal trust verify OLD NEW --list FILE` tells which.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The draft; replaced in one step
    pub root: PathBuf,
    /// The key, by name or key id
    #[arg(required_unless_present = "owner")]
    pub key: Option<String>,
    /// Revoke every key of this owner
    #[arg(long, value_name = "NAME", value_parser = holder_name, conflicts_with = "key")]
    pub owner: Option<HolderName>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust revoke site-2.root carol
  goldseal trust revoke site-2.root --owner carol

Exit codes:
  0  revoked, or it was
  2  usage, a threshold could no longer be met, or the root is signed
  3  the root is refused or cannot be written; it is as it was";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; the file is as it was.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root, key, owner, json: _ } = args;
    root_file::edit(&root, ui, |statements| {
        let ids: Vec<KeyId> = match (&key, &owner) {
            (Some(named), _) => vec![find_key(&root, statements, named)?.key.key_id()],
            (None, owner) => {
                let keys = statements.keys.iter().filter(|(_, key)| Some(&key.owner) == owner.as_ref());
                keys.map(|(id, _)| *id).collect()
            }
        };
        if let Some(owner) = owner.as_ref().filter(|_| ids.is_empty()) {
            let name = Printable::path(&root);
            return Err(Failure::usage(
                format!("{name} has no key of {owner}"),
                format!("name one of its owners: goldseal trust show {name}"),
            ));
        }
        for id in ids {
            if let Some(key) = statements.keys.get_mut(&id) {
                key.status = KeyStatus::Revoked;
            }
        }
        Ok(())
    })
}
