//! `goldseal verify`: is this list sealed as asked, whole, and in time?

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::header::{Header, ListName, MAX_VERSION, Version};
use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{AdmitError, Floor, Freshness, Signer, TrustRoot, TrustedPolicy};
use serde_json::{Map, Value, json};

use crate::failure::{Exit, Failure};
use crate::list_file::{self, ListFile};
use crate::printable::{Printable, json_path};
use crate::report::{Outcome, Ui};
use crate::summary::{self, key_ids, say};
use crate::{clock, trusted};

/// Check who sealed a list, that it is whole, and that it is in time
///
/// Needs public keys only. The seal is checked before the list is read: one that is not sealed as asked is refused
/// without a look at its contents. The time is this machine's clock.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The sealed list
    pub file: PathBuf,
    /// Public key that must have signed the list; one each, repeatable
    #[arg(long, value_name = "PUB", required = true)]
    pub trust: Vec<PathBuf>,
    /// How many of the trusted keys must have signed [default: all]
    #[arg(long, value_name = "N")]
    pub threshold: Option<NonZeroUsize>,
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

Exit codes:
  0  sealed as asked, whole and in time
  1  not so: unsealed, too few signatures, changed, another list, an old version
  2  usage
  3  the file cannot be read, or a key cannot be used
  4  all is well, but it is stale";

fn list_name(text: &str) -> Result<ListName, String> {
    ListName::new(text).ok_or_else(|| {
        format!("a name has 1 to {} of a-z 0-9 . _ - and begins with a letter or digit", ListName::MAX_LEN)
    })
}

fn version(text: &str) -> Result<Version, String> {
    let version = text.parse().ok().and_then(Version::new);
    version.ok_or_else(|| format!("a version is a number from 1 to {MAX_VERSION}"))
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 1 for what is wrong with the list, 3 for what cannot be read.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { file, trust, threshold, name, min_version, json: _ } = args;
    let trusted = trust.len();
    let root = trusted::trust_root(&trust, threshold)?;
    let floor = Floor { name, version: min_version };
    let threshold = threshold.map_or(trusted, NonZeroUsize::get);
    let now = clock::now()?;
    ListFile::open(&file)
        .and_then(|list| check(list, &file, &root, &floor, now))
        .and_then(|policy| answer(ui, &file, &policy, threshold, trusted))
        .map_err(|failure| failure.with_all(json_path(&file)))
}

/// All steps of docs/format.md, Verifying, in their order.
///
/// # Errors
/// [`Failure`]: exit 1 for what is wrong with the list, 3 if it cannot be read to its end.
pub fn check(
    list: ListFile<impl Read>,
    path: &Path,
    root: &TrustRoot,
    floor: &Floor,
    now: Timestamp,
) -> Result<TrustedPolicy, Failure> {
    let (envelope, rest) = list.head().map_err(|error| list_file::malformed(path, Exit::No, &error))?;
    let authentic = root.authenticate(envelope).map_err(|error| trusted::not_authentic(path, Exit::No, &error))?;
    // From here on the header is its signers' word, and failures tell it too.
    let fields = fields(authentic.header(), authentic.identity(), authentic.signers(), authentic.unknown_signers());
    let admitted = authentic.admit(now, floor).map_err(|error| not_admitted(path, &error).with_all(fields.clone()))?;
    let header = admitted.header().clone();
    rest.load(&header, Exit::No, |rest| admitted.load(rest)).map_err(|failure| failure.with_all(fields))
}

fn not_admitted(path: &Path, error: &AdmitError) -> Failure {
    let what = format!("{}: {error}", Printable::path(path));
    match error {
        AdmitError::WrongName { .. } => {
            Failure::new(Exit::No, "wrong-name", what, "it is another list: check FILE and --name")
        }
        AdmitError::BelowFloor { .. } => {
            Failure::new(Exit::No, "below-floor", what, "it was replaced by a newer version: get that one")
        }
        AdmitError::FromTheFuture { .. } => Failure::new(
            Exit::No,
            "from-the-future",
            what,
            "check the clock of this machine, then that of the machine where the list was made",
        ),
        error => list_file::malformed(path, Exit::No, error),
    }
}

fn fields(header: &Header, identity: Identity, signers: &[Signer], unknown: &[KeyId]) -> Map<String, Value> {
    let mut fields = summary::header_fields(header, identity);
    let signers = signers.iter().map(|signer| json!({ "key_id": signer.key_id.to_string(), "name": signer.name }));
    fields.insert("signers".into(), signers.collect());
    fields.insert("unknown_signers".into(), key_ids(unknown));
    fields
}

fn answer(ui: Ui, path: &Path, policy: &TrustedPolicy, threshold: usize, trusted: usize) -> Result<Outcome, Failure> {
    let entries = policy.contents().entry_count();
    let (exit, reason, freshness) = match policy.freshness() {
        Freshness::Current => (Exit::Done, "ok", "current".to_owned()),
        Freshness::Stale { since } => (Exit::Stale, "stale", format!("STALE since {since}")),
    };
    let name = Printable::path(path);
    ui.say(format_args!("VERIFIED: {name} is sealed as asked, and every byte of it is as signed."))?;
    summary::say_header(ui, policy.header(), policy.identity())?;
    for signer in policy.signers() {
        say(ui, "signed by", format_args!("{} ({})", signer.name, signer.key_id))?;
    }
    for unknown in policy.unknown_signers() {
        say(ui, "signed by", format_args!("{unknown} (not trusted: neither checked nor counted)"))?;
    }
    say(ui, "threshold", format_args!("{threshold} of {trusted} trusted keys"))?;
    say(ui, "entries", entries)?;
    say(ui, "freshness", &freshness)?;
    if exit == Exit::Stale {
        ui.note(format_args!(
            "goldseal verify: {name} is past its expiry, and otherwise good\n  \
             make and seal its next version: goldseal build --list {name} --previous {name} -o FILE"
        ));
    }
    let fields = fields(policy.header(), policy.identity(), policy.signers(), policy.unknown_signers());
    Ok(Outcome::new(exit, reason)
        .with_all(json_path(path))
        .with_all(fields)
        .with("threshold", threshold)
        .with("entries", entries)
        .with("freshness", if exit == Exit::Stale { "stale" } else { "current" }))
}
