//! What the commands that put signatures on documents have in common: the file as it was read, what its signer is
//! shown, the signatures that can be checked, and the outputs that must not be overwritten.

use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::output::Output;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::Ui;
use goldseal_cli::summary::{self, say};
use goldseal_verifier_core::envelope::{Envelope, MAX_HEAD_LEN};
use goldseal_verifier_core::key::KeyId;
use goldseal_verifier_core::trust::{TrustedKey, signature_holds};
use serde_json::{Map, Value, json};

use crate::document::{Changes, Document};
use crate::key::file::is_key_file;

/// A document and the state that its file had before it was read.
///
/// A person may look at what is shown for an hour: what is signed then is what was read, and it replaces only the file
/// that was read. Between the last look at that file and rename(2) is an instant that no system call closes.
#[derive(Debug)]
pub struct Original {
    path: PathBuf,
    metadata: Metadata,
}

impl Original {
    /// Reads a document.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn read(path: &Path) -> Result<(Self, Document), Failure> {
        let metadata = fs::metadata(path).map_err(|error| input::cannot_read(path, &error))?;
        let document = Document::read(path)?;
        Ok((Self { path: path.to_owned(), metadata }, document))
    }

    /// Whether the file at `target` is this one.
    pub fn is_at(&self, target: &Path) -> bool {
        let key = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        target == self.path || fs::metadata(target).is_ok_and(|metadata| key(&metadata) == key(&self.metadata))
    }

    /// Fails if it is a pipe or a device, which can be read and not be replaced.
    ///
    /// # Errors
    /// `usage`.
    pub fn check_replaceable(&self) -> Result<(), Failure> {
        if self.metadata.is_file() {
            return Ok(());
        }
        let what = format!("{} is not a file, and cannot be replaced by the signed one", Printable::path(&self.path));
        Err(Failure::usage(what, "name a file for it: -o FILE"))
    }

    /// Fails if the file is no longer what was read.
    ///
    /// # Errors
    /// `changed`.
    pub fn check_unchanged(&self) -> Result<(), Failure> {
        let state = |metadata: &Metadata| {
            let times = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
            (metadata.dev(), metadata.ino(), metadata.len(), times)
        };
        if fs::metadata(&self.path).is_ok_and(|metadata| state(&metadata) == state(&self.metadata)) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Input,
            "changed",
            format!("{} was changed since it was shown; it was left as it is", Printable::path(&self.path)),
            "look at what it is now, and run the command again",
        ))
    }

    /// Puts the document, with its signatures, in place of whatever is at the output.
    ///
    /// # Errors
    /// `unwritable`; `changed` if it would replace the original and that is another file by now.
    pub fn write(&self, document: &Document, output: Output, replaces: bool) -> Result<(), Failure> {
        let head = document.envelope().print();
        let check = || if replaces { self.check_unchanged() } else { Ok(()) };
        output.finish_if(|file| file.write_all(&head).and_then(|()| file.write_all(document.body())), check)
    }
}

/// Shows a document, and what it changes since the previous one; the fields say the latter to programs.
///
/// # Errors
/// As [`Ui::say`] and [`Document::read`].
pub fn show(ui: Ui, path: &Path, document: &Document, previous: Option<&Path>) -> Result<Map<String, Value>, Failure> {
    let changes = previous.map(|previous| changes_since(path, document, previous)).transpose()?;
    ui.say(format_args!("{} is this {}:", Printable::path(path), document.noun()))?;
    document.say(ui)?;
    let mut fields = Map::new();
    if let (Some(changes), Some(previous)) = (changes, previous) {
        ui.say(format_args!("changes since {}, whose seal is NOT checked here:", Printable::path(previous)))?;
        ui.raw(changes.text.as_bytes())?;
        fields.insert("changes".into(), Value::Object(changes.fields));
    }
    Ok(fields)
}

fn changes_since(path: &Path, document: &Document, previous: &Path) -> Result<Changes, Failure> {
    let other = Document::read(previous)?;
    document.changes_since(&other).ok_or_else(|| {
        let (path, previous) = (Printable::path(path), Printable::path(previous));
        Failure::usage(
            format!("{previous} is a {}, and {path} is a {}", other.noun(), document.noun()),
            "name the version before it: --previous FILE",
        )
    })
}

/// The keys among `keys` that signed the document, all rightly.
///
/// # Errors
/// `bad-signature`.
pub fn check_signatures(path: &Path, envelope: &Envelope, keys: &[TrustedKey]) -> Result<Vec<TrustedKey>, Failure> {
    let mut right = Vec::new();
    for line in envelope.signatures() {
        let Some(key) = holder(keys, line.key_id()) else { continue };
        if !signature_holds(&key.key, envelope.signed_bytes(), line) {
            return Err(Failure::new(
                Exit::Input,
                "bad-signature",
                format!("{}: the signature of {} is not right for these bytes", Printable::path(path), key.name),
                "it or that signature was changed: do not sign it, and get it again from where it was made",
            ));
        }
        right.push(key.clone());
    }
    Ok(right)
}

/// The key of this id.
pub fn holder(keys: &[TrustedKey], id: KeyId) -> Option<&TrustedKey> {
    keys.iter().find(|key| key.key.key_id() == id)
}

/// Who signed, and which of the signatures were checked; for people.
///
/// # Errors
/// As [`Ui::say`].
pub fn say_signatures(ui: Ui, envelope: &Envelope, checked: &[TrustedKey]) -> Result<(), Failure> {
    for line in envelope.signatures() {
        match holder(checked, line.key_id()) {
            Some(key) => say(ui, "signed by", format_args!("{} ({})", key.name, line.key_id()))?,
            None => say(ui, "signed by", format_args!("{} (kept, NOT checked: give --trust PUB)", line.key_id()))?,
        }
    }
    Ok(())
}

/// The same for programs.
pub fn signatures_json(envelope: &Envelope, checked: &[TrustedKey]) -> Value {
    let signatures = envelope.signatures().iter().map(|line| {
        let holder = holder(checked, line.key_id()).map(|key| key.name.as_str());
        json!({ "key_id": line.key_id().to_string(), "checked": holder.is_some(), "name": holder })
    });
    signatures.collect()
}

/// How many signatures there are now, in words.
pub fn count(document: &Document) -> String {
    summary::signatures(document.envelope().signatures().len())
}

/// Refuses an output for a signed document that is a key: none is ever overwritten, whatever its name looks like.
///
/// # Errors
/// `exists`.
pub fn protect_keys(target: &Path) -> Result<(), Failure> {
    if is_key_file(&start_of(target)) {
        return Err(taken(target, "a key or certificate (PEM)"));
    }
    Ok(())
}

/// Refuses an output for less than a document that is a document, and as [`protect_keys`].
///
/// # Errors
/// `exists`.
pub fn protect_documents(target: &Path) -> Result<(), Failure> {
    let start = start_of(target);
    // Bytes to sign are the start of a document, and may be written again.
    if Envelope::parse(&start).is_ok() {
        return Err(taken(target, "a whole document"));
    }
    protect_keys(target)
}

/// What a file starts with; nothing, if there is none to be overwritten.
fn start_of(target: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    if fs::metadata(target).is_ok_and(|metadata| metadata.is_file()) {
        // A file that cannot be read is no document of ours; whether it can be written shows when it is opened.
        let _ = fs::File::open(target).and_then(|file| file.take(MAX_HEAD_LEN as u64).read_to_end(&mut start));
    }
    start
}

fn taken(target: &Path, kind: &str) -> Failure {
    let what = format!("{} is {kind}, and would be overwritten", Printable::path(target));
    Failure::new(Exit::Usage, "exists", what, "name another file: -o FILE")
}
