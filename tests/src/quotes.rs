//! The quotes of testdata/captures, each with what was asked for when it was taken.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::tpm::PcrSelection;

/// A quote that a TPM signed.
#[derive(Clone, Debug)]
pub struct CapturedQuote {
    /// `CASE/DUMP/quote-AK-SELECTION`.
    pub name: String,
    /// The folder of its case.
    pub case: PathBuf,
    /// Name of its key within the case, such as `rsa384`.
    pub ak: String,
    pub nonce: Vec<u8>,
    pub selection: PcrSelection,
    pub attest: Vec<u8>,
    pub signature: Vec<u8>,
    pub blob: Vec<u8>,
}

impl CapturedQuote {
    /// TPM2B_PUBLIC of its key.
    pub fn public_area(&self) -> Vec<u8> {
        read(&self.case.join(format!("ak-{}.tpm2b", self.ak)))
    }

    /// Its key as PEM.
    pub fn pem(&self) -> Vec<u8> {
        read(&self.case.join(format!("ak-{}.pem", self.ak)))
    }

    /// A file of it: `msg`, `sig` or `pcrs`.
    pub fn file(&self, extension: &str) -> PathBuf {
        captures().join(format!("{}.{extension}", self.name))
    }

    /// The hash of its key's scheme, which the names of keys tell.
    pub fn hash(&self) -> HashAlgorithm {
        match self.ak.as_str() {
            "rsa1" => HashAlgorithm::Sha1,
            "rsa384" | "ecc384" => HashAlgorithm::Sha384,
            _ => HashAlgorithm::Sha256,
        }
    }
}

/// All of them, in the order of their names.
pub fn captured_quotes() -> Vec<CapturedQuote> {
    let mut quotes = Vec::new();
    for case in folders(&captures()) {
        for dump in folders(&case) {
            let mut messages = files(&dump, "msg");
            messages.sort();
            quotes.extend(messages.iter().map(|message| captured_quote(&case, &dump, message)));
        }
    }
    assert!(quotes.len() > 90, "captures have moved");
    quotes
}

/// One of them by its name.
pub fn captured_quote_named(name: &str) -> CapturedQuote {
    captured_quotes().into_iter().find(|quote| quote.name == name).unwrap()
}

/// Files of this extension anywhere in the captures, in the order of their names.
pub fn captured_files(prefix: &str, extension: &str) -> Vec<PathBuf> {
    let all = folders(&captures()).into_iter().flat_map(|case| files(&case, extension));
    let mut matching: Vec<PathBuf> =
        all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).collect();
    matching.sort();
    matching
}

/// The folder of the captures.
pub fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("testdata/captures")
}

fn captured_quote(case: &Path, dump: &Path, message: &Path) -> CapturedQuote {
    let stem = message.file_stem().unwrap().to_str().unwrap();
    let (ak, selected) = stem.strip_prefix("quote-").unwrap().split_once('-').unwrap();
    let relative = message.strip_prefix(captures()).unwrap().with_extension("");
    CapturedQuote {
        name: relative.to_str().unwrap().to_owned(),
        case: case.to_owned(),
        ak: ak.to_owned(),
        nonce: unhex(fs::read_to_string(dump.join("nonce.hex")).unwrap().trim()),
        selection: selection(case, selected),
        attest: read(message),
        signature: read(&message.with_extension("sig")),
        blob: read(&message.with_extension("pcrs")),
    }
}

/// `all`: PCRs 0 to 10 of every bank; `BANK-pcr10`: that one.
fn selection(case: &Path, selected: &str) -> PcrSelection {
    let bank = |name: &str| HashAlgorithm::from_name(name.as_bytes()).unwrap();
    if let Some(name) = selected.strip_suffix("-pcr10") {
        return PcrSelection::new([(bank(name), 10)]).unwrap();
    }
    assert_eq!(selected, "all");
    // A quote that was made afterwards has no such file, and these banks.
    let meta = fs::read_to_string(case.join("meta.txt")).unwrap_or_else(|_| "pcr_banks=sha1,sha256".to_owned());
    let banks = meta.lines().find_map(|line| line.strip_prefix("pcr_banks=")).unwrap();
    PcrSelection::new(banks.split(',').flat_map(|name| (0..=10).map(move |pcr| (bank(name), pcr)))).unwrap()
}

/// Bytes of hex in either case.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && !path.ends_with("how-made") && !path.ends_with("_shared"))
        .collect();
    folders.sort();
    folders
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}
