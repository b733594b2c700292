//! The two steps from a quote to PCR values.

use std::fmt;

use crate::digest::{Digest, HashAlgorithm};
use crate::pcr::PcrValues;
use crate::tpm::algorithm::SignatureScheme;
use crate::tpm::attest::{AttestError, Boot, ClaimedAttest, Clock, MAX_ATTEST};
use crate::tpm::key::{AkIdentity, PublicKey};
use crate::tpm::reader::StructureError;
use crate::tpm::selection::{OrderedSelection, PcrSelection};
use crate::tpm::signature::QuoteSignature;

/// What a quote must be of.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedSelection<'a> {
    /// These PCRs, no fewer and no more.
    Exactly(&'a PcrSelection),
    /// Whatever was quoted, if it is anything: for whoever looks at [`VerifiedQuote::selection`] afterwards. A machine
    /// chooses then which of its PCRs are seen.
    AsQuoted,
}

/// Whether a signature over a SHA-1 digest counts. Collisions of SHA-1 are made in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sha1Signatures {
    /// It does not.
    Refuse,
    /// It does: dangerous, for old TPMs alone.
    AcceptDangerously,
}

/// The check behind `verify_quote` of both kinds of keys.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and this has two callers")]
pub(super) fn verify(
    key: &PublicKey,
    fixed_scheme: Option<SignatureScheme>,
    ak: AkIdentity,
    attest: &[u8],
    signature: &[u8],
    nonce: &[u8],
    expected: ExpectedSelection<'_>,
    sha1: Sha1Signatures,
) -> Result<VerifiedQuote, QuoteError> {
    if nonce.is_empty() {
        return Err(QuoteError::EmptyNonce);
    }
    if attest.len() > MAX_ATTEST {
        return Err(QuoteError::TooLong { found: attest.len(), max: MAX_ATTEST });
    }

    // The signature, over the bytes as they came. Nothing of them is read before.
    let signature = QuoteSignature::parse(signature).map_err(QuoteError::Signature)?;
    let scheme = signature.claimed_scheme();
    if let Some(key_scheme) = fixed_scheme.filter(|key_scheme| *key_scheme != scheme) {
        return Err(QuoteError::OtherScheme { key: key_scheme, signature: scheme });
    }
    if scheme.hash == HashAlgorithm::Sha1 && sha1 == Sha1Signatures::Refuse {
        return Err(QuoteError::Sha1Signature);
    }
    if !key.can_verify(scheme) {
        return Err(QuoteError::Unsupported(scheme));
    }
    if !key.verifies(attest, &signature) {
        return Err(QuoteError::BadSignature);
    }

    // What was signed.
    let attest = ClaimedAttest::parse(attest).map_err(QuoteError::Attest)?;
    if attest.extra_data != nonce {
        return Err(QuoteError::OtherNonce { quoted: attest.extra_data.to_vec() });
    }
    let quoted = attest.selection.as_set().ok_or(QuoteError::NothingQuoted)?;
    if let ExpectedSelection::Exactly(expected) = expected {
        if let Some(missing) = expected.beyond(&quoted) {
            return Err(QuoteError::NotQuoted(missing));
        }
        if let Some(more) = quoted.beyond(expected) {
            return Err(QuoteError::NotExpected(more));
        }
    }
    // TPM Part 3, TPM2_Quote: the hash is that of the signing scheme.
    let pcr_digest = Digest::new(scheme.hash, attest.pcr_digest)
        .ok_or(QuoteError::DigestLength { scheme, found: attest.pcr_digest.len() })?;
    Ok(VerifiedQuote {
        facts: Facts {
            ak,
            boot: attest.boot,
            clock: attest.clock,
            firmware_version: attest.firmware_version,
            signature_hash: scheme.hash,
        },
        order: attest.selection,
        selection: quoted,
        pcr_digest,
    })
}

/// What a quote tells beside its PCRs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    ak: AkIdentity,
    boot: Boot,
    clock: Clock,
    firmware_version: u64,
    signature_hash: HashAlgorithm,
}

/// A quote that its key signed, for the nonce it was checked with. The values of the PCRs are not known yet.
///
/// ```compile_fail
/// fn believe(claimed: goldseal_verifier_core::tpm::ClaimedAttest) -> goldseal_verifier_core::tpm::VerifiedQuote {
///     claimed.into()
/// }
/// ```
/// ```compile_fail
/// let quote = goldseal_verifier_core::tpm::VerifiedQuote::default();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedQuote {
    facts: Facts,
    order: OrderedSelection,
    selection: PcrSelection,
    pcr_digest: Digest,
}

impl VerifiedQuote {
    /// Which PCRs were quoted.
    pub fn selection(&self) -> &PcrSelection {
        &self.selection
    }

    /// Whose quote it is.
    pub fn ak(&self) -> &AkIdentity {
        &self.facts.ak
    }

    /// In which boot.
    pub fn boot(&self) -> Boot {
        self.facts.boot
    }

    /// When, by the TPM's clock.
    pub fn clock(&self) -> Clock {
        self.facts.clock
    }

    /// Takes values that came beside the quote, such as those of [`read_pcr_blob`](crate::tpm::read_pcr_blob), if they
    /// are the quoted ones: of exactly the quoted PCRs, and with the quoted digest.
    ///
    /// # Errors
    /// [`BindError`] with the first thing that is wrong.
    pub fn bind(self, values: PcrValues) -> Result<QuotedPcrs, BindError> {
        let given = PcrSelection::of(&values).ok_or_else(|| BindError::Missing(self.selection.clone()))?;
        if let Some(missing) = self.selection.beyond(&given) {
            return Err(BindError::Missing(missing));
        }
        if let Some(more) = given.beyond(&self.selection) {
            return Err(BindError::NotQuoted(more));
        }
        let in_order = self.order.iter().filter_map(|(bank, pcr)| values.value(bank, pcr)).map(Digest::as_bytes);
        let computed = Digest::of(self.facts.signature_hash, in_order);
        if computed != self.pcr_digest {
            return Err(BindError::OtherDigest { quoted: Box::new(self.pcr_digest), computed: Box::new(computed) });
        }
        Ok(QuotedPcrs { facts: self.facts, values })
    }
}

/// PCR values that a TPM vouches for, if [`QuotedPcrs::ak`] is the key of one.
///
/// ```compile_fail
/// use goldseal_verifier_core::{pcr::PcrValues, tpm::QuotedPcrs};
/// fn believe(values: PcrValues) -> QuotedPcrs {
///     values.into()
/// }
/// ```
/// ```compile_fail
/// let quoted = goldseal_verifier_core::tpm::QuotedPcrs { facts: todo!(), values: Default::default() };
/// ```
/// ```compile_fail
/// let quoted = goldseal_verifier_core::tpm::QuotedPcrs::default();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotedPcrs {
    facts: Facts,
    values: PcrValues,
}

impl QuotedPcrs {
    /// The values: of exactly the PCRs that were quoted.
    pub fn values(&self) -> &PcrValues {
        &self.values
    }

    /// Whose quote it was.
    pub fn ak(&self) -> &AkIdentity {
        &self.facts.ak
    }

    /// In which boot.
    pub fn boot(&self) -> Boot {
        self.facts.boot
    }

    /// When, by the TPM's clock.
    pub fn clock(&self) -> Clock {
        self.facts.clock
    }

    /// The TPM's firmware, by numbers of its vendor.
    pub fn firmware_version(&self) -> u64 {
        self.facts.firmware_version
    }

    /// The hash of the signature and of the quoted digest: everything above is worth as much as it holds.
    pub fn signature_hash(&self) -> HashAlgorithm {
        self.facts.signature_hash
    }
}

/// Why a quote is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuoteError {
    /// Without a nonce any old quote would do.
    EmptyNonce,
    /// Longer than a quote can be.
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The signature is not a TPMT_SIGNATURE of a kind that is known here.
    Signature(StructureError),
    /// The key signs in one way, and this was made in another.
    OtherScheme {
        /// The key's.
        key: SignatureScheme,
        /// The signature's.
        signature: SignatureScheme,
    },
    /// The signature is over a SHA-1 digest.
    Sha1Signature,
    /// No signature by this key can be checked under this scheme.
    Unsupported(SignatureScheme),
    /// It is not this key's over these bytes.
    BadSignature,
    /// The key signed something else than a quote.
    Attest(AttestError),
    /// It is for another nonce.
    OtherNonce {
        /// Which.
        quoted: Vec<u8>,
    },
    /// No PCR was quoted.
    NothingQuoted,
    /// These PCRs were expected, and not quoted.
    NotQuoted(PcrSelection),
    /// These PCRs were quoted, and not expected.
    NotExpected(PcrSelection),
    /// The digest of the PCRs is not of the scheme's hash.
    DigestLength {
        /// The scheme.
        scheme: SignatureScheme,
        /// The digest's length in bytes.
        found: usize,
    },
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyNonce => f.write_str("no nonce was given, so that any old quote would do"),
            Self::TooLong { found, max } => write!(f, "it has {found} bytes, and a quote at most {max}"),
            Self::Signature(error) => write!(f, "its signature: {error}"),
            Self::OtherScheme { key, signature } => {
                write!(f, "it is signed by {signature}, and its key signs by {key}")
            }
            Self::Sha1Signature => f.write_str("its signature is over a SHA-1 digest"),
            Self::Unsupported(scheme) => write!(f, "{scheme} by such a key cannot be checked"),
            Self::BadSignature => f.write_str("the signature is not this key's over these bytes"),
            Self::Attest(error) => error.fmt(f),
            Self::OtherNonce { quoted } => write!(f, "it is for another nonce: {}", crate::hex::encode(quoted)),
            Self::NothingQuoted => f.write_str("it is of no PCR"),
            Self::NotQuoted(missing) => write!(f, "it does not cover {missing}"),
            Self::NotExpected(more) => write!(f, "it covers {more} too, which was not asked for"),
            Self::DigestLength { scheme, found } => {
                write!(f, "it is signed by {scheme}, and the digest of its PCRs has {found} bytes")
            }
        }
    }
}

impl std::error::Error for QuoteError {}

/// Why PCR values are not the quoted ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// These were quoted and have no value.
    Missing(PcrSelection),
    /// These have a value and were not quoted.
    NotQuoted(PcrSelection),
    /// Their digest is another.
    OtherDigest {
        /// In the quote.
        quoted: Box<Digest>,
        /// Of the values.
        computed: Box<Digest>,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(pcrs) => write!(f, "there is no value for {pcrs}, which is quoted"),
            Self::NotQuoted(pcrs) => write!(f, "there is a value for {pcrs}, which is not quoted"),
            Self::OtherDigest { quoted, computed } => {
                write!(f, "the PCR values have the digest {computed}, and {quoted} is quoted")
            }
        }
    }
}

impl std::error::Error for BindError {}
