//! `goldseal`: golden whitelists, built and sealed on an air-gapped machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = goldseal_tools::harden::harden_process() {
        eprintln!("goldseal: core dumps cannot be turned off: {error}");
    }
    goldseal_tools::cli::run(std::env::args_os())
}
