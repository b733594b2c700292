//! `goldseal import`: a flat whitelist or output of sha256sum becomes a list.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::header::MAX_ENTRIES_LEN;
use goldseal_verifier_core::path::is_canonical;
use goldseal_verifier_core::provenance::{Fact, InputKind};

use crate::excluded::Excluded;
use crate::flat::{self, FlatList};
use crate::making::{ListArgs, Made, Making, United};

/// Make a list of a flat whitelist or of output of sha256sum
///
/// A digest and a path a line, as sha1sum, sha256sum, sha384sum and sha512sum write it, and Keylime's list-making
/// scripts. The algorithm follows from the digest's length. What is no file becomes a rule: boot_aggregate,
/// %keyring:NAME, %ima-buf:NAME, and the kernel's own buffers such as kernel_version.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal import whitelist.txt --exclude /var/log --seal golden.key -o prod.whitelist
  (cd /opt/app && sha256sum bin/*) | goldseal import /dev/stdin --prefix /opt/app -o app.whitelist

Exit codes: 0 done, 2 usage, a bad pattern or rule, or an empty list, 3 the file cannot be read or
a line not be taken.")]
pub struct Args {
    /// The flat whitelist
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The folder that relative names are below, from / on [default: they are errors]
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// What every list has
    #[command(flatten)]
    pub list_args: ListArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for a file or line that cannot be taken.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { file, prefix, list_args } = args;
    let quiet = list_args.quiet;
    let prefix = prefix.as_deref().map(folder).transpose()?;
    let bytes = input::read_file(&file, MAX_ENTRIES_LEN)?;
    let FlatList { mut entries, rules } = flat::parse_file(&file, &bytes, prefix)?;
    let mut facts = vec![Fact::Input {
        kind: InputKind::Flat,
        sha256: Some(Digest::sha256(&bytes)),
        files: entries.len() as u64,
        bytes: bytes.len() as u64,
        name: file.as_os_str().as_bytes().to_vec(),
    }];
    drop(bytes);
    let making = Making::prepare(list_args, United::default(), &[&file], ui)?;
    let mut excluded = Excluded::new(making.excludes());
    entries.retain(|(path, _)| !excluded.take(path));
    for (line, fact) in excluded.into_facts() {
        if !quiet {
            ui.note(line);
        }
        facts.push(fact);
    }
    let found: BTreeSet<HashAlgorithm> = entries.iter().map(|(_, digest)| digest.digest().algorithm()).collect();
    let algorithms = if found.is_empty() { vec![HashAlgorithm::Sha256] } else { found.into_iter().collect() };
    making.finish(Made { entries, algorithms, facts, rules }, ui)
}

/// `--prefix` without its trailing slash; `/` becomes nothing.
fn folder(prefix: &Path) -> Result<&[u8], Failure> {
    let bytes = prefix.as_os_str().as_bytes();
    let folder = bytes.strip_suffix(b"/").unwrap_or(bytes);
    if bytes == b"/" || is_canonical(folder) {
        return Ok(folder);
    }
    Err(Failure::usage(
        format!("--prefix {} is not a folder as the machine has it", Printable(bytes)),
        "write it from / on, without `.` and `..`, such as /opt/app",
    ))
}
