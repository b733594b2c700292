//! `goldseal build`: measures initramfs images, trees and other lists, and writes them as one whitelist.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use goldseal_cli::failure::Failure;
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::trusted::TrustArgs;
use goldseal_verifier_core::digest::HashAlgorithm;
use rayon::ThreadPoolBuilder;

use crate::gather::{self, Gathered, Sources};
use crate::making::{ListArgs, Making};
use crate::progress::Bar;
use crate::tree::Scope;

/// Measure initramfs images and file trees, and write one whitelist
///
/// Reads everything in parallel and in memory, needs no root and extracts nothing. The same inputs give the same bytes
/// on any machine. Without --seal or --seal-new the list is not sealed yet: see `goldseal sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  goldseal build --seal-new golden.key --no-passphrase \\
      -o golden.whitelist /usr/bin
  goldseal build --root /mnt/target --initramfs /mnt/target/boot/initrd.img \\
      --exclude /var/log --boot-aggregate any --expires 90d \\
      --seal golden.key -o prod-web.whitelist
  goldseal build --ima-log binary_runtime_measurements -o draft.whitelist

Exit codes:
  0  written
  1  written, but incomplete (--keep-going)
  2  usage, a bad pattern or rule, an empty list, or an output that must not be overwritten
  3  an input cannot be read or is refused, or the output cannot be written; nothing was written")]
pub struct Args {
    /// Folders and files of this machine, listed under their own absolute paths
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A folder that is the target's `/`; repeatable
    #[arg(long, value_name = "DIR")]
    root: Vec<PathBuf>,
    /// An initramfs image or a unified kernel image (UKI); repeatable
    #[arg(long, value_name = "FILE")]
    initramfs: Vec<PathBuf>,
    /// A folder or file that stands at TARGET on the machine, such as /opt/app=/media/usb/app; repeatable
    #[arg(long, value_name = "TARGET=DIR")]
    at: Vec<OsString>,
    /// A list, goldseal's or flat: its entries, excludes and rules are united with the others; repeatable
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// A measurement list, binary or ASCII: its files, boot_aggregate, buffers and templates are learned. It is what ran,
    /// not what is good; repeatable
    #[arg(long, value_name = "FILE")]
    ima_log: Vec<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Digests to list: some of sha1,sha256,sha384,sha512. A --list and an --ima-log bring their own
    #[arg(long, value_name = "ALGORITHMS", value_delimiter = ',', default_value = "sha256")]
    hash: Vec<Hash>,
    /// Which files of trees to list; images are always listed whole
    #[arg(long, value_enum, default_value = "all")]
    scope: ScopeArg,
    /// List every file of a tree also below this folder, as code run before switch_root is logged; repeatable
    #[arg(long, value_name = "FOLDER")]
    extra_prefix: Vec<String>,
    /// Threads to use, at most 1024 [default: one per core]
    // More than the largest machines have cores gain nothing, and cost memory before anything is read.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Enter other file systems mounted below
    #[arg(long)]
    cross_filesystems: bool,
    /// Do not skip /proc, /sys, /dev, /run and /tmp
    #[arg(long)]
    all_directories: bool,
    /// Write the list even if files cannot be read; they are named in it, and the exit code is 1
    #[arg(long)]
    keep_going: bool,
    /// What every list has
    #[command(flatten)]
    pub list_args: ListArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeArg {
    /// Every regular file
    All,
    /// Any execute bit, ELF magic, `#!`, or a kernel module's name
    Code,
}

/// Runs the command.
///
/// # Errors
/// A usage error, an input that cannot be read, or an output that cannot be written; then there is no list.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let quiet = args.list_args.quiet;
    let algorithms: Vec<HashAlgorithm> = HashAlgorithm::ALL
        .into_iter()
        .filter(|algorithm| args.hash.iter().any(|hash| hash.algorithm() == *algorithm))
        .collect();
    if args.list.is_empty() && args.trust.files().next().is_some() {
        return Err(Failure::usage("--trust and --trust-root are for lists, and there is no --list", "leave them out"));
    }
    let sources = Sources::open(&gather::Asked {
        roots: &args.root,
        paths: &args.paths,
        at: &args.at,
        images: &args.initramfs,
        lists: &args.list,
        ima_logs: &args.ima_log,
        trust: &args.trust,
        all_directories: args.all_directories,
    })?;
    let files: Vec<&Path> = args
        .initramfs
        .iter()
        .chain(&args.list)
        .chain(&args.ima_log)
        .map(PathBuf::as_path)
        .chain(args.trust.files())
        .collect();
    let inputs: Vec<&Path> = files.into_iter().chain(sources.files()).collect();
    let making = Making::prepare(args.list_args, sources.united(), &inputs, ui)?;

    let threads = args.jobs.map_or(0, usize::from);
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| {
        Failure::usage(format!("{threads} threads cannot be started: {error}"), "say a smaller --jobs")
    })?;
    let options = gather::Options {
        algorithms: &algorithms,
        scope: match args.scope {
            ScopeArg::All => Scope::All,
            ScopeArg::Code => Scope::Code,
        },
        cross_filesystems: args.cross_filesystems,
        keep_going: args.keep_going,
        extra_prefixes: &gather::prefixes(&args.extra_prefix)?,
        excludes: making.excludes(),
        never: &making.output_identities()?,
    };
    let bar = Bar::new(quiet);
    let gathered = pool.install(|| gather::gather(&sources, &options, &bar));
    bar.finish();
    let gathered = gathered?;
    for line in &gathered.missing {
        ui.note(line);
    }
    if !quiet {
        summarise(&gathered, started, ui);
    }
    let fields = gathered.json();
    let mut outcome = making.finish(gathered.made, ui)?;
    outcome.fields.extend(fields);
    Ok(outcome)
}

fn summarise(gathered: &Gathered, started: Instant, ui: Ui) {
    let Gathered { notes, files, bytes, .. } = gathered;
    for note in notes {
        ui.note(note);
    }
    let seconds = started.elapsed().as_secs_f64();
    ui.note(format_args!(
        "{files} files, {:.1} MB in {seconds:.1} s ({:.0} MB/s)",
        *bytes as f64 / 1e6,
        *bytes as f64 / 1e6 / seconds.max(0.001),
    ));
}

impl Hash {
    fn algorithm(self) -> HashAlgorithm {
        match self {
            Self::Sha1 => HashAlgorithm::Sha1,
            Self::Sha256 => HashAlgorithm::Sha256,
            Self::Sha384 => HashAlgorithm::Sha384,
            Self::Sha512 => HashAlgorithm::Sha512,
        }
    }
}
