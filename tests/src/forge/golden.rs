//! A golden list in the making, sealed by a key of its own and taken the whole way to an [`Appraiser`].

use ed25519_dalek::{Signer as _, SigningKey};
use goldseal_verifier_core::appraise::Appraiser;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::envelope::{Envelope, SignatureLine};
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use goldseal_verifier_core::header::{Expiry, FileHash, ListName, Version};
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::list::Whitelist;
use goldseal_verifier_core::path;
use goldseal_verifier_core::provenance::Provenance;
use goldseal_verifier_core::rules::{Rule, Rules};
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{AdmittedHeader, Floor, Now, TrustRoot, TrustedKey, TrustedPolicy};

/// What the list will say, and when it is looked at. Made 2026-01-01, and looked at half a year later.
#[derive(Clone, Debug)]
pub struct Golden {
    entries: Vec<(Vec<u8>, FileDigest)>,
    excludes: Vec<String>,
    rules: Vec<String>,
    pub version: u64,
    pub expires: Expiry,
    pub now: Timestamp,
}

impl Golden {
    /// Without entries, excludes and rules, and never stale.
    #[expect(clippy::new_without_default, reason = "a list is made on purpose")]
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            excludes: Vec::new(),
            rules: Vec::new(),
            version: 1,
            expires: Expiry::Never,
            now: time("2026-07-01T00:00:00Z"),
        }
    }

    /// Every line of sha256sum(1) and its like.
    pub fn of_sums(sums: &[u8]) -> Self {
        let mut golden = Self::new();
        for line in sums.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let plain = line.strip_prefix(b"\\").unwrap_or(line);
            let end = plain.windows(2).position(|bytes| bytes == b"  ").unwrap();
            let (digest, path) = (&plain[..end], &plain[end + 2..]);
            let path = if plain == line { path.to_vec() } else { path::unescape(path).unwrap() };
            golden.lists(path, FileDigest::parse(digest).unwrap());
        }
        golden
    }

    /// Adds an entry.
    pub fn lists(&mut self, path: impl AsRef<[u8]>, digest: FileDigest) -> &mut Self {
        self.entries.push((path.as_ref().to_vec(), digest));
        self
    }

    /// Adds a file by its contents, under SHA-256.
    pub fn lists_file(&mut self, path: &str, contents: &[u8]) -> &mut Self {
        self.lists(path, FileDigest::Contents(Digest::sha256(contents)))
    }

    /// The entries so far.
    pub fn entries(&self) -> &[(Vec<u8>, FileDigest)] {
        &self.entries
    }

    /// Takes the entries of these paths out again.
    pub fn forgets(&mut self, is_forgotten: impl Fn(&[u8]) -> bool) -> &mut Self {
        let before = self.entries.len();
        self.entries.retain(|(path, _)| !is_forgotten(path));
        assert!(self.entries.len() < before, "nothing was forgotten");
        self
    }

    /// Adds a rule by its line.
    pub fn rule(&mut self, line: impl Into<String>) -> &mut Self {
        self.rules.push(line.into());
        self
    }

    /// Takes the rules that begin so out again.
    pub fn drops_rules(&mut self, prefix: &str) -> &mut Self {
        let before = self.rules.len();
        self.rules.retain(|line| !line.starts_with(prefix));
        assert!(self.rules.len() < before, "no rule {prefix}");
        self
    }

    /// Adds an exclude.
    pub fn excludes(&mut self, pattern: &str) -> &mut Self {
        self.excludes.push(pattern.to_owned());
        self
    }

    /// The sealed file.
    pub fn sealed(&self) -> Vec<u8> {
        let used = |algorithm: &HashAlgorithm| {
            self.entries.iter().any(|(_, digest)| digest.digest().algorithm() == *algorithm)
                || *algorithm == HashAlgorithm::Sha256
        };
        let algorithms: Vec<HashAlgorithm> = HashAlgorithm::ALL.into_iter().filter(used).collect();
        let list = Whitelist {
            name: ListName::new("golden").unwrap(),
            version: Version::new(self.version).unwrap(),
            created: time("2026-01-01T00:00:00Z"),
            expires: self.expires,
            file_hash: FileHash::new(&algorithms).unwrap(),
            provenance: Provenance::default(),
            excludes: Excludes::new(self.excludes.iter().map(|line| Pattern::new(line.as_bytes()).unwrap())).unwrap(),
            rules: Rules::new(self.rules.iter().map(|line| Rule::parse(line.as_bytes()).expect(line))),
            entries: self.entries.clone(),
        };
        let mut list = list.print().unwrap();
        let signature = seal_key().sign(list.envelope().signed_bytes()).to_bytes();
        list.insert(SignatureLine::ed25519(public_key().key_id(), signature)).unwrap();
        [list.envelope().print(), list.contents().body().to_vec()].concat()
    }

    /// The sealed file, believed.
    pub fn policy(&self) -> TrustedPolicy {
        policy_of(&self.sealed(), self.now)
    }

    /// The policy, ready.
    pub fn appraiser(&self) -> Appraiser {
        Appraiser::new(self.policy())
    }
}

/// Takes a file that [`Golden::sealed`] made through all steps of docs/format.md, Verifying.
pub fn policy_of(sealed: &[u8], now: Timestamp) -> TrustedPolicy {
    let (admitted, head_len) = admit(sealed, now);
    admitted.load(&sealed[head_len..]).unwrap()
}

/// The steps before its sections are loaded; they begin after this many bytes.
pub fn admit(head: &[u8], now: Timestamp) -> (AdmittedHeader, usize) {
    let trusted = TrustedKey { name: "forge".to_owned(), key: public_key() };
    let root = TrustRoot::of_keys(vec![trusted], None).unwrap();
    let (envelope, head_len) = Envelope::parse(head).unwrap();
    let now = Now::by_clock(now);
    (root.authenticate(envelope, now).unwrap().admit(now, &Floor::default()).unwrap(), head_len)
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text.as_bytes()).unwrap()
}

/// The same each time, so that the same list is the same file.
fn seal_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Whose seal is on it.
pub fn public_key() -> PublicKey {
    // SubjectPublicKeyInfo of Ed25519 (RFC 8410, section 4).
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    PublicKey::from_spki_der(&[&prefix[..], &seal_key().verifying_key().to_bytes()].concat()).unwrap()
}
