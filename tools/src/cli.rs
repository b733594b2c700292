//! The command line: what was typed becomes one command's arguments, and its outcome an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use goldseal_cli::command_line;
use goldseal_cli::failure::Failure;
use goldseal_cli::report::{self, Outcome, Ui};

use crate::commands::{
    appraise, attach, build, diff, excludes, explain, export, ima_policy, import, keygen, show, sign, state, tbs,
    tenant, trust, verify,
};

#[derive(Debug, Parser)]
#[command(name = "goldseal", version, max_term_width = 100)]
/// Golden whitelists for Linux run-time integrity: built offline, sealed with ed25519.
///
/// Everything runs on files of this machine; there is no network code in this program.
struct Goldseal {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // Boxed: it has many more options than the others.
    Build(Box<build::Args>),
    Keygen(keygen::Args),
    Sign(Box<sign::Args>),
    Tbs(tbs::Args),
    Attach(attach::Args),
    Verify(verify::Args),
    Appraise(Box<appraise::Args>),
    Show(show::Args),
    Diff(diff::Args),
    Import(Box<import::Args>),
    Export(export::Args),
    Excludes(excludes::Args),
    Explain(explain::Args),
    State(state::Args),
    Trust(trust::Args),
    ImaPolicy(ima_policy::Args),
    Tenant(tenant::Args),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Build(_) => "build",
            Self::Keygen(_) => "keygen",
            Self::Sign(_) => "sign",
            Self::Tbs(_) => "tbs",
            Self::Attach(_) => "attach",
            Self::Verify(_) => "verify",
            Self::Appraise(_) => "appraise",
            Self::Show(_) => "show",
            Self::Diff(_) => "diff",
            Self::Import(_) => "import",
            Self::Export(_) => "export",
            Self::Excludes(_) => "excludes",
            Self::Explain(_) => "explain",
            Self::State(_) => "state",
            Self::Trust(_) => "trust",
            Self::ImaPolicy(_) => "ima-policy",
            Self::Tenant(_) => "tenant",
        }
    }

    fn json(&self) -> bool {
        match self {
            Self::Build(args) => args.list_args.json,
            Self::Keygen(args) => args.json,
            Self::Sign(args) => args.json,
            Self::Tbs(args) => args.json,
            Self::Attach(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Appraise(args) => args.json,
            Self::Show(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Import(args) => args.list_args.json,
            Self::Export(args) => args.json,
            Self::Excludes(args) => args.json,
            Self::Explain(args) => args.json,
            Self::State(args) => args.json(),
            Self::Trust(args) => args.json(),
            Self::ImaPolicy(args) => args.json(),
            Self::Tenant(args) => args.json(),
        }
    }

    fn run(self, ui: Ui) -> Result<Outcome, Failure> {
        match self {
            Self::Build(args) => build::run(*args, ui),
            Self::Keygen(args) => keygen::run(args, ui),
            Self::Sign(args) => sign::run(*args, ui),
            Self::Tbs(args) => tbs::run(args, ui),
            Self::Attach(args) => attach::run(args, ui),
            Self::Verify(args) => verify::run(args, ui),
            Self::Appraise(args) => appraise::run(*args, ui),
            Self::Show(args) => show::run(args, ui),
            Self::Diff(args) => diff::run(args, ui),
            Self::Import(args) => import::run(*args, ui),
            Self::Export(args) => export::run(args, ui),
            Self::Excludes(args) => excludes::run(args, ui),
            Self::Explain(args) => explain::run(args, ui),
            Self::State(args) => state::run(args, ui),
            Self::Trust(args) => trust::run(args, ui),
            Self::ImaPolicy(args) => ima_policy::run(args, ui),
            Self::Tenant(args) => tenant::run(args, ui),
        }
    }
}

/// Runs one command line, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed =
        Goldseal::command().try_get_matches_from(&arguments).and_then(|matches| Goldseal::from_arg_matches(&matches));
    let exit = match parsed {
        Ok(Goldseal { command }) => {
            let (name, ui) = (command.name(), Ui { json: command.json() });
            report::finish("goldseal", name, ui, command.run(ui))
        }
        Err(error) => command_line::refuse(&Goldseal::command(), &error, &arguments),
    };
    ExitCode::from(exit as u8)
}
