//! One file per subcommand, and what several of them share.

pub mod add;
pub mod audit;
pub mod delete;
pub mod health;
pub mod list;
pub mod policy;
pub mod reactivate;
pub mod select;
pub mod status;
pub mod token;
pub mod update;

use crate::old_style::DEFAULT_UUID;

/// A machine's name as an argument; `default` is the one that Keylime's agent has unless it is told another.
///
/// # Errors
/// What a uuid is.
pub fn uuid(text: &str) -> Result<String, String> {
    let is_right = (1..=80).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    match text {
        "default" => Ok(DEFAULT_UUID.to_owned()),
        _ if is_right => Ok(text.to_owned()),
        _ => Err("a uuid has 1 to 80 of A-Z a-z 0-9 . _ - and begins with a letter or digit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_keylimes() {
        assert_eq!(uuid("default").as_deref(), Ok(DEFAULT_UUID));
        assert_eq!(uuid("web-1.example").as_deref(), Ok("web-1.example"));
        for bad in ["", "-a", "a/b", "a b", "é", &"a".repeat(81)] {
            assert!(uuid(bad).is_err(), "{bad}");
        }
    }
}
