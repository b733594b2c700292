//! Where the agent lives: clock, state folder, who may connect, the installed whitelist.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use goldseal_cli::clock;
use goldseal_cli::printable::Printable;
use goldseal_cli::trusted::TrustArgs;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::Freshness;

use super::{Examined, below};
use crate::config::Config;
use crate::installed::{self, Installed};

pub(super) fn examine(config: &Config, root: &Path) -> Vec<Examined> {
    let state = below(root, &config.state);
    let here = Config { state: state.clone(), ..config.clone() };
    vec![clock_right(), state_folder(&state, &config.state), clients(config, root), whitelist(&here)]
}

/// Nothing older than this program can be the time.
fn clock_right() -> Examined {
    let Ok(now) = clock::now() else {
        return Examined::missing("clock", "the clock cannot be read", "set it: timedatectl set-ntp true");
    };
    match Timestamp::parse(RELEASED) {
        Some(released) if now < released => Examined::missing(
            "clock",
            format!("it is {now} by the clock, before this program was made"),
            "set the clock: timedatectl set-ntp true; a wrong one makes lists look fresh or from the future",
        ),
        _ => Examined::good("clock", now.to_string()),
    }
}

fn state_folder(folder: &Path, name: &Path) -> Examined {
    let check = "state-folder";
    let name = Printable::path(name);
    let Ok(metadata) = fs::metadata(folder) else {
        let todo = format!("mkdir -m 700 {name}; the systemd unit does so");
        return Examined::missing(check, format!("{name} does not exist, or cannot be looked at"), todo);
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() {
        return Examined::missing(check, format!("{name} is not a folder"), "configure another: state = \"DIR\"");
    }
    if mode & 0o022 != 0 {
        let what = format!("{name} can be changed by others (mode {mode:04o})");
        return Examined::missing(check, what, format!("chmod go-w {name}: who changes it decides what is accepted"));
    }
    if metadata.uid() != 0 {
        return Examined::note(
            check,
            format!("{name} belongs to uid {}", metadata.uid()),
            format!("chown root {name}"),
        );
    }
    Examined::good(check, name.to_string())
}

fn clients(config: &Config, root: &Path) -> Examined {
    let check = "clients";
    if config.client_ca.is_empty() {
        return Examined::missing(
            check,
            "no CA is configured whose clients may connect",
            "copy the CA certificate of the verifier here, and name it: client_ca = [\"/etc/goldseal/client-ca.pem\"]",
        );
    }
    for file in &config.client_ca {
        let text = fs::read_to_string(below(root, file)).unwrap_or_default();
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            let what = format!("{} cannot be read, or holds no certificate in PEM", Printable::path(file));
            return Examined::missing(check, what, "copy the CA certificate of the verifier there, as PEM");
        }
    }
    let listen: SocketAddr = config.listen;
    if listen.ip().is_loopback() {
        let todo = "that is enough for a verifier on this machine; else: listen = \"0.0.0.0:9002\"";
        return Examined::note(check, format!("{listen} is reached from this machine alone"), todo);
    }
    Examined::good(check, format!("those with a certificate of {} may connect to {listen}", config.client_ca.len()))
}

/// Attestation does without: the verifier has its own. `check` needs one.
fn whitelist(config: &Config) -> Examined {
    let check = "whitelist";
    let installed = Installed::of(config);
    if !installed.is_there() {
        let todo = "to have check without --policy: goldseal-agent install-policy FILE --init";
        return Examined::note(check, "none is installed", todo);
    }
    match installed.load(&installed::trust(TrustArgs::default(), config)) {
        Ok(policy) => {
            let header = policy.header();
            let what = format!("{} version {}", header.name, header.version);
            match policy.freshness() {
                Freshness::Current => Examined::good(check, what),
                Freshness::Stale { since, .. } => {
                    let todo = "install the next version: goldseal-agent install-policy FILE";
                    Examined::note(check, format!("{what}, stale since {since}"), todo)
                }
            }
        }
        Err(failure) => Examined::note(check, failure.what, failure.todo),
    }
}

/// When this was written.
const RELEASED: &[u8] = b"2026-11-01T00:00:00Z";
