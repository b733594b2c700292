//! Measures goldseal beside its peers and holds the ratios to their bars.
//!
//! Contestants run in turn, round after round, in one run on one machine: only ratios of such medians mean anything.
//! The result is Markdown on standard output (docs/benchmarks.md); what is going on is said on standard error. Exit 1
//! if a bar is missed.

mod agent;
mod appraise;
mod contest;
mod excludes;
mod initramfs;
mod report;
mod tree;
mod verify;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Whatever stops a benchmark is a sentence for a person.
type Fallible<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: bench [--rounds N] tree [DIR] | initramfs [IMAGE] | verify | excludes [DIR] | appraise | agent

  tree       a tree of at least 80,000 files and 3 GB (made from /usr unless DIR is given), beside cat and sha256sum
  initramfs  a zstd image of about 150 MB unpacked (made from /usr/lib unless IMAGE is given), beside zstd and unmkinitramfs
  verify     a sealed list of 2,000,000 lines, beside openssl dgst
  excludes   2,000 patterns beside none, on a tree
  appraise   lists, policies and quotes in this process, beside Keylime's own code if it is in target/bench/keylime
  agent      the agent's server at swtpm: processor time of a poll, its memory, and how long lists take

GOLDSEAL names the binary to measure; without it a release build is made.";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every bar was met.
fn run(arguments: Vec<String>) -> Fallible<bool> {
    let (rounds, arguments) = match arguments.as_slice() {
        [flag, rounds, rest @ ..] if flag == "--rounds" => (rounds.parse()?, rest),
        all => (5, all),
    };
    let given = arguments.get(1).map(Path::new);
    let (Some(benchmark), true, true) = (arguments.first(), arguments.len() <= 2, rounds > 0) else {
        return Err(USAGE.into());
    };
    if let ("appraise-ready", Some(list)) = (benchmark.as_str(), given) {
        // A child of `appraise`, whose memory is watched.
        std::hint::black_box(appraise::ready(list)?);
        return Ok(true);
    }
    if let ("agent-serve", Some(tcti)) = (benchmark.as_str(), given) {
        // A child of `agent`, whose time and memory are watched.
        agent::serve(tcti)?;
        return Ok(true);
    }
    if benchmark == "agent" {
        return agent::run(rounds);
    }
    if benchmark == "appraise" {
        return appraise::run(&folder()?, rounds);
    }
    let bench = Bench { goldseal: goldseal()?, folder: folder()?, rounds };
    match benchmark.as_str() {
        "tree" => tree::run(&bench, given),
        "initramfs" => initramfs::run(&bench, given),
        "verify" => verify::run(&bench),
        "excludes" => excludes::run(&bench, given),
        _ => Err(USAGE.into()),
    }
}

/// What all benchmarks share.
struct Bench {
    /// The binary under test.
    goldseal: PathBuf,
    /// Where inputs and outputs are kept, from run to run.
    folder: PathBuf,
    rounds: usize,
}

impl Bench {
    /// The binary with these arguments.
    fn goldseal(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.goldseal);
        command.args(arguments);
        command
    }
}

fn goldseal() -> Fallible<PathBuf> {
    if let Some(binary) = env::var_os("GOLDSEAL") {
        return Ok(fs::canonicalize(binary)?);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--locked", "--quiet", "--package", "goldseal-tools"]).current_dir(root());
    contest::succeed(&mut build)?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(fs::canonicalize(target.join("release/goldseal"))?)
}

fn folder() -> Fallible<PathBuf> {
    let folder = root().join("target/bench");
    fs::create_dir_all(&folder)?;
    Ok(fs::canonicalize(folder)?)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
