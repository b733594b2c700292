//! Judging a machine, in this process: lists, policies, quotes and increments, beside Keylime's own code.
//!
//! Times are those that the processor spent on one thread, so that other work on the machine weighs less. Making a policy
//! ready uses several threads and is measured by the clock.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use goldseal_tests::forge::ak::{Kind, SoftTpm};
use goldseal_tests::forge::golden::{self, Golden};
use goldseal_tests::forge::machine::{Machine, NONCE, pcrs_0_to_10};
use goldseal_verifier_core::appraise::{Appraiser, Verdict};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::envelope::MAX_HEAD_LEN;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::tpm::{AttestationKey, ExpectedSelection, Sha1Signatures, read_pcr_blob};

use crate::contest::{self, Result};
use crate::report::{self, Bar};
use crate::{Fallible, root};

const PATHS: usize = 100_000;
const LISTED: usize = 1_000_000;
const EXCLUDES: usize = 1_000;
const QUOTES: u32 = 2_000;
const RESUMED: u32 = 1_000;

pub(crate) fn run(bench: &Path, rounds: usize) -> Fallible<bool> {
    let folder = bench.join("appraise");
    fs::create_dir_all(&folder)?;

    let mut machine = Machine::off(&[HashAlgorithm::Sha256]);
    machine.boot();
    for number in 1..PATHS {
        let (path, contents) = file(number);
        machine.golden.lists_file(&path, contents.as_bytes());
        machine.run(&path, contents.as_bytes());
    }
    let list = machine.bytes();
    let quoted = machine.quoted();
    let plain = machine.golden.appraiser();
    for number in 0..EXCLUDES {
        machine.golden.excludes(&exclude(number));
    }
    let excluding = machine.golden.appraiser();
    let appraise = |appraiser: &Appraiser| {
        let list = MeasurementList::parse(&list, &Limits::DEFAULT).map_err(|error| error.to_string())?;
        let evidence = appraiser.evidence(&list, quoted.clone()).map_err(|error| error.to_string())?;
        let result = appraiser.appraise(&evidence);
        let all = u64::try_from(PATHS)?;
        if result.verdict() != Verdict::Accepted || result.entries() != all {
            return Err("a perfect machine was not accepted".into());
        }
        Ok(result)
    };
    let accepted = appraise(&plain)?;
    let checkpoint = accepted.checkpoint().ok_or("an accepted machine has a checkpoint")?;

    let replay = || {
        let list = MeasurementList::parse(&list, &Limits::DEFAULT).map_err(|error| error.to_string())?;
        plain.evidence(&list, quoted.clone()).map_err(|error| error.to_string())?;
        Ok(())
    };
    let resume = || {
        for _ in 0..RESUMED {
            let list = MeasurementList::parse(b"", &Limits::DEFAULT).map_err(|error| error.to_string())?;
            let evidence = plain.resume(&list, quoted.clone(), checkpoint).map_err(|error| error.to_string())?;
            black_box(plain.appraise(&evidence));
        }
        Ok(())
    };
    let judged = [
        ("100,000 entries", cpu_times(rounds, || appraise(&plain).map(drop))?),
        ("100,000 entries, 1,000 excludes", cpu_times(rounds, || appraise(&excluding).map(drop))?),
        ("of these, parse and replay", cpu_times(rounds, replay)?),
        ("1,000 times nothing new", cpu_times(rounds, resume)?),
        ("2,000 quotes, RSA-2048", cpu_times(rounds, quotes(Kind::RsaSsa))?),
        ("2,000 quotes, P-256", cpu_times(rounds, quotes(Kind::P256))?),
    ];
    let mut results: Vec<Result> = judged.into_iter().map(|(name, times)| Result::of(name, times)).collect();

    let sealed = folder.join("million.whitelist");
    write_million(&sealed)?;
    results.push(Result::of("1,000,000 lines made ready", clock_times(rounds, || ready(&sealed).map(drop))?));
    let mut child = Command::new(std::env::current_exe()?);
    child.arg("appraise-ready").arg(&sealed);
    let memory = contest::peak_memory(&mut child)?;

    let [whole, with_excludes, _, nothing_new, rsa, p256, made_ready] = results.as_slice() else {
        return Err("a contestant is missing".into());
    };
    let mut bars = vec![
        Bar::each("entry judged", PATHS as f64, whole, 0.5),
        Bar::ratio(with_excludes, whole, 1.1),
        Bar::each("quote of RSA-2048", f64::from(QUOTES), rsa, 25.0),
        Bar::each("quote of P-256", f64::from(QUOTES), p256, 50.0),
        Bar::each("increment with nothing new", f64::from(RESUMED), nothing_new, 100.0),
        Bar::time(made_ready, 250.0),
        Bar::memory("a policy made ready", memory, fs::metadata(&sealed)?.len() * 13 / 10),
    ];
    match keylime(bench, &folder, rounds, &machine)? {
        Some(keylime) => {
            bars.push(Bar::ratio(&results[0], &keylime, 0.1));
            results.push(keylime);
        }
        None => eprintln!("SKIPPED: beside Keylime: see docs/benchmarks.md for how it is installed"),
    }
    let input = format!("lists of ima-ng, bank sha256; {:.0} MB of entries for the largest policy", {
        fs::metadata(&sealed)?.len() as f64 / 1e6
    });
    Ok(report::print("Appraise", &input, rounds, &results, &bars))
}

fn file(number: usize) -> (String, String) {
    (format!("/usr/lib/x86_64-linux-gnu/folder-{:04}/file-{number:07}.so", number / 500), format!("content {number}"))
}

/// Plain folders, wildcards within a name, alternatives; none takes a listed path.
fn exclude(number: usize) -> String {
    match number % 3 {
        0 => format!("/srv/folder-{number}"),
        1 => format!("/home/[^/]*/cache-{number}-[0-9]+\\.log"),
        _ => format!("/var/.*/(cache|tmp)-{number}\\.(db|idx)"),
    }
}

/// Checks of one quote, from the bytes of the key on.
fn quotes(kind: Kind) -> impl FnMut() -> Fallible<()> {
    let mut tpm = SoftTpm::new(kind);
    let selection = pcrs_0_to_10(&[HashAlgorithm::Sha256]);
    let (quote, area) = (tpm.quote(NONCE, &selection), tpm.public_area());
    move || {
        for _ in 0..QUOTES {
            let key = AttestationKey::from_public_area(&area).map_err(|error| error.to_string())?;
            let expected = ExpectedSelection::Exactly(&selection);
            let verified = key.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse);
            let values = read_pcr_blob(&quote.pcrs_blob).map_err(|error| error.to_string())?;
            let quoted =
                verified.map_err(|error| error.to_string())?.bind(values).map_err(|error| error.to_string())?;
            black_box(quoted);
        }
        Ok(())
    }
}

fn write_million(path: &Path) -> Fallible<()> {
    let mut golden = Golden::new();
    for number in 0..LISTED {
        let (path, contents) = file(number);
        golden.lists_file(&path, contents.as_bytes());
    }
    Ok(fs::write(path, golden.sealed())?)
}

/// Loads a sealed list as programs do: its head, then the rest as it comes.
pub(crate) fn ready(path: &Path) -> Fallible<Appraiser> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(u64::try_from(MAX_HEAD_LEN)?).read_to_end(&mut head)?;
    let now = Timestamp::parse(b"2026-07-01T00:00:00Z").ok_or("a time")?;
    let (admitted, head_len) = golden::admit(&head, now);
    file.seek(SeekFrom::Start(u64::try_from(head_len)?))?;
    let policy = admitted.load(BufReader::new(file)).map_err(|error| error.to_string())?;
    Ok(Appraiser::new(policy))
}

/// Once as a warm-up, then `rounds` times as many runs as make the kernel's count of processor time exact enough.
fn cpu_times(rounds: usize, mut run: impl FnMut() -> Fallible<()>) -> Fallible<Vec<Duration>> {
    let start = Instant::now();
    run()?;
    let runs = LONG_ENOUGH.as_nanos().div_ceil(start.elapsed().as_nanos().max(1));
    let runs = u32::try_from(runs)?.max(1);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = on_processor()?;
        for _ in 0..runs {
            run()?;
        }
        times.push(on_processor()?.saturating_sub(start) / runs);
    }
    Ok(times)
}

/// The kernel may count in ticks of up to 10 ms.
const LONG_ENOUGH: Duration = Duration::from_millis(800);

fn clock_times(rounds: usize, mut run: impl FnMut() -> Fallible<()>) -> Fallible<Vec<Duration>> {
    run()?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// How long this thread has been running (Documentation/scheduler/sched-stats.rst).
fn on_processor() -> Fallible<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split(' ').next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// The same list and digests through Keylime's own code, if it is installed in `target/bench/keylime`.
fn keylime(bench: &Path, folder: &Path, rounds: usize, machine: &Machine) -> Fallible<Option<Result>> {
    let python = bench.join("keylime/bin/python");
    if !python.exists() {
        return Ok(None);
    }
    let (list, digests) = (folder.join("list.ascii"), folder.join("digests"));
    let pcr = machine.tpm.pcr(HashAlgorithm::Sha256, 10).to_string();
    let (mut ascii, mut listed) = (String::new(), String::new());
    let bytes = machine.bytes();
    for entry in MeasurementList::parse(&bytes, &Limits::DEFAULT).map_err(|error| error.to_string())?.entries() {
        let fields = entry.fields().map_err(|error| error.to_string())?;
        let digest = fields.digest.and_then(|digest| digest.digest()).ok_or("an entry has a digest")?;
        let name = String::from_utf8_lossy(fields.name.unwrap_or_default());
        writeln!(ascii, "10 {} ima-ng {digest:?} {name}", hex::encode(entry.template_hash()))?;
        writeln!(listed, "{digest}  {name}")?;
    }
    fs::write(&list, ascii)?;
    fs::write(&digests, listed)?;
    let mut command = Command::new(python);
    command.arg(root().join("benches/keylime-ima.py")).arg(&list).arg(&digests).arg(pcr).arg(rounds.to_string());
    let output = command.output()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Ok(None);
    }
    let text = String::from_utf8(output.stdout)?;
    let seconds: std::result::Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    Ok(Some(Result::of("keylime, 100,000 entries", seconds?.into_iter().map(Duration::from_secs_f64).collect())))
}
