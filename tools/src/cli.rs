//! The command line: what was typed becomes one command's arguments, and its outcome an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{build, diff, excludes, export, import, keygen, show, sign, verify};
use crate::failure::{Exit, Failure};
use crate::printable::PrintableLine;
use crate::report::{self, Outcome, Ui};

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
    Sign(sign::Args),
    Verify(verify::Args),
    Show(show::Args),
    Diff(diff::Args),
    Import(Box<import::Args>),
    Export(export::Args),
    Excludes(excludes::Args),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Build(_) => "build",
            Self::Keygen(_) => "keygen",
            Self::Sign(_) => "sign",
            Self::Verify(_) => "verify",
            Self::Show(_) => "show",
            Self::Diff(_) => "diff",
            Self::Import(_) => "import",
            Self::Export(_) => "export",
            Self::Excludes(_) => "excludes",
        }
    }

    fn json(&self) -> bool {
        match self {
            Self::Build(args) => args.list_args.json,
            Self::Keygen(args) => args.json,
            Self::Sign(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Show(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Import(args) => args.list_args.json,
            Self::Export(args) => args.json,
            Self::Excludes(args) => args.json,
        }
    }

    fn run(self, ui: Ui) -> Result<Outcome, Failure> {
        match self {
            Self::Build(args) => build::run(*args, ui),
            Self::Keygen(args) => keygen::run(args, ui),
            Self::Sign(args) => sign::run(args, ui),
            Self::Verify(args) => verify::run(args, ui),
            Self::Show(args) => show::run(args, ui),
            Self::Diff(args) => diff::run(args, ui),
            Self::Import(args) => import::run(*args, ui),
            Self::Export(args) => export::run(args, ui),
            Self::Excludes(args) => excludes::run(args, ui),
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
            report::finish(name, ui, command.run(ui))
        }
        Err(error) => refuse(&error, &arguments),
    };
    ExitCode::from(exit as u8)
}

/// Help and version go to standard output; a wrong command line is exit 2, as one JSON object if `--json` was typed.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if !error.use_stderr() {
        // Help may be cut short by a closed pipe; there is nothing else to do then.
        let _ = error.print();
        return Exit::Done;
    }
    let ui = Ui { json: arguments.iter().any(|argument| argument == "--json") };
    if !ui.json {
        // What was typed is repeated in it, and may hold what would fool a terminal.
        for line in error.to_string().lines() {
            ui.note(PrintableLine(line.as_bytes()));
        }
        return Exit::Usage;
    }
    let command = arguments.get(1).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let failure = Failure::usage(error.kind().to_string(), error.to_string().trim().to_owned());
    report::finish(&command, ui, Err(failure))
}
