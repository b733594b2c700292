//! `goldseal trust verify`: is this trust root signed as it should be, and which lists does it keep?

use std::path::{Path, PathBuf};

use goldseal_cli::clock;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::ListFile;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::state_folder::StateFolder;
use goldseal_cli::summary::say;
use goldseal_cli::trusted;
use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::root::UnverifiedRoot;
use goldseal_verifier_core::trust::{Floor, Freshness, Now, StaleDocument, TrustRoot, TrustedPolicy, TrustedRootError};
use serde_json::{Map, Value, json};

use crate::root_summary;
use goldseal_cli::policy::check;

/// Check that a trust root is signed by those who may, and that each next one follows it
///
/// The first ROOT is the one that you vouch for: its own threshold must be met. Each next must be signed by the
/// threshold of the one before it and by its own. With --list, tells which lists verify under the last root, before
/// it is taken into use.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The trust roots, in their order
    #[arg(required = true)]
    pub root: Vec<PathBuf>,
    /// List that is held against the last root, and not remembered; repeatable
    #[arg(long, value_name = "FILE")]
    pub list: Vec<PathBuf>,
    /// Begin with the root that this state follows, if it follows one, and let it follow the last (see goldseal state)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust verify site.root
  goldseal trust verify site.root site-2.root --list prod.whitelist --list web.whitelist
  goldseal trust verify site.root site-2.root --state /var/lib/goldseal

Exit codes:
  0  every root is signed as it should be and follows, and every list verifies
  1  not so: unsigned, too few signatures, changed, another root, one left out, a list that does not verify
  2  usage
  3  a file cannot be read, or the state cannot be used
  4  all is well, but the last root or a list is stale";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 1 for what is wrong with a root, 3 for what cannot be read.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let now = clock::now()?;
    let walked = match &args.state {
        None => Walked::by_files(&args.root, Now::by_clock(now)),
        Some(state) => Walked::by_state(state, &args.root, now),
    };
    let walked = walked.map_err(|failure| match failure.reason {
        // Longer than any root: it was read, and is none.
        "malformed" => Failure { exit: Exit::No, ..failure },
        _ => failure,
    })?;
    let mut lists = Vec::new();
    for path in &args.list {
        lists.push(ListVerdict::of(path, &walked)?);
    }
    answer(ui, &args.root, &walked, &lists)
}

/// A root that is trusted, with the document that it was read from.
struct Known {
    root: TrustRoot,
    document: UnverifiedRoot,
}

impl Known {
    /// `bytes` are those that `root` was made of.
    fn of(root: TrustRoot, bytes: &[u8], path: &Path) -> Result<Self, Failure> {
        let document = UnverifiedRoot::parse(bytes);
        let document = document.map_err(|error| trusted::not_a_root(path, &TrustedRootError::Document(error)))?;
        Ok(Self { root, document })
    }
}

/// The end of a chain.
struct Walked {
    last: Known,
    /// The one before, if there is one.
    before: Option<Known>,
    state: Option<StateFolder>,
    now: Now,
}

impl Walked {
    fn by_files(paths: &[PathBuf], now: Now) -> Result<Self, Failure> {
        let (mut last, mut before): (Option<Known>, Option<Known>) = (None, None);
        for path in paths {
            let bytes = trusted::read_root(path)?;
            let root = match &last {
                None => TrustRoot::anchor(&bytes, now),
                Some(known) => known.root.advance(&bytes, now),
            };
            let root = root.map_err(|error| trusted::not_a_root(path, &error))?;
            before = last.replace(Known::of(root, &bytes, path)?);
        }
        let last =
            last.ok_or_else(|| Failure::usage("no trust root is named", "name one: goldseal trust verify ROOT"))?;
        Ok(Self { last, before, state: None, now })
    }

    fn by_state(
        folder: &Path,
        paths: &[PathBuf],
        clock: goldseal_verifier_core::time::Timestamp,
    ) -> Result<Self, Failure> {
        let mut state = StateFolder::open(folder)?;
        let now = state.now(clock);
        let known =
            |state: &StateFolder, root: TrustRoot| Known::of(root, state.root_bytes().unwrap_or_default(), folder);
        let before = state.root(now)?.map(|root| known(&state, root)).transpose()?;
        let root = state.follow(paths, now, trusted::not_a_root)?;
        let root =
            root.ok_or_else(|| Failure::usage("no trust root is named", "name one: goldseal trust verify ROOT"))?;
        let last = known(&state, root)?;
        let before = before.filter(|before| before.root.mark() != last.root.mark());
        Ok(Self { last, before, state: Some(state), now })
    }
}

/// What became of a list.
struct ListVerdict<'a> {
    path: &'a Path,
    under_last: Result<TrustedPolicy, Failure>,
    /// Whether it verifies under the root before, where it does not under the last.
    before: Option<bool>,
}

impl<'a> ListVerdict<'a> {
    fn of(path: &'a Path, walked: &Walked) -> Result<Self, Failure> {
        let verdict = |root: &TrustRoot| {
            let floor = |list: &_| match &walked.state {
                Some(state) => state.floor(list, &Floor::default()),
                None => Floor::default(),
            };
            match check(ListFile::open(path)?, path, root, floor, walked.now) {
                Err(failure) if failure.exit != Exit::No => Err(failure),
                verdict => Ok(verdict),
            }
        };
        let under_last = verdict(&walked.last.root)?;
        let before = match (&under_last, &walked.before) {
            (Err(_), Some(before)) => Some(verdict(&before.root)?.is_ok()),
            _ => None,
        };
        Ok(Self { path, under_last, before })
    }

    fn is_stale(&self) -> bool {
        let freshness = self.under_last.as_ref().map(TrustedPolicy::freshness);
        matches!(freshness, Ok(Freshness::Stale { document: StaleDocument::List, .. }))
    }

    fn say(&self, ui: Ui) -> Result<(), Failure> {
        match &self.under_last {
            Ok(policy) => {
                let (header, stale) = (policy.header(), if self.is_stale() { ", and is STALE" } else { "" });
                let name = Printable::path(self.path);
                say(ui, "list", format_args!("{name}: {} version {} verifies{stale}", header.name, header.version))
            }
            Err(failure) => {
                let label = if self.before == Some(true) { "LOST" } else { "REFUSED" };
                say(ui, label, &failure.what)?;
                match self.before {
                    Some(true) => say(ui, "", "it verifies under the root before"),
                    _ => Ok(()),
                }
            }
        }
    }

    fn json(&self) -> Value {
        let mut fields = json_path(self.path);
        match &self.under_last {
            Ok(policy) => {
                fields.insert("name".into(), policy.header().name.as_str().into());
                fields.insert("version".into(), policy.header().version.number().into());
                fields.insert("reason".into(), if self.is_stale() { "stale" } else { "ok" }.into());
            }
            Err(failure) => {
                fields.extend(failure.fields.clone());
                fields.insert("reason".into(), failure.reason.into());
                fields.insert("message".into(), json!({ "what": failure.what, "todo": failure.todo }));
            }
        }
        fields.insert("verifies".into(), self.under_last.is_ok().into());
        fields.insert("verified_before".into(), self.before.into());
        Value::Object(fields)
    }
}

fn answer(ui: Ui, paths: &[PathBuf], walked: &Walked, lists: &[ListVerdict]) -> Result<Outcome, Failure> {
    let Walked { last: Known { document, .. }, before, now, .. } = walked;
    let path = paths.last().map_or(Path::new(""), PathBuf::as_path);
    let name = Printable::path(path);
    ui.say(format_args!("VERIFIED: {name} is signed as it should be, and every byte of it is as signed."))?;
    root_summary::say_root(ui, document)?;
    for signer in signers(walked) {
        say(ui, "signed by", signer.text())?;
    }
    if let Some(before) = before {
        let header = before.document.header();
        say(ui, "follows", format_args!("{} version {}", header.name, header.version))?;
    }
    let stale_root = match document.header().expires {
        Expiry::At(since) if now.time() >= since => Some(since),
        _ => None,
    };
    match stale_root {
        Some(since) => say(ui, "freshness", format_args!("STALE since {since}"))?,
        None => say(ui, "freshness", "current")?,
    }
    for list in lists {
        list.say(ui)?;
    }
    let refused = lists.iter().filter(|list| list.under_last.is_err()).count();
    let stale_lists = lists.iter().filter(|list| list.is_stale()).count();
    let (exit, reason) = if refused > 0 {
        let count = lists.len();
        ui.note(format_args!(
            "goldseal trust: {refused} of {count} lists would not be taken under {name}\n  \
             have them sealed anew before the root is taken into use: goldseal sign LIST --key KEY"
        ));
        (Exit::No, "lists-refused")
    } else if stale_root.is_some() {
        ui.note(format_args!(
            "goldseal trust: {name} is past its expiry, and otherwise good\n  \
             get the next one, or make it: goldseal trust rotate {name} -o NEXT"
        ));
        (Exit::Stale, "stale")
    } else if stale_lists > 0 {
        ui.note(format_args!(
            "goldseal trust: {stale_lists} of the lists are past their expiry, and otherwise good\n  \
             make and seal their next versions"
        ));
        (Exit::Stale, "stale")
    } else {
        (Exit::Done, "ok")
    };
    let follows = before.as_ref().map(|before| {
        let header = before.document.header();
        json!({ "version": header.version.number(), "identity": before.document.envelope().identity().to_string() })
    });
    Ok(Outcome::new(exit, reason)
        .with_all(json_path(path))
        .with_all(root_summary::root_fields(document))
        .with("follows", follows)
        .with("signers", signers(walked).iter().map(|signer| Value::Object(signer.json())).collect::<Value>())
        .with("freshness", if stale_root.is_some() { "stale" } else { "current" })
        .with("lists", lists.iter().map(ListVerdict::json).collect::<Value>()))
}

/// A signature on the last root. If the root or the one before it names its key, it was checked when that was walked.
struct RootSigner {
    key_id: String,
    /// Name and owner.
    holder: Option<(String, String)>,
}

fn signers(walked: &Walked) -> Vec<RootSigner> {
    let version = |known: &Known| known.document.header().version;
    // A state may have followed one further back, against which this one was not held.
    let before = walked.before.as_ref().filter(|before| version(before).next() == Some(version(&walked.last)));
    let known = [Some(&walked.last), before];
    let signer = |line: &goldseal_verifier_core::envelope::SignatureLine| {
        let mut statements = known.into_iter().flatten().map(|known| known.document.statements());
        let key = statements.find_map(|statements| statements.keys.get(&line.key_id()));
        let holder = key.map(|key| (key.name.to_string(), key.owner.to_string()));
        RootSigner { key_id: line.key_id().to_string(), holder }
    };
    walked.last.document.envelope().signatures().iter().map(signer).collect()
}

impl RootSigner {
    fn text(&self) -> String {
        match &self.holder {
            Some((name, owner)) => format!("{name}, of {owner} ({})", self.key_id),
            None => format!("{} (not trusted: neither checked nor counted)", self.key_id),
        }
    }

    fn json(&self) -> Map<String, Value> {
        let (name, owner) = self.holder.clone().unzip();
        let mut fields = Map::new();
        fields.insert("key_id".into(), self.key_id.clone().into());
        fields.insert("name".into(), name.into());
        fields.insert("owner".into(), owner.into());
        fields
    }
}
