//! Which machines a command is about: named ones, or all for which conditions hold.

use std::path::PathBuf;

use goldseal_cli::confirm::{confirm, is_watched};
use goldseal_cli::failure::Failure;
use goldseal_verifier_core::header::ListName;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::answers::Moved;
use crate::client::Client;
use crate::command_line::Context;
use crate::commands::add::shown;
use crate::hosts;

/// Which machines.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which machines")]
pub struct SelectArgs {
    /// This one; repeatable
    #[arg(long, short = 'u', value_name = "UUID", value_parser = super::uuid, group = "which")]
    pub uuid: Vec<String>,
    /// Those that stand in a file of machines
    #[arg(long, value_name = "FILE", group = "which")]
    pub hosts: Option<PathBuf>,
    /// All of them
    #[arg(long, group = "which")]
    pub all: bool,
    /// Of these, those with a list of this name
    #[arg(long, value_name = "NAME", value_parser = goldseal_cli::policy::list_name)]
    pub name: Option<ListName>,
    /// Of these, those in this state; repeatable
    #[arg(long, value_name = "STATE")]
    pub state: Vec<String>,
    /// Of these, those with the list of this identity
    #[arg(long, value_name = "IDENTITY")]
    pub policy_identity: Option<String>,
    /// Of these, those with a finding about this path
    #[arg(long, value_name = "PATH")]
    pub finding: Option<String>,
    /// And about this digest, as ALG:HEX
    #[arg(long, value_name = "DIGEST", requires = "finding")]
    pub digest: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Say how many it would be, and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

impl SelectArgs {
    /// What the verifier is asked for.
    ///
    /// # Errors
    /// `usage` if no machine is named; what is wrong with a file.
    pub fn selection(&self) -> Result<Value, Failure> {
        let mut uuids = self.uuid.clone();
        if let Some(file) = &self.hosts {
            uuids.extend(hosts::read(file)?.into_iter().map(|host| host.uuid));
        }
        if uuids.is_empty() && !self.all {
            return Err(Failure::usage(
                "it is not said which machines",
                "name them: --uuid UUID, --hosts FILE, or --all",
            ));
        }
        let mut selection = if self.all { json!({ "all": true }) } else { json!({ "uuids": uuids }) };
        if let Some(name) = &self.name {
            selection["policy_name"] = json!(name.as_str());
        }
        if !self.state.is_empty() {
            selection["states"] = json!(self.state);
        }
        if let Some(identity) = &self.policy_identity {
            selection["policy"] = json!(identity);
        }
        if let Some(path) = &self.finding {
            selection["finding"] = json!({ "path": path, "found": self.digest });
        }
        Ok(selection)
    }

    /// Whether one machine is named, so that there is nothing to ask.
    fn is_one(&self) -> bool {
        self.uuid.len() == 1
    }

    /// Says how many machines it would be, asks, and does it; what was done, or `None` with `--dry-run` or if there is
    /// nothing to do. `doing` is what happens to them: `get another list`.
    ///
    /// # Errors
    /// `declined`; `usage` if nobody can be asked; [`Failure`] with exit 3.
    pub fn run(
        &self,
        tenant: &Context,
        client: &Client,
        path: &str,
        mut request: Value,
        doing: &str,
    ) -> Result<(Moved, bool), Failure> {
        let ui = tenant.ui;
        request["dry_run"] = json!(true);
        let would: Moved = client.understand(&client.send(Method::POST, path, &request)?)?;
        let machines = if would.count == 1 { "machine" } else { "machines" };
        let names = if would.count == 0 { String::new() } else { format!(": {}", shown(&would.uuids, would.count)) };
        ui.say(format_args!("{} {machines} would {doing}{names}", would.count))?;
        if self.dry_run || would.count == 0 {
            return Ok((would, false));
        }
        if !self.yes && !self.is_one() {
            if !is_watched(ui) {
                return Err(Failure::usage(
                    "nobody can be asked whether to do that",
                    "say it: --yes, or look first: --dry-run",
                ));
            }
            confirm(ui, &format!("Do it for {} {machines}?", would.count), "nothing was done")?;
        }
        request["dry_run"] = json!(false);
        let moved: Moved = client.understand(&client.send(Method::POST, path, &request)?)?;
        if moved.count != would.count {
            ui.note(format_args!("it was {} in the end: machines changed meanwhile", moved.count));
        }
        Ok((moved, true))
    }
}
