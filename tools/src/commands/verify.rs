//! `goldseal verify`: is this list sealed as asked, whole, and in time?

use std::io::Read;
use std::path::{Path, PathBuf};

use goldseal_cli::clock;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::{self, ListFile};
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::state_folder::StateFolder;
use goldseal_cli::summary::{self, key_ids, say};
use goldseal_cli::trusted::{self, TrustArgs};
use goldseal_verifier_core::header::{ListName, MAX_VERSION, Version};
use goldseal_verifier_core::trust::{
    AdmitError, AuthenticHeader, Floor, Freshness, Now, StaleDocument, TrustRoot, TrustedPolicy,
};
use serde_json::{Map, Value, json};

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

/// A list's name as an argument.
///
/// # Errors
/// What a name is.
pub fn list_name(text: &str) -> Result<ListName, String> {
    ListName::new(text).ok_or_else(|| {
        format!("a name has 1 to {} of a-z 0-9 . _ - and begins with a letter or digit", ListName::MAX_LEN)
    })
}

/// A list's version as an argument.
///
/// # Errors
/// What a version is.
pub fn version(text: &str) -> Result<Version, String> {
    let version = text.parse().ok().and_then(Version::new);
    version.ok_or_else(|| format!("a version is a number from 1 to {MAX_VERSION}"))
}

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

/// A list that is sealed as asked, and whose seals count; what was accepted is remembered in the state.
///
/// # Errors
/// [`Failure`]: exit 1 for what is wrong with the list, 2 if nobody is trusted, 3 for what cannot be read.
pub fn load(
    file: &Path,
    trust: &TrustArgs,
    state: Option<&Path>,
    floor: &Floor,
) -> Result<(TrustedPolicy, TrustRoot), Failure> {
    let clock = clock::now()?;
    let mut state = state.map(StateFolder::open).transpose()?;
    let now = state.as_ref().map_or(Now::by_clock(clock), |state| state.now(clock));
    let root = match &mut state {
        Some(state) if trust.trust.is_empty() => state.follow(&trust.trust_root, now, trusted::bad_root)?,
        Some(state) => state.without_root().and_then(|()| trust.root())?,
        None => trust.root()?,
    };
    let root = root.ok_or_else(|| {
        Failure::usage("nobody is trusted", "say whose seals count: --trust PUB, or --trust-root ROOT")
    })?;
    let policy = verify(file, &root, floor, &mut state, now).map_err(|failure| failure.with_all(json_path(file)))?;
    Ok((policy, root))
}

/// The floor of a state rises before anybody is told that the list is good.
fn verify(
    file: &Path,
    root: &TrustRoot,
    floor: &Floor,
    state: &mut Option<StateFolder>,
    now: Now,
) -> Result<TrustedPolicy, Failure> {
    let Some(state) = state else { return check(ListFile::open(file)?, file, root, |_| floor.clone(), now) };
    let policy = check(ListFile::open(file)?, file, root, |list| state.floor(list, floor), now)?;
    state.accept(&policy)?;
    Ok(policy)
}

/// All steps of docs/format.md, Verifying, in their order; `floor` is asked when the list's name is authentic.
///
/// # Errors
/// [`Failure`]: exit 1 for what is wrong with the list, 3 if it cannot be read to its end.
pub fn check(
    list: ListFile<impl Read>,
    path: &Path,
    root: &TrustRoot,
    floor: impl FnOnce(&ListName) -> Floor,
    now: Now,
) -> Result<TrustedPolicy, Failure> {
    let (envelope, rest) = list.head().map_err(|error| list_file::malformed(path, Exit::No, &error))?;
    let authentic = root.authenticate(envelope, now).map_err(|error| trusted::not_authentic(path, Exit::No, &error))?;
    // From here on the header is its signers' word, and failures tell it too.
    let fields = fields(&authentic);
    let floor = floor(&authentic.header().name);
    let admitted = authentic.admit(now, &floor).map_err(|error| not_admitted(path, &error).with_all(fields.clone()))?;
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
        AdmitError::Equivocation { .. } => Failure::new(
            Exit::No,
            "equivocation",
            what,
            "somebody sealed two lists as one version: do not use either before you know which is right",
        ),
        AdmitError::FromTheFuture { .. } => Failure::new(
            Exit::No,
            "from-the-future",
            what,
            "check the clock of this machine, then that of the machine where the list was made",
        ),
        error => list_file::malformed(path, Exit::No, error),
    }
}

/// What the header says and who signed it, for programs.
pub fn fields(authentic: &AuthenticHeader) -> Map<String, Value> {
    let mut fields = summary::header_fields(authentic.header(), authentic.identity());
    let signers = authentic
        .signers()
        .iter()
        .map(|signer| json!({ "key_id": signer.key_id.to_string(), "name": signer.name, "owner": signer.owner }));
    fields.insert("signers".into(), signers.collect());
    fields.insert("uncounted".into(), authentic.uncounted().iter().map(ToString::to_string).collect());
    fields.insert("unknown_signers".into(), key_ids(authentic.unknown_signers()));
    fields
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
