//! `goldseal keygen`: a new key that seals, and the public key that verifies.

use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;
use goldseal_verifier_core::key::KeyId;

use crate::harden::harden_process;
use crate::key::file::{create_key_pair, public_path};
use crate::passphrase::{PassphraseArgs, PassphraseSource};

/// Make a key that seals lists: KEY, and KEY.pub for those who verify
///
/// KEY is an Ed25519 private key (PKCS#8 PEM), encrypted with a passphrase and readable by its owner alone; KEY.pub is
/// its public key (SubjectPublicKeyInfo PEM). openssl reads both. Neither is ever overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The private key's file; the public key's is the same with .pub appended
    pub key: PathBuf,
    /// Do not encrypt the key: whoever reads the file can seal
    #[arg(long, conflicts_with_all = ["passphrase_fd", "passphrase_credential"])]
    pub no_passphrase: bool,
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal keygen golden.key
  goldseal keygen golden.key --passphrase-fd 3 3<passphrase.txt

Exit codes:
  0  made
  2  usage, no passphrase, or a file of that name is there already
  3  the files cannot be written";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 if a file is there already or no passphrase can be had, 3 if a file cannot be written.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { key: path, no_passphrase, passphrase, json: _ } = args;
    if harden_process().is_err() {
        ui.note("goldseal keygen: core dumps of this process could not be turned off");
    }
    let source = if no_passphrase { PassphraseSource::None } else { passphrase.source()? };
    let key = create_key_pair(&path, || source.for_new_key(&path))?;
    let key_id = key.public_key().key_id();
    let public = public_path(&path);
    // They are made, whether or not anybody hears of it.
    let _ = tell(ui, &path, &public, key_id, no_passphrase);
    Ok(Outcome::done()
        .with("key_id", key_id.to_string())
        .with("encrypted", !no_passphrase)
        .with("private", json_path(&path))
        .with("public", json_path(&public)))
}

fn tell(ui: Ui, path: &Path, public: &Path, key_id: KeyId, plain: bool) -> Result<(), Failure> {
    let (name, public_name) = (Printable::path(path), Printable::path(public));
    ui.say(format_args!("Made {name} and {public_name}."))?;
    say(ui, "key id", key_id)?;
    let encrypted = if plain { "not encrypted: whoever reads it can seal" } else { "encrypted" };
    say(ui, "private", format_args!("{name} ({encrypted}); it stays here, and a copy under lock and key"))?;
    say(ui, "public", format_args!("{public_name}; take it to every machine that verifies:"))?;
    say(ui, "", format_args!("goldseal verify FILE --trust {public_name}"))
}
