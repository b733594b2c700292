//! A command line that cannot be understood, told as every other failure.

use std::ffi::OsString;

use clap::Command;
use clap::error::ErrorKind;

use crate::failure::{Exit, Failure};
use crate::printable::PrintableLine;
use crate::report::{self, Ui};

/// Help and version go to standard output; a wrong command line is exit 2, told as every other failure.
pub fn refuse(program: &Command, error: &clap::Error, arguments: &[OsString]) -> Exit {
    // Help asked for, or shown since nothing was typed; it may be cut short by a closed pipe.
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return if error.use_stderr() { Exit::Usage } else { Exit::Done };
    }
    let ui = Ui { json: arguments.iter().any(|argument| argument == "--json") };
    let known = |argument: &&OsString| program.find_subcommand(argument).is_some();
    let command = arguments.iter().skip(1).find(known).and_then(|name| name.to_str()).unwrap_or_default();
    let actions = program.find_subcommand(command).filter(|command| command.has_subcommands());
    let known = |argument: &&OsString| actions.is_some_and(|command| command.find_subcommand(argument).is_some());
    let mut after_command = arguments.iter().skip_while(|argument| *argument != command).skip(1);
    let action = after_command.find(known).and_then(|name| name.to_str()).unwrap_or_default();
    let name = program.get_name();
    report::finish(name, command, ui, Err(usage(&error.to_string(), &[name, command, action])))
}

/// The first paragraph of what the parser says, and its tip where it has one. It repeats what was typed, which may hold
/// what would fool a terminal.
fn usage(text: &str, words: &[&str]) -> Failure {
    let lines = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n");
    let what = lines(paragraphs.next().unwrap_or_default());
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: ").map(lines));
    let words = [&["see"], words, &["--help"]].concat();
    let help = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let todo = tip.unwrap_or(help);
    let escaped = |text: &str| PrintableLine(text.as_bytes()).to_string();
    Failure::usage(escaped(what.strip_prefix("error: ").unwrap_or(&what)), escaped(&todo))
}
