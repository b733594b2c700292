//! The head of a list: the signed bytes and the signatures over them (docs/format.md, Head and Signatures).
//!
//! Nothing here is believed yet. The first bytes of a file are exactly the bytes that are signed: the DSSE v1
//! pre-authentication encoding (PAE) of the header.

use std::fmt;

use base64ct::{Base64, Encoding};
use sha2::{Digest as _, Sha256};

use crate::cursor::{Cursor, decimal};
use crate::digest::Digest;
use crate::hex;
use crate::key::{KeyId, SIGNATURE_LEN};

/// Most bytes that are signed: hardware tokens sign about that much with pure Ed25519.
pub const MAX_SIGNED_LEN: usize = 1_024;

/// Most signature lines of a list: a threshold of people, and room for keys that are being rotated.
pub const MAX_SIGNATURES: usize = 16;

/// Longest signature line in bytes, LF included: room for post-quantum signatures (SLH-DSA's start at 7,856 bytes,
/// ML-DSA-87's 4,627 fit in base64).
pub const MAX_SIGNATURE_LINE: usize = 8 << 10;

/// Longest head: reading this many bytes of a file is enough to parse any.
pub const MAX_HEAD_LEN: usize = MAX_SIGNED_LEN + MAX_SIGNATURES * MAX_SIGNATURE_LINE + 1;

/// The only algorithm whose signatures count.
pub const ED25519: &str = "ed25519";

/// Longest name of a signature algorithm.
const MAX_ALGORITHM_LEN: usize = 64;

/// The pre-authentication encoding of DSSE v1: what is signed.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut signed = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    signed.extend_from_slice(payload);
    signed
}

/// A well-formed head within its limits. It means nothing about origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    signed: Vec<u8>,
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<SignatureLine>,
}

impl Envelope {
    /// An unsealed head for this payload; `None` if it is longer than [`MAX_SIGNED_LEN`].
    pub fn unsealed(payload_type: &str, payload: &[u8]) -> Option<Self> {
        let signed = pae(payload_type, payload);
        (signed.len() <= MAX_SIGNED_LEN).then(|| Self {
            signed,
            payload_type: payload_type.to_owned(),
            payload: payload.to_owned(),
            signatures: Vec::new(),
        })
    }

    /// Reads a head from the first bytes of a file ([`MAX_HEAD_LEN`] are always enough) and says how many it took
    /// (docs/format.md, Verifying 1).
    ///
    /// # Errors
    /// [`HeadError`]: not a list at all, cut short, or not the one encoding.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), HeadError> {
        if bytes.is_empty() {
            return Err(HeadError::Empty);
        }
        let mut head = Cursor::new(bytes);
        head.literal(b"DSSEv1 ").ok_or(HeadError::NotSealedFormat)?;
        let (payload_type, payload) = parse_pae(&mut head)?;
        let signed_len = head.offset();
        let signed = bytes.get(..signed_len).ok_or(HeadError::CutShort)?.to_vec();
        let mut signatures: Vec<SignatureLine> = Vec::new();
        loop {
            let start = head.offset();
            let line = head.line().ok_or_else(|| {
                let unread = bytes.len().saturating_sub(start);
                if unread >= MAX_SIGNATURE_LINE {
                    HeadError::SignatureLine { offset: start }
                } else {
                    HeadError::CutShort
                }
            })?;
            if line.is_empty() {
                let envelope = Self { signed, payload_type, payload, signatures };
                return Ok((envelope, head.offset()));
            }
            let signature = SignatureLine::parse(line).ok_or(HeadError::SignatureLine { offset: start })?;
            if signatures.last().is_some_and(|last| last.key_id >= signature.key_id) {
                return Err(HeadError::SignatureOrder { offset: start });
            }
            if signatures.len() == MAX_SIGNATURES {
                return Err(HeadError::TooManySignatures);
            }
            signatures.push(signature);
        }
    }

    /// The head as bytes: `parse(print())` gives it back.
    pub fn print(&self) -> Vec<u8> {
        let mut bytes = self.signed.clone();
        for signature in &self.signatures {
            bytes.extend_from_slice(&signature.print());
        }
        bytes.push(b'\n');
        bytes
    }

    /// The bytes every signature is over.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// What kind of file it claims to be.
    pub fn claimed_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload, believed by nobody yet.
    pub fn claimed_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signature lines, ascending by key id.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// The identity of the list: SHA-256 of the signed bytes. Signatures do not change it.
    pub fn identity(&self) -> Identity {
        Identity::of(&self.signed)
    }

    /// Puts a signature in its place; one by the same key is replaced.
    ///
    /// # Errors
    /// [`HeadError::TooManySignatures`] beyond [`MAX_SIGNATURES`].
    pub fn insert(&mut self, signature: SignatureLine) -> Result<(), HeadError> {
        match self.signatures.binary_search_by_key(&signature.key_id, |line| line.key_id) {
            Ok(place) => {
                if let Some(line) = self.signatures.get_mut(place) {
                    *line = signature;
                }
            }
            Err(_) if self.signatures.len() >= MAX_SIGNATURES => return Err(HeadError::TooManySignatures),
            Err(place) => self.signatures.insert(place, signature),
        }
        Ok(())
    }
}

/// Type and payload of the PAE that follows `DSSEv1 `.
fn parse_pae(head: &mut Cursor<'_>) -> Result<(String, Vec<u8>), HeadError> {
    let type_offset = head.offset();
    let payload_type = parse_sized(head, "the length of the payload type")?;
    let payload_type = String::from_utf8(payload_type.to_vec())
        .map_err(|_| HeadError::Malformed { offset: type_offset, expected: "the payload type, in UTF-8" })?;
    if head.is_empty() {
        return Err(HeadError::CutShort);
    }
    let offset = head.offset();
    head.literal(b" ").ok_or(HeadError::Malformed { offset, expected: "a blank after the payload type" })?;
    let payload = parse_sized(head, "the length of the header")?.to_vec();
    if head.offset() > MAX_SIGNED_LEN {
        return Err(HeadError::Malformed { offset: MAX_SIGNED_LEN, expected: "the end of the signed bytes" });
    }
    Ok((payload_type, payload))
}

/// The bytes after a length and a blank.
fn parse_sized<'a>(head: &mut Cursor<'a>, expected: &'static str) -> Result<&'a [u8], HeadError> {
    let offset = head.offset();
    let length = head.until(b' ').ok_or(HeadError::CutShort)?;
    let length = decimal(length, u64::MAX).and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= MAX_SIGNED_LEN).ok_or(HeadError::Malformed { offset, expected })?;
    head.take(length).ok_or(HeadError::CutShort)
}

/// The identity of a list: SHA-256 of its signed bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    fn of(signed: &[u8]) -> Self {
        Self(Sha256::digest(signed).into())
    }

    /// Reads 64 lower-case hex digits: an identity that somebody named, of a list that need not exist.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut identity = [0; 32];
        hex::decode_lower(text, &mut identity)?;
        Some(Self(identity))
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The same as a digest.
    pub fn digest(self) -> Digest {
        Digest::of_sha256(self.0)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// One signature line. Algorithm and key id are hints; which key counts, and how, the trust root decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    algorithm: String,
    key_id: KeyId,
    value: Vec<u8>,
}

impl SignatureLine {
    /// An Ed25519 signature.
    pub fn ed25519(key_id: KeyId, value: [u8; SIGNATURE_LEN]) -> Self {
        Self { algorithm: ED25519.to_owned(), key_id, value: value.to_vec() }
    }

    /// The algorithm it claims.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The key it claims.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature's bytes.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// `sig ALGORITHM KEYID BASE64`, LF left out, in its one encoding.
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.len() >= MAX_SIGNATURE_LINE {
            return None;
        }
        let mut fields = Cursor::new(line);
        fields.literal(b"sig ")?;
        let algorithm = fields.until(b' ')?;
        let key_id = KeyId::from_hex(fields.until(b' ')?)?;
        let text = std::str::from_utf8(fields.take_rest()?).ok()?;
        let value = Base64::decode_vec(text).ok()?;
        // Two spellings of one value would be two files with one meaning.
        if value.is_empty() || Base64::encode_string(&value) != text {
            return None;
        }
        let allowed = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        if algorithm.is_empty() || algorithm.len() > MAX_ALGORITHM_LEN || !algorithm.iter().all(allowed) {
            return None;
        }
        let algorithm = String::from_utf8(algorithm.to_vec()).ok()?;
        if algorithm == ED25519 && value.len() != SIGNATURE_LEN {
            return None;
        }
        Some(Self { algorithm, key_id, value })
    }

    /// The line, LF included.
    pub fn print(&self) -> Vec<u8> {
        format!("sig {} {} {}\n", self.algorithm, self.key_id, Base64::encode_string(&self.value)).into_bytes()
    }
}

/// Why bytes are not the head of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// There is nothing.
    Empty,
    /// It does not begin as a list does.
    NotSealedFormat,
    /// It ends within the head.
    CutShort,
    /// At this offset stands something else.
    Malformed {
        /// Offset in bytes from the start of the file.
        offset: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// Not `sig ALGORITHM KEYID BASE64` in its one encoding, or longer than [`MAX_SIGNATURE_LINE`].
    SignatureLine {
        /// Where the line starts.
        offset: usize,
    },
    /// The key ids do not ascend.
    SignatureOrder {
        /// Where the line starts.
        offset: usize,
    },
    /// More than [`MAX_SIGNATURES`].
    TooManySignatures,
    /// More than [`MAX_SIGNED_LEN`] bytes to sign.
    TooLong,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::NotSealedFormat => f.write_str("it does not begin with `DSSEv1 `: not a goldseal list"),
            Self::CutShort => f.write_str("it ends within its head"),
            Self::Malformed { offset, expected } => write!(f, "at offset {offset} there is not {expected}"),
            Self::SignatureLine { offset } => {
                write!(f, "the line at offset {offset} is neither empty nor `sig ALGORITHM KEYID BASE64`")
            }
            Self::SignatureOrder { offset } => {
                write!(f, "the signature at offset {offset} is not in ascending order of key ids")
            }
            Self::TooLong => write!(f, "its signed bytes are more than {MAX_SIGNED_LEN}"),
            Self::TooManySignatures => write!(f, "it has more than {MAX_SIGNATURES} signatures"),
        }
    }
}

impl std::error::Error for HeadError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(first: char, algorithm: &str, length: usize) -> String {
        let id = format!("{first}{}", "0".repeat(63));
        format!("sig {algorithm} {id} {}\n", Base64::encode_string(&vec![7; length]))
    }

    fn head(lines: &str) -> Vec<u8> {
        [&pae("some/type", b"\npayload\n")[..], lines.as_bytes(), b"\n"].concat()
    }

    #[test]
    fn survives_parse_and_print_and_says_its_length() {
        let bytes = head(&(line('a', ED25519, 64) + &line('b', "ml-dsa-87", 4_627)));
        let with_body = [&bytes[..], b"body"].concat();
        let (envelope, length) = Envelope::parse(&with_body).unwrap();
        assert_eq!((envelope.print(), length), (bytes.clone(), bytes.len()));
        assert_eq!((envelope.claimed_type(), envelope.claimed_payload()), ("some/type", &b"\npayload\n"[..]));
        assert_eq!(envelope.signatures().len(), 2);
    }

    #[test]
    fn the_encoding_is_the_one_of_the_dsse_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn each_deviation_has_its_error() {
        let parse = |bytes: &[u8]| Envelope::parse(bytes).map(|_| ()).unwrap_err();
        let at_lines = pae("some/type", b"\npayload\n").len();
        assert_eq!(parse(b""), HeadError::Empty);
        assert_eq!(parse(b"DSSEv2 1 a 1 b\n"), HeadError::NotSealedFormat);
        assert!(matches!(parse(b"DSSEv1 01 a 1 b\n"), HeadError::Malformed { offset: 7, .. }));
        assert!(matches!(parse(b"DSSEv1 1 a_1 b\n"), HeadError::Malformed { offset: 10, .. }));
        assert!(matches!(parse(b"DSSEv1 1 a 1025 b\n"), HeadError::Malformed { offset: 11, .. }));
        assert!(matches!(parse(b"DSSEv1 1 \xff 1 b\n"), HeadError::Malformed { .. }));
        let long = pae("a", &vec![b'x'; MAX_SIGNED_LEN]);
        assert!(matches!(parse(&long), HeadError::Malformed { offset: MAX_SIGNED_LEN, .. }));
        let whole = head(&line('a', ED25519, 64));
        for length in 7..whole.len() {
            assert_eq!(parse(&whole[..length]), HeadError::CutShort, "{length}");
        }
        for bad in [
            line('a', ED25519, 63),
            line('a', ED25519, 0),
            line('A', ED25519, 64),
            line('a', "Ed25519", 64),
            line('a', "", 64),
            line('a', &"x".repeat(65), 64),
            line('a', "new", MAX_SIGNATURE_LINE),
            line('a', ED25519, 64).replace("sig ", "sig  "),
            line('a', ED25519, 64).replace("==", ""),
            line('a', ED25519, 64).replace("Bw==", "Bx=="),
            line('a', ED25519, 64).replace('\n', "\r\n"),
        ] {
            assert_eq!(parse(&head(&bad)), HeadError::SignatureLine { offset: at_lines }, "{bad}");
        }
        let twice = line('a', ED25519, 64) + &line('a', ED25519, 64);
        assert!(matches!(parse(&head(&twice)), HeadError::SignatureOrder { .. }));
        let falling = line('b', ED25519, 64) + &line('a', ED25519, 64);
        assert!(matches!(parse(&head(&falling)), HeadError::SignatureOrder { .. }));
        let many = |count: usize| -> String {
            let digits: Vec<String> = (0..count).map(|n| format!("{n:064x}")).collect();
            digits.iter().map(|id| line('a', ED25519, 64).replacen(&format!("a{}", "0".repeat(63)), id, 1)).collect()
        };
        assert!(Envelope::parse(&head(&many(MAX_SIGNATURES))).is_ok());
        assert_eq!(parse(&head(&many(MAX_SIGNATURES + 1))), HeadError::TooManySignatures);
        let endless = [&pae("a", b"b")[..], &vec![b'x'; MAX_HEAD_LEN]].concat();
        assert!(matches!(parse(&endless), HeadError::SignatureLine { .. }));
    }

    #[test]
    fn a_signature_takes_its_place_and_replaces_its_own() {
        let mut envelope = Envelope::unsealed("t", b"\np\n").unwrap();
        let id = |first: char| KeyId::from_hex(format!("{first}{}", "0".repeat(63)).as_bytes()).unwrap();
        for (first, value) in [('b', 1), ('a', 2), ('b', 3)] {
            envelope.insert(SignatureLine::ed25519(id(first), [value; 64])).unwrap();
        }
        let lines: Vec<_> = envelope.signatures().iter().map(|line| (line.key_id(), line.value()[0])).collect();
        assert_eq!(lines, [(id('a'), 2), (id('b'), 3)]);
        assert_eq!(Envelope::parse(&envelope.print()).unwrap().0, envelope);
    }
}
