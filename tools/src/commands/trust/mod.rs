//! `goldseal trust`: trust roots, from the first draft to the next one.

pub mod add_key;
pub mod init;
pub mod reset;
pub mod revoke;
pub mod revoke_list;
pub mod rotate;
pub mod set_floor;
pub mod set_threshold;
pub mod show;
pub mod verify;

use clap::Subcommand;
use goldseal_cli::failure::Failure;
use goldseal_cli::report::{Outcome, Ui};

use crate::commands::sign::{self, Kinds};

/// Say whose seals count: make, edit, sign, replace and check trust roots
///
/// A trust root is a signed file that names keys, who holds them, what each may sign, and how many owners it takes. A
/// draft is edited until it is signed; after that, `rotate` makes the next version, which the owners named by the old
/// one and those named by the new one sign. docs/ceremony.md walks through it, command by command.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    Init(init::Args),
    AddKey(add_key::Args),
    Revoke(revoke::Args),
    SetThreshold(set_threshold::Args),
    SetFloor(set_floor::Args),
    Reset(reset::Args),
    RevokeList(revoke_list::Args),
    /// Sign a trust root: as goldseal sign, and nothing but a trust root
    // Boxed: it has many more options than the others.
    Sign(Box<sign::Args>),
    Rotate(rotate::Args),
    Show(show::Args),
    Verify(verify::Args),
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust init site.root --key alice.pub --key bob.pub --key carol.pub
  goldseal trust sign site.root --key alice.key
  goldseal trust sign site.root --key bob.key
  goldseal trust verify site.root
  goldseal verify prod.whitelist --trust-root site.root

Exit codes:
  0  done
  1  trust verify: a root or a list is not signed as it should be
  2  usage; a root that is signed already, a file that exists, a threshold that could not be met
  3  a file or key cannot be read or is refused, or the output cannot be written
  4  trust verify: all is well, but stale";

impl Args {
    /// Whether `--json` was given.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Init(args) => args.json,
            Action::AddKey(args) => args.json,
            Action::Revoke(args) => args.json,
            Action::SetThreshold(args) => args.json,
            Action::SetFloor(args) => args.json,
            Action::Reset(args) => args.json,
            Action::RevokeList(args) => args.json,
            Action::Sign(args) => args.json,
            Action::Rotate(args) => args.json,
            Action::Show(args) => args.json,
            Action::Verify(args) => args.json,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], as the actions say.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let (action, result) = match args.action {
        Action::Init(args) => ("init", init::run(args, ui)),
        Action::AddKey(args) => ("add-key", add_key::run(args, ui)),
        Action::Revoke(args) => ("revoke", revoke::run(args, ui)),
        Action::SetThreshold(args) => ("set-threshold", set_threshold::run(args, ui)),
        Action::SetFloor(args) => ("set-floor", set_floor::run(args, ui)),
        Action::Reset(args) => ("reset", reset::run(args, ui)),
        Action::RevokeList(args) => ("revoke-list", revoke_list::run(args, ui)),
        Action::Sign(args) => ("sign", sign::run_on(*args, ui, Kinds::Roots)),
        Action::Rotate(args) => ("rotate", rotate::run(args, ui)),
        Action::Show(args) => ("show", show::run(args, ui)),
        Action::Verify(args) => ("verify", verify::run(args, ui)),
    };
    result.map(|outcome| outcome.with("action", action)).map_err(|failure| failure.with("action", action))
}
