//! `goldseal-agent doctor`: what is missing on this machine, and how to mend it.

use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::report::{Outcome, Ui};
use serde_json::{Value, json};

use crate::config::{Config, ConfigArgs};
use crate::doctor::{self, Examined, State};

/// Say what this machine lacks to be attested, and how to mend it
///
/// Looks and changes nothing. Run it as root: what others may not look at is told as missing.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Look at the files below this folder instead of those of this machine; the TPM is not asked then
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

const AFTER_HELP: &str = "\
Example:
  goldseal-agent doctor

Exit codes:
  0  nothing is missing
  1  something is, and each line says how to mend it
  2  usage";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 3 if its answer cannot be printed.
pub fn run(args: Args, config: &Config, ui: Ui) -> Result<Outcome, Failure> {
    let (root, is_this_machine) = match &args.root {
        Some(root) => (root.as_path(), false),
        None => (Path::new("/"), true),
    };
    let examined = doctor::examine(config, root, is_this_machine);
    for Examined { check, state, what, todo } in &examined {
        let mark = match state {
            State::Good => "ok",
            State::Note => "note",
            State::Missing => "MISSING",
        };
        ui.say(format_args!("{mark:<8} {check:<16} {what}"))?;
        if !todo.is_empty() {
            ui.say(format_args!("{:25} {todo}", ""))?;
        }
    }
    let missing = examined.iter().filter(|examined| examined.state == State::Missing).count();
    match missing {
        0 => ui.say("\nNothing is missing.")?,
        1 => ui.say("\nMISSING: one thing.")?,
        more => ui.say(format_args!("\nMISSING: {more} things."))?,
    }
    let checks = examined.iter().map(|examined| {
        let state = match examined.state {
            State::Good => "ok",
            State::Note => "note",
            State::Missing => "missing",
        };
        json!({ "check": examined.check, "state": state, "what": examined.what, "todo": examined.todo })
    });
    let checks = checks.collect::<Value>();
    let outcome = if missing == 0 { Outcome::done() } else { Outcome::new(Exit::No, "missing") };
    Ok(outcome.with("checks", checks))
}
