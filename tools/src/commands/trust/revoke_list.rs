//! `goldseal trust revoke-list`: a list that is refused whoever signed it.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::report::{Outcome, Ui};

use crate::root_file;

/// Take one list back, in the draft of a trust root: it is refused whoever signed it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The draft; replaced in one step
    pub root: PathBuf,
    /// The list's file, or its identity in 64 hex digits
    #[arg(value_name = "IDENTITY|FILE")]
    pub list: PathBuf,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust revoke-list site-2.root prod-41.whitelist

Exit codes:
  0  done, or it was
  2  usage, or the root is signed
  3  the root or the list is refused, or the root cannot be written; it is as it was";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; the file is as it was.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root, list, json: _ } = args;
    root_file::edit(&root, ui, |statements| {
        statements.revoked_lists.insert(root_file::list_identity(&list)?);
        Ok(())
    })
}
