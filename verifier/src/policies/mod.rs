//! The lists that machines are judged by: sealed ones alone, verified when they come and each time they are loaded.
//!
//! Promises: no list is used that the trust root does not stand behind now; none older than what was accepted is taken
//! anew; what was accepted is in the database, in the transaction of the list that raised it. Each list is parsed once and
//! shared by all machines that it judges. No setting turns this off.
//!
//! Does not promise that a list is the right one for a machine: the tenant assigns it, by its name.

mod mark;
mod roots;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::ListFile;
use goldseal_cli::policy;
use goldseal_verifier_core::appraise::Appraiser;
use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::header::{Expiry, ListName, Version};
use goldseal_verifier_core::trust::{Floor, Freshness, Now, TrustRoot, TrustState, TrustedPolicy};

use crate::refusal::Refusal;
use crate::store::{Accepted, Assignment, Audit, NewPolicy, PolicyRecord, Store, StoreError, TrustRecord};
use crate::time::Time;

pub use mark::Mark;
pub use roots::Roots;

/// What messages call a list that is no file here.
const NAME: &str = "the list";

/// A list that no machine asked for that long is dropped from memory; it is loaded again when one does.
const UNUSED: Duration = Duration::from_secs(30 * 60);

/// See the module.
#[derive(Debug)]
pub struct Policies {
    store: Arc<dyn Store>,
    roots: Roots,
    mark: Mark,
    trusted: RwLock<Arc<Trusted>>,
    cache: RwLock<HashMap<Identity, Arc<Loaded>>>,
    /// One change of what is trusted at a time.
    changing: tokio::sync::Mutex<()>,
    /// One list is loaded at a time, so that none is twice.
    loading: tokio::sync::Mutex<()>,
}

/// Whose seals count, and what was accepted.
#[derive(Debug)]
struct Trusted {
    root: TrustRoot,
    state: TrustState,
    record: TrustRecord,
}

/// What became of a list when it was last verified.
#[derive(Debug)]
struct Loaded {
    outcome: Result<Arc<Appraiser>, Refusal>,
    used: AtomicI64,
}

/// What a list that was uploaded came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// What is shown of it.
    pub record: PolicyRecord,
    /// Whether it was there already, with these very signatures.
    pub known: bool,
}

/// Why there is no list to judge by.
#[derive(Debug)]
pub enum NoPolicy {
    /// It does not verify: its machines have none until a good one comes.
    Lost(Refusal),
    /// It could not be read. Ask again.
    Store(StoreError),
}

impl From<StoreError> for NoPolicy {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Policies {
    /// Reads the trust root and what was accepted, and follows the root as far as it leads.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: `bad-root`, `below-floor` or `equivocation` of the root; `lost-state` if the database or
    /// its mark is damaged; `restored-backup` if it is an older one.
    pub async fn open(store: Arc<dyn Store>, roots: Roots, mark: Mark, now: Time) -> Result<Self, StoreError> {
        let record = store.trust().await?;
        mark.check(&record)?;
        let (trusted, _) = follow(store.as_ref(), &roots, record, now).await?;
        mark.write(&trusted.record)?;
        Ok(Self {
            store,
            roots,
            mark,
            trusted: RwLock::new(Arc::new(trusted)),
            cache: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        })
    }

    /// Takes the database for the right one although its mark says otherwise, because a person says so.
    ///
    /// # Errors
    /// As [`Policies::open`], but for `restored-backup`.
    pub async fn accept_backup(store: &dyn Store, mark: &Mark, reason: &str, at: Time) -> Result<(), StoreError> {
        let record = store.trust().await?;
        let audit = Audit {
            at,
            actor: "operator".to_owned(),
            action: "backup-accepted",
            subject: "trust".to_owned(),
            detail: reason.escape_debug().to_string(),
        };
        let record = store.set_trust(&record, &record.accepted, &audit).await?;
        mark.write(&record)?;
        Ok(())
    }

    /// Forgets what was accepted of one list, because a person says so.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: `unknown` if nothing was; `lost-state`.
    pub async fn reset(
        store: &dyn Store,
        mark: &Mark,
        name: &ListName,
        reason: &str,
        at: Time,
    ) -> Result<(), StoreError> {
        let record = store.trust().await?;
        mark.check(&record)?;
        let mut state = parse(&record)?;
        if state.forget(name).is_none() {
            let what = format!("nothing was accepted of a list named {name}");
            return Err(Refusal::new("unknown", what, "name a list that was: goldseal tenant policy list").into());
        }
        let audit = Audit {
            at,
            actor: "operator".to_owned(),
            action: "floor-reset",
            subject: name.to_string(),
            detail: reason.escape_debug().to_string(),
        };
        let next = Accepted { state: state.print(), root: record.accepted.root.clone() };
        let record = store.set_trust(&record, &next, &audit).await?;
        mark.write(&record)?;
        Ok(())
    }

    /// Reads the roots again: the next root may be there. Every list is verified again when it is next asked for.
    /// Answers whether another root is followed now. What fails changes nothing.
    ///
    /// # Errors
    /// As [`Policies::open`].
    pub async fn reload(&self, now: Time) -> Result<bool, StoreError> {
        let _changing = self.changing.lock().await;
        let record = self.store.trust().await?;
        let (trusted, changed) = follow(self.store.as_ref(), &self.roots, record, now).await?;
        self.mark.write(&trusted.record)?;
        self.set_trusted(trusted);
        self.cache.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(changed)
    }

    /// Takes a list: sealed as the trust root asks, not older than what was accepted, fresh, whole, and of this name if
    /// one is given.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with the reason of docs/exit-codes.md, and then nothing was changed.
    pub async fn upload(
        &self,
        bytes: Vec<u8>,
        name: Option<ListName>,
        actor: &str,
        at: Time,
    ) -> Result<Uploaded, StoreError> {
        let _changing = self.changing.lock().await;
        let trusted = self.trusted();
        let now = trusted.state.now(at.timestamp());
        let checked = Arc::clone(&trusted);
        let (policy, bytes) = blocking(move || {
            let floor = |list: &ListName| Floor { name, version: None, seen: checked.state.seen(list) };
            let policy = policy::check(list_file(&bytes)?, Path::new(NAME), &checked.root, floor, now);
            policy.map_err(refused).and_then(|policy| fresh(&policy).map(|()| (policy, bytes)))
        })
        .await?;
        let record = record_of(&policy, bytes.len(), actor, at);
        let identity = record.identity;
        if self.store.policy_bytes(&identity).await?.is_some_and(|known| known == bytes) {
            let known = self.store.policies().await?.into_iter().find(|known| known.identity == identity);
            self.put(identity, Ok(Arc::new(Appraiser::new(policy))), at);
            return Ok(Uploaded { record: known.unwrap_or(record), known: true });
        }
        let mut state = trusted.state.clone();
        state.accept(&policy).map_err(|error| Refusal::new("below-floor", error.to_string(), GET_NEWEST))?;
        let next = accepted(&state, trusted.record.accepted.root.clone())?;
        let audit = Audit {
            at,
            actor: actor.to_owned(),
            action: "policy-uploaded",
            subject: identity.to_string(),
            detail: format!("{} version {}, sealed by {}", record.name, record.version, record.signers.join(", ")),
        };
        let policy_bytes = NewPolicy { record, bytes };
        let stored = self.store.add_policy(&policy_bytes, &trusted.record, &next, &audit).await?;
        if let Err(error) = self.mark.write(&stored) {
            // The list is taken; a mark that is behind says less, and nothing wrong.
            tracing::error!("{error}");
        }
        self.set_trusted(Trusted { root: trusted.root.clone(), state, record: stored });
        self.put(identity, Ok(Arc::new(Appraiser::new(policy))), at);
        Ok(Uploaded { record: policy_bytes.record, known: false })
    }

    /// A list that machines may be given now: it verifies, is fresh, and nothing newer of its name was accepted.
    ///
    /// # Errors
    /// [`NoPolicy::Lost`] with the reason: `unknown`, `stale`, `below-floor`, or what is wrong with its seal.
    pub async fn assignable(&self, identity: &Identity, at: Time) -> Result<Assignment, NoPolicy> {
        let appraiser = self.appraiser(identity, at).await?;
        let policy = appraiser.policy();
        fresh(policy).map_err(NoPolicy::Lost)?;
        let name = policy.header().name.clone();
        if let Some(floor) = self.floor(&name).filter(|floor| policy.header().version < *floor) {
            let what = format!("version {} of {name} is below {floor}", policy.header().version);
            return Err(NoPolicy::Lost(Refusal::new("below-floor", what, GET_NEWEST)));
        }
        Ok(Assignment { identity: *identity, name })
    }

    /// A list, ready to judge by. Verified again if the trust root changed or the list went stale since it was loaded.
    ///
    /// # Errors
    /// [`NoPolicy`].
    pub async fn appraiser(&self, identity: &Identity, at: Time) -> Result<Arc<Appraiser>, NoPolicy> {
        if let Some(outcome) = self.cached(identity, at) {
            return outcome.map_err(NoPolicy::Lost);
        }
        let _loading = self.loading.lock().await;
        if let Some(outcome) = self.cached(identity, at) {
            return outcome.map_err(NoPolicy::Lost);
        }
        let trusted = self.trusted();
        let now = trusted.state.now(at.timestamp());
        let outcome = match self.store.policy_bytes(identity).await? {
            Some(bytes) => {
                let (checked, identity) = (Arc::clone(&trusted), *identity);
                blocking(move || load(&bytes, &checked.root, now, identity)).await
            }
            None => Err(Refusal::new("unknown", format!("there is no list {identity}"), "upload it first")),
        };
        // A root that changed in between cleared what it could not see yet.
        if Arc::ptr_eq(&trusted, &self.trusted()) {
            self.put(*identity, outcome.clone(), at);
        }
        outcome.map_err(NoPolicy::Lost)
    }

    /// The lowest version of lists of this name that is taken anew. Machines with an older one are *behind*.
    pub fn floor(&self, name: &ListName) -> Option<Version> {
        self.trusted().state.seen(name).map(|seen| seen.version)
    }

    /// The version of the trust root, if it is a document, and until when it is fresh.
    pub fn root(&self) -> Option<(Version, Expiry)> {
        self.trusted().root.header().map(|header| (header.version, header.expires))
    }

    /// Drops lists from memory that no machine asked for in a while.
    pub fn tidy(&self, at: Time) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, loaded| at.since(Time::from_millis(loaded.used.load(Ordering::Relaxed))) < UNUSED);
    }

    fn cached(&self, identity: &Identity, at: Time) -> Option<Result<Arc<Appraiser>, Refusal>> {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = cache.get(identity)?;
        let trusted = self.trusted();
        if let Ok(appraiser) = &loaded.outcome {
            let is_stale = appraiser.policy().freshness() != Freshness::Current;
            let now = trusted.state.now(at.timestamp());
            if is_stale != expired(appraiser.policy(), &trusted.root, now) {
                return None;
            }
        }
        loaded.used.store(at.millis(), Ordering::Relaxed);
        Some(loaded.outcome.clone())
    }

    fn put(&self, identity: Identity, outcome: Result<Arc<Appraiser>, Refusal>, at: Time) {
        let loaded = Loaded { outcome, used: AtomicI64::new(at.millis()) };
        self.cache.write().unwrap_or_else(PoisonError::into_inner).insert(identity, Arc::new(loaded));
    }

    fn trusted(&self) -> Arc<Trusted> {
        Arc::clone(&self.trusted.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_trusted(&self, trusted: Trusted) {
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trusted);
    }
}

const GET_NEWEST: &str = "it was replaced by a newer version: get that one";

/// Follows the roots from what was accepted, and remembers where that leads.
async fn follow(
    store: &dyn Store,
    roots: &Roots,
    record: TrustRecord,
    at: Time,
) -> Result<(Trusted, bool), StoreError> {
    let mut state = parse(&record)?;
    let now = state.now(at.timestamp());
    let (root, root_bytes) = roots.follow(&mut state, record.accepted.root.as_deref(), now)?;
    let next = accepted(&state, root_bytes)?;
    if next == record.accepted {
        return Ok((Trusted { root, state, record }, false));
    }
    let version = root.mark().map(|mark| format!("version {} {}", mark.version, mark.identity));
    let audit = Audit {
        at,
        actor: "operator".to_owned(),
        action: "root-followed",
        subject: "trust".to_owned(),
        detail: version.unwrap_or_default(),
    };
    let record = store.set_trust(&record, &next, &audit).await?;
    Ok((Trusted { root, state, record }, true))
}

fn parse(record: &TrustRecord) -> Result<TrustState, StoreError> {
    TrustState::parse(&record.accepted.state).map_err(|error| {
        let todo = "restore the database from a backup; what was accepted must not be guessed";
        Refusal::new("lost-state", format!("what was accepted cannot be read: {error}"), todo).into()
    })
}

fn accepted(state: &TrustState, root: Option<Vec<u8>>) -> Result<Accepted, Refusal> {
    let text = state.print();
    if text.len() > goldseal_verifier_core::trust::MAX_STATE_LEN {
        let todo = "forget lists that are no longer used: goldseal-verifier reset --list NAME --reason TEXT";
        return Err(Refusal::new("refused", "there are too many names of lists to remember", todo));
    }
    Ok(Accepted { state: text, root })
}

fn list_file(bytes: &[u8]) -> Result<ListFile<&[u8]>, Refusal> {
    ListFile::new(Path::new(NAME), bytes, u64::try_from(bytes.len()).ok()).map_err(refused)
}

/// A list that is in the database, verified as if it came from anywhere.
fn load(bytes: &[u8], root: &TrustRoot, now: Now, identity: Identity) -> Result<Arc<Appraiser>, Refusal> {
    let policy = policy::check_in_use(list_file(bytes)?, Path::new(NAME), root, now).map_err(refused)?;
    if policy.identity() != identity {
        let what = format!("the database has {} in the place of {identity}", policy.identity());
        return Err(Refusal::new("tampered", what, "upload the list again, and find out who changed the database"));
    }
    Ok(Arc::new(Appraiser::new(policy)))
}

/// What is stale is not taken anew: only what is in use goes on catching.
fn fresh(policy: &TrustedPolicy) -> Result<(), Refusal> {
    match policy.freshness() {
        Freshness::Current => Ok(()),
        Freshness::Stale { document, since } => Err(Refusal::new(
            "stale",
            match document {
                goldseal_verifier_core::trust::StaleDocument::List => format!("the list is stale since {since}"),
                goldseal_verifier_core::trust::StaleDocument::TrustRoot => {
                    format!("the trust root is stale since {since}")
                }
            },
            "have a new version sealed, and upload that",
        )),
    }
}

fn expired(policy: &TrustedPolicy, root: &TrustRoot, now: Now) -> bool {
    let expiries = [Some(policy.header().expires), root.header().map(|header| header.expires)];
    expiries.into_iter().flatten().any(|expiry| matches!(expiry, Expiry::At(since) if now.time() >= since))
}

fn record_of(policy: &TrustedPolicy, size: usize, actor: &str, at: Time) -> PolicyRecord {
    let header = policy.header();
    PolicyRecord {
        identity: policy.identity(),
        name: header.name.clone(),
        version: header.version.number(),
        created: header.created.to_string(),
        expires: header.expires.to_string(),
        entries: policy.contents().entry_count(),
        size: u64::try_from(size).unwrap_or(u64::MAX),
        signers: policy.authentic().signers().iter().map(|signer| signer.name.to_string()).collect(),
        uploaded_at: at,
        uploaded_by: actor.to_owned(),
    }
}

/// What a command would say of a file, as an answer to whoever asked.
pub(crate) fn refused(failure: Failure) -> Refusal {
    let reason = if failure.exit == Exit::Usage { "usage" } else { failure.reason };
    Refusal { reason, what: failure.what, todo: failure.todo }
}

/// Hashing and parsing a list takes long: not where connections are waited for.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
