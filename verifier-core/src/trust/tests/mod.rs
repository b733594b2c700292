//! A perfect world in software: each test changes one thing of it, has it signed again, and names the one answer.
//!
//! Keys are made of their names, so that every run signs the same bytes.

mod admit;
mod authenticate;
mod chain;
mod state;

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use super::{AuthenticateError, Floor, Now, TrustRoot, TrustedPolicy, TrustedRootError};
use crate::digest::HashAlgorithm;
use crate::entries::FileDigest;
use crate::envelope::{Envelope, Identity, SignatureLine};
use crate::excludes::Excludes;
use crate::header::{Expiry, FileHash, ListName, SectionSeal, Version};
use crate::key::PublicKey;
use crate::list::{UnverifiedList, Whitelist};
use crate::provenance::Provenance;
use crate::root::{
    HolderName, KeyStatement, KeyStatus, NamePattern, RoleName, RoleScope, RoleStatement, RootHeader, Statements,
    UnverifiedRoot,
};
use crate::rules::Rules;
use crate::time::Timestamp;

/// When everything is decided, unless a test says otherwise.
const NOW: &str = "2026-06-01T00:00:00Z";

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text.as_bytes()).unwrap()
}

fn now() -> Now {
    Now::by_clock(time(NOW))
}

fn at(text: &str) -> Now {
    Now::by_clock(time(text))
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn name(text: &str) -> ListName {
    ListName::new(text).unwrap()
}

fn role(text: &str) -> RoleName {
    RoleName::new(text).unwrap()
}

/// Tests of documents (`crate::root`) use it too.
pub(crate) fn seal_key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(name).into())
}

pub(crate) fn public_key(name: &str) -> PublicKey {
    // RFC 8410, section 4.
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let point = seal_key(name).verifying_key().to_bytes();
    PublicKey::from_spki_der(&[prefix.as_slice(), &point].concat()).unwrap()
}

fn signature(name: &str, envelope: &Envelope) -> SignatureLine {
    let value = seal_key(name).sign(envelope.signed_bytes()).to_bytes();
    SignatureLine::ed25519(public_key(name).key_id(), value)
}

/// A signature under this name's key id that is none.
fn bad_signature(name: &str) -> SignatureLine {
    SignatureLine::ed25519(public_key(name).key_id(), [1; 64])
}

/// A key called as its owner, valid through 2026.
pub(crate) fn key(name: &str, roles: &[&str]) -> KeyStatement {
    KeyStatement {
        key: public_key(name),
        name: HolderName::new(name).unwrap(),
        owner: HolderName::new(name).unwrap(),
        roles: roles.iter().map(|name| role(name)).collect(),
        from: time("2026-01-01T00:00:00Z"),
        until: Expiry::At(time("2027-01-01T00:00:00Z")),
        status: KeyStatus::Active,
    }
}

/// A root in the making.
#[derive(Clone)]
struct Root {
    name: &'static str,
    version: u64,
    created: &'static str,
    expires: &'static str,
    statements: Statements,
}

impl Root {
    /// alice, bob and carol hold the root, two of them must sign; dave, erin and frank seal lists, two of them; grace
    /// must seal those of production, too.
    fn new() -> Self {
        let mut root = Self {
            name: "site",
            version: 1,
            created: "2026-01-01T00:00:00Z",
            expires: "2026-12-01T00:00:00Z",
            statements: Statements::default(),
        };
        for holder in ["alice", "bob", "carol"] {
            root.statements.insert_key(key(holder, &["root"]));
        }
        for holder in ["dave", "erin", "frank"] {
            root.statements.insert_key(key(holder, &["list"]));
        }
        root.statements.insert_key(key("grace", &["production"]));
        root.threshold("root", None, 2);
        root.threshold("list", Some("*"), 2);
        root.threshold("production", Some("prod-*"), 1);
        root
    }

    fn threshold(&mut self, name: &str, pattern: Option<&str>, threshold: usize) {
        let scope = pattern.map_or(RoleScope::Root, |pattern| RoleScope::Lists(NamePattern::new(pattern).unwrap()));
        self.statements.insert_role(RoleStatement { name: role(name), scope, threshold });
    }

    fn key(&mut self, name: &str) -> &mut KeyStatement {
        self.statements.keys.get_mut(&public_key(name).key_id()).unwrap()
    }

    /// The next one, made a month later.
    fn next(&self) -> Self {
        Self { version: self.version.saturating_add(1), created: "2026-02-01T00:00:00Z", ..self.clone() }
    }

    fn unsealed(&self) -> UnverifiedRoot {
        let header = RootHeader {
            name: name(self.name),
            version: version(self.version),
            created: time(self.created),
            expires: Expiry::parse(self.expires.as_bytes()).unwrap(),
            keys: SectionSeal::of([]),
        };
        UnverifiedRoot::new(header, &self.statements).unwrap()
    }

    fn sealed_by(&self, holders: &[&str]) -> UnverifiedRoot {
        let mut root = self.unsealed();
        for holder in holders {
            let signature = signature(holder, root.envelope());
            root.insert(signature).unwrap();
        }
        root
    }

    fn file(&self, holders: &[&str]) -> Vec<u8> {
        bytes(&self.sealed_by(holders))
    }

    fn identity(&self) -> Identity {
        self.unsealed().envelope().identity()
    }

    fn trusted(&self) -> TrustRoot {
        TrustRoot::anchor(&self.file(&["alice", "bob"]), now()).unwrap()
    }
}

fn bytes(root: &UnverifiedRoot) -> Vec<u8> {
    [&root.envelope().print(), root.section()].concat()
}

/// A list that dave and erin may seal.
fn whitelist() -> Whitelist {
    Whitelist {
        name: name("web"),
        version: version(10),
        created: time("2026-05-01T00:00:00Z"),
        expires: Expiry::At(time("2026-08-01T00:00:00Z")),
        file_hash: FileHash::new(&[HashAlgorithm::Sha256]).unwrap(),
        provenance: Provenance::default(),
        excludes: Excludes::none(),
        rules: Rules::default(),
        entries: vec![(b"/usr/bin/one".to_vec(), FileDigest::parse("1".repeat(64).as_bytes()).unwrap())],
    }
}

fn whitelist_with(change: impl FnOnce(&mut Whitelist)) -> Whitelist {
    let mut list = whitelist();
    change(&mut list);
    list
}

fn sealed(list: Whitelist, holders: &[&str]) -> UnverifiedList {
    let mut list = list.print().unwrap();
    for holder in holders {
        let signature = signature(holder, list.envelope());
        list.insert(signature).unwrap();
    }
    list
}

/// All steps, which must succeed.
fn policy(root: &TrustRoot, list: &UnverifiedList) -> TrustedPolicy {
    let authentic = root.authenticate(list.envelope().clone(), now()).unwrap();
    authentic.admit(now(), &Floor::default()).unwrap().load(list.contents().body()).unwrap()
}

#[test]
fn the_world_is_perfect() {
    let root = Root::new().trusted();
    let list = sealed(whitelist(), &["dave", "erin"]);
    let policy = policy(&root, &list);
    assert_eq!(policy.freshness(), super::Freshness::Current);
    assert_eq!(policy.identity(), list.envelope().identity());
    assert_eq!(policy.contents().entry_count(), 1);
    let production = sealed(whitelist_with(|list| list.name = name("prod-db")), &["dave", "frank", "grace"]);
    assert!(root.authenticate(production.envelope().clone(), now()).is_ok());
}
