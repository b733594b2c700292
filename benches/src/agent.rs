//! What an agent costs its machine: a child of this process serves as the agent does, at swtpm, and curl asks it.
//!
//! The TPM's own time is not in it: swtpm is a process of its own. Lists are plain files; securityfs adds what the kernel
//! takes to write its list.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use goldseal_tests::forge::measurements::Measurement;
use goldseal_tests::lab::{Agent, Swtpm};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::hex;

use crate::Fallible;
use crate::contest::Result;
use crate::report::{self, Bar};

/// The longest list.
const ENTRIES: u64 = 100_000;

/// The list that has to be served in time: the last entries of the longest.
const SERVED: u64 = 20_000;

/// Polls whose processor time is counted together.
const POLLS: u32 = 100;

pub(crate) fn run(rounds: usize) -> Fallible<bool> {
    let swtpm = Swtpm::new();
    let mut child = Served::start(&swtpm)?;
    let keylime =
        |from| format!("/v2.1/quotes/integrity?nonce=0123456789abcdef&mask=0x400&partial=1&ima_ml_entry={from}");
    let own = |from| format!("/v1/evidence?nonce=00112233445566778899aabbccddeeff&from={from}");
    // Whoever comes first waits for the attestation key and for the list to be read.
    for path in [keylime(0), own(0)] {
        child.ask(&path)?;
    }
    let mut polls = [Vec::new(), Vec::new()];
    let mut lists = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (route, times) in [keylime(ENTRIES), own(ENTRIES)].iter().zip(&mut polls) {
            let before = child.on_processor()?;
            for _ in 0..POLLS {
                child.ask(route)?;
            }
            times.push((child.on_processor()? - before) / POLLS);
        }
        let routes = [(keylime(ENTRIES - SERVED), keylime(ENTRIES)), (own(ENTRIES - SERVED), own(ENTRIES))];
        for ((whole, nothing), times) in routes.iter().zip(&mut lists) {
            // The quote and the handshake take as long without a list.
            let median = |path: &str| -> Fallible<Duration> {
                let mut all = Vec::new();
                for _ in 0..9 {
                    all.push(child.ask(path)?);
                }
                all.sort_unstable();
                Ok(all[4])
            };
            times.push(median(whole)?.saturating_sub(median(nothing)?));
        }
        for path in [keylime(0), own(0)] {
            child.ask(&path)?;
        }
    }
    let memory = child.memory()?;
    let [keylime_polls, own_polls] = polls;
    let [keylime_list, own_list] = lists;
    let results = [
        Result::of("a poll of Keylime's", keylime_polls),
        Result::of("a poll of the own route", own_polls),
        Result::of("20,000 entries, Keylime's", keylime_list),
        Result::of("20,000 entries, own route", own_list),
    ];
    let mut bars: Vec<Bar> = results[..2].iter().map(|result| Bar::time(result, 2.0)).collect();
    bars.extend(results[2..].iter().map(|result| Bar::time(result, 25.0)));
    bars.push(Bar::memory("the agent with 100,000 entries", memory, 20_000_000));
    let input =
        "lists of ima-ng in plain files; polls: processor time without the TPM's; lists: beyond a poll without any";
    Ok(report::print("Agent", input, rounds, &results, &bars))
}

/// The child: serves until its standard input ends.
pub(crate) fn serve(tcti: &Path) -> Fallible<()> {
    let mut agent = Agent::stopped();
    let create = |name| File::create(agent.world.path(name)).map(BufWriter::new);
    let (mut ascii, mut binary) = (create("ascii")?, create("binary")?);
    for number in 0..ENTRIES {
        let path = format!("/usr/lib/x86_64-linux-gnu/folder-{:04}/file-{number:07}.so", number / 500);
        let measurement = Measurement::ng(&path, path.as_bytes());
        binary.write_all(&measurement.listed())?;
        let template_hash = hex::encode(&measurement.extension(HashAlgorithm::Sha1));
        writeln!(ascii, "10 {template_hash} ima-ng {:?} {path}", Digest::sha256(path.as_bytes()))?;
    }
    ascii.flush()?;
    binary.flush()?;
    agent.start_at(tcti.to_str().ok_or("a TCTI")?.to_owned());
    println!("{}", agent.address());
    println!("{}", agent.server_certificate().display());
    println!("{}", agent.client().display());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Served {
    child: Child,
    curl: Vec<String>,
    address: String,
}

impl Served {
    fn start(swtpm: &Swtpm) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("agent-serve").arg(swtpm.tcti()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut line = || lines.next().ok_or("the agent did not start")?.map_err(|_| "the agent did not start");
        let (address, certificate, client) = (line()?, line()?, line()?);
        let curl = [
            "--silent",
            "--show-error",
            "--fail",
            "--output",
            "/dev/null",
            "--cacert",
            &certificate,
            "--cert",
            &client,
        ];
        Ok(Self { child, curl: curl.map(str::to_owned).to_vec(), address })
    }

    /// How long curl waits for an answer, by its own clock.
    fn ask(&self, path: &str) -> Fallible<Duration> {
        let mut curl = Command::new("curl");
        curl.args(&self.curl).args(["--write-out", "%{time_total}"]).arg(format!("https://{}{path}", self.address));
        let output = curl.output()?;
        if !output.status.success() {
            return Err(format!("{path}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(Duration::from_secs_f64(String::from_utf8(output.stdout)?.trim().parse()?))
    }

    /// How long all its threads have been running (Documentation/scheduler/sched-stats.rst).
    fn on_processor(&self) -> Fallible<Duration> {
        let mut all = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            all += Duration::from_nanos(stat.split(' ').next().ok_or("schedstat is empty")?.parse()?);
        }
        Ok(all)
    }

    /// Its resident memory in bytes.
    fn memory(&mut self) -> Fallible<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().strip_suffix(" kB").ok_or("not in kB")?.parse::<u64>()? * 1024)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
