//! `goldseal`: golden whitelists, built and sealed on an air-gapped machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    goldseal_tools::cli::run(std::env::args_os())
}
