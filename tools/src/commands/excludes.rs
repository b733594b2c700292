//! `goldseal excludes`: is this file of excludes right, and what do its patterns take?

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::printable::{Printable, PrintableLine, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use serde_json::{Value, json};

use crate::statements;

/// Check a file of excludes, and say which pattern takes which path
///
/// One regular expression a line; empty lines and lines that begin with # are skipped. A pattern names a file or a
/// folder, and everything below goes with it. Broad patterns, which take system paths, are named: `build` refuses them
/// without --allow-broad-exclude.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  goldseal excludes prod.excludes /var/log/syslog /usr/bin/ssh

Exit codes: 0 nothing to say, 1 a path is taken or a pattern is broad, 2 usage, or a pattern is
refused (its line and the reason are named, and its mended form where there is one), 3 the file
cannot be read.")]
pub struct Args {
    /// The file of excludes
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Paths as they are on the machine, from / on
    #[arg(value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: a pattern that is refused (exit 2), or a file that cannot be read (exit 3).
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let excludes = Excludes::new(statements::read_excludes(&args.file)?).map_err(|error| {
        Failure::new(
            Exit::Usage,
            "bad-pattern",
            format!("{}: {error}", Printable::path(&args.file)),
            "merge patterns, or exclude whole folders",
        )
    })?;
    let paths: Vec<&[u8]> = args.paths.iter().map(|path| path.as_bytes()).collect();
    if let Some(relative) = paths.iter().find(|path| !path.starts_with(b"/")) {
        return Err(Failure::usage(
            format!("{} does not begin with /", Printable(relative)),
            "name paths as they are on the machine, from / on",
        ));
    }
    let broad = excludes.broad();
    let taken: Vec<(&[u8], Vec<&Pattern>)> =
        paths.into_iter().map(|path| (path, excludes.taking(path).collect())).collect();

    let count = excludes.patterns().len();
    let plural = if count == 1 { "" } else { "s" };
    ui.say(format_args!("{} is valid: {count} pattern{plural}", Printable::path(&args.file)))?;
    for (pattern, probe) in &broad {
        ui.say(format_args!("BROAD: {} takes {probe}", shown(pattern)))?;
    }
    for (path, patterns) in &taken {
        let path = Printable(path);
        match &patterns[..] {
            [] => ui.say(format_args!("{path}: not taken"))?,
            patterns => {
                let patterns: Vec<String> = patterns.iter().map(|pattern| shown(pattern).to_string()).collect();
                ui.say(format_args!("{path}: taken by {}", patterns.join(", ")))?;
            }
        }
    }

    let any_taken = taken.iter().any(|(_, patterns)| !patterns.is_empty());
    let outcome = match (broad.is_empty(), any_taken) {
        (false, _) => Outcome::new(Exit::No, "broad-exclude"),
        (true, true) => Outcome::new(Exit::No, "taken"),
        (true, false) => Outcome::done(),
    };
    let broad = broad.iter().map(|(pattern, probe)| json!({ "pattern": pattern.as_str(), "takes": probe }));
    let paths = taken.iter().map(|(path, patterns)| {
        let mut object = json_path(OsStr::from_bytes(path));
        object.insert("taken_by".into(), patterns.iter().map(|pattern| pattern.as_str()).collect());
        Value::Object(object)
    });
    Ok(outcome.with("patterns", count).with("broad", broad.collect::<Value>()).with("paths", paths.collect::<Value>()))
}

fn shown(pattern: &Pattern) -> PrintableLine<'_> {
    PrintableLine(pattern.as_str().as_bytes())
}
