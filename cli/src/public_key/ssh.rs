//! Public keys as OpenSSH writes them, and the encoding that its agent speaks (RFC 4251, section 5).
//!
//! Reads one line `ssh-ed25519 BASE64 COMMENT` (RFC 4253, section 6.6; RFC 8709, section 4) and nothing of what may stand
//! around it in authorized_keys. Promises: every length is checked against what is there, and nothing is left over.

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::key::{KeyError, PublicKey};

use super::pem::KeyFileError;
use super::{SPKI_LEN, SPKI_PREFIX, spki_der};

/// The only kind of key that seals (RFC 8709, section 4).
pub const KEY_TYPE: &[u8] = b"ssh-ed25519";

/// Reads a line of OpenSSH with a public key; `None` if it is no such line.
pub fn parse_public(file: &[u8]) -> Option<Result<[u8; SPKI_LEN], KeyFileError>> {
    let text = std::str::from_utf8(file).ok()?.trim();
    let mut words = text.split([' ', '\t']);
    let kind = words.next()?;
    let foreign = |found: &str| Some(Err(KeyFileError::NotEd25519 { found: found.to_owned() }));
    match kind.as_bytes() {
        // Which of two keys is meant cannot be known.
        KEY_TYPE if text.contains(['\n', '\r']) => Some(Err(KeyFileError::Malformed)),
        KEY_TYPE => Some(parse_blob(words.next().unwrap_or_default())),
        b"ssh-rsa" => foreign("an RSA key"),
        b"ssh-dss" => foreign("a DSA key"),
        kind if kind.starts_with(b"ecdsa-sha2-") => foreign("an EC key"),
        // FIDO: the device signs its own counter along, not these bytes alone (OpenSSH, PROTOCOL.u2f).
        kind if kind.starts_with(b"sk-") => foreign("a key of a FIDO device, which signs other bytes than those given"),
        kind if kind.starts_with(b"ssh-") => foreign("another kind of OpenSSH key"),
        _ => None,
    }
}

fn parse_blob(base64: &str) -> Result<[u8; SPKI_LEN], KeyFileError> {
    let blob = Base64::decode_vec(base64).map_err(|_| KeyFileError::Malformed)?;
    let mut wire = Wire(&blob);
    let parsed = wire.string().filter(|kind| *kind == KEY_TYPE).and_then(|_| wire.string());
    let point = parsed.filter(|_| wire.is_empty()).and_then(|point| <&[u8; 32]>::try_from(point).ok());
    let key = PublicKey::from_spki_der(&spki_der(point.ok_or(KeyFileError::Malformed)?));
    key.map(|key| key.spki_der()).map_err(|error| match error {
        KeyError::Weak => KeyFileError::Weak,
        _ => KeyFileError::NotOnCurve,
    })
}

/// The key as the agent knows it: its type and its 32 bytes.
pub fn key_blob(key: &PublicKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, KEY_TYPE);
    put_string(&mut blob, &key.spki_der()[SPKI_PREFIX.len()..]);
    blob
}

/// Appends a `string`: its length in four bytes, and itself.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("what is sent has some thousand bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a>(pub &'a [u8]);

impl<'a> Wire<'a> {
    /// A number of four bytes.
    pub fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    /// A length of four bytes and what it counts.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key below, as ssh-add -L prints it.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh alice@signing\n";
    /// RFC 8410, section 10.1: the key of that line.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    fn refused(file: &str) -> KeyFileError {
        parse_public(file.as_bytes()).expect("it is a line of OpenSSH").expect_err("must be refused")
    }

    fn line(parts: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        parts.iter().for_each(|part| put_string(&mut blob, part));
        format!("ssh-ed25519 {}", Base64::encode_string(&blob))
    }

    #[test]
    fn a_line_is_the_same_key_as_its_pem() {
        let key = crate::public_key::pem::parse_public(PEM.as_bytes()).unwrap();
        for line in [LINE, LINE.trim(), &LINE.replace('\n', "\r\n"), LINE.strip_suffix(" alice@signing\n").unwrap()] {
            assert_eq!(parse_public(line.as_bytes()), Some(Ok(key)), "{line}");
        }
        let blob = key_blob(&PublicKey::from_spki_der(&key).unwrap());
        assert!(LINE.contains(&Base64::encode_string(&blob)));
    }

    #[test]
    fn lines_at_fault_are_refused() {
        assert_eq!(refused(&LINE.repeat(2)), KeyFileError::Malformed);
        for end in "ssh-ed25519".len()..LINE.find(" alice").unwrap() {
            assert_eq!(refused(&LINE[..end]), KeyFileError::Malformed, "{end}");
        }
        let point = [7; 31];
        assert_eq!(refused(&line(&[KEY_TYPE, &point])), KeyFileError::Malformed);
        assert_eq!(refused(&line(&[b"ssh-rsa", &[7; 32]])), KeyFileError::Malformed);
        assert_eq!(refused(&line(&[KEY_TYPE, &[7; 32], b"more"])), KeyFileError::Malformed);
        assert_eq!(refused(&line(&[KEY_TYPE, &[0; 32]])), KeyFileError::Weak);
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(refused(&line(&[KEY_TYPE, &off_curve])), KeyFileError::NotOnCurve);
    }

    #[test]
    fn keys_of_other_kinds_are_named() {
        for (kind, found) in [
            ("ssh-rsa", "an RSA key"),
            ("ecdsa-sha2-nistp256", "an EC key"),
            ("sk-ssh-ed25519@openssh.com", "a key of a FIDO device, which signs other bytes than those given"),
            ("ssh-ed25519-cert-v01@openssh.com", "another kind of OpenSSH key"),
        ] {
            let expected = KeyFileError::NotEd25519 { found: found.to_owned() };
            assert_eq!(refused(&format!("{kind} AAAA comment")), expected);
        }
        for other in ["", "restrict ssh-ed25519 AAAA", PEM, "# a comment"] {
            assert_eq!(parse_public(other.as_bytes()), None, "{other}");
        }
    }
}
