//! Scenarios across crates, and the walls between them.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod appraise;
mod appraise_boot;
mod appraise_captures;
mod appraise_entries;
mod appraise_over_time;
mod appraise_quotes;
mod appraise_signatures;
mod appraise_words;
mod build_images;
mod build_lists;
mod build_mishaps;
mod build_trees;
mod ceremony;
mod credential;
mod emergency_verify;
mod exit_codes;
mod exports;
mod format_clauses;
mod measurement_lists;
mod outside_signatures;
mod project_text;
mod signing;
mod tpm_forged;
mod tpm_keys;
mod tpm_oracle;
mod tpm_quotes;
mod tpm_second_reader;
mod trust_oracle;
mod trust_roots;
mod trust_state;
mod trust_wholeness;
mod vectors;
mod walls;
