//! Asking whoever sits at the terminal, before something is done that cannot be taken back.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{QueueSelector, tcflush};

use crate::failure::{Exit, Failure};
use crate::report::Ui;

/// Whether what `ui` says goes to a terminal, so that somebody can be asked.
pub fn is_watched(ui: Ui) -> bool {
    if ui.json { io::stderr().is_terminal() } else { io::stdout().is_terminal() }
}

/// Asks, if somebody can be asked. `declined` says what a no leaves undone.
///
/// # Errors
/// `declined` if the answer is not yes; `usage` if the terminal that shows the question cannot be typed on.
pub fn confirm(ui: Ui, question: &str, declined: &str) -> Result<(), Failure> {
    if !is_watched(ui) {
        return Ok(());
    }
    // Not standard input: what is piped in is no answer of a person.
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let answer = terminal.and_then(|terminal| ask(&terminal, question)).map_err(|_| {
        Failure::usage("the question cannot be answered: this terminal is not that of the session", "skip it: --yes")
    })?;
    if is_yes(&answer) {
        return Ok(());
    }
    let what = format!("{declined}: the answer was not yes");
    Err(Failure::new(Exit::Usage, "declined", what, "nothing was changed"))
}

fn ask(terminal: &File, question: &str) -> io::Result<Vec<u8>> {
    // What was typed before the question was not typed in answer to it.
    tcflush(terminal, QueueSelector::IFlush)?;
    let mut terminal = terminal;
    write!(terminal, "{question} [y/N] ")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while answer.len() < MAX_ANSWER {
        match terminal.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => answer.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

fn is_yes(answer: &[u8]) -> bool {
    let answer = answer.trim_ascii();
    answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes")
}

/// Longer than any yes.
const MAX_ANSWER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y", "Y", "yes", "YES", " y\r"] {
            assert!(is_yes(yes.as_bytes()), "{yes}");
        }
        for no in ["", "n", "no", "yy", "yes please", "j", "\u{4}"] {
            assert!(!is_yes(no.as_bytes()), "{no}");
        }
    }
}
