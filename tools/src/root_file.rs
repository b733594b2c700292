//! Trust roots as files of this machine: read without asking who signed them, and edited while nobody has.
//!
//! Promises: an edit happens only while no signature is on the root, so that no two roots are signed as one version;
//! it replaces the file in one step, and only if that is still the file that was read. Does not promise that a root
//! that was read is to be trusted: [`goldseal_cli::trusted`] walks chains.

use std::io::Read;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::{ListFile, Rest};
use goldseal_cli::output::{AtomicFile, Output};
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary;
use goldseal_cli::trusted::{self, NAME_A_ROOT, read_trusted_key};
use goldseal_verifier_core::envelope::{Envelope, Identity};
use goldseal_verifier_core::key::{KeyId, PublicKey};
use goldseal_verifier_core::root::{
    HolderName, KeyStatement, KeyStatus, MAX_KEYS_LEN, RoleName, RootError, RootHeader, Statements, UnverifiedRoot,
};
use goldseal_verifier_core::trust::TrustedKey;

use crate::document::Document;
use crate::signing::Original;
use crate::{root_difference, root_summary, unverified_list};

/// Reads a whole root without asking who signed it.
///
/// # Errors
/// `unreadable`, or what is wrong with the file: `malformed`, `wrong-type`, `tampered` (exit 3 all).
pub fn read_unverified(path: &Path) -> Result<UnverifiedRoot, Failure> {
    let malformed = |error| trusted::bad_document(path, Exit::Input, &RootError::Head(error));
    let (envelope, rest) = ListFile::open(path)?.head().map_err(malformed)?;
    load_unverified(path, envelope, rest)
}

/// The same when the head was read already.
///
/// # Errors
/// As [`read_unverified`].
pub fn load_unverified(path: &Path, envelope: Envelope, rest: Rest<impl Read>) -> Result<UnverifiedRoot, Failure> {
    let section = rest.bytes(MAX_KEYS_LEN)?;
    UnverifiedRoot::of_parts(envelope, &section).map_err(|error| trusted::bad_document(path, Exit::Input, &error))
}

/// Fails if a document is something else than a trust root.
///
/// # Errors
/// `wrong-type`.
pub fn check_type(path: &Path, document: &Document) -> Result<(), Failure> {
    match document {
        Document::Root(_) => Ok(()),
        other => {
            let what = format!("{} is a {}, not a trust root", Printable::path(path), other.noun());
            Err(Failure::new(Exit::Input, "wrong-type", what, NAME_A_ROOT))
        }
    }
}

/// Says so if the root that is signed does not name this key as one of its role root: its own threshold has no use for the
/// signature, though that of the root before it may.
pub fn note_if_uncounted(ui: Ui, path: &Path, root: &UnverifiedRoot, own: &TrustedKey) {
    let key = root.statements().keys.get(&own.key.key_id());
    let why = match key {
        None => "has no such key",
        Some(key) if key.status == KeyStatus::Revoked => "revokes it",
        Some(key) if !key.roles.iter().any(RoleName::is_root) => "gives it another role",
        Some(_) => return,
    };
    let name = Printable::path(path);
    ui.note(format_args!(
        "goldseal sign: the signature of {} does not count by {name} itself, which {why}\n  \
         sign with it only if the root before it needs that: goldseal trust show ROOT",
        own.name
    ));
}

/// A trust root that nobody has signed yet, and the state of its file.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    original: Original,
    root: UnverifiedRoot,
}

impl Draft {
    /// Opens a draft.
    ///
    /// # Errors
    /// `sealed` if it is signed; `usage` if it is no file; as [`read_unverified`].
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let (original, document) = Original::read(path)?;
        check_type(path, &document)?;
        let Document::Root(root) = document else { unreachable!("its type was checked") };
        let signatures = root.envelope().signatures().len();
        if signatures > 0 {
            let name = Printable::path(path);
            return Err(Failure::new(
                Exit::Usage,
                "sealed",
                format!(
                    "{name} has {}: if it were edited, there would be two roots of version {}",
                    summary::signatures(signatures),
                    root.header().version
                ),
                format!("make the next version, and edit that: goldseal trust rotate {name} -o NEXT"),
            ));
        }
        original.check_replaceable()?;
        Ok(Self { path: path.to_owned(), original, root })
    }

    /// What it says.
    pub fn statements(&self) -> &Statements {
        self.root.statements()
    }

    /// Makes it say something else, and tells what that changes.
    ///
    /// # Errors
    /// As [`make`], `unwritable`, `changed`; then the file is as it was.
    pub fn replace(self, statements: &Statements, ui: Ui) -> Result<Outcome, Failure> {
        let Self { path, original, root } = self;
        let changed = statements != root.statements();
        let next = make(&path, root.header().clone(), statements)?;
        if changed {
            original.write(&Document::Root(next.clone()), Output::create(&path)?, true)?;
        }
        // It is done, whether or not anybody hears of it.
        let difference = root_difference::between(&root, &next);
        let name = Printable::path(&path);
        let version = next.header().version;
        let _ = match changed {
            true => ui
                .say(format_args!("CHANGED: {name}, a draft of version {version}:"))
                .and_then(|()| ui.raw(difference.edits().as_bytes())),
            false => ui.say(format_args!("UNCHANGED: {name} says so already.")),
        };
        let _ = root_summary::say_roles(ui, next.statements());
        root_summary::warn(ui, next.statements(), Some(root.statements()));
        Ok(Outcome::done()
            .with_all(json_path(&path))
            .with("changed", changed)
            .with("changes", difference.json())
            .with_all(root_summary::root_fields(&next)))
    }
}

/// Edits a draft: what every command that does so has in common.
///
/// # Errors
/// As [`Draft::open`] and [`Draft::replace`], or what `change` says; then the file is as it was.
pub fn edit(
    path: &Path,
    ui: Ui,
    change: impl FnOnce(&mut Statements) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let edited = || {
        let draft = Draft::open(path)?;
        let mut statements = draft.statements().clone();
        change(&mut statements)?;
        draft.replace(&statements, ui)
    };
    edited().map_err(|failure| failure.with_all(json_path(path)))
}

/// Writes a draft to a file that must not be there yet.
///
/// # Errors
/// `exists` or `unwritable`.
pub fn write_new(path: &Path, root: &UnverifiedRoot) -> Result<(), Failure> {
    let head = root.envelope().print();
    let filled = AtomicFile::create(path)?.fill(|file| {
        file.write_all(&head)?;
        file.write_all(root.section())
    })?;
    filled.place_new()
}

/// An unsigned root that says this; `path` is what messages call it.
///
/// # Errors
/// `unreachable` if a threshold could not be met, `usage` if the statements make no sense together, `refused` if they
/// do not fit in a root.
pub fn make(path: &Path, header: RootHeader, statements: &Statements) -> Result<UnverifiedRoot, Failure> {
    let name = Printable::path(path);
    UnverifiedRoot::new(header, statements).map_err(|error| match error {
        RootError::Unreachable { role, threshold, owners } => Failure::new(
            Exit::Usage,
            "unreachable",
            format!("the role {role} needs {threshold} owners, and there would be {owners}"),
            match owners {
                0 => "give it to a key: --key NAME (set-threshold), or --roles ROLES (add-key)".to_owned(),
                owners => format!(
                    "add a key first: goldseal trust add-key {name} PUB --roles {role}; or lower the threshold first: \
                     goldseal trust set-threshold {name} {role} {owners}"
                ),
            },
        ),
        RootError::SameName(_) => Failure::usage(error.to_string(), "give each key its own name: NAME=PUB, or --name"),
        RootError::UnknownRole { ref role, .. } => Failure::usage(
            error.to_string(),
            format!("give it one: goldseal trust set-threshold {name} {role} N --lists PATTERN --key NAME"),
        ),
        RootError::ResetBelowFloor { name: ref list, reset, .. } => Failure::usage(
            error.to_string(),
            format!("lower the floor as well: goldseal trust set-floor {name} {list} {reset}"),
        ),
        error => Failure::new(
            Exit::Input,
            "refused",
            format!("the trust root cannot be written: {error}"),
            "take out what is no longer needed",
        ),
    })
}

/// The key that somebody named, by its name or its id.
///
/// # Errors
/// `usage`.
pub fn find_key<'a>(path: &Path, statements: &'a Statements, named: &str) -> Result<&'a KeyStatement, Failure> {
    let id = KeyId::from_hex(named.as_bytes());
    let by_id = id.and_then(|id| statements.keys.get(&id));
    by_id.or_else(|| statements.keys.values().find(|key| key.name.as_str() == named)).ok_or_else(|| {
        let name = Printable::path(path);
        Failure::usage(
            format!("{name} has no key {}", Printable(named.as_bytes())),
            format!("name one of its keys, by name or key id: goldseal trust show {name}"),
        )
    })
}

/// Reads a public key for a root, and its name there: `asked`, else that of its file without `.pub` and `.key`.
///
/// # Errors
/// As [`read_trusted_key`]; `usage` if the file's name cannot be that of a key.
pub fn read_key(path: &Path, asked: Option<HolderName>) -> Result<(PublicKey, HolderName), Failure> {
    let trusted = read_trusted_key(path)?;
    let of_file = || HolderName::new(trusted.name.strip_suffix(".key").unwrap_or(&trusted.name));
    let name = asked.or_else(of_file).ok_or_else(|| {
        Failure::usage(
            format!("a key cannot be called {}", trusted.name),
            "say what it is called: NAME=PUB (init), or --name NAME (add-key)",
        )
    })?;
    Ok((trusted.key, name))
}

/// The name of a key or owner as an argument.
///
/// # Errors
/// What a name is.
pub fn holder_name(text: &str) -> Result<HolderName, String> {
    HolderName::new(text).ok_or_else(|| {
        format!("a name has 1 to {} of A-Z a-z 0-9 @ . _ + - and begins with a letter or digit", HolderName::MAX_LEN)
    })
}

/// The name of a role as an argument.
///
/// # Errors
/// What a name is.
pub fn role_name(text: &str) -> Result<RoleName, String> {
    RoleName::new(text)
        .ok_or_else(|| "a role's name has 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit".to_owned())
}

/// The identity of a list: as such, or that of a list's file.
///
/// # Errors
/// As [`unverified_list::read`].
pub fn list_identity(named: &Path) -> Result<Identity, Failure> {
    match named.to_str().and_then(|text| Identity::from_hex(text.as_bytes())) {
        Some(identity) => Ok(identity),
        None => Ok(unverified_list::read(named)?.envelope().identity()),
    }
}
