//! `goldseal tenant`: hands over to goldseal-tenant, which is a program of its own: what signs has no network client.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::{Outcome, Ui};

/// Provision machines and sealed lists at a goldseal-verifier (runs goldseal-tenant)
///
/// Its options are those of goldseal-tenant, which is installed apart: this program has no network code.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What goldseal-tenant is given
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

impl Args {
    /// Whether one JSON object is to be printed.
    pub fn json(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--json")
    }
}

/// Becomes goldseal-tenant; returns only if that cannot be.
///
/// # Errors
/// `not-installed`.
pub fn run(args: Args, _: Ui) -> Result<Outcome, Failure> {
    let Some(program) = find() else {
        return Err(Failure::new(
            Exit::Input,
            "not-installed",
            format!("{PROGRAM} is neither beside this program nor in PATH"),
            "install it there, or build it: cargo build --release -p goldseal-tenant",
        ));
    };
    let error = Command::new(&program).args(args.arguments).exec();
    Err(Failure::new(
        Exit::Input,
        "not-installed",
        format!("{} cannot be run: {}", Printable::path(&program), input::reason(&error)),
        "install it anew",
    ))
}

const PROGRAM: &str = "goldseal-tenant";

/// Beside this program, as they are shipped; else where programs are.
fn find() -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|program| program.parent().map(|folder| folder.join(PROGRAM)));
    let path = env::var_os("PATH").unwrap_or_default();
    // An empty folder in PATH would be the current one, which is nobody's choice.
    let folders = env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(PROGRAM));
    beside.into_iter().chain(folders).find(|program| program.is_file())
}
