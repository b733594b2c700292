//! Excludes: patterns whose files a list leaves out (docs/format.md, Excludes).
//!
//! A pattern names a file or a folder, and everything below goes with it: `/tmp/*`, `/tmp` and `/tmp/` all take
//! `/tmp/x`, and `/var/log` does not take `/var/logger`. Names are matched as the kernel writes them, at build and at
//! appraisal alike. Matching takes time linear in the name, whatever the patterns are.

use std::fmt;

use regex::bytes::{RegexSet, RegexSetBuilder};
use regex_syntax::hir::ErrorKind as HirErrorKind;

use crate::path;

/// Most patterns of a list: twice what the largest lists in use carry.
pub const MAX_PATTERNS: usize = 4_096;

/// Longest pattern in bytes: a pattern that spells out the longest path there is.
pub const MAX_PATTERN_LEN: usize = path::MAX_PATH_LEN;

/// Most memory all patterns of a list may take once compiled, in bytes: 16 KiB for each of [`MAX_PATTERNS`].
const MAX_COMPILED: usize = 64 << 20;

/// Memory for the automaton that is built while matching, in bytes: it thrashes when it has to start over too often.
const MAX_AUTOMATON: usize = 32 << 20;

/// Deepest nesting of groups in a pattern; parsing recurses.
const MAX_NESTING: u32 = 64;

/// Paths no pattern may take unless a `broad-exclude` rule says that it is meant.
pub const PROBES: [&str; 7] =
    ["/", "/usr/bin/bash", "/bin/sh", "/usr/lib/systemd/systemd", "/usr/sbin/sshd", "/root/x", "/goldseal-probe/x"];

/// One valid pattern, as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern, if it is one.
    ///
    /// # Errors
    /// [`PatternError`]: it is checked alone, so that an unbalanced `)` cannot leave the wrapper, and wrapped.
    pub fn new(text: &[u8]) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN_LEN {
            return Err(PatternError::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| PatternError::NotUtf8)?;
        if text.contains(['\n', '\r']) {
            return Err(PatternError::LineBreak);
        }
        if text.contains(' ') {
            return Err(PatternError::Blank { mended: text.replace(' ', "_") });
        }
        let pattern = Self(text.to_owned());
        for expression in [text, &pattern.wrapped()] {
            let mut parser = regex_syntax::ParserBuilder::new();
            let parser = parser.unicode(false).utf8(false).dot_matches_new_line(true).nest_limit(MAX_NESTING);
            parser.build().parse(expression).map_err(|error| PatternError::from_syntax(&error))?;
        }
        Ok(pattern)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole expression, for flags `s-u`: one trailing unescaped `/` removed, anchored, everything below included.
    pub fn wrapped(&self) -> String {
        let named = match self.0.strip_suffix('/') {
            Some(folder) if folder.bytes().rev().take_while(|byte| *byte == b'\\').count().is_multiple_of(2) => folder,
            _ => &self.0,
        };
        format!(r"\A(?:{named})(?:/.*)?\z")
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// It takes every path.
    Empty,
    /// More than [`MAX_PATTERN_LEN`] bytes.
    TooLong,
    /// Its bytes are not UTF-8.
    NotUtf8,
    /// It holds an LF or CR.
    LineBreak,
    /// It holds a blank, and the kernel writes `_` for a blank.
    Blank {
        /// The same pattern with `_`.
        mended: String,
    },
    /// It asks for characters, and paths are bytes.
    Unicode,
    /// It is not a regular expression.
    Syntax(String),
}

impl PatternError {
    fn from_syntax(error: &regex_syntax::Error) -> Self {
        match error {
            regex_syntax::Error::Translate(error)
                if matches!(
                    error.kind(),
                    HirErrorKind::UnicodeNotAllowed
                        | HirErrorKind::UnicodePropertyNotFound
                        | HirErrorKind::UnicodePropertyValueNotFound
                        | HirErrorKind::UnicodePerlClassNotFound
                ) =>
            {
                Self::Unicode
            }
            regex_syntax::Error::Translate(error) => Self::Syntax(error.kind().to_string()),
            regex_syntax::Error::Parse(error) => Self::Syntax(error.kind().to_string()),
            other => Self::Syntax(other.to_string()),
        }
    }

    /// The pattern that was probably meant, where there is one.
    pub fn mended(&self) -> Option<&str> {
        match self {
            Self::Blank { mended } => Some(mended),
            _ => None,
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty and would take every path"),
            Self::TooLong => write!(f, "it is longer than {MAX_PATTERN_LEN} bytes"),
            Self::NotUtf8 => f.write_str("it is not UTF-8; write other bytes as \\xNN"),
            Self::LineBreak => f.write_str("it holds a line break; write \\n or \\r"),
            Self::Blank { .. } => f.write_str("it holds a blank, and the kernel writes `_` where a name has a blank"),
            Self::Unicode => {
                f.write_str("it holds a Unicode class, and patterns match bytes; write the bytes as (?:\\xNN\\xNN|…)")
            }
            Self::Syntax(reason) => write!(f, "it is not a regular expression: {reason}"),
        }
    }
}

impl std::error::Error for PatternError {}

/// All patterns of a list, sorted, each once, compiled together.
#[derive(Clone, Debug)]
pub struct Excludes {
    patterns: Vec<Pattern>,
    set: RegexSet,
}

impl Excludes {
    /// Compiles patterns; their order and repetitions do not matter.
    ///
    /// # Errors
    /// [`ExcludesError`]: too many, or too large together.
    pub fn new(patterns: impl IntoIterator<Item = Pattern>) -> Result<Self, ExcludesError> {
        let mut patterns: Vec<Pattern> = patterns.into_iter().collect();
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.len() > MAX_PATTERNS {
            return Err(ExcludesError::TooMany);
        }
        let set = RegexSetBuilder::new(patterns.iter().map(Pattern::wrapped))
            .unicode(false)
            .dot_matches_new_line(true)
            .nest_limit(MAX_NESTING.saturating_add(8))
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_AUTOMATON)
            .build()
            .map_err(|_| ExcludesError::TooLarge)?;
        Ok(Self { patterns, set })
    }

    /// No patterns.
    pub fn none() -> Self {
        Self { patterns: Vec::new(), set: RegexSet::empty() }
    }

    /// The patterns, sorted.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether some pattern takes this path. A path that does not begin with `/` is never taken.
    pub fn takes(&self, path: &[u8]) -> bool {
        !self.patterns.is_empty() && path.starts_with(b"/") && self.set.is_match(&path::kernel_name(path))
    }

    /// All patterns that take this path.
    pub fn taking(&self, path: &[u8]) -> impl Iterator<Item = &Pattern> {
        let takes = path.starts_with(b"/").then(|| self.set.matches(&path::kernel_name(path)));
        let indices = takes.into_iter().flat_map(|matches| matches.into_iter().collect::<Vec<_>>());
        indices.filter_map(|index| self.patterns.get(index))
    }

    /// The patterns that take one of [`PROBES`], each with the first probe it takes.
    pub fn broad(&self) -> Vec<(&Pattern, &'static str)> {
        let mut broad: Vec<(&Pattern, &'static str)> = Vec::new();
        for probe in PROBES {
            for pattern in self.taking(probe.as_bytes()) {
                if broad.iter().all(|(known, _)| *known != pattern) {
                    broad.push((pattern, probe));
                }
            }
        }
        broad.sort_unstable();
        broad
    }

    /// The section: one pattern a line.
    pub fn print(&self) -> Vec<u8> {
        self.patterns.iter().flat_map(|pattern| [pattern.as_str().as_bytes(), b"\n"].concat()).collect()
    }
}

/// Why patterns cannot be used together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExcludesError {
    /// More than [`MAX_PATTERNS`].
    TooMany,
    /// Compiled, they need more memory than a list may take.
    TooLarge,
}

impl fmt::Display for ExcludesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "there are more than {MAX_PATTERNS} patterns"),
            Self::TooLarge => write!(f, "compiled, the patterns need more than {} MiB", MAX_COMPILED >> 20),
        }
    }
}

impl std::error::Error for ExcludesError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(patterns: &[&str]) -> Excludes {
        Excludes::new(patterns.iter().map(|text| Pattern::new(text.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn a_pattern_names_a_file_or_a_folder_with_all_below() {
        for pattern in ["/tmp/*", "/tmp", "/tmp/"] {
            let excludes = excludes(&[pattern]);
            for taken in ["/tmp", "/tmp/x", "/tmp/a/b", "/tmp/a\nb"] {
                assert!(excludes.takes(taken.as_bytes()), "{pattern} {taken}");
            }
            for free in ["/tmpx", "/a/tmp", "/", "tmp", "tmp/x"] {
                assert!(!excludes.takes(free.as_bytes()), "{pattern} {free}");
            }
        }
        assert!(!excludes(&["/var/log"]).takes(b"/var/logger-evil"));
        assert!(excludes(&[r"/a\\/"]).takes(b"/a\\/x"), "an even run of backslashes escapes itself, not the slash");
        assert!(!excludes(&[r"/a\/"]).takes(b"/a/x"), "an escaped slash stays part of the name");
        assert!(excludes(&[r"/home/[^/]*/\.cache"]).takes(b"/home/a_b/.cache/x\xff"));
    }

    #[test]
    fn names_are_matched_as_the_kernel_writes_them() {
        assert!(excludes(&["/a_b"]).takes(b"/a b/c"));
        assert!(excludes(&["/\u{e9}"]).takes("/\u{e9}/x".as_bytes()));
        assert!(excludes(&[r"/\xff."]).takes(b"/\xff\n"));
    }

    #[test]
    fn each_bad_pattern_has_its_error() {
        let error = |text: &[u8]| Pattern::new(text).unwrap_err();
        assert_eq!(error(b""), PatternError::Empty);
        assert_eq!(error(&[b'a'; MAX_PATTERN_LEN + 1]), PatternError::TooLong);
        assert_eq!(error(b"/\xff"), PatternError::NotUtf8);
        assert_eq!(error(b"/a\r"), PatternError::LineBreak);
        assert_eq!(error(b"/a b").mended(), Some("/a_b"));
        for unicode in ["[\u{e9}]", r"\pL", r"\p{Greek}", "/[a-\u{e9}]"] {
            assert_eq!(error(unicode.as_bytes()), PatternError::Unicode, "{unicode}");
        }
        for syntax in ["/a)|(?:.*", "/a(", "[", "*", "/a(?x)#", r"\1", "(?=a)", "a{5,2}"] {
            assert!(matches!(error(syntax.as_bytes()), PatternError::Syntax(_)), "{syntax}");
        }
        let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
        assert!(matches!(error(deep.as_bytes()), PatternError::Syntax(_)));
    }

    #[test]
    fn patterns_that_take_a_probe_are_named() {
        let excludes = excludes(&["/", "/.*", "/root", "/tmp", "/usr/s?bin", "(?i)/BIN"]);
        let broad: Vec<(&str, &str)> =
            excludes.broad().iter().map(|(pattern, probe)| (pattern.as_str(), *probe)).collect();
        assert_eq!(
            broad,
            [("(?i)/BIN", "/bin/sh"), ("/", "/"), ("/.*", "/"), ("/root", "/root/x"), ("/usr/s?bin", "/usr/bin/bash")]
        );
    }

    #[test]
    fn hostile_sizes_are_refused() {
        let many = (0..=MAX_PATTERNS).map(|n| Pattern::new(format!("/{n}").as_bytes()).unwrap());
        assert_eq!(Excludes::new(many).unwrap_err(), ExcludesError::TooMany);
        let large = Pattern::new(b"/((a{1000}){1000}){1000}").unwrap();
        assert_eq!(Excludes::new([large]).unwrap_err(), ExcludesError::TooLarge);
    }

    #[test]
    fn patterns_do_not_leak_flags_or_group_names_into_each_other() {
        let excludes = excludes(&["(?i)/a", "/b", "/(?P<n>c)", "/(?P<n>d)"]);
        assert!(excludes.takes(b"/A") && !excludes.takes(b"/B") && excludes.takes(b"/c") && excludes.takes(b"/d"));
        let taking: Vec<&str> = excludes.taking(b"/d/e").map(Pattern::as_str).collect();
        assert_eq!(taking, ["/(?P<n>d)"]);
    }
}
