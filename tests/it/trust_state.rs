//! What a machine has accepted is not lowered by anything that happens to it: damaged lists, wrong clocks, full disks,
//! crashes, two programs at once. And if it is lost, that is an error.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use goldseal_cli::state_folder::StateFolder;
use goldseal_tests::forge::{Forge, policy_of, time, version};
use goldseal_tests::{Run, World, goldseal, output_of};
use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{AdmitError, Floor, Freshness, Now, TrustRoot, TrustState};

/// A state that follows a root and has seen version 10; lists of versions 9 to 12 beside it.
struct Machine {
    folder: World,
    forge: Forge,
}

impl Machine {
    fn new() -> Self {
        let (folder, forge) = (World::new(), Forge::new());
        folder.file("root", forge.sealed_root(&["alice", "bob"]));
        for number in 9..=12 {
            folder.file(format!("v{number}"), forge.list_at(number));
        }
        let machine = Self { folder, forge };
        machine.folder.goldseal("state init state").exits(0);
        machine.folder.goldseal("verify v10 --trust-root root --state state").exits(0);
        machine
    }

    fn verify(&self, list: &str) -> Run {
        self.folder.goldseal(&format!("verify {list} --state state"))
    }

    fn state(&self) -> Vec<u8> {
        fs::read(self.folder.path("state/state")).unwrap()
    }

    fn set_state(&self, bytes: &[u8]) {
        fs::write(self.folder.path("state/state"), bytes).unwrap();
    }

    /// Names in the state folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path("state")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A damaged stick: the header is authentic and newer, the body is not what was sealed. The good list is still taken.
#[test]
fn a_damaged_list_raises_nothing() {
    let machine = Machine::new();
    let before = machine.state();
    let mut damaged = fs::read(machine.folder.path("v12")).unwrap();
    let last = damaged.len() - 2;
    damaged[last] ^= 1;
    machine.folder.file("damaged", &damaged);
    machine.verify("damaged").exits(1).says("does not have the hash");
    machine.folder.file("damaged", &damaged[..last]);
    machine.verify("damaged").exits(1);
    assert_eq!(machine.state(), before);
    machine.verify("v11").exits(0);
    machine.verify("v10").exits(1).says("its version is 10, below 11");
}

/// A list whose sections hash as signed and are not in their one encoding is no list, either.
#[test]
fn a_list_that_does_not_parse_raises_nothing() {
    let machine = Machine::new();
    let before = machine.state();
    let mut header = machine.forge.sealed(&[]).header().clone();
    header.version = version(12);
    let body = b"no entry\n";
    header.sections[3] = goldseal_verifier_core::header::SectionSeal::of(body);
    let kind = goldseal_verifier_core::header::WHITELIST_TYPE;
    let mut envelope = goldseal_verifier_core::envelope::Envelope::unsealed(kind, &header.print()).unwrap();
    for holder in ["dave", "erin"] {
        envelope.insert(goldseal_tests::forge::signature(holder, &envelope)).unwrap();
    }
    machine.folder.file("odd", [&envelope.print()[..], body].concat());
    machine.verify("odd").exits(1).says("entry 1: it is not a digest");
    assert_eq!(machine.state(), before);
}

/// Made more than a day ahead of the clock: refused, and no time is learned from it.
#[test]
fn a_list_from_the_future_moves_nothing() {
    let mut machine = Machine::new();
    let before = machine.state();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    machine.forge.list.created = Timestamp::from_unix(clock + 3 * 86_400).unwrap();
    machine.folder.file("future", machine.forge.list_at(12));
    machine.verify("future").exits(1).says("check the clock of this machine");
    assert_eq!(machine.state(), before);
    machine.verify("v11").exits(0);
}

#[test]
fn two_lists_as_one_version() {
    let mut machine = Machine::new();
    let before = machine.state();
    machine.forge.list.expires = Expiry::At(time("2999-01-01T00:00:00Z"));
    machine.folder.file("other", machine.forge.list_at(10));
    machine.verify("other").exits(1).says("somebody sealed two lists as one version");
    assert_eq!(machine.state(), before);
    machine.verify("v10").exits(0);
    assert_eq!(machine.state(), before);
}

/// What accepted documents prove to be past stays past, whatever the clock says.
#[test]
fn a_clock_that_was_set_back_makes_nothing_fresh() {
    let mut world = Forge::new();
    world.list.expires = Expiry::At(time("2020-03-01T00:00:00Z"));
    let old = world.sealed_list(&["dave", "erin"]);
    let set_back = time("2020-02-15T00:00:00Z");
    let root = world.trust();
    let fresh =
        |state: &TrustState| policy_of(&root, &old, state.now(set_back), &Floor::default()).unwrap().freshness();
    let mut state = TrustState::new();
    assert_eq!(fresh(&state), Freshness::Current);
    // Another list, made later, was accepted before the clock was set back.
    world.list.name = goldseal_tests::forge::name("db");
    world.list.expires = Expiry::Never;
    world.list.created = time("2020-04-01T00:00:00Z");
    state.accept(&world.verify(&root, &world.sealed_list(&["dave", "erin"])).unwrap()).unwrap();
    assert!(matches!(fresh(&state), Freshness::Stale { since, .. } if since == time("2020-03-01T00:00:00Z")));
    // Nor does a key count again that has ended since.
    world.root.key("erin").until = Expiry::At(time("2020-03-01T00:00:00Z"));
    let root = TrustRoot::anchor(&world.sealed_root(&["alice", "bob"]), Now::by_clock(set_back)).unwrap();
    assert!(policy_of(&root, &old, Now::by_clock(set_back), &Floor::default()).is_ok());
    assert!(policy_of(&root, &old, state.now(set_back), &Floor::default()).is_err());
}

/// A list that was admitted against a state is held to it again when it is remembered: two may be on their way.
#[test]
fn the_floor_is_asked_again_when_a_list_is_remembered() {
    let world = Forge::new();
    let root = world.trust();
    let policy = |number| world.verify(&root, &world.list_at(number)).unwrap();
    let (older, newer) = (policy(10), policy(11));
    let mut state = TrustState::new();
    state.accept(&newer).unwrap();
    assert_eq!(state.accept(&older), Err(AdmitError::BelowFloor { floor: version(11), found: version(10) }));
}

#[test]
fn a_state_that_is_lost_is_an_error() {
    let machine = Machine::new();
    let good = machine.state();
    let is_lost = || {
        machine.verify("v12").exits(3).says("cannot be used").says("find out how");
        machine.folder.goldseal("verify v12 --trust-root root --state state").exits(3).says("cannot be used");
    };
    for garbage in [&b""[..], b"\n\n", b"garbage\n\n", &[0; 64], &[&good[..], b"\n"].concat()] {
        machine.set_state(garbage);
        is_lost();
    }
    fs::remove_file(machine.folder.path("state/state")).unwrap();
    is_lost();
    fs::remove_dir_all(machine.folder.path("state")).unwrap();
    is_lost();
    assert!(!machine.folder.path("state").exists());
}

/// By the program's own code, since there are thousands.
#[test]
fn a_state_that_was_cut_or_changed_is_lost() {
    let machine = Machine::new();
    let (good, path) = (machine.state(), machine.folder.path("state"));
    let clock = Now::by_clock(time("2026-06-01T00:00:00Z"));
    let usable =
        || StateFolder::open(&path).and_then(|state| state.root(clock).map(|root| (state.state().clone(), root)));
    let (expected, _) = usable().unwrap();
    assert!(expected.root().is_some());
    for length in 0..good.len() {
        machine.set_state(&good[..length]);
        assert_eq!(usable().unwrap_err().reason, "lost-state", "{length} bytes");
    }
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        machine.set_state(&changed);
        match usable() {
            Err(failure) => assert_eq!(failure.reason, "lost-state", "byte {at}"),
            // No checksum holds the text itself: whoever can write here can lower it. See the threat model.
            Ok((state, _)) => {
                assert!(at < good.windows(2).position(|pair| pair == b"\n\n").unwrap() && state != expected)
            }
        }
    }
}

/// The system calls that a verification makes while it changes the state, each with how often it makes it.
fn system_calls(machine: &Machine) -> BTreeMap<String, usize> {
    let trace = machine.folder.path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&trace).arg(goldseal()).args(["verify", "v11", "--state", "state"]);
    output_of(strace.current_dir(machine.folder.path("")));
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        // PID NAME(…) = RESULT
        let name = line.split_once(' ').unwrap().1.trim_start().split('(').next().unwrap();
        if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    assert!(calls.contains_key("rename") && calls.contains_key("fsync") && calls.contains_key("linkat"), "{calls:?}");
    calls
}

/// Runs `verify v11 --state state` with one thing injected into one system call.
fn injected(machine: &Machine, call: &str, what: &str, nth: usize) -> Run {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}:{what}:when={nth}")]);
    strace.arg(goldseal()).args(["verify", "v11", "--state", "state"]);
    strace.current_dir(machine.folder.path("")).stdin(Stdio::null());
    Run::of(strace)
}

/// Killed at any system call: the state is the old or the new one, the program's next run works, and no name is left.
#[test]
fn killed_at_any_moment_the_state_is_whole() {
    let machine = Machine::new();
    let old = machine.state();
    let calls = system_calls(&machine);
    let new = machine.state();
    assert_ne!(old, new);
    let (mut olds, mut news) = (0, 0);
    for (call, count) in calls {
        for nth in 1..=count {
            machine.set_state(&old);
            let run = injected(&machine, &call, "signal=KILL", nth);
            let found = machine.state();
            assert!(found == old || found == new, "{call} {nth}: {}", String::from_utf8_lossy(&found));
            if found == old {
                // The floor rises before anybody is told.
                assert!(!String::from_utf8_lossy(run.stdout()).contains("VERIFIED"), "{call} {nth}");
                olds += 1;
            } else {
                news += 1;
            }
            machine.verify("v9").exits(1);
            machine.verify("v11").exits(0);
            assert_eq!(machine.state(), new, "{call} {nth}");
        }
    }
    assert!(olds > 20 && news > 2, "{olds} {news}");
}

/// A disk that fails: an error, and the old state; or, once the new one has its name, an error or not, and the new.
#[test]
fn a_disk_that_fails_lowers_nothing() {
    let machine = Machine::new();
    let old = machine.state();
    let calls = system_calls(&machine);
    let new = machine.state();
    let mut refused = 0;
    for call in ["openat", "write", "fsync", "linkat", "rename", "fchmod", "flock", "read"] {
        for nth in 1..=calls.get(call).copied().unwrap_or(0) {
            for error in ["EIO", "ENOSPC"] {
                machine.set_state(&old);
                let run = injected(&machine, call, &format!("error={error}"), nth);
                let found = machine.state();
                assert!(found == old || found == new, "{call} {nth} {error}");
                if found == old {
                    assert!(!String::from_utf8_lossy(run.stdout()).contains("VERIFIED"), "{call} {nth} {error}");
                    refused += 1;
                }
                assert_eq!(machine.names(), ["history", "state"], "{call} {nth} {error}");
                machine.verify("v11").exits(0);
                assert_eq!(machine.state(), new, "{call} {nth} {error}");
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

/// One that began earlier with an older list does not write over what another has raised meanwhile.
#[test]
fn two_at_once_do_not_lower_the_floor() {
    let machine = Machine::new();
    let mut slow = Command::new("strace");
    // Half a second before the new state gets its name.
    slow.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=rename:delay_enter=500000"]);
    slow.arg(goldseal()).args(["verify", "v11", "--state", "state"]).current_dir(machine.folder.path(""));
    let mut slow = slow.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Until it has the state open, the other may come first; then it is refused, and the floor is no lower.
    let started = std::time::Instant::now();
    while machine.names().len() == 2 && started.elapsed().as_secs() < 10 && slow.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    machine.verify("v12").exits(0);
    slow.wait().unwrap();
    machine.verify("v11").exits(1).says("its version is 11, below 12");

    let runs: Vec<_> = (0..16)
        .map(|number| {
            let list = if number % 2 == 0 { "v12" } else { "v11" };
            let mut command = machine.folder.command(&format!("verify {list} --state state"));
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for (number, mut run) in runs.into_iter().enumerate() {
        assert_eq!(run.wait().unwrap().code(), Some(if number % 2 == 0 { 0 } else { 1 }));
    }
}

/// What would be too long to be read again is not written.
#[test]
fn a_state_that_is_full_says_so() {
    let mut machine = Machine::new();
    let before = machine.state();
    machine.forge.rotate();
    for number in 0..48_500 {
        let name = goldseal_tests::forge::name(&format!("l{number:05}"));
        machine.forge.root.statements.floors.insert(name, version(1_000_000));
    }
    machine.folder.file("next", machine.forge.sealed_root(&["alice", "bob"]));
    machine.folder.goldseal("verify v11 --trust-root next --state state").exits(3).says("would be longer than");
    assert_eq!(machine.state(), before);
    machine.verify("v11").exits(0);
}
