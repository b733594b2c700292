//! `goldseal tenant delete`: have a machine forgotten.

use goldseal_cli::failure::Failure;
use goldseal_cli::report::Outcome;

use crate::client::escape;
use crate::command_line::Context;

/// Have a machine forgotten, with its registration, events and findings; the audit log stays
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  goldseal tenant delete --uuid n1

Exit codes: 0 done, 2 usage, 3 anything else.")]
pub struct Args {
    /// Its name
    #[arg(long, short = 'u', value_name = "UUID", value_parser = super::uuid)]
    uuid: String,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], exit 3.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    tenant.client()?.delete(&format!("/v1/agents/{}", escape(args.uuid.as_bytes())))?;
    tenant.ui.say(format_args!("{} is forgotten", args.uuid))?;
    Ok(Outcome::done().with("uuid", args.uuid))
}
