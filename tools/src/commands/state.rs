//! `goldseal state`: what this machine has accepted, and a person's decision to forget it.

use std::path::PathBuf;

use clap::Subcommand;
use goldseal_cli::clock;
use goldseal_cli::failure::Failure;
use goldseal_cli::printable::{Printable, PrintableLine, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::state_folder::StateFolder;
use goldseal_cli::summary::say;
use goldseal_verifier_core::header::ListName;
use serde_json::{Value, json};

use goldseal_cli::policy::list_name;

/// Keep, show or forget what was accepted on this machine (verify --state DIR)
///
/// A state only rises: the newest trust root, the highest version of each list, the latest time proven by what was
/// accepted. A state that is lost is an error of every command that needs it, until a person says what happened.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make the folder of a machine that has accepted nothing yet
    Init {
        /// The folder
        dir: PathBuf,
        /// Print one JSON object on standard output; text for people goes to standard error
        #[arg(long)]
        json: bool,
    },
    /// Show what was accepted, and the decisions of people about it
    Show {
        /// The folder
        dir: PathBuf,
        /// Print one JSON object on standard output; text for people goes to standard error
        #[arg(long)]
        json: bool,
    },
    /// Forget everything, or one list; the reason is kept in DIR/history
    Reset {
        /// The folder
        dir: PathBuf,
        /// Why; kept with the time
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Forget this list only
        #[arg(long, value_name = "NAME", value_parser = list_name)]
        list: Option<ListName>,
        /// Print one JSON object on standard output; text for people goes to standard error
        #[arg(long)]
        json: bool,
    },
}

const AFTER_HELP: &str = "\
Examples:
  goldseal state init /var/lib/goldseal
  goldseal verify prod.whitelist --trust-root site.root --state /var/lib/goldseal
  goldseal state show /var/lib/goldseal
  goldseal state reset /var/lib/goldseal --list prod --reason 'version 900 was a typing error'

Exit codes:
  0  done
  2  usage; there is a state already (init)
  3  the state is lost, damaged, or cannot be written";

impl Args {
    /// Whether `--json` was given.
    pub fn json(&self) -> bool {
        match self.action {
            Action::Init { json, .. } | Action::Show { json, .. } | Action::Reset { json, .. } => json,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let (dir, folder) = match args.action {
        Action::Init { dir, .. } => {
            let folder = clock::now().and_then(|now| StateFolder::init(&dir, now));
            (dir, folder)
        }
        Action::Show { dir, .. } => {
            let folder = StateFolder::open(&dir);
            (dir, folder)
        }
        Action::Reset { dir, reason, list, .. } => {
            if reason.trim().is_empty() {
                return Err(Failure::usage("the reason is empty", "say why, for whoever asks later: --reason TEXT"));
            }
            let folder = clock::now().and_then(|now| StateFolder::reset(&dir, list.as_ref(), &reason, now));
            (dir, folder)
        }
    };
    let path = json_path(&dir);
    folder
        .and_then(|folder| tell(ui, &dir, &folder))
        .map(|outcome| outcome.with_all(path.clone()))
        .map_err(|failure| failure.with_all(path))
}

fn tell(ui: Ui, dir: &std::path::Path, folder: &StateFolder) -> Result<Outcome, Failure> {
    let state = folder.state();
    ui.say(format_args!("{} has accepted:", Printable::path(dir)))?;
    match state.root() {
        Some(root) => say(ui, "trust root", format_args!("version {} ({})", root.version, root.identity))?,
        None => say(ui, "trust root", "none")?,
    }
    for (name, seen) in state.lists() {
        match seen.identity {
            Some(identity) => say(ui, "list", format_args!("{name} version {} ({identity})", seen.version))?,
            None => say(ui, "list", format_args!("{name}: nothing yet, and nothing below version {}", seen.version))?,
        }
    }
    match state.bound() {
        Some(bound) => say(ui, "time", format_args!("not before {bound}"))?,
        None => say(ui, "time", "by the clock alone")?,
    }
    let history = folder.history()?;
    for line in history.lines() {
        say(ui, "history", PrintableLine(line.as_bytes()))?;
    }
    let lists = state.lists().map(|(name, seen)| {
        let identity = seen.identity.map(|identity| identity.to_string());
        json!({ "name": name.as_str(), "version": seen.version.number(), "identity": identity })
    });
    let root =
        state.root().map(|root| json!({ "version": root.version.number(), "identity": root.identity.to_string() }));
    Ok(Outcome::done()
        .with("trust_root", root)
        .with("lists", lists.collect::<Value>())
        .with("not_before", state.bound().map(|bound| bound.to_string()))
        .with("history", history.lines().map(Value::from).collect::<Value>()))
}
