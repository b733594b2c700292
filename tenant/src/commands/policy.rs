//! `goldseal tenant policy`: sealed lists at the verifier.

use std::path::PathBuf;

use clap::Subcommand;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::policy::list_name;
use goldseal_cli::report::Outcome;
use goldseal_cli::summary;
use goldseal_verifier_core::header::ListName;
use serde_json::Value;

use super::add;
use crate::answers::{Policies, Policy};
use crate::client::escape;
use crate::command_line::Context;
use crate::sealed::SealArgs;
use crate::table;

/// Upload, list, show and compare sealed lists
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Upload(UploadArgs),
    List(ListArgs),
    Show(ShowArgs),
    Diff(DiffArgs),
}

/// Send a sealed list, once its seal was checked here; no machine is moved
#[derive(Debug, clap::Args)]
struct UploadArgs {
    /// The sealed list
    file: PathBuf,
    /// The name that it must have
    #[arg(long, value_name = "NAME", value_parser = list_name)]
    name: Option<ListName>,
    #[command(flatten)]
    seal: SealArgs,
}

/// List what the verifier has
#[derive(Debug, clap::Args)]
struct ListArgs {}

/// Show one list, and how many machines it judges
#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// SHA-256 of its signed bytes
    #[arg(value_name = "IDENTITY")]
    identity: String,
}

/// Say what one list accepts that another does not, as `goldseal diff` does
#[derive(Debug, clap::Args)]
struct DiffArgs {
    /// The list there was
    #[arg(value_name = "OLD")]
    old: String,
    /// The list that is to replace it
    #[arg(value_name = "NEW")]
    new: String,
    /// Name every path instead of counting by folder
    #[arg(long)]
    paths: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for all else.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    match args.action {
        Action::Upload(args) => upload(args, tenant),
        Action::List(_) => list(tenant),
        Action::Show(args) => show(&args, tenant),
        Action::Diff(args) => diff(&args, tenant),
    }
}

fn upload(args: UploadArgs, tenant: &Context) -> Result<Outcome, Failure> {
    let lists = add::lists(&[args.file], args.seal, args.name.as_ref(), &tenant.config)?;
    let client = tenant.client()?;
    let mut outcome = Outcome::done();
    for list in lists {
        list.upload(&client)?;
        tenant.ui.say(format_args!("the verifier has {}", list.described()))?;
        add::say_checked(tenant, &list)?;
        outcome = outcome.with_all(goldseal_cli::policy::judging_fields(list.policy()));
    }
    Ok(outcome)
}

fn list(tenant: &Context) -> Result<Outcome, Failure> {
    let client = tenant.client()?;
    let mut answer = client.get("/v1/policies")?;
    let known: Policies = client.understand(&answer)?;
    let rows: Vec<Vec<String>> = known.policies.iter().map(row).collect();
    if rows.is_empty() {
        tenant.ui.say("no list")?;
    } else {
        let headings = ["NAME", "VERSION", "EXPIRES", "ENTRIES", "UPLOADED", "BY", "SEALED BY", "IDENTITY"];
        table::say(tenant.ui, &headings, &rows)?;
    }
    let told = answer.get_mut("policies").map(Value::take).unwrap_or_default();
    Ok(Outcome::done().with("policies", told))
}

fn row(policy: &Policy) -> Vec<String> {
    vec![
        policy.name.clone(),
        policy.version.to_string(),
        policy.expires.clone(),
        policy.entries.to_string(),
        policy.uploaded_at.clone(),
        policy.uploaded_by.clone(),
        policy.signers.join(" "),
        policy.identity.clone(),
    ]
}

fn show(args: &ShowArgs, tenant: &Context) -> Result<Outcome, Failure> {
    let client = tenant.client()?;
    let answer = client.get(&format!("/v1/policies/{}", escape(args.identity.as_bytes())))?;
    let policy: Policy = client.understand(answer.get("policy").unwrap_or(&Value::Null))?;
    let word = |key: &str| answer.get(key).and_then(Value::as_str).map(table::text);
    let labels = ["name", "version", "expires", "entries", "uploaded", "by", "sealed by", "identity"];
    for (label, value) in labels.iter().zip(row(&policy)) {
        summary::say(tenant.ui, label, table::text(value))?;
    }
    summary::say(tenant.ui, "freshness", word("freshness").unwrap_or_default())?;
    if let Some(problem) = word("problem") {
        summary::say(tenant.ui, "problem", problem)?;
    }
    for count in answer.get("agents").and_then(Value::as_array).into_iter().flatten() {
        let state = count.get("state").and_then(Value::as_str).unwrap_or_default();
        let machines = count.get("machines").and_then(Value::as_u64).unwrap_or_default();
        summary::say(tenant.ui, "machines", format_args!("{machines} {}", table::line(state)))?;
    }
    Ok(Outcome::done().with("details", answer))
}

fn diff(args: &DiffArgs, tenant: &Context) -> Result<Outcome, Failure> {
    let client = tenant.client()?;
    let (old, new) = (escape(args.old.as_bytes()), escape(args.new.as_bytes()));
    let answer = client.get(&format!("/v1/policies/{old}/diff/{new}?paths={}", args.paths))?;
    let same = answer.get("same").and_then(Value::as_bool);
    let text = answer.get("text").and_then(Value::as_str);
    let (Some(same), Some(text)) = (same, text) else {
        return Err(client
            .understand::<bool>(&Value::Null)
            .err()
            .unwrap_or_else(|| Failure::malformed("the answer says nothing", "check -v")));
    };
    // Set in, so that no line of it can pass for one of this program.
    for line in text.lines() {
        tenant.ui.say(format_args!("  {}", table::text(line)))?;
    }
    let outcome = if same { Outcome::done() } else { Outcome::new(Exit::No, "differs") };
    Ok(outcome.with("difference", answer))
}
