//! The result as Markdown: the machine, the medians, the ratios beside their bars.

use std::fs;
use std::process::Command;
use std::thread;

use crate::contest::Result;

/// A ratio or an amount and the most it may be.
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) found: f64,
    pub(crate) most: f64,
    pub(crate) unit: &'static str,
}

impl Bar {
    /// Median of one contestant over that of another.
    pub(crate) fn ratio(ours: &Result, theirs: &Result, most: f64) -> Self {
        let found = ours.median.as_secs_f64() / theirs.median.as_secs_f64();
        Self { what: format!("{} : {}", ours.name, theirs.name), found, most, unit: "×" }
    }

    /// Peak memory in bytes.
    pub(crate) fn memory(name: &str, found: u64, most: u64) -> Self {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        Self { what: format!("peak memory of {name}"), found: megabytes(found), most: megabytes(most), unit: "MB" }
    }

    /// Median wall time of one contestant in milliseconds.
    pub(crate) fn time(ours: &Result, most: f64) -> Self {
        let found = ours.median.as_secs_f64() * 1e3;
        Self { what: format!("time of {}", ours.name), found, most, unit: "ms" }
    }

    /// Median processor time of one piece of many, in microseconds.
    pub(crate) fn each(what: &str, pieces: f64, result: &Result, most: f64) -> Self {
        let found = result.median.as_secs_f64() * 1e6 / pieces;
        Self { what: format!("time of one {what}"), found, most, unit: "µs" }
    }

    fn is_met(&self) -> bool {
        self.found <= self.most
    }
}

/// Prints one benchmark; whether every bar was met.
pub(crate) fn print(title: &str, input: &str, rounds: usize, results: &[Result], bars: &[Bar]) -> bool {
    println!("## {title}\n\n{}; {rounds} rounds, in turn, warm.\nInput: {input}.\n", machine());
    println!("| contestant | median s | fastest s | slowest s |\n|---|---:|---:|---:|");
    for result in results {
        let [median, fastest, slowest] = [result.median, result.fastest, result.slowest].map(|time| time.as_secs_f64());
        println!("| {} | {median:.5} | {fastest:.5} | {slowest:.5} |", result.name);
    }
    println!("\n| what | found | bar | |\n|---|---:|---:|---|");
    for bar in bars {
        let verdict = if bar.is_met() { "ok" } else { "MISSED" };
        println!("| {} | {:.2} {unit} | {:.2} {unit} | {verdict} |", bar.what, bar.found, bar.most, unit = bar.unit);
    }
    println!();
    bars.iter().all(Bar::is_met)
}

/// Processor, cores, kernel and date.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let sha = field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "sha_ni"));
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().map(|output| output.stdout).unwrap_or_default();
    format!(
        "{}, {cores} cores, {}, Linux {}, {}",
        field("model name").unwrap_or_else(|| "unknown processor".to_owned()),
        if sha { "SHA-NI" } else { "no SHA-NI" },
        kernel.trim(),
        String::from_utf8_lossy(&date).trim()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bar_is_met_up_to_its_number() {
        let result = |seconds| {
            let time = Duration::from_secs(seconds);
            Result { name: String::new(), median: time, fastest: time, slowest: time }
        };
        assert!(Bar::ratio(&result(3), &result(2), 1.5).is_met());
        assert!(!Bar::ratio(&result(4), &result(2), 1.5).is_met());
        assert!(!Bar::memory("x", 2_000_000, 1_999_999).is_met());
        assert!(Bar::time(&result(1), 1_000.0).is_met());
        assert!(!Bar::time(&result(1), 999.0).is_met());
    }
}
