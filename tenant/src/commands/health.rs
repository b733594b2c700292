//! `goldseal tenant health`: whether the verifier works.

use goldseal_cli::failure::Failure;
use goldseal_cli::report::Outcome;
use goldseal_cli::summary;
use serde_json::Value;

use crate::command_line::Context;
use crate::table;

/// Show whether the verifier works, and how many machines stand how
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// [`Failure`], exit 3: also if its database does not answer, or polling stands still.
pub fn run(_: Args, tenant: &Context) -> Result<Outcome, Failure> {
    let answer = tenant.client()?.get("/v1/health")?;
    let Some(fields) = answer.as_object() else { return Ok(Outcome::done()) };
    for (label, value) in fields {
        match value {
            Value::Array(counts) => {
                for count in counts {
                    let state = count.get("state").and_then(Value::as_str).unwrap_or_default();
                    let machines = count.get("machines").and_then(Value::as_u64).unwrap_or_default();
                    summary::say(tenant.ui, "machines", format_args!("{machines} {}", table::line(state)))?;
                }
            }
            Value::String(text) => summary::say(tenant.ui, &table::line(label), table::line(text))?,
            value => summary::say(tenant.ui, &table::line(label), table::line(value))?,
        }
    }
    Ok(Outcome::done().with("health", answer))
}
