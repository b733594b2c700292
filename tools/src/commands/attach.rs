//! `goldseal attach`: puts a signature on a list or trust root that was made elsewhere, if it is right.

use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::output::Output;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::trusted::{read_trusted_key, read_trusted_keys};
use goldseal_verifier_core::envelope::{ED25519, Envelope, SignatureLine};
use goldseal_verifier_core::header::Header;
use goldseal_verifier_core::root::RootHeader;
use goldseal_verifier_core::trust::{TrustedKey, signature_holds};

use crate::document::Document;
use crate::seal::no_room;
use crate::signature_file::{self, SignatureFile};
use crate::signing::{self, Original, check_signatures, holder, show};

/// Put a signature on a list or trust root that was made elsewhere: by openssl, a token, or on another machine
///
/// SIGNATURE is a file with the 64 bytes of a signature, raw or in base64, with the `sig` line of goldseal sign
/// --detached (or several), or another copy of the same file, whose signatures are joined. Only what is checked is put
/// in: every signature needs its public key, by --key or --trust.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The list or trust root, signed or not; replaced in one step unless -o is given
    pub file: PathBuf,
    /// The signature: raw, base64, `sig` line, or another copy of the file
    pub signature: PathBuf,
    /// Public key of whoever signed
    #[arg(long, value_name = "PUB")]
    pub key: Option<PathBuf>,
    /// Further public key whose signatures are checked; one each, repeatable
    #[arg(long, value_name = "PUB")]
    pub trust: Vec<PathBuf>,
    /// Write the signed file here and leave FILE as it is
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show what this version changes since that one
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal attach prod.whitelist bob.raw --key bob.pub
  goldseal attach prod.whitelist bob.sig --key bob.pub -o two.whitelist
  goldseal attach prod.whitelist bobs-copy.whitelist --key bob.pub --trust alice.pub

Exit codes:
  0  attached, or it was there already
  2  usage, a signature whose key was not given, or a key would be overwritten
  3  the file, a key or the signature is refused, or the output cannot be written
On 2 and 3 nothing was changed.";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 or 3; FILE and the output are as they were.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let path = json_path(&args.file);
    attach(&args, ui).map_err(|failure| failure.with_all(path))
}

fn attach(args: &Args, ui: Ui) -> Result<Outcome, Failure> {
    let target = args.output.as_ref().unwrap_or(&args.file);
    if target == Path::new("-") {
        return Err(Failure::usage("standard output shows what was signed", "name a file: -o FILE"));
    }
    let (original, mut document) = Original::read(&args.file)?;
    let keys = Keys::read(args)?;
    let mut checked = check_signatures(&args.file, document.envelope(), &keys.all)?;
    let attached = new_signatures(args, &document, &keys, signature_file::read(&args.signature)?)?;
    let replaces = original.is_at(target);
    if replaces {
        original.check_replaceable()?;
    }
    signing::protect_keys(target)?;
    let writing = Output::create(target)?;

    let changes = show(ui, &args.file, &document, args.previous.as_deref())?;
    for (line, key) in &attached {
        document.insert(line.clone()).map_err(|error| no_room(&args.file, &error))?;
        checked.push(key.clone());
    }
    if !attached.is_empty() || args.output.is_some() {
        original.write(&document, writing, replaces)?;
    }
    // It is done, whether or not anybody hears of it.
    let _ = tell(ui, target, &document, &attached, &checked);
    let names = attached.iter().map(|(_, key)| key.name.as_str());
    Ok(Outcome::done()
        .with_all(json_path(target))
        .with("changed", !attached.is_empty())
        .with("attached", names.collect::<serde_json::Value>())
        .with("signatures", signing::signatures_json(document.envelope(), &checked))
        .with_all(changes)
        .with_all(document.fields()))
}

/// The keys that signatures are checked with.
struct Keys {
    /// `--key`: of a signature that does not say whose it is.
    signer: Option<TrustedKey>,
    /// That one and those of `--trust`.
    all: Vec<TrustedKey>,
}

impl Keys {
    fn read(args: &Args) -> Result<Self, Failure> {
        let signer = args.key.as_deref().map(read_trusted_key).transpose()?;
        let mut all = read_trusted_keys(&args.trust)?;
        if let Some(signer) = signer.iter().find(|signer| holder(&all, signer.key.key_id()).is_none()) {
            all.push(signer.clone());
        }
        Ok(Self { signer, all })
    }
}

/// The signatures that the document lacks, each with its key, all right.
fn new_signatures(
    args: &Args,
    document: &Document,
    keys: &Keys,
    found: SignatureFile,
) -> Result<Vec<(SignatureLine, TrustedKey)>, Failure> {
    let envelope = document.envelope();
    let mut new: Vec<(SignatureLine, TrustedKey)> = Vec::new();
    for line in lines(args, document, keys, found)? {
        if envelope.signatures().contains(&line) {
            continue;
        }
        let key = check(args, envelope, keys, &line)?;
        // A key that signs anew each time, as some tokens do, has one signature that counts: the one there is.
        let mut present = envelope.signatures().iter().chain(new.iter().map(|(line, _)| line));
        if present.all(|present| present.key_id() != line.key_id()) {
            new.push((line, key.clone()));
        }
    }
    Ok(new)
}

/// The signatures in the file, as lines; a copy is one of the same document.
fn lines(args: &Args, document: &Document, keys: &Keys, found: SignatureFile) -> Result<Vec<SignatureLine>, Failure> {
    let name = Printable::path(&args.signature);
    match (found, &keys.signer) {
        (SignatureFile::Bare(value), Some(signer)) => Ok(vec![SignatureLine::ed25519(signer.key.key_id(), value)]),
        (SignatureFile::Bare(_), None) => Err(unchecked(
            format!("{name} does not say whose signature it is, and no key is given to check it with"),
            "give the public key of whoever signed: --key PUB",
        )),
        (SignatureFile::Lines(lines), Some(signer)) => {
            match lines.iter().find(|line| line.key_id() != signer.key.key_id()) {
                None => Ok(lines),
                Some(line) => Err(bad_signature(
                    format!("{name} is a signature of key {}, not of {}", line.key_id(), signer.name),
                    "give the public key of whoever signed: --key PUB; for lines of several keys --trust PUB each",
                )),
            }
        }
        (SignatureFile::Lines(lines), None) => Ok(lines),
        (SignatureFile::Copy(copy), _) => {
            if copy.signed_bytes() != document.envelope().signed_bytes() {
                return Err(another_document(args, document.envelope(), &copy));
            }
            if copy.signatures().is_empty() {
                return Err(Failure::new(
                    Exit::Input,
                    "unsealed",
                    format!("{name} is the same {}, and has no signature", document.noun()),
                    format!("have it signed: goldseal sign {name} --key KEY"),
                ));
            }
            Ok(copy.signatures().to_vec())
        }
    }
}

/// The key whose signature it rightly is.
fn check<'a>(
    args: &Args,
    envelope: &Envelope,
    keys: &'a Keys,
    line: &SignatureLine,
) -> Result<&'a TrustedKey, Failure> {
    let (name, file) = (Printable::path(&args.signature), Printable::path(&args.file));
    if line.algorithm() != ED25519 {
        return Err(Failure::new(
            Exit::Input,
            "refused",
            format!("{name}: a signature of algorithm {} cannot be checked here", line.algorithm()),
            format!("have it signed with {ED25519}, or attach it with a version of goldseal that knows it"),
        ));
    }
    let key = holder(&keys.all, line.key_id()).ok_or_else(|| {
        unchecked(
            format!("{name}: the signature of key {} cannot be checked without that key", line.key_id()),
            "give its public key: --key PUB for the signer, --trust PUB for each other",
        )
    })?;
    if signature_holds(&key.key, envelope.signed_bytes(), line) {
        return Ok(key);
    }
    Err(bad_signature(
        format!("{name} is no signature of {} over {file}", key.name),
        format!(
            "it is over another document or version, or of another key, or damaged: have the bytes of \
             `goldseal tbs {file}` signed"
        ),
    ))
}

/// Says which, if its head can be read.
fn another_document(args: &Args, ours: &Envelope, theirs: &Envelope) -> Failure {
    let describe = |envelope: &Envelope| {
        let payload = envelope.claimed_payload();
        let list = Header::parse(payload).ok().map(|header| (header.name, header.version));
        let root = || RootHeader::parse(payload).ok().map(|header| (header.name, header.version));
        match list.or_else(root) {
            Some((name, version)) => format!("{name} version {version} ({})", envelope.identity()),
            None => format!("{:?}, {}", envelope.claimed_type(), envelope.identity()),
        }
    };
    let (name, file) = (Printable::path(&args.signature), Printable::path(&args.file));
    let what = format!("{name} is another document, {}; {file} is {}", describe(theirs), describe(ours));
    bad_signature(what, "its signatures are over other bytes: give a copy of the same version")
}

fn unchecked(what: String, todo: &str) -> Failure {
    Failure::new(Exit::Usage, "unchecked", what, todo)
}

fn bad_signature(what: String, todo: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, "bad-signature", what, todo)
}

fn tell(
    ui: Ui,
    target: &Path,
    document: &Document,
    attached: &[(SignatureLine, TrustedKey)],
    checked: &[TrustedKey],
) -> Result<(), Failure> {
    let (name, count) = (Printable::path(target), signing::count(document));
    if attached.is_empty() {
        ui.say(format_args!("UNCHANGED: nothing was to be attached; {name} has {count}."))?;
    } else {
        ui.say(format_args!("ATTACHED: {name} has {count} now."))?;
    }
    signing::say_signatures(ui, document.envelope(), checked)
}
