//! Excludes and rules as people write them: on the command line, or in files with one a line, where empty lines and
//! lines that begin with `#` are passed over.

use std::path::Path;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::{Printable, PrintableLine};
use goldseal_verifier_core::excludes::{MAX_PATTERN_LEN, MAX_PATTERNS, Pattern};
use goldseal_verifier_core::rules::Rule;

use crate::excludes_file;
use crate::excludes_file::ExcludesFileError;

/// The longest file of statements in bytes: as many patterns as a list may have, each at its full length, twice over
/// for remarks.
const MAX_FILE_LEN: u64 = 2 * MAX_PATTERNS as u64 * (MAX_PATTERN_LEN as u64 + 1);

/// Reads an excludes file.
///
/// # Errors
/// `bad-pattern` (exit 2) with line, reason and, where there is one, the mended form; exit 3 for the file.
pub fn read_excludes(path: &Path) -> Result<Vec<Pattern>, Failure> {
    let bytes = input::read_file_or_empty(path, MAX_FILE_LEN)?;
    excludes_file::read(&bytes).map_err(|error| {
        Failure::new(Exit::Usage, "bad-pattern", format!("{}, {error}", Printable::path(path)), error.remedy())
    })
}

/// Reads a file of rules.
///
/// # Errors
/// `bad-rule` (exit 2) with line and reason; exit 3 for the file.
pub fn read_rules(path: &Path) -> Result<Vec<Rule>, Failure> {
    let bytes = input::read_file_or_empty(path, MAX_FILE_LEN)?;
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let statements = lines.zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
    statements.map(|(text, line)| parse_rule(&format!("{}, line {line}", Printable::path(path)), text)).collect()
}

/// Reads one rule; `place` says where it was written.
///
/// # Errors
/// `bad-rule` (exit 2).
pub fn parse_rule(place: &str, text: &[u8]) -> Result<Rule, Failure> {
    Rule::parse(text).map_err(|error| {
        let what = format!("{place}: {} is not a rule: {error}", PrintableLine(text));
        Failure::new(Exit::Usage, "bad-rule", what, "see docs/format.md, Rules, for the statements there are")
    })
}

/// Reads one pattern of the command line.
///
/// # Errors
/// `bad-pattern` (exit 2).
pub fn parse_exclude(text: &str) -> Result<Pattern, Failure> {
    Pattern::new(text.as_bytes()).map_err(|error| {
        let what = format!("--exclude {} is refused: {error}", PrintableLine(text.as_bytes()));
        let todo = match (ExcludesFileError { line: 1, pattern: text.into(), error }).mended() {
            Some(mended) => format!("write it as: {}", PrintableLine(mended.as_bytes())),
            None => "mend it; a literal path needs a backslash before each of . + * ? ( ) [ ] { } | ^ $".to_owned(),
        };
        Failure::new(Exit::Usage, "bad-pattern", what, todo)
    })
}
