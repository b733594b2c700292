//! Verifying a large list, beside hashing the same file; and refusing it by its head, of which nothing else is read.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::contest::{self, Contestant};
use crate::report::{self, Bar};
use crate::{Bench, Fallible};

const LINES: u64 = 2_000_000;

pub(crate) fn run(bench: &Bench) -> Fallible<bool> {
    let folder = bench.folder.join("verify");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    let folder = folder.to_str().ok_or("the folder's path is not UTF-8")?;
    let [flat, list, key, public] =
        ["flat", "bench.whitelist", "key", "key.pub"].map(|name| format!("{folder}/{name}"));
    write_flat(Path::new(&flat))?;
    contest::succeed(&mut bench.goldseal(&["import", &flat, "-o", &list, "--seal-new", &key, "--no-passphrase"]))?;

    let bad = format!("{folder}/bad.whitelist");
    fs::copy(&list, &bad)?;
    change_version(Path::new(&bad))?;
    let mut refuse = bench.goldseal(&["verify", &bad, "--trust", &public]);
    // What it has to say about it.
    refuse.stderr(Stdio::null());

    let verify = || bench.goldseal(&["verify", &list, "--trust", &public]);
    let mut dgst = Command::new("openssl");
    dgst.args(["dgst", "-sha256", &list]);
    let mut contestants = [
        Contestant::new("openssl dgst", dgst),
        Contestant::new("goldseal verify", verify()),
        Contestant::new("goldseal verify, badly signed", refuse).that_exits(1),
    ];
    let results = contest::run(&mut contestants, bench.rounds)?;
    let memory = contest::peak_memory(&mut verify())?;
    let size = fs::metadata(&list)?.len();
    let [openssl, ours, refused] = results.as_slice() else { return Err("a contestant is missing".into()) };
    let bars =
        [Bar::ratio(ours, openssl, 1.6), Bar::memory(&ours.name, memory, size * 13 / 10), Bar::time(refused, 5.0)];
    let input = format!("{LINES} lines, {:.0} MB, canonical form checked", size as f64 / 1e6);
    Ok(report::print("Verify", &input, bench.rounds, &results, &bars))
}

/// Another version than the one that was signed.
fn change_version(list: &Path) -> Fallible<()> {
    let file = OpenOptions::new().read(true).write(true).open(list)?;
    let mut head = [0; 256];
    file.read_exact_at(&mut head, 0)?;
    let line = b"\nversion: 1\n";
    let at = head.windows(line.len()).position(|bytes| bytes == line).ok_or("the list has no version 1")?;
    Ok(file.write_all_at(b"\nversion: 2\n", at as u64)?)
}

/// `sha256sum` output with paths of usual length and digests that do not compress; the same every time.
fn write_flat(path: &Path) -> Fallible<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for line in 0..LINES {
        for _ in 0..4 {
            // Xorshift64 (Marsaglia 2003).
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            write!(file, "{random:016x}")?;
        }
        writeln!(file, "  /usr/lib/x86_64-linux-gnu/folder-{:04}/file-{line:07}.so", line / 500)?;
    }
    Ok(file.flush()?)
}
