//! Names from files and lists, made safe for a terminal: a name may hold ESC or a forged line.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64ct::{Base64, Encoding};
use serde_json::{Map, Value};

/// Shows bytes as text: control characters, backslash and whatever is not UTF-8 appear escaped (`\x1b`, `\n`, `\\`).
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a [u8]);

impl<'a> Printable<'a> {
    /// A path of this machine.
    pub fn path(path: &'a Path) -> Self {
        Self(path.as_os_str().as_bytes())
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, "\\\\", f)
    }
}

/// Shows a line of a format in which a backslash is an escape already, such as a pattern or a rule: backslashes stay
/// single, so that what is shown can be copied.
#[derive(Clone, Copy, Debug)]
pub struct PrintableLine<'a>(pub &'a [u8]);

impl fmt::Display for PrintableLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, "\\", f)
    }
}

fn write_escaped(bytes: &[u8], backslash: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\\' => f.write_str(backslash)?,
                // Bidirectional controls reorder what a reader sees.
                '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{2028}'
                | '\u{2029}' => {
                    write!(f, "\\u{{{:x}}}", u32::from(character))?;
                }
                c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// A path for a JSON object: `path`, and `path_base64` with its very bytes if they are not UTF-8.
pub fn json_path(path: impl AsRef<Path>) -> Map<String, Value> {
    let bytes = path.as_ref().as_os_str().as_bytes();
    let mut fields = Map::new();
    fields.insert("path".into(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        fields.insert("path_base64".into(), Base64::encode_string(bytes).into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_could_fool_a_terminal() {
        assert_eq!(Printable(b"/a \xc3\xa9").to_string(), "/a \u{e9}");
        assert_eq!(Printable(b"\x1b[2J\n\\\xff\xc2\x9b").to_string(), "\\x1b[2J\\n\\\\\\xff\\x9b");
        assert_eq!(Printable("\u{202e}".as_bytes()).to_string(), "\\u{202e}");
        assert_eq!(PrintableLine(b"/\\.ssh\x1b\xff").to_string(), "/\\.ssh\\x1b\\xff");
    }

    #[test]
    fn json_carries_the_bytes_where_text_cannot() {
        let json = |bytes| Value::Object(json_path(std::ffi::OsStr::from_bytes(bytes))).to_string();
        assert_eq!(json(b"/a\x1b"), r#"{"path":"/a\u001b"}"#);
        assert_eq!(json(b"/a\xff"), "{\"path\":\"/a\u{fffd}\",\"path_base64\":\"L2H/\"}");
    }
}
