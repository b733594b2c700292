//! A trust root and a list that it takes. A test changes a field, has it sealed, and looks at what comes of it:
//!
//! ```
//! use goldseal_tests::forge::{Forge, version};
//!
//! let mut world = Forge::new();
//! world.list.version = version(41);
//! let file = world.sealed_list(&["dave"]);
//! let refusal = world.verify(&world.trust(), &file).unwrap_err();
//! assert_eq!(refusal.to_string(), "role list: 1 of 2, missing: erin, frank");
//! ```

use std::fmt;

use goldseal_verifier_core::contents::LoadError;
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::envelope::{Envelope, HeadError, Identity};
use goldseal_verifier_core::excludes::Excludes;
use goldseal_verifier_core::header::{Expiry, FileHash, ListName, SectionSeal, Version};
use goldseal_verifier_core::list::{UnverifiedList, Whitelist};
use goldseal_verifier_core::provenance::Provenance;
use goldseal_verifier_core::root::{
    KeyStatement, NamePattern, RoleName, RoleScope, RoleStatement, RootHeader, Statements, UnverifiedRoot,
};
use goldseal_verifier_core::rules::Rules;
use goldseal_verifier_core::time::Timestamp;
use goldseal_verifier_core::trust::{AdmitError, AuthenticateError, Floor, Now, TrustRoot, TrustedPolicy};

use super::{key, public_key, signature};

/// # Panics
/// If it is none; so do the next two.
pub fn time(text: &str) -> Timestamp {
    Timestamp::parse(text.as_bytes()).unwrap()
}

pub fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

pub fn name(text: &str) -> ListName {
    ListName::new(text).unwrap()
}

/// The perfect world: everything in it was made in 2020, never goes stale, and is sealed as it must be.
#[derive(Clone, Debug)]
pub struct Forge {
    pub root: RootDraft,
    pub list: Whitelist,
    /// When, and held to what, [`Forge::verify`] decides. Programs decide by the clock of the machine.
    pub now: Now,
    pub floor: Floor,
}

/// What a root will say.
#[derive(Clone, Debug)]
pub struct RootDraft {
    pub name: ListName,
    pub version: Version,
    pub created: Timestamp,
    pub expires: Expiry,
    pub statements: Statements,
}

impl Forge {
    /// alice, bob and carol hold the root, two of them must sign; dave, erin and frank seal lists, two of them; grace
    /// must seal those named `prod-…`, too.
    #[expect(clippy::new_without_default, reason = "a world is made on purpose")]
    pub fn new() -> Self {
        let mut root = RootDraft {
            name: name("site"),
            version: Version::FIRST,
            created: time("2020-01-01T00:00:00Z"),
            expires: Expiry::Never,
            statements: Statements::default(),
        };
        for (role, holders) in
            [("root", &["alice", "bob", "carol"][..]), ("list", &["dave", "erin", "frank"]), ("production", &["grace"])]
        {
            for holder in holders {
                root.statements.insert_key(key(holder, &[role]));
            }
        }
        root.threshold("root", None, 2);
        root.threshold("list", Some("*"), 2);
        root.threshold("production", Some("prod-*"), 1);
        let list = Whitelist {
            name: name("web"),
            version: version(10),
            created: time("2020-02-01T00:00:00Z"),
            expires: Expiry::Never,
            file_hash: FileHash::new(&[HashAlgorithm::Sha256]).unwrap(),
            provenance: Provenance::default(),
            excludes: Excludes::none(),
            rules: Rules::default(),
            entries: vec![(b"/usr/bin/one".to_vec(), FileDigest::parse("1".repeat(64).as_bytes()).unwrap())],
        };
        Self { root, list, now: Now::by_clock(time("2026-06-01T00:00:00Z")), floor: Floor::default() }
    }

    /// The list as a file, sealed by these holders.
    pub fn sealed_list(&self, holders: &[&str]) -> Vec<u8> {
        file_of(&self.sealed(holders))
    }

    /// The same, to be changed.
    pub fn sealed(&self, holders: &[&str]) -> UnverifiedList {
        let mut list = self.list.clone().print().unwrap();
        for holder in holders {
            let signature = signature(holder, list.envelope());
            list.insert(signature).unwrap();
        }
        list
    }

    /// The list at this version, as dave and erin seal it.
    pub fn list_at(&self, number: u64) -> Vec<u8> {
        let mut world = self.clone();
        world.list.version = version(number);
        world.sealed_list(&["dave", "erin"])
    }

    /// The root as a file, signed by these holders.
    pub fn sealed_root(&self, holders: &[&str]) -> Vec<u8> {
        self.root.file(holders)
    }

    /// The root, signed by alice and bob, as the first of a chain.
    pub fn trust(&self) -> TrustRoot {
        TrustRoot::anchor(&self.sealed_root(&["alice", "bob"]), self.now).unwrap()
    }

    /// Goes on to the root after this one.
    pub fn rotate(&mut self) -> &mut RootDraft {
        self.root.version = self.root.version.next().unwrap();
        &mut self.root
    }

    /// All steps of docs/format.md, Verifying.
    ///
    /// # Errors
    /// That of the first step that fails.
    pub fn verify(&self, root: &TrustRoot, file: &[u8]) -> Result<TrustedPolicy, Refusal> {
        policy_of(root, file, self.now, &self.floor)
    }
}

/// All steps of docs/format.md, Verifying.
///
/// # Errors
/// That of the first step that fails.
pub fn policy_of(root: &TrustRoot, file: &[u8], now: Now, floor: &Floor) -> Result<TrustedPolicy, Refusal> {
    let (envelope, head_len) = Envelope::parse(file).map_err(Refusal::Head)?;
    let authentic = root.authenticate(envelope, now).map_err(Refusal::Authenticate)?;
    let admitted = authentic.admit(now, floor).map_err(Refusal::Admit)?;
    admitted.load(&file[head_len..]).map_err(Refusal::Load)
}

/// Why a file gave no policy.
#[derive(Debug)]
pub enum Refusal {
    Head(HeadError),
    Authenticate(AuthenticateError),
    Admit(AdmitError),
    Load(LoadError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::Authenticate(error) => error.fmt(f),
            Self::Admit(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl RootDraft {
    /// What is said of a key.
    pub fn key(&mut self, name: &str) -> &mut KeyStatement {
        self.statements.keys.get_mut(&public_key(name).key_id()).unwrap()
    }

    /// `role NAME PATTERN THRESHOLD`; without a pattern the root's own.
    pub fn threshold(&mut self, name: &str, pattern: Option<&str>, threshold: usize) {
        let scope = pattern.map_or(RoleScope::Root, |pattern| RoleScope::Lists(NamePattern::new(pattern).unwrap()));
        self.statements.insert_role(RoleStatement { name: RoleName::new(name).unwrap(), scope, threshold });
    }

    /// The root, signed by these holders.
    pub fn sealed(&self, holders: &[&str]) -> UnverifiedRoot {
        let Self { name, version, created, expires, statements } = self.clone();
        let header = RootHeader { name, version, created, expires, keys: SectionSeal::of([]) };
        let mut root = UnverifiedRoot::new(header, &statements).unwrap();
        for holder in holders {
            let signature = signature(holder, root.envelope());
            root.insert(signature).unwrap();
        }
        root
    }

    /// The same as a file.
    pub fn file(&self, holders: &[&str]) -> Vec<u8> {
        let root = self.sealed(holders);
        [&root.envelope().print(), root.section()].concat()
    }

    pub fn identity(&self) -> Identity {
        self.sealed(&[]).envelope().identity()
    }
}

/// A list as a file.
pub fn file_of(list: &UnverifiedList) -> Vec<u8> {
    [&list.envelope().print(), list.contents().body()].concat()
}
