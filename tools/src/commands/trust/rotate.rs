//! `goldseal trust rotate`: the draft of the next trust root.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;
use goldseal_cli::{clock, output, times, trusted};
use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::root::{RootHeader, Statements, UnverifiedRoot};
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{Now, TrustRoot, TrustedRootError};

use crate::{root_difference, root_file, root_summary};

/// Make the draft of the next trust root: one version on, with the same statements but for resets
///
/// The draft is unsigned, and can be edited until somebody signs it. It must be signed by the threshold of ROOT and by
/// its own.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The trust root to be followed, signed
    pub root: PathBuf,
    /// The draft; must not be there yet
    #[arg(short, long, value_name = "NEXT")]
    pub output: PathBuf,
    /// When the next root goes stale: never, 2027-05-23T00:00:00Z, or a number of days such as 90d [default: as long
    /// after now as that of ROOT after its making]
    #[arg(long, value_name = "never|TIME|DAYS")]
    pub expires: Option<String>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust rotate site.root -o site-2.root
  goldseal trust revoke site-2.root carol
  goldseal sign site-2.root --key alice.key --previous site.root

Exit codes:
  0  made
  2  usage, or the file exists
  3  ROOT is not signed or is refused, or the draft cannot be written";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; then there is no draft.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let path = json_path(&args.output);
    rotate(&args, ui).map_err(|failure| failure.with_all(path))
}

fn rotate(args: &Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root: path, output: next_path, expires, json: _ } = args;
    if fs::symlink_metadata(next_path).is_ok() {
        return Err(output::exists(next_path));
    }
    let bytes = trusted::read_root(path)?;
    let root = UnverifiedRoot::parse(&bytes).map_err(|error| trusted::bad_document(path, Exit::Input, &error))?;
    let unmet = check_signed(path, &bytes)?;
    let next = next_of(path, &root, next_path, expires.as_deref())?;
    root_file::write_new(next_path, &next)?;
    // It is there, whether or not anybody hears of it.
    let difference = root_difference::between(&root, &next);
    let _ = tell(ui, next_path, &next, difference.must_sign());
    if let Some(unmet) = &unmet {
        let name = Printable::path(path);
        ui.note(format_args!("goldseal trust: {name}: {unmet}\n  nobody can follow from it before it is signed"));
    }
    root_summary::warn(ui, next.statements(), None);
    Ok(Outcome::done()
        .with_all(json_path(next_path))
        .with("changes", difference.json())
        .with("previous_unmet", unmet)
        .with_all(root_summary::root_fields(&next)))
}

/// What is missing on a root that is to be followed. That must not hold up its successor: keys may have expired.
fn check_signed(path: &Path, bytes: &[u8]) -> Result<Option<String>, Failure> {
    let now = Now::by_clock(clock::now()?);
    match TrustRoot::anchor(bytes, now) {
        Ok(_) => Ok(None),
        Err(error @ TrustedRootError::OwnThreshold(_)) => Ok(Some(error.to_string())),
        Err(error @ TrustedRootError::Unsealed) => Err(Failure::new(
            Exit::Input,
            "unsealed",
            format!("{}: {error}", Printable::path(path)),
            "edit it as it is; only a signed one is followed by another",
        )),
        Err(error) => Err(trusted::bad_root(path, &error)),
    }
}

fn next_of(
    path: &Path,
    root: &UnverifiedRoot,
    next_path: &Path,
    expires: Option<&str>,
) -> Result<UnverifiedRoot, Failure> {
    let header = root.header();
    let created = clock::created()?;
    if created <= header.created {
        return Err(Failure::usage(
            format!(
                "the next root would be created {created}, not after {} ({})",
                Printable::path(path),
                header.created
            ),
            "set this machine's clock, or SOURCE_DATE_EPOCH",
        ));
    }
    let version = header.version.next().ok_or_else(|| {
        Failure::usage("it has the last version there is", "begin anew: goldseal trust init ROOT --key PUB")
    })?;
    let expires = match expires {
        Some(typed) => times::parse_expiry("--expires", typed, created)?,
        None => same_length(header, created)?,
    };
    let statements = Statements { resets: Default::default(), ..root.statements().clone() };
    root_file::make(next_path, RootHeader { version, created, expires, ..header.clone() }, &statements)
}

/// As long after `created` as before; one that never goes stale stays so.
fn same_length(header: &RootHeader, created: Timestamp) -> Result<Expiry, Failure> {
    let Expiry::At(until) = header.expires else { return Ok(Expiry::Never) };
    let length = until.unix().saturating_sub(header.created.unix());
    created
        .plus_seconds(length)
        .map(Expiry::At)
        .ok_or_else(|| Failure::usage("the next root would go stale after the year 9999", "say when: --expires TIME"))
}

fn tell(ui: Ui, path: &Path, next: &UnverifiedRoot, must_sign: &[String]) -> Result<(), Failure> {
    let (name, header) = (Printable::path(path), next.header());
    ui.say(format_args!("MADE: {name}, a draft of version {} that nobody has signed:", header.version))?;
    root_summary::say_root(ui, next)?;
    for line in must_sign {
        say(ui, "must sign", line)?;
    }
    say(ui, "next", format_args!("edit it, then: goldseal trust sign {name} --key KEY"))
}
