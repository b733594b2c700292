//! The captures of testdata/captures: lists and PCRs of real kernels and TPMs, with what other programs said of them.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::pcr::PcrValues;

/// One reading of one machine: its list, and its PCRs at about the same time.
#[derive(Clone, Debug)]
pub struct Dump {
    /// Case and reading, as `ng-incremental/q1`.
    pub name: String,
    folder: PathBuf,
}

impl Dump {
    /// The dump of this name.
    pub fn of(name: &str) -> Self {
        let folder = root().join(name);
        assert!(folder.is_dir(), "{} has moved", folder.display());
        Self { name: name.to_owned(), folder }
    }

    /// All of them, in the order of their names.
    pub fn all() -> Vec<Self> {
        let folders = |folder: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.is_dir()).collect()
        };
        let dumps = folders(&root()).iter().flat_map(|case| folders(case)).collect::<Vec<_>>();
        let dumps = dumps.iter().filter(|dump| dump.join("binary_runtime_measurements").exists());
        let mut names: Vec<String> =
            dumps.map(|dump| dump.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names.len(), 26, "{names:?}");
        names.iter().map(|name| Self::of(name)).collect()
    }

    /// Path of a file of it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// A file of it.
    pub fn file(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|error| panic!("{}/{file}: {error}", self.name))
    }

    /// The binary list.
    pub fn list(&self) -> Vec<u8> {
        self.file("binary_runtime_measurements")
    }

    /// The list in ASCII.
    pub fn ascii(&self) -> Vec<u8> {
        self.file("ascii_runtime_measurements")
    }

    /// The algorithms of whose template hashes there is a list beside the plain one.
    pub fn variants(&self) -> Vec<HashAlgorithm> {
        let exists =
            |algorithm: &HashAlgorithm| self.path(&format!("binary_runtime_measurements_{algorithm}")).exists();
        HashAlgorithm::ALL.into_iter().filter(exists).collect()
    }

    /// A number that a file of it holds: `count` and `violations` of the kernel.
    pub fn number(&self, file: &str) -> usize {
        String::from_utf8(self.file(file)).unwrap().trim().parse().unwrap()
    }

    /// Its PCRs; `None` of a machine without a TPM. As tpm2_pcrread(1) printed them, or, where the list was read later than
    /// the quote, as tpm2_quote(1) wrote them beside it.
    pub fn pcrs(&self) -> Option<PcrValues> {
        let mut values = PcrValues::default();
        if let Ok(text) = fs::read_to_string(self.path("pcrs.yaml")) {
            // `  sha1:`, then `    0 : 0xABC`; the bank follows from the length.
            for (pcr, value) in text.lines().filter_map(|line| line.split_once(": 0x")) {
                let value = Digest::from_hex(value.to_lowercase().as_bytes()).unwrap();
                values.insert(pcr.trim().parse().unwrap(), value).unwrap();
            }
        } else {
            for (pcr, value) in quoted_blob(&fs::read(self.path("quote-rsa-all.pcrs")).ok()?) {
                values.insert(pcr, value).unwrap();
            }
        }
        assert!(values.banks().next().is_some(), "{}: no PCRs", self.name);
        Some(values)
    }

    /// The PCRs that goldseal quotes, 0 to 10, of some banks.
    pub fn quoted(&self, banks: &[HashAlgorithm]) -> PcrValues {
        let all = self.pcrs().unwrap();
        let mut quoted = PcrValues::default();
        for (pcr, value) in banks.iter().flat_map(|bank| all.pcrs(*bank)).filter(|(pcr, _)| *pcr <= 10) {
            quoted.insert(pcr, *value).unwrap();
        }
        quoted
    }
}

/// A dump of C structures, little-endian: TPML_PCR_SELECTION, a count, as many TPML_DIGEST of at most eight each.
fn quoted_blob(blob: &[u8]) -> Vec<(u8, Digest)> {
    let word = |at: usize| u32::from_le_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
    let mut pcrs = Vec::new();
    for bank in 0..word(0) {
        let select = &blob[4 + 8 * bank + 3..][..usize::from(blob[4 + 8 * bank + 2])];
        pcrs.extend((0..24_u8).filter(|pcr| select[usize::from(pcr / 8)] >> (pcr % 8) & 1 == 1));
    }
    let mut digests = Vec::new();
    for list in 0..word(132) {
        let start = 136 + 532 * list;
        for at in (0..word(start)).map(|digest| start + 4 + 66 * digest) {
            let length = usize::from(u16::from_le_bytes([blob[at], blob[at + 1]]));
            let algorithm = HashAlgorithm::from_digest_len(length).unwrap();
            digests.push(Digest::new(algorithm, &blob[at + 2..at + 2 + length]).unwrap());
        }
    }
    assert_eq!(pcrs.len(), digests.len());
    pcrs.into_iter().zip(digests).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/captures")
}
