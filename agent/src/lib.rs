//! What `goldseal-agent` is made of: the TPM, the measurement list, what is served of both, and one file per subcommand.

pub mod cli;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod http;
pub mod installed;
pub mod logs;
pub mod machine;
pub mod measurements;
pub mod own_tpm;
pub mod privileges;
pub mod register;
pub mod tpm;
