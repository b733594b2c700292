//! Scenarios across crates, and the walls between them.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod build_images;
mod build_lists;
mod build_mishaps;
mod build_trees;
mod ceremony;
mod emergency_verify;
mod exit_codes;
mod exports;
mod outside_signatures;
mod project_text;
mod signing;
mod tpm_forged;
mod tpm_keys;
mod tpm_oracle;
mod tpm_quotes;
mod vectors;
mod walls;
