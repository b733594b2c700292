//! `goldseal tenant list`: machines and how they stand, or what was found on them.

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::Outcome;
use serde_json::Value;

use crate::answers::{Agents, Groups};
use crate::client::{Client, escape};
use crate::command_line::Context;
use crate::table;

/// Machines that are asked for at once.
const PAGE: usize = 1_000;

/// List machines and how they stand, or group failed ones by what was found
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal tenant list --state failed --name prod
  goldseal tenant list --finding /usr/local/bin/tool
  goldseal tenant list --by-finding

Exit codes: 0 shown, 2 usage, 3 anything else.")]
pub struct Args {
    /// Those in this state; repeatable
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Those with a list of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Those with the list of this identity
    #[arg(long, value_name = "IDENTITY")]
    policy: Option<String>,
    /// Those with a finding about this path
    #[arg(long, value_name = "PATH")]
    finding: Option<String>,
    /// And about this digest, as ALG:HEX
    #[arg(long, value_name = "DIGEST", requires = "finding")]
    digest: Option<String>,
    /// Those whose name begins so
    #[arg(long, short = 'u', value_name = "PREFIX")]
    uuid: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
    /// Group failed machines by path and digest
    #[arg(long, conflicts_with_all = ["state", "name", "policy", "finding", "uuid"])]
    by_finding: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], exit 3.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    let client = tenant.client()?;
    if args.by_finding {
        return by_finding(args.limit, tenant, &client);
    }
    let ui = tenant.ui;
    let (agents, told, more) = all(&args, &client)?;
    let rows: Vec<Vec<String>> = agents
        .iter()
        .map(|agent| {
            let policy = agent.policy.as_ref().map(|policy| policy.name.clone()).unwrap_or_default();
            let identity = agent.identity.clone().unwrap_or_default();
            let address = agent.address.clone().unwrap_or_default();
            vec![
                agent.uuid.clone(),
                agent.state.clone(),
                agent.since.clone(),
                policy,
                identity,
                address,
                agent.reason.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        ui.say("no machine")?;
    } else {
        table::say(ui, &["UUID", "STATE", "SINCE", "LIST", "IDENTITY", "ADDRESS", "REASON"], &rows)?;
    }
    if more {
        ui.note(format_args!("… and more: --limit {} was reached", args.limit));
    }
    Ok(Outcome::done().with("agents", told).with("more", more))
}

fn all(args: &Args, client: &Client) -> Result<(Vec<crate::answers::Agent>, Vec<Value>, bool), Failure> {
    let mut conditions = String::new();
    let states = args.state.join(",");
    let pairs = [
        ("state", Some(states.as_str()).filter(|states| !states.is_empty())),
        ("name", args.name.as_deref()),
        ("policy", args.policy.as_deref()),
        ("finding", args.finding.as_deref()),
        ("digest", args.digest.as_deref()),
        ("uuid", args.uuid.as_deref()),
    ];
    for (key, value) in pairs {
        if let Some(value) = value {
            conditions.push_str(&format!("&{key}={}", escape(value.as_bytes())));
        }
    }
    let (mut agents, mut told, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let limit = PAGE.min(args.limit - agents.len());
        let from = if after.is_empty() { String::new() } else { format!("&after={}", escape(after.as_bytes())) };
        let mut answer = client.get(&format!("/v1/agents?limit={limit}{conditions}{from}"))?;
        let page: Agents = client.understand(&answer)?;
        if let Some(Value::Array(list)) = answer.get_mut("agents") {
            told.append(list);
        }
        agents.extend(page.agents);
        agents.truncate(args.limit);
        told.truncate(args.limit);
        match page.next {
            // Pages go on for as long as their names rise.
            Some(next) if agents.len() < args.limit && next > after => after = next,
            next => return Ok((agents, told, next.is_some())),
        }
    }
}

fn by_finding(limit: usize, tenant: &Context, client: &Client) -> Result<Outcome, Failure> {
    let mut answer = client.get(&format!("/v1/findings?limit={}", limit.clamp(1, PAGE)))?;
    let groups: Groups = client.understand(&answer)?;
    let rows: Vec<Vec<String>> = groups
        .findings
        .iter()
        .map(|group| {
            let path = Printable(group.path.as_deref().unwrap_or_default().as_bytes()).to_string();
            let digest = group.found.clone().unwrap_or_default();
            let examples = group.examples.join(" ");
            vec![group.machines.to_string(), group.first_seen.clone(), group.word.clone(), path, digest, examples]
        })
        .collect();
    if rows.is_empty() {
        tenant.ui.say("no findings")?;
    } else {
        table::say(tenant.ui, &["MACHINES", "FIRST SEEN", "FINDING", "PATH", "DIGEST", "EXAMPLES"], &rows)?;
    }
    let told = answer.get_mut("findings").map(Value::take).unwrap_or_default();
    Ok(Outcome::done().with("findings", told))
}
