//! `goldseal tenant reactivate`: have machines polled again by the list that they have.

use goldseal_cli::failure::Failure;
use goldseal_cli::report::Outcome;
use serde_json::json;

use super::add;
use super::select::SelectArgs;
use crate::command_line::Context;

/// Have machines polled again, appraised anew from their first entry
///
/// What was found stays in their measurement list until they boot: a machine that ran something unknown fails again,
/// unless it has another list (goldseal tenant update) or was rebooted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal tenant reactivate --uuid n1 --wait 60
  goldseal tenant reactivate --all --finding /usr/local/bin/tool --dry-run

Exit codes: 0 done, or with --wait accepted; 1 failed; 2 usage, declined; 3 anything else; 4 stale
list.")]
pub struct Args {
    /// Wait so long for the first verdict of each
    #[arg(long, value_name = "SECONDS", conflicts_with = "dry_run")]
    wait: Option<u64>,
    #[command(flatten)]
    select: SelectArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for all else.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    let Args { wait, select } = args;
    let request = json!({ "selection": select.selection()? });
    let client = tenant.client()?;
    let (moved, done) = select.run(tenant, &client, "/v1/agents:reactivate", request, "be polled again")?;
    if let Some(seconds) = wait.filter(|_| done) {
        return add::wait(tenant, &client, &moved.uuids, seconds);
    }
    Ok(Outcome::done().with("count", moved.count).with("dry_run", !done).with("uuids", moved.uuids))
}
