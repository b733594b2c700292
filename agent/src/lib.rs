//! goldseal-agent: quotes of a machine's TPM and its measurement list, for verifiers.

pub mod http;
pub mod measurements;
pub mod register;
pub mod tpm;
