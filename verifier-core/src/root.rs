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

/// What a root's header says (docs/format.md, Trust root 2).
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

/// Name of a key or of its owner: `[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}`, so that an e-mail address is one
/// (docs/format.md, Trust root 5).
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

/// Which lists a role is for: a name, or the beginning of names followed by `*` (docs/format.md, Trust root 6).
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

    /// Reads the section (docs/format.md, Trust root 3 and 7).
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

    /// Whether the statements make sense together (docs/format.md, Trust root 8).
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

/// docs/format.md, Trust root 4.
fn parse_version_of(text: &mut Cursor<'_>) -> Option<(ListName, Version)> {
    let name = ListName::new(std::str::from_utf8(text.until(b' ')?).ok()?)?;
    Some((name, Version::parse(text.take_rest()?)?))
}

/// docs/format.md, Trust root 6.
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

/// docs/format.md, Trust root 5.
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
    /// Reads a whole root without asking who signed it (docs/format.md, Trust root 1).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::{key, public_key};

    /// Two keys in the order of their ids, so that lines can be named by their number.
    fn holders() -> [&'static str; 2] {
        let mut names = ["alice", "bob"];
        names.sort_by_key(|name| public_key(name).key_id());
        names
    }

    fn key_line(name: &str, rest: &str) -> String {
        let key = public_key(name);
        format!("key {} ed25519 {} {rest}\n", key.key_id(), Base64::encode_string(&key.spki_der()))
    }

    /// Lines: 1 floor, 2 and 3 keys, 4 reset, 5 revoke-list, 6 and 7 roles.
    fn text() -> String {
        let [first, second] = holders();
        [
            "floor web 5\n".to_owned(),
            key_line(first, "first a@example.com list,root 2026-01-01T00:00:00Z never active"),
            key_line(second, "second b root 2026-01-01T00:00:00Z 2027-01-01T00:00:00Z active"),
            "reset web 7\n".to_owned(),
            format!("revoke-list {}\n", "1".repeat(64)),
            "role list * 1\n".to_owned(),
            "role root - 2\n".to_owned(),
        ]
        .concat()
    }

    #[test]
    fn survives_parse_and_print_and_says_what_it_says() {
        let statements = Statements::parse(text().as_bytes()).unwrap();
        assert_eq!(String::from_utf8(statements.print()).unwrap(), text());
        let [first, second] = holders();
        let [one, two] = [first, second].map(|name| &statements.keys[&public_key(name).key_id()]);
        assert_eq!((one.name.as_str(), one.owner.as_str(), one.until), ("first", "a@example.com", Expiry::Never));
        assert_eq!(one.roles.iter().map(RoleName::as_str).collect::<Vec<_>>(), ["list", "root"]);
        assert_eq!(two.until.to_string(), "2027-01-01T00:00:00Z");
        assert_eq!((two.from.to_string().as_str(), two.status), ("2026-01-01T00:00:00Z", KeyStatus::Active));
        let roles: Vec<_> = statements.role_statements().map(|role| (role.name.to_string(), role.threshold)).collect();
        assert_eq!(roles, [("list".to_owned(), 1), ("root".to_owned(), 2)]);
        let web = ListName::new("web").unwrap();
        assert_eq!(statements.floors.get(&web).map(|floor| floor.number()), Some(5));
        assert_eq!(statements.resets.get(&web).map(|reset| reset.number()), Some(7));
        assert_eq!(statements.revoked_lists.len(), 1);
        let revoked =
            text().replace("never active", "never revoked").replace("- 2", "- 1").replace("role list * 1\n", "");
        let revoked = revoked.replace("list,root", "root");
        assert_eq!(String::from_utf8(Statements::parse(revoked.as_bytes()).unwrap().print()).unwrap(), revoked);
    }

    #[test]
    fn what_is_said_twice_is_given_back() {
        let mut statements = Statements::parse(text().as_bytes()).unwrap();
        let before = statements.clone();
        let one = key(holders()[0], &["root"]);
        assert_eq!(statements.insert_key(one.clone()), before.keys.get(&one.key.key_id()).cloned());
        assert_eq!(statements.insert_key(key("carol", &["root"])), None);
        let role =
            |threshold| RoleStatement { name: RoleName::new("root").unwrap(), scope: RoleScope::Root, threshold };
        assert_eq!(statements.insert_role(role(1)), Some(2));
        assert_eq!(statements.insert_role(role(3)), Some(1));
    }

    /// Each case changes one thing, and names the line at fault and the problem.
    #[test]
    fn each_line_is_held_to_its_form() {
        use RootLineProblem::{Form, Key, KeyId, NoLineEnd, Order, Repeated, UnknownWord};
        let [first, second] = holders();
        let (floor, reset) = ("floor NAME VERSION", "reset NAME VERSION");
        let (list, role) = ("revoke-list IDENTITY", "role root - THRESHOLD` or `role NAME PATTERN THRESHOLD");
        let id = public_key(first).key_id().to_string();
        let spki = Base64::encode_string(&public_key(first).spki_der());
        // The last digit before the padding carries two bits of the key and four zeros.
        let (ones, cut) = ("1".repeat(64), spki.replace('=', ""));
        let mut loose = spki.clone().into_bytes();
        let digit = loose.len() - 2;
        loose[digit] += 1;
        let loose = String::from_utf8(loose).unwrap();
        let x25519 = spki.replacen("MCowBQYDK2Vw", "MCowBQYDK2Vu", 1);
        let weak = format!("MCowBQYDK2VwAyEA{}=", "A".repeat(43));
        let long = format!("first{}", "x".repeat(60));
        for (from, to, line, problem) in [
            ("floor web 5", "flour web 5", 1, UnknownWord),
            ("floor web 5", "floor", 1, UnknownWord),
            ("floor web 5", "floor web", 1, Form(floor)),
            ("floor web 5", "floor web 05", 1, Form(floor)),
            ("floor web 5", "floor web 0", 1, Form(floor)),
            ("floor web 5", "floor Web 5", 1, Form(floor)),
            ("floor web 5", "floor web 5 ", 1, Form(floor)),
            ("floor web 5\n", "\nfloor web 5\n", 1, UnknownWord),
            ("floor web 5\n", "floor web 5\nfloor web 5\n", 2, Order),
            ("floor web 5\n", "floor web 5\nfloor web 6\n", 2, Repeated),
            ("floor web 5\n", "floor web 5\nfloor a 6\n", 2, Order),
            (" ed25519 ", " ed25519ph ", 2, Form(KEY_FORM)),
            (&id, &ones, 2, KeyId),
            (&id, &id.to_uppercase(), 2, KeyId),
            (&spki, &loose, 2, Form(KEY_FORM)),
            (&spki, &cut, 2, Form(KEY_FORM)),
            (&spki, &x25519, 2, Key(KeyError::NotEd25519)),
            (&spki, &weak, 2, Key(KeyError::Weak)),
            (" first ", "  ", 2, Form(KEY_FORM)),
            (" first ", " -first ", 2, Form(KEY_FORM)),
            (" first ", " f,irst ", 2, Form(KEY_FORM)),
            ("first", &long, 2, Form(KEY_FORM)),
            (" a@example.com ", " @example.com ", 2, Form(KEY_FORM)),
            ("list,root", "root,list", 2, Form(KEY_FORM)),
            ("list,root", "root,root", 2, Form(KEY_FORM)),
            ("list,root", "list,root,", 2, Form(KEY_FORM)),
            ("list,root", "-", 2, Form(KEY_FORM)),
            ("list,root", "List,root", 2, Form(KEY_FORM)),
            ("2026-01-01T00:00:00Z never", "2026-01-01 never", 2, Form(KEY_FORM)),
            ("2026-01-01T00:00:00Z never", "never never", 2, Form(KEY_FORM)),
            ("Z never", "Z Never", 2, Form(KEY_FORM)),
            ("2027-01-01T00:00:00Z active", "2026-01-01T00:00:00Z active", 3, Form(KEY_FORM)),
            ("never active", "never Active", 2, Form(KEY_FORM)),
            ("never active", "never", 2, Form(KEY_FORM)),
            ("never active", "never active ", 2, Form(KEY_FORM)),
            ("reset web 7", "reset web seven", 4, Form(reset)),
            ("reset web 7\n", "reset web 7\nreset web 8\n", 5, Repeated),
            ("revoke-list 1", "revoke-list ", 5, Form(list)),
            ("revoke-list 1", "revoke-list A", 5, Form(list)),
            ("role list * 1", "role list * 0", 6, Form(role)),
            ("role list * 1", "role list * 17", 6, Form(role)),
            ("role list * 1", "role list * 01", 6, Form(role)),
            ("role list * 1", "role list *a 1", 6, Form(role)),
            ("role list * 1", "role list ** 1", 6, Form(role)),
            ("role list * 1", "role list - 1", 6, Form(role)),
            ("role list * 1", "role list 1", 6, Form(role)),
            ("role list * 1\n", "role list * 1\nrole list * 2\n", 7, Repeated),
            ("role root - 2", "role root * 2", 7, Form(role)),
            ("role root - 2\n", "role root - 2", 7, NoLineEnd),
        ] {
            let changed = text().replacen(from, to, 1);
            assert_ne!(changed, text(), "{from}");
            let found = Statements::parse(changed.as_bytes());
            assert_eq!(found, Err(RootError::Line { line, problem }), "{from:?} → {to:?}");
        }
        // One key twice: a second line of it, whatever it says.
        let again = key_line(second, "third b root 2026-01-01T00:00:00Z never active");
        let twice = text().replacen("reset", &format!("{again}reset"), 1);
        assert_eq!(
            Statements::parse(twice.as_bytes()),
            Err(RootError::Line { line: 4, problem: RootLineProblem::Repeated })
        );
        // The longest names and the highest threshold are of the form.
        let longest = text().replacen(" first ", &format!(" {} ", "f".repeat(64)), 1);
        assert!(Statements::parse(longest.as_bytes()).is_ok());
        let highest = text().replacen("role list * 1", "role list * 16", 1);
        assert!(matches!(Statements::parse(highest.as_bytes()), Err(RootError::Unreachable { threshold: 16, .. })));
    }

    #[test]
    fn statements_make_sense_together() {
        let refused = |from: &str, to: &str| {
            let changed = text().replace(from, to);
            assert_ne!(changed, text(), "{from}");
            Statements::parse(changed.as_bytes()).unwrap_err()
        };
        let (holder, role) = (|text| HolderName::new(text).unwrap(), |text| RoleName::new(text).unwrap());
        let unreachable = |name, threshold, owners| RootError::Unreachable { role: role(name), threshold, owners };
        assert_eq!(refused("role root - 2\n", ""), RootError::NoRootRole);
        assert_eq!(Statements::parse(b""), Err(RootError::NoRootRole));
        assert_eq!(refused(" second ", " first "), RootError::SameName(holder("first")));
        let unknown = RootError::UnknownRole { key: holder("first"), role: role("other") };
        assert_eq!(refused("list,root", "list,other,root"), unknown);
        assert_eq!(refused("role root - 2", "role root - 3"), unreachable("root", 3, 2));
        assert_eq!(refused("never active", "never revoked"), unreachable("list", 1, 0));
        assert_eq!(refused(" b root", " a@example.com root"), unreachable("root", 2, 1));
        assert_eq!(refused("role list * 1", "role list * 1\nrole nobody x 1"), unreachable("nobody", 1, 0));
        let (reset, floor) = (Version::new(7).unwrap(), Version::new(8).unwrap());
        let name = ListName::new("web").unwrap();
        assert_eq!(refused("floor web 5", "floor web 8"), RootError::ResetBelowFloor { name, reset, floor });
        // What is only just right.
        for (from, to) in [("floor web 5", "floor web 7"), ("role list * 1", "role list * 1\nrole list web 1")] {
            assert!(Statements::parse(text().replacen(from, to, 1).as_bytes()).is_ok(), "{to}");
        }
        let statements = Statements::parse(text().as_bytes()).unwrap();
        assert_eq!(["root", "list", "none"].map(|name| statements.owners_of(&role(name))), [2, 1, 0]);
    }

    #[test]
    fn names_and_patterns() {
        for good in ["a", "A.b@c+d_e-9", "0"] {
            assert_eq!(HolderName::new(good).map(|name| name.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "@a", ".a", "-", "a b", "a/b", "é"] {
            assert_eq!(HolderName::new(bad), None, "{bad}");
        }
        assert!(HolderName::new(&"a".repeat(64)).is_some() && HolderName::new(&"a".repeat(65)).is_none());
        for bad in ["", "*a", "**", "a*b", "-*", "A*", "-", "a?"] {
            assert_eq!(NamePattern::new(bad), None, "{bad}");
        }
        let takes = |pattern: &str, name: &str| {
            let pattern = NamePattern::new(pattern).unwrap();
            pattern.takes(&ListName::new(name).unwrap())
        };
        for (pattern, name, expected) in [
            ("*", "web", true),
            ("web", "web", true),
            ("web", "web2", false),
            ("web2", "web", false),
            ("web*", "web", true),
            ("web*", "web2", true),
            ("web*", "we", false),
            ("web*", "aweb", false),
        ] {
            assert_eq!(takes(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(NamePattern::any(), NamePattern::new("*").unwrap());
        assert_eq!(NamePattern::new("web-*").unwrap().to_string(), "web-*");
        assert_eq!(NamePattern::new("web-*").unwrap().as_str(), "web-*");
        let [root, list] = ["root", "roots"].map(|name| RoleName::new(name).unwrap());
        assert_eq!((root.is_root(), list.is_root(), root.to_string().as_str()), (true, false, "root"));
        assert_eq!(RoleName::new("Root"), None);
    }

    fn header() -> RootHeader {
        RootHeader {
            name: ListName::new("site").unwrap(),
            version: Version::FIRST,
            created: Timestamp::parse(b"2026-01-01T00:00:00Z").unwrap(),
            expires: Expiry::Never,
            keys: SectionSeal::of([]),
        }
    }

    fn file(root: &UnverifiedRoot) -> Vec<u8> {
        [&root.envelope().print(), root.section()].concat()
    }

    #[test]
    fn a_root_survives_print_and_parse() {
        let statements = Statements::parse(text().as_bytes()).unwrap();
        let root = UnverifiedRoot::new(header(), &statements).unwrap();
        let again = UnverifiedRoot::parse(&file(&root)).unwrap();
        assert_eq!(file(&again), file(&root));
        assert_eq!((again.statements(), again.header()), (&statements, root.header()));
        assert_eq!(root.header(), &RootHeader { keys: SectionSeal::of(text()), ..header() });
        assert_eq!(RootHeader::parse(root.envelope().claimed_payload()).as_ref(), Ok(root.header()));
        assert_eq!(root.header().print(), root.envelope().claimed_payload());
        assert_eq!(again.section(), text().as_bytes());
    }

    #[test]
    fn a_signature_is_put_in() {
        let statements = Statements::parse(text().as_bytes()).unwrap();
        let mut root = UnverifiedRoot::new(header(), &statements).unwrap();
        for number in 0..MAX_SIGNATURES {
            let id = KeyId::from_hex(format!("{number:064x}").as_bytes()).unwrap();
            root.insert(SignatureLine::ed25519(id, [7; 64])).unwrap();
        }
        assert_eq!(root.envelope().signatures().len(), MAX_SIGNATURES);
        let more = SignatureLine::ed25519(public_key("alice").key_id(), [7; 64]);
        assert_eq!(root.insert(more), Err(HeadError::TooManySignatures));
    }

    #[test]
    fn a_root_that_makes_no_sense_is_not_made() {
        let good = Statements::parse(text().as_bytes()).unwrap();
        let refused =
            |header, statements: &Statements| UnverifiedRoot::new(header, statements).map(|_| ()).unwrap_err();
        assert_eq!(refused(header(), &Statements::default()), RootError::NoRootRole);
        let mut early = header();
        early.expires = Expiry::At(early.created);
        assert!(matches!(refused(early, &good), RootError::Header(error) if error.line == 5));
        // What cannot be read back: a role that is for lists and is called root.
        let mut wrong = good.clone();
        wrong.roles.clear();
        for name in ["list", "root"] {
            let pattern = NamePattern::new(name).unwrap();
            wrong.roles.insert((RoleName::new(name).unwrap(), RoleScope::Lists(pattern)), 1);
        }
        assert!(matches!(refused(header(), &wrong), RootError::Line { line: 7, .. }));
    }

    #[test]
    fn each_deviation_of_a_file_has_its_error() {
        let root = UnverifiedRoot::new(header(), &Statements::parse(text().as_bytes()).unwrap()).unwrap();
        let good = file(&root);
        let refused = |bytes: &[u8]| UnverifiedRoot::parse(bytes).map(|_| ()).unwrap_err();
        assert_eq!(refused(b""), RootError::Head(HeadError::Empty));
        let length = root.header().keys.len;
        let longer = RootError::Length { expected: length, found: length + 1 };
        assert_eq!(refused(&[&good[..], b"\n"].concat()), longer);
        let shorter = RootError::Length { expected: length, found: length - 1 };
        assert_eq!(refused(&good[..good.len() - 1]), shorter);
        let mut changed = good.clone();
        *changed.last_mut().unwrap() = b' ';
        assert_eq!(refused(&changed), RootError::Tampered);
        let head =
            |kind: &str, payload: &[u8]| [&Envelope::unsealed(kind, payload).unwrap().print(), root.section()].concat();
        assert_eq!(refused(&head("a/b", &root.header().print())), RootError::WrongType("a/b".to_owned()));
        let payload = String::from_utf8(root.header().print()).unwrap();
        for (from, to, line) in [
            ("format: 1", "format: 2", 1),
            ("section: keys ", "section: entries ", 6),
            (&format!("section: keys {length} "), "section: keys 1048577 ", 6),
            ("section: keys", "file-hash: sha256\nsection: keys", 6),
        ] {
            let error = refused(&head(TRUST_ROOT_TYPE, payload.replacen(from, to, 1).as_bytes()));
            assert!(matches!(&error, RootError::Header(error) if error.line == line), "{to}: {error:?}");
        }
        let error = refused(&head(TRUST_ROOT_TYPE, (payload.clone() + "\n").as_bytes()));
        assert!(matches!(&error, RootError::Header(error) if error.line == 7), "{error:?}");
        let largest = payload.replacen(&format!("section: keys {length} "), "section: keys 1048576 ", 1);
        let expected = RootError::Length { expected: MAX_KEYS_LEN, found: length };
        assert_eq!(refused(&head(TRUST_ROOT_TYPE, largest.as_bytes())), expected);
        assert_eq!(MAX_KEYS_LEN, 1_048_576);
        let statements = RootError::Line { line: 1, problem: RootLineProblem::UnknownWord };
        let sealed = SectionSeal::of("x\n");
        let other = RootHeader { keys: sealed, ..header() };
        let bytes = [&Envelope::unsealed(TRUST_ROOT_TYPE, &other.print()).unwrap().print()[..], b"x\n"].concat();
        assert_eq!(refused(&bytes), statements);
    }

    /// A hostile root costs no more than reading it. Were it looked through once for each role, this took minutes.
    #[test]
    fn many_roles_cost_little() {
        let names: Vec<String> = (0..100_000).map(|number| format!("r{number:05}")).collect();
        let mut statements = Statements::parse(text().as_bytes()).unwrap();
        statements
            .roles
            .extend(names.iter().map(|name| ((RoleName::new(name).unwrap(), RoleScope::Lists(NamePattern::any())), 1)));
        let first = public_key(holders()[0]).key_id();
        statements.keys.get_mut(&first).unwrap().roles.extend(names.iter().map(|name| RoleName::new(name).unwrap()));
        let start = std::time::Instant::now();
        assert_eq!(statements.check(), Ok(()));
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn refusals_are_told() {
        let (holder, role) = (HolderName::new("a@b").unwrap(), RoleName::new("list").unwrap());
        let name = ListName::new("web").unwrap();
        let [one, two] = [1, 2].map(|number| Version::new(number).unwrap());
        let line = |problem| RootError::Line { line: 3, problem };
        for (error, text) in [
            (RootError::Head(HeadError::Empty), "it is empty"),
            (RootError::WrongType("a/b".into()), "it says it is \"a/b\", which is not a trust root"),
            (RootError::Header(HeaderError { line: 1, expected: "`format: 1`" }), "header line 1 is not `format: 1`"),
            (RootError::Length { expected: 1, found: 2 }, "after the head it has 2 bytes where its header says 1"),
            (RootError::Tampered, "the section keys does not have the hash that its header carries"),
            (line(RootLineProblem::NoLineEnd), "section keys, line 3: the last line has no end"),
            (line(RootLineProblem::Order), "section keys, line 3: it does not come after the line before it"),
            (line(RootLineProblem::UnknownWord), "section keys, line 3: its first word is not a statement"),
            (line(RootLineProblem::Form("x Y")), "section keys, line 3: its form is `x Y`"),
            (
                line(RootLineProblem::Key(KeyError::Weak)),
                "section keys, line 3: it is a weak key (a point of small order)",
            ),
            (line(RootLineProblem::KeyId), "section keys, line 3: its key id is not that of its key"),
            (line(RootLineProblem::Repeated), "section keys, line 3: an earlier line speaks of the same"),
            (RootError::NoRootRole, "it has no threshold for the role root"),
            (RootError::SameName(holder.clone()), "two keys are called a@b"),
            (
                RootError::UnknownRole { key: holder, role: role.clone() },
                "the key a@b has the role list, which has no threshold",
            ),
            (RootError::Unreachable { role, threshold: 2, owners: 1 }, "the role list needs 2 owners, and there are 1"),
            (
                RootError::ResetBelowFloor { name, reset: one, floor: two },
                "the list web is reset to 1, below its floor 2",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
