//! The texts of Keylime's wire protocol, whose two sides a verifier and an agent speak: how a quote is written, and how a
//! machine shows that it has recovered a secret. The credential in which the secret travels is tpm2-tools' own:
//! [`Credential`](crate::tpm::credential::Credential).
//!
//! Nothing here makes anything believable: a quote that could be read is still to be checked, and a tag is worth what is
//! known of the secret.

mod auth_tag;
mod quote_text;

pub use auth_tag::{AuthTag, AuthTagError};
pub use quote_text::{QuotePart, QuoteText, QuoteTextError};
