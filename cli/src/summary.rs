//! What people and programs are told about a list, by every command in the same words.

use std::fmt;

use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::header::Header;
use goldseal_verifier_core::key::KeyId;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::report::Ui;

/// One line of a summary.
///
/// # Errors
/// As [`Ui::say`].
pub fn say(ui: Ui, label: &str, value: impl fmt::Display) -> Result<(), Failure> {
    ui.say(format_args!("  {label:<10} {value}"))
}

/// What the header says, for people.
///
/// # Errors
/// As [`Ui::say`].
pub fn say_header(ui: Ui, header: &Header, identity: Identity) -> Result<(), Failure> {
    say(ui, "name", &header.name)?;
    say(ui, "version", header.version)?;
    say(ui, "identity", identity)?;
    say(ui, "created", header.created)?;
    say(ui, "expires", header.expires)?;
    say(ui, "file-hash", &header.file_hash)
}

/// How many signatures, in words.
pub fn signatures(count: usize) -> String {
    format!("{count} signature{}", if count == 1 { "" } else { "s" })
}

/// Key ids, for programs.
pub fn key_ids(ids: &[KeyId]) -> Value {
    ids.iter().map(ToString::to_string).collect()
}

/// What the header says, for programs.
pub fn header_fields(header: &Header, identity: Identity) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("name".into(), json!(header.name.as_str()));
    fields.insert("version".into(), json!(header.version.number()));
    fields.insert("identity".into(), json!(identity.to_string()));
    fields.insert("created".into(), json!(header.created.to_string()));
    fields.insert("expires".into(), json!(header.expires.to_string()));
    fields.insert("file_hash".into(), header.file_hash.algorithms().iter().map(|hash| hash.name()).collect());
    fields
}
