//! `goldseal trust set-floor`: the lowest version of a list that is taken.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::header::{ListName, Version};

use crate::root_file;
use goldseal_cli::policy::{list_name, version};

/// Set the lowest version of a list that is taken, in the draft of a trust root
///
/// It protects machines that have seen no version yet. Machines with a state remember more than that; a lower floor
/// lowers nothing there (see goldseal trust reset).
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The draft; replaced in one step
    pub root: PathBuf,
    /// The list
    #[arg(value_parser = list_name)]
    pub name: ListName,
    /// The lowest version that is taken
    #[arg(value_parser = version)]
    pub version: Version,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust set-floor site-2.root prod 42

Exit codes:
  0  set, or it was
  2  usage, or the root is signed
  3  the root is refused or cannot be written; it is as it was";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; the file is as it was.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root, name, version, json: _ } = args;
    root_file::edit(&root, ui, |statements| {
        statements.floors.insert(name, version);
        Ok(())
    })
}
