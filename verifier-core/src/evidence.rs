//! The head of an answer to `GET /v1/evidence` (docs/agent-protocol.md): everything but the measurement list, which
//! follows it to the end of the answer.
//!
//! A head is what an agent says. Having one means that it is well-formed and within its limit, nothing else: quote and
//! signature are for [`AttestationKey::verify_quote`](crate::tpm::AttestationKey::verify_quote), the PCR values for
//! [`bind`](crate::tpm::VerifiedQuote::bind), and what nothing covers keeps `claimed_` in its name.

use std::fmt;

use base64ct::{Base64, Encoding};

use crate::cursor::{Cursor, decimal};
use crate::ima::entry::ByteOrder;

/// The longest head. The longest of its lines is a PCR blob of 24 PCRs in four banks: 132 bytes, a count, and twelve lists
/// of 532 bytes are 8,696 characters of base64; attest, signature and key are below 1,700 together.
pub const MAX_HEAD_LEN: usize = 16 << 10;

/// What the first line says: the kind and the version.
const MAGIC: &[u8] = b"goldseal-evidence 1";

/// Everything but the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// TPMS_ATTEST, which the signature is over.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// PCR values, as `tpm2_quote -o` writes them.
    pub pcr_blob: Vec<u8>,
    /// Index of the first entry that follows, counted from 0: the one that was asked for, or 0.
    pub claimed_first_entry: u64,
    /// Byte order of the list.
    pub claimed_order: ByteOrder,
    /// TPM2B_PUBLIC of the AK, to be compared with the enrolled one.
    pub claimed_ak: Vec<u8>,
}

impl Head {
    /// Reads a head off the beginning of an answer; also returns how many bytes it takes, behind which the list begins.
    ///
    /// # Errors
    /// [`HeadError`]. With [`HeadError::CutShort`] nothing is wrong yet: more of the answer must be seen.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), HeadError> {
        let bounded = bytes.get(..MAX_HEAD_LEN).unwrap_or(bytes);
        let mut cursor = Cursor::new(bounded);
        let head = Self::read(&mut cursor).map_err(|error| match error {
            HeadError::CutShort if bounded.len() >= MAX_HEAD_LEN => HeadError::TooLong { max: MAX_HEAD_LEN },
            error => error,
        })?;
        Ok((head, cursor.offset()))
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, HeadError> {
        if cursor.line().ok_or(HeadError::CutShort)? != MAGIC {
            return Err(HeadError::NotEvidence);
        }
        let attest = base64(cursor, "quote")?;
        let signature = base64(cursor, "signature")?;
        let pcr_blob = base64(cursor, "pcrs")?;
        let (claimed_first_entry, claimed_order) = list(value(cursor, "list")?).ok_or(HeadError::List)?;
        let claimed_ak = base64(cursor, "ak")?;
        if !cursor.line().ok_or(HeadError::CutShort)?.is_empty() {
            return Err(HeadError::Line { expected: "" });
        }
        Ok(Self { attest, signature, pcr_blob, claimed_first_entry, claimed_order, claimed_ak })
    }

    /// Writes it as [`Head::parse`] reads it. Its fields must not be empty, and together must stay within the limit.
    pub fn print(&self) -> Vec<u8> {
        let Self { attest, signature, pcr_blob, claimed_first_entry, claimed_order, claimed_ak } = self;
        let [attest, signature, pcr_blob, claimed_ak] =
            [attest, signature, pcr_blob, claimed_ak].map(|bytes| Base64::encode_string(bytes));
        let lines = format!(
            "\nquote {attest}\nsignature {signature}\npcrs {pcr_blob}\nlist {claimed_first_entry} {}\nak {claimed_ak}\n\n",
            claimed_order.name()
        );
        [MAGIC, lines.as_bytes()].concat()
    }
}

/// The value of the next line, which must have this name.
fn value<'a>(cursor: &mut Cursor<'a>, name: &'static str) -> Result<&'a [u8], HeadError> {
    let line = cursor.line().ok_or(HeadError::CutShort)?;
    let value = line.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
    value.ok_or(HeadError::Line { expected: name })
}

/// The same in padded base64 (RFC 4648, section 4), and not empty.
fn base64(cursor: &mut Cursor<'_>, name: &'static str) -> Result<Vec<u8>, HeadError> {
    let text = std::str::from_utf8(value(cursor, name)?).map_err(|_| HeadError::Base64 { field: name })?;
    let bytes = Base64::decode_vec(text).map_err(|_| HeadError::Base64 { field: name })?;
    if bytes.is_empty() { Err(HeadError::Base64 { field: name }) } else { Ok(bytes) }
}

/// Index of the first entry, and byte order.
fn list(value: &[u8]) -> Option<(u64, ByteOrder)> {
    let mut cursor = Cursor::new(value);
    let first = decimal(cursor.until(b' ')?, u64::MAX)?;
    Some((first, ByteOrder::from_name(cursor.take_rest()?)?))
}

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The bytes end within it.
    CutShort,
    /// It does not end where it must.
    TooLong {
        /// The most bytes it may have.
        max: usize,
    },
    /// Something else, or of another version.
    NotEvidence,
    /// Another line than must stand there.
    Line {
        /// Its name; empty for the empty line.
        expected: &'static str,
    },
    /// A value that is empty or not padded base64.
    Base64 {
        /// The name of its line.
        field: &'static str,
    },
    /// The line `list` is not a number and `little` or `big`.
    List,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort => f.write_str("the head of the evidence is cut short"),
            Self::TooLong { max } => write!(f, "the head of the evidence has no end within {max} bytes"),
            Self::NotEvidence => f.write_str("it does not begin with `goldseal-evidence 1`"),
            Self::Line { expected: "" } => f.write_str("the head of the evidence has a line too many"),
            Self::Line { expected } => write!(f, "the head of the evidence lacks its line `{expected}`"),
            Self::Base64 { field } => write!(f, "`{field}` of the evidence is not padded base64 of at least one byte"),
            Self::List => f.write_str("`list` of the evidence is not the index of an entry and a byte order"),
        }
    }
}

impl std::error::Error for HeadError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written down as docs/agent-protocol.md says, not by `print`.
    const GOOD: &str =
        "goldseal-evidence 1\nquote cXVvdGU=\nsignature c2ln\npcrs YmxvYg==\nlist 17 little\nak YWs=\n\n";

    fn head() -> Head {
        Head {
            attest: b"quote".to_vec(),
            signature: b"sig".to_vec(),
            pcr_blob: b"blob".to_vec(),
            claimed_first_entry: 17,
            claimed_order: ByteOrder::Little,
            claimed_ak: b"ak".to_vec(),
        }
    }

    #[test]
    fn a_head_is_read_and_printed() {
        assert_eq!(Head::parse(GOOD.as_bytes()), Ok((head(), GOOD.len())));
        assert_eq!(head().print(), GOOD.as_bytes());
        let big = GOOD.replace("17 little", "0 big");
        let (read, _) = Head::parse(big.as_bytes()).unwrap();
        assert_eq!((read.claimed_first_entry, read.claimed_order), (0, ByteOrder::Big));
        assert_eq!(read.print(), big.as_bytes());
    }

    #[test]
    fn the_list_follows_whatever_it_is() {
        for list in [&b""[..], b"\n\n", b"\x0a\0\0\0", &[0xff; 40_000]] {
            assert_eq!(Head::parse(&[GOOD.as_bytes(), list].concat()), Ok((head(), GOOD.len())));
        }
    }

    #[test]
    fn less_than_a_head_is_cut_short() {
        for len in 0..GOOD.len() {
            assert_eq!(Head::parse(&GOOD.as_bytes()[..len]), Err(HeadError::CutShort), "{len}");
        }
    }

    #[test]
    fn its_length_is_limited() {
        let of = |len: usize| format!("{}{}", GOOD.replace("cXVvdGU=", &"AAAA".repeat(len / 4)), "x".repeat(40_000));
        let longest = MAX_HEAD_LEN - GOOD.len() + "cXVvdGU=".len();
        assert!(Head::parse(of(longest / 4 * 4).as_bytes()).is_ok());
        let too_long = Err(HeadError::TooLong { max: MAX_HEAD_LEN });
        assert_eq!(Head::parse(of(longest / 4 * 4 + 4).as_bytes()), too_long);
        assert_eq!(Head::parse(of(1 << 20).as_bytes()), too_long);
        // The longest that a TPM can give rise to fits.
        let blob = vec![0; 132 + 4 + 12 * 532];
        let head = Head {
            attest: vec![0; 400],
            signature: vec![0; 2 + 2 + 2 + 512],
            pcr_blob: blob,
            claimed_first_entry: u64::MAX,
            claimed_ak: vec![0; 2 + 700],
            ..head()
        };
        assert_eq!(Head::parse(&head.print()), Ok((head.clone(), head.print().len())));
    }

    #[test]
    fn each_line_stands_where_it_must_and_in_one_spelling() {
        let line = |expected| HeadError::Line { expected };
        let base64 = |field| HeadError::Base64 { field };
        let broken = [
            ("evidence 1", "evidence 2", HeadError::NotEvidence),
            ("evidence 1", "evidence 1 ", HeadError::NotEvidence),
            ("goldseal-evidence 1\n", "", HeadError::NotEvidence),
            ("quote ", "Quote ", line("quote")),
            ("quote cXVvdGU=\n", "", line("quote")),
            ("quote ", "quote", line("quote")),
            ("signature c2ln\n", "", line("signature")),
            ("pcrs YmxvYg==\n", "", line("pcrs")),
            ("list 17 little\n", "", line("list")),
            ("ak YWs=\n", "", line("ak")),
            ("ak YWs=\n", "ak YWs=\nmore YWs=\n", line("")),
            ("YWs=\n", "YWs=\r\n", base64("ak")),
            ("cXVvdGU=", "", base64("quote")),
            ("cXVvdGU=", "cXVvdGU", base64("quote")),
            ("cXVvdGU=", " cXVvdGU=", base64("quote")),
            ("cXVvdGU=", "cXVvdGV=", base64("quote")),
            ("c2ln", "c2_n", base64("signature")),
            ("YmxvYg==", "YmxvYg=", base64("pcrs")),
            ("17 little", "17 Little", HeadError::List),
            ("17 little", "17  little", HeadError::List),
            ("17 little", "017 little", HeadError::List),
            ("17 little", "-1 little", HeadError::List),
            ("17 little", "17", HeadError::List),
            ("17 little", "18446744073709551616 little", HeadError::List),
        ];
        for (good, bad, error) in broken {
            let text = GOOD.replacen(good, bad, 1);
            assert_ne!(text, GOOD);
            assert_eq!(Head::parse(text.as_bytes()), Err(error), "{bad:?} for {good:?}");
        }
    }
}
