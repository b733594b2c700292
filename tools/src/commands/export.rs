//! `goldseal export`: a list for programs that do not read lists.
//!
//! Formats of entries hold less than a list. What they cannot hold is named, never dropped in silence: a path is an
//! error unless `--keep-going` was given; excludes and rules are named on standard error. The other formats are about a
//! list and hold none of its entries: its head with the same signatures, and a statement about it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::output::Output;
use goldseal_cli::printable::{Printable, PrintableLine, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::trusted::{self, TrustArgs};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::entries::{Entry, print_line};
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::rules::Rule;
use goldseal_verifier_core::trust::AuthenticateError;
use serde_json::{Value, json};

use crate::keylime::{self, RuntimePolicy};
use crate::unverified_list::{self, list_fields};
use crate::{dsse, flat, in_toto};
use goldseal_cli::file_identity::FileIdentity;

/// Write a list in a format of other programs
///
/// sha256sum: as sha256sum writes it, or sha1sum, sha384sum, sha512sum by --hash; only files. flat: the same lines, of
/// all algorithms, with boot aggregates, keyrings and buffers, as Keylime's list-making scripts write them.
/// keylime-json: Keylime's runtime policy, excludes included. dsse: the signed header as a DSSE envelope with the same
/// signatures. in-toto: a statement about the list, for a pipeline to sign.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal export prod.whitelist --format sha256sum | sha256sum -c --quiet
  goldseal export prod.whitelist --trust golden.key.pub \\
      --format keylime-json -o policy.json
  goldseal export prod.whitelist --format dsse -o prod.dsse.json

Exit codes: 0 done, 1 written without the paths that the format cannot hold (--keep-going), 2 usage,
3 the list cannot be read, is not sealed as asked, or has paths that the format cannot hold.")]
pub struct Args {
    /// The list
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write [default: standard output]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// The format
    #[arg(long, value_enum)]
    pub format: Format,
    /// Only digests of this algorithm [default: sha256 for sha256sum; else all, sha1 only if a rule accepts it]
    #[arg(long, value_name = "ALG", value_parser = algorithm)]
    pub hash: Option<HashAlgorithm>,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Leave out paths that the format cannot hold
    #[arg(long)]
    pub keep_going: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// Formats of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Digests and names, as Keylime's scripts write them
    Flat,
    /// As sha256sum and its kin write it
    Sha256sum,
    /// Keylime's runtime policy
    KeylimeJson,
    /// The signed header and its signatures as a DSSE envelope
    Dsse,
    /// An in-toto statement: what the list was made from, and who sealed it
    InToto,
}

/// Those that hold entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryFormat {
    Flat,
    Sha256sum,
    KeylimeJson,
}

fn algorithm(text: &str) -> Result<HashAlgorithm, String> {
    HashAlgorithm::from_name(text.as_bytes()).ok_or_else(|| "one of sha1, sha256, sha384, sha512".to_owned())
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for a list or an output that cannot be used.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let output = args.output.as_deref().unwrap_or(Path::new("-"));
    if args.json && output == Path::new("-") {
        return Err(Failure::usage("--json and the list cannot both go to standard output", "name a file: -o OUT"));
    }
    if matches!(args.format, Format::Dsse | Format::InToto) && args.hash.is_some() {
        return Err(Failure::usage("--hash chooses among entries, and this format has none", "leave it out"));
    }
    protect(output, &args.file)?;
    let trust = args.trust.root()?;
    let list = unverified_list::read(&args.file)?;
    let name = Printable::path(&args.file);
    let checked = match &trust {
        Some(trust) => Some(unverified_list::check_seal(&args.file, &list, trust)?),
        None => None,
    };
    match &checked {
        Some(_) => {}
        None if !list.envelope().signatures().is_empty() => {
            ui.note(format_args!("the seal of {name} was not checked; --trust PUB checks it"));
        }
        // An envelope without signatures is none.
        None if args.format == Format::Dsse => {
            return Err(trusted::not_authentic(&args.file, Exit::Input, &AuthenticateError::Unsealed));
        }
        None => ui.note(format_args!("{name} is not sealed")),
    }
    let format = match args.format {
        Format::Flat => EntryFormat::Flat,
        Format::Sha256sum => EntryFormat::Sha256sum,
        Format::KeylimeJson => EntryFormat::KeylimeJson,
        Format::Dsse => return write_document(output, dsse::envelope(list.envelope()), &list, checked.is_some()),
        Format::InToto => {
            return write_document(output, in_toto::statement(&list, checked.as_ref()), &list, checked.is_some());
        }
    };
    let wanted = Wanted::new(format, args.hash, &list);
    let (entries, losses) = select(&list, &wanted);
    if !losses.paths.is_empty() && !args.keep_going {
        return Err(refused(&losses, &wanted));
    }
    let output = Output::create(output)?;
    losses.tell(ui);
    let rules = list.contents().rules().as_slice();
    output.finish(|out| match format {
        EntryFormat::Sha256sum => write_entries(&entries, out),
        EntryFormat::Flat => {
            write_rules(rules, out)?;
            write_entries(&entries, out)
        }
        EntryFormat::KeylimeJson => {
            let patterns = list.contents().excludes().patterns();
            RuntimePolicy::new(&entries, patterns, rules, list.header().created).write(out)
        }
    })?;
    let done = if losses.paths.is_empty() { Outcome::done() } else { Outcome::new(Exit::No, "incomplete") };
    Ok(outcome(done, &list, checked.is_some(), entries.len(), &losses))
}

/// What is about a list holds none of its entries.
fn write_document(
    output: &Path,
    document: Value,
    list: &UnverifiedList,
    seal_checked: bool,
) -> Result<Outcome, Failure> {
    Output::create(output)?.finish(|out| writeln!(out, "{document:#}"))?;
    Ok(outcome(Outcome::done(), list, seal_checked, 0, &Losses::default()))
}

fn outcome(
    outcome: Outcome,
    list: &UnverifiedList,
    seal_checked: bool,
    exported: usize,
    losses: &Losses<'_>,
) -> Outcome {
    let signers = list.envelope().signatures().iter().map(|line| json!({ "key_id": line.key_id().to_string() }));
    outcome
        .with_all(list_fields(list))
        .with("signers", signers.collect::<Value>())
        .with("seal_checked", seal_checked)
        .with("exported", exported)
        .with("losses", losses.json())
}

/// Which digests and names the output may have.
struct Wanted {
    format: EntryFormat,
    algorithms: Vec<HashAlgorithm>,
}

impl Wanted {
    fn new(format: EntryFormat, hash: Option<HashAlgorithm>, list: &UnverifiedList) -> Self {
        // A list without that rule believes no SHA-1 digest; those who read other formats would.
        let believes_sha1 = list.contents().rules().as_slice().contains(&Rule::AcceptDigestSha1);
        let believed = |algorithm: &HashAlgorithm| believes_sha1 || *algorithm != HashAlgorithm::Sha1;
        let algorithms = match (hash, format) {
            (Some(algorithm), _) => vec![algorithm],
            (None, EntryFormat::Sha256sum) => vec![HashAlgorithm::Sha256],
            (None, _) => list.header().file_hash.algorithms().iter().copied().filter(believed).collect(),
        };
        Self { format, algorithms }
    }

    /// fs-verity digests are longer, and no other format holds them.
    fn holds_digest(&self, digest: &[u8]) -> bool {
        self.algorithms.iter().any(|algorithm| algorithm.digest_len() * 2 == digest.len())
    }

    fn holds_path(&self, path: &[u8]) -> bool {
        self.format != EntryFormat::KeylimeJson || std::str::from_utf8(path).is_ok()
    }
}

/// What the output will not have.
#[derive(Default)]
struct Losses<'a> {
    paths: Vec<(Cow<'a, [u8]>, &'static str)>,
    /// Listed paths that an exported exclude takes: there, excludes win.
    loosened: Vec<Cow<'a, [u8]>>,
    excludes: Vec<(String, &'static str)>,
    rules: Vec<(String, &'static str)>,
}

fn select<'a>(list: &'a UnverifiedList, wanted: &Wanted) -> (Vec<Entry<'a>>, Losses<'a>) {
    let (excludes, rules) = (list.contents().excludes(), list.contents().rules().as_slice());
    let mut losses = Losses::default();
    let mut kept: Vec<Entry<'a>> = Vec::new();
    let mut entries = list.contents().entries().peekable();
    while let Some(first) = entries.next() {
        let path = first.path.clone();
        let before = kept.len();
        let mut next = Some(first);
        while let Some(entry) = next {
            if wanted.holds_digest(entry.digest) && wanted.holds_path(&entry.path) {
                kept.push(entry);
            }
            next = entries.next_if(|entry| entry.path == path);
        }
        if !wanted.holds_path(&path) {
            losses.paths.push((path, "its name is not UTF-8"));
        } else if kept.len() == before {
            losses.paths.push((path, "it has no digest of that kind"));
        } else if wanted.format == EntryFormat::KeylimeJson && excludes.takes(&path) {
            losses.loosened.push(path);
        }
    }
    for pattern in excludes.patterns() {
        match wanted.format {
            EntryFormat::KeylimeJson if keylime::translate(pattern).is_some() => {}
            EntryFormat::KeylimeJson => {
                losses.excludes.push((pattern.to_string(), "it takes parts of characters, and Keylime matches text"));
            }
            EntryFormat::Flat | EntryFormat::Sha256sum => {
                losses.excludes.push((pattern.to_string(), "the format has none"))
            }
        }
    }
    for rule in rules {
        let unheld = match wanted.format {
            EntryFormat::KeylimeJson => keylime::unheld(rule),
            EntryFormat::Flat if flat_line(rule).is_some() => None,
            // Belongs to its exclude.
            _ if matches!(rule, Rule::BroadExclude(_)) => None,
            EntryFormat::Flat | EntryFormat::Sha256sum => Some("the format cannot say it"),
        };
        losses.rules.extend(unheld.map(|why| (rule.to_string(), why)));
    }
    (kept, losses)
}

impl Losses<'_> {
    fn tell(&self, ui: Ui) {
        tell_some(ui, &self.paths, |(path, why)| format!("left out: {}: {why}", Printable(path)));
        tell_some(ui, &self.excludes, |(pattern, why)| {
            format!("left out: exclude {}: {why}", PrintableLine(pattern.as_bytes()))
        });
        tell_some(ui, &self.rules, |(rule, why)| format!("left out: rule {}: {why}", PrintableLine(rule.as_bytes())));
        tell_some(ui, &self.loosened, |path| {
            format!("looser: {} is listed and excluded: Keylime does not look at its digest", Printable(path))
        });
    }

    fn json(&self) -> Value {
        let paths = self.paths.iter().map(|(path, why)| {
            let mut object = json_path(OsStr::from_bytes(path));
            object.insert("why".into(), json!(why));
            Value::Object(object)
        });
        let loosened = self.loosened.iter().map(|path| Value::Object(json_path(OsStr::from_bytes(path))));
        let excludes = self.excludes.iter().map(|(pattern, why)| json!({ "pattern": pattern, "why": why }));
        let rules = self.rules.iter().map(|(rule, why)| json!({ "rule": rule, "why": why }));
        json!({
            "paths": paths.collect::<Value>(),
            "loosened": loosened.collect::<Value>(),
            "excludes": excludes.collect::<Value>(),
            "rules": rules.collect::<Value>(),
        })
    }
}

/// Most losses of one kind spelled out for people; `--json` has them all.
const NAMED: usize = 10;

fn tell_some<T>(ui: Ui, losses: &[T], line: impl Fn(&T) -> String) {
    for loss in losses.iter().take(NAMED) {
        ui.note(line(loss));
    }
    if let Some(last) = losses.get(NAMED..).and_then(<[T]>::last) {
        ui.note(format_args!("… and {} more of these, the last: {}", losses.len() - NAMED, line(last)));
    }
}

fn refused(losses: &Losses<'_>, wanted: &Wanted) -> Failure {
    let named = losses.paths.iter().take(3).map(|(path, why)| format!("{}: {why}", Printable(path)));
    let named: Vec<String> = named.collect();
    let kinds: Vec<&str> = wanted.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    Failure::new(
        Exit::Input,
        "refused",
        format!(
            "{} of the paths cannot be exported with digests of {}: {}",
            losses.paths.len(),
            if kinds.is_empty() { "an algorithm that the list believes".to_owned() } else { kinds.join(", ") },
            named.join("; ") + if losses.paths.len() > 3 { "; …" } else { "" }
        ),
        "choose another --hash or --format, or leave these paths out: --keep-going",
    )
    .with("losses", losses.json())
}

fn write_entries(entries: &[Entry<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::new();
    for Entry { path, digest } in entries {
        line.clear();
        print_line(path, digest, &mut line);
        out.write_all(&line)?;
    }
    Ok(())
}

fn write_rules(rules: &[Rule], out: &mut dyn Write) -> io::Result<()> {
    rules.iter().filter_map(flat_line).try_for_each(|line| writeln!(out, "{line}"))
}

/// How a flat list says a rule.
fn flat_line(rule: &Rule) -> Option<String> {
    match rule {
        Rule::BootAggregate(digest) => Some(format!("{digest}  {}", flat::BOOT_AGGREGATE)),
        Rule::Keyring { label, digest } => Some(format!("{digest}  {}", flat::keyring_name(label))),
        Rule::Buffer { label, digest } => Some(format!("{digest}  {}", flat::buffer_name(label))),
        _ => None,
    }
}

/// Inputs stay untouched.
fn protect(output: &Path, input: &Path) -> Result<(), Failure> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| FileIdentity::from(&metadata));
    if fs::metadata(output).is_ok_and(|metadata| metadata.is_file()) && identity(output) == identity(input) {
        return Err(Failure::new(
            Exit::Usage,
            "exists",
            format!("{} is the list itself", Printable::path(output)),
            "choose another output file",
        ));
    }
    Ok(())
}
