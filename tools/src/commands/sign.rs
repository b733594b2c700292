//! `goldseal sign`: one more signature on a list.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::trust::{TrustedKey, signature_holds};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::harden::harden_process;
use crate::input::read_file;
use crate::key::file::{MAX_KEY_FILE, read_seal_key};
use crate::list_file::read_unverified;
use crate::output::Output;
use crate::passphrase::PassphraseArgs;
use crate::printable::{Printable, json_path};
use crate::report::{Outcome, Ui};
use crate::seal::seal;
use crate::summary::{self, list_fields, say, say_list};
use crate::trusted::read_trusted_keys;

/// Seal a list: add a signature to it
///
/// Shows what is signed. Before that, the whole list is held against its header, and the signatures of the keys at
/// hand are checked: that of KEY and those of --trust. Signatures of other keys are kept and named.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The list, sealed or not; replaced in one step unless -o is given
    pub file: PathBuf,
    /// The key that signs (see goldseal keygen)
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// Write the signed list here and leave FILE as it is
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Public key whose signature, if there is one, must be right; one each, repeatable
    #[arg(long, value_name = "PUB")]
    pub trust: Vec<PathBuf>,
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal sign prod.whitelist --key golden.key
  goldseal sign prod.whitelist --key bob.key --trust alice.pub -o two.whitelist

Exit codes:
  0  signed, or it was already
  2  usage, or a key would be overwritten
  3  the list, a key or a signature is refused, or the output cannot be written
On 2 and 3 nothing was changed.";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; FILE and the output are as they were.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let path = json_path(&args.file);
    sign(args, ui).map_err(|failure| failure.with_all(path))
}

fn sign(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { file, key: key_path, output, trust, passphrase, json: _ } = args;
    if harden_process().is_err() {
        ui.note("goldseal sign: core dumps of this process could not be turned off");
    }
    let target = output.as_deref().unwrap_or(&file).to_owned();
    if target == Path::new("-") {
        return Err(Failure::usage("standard output shows what is signed", "name a file: -o FILE"));
    }
    let mut list = read_unverified(&file)?;
    let mut checked = check_signatures(&file, &list, &read_trusted_keys(&trust)?)?;
    protect_keys(&target)?;
    let writing = Output::create(&target)?;

    ui.say(format_args!("{} is this list:", Printable::path(&file)))?;
    say_list(ui, &list)?;
    let source = passphrase.source()?;
    let key = read_seal_key(&key_path, || source.for_existing_key(&key_path))?;
    let own = TrustedKey { name: Printable::path(&key_path).to_string(), key: key.public_key() };
    let already = check_signatures(&file, &list, std::slice::from_ref(&own))?;
    let changed = already.is_empty();
    if changed {
        seal(&file, &mut list, &key)?;
    }
    drop(key);
    if changed || output.is_some() {
        let (head, body) = (list.envelope().print(), list.contents().body());
        writing.finish(|file| file.write_all(&head).and_then(|()| file.write_all(body)))?;
    }

    let key_id = own.key.key_id();
    checked.push(own);
    // It is done, whether or not anybody hears of it: a lost line must not read as a list that was not signed.
    let _ = tell(ui, &target, &list, changed, &checked);
    let signatures = list.envelope().signatures().iter().map(|line| {
        let holder = holder(&checked, line.key_id()).map(|key| key.name.as_str());
        json!({ "key_id": line.key_id().to_string(), "checked": holder.is_some(), "name": holder })
    });
    Ok(Outcome::done()
        .with_all(json_path(&target))
        .with("changed", changed)
        .with("key_id", key_id.to_string())
        .with("signatures", signatures.collect::<Value>())
        .with_all(list_fields(&list)))
}

fn tell(ui: Ui, target: &Path, list: &UnverifiedList, changed: bool, checked: &[TrustedKey]) -> Result<(), Failure> {
    let name = Printable::path(target);
    let count = summary::signatures(list.envelope().signatures().len());
    if changed {
        ui.say(format_args!("SIGNED: {name} has {count} now."))?;
    } else {
        ui.say(format_args!("UNCHANGED: this key has signed it already; {name} has {count}."))?;
    }
    for line in list.envelope().signatures() {
        match holder(checked, line.key_id()) {
            Some(key) => say(ui, "signed by", format_args!("{} ({})", key.name, line.key_id()))?,
            None => say(ui, "signed by", format_args!("{} (kept, NOT checked: give --trust PUB)", line.key_id()))?,
        }
    }
    Ok(())
}

fn holder(keys: &[TrustedKey], id: KeyId) -> Option<&TrustedKey> {
    keys.iter().find(|key| key.key.key_id() == id)
}

/// The keys among `keys` that signed the list, all rightly.
fn check_signatures(path: &Path, list: &UnverifiedList, keys: &[TrustedKey]) -> Result<Vec<TrustedKey>, Failure> {
    let envelope = list.envelope();
    let mut right = Vec::new();
    for line in envelope.signatures() {
        let Some(key) = holder(keys, line.key_id()) else { continue };
        if !signature_holds(&key.key, envelope.signed_bytes(), line) {
            return Err(Failure::new(
                Exit::Input,
                "bad-signature",
                format!("{}: the signature of {} is not right for these bytes", Printable::path(path), key.name),
                "the list or that signature was changed: do not sign it, and get it again from where it was made",
            ));
        }
        right.push(key.clone());
    }
    Ok(right)
}

/// No key is ever overwritten, whatever its name looks like.
fn protect_keys(target: &Path) -> Result<(), Failure> {
    let is_file = fs::metadata(target).is_ok_and(|metadata| metadata.is_file());
    if is_file && read_file(target, MAX_KEY_FILE).is_ok_and(|bytes| contains(&bytes, b"-----BEGIN ")) {
        return Err(Failure::new(
            Exit::Usage,
            "exists",
            format!("{} is a key or certificate (PEM), and would be overwritten", Printable::path(target)),
            "name another file: -o FILE",
        ));
    }
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
