//! What can be signed, of whatever kind: the signing commands know no more of it than this.
//!
//! A document is read whole and once, and held against its own header; its seal, if it has one, is not checked here.

use std::path::Path;

use crate::unverified_list;
use crate::unverified_list::{list_fields, say_list, side};
use goldseal_cli::difference::{self, Detail};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::{self, ListFile};
use goldseal_cli::report::Ui;
use goldseal_verifier_core::envelope::{Envelope, HeadError, SignatureLine};
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::root::{TRUST_ROOT_TYPE, UnverifiedRoot};
use serde_json::{Map, Value};

use crate::{root_difference, root_file, root_summary};

/// A document that nobody vouches for yet.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a command holds one or two of them, and never many")]
pub enum Document {
    /// A whitelist.
    List(UnverifiedList),
    /// A trust root.
    Root(UnverifiedRoot),
}

/// What one version of a document changes, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Lines of text.
    pub text: String,
    /// Fields of a JSON object.
    pub fields: Map<String, Value>,
}

impl Document {
    /// Reads a document without asking who sealed it.
    ///
    /// # Errors
    /// `unreadable`, or what is wrong with the file: `malformed`, `wrong-type`, `tampered` (exit 3 all).
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let malformed = |error| list_file::malformed(path, Exit::Input, &error);
        let (envelope, rest) = ListFile::open(path)?.head().map_err(malformed)?;
        if envelope.claimed_type() == TRUST_ROOT_TYPE {
            return root_file::load_unverified(path, envelope, rest).map(Self::Root);
        }
        unverified_list::load(path, envelope, rest).map(Self::List)
    }

    /// What people call this kind of document.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
            Self::Root(_) => "trust root",
        }
    }

    /// The head, with its signatures.
    pub fn envelope(&self) -> &Envelope {
        match self {
            Self::List(list) => list.envelope(),
            Self::Root(root) => root.envelope(),
        }
    }

    /// Puts a signature in its place; one by the same key is replaced. Whether it is right is not checked here.
    ///
    /// # Errors
    /// [`HeadError::TooManySignatures`].
    pub fn insert(&mut self, signature: SignatureLine) -> Result<(), HeadError> {
        match self {
            Self::List(list) => list.insert(signature),
            Self::Root(root) => root.insert(signature),
        }
    }

    /// What follows the head.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::List(list) => list.contents().body(),
            Self::Root(root) => root.section(),
        }
    }

    /// What it says of itself, for people.
    ///
    /// # Errors
    /// As [`Ui::say`].
    pub fn say(&self, ui: Ui) -> Result<(), Failure> {
        match self {
            Self::List(list) => say_list(ui, list),
            Self::Root(root) => root_summary::say_root(ui, root),
        }
    }

    /// The same for programs.
    pub fn fields(&self) -> Map<String, Value> {
        match self {
            Self::List(list) => list_fields(list),
            Self::Root(root) => root_summary::root_fields(root),
        }
    }

    /// What it says that the previous one did not, and the other way about; `None` if that is of another kind.
    pub fn changes_since(&self, previous: &Self) -> Option<Changes> {
        match (self, previous) {
            (Self::List(new), Self::List(old)) => {
                let difference = difference::between(side(old), side(new));
                Some(Changes { text: difference.text(Detail::Folders), fields: difference.json(Detail::Folders) })
            }
            (Self::Root(new), Self::Root(old)) => {
                let difference = root_difference::between(old, new);
                Some(Changes { text: difference.text(), fields: difference.json() })
            }
            _ => None,
        }
    }
}
