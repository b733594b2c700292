//! Excludes as Keylime matches them: Python's `re`, tried at the start of a name, over text and not bytes.
//!
//! Promises: a translated pattern takes no ASCII name that the original does not take, and takes every ASCII name that
//! it takes; of other names it takes at most those. For a single byte it means to take, such as `.` outside of a
//! repetition, there is no whole character beyond ASCII. Patterns over parts of characters have no translation.

use goldseal_verifier_core::excludes::Pattern;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, ClassUnicode, Hir, HirKind, Look};

/// The pattern for Python, if there is one.
pub fn translate(pattern: &Pattern) -> Option<String> {
    let mut parser = ParserBuilder::new();
    let parser = parser.unicode(false).utf8(false).dot_matches_new_line(true).nest_limit(NESTING);
    let hir = parser.build().parse(&pattern.wrapped()).ok()?;
    // Unlike ours, Keylime's excludes are tried on names of keys and buffers too.
    let mut text = "(?=/)".to_owned();
    write(&hir, Times::Once, &mut text)?;
    Some(text)
}

/// Deepest nesting: that of a valid pattern and its wrapper, with room.
const NESTING: u32 = 128;

/// Whether a part may match again and again: then each byte of a character may be one of the times.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Many,
}

fn write(hir: &Hir, times: Times, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => {
            for character in std::str::from_utf8(&literal.0).ok()?.chars() {
                write_char(character, text);
            }
        }
        HirKind::Class(Class::Bytes(class)) => write_byte_class(class, times, text)?,
        HirKind::Class(Class::Unicode(class)) => write_class(class, text),
        HirKind::Look(look) => text.push_str(match look {
            Look::Start => r"\A",
            Look::End => r"\Z",
            Look::StartLF => "(?m:^)",
            Look::EndLF => "(?m:$)",
            Look::WordAscii => r"(?a:\b)",
            Look::WordAsciiNegate => r"(?a:\B)",
            _ => return None,
        }),
        HirKind::Repetition(repetition) => {
            let times = if repetition.max.is_none() { Times::Many } else { Times::Once };
            write_group(&repetition.sub, times, text)?;
            text.push_str(&match (repetition.min, repetition.max) {
                (0, None) => "*".to_owned(),
                (1, None) => "+".to_owned(),
                (0, Some(1)) => "?".to_owned(),
                (min, None) => format!("{{{min},}}"),
                (min, Some(max)) => format!("{{{min},{max}}}"),
            });
        }
        HirKind::Capture(capture) => write_group(&capture.sub, times, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, Times::Once, text)?;
            }
        }
        HirKind::Alternation(branches) => {
            text.push_str("(?:");
            for (index, branch) in branches.iter().enumerate() {
                if index > 0 {
                    text.push('|');
                }
                write(branch, times, text)?;
            }
            text.push(')');
        }
    }
    Some(())
}

fn write_group(hir: &Hir, times: Times, text: &mut String) -> Option<()> {
    if matches!(hir.kind(), HirKind::Class(_)) {
        return write(hir, times, text);
    }
    text.push_str("(?:");
    write(hir, times, text)?;
    text.push(')');
    Some(())
}

fn write_byte_class(class: &ClassBytes, times: Times, text: &mut String) -> Option<()> {
    let beyond_ascii: usize = class.iter().map(|range| (range.start().max(0x80)..=range.end()).count()).sum();
    match (beyond_ascii, times) {
        (0, _) | (0x80, Times::Once) => {}
        // Every byte of every character, as often as it takes: any character.
        (0x80, Times::Many) => {
            let mut class = class.clone();
            class.negate();
            let mut class = class.to_unicode_class()?;
            class.negate();
            write_class(&class, text);
            return Some(());
        }
        _ => return None,
    }
    let mut ascii = class.clone();
    ascii.intersect(&ClassBytes::new([regex_syntax::hir::ClassBytesRange::new(0, 0x7f)]));
    write_class(&ascii.to_unicode_class()?, text);
    Some(())
}

fn write_class(class: &ClassUnicode, text: &mut String) {
    let mut inverse = class.clone();
    inverse.negate();
    if class.ranges().is_empty() {
        return text.push_str("(?!)");
    }
    if inverse.ranges().is_empty() {
        return text.push_str("(?s:.)");
    }
    let (sign, class) =
        if class.ranges().last().is_some_and(|last| last.end() == char::MAX) { ("[^", &inverse) } else { ("[", class) };
    text.push_str(sign);
    for range in class.ranges() {
        write_char(range.start(), text);
        if range.start() != range.end() {
            text.push('-');
            write_char(range.end(), text);
        }
    }
    text.push(']');
}

fn write_char(character: char, text: &mut String) {
    match character {
        '/' | '_' => text.push(character),
        c if c.is_ascii_alphanumeric() => text.push(c),
        c if c.is_ascii_punctuation() => text.extend(['\\', c]),
        c if c.is_ascii() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if c.is_alphanumeric() => text.push(c),
        c => text.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use goldseal_verifier_core::excludes::Excludes;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.as_bytes()).unwrap()
    }

    fn translated(text: &str) -> Option<String> {
        translate(&pattern(text))
    }

    #[test]
    fn common_patterns_stay_readable() {
        for (text, expected) in [
            ("/tmp", r"(?=/)\A(?:/tmp)(?:/(?s:.)*)?\Z"),
            ("/tmp/*", r"(?=/)\A(?:/tmp/*)(?:/(?s:.)*)?\Z"),
            (r"/home/[^/]+/\.cache/", r"(?=/)\A(?:/home/[^/]+/\.cache)(?:/(?s:.)*)?\Z"),
        ] {
            let found = translated(text).unwrap();
            // The parser groups as it likes: what counts is the meaning, which the next test holds against Python.
            assert_eq!(found.replace("(?:", "").replace(')', ""), expected.replace("(?:", "").replace(')', ""));
        }
    }

    #[test]
    fn parts_of_characters_have_no_translation() {
        for text in [r"/\xff", r"/[\x80-\x9f]", r"/\xc3."] {
            assert_eq!(translated(text), None, "{text}");
        }
    }

    const PATTERNS: [&str; 22] = [
        "/tmp",
        "/tmp/*",
        "/tmp/",
        "/var/log/.*\\.gz",
        "(?i)/Opt/a",
        ".*\\.pyc",
        "/home/[^/]+/\\.cache",
        "/a|/b/c",
        "/x{2,3}",
        "/x{2,}y?",
        "/[a-c-]+\\]",
        "/a.b",
        "/(?P<n>q)(r|s)*",
        "/\u{e9}*",
        "/w\\b.*",
        "(?m)/m$\n?",
        "/\\x1b\\[",
        "/[^a-z/]*",
        "/#~",
        "/[[:alpha:]]+[0-9]",
        "/d/\\S+",
        "(?u:/[\\pL--\\pN]+)",
    ];

    const NAMES: [&str; 40] = [
        "/tmp",
        "/tmp/",
        "/tmp/x",
        "/tmpx",
        "/tmp/a/b\nc",
        "tmp",
        "/var/log/a.gz",
        "/var/log/a.gzip",
        "/opt/a",
        "/OPT/A/x",
        "/opt/ab",
        "/usr/x.pyc",
        "boot_aggregate.pyc",
        "/home/u/.cache",
        "/home/u/v/.cache",
        "/home/\u{e9}/.cache/x",
        "/a",
        "/b/c",
        "/b/d",
        "/xx",
        "/x",
        "/xxxx",
        "/xxxxy",
        "/a-]",
        "/axb",
        "/a\u{e9}b",
        "/a/b",
        "/q",
        "/qrsr/x",
        "/qt",
        "/\u{e9}\u{e9}",
        "/w/w",
        "/ww",
        "/m",
        "/m\n",
        "/\u{1b}[",
        "/ABC",
        "/#~",
        "/z9",
        "/d/\u{e9}",
    ];

    /// As Keylime compiles and tries them (keylime/common/validators.py, keylime/ima/ima.py).
    const KEYLIME: &str = r#"
import json, re, sys
for line in sys.stdin:
    pattern, names = json.loads(line)
    compiled = re.compile("(" + ")|(".join([pattern, "/never"]) + ")")
    print(json.dumps([bool(compiled.match(name)) for name in names]))
"#;

    #[test]
    fn python_takes_what_we_take() {
        let python = Command::new("python3").args(["-c", KEYLIME]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut python) = python else {
            eprintln!("skipped: there is no python3 to hold the translation against");
            return;
        };
        let patterns: Vec<&str> = PATTERNS.into_iter().filter(|text| Pattern::new(text.as_bytes()).is_ok()).collect();
        assert!(patterns.len() > 18);
        let mut input = python.stdin.take().unwrap();
        for text in &patterns {
            let line = serde_json::json!([translated(text).expect(text), NAMES.as_slice()]);
            writeln!(input, "{line}").unwrap();
        }
        drop(input);
        let output = python.wait_with_output().unwrap();
        let answers: Vec<Vec<bool>> =
            serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.len(), patterns.len());
        for (text, answers) in patterns.iter().zip(&answers) {
            let excludes = Excludes::new([pattern(text)]).unwrap();
            for (name, taken) in NAMES.iter().zip(answers) {
                assert_eq!(*taken, excludes.takes(name.as_bytes()), "{text} on {name:?}: {:?}", translated(text));
            }
        }
    }
}
