//! Reading a tree with all cores, beside reading it without hashing and beside sha256sum.

use std::fs;
use std::path::{Path, PathBuf};

use crate::contest::{self, Contestant};
use crate::report::{self, Bar};
use crate::{Bench, Fallible};

/// A tree is at least this large.
const MIN_FILES: u64 = 80_000;
const MIN_BYTES: u64 = 3_000_000_000;

/// Of what a copy of /usr is made: copies of these, until it is large enough.
const SOURCE: &str = "/usr";

const MAX_MEMORY: u64 = 100_000_000;

pub(crate) fn run(bench: &Bench, given: Option<&Path>) -> Fallible<bool> {
    let tree = tree(bench, given)?;
    let size = Size::of(&tree)?;
    let path = tree.to_str().ok_or("the tree's path is not UTF-8")?;
    let output = bench.folder.join("tree.whitelist");
    let output = output.to_str().ok_or("the output's path is not UTF-8")?;
    let build = |hash: &str| {
        bench.goldseal(&["build", "--quiet", "--name", "bench", "--force", "--hash", hash, "-o", output, path])
    };
    let xargs = |command: &str| format!("find \"$1\" -type f -print0 | xargs -0 -P$(nproc) -n64 {command} >/dev/null");

    let mut contestants = vec![
        Contestant::shell("cat", &xargs("cat"), path),
        Contestant::new("goldseal sha256", build("sha256")),
        Contestant::new("goldseal sha1,sha256", build("sha1,sha256")),
        Contestant::shell("sha256sum", &xargs("sha256sum"), path),
    ];
    if contest::is_installed("hashdeep") {
        contestants.push(Contestant::shell("hashdeep", "hashdeep -c sha256 -r \"$1\" >/dev/null", path));
    }
    let results = contest::run(&mut contestants, bench.rounds)?;
    let memory = contest::peak_memory(&mut build("sha256"))?;
    let [cat, one, both, sha256sum, ..] = results.as_slice() else { return Err("a contestant is missing".into()) };
    let bars = [
        Bar::ratio(one, cat, 1.05),
        Bar::ratio(one, sha256sum, 0.4),
        Bar::ratio(both, one, 1.7),
        Bar::memory(&one.name, memory, MAX_MEMORY),
    ];
    let input = format!("{} files, {:.2} GB", size.files, size.bytes as f64 / 1e9);
    Ok(report::print("Tree", &input, bench.rounds, &results, &bars))
}

/// The tree given, or one made of copies and kept for the next run.
pub(crate) fn tree(bench: &Bench, given: Option<&Path>) -> Fallible<PathBuf> {
    if let Some(given) = given {
        return Ok(fs::canonicalize(given)?);
    }
    let tree = bench.folder.join("tree");
    let complete = bench.folder.join("tree.complete");
    if !complete.exists() {
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        let mut size = Size::default();
        for copy in 0.. {
            eprintln!("copying {SOURCE} to {}", tree.join(copy.to_string()).display());
            copy_tree(Path::new(SOURCE), &tree.join(copy.to_string()), &mut size)?;
            if size.is_enough() {
                break;
            }
        }
        fs::write(&complete, "")?;
    }
    Ok(tree)
}

#[derive(Default)]
struct Size {
    files: u64,
    bytes: u64,
}

impl Size {
    fn of(folder: &Path) -> Fallible<Self> {
        let mut size = Self::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let below = Self::of(&entry.path())?;
                size.files += below.files;
                size.bytes += below.bytes;
            } else if kind.is_file() {
                size.files += 1;
                size.bytes += entry.metadata()?.len();
            }
        }
        Ok(size)
    }

    fn is_enough(&self) -> bool {
        self.files >= MIN_FILES && self.bytes >= MIN_BYTES
    }
}

/// Copies regular files until there are enough; what cannot be read is left out.
fn copy_tree(from: &Path, to: &Path, size: &mut Size) -> Fallible<()> {
    fs::create_dir_all(to)?;
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if size.is_enough() {
            break;
        } else if kind.is_dir() {
            copy_tree(&entry.path(), &target, size)?;
        } else if kind.is_file()
            && let Ok(bytes) = fs::copy(entry.path(), target)
        {
            size.files += 1;
            size.bytes += bytes;
        }
    }
    Ok(())
}
