//! `goldseal ima-policy`: the kernel rules that whitelists are made for, and whether this kernel measures so.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use goldseal_cli::evidence;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::ima::boot_aggregate;
use goldseal_verifier_core::ima::list::MeasurementList;
use goldseal_verifier_core::rules::DEFAULT_TEMPLATES;
use serde_json::{Value, json};

use crate::ima_policy::{RECOMMENDED, left_out};
use crate::learn::BUFFER_TEMPLATE;

/// Print the recommended ima_policy, or check whether this kernel measures as a whitelist needs it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the recommended ima_policy: the kernel's rules of what is measured
    Print,
    /// Look at securityfs, the boot command line, the ima_policy and the measurement list of this machine
    ///
    /// Most of it only root may read. A kernel without CONFIG_IMA_READ_POLICY shows its ima_policy to nobody; that is
    /// `unknown`, and no fault.
    Check {
        /// Look at /proc and /sys below this folder instead
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Print one JSON object on standard output; text for people goes to standard error
        #[arg(long)]
        json: bool,
    },
}

const AFTER_HELP: &str = "\
Examples:
  goldseal ima-policy print > /etc/ima/ima-policy
  goldseal ima-policy check

Exit codes of check:
  0  this kernel measures what a whitelist lists, as far as it can be seen
  1  something is missing; each with what to do
  2  usage
  3  something cannot be read, or is no measurement list";

impl Args {
    /// Whether `--json` was given.
    pub fn json(&self) -> bool {
        matches!(self.action, Action::Check { json: true, .. })
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 3 for what cannot be read.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    match args.action {
        Action::Print => ui.raw(RECOMMENDED.as_bytes()).map(|()| Outcome::done()),
        Action::Check { root, json: _ } => check(&root, ui),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    Missing,
    Unknown,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Item {
    check: &'static str,
    status: Status,
    what: String,
    /// Empty if nothing is to be done.
    todo: &'static str,
}

impl Item {
    fn new(check: &'static str, status: Status, what: impl Into<String>, todo: &'static str) -> Self {
        Self { check, status, what: what.into(), todo }
    }

    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, what, "")
    }

    fn missing(check: &'static str, what: impl Into<String>, todo: &'static str) -> Self {
        Self::new(check, Status::Missing, what, todo)
    }
}

/// Longest of the small files: the kernel prints them into a page or a few.
const MAX_SMALL: u64 = 1 << 20;

const IMA: &str = "sys/kernel/security/ima";

/// What a file of the kernel holds; the inner error says why nobody sees it.
fn read(root: &Path, name: &str, limit: u64) -> Result<Result<Vec<u8>, io::ErrorKind>, Failure> {
    let path = root.join(name);
    match File::open(&path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            input::read_bounded(file, &path, limit, &mut bytes).map(|()| Ok(bytes))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(Err(error.kind()))
        }
        Err(error) => Err(input::cannot_read(&path, &error)),
    }
}

fn check(root: &Path, ui: Ui) -> Result<Outcome, Failure> {
    if !root.is_dir() {
        return Err(Failure::unreadable(
            format!("{} is not a folder", Printable::path(root)),
            "name the folder that has proc and sys in it",
        ));
    }
    let mut items = vec![securityfs(root)?, command_line(root)?];
    let list_name = format!("{IMA}/binary_runtime_measurements");
    let list = read(root, &list_name, evidence::LIMITS.bytes as u64)?;
    match list {
        Err(io::ErrorKind::PermissionDenied) => {
            let path = root.join(&list_name);
            return Err(Failure::unreadable(
                format!("you are not permitted to read {}", Printable::path(&path)),
                "run it as root",
            ));
        }
        Err(_) => items.push(Item::missing(
            "list",
            "there is no measurement list",
            "mount securityfs, or boot a kernel with CONFIG_IMA=y",
        )),
        Ok(bytes) => {
            let list = MeasurementList::parse(&bytes, &evidence::LIMITS)
                .map_err(|error| evidence::bad_list(&root.join(&list_name), &error))?;
            items.extend([boot(&list), policy(root, &list)?, form(&list)]);
        }
    }
    for Item { check, status, what, todo } in &items {
        ui.say(format_args!("{:<8} {check:<12} {what}", status.word()))?;
        if !todo.is_empty() {
            ui.say(format_args!("{:21} -> {todo}", ""))?;
        }
    }
    let is_missing = items.iter().any(|item| item.status == Status::Missing);
    let outcome = if is_missing { Outcome::new(Exit::No, "missing") } else { Outcome::done() };
    let checks = items.iter().map(|Item { check, status, what, todo }| {
        json!({ "check": check, "status": status.word(), "what": what, "todo": todo })
    });
    Ok(outcome.with("checks", checks.collect::<Value>()))
}

fn securityfs(root: &Path) -> Result<Item, Failure> {
    const CHECK: &str = "securityfs";
    let mounts = read(root, "proc/mounts", MAX_SMALL)?.unwrap_or_default();
    let mounts = String::from_utf8_lossy(&mounts).into_owned();
    let is_mounted =
        mounts.lines().any(|line| line.split(' ').skip(1).take(2).eq(["/sys/kernel/security", "securityfs"]));
    Ok(match (is_mounted, root.join(IMA).is_dir()) {
        (_, true) => Item::ok(CHECK, "mounted, with the folder of IMA"),
        (true, false) => Item::missing(
            CHECK,
            "mounted, without a folder of IMA",
            "boot a kernel with CONFIG_IMA=y, and `integrity` or `ima` in lsm= if that is given",
        ),
        (false, false) => Item::missing(CHECK, "not mounted", "mount -t securityfs securityfs /sys/kernel/security"),
    })
}

fn command_line(root: &Path) -> Result<Item, Failure> {
    const CHECK: &str = "command line";
    let Ok(bytes) = read(root, "proc/cmdline", MAX_SMALL)? else {
        return Ok(Item::new(CHECK, Status::Unknown, "it cannot be read", "mount /proc"));
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let ima: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with("ima")).collect();
    let shown = if ima.is_empty() { "nothing of IMA".to_owned() } else { ima.join(" ") };
    let shown = Printable(shown.as_bytes()).to_string();
    if ima.iter().any(|word| matches!(*word, "ima=off" | "ima_hash=sha1" | "ima_hash=md5" | "ima_template=ima")) {
        return Ok(Item::missing(
            CHECK,
            shown,
            "boot with ima_hash=sha256 and ima_template=ima-sig, or without either",
        ));
    }
    Ok(Item::ok(CHECK, shown))
}

/// The first entry.
fn boot(list: &MeasurementList<'_>) -> Item {
    const CHECK: &str = "list";
    let Some(first) = list.entries().next() else {
        return Item::missing(CHECK, "it is empty, without even a boot_aggregate", "boot a kernel with CONFIG_IMA=y");
    };
    let fields = first.fields().unwrap_or_default();
    let digest = fields.digest.and_then(|digest| digest.digest());
    match (fields.name, digest) {
        (Some(boot_aggregate::NAME), Some(digest)) if digest.is_zero() => Item::missing(
            CHECK,
            format!("{} entries; the boot_aggregate is all zeros: IMA found no TPM when it started", list.len()),
            "enable the TPM in the firmware, and boot a kernel with its driver built in",
        ),
        (Some(boot_aggregate::NAME), Some(digest)) => {
            Item::ok(CHECK, format!("{} entries, boot_aggregate {digest:?}", list.len()))
        }
        _ => Item::missing(CHECK, "its first entry is not the boot_aggregate", "read it again, as root"),
    }
}

fn policy(root: &Path, list: &MeasurementList<'_>) -> Result<Item, Failure> {
    const CHECK: &str = "ima_policy";
    const LOAD: &str = "goldseal ima-policy print > /etc/ima/ima-policy, and boot again";
    let measures = list.len() > 1;
    let Ok(bytes) = read(root, &format!("{IMA}/policy"), MAX_SMALL)? else {
        return Ok(if measures {
            Item::new(CHECK, Status::Unknown, "this kernel does not show it; it does measure", "")
        } else {
            Item::missing(CHECK, "this kernel does not show it, and nothing was measured since boot", LOAD)
        });
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (unmeasured, unseen) = left_out(&text);
    Ok(match (unmeasured.as_slice(), unseen.as_slice()) {
        ([], []) => Item::ok(CHECK, "it measures at least what the recommended one does"),
        ([], unseen) => Item::missing(
            CHECK,
            format!("it leaves out more than the recommended one: {}", Printable(unseen.join("; ").as_bytes())),
            "see that no programs are there, or take these rules out",
        ),
        (unmeasured, _) => Item::missing(CHECK, format!("it lacks: {}", unmeasured.join("; ")), LOAD),
    })
}

/// Templates and algorithms in use.
fn form(list: &MeasurementList<'_>) -> Item {
    const CHECK: &str = "template";
    let mut templates: Vec<&[u8]> = Vec::new();
    let mut algorithms: Vec<HashAlgorithm> = Vec::new();
    let files = list.entries().skip(1).filter(|entry| !entry.is_violation());
    for entry in files.filter(|entry| entry.claimed_template() != BUFFER_TEMPLATE) {
        if !templates.contains(&entry.claimed_template()) {
            templates.push(entry.claimed_template());
        }
        let digest = entry.fields().ok().and_then(|fields| fields.digest).and_then(|digest| digest.digest());
        algorithms.extend(digest.map(|digest| digest.algorithm()).filter(|found| !algorithms.contains(found)));
    }
    let names: Vec<String> = templates.iter().map(|name| Printable(name).to_string()).collect();
    let hashes: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
    let what = format!("{} with {}", names.join(", "), hashes.join(", "));
    if names.is_empty() {
        return Item::new(CHECK, Status::Unknown, "no file was measured yet", "");
    }
    if algorithms.contains(&HashAlgorithm::Sha1) || algorithms.is_empty() {
        return Item::missing(CHECK, what, "boot with ima_hash=sha256 and ima_template=ima-sig: SHA-1 proves no file");
    }
    if templates.iter().any(|name| !DEFAULT_TEMPLATES.iter().any(|known| known.as_bytes() == *name)) {
        return Item::missing(
            CHECK,
            what,
            "boot with ima_template=ima-sig, or allow it in the whitelist: --rule 'template NAME'",
        );
    }
    Item::ok(CHECK, what)
}
