//! What can be signed, of whatever kind: the signing commands know no more of it than this.
//!
//! A document is read whole and once, and held against its own header; its seal, if it has one, is not checked here.

use std::path::Path;

use goldseal_verifier_core::envelope::{Envelope, HeadError, SignatureLine};
use goldseal_verifier_core::list::UnverifiedList;
use serde_json::{Map, Value};

use crate::difference::{self, Detail};
use crate::failure::Failure;
use crate::list_file;
use crate::report::Ui;
use crate::summary::{list_fields, say_list};

/// A document that nobody vouches for yet.
#[derive(Clone, Debug)]
pub enum Document {
    /// A whitelist.
    List(UnverifiedList),
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
        list_file::read_unverified(path).map(Self::List)
    }

    /// What people call this kind of document.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
        }
    }

    /// The head, with its signatures.
    pub fn envelope(&self) -> &Envelope {
        match self {
            Self::List(list) => list.envelope(),
        }
    }

    /// Puts a signature in its place; one by the same key is replaced. Whether it is right is not checked here.
    ///
    /// # Errors
    /// [`HeadError::TooManySignatures`].
    pub fn insert(&mut self, signature: SignatureLine) -> Result<(), HeadError> {
        match self {
            Self::List(list) => list.insert(signature),
        }
    }

    /// What follows the head.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::List(list) => list.contents().body(),
        }
    }

    /// What it says of itself, for people.
    ///
    /// # Errors
    /// As [`Ui::say`].
    pub fn say(&self, ui: Ui) -> Result<(), Failure> {
        match self {
            Self::List(list) => say_list(ui, list),
        }
    }

    /// The same for programs.
    pub fn fields(&self) -> Map<String, Value> {
        match self {
            Self::List(list) => list_fields(list),
        }
    }

    /// What it says that the previous one did not, and the other way about.
    pub fn changes_since(&self, previous: &Self) -> Changes {
        match (self, previous) {
            (Self::List(new), Self::List(old)) => {
                let difference = difference::between(old, new);
                Changes { text: difference.text(Detail::Folders), fields: difference.json(Detail::Folders) }
            }
        }
    }
}
