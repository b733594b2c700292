//! From a TPM's bytes to PCR values that it vouches for.
//!
//! A quote is a statement that a TPM signs: with this nonce, at this point of this boot, the hash of these PCRs is this.
//! The values themselves come beside it, unsigned. Believing them takes three steps, in this order, and no other way
//! leads to [`QuotedPcrs`]:
//!
//! 1. [`AttestationKey::from_public_area`]: the key is one with which a TPM signs nothing but what it says itself. (A key
//!    from a PEM file, [`UncheckedAttestationKey`], proves nothing of the kind; what follows from it says so.)
//! 2. [`AttestationKey::verify_quote`]: signature, nonce, and which PCRs were quoted.
//! 3. [`VerifiedQuote::bind`]: these values are the ones, no more and no fewer.
//!
//! What is still open afterwards: whether the key belongs to a certified TPM and to this machine (enrolment binds its
//! [`Name`] to an endorsement key, by a [`credential`]), and what the values mean.
//!
//! [`PublicArea`], [`ClaimedAttest`] and [`QuoteSignature`] are what bytes say, before anybody vouched for them: for
//! enrolment, for display, and for whoever looks for what is wrong with a quote. Structures are those of the TPM 2.0
//! Library Specification, Part 2, named as there; its second-level section numbers are the same in revisions 1.16 to 1.59.

mod algorithm;
mod attest;
pub mod credential;
mod key;
mod pcr_blob;
mod public_area;
mod quote;
mod reader;
mod selection;
mod signature;
mod spki;

pub use algorithm::{SignatureAlgorithm, SignatureScheme};
pub use attest::{AttestError, Boot, ClaimedAttest, Clock};
pub use key::{AkIdentity, AttestationKey, AttestationKeyError, Curve, PublicKeyError, UncheckedAttestationKey};
pub use pcr_blob::{PcrBlobError, print_pcr_blob, read_pcr_blob};
pub use public_area::{Attribute, Name, PublicArea, PublicAreaError, Symmetric};
pub use quote::{BindError, ExpectedSelection, QuoteError, QuotedPcrs, Sha1Signatures, VerifiedQuote};
pub use reader::StructureError;
pub use selection::{PcrSelection, SelectionError};
pub use signature::QuoteSignature;
pub use spki::SpkiError;

// For the texts in which they travel.
pub(crate) use attest::MAX_ATTEST;
pub(crate) use pcr_blob::MAX_PCR_BLOB;
pub(crate) use signature::MAX_SIGNATURE;
