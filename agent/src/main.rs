//! `goldseal-agent`: shows verifiers what a machine runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    goldseal_agent::cli::run(std::env::args_os())
}
