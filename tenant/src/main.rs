//! `goldseal-tenant`, reached as `goldseal tenant`: provisions machines and lists at a goldseal-verifier.

use std::process::ExitCode;

fn main() -> ExitCode {
    goldseal_tenant::command_line::run(std::env::args_os())
}
