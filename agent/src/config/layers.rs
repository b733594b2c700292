//! File, environment and flags, one over the other.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::{Printable, PrintableLine};
use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigArgs, DEFAULT_FILE, KEYS, Key, Kind, PREFIX};

/// Variables of the environment.
pub type Environment = Vec<(OsString, OsString)>;

/// The effective configuration.
///
/// # Errors
/// `bad-config` (exit 2) with the key and where it was set; `unreadable`.
pub fn load(args: &ConfigArgs, environment: &Environment) -> Result<Config, Failure> {
    let (named, file) = match &args.file {
        Some(file) => (true, file.as_path()),
        None => (false, Path::new(DEFAULT_FILE)),
    };
    let mut table = read(file, named)?;
    // The file on its own first: what is wrong in it is told with its line, even if something overrides it.
    parse_file(file, &table.0)?;
    for (variable, value) in environment {
        let Some(name) = variable.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let variable = Printable(variable.as_encoded_bytes()).to_string();
        let key = KEYS.iter().find(|key| key.name.to_ascii_uppercase() == name);
        let key = key.ok_or_else(|| {
            bad(format!("{variable} is no setting of the agent"), "unset it; docs/agent.md has all keys")
        })?;
        set(&mut table.1, key, value, &format!("${variable}"))?;
    }
    for (key, value) in &args.set {
        let flag = key.flag().unwrap_or_default();
        set(&mut table.1, key, OsStr::new(value), &format!("--{flag}"))?;
    }
    let mut config = deserialise(table.1).map_err(|error| {
        bad(format!("the configuration is wrong: {}", one_line(error.message())), "docs/agent.md has all keys")
    })?;
    config.check().map_err(|(key, what)| bad(format!("{key} is wrong: {what}"), "docs/agent.md has all keys"))?;
    if config.tcti.is_empty() {
        config.tcti = usual_tcti(environment);
    }
    Ok(config)
}

/// The file's text and its keys.
fn read(path: &Path, named: bool) -> Result<(String, Table), Failure> {
    if !named && matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok((String::new(), Table::new()));
    }
    let bytes = input::read_file_or_empty(path, MAX_FILE)?;
    let name = Printable::path(path);
    let text = String::from_utf8(bytes).map_err(|_| bad(format!("{name} is not UTF-8"), "write it as text"))?;
    let table = text.parse::<Table>().map_err(|error| in_file(path, &text, &error))?;
    Ok((text, table))
}

/// What is wrong in the file, with its line.
fn parse_file(path: &Path, text: &str) -> Result<(), Failure> {
    toml::from_str::<Config>(text).map(drop).map_err(|error| in_file(path, text, &error))
}

fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    bad(format!("{}{line}: {}", Printable::path(path), one_line(error.message())), "docs/agent.md has all keys")
}

/// Messages of the parser repeat what stands in the file.
fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    PrintableLine(lines.join(" ").as_bytes()).to_string()
}

fn set(table: &mut Table, key: &Key, value: &OsStr, origin: &str) -> Result<(), Failure> {
    let text = value.to_str().ok_or_else(|| bad(format!("{origin} is not UTF-8"), "write it as text"))?;
    let value = match key.kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Number => Value::Integer(
            text.parse().map_err(|_| bad(format!("{origin} must be a number"), "docs/agent.md has all keys"))?,
        ),
        Kind::List => {
            let items = text.split(',').filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
    };
    // On its own, so that the origin of a wrong value is known.
    let alone = Table::from_iter([(key.name.to_owned(), value.clone())]);
    deserialise(alone).map_err(|error| {
        bad(format!("{origin} is wrong: {}", one_line(error.message())), "docs/agent.md has all keys")
    })?;
    table.insert(key.name.to_owned(), value);
    Ok(())
}

fn deserialise(table: Table) -> Result<Config, toml::de::Error> {
    Config::deserialize(Value::Table(table))
}

/// What other programs take (tpm2-tools(1), `TPM2TOOLS_TCTI`; `TCTI` of tss-esapi), else the kernel's resource manager.
fn usual_tcti(environment: &Environment) -> String {
    let value = |name: &str| {
        let found = environment.iter().find(|(variable, _)| variable == name);
        found.and_then(|(_, value)| value.to_str()).filter(|value| !value.is_empty())
    };
    value("TPM2TOOLS_TCTI").or_else(|| value("TCTI")).unwrap_or("device:/dev/tpmrm0").to_owned()
}

pub(super) fn bad(what: impl Into<String>, todo: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, "bad-config", what, todo)
}

/// Some hundred lines, with comments.
const MAX_FILE: u64 = 1 << 20;
