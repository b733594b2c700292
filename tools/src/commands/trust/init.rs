//! `goldseal trust init`: the first draft of a trust root.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;
use goldseal_cli::{clock, output, times};
use goldseal_verifier_core::header::{Expiry, ListName, SectionSeal, Version};
use goldseal_verifier_core::root::{
    HolderName, KeyStatement, KeyStatus, NamePattern, ROOT_ROLE, RoleName, RoleScope, RoleStatement, RootHeader,
    Statements,
};
use goldseal_verifier_core::time::Timestamp;

use super::set_threshold::threshold;
use crate::making::name_of_file;
use crate::{root_file, root_summary};
use goldseal_cli::policy::list_name;

/// Make the draft of a trust root, version 1: these keys sign the next root, and lists of every name
///
/// Each key has the roles root and lists, and is its own owner. The draft is unsigned, and can be edited until somebody
/// signs it.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The trust root; must not be there yet
    pub root: PathBuf,
    /// Public key, and what it is called [default: its file's name without .pub and .key]; repeatable
    #[arg(long, value_name = "[NAME=]PUB", required = true)]
    pub key: Vec<OsString>,
    /// How many owners must sign a root or a list [default: more than half of them]
    #[arg(long, value_name = "N", value_parser = threshold)]
    pub threshold: Option<NonZeroUsize>,
    /// Name of the root, the same in every version [default: the file's name without extension]
    #[arg(long, value_name = "NAME", value_parser = list_name)]
    pub name: Option<ListName>,
    /// When the root goes stale: never, 2027-05-23T00:00:00Z, or a number of days such as 90d
    #[arg(long, value_name = "never|TIME|DAYS", default_value = "never")]
    pub expires: String,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust init site.root --key alice.pub --key bob.pub --key carol.pub
  goldseal trust init site.root --key alice=a.pub --key bob=b.pub --threshold 1 \\
      --expires 365d

Exit codes:
  0  made
  2  usage, or the file exists
  3  a key cannot be read or is refused, or the file cannot be written";

/// The role that init lets seal every list.
pub(super) const LISTS_ROLE: &str = "lists";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; then there is no file.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let path = json_path(&args.root);
    init(args, ui).map_err(|failure| failure.with_all(path))
}

fn init(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root: path, key, threshold, name, expires, json: _ } = args;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(output::exists(&path));
    }
    let created = clock::created()?;
    let mut statements = Statements::default();
    for argument in &key {
        let statement = key_of(argument)?;
        let name = statement.name.clone();
        if let Some(first) = statements.insert_key(statement) {
            return Err(Failure::usage(
                format!("{} and {name} are the same key", first.name),
                "give each key once: --key PUB",
            ));
        }
    }
    let keys = statements.keys.len();
    let threshold = threshold.map_or(keys / 2 + 1, NonZeroUsize::get);
    if threshold > keys {
        return Err(Failure::usage(
            format!("{threshold} signatures are wanted, more than there are keys: {keys}"),
            "lower --threshold, or name more keys: --key PUB",
        ));
    }
    for (name, scope) in [(ROOT_ROLE, RoleScope::Root), (LISTS_ROLE, RoleScope::Lists(NamePattern::any()))] {
        statements.insert_role(RoleStatement { name: role(name), scope, threshold });
    }
    let header = RootHeader {
        name: name.unwrap_or_else(|| name_of_file(&path, "site")),
        version: Version::FIRST,
        created,
        expires: times::parse_expiry("--expires", &expires, created)?,
        keys: SectionSeal::of(""),
    };
    let root = root_file::make(&path, header, &statements)?;
    root_file::write_new(&path, &root)?;
    // It is there, whether or not anybody hears of it.
    let name = Printable::path(&path);
    let _ = ui.say(format_args!("MADE: {name}, a draft that nobody has signed:"));
    let _ = root_summary::say_root(ui, &root);
    let _ = say(ui, "next", format_args!("goldseal trust sign {name} --key KEY"));
    root_summary::warn(ui, root.statements(), None);
    Ok(Outcome::done().with_all(json_path(&path)).with_all(root_summary::root_fields(&root)))
}

/// `[NAME=]PUB`. What stands before the first `=` is a name if it can be one, so that `./a=b.pub` is a file.
fn key_of(argument: &OsStr) -> Result<KeyStatement, Failure> {
    let bytes = argument.as_bytes();
    let split = bytes.iter().position(|byte| *byte == b'=').and_then(|at| {
        let name = HolderName::new(std::str::from_utf8(&bytes[..at]).ok()?)?;
        Some((name, OsStr::from_bytes(&bytes[at + 1..])))
    });
    let (name, path) = match split {
        Some((name, path)) => (Some(name), Path::new(path)),
        None => (None, Path::new(argument)),
    };
    let (key, name) = root_file::read_key(path, name)?;
    let roles = BTreeSet::from([ROOT_ROLE, LISTS_ROLE].map(role));
    let (from, until, status) = (Timestamp::MIN, Expiry::Never, KeyStatus::Active);
    Ok(KeyStatement { key, owner: name.clone(), name, roles, from, until, status })
}

fn role(name: &str) -> RoleName {
    RoleName::new(name).expect("a valid name")
}
