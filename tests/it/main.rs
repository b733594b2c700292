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
mod format_clauses;
mod outside_signatures;
mod project_text;
mod signing;
mod tpm_forged;
mod tpm_keys;
mod tpm_oracle;
mod tpm_quotes;
mod trust_oracle;
mod trust_roots;
mod trust_state;
mod trust_wholeness;
mod vectors;
mod walls;
