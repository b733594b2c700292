//! Whose seals count, and the steps from received bytes to a policy that may be used:
//!
//! ```text
//! trust root files ─▶ TrustRoot::anchor ─▶ advance ─▶ … ─▶ TrustRoot          (or TrustRoot::of_keys)
//! Envelope ─▶ TrustRoot::authenticate ─▶ AuthenticHeader ─▶ admit ─▶ AdmittedHeader ─▶ load ─▶ TrustedPolicy
//! TrustedPolicy ─▶ TrustState::accept ─▶ the floor of the next list
//! ```
//!
//! Each step of the second line consumes the value before it, and there is no other way to get the value after it.
//! Time is a value ([`Now`]); what a machine has seen before is one too ([`TrustState`]).

mod admit;
mod root;
mod state;
mod threshold;

pub use admit::{
    AdmitError, AdmittedHeader, AuthenticHeader, Floor, Freshness, MAX_CLOCK_SKEW_SECONDS, Now, StaleDocument,
    TrustedPolicy,
};
pub use root::{AuthenticateError, TrustRoot, TrustRootError, TrustedKey, TrustedRootError};
pub use state::{MAX_STATE_LEN, RootMark, Seen, StateError, TrustState};
pub use threshold::{Signer, Uncounted, UncountedReason, Unmet, signature_holds};

#[cfg(test)]
pub(crate) mod tests;
