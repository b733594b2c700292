//! `goldseal show`: what a list says, whoever sealed it.

use std::path::PathBuf;

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::{self, say};
use goldseal_verifier_core::envelope::SignatureLine;
use goldseal_verifier_core::header::Section;
use goldseal_verifier_core::list::UnverifiedList;
use serde_json::{Value, json};

use crate::unverified_list::{self, list_fields, say_list};

/// Show what a list says: a summary, or one part of it byte for byte
///
/// Works on sealed and unsealed lists and says which it is. It does NOT check the seal: goldseal verify does.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The list
    pub file: PathBuf,
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
    /// Print where the entries came from and what is missing
    #[arg(long)]
    pub provenance: bool,
    /// Print the patterns whose files are left out
    #[arg(long)]
    pub excludes: bool,
    /// Print what is accepted beyond the entries
    #[arg(long)]
    pub rules: bool,
    /// Print digests and paths, as sha256sum does
    #[arg(long)]
    pub entries: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal show prod.whitelist
  goldseal show prod.whitelist --entries | sha256sum -c --strict --quiet

Exit codes:
  0  shown, sealed or not
  2  usage
  3  the file cannot be read, or is not a list";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 3 for a file that cannot be read or is not a list.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { file, part, json: _ } = args;
    let list = unverified_list::read(&file).map_err(|failure| failure.with_all(json_path(&file)))?;
    if let Some(bytes) = part.of(&list) {
        ui.raw(bytes)?;
        return Ok(Outcome::done());
    }
    let signatures = list.envelope().signatures();
    let name = Printable::path(&file);
    if signatures.is_empty() {
        ui.say(format_args!("{name} is NOT sealed."))?;
    } else {
        let count = summary::signatures(signatures.len());
        ui.say(format_args!("{name} is sealed with {count}, NOT checked here: goldseal verify does."))?;
    }
    for line in signatures {
        say(ui, "signed by", format_args!("{} ({})", line.key_id(), line.algorithm()))?;
    }
    say_list(ui, &list)?;
    Ok(Outcome::done()
        .with_all(json_path(&file))
        .with("sealed", !signatures.is_empty())
        .with("seal_checked", false)
        .with("claimed_signers", signatures.iter().map(signature_json).collect::<Value>())
        .with_all(list_fields(&list)))
}

fn signature_json(line: &SignatureLine) -> Value {
    json!({ "key_id": line.key_id().to_string(), "algorithm": line.algorithm() })
}

impl Part {
    fn of<'a>(&self, list: &'a UnverifiedList) -> Option<&'a [u8]> {
        let section = |section| list.contents().section(section);
        match self {
            Self { header: true, .. } => Some(list.envelope().signed_bytes()),
            Self { provenance: true, .. } => Some(section(Section::Provenance)),
            Self { excludes: true, .. } => Some(section(Section::Excludes)),
            Self { rules: true, .. } => Some(section(Section::Rules)),
            Self { entries: true, .. } => Some(section(Section::Entries)),
            _ => None,
        }
    }
}
