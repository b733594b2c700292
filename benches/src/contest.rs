//! Runs commands in turn and takes medians of their wall times, and the peak memory of one more run.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;

/// One of those that are compared.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) command: Command,
    /// The exit code with which it is done.
    exit: i32,
}

impl Contestant {
    pub(crate) fn new(name: &str, command: Command) -> Self {
        Self { name: name.to_owned(), command, exit: 0 }
    }

    /// One whose work ends with this exit code.
    pub(crate) fn that_exits(self, exit: i32) -> Self {
        Self { exit, ..self }
    }

    /// A shell's command line; `$1` is `argument`.
    pub(crate) fn shell(name: &str, script: &str, argument: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", argument]);
        Self::new(name, command)
    }
}

/// What one contestant came to.
pub(crate) struct Result {
    pub(crate) name: String,
    pub(crate) median: Duration,
    pub(crate) fastest: Duration,
    pub(crate) slowest: Duration,
}

impl Result {
    /// Of at least one time.
    pub(crate) fn of(name: &str, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let (fastest, slowest) = (times[0], times[times.len() - 1]);
        Self { name: name.to_owned(), median: median(&times), fastest, slowest }
    }
}

/// Each contestant once as a warm-up, then `rounds` rounds of all in turn.
pub(crate) fn run(contestants: &mut [Contestant], rounds: usize) -> Fallible<Vec<Result>> {
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            let start = Instant::now();
            leave(&mut contestant.command, contestant.exit)?;
            let time = start.elapsed();
            eprintln!("round {round} of {rounds}: {:.3} s {}", time.as_secs_f64(), contestant.name);
            if round > 0 {
                times.push(time);
            }
        }
    }
    let result = |(contestant, times): (&Contestant, Vec<Duration>)| Result::of(&contestant.name, times);
    Ok(contestants.iter().zip(times).map(result).collect())
}

/// Runs a command and says what it was if it fails.
pub(crate) fn succeed(command: &mut Command) -> Fallible<()> {
    leave(command, 0)
}

fn leave(command: &mut Command, exit: i32) -> Fallible<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if status.code() == Some(exit) { Ok(()) } else { Err(format!("{command:?} left with {status}").into()) }
}

/// Peak resident memory of one process in bytes: the last VmHWM that could be read before it ended. Children of the
/// process are not counted.
pub(crate) fn peak_memory(command: &mut Command) -> Fallible<u64> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        thread::sleep(Duration::from_millis(1));
    }
    if !child.wait()?.success() {
        return Err(format!("{command:?} failed").into());
    }
    if peak == 0 { Err("the process ended before its memory could be read".into()) } else { Ok(peak) }
}

/// Whether a program can be started.
pub(crate) fn is_installed(program: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", "command -v \"$1\"", "sh", program]);
    succeed(&mut command).is_ok()
}

fn median(sorted: &[Duration]) -> Duration {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2 } else { sorted[middle] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_even_and_odd_numbers() {
        let times: Vec<Duration> = [1, 2, 4, 100].map(Duration::from_secs).to_vec();
        assert_eq!(median(&times[..3]), Duration::from_secs(2));
        assert_eq!(median(&times), Duration::from_secs(3));
    }

    #[test]
    fn memory_is_that_of_the_process() {
        // dd keeps one block of 64 MiB in memory and fills it a hundred times: long enough to be seen.
        let mut command = Command::new("dd");
        command.args(["if=/dev/zero", "of=/dev/null", "bs=64M", "count=100", "status=none"]);
        let peak = peak_memory(&mut command).unwrap();
        assert!((64 << 20..128 << 20).contains(&peak), "{peak}");
    }

    #[test]
    fn a_contestant_that_fails_stops_the_contest() {
        assert!(run(&mut [Contestant::shell("none", "exit 3", "")], 1).is_err());
        assert!(run(&mut [Contestant::shell("done", "exit 3", "").that_exits(3)], 1).is_ok());
        assert!(run(&mut [Contestant::shell("lax", "exit 0", "").that_exits(3)], 1).is_err());
    }
}
