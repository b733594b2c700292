//! `goldseal tenant audit`: who decided what.

use goldseal_cli::failure::Failure;
use goldseal_cli::report::Outcome;
use serde_json::Value;

use crate::answers::AuditLog;
use crate::command_line::Context;
use crate::table;

/// Show who decided what, latest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Those before this number
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], exit 3.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    let client = tenant.client()?;
    let before = args.before.map(|before| format!("&before={before}")).unwrap_or_default();
    let mut answer = client.get(&format!("/v1/audit?limit={}{before}", args.limit))?;
    let log: AuditLog = client.understand(&answer)?;
    let rows: Vec<Vec<String>> =
        log.audit.into_iter().map(|line| vec![line.at, line.actor, line.action, line.subject, line.detail]).collect();
    table::say(tenant.ui, &["AT", "BY", "DECISION", "ABOUT", "DETAIL"], &rows)?;
    let told = answer.get_mut("audit").map(Value::take).unwrap_or_default();
    Ok(Outcome::done().with("audit", told))
}
