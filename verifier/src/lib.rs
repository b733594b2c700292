//! goldseal-verifier: registers machines, polls their TPM quotes, and judges them by sealed whitelists.

pub mod api;
pub mod enrolment;
pub mod refusal;
pub mod state;
pub mod store;
pub mod time;
pub mod uuid;
