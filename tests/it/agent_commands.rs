//! The agent's commands as an operator types them: at a TPM in software, on lists as a kernel writes them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use goldseal_cli::evidence_folder::FILES;
use goldseal_cli::public_key::pem::public_pem;
use goldseal_tests::forge::ak::hash;
use goldseal_tests::forge::golden::{self, Golden};
use goldseal_tests::forge::measurements::Measurement;
use goldseal_tests::forge::{Forge, time, version};
use goldseal_tests::lab::{Pki, Swtpm};
use goldseal_tests::{Run, World, goldseal_agent, is_root, output_of, shell, words};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::header::Expiry;
use serde_json::Value;

/// A folder with the agent's state, its list and whatever it is given; the TPM is another's, or there is none.
struct Machine {
    folder: World,
    tcti: String,
}

impl Machine {
    fn without_tpm() -> Self {
        let machine = Self { folder: World::new(), tcti: "swtpm:host=127.0.0.1,port=1".to_owned() };
        machine.folder.file("list", "");
        machine
    }

    fn at(tpm: &Swtpm) -> Self {
        Self { tcti: tpm.tcti(), ..Self::without_tpm() }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(goldseal_agent());
        command.args(words(arguments)).current_dir(self.folder.path("")).stdin(Stdio::null()).env("LC_ALL", "C");
        command.env("TPM2TOOLS_TCTI", &self.tcti).env("GOLDSEAL_AGENT_STATE", "state");
        command.env("GOLDSEAL_AGENT_MEASUREMENTS", "list").env("GOLDSEAL_AGENT_ASCII_MEASUREMENTS", "list");
        command.env("GOLDSEAL_AGENT_TPM_SECONDS", "20");
        command
    }

    fn agent(&self, arguments: &str) -> Run {
        Run::of(self.command(arguments))
    }

    /// Ends so, with this reason.
    #[track_caller]
    fn refuses(&self, arguments: &str, exit: i32, reason: &str) -> Value {
        let json = self.agent(&format!("{arguments} --json")).exits(exit).json();
        assert_eq!(json["reason"], reason, "{json}");
        assert!(!json["message"]["todo"].as_str().unwrap().is_empty(), "{json}");
        json
    }

    /// The kernel measures: an entry of the list, and PCR 10 in both banks.
    fn measure(&self, tpm: &Swtpm, measurement: &Measurement) {
        let mut list = fs::read(self.folder.path("list")).unwrap();
        list.extend(measurement.listed());
        self.folder.file("list", list);
        for bank in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            let digest = Digest::new(bank, &measurement.extension(bank)).unwrap();
            tpm.extend(10, bank.name(), &digest.to_string());
        }
    }

    fn run(&self, tpm: &Swtpm, path: &str, contents: &[u8]) {
        self.measure(tpm, &Measurement::ng(path, contents));
    }
}

/// A machine that has booted and runs what its list has; the list, sealed, and its key are beside it.
fn booted(tpm: &Swtpm, expires: Expiry) -> Machine {
    let machine = Machine::at(tpm);
    // Nobody measured the firmware of this machine: PCRs 0 to 9 are zeros.
    let aggregate = hash(HashAlgorithm::Sha256, &[0; 320]);
    let mut golden = Golden::new();
    golden.lists_file("/usr/bin/bash", b"bash");
    golden.rule(format!("boot-aggregate {:?}", Digest::new(HashAlgorithm::Sha256, &aggregate).unwrap()));
    golden.expires = expires;
    machine.folder.file("golden.whitelist", golden.sealed());
    machine.folder.file("golden.pub", public_pem(&golden::public_key().spki_der()));
    let value = [b"sha256:\0", &aggregate[..]].concat();
    machine.measure(tpm, &Measurement::of("ima-ng", &[&value, b"boot_aggregate\0"]));
    machine.run(tpm, "/usr/bin/bash", b"bash");
    machine
}

const CHECK: &str = "check --policy golden.whitelist --trust golden.pub";

#[test]
fn check_says_what_a_verifier_would_say() {
    let tpm = Swtpm::new();
    let machine = booted(&tpm, Expiry::Never);
    let run = machine.agent(CHECK).exits(0);
    let text = String::from_utf8(run.stdout().to_vec()).unwrap();
    assert!(text.starts_with("ACCEPTED: ") && text.contains("AK         proven"), "{text}");
    assert!(text.ends_with("IMA ERRORS: template-hash 0 fnf 0 hash 0 good 2\n"), "{text}");

    machine.run(&tpm, "/root/evil.sh", b"#!/bin/sh");
    let run = machine.agent(CHECK).exits(1);
    let text = String::from_utf8(run.stdout().to_vec()).unwrap();
    assert!(text.starts_with("REJECTED: 1 finding "), "{text}");
    assert!(text.lines().any(|line| line == "File not found in whitelist: /root/evil.sh"), "{text}");
    let json = machine.refused_json(CHECK);
    assert_eq!((&json["findings"][0]["path"], &json["quoted"]), (&"/root/evil.sh".into(), &SELECTION.into()));
}

const SELECTION: &str = "sha256:0,1,2,3,4,5,6,7,8,9,10";

impl Machine {
    fn refused_json(&self, arguments: &str) -> Value {
        let json = self.agent(&format!("{arguments} --json")).exits(1).json();
        assert_eq!((&json["reason"], &json["verdict"]), (&"rejected".into(), &"rejected".into()));
        json
    }
}

/// `goldseal appraise`, which knows nothing of the agent, comes to the same verdict on the files.
#[test]
fn what_check_saves_is_what_appraise_reads() {
    let tpm = Swtpm::new();
    let machine = booted(&tpm, Expiry::Never);
    let appraise = |folder: &str, exit: i32| {
        let nonce = fs::read_to_string(machine.folder.path(folder).join("nonce")).unwrap();
        let nonce = nonce.trim();
        let files = format!(
            "--ak {folder}/ak.pub --quote {folder}/msg --signature {folder}/sig --pcrs {folder}/pcrs \
             --ima-log {folder}/ima-log --nonce {nonce} --expect-pcrs {SELECTION}"
        );
        let policy = "--policy golden.whitelist --trust golden.pub";
        machine.folder.goldseal(&format!("appraise {policy} {files} --json")).exits(exit).json()
    };
    machine.agent(&format!("{CHECK} --save good")).exits(0).says("goldseal appraise --policy golden.whitelist");
    let mut names: Vec<_> =
        fs::read_dir(machine.folder.path("good")).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    let mut files = FILES.to_vec();
    files.sort_unstable();
    assert_eq!(names, files);
    assert_eq!(appraise("good", 0)["verdict"], "accepted");

    machine.run(&tpm, "/root/evil.sh", b"#!/bin/sh");
    let own = machine.refused_json(&format!("{CHECK} --save bad"));
    let theirs = appraise("bad", 1);
    for field in ["verdict", "findings", "counts", "ak", "quoted", "entries", "boot", "identity", "signers"] {
        assert_eq!(own[field], theirs[field], "{field}");
    }
    // Each check has a nonce of its own, and nothing is overwritten.
    let nonce = |folder: &str| fs::read(machine.folder.path(folder).join("nonce")).unwrap();
    assert_ne!(nonce("good"), nonce("bad"));
    machine.refuses(&format!("{CHECK} --save bad"), 2, "exists");
}

/// What cannot be believed is saved too: it is what somebody has to look at.
#[test]
fn check_gives_no_verdict_on_what_cannot_be_believed() {
    let tpm = Swtpm::new();
    let machine = booted(&tpm, Expiry::Never);
    let list = fs::read(machine.folder.path("list")).unwrap();
    machine.run(&tpm, "/root/evil.sh", b"#!/bin/sh");
    machine.folder.file("list", &list);
    machine.refuses(&format!("{CHECK} --save cut"), 3, "no-replay");
    assert_eq!(fs::read(machine.folder.path("cut/ima-log")).unwrap(), list);
    machine.folder.file("list", "no list");
    machine.refuses(CHECK, 3, "bad-list");
    fs::remove_file(machine.folder.path("list")).unwrap();
    machine.refuses(CHECK, 3, "unreadable");
}

#[test]
fn a_stale_list_goes_on_catching() {
    let tpm = Swtpm::new();
    let machine = booted(&tpm, Expiry::At(time("2026-01-02T00:00:00Z")));
    let json = machine.agent(&format!("{CHECK} --json")).exits(4).json();
    assert_eq!((&json["reason"], &json["verdict"]), (&"stale".into(), &"accepted".into()));
    machine.run(&tpm, "/root/evil.sh", b"#!/bin/sh");
    machine.refused_json(CHECK);
}

#[test]
fn check_believes_no_list_that_is_not_sealed_as_asked() {
    let machine = Machine::without_tpm();
    let forge = Forge::new();
    machine.folder.file("root", forge.sealed_root(&["alice", "bob"]));
    machine.folder.file("unsealed", forge.sealed_list(&[]));
    machine.folder.file("one", forge.sealed_list(&["dave"]));
    machine.folder.file("good", forge.list_at(10));
    machine.refuses("check --policy unsealed --trust-root root", 3, "unsealed");
    machine.refuses("check --policy one --trust-root root", 3, "threshold");
    machine.refuses("check --policy good", 2, "usage");
    machine.refuses("check", 3, "no-policy");
    // The list is good, and there is no TPM to ask.
    let slow = "check --policy good --trust-root root --tpm-seconds 1";
    let json = machine.refuses(slow, 3, "tpm");
    assert_eq!(json["version"], 10);
}

/// A machine that follows a root and has installed version 10; lists beside it.
fn installed() -> (Machine, Forge) {
    let (machine, forge) = (Machine::without_tpm(), Forge::new());
    machine.folder.file("root", forge.sealed_root(&["alice", "bob"]));
    for number in 9..=12 {
        machine.folder.file(format!("v{number}"), forge.list_at(number));
    }
    machine.agent("install-policy v10 --trust-root root --init").exits(0);
    (machine, forge)
}

#[test]
fn install_policy_keeps_what_was_verified_byte_for_byte() {
    let (machine, _) = installed();
    let kept = || fs::read(machine.folder.path("state/policy/whitelist")).unwrap();
    let given = |name: &str| fs::read(machine.folder.path(name)).unwrap();
    assert_eq!(kept(), given("v10"));
    let json = machine.agent("install-policy v11 --json").exits(0).json();
    assert_eq!((&json["version"], &json["freshness"], &json["reason"]), (&11.into(), &"current".into(), &"ok".into()));
    assert_eq!(kept(), given("v11"));
    // Again, from a pipe.
    let mut command = machine.command("install-policy /dev/stdin");
    command.stdin(fs::File::open(machine.folder.path("v11")).unwrap());
    Run::of(command).exits(0);
    assert_eq!(kept(), given("v11"));
    let mut names: Vec<_> =
        fs::read_dir(machine.folder.path("state/policy")).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["history", "state", "whitelist"]);
    // goldseal reads the same state.
    machine.folder.goldseal("verify v10 --state state/policy").exits(1).says("its version is 10, below 11");
}

/// Each list with one thing wrong with it; then all is as it was.
#[test]
fn install_policy_refuses_with_the_reason() {
    let (machine, forge) = installed();
    let before = machine.folder.snapshot();
    let good = fs::read(machine.folder.path("v11")).unwrap();
    let head = |file: &[u8]| file.windows(2).position(|bytes| bytes == b"\n\n").unwrap() + 2;
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(good.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let changed = |change: fn(&mut Forge)| {
        let mut world = forge.clone();
        world.list.version = version(11);
        change(&mut world);
        world
    };
    let sealed = |world: &Forge| world.sealed_list(&["dave", "erin"]);
    let other = |world: &mut Forge| world.list.created = time("2020-03-01T00:00:00Z");
    let mut same_version = changed(other);
    same_version.list.version = version(10);
    let cases: Vec<(&str, i32, &str, Vec<u8>)> = vec![
        ("unsealed", 1, "unsealed", changed(|_| ()).sealed_list(&[])),
        ("one of two", 1, "threshold", changed(|_| ()).sealed_list(&["dave"])),
        ("of other keys", 1, "threshold", changed(|_| ()).sealed_list(&["alice", "bob"])),
        ("another version under its seal", 1, "bad-signature", replaced("version: 11", "version: 12")),
        ("another entry", 1, "tampered", replaced("/usr/bin/one", "/usr/bin/two")),
        ("cut short", 1, "tampered", good[..good.len() - 1].to_vec()),
        ("longer", 1, "tampered", [&good[..], b"x"].concat()),
        ("older", 1, "below-floor", fs::read(machine.folder.path("v9")).unwrap()),
        ("another of the version installed", 1, "equivocation", sealed(&same_version)),
        (
            "of tomorrow",
            1,
            "from-the-future",
            sealed(&changed(|world| world.list.created = time("9000-01-01T00:00:00Z"))),
        ),
        ("stale", 4, "stale", sealed(&changed(|world| world.list.expires = Expiry::At(time("2020-06-01T00:00:00Z"))))),
        ("a trust root, whose holders seal no list", 1, "threshold", forge.sealed_root(&["alice", "bob"])),
        ("a trust root under the seals of a list", 1, "wrong-type", forge.sealed_root(&["dave", "erin"])),
        ("no list at all", 1, "malformed", b"#!/bin/sh\n".to_vec()),
        ("nothing", 1, "malformed", Vec::new()),
        // Without a right seal nothing behind the head is looked at: it would be `tampered` else.
        ("unsealed, and garbage behind", 1, "unsealed", {
            let file = changed(|_| ()).sealed_list(&[]);
            [&file[..head(&file)], &[0xff; 4096]].concat()
        }),
        ("not its seal, and garbage behind", 1, "bad-signature", {
            let file = replaced("version: 11", "version: 12");
            [&file[..head(&file)], &[0xff; 4096]].concat()
        }),
    ];
    for (what, exit, reason, file) in cases {
        let path = World::new();
        let path = (path.file("list", file), path);
        let arguments = format!("install-policy {} --json", path.0.display());
        let json = machine.agent(&arguments).exits(exit).json();
        assert_eq!(json["reason"], reason, "{what}: {json}");
        assert_eq!(machine.folder.snapshot(), before, "{what}");
    }
    machine.refuses("install-policy none", 3, "unreadable");
    machine.refuses("install-policy v11 --init", 2, "exists");
    machine.refuses("install-policy v11 --trust root", 3, "bad-root");
    assert_eq!(machine.folder.snapshot(), before);
    machine.agent("install-policy v11").exits(0);
}

/// A state that went missing is never taken for that of a new machine.
#[test]
fn a_lost_state_is_an_error_until_somebody_says_so() {
    let (machine, _) = installed();
    fs::remove_dir_all(machine.folder.path("state/policy")).unwrap();
    let json = machine.refuses("install-policy v9 --trust-root root", 3, "lost-state");
    assert!(json["message"]["todo"].as_str().unwrap().contains("--init"), "{json}");
    machine.refuses("check", 3, "no-policy");
    machine.agent("install-policy v9 --trust-root root --init").exits(0);
    // The list alone is no state.
    fs::remove_file(machine.folder.path("state/policy/state")).unwrap();
    machine.refuses("install-policy v12 --trust-root root", 3, "lost-state");
    machine.refuses("check", 3, "lost-state");
}

#[test]
fn check_holds_the_machine_to_the_list_that_is_installed() {
    let tpm = Swtpm::new();
    let machine = booted(&tpm, Expiry::Never);
    machine.agent("install-policy golden.whitelist --trust golden.pub --init").exits(0);
    // Keys are the operator's to name each time, or in the configuration.
    machine.refuses("check", 2, "usage");
    machine.agent("check --trust golden.pub").exits(0);
    machine.folder.file("agent.toml", "trust = [\"golden.pub\"]\n");
    machine.agent("check --config agent.toml").exits(0);
    machine.run(&tpm, "/root/evil.sh", b"#!/bin/sh");
    let json = machine.refused_json("check --config agent.toml");
    assert!(json["path"].as_str().unwrap().ends_with("state/policy/whitelist"), "{json}");

    // Whoever could write an older list there gets nothing by it.
    let (machine, _) = installed();
    machine.agent("install-policy v11").exits(0);
    fs::copy(machine.folder.path("v10"), machine.folder.path("state/policy/whitelist")).unwrap();
    machine.refuses("check", 3, "below-floor");
    fs::write(machine.folder.path("state/policy/whitelist"), b"no list").unwrap();
    machine.refuses("check", 3, "malformed");
}

/// tpm2-tools and openssl say the same of the keys.
#[test]
fn identity_is_that_of_the_tpm() {
    let tpm = Swtpm::new();
    let machine = Machine::at(&tpm);
    let json = machine.agent("identity --json --listen 192.0.2.7:9002").exits(0).json();
    let folder = tpm.path("");
    tpm.tool("tpm2_createek -c ek.ctx -G rsa -u ek.pub");
    tpm.tool("tpm2_readpublic -c ek.ctx -f pem -o ek.pem");
    let sum = |script: &str| String::from_utf8(shell(&folder, script)).unwrap()[..64].to_owned();
    assert_eq!(json["ek_sha256"], sum("openssl pkey -pubin -in ek.pem -outform DER | sha256sum"));
    assert_eq!(json["uuid"], sum("openssl pkey -pubin -in ek.pem | sha256sum"));
    tpm.tool("tpm2_readpublic -c 0x81010010 -n ak.name");
    let name = shell(&folder, "od -An -v -tx1 ak.name | tr -d ' \\n'");
    assert_eq!(json["ak_name"].as_str().unwrap().as_bytes(), name);
    assert_eq!((&json["ek_certificate"], &json["address"]), (&true.into(), &"192.0.2.7:9002".into()));
    assert_eq!(json["name"], Value::Null);

    let line = |arguments: &str| {
        let run = machine.agent(&format!("identity --hosts-line {arguments}")).exits(0);
        String::from_utf8(run.stdout().to_vec()).unwrap()
    };
    let digest = json["ek_sha256"].as_str().unwrap();
    assert_eq!(line("--uuid neptune"), format!("neptune 127.0.0.1:9002 {digest} -\n"));
    let forge = Forge::new();
    machine.folder.file("root", forge.sealed_root(&["alice", "bob"]));
    machine.folder.file("list", forge.list_at(10));
    machine.agent("install-policy list --trust-root root --init").exits(0);
    assert_eq!(line("--uuid neptune"), format!("neptune 127.0.0.1:9002 {digest} web\n"));
    machine.refuses("identity --tcti device:/dev/no-tpm --tpm-seconds 1", 3, "tpm");
    machine.refuses("identity --tcti nonsense", 3, "tpm");
}

#[test]
fn doctor_names_what_is_missing() {
    let machine = Machine::without_tpm();
    fs::create_dir(machine.folder.path("bare")).unwrap();
    let run = machine.agent("doctor --root bare --tcti device:/dev/tpmrm0").exits(1);
    let text = String::from_utf8(run.stdout().to_vec()).unwrap();
    for check in ["tpm-device", "securityfs", "state-folder", "clients"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("MISSING  {check} "))), "{text}");
    }
    assert!(text.contains("mount -t securityfs"), "{text}");
    let json = machine.agent("doctor --root bare --tcti device:/dev/tpmrm0 --json").exits(1).json();
    assert_eq!(json["reason"], "missing");
    let checks = json["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["state"] != "missing" || check["todo"] != ""), "{json}");
    // On the machine itself the TPM is asked.
    let tpm = Swtpm::new();
    let run = Machine::at(&tpm).agent("doctor --json");
    let json: Value = serde_json::from_slice(run.stdout()).unwrap();
    let state = |name: &str| {
        json["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).unwrap()["state"].clone()
    };
    assert_eq!((state("tpm-answers"), state("pcr-banks"), state("tpm-keys")), ("ok".into(), "ok".into(), "ok".into()));
}

#[test]
fn the_configuration_is_printed_as_it_is_effective() {
    let machine = Machine::without_tpm();
    machine.folder.file("agent.toml", "log_level = \"debug\"\nuuid = \"neptune\"\n");
    let print = "identity --config agent.toml --log-level warn --print-config";
    let run = machine.agent(print).exits(0);
    let printed = String::from_utf8(run.stdout().to_vec()).unwrap();
    for line in
        ["log_level = \"warn\"", "uuid = \"neptune\"", "state = \"state\"", "tcti = \"swtpm:host=127.0.0.1,port=1\""]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    machine.folder.file("printed.toml", &printed);
    let again = machine.agent("identity --config printed.toml --print-config").exits(0);
    assert_eq!(again.stdout(), printed.as_bytes());
    machine.folder.file("agent.toml", "log_levle = \"debug\"\n");
    machine.agent(print).exits(2).says("agent.toml, line 1: unknown field `log_levle`");
    let mut command = machine.command("doctor");
    command.env("GOLDSEAL_AGENT_LOG_LEVLE", "debug");
    Run::of(command).exits(2).says("GOLDSEAL_AGENT_LOG_LEVLE is no setting of the agent");
}

#[test]
fn every_command_shows_an_example() {
    let machine = Machine::without_tpm();
    for command in ["serve", "check", "install-policy", "identity", "doctor"] {
        for help in ["-h", "--help"] {
            let run = machine.agent(&format!("{command} {help}")).exits(0);
            let text = String::from_utf8(run.stdout().to_vec()).unwrap();
            assert!(text.contains(&format!("\n  goldseal-agent {command}")) && text.contains("Exit codes:"), "{text}");
            assert_eq!(text.contains("--ak-handle"), help == "--help", "{text}");
        }
    }
    machine.agent("chekc").exits(2).says("goldseal-agent: unrecognized subcommand 'chekc'");
}

/// A daemon that is killed when it goes.
struct Daemon {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
    /// What it logged until it served.
    log: Vec<String>,
}

impl Daemon {
    fn start(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut daemon = Self { process, lines, log: Vec::new() };
        while !daemon.log.last().is_some_and(|line| line.contains("serving")) {
            let line = daemon.lines.next().unwrap_or_else(|| panic!("it does not serve: {:?}", daemon.log));
            daemon.log.push(line.unwrap());
        }
        daemon
    }

    fn address(&self) -> String {
        let line = self.log.last().unwrap();
        let at = line.find("127.0.0.1:").unwrap();
        line[at..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect()
    }

    /// Asks it to stop; the rest of its log, and its exit code.
    fn stop(mut self, signal: &str) -> (Option<i32>, Vec<String>) {
        let began = Instant::now();
        output_of(Command::new("kill").args([signal, &self.process.id().to_string()]));
        let log = self.lines.by_ref().map(Result::unwrap).collect();
        let status = self.process.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(8));
        (status.code(), log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A CA for clients.
fn with_ca(machine: &Machine) {
    fs::copy(Pki::new().ca(), machine.folder.path("ca.pem")).unwrap();
}

const SERVE: &str = "serve --listen 127.0.0.1:0 --client-ca ca.pem";

#[test]
fn the_daemon_stops_when_it_is_asked_to() {
    let tpm = Swtpm::new();
    let machine = Machine::at(&tpm);
    with_ca(&machine);
    for signal in ["-TERM", "-INT"] {
        let daemon = Daemon::start(machine.command(SERVE));
        TcpStream::connect(daemon.address()).unwrap();
        let (code, log) = daemon.stop(signal);
        assert_eq!(code, Some(0), "{log:?}");
        assert!(log.last().unwrap().ends_with(" INFO stopped"), "{log:?}");
    }
    let daemon = Daemon::start(machine.command(&format!("{SERVE} --log-format json")));
    let objects: Vec<Value> = daemon.log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.last().unwrap()["message"], "serving");
    assert_eq!(objects.last().unwrap()["address"], daemon.address());
}

/// The TPM may come later; verifiers are told until then.
#[test]
fn the_daemon_serves_without_a_tpm() {
    let machine = Machine::without_tpm();
    with_ca(&machine);
    let daemon = Daemon::start(machine.command(&format!("{SERVE} --tpm-seconds 1")));
    assert!(daemon.log.iter().any(|line| line.contains(" WARN ") && line.contains("TPM")), "{:?}", daemon.log);
    assert_eq!(daemon.stop("-TERM").0, Some(0));
}

/// It registers under the name of the configuration; refused for good, it serves on and says why.
#[test]
fn the_daemon_registers_and_serves_whatever_the_registrar_says() {
    let tpm = Swtpm::new();
    let machine = Machine::at(&tpm);
    with_ca(&machine);
    let registrar = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = registrar.local_addr().unwrap();
    let calls = thread::spawn(move || {
        let call = |answer: &str| {
            let (mut stream, _) = registrar.accept().unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines
                .by_ref()
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .for_each(|line| head += &(line + "\n"));
            write!(stream, "HTTP/1.1 {answer}").unwrap();
            head
        };
        let version = r#"{"code": 200, "status": "Success", "results": {"current_version": "2.1", "supported_versions": ["2.1"]}}"#;
        let version = format!("200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{version}", version.len());
        [call(&version), call("403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")]
    });
    let mut daemon = Daemon::start(machine.command(&format!("{SERVE} --registrar {address} --uuid neptune")));
    let refused = daemon.lines.by_ref().map(Result::unwrap).find(|line| line.contains(" ERROR "));
    assert!(refused.unwrap().contains("not registered, and not tried again: "));
    let [version, post] = calls.join().unwrap();
    assert!(version.starts_with("GET /version "), "{version}");
    assert!(post.starts_with("POST /v2.1/agents/neptune "), "{post}");
    TcpStream::connect(daemon.address()).unwrap();
    assert_eq!(daemon.stop("-TERM").0, Some(0));
}

#[test]
fn the_daemon_does_not_start_where_it_could_not_serve() {
    let machine = Machine::without_tpm();
    with_ca(&machine);
    let serve = format!("{SERVE} --tpm-seconds 1");
    machine.agent("serve --listen 127.0.0.1:0").exits(3).says("client certificates");
    machine.agent(&format!("{serve} --measurements none")).exits(3).says("none");
    machine.agent(&format!("{serve} --user no-such-user")).exits(3).says("there is no user \"no-such-user\"");
    machine.agent(&format!("{serve} --user root")).exits(3).says("the user \"root\" is root");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    machine.agent(&format!("serve --client-ca ca.pem --tpm-seconds 1 --listen {address}")).exits(3).says("in use");
}

/// What proc_pid_status(5) says of every thread, also of the one that owns the TPM and was there before.
#[test]
fn the_daemon_gives_up_root_in_every_thread() {
    if !is_root("the_daemon_gives_up_root_in_every_thread") {
        return;
    }
    let tpm = Swtpm::new();
    let machine = Machine::at(&tpm);
    with_ca(&machine);
    let id = |option: &str| String::from_utf8(output_of(Command::new("id").args([option, "nobody"]))).unwrap();
    let (uid, gid) = (id("-u").trim().to_owned(), id("-g").trim().to_owned());
    let mut command = machine.command(&format!("{SERVE} --user nobody"));
    // As a shell of root has it: many groups.
    command.env("GOLDSEAL_AGENT_LOG_LEVEL", "info");
    let daemon = Daemon::start(command);
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process.id())).unwrap();
    let mut threads = 0;
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), vec![uid.clone(); 4], "{status}");
        assert_eq!(field("Gid:"), vec![gid.clone(); 4], "{status}");
        assert_eq!(field("Groups:"), Vec::<String>::new(), "{status}");
        for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(capabilities), ["0000000000000000"], "{capabilities} {status}");
        }
        assert_eq!(field("NoNewPrivs:"), ["1"], "{status}");
        threads += 1;
    }
    assert!(threads >= 2, "the thread of the TPM is missing");
    // It was opened before, and is still to be had.
    assert!(daemon.log.iter().any(|line| line.ends_with("the TPM answers")), "{:?}", daemon.log);
    assert_eq!(daemon.stop("-TERM").0, Some(0));
}

/// Whoever cannot become another user does not go on as the one they are.
#[test]
fn the_daemon_ends_if_it_cannot_give_up_what_it_has() {
    if !is_root("the_daemon_ends_if_it_cannot_give_up_what_it_has") {
        return;
    }
    let machine = Machine::without_tpm();
    with_ca(&machine);
    let folder = machine.folder.path("");
    shell(&folder, "chmod 755 . && mkdir -m 700 state && chown nobody state && chmod 644 list ca.pem");
    // The binary stands where others may not look.
    let copy = machine.folder.path("agent");
    fs::copy(goldseal_agent(), &copy).unwrap();
    let original = machine.command(&format!("{SERVE} --tpm-seconds 1 --user daemon"));
    let mut command = Command::new(&copy);
    command.args(original.get_args()).current_dir(&folder).stdin(Stdio::null()).uid(65534).gid(65534);
    command.envs(original.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Run::of(command).exits(3).says("privileges cannot be given up: setgroups").says("start it as root");
}

/// systemd reads the unit without a complaint; only the program is not where it will be installed.
#[test]
fn systemd_takes_the_unit() {
    let has = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !goldseal_tests::skip_unless(has, "systemd_takes_the_unit", "needs systemd-analyze") {
        return;
    }
    let world = World::new();
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/goldseal-agent.service"));
    let unit = unit.unwrap();
    let installed = unit.replace("/usr/bin/goldseal-agent", goldseal_agent().to_str().unwrap());
    assert_ne!(unit, installed);
    world.file("goldseal-agent.service", &installed);
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(world.path("goldseal-agent.service"))
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    world.file("goldseal-agent.service", installed.replace("ProtectSystem=", "ProtectSistem="));
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(world.path("goldseal-agent.service"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProtectSistem"));
}
