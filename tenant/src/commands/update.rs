//! `goldseal tenant update`: give machines another sealed list.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::report::Outcome;
use serde_json::json;

use super::add;
use super::select::SelectArgs;
use crate::command_line::Context;
use crate::sealed::SealArgs;

/// Give machines another sealed list, and have them appraised anew
///
/// The list's seal is checked here before anything is sent. It is said how many machines it will be, and asked. Failed
/// ones are polled again; those that have the list already and are not failed are left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal tenant update --uuid n1 --policy prod.whitelist --wait 60
  goldseal tenant update --all --name prod --policy prod.whitelist
  goldseal tenant update --all --name prod --state failed --policy prod.whitelist --yes

Exit codes: 0 done, or with --wait accepted; 1 failed; 2 usage, declined; 3 anything else; 4 stale
list.")]
pub struct Args {
    /// Sealed list that judges them from now on
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Let it have another name than the list before; stands in the audit log
    #[arg(long)]
    change_name: bool,
    /// Wait so long for the first verdict of each
    #[arg(long, value_name = "SECONDS", conflicts_with = "dry_run")]
    wait: Option<u64>,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    seal: SealArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for all else.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    let Args { policy, change_name, wait, select, seal } = args;
    let selection = select.selection()?;
    let lists = add::lists(policy.as_slice(), seal, None, &tenant.config)?;
    let Some(list) = lists.first() else { return Ok(Outcome::done()) };
    let client = tenant.client()?;
    list.upload(&client)?;
    let request = json!({ "selection": selection, "policy": list.identity(), "change_name": change_name });
    let (moved, done) =
        select.run(tenant, &client, "/v1/agents:update", request, &format!("get {}", list.described()))?;
    if let Some(seconds) = wait.filter(|_| done) {
        return add::wait(tenant, &client, &moved.uuids, seconds);
    }
    if done {
        tenant.ui.say(format_args!("{} moved", moved.count))?;
    }
    Ok(Outcome::done().with("count", moved.count).with("dry_run", !done).with("uuids", moved.uuids))
}
