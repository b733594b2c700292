//! What a machine is called: the `uuid` of both protocols.

use std::fmt;
use std::str::FromStr;

/// The longest: a host name has at most 253 characters, a UUID 36; Keylime's database takes 80.
pub const MAX_UUID_LEN: usize = 80;

/// A machine's name. Not always a UUID: an agent may as well be called by its host name or by the digest of its EK.
/// Safe in paths, logs and tables, so that it needs no escaping.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(String);

impl Uuid {
    /// A name of 1 to [`MAX_UUID_LEN`] letters, digits, `.`, `_` and `-`, the first a letter or a digit.
    pub fn new(text: &str) -> Option<Self> {
        let is_right = text.len() <= MAX_UUID_LEN
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        is_right.then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not what a machine can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UuidError;

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a uuid has 1 to {MAX_UUID_LEN} of A-Z a-z 0-9 . _ - and begins with a letter or digit")
    }
}

impl std::error::Error for UuidError {}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        Self::new(text).ok_or(UuidError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_everywhere() {
        for good in ["a", "D432FBB3-D2F1-4A97-9EF7-75BD81C00000", "web-1.example", "0_x", &"a".repeat(80)] {
            assert_eq!(good.parse::<Uuid>().map(|uuid| uuid.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "a\u{1b}", "é", "a%2f", &"a".repeat(81)] {
            assert_eq!(bad.parse::<Uuid>(), Err(UuidError), "{bad:?}");
        }
    }
}
