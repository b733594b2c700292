//! `goldseal tenant add`: have a machine polled, and judged by a sealed list.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::policy::{self, list_name};
use goldseal_cli::printable::Printable;
use goldseal_cli::report::Outcome;
use goldseal_cli::trusted::TrustArgs;
use goldseal_verifier_core::header::ListName;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::client::Client;
use crate::command_line::Context;
use crate::config::Config;
use crate::hosts::{self, Host};
use crate::sealed::{SealArgs, SealedList};
use crate::{table, verdict};

/// Have a machine polled, and judged by a sealed list
///
/// The list's seal is checked here before anything is sent. Say which machine it is by its TPM: by the digest of its
/// endorsement key, or in a file of machines. Without that the key's certificate has to lead to an authority that the
/// verifier trusts, unless you take the first that comes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal tenant add -t neptune --uuid n1 --policy prod.whitelist --trust golden.key.pub \\
      --ek-sha256 HEX --wait 60
  goldseal tenant add --hosts rack1.hosts --policy prod.whitelist
  goldseal tenant add -t neptune --uuid n1      # with defaults from /etc/goldseal/tenant.toml

A line of --hosts FILE is UUID ADDRESS EK_SHA256 LIST.
Exit codes: 0 done, or with --wait accepted; 1 failed; 2 usage; 3 anything else; 4 stale list.")]
pub struct Args {
    /// Where its agent answers [default port: 9002]
    #[arg(short = 't', long = "target", value_name = "AGENT[:PORT]")]
    target: Option<String>,
    /// Its name
    #[arg(long, short = 'u', value_name = "UUID", value_parser = super::uuid)]
    uuid: Option<String>,
    /// Sealed list that judges it; with --hosts one for each list name, repeatable
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// The name that the list must have
    #[arg(long, value_name = "NAME", value_parser = list_name)]
    name: Option<ListName>,
    /// SHA-256 of its endorsement key (SubjectPublicKeyInfo DER)
    #[arg(long, value_name = "HEX", group = "who")]
    ek_sha256: Option<String>,
    /// File of machines: without --uuid all of them are added
    #[arg(long, value_name = "FILE", group = "who")]
    hosts: Option<PathBuf>,
    /// Believe the first endorsement key that comes; shown for ever as `identity: first seen`
    #[arg(long, group = "who")]
    trust_first_registration: bool,
    /// How its agent is asked: goldseal, or keylime for an agent of Keylime
    #[arg(long, value_name = "PROTOCOL", value_parser = ["goldseal", "keylime"])]
    protocol: Option<String>,
    /// Seconds between polls [default: as the verifier is configured]
    #[arg(long, value_name = "SECONDS")]
    interval: Option<u64>,
    /// Go on polling when it failed; it stays failed
    #[arg(long)]
    keep_polling: bool,
    /// Wait so long for the first verdict
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(flatten)]
    seal: SealArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for all else.
pub fn run(args: Args, tenant: &Context) -> Result<Outcome, Failure> {
    let Context { config, ui, .. } = tenant;
    let hosts = machines(&args, config)?;
    let lists = lists(&args.policy, args.seal, args.name.as_ref(), config)?;
    let judged: Vec<(&Machine, &SealedList)> =
        hosts.iter().map(|machine| list_for(machine, &lists).map(|list| (machine, list))).collect::<Result<_, _>>()?;
    let client = tenant.client()?;
    for list in &lists {
        list.upload(&client)?;
    }
    let mut failed: Option<Failure> = None;
    let mut told: Vec<Value> = Vec::new();
    let mut added: Vec<&str> = Vec::new();
    for (machine, list) in &judged {
        let mut request = json!({
            "uuid": machine.uuid,
            "address": machine.address,
            "policy": list.identity(),
            "keep_polling": args.keep_polling,
            "trust_first_registration": machine.trust_first,
        });
        let optional = [
            ("ek_sha256", machine.ek_sha256.clone().map(Value::from)),
            ("protocol", args.protocol.clone().map(Value::from)),
            ("interval", args.interval.map(Value::from)),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                request[key] = value;
            }
        }
        match client.send(Method::POST, "/v1/agents", &request) {
            Ok(answer) => {
                ui.say(format_args!(
                    "provisioned {} at {}, judged by {}",
                    machine.uuid,
                    machine.address,
                    list.described()
                ))?;
                told.push(answer);
                added.push(&machine.uuid);
            }
            // One machine's failure is the command's; of several the others are added all the same.
            Err(failure) if judged.len() == 1 => return Err(failure),
            Err(failure) => {
                ui.note(format_args!("{}: {}\n  {}", machine.uuid, failure.what, failure.todo));
                told.push(json!({ "uuid": machine.uuid, "reason": failure.reason, "message": failure.what }));
                failed = Some(failure);
            }
        }
    }
    if let Some(Failure { reason, .. }) = failed {
        let what = format!("{} of {} machines were not added", judged.len() - added.len(), judged.len());
        let failure = Failure::new(Exit::Input, reason, what, "see above; those that were added are polled");
        return Err(failure.with("agents", told));
    }
    match args.wait {
        None => Ok(Outcome::done().with("agents", told)),
        Some(seconds) => wait(tenant, &client, &added, seconds),
    }
}

/// Waits for the first verdict of each, and tells the worst.
///
/// # Errors
/// [`Failure`], exit 3.
pub fn wait(tenant: &Context, client: &Client, uuids: &[impl AsRef<str>], seconds: u64) -> Result<Outcome, Failure> {
    let until = Instant::now() + Duration::from_secs(seconds.min(MAX_WAIT));
    let (mut outcomes, mut told) = (Vec::new(), Vec::new());
    for uuid in uuids {
        let (answer, details) = verdict::wait(client, uuid.as_ref(), until)?;
        super::status::say(tenant.ui, &details)?;
        outcomes.push(verdict::outcome(&details.agent.state));
        told.push(answer);
    }
    Ok(verdict::worst(outcomes).with("agents", told))
}

/// A week: longer than anybody waits, and no deadline overflows.
pub const MAX_WAIT: u64 = 7 * 86_400;

/// A machine to be added.
struct Machine {
    uuid: String,
    address: String,
    ek_sha256: Option<String>,
    trust_first: bool,
    list: Option<ListName>,
}

fn machines(args: &Args, config: &Config) -> Result<Vec<Machine>, Failure> {
    let of_host = |host: Host| {
        Ok(Machine {
            address: config.agent_address(args.target.as_deref().unwrap_or(&host.address))?,
            uuid: host.uuid,
            ek_sha256: Some(host.ek_sha256),
            trust_first: false,
            list: Some(host.list),
        })
    };
    let Some(file) = &args.hosts else {
        let (Some(target), Some(uuid)) = (&args.target, &args.uuid) else {
            return Err(Failure::usage(
                "it is not said which machine",
                "name it: -t AGENT --uuid UUID, or --hosts FILE",
            ));
        };
        return Ok(vec![Machine {
            uuid: uuid.clone(),
            address: config.agent_address(target)?,
            ek_sha256: args.ek_sha256.as_ref().map(|digest| digest.to_lowercase()),
            trust_first: args.trust_first_registration || (args.ek_sha256.is_none() && config.trust_first_registration),
            list: None,
        }]);
    };
    let mut hosts = hosts::read(file)?;
    if let Some(uuid) = &args.uuid {
        hosts.retain(|host| host.uuid == *uuid);
        if hosts.is_empty() {
            return Err(Failure::usage(
                format!("{uuid} does not stand in {}", Printable::path(file)),
                "add its line, or name its EK: --ek-sha256 HEX",
            ));
        }
    } else if args.target.is_some() {
        return Err(Failure::usage(
            "-t names one machine, and --hosts several",
            "leave -t out, or name one: --uuid UUID",
        ));
    }
    hosts.into_iter().map(of_host).collect()
}

/// Every list that is named, its seal checked.
///
/// # Errors
/// As [`SealedList::read`]; `usage` if none is named.
pub fn lists(
    named: &[PathBuf],
    seal: SealArgs,
    name: Option<&ListName>,
    config: &Config,
) -> Result<Vec<SealedList>, Failure> {
    let SealArgs { trust, state_dir } = seal;
    let trust: TrustArgs = config.trust(trust);
    let state = state_dir.or_else(|| config.state.clone());
    // The name in the configuration is that of the list in the configuration.
    let configured =
        config.name.as_deref().map(list_name).transpose().map_err(|error| Failure::malformed(error, "mend name ="))?;
    let (files, name) = match (named, &config.policy) {
        ([], Some(file)) => (std::slice::from_ref(file), name.or(configured.as_ref())),
        (named, _) => (named, name),
    };
    if files.is_empty() {
        return Err(Failure::usage("no sealed list is named", "name it: --policy FILE"));
    }
    files.iter().map(|file| SealedList::read(file, &trust, state.as_deref(), name)).collect()
}

fn list_for<'l>(machine: &Machine, lists: &'l [SealedList]) -> Result<&'l SealedList, Failure> {
    let mut fitting = lists.iter().filter(|list| machine.list.as_ref().is_none_or(|name| list.name() == name));
    match (fitting.next(), fitting.next()) {
        (Some(list), None) => Ok(list),
        (None, _) => Err(Failure::usage(
            format!(
                "{} is to be judged by a list named {}",
                machine.uuid,
                machine.list.as_ref().map_or("", ListName::as_str)
            ),
            "name that list, too: --policy FILE",
        )),
        (Some(_), Some(_)) => Err(Failure::usage(
            format!("more than one list is named for {}", machine.uuid),
            "name one --policy FILE; with --hosts one for each list name",
        )),
    }
}

/// What was checked of the lists, for people.
///
/// # Errors
/// As [`goldseal_cli::report::Ui::say`].
pub fn say_checked(tenant: &Context, list: &SealedList) -> Result<(), Failure> {
    policy::say_judging(tenant.ui, list.policy())
}

/// A name in a message.
pub fn shown(uuids: &[String], count: u64) -> String {
    let some: Vec<String> = uuids.iter().take(SHOWN).map(table::line).collect();
    let more = count.saturating_sub(some.len() as u64);
    if more == 0 { some.join(", ") } else { format!("{} and {more} more", some.join(", ")) }
}

/// Machines that a question names.
const SHOWN: usize = 5;
