//! `goldseal sign`: one more signature on a list or trust root, or beside it.

use std::path::{Path, PathBuf};

use goldseal_cli::confirm::confirm;
use goldseal_cli::failure::Failure;
use goldseal_cli::output::Output;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;
use goldseal_cli::trusted::{read_trusted_key, read_trusted_keys};
use goldseal_verifier_core::envelope::SignatureLine;
use goldseal_verifier_core::trust::TrustedKey;

use crate::document::Document;
use crate::harden::harden_process;
use crate::key::file::read_seal_key;
use crate::passphrase::{PassphraseArgs, PassphraseSource};
use crate::root_file;
use crate::seal::{Signer, no_room};
use crate::signing::{self, Original, check_signatures, show};

/// Seal a list, or sign a trust root: add a signature to it
///
/// Shows what is signed, and on a terminal asks whether to sign it. Before that, the whole file is held against its
/// header, and the signatures of the keys at hand are checked: that of KEY and those of --trust. Signatures of other
/// keys are kept and named.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The list or trust root, signed or not; replaced in one step unless -o or --detached is given
    pub file: PathBuf,
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Write only the `sig` line, and leave FILE as it is: goldseal attach puts it in its place
    #[arg(long)]
    pub detached: bool,
    /// Write the signed file here and leave FILE as it is; with --detached the `sig` line [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show what this version changes since that one
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// Public key whose signature, if there is one, must be right; one each, repeatable
    #[arg(long, value_name = "PUB")]
    pub trust: Vec<PathBuf>,
    /// Do not ask whether to sign
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// Who signs; exactly one.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct SignerArgs {
    /// The key that signs (see goldseal keygen)
    #[arg(long, value_name = "KEY")]
    pub key: Option<PathBuf>,
    /// Sign with the key of this public key, which an ssh-agent holds ($SSH_AUTH_SOCK)
    #[arg(long, value_name = "PUB", conflicts_with_all = ["passphrase_fd", "passphrase_credential"])]
    pub ssh_agent: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal sign prod.whitelist --key golden.key --previous prod-41.whitelist
  goldseal sign prod.whitelist --key bob.key --trust alice.pub -o two.whitelist
  goldseal sign prod.whitelist --ssh-agent ~/.ssh/id_ed25519.pub
  goldseal sign --detached prod.whitelist --key bob.key -o bob.sig
  goldseal sign site-2.root --key bob.key --previous site.root

Exit codes:
  0  signed, or it was already
  2  usage, the answer was no, or a key would be overwritten
  3  the file, a key or a signature is refused, or the output cannot be written
On 2 and 3 nothing was changed.";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; FILE and the output are as they were.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    run_on(args, ui, Kinds::Any)
}

/// What may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Lists and trust roots.
    Any,
    /// Trust roots only.
    Roots,
}

/// The same for some kinds of documents.
///
/// # Errors
/// As [`run`]; `wrong-type`.
pub fn run_on(args: Args, ui: Ui, kinds: Kinds) -> Result<Outcome, Failure> {
    let path = json_path(&args.file);
    sign(args, ui, kinds).map_err(|failure| failure.with_all(path))
}

fn sign(args: Args, ui: Ui, kinds: Kinds) -> Result<Outcome, Failure> {
    if harden_process().is_err() {
        ui.note("goldseal sign: core dumps of this process could not be turned off");
    }
    let target = target(&args)?;
    let ui = if target == Path::new("-") { ui.aside() } else { ui };
    let (original, mut document) = Original::read(&args.file)?;
    if kinds == Kinds::Roots {
        root_file::check_type(&args.file, &document)?;
    }
    let mut checked = check_signatures(&args.file, document.envelope(), &read_trusted_keys(&args.trust)?)?;
    let replaces = !args.detached && original.is_at(&target);
    if replaces {
        original.check_replaceable()?;
    }
    if args.detached { signing::protect_documents(&target) } else { signing::protect_keys(&target) }?;
    let writing = Output::create(&target)?;
    let chosen = Chosen::of(args.signer, args.passphrase)?;

    let changes = show(ui, &args.file, &document, args.previous.as_deref())?;
    if !args.yes {
        confirm(ui, "Sign this?", "not signed")?;
    }
    let (mut signer, own) = chosen.open()?;
    if let Document::Root(root) = &document {
        root_file::note_if_uncounted(ui, &args.file, root, &own);
    }
    let already = check_signatures(&args.file, document.envelope(), std::slice::from_ref(&own))?;
    let signature = own_line(&document, &own, already.is_empty(), &mut signer)?;
    drop(signer);
    let changed = already.is_empty() && !args.detached;
    if args.detached {
        writing.finish(|file| file.write_all(&signature.print()))?;
    } else {
        document.insert(signature.clone()).map_err(|error| no_room(&args.file, &error))?;
        if changed || args.output.is_some() {
            original.write(&document, writing, replaces)?;
        }
    }

    let outcome = Outcome::done()
        .with_all(json_path(&target))
        .with("changed", changed)
        .with("key_id", own.key.key_id().to_string())
        .with_all(changes)
        .with_all(document.fields());
    // It is done, whether or not anybody hears of it: a lost line must not read as a list that was not signed.
    if args.detached {
        let _ = tell_detached(ui, &args.file, &target, &own);
        let line = String::from_utf8_lossy(signature.print().trim_ascii_end()).into_owned();
        return Ok(outcome.with("signature", line));
    }
    checked.push(own);
    let _ = tell(ui, &target, &document, changed, &checked);
    Ok(outcome.with("signatures", signing::signatures_json(document.envelope(), &checked)))
}

/// Where the result goes; `-` is standard output.
fn target(args: &Args) -> Result<PathBuf, Failure> {
    let target = match &args.output {
        Some(path) => path.clone(),
        None if args.detached => PathBuf::from("-"),
        None => args.file.clone(),
    };
    match target == Path::new("-") {
        true if !args.detached => Err(Failure::usage("standard output shows what is signed", "name a file: -o FILE")),
        true if args.json => Err(Failure::usage(
            "standard output cannot hold both the signature and the --json object",
            "write the signature to a file: -o FILE",
        )),
        _ => Ok(target),
    }
}

/// The signature of the own key: the one that the document has, which was checked, or a new one.
fn own_line(document: &Document, own: &TrustedKey, new: bool, signer: &mut Signer) -> Result<SignatureLine, Failure> {
    let envelope = document.envelope();
    let present = envelope.signatures().iter().find(|line| !new && line.key_id() == own.key.key_id());
    present.map_or_else(|| signer.sign(envelope.signed_bytes()), |line| Ok(line.clone()))
}

/// Who is to sign, with all that can be refused before the document is shown.
enum Chosen {
    File(PathBuf, PassphraseSource),
    Agent(PathBuf, TrustedKey),
}

impl Chosen {
    fn of(args: SignerArgs, passphrase: PassphraseArgs) -> Result<Self, Failure> {
        match args {
            SignerArgs { ssh_agent: Some(path), .. } => {
                let key = read_trusted_key(&path)?;
                Ok(Self::Agent(path, key))
            }
            SignerArgs { key: Some(path), .. } => Ok(Self::File(path, passphrase.source()?)),
            SignerArgs { key: None, ssh_agent: None } => {
                Err(Failure::usage("nobody is named who signs", "name a key: --key KEY, or --ssh-agent PUB"))
            }
        }
    }

    /// The signer, and its key under the name that people know.
    fn open(self) -> Result<(Signer, TrustedKey), Failure> {
        match self {
            Self::File(path, source) => {
                let key = read_seal_key(&path, || source.for_existing_key(&path))?;
                let own = TrustedKey { name: Printable::path(&path).to_string(), key: key.public_key() };
                Ok((Signer::Key(key), own))
            }
            Self::Agent(path, own) => Ok((Signer::of_agent(own.key.clone(), &path)?, own)),
        }
    }
}

fn tell(ui: Ui, target: &Path, document: &Document, changed: bool, checked: &[TrustedKey]) -> Result<(), Failure> {
    let name = Printable::path(target);
    let count = signing::count(document);
    if changed {
        ui.say(format_args!("SIGNED: {name} has {count} now."))?;
    } else {
        ui.say(format_args!("UNCHANGED: this key has signed it already; {name} has {count}."))?;
    }
    signing::say_signatures(ui, document.envelope(), checked)
}

fn tell_detached(ui: Ui, file: &Path, target: &Path, own: &TrustedKey) -> Result<(), Failure> {
    let file = Printable::path(file);
    ui.say(format_args!("SIGNED: {file} is as it was, and has this signature beside it now:"))?;
    say(ui, "signed by", format_args!("{} ({})", own.name, own.key.key_id()))?;
    let place = if target == Path::new("-") { Printable(b"SIGNATURE") } else { Printable::path(target) };
    say(ui, "next", format_args!("goldseal attach {file} {place} --key PUB"))
}
