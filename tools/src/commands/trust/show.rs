//! `goldseal trust show`: what a trust root says, whoever signed it.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::{self, say};
use goldseal_verifier_core::envelope::SignatureLine;
use goldseal_verifier_core::root::UnverifiedRoot;
use serde_json::{Value, json};

use crate::{root_file, root_summary};

/// Show what a trust root says: who may sign what, or one part of it byte for byte
///
/// Works on drafts and signed roots and says which it is. It does NOT check the signatures: goldseal trust verify does.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The trust root
    pub root: PathBuf,
    #[command(flatten)]
    pub part: Part,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long, conflicts_with = "Part")]
    pub json: bool,
}

/// The part to print, byte for byte and with nothing else; at most one.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct Part {
    /// Print the signed bytes
    #[arg(long)]
    pub header: bool,
    /// Print the statements: keys, roles, floors, resets, revoked lists
    #[arg(long)]
    pub keys: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal trust show site.root
  goldseal trust show site.root --keys

Exit codes:
  0  shown, signed or not
  2  usage
  3  the file cannot be read, or is not a trust root";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 3 for a file that cannot be read or is not a trust root.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { root: path, part, json: _ } = args;
    let root = root_file::read_unverified(&path).map_err(|failure| failure.with_all(json_path(&path)))?;
    if part.header || part.keys {
        ui.raw(if part.header { root.envelope().signed_bytes() } else { root.section() })?;
        return Ok(Outcome::done());
    }
    let signatures = root.envelope().signatures();
    let name = Printable::path(&path);
    if signatures.is_empty() {
        ui.say(format_args!("{name} is NOT signed."))?;
    } else {
        let count = summary::signatures(signatures.len());
        ui.say(format_args!("{name} is signed with {count}, NOT checked here: goldseal trust verify does."))?;
    }
    for line in signatures {
        match key_name(&root, line) {
            Some(key) => say(ui, "signed by", format_args!("{} ({key}, by its own word)", line.key_id()))?,
            None => say(ui, "signed by", format_args!("{} (not one of its keys)", line.key_id()))?,
        }
    }
    root_summary::say_root(ui, &root)?;
    root_summary::say_warnings(ui, root.statements())?;
    let signers = signatures.iter().map(|line| {
        let name = key_name(&root, line);
        json!({ "key_id": line.key_id().to_string(), "algorithm": line.algorithm(), "name": name })
    });
    Ok(Outcome::done()
        .with_all(json_path(&path))
        .with("sealed", !signatures.is_empty())
        .with("seal_checked", false)
        .with("claimed_signers", signers.collect::<Value>())
        .with_all(root_summary::root_fields(&root)))
}

fn key_name<'a>(root: &'a UnverifiedRoot, line: &SignatureLine) -> Option<&'a str> {
    root.statements().keys.get(&line.key_id()).map(|key| key.name.as_str())
}
