//! `goldseal tenant status`: how a machine stands, why, and what would clear it.

use std::time::{Duration, Instant};

use goldseal_cli::failure::Failure;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary;

use super::add::MAX_WAIT;
use crate::answers::{Agent, Details, Finding};
use crate::command_line::Context;
use crate::{table, verdict};

/// Show how a machine stands, what was found on it, and what would clear it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal tenant status --uuid n1
  goldseal tenant status --uuid n1 --wait 60 && deploy

Exit codes: 0 accepted; 1 failed; 2 usage; 3 anything else: no verdict, unreachable, unknown;
4 accepted by a list that is stale.")]
pub struct Args {
    /// Its name
    #[arg(long, short = 'u', value_name = "UUID", value_parser = super::uuid)]
    uuid: String,
    /// Wait so long for the first verdict
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], exit 3.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    let until = Instant::now() + Duration::from_secs(args.wait.unwrap_or(0).min(MAX_WAIT));
    let (answer, details) = verdict::wait(&tenant.client()?, &args.uuid, until)?;
    say(tenant.ui, &details)?;
    Ok(verdict::outcome(&details.agent.state).with("details", answer))
}

/// Findings and events that are shown; `--json` has all that the verifier told.
const FINDINGS: usize = 50;
const EVENTS: usize = 5;

/// For people.
///
/// # Errors
/// As [`Ui::say`].
pub fn say(ui: Ui, details: &Details) -> Result<(), Failure> {
    let Details { agent, findings, events, clears, boot_state } = details;
    ui.say(format_args!("{}: {}", table::line(&agent.uuid), table::line(&agent.state)))?;
    let field = |label: &str, value: Option<&str>| match value.filter(|value| !value.is_empty()) {
        Some(value) => summary::say(ui, label, table::text(value)),
        None => Ok(()),
    };
    field("since", Some(&agent.since))?;
    field("reason", Some(&agent.reason))?;
    field("detail", Some(&agent.detail))?;
    field("address", agent.address.as_deref())?;
    field("protocol", agent.protocol.as_deref())?;
    field("identity", agent.identity.as_deref())?;
    field("policy", policy(agent).as_deref())?;
    field("attested", agent.attested_at.as_deref())?;
    field("entries", (agent.entries > 0).then(|| agent.entries.to_string()).as_deref())?;
    field("boot state", boot_state.as_deref())?;
    if !findings.is_empty() {
        ui.say(format_args!("\nfindings: {}", agent.findings.max(findings.len() as u64)))?;
        findings.iter().take(FINDINGS).try_for_each(|finding| say_finding(ui, finding))?;
        if findings.len() > FINDINGS {
            ui.say(format_args!("  … and {} more; --json has them", findings.len() - FINDINGS))?;
        }
    }
    if !clears.is_empty() {
        ui.say("\nwhat would clear it:")?;
        clears.iter().try_for_each(|advice| ui.say(format_args!("  - {}", table::text(advice))))?;
    }
    if !events.is_empty() {
        ui.say("\nlatest:")?;
        for event in events.iter().take(EVENTS) {
            let line = format!("{}  {} -> {}  {}", event.at, event.event, event.to, event.reason);
            ui.say(format_args!("  {}", table::line(line)))?;
        }
    }
    Ok(())
}

/// As `goldseal appraise` says it.
fn say_finding(ui: Ui, finding: &Finding) -> Result<(), Failure> {
    let Finding { entry, word, path, text, first_seen } = finding;
    // The kernel's name may hold a backslash, so that it is escaped as names are, and not as lines.
    let name = goldseal_cli::printable::Printable(path.as_deref().unwrap_or_default().as_bytes()).to_string();
    let place = entry.map(|entry| format!("entry {entry}: ")).unwrap_or_default();
    let text = table::text(text);
    let seen = table::line(first_seen);
    if word == "not-in-whitelist" {
        ui.say(format_args!("File not found in whitelist: {name}"))?;
        let text = text.trim_start_matches("not in the whitelist: ");
        return ui.say(format_args!("  {place}{text}, first seen {seen}"));
    }
    let colon = if name.is_empty() { "" } else { ": " };
    ui.say(format_args!("  {place}{name}{colon}{text}, first seen {seen}"))
}

/// A list in words.
pub fn policy(agent: &Agent) -> Option<String> {
    agent.policy.as_ref().map(|policy| format!("{} ({})", policy.name, policy.identity))
}
