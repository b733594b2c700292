//! Files of excludes, as people write them: one pattern a line; empty lines and lines that begin with `#` are skipped.
//!
//! Promises: each pattern is valid alone. Does not promise that all together fit into a list, nor that none is broad:
//! `Excludes` says so. The order of the file is kept.

use std::fmt;

use goldseal_cli::printable::PrintableLine;
use goldseal_verifier_core::excludes::{Pattern, PatternError};

/// Reads the patterns of a file. Lines may end in CR LF: no pattern holds a CR.
///
/// # Errors
/// [`ExcludesFileError`] with the first line that is no pattern.
pub fn read(bytes: &[u8]) -> Result<Vec<Pattern>, ExcludesFileError> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let patterns = lines.zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
    patterns
        .map(|(text, line)| {
            Pattern::new(text).map_err(|error| ExcludesFileError { line, pattern: text.to_owned(), error })
        })
        .collect()
}

/// A line of an excludes file is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludesFileError {
    /// The line, counted from 1.
    pub line: u64,
    /// What stands there.
    pub pattern: Vec<u8>,
    /// What is wrong with it.
    pub error: PatternError,
}

impl ExcludesFileError {
    /// The pattern that was probably meant, where there is one. Blanks at its ends are a slip, not a part of a name.
    pub fn mended(&self) -> Option<String> {
        self.error.mended()?;
        let named = std::str::from_utf8(&self.pattern).ok()?.trim_matches(' ');
        let mended = named.replace(' ', "_");
        Pattern::new(mended.as_bytes()).is_ok().then_some(mended)
    }

    /// What to do about it, for the second line of a message.
    pub fn remedy(&self) -> String {
        match self.mended() {
            Some(mended) => format!("write it as: {}", PrintableLine(mended.as_bytes())),
            None => {
                "mend that line; a literal path needs a backslash before each of . + * ? ( ) [ ] { } | ^ $".to_owned()
            }
        }
    }
}

impl fmt::Display for ExcludesFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: the pattern {} is refused: {}", self.line, PrintableLine(&self.pattern), self.error)
    }
}

impl std::error::Error for ExcludesFileError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> ExcludesFileError {
        read(text.as_bytes()).expect_err("must be refused")
    }

    #[test]
    fn empty_lines_and_comments_are_skipped() {
        let patterns = read(b"# scratch\n/tmp\r\n\n/var/log\r\n\r\n/a#b\n/opt").unwrap();
        let patterns: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
        assert_eq!(patterns, ["/tmp", "/var/log", "/a#b", "/opt"]);
        assert_eq!(read(b""), Ok(Vec::new()));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_in_the_file() {
        let error = refused("# scratch\n\n/tmp\n/a)|(?:.*\n");
        assert_eq!((error.line, &*error.pattern), (4, &b"/a)|(?:.*"[..]));
        assert!(matches!(error.error, PatternError::Syntax(_)));
        assert_eq!(error.mended(), None);
        assert_eq!(refused("[\u{e9}]").error, PatternError::Unicode);
    }

    #[test]
    fn a_blank_is_mended_as_the_kernel_would_write_it() {
        assert_eq!(refused("/My Files").mended().as_deref(), Some("/My_Files"));
        assert_eq!(refused("/tmp ").mended().as_deref(), Some("/tmp"));
        assert_eq!(refused(" /My Files").mended().as_deref(), Some("/My_Files"));
        assert_eq!(refused("  ").mended(), None);
        assert_eq!(refused("/a (").mended(), None, "what would be refused again is no mend");
    }
}
