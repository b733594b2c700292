//! A perfect world in software, in which a test breaks exactly one thing.

pub mod ak;
pub mod ek;
pub mod file_signatures;
pub mod golden;
pub mod keys;
pub mod machine;
pub mod measurements;
pub mod seals;

pub use keys::{bad_signature, key, public_key, signature};
pub use seals::{Forge, Refusal, RootDraft, file_of, name, policy_of, time, version};
