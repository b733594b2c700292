//! The command line: what was typed becomes one command's arguments, and its outcome an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use goldseal_cli::command_line;
use goldseal_cli::failure::Failure;
use goldseal_cli::report::{self, Outcome, Ui};

use crate::commands::{check, doctor, identity, install_policy, serve};
use crate::config::{self, Config, ConfigArgs};

/// The program, as messages call it.
pub const PROGRAM: &str = "goldseal-agent";

#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, max_term_width = 100)]
/// Shows verifiers what a machine runs: quotes of its TPM, and the kernel's measurement list.
struct Agent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    InstallPolicy(install_policy::Args),
    Identity(identity::Args),
    Doctor(doctor::Args),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Check(_) => "check",
            Self::InstallPolicy(_) => "install-policy",
            Self::Identity(_) => "identity",
            Self::Doctor(_) => "doctor",
        }
    }

    fn json(&self) -> bool {
        match self {
            Self::Serve(_) => false,
            Self::Check(args) => args.json,
            Self::InstallPolicy(args) => args.json,
            Self::Identity(args) => args.json,
            Self::Doctor(args) => args.json,
        }
    }

    fn config(&self) -> &ConfigArgs {
        match self {
            Self::Serve(args) => &args.config,
            Self::Check(args) => &args.config,
            Self::InstallPolicy(args) => &args.config,
            Self::Identity(args) => &args.config,
            Self::Doctor(args) => &args.config,
        }
    }

    fn run(self, ui: Ui) -> Result<Outcome, Failure> {
        let config = config::load(self.config(), &std::env::vars_os().collect())?;
        if self.config().print {
            return print(&config);
        }
        match self {
            Self::Serve(_) => serve::run(&config),
            Self::Check(args) => check::run(args, &config, ui),
            Self::InstallPolicy(args) => install_policy::run(args, &config, ui),
            Self::Identity(args) => identity::run(args, &config, ui),
            Self::Doctor(args) => doctor::run(args, &config, ui),
        }
    }
}

/// The effective configuration as a file that could be used.
fn print(config: &Config) -> Result<Outcome, Failure> {
    let text =
        toml::to_string(config).map_err(|error| Failure::usage(error.to_string(), "docs/agent.md has all keys"))?;
    Ui { json: false }.raw(text.as_bytes())?;
    Ok(Outcome::done())
}

/// Runs one command line, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed =
        Agent::command().try_get_matches_from(&arguments).and_then(|matches| Agent::from_arg_matches(&matches));
    let exit = match parsed {
        Ok(Agent { command }) => {
            let ui = Ui { json: command.json() && !command.config().print };
            report::finish(PROGRAM, command.name(), ui, command.run(ui))
        }
        Err(error) => command_line::refuse(&Agent::command(), &error, &arguments),
    };
    ExitCode::from(exit as u8)
}
