//! `goldseal-agent serve`: the daemon.
//!
//! In this order: what needs root is opened, root is given up, then somebody may connect. A TPM that gives no answer at
//! the start is no reason to end: verifiers are told its state, and it is asked again.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::process;
use std::time::Duration;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::Outcome;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::config::{Config, ConfigArgs};
use crate::http::{Patience, Server, ServerConfig, Sources, TlsIdentity, boot_time};
use crate::logs;
use crate::machine::Machine;
use crate::measurements::{Form, List};
use crate::own_tpm::start_tpm;
use crate::privileges::{self, Account, PrivilegeError};
use crate::register::{Registration, register};
use crate::tpm::Tpm;

/// Serve quotes and the measurement list to verifiers, and register with a registrar
///
/// Runs until SIGTERM or SIGINT; what is under way is finished. Only clients with a certificate of a configured CA may
/// connect. Keylime's verifiers and goldseal's are served alike.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal-agent serve
  goldseal-agent serve --listen 192.0.2.7:9002 --client-ca /etc/goldseal/client-ca.pem
  goldseal-agent serve --print-config

Exit codes:
  0  stopped, as it was asked to
  2  usage; the configuration is wrong
  3  it cannot serve: a list, a certificate or the port cannot be had, or privileges cannot be given up";

/// Runs the daemon until it is stopped.
///
/// # Errors
/// [`Failure`]: exit 3 if it cannot serve.
pub fn run(config: &Config) -> Result<Outcome, Failure> {
    logs::start(config.log_format, config.log_level);
    // Before any other thread is there.
    privileges::gain_none().map_err(|error| no_privileges(&error))?;
    let account = match config.user.as_str() {
        "" => None,
        user => Some(Account::find(user, &config.group).map_err(|error| no_privileges(&error))?),
    };

    let list = |path: &Path, form| List::open(path, form).map_err(|error| refused("unreadable", &error.to_string()));
    let binary = list(&config.measurements, Form::Binary)?;
    let ascii = list(&config.ascii_measurements, Form::Ascii)?;
    let boot_log = boot_log(&config.boot_log)?;
    make_folder(&config.state)?;
    let identity = TlsIdentity::load_or_make(&config.state, &names(config))
        .map_err(|error| refused("bad-identity", &error.to_string()))?;
    let tpm = start_tpm(config)?;
    open(&tpm);
    let banks = config.banks().unwrap_or_default();
    let sources = Sources { tpm: tpm.clone(), ascii, binary, banks, boot_log, boot_time: boot_time() };
    let patience = Patience::default();
    let server = ServerConfig { address: config.listen, client_cas: config.client_ca.clone(), patience };
    let server = Server::bind(&server, &identity, sources).map_err(|error| refused("no-server", &error.to_string()))?;

    if let Some(account) = &account {
        let group = config.tcti.strip_prefix("device:").and_then(|device| fs::metadata(device).ok());
        privileges::become_account(account, group.map(|metadata| metadata.gid()))
            .map_err(|error| no_privileges(&error))?;
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| refused("no-server", &format!("no runtime: {error}\nlook at the limits")))?;
    runtime.block_on(serve(config, server, &tpm, &identity))?;
    info!("stopped");
    // What still waits for a TPM is not waited for.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(Outcome::done())
}

async fn serve(config: &Config, server: Server, tpm: &Tpm, identity: &TlsIdentity) -> Result<(), Failure> {
    let no_signals = |error: std::io::Error| refused("no-server", &format!("no signals: {error}\nlook at the limits"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let address = server.local_address().unwrap_or(config.listen);
    info!(%address, pid = process::id(), "serving");
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: what is under way is finished");
    };
    let serving = server.serve(stop);
    let registering = async {
        if !config.registrar.is_empty() {
            let contact = if config.contact.is_empty() { Some(address) } else { config.contact() };
            enrol(config, contact, tpm, identity).await;
        }
        // The end of serving is the end of it all.
        std::future::pending().await
    };
    tokio::select! {
        served = serving => served.map_err(|error| refused("no-server", &error.to_string())),
        never = registering => never,
    }
}

/// Registers; what no further attempt would change is logged, and verifiers that know this machine are served on.
async fn enrol(config: &Config, contact: Option<SocketAddr>, tpm: &Tpm, identity: &TlsIdentity) {
    let keys = loop {
        match tpm.identity().await {
            Ok(keys) => break keys,
            Err(error) => warn!("not registered yet: {error}; {}", error.advice()),
        }
        tokio::time::sleep(TPM_PAUSE).await;
    };
    let uuid = match Machine::of(config, &keys, Path::new("/")) {
        Ok(machine) => machine.uuid,
        Err(failure) => return error!("not registered: {}; {}", failure.what, failure.todo),
    };
    let registration = Registration {
        registrar: config.registrar.clone(),
        uuid,
        contact: contact.filter(|at| !at.ip().is_unspecified()).map(|at| (at.ip(), at.port())),
        certificate_pem: identity.certificate_pem().to_owned(),
        deadline: Registration::DEFAULT_DEADLINE,
    };
    if let Err(error) = register(&registration, tpm).await {
        error!("not registered, and not tried again: {error}; {}", error.advice());
    }
}

/// Opens the TPM while it may be opened, and makes the attestation key if there is none.
fn open(tpm: &Tpm) {
    match tpm.identity_blocking() {
        Ok(_) => info!("the TPM answers"),
        Err(error) => warn!("{error}; {}", error.advice()),
    }
}

/// The names in the agent's certificate: as configured, or those it can be reached by.
fn names(config: &Config) -> Vec<String> {
    if !config.names.is_empty() {
        return config.names.clone();
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let is_name = |name: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        !name.is_empty() && name.bytes().all(is_plain)
    };
    let host = Some(host.trim()).filter(is_name).map(str::to_owned);
    let addresses = [Some(config.listen).filter(|listen| !listen.ip().is_unspecified()), config.contact()];
    let mut names: Vec<String> = host.into_iter().collect();
    names.extend(addresses.into_iter().flatten().map(|address| address.ip().to_string()));
    names.push("localhost".to_owned());
    names.dedup();
    names
}

/// The firmware's event log, where there is one.
fn boot_log(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => input::read_file_or_empty(path, MAX_BOOT_LOG).map(Some),
    }
}

/// The state folder, for its owner alone; the folder it is in must be there.
fn make_folder(path: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            let what = format!("{} cannot be made: {}", Printable::path(path), input::reason(&error));
            Err(Failure::new(Exit::Input, "unwritable", what, "run as root, or configure another: state = \"DIR\""))
        }
        _ => Ok(()),
    }
}

/// An error of the daemon's parts has what happened on its first line, and what to do on the second.
fn refused(reason: &'static str, text: &str) -> Failure {
    let (what, todo) = text.split_once('\n').unwrap_or((text, "look at the log"));
    Failure { exit: Exit::Input, reason, ..Failure::usage(what, todo) }
}

fn no_privileges(error: &PrivilegeError) -> Failure {
    Failure::new(Exit::Input, "privileges", error.to_string(), error.advice())
}

/// Between looks at a TPM that gives no answer; each of them takes as long as the configuration lets it.
const TPM_PAUSE: Duration = Duration::from_secs(5);

/// The firmware's log area has some 64 KiB (TCG PC Client Platform Firmware Profile, LASA's minimum); some have more.
const MAX_BOOT_LOG: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_has_the_names_that_it_is_reached_by() {
        let config = |listen: &str| Config { listen: listen.parse().unwrap(), ..Config::default() };
        assert!(names(&config("192.0.2.1:1")).ends_with(&["192.0.2.1".to_owned(), "localhost".to_owned()]));
        assert!(!names(&config("0.0.0.0:1")).contains(&"0.0.0.0".to_owned()));
        let given = Config { names: vec!["neptune".to_owned()], ..Config::default() };
        assert_eq!(names(&given), ["neptune"]);
    }
}
