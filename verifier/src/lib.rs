//! goldseal-verifier: registers machines, polls their TPM quotes, and judges them by sealed whitelists.

pub mod api;
pub mod config;
pub mod enrolment;
pub mod evidence_store;
pub mod logs;
pub mod policies;
pub mod poll;
pub mod refusal;
pub mod registrar;
pub mod service;
pub mod state;
pub mod store;
pub mod time;
pub mod uuid;
