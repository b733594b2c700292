//! What 2,000 exclude patterns cost on a tree: nothing that is seen.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::contest::{self, Contestant};
use crate::report::{self, Bar};
use crate::{Bench, Fallible, tree};

const PATTERNS: usize = 2_000;

/// Compiling 2,000 patterns takes 0.1 s once; what is left of this is for matching.
const MOST: f64 = 1.25;

pub(crate) fn run(bench: &Bench, given: Option<&Path>) -> Fallible<bool> {
    let tree = tree::tree(bench, given)?;
    let path = tree.to_str().ok_or("the tree's path is not UTF-8")?;
    let list = bench.folder.join("excludes");
    let mut patterns = String::new();
    for number in 0..PATTERNS {
        // Plain folders, wildcards within a name, alternatives: what such files hold. None takes anything.
        match number % 3 {
            0 => writeln!(patterns, "{path}/no-such-folder-{number}/")?,
            1 => writeln!(patterns, "{path}/[^/]*/no-such-{number}-[0-9]+\\.log")?,
            _ => writeln!(patterns, "{path}/.*/(cache|tmp)-{number}\\.(db|idx)")?,
        }
    }
    fs::write(&list, patterns)?;
    let list = list.to_str().ok_or("the list's path is not UTF-8")?;
    let output = bench.folder.join("excludes.whitelist");
    let output = output.to_str().ok_or("the output's path is not UTF-8")?;
    let common = ["build", "--quiet", "--name", "bench", "--force", "-o", output, path];
    let mut contestants = [
        Contestant::new("no pattern", bench.goldseal(&common)),
        Contestant::new("2,000 patterns", bench.goldseal(&[&common[..], &["--excludes", list]].concat())),
    ];
    let results = contest::run(&mut contestants, bench.rounds)?;
    let [none, many] = results.as_slice() else { return Err("a contestant is missing".into()) };
    let bars = [Bar::ratio(many, none, MOST)];
    Ok(report::print("Excludes", path, bench.rounds, &results, &bars))
}
