//! `goldseal-agent install-policy`: the whitelist that `check` holds this machine to.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::policy;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::trusted::TrustArgs;

use crate::config::{Config, ConfigArgs};
use crate::installed::{self, Installed};

/// Keep a sealed whitelist on this machine, for check
///
/// It is verified first, and without a valid seal its contents are not looked at. What was accepted is remembered:
/// nothing older is taken afterwards. A stale list is not installed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The sealed list
    pub file: PathBuf,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Begin: this machine has accepted nothing yet
    #[arg(long)]
    pub init: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal-agent install-policy prod.whitelist --trust-root site.root --init
  goldseal-agent install-policy prod-43.whitelist
  goldseal-agent check

Exit codes:
  0  installed
  1  refused: unsealed, too few signatures, changed, an old version
  2  usage
  3  a file cannot be read or written, or a key, the trust root or the state cannot be used
  4  refused: the list or the trust root is stale";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 1 or 4 for what is wrong with the list; nothing was installed then.
pub fn run(args: Args, config: &Config, ui: Ui) -> Result<Outcome, Failure> {
    let installed = Installed::of(config);
    if args.init {
        installed.begin()?;
    }
    let trust = installed::trust(args.trust, config);
    let (policy, _) =
        installed.install(&args.file, &trust).map_err(|failure| failure.with_all(json_path(&args.file)))?;
    ui.say(format_args!("INSTALLED: {} is what this machine is held to.", Printable::path(&args.file)))?;
    installed::say(ui, &policy)?;
    let list = json_path(installed.list());
    Ok(Outcome::done()
        .with_all(json_path(&args.file))
        .with("installed", serde_json::Value::Object(list))
        .with("entries", policy.contents().entry_count())
        .with_all(policy::judging_fields(&policy)))
}
