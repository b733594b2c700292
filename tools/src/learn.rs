//! What a measurement list teaches: entries of its files, and the rules without which a machine that shows it would be
//! rejected. It is what ran on one machine, not what is good, and whoever makes a list of it says so.
//!
//! Promises: nothing is learned that no digest pins. A violation, a name without a path and a digest of an unknown
//! algorithm become warnings, never rules or entries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use goldseal_cli::evidence;
use goldseal_cli::failure::Failure;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::ima::boot_aggregate;
use goldseal_verifier_core::ima::entry::Entry;
use goldseal_verifier_core::ima::fields::{DigestKind, FieldDigest, Fields};
use goldseal_verifier_core::ima::list::MeasurementList;
use goldseal_verifier_core::ima::replay::IMA_PCR;
use goldseal_verifier_core::path::is_canonical;
use goldseal_verifier_core::rules::{DEFAULT_TEMPLATES, Label, Rule};

/// Most warnings about single entries; all are counted. A hostile list must not make a section of provenance overflow.
const MAX_WARNINGS: usize = 1_000;

/// The kernel's template of measured buffers.
pub const BUFFER_TEMPLATE: &[u8] = b"ima-buf";

/// What one measurement list teaches.
#[derive(Debug)]
pub struct Learned {
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Length of the file.
    pub len: u64,
    /// Files with their digests, each once.
    pub entries: Vec<(Vec<u8>, FileDigest)>,
    /// Rules for what is no file.
    pub rules: Vec<Rule>,
    /// Templates of its files: see [`template_rules`].
    pub templates: BTreeSet<Vec<u8>>,
    /// What a signer should know.
    pub warnings: Vec<String>,
}

impl Learned {
    /// Reads a measurement list, binary or ASCII. No quote confirms it.
    ///
    /// # Errors
    /// `bad-list`, `unreadable`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = evidence::read_ima_log(path)?;
        let list =
            MeasurementList::parse(&bytes, &evidence::LIMITS).map_err(|error| evidence::bad_list(path, &error))?;
        let mut learning = Learning::default();
        let mut is_first = true;
        for (number, entry) in (1..).zip(list.entries()) {
            let first = entry.claimed_pcr() == IMA_PCR && std::mem::take(&mut is_first);
            learning.learn(number, &entry, first);
        }
        Ok(learning.finish(path, &bytes))
    }
}

#[derive(Default)]
struct Learning {
    entries: BTreeMap<Vec<u8>, Vec<FileDigest>>,
    rules: Vec<Rule>,
    /// Of files.
    templates: BTreeSet<Vec<u8>>,
    violations: u64,
    sha1: u64,
    warnings: Vec<String>,
    unsaid: u64,
}

impl Learning {
    fn learn(&mut self, number: u64, entry: &Entry<'_>, is_first: bool) {
        if entry.is_violation() {
            self.violations += 1;
            return;
        }
        let fields = match entry.fields() {
            Ok(fields) => fields,
            Err(error) => return self.warn(number, &error.to_string()),
        };
        let Some((name, digest)) = fields.name.zip(fields.digest) else {
            return self.warn(number, "its template tells of no file");
        };
        if entry.claimed_template() == BUFFER_TEMPLATE {
            return self.buffer(number, name, &fields);
        }
        if name == boot_aggregate::NAME {
            self.boot_aggregate(number, digest, is_first);
        } else {
            self.file(number, name, digest);
        }
        self.templates.insert(entry.claimed_template().to_vec());
    }

    fn boot_aggregate(&mut self, number: u64, digest: FieldDigest<'_>, is_first: bool) {
        match digest.digest() {
            _ if !is_first => self.warn(number, "a boot_aggregate that is not the first entry is not learned"),
            Some(digest) if digest.is_zero() => {
                self.warn(number, "the boot_aggregate is all zeros, as without a TPM, and is not learned");
            }
            Some(digest) => self.rules.push(Rule::BootAggregate(digest)),
            None => self.warn(number, "the boot_aggregate is of an unknown algorithm and not learned"),
        }
    }

    fn buffer(&mut self, number: u64, name: &[u8], fields: &Fields<'_>) {
        let digest = fields.digest.and_then(|digest| digest.digest()).filter(|_| fields.digest_is_of_buffer());
        match Label::new(name).zip(digest) {
            Some((label, digest)) => self.rules.push(buffer_rule(label, digest)),
            None => self
                .warn(number, &format!("the buffer {} is not what its digest says, and not learned", Printable(name))),
        }
    }

    fn file(&mut self, number: u64, name: &[u8], field: FieldDigest<'_>) {
        if !is_canonical(name) {
            return self.warn(number, &format!("{} is not a whole path, and not listed", Printable(name)));
        }
        let digest = match (field.kind, field.digest()) {
            (DigestKind::Contents, Some(digest)) => FileDigest::Contents(digest),
            (DigestKind::Verity, Some(digest)) => FileDigest::Verity(digest),
            _ => {
                return self
                    .warn(number, &format!("{} has a digest of an unknown kind, and is not listed", Printable(name)));
            }
        };
        if digest.digest().is_zero() {
            return self.warn(number, &format!("{} has a digest of zeros, and is not listed", Printable(name)));
        }
        let digests = self.entries.entry(name.to_vec()).or_default();
        if !digests.contains(&digest) {
            digests.push(digest);
            self.sha1 += u64::from(digest.digest().algorithm() == HashAlgorithm::Sha1);
        }
    }

    fn warn(&mut self, number: u64, text: &str) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(format!("entry {number}: {text}"));
        } else {
            self.unsaid += 1;
        }
    }

    fn finish(mut self, path: &Path, bytes: &[u8]) -> Learned {
        let mut about_all = Vec::new();
        if self.violations > 0 {
            about_all.push(format!(
                "{} violations: nothing is learned of them, and they are rejected without the rule `violation report`",
                self.violations
            ));
        }
        if self.sha1 > 0 {
            about_all.push(format!(
                "{} files have SHA-1 digests: they prove nothing without the rule `accept-digest sha1`",
                self.sha1
            ));
        }
        let several = self.entries.values().filter(|digests| digests.len() > 1).count();
        if several > 0 {
            about_all.push(format!("{several} files were measured with more than one digest; all are listed"));
        }
        if self.unsaid > 0 {
            about_all.push(format!("{} more entries were not learned", self.unsaid));
        }
        about_all.append(&mut self.warnings);
        let pairs =
            |(path, digests): (Vec<u8>, Vec<FileDigest>)| digests.into_iter().map(move |digest| (path.clone(), digest));
        let entries = self.entries.into_iter().flat_map(pairs).collect();
        Learned {
            path: path.to_owned(),
            sha256: Digest::sha256(bytes),
            len: bytes.len() as u64,
            entries,
            rules: self.rules,
            templates: self.templates,
            warnings: about_all,
        }
    }
}

/// The rules without which some template would not be allowed: none if all of them are default ones and no rule there is
/// replaces those (docs/format.md, Rules). What stands in `united` is of lists, of which some may go by the default set.
pub fn template_rules(learned: &[Learned], united: &[Rule], default_set_in_use: bool) -> Vec<Rule> {
    let seen: BTreeSet<&Vec<u8>> = learned.iter().flat_map(|learned| &learned.templates).collect();
    let is_default = |template: &&Vec<u8>| DEFAULT_TEMPLATES.iter().any(|known| known.as_bytes() == **template);
    let are_default = seen.iter().all(is_default);
    if are_default && !united.iter().any(|rule| matches!(rule, Rule::Template(_))) {
        return Vec::new();
    }
    let defaults = DEFAULT_TEMPLATES.iter().filter(|_| default_set_in_use).map(|name| name.as_bytes());
    let names = seen.into_iter().map(Vec::as_slice).chain(defaults);
    // A list's entries have fields only if their template is one that a rule can name.
    names.filter_map(|name| Rule::parse(&[b"template ", name].concat()).ok()).collect()
}

/// The rule that admits a measured buffer: of a keyring, whose names begin with `.` or `_`, or of another kind. Both admit
/// the same.
pub fn buffer_rule(label: Label, digest: Digest) -> Rule {
    if label.as_str().starts_with(['.', '_']) {
        Rule::Keyring { label, digest }
    } else {
        Rule::Buffer { label, digest }
    }
}
