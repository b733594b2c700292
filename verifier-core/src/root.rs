//! Trust roots as documents: who may seal what, how many it takes, and what was taken back (docs/format.md, Trust root).
//!
//! Nothing here is believed: [`crate::trust::TrustRoot`] is a root that enough of its holders signed. What is read or
//! printed here makes sense in itself: every threshold can be met, every key is named once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64ct::{Base64, Encoding};

use crate::cursor::{Cursor, decimal};
use crate::envelope::{ED25519, Envelope, HeadError, Identity, MAX_SIGNATURES, SignatureLine};
use crate::header::{Expiry, HeaderError, HeaderLines, ListName, SectionSeal, Version, print_document};
use crate::key::{KeyError, KeyId, PublicKey};
use crate::time::Timestamp;

/// `payloadType` of a trust root in its DSSE encoding.
pub const TRUST_ROOT_TYPE: &str = "application/vnd.goldseal.trust-root.v1";

/// Longest section of keys in bytes: the keys, roles and floors of a large site, and thousands of revoked lists.
pub const MAX_KEYS_LEN: u64 = 1 << 20;

/// The role whose holders sign the next root. It stands for no list.
pub const ROOT_ROLE: &str = "root";

/// What stands in place of a pattern where the role is [`ROOT_ROLE`]: no list has this name.
const NO_PATTERN: &[u8] = b"-";

/// The section's name in the header.
const KEYS: &str = "keys";

/// What a root's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootHeader {
    /// Name of the root: the same in every version.
    pub name: ListName,
    /// Version: the next one is exactly one more.
    pub version: Version,
    /// When it was made, by the maker's clock.
    pub created: Timestamp,
    /// When it goes stale.
    pub expires: Expiry,
    /// Seal of the one section.
    pub keys: SectionSeal,
}

impl RootHeader {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`HeaderError`], as for a whitelist's header.
    pub fn parse(payload: &[u8]) -> Result<Self, HeaderError> {
        let mut lines = HeaderLines::start(payload)?;
        let (name, version, created, expires) = lines.document()?;
        let keys = lines.section(KEYS, MAX_KEYS_LEN, "`section: keys LENGTH sha256:HEX`")?;
        lines.end()?;
        Ok(Self { name, version, created, expires, keys })
    }

    /// The payload: `parse(print()) == self`.
    pub fn print(&self) -> Vec<u8> {
        let document = print_document(&self.name, self.version, self.created, self.expires);
        (document + &self.keys.print(KEYS)).into_bytes()
    }
}

/// Name of a role: `[a-z0-9][a-z0-9._-]{0,63}`, as a list's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(ListName);

impl RoleName {
    /// A name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        ListName::new(text).map(Self)
    }

    /// The role that signs roots.
    pub fn is_root(&self) -> bool {
        self.as_str() == ROOT_ROLE
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a key or of its owner: `[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}`, so that an e-mail address is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderName(String);

impl HolderName {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 64;

    /// A name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let starts = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'.' | b'_' | b'+' | b'-');
        (starts && text.len() <= Self::MAX_LEN && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which lists a role is for: a name, or the beginning of names followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamePattern(String);

impl NamePattern {
    /// A pattern, if it is one: `*` stands at most once, at the end.
    pub fn new(text: &str) -> Option<Self> {
        let fits = match text.strip_suffix('*') {
            None => ListName::new(text).is_some(),
            Some(start) => start.is_empty() || ListName::new(start).is_some(),
        };
        fits.then(|| Self(text.to_owned()))
    }

    /// Every list.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether it takes this list.
    pub fn takes(&self, name: &ListName) -> bool {
        match self.0.strip_suffix('*') {
            None => self.0 == name.as_str(),
            Some(start) => name.as_str().starts_with(start),
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a key may still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// It may.
    Active,
    /// It never counts again; its bad signature still refuses a file.
    Revoked,
}

impl KeyStatus {
    const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

/// `key KEYID ed25519 SPKI-BASE64 NAME OWNER ROLES FROM UNTIL STATUS`: a key, and what it may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatement {
    /// The key.
    pub key: PublicKey,
    /// What it is called; no two keys share a name.
    pub name: HolderName,
    /// Who holds it. Keys of one owner count once.
    pub owner: HolderName,
    /// Its roles, at least one.
    pub roles: BTreeSet<RoleName>,
    /// It counts from this second on.
    pub from: Timestamp,
    /// It no longer counts from this second on.
    pub until: Expiry,
    /// Whether it was revoked.
    pub status: KeyStatus,
}

/// Where a role's signatures are needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleScope {
    /// On the root itself and on the next one.
    Root,
    /// On lists of such names.
    Lists(NamePattern),
}

/// `role NAME PATTERN THRESHOLD`: how many owners of keys with this role must sign what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleStatement {
    /// The role.
    pub name: RoleName,
    /// What it is for.
    pub scope: RoleScope,
    /// How many distinct owners must sign: 1 to [`MAX_SIGNATURES`].
    pub threshold: usize,
}

/// What a root says. Maps and sets, so that every statement stands once; keys by their id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// The keys.
    pub keys: BTreeMap<KeyId, KeyStatement>,
    /// The thresholds.
    pub roles: BTreeMap<(RoleName, RoleScope), usize>,
    /// `floor NAME VERSION`: the lowest version taken of a list, also on a machine that has seen none.
    pub floors: BTreeMap<ListName, Version>,
    /// `reset NAME VERSION`: what was remembered of a list sinks to this version, once, when this root is taken.
    pub resets: BTreeMap<ListName, Version>,
    /// `revoke-list IDENTITY`: lists that are refused whoever signed them.
    pub revoked_lists: BTreeSet<Identity>,
}

impl Statements {
    /// Adds a key; gives back what was said of it before.
    pub fn insert_key(&mut self, key: KeyStatement) -> Option<KeyStatement> {
        self.keys.insert(key.key.key_id(), key)
    }

    /// Adds a threshold; gives back the one there was.
    pub fn insert_role(&mut self, role: RoleStatement) -> Option<usize> {
        self.roles.insert((role.name, role.scope), role.threshold)
    }

    /// The thresholds, in the order of their lines.
    pub fn role_statements(&self) -> impl Iterator<Item = RoleStatement> {
        self.roles.iter().map(|((name, scope), threshold)| RoleStatement {
            name: name.clone(),
            scope: scope.clone(),
            threshold: *threshold,
        })
    }

    /// How many distinct owners have a key of this role that is not revoked, whatever its validity.
    pub fn owners_of(&self, role: &RoleName) -> usize {
        self.owners().get(role).map_or(0, BTreeSet::len)
    }

    /// The same of all roles in one pass: there may be tens of thousands of either.
    fn owners(&self) -> BTreeMap<&RoleName, BTreeSet<&HolderName>> {
        let mut owners: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for key in self.keys.values().filter(|key| key.status == KeyStatus::Active) {
            for role in &key.roles {
                owners.entry(role).or_default().insert(&key.owner);
            }
        }
        owners
    }

    /// Reads the section.
    ///
    /// # Errors
    /// [`RootError::Line`] for a line that is not in its one encoding, else as [`Statements::check`].
    pub fn parse(section: &[u8]) -> Result<Self, RootError> {
        let mut statements = Self::default();
        let mut lines = Cursor::new(section);
        let mut previous: Option<&[u8]> = None;
        let mut number = 0_usize;
        while !lines.is_empty() {
            number = number.saturating_add(1);
            let at = |problem| RootError::Line { line: number, problem };
            let line = lines.line().ok_or(at(RootLineProblem::NoLineEnd))?;
            if previous.is_some_and(|previous| previous >= line) {
                return Err(at(RootLineProblem::Order));
            }
            statements.parse_line(line).map_err(at)?;
            previous = Some(line);
        }
        statements.check()?;
        Ok(statements)
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<(), RootLineProblem> {
        let mut text = Cursor::new(line);
        let word = text.until(b' ').ok_or(RootLineProblem::UnknownWord)?;
        // Whether it is the first to speak of its subject; `None` if it is not of its form.
        let (form, first) = match word {
            b"floor" => {
                let first = parse_version_of(&mut text).map(|(name, floor)| self.floors.insert(name, floor).is_none());
                ("floor NAME VERSION", first)
            }
            b"key" => (KEY_FORM, Some(self.insert_key(parse_key(&mut text)?).is_none())),
            b"reset" => {
                let first = parse_version_of(&mut text).map(|(name, floor)| self.resets.insert(name, floor).is_none());
                ("reset NAME VERSION", first)
            }
            b"revoke-list" => {
                let identity = text.take_rest().and_then(Identity::from_hex);
                ("revoke-list IDENTITY", identity.map(|identity| self.revoked_lists.insert(identity)))
            }
            b"role" => {
                let first = parse_role(&mut text).map(|role| self.insert_role(role).is_none());
                ("role root - THRESHOLD` or `role NAME PATTERN THRESHOLD", first)
            }
            _ => return Err(RootLineProblem::UnknownWord),
        };
        match first {
            Some(true) => Ok(()),
            Some(false) => Err(RootLineProblem::Repeated),
            None => Err(RootLineProblem::Form(form)),
        }
    }

    /// Whether the statements make sense together.
    ///
    /// # Errors
    /// [`RootError`]: no root role, a threshold that cannot be met, a key with an unknown role, a name that two keys
    /// share, a reset below a floor.
    pub fn check(&self) -> Result<(), RootError> {
        if self.roles.keys().filter(|(name, _)| name.is_root()).count() != 1 {
            return Err(RootError::NoRootRole);
        }
        let mut names = BTreeSet::new();
        let known: BTreeSet<&RoleName> = self.roles.keys().map(|(role, _)| role).collect();
        for key in self.keys.values() {
            if !names.insert(&key.name) {
                return Err(RootError::SameName(key.name.clone()));
            }
            if let Some(role) = key.roles.iter().find(|role| !known.contains(role)) {
                return Err(RootError::UnknownRole { key: key.name.clone(), role: role.clone() });
            }
        }
        let owners = self.owners();
        for ((role, _), threshold) in &self.roles {
            let owners = owners.get(role).map_or(0, BTreeSet::len);
            if owners < *threshold {
                return Err(RootError::Unreachable { role: role.clone(), threshold: *threshold, owners });
            }
        }
        for (name, reset) in &self.resets {
            if let Some(floor) = self.floors.get(name).filter(|floor| reset < *floor) {
                return Err(RootError::ResetBelowFloor { name: name.clone(), reset: *reset, floor: *floor });
            }
        }
        Ok(())
    }

    /// The section: `parse(print()) == self` for whatever [`Statements::check`] accepts.
    pub fn print(&self) -> Vec<u8> {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.floors.iter().map(|(name, version)| format!("floor {name} {version}\n")));
        lines.extend(self.keys.values().map(print_key));
        lines.extend(self.resets.iter().map(|(name, version)| format!("reset {name} {version}\n")));
        lines.extend(self.revoked_lists.iter().map(|identity| format!("revoke-list {identity}\n")));
        lines.extend(self.roles.iter().map(|((name, scope), threshold)| match scope {
            RoleScope::Root => format!("role {name} - {threshold}\n"),
            RoleScope::Lists(pattern) => format!("role {name} {pattern} {threshold}\n"),
        }));
        lines.sort_unstable();
        lines.concat().into_bytes()
    }
}

fn parse_version_of(text: &mut Cursor<'_>) -> Option<(ListName, Version)> {
    let name = ListName::new(std::str::from_utf8(text.until(b' ')?).ok()?)?;
    Some((name, Version::parse(text.take_rest()?)?))
}

fn parse_role(text: &mut Cursor<'_>) -> Option<RoleStatement> {
    let name = RoleName::new(std::str::from_utf8(text.until(b' ')?).ok()?)?;
    let scope = match text.until(b' ')? {
        NO_PATTERN => RoleScope::Root,
        pattern => RoleScope::Lists(NamePattern::new(std::str::from_utf8(pattern).ok()?)?),
    };
    if name.is_root() != (scope == RoleScope::Root) {
        return None;
    }
    let threshold = decimal(text.take_rest()?, u64::MAX).and_then(|number| usize::try_from(number).ok())?;
    (1..=MAX_SIGNATURES).contains(&threshold).then_some(RoleStatement { name, scope, threshold })
}

const KEY_FORM: &str = "key KEYID ed25519 SPKI-BASE64 NAME OWNER ROLES FROM UNTIL active|revoked";

fn parse_key(text: &mut Cursor<'_>) -> Result<KeyStatement, RootLineProblem> {
    let mut field = || text.until(b' ').and_then(|field| std::str::from_utf8(field).ok());
    let form = RootLineProblem::Form(KEY_FORM);
    let [Some(key_id), Some(ED25519), Some(spki), Some(name), Some(owner), Some(roles), Some(from), Some(until)] =
        [(); 8].map(|()| field())
    else {
        return Err(form);
    };
    let status = match text.take_rest() {
        Some(b"active") => KeyStatus::Active,
        Some(b"revoked") => KeyStatus::Revoked,
        _ => return Err(form),
    };
    let der = Base64::decode_vec(spki).ok().filter(|der| Base64::encode_string(der) == spki).ok_or(form.clone())?;
    let key = PublicKey::from_spki_der(&der).map_err(RootLineProblem::Key)?;
    if KeyId::from_hex(key_id.as_bytes()) != Some(key.key_id()) {
        return Err(RootLineProblem::KeyId);
    }
    let (name, owner) = HolderName::new(name).zip(HolderName::new(owner)).ok_or(form.clone())?;
    let roles: Option<Vec<RoleName>> = roles.split(',').map(RoleName::new).collect();
    let roles = roles.filter(|roles| roles.is_sorted_by(|a, b| a < b)).ok_or(form.clone())?;
    let from = Timestamp::parse(from.as_bytes()).ok_or(form.clone())?;
    let until = Expiry::parse(until.as_bytes()).filter(|until| !until.is_past_at(from)).ok_or(form)?;
    Ok(KeyStatement { key, name, owner, roles: roles.into_iter().collect(), from, until, status })
}

fn print_key(key: &KeyStatement) -> String {
    let KeyStatement { key, name, owner, roles, from, until, status } = key;
    let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
    let spki = Base64::encode_string(&key.spki_der());
    let (id, roles, status) = (key.key_id(), roles.join(","), status.name());
    format!("key {id} {ED25519} {spki} {name} {owner} {roles} {from} {until} {status}\n")
}

/// A root in its one encoding whose seal was not checked. Never a reason to trust a key.
#[derive(Clone, Debug)]
pub struct UnverifiedRoot {
    envelope: Envelope,
    header: RootHeader,
    statements: Statements,
    section: Vec<u8>,
}

impl UnverifiedRoot {
    /// Reads a whole root without asking who signed it.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn parse(file: &[u8]) -> Result<Self, RootError> {
        let (envelope, head_len) = Envelope::parse(file).map_err(RootError::Head)?;
        Self::of_parts(envelope, file.get(head_len..).unwrap_or_default())
    }

    /// The same when the head was read already; `section` is what follows it in the file.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn of_parts(envelope: Envelope, section: &[u8]) -> Result<Self, RootError> {
        if envelope.claimed_type() != TRUST_ROOT_TYPE {
            return Err(RootError::WrongType(envelope.claimed_type().to_owned()));
        }
        let header = RootHeader::parse(envelope.claimed_payload()).map_err(RootError::Header)?;
        let found = SectionSeal::of(section);
        if found.len != header.keys.len {
            return Err(RootError::Length { expected: header.keys.len, found: found.len });
        }
        if found != header.keys {
            return Err(RootError::Tampered);
        }
        let statements = Statements::parse(section)?;
        Ok(Self { envelope, header, statements, section: section.to_vec() })
    }

    /// An unsealed root that says this; `header.keys` is overwritten by the seal of the statements.
    ///
    /// # Errors
    /// [`RootError`] if the statements make no sense together or break the format.
    pub fn new(mut header: RootHeader, statements: &Statements) -> Result<Self, RootError> {
        statements.check()?;
        let section = statements.print();
        header.keys = SectionSeal::of(&section);
        let envelope = Envelope::unsealed(TRUST_ROOT_TYPE, &header.print());
        // Parsing what was printed holds every field to the format, whoever filled it.
        Self::of_parts(envelope.ok_or(RootError::Head(HeadError::TooLong))?, &section)
    }

    /// The head, with its signatures.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Puts a signature in its place; one by the same key is replaced. Whether it is right is not checked here.
    ///
    /// # Errors
    /// [`HeadError::TooManySignatures`].
    pub fn insert(&mut self, signature: SignatureLine) -> Result<(), HeadError> {
        self.envelope.insert(signature)
    }

    /// The header.
    pub fn header(&self) -> &RootHeader {
        &self.header
    }

    /// What it says.
    pub fn statements(&self) -> &Statements {
        &self.statements
    }

    /// What follows the head in the file.
    pub fn section(&self) -> &[u8] {
        &self.section
    }
}

/// Why bytes are not a trust root, or statements make none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootError {
    /// The head.
    Head(HeadError),
    /// Not a trust root but something else in the same container.
    WrongType(String),
    /// The header.
    Header(HeaderError),
    /// The file is longer or shorter than its header says.
    Length {
        /// Bytes after the head, by the header.
        expected: u64,
        /// Bytes after the head.
        found: u64,
    },
    /// The section does not have the hash in the header.
    Tampered,
    /// A line of the section.
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: RootLineProblem,
    },
    /// There is not exactly one `role root - THRESHOLD`.
    NoRootRole,
    /// Two keys have this name.
    SameName(HolderName),
    /// A key has a role that has no threshold.
    UnknownRole {
        /// The key.
        key: HolderName,
        /// Its role.
        role: RoleName,
    },
    /// A role needs more owners than there are.
    Unreachable {
        /// The role.
        role: RoleName,
        /// Owners that must sign.
        threshold: usize,
        /// Owners with a key of this role that is not revoked.
        owners: usize,
    },
    /// A list would be reset to a version that its floor refuses.
    ResetBelowFloor {
        /// The list.
        name: ListName,
        /// Where it is reset to.
        reset: Version,
        /// Its floor.
        floor: Version,
    },
}

/// What can be wrong with a line of the section.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootLineProblem {
    /// The last line has no LF.
    NoLineEnd,
    /// Not after the line before it.
    Order,
    /// Its first word is no statement.
    UnknownWord,
    /// Not of the statement's form, which this is.
    Form(&'static str),
    /// Its key cannot be used.
    Key(KeyError),
    /// Its key id is not that of its key.
    KeyId,
    /// What it speaks of was spoken of before.
    Repeated,
}

impl fmt::Display for RootLineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLineEnd => f.write_str("the last line has no end"),
            Self::Order => f.write_str("it does not come after the line before it"),
            Self::UnknownWord => f.write_str("its first word is not a statement"),
            Self::Form(form) => write!(f, "its form is `{form}`"),
            Self::Key(error) => error.fmt(f),
            Self::KeyId => f.write_str("its key id is not that of its key"),
            Self::Repeated => f.write_str("an earlier line speaks of the same"),
        }
    }
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::WrongType(found) => write!(f, "it says it is {found:?}, which is not a trust root"),
            Self::Header(error) => error.fmt(f),
            Self::Length { expected, found } => {
                write!(f, "after the head it has {found} bytes where its header says {expected}")
            }
            Self::Tampered => f.write_str("the section keys does not have the hash that its header carries"),
            Self::Line { line, problem } => write!(f, "section keys, line {line}: {problem}"),
            Self::NoRootRole => f.write_str("it has no threshold for the role root"),
            Self::SameName(name) => write!(f, "two keys are called {name}"),
            Self::UnknownRole { key, role } => write!(f, "the key {key} has the role {role}, which has no threshold"),
            Self::Unreachable { role, threshold, owners } => {
                write!(f, "the role {role} needs {threshold} owners, and there are {owners}")
            }
            Self::ResetBelowFloor { name, reset, floor } => {
                write!(f, "the list {name} is reset to {reset}, below its floor {floor}")
            }
        }
    }
}

impl std::error::Error for RootError {}
