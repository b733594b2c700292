//! The TPM: its device, who may open it, and its banks.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::digest::HashAlgorithm;

use super::{Examined, below};
use crate::config::Config;
use crate::own_tpm::{start_tpm, tpm_failure};

/// What the file system says of it.
pub(super) fn files(config: &Config, root: &Path) -> Vec<Examined> {
    let Some(device) = config.tcti.strip_prefix("device:").map(Path::new) else {
        let what = format!("reached by {}", Printable(config.tcti.as_bytes()));
        return vec![Examined::note("tpm-device", what, "for the machine's own TPM: tcti = \"device:/dev/tpmrm0\"")];
    };
    let mut examined = vec![device_there(device, root)];
    if examined.iter().all(|examined| examined.todo.is_empty()) {
        examined.extend([resource_manager(device, root), opens(device, root)]);
    }
    examined.extend(banks(device, root));
    examined
}

fn device_there(device: &Path, root: &Path) -> Examined {
    let name = Printable::path(device);
    if fs::metadata(below(root, device)).is_ok() {
        return Examined::good("tpm-device", name.to_string());
    }
    let class = root.join("sys/class/tpm");
    let known: Vec<_> = fs::read_dir(&class).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    let version = fs::read_to_string(class.join("tpm0/tpm_version_major")).unwrap_or_default();
    let todo = if known.is_empty() {
        "enable the TPM in the firmware's setup (it may be called PTT or fTPM), and load its driver: modprobe tpm_crb, \
         or modprobe tpm_tis"
    } else if version.trim() == "1" {
        "this TPM is one of version 1.2, which cannot be used: switch it to 2.0 in the firmware's setup, if it can"
    } else {
        "the kernel knows a TPM: look at ls -l /dev/tpm*, and name it: tcti = \"device:/dev/tpmrm0\""
    };
    Examined::missing("tpm-device", format!("{name} does not exist"), todo)
}

/// Two programs at /dev/tpm0 hold each other up; /dev/tpmrm0 is the kernel's resource manager (Linux 4.12).
fn resource_manager(device: &Path, root: &Path) -> Examined {
    let check = "resource-manager";
    let is_plain = device.file_name().is_some_and(|name| !name.to_string_lossy().starts_with("tpmrm"));
    if !is_plain {
        return Examined::good(check, "the kernel's");
    }
    let todo = if root.join("dev/tpmrm0").exists() {
        "use it, so that other programs can use the TPM too: tcti = \"device:/dev/tpmrm0\""
    } else {
        "nothing else may use the TPM while the agent does"
    };
    Examined::note(check, format!("{} is not shared by a resource manager", Printable::path(device)), todo)
}

fn opens(device: &Path, root: &Path) -> Examined {
    let check = "tpm-permission";
    let name = Printable::path(device);
    match OpenOptions::new().read(true).write(true).open(below(root, device)) {
        Ok(_) => Examined::good(check, format!("{name} can be opened")),
        // Somebody has it open, who may.
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {
            let todo = "use the resource manager: tcti = \"device:/dev/tpmrm0\"";
            Examined::note(check, format!("{name} is in use by another program"), todo)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Examined::missing(
            check,
            format!("{name} cannot be opened: permission denied"),
            "run as root, or as a user of the group that has the device (tss)",
        ),
        Err(error) => Examined::missing(
            check,
            format!("{name} cannot be opened: {}", input::reason(&error)),
            "look for tpm in the kernel's log: dmesg",
        ),
    }
}

/// Linux shows the banks' values since 5.12; before, only the TPM itself tells which it has.
fn banks(device: &Path, root: &Path) -> Option<Examined> {
    let number = device.file_name()?.to_str()?.trim_start_matches(|c: char| !c.is_ascii_digit());
    let class = root.join("sys/class/tpm").join(format!("tpm{number}"));
    let mut banks: Vec<String> = fs::read_dir(class)
        .ok()?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("pcr-")?.to_owned()))
        .collect();
    banks.sort();
    (!banks.is_empty()).then(|| judge_banks(&banks))
}

fn judge_banks(banks: &[String]) -> Examined {
    let text = banks.join(", ");
    if banks.iter().any(|bank| bank == "sha256") {
        return Examined::good("pcr-banks", text);
    }
    if banks.iter().any(|bank| bank == "sha384" || bank == "sha512") {
        return Examined::note("pcr-banks", text, "there is no sha256 bank; the strongest is quoted");
    }
    Examined::missing(
        "pcr-banks",
        format!("{}: no sha256 bank", if text.is_empty() { "none" } else { &text }),
        "activate it in the firmware's setup, or: tpm2_pcrallocate sha256:all, and boot again",
    )
}

/// What the TPM says itself.
pub(super) fn ask(config: &Config) -> Vec<Examined> {
    let properties = start_tpm(config).and_then(|tpm| {
        let properties = tpm.properties_blocking().map_err(|error| tpm_failure(&error))?;
        let identity = tpm.identity_blocking().map_err(|error| tpm_failure(&error));
        Ok((properties, identity))
    });
    let (properties, identity) = match properties {
        Ok(known) => known,
        Err(failure) => return vec![Examined::failed("tpm-answers", failure)],
    };
    let (major, minor) = properties.firmware;
    let who = format!("{} {}, firmware {major:x}.{minor:x}", properties.manufacturer, properties.vendor);
    let banks: Vec<String> = properties.banks.iter().map(|bank: &HashAlgorithm| bank.name().to_owned()).collect();
    let key = match identity {
        Ok(identity) => match identity.ek_certificate.der() {
            Some(_) => Examined::good("tpm-keys", "endorsement key with certificate, attestation key"),
            None => Examined::note(
                "tpm-keys",
                "the endorsement key has no certificate of its maker",
                "enrol this machine by the digest of the key: goldseal-agent identity",
            ),
        },
        Err(failure) => Examined::failed("tpm-keys", failure),
    };
    let answers = Examined::good("tpm-answers", Printable(who.as_bytes()).to_string());
    vec![answers, judge_banks(&banks), key]
}
