//! A signature that was made elsewhere, as a file: 64 bytes as tokens and openssl write them, the same in base64, `sig`
//! lines of the container, or another copy of the document with its signatures.
//!
//! Whose signature it is, and whether it is right, is not known here.

use std::fmt;
use std::io::Read;
use std::path::Path;

use base64ct::{Base64, Encoding};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::envelope::{Envelope, HeadError, MAX_HEAD_LEN, SignatureLine};
use goldseal_verifier_core::key::SIGNATURE_LEN;

/// What such a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureFile {
    /// A signature that does not say whose it is.
    Bare([u8; SIGNATURE_LEN]),
    /// Lines of a container, at least one.
    Lines(Vec<SignatureLine>),
    /// The head of a copy.
    Copy(Envelope),
}

/// Reads a file; of a copy only its head.
///
/// # Errors
/// `unreadable` or `malformed`.
pub fn read(path: &Path) -> Result<SignatureFile, Failure> {
    let (file, _) = input::open_file(path)?;
    let mut start = Vec::new();
    let read = file.take(MAX_HEAD_LEN as u64).read_to_end(&mut start);
    read.map_err(|error| input::cannot_read(path, &error))?;
    parse(&start).map_err(|error| {
        let what = format!("{}: {error}", Printable::path(path));
        let todo = match error {
            SignatureFileError::Sshsig => {
                "let goldseal ask the agent: goldseal sign FILE --ssh-agent KEY.pub (ssh-keygen -Y signs other bytes)"
            }
            _ => "give 64 raw bytes, their base64, a `sig` line, or a signed copy, as it came from the signer",
        };
        Failure::new(Exit::Input, "malformed", what, todo)
    })
}

/// Reads the first bytes of a file, of which [`MAX_HEAD_LEN`] are enough.
///
/// # Errors
/// [`SignatureFileError`].
pub fn parse(bytes: &[u8]) -> Result<SignatureFile, SignatureFileError> {
    if let Ok(value) = bytes.try_into() {
        return Ok(SignatureFile::Bare(value));
    }
    if bytes.starts_with(b"DSSEv1 ") {
        let (envelope, _) = Envelope::parse(bytes).map_err(SignatureFileError::Copy)?;
        return Ok(SignatureFile::Copy(envelope));
    }
    if bytes.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
        return Err(SignatureFileError::Sshsig);
    }
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Err(SignatureFileError::Empty);
    }
    if text.starts_with(b"sig ") {
        return parse_lines(text).map(SignatureFile::Lines);
    }
    parse_base64(text).map(SignatureFile::Bare)
}

fn parse_lines(text: &[u8]) -> Result<Vec<SignatureLine>, SignatureFileError> {
    let lines = text.split(|byte| *byte == b'\n').zip(1..);
    // Line ends as mail and other systems make them.
    let parsed = lines
        .map(|(line, number)| SignatureLine::parse(line.trim_ascii_end()).ok_or(SignatureFileError::Line { number }));
    parsed.collect()
}

fn parse_base64(text: &[u8]) -> Result<[u8; SIGNATURE_LEN], SignatureFileError> {
    // `base64` and `openssl base64` break lines.
    let digits: Vec<u8> = text.split(|byte| *byte == b'\n').flat_map(<[u8]>::trim_ascii).copied().collect();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let digits = std::str::from_utf8(&digits).ok().filter(|digits| digits.bytes().all(|byte| is_digit(&byte)));
    let digits = digits.ok_or(SignatureFileError::Unknown)?;
    let value = Base64::decode_vec(digits).map_err(|_| SignatureFileError::Base64)?;
    let found = value.len();
    value.try_into().map_err(|_| SignatureFileError::Length { found })
}

/// Why a file is no signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureFileError {
    /// There is nothing.
    Empty,
    /// Neither of the forms there are.
    Unknown,
    /// Base64 that is cut off or damaged.
    Base64,
    /// Base64 of something else.
    Length {
        /// Its length in bytes.
        found: usize,
    },
    /// Not `sig ALGORITHM KEYID BASE64` in its one encoding.
    Line {
        /// Counted from 1.
        number: usize,
    },
    /// The head of a copy.
    Copy(HeadError),
    /// A signature of ssh-keygen, which is over other bytes (OpenSSH, PROTOCOL.sshsig).
    Sshsig,
}

impl fmt::Display for SignatureFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Unknown => write!(f, "it is no signature: a raw one has exactly {SIGNATURE_LEN} bytes"),
            Self::Base64 => f.write_str("its base64 is cut off or damaged"),
            Self::Length { found } => {
                write!(f, "it is the base64 of {found} bytes, and a signature has {SIGNATURE_LEN}")
            }
            Self::Line { number } => write!(f, "line {number} is not `sig ALGORITHM KEYID BASE64`"),
            Self::Copy(error) => error.fmt(f),
            Self::Sshsig => f.write_str("it is a signature of ssh-keygen -Y, which is not over the bytes of the file"),
        }
    }
}

impl std::error::Error for SignatureFileError {}

#[cfg(test)]
mod tests {
    use goldseal_verifier_core::envelope::pae;
    use goldseal_verifier_core::key::KeyId;

    use super::*;

    fn line() -> SignatureLine {
        SignatureLine::ed25519(KeyId::from_hex(&[b'a'; 64]).unwrap(), [7; 64])
    }

    #[test]
    fn each_form_is_read() {
        let base64 = Base64::encode_string(&[7; 64]);
        let (first, second) = base64.split_at(64);
        let bare = Ok(SignatureFile::Bare([7; 64]));
        assert_eq!(parse(&[7; 64]), bare);
        for text in [base64.clone(), format!("{base64}\n"), format!("{first}\n{second}\n"), format!(" {base64}\r\n")] {
            assert_eq!(parse(text.as_bytes()), bare, "{text}");
        }
        let lines = Ok(SignatureFile::Lines(vec![line()]));
        assert_eq!(parse(&line().print()), lines);
        assert_eq!(parse(line().print().trim_ascii()), lines);
        assert_eq!(parse(&[line().print().trim_ascii(), b"\r\n"].concat()), lines);
        assert_eq!(parse(&line().print().repeat(2)), Ok(SignatureFile::Lines(vec![line(), line()])));
        let copy = [&pae("type", b"\npayload\n")[..], &line().print(), b"\nbody"].concat();
        assert!(matches!(parse(&copy), Ok(SignatureFile::Copy(envelope)) if envelope.signatures() == [line()]));
    }

    #[test]
    fn each_deviation_has_its_error() {
        let base64 = Base64::encode_string(&[7; 64]);
        let other = |error| Err::<SignatureFile, _>(error);
        assert_eq!(parse(b""), other(SignatureFileError::Empty));
        assert_eq!(parse(b" \n"), other(SignatureFileError::Empty));
        assert_eq!(parse(b"0123  /usr/bin/one\n"), other(SignatureFileError::Unknown));
        for length in [63, 65, 66, 128] {
            assert_eq!(parse(&vec![7; length]), other(SignatureFileError::Unknown), "{length}");
        }
        for end in (1..base64.len()).filter(|end| *end != 64) {
            let error = parse(&base64.as_bytes()[..end]).unwrap_err();
            assert!(matches!(error, SignatureFileError::Base64 | SignatureFileError::Length { .. }), "{end}: {error}");
        }
        for length in [63, 65] {
            let text = Base64::encode_string(&vec![7; length]);
            assert_eq!(parse(text.as_bytes()), other(SignatureFileError::Length { found: length }));
        }
        let line = String::from_utf8(line().print()).unwrap();
        assert_eq!(parse(line.replace("==", "").as_bytes()), other(SignatureFileError::Line { number: 1 }));
        assert_eq!(parse(format!("{line}\n{line}").as_bytes()), other(SignatureFileError::Line { number: 2 }));
        assert_eq!(parse(b"DSSEv1 1 a 1 b"), other(SignatureFileError::Copy(HeadError::CutShort)));
        assert_eq!(parse(b"-----BEGIN SSH SIGNATURE-----\nAAAA\n"), other(SignatureFileError::Sshsig));
    }
}
