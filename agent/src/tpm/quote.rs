//! Quotes, with the PCR values that belong to them.

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::pcr::PcrValues;
use goldseal_verifier_core::tpm::{BindError, ExpectedSelection, PcrSelection, Sha1Signatures, print_pcr_blob};
use tss_esapi::Context;
use tss_esapi::handles::PcrHandle;
use tss_esapi::structures::{Data, DigestValues, SignatureScheme};
use tss_esapi::traits::Marshall;

use crate::tpm::TpmError;
use crate::tpm::ak::Ak;
use crate::tpm::error::Fault;
use crate::tpm::link::{Link, with_password};
use crate::tpm::pcrs;
use crate::tpm::properties::Properties;

/// What to quote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuoteRequest {
    /// The banks; none stands for [`Properties::default_bank`].
    pub banks: Vec<HashAlgorithm>,
    /// The PCRs of each.
    pub pcrs: Vec<u8>,
    /// The verifier's nonce.
    pub nonce: Vec<u8>,
    /// Bytes to tell together with the PCRs: PCR 16 is reset, extended with their digest, and quoted too.
    pub bind: Option<Vec<u8>>,
}

/// A quote that the attestation key signed, of PCRs that had these values.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quote {
    /// The banks of the quoted PCRs, weakest first.
    pub banks: Vec<HashAlgorithm>,
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// The values, as `tpm2_quote -o` writes them.
    pub pcr_blob: Vec<u8>,
}

impl Link {
    pub(super) fn quote(&mut self, request: &QuoteRequest) -> Result<Quote, Fault> {
        if request.nonce.is_empty() {
            return Err(TpmError::EmptyNonce.into());
        }
        let ak = self.ak()?;
        let properties = self.properties()?;
        let (found, max) = (request.nonce.len(), properties.max_nonce);
        if found > max {
            return Err(TpmError::NonceTooLong { found, max }.into());
        }
        let selection = selection(request, &properties)?;
        let context = self.context()?;
        for _ in 0..ATTEMPTS {
            if let Some(bytes) = &request.bind {
                bind(context, &selection, bytes)?;
            }
            let values = pcrs::read(context, &selection)?;
            let is_bound = request.bind.as_ref().is_none_or(|bytes| holds(&values, bytes));
            let (attest, signature) = sign(context, &ak, request, &selection)?;
            if is_bound && belong(&ak, &attest, &signature, request, &selection, &values)? {
                let banks = selection.banks().collect();
                return Ok(Quote { banks, attest, signature, pcr_blob: print_pcr_blob(&values) });
            }
        }
        Err(TpmError::PcrsMove { attempts: ATTEMPTS }.into())
    }
}

fn selection(request: &QuoteRequest, properties: &Properties) -> Result<PcrSelection, TpmError> {
    let default = [properties.default_bank().ok_or(TpmError::NoBank)?];
    let banks = if request.banks.is_empty() { &default[..] } else { &request.banks };
    if let Some(bank) = banks.iter().find(|bank| !properties.banks.contains(bank)) {
        return Err(TpmError::InactiveBank { bank: *bank, active: properties.banks.clone() });
    }
    let bound = request.bind.as_ref().map(|_| BIND_PCR);
    let pcrs = request.pcrs.iter().copied().chain(bound);
    let all = pcrs.flat_map(|pcr| banks.iter().map(move |bank| (*bank, pcr)));
    PcrSelection::new(all).map_err(TpmError::Selection)
}

/// Makes PCR 16 tell some bytes, in each bank that is quoted.
fn bind(context: &mut Context, selection: &PcrSelection, bytes: &[u8]) -> Result<(), Fault> {
    let mut digests = DigestValues::new();
    for bank in selection.banks() {
        digests.set(pcrs::theirs(bank), pcrs::digest(&Digest::of(bank, [bytes]))?);
    }
    with_password(context, |context| context.pcr_reset(PcrHandle::Pcr16))?;
    with_password(context, |context| context.pcr_extend(PcrHandle::Pcr16, digests))?;
    Ok(())
}

/// Whether PCR 16 tells these bytes. Any program may reset and extend it.
fn holds(values: &PcrValues, bytes: &[u8]) -> bool {
    values.banks().all(|bank| {
        let (start, extension) = (Digest::filled(bank, 0), Digest::of(bank, [bytes]));
        values.value(bank, BIND_PCR) == Some(&Digest::of(bank, [start.as_bytes(), extension.as_bytes()]))
    })
}

fn sign(
    context: &mut Context,
    ak: &Ak,
    request: &QuoteRequest,
    selection: &PcrSelection,
) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let nonce = Data::try_from(request.nonce.clone())?;
    let list = pcrs::list(selection.iter())?;
    let (attest, signature) =
        with_password(context, |context| context.quote(ak.handle, nonce, SignatureScheme::Null, list))?;
    Ok((attest.marshall()?, signature.marshall()?))
}

/// Whether the values are the quoted ones, by the judgement that the verifier will make. It also holds this program to
/// passing the TPM's bytes on as they were signed.
fn belong(
    ak: &Ak,
    attest: &[u8],
    signature: &[u8],
    request: &QuoteRequest,
    selection: &PcrSelection,
    values: &PcrValues,
) -> Result<bool, TpmError> {
    let expected = ExpectedSelection::Exactly(selection);
    // The configuration may ask for such signatures; whether they count is for the verifier to say.
    let sha1 = Sha1Signatures::AcceptDangerously;
    let verified = ak.key.verify_quote(attest, signature, &request.nonce, expected, sha1);
    let verified = verified.map_err(|error| TpmError::Misbehaved(error.to_string()))?;
    match verified.bind(values.clone()) {
        Ok(_) => Ok(true),
        Err(BindError::OtherDigest { .. }) => Ok(false),
        Err(error) => Err(TpmError::Misbehaved(error.to_string())),
    }
}

/// The PCR for applications, which any program may reset (PC Client Platform TPM Profile, PCR attributes).
const BIND_PCR: u8 = 16;

/// A machine that measures a file every few milliseconds gets a quote in the gaps; one that never pauses gets none.
const ATTEMPTS: usize = 16;
