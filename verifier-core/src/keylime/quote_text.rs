//! A quote as Keylime's agents send it: `r`, then three parts in base64, with a colon between (rust-keylime 0.2.9,
//! `encode_quote_string` in keylime/src/tpm.rs).

use std::fmt;

use base64ct::{Base64, Encoding};

use crate::tpm::{MAX_ATTEST, MAX_PCR_BLOB, MAX_SIGNATURE};

/// The parts of a quote, before anybody has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteText {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// The PCRs' values, as [`read_pcr_blob`](crate::tpm::read_pcr_blob) takes them.
    pub pcr_blob: Vec<u8>,
}

impl QuoteText {
    /// Reads the text. Each part is at most as long as what it should be can be.
    ///
    /// # Errors
    /// [`QuoteTextError`]: not `r` and three parts in padded base64.
    pub fn parse(text: &str) -> Result<Self, QuoteTextError> {
        let parts = text.strip_prefix('r').ok_or(QuoteTextError::Prefix)?;
        let mut parts = parts.split(':');
        let mut next = |part| decoded(part, parts.next().ok_or(QuoteTextError::Missing(part))?);
        let attest = next(QuotePart::Attest)?;
        let signature = next(QuotePart::Signature)?;
        let pcr_blob = next(QuotePart::PcrBlob)?;
        match parts.next() {
            Some(_) => Err(QuoteTextError::MoreParts),
            None => Ok(Self { attest, signature, pcr_blob }),
        }
    }
}

/// The text that [`QuoteText::parse`] reads.
impl fmt::Display for QuoteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [attest, signature, pcr_blob] =
            [&self.attest, &self.signature, &self.pcr_blob].map(|part| Base64::encode_string(part));
        write!(f, "r{attest}:{signature}:{pcr_blob}")
    }
}

fn decoded(part: QuotePart, text: &str) -> Result<Vec<u8>, QuoteTextError> {
    let max = part.max_len();
    // Four characters for each three bytes begun (RFC 4648, section 4). What is longer is not even decoded.
    let found = text.len();
    let max = max.div_ceil(3).saturating_mul(4);
    if found > max {
        return Err(QuoteTextError::TooLong { part, found, max });
    }
    Base64::decode_vec(text).map_err(|_| QuoteTextError::NotBase64(part))
}

/// A part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotePart {
    /// The first.
    Attest,
    /// The second.
    Signature,
    /// The third.
    PcrBlob,
}

impl QuotePart {
    fn max_len(self) -> usize {
        match self {
            Self::Attest => MAX_ATTEST,
            Self::Signature => MAX_SIGNATURE,
            Self::PcrBlob => MAX_PCR_BLOB,
        }
    }
}

impl fmt::Display for QuotePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attest => "statement",
            Self::Signature => "signature",
            Self::PcrBlob => "PCR blob",
        })
    }
}

/// Why a text is not a quote's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuoteTextError {
    /// It does not begin with `r`.
    Prefix,
    /// It ends before this part.
    Missing(QuotePart),
    /// There are more than three parts.
    MoreParts,
    /// A part is longer than it can be.
    TooLong {
        /// Which.
        part: QuotePart,
        /// Its characters.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A part is not padded base64.
    NotBase64(QuotePart),
}

impl fmt::Display for QuoteTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => f.write_str("it does not begin with r, as a quote's text does"),
            Self::Missing(part) => write!(f, "it ends before the {part}"),
            Self::MoreParts => f.write_str("it has more than three parts"),
            Self::TooLong { part, found, max } => {
                write!(f, "its {part} has {found} characters, and at most {max} are possible")
            }
            Self::NotBase64(part) => write!(f, "its {part} is not padded base64"),
        }
    }
}

impl std::error::Error for QuoteTextError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_parts_and_no_more() {
        let text = "rYXR0ZXN0:c2ln:YmxvYg==";
        let quote = QuoteText::parse(text).unwrap();
        assert_eq!(
            (&quote.attest[..], &quote.signature[..], &quote.pcr_blob[..]),
            (&b"attest"[..], &b"sig"[..], &b"blob"[..])
        );
        assert_eq!(quote.to_string(), text);
        let part = |part: QuotePart| QuoteTextError::NotBase64(part);
        for (text, error) in [
            ("", QuoteTextError::Prefix),
            ("dYXR0ZXN0:c2ln:YmxvYg==", QuoteTextError::Prefix),
            ("rYXR0ZXN0", QuoteTextError::Missing(QuotePart::Signature)),
            ("rYXR0ZXN0:c2ln", QuoteTextError::Missing(QuotePart::PcrBlob)),
            ("rYXR0ZXN0:c2ln:YmxvYg==:", QuoteTextError::MoreParts),
            ("rYXR0ZXN:c2ln:YmxvYg==", part(QuotePart::Attest)),
            ("rYXR0ZXN0:c2_n:YmxvYg==", part(QuotePart::Signature)),
            // Without padding, with bits in it, and with a line's end.
            ("rYXR0ZXN0:c2ln:YmxvYg", part(QuotePart::PcrBlob)),
            ("rYXR0ZXN0:c2ln:YmxvYh==", part(QuotePart::PcrBlob)),
            ("rYXR0ZXN0:c2ln:YmxvYg==\n", part(QuotePart::PcrBlob)),
        ] {
            assert_eq!(QuoteText::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn parts_are_held_to_their_limits() {
        let longest = QuoteText {
            attest: vec![1; MAX_ATTEST],
            signature: vec![2; MAX_SIGNATURE],
            pcr_blob: vec![3; MAX_PCR_BLOB],
        };
        assert_eq!(QuoteText::parse(&longest.to_string()), Ok(longest.clone()));
        for part in [QuotePart::Attest, QuotePart::Signature, QuotePart::PcrBlob] {
            let mut longer = longest.clone();
            let bytes = match part {
                QuotePart::Attest => &mut longer.attest,
                QuotePart::Signature => &mut longer.signature,
                QuotePart::PcrBlob => &mut longer.pcr_blob,
            };
            bytes.extend([0; 3]);
            let max = part.max_len().div_ceil(3) * 4;
            assert_eq!(
                QuoteText::parse(&longer.to_string()),
                Err(QuoteTextError::TooLong { part, found: max + 4, max })
            );
        }
    }
}
