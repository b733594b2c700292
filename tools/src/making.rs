//! What every command that makes a list has in common: name, version, times, excludes, rules, seal, output.
//!
//! Everything that can be refused is refused before the long work begins: [`Making::prepare`] reads keys and previous
//! lists, asks for passphrases and opens the output; [`Making::finish`] prints, seals and puts the file in place.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use goldseal_cli::difference::{self, Detail};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::output::Output;
use goldseal_cli::printable::{Printable, PrintableLine, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::{clock, times};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::envelope::{Envelope, MAX_HEAD_LEN};
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use goldseal_verifier_core::header::{Expiry, FileHash, ListName, Version};
use goldseal_verifier_core::list::{UnverifiedList, Whitelist};
use goldseal_verifier_core::provenance::{Fact, Provenance};
use goldseal_verifier_core::rules::{Rule, Rules};
use goldseal_verifier_core::time::Timestamp;

use serde_json::{Value, json};

use crate::key::{self, SealKey};
use crate::passphrase::{Passphrase, PassphraseArgs, PassphraseSource};
use crate::seal::seal;
use crate::statements;
use crate::unverified_list;
use goldseal_cli::file_identity::FileIdentity;

/// Options of every command that makes a list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Where to write the list; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Name of the list [default: that of --previous, else the output file's name without extension]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Version of the list [default: that of --previous and 1, else 1]
    #[arg(long, value_name = "N")]
    list_version: Option<u64>,
    /// The list that this one follows: gives name and version, and what it had and this one lacks is named
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// When the list goes stale: never, 2027-05-23T00:00:00Z, or a number of days such as 90d
    #[arg(long, value_name = "never|TIME|DAYS", default_value = "never")]
    expires: String,
    /// Leave out files and folders that this regular expression names, with everything below; repeatable
    #[arg(long, value_name = "REGEX")]
    exclude: Vec<String>,
    /// A file with one such expression a line (empty lines and # lines are passed over); repeatable
    #[arg(long, value_name = "FILE")]
    excludes: Vec<PathBuf>,
    /// Accept excludes that take system paths such as /usr/bin/bash, and say so in the list
    #[arg(long)]
    allow_broad_exclude: bool,
    /// Boot aggregates that machines may show; repeatable
    #[arg(long, value_name = "any|ALG:HEX")]
    boot_aggregate: Vec<String>,
    /// Accept more than files: a statement of docs/format.md, Rules; repeatable
    #[arg(long, value_name = "STATEMENT")]
    rule: Vec<String>,
    /// A file with one statement a line (empty lines and # lines are passed over); repeatable
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Write a list without a single entry
    #[arg(long)]
    allow_empty: bool,
    /// Overwrite an input, or a sealed list that is not --previous
    #[arg(long)]
    force: bool,
    /// Seal the list with this key
    #[arg(long, value_name = "KEY", group = "sealing")]
    seal: Option<PathBuf>,
    /// Make a new key (KEY and KEY.pub) and seal the list with it
    #[arg(long, value_name = "KEY", group = "sealing")]
    seal_new: Option<PathBuf>,
    /// Do not encrypt the new key
    #[arg(long, conflicts_with_all = ["passphrase_fd", "passphrase_credential"], requires = "seal_new")]
    no_passphrase: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// No progress, no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// A list about to be made: everything but its entries.
#[derive(Debug)]
pub struct Making {
    output: Output,
    output_path: PathBuf,
    name: ListName,
    version: Version,
    created: Timestamp,
    expires: Expiry,
    excludes: Excludes,
    rules: Vec<Rule>,
    previous: Option<UnverifiedList>,
    seal: Option<Seal>,
    allow_empty: bool,
    quiet: bool,
}

/// Who seals: a key there is, or one that is made when the list is.
#[derive(Debug)]
enum Seal {
    Key(SealKey),
    New { path: PathBuf, passphrase: Option<Passphrase> },
}

/// What other lists add to the one being made.
#[derive(Debug, Default)]
pub struct United {
    /// Their excludes.
    pub excludes: Vec<Pattern>,
    /// Their rules.
    pub rules: Vec<Rule>,
}

/// What the work brought.
#[derive(Debug)]
pub struct Made {
    /// Paths and digests, in any order.
    pub entries: Vec<(Vec<u8>, FileDigest)>,
    /// Algorithms asked for and found.
    pub algorithms: Vec<HashAlgorithm>,
    /// Where they came from.
    pub facts: Vec<Fact>,
    /// Rules that an input brought.
    pub rules: Vec<Rule>,
}

impl Making {
    /// Turns what was typed into what can be used. `inputs` are the files that must not be overwritten.
    ///
    /// # Errors
    /// `usage` (exit 2) for options, patterns and rules; exit 3 for files that cannot be read or written.
    pub fn prepare(args: ListArgs, united: United, inputs: &[&Path], ui: Ui) -> Result<Self, Failure> {
        if args.json && args.output == Path::new("-") {
            return Err(Failure::usage(
                "standard output cannot hold both the list and the --json object",
                "write the list to a file: -o FILE",
            ));
        }
        let created = clock::created()?;
        let previous = args.previous.as_deref().map(unverified_list::read).transpose()?;
        if let Some(previous) = previous.as_ref().filter(|previous| created <= previous.header().created) {
            return Err(Failure::usage(
                format!(
                    "the list would be created {created}, not after the previous one ({})",
                    previous.header().created
                ),
                "set this machine's clock, or SOURCE_DATE_EPOCH, or name the list it really follows",
            ));
        }
        let name = choose_name(args.name.as_deref(), previous.as_ref(), &args.output)?;
        let version = choose_version(args.list_version, &name, previous.as_ref())?;
        let expires = times::parse_expiry("--expires", &args.expires, created)?;
        let (excludes, rules) = collect_statements(&args, united)?;
        if let Some(previous) = previous.as_ref().filter(|_| !args.quiet) {
            name_what_is_gone(previous, &excludes, &rules, ui);
        }
        protect(&args, inputs)?;
        let output = Output::create(&args.output)?;
        let seal = prepare_seal(&args)?;
        let (allow_empty, quiet, output_path) = (args.allow_empty, args.quiet, args.output);
        Ok(Self {
            output,
            output_path,
            name,
            version,
            created,
            expires,
            excludes,
            rules,
            previous,
            seal,
            allow_empty,
            quiet,
        })
    }

    /// What is left out.
    pub fn excludes(&self) -> &Excludes {
        &self.excludes
    }

    /// The output, by which a walk knows it.
    ///
    /// # Errors
    /// `unwritable`.
    pub fn output_identities(&self) -> Result<Vec<FileIdentity>, Failure> {
        self.output.identities()
    }

    /// Prints the list, seals it, and puts it in place. The outcome is exit 1 if something is missing from it.
    ///
    /// # Errors
    /// An empty list (exit 2), or what printing, sealing and writing may say.
    pub fn finish(self, made: Made, ui: Ui) -> Result<Outcome, Failure> {
        if made.entries.is_empty() && !self.allow_empty {
            return Err(Failure::new(
                Exit::Usage,
                "empty",
                "the list would have no entry",
                "name what to read, or say --allow-empty",
            ));
        }
        let mut rules = self.rules;
        rules.extend(made.rules);
        let boot_aggregate = rules.iter().any(|rule| matches!(rule, Rule::BootAggregate(_) | Rule::BootAggregateAny));
        let file_hash = FileHash::new(&made.algorithms).expect("a command asks for at least one algorithm");
        let whitelist = Whitelist {
            name: self.name,
            version: self.version,
            created: self.created,
            expires: self.expires,
            file_hash,
            provenance: Provenance::new(made.facts),
            excludes: self.excludes,
            rules: Rules::new(rules),
            entries: made.entries,
        };
        let mut list = whitelist.print().map_err(|error| {
            Failure::new(
                Exit::Input,
                "refused",
                format!("the list cannot be written: {error}"),
                "take out what is named, or leave it out with --exclude",
            )
        })?;
        let new_key = match self.seal {
            None => None,
            Some(Seal::Key(key)) => {
                seal(&self.output_path, &mut list, &key)?;
                None
            }
            Some(Seal::New { path, passphrase }) => {
                let key = SealKey::generate()?;
                seal(&self.output_path, &mut list, &key)?;
                Some((path, key, passphrase))
            }
        };
        let keep_key = || match &new_key {
            None => Ok(()),
            Some((path, key, passphrase)) => key::file::write_key_pair(path, key, passphrase.as_ref()),
        };
        let head = list.envelope().print();
        let write = |file: &mut dyn Write| {
            file.write_all(&head)?;
            file.write_all(list.contents().body())
        };
        // A list without its key or a key without its list would both be of no use, and the list is more likely to fail.
        match self.output {
            Output::File(file) => {
                let filled = file.fill(write)?;
                keep_key()?;
                filled.replace()?;
            }
            stream @ Output::Stream(_) => {
                keep_key()?;
                stream.finish(write)?;
            }
        }
        let difference = self
            .previous
            .as_ref()
            .map(|previous| difference::between(unverified_list::side(previous), unverified_list::side(&list)));
        if !self.quiet {
            if let (Some(previous), Some(difference)) = (&self.previous, &difference) {
                let version = previous.header().version;
                ui.note(format_args!(
                    "changes since version {version}:\n{}",
                    difference.text(Detail::Folders).trim_end()
                ));
            }
            if !boot_aggregate {
                ui.note(
                    "no boot-aggregate rule: machines will be rejected at their first entry. Add --boot-aggregate ALG:HEX (see \
                     `head -n 1` of their ascii_runtime_measurements); machines booted by GRUB each have their own value: \
                     --boot-aggregate any with `--rule 'pcr sha256 N HEX'` for the PCRs they share.",
                );
            }
            say_what_was_written(&list, &self.output_path, ui);
        }
        let incomplete = list.contents().provenance().has_gaps();
        let (exit, reason) = if incomplete { (Exit::No, "incomplete") } else { (Exit::Done, "ok") };
        let signers = list.envelope().signatures().iter().map(|line| json!({ "key_id": line.key_id().to_string() }));
        let difference = difference.map(|difference| Value::Object(difference.json(Detail::Folders)));
        Ok(Outcome::new(exit, reason)
            .with("difference", difference)
            .with_all(json_path(&self.output_path))
            .with("signers", signers.collect::<Value>())
            .with_all(unverified_list::list_fields(&list)))
    }
}

fn say_what_was_written(list: &UnverifiedList, path: &Path, ui: Ui) {
    let (header, contents) = (list.header(), list.contents());
    let sealed = match list.envelope().signatures() {
        [] => "not sealed yet".to_owned(),
        signatures => format!(
            "sealed by {}",
            signatures.iter().map(|line| line.key_id().to_string()).collect::<Vec<_>>().join(", ")
        ),
    };
    ui.note(format_args!(
        "{}: {} version {}, {} entries, {} excludes, {} rules, {sealed}",
        Printable::path(path),
        header.name,
        header.version,
        contents.entry_count(),
        contents.excludes().patterns().len(),
        contents.rules().as_slice().len(),
    ));
}

fn prepare_seal(args: &ListArgs) -> Result<Option<Seal>, Failure> {
    let source = || if args.no_passphrase { Ok(PassphraseSource::None) } else { args.passphrase.source() };
    match (&args.seal, &args.seal_new) {
        (Some(path), _) => {
            let source = source()?;
            let key = key::file::read_seal_key(path, || source.for_existing_key(path))?;
            Ok(Some(Seal::Key(key)))
        }
        (None, Some(path)) => {
            key::file::check_vacant(path)?;
            let passphrase = source()?.for_new_key(path)?;
            Ok(Some(Seal::New { path: path.clone(), passphrase }))
        }
        (None, None) if args.passphrase.is_given() => Err(Failure::usage(
            "there is a passphrase, and no key that it is for",
            "name the key: --seal KEY, or --seal-new KEY",
        )),
        (None, None) => Ok(None),
    }
}

/// `--name`, else that of `--previous`, else one made of the output file's name.
fn choose_name(typed: Option<&str>, previous: Option<&UnverifiedList>, output: &Path) -> Result<ListName, Failure> {
    if let Some(typed) = typed {
        return ListName::new(typed).ok_or_else(|| {
            Failure::usage(
                format!("{} cannot be the name of a list", Printable(typed.as_bytes())),
                "use at most 64 of a-z, 0-9, `.`, `_` and `-`, the first a letter or digit",
            )
        });
    }
    if let Some(previous) = previous {
        return Ok(previous.header().name.clone());
    }
    Ok(name_of_file(output, "whitelist"))
}

/// A name made of a file's name without extension, or `fallback` if nothing is left of it.
pub fn name_of_file(path: &Path, fallback: &'static str) -> ListName {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let mapped: String = stem.bytes().map(|byte| if allowed(byte) { char::from(byte) } else { '-' }).collect();
    let mapped = mapped.trim_start_matches(['.', '_', '-']);
    let name = ListName::new(&mapped[..mapped.len().min(ListName::MAX_LEN)]);
    name.unwrap_or_else(|| ListName::new(fallback).expect("a valid name"))
}

fn choose_version(typed: Option<u64>, name: &ListName, previous: Option<&UnverifiedList>) -> Result<Version, Failure> {
    let previous = previous.map(|previous| previous.header());
    let Some(number) = typed else {
        return match previous {
            None => Ok(Version::FIRST),
            Some(previous) => previous.version.next().ok_or_else(|| {
                Failure::usage("the previous list has the last version there is", "give the list another name")
            }),
        };
    };
    let version = Version::new(number).ok_or_else(|| {
        Failure::usage(format!("{number} cannot be the version of a list"), "use a number from 1 to 999999999999999")
    })?;
    // One name and version for two lists is what a verifier takes for an attack.
    match previous.filter(|previous| previous.name == *name && previous.version >= version) {
        None => Ok(version),
        Some(previous) => Err(Failure::usage(
            format!("version {version} does not follow version {} of {name}", previous.version),
            "leave out --list-version, or name a higher one",
        )),
    }
}

/// Excludes and rules from options, files and other lists, checked.
fn collect_statements(args: &ListArgs, united: United) -> Result<(Excludes, Vec<Rule>), Failure> {
    let mut patterns = united.excludes;
    for text in &args.exclude {
        patterns.push(statements::parse_exclude(text)?);
    }
    for file in &args.excludes {
        patterns.extend(statements::read_excludes(file)?);
    }
    let excludes = Excludes::new(patterns).map_err(|error| {
        Failure::usage(format!("the excludes cannot be used: {error}"), "merge patterns, or exclude whole folders")
    })?;

    let mut rules = united.rules;
    for text in &args.boot_aggregate {
        rules.push(statements::parse_rule("--boot-aggregate", format!("boot-aggregate {text}").as_bytes())?);
    }
    for text in &args.rule {
        rules.push(statements::parse_rule("--rule", text.as_bytes())?);
    }
    for file in &args.rules {
        rules.extend(statements::read_rules(file)?);
    }
    for (pattern, probe) in excludes.broad() {
        let rule = Rule::BroadExclude(pattern.clone());
        if rules.contains(&rule) {
            continue;
        }
        if !args.allow_broad_exclude {
            return Err(Failure::new(
                Exit::Usage,
                "broad-exclude",
                format!("the exclude {} would take {probe}", PrintableLine(pattern.as_str().as_bytes())),
                "name a smaller folder, or say --allow-broad-exclude",
            ));
        }
        rules.push(rule);
    }
    Ok((excludes, rules))
}

/// An exclude or a rule that silently goes away turns machines bad on the day the list is rolled out.
fn name_what_is_gone(previous: &UnverifiedList, excludes: &Excludes, rules: &[Rule], ui: Ui) {
    for pattern in previous.contents().excludes().patterns() {
        if !excludes.patterns().contains(pattern) {
            ui.note(format_args!(
                "the previous list has an exclude that this one lacks: {}",
                PrintableLine(pattern.as_str().as_bytes())
            ));
        }
    }
    for rule in previous.contents().rules().as_slice() {
        if !rules.contains(rule) {
            ui.note(format_args!(
                "the previous list has a rule that this one lacks: {}",
                PrintableLine(rule.to_string().as_bytes())
            ));
        }
    }
}

/// Refuses to replace a key; an input or a sealed list only with `--force`.
fn protect(args: &ListArgs, inputs: &[&Path]) -> Result<(), Failure> {
    let output_place = place(&args.output);
    let new_key = args.seal_new.iter().flat_map(|path| [path.clone(), key::file::public_path(path)]);
    if output_place.is_some() && new_key.into_iter().any(|path| place(&path) == output_place) {
        return Err(Failure::usage(
            format!("{} would be both the list and the new key", Printable::path(&args.output)),
            "choose another output file",
        ));
    }
    if args.output == Path::new("-") {
        return Ok(());
    }
    let Ok(metadata) = fs::metadata(&args.output) else { return Ok(()) };
    if !metadata.is_file() {
        return Ok(());
    }
    let output = FileIdentity::from(&metadata);
    let is_output = |path: &Path| fs::metadata(path).is_ok_and(|metadata| FileIdentity::from(&metadata) == output);
    let name = Printable::path(&args.output);
    let mut head = Vec::new();
    // An output that cannot be read is no list of ours; whether it can be written shows when it is opened.
    let _ = fs::File::open(&args.output).and_then(|file| file.take(MAX_HEAD_LEN as u64).read_to_end(&mut head));
    if key::file::is_key_file(&head) || args.seal.as_deref().is_some_and(is_output) {
        return Err(Failure::new(Exit::Usage, "exists", format!("{name} is a key"), "choose another output file"));
    }
    if args.force || args.previous.as_deref().is_some_and(is_output) {
        return Ok(());
    }
    let statements = args.excludes.iter().chain(&args.rules).map(PathBuf::as_path);
    if inputs.iter().copied().chain(statements).any(is_output) {
        return Err(Failure::new(
            Exit::Usage,
            "exists",
            format!("{name} is one of the inputs"),
            "choose another output file, or say --force",
        ));
    }
    if Envelope::parse(&head).is_ok_and(|(envelope, _)| !envelope.signatures().is_empty()) {
        return Err(Failure::new(
            Exit::Usage,
            "exists",
            format!("{name} is a sealed list"),
            "choose another output file; to make its next version say --previous, to lose it say --force",
        ));
    }
    Ok(())
}

/// The folder in which a file stands or will stand, and its name there.
fn place(path: &Path) -> Option<(PathBuf, OsString)> {
    let folder = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    Some((folder.canonicalize().ok()?, path.file_name()?.to_owned()))
}

/// The union of algorithms, in canonical order.
pub fn union(algorithms: &[HashAlgorithm], more: impl IntoIterator<Item = HashAlgorithm>) -> Vec<HashAlgorithm> {
    let all: BTreeSet<HashAlgorithm> = algorithms.iter().copied().chain(more).collect();
    all.into_iter().collect()
}
