//! A sealed list from a file, by every step that makes it one to judge by.

use std::io::Read;
use std::path::Path;

use goldseal_verifier_core::header::{ListName, MAX_VERSION, Version};
use goldseal_verifier_core::trust::{
    AdmitError, AdmittedHeader, AuthenticHeader, Floor, Freshness, Now, StaleDocument, TrustRoot, TrustedPolicy,
};
use serde_json::{Map, Value, json};

use crate::clock;
use crate::failure::{Exit, Failure};
use crate::list_file::{self, ListFile};
use crate::printable::{Printable, json_path};
use crate::report::Ui;
use crate::state_folder::StateFolder;
use crate::summary::{self, key_ids, say};
use crate::trusted::{self, TrustArgs};

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
    load_by(|| ListFile::open(file), file, trust, state, floor)
}

/// The same from bytes that were read already; `path` is what messages call it.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    list: ListFile<impl Read>,
    path: &Path,
    trust: &TrustArgs,
    state: Option<&Path>,
    floor: &Floor,
) -> Result<(TrustedPolicy, TrustRoot), Failure> {
    load_by(|| Ok(list), path, trust, state, floor)
}

fn load_by<R: Read>(
    open: impl FnOnce() -> Result<ListFile<R>, Failure>,
    path: &Path,
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
    let root = root.ok_or_else(nobody_trusted)?;
    let policy = open().and_then(|list| verify(list, path, &root, floor, &mut state, now));
    Ok((policy.map_err(|failure| failure.with_all(json_path(path)))?, root))
}

/// Nobody said whose seals count.
pub fn nobody_trusted() -> Failure {
    Failure::usage("nobody is trusted", "say whose seals count: --trust PUB, or --trust-root ROOT")
}

/// The floor of a state rises before anybody is told that the list is good.
fn verify(
    list: ListFile<impl Read>,
    path: &Path,
    root: &TrustRoot,
    floor: &Floor,
    state: &mut Option<StateFolder>,
    now: Now,
) -> Result<TrustedPolicy, Failure> {
    let Some(state) = state else { return check(list, path, root, |_| floor.clone(), now) };
    let policy = check(list, path, root, |list| state.floor(list, floor), now)?;
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
    check_by(list, path, root, now, |authentic| {
        let floor = floor(&authentic.header().name);
        authentic.admit(now, &floor)
    })
}

/// The same for a list that was taken before and is in use, to which no floor applies.
///
/// # Errors
/// As [`check`].
pub fn check_in_use(
    list: ListFile<impl Read>,
    path: &Path,
    root: &TrustRoot,
    now: Now,
) -> Result<TrustedPolicy, Failure> {
    check_by(list, path, root, now, |authentic| authentic.admit_in_use(now))
}

fn check_by(
    list: ListFile<impl Read>,
    path: &Path,
    root: &TrustRoot,
    now: Now,
    admit: impl FnOnce(AuthenticHeader) -> Result<AdmittedHeader, AdmitError>,
) -> Result<TrustedPolicy, Failure> {
    let (envelope, rest) = list.head().map_err(|error| list_file::malformed(path, Exit::No, &error))?;
    let authentic = root.authenticate(envelope, now).map_err(|error| trusted::not_authentic(path, Exit::No, &error))?;
    // From here on the header is its signers' word, and failures tell it too.
    let fields = fields(&authentic);
    let admitted = admit(authentic).map_err(|error| not_admitted(path, &error).with_all(fields.clone()))?;
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

/// A sealed list that would be a negative answer of `verify` is one that cannot be believed here.
pub fn not_believed(failure: Failure) -> Failure {
    let exit = if failure.exit == Exit::No { Exit::Input } else { failure.exit };
    Failure { exit, ..failure }
}

/// What is judged by, for programs.
pub fn judging_fields(policy: &TrustedPolicy) -> Map<String, Value> {
    let mut fields = fields(policy.authentic());
    let freshness = if policy.freshness() == Freshness::Current { "current" } else { "stale" };
    fields.insert("freshness".into(), json!(freshness));
    fields
}

/// What is judged by, for people.
///
/// # Errors
/// As [`Ui::say`].
pub fn say_judging(ui: Ui, policy: &TrustedPolicy) -> Result<(), Failure> {
    let header = policy.header();
    say(ui, "policy", format_args!("{} version {} ({})", header.name, header.version, policy.identity()))?;
    for signer in policy.authentic().signers() {
        let owner = signer.owner.as_ref().map(|owner| format!(", of {owner}")).unwrap_or_default();
        say(ui, "signed by", format_args!("{}{owner} ({})", signer.name, signer.key_id))?;
    }
    match policy.freshness() {
        Freshness::Current => say(ui, "freshness", "current"),
        Freshness::Stale { document, since } => {
            say(ui, "freshness", format_args!("the {} is STALE since {since}", stale_document(document)))
        }
    }
}

/// What is past its expiry.
pub fn stale_document(document: StaleDocument) -> &'static str {
    match document {
        StaleDocument::List => "list",
        StaleDocument::TrustRoot => "trust root",
    }
}
