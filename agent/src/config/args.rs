//! The flags that every command takes for the configuration: one for each key.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{DEFAULT_FILE, KEYS, Key, Kind};

/// What was typed about the configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The file that was named.
    pub file: Option<PathBuf>,
    /// Whether the effective configuration is to be printed, and nothing else done.
    pub print: bool,
    /// Keys that were set.
    pub set: Vec<(&'static Key, String)>,
}

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config").long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        let file = file.help(format!("Configuration file [default: {DEFAULT_FILE}, if it is there]"));
        let print = Arg::new("print_config").long("print-config").action(ArgAction::SetTrue);
        let print = print.help("Print the effective configuration, and do nothing else");
        let command = command.arg(file.help_heading(HEADING)).arg(print.help_heading(HEADING));
        KEYS.iter().fold(command, |command, key| match key.flag() {
            None => command,
            Some(flag) => {
                let value = match key.kind {
                    Kind::Text => "VALUE",
                    Kind::Number => "N",
                    Kind::List => "VALUE,…",
                };
                // Short help names the file alone: two dozen flags would bury what a command is for.
                let arg = Arg::new(id(key)).long(flag).value_name(value).help(key.help).hide_short_help(true);
                command.arg(arg.help_heading(HEADING))
            }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned();
        self.print = matches.get_flag("print_config");
        let flags = KEYS.iter().filter(|key| key.flag().is_some());
        self.set = flags.filter_map(|key| Some((key, matches.get_one::<String>(&id(key))?.clone()))).collect();
        Ok(())
    }
}

/// No argument of a command is called so.
fn id(key: &Key) -> String {
    format!("config_{}", key.name)
}

const HEADING: &str = "Configuration (docs/agent.md)";
