//! `goldseal tbs`: the bytes that a signature is over, for a key that signs elsewhere.

use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;
use goldseal_cli::output::Output;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;

use crate::document::Document;
use crate::signing::{self, show};

/// Write the bytes that are to be signed, for a key that signs elsewhere: openssl, a token
///
/// They are the first bytes of the list or trust root, at most 1,024 and plain text. An Ed25519 signature over exactly
/// these bytes, made by whatever holds the key, is put in its place by goldseal attach. Shows what is signed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The list or trust root, signed or not
    pub file: PathBuf,
    /// Write the bytes here; `-` is standard output, and what is shown goes to standard error then
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Show what this version changes since that one
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal tbs prod.whitelist --previous prod-41.whitelist -o prod.tbs
  openssl pkeyutl -sign -rawin -inkey bob.key -in prod.tbs -out bob.raw
  goldseal attach prod.whitelist bob.raw --key bob.pub

Exit codes:
  0  written
  2  usage, or a list, a trust root or a key would be overwritten
  3  the file is refused, or the output cannot be written; nothing was written";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; the output is as it was.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let path = json_path(&args.file);
    write(&args, ui).map_err(|failure| failure.with_all(path))
}

fn write(args: &Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { file, output, previous, json } = args;
    let to_stdout = output == Path::new("-");
    if to_stdout && *json {
        return Err(Failure::usage(
            "standard output cannot hold both the bytes to sign and the --json object",
            "write the bytes to a file: -o FILE",
        ));
    }
    let ui = if to_stdout { ui.aside() } else { ui };
    let document = Document::read(file)?;
    signing::protect_documents(output)?;
    let writing = Output::create(output)?;
    let changes = show(ui, file, &document, previous.as_deref())?;
    let signed = document.envelope().signed_bytes();
    writing.finish(|file| file.write_all(signed))?;
    let _ = tell(ui, file, output, signed.len());
    Ok(Outcome::done()
        .with_all(json_path(output))
        .with("bytes", signed.len())
        .with_all(changes)
        .with_all(document.fields()))
}

fn tell(ui: Ui, file: &Path, output: &Path, length: usize) -> Result<(), Failure> {
    let (file, to_stdout) = (Printable::path(file), output == Path::new("-"));
    let name = if to_stdout { "standard output".to_owned() } else { Printable::path(output).to_string() };
    ui.say(format_args!("TO SIGN: the {length} bytes of {name}, exactly as they are."))?;
    say(ui, "next", format_args!("goldseal attach {file} SIGNATURE --key PUB"))
}
