//! All inputs of a build, read and united: trees and images in parallel, lists, and what is to be said about them.
//!
//! Nothing here depends on the order of arguments, on the number of threads, or on the machine: paths are sorted, and
//! facts name inputs as they were typed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::file_identity::FileIdentity;
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_cli::trusted::{self, TrustArgs};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::excludes::Excludes;
use goldseal_verifier_core::header::MAX_ENTRIES_LEN;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::path;
use goldseal_verifier_core::provenance::{Fact, GapReason, InputKind};
use goldseal_verifier_core::rules::Rule;
use goldseal_verifier_core::trust::{AuthenticateError, TrustRoot};
use rayon::prelude::*;
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use crate::excluded::Excluded;
use crate::flat::{self, FlatList};
use crate::initramfs::{self, Unpacked};
use crate::learn::{self, Learned};
use crate::making::{Made, United, union};
use crate::measured::MeasuredFile;
use crate::progress::Bar;
use crate::tree::{self, Progress, Reason, Scope, Source};
use crate::unverified_list;

/// Largest image that is read: loaders hold it in memory at boot, and real ones stay below a few hundred megabytes.
const MAX_IMAGE_LEN: u64 = 4 << 30;

/// Longest warning in bytes: with every byte escaped it still fits a line of provenance, and the names in it may be
/// all escapes.
const MAX_WARNING_LEN: usize = 4 << 10;

/// How many names of one kind the summary spells out; all of them stand in the list's provenance.
const NAMED: usize = 10;

/// The inputs as typed.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Folders that are the target's `/`.
    pub roots: &'a [PathBuf],
    /// Folders and files listed under their own paths.
    pub paths: &'a [PathBuf],
    /// `TARGET=DIR`.
    pub at: &'a [OsString],
    /// Images.
    pub images: &'a [PathBuf],
    /// Lists.
    pub lists: &'a [PathBuf],
    /// Measurement lists.
    pub ima_logs: &'a [PathBuf],
    /// Whose seals the lists must have.
    pub trust: &'a TrustArgs,
    /// Do not skip volatile folders.
    pub all_directories: bool,
}

/// The inputs, found and, where they are lists, read.
#[derive(Debug)]
pub struct Sources<'a> {
    trees: Vec<(InputKind, Vec<u8>, Source)>,
    images: &'a [PathBuf],
    lists: Vec<ListSource<'a>>,
    learned: Vec<Learned>,
}

/// A list that is a source: what it says of itself, and what it says of files.
#[derive(Debug)]
struct ListSource<'a> {
    path: &'a Path,
    kind: InputKind,
    /// Its identity, or SHA-256 of a flat one.
    sha256: Digest,
    len: u64,
    said: Said,
}

#[derive(Debug)]
enum Said {
    Sealable(Box<UnverifiedList>),
    Flat(FlatList),
}

impl<'a> ListSource<'a> {
    fn open(path: &'a Path, trust: Option<&TrustRoot>) -> Result<Self, Failure> {
        if flat::is_flat(path)? {
            if trust.is_some() {
                return Err(trusted::not_authentic(path, Exit::Input, &AuthenticateError::Unsealed));
            }
            let bytes = input::read_file(path, MAX_ENTRIES_LEN)?;
            let (sha256, len) = (Digest::sha256(&bytes), bytes.len() as u64);
            let said = Said::Flat(flat::parse_file(path, &bytes, None)?);
            return Ok(Self { path, kind: InputKind::Flat, sha256, len, said });
        }
        let list = unverified_list::read(path)?;
        let kind = match trust {
            None => InputKind::List,
            Some(root) => {
                unverified_list::check_seal(path, &list, root)?;
                InputKind::SealedList
            }
        };
        let (sha256, len) = (list.envelope().identity().digest(), list.contents().body().len() as u64);
        Ok(Self { path, kind, sha256, len, said: Said::Sealable(Box::new(list)) })
    }
}

impl<'a> Sources<'a> {
    /// Finds trees and reads lists, so that a mistyped name is known before the long work.
    ///
    /// # Errors
    /// `unreadable`, `malformed`, or a list whose seal is not as asked (exit 3); `usage` for a malformed `--at`.
    pub fn open(asked: &Asked<'a>) -> Result<Self, Failure> {
        let mut trees = Vec::new();
        let found = |source: Result<Source, tree::Error>| {
            let source = source.map_err(|error| tree_failure(&error))?;
            Ok::<Source, Failure>(if asked.all_directories { source.with_volatile() } else { source })
        };
        for root in asked.roots {
            trees.push((InputKind::Root, root.as_os_str().as_bytes().to_vec(), found(Source::root(root))?));
        }
        for path in asked.paths {
            let source = found(Source::path(path))?;
            trees.push((InputKind::Path, source.target().to_vec(), source));
        }
        for at in asked.at {
            let equals = at.as_bytes().iter().position(|byte| *byte == b'=').ok_or_else(|| {
                Failure::usage(format!("--at {} has no `=`", Printable(at.as_bytes())), "write --at TARGET=DIR")
            })?;
            let (target, dir) = (&at.as_bytes()[..equals], OsStr::from_bytes(&at.as_bytes()[equals + 1..]));
            let source = found(Source::at(target, Path::new(dir)))?;
            trees.push((InputKind::Path, at.as_bytes().to_vec(), source));
        }
        let trust = asked.trust.root()?;
        let mut lists = Vec::new();
        for path in asked.lists {
            lists.push(ListSource::open(path, trust.as_ref())?);
        }
        let learned = asked.ima_logs.iter().map(|path| Learned::read(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { trees, images: asked.images, lists, learned })
    }

    /// Excludes and rules of the lists, and the rules that measurement lists teach.
    pub fn united(&self) -> United {
        let mut united = United::default();
        united.rules.extend(self.learned.iter().flat_map(|learned| learned.rules.iter().cloned()));
        for source in &self.lists {
            match &source.said {
                Said::Sealable(list) => {
                    united.excludes.extend(list.contents().excludes().patterns().iter().cloned());
                    united.rules.extend(list.contents().rules().as_slice().iter().cloned());
                }
                Said::Flat(list) => united.rules.extend(list.rules.iter().cloned()),
            }
        }
        if !self.learned.is_empty() {
            let goes_by_default = |source: &ListSource<'_>| match &source.said {
                Said::Sealable(list) => {
                    let rules = list.contents().rules().as_slice();
                    !rules.iter().any(|rule| matches!(rule, Rule::Template(_)))
                }
                Said::Flat(_) => true,
            };
            let default_set_in_use = self.lists.iter().any(goes_by_default);
            united.rules.extend(learn::template_rules(&self.learned, &united.rules, default_set_in_use));
        }
        united
    }

    /// Sources that are a file of their own.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.trees.iter().map(|(_, _, source)| source.dir()).filter(|dir| dir.is_file())
    }
}

/// How to read the inputs.
#[derive(Debug)]
pub struct Options<'a> {
    /// Digests wanted.
    pub algorithms: &'a [HashAlgorithm],
    /// Which files of trees.
    pub scope: Scope,
    /// Whether to enter other file systems.
    pub cross_filesystems: bool,
    /// Whether to go on where something cannot be read.
    pub keep_going: bool,
    /// Folders under which files of trees are listed once more.
    pub extra_prefixes: &'a [Vec<u8>],
    /// What is left out.
    pub excludes: &'a Excludes,
    /// Files never to list.
    pub never: &'a [FileIdentity],
}

/// The folders of `--extra-prefix`.
///
/// # Errors
/// `usage`, if one is not an absolute canonical path.
pub fn prefixes(typed: &[String]) -> Result<Vec<Vec<u8>>, Failure> {
    let check = |prefix: &String| {
        let folder = prefix.strip_suffix('/').unwrap_or(prefix).as_bytes().to_vec();
        if path::is_canonical(&folder) {
            return Ok(folder);
        }
        Err(Failure::usage(
            format!("--extra-prefix {} is not an absolute path", Printable(prefix.as_bytes())),
            "write it as the kernel would, such as /sysroot",
        ))
    };
    typed.iter().map(check).collect()
}

/// What every list that was learned says of itself.
const WHAT_RAN: &str =
    "learned from a measurement list: what ran on one machine, not what is good, and no quote confirms it";

/// What all inputs gave.
#[derive(Debug)]
pub struct Gathered {
    /// What goes into the list.
    pub made: Made,
    /// Lines for people: what was left out, and what looks wrong.
    pub notes: Vec<String>,
    /// Lines for people, of which nobody can ask to be spared: what is missing.
    pub missing: Vec<String>,
    /// Files read.
    pub files: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

impl Gathered {
    /// Fields of the `--json` object.
    pub fn json(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("files".into(), json!(self.files));
        fields.insert("bytes".into(), json!(self.bytes));
        fields.insert("notes".into(), json!(self.notes));
        fields
    }
}

/// Reads everything, in the current rayon pool.
///
/// # Errors
/// The first input that cannot be read or is malformed.
pub fn gather(sources: &Sources<'_>, options: &Options<'_>, bar: &Bar) -> Result<Gathered, Failure> {
    let (trees, images) = rayon::join(
        || read_trees(sources, options, bar),
        || sources.images.par_iter().map(|image| read_image(image, options, bar)).collect::<Result<Vec<_>, _>>(),
    );
    // What nothing is hashed with is no algorithm of the list: renewing one must not change it.
    let hashed = !sources.trees.is_empty()
        || !sources.images.is_empty()
        || (sources.lists.is_empty() && sources.learned.is_empty());
    let mut union = Union::new(options, if hashed { options.algorithms } else { &[] });
    union.add_trees(sources, trees?);
    for image in images? {
        union.add_image(image);
    }
    for list in &sources.lists {
        union.add_list(list);
    }
    for learned in &sources.learned {
        union.add_learned(learned);
    }
    Ok(union.finish())
}

fn read_trees(sources: &Sources<'_>, options: &Options<'_>, bar: &Bar) -> Result<tree::Tree, Failure> {
    let trees: Vec<Source> = sources.trees.iter().map(|(_, _, source)| source.clone()).collect();
    let options = tree::Options {
        algorithms: options.algorithms,
        scope: options.scope,
        cross_filesystems: options.cross_filesystems,
        keep_going: options.keep_going,
        excluded: &|path| options.excludes.takes(path),
        never: options.never,
    };
    tree::read(&trees, &options, bar).map_err(|error| tree_failure(&error))
}

struct Image<'a> {
    path: &'a Path,
    kind: InputKind,
    sha256: Digest,
    len: u64,
    unpacked: Unpacked,
}

fn read_image<'a>(path: &'a Path, options: &Options<'_>, bar: &Bar) -> Result<Image<'a>, Failure> {
    let bytes = input::read_file(path, MAX_IMAGE_LEN)?;
    bar.expect_bytes(bytes.len() as u64);
    let (sha256, unpacked) = rayon::join(
        || Digest::sha256(&bytes),
        || initramfs::read(&bytes, options.algorithms, &initramfs::Limits::default(), &|count| bar.bytes(count)),
    );
    let unpacked = unpacked.map_err(|error| {
        Failure::malformed(
            format!("{}: {error}", Printable::path(path)),
            "check the name, or make the image again; a golden list must hold what the kernel would really run",
        )
    })?;
    let kind = if bytes.starts_with(b"MZ") { InputKind::Uki } else { InputKind::Initramfs };
    Ok(Image { path, kind, sha256, len: bytes.len() as u64, unpacked })
}

fn tree_failure(error: &tree::Error) -> Failure {
    match error {
        tree::Error::Target { .. } => {
            Failure::usage(error.to_string(), "write the path as the kernel would, such as /opt/app")
        }
        tree::Error::Source { path, errno } => input::cannot_read(path, &(*errno).into()),
        tree::Error::Incomplete { .. } => Failure::unreadable(
            error.to_string(),
            "mend it, leave it out with --exclude, or say --keep-going for a list that names what it lacks",
        ),
        _ => Failure::unreadable(error.to_string(), "check the name"),
    }
}

/// What one input said about one path.
struct Claim {
    path: Vec<u8>,
    input: usize,
    digest: FileDigest,
}

/// Puts inputs together.
struct Union<'a> {
    options: &'a Options<'a>,
    inputs: usize,
    claims: Vec<Claim>,
    facts: Vec<Fact>,
    excluded: Excluded<'a>,
    algorithms: Vec<HashAlgorithm>,
    notes: Vec<String>,
    missing: Vec<String>,
    files: u64,
    bytes: u64,
}

impl<'a> Union<'a> {
    fn new(options: &'a Options<'a>, algorithms: &[HashAlgorithm]) -> Self {
        Self {
            options,
            inputs: 0,
            claims: Vec::new(),
            facts: Vec::new(),
            excluded: Excluded::new(options.excludes),
            algorithms: algorithms.to_vec(),
            notes: Vec::new(),
            missing: Vec::new(),
            files: 0,
            bytes: 0,
        }
    }

    fn add_trees(&mut self, sources: &Sources<'_>, tree: tree::Tree) {
        for ((kind, name, source), counts) in sources.trees.iter().zip(&tree.counts) {
            let sha256 = source.dir().is_file().then(|| sha256_of(&tree.files, source.target())).flatten();
            let (files, bytes) = (counts.files, counts.bytes);
            self.files += files;
            self.bytes += bytes;
            self.facts.push(Fact::Input { kind: *kind, sha256, files, bytes, name: name.clone() });
        }
        self.name_all("skipped (--all-directories reads it)", &tree.skipped, Fact::Skipped);
        self.name_all(
            "other file system, not entered (--cross-filesystems enters it)",
            &tree.mount_points,
            Fact::MountPoint,
        );
        for gap in &tree.gaps {
            let reason = gap_reason(&gap.reason);
            let mut path = gap.path.clone();
            path.truncate(path::MAX_PATH_LEN);
            self.missing.push(format!("missing: {}: {}", Printable::path(&gap.host_path), gap.reason));
            self.facts.push(Fact::Gap { reason, path });
        }
        for path in &tree.lookalikes {
            self.warn(path, "is listed as a file; to list what is in it say --initramfs");
        }
        if tree.not_code > 0 {
            self.notes.push(format!("{} files left out: not code", tree.not_code));
        }
        self.excluded.extend(tree.excluded);
        let prefixes = self.options.extra_prefixes;
        // One file twice with different digests is two sources that differ.
        let mut previous: Option<Vec<u8>> = None;
        let mut repetition = 0;
        for MeasuredFile { path, digests } in tree.files {
            repetition = if previous.as_ref() == Some(&path) { repetition + 1 } else { 0 };
            // A copy under a prefix may meet a file that really is there.
            for (prefix, copies) in prefixes.iter().zip(1..) {
                let prefixed = [prefix, &path[..]].concat();
                if !self.excluded.take(&prefixed) {
                    self.claim_all(self.inputs + copies * sources.trees.len() + repetition, &prefixed, &digests);
                }
            }
            self.claim_all(self.inputs + repetition, &path, &digests);
            previous = Some(path);
        }
        self.inputs += (prefixes.len() + 1) * sources.trees.len();
    }

    fn add_image(&mut self, image: Image<'_>) {
        let name = image.path.as_os_str().as_bytes();
        let files = image.unpacked.files.len() as u64;
        let bytes = image.unpacked.segments.iter().map(|segment| segment.unpacked).sum();
        self.files += files;
        self.bytes += bytes;
        self.facts.push(Fact::Input {
            kind: image.kind,
            sha256: Some(image.sha256),
            files,
            bytes,
            name: name.to_vec(),
        });
        self.notes.push(format!(
            "{}: {files} files in {} segments ({} bytes)",
            Printable(name),
            image.unpacked.segments.len(),
            image.len
        ));
        for warning in &image.unpacked.warnings {
            self.warn(name, &warning.to_string());
        }
        for MeasuredFile { path, digests } in image.unpacked.files {
            if !self.excluded.take(&path) {
                self.claim_all(self.inputs, &path, &digests);
            }
        }
        self.inputs += 1;
    }

    fn add_list(&mut self, source: &ListSource<'_>) {
        let files = match &source.said {
            Said::Sealable(list) => {
                let algorithms = list.header().file_hash.algorithms().iter().copied();
                self.algorithms = union(&self.algorithms, algorithms);
                for entry in list.contents().entries() {
                    let digest = FileDigest::parse(entry.digest).expect("entries of a list were checked");
                    self.add_entry(&entry.path, digest);
                }
                list.contents().entry_count()
            }
            Said::Flat(list) => {
                let algorithms = list.entries.iter().map(|(_, digest)| digest.digest().algorithm());
                self.algorithms = union(&self.algorithms, algorithms);
                for (path, digest) in &list.entries {
                    self.add_entry(path, *digest);
                }
                list.entries.len() as u64
            }
        };
        let (kind, sha256, bytes) = (source.kind, Some(source.sha256), source.len);
        self.facts.push(Fact::Input { kind, sha256, files, bytes, name: source.path.as_os_str().as_bytes().to_vec() });
        if kind == InputKind::List {
            self.notes.push(format!("{}: its seal was not checked (--trust checks it)", Printable::path(source.path)));
        }
        self.inputs += 1;
    }

    fn add_learned(&mut self, learned: &Learned) {
        let algorithms = learned.entries.iter().map(|(_, digest)| digest.digest().algorithm());
        self.algorithms = union(&self.algorithms, algorithms);
        for (path, digest) in &learned.entries {
            self.add_entry(path, *digest);
        }
        let name = learned.path.as_os_str().as_bytes();
        self.facts.push(Fact::Input {
            kind: InputKind::ImaLog,
            sha256: Some(learned.sha256),
            files: learned.entries.len() as u64,
            bytes: learned.len,
            name: name.to_vec(),
        });
        let warnings = learned.warnings.iter().map(|text| warning(name, text));
        for (index, warning) in [warning(name, WHAT_RAN)].into_iter().chain(warnings).enumerate() {
            match index {
                // Nobody can ask to be spared this one.
                0 => self.missing.push(format!("WARNING: {warning}")),
                1..=NAMED => self.notes.push(format!("WARNING: {warning}")),
                _ => {}
            }
            self.facts.push(Fact::Warning(warning.into_bytes()));
        }
        if learned.warnings.len() > NAMED {
            let more = learned.warnings.len() - NAMED;
            self.notes.push(format!("WARNING: {}: … and {more} more, in the list's provenance", Printable(name)));
        }
        self.inputs += 1;
    }

    fn add_entry(&mut self, path: &[u8], digest: FileDigest) {
        if !self.excluded.take(path) {
            self.claims.push(Claim { path: path.to_vec(), input: self.inputs, digest });
        }
    }

    fn claim_all(&mut self, input: usize, path: &[u8], digests: &[Digest]) {
        let claim = |digest: &Digest| Claim { path: path.to_vec(), input, digest: FileDigest::Contents(*digest) };
        self.claims.extend(digests.iter().map(claim));
    }

    fn warn(&mut self, name: &[u8], text: &str) {
        let warning = warning(name, text);
        self.notes.push(format!("WARNING: {warning}"));
        self.facts.push(Fact::Warning(warning.into_bytes()));
    }

    fn name_all(&mut self, what: &str, paths: &[Vec<u8>], fact: impl Fn(Vec<u8>) -> Fact) {
        for (index, path) in paths.iter().enumerate() {
            match index {
                0..NAMED => self.notes.push(format!("{}: {what}", Printable(path))),
                NAMED => self.notes.push(format!("… and {} more: {what}", paths.len() - NAMED)),
                _ => {}
            }
            self.facts.push(fact(path.clone()));
        }
    }

    fn finish(mut self) -> Gathered {
        self.claims.par_sort_unstable_by(|a, b| (&a.path, a.input).cmp(&(&b.path, b.input)));
        let of_path = self.claims.chunk_by(|a, b| a.path == b.path);
        let conflicts: Vec<Vec<u8>> =
            of_path.filter(|claims| differ(claims)).map(|claims| claims[0].path.clone()).collect();
        self.name_all("inputs give it different digests; all are listed", &conflicts, Fact::Conflict);
        let Self { claims, mut algorithms, mut facts, mut notes, missing, files, bytes, excluded, .. } = self;
        if algorithms.is_empty() {
            // Of a list without entries.
            algorithms = self.options.algorithms.to_vec();
        }
        for (line, fact) in excluded.into_facts() {
            notes.push(line);
            facts.push(fact);
        }
        let entries = claims.into_iter().map(|claim| (claim.path, claim.digest)).collect();
        Gathered { made: Made { entries, algorithms, facts, rules: Vec::new() }, notes, missing, files, bytes }
    }
}

fn warning(name: &[u8], text: &str) -> String {
    let mut warning = format!("{}: {text}", Printable(name));
    warning.truncate(warning.floor_char_boundary(MAX_WARNING_LEN));
    warning
}

/// Whether two inputs give one path different digests under one algorithm. An input may give several.
fn differ(claims: &[Claim]) -> bool {
    let by_input: Vec<&[Claim]> = claims.chunk_by(|a, b| a.input == b.input).collect();
    by_input.len() > 1
        && HashAlgorithm::ALL.into_iter().any(|algorithm| {
            let digests = |claims: &[Claim]| -> BTreeSet<String> {
                let digests = claims.iter().filter(|claim| claim.digest.digest().algorithm() == algorithm);
                digests.map(|claim| claim.digest.to_string()).collect()
            };
            let mut sets = by_input.iter().map(|claims| digests(claims)).filter(|set| !set.is_empty());
            sets.next().is_some_and(|first| sets.any(|set| set != first))
        })
}

/// The digest of a source that is a file, unless another source gives the same path another one.
fn sha256_of(files: &[MeasuredFile], target: &[u8]) -> Option<Digest> {
    let first = files.partition_point(|file| file.path.as_slice() < target);
    let mut named = files[first..].iter().take_while(|file| file.path == target);
    let file = named.next().filter(|_| named.next().is_none())?;
    file.digests.iter().find(|digest| digest.algorithm() == HashAlgorithm::Sha256).copied()
}

fn gap_reason(reason: &Reason) -> GapReason {
    match reason {
        Reason::Unreadable(number) if *number == Errno::NOENT.raw_os_error() => GapReason::Vanished,
        Reason::Changed | Reason::NotRegular => GapReason::Changed,
        Reason::PathTooLong => GapReason::Path,
        _ => GapReason::Unreadable,
    }
}
