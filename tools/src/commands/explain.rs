//! `goldseal explain`: why a path or a digest is, or is not, allowed by a list, and what a measurement list would trip over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_cli::evidence;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::findings;
use goldseal_cli::printable::{Printable, PrintableLine, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::appraise::{MeasuredDigest, Trial, Trier};
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::excludes::Excludes;
use goldseal_verifier_core::ima::list::MeasurementList;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::path::kernel_name;
use goldseal_verifier_core::provenance::InputKind;
use goldseal_verifier_core::rules::Rule;
use serde_json::{Map, Value, json};

use crate::nearest::{self, Nearest};
use crate::trips::{self, Group};
use crate::unverified_list;

/// Say why a path or a digest is allowed or not, or what a measurement list would trip over
///
/// With PATH or --digest: is it listed, under which digests, from which input; which exclude takes it; what is nearest to
/// it. With --ima-log beside PATH: what the measurement list says of it, and how that would be judged.
///
/// With --ima-log alone: everything that would not be allowed, by kind and folder, each with the options of `goldseal
/// build` that would admit it. An exclude lets anything pass in its folder: list files where you can.
///
/// Lists may be unsealed, and no quote is looked at: this is help for whoever makes a list, and never a verdict.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// A path as it is on the machine, from / on
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,
    /// A list, sealed or not; repeatable
    #[arg(long, value_name = "FILE", required = true)]
    pub policy: Vec<PathBuf>,
    /// A measurement list, binary or ASCII; repeatable
    #[arg(long, value_name = "FILE")]
    pub ima_log: Vec<PathBuf>,
    /// A digest: hex, or verity:ALG:HEX
    #[arg(long, value_name = "HEX", value_parser = digest)]
    pub digest: Option<FileDigest>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal explain /usr/bin/ssh --policy prod.whitelist
  goldseal explain --digest $(sha256sum < tool | cut -c1-64) --policy prod.whitelist
  goldseal explain /opt/app/run --policy prod.whitelist --ima-log ascii_runtime_measurements
  goldseal explain --policy draft.whitelist --ima-log host1.log --ima-log host2.log

Exit codes:
  0  nothing to say: it is listed, or everything measured would be allowed
  1  something to say
  2  usage
  3  a list or a measurement list cannot be read, or is malformed";

fn digest(text: &str) -> Result<FileDigest, String> {
    let lower = text.to_ascii_lowercase();
    let bare = ["sha1:", "sha256:", "sha384:", "sha512:"].iter().find_map(|prefix| lower.strip_prefix(prefix));
    FileDigest::parse(bare.unwrap_or(&lower).as_bytes())
        .ok_or_else(|| "a digest is hex of 40, 64, 96 or 128 digits, not all of them 0".to_owned())
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for a file that cannot be read.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { path, policy, ima_log, digest, json: _ } = args;
    let path = path.as_deref().map(OsStr::as_bytes);
    if let Some(relative) = path.filter(|path| !path.starts_with(b"/")) {
        return Err(Failure::usage(
            format!("{} does not begin with /", Printable(relative)),
            "name a path as it is on the machine, from / on",
        ));
    }
    let question = Question { path, digest };
    match (path, digest) {
        (None, None) if ima_log.is_empty() => {
            return Err(Failure::usage("nothing is asked", "name a PATH, a --digest or an --ima-log"));
        }
        (None, Some(_)) if !ima_log.is_empty() => {
            return Err(Failure::usage("--digest asks the lists alone", "name the PATH too, or leave out --ima-log"));
        }
        _ => {}
    }
    let lists = policy.iter().map(|path| unverified_list::read(path)).collect::<Result<Vec<_>, _>>()?;
    let logs = ima_log.iter().map(|path| evidence::read_ima_log(path)).collect::<Result<Vec<_>, _>>()?;
    let parsed = ima_log.iter().zip(&logs).map(|(path, bytes)| {
        MeasurementList::parse(bytes, &evidence::LIMITS).map_err(|error| evidence::bad_list(path, &error))
    });
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    let logs: Vec<(&Path, &MeasurementList<'_>)> = ima_log.iter().map(PathBuf::as_path).zip(&parsed).collect();

    let mut answers = Vec::new();
    let mut reason = None;
    for (path, list) in policy.iter().zip(&lists) {
        let asks = question.path.is_some() || question.digest.is_some();
        let (found, fields) = if asks { question.answer(ui, path, list, &logs)? } else { trip(ui, path, list, &logs)? };
        reason = reason.or(found);
        let mut object = json_path(path);
        object.insert("name".into(), json!(list.header().name.as_str()));
        object.insert("version".into(), json!(list.header().version.number()));
        object.insert("identity".into(), json!(list.envelope().identity().to_string()));
        object.extend(fields);
        answers.push(Value::Object(object));
    }
    Ok(reason.unwrap_or_else(Outcome::done).with("policies", answers))
}

/// The exit and reason if there is something to say, and fields of the JSON object.
type Answer = (Option<Outcome>, Map<String, Value>);

fn head(ui: Ui, path: &Path, list: &UnverifiedList) -> Result<(), Failure> {
    let header = list.header();
    let seal = if list.envelope().signatures().is_empty() { "NOT sealed" } else { "seal NOT checked here" };
    ui.say(format_args!("{}: {} version {}, {seal}", Printable::path(path), header.name, header.version))
}

/// What is asked of each list.
#[derive(Clone, Copy, Debug)]
struct Question<'a> {
    path: Option<&'a [u8]>,
    digest: Option<FileDigest>,
}

impl Question<'_> {
    fn answer(
        self,
        ui: Ui,
        policy: &Path,
        list: &UnverifiedList,
        logs: &[(&Path, &MeasurementList<'_>)],
    ) -> Result<Answer, Failure> {
        let contents = list.contents();
        let trier = Trier::new(contents);
        head(ui, policy, list)?;
        let mut fields = Map::new();
        let mut measured = Vec::new();
        let mut all_allowed = true;
        let (mut is_listed, mut is_path_listed) = (None, false);
        if let Some(path) = self.path {
            let name = kernel_name(path);
            let listed: Vec<(Vec<u8>, FileDigest)> = trier
                .entries(&name)
                .filter_map(|entry| Some((entry.path.to_vec(), FileDigest::parse(entry.digest)?)))
                .collect();
            is_listed = Some(self.say_listed(ui, path, &listed)?);
            is_path_listed = !listed.is_empty();
            fields.insert("listed".into(), listed.iter().map(listed_json).collect());
            if !listed.is_empty() {
                let inputs = nearest::inputs(contents, path);
                say_inputs(ui, &inputs)?;
                let input = |(kind, name): &(InputKind, &[u8])| {
                    let mut object = json_path(OsStr::from_bytes(name));
                    object.insert("kind".into(), json!(kind.name()));
                    Value::Object(object)
                };
                fields.insert("inputs".into(), inputs.iter().map(input).collect());
            }
            let excludes: Vec<&str> = contents.excludes().taking(path).map(|pattern| pattern.as_str()).collect();
            for pattern in &excludes {
                let unused =
                    if listed.is_empty() { "" } else { ", which counts for nothing: a listed path's digests decide" };
                ui.say(format_args!("  taken by exclude {}{unused}", PrintableLine(pattern.as_bytes())))?;
            }
            fields.insert("taken_by".into(), json!(excludes));
            if listed.is_empty() && signature_rule_takes(contents.rules().as_slice(), path) {
                ui.say("  a file-signature rule takes it: signed by its key, it need not be listed")?;
            }
            let (said, allowed) = say_measured(ui, &trier, &name, logs, &mut measured)?;
            all_allowed = allowed;
            fields.insert("measured".into(), said);
        } else if let Some(digest) = self.digest {
            let paths = Nearest::find(contents, None, &[digest]).same_digest;
            let text = findings::file_digest(&digest);
            match paths.as_slice() {
                [] => ui.say(format_args!("  {text} is NOT listed under any path"))?,
                paths => {
                    for (path, _) in paths {
                        ui.say(format_args!("  {text} is listed as {}", Printable(path)))?;
                    }
                }
            }
            is_listed = Some(!paths.is_empty());
            fields.insert("listed".into(), paths.iter().map(listed_json).collect());
        }
        let is_listed = is_listed.unwrap_or(false);
        if let Some(path) = self.path.filter(|_| !is_listed || !all_allowed) {
            let digests: Vec<FileDigest> = self.digest.into_iter().chain(measured).collect();
            let near = Nearest::find(contents, Some(&kernel_name(path)), &digests);
            // Of a listed path only other digests are of interest.
            let kinds = near.kinds().into_iter().filter(|(what, _)| !is_path_listed || *what == "same digest");
            for (what, listed) in kinds {
                for (path, digest) in listed {
                    ui.say(format_args!("  {what}: {} {}", Printable(path), findings::file_digest(digest)))?;
                }
                fields.insert(what.replace(' ', "_"), listed.iter().map(listed_json).collect());
            }
        }
        let outcome = match (is_listed, all_allowed) {
            (true, true) => None,
            (_, false) => Some(Outcome::new(Exit::No, "findings")),
            (false, true) => Some(Outcome::new(Exit::No, "not-listed")),
        };
        Ok((outcome, fields))
    }

    /// Whether what was asked for is listed.
    fn say_listed(self, ui: Ui, path: &[u8], listed: &[(Vec<u8>, FileDigest)]) -> Result<bool, Failure> {
        let shown = Printable(path);
        if listed.is_empty() {
            ui.say(format_args!("  {shown} is NOT listed"))?;
            return Ok(false);
        }
        for (other, digest) in listed {
            let other = if other == path { String::new() } else { format!(" as {}", Printable(other)) };
            ui.say(format_args!("  {shown} is listed{other}: {}", findings::file_digest(digest)))?;
        }
        let Some(wanted) = self.digest else { return Ok(true) };
        let has = listed.iter().any(|(_, digest)| *digest == wanted);
        if !has {
            ui.say(format_args!("  NOT with {}", findings::file_digest(&wanted)))?;
        }
        Ok(has)
    }
}

fn listed_json((path, digest): &(Vec<u8>, FileDigest)) -> Value {
    let mut object = json_path(OsStr::from_bytes(path));
    object.insert("digest".into(), json!(findings::file_digest(digest)));
    Value::Object(object)
}

fn say_inputs(ui: Ui, inputs: &[(InputKind, &[u8])]) -> Result<(), Failure> {
    let names: Vec<String> = inputs.iter().map(|(kind, name)| format!("{} {}", kind.name(), Printable(name))).collect();
    match names.as_slice() {
        [] => ui.say("  from an input that its provenance does not name"),
        [one] => ui.say(format_args!("  from {one}")),
        several => ui.say(format_args!("  from one of: {}", several.join(", "))),
    }
}

fn signature_rule_takes(rules: &[Rule], path: &[u8]) -> bool {
    rules.iter().any(|rule| match rule {
        Rule::FileSignature { pattern, .. } => Excludes::new([pattern.clone()]).is_ok_and(|one| one.takes(path)),
        _ => false,
    })
}

/// What measurement lists say of a name: each different thing once. False if something of it would not be allowed.
fn say_measured(
    ui: Ui,
    trier: &Trier<'_>,
    name: &[u8],
    logs: &[(&Path, &MeasurementList<'_>)],
    measured: &mut Vec<FileDigest>,
) -> Result<(Value, bool), Failure> {
    let (mut all, mut allowed) = (Vec::new(), true);
    for (log, list) in logs {
        let mut different: BTreeMap<String, (u64, u64, bool)> = BTreeMap::new();
        for (number, entry) in (1..).zip(list.entries()) {
            let Ok(fields) = entry.fields() else { continue };
            if fields.name != Some(name) {
                continue;
            }
            let trial = trier.try_entry(number, &entry);
            let digest = fields.digest.and_then(|digest| digest.digest());
            let text = judged(&trial, digest.map(|digest| format!("{digest:?}")));
            measured.extend(trial.findings.iter().filter_map(|finding| match finding.kind.found() {
                Some(MeasuredDigest::Known(digest)) => Some(*digest),
                _ => None,
            }));
            let known = different.entry(text).or_insert((number, 0, trial.findings.is_empty()));
            known.1 += 1;
        }
        let log = Printable::path(log);
        if different.is_empty() {
            ui.say(format_args!("  {log} has no entry of it"))?;
        }
        let mut lines: Vec<_> = different.into_iter().collect();
        lines.sort_by_key(|(_, (first, _, _))| *first);
        for (text, (first, count, is_allowed)) in lines {
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            ui.say(format_args!("  {log}: entry {first}{more}: {text}"))?;
            allowed &= is_allowed;
            all.push(
                json!({ "log": log.to_string(), "entry": first, "count": count, "allowed": is_allowed, "text": text }),
            );
        }
    }
    measured.dedup();
    Ok((Value::Array(all), allowed))
}

/// What an entry would be.
fn judged(trial: &Trial, digest: Option<String>) -> String {
    if let Some(finding) = trial.findings.first() {
        return format!("would not be allowed: {}", findings::text(&finding.kind));
    }
    let digest = digest.map(|digest| format!("{digest} ")).unwrap_or_default();
    format!("{digest}would be allowed: {}", findings::counts_text(&trial.counts).trim_start_matches("1 "))
}

/// Everything that measurement lists would trip over.
fn trip(
    ui: Ui,
    policy: &Path,
    list: &UnverifiedList,
    logs: &[(&Path, &MeasurementList<'_>)],
) -> Result<Answer, Failure> {
    let trier = Trier::new(list.contents());
    let trials: Vec<Trial> = logs.iter().map(|(_, log)| trier.try_list(log)).collect();
    let groups = trips::group(list.contents(), trials.iter().flat_map(|trial| &trial.findings));
    let omitted = trials.iter().fold(0, |all: u64, trial| all.saturating_add(trial.omitted));
    head(ui, policy, list)?;
    let entries: usize = logs.iter().map(|(_, log)| log.len()).sum();
    if groups.is_empty() {
        ui.say(format_args!("  nothing to say: of {entries} entries each would be allowed. No quote confirms them"))?;
    } else {
        let wrong: u64 = groups.iter().map(|group| group.entries).sum();
        ui.say(format_args!("  {wrong} of {entries} entries would not be allowed, by kind and folder:"))?;
    }
    for group in groups.iter().take(GROUPS) {
        say_group(ui, policy, group)?;
    }
    if groups.len() > GROUPS {
        ui.say(format_args!("\n… and {} more kinds and folders; --json has them all", groups.len() - GROUPS))?;
    }
    if omitted > 0 {
        ui.say(format_args!("\n{omitted} more findings were counted and not kept"))?;
    }
    let mut fields = Map::new();
    fields.insert("groups".into(), groups.iter().map(Group::json).collect());
    fields.insert("omitted".into(), json!(omitted));
    Ok(((!groups.is_empty()).then(|| Outcome::new(Exit::No, "findings")), fields))
}

/// Most groups that are shown to people.
const GROUPS: usize = 50;

/// Most names of one group that are.
const NAMES: usize = 10;

/// Up to so many unlisted files are proposed to be listed by name; of more the folder is.
const LISTED_BY_NAME: usize = 5;

fn say_group(ui: Ui, policy: &Path, group: &Group) -> Result<(), Failure> {
    let place = match group.folder.as_deref() {
        Some([]) => " in /".to_owned(),
        Some(folder) => format!(" in {}", Printable(folder)),
        None => String::new(),
    };
    let plural = if group.entries == 1 { "y" } else { "ies" };
    ui.say(format_args!("\n{}{place}: {} entr{plural}", group.word, group.entries))?;
    for (name, found) in group.names.iter().take(NAMES) {
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let name = if name.is_empty() { "(no name)".to_owned() } else { Printable(name).to_string() };
        ui.say(format_args!("  {name} {}", PrintableLine(found.join(", ").as_bytes())).to_string().trim_end())?;
    }
    if group.names.len() > NAMES {
        ui.say(format_args!("  … and {} more", group.names.len() - NAMES))?;
    }
    let list = trips::quoted(&Printable::path(policy).to_string());
    let shell = |name: &[u8]| trips::quoted(&Printable(name).to_string());
    if matches!(group.word, "not-in-whitelist" | "digest-differs") {
        let names: Vec<String> = match group.folder.as_deref() {
            Some(folder) if group.names.len() > LISTED_BY_NAME && !folder.is_empty() => vec![shell(folder)],
            _ => group.names.keys().take(LISTED_BY_NAME).map(|name| shell(name)).collect(),
        };
        ui.say(format_args!("  to list them: goldseal build --list {list} -o NEXT {}", names.join(" ")))?;
        if group.names.values().flatten().any(|found| found.starts_with("verity:")) {
            ui.say("  fs-verity digests are not made of files here, but learned: goldseal build --ima-log LOG")?;
        }
    }
    for (option, remark) in &group.admit {
        let remark = if remark.is_empty() { String::new() } else { format!("   ({remark})") };
        ui.say(format_args!("  to admit: {}{remark}", PrintableLine(option.as_bytes())))?;
    }
    if group.remark.is_empty() { Ok(()) } else { ui.say(format_args!("  {}", group.remark)) }
}
