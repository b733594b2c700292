//! `goldseal-agent identity`: what has to be known of this machine to enrol it.

use std::path::Path;

use goldseal_cli::failure::Failure;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;
use serde_json::json;

use crate::config::{Config, ConfigArgs};
use crate::installed::{self, Installed};
use crate::machine::Machine;
use crate::own_tpm::{start_tpm, tpm_failure};
use crate::tpm::EkCertificate;

/// Show who this machine is: its name, its TPM's endorsement key, its attestation key
///
/// Run it where the machine is set up, and carry what it says to the verifier by a way that you trust: the digest of the
/// endorsement key is what tells this machine from another. The attestation key is made if there is none.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Print one line for the tenant's --hosts FILE: name, address, digest of the endorsement key, name of the list
    #[arg(long, conflicts_with = "json")]
    pub hosts_line: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal-agent identity
  ssh root@neptune goldseal-agent identity --hosts-line >> hosts

Exit codes:
  0  shown
  2  usage
  3  the TPM cannot be asked, or there is nothing to make the machine's name of";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 3.
pub fn run(args: Args, config: &Config, ui: Ui) -> Result<Outcome, Failure> {
    let tpm = start_tpm(config)?;
    let identity = tpm.identity_blocking().map_err(|error| tpm_failure(&error))?;
    let Machine { uuid, ek_sha256, certificate, ak_name } = &Machine::of(config, &identity, Path::new("/"))?;
    // Where it listens on every address, none of them is known to be the one to ask.
    let address = config.contact().unwrap_or(config.listen).to_string();
    let list = installed_list(config);
    if args.hosts_line {
        ui.say(format_args!("{uuid} {address} {ek_sha256} {}", list.as_deref().unwrap_or("-")))?;
        return Ok(Outcome::done());
    }
    say(ui, "uuid", uuid)?;
    say(ui, "address", &address)?;
    say(ui, "EK sha256", ek_sha256)?;
    say(ui, "EK cert", certificate_text(certificate))?;
    say(ui, "AK name", ak_name)?;
    say(ui, "whitelist", list.as_deref().unwrap_or("none installed"))?;
    Ok(Outcome::done()
        .with("uuid", uuid.as_str())
        .with("address", address)
        .with("ek_sha256", ek_sha256.as_str())
        .with("ek_certificate", json!(certificate.der().is_some()))
        .with("ak_name", ak_name.to_string())
        .with("name", list))
}

fn certificate_text(certificate: &EkCertificate) -> &'static str {
    match certificate {
        EkCertificate::Fits(_) => "yes",
        EkCertificate::OfAnotherKey => "no: there is one of another key",
        EkCertificate::Unreadable => "no: what is there is no certificate",
        EkCertificate::Absent => "no",
    }
}

/// The name of the list that is installed and can be believed.
fn installed_list(config: &Config) -> Option<String> {
    let trust = installed::trust(goldseal_cli::trusted::TrustArgs::default(), config);
    let policy = Installed::of(config).load(&trust).ok()?;
    Some(policy.header().name.as_str().to_owned())
}
