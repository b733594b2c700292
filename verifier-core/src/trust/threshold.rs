//! Counting signatures: distinct keys and distinct owners, never lines or key ids (docs/format.md, Verifying 2).

use std::collections::BTreeSet;
use std::fmt;

use crate::envelope::{ED25519, Envelope, SignatureLine};
use crate::header::Expiry;
use crate::key::{KeyId, PublicKey};
use crate::root::{KeyStatement, KeyStatus, RoleName, RoleScope, RoleStatement};
use crate::time::Timestamp;

/// The line names the key's own algorithm and carries its signature (docs/format.md, Signatures 2 and 5).
pub fn signature_holds(key: &PublicKey, signed: &[u8], line: &SignatureLine) -> bool {
    line.algorithm() == ED25519 && line.value().try_into().is_ok_and(|value| key.verifies(signed, value))
}

/// Who a key belongs to, as far as counting goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// A root says so.
    Named(String),
    /// Nobody said, and so each key is its own.
    Itself(KeyId),
}

/// A known key and what it may sign. Whoever makes a set of them sees to it that no key is in it twice.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) key: PublicKey,
    key_id: KeyId,
    owner: Owner,
    /// `None`: every role.
    roles: Option<BTreeSet<RoleName>>,
    from: Timestamp,
    until: Expiry,
    status: KeyStatus,
}

impl Holder {
    /// A key that an operator named: its own owner, for everything, at all times.
    pub(super) fn of_key(name: String, key: PublicKey) -> Self {
        let key_id = key.key_id();
        Self {
            name,
            key,
            key_id,
            owner: Owner::Itself(key_id),
            roles: None,
            from: Timestamp::MIN,
            until: Expiry::Never,
            status: KeyStatus::Active,
        }
    }

    pub(super) fn of_statement(key: &KeyStatement) -> Self {
        Self {
            name: key.name.to_string(),
            key: key.key.clone(),
            key_id: key.key.key_id(),
            owner: Owner::Named(key.owner.to_string()),
            roles: Some(key.roles.clone()),
            from: key.from,
            until: key.until,
            status: key.status,
        }
    }

    /// Whether its signature counts for this role at this time; the first reason why not (docs/format.md, Verifying 2b).
    fn counts(&self, role: &Role, at: Timestamp) -> Result<(), UncountedReason> {
        match self {
            Self { status: KeyStatus::Revoked, .. } => Err(UncountedReason::Revoked),
            Self { from, .. } if at < *from => Err(UncountedReason::NotYetValid { from: *from }),
            Self { until: Expiry::At(until), .. } if at >= *until => Err(UncountedReason::Expired { until: *until }),
            _ if !self.has(role) => Err(UncountedReason::OtherRole),
            _ => Ok(()),
        }
    }

    fn has(&self, role: &Role) -> bool {
        match (&self.roles, &role.name) {
            (Some(roles), Some(name)) => roles.contains(name),
            _ => true,
        }
    }

    /// Who is to be asked for a signature.
    fn label(&self) -> &str {
        match &self.owner {
            Owner::Named(owner) => owner,
            Owner::Itself(_) => &self.name,
        }
    }
}

/// How many owners must sign what.
#[derive(Clone, Debug)]
pub(super) struct Role {
    /// `None`: trust in keys alone knows no roles.
    pub(super) name: Option<RoleName>,
    pub(super) scope: RoleScope,
    pub(super) threshold: usize,
}

impl From<RoleStatement> for Role {
    fn from(RoleStatement { name, scope, threshold }: RoleStatement) -> Self {
        Self { name: Some(name), scope, threshold }
    }
}

/// The signatures of a head, each looked at: those of known keys are right.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    holders: &'a [Holder],
    good: Vec<&'a Holder>,
    unknown: Vec<KeyId>,
}

/// A signature that refuses a head whatever else is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignatureError {
    Unsealed,
    Bad { name: String },
}

impl<'a> Checked<'a> {
    /// Checks the signatures of all known keys, whatever their roles, validity and status (docs/format.md, Verifying 2a).
    pub(super) fn of(envelope: &Envelope, holders: &'a [Holder]) -> Result<Self, SignatureError> {
        if envelope.signatures().is_empty() {
            return Err(SignatureError::Unsealed);
        }
        let (mut good, mut unknown) = (Vec::new(), Vec::new());
        for line in envelope.signatures() {
            match holders.iter().find(|holder| holder.key_id == line.key_id()) {
                None => unknown.push(line.key_id()),
                Some(holder) if signature_holds(&holder.key, envelope.signed_bytes(), line) => good.push(holder),
                Some(holder) => return Err(SignatureError::Bad { name: holder.name.clone() }),
            }
        }
        Ok(Self { holders, good, unknown })
    }

    /// What is missing for this role; `None` if its threshold is met (docs/format.md, Verifying 2b).
    pub(super) fn unmet(&self, role: &Role, at: Timestamp) -> Option<Unmet> {
        let counting = |holder: &&&Holder| holder.counts(role, at).is_ok();
        let signed: BTreeSet<&Owner> = self.good.iter().filter(counting).map(|holder| &holder.owner).collect();
        if signed.len() >= role.threshold {
            return None;
        }
        let could = self.holders.iter().filter(|holder| holder.counts(role, at).is_ok());
        let missing: BTreeSet<(&str, &Owner)> = could
            .filter(|holder| !signed.contains(&holder.owner))
            .map(|holder| (holder.label(), &holder.owner))
            .collect();
        let uncounted = self.good.iter().filter_map(|holder| {
            let reason = holder.counts(role, at).err()?;
            Some(Uncounted { name: holder.name.clone(), reason })
        });
        Some(Unmet {
            role: role.name.clone(),
            signed: signed.len(),
            threshold: role.threshold,
            missing: missing.into_iter().map(|(label, _)| label.to_owned()).collect(),
            uncounted: uncounted.collect(),
            unknown: self.unknown.clone(),
        })
    }

    /// Whether some signature counts for this role.
    pub(super) fn any_counts(&self, role: &Role, at: Timestamp) -> bool {
        self.good.iter().any(|holder| holder.counts(role, at).is_ok())
    }

    /// The keys whose signature counts for one of these roles, and those whose does not.
    pub(super) fn signers(self, roles: &[&Role], at: Timestamp) -> (Vec<Signer>, Vec<Uncounted>, Vec<KeyId>) {
        let (mut signers, mut uncounted) = (Vec::new(), Vec::new());
        for holder in self.good {
            let verdicts = roles.iter().map(|role| holder.counts(role, at));
            match verdicts.reduce(Result::or) {
                Some(Err(reason)) => uncounted.push(Uncounted { name: holder.name.clone(), reason }),
                _ => {
                    let owner = match &holder.owner {
                        Owner::Named(owner) => Some(owner.clone()),
                        Owner::Itself(_) => None,
                    };
                    signers.push(Signer { key_id: holder.key_id, name: holder.name.clone(), owner });
                }
            }
        }
        (signers, uncounted, self.unknown)
    }
}

/// A known key whose signature counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Its key id.
    pub key_id: KeyId,
    /// The name it is known by.
    pub name: String,
    /// Who holds it, where a trust root says so.
    pub owner: Option<String>,
}

/// A known key whose signature is right and does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// The name it is known by.
    pub name: String,
    /// Why.
    pub reason: UncountedReason,
}

/// Why a right signature does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UncountedReason {
    /// The key was revoked.
    Revoked,
    /// The key counts only later.
    NotYetValid {
        /// From then on.
        from: Timestamp,
    },
    /// The key no longer counts.
    Expired {
        /// Since then.
        until: Timestamp,
    },
    /// The key is for something else.
    OtherRole,
}

impl fmt::Display for Uncounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        match &self.reason {
            UncountedReason::Revoked => f.write_str("(revoked)"),
            UncountedReason::NotYetValid { from } => write!(f, "(valid only from {from})"),
            UncountedReason::Expired { until } => write!(f, "(no longer valid since {until})"),
            UncountedReason::OtherRole => f.write_str("(has another role)"),
        }
    }
}

/// Too few owners signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The role, where a trust root names it.
    pub role: Option<RoleName>,
    /// Distinct owners whose signatures count.
    pub signed: usize,
    /// How many are needed.
    pub threshold: usize,
    /// Owners whose signature would count and is not there.
    pub missing: Vec<String>,
    /// Right signatures that do not count.
    pub uncounted: Vec<Uncounted>,
    /// Keys that signed it and are not known.
    pub unknown: Vec<KeyId>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(role) = &self.role {
            write!(f, "role {role}: ")?;
        }
        write!(f, "{} of {}", self.signed, self.threshold)?;
        match self.missing.as_slice() {
            [] => f.write_str(", and nobody is left who could sign")?,
            missing => write!(f, ", missing: {}", missing.join(", "))?,
        }
        if !self.uncounted.is_empty() {
            let uncounted: Vec<String> = self.uncounted.iter().map(ToString::to_string).collect();
            write!(f, "; not counted: {}", uncounted.join(", "))?;
        }
        if !self.unknown.is_empty() {
            let ids: Vec<String> = self.unknown.iter().map(ToString::to_string).collect();
            write!(f, "; signed by unknown keys: {}", ids.join(", "))?;
        }
        Ok(())
    }
}
