use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::{TempDir, tempdir};

use super::*;

/// A machine on which nothing is missing, as files.
struct Machine {
    root: TempDir,
    config: Config,
}

impl Machine {
    fn whole() -> Self {
        let config = Config {
            tcti: "device:/dev/tpmrm0".to_owned(),
            client_ca: vec!["/etc/goldseal/client-ca.pem".into()],
            listen: "0.0.0.0:9002".parse().unwrap(),
            ..Config::default()
        };
        let machine = Self { root: tempdir().unwrap(), config };
        machine.file("dev/tpmrm0", "");
        machine.file("sys/class/tpm/tpm0/pcr-sha1/0", "");
        machine.file("sys/class/tpm/tpm0/pcr-sha256/0", "");
        machine.file("proc/mounts", "sysfs /sys sysfs rw 0 0\nsecurityfs /sys/kernel/security securityfs rw 0 0\n");
        machine.file("proc/cmdline", "quiet ima_policy=tcb\n");
        machine.file("sys/kernel/security/ima/runtime_measurements_count", "781\n");
        machine.file("sys/kernel/security/ima/binary_runtime_measurements", "\u{a}");
        machine.file("etc/goldseal/client-ca.pem", "-----BEGIN CERTIFICATE-----\n");
        machine.file("var/lib/goldseal-agent/tls.pem", "");
        machine.mode("var/lib/goldseal-agent", 0o700);
        machine
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn without(self, path: &str) -> Self {
        let path = self.root.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        self
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.root.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn examine(&self) -> Vec<Examined> {
        super::examine(&self.config, self.root.path(), false)
    }

    /// The things that are not as they must be, with what is said of them.
    fn lacks(&self) -> Vec<(&'static str, String)> {
        let missing = self.examine().into_iter().filter(|examined| examined.state == State::Missing);
        missing.map(|examined| (examined.check, format!("{} / {}", examined.what, examined.todo))).collect()
    }

    #[track_caller]
    fn lacks_only(&self, check: &str, words: &str) {
        let lacks = self.lacks();
        assert_eq!(lacks.len(), 1, "{lacks:?}");
        assert_eq!(lacks[0].0, check);
        assert!(lacks[0].1.contains(words), "{lacks:?}");
    }
}

#[test]
fn nothing_is_missing() {
    let machine = Machine::whole();
    assert_eq!(machine.lacks(), []);
    let checks: Vec<_> = machine.examine().iter().map(|examined| examined.check).collect();
    let all = [
        "tpm-device",
        "resource-manager",
        "tpm-permission",
        "pcr-banks",
        "securityfs",
        "ima",
        "list",
        "ima-policy",
        "clock",
        "state-folder",
        "clients",
        "whitelist",
    ];
    assert_eq!(checks, all);
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let bare = Machine::whole().without("dev/tpmrm0").without("sys/class/tpm");
    bare.lacks_only("tpm-device", "firmware");
    Machine::whole().without("dev/tpmrm0").lacks_only("tpm-device", "the kernel knows a TPM");
    let old = Machine::whole().without("dev/tpmrm0");
    old.file("sys/class/tpm/tpm0/tpm_version_major", "1\n");
    old.lacks_only("tpm-device", "1.2");
    Machine::whole().without("sys/class/tpm/tpm0/pcr-sha256").lacks_only("pcr-banks", "tpm2_pcrallocate");
    Machine::whole().without("proc/mounts").lacks_only("securityfs", "mount -t securityfs");
    Machine::whole().without("sys/kernel/security/ima").lacks_only("ima", "CONFIG_IMA");
    let list = "sys/kernel/security/ima/binary_runtime_measurements";
    Machine::whole().without(list).lacks_only("list", "no such file");
    Machine::whole().without("var/lib/goldseal-agent").lacks_only("state-folder", "mkdir");
    Machine::whole().without("etc/goldseal/client-ca.pem").lacks_only("clients", "client-ca.pem");
    let mut nobody = Machine::whole();
    nobody.config.client_ca.clear();
    nobody.lacks_only("clients", "no CA is configured");
}

#[test]
fn a_kernel_that_measures_nothing_is_found() {
    let machine = Machine::whole();
    machine.file("sys/kernel/security/ima/runtime_measurements_count", "1\n");
    machine.lacks_only("ima-policy", "the ima_policy of the command line measures nothing");
    machine.file("proc/cmdline", "quiet\n");
    machine.lacks_only("ima-policy", "boot with ima_policy=tcb");
}

#[test]
fn a_state_folder_that_others_can_change_is_found() {
    for mode in [0o720, 0o702, 0o777] {
        let machine = Machine::whole();
        machine.mode("var/lib/goldseal-agent", mode);
        machine.lacks_only("state-folder", &format!("mode {mode:04o}"));
    }
    let machine = Machine::whole();
    machine.mode("var/lib/goldseal-agent", 0o755);
    assert_eq!(machine.lacks(), []);
}

#[test]
fn what_is_not_needed_is_a_note() {
    let mut machine = Machine::whole();
    let notes = |machine: &Machine| -> Vec<&'static str> {
        let notes = machine.examine().into_iter().filter(|examined| examined.state == State::Note);
        notes.map(|examined| examined.check).collect()
    };
    // Only root's folder passes without one.
    assert!(notes(&machine).ends_with(&["whitelist"]));
    machine.config.tcti = "device:/dev/tpm0".to_owned();
    machine.file("dev/tpm0", "");
    machine.config.listen = "127.0.0.1:9002".parse().unwrap();
    let found = notes(&machine);
    assert!(found.contains(&"resource-manager") && found.contains(&"clients"), "{found:?}");
    machine.config.tcti = "swtpm:port=2321".to_owned();
    assert!(notes(&machine).contains(&"tpm-device"));
    assert_eq!(machine.lacks(), []);
}
