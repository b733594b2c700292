//! `goldseal tenant token`: make a bearer token.

use std::path::PathBuf;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::output::AtomicFile;
use goldseal_cli::random;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::hex;

/// Make a bearer token: the token goes into a file of yours, its digest to the verifier
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  goldseal tenant token alice --role operate -o ~/.config/goldseal/token

The line that is printed belongs into the verifier's file of tokens; it is no secret.
Exit codes: 0 done, 2 usage, or the file exists, 3 it cannot be written.")]
pub struct Args {
    /// Whose it is, as in the audit log
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// What it allows: read, or operate for everything
    #[arg(long, value_name = "ROLE", value_parser = ["read", "operate"], default_value = "read")]
    role: String,
    /// Where to write the token; readable by its owner alone
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn name(text: &str) -> Result<String, String> {
    let is_right = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@'));
    if is_right { Ok(text.to_owned()) } else { Err("a name has 1 to 64 of A-Z a-z 0-9 . _ - @".to_owned()) }
}

/// Runs the command.
///
/// # Errors
/// `exists`, `unwritable`.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { name, role, output } = args;
    let mut secret = [0; 32];
    random::fill(&mut secret).map_err(|error| {
        Failure::new(
            Exit::Input,
            "unreadable",
            format!("the kernel gives no randomness: {error}"),
            "use Linux 3.17 or newer",
        )
    })?;
    let token = hex::encode(&secret);
    let file = AtomicFile::create_with_mode(&output, 0o600)?;
    file.fill(|to| writeln!(to, "{token}"))?.place_new()?;
    let sha256 = hex::encode(Digest::sha256(token.as_bytes()).as_bytes());
    ui.say(format_args!("{name} {role} {sha256}"))?;
    ui.note("this line belongs into the verifier's file of tokens");
    Ok(Outcome::done().with("name", name).with("role", role).with("sha256", sha256))
}
