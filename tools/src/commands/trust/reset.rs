//! `goldseal trust reset`: the only way down for machines that accepted a version too high.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::header::{ListName, Version};

use crate::root_file;
use goldseal_cli::policy::{list_name, version};

/// Let machines take older versions of a list again, in the draft of a trust root
///
/// For a list that was sealed with too high a version: no machine that accepted it takes the right ones after it. When
/// a machine takes this root, what it remembers of the list sinks to FLOOR, once. The next root does not say it again.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The draft; replaced in one step
    pub root: PathBuf,
    /// The list
    #[arg(value_parser = list_name)]
    pub name: ListName,
    /// The lowest version that is taken after it
    #[arg(value_parser = version)]
    pub floor: Version,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust reset site-2.root prod 43
  goldseal trust revoke-list site-2.root prod-900.whitelist

Exit codes:
  0  done, or it was
  2  usage, below the list's floor, or the root is signed
  3  the root is refused or cannot be written; it is as it was";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; the file is as it was.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root, name, floor, json: _ } = args;
    root_file::edit(&root, ui, |statements| {
        statements.resets.insert(name, floor);
        Ok(())
    })
}
