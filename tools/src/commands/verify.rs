//! `goldseal verify`: is this list sealed as asked, whole, and in time?

use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::policy::{fields, list_name, load, version};
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::{self, say};
use goldseal_cli::trusted::TrustArgs;
use goldseal_verifier_core::header::{ListName, Version};
use goldseal_verifier_core::trust::{Floor, Freshness, StaleDocument, TrustRoot, TrustedPolicy};
use serde_json::{Value, json};

/// Check who sealed a list, that it is whole, and that it is in time
///
/// Needs public keys only. The seal is checked before the list is read: one that is not sealed as asked is refused
/// without a look at its contents. The time is this machine's clock.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The sealed list
    pub file: PathBuf,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Folder that remembers what was accepted, so that nothing older is (see goldseal state)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The name that the list must have
    #[arg(long, value_name = "NAME", value_parser = list_name)]
    pub name: Option<ListName>,
    /// The lowest version that is taken
    #[arg(long, value_name = "N", value_parser = version)]
    pub min_version: Option<Version>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal verify prod.whitelist --trust golden.key.pub
  goldseal verify prod.whitelist --trust alice.pub --trust bob.pub \\
      --name prod --min-version 42
  goldseal verify prod.whitelist --trust-root site.root --state /var/lib/goldseal

Exit codes:
  0  sealed as asked, whole and in time
  1  not so: unsealed, too few signatures, changed, another list, an old version
  2  usage
  3  the file cannot be read, or a key, the trust root or the state cannot be used
  4  all is well, but the list or the trust root is stale";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 1 for what is wrong with the list, 3 for what cannot be read.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { file, trust, state, name, min_version, json: _ } = args;
    let floor = Floor { name, version: min_version, seen: None };
    let (policy, root) = load(&file, &trust, state.as_deref(), &floor)?;
    answer(ui, &file, &policy, &root)
}

fn answer(ui: Ui, path: &Path, policy: &TrustedPolicy, root: &TrustRoot) -> Result<Outcome, Failure> {
    let authentic = policy.authentic();
    let entries = policy.contents().entry_count();
    let (exit, reason, freshness) = match policy.freshness() {
        Freshness::Current => (Exit::Done, "ok", "current".to_owned()),
        Freshness::Stale { document: StaleDocument::List, since } => {
            (Exit::Stale, "stale", format!("STALE since {since}"))
        }
        Freshness::Stale { document: StaleDocument::TrustRoot, since } => {
            (Exit::Stale, "stale", format!("the trust root is STALE since {since}"))
        }
    };
    let name = Printable::path(path);
    ui.say(format_args!("VERIFIED: {name} is sealed as asked, and every byte of it is as signed."))?;
    summary::say_header(ui, policy.header(), policy.identity())?;
    for signer in authentic.signers() {
        let owner = signer.owner.as_ref().map(|owner| format!(", of {owner}")).unwrap_or_default();
        say(ui, "signed by", format_args!("{}{owner} ({})", signer.name, signer.key_id))?;
    }
    for uncounted in authentic.uncounted() {
        say(ui, "signed by", format_args!("{uncounted}: not counted"))?;
    }
    for unknown in authentic.unknown_signers() {
        say(ui, "signed by", format_args!("{unknown} (not trusted: neither checked nor counted)"))?;
    }
    for (role, threshold) in authentic.thresholds() {
        match role {
            Some(role) => say(ui, "threshold", format_args!("{threshold} of role {role}"))?,
            None => say(ui, "threshold", format_args!("{threshold} of {} trusted keys", root.key_count()))?,
        }
    }
    if let Some((header, mark)) = root.header().zip(root.mark()) {
        say(ui, "trust root", format_args!("{} version {} ({})", header.name, mark.version, mark.identity))?;
    }
    say(ui, "entries", entries)?;
    say(ui, "freshness", &freshness)?;
    if let Freshness::Stale { document, .. } = policy.freshness() {
        let (what, todo) = match document {
            StaleDocument::List => (
                name.to_string(),
                format!("make and seal its next version: goldseal build --list {name} --previous {name} -o FILE"),
            ),
            StaleDocument::TrustRoot => (
                "the trust root".to_owned(),
                "get the next one, or make it: goldseal trust rotate ROOT -o NEXT".to_owned(),
            ),
        };
        ui.note(format_args!("goldseal verify: {what} is past its expiry, and otherwise good\n  {todo}"));
    }
    let thresholds = authentic
        .thresholds()
        .iter()
        .map(|(role, threshold)| json!({ "role": role.as_ref().map(|role| role.as_str()), "threshold": threshold }));
    let root = root.header().zip(root.mark()).map(|(header, mark)| {
        json!({ "name": header.name.as_str(), "version": mark.version.number(), "identity": mark.identity.to_string() })
    });
    Ok(Outcome::new(exit, reason)
        .with_all(json_path(path))
        .with_all(fields(authentic))
        .with("thresholds", thresholds.collect::<Value>())
        .with("trust_root", root)
        .with("entries", entries)
        .with("freshness", if exit == Exit::Stale { "stale" } else { "current" }))
}
