//! The tag by which a machine shows that it has recovered a secret (keylime 7.14.3, `verify_ak_response` in
//! models/registrar/registrar_agent.py).

use std::fmt;

use base64ct::{Base64, Encoding};
use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hex;

/// HMAC-SHA384 over a machine's uuid. The key is the *text* that base64 makes of the secret, not the secret.
///
/// Two tags are compared by [`AuthTag::matches`] alone, which takes the same time whatever they are.
///
/// ```compile_fail
/// use goldseal_verifier_core::keylime::AuthTag;
/// fn leaky(expected: AuthTag, claimed: AuthTag) -> bool {
///     expected == claimed
/// }
/// ```
#[derive(Clone)]
pub struct AuthTag([u8; AuthTag::LEN]);

impl AuthTag {
    /// Its length in bytes: SHA-384 (FIPS 180-4).
    pub const LEN: usize = 48;

    /// The tag of whoever has this secret, for this uuid.
    pub fn of(secret: &[u8], uuid: &str) -> Self {
        let text = Zeroizing::new(Base64::encode_string(secret));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, text.as_bytes()), uuid.as_bytes());
        let mut bytes = [0; Self::LEN];
        for (byte, computed) in bytes.iter_mut().zip(tag.as_ref()) {
            *byte = *computed;
        }
        Self(bytes)
    }

    /// Reads what somebody sends as a tag: lower-case hex, as Keylime's agents write it.
    ///
    /// # Errors
    /// [`AuthTagError`]: anything else.
    pub fn parse(text: &[u8]) -> Result<Self, AuthTagError> {
        let mut bytes = [0; Self::LEN];
        hex::decode_lower(text, &mut bytes).map(|()| Self(bytes)).ok_or(AuthTagError { len: text.len() })
    }

    /// Whether both are the same.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The text that [`AuthTag::parse`] reads. Who has it can pass for the machine once.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

/// Shows nothing of it.
impl fmt::Debug for AuthTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthTag")
    }
}

/// Not a tag: it is 96 digits of lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthTagError {
    /// Bytes of the text.
    pub len: usize,
}

impl fmt::Display for AuthTagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not a tag: {} lower-case hex digits are, and these are {} bytes", 2 * AuthTag::LEN, self.len)
    }
}

impl std::error::Error for AuthTagError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// `crypto.do_hmac(base64.b64encode(b"0123456789abcdefghijklmnopqrstuv"), "d432fbb3-d2f1-4a97-9ef7-75bd81c00000")`
    /// of keylime 7.14.3.
    const TAG: &str =
        "1cce04c1d1b163efa7a371a59cc8b1690e90c71f299d577892bbfc1055e9b20a3eb55391487e06f25d09bd0f1505a1db";
    const SECRET: &[u8] = b"0123456789abcdefghijklmnopqrstuv";
    const UUID: &str = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

    #[test]
    fn the_tag_is_keylimes() {
        let tag = AuthTag::of(SECRET, UUID);
        assert_eq!(tag.to_hex(), TAG);
        assert!(AuthTag::parse(TAG.as_bytes()).unwrap().matches(&tag));
    }

    #[test]
    fn every_bit_of_a_tag_counts() {
        let tag = AuthTag::of(SECRET, UUID);
        for at in 0..AuthTag::LEN * 8 {
            let mut other = tag.clone();
            other.0[at / 8] ^= 1 << (at % 8);
            assert!(!tag.matches(&other) && !other.matches(&tag), "{at}");
        }
        assert!(!tag.matches(&AuthTag::of(&SECRET[..31], UUID)));
        assert!(!tag.matches(&AuthTag::of(SECRET, &UUID.to_uppercase())));
        assert!(!tag.matches(&AuthTag::of(SECRET, "")));
    }

    #[test]
    fn tags_have_one_spelling_and_are_not_shown() {
        for bad in ["", TAG.trim_start_matches('1'), &format!("{TAG}0"), &TAG.to_uppercase(), &TAG.replace('a', "g")] {
            assert_eq!(AuthTag::parse(bad.as_bytes()).unwrap_err(), AuthTagError { len: bad.len() });
        }
        assert_eq!(format!("{:?}", AuthTag::of(SECRET, UUID)), "AuthTag");
    }
}
