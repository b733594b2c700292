//! What a machine shows, as files: a quote with its key and PCR values, and the kernel's measurement list.
//!
//! Promises: nothing is larger in memory than its limit, and what cannot be believed is a typed failure (exit 3) with a
//! reason of its own. The judgement of what is believed is core's.

use std::path::Path;

use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::ima::list::{Limits, ListError, ListProblem};
use goldseal_verifier_core::ima::replay::{IMA_PCR, ReplayError};
use goldseal_verifier_core::tpm::{
    AttestationKey, BindError, ExpectedSelection, PcrSelection, QuoteError, QuotedPcrs, Sha1Signatures,
    UncheckedAttestationKey, VerifiedQuote, read_pcr_blob,
};

use crate::failure::{Exit, Failure};
use crate::input;
use crate::printable::Printable;

/// Longest file of a TPM structure: the sizes in them have 16 bits, and the PCR blob of tpm2-tools has 17,160 bytes at most.
const MAX_TPM_FILE: u64 = 64 << 10;

/// Longest nonce: TPM2B_DATA holds a hash algorithm and a SHA-512 digest (TPM Part 2, 10.4).
const MAX_NONCE: usize = 66;

/// A key that signs quotes, and what its file says of it.
#[derive(Clone, Debug)]
pub enum Ak {
    /// Its public area proves that it is an attestation key.
    Proven(Box<AttestationKey>),
    /// A public key; that it is an attestation key is the word of whoever named it.
    Asserted(UncheckedAttestationKey),
}

impl Ak {
    /// Reads TPM2B_PUBLIC or TPMT_PUBLIC as `tpm2_create -u` and `tpm2_readpublic -o` write them, or PEM.
    ///
    /// # Errors
    /// `bad-ak`, `unreadable`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = read(path, MAX_TPM_FILE, "bad-ak")?;
        let name = Printable::path(path);
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            return UncheckedAttestationKey::from_pem_unchecked(&bytes).map(Self::Asserted).map_err(|error| {
                Failure::new(Exit::Input, "bad-ak", format!("{name}: {error}"), "name the public key of the AK")
            });
        }
        AttestationKey::from_public_area(&bytes).map(|key| Self::Proven(Box::new(key))).map_err(|error| {
            Failure::new(
                Exit::Input,
                "bad-ak",
                format!("{name}: {error}"),
                "name the public area of an attestation key: tpm2_createak -u FILE, or tpm2_readpublic -c AK -o FILE",
            )
        })
    }

    fn verify_quote(
        &self,
        attest: &[u8],
        signature: &[u8],
        nonce: &[u8],
        expected: ExpectedSelection<'_>,
        sha1: Sha1Signatures,
    ) -> Result<VerifiedQuote, QuoteError> {
        match self {
            Self::Proven(key) => key.verify_quote(attest, signature, nonce, expected, sha1),
            Self::Asserted(key) => key.verify_quote(attest, signature, nonce, expected, sha1),
        }
    }
}

/// The files of a quote.
#[derive(Clone, Copy, Debug)]
pub struct QuoteFiles<'a> {
    /// TPMS_ATTEST.
    pub attest: &'a Path,
    /// TPMT_SIGNATURE.
    pub signature: &'a Path,
    /// The PCR values as `tpm2_quote -o` writes them.
    pub pcrs: &'a Path,
}

impl QuoteFiles<'_> {
    /// Reads and checks the quote: by this key, for this nonce, and of these PCRs or, without any, of PCR 10 at least.
    ///
    /// # Errors
    /// `bad-quote`, `unreadable`.
    pub fn check(
        &self,
        ak: &Ak,
        nonce: &[u8],
        expected: Option<&PcrSelection>,
        sha1: Sha1Signatures,
    ) -> Result<QuotedPcrs, Failure> {
        let read = |path| read(path, MAX_TPM_FILE, "bad-quote");
        let (attest, signature, pcrs) = (read(self.attest)?, read(self.signature)?, read(self.pcrs)?);
        self.check_bytes([&attest, &signature, &pcrs], ak, nonce, expected, sha1)
    }

    /// The same of what such files would hold: a quote, its signature, and PCR values.
    ///
    /// # Errors
    /// `bad-quote`.
    pub fn check_bytes(
        &self,
        [attest, signature, pcrs]: [&[u8]; 3],
        ak: &Ak,
        nonce: &[u8],
        expected: Option<&PcrSelection>,
        sha1: Sha1Signatures,
    ) -> Result<QuotedPcrs, Failure> {
        let selection = expected.map_or(ExpectedSelection::AsQuoted, ExpectedSelection::Exactly);
        let quote = ak
            .verify_quote(attest, signature, nonce, selection, sha1)
            .map_err(|error| bad_quote(self.attest, &error.to_string(), quote_todo(&error)))?;
        if !has_ima_pcr(quote.selection()) {
            return Err(bad_quote(self.attest, &format!("it does not cover PCR {IMA_PCR}"), TAKE_AGAIN));
        }
        let values = read_pcr_blob(pcrs).map_err(|error| {
            bad_quote(self.pcrs, &error.to_string(), "name what tpm2_quote -o wrote beside the quote")
        })?;
        quote.bind(values).map_err(|error| bad_quote(self.pcrs, &error.to_string(), bind_todo(&error)))
    }
}

const TAKE_AGAIN: &str =
    "take the quote again: tpm2_quote -c AK -l sha256:0,1,2,3,4,5,6,7,8,9,10 -q NONCE -m MSG -s SIG -o PCRS";

fn quote_todo(error: &QuoteError) -> &'static str {
    match error {
        QuoteError::OtherNonce { .. } => {
            "give the nonce that was sent; if it was this one, the quote is an old one and proves nothing"
        }
        QuoteError::BadSignature | QuoteError::OtherScheme { .. } => {
            "check that --ak, --quote and --signature belong together; if they do, do not believe the quote"
        }
        QuoteError::Sha1Signature => {
            "make an AK that signs with SHA-256; for a TPM that cannot: --danger-allow-sha1-signature"
        }
        QuoteError::NotQuoted(_) | QuoteError::NotExpected(_) => {
            "have those quoted that are expected, or mend --expect-pcrs"
        }
        _ => TAKE_AGAIN,
    }
}

fn bind_todo(error: &BindError) -> &'static str {
    match error {
        BindError::OtherDigest { .. } => "name the values that belong to this quote; if these do, they were changed",
        _ => "name what tpm2_quote -o wrote beside the quote",
    }
}

fn bad_quote(path: &Path, error: &str, todo: &str) -> Failure {
    Failure::new(Exit::Input, "bad-quote", format!("{}: {error}", Printable::path(path)), todo)
}

/// Whether PCR 10 is among them, in some bank.
pub fn has_ima_pcr(selection: &PcrSelection) -> bool {
    selection.iter().any(|(_, pcr)| pcr == IMA_PCR)
}

/// A nonce as an argument: hex of either case, at most as long as a quote can carry.
///
/// # Errors
/// What a nonce is.
pub fn nonce(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let pairs = digits.filter(|digits| digits.len().is_multiple_of(2) && (2..=2 * MAX_NONCE).contains(&digits.len()));
    let nonce = pairs.map(|digits| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    nonce.ok_or_else(|| format!("a nonce is hex of 1 to {MAX_NONCE} bytes"))
}

/// A selection as an argument, as tpm2-tools write it: `sha256:0,1,10+sha1:10`.
///
/// # Errors
/// What a selection is.
pub fn selection(text: &str) -> Result<PcrSelection, String> {
    let bank = |part: &str| {
        let (bank, pcrs) = part.split_once(':')?;
        let bank = HashAlgorithm::from_name(bank.as_bytes())?;
        pcrs.split(',').map(|pcr| Some((bank, pcr.parse().ok()?))).collect::<Option<Vec<(HashAlgorithm, u8)>>>()
    };
    let pcrs: Option<Vec<_>> = text.split('+').map(bank).collect();
    let selection = pcrs.and_then(|pcrs| PcrSelection::new(pcrs.concat()).ok()).filter(has_ima_pcr);
    selection.ok_or_else(|| format!("write it as sha256:0,1,10 or sha1:10+sha256:10, with PCR {IMA_PCR} in it"))
}

/// Reads the bytes of a measurement list, to be parsed within [`LIMITS`].
///
/// # Errors
/// `bad-list`, `unreadable`.
pub fn read_ima_log(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, LIMITS.bytes as u64, "bad-list")
}

/// How much of a list is read.
pub const LIMITS: Limits = Limits::DEFAULT;

/// Bytes that are no measurement list.
pub fn bad_list(path: &Path, error: &ListError) -> Failure {
    let todo = match error.problem {
        ListProblem::AsciiTemplate => "give the binary list: binary_runtime_measurements",
        ListProblem::TemplateHash => "it was changed, or the kernel did not write it: do not believe it, read it again",
        _ => "read it again, whole: cat /sys/kernel/security/ima/binary_runtime_measurements > FILE",
    };
    Failure::new(Exit::Input, "bad-list", format!("{}: {error}", Printable::path(path)), todo)
}

/// A list that the quote does not confirm.
pub fn no_replay(path: &Path, error: &ReplayError) -> Failure {
    Failure::new(
        Exit::Input,
        "no-replay",
        format!("{}: the quote does not confirm this list: {error}", Printable::path(path)),
        "take quote and list again, the list last; if it stays so, the list was changed or PCR 10 was extended by others",
    )
}

/// Empty and overlong files are as bad as malformed ones.
fn read(path: &Path, limit: u64, reason: &'static str) -> Result<Vec<u8>, Failure> {
    input::read_file(path, limit).map_err(|failure| match failure.reason {
        "malformed" => Failure { reason, ..failure },
        _ => failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_hex_of_any_case() {
        assert_eq!(nonce("00aAfF"), Ok(vec![0, 0xaa, 0xff]));
        assert_eq!(nonce(&"0".repeat(132)), Ok(vec![0; 66]));
        for bad in ["", "0", "abc", "0x", "zz", "é1", &"0".repeat(134)] {
            assert!(nonce(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn selections_are_written_as_tpm2_tools_do() {
        for good in ["sha256:10", "sha1:10+sha256:0,1,10", "sha256:0,23,10"] {
            let canonical = if good.ends_with("23,10") { "sha256:0,10,23" } else { good };
            assert_eq!(selection(good).unwrap().to_string(), canonical);
        }
        for bad in ["", "sha256", "sha256:", "sha256:0", "sha256:24,10", "sha256:10,", "md5:10", "sha256:10+", "10"] {
            assert!(selection(bad).is_err(), "{bad}");
        }
    }
}
