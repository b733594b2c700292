//! The keys whose seals count: named one by one, or by a trust root that its holders signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;

use super::admit::{AuthenticHeader, Now};
use super::state::RootMark;
use super::threshold::{Checked, Holder, Role, SignatureError, Uncounted, Unmet};
use crate::envelope::{Envelope, HeadError, Identity};
use crate::header::{Header, HeaderError, ListName, Version, WHITELIST_TYPE};
use crate::key::{KeyId, PublicKey};
use crate::root::{NamePattern, RoleScope, RootError, RootHeader, UnverifiedRoot};
use crate::time::Timestamp;

/// A key whose seal counts, and the name its holder goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Shown to people; nothing is decided by it.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// The keys whose seals count, for which lists, and how many of their owners it takes.
///
/// ```compile_fail,E0451
/// // It cannot be made from parts, and so never without a check of its thresholds.
/// let root = goldseal_verifier_core::trust::TrustRoot { holders: Vec::new(), roles: Vec::new(), document: None };
/// ```
/// ```compile_fail,E0599
/// let root = goldseal_verifier_core::trust::TrustRoot::default();
/// ```
/// ```compile_fail,E0277
/// fn unsigned(root: goldseal_verifier_core::root::UnverifiedRoot) -> goldseal_verifier_core::trust::TrustRoot {
///     root.into()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TrustRoot {
    holders: Vec<Holder>,
    roles: Vec<Role>,
    document: Option<RootDocument>,
}

/// What a signed root adds to its keys.
#[derive(Clone, Debug)]
struct RootDocument {
    header: RootHeader,
    identity: Identity,
    /// The root that it was shown to follow; `None` for the first of a chain.
    follows: Option<Identity>,
    floors: BTreeMap<ListName, Version>,
    resets: BTreeMap<ListName, Version>,
    revoked_lists: BTreeSet<Identity>,
}

impl TrustRoot {
    /// Trust in some keys, for every list. Each key is its own owner; without a threshold all of them must have signed
    /// (docs/format.md, Verifying 2f).
    ///
    /// # Errors
    /// [`TrustRootError`]: no key, one key twice, or a threshold that cannot be met.
    pub fn of_keys(keys: Vec<TrustedKey>, threshold: Option<NonZeroUsize>) -> Result<Self, TrustRootError> {
        if keys.is_empty() {
            return Err(TrustRootError::NoKeys);
        }
        for (index, key) in keys.iter().enumerate() {
            if let Some(first) = keys.iter().take(index).find(|first| first.key == key.key) {
                return Err(TrustRootError::SameKey { first: first.name.clone(), second: key.name.clone() });
            }
        }
        let threshold = threshold.map_or(keys.len(), NonZeroUsize::get);
        if threshold > keys.len() {
            return Err(TrustRootError::Unreachable { threshold, keys: keys.len() });
        }
        let role = Role { name: None, scope: RoleScope::Lists(NamePattern::any()), threshold };
        let holders = keys.into_iter().map(|TrustedKey { name, key }| Holder::of_key(name, key)).collect();
        Ok(Self { holders, roles: vec![role], document: None })
    }

    /// Trust in a root file that the operator vouches for: the first of a chain. Its own threshold must be met, so that
    /// it is whole and its holders have their keys (docs/format.md, Chain of roots 1).
    ///
    /// # Errors
    /// [`TrustedRootError`].
    pub fn anchor(file: &[u8], now: Now) -> Result<Self, TrustedRootError> {
        let root = UnverifiedRoot::parse(file).map_err(TrustedRootError::Document)?;
        Self::of_document(&root, None, now)
    }

    /// Trust in the next root: exactly one version on, signed by the thresholds of this one and of its own
    /// (docs/format.md, Chain of roots 2).
    ///
    /// That a root on the way has gone stale does not matter; that keys no longer count at `now` does (docs/format.md,
    /// Chain of roots 4).
    ///
    /// # Errors
    /// [`TrustedRootError`]. Nothing of the file but its head is read before this root's threshold is met.
    pub fn advance(&self, file: &[u8], now: Now) -> Result<Self, TrustedRootError> {
        let document = self.document.as_ref().ok_or(TrustedRootError::NoChain)?;
        let (envelope, head_len) =
            Envelope::parse(file).map_err(|error| TrustedRootError::Document(RootError::Head(error)))?;
        let checked = Checked::of(&envelope, &self.holders)?;
        if let Some(unmet) = checked.unmet(self.root_role()?, now.time()) {
            return Err(TrustedRootError::PreviousThreshold(unmet));
        }
        let section = file.get(head_len..).unwrap_or_default();
        let next = UnverifiedRoot::of_parts(envelope, section).map_err(TrustedRootError::Document)?;
        let (header, previous) = (next.header(), &document.header);
        if header.name != previous.name {
            return Err(TrustedRootError::WrongName { expected: previous.name.clone(), found: header.name.clone() });
        }
        if Some(header.version) != previous.version.next() {
            return Err(TrustedRootError::NotNext { previous: previous.version, found: header.version });
        }
        Self::of_document(&next, Some(document.identity), now)
    }

    fn of_document(root: &UnverifiedRoot, follows: Option<Identity>, now: Now) -> Result<Self, TrustedRootError> {
        let (header, statements) = (root.header(), root.statements());
        let trusted = Self {
            holders: statements.keys.values().map(Holder::of_statement).collect(),
            roles: statements.role_statements().map(Role::from).collect(),
            document: Some(RootDocument {
                header: header.clone(),
                identity: root.envelope().identity(),
                follows,
                floors: statements.floors.clone(),
                resets: statements.resets.clone(),
                revoked_lists: statements.revoked_lists.clone(),
            }),
        };
        let checked = Checked::of(root.envelope(), &trusted.holders)?;
        if let Some(unmet) = checked.unmet(trusted.root_role()?, now.time()) {
            return Err(TrustedRootError::OwnThreshold(unmet));
        }
        if now.is_future(header.created) {
            return Err(TrustedRootError::FromTheFuture { created: header.created, now: now.clock() });
        }
        Ok(trusted)
    }

    /// Every document has one (docs/format.md, Trust root 8; [`crate::root::Statements::check`]); without it nothing would be asked for.
    fn root_role(&self) -> Result<&Role, TrustedRootError> {
        let role = self.roles.iter().find(|role| role.scope == RoleScope::Root);
        role.ok_or(TrustedRootError::Document(RootError::NoRootRole))
    }

    /// Checks the seal of a head: every known key's signature must be right, and the threshold of every role that is for
    /// a list of this name must be met at `now`.
    ///
    /// Only the signed bytes as received are looked at; the payload is parsed when some signature counts (docs/format.md,
    /// Verifying 2a to 2e).
    ///
    /// # Errors
    /// [`AuthenticateError`].
    pub fn authenticate(&self, envelope: Envelope, now: Now) -> Result<AuthenticHeader, AuthenticateError> {
        let at = now.time();
        let checked = Checked::of(&envelope, &self.holders)?;
        let list_roles = || self.roles.iter().filter(|role| role.scope != RoleScope::Root);
        if !list_roles().any(|role| checked.any_counts(role, at)) {
            let every_list = list_roles().find(|role| role.scope == RoleScope::Lists(NamePattern::any()));
            return Err(match every_list.and_then(|role| checked.unmet(role, at)) {
                Some(unmet) => AuthenticateError::Threshold(unmet),
                None => {
                    let (_, uncounted, unknown) = checked.signers(&list_roles().collect::<Vec<_>>(), at);
                    AuthenticateError::NoneCounts { uncounted, unknown }
                }
            });
        }
        if envelope.claimed_type() != WHITELIST_TYPE {
            return Err(AuthenticateError::WrongType(envelope.claimed_type().to_owned()));
        }
        let header = Header::parse(envelope.claimed_payload()).map_err(AuthenticateError::Header)?;
        let takes = |role: &&Role| matches!(&role.scope, RoleScope::Lists(pattern) if pattern.takes(&header.name));
        let roles: Vec<&Role> = self.roles.iter().filter(takes).collect();
        if roles.is_empty() {
            return Err(AuthenticateError::NoRole(header.name));
        }
        if let Some(unmet) = roles.iter().find_map(|role| checked.unmet(role, at)) {
            return Err(AuthenticateError::Threshold(unmet));
        }
        let identity = envelope.identity();
        let document = self.document.as_ref();
        if document.is_some_and(|document| document.revoked_lists.contains(&identity)) {
            return Err(AuthenticateError::RevokedList(identity));
        }
        let root_floor = document.and_then(|document| document.floors.get(&header.name).copied());
        let root_expiry = document.map(|document| document.header.expires);
        let thresholds = roles.iter().map(|role| (role.name.clone(), role.threshold)).collect();
        let (signers, uncounted, unknown) = checked.signers(&roles, at);
        Ok(AuthenticHeader { header, identity, signers, uncounted, unknown, thresholds, root_floor, root_expiry })
    }

    /// How many keys it knows, whatever they may sign.
    pub fn key_count(&self) -> usize {
        self.holders.len()
    }

    /// Version and identity, if it is a document.
    pub fn mark(&self) -> Option<RootMark> {
        self.document
            .as_ref()
            .map(|document| RootMark { version: document.header.version, identity: document.identity })
    }

    /// The root before it, if [`TrustRoot::advance`] made it.
    pub(super) fn follows(&self) -> Option<Identity> {
        self.document.as_ref().and_then(|document| document.follows)
    }

    /// The header, if it is a document.
    pub fn header(&self) -> Option<&RootHeader> {
        self.document.as_ref().map(|document| &document.header)
    }

    /// The lowest versions that it takes.
    pub(super) fn floors(&self) -> impl Iterator<Item = (&ListName, Version)> {
        self.document.iter().flat_map(|document| document.floors.iter().map(|(name, floor)| (name, *floor)))
    }

    /// What is remembered of these lists sinks once, when it is taken.
    pub(super) fn resets(&self) -> impl Iterator<Item = (&ListName, Version)> {
        self.document.iter().flat_map(|document| document.resets.iter().map(|(name, reset)| (name, *reset)))
    }
}

/// Why keys cannot be trusted together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustRootError {
    /// Trust in nobody.
    NoKeys,
    /// One key under two names would count twice.
    SameKey {
        /// Its first name.
        first: String,
        /// Its second name.
        second: String,
    },
    /// More signatures are wanted than there are keys.
    Unreachable {
        /// Signatures wanted.
        threshold: usize,
        /// Keys there are.
        keys: usize,
    },
}

impl fmt::Display for TrustRootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => f.write_str("no key is trusted"),
            Self::SameKey { first, second } => write!(f, "{first} and {second} are the same key"),
            Self::Unreachable { threshold, keys } => {
                write!(f, "{threshold} signatures are wanted, more than there are trusted keys: {keys}")
            }
        }
    }
}

impl std::error::Error for TrustRootError {}

/// Why a root file is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedRootError {
    /// Trust in keys alone has no next root.
    NoChain,
    /// It is no root in its one encoding.
    Document(RootError),
    /// Nobody signed it.
    Unsealed,
    /// A known key's signature is wrong: bytes or signature were changed.
    BadSignature {
        /// Whose.
        name: String,
    },
    /// Too few of those who may sign by the root before it.
    PreviousThreshold(Unmet),
    /// Too few of those who may sign by itself.
    OwnThreshold(Unmet),
    /// Another root.
    WrongName {
        /// The name of the root before it.
        expected: ListName,
        /// Its name.
        found: ListName,
    },
    /// Not the version after the root before it: a link is missing, or it is an older one.
    NotNext {
        /// The version of the root before it.
        previous: Version,
        /// Its version.
        found: Version,
    },
    /// Made more than a day after now.
    FromTheFuture {
        /// When it says it was made.
        created: Timestamp,
        /// The clock.
        now: Timestamp,
    },
}

impl From<SignatureError> for TrustedRootError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Unsealed => Self::Unsealed,
            SignatureError::Bad { name } => Self::BadSignature { name },
        }
    }
}

impl fmt::Display for TrustedRootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChain => f.write_str("trust in keys alone has no next root"),
            Self::Document(RootError::Head(HeadError::NotSealedFormat)) => {
                f.write_str("it does not begin with `DSSEv1 `: not a trust root")
            }
            Self::Document(error) => error.fmt(f),
            Self::Unsealed => f.write_str("it is not signed"),
            Self::BadSignature { name } => write!(f, "the signature of {name} is not right for these bytes"),
            Self::PreviousThreshold(unmet) => write!(f, "by the root before it, {unmet}"),
            Self::OwnThreshold(unmet) => write!(f, "by itself, {unmet}"),
            Self::WrongName { expected, found } => write!(f, "its name is {found}, and that before it is {expected}"),
            Self::NotNext { previous, found } => {
                write!(f, "its version is {found}, and that before it is {previous}: each root follows the one before")
            }
            Self::FromTheFuture { created, now } => write!(f, "it was created {created}, and now it is {now}"),
        }
    }
}

impl std::error::Error for TrustedRootError {}

/// Why a head is not sealed as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// Nobody signed it.
    Unsealed,
    /// A known key's signature is wrong: bytes or signature were changed.
    BadSignature {
        /// Whose.
        name: String,
    },
    /// Too few owners signed it.
    Threshold(Unmet),
    /// No signature counts for any list, and so nothing more was looked at.
    NoneCounts {
        /// Right signatures that do not count.
        uncounted: Vec<Uncounted>,
        /// Keys that signed it and are not known.
        unknown: Vec<KeyId>,
    },
    /// Sealed, but not a whitelist.
    WrongType(String),
    /// Sealed, but no header.
    Header(HeaderError),
    /// No role of the trust root is for lists of this name.
    NoRole(ListName),
    /// The trust root took this list back.
    RevokedList(Identity),
}

impl From<SignatureError> for AuthenticateError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Unsealed => Self::Unsealed,
            SignatureError::Bad { name } => Self::BadSignature { name },
        }
    }
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsealed => f.write_str("it is not sealed"),
            Self::BadSignature { name } => write!(f, "the signature of {name} is not right for these bytes"),
            Self::Threshold(unmet) => unmet.fmt(f),
            Self::NoneCounts { uncounted, unknown } => {
                f.write_str("none of its signatures counts:")?;
                let uncounted = uncounted.iter().map(ToString::to_string);
                let unknown = unknown.iter().map(|id| format!("{id} (unknown)"));
                write!(f, " {}", uncounted.chain(unknown).collect::<Vec<_>>().join(", "))
            }
            Self::WrongType(found) => write!(f, "it is sealed as {found:?}, which is not a whitelist"),
            Self::Header(error) => error.fmt(f),
            Self::NoRole(name) => write!(f, "the trust root lets nobody seal lists named {name}"),
            Self::RevokedList(identity) => write!(f, "the trust root revokes this very list: {identity}"),
        }
    }
}

impl std::error::Error for AuthenticateError {}
