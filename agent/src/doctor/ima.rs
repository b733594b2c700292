//! The kernel's measurements: whether it can measure, does measure, and lets its list be read.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use goldseal_cli::input;
use goldseal_cli::printable::Printable;

use super::{Examined, below};
use crate::config::Config;

pub(super) fn examine(config: &Config, root: &Path) -> Vec<Examined> {
    let securityfs = securityfs(root);
    let is_mounted = securityfs.todo.is_empty();
    let mut examined = vec![securityfs];
    let folder = root.join("sys/kernel/security/ima");
    if !is_mounted && !folder.exists() {
        return examined;
    }
    if !folder.exists() {
        examined.push(Examined::missing(
            "ima",
            "this kernel has no IMA, or it is switched off",
            "boot a kernel with CONFIG_IMA=y: stock kernels of Debian, Ubuntu, Fedora and SUSE have it; look at ima= on \
             the kernel's command line",
        ));
        return examined;
    }
    examined.push(Examined::good("ima", "the kernel measures"));
    let readable = readable(&config.measurements, root);
    let is_readable = readable.todo.is_empty();
    examined.push(readable);
    if is_readable {
        examined.push(ima_policy(&folder, root));
    }
    examined
}

/// proc_mounts(5): device, mount point, type, …
fn securityfs(root: &Path) -> Examined {
    let mounts = fs::read_to_string(root.join("proc/mounts")).unwrap_or_default();
    let is_mounted = mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some("/sys/kernel/security") && words.next() == Some("securityfs")
    });
    if is_mounted {
        return Examined::good("securityfs", "/sys/kernel/security is mounted");
    }
    Examined::missing(
        "securityfs",
        "securityfs is not mounted at /sys/kernel/security",
        "mount -t securityfs securityfs /sys/kernel/security (systemd does so; a container may not have it)",
    )
}

fn readable(list: &Path, root: &Path) -> Examined {
    let check = "list";
    let name = Printable::path(list);
    let read = File::open(below(root, list)).and_then(|mut file| file.read(&mut [0]));
    match read {
        Ok(0) => Examined::missing(check, format!("{name} is empty"), "look at ima on the kernel's command line"),
        Ok(_) => Examined::good(check, format!("{name} can be read")),
        Err(error) => {
            let todo = match error.kind() {
                ErrorKind::PermissionDenied => "run as root",
                ErrorKind::NotFound => "name the kernel's list: measurements = \"FILE\"",
                _ => "look at the kernel's log: dmesg",
            };
            Examined::missing(check, format!("{name} cannot be read: {}", input::reason(&error)), todo)
        }
    }
}

/// Without a policy the kernel measures nothing but boot_aggregate (ima_add_boot_aggregate, security/integrity/ima/
/// ima_init.c), and a machine looks the same whatever runs on it.
fn ima_policy(folder: &Path, root: &Path) -> Examined {
    let check = "ima-policy";
    let count = fs::read_to_string(folder.join("runtime_measurements_count")).unwrap_or_default();
    let entries: Option<u64> = count.trim().parse().ok();
    match entries {
        Some(entries) if entries > 1 => Examined::good(check, format!("{entries} entries are measured")),
        Some(entries) => {
            let line = fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default();
            let has = line.split_whitespace().any(|word| word.starts_with("ima_policy="));
            let todo = if has {
                "the ima_policy of the command line measures nothing: boot with ima_policy=tcb, or load another: \
                 goldseal ima-policy show"
            } else {
                "boot with ima_policy=tcb, or load a policy into /sys/kernel/security/ima/policy: goldseal ima-policy show"
            };
            let what = format!("no ima_policy measures anything: {entries} entry in the list");
            Examined::missing(check, what, todo)
        }
        None => Examined::missing(check, "runtime_measurements_count cannot be read", "run as root"),
    }
}
