//! Whose seals count, and the steps from received bytes to a policy that may be used:
//!
//! ```text
//! Envelope ─▶ TrustRoot::authenticate ─▶ AuthenticHeader ─▶ admit ─▶ AdmittedHeader ─▶ load ─▶ TrustedPolicy
//! ```
//!
//! Each step consumes the value before it, and there is no other way to get the value after it.

use std::fmt;
use std::num::NonZeroUsize;

use crate::contents::{Contents, ContentsError};
use crate::envelope::{ED25519, Envelope, Identity, SignatureLine};
use crate::header::{Expiry, Header, HeaderError, ListName, Version, WHITELIST_TYPE};
use crate::key::{KeyId, PublicKey};
use crate::time::Timestamp;

/// How far a list may claim to come from the future: clocks of air-gapped machines are set by hand, and the day may
/// be another one there.
pub const MAX_CLOCK_SKEW_SECONDS: u64 = 24 * 60 * 60;

/// A key whose seal counts, and the name its holder goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Shown to people; nothing is decided by it.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// The keys whose seals count, and how many of them it takes. Each key is its own owner.
///
/// ```compile_fail
/// // It cannot be made from parts, and so never without a check of its threshold.
/// let root = goldseal_verifier_core::trust::TrustRoot { keys: Vec::new(), threshold: 0 };
/// ```
/// ```compile_fail
/// let root = goldseal_verifier_core::trust::TrustRoot::default();
/// ```
#[derive(Clone, Debug)]
pub struct TrustRoot {
    keys: Vec<TrustedKey>,
    threshold: usize,
}

impl TrustRoot {
    /// Trust in some keys. Without a threshold all of them must have signed.
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
        Ok(Self { keys, threshold })
    }

    /// Checks the seal of a head: every known key's signature must be right, and enough keys must have signed.
    ///
    /// Only the signed bytes as received are looked at; the payload is parsed after the signatures were checked.
    ///
    /// # Errors
    /// [`AuthenticateError`].
    pub fn authenticate(&self, envelope: Envelope) -> Result<AuthenticHeader, AuthenticateError> {
        if envelope.signatures().is_empty() {
            return Err(AuthenticateError::Unsealed);
        }
        let mut signers = Vec::new();
        let mut unknown = Vec::new();
        for line in envelope.signatures() {
            match self.keys.iter().find(|trusted| trusted.key.key_id() == line.key_id()) {
                None => unknown.push(line.key_id()),
                Some(trusted) if signature_holds(&trusted.key, envelope.signed_bytes(), line) => {
                    signers.push(Signer { key_id: line.key_id(), name: trusted.name.clone() });
                }
                Some(trusted) => return Err(AuthenticateError::BadSignature { name: trusted.name.clone() }),
            }
        }
        if signers.len() < self.threshold {
            let signed = |trusted: &&TrustedKey| signers.iter().any(|signer| signer.key_id == trusted.key.key_id());
            let missing = self.keys.iter().filter(|trusted| !signed(trusted)).map(|trusted| trusted.name.clone());
            let missing = missing.collect();
            return Err(AuthenticateError::Threshold {
                signed: signers.len(),
                threshold: self.threshold,
                missing,
                unknown,
            });
        }
        if envelope.claimed_type() != WHITELIST_TYPE {
            return Err(AuthenticateError::WrongType(envelope.claimed_type().to_owned()));
        }
        let header = Header::parse(envelope.claimed_payload()).map_err(AuthenticateError::Header)?;
        Ok(AuthenticHeader { header, identity: envelope.identity(), signers, unknown })
    }
}

/// The line names the key's own algorithm and carries its signature (docs/format.md, Signatures).
pub fn signature_holds(key: &PublicKey, signed: &[u8], line: &SignatureLine) -> bool {
    line.algorithm() == ED25519 && line.value().try_into().is_ok_and(|value| key.verifies(signed, value))
}

/// A trusted key whose signature is on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Its key id.
    pub key_id: KeyId,
    /// The name it is trusted by.
    pub name: String,
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

/// Why a head is not sealed as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// Nobody signed it.
    Unsealed,
    /// A trusted key's signature is wrong: bytes or signature were changed.
    BadSignature {
        /// Whose.
        name: String,
    },
    /// Too few trusted keys signed it.
    Threshold {
        /// Trusted keys that signed it.
        signed: usize,
        /// Signatures wanted.
        threshold: usize,
        /// Trusted keys that did not.
        missing: Vec<String>,
        /// Keys that signed it and are not trusted.
        unknown: Vec<KeyId>,
    },
    /// Sealed, but not a whitelist.
    WrongType(String),
    /// Sealed, but no header.
    Header(HeaderError),
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsealed => f.write_str("it is not sealed"),
            Self::BadSignature { name } => write!(f, "the signature of {name} is not right for these bytes"),
            Self::Threshold { signed, threshold, missing, unknown } => {
                write!(f, "{signed} of {threshold} signatures, missing: {}", missing.join(", "))?;
                if !unknown.is_empty() {
                    let ids: Vec<String> = unknown.iter().map(ToString::to_string).collect();
                    write!(f, "; signed by unknown keys: {}", ids.join(", "))?;
                }
                Ok(())
            }
            Self::WrongType(found) => write!(f, "it is sealed as {found:?}, which is not a whitelist"),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AuthenticateError {}

/// A header that enough trusted keys signed, byte for byte. It may be old; nothing is known about the sections.
///
/// ```compile_fail
/// fn believe(header: goldseal_verifier_core::header::Header) -> goldseal_verifier_core::trust::AuthenticHeader {
///     header.into()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AuthenticHeader {
    header: Header,
    identity: Identity,
    signers: Vec<Signer>,
    unknown: Vec<KeyId>,
}

/// What a list must at least be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// The name it must have; `None` takes any.
    pub name: Option<ListName>,
    /// The lowest version; `None` takes any.
    pub version: Option<Version>,
}

/// Whether a list is past its expiry. Callers must say what they do with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is not.
    Current,
    /// It is, since this second.
    Stale {
        /// Its expiry.
        since: Timestamp,
    },
}

impl AuthenticHeader {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// SHA-256 of the signed bytes.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Who signed it, of those trusted.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Keys that signed it and are not trusted; they were neither checked nor counted.
    pub fn unknown_signers(&self) -> &[KeyId] {
        &self.unknown
    }

    /// Holds the header against a floor and the time (docs/format.md, Verifying, step 3).
    ///
    /// # Errors
    /// [`AdmitError`]. Being stale is no error: see [`AdmittedHeader::freshness`].
    pub fn admit(self, now: Timestamp, floor: &Floor) -> Result<AdmittedHeader, AdmitError> {
        let header = &self.header;
        if let Some(expected) = floor.name.as_ref().filter(|expected| **expected != header.name) {
            return Err(AdmitError::WrongName { expected: expected.clone(), found: header.name.clone() });
        }
        if let Some(floor) = floor.version.filter(|floor| header.version < *floor) {
            return Err(AdmitError::BelowFloor { floor, found: header.version });
        }
        if now.plus_seconds(MAX_CLOCK_SKEW_SECONDS).is_some_and(|latest| header.created > latest) {
            return Err(AdmitError::FromTheFuture { created: header.created, now });
        }
        let freshness = match header.expires {
            Expiry::At(since) if now >= since => Freshness::Stale { since },
            Expiry::At(_) | Expiry::Never => Freshness::Current,
        };
        Ok(AdmittedHeader { authentic: self, freshness })
    }
}

/// Why an authentic list is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdmitError {
    /// Another name was asked for.
    WrongName {
        /// The name asked for.
        expected: ListName,
        /// Its name.
        found: ListName,
    },
    /// A later version was asked for.
    BelowFloor {
        /// The lowest version that is taken.
        floor: Version,
        /// Its version.
        found: Version,
    },
    /// Made more than [`MAX_CLOCK_SKEW_SECONDS`] after now.
    FromTheFuture {
        /// When it says it was made.
        created: Timestamp,
        /// The caller's time.
        now: Timestamp,
    },
}

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongName { expected, found } => write!(f, "its name is {found}, not {expected}"),
            Self::BelowFloor { floor, found } => write!(f, "its version is {found}, below {floor}"),
            Self::FromTheFuture { created, now } => write!(f, "it was created {created}, and now it is {now}"),
        }
    }
}

impl std::error::Error for AdmitError {}

/// An authentic header of the right name, not below the floor. Nothing is known about the sections yet.
///
/// ```compile_fail
/// fn skip(authentic: goldseal_verifier_core::trust::AuthenticHeader) {
///     // Sections are loaded only after `admit`.
///     let _ = authentic.load(Vec::new());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AdmittedHeader {
    authentic: AuthenticHeader,
    freshness: Freshness,
}

impl AdmittedHeader {
    /// The header.
    pub fn header(&self) -> &Header {
        self.authentic.header()
    }

    /// Whether it is past its expiry.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Takes everything that follows the head in the file.
    ///
    /// # Errors
    /// [`ContentsError`]: a section is not the one that was signed, or not in its one encoding.
    pub fn load(self, body: Vec<u8>) -> Result<TrustedPolicy, ContentsError> {
        let contents = Contents::load(self.header(), body)?;
        Ok(TrustedPolicy { admitted: self, contents })
    }
}

/// A sealed whitelist in whole: every section hashed as signed, and parsed. It may be stale (see
/// [`TrustedPolicy::freshness`]), and whether it is the right one for a machine is the caller's to know.
///
/// ```compile_fail
/// fn unsealed(list: goldseal_verifier_core::list::UnverifiedList) -> goldseal_verifier_core::trust::TrustedPolicy {
///     list.into()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TrustedPolicy {
    admitted: AdmittedHeader,
    contents: Contents,
}

impl TrustedPolicy {
    /// The header.
    pub fn header(&self) -> &Header {
        self.admitted.header()
    }

    /// SHA-256 of the signed bytes.
    pub fn identity(&self) -> Identity {
        self.admitted.authentic.identity()
    }

    /// Who signed it, of those trusted.
    pub fn signers(&self) -> &[Signer] {
        self.admitted.authentic.signers()
    }

    /// Keys that signed it and are not trusted.
    pub fn unknown_signers(&self) -> &[KeyId] {
        self.admitted.authentic.unknown_signers()
    }

    /// Whether it is past its expiry.
    pub fn freshness(&self) -> Freshness {
        self.admitted.freshness()
    }

    /// The sections.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }
}
