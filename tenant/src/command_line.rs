//! The command line: what was typed, in today's words or in those of Keylime's tenant, becomes one command.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use goldseal_cli::command_line;
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::report::{self, Outcome, Ui};

use crate::commands::{add, audit, delete, health, list, policy, reactivate, status, token, update};
use crate::config::{Config, ConnectArgs};
use crate::old_style;

/// As which it is reached, and calls itself.
const NAME: &str = "goldseal tenant";

#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = NAME, version, max_term_width = 100, after_help = AFTER_HELP)]
/// Provision machines and sealed whitelists at a goldseal-verifier, and see how the machines stand.
///
/// The seal of a list is checked here before anything is sent.
struct Tenant {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
The command line of Keylime's tenant (-c add -t HOST --uuid UUID --whitelist FILE …) is understood,
and put into today's words.

Exit codes: 0 done, or accepted; 1 failed; 2 usage; 3 anything else: no verdict yet, refused, no
answer; 4 accepted by a list that is stale.";

#[derive(Debug, Subcommand)]
enum Command {
    // Boxed: it has many more options than the others.
    Add(Box<add::Args>),
    Update(Box<update::Args>),
    Delete(delete::Args),
    Status(status::Args),
    List(list::Args),
    Reactivate(reactivate::Args),
    Policy(policy::Args),
    Audit(audit::Args),
    Health(health::Args),
    Token(token::Args),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Update(_) => "update",
            Self::Delete(_) => "delete",
            Self::Status(_) => "status",
            Self::List(_) => "list",
            Self::Reactivate(_) => "reactivate",
            Self::Policy(_) => "policy",
            Self::Audit(_) => "audit",
            Self::Health(_) => "health",
            Self::Token(_) => "token",
        }
    }

    fn run(self, tenant: &Context) -> Result<Outcome, Failure> {
        match self {
            Self::Add(args) => add::run(*args, tenant),
            Self::Update(args) => update::run(*args, tenant),
            Self::Delete(args) => delete::run(args, tenant),
            Self::Status(args) => status::run(args, tenant),
            Self::List(args) => list::run(args, tenant),
            Self::Reactivate(args) => reactivate::run(args, tenant),
            Self::Policy(args) => policy::run(args, tenant),
            Self::Audit(args) => audit::run(args, tenant),
            Self::Health(args) => health::run(args, tenant),
            Self::Token(args) => token::run(args, tenant.ui),
        }
    }
}

/// What every command has.
#[derive(Debug)]
pub struct Context {
    /// What was typed about the verifier.
    pub connect: ConnectArgs,
    /// What the file says.
    pub config: Config,
    /// Where text goes.
    pub ui: Ui,
}

impl Context {
    /// The verifier. Asked for last: what is wrong on this machine is told before anybody is asked.
    ///
    /// # Errors
    /// As [`Config::connect`].
    pub fn client(&self) -> Result<crate::client::Client, Failure> {
        self.config.connect(&self.connect)
    }
}

/// Runs one command line, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit(arguments.into_iter().collect()) as u8)
}

fn exit(typed: Vec<OsString>) -> Exit {
    let ui = Ui { json: typed.iter().any(|argument| argument == "--json") };
    let (arguments, notes) = match old_style::translate(&typed) {
        Ok(None) => (typed, Vec::new()),
        Ok(Some(translated)) => (translated.arguments, translated.notes),
        Err(failure) => return report::finish(NAME, "", ui, Err(failure)),
    };
    for note in notes {
        ui.note(note);
    }
    let program = Tenant::command();
    let parsed =
        program.clone().try_get_matches_from(&arguments).and_then(|matches| Tenant::from_arg_matches(&matches));
    match parsed {
        Ok(Tenant { connect, command }) => {
            let name = command.name();
            let ui = Ui { json: connect.json };
            // A token is made where there is no configuration yet.
            let config = match command {
                Command::Token(_) => Ok(Config::default()),
                _ => Config::read(connect.config.as_deref()),
            };
            let result = config.and_then(|config| command.run(&Context { connect, config, ui }));
            report::finish(NAME, name, ui, result)
        }
        Err(error) => command_line::refuse(&program, &error, &arguments),
    }
}
