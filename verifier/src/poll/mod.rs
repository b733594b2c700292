//! Polling: who is due is asked, judged, and reported.
//!
//! Promises: not more machines are asked at the same time than may be; each answer is judged by what the machine was when it
//! was claimed, and dropped if somebody changed that meanwhile; evidence is kept before the verdict that rests on it is
//! stored; a poll that dies with the process is asked again when its lease ends.

pub mod client;
pub mod exchange;
pub mod identity;
pub mod nonce;
pub mod verdict;

use std::sync::Arc;
use std::time::Duration;

use goldseal_cli::findings::ImaErrors;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, FindingKind};
use goldseal_verifier_core::digest::HashAlgorithm;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::api::Pulse;
use crate::evidence_store::{self, EvidenceStore};
use crate::policies::{NoPolicy, Policies};
use crate::state::State;
use crate::store::{Agent, Enrolment, Provision, Report, Reported, Store, StoreError};
use crate::time::Time;
use client::Client;
use exchange::{Evidence, ExchangeError};
use verdict::{Judged, Judgement, Rules};

/// Machines claimed, and reports stored, in one transaction: enough that its flush to disk costs each little.
const BATCH: usize = 64;

/// The queue is looked at so often even if nobody says that there is something new: another process may have written.
const TICK: Duration = Duration::from_millis(250);

/// A list of this length is judged where nothing else waits: 64 KiB are some 600 entries, a tenth of a millisecond each
/// hundred.
const INLINE: usize = 64 << 10;

/// Findings that are logged one by one.
const LOGGED: usize = 50;

/// How long storing reports is tried again while the database is full or held.
const RETRY: Duration = Duration::from_millis(500);

/// How to poll.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between polls of one machine.
    pub interval: Duration,
    /// The longest wait for one that does not answer.
    pub max_backoff: Duration,
    /// Machines asked at the same time.
    pub concurrency: usize,
    /// How long a claimed machine is left alone: longer than a poll takes.
    pub lease: Duration,
    /// How long a nonce is good for.
    pub nonce_lifetime: Duration,
    /// The banks that are quoted.
    pub banks: Vec<HashAlgorithm>,
    /// What decides beside the evidence.
    pub rules: Rules,
}

/// See the module.
#[derive(Debug)]
pub struct Poller {
    store: Arc<dyn Store>,
    policies: Arc<Policies>,
    client: Arc<Client>,
    evidence: Arc<EvidenceStore>,
    settings: Settings,
    wake: Arc<Notify>,
    pulse: Arc<Pulse>,
}

impl Poller {
    /// A poller; [`Poller::run`] sets it to work.
    pub fn new(
        store: Arc<dyn Store>,
        policies: Arc<Policies>,
        client: Arc<Client>,
        evidence: Arc<EvidenceStore>,
        settings: Settings,
    ) -> Self {
        let pulse = Arc::new(Pulse::new(Time::now()));
        Self { store, policies, client, evidence, settings, wake: Arc::default(), pulse }
    }

    /// Tells it that somebody may be due.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// When it last went on.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Polls until `stop` says so; then what is under way is finished and stored.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (sender, receiver) = mpsc::channel(BATCH * 4);
        let reporter = tokio::spawn(Arc::clone(&self).report(receiver));
        let free = Arc::new(Semaphore::new(self.settings.concurrency));
        while !*stop.borrow() {
            let wanted = free.available_permits().min(BATCH);
            let claimed = match wanted {
                0 => Vec::new(),
                _ => self.claim(u32::try_from(wanted).unwrap_or(1)).await,
            };
            let is_more = claimed.len() == wanted && wanted > 0;
            for agent in claimed {
                let Ok(permit) = Arc::clone(&free).acquire_owned().await else { break };
                tokio::spawn(Arc::clone(&self).poll_one(agent, sender.clone(), permit));
            }
            if is_more {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.wake.notified() => {}
                _ = stop.changed() => {}
            }
        }
        // The reporter ends when the last poll has.
        drop(sender);
        if let Err(error) = reporter.await {
            tracing::error!("the reporter ended: {error}");
        }
    }

    async fn claim(&self, limit: u32) -> Vec<Agent> {
        let now = Time::now();
        match self.store.claim(now, now.plus(self.settings.lease), limit).await {
            Ok(claimed) => {
                self.pulse.beat(now);
                claimed
            }
            Err(error) => {
                tracing::error!("nothing can be polled: {error}");
                tokio::time::sleep(RETRY).await;
                Vec::new()
            }
        }
    }

    async fn poll_one(self: Arc<Self>, agent: Agent, reports: mpsc::Sender<Judged>, _permit: OwnedSemaphorePermit) {
        if let Some(judged) = self.poll(&agent).await {
            // It is only closed when the process ends; the lease ends then, too.
            let _ = reports.send(*judged).await;
        }
    }

    /// One machine: asked, judged, its evidence kept. `None`: it cannot be said anything, and it is asked again.
    pub async fn poll(&self, agent: &Agent) -> Option<Box<Judged>> {
        let (Some(enrolment), Some(provision)) = (&agent.enrolment, &agent.provision) else { return None };
        let appraiser = match self.policies.appraiser(&provision.policy.identity, Time::now()).await {
            Ok(appraiser) => appraiser,
            Err(NoPolicy::Store(error)) => {
                tracing::error!("{}: its list cannot be read: {error}", agent.uuid);
                return None;
            }
            Err(NoPolicy::Lost(refusal)) => {
                return Some(self.timed(verdict::without_policy(agent, &refusal, Time::now()), provision));
            }
        };
        let judged = match self.exchange(agent, enrolment, provision, &appraiser).await {
            Ok((judged, evidence)) => {
                if judged.keep {
                    self.keep(agent, enrolment, provision, &judged, &evidence).await;
                }
                judged
            }
            Err(error) => verdict::unanswered(agent, &error, Time::now(), &self.settings.rules),
        };
        Some(self.timed(judged, provision))
    }

    /// Asks from where the last accepted answer ended, and, if that does not do, for everything.
    async fn exchange(
        &self,
        agent: &Agent,
        enrolment: &Enrolment,
        provision: &Provision,
        appraiser: &Arc<Appraiser>,
    ) -> Result<(Box<Judged>, Evidence), ExchangeError> {
        let Some(certificate) = &enrolment.tls_certificate else {
            return Err(ExchangeError::BadAnswer("it registered without a certificate for TLS".to_owned()));
        };
        let Settings { banks, nonce_lifetime, .. } = &self.settings;
        let mut connection = self.client.connect(&provision.address, certificate).await?;
        // A list that is not gone on with is seen from its first entry.
        let from = if agent.progress.checkpoint.is_some() { agent.progress.entries } else { 0 };
        let evidence = exchange::ask(&mut connection, provision.protocol, banks, from, *nonce_lifetime).await?;
        match self.judge(appraiser, agent, enrolment, evidence).await {
            (Judgement::Final(judged), evidence) => Ok((judged, evidence)),
            (Judgement::AskWhole(first), first_evidence) => {
                let again = exchange::ask(&mut connection, provision.protocol, banks, 0, *nonce_lifetime).await;
                let Ok(again) = again else { return Ok((first, first_evidence)) };
                let (second, evidence) = self.judge(appraiser, agent, enrolment, again).await;
                let first_digest = first.report.changes.last().and_then(|change| change.evidence);
                let judged = verdict::second(first, second);
                let is_first = judged.report.changes.last().and_then(|change| change.evidence) == first_digest;
                Ok((judged, if is_first { first_evidence } else { evidence }))
            }
        }
    }

    async fn judge(
        &self,
        appraiser: &Arc<Appraiser>,
        agent: &Agent,
        enrolment: &Enrolment,
        evidence: Evidence,
    ) -> (Judgement, Evidence) {
        let rules = self.settings.rules;
        if !evidence.list.is_empty() {
            tracing::info!("{}: Checking IMA measurement list…", agent.uuid);
        }
        if evidence.list.len() <= INLINE {
            return (verdict::judge(appraiser, agent, enrolment, &evidence, Time::now(), &rules), evidence);
        }
        let (appraiser, agent, enrolment) = (Arc::clone(appraiser), agent.clone(), enrolment.clone());
        let judging = tokio::task::spawn_blocking(move || {
            (verdict::judge(&appraiser, &agent, &enrolment, &evidence, Time::now(), &rules), evidence)
        });
        judging.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// The verdict stands whether or not its evidence can be kept: a full disk must not let a machine pass.
    async fn keep(&self, agent: &Agent, enrolment: &Enrolment, provision: &Provision, judged: &Judged, of: &Evidence) {
        let identity = provision.policy.identity;
        let policy = if self.evidence.has_policy(&identity) {
            None
        } else {
            self.store.policy_bytes(&identity).await.ok().flatten()
        };
        let (store, uuid, ak, of) = (Arc::clone(&self.evidence), agent.uuid.clone(), enrolment.ak.clone(), of.clone());
        let at = judged.report.at;
        let why = judged.report.changes.last().map(|change| change.detail.clone()).unwrap_or_default();
        let keeping = tokio::task::spawn_blocking(move || {
            let digest = verdict::digest(&of);
            let (uuid, ak, why) = (&uuid, &ak[..], &why[..]);
            let case = evidence_store::Case { uuid, at, ak, evidence: &of, digest: &digest, policy: &identity, why };
            store.keep(&case, policy.as_deref())
        });
        match keeping.await {
            Ok(Ok(path)) => tracing::info!("{}: evidence is kept in {}", agent.uuid, Printable::path(&path)),
            Ok(Err(error)) => tracing::error!("{}: its evidence cannot be kept: {error}", agent.uuid),
            Err(error) => tracing::error!("{}: its evidence cannot be kept: {error}", agent.uuid),
        }
    }

    /// When it is asked next: after its interval, later the longer it does not answer, and not all at the same time.
    fn timed(&self, mut judged: Box<Judged>, provision: &Provision) -> Box<Judged> {
        let interval = provision.interval.unwrap_or(self.settings.interval);
        let doublings = judged.report.progress.failures.min(16);
        let wait = interval.saturating_mul(1 << doublings);
        let wait = if doublings == 0 { wait } else { wait.min(self.settings.max_backoff.max(interval)) };
        judged.report.due = judged.report.at.plus(jittered(wait));
        judged
    }

    /// Stores what polls came to, as many together as have come.
    async fn report(self: Arc<Self>, mut receiver: mpsc::Receiver<Judged>) {
        let mut judged = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut judged, BATCH).await > 0 {
            let (reports, results): (Vec<Report>, Vec<_>) =
                judged.drain(..).map(|judged| (judged.report, judged.result)).unzip();
            match self.store_all(&reports).await {
                Ok(answers) => {
                    for ((report, result), answer) in reports.iter().zip(&results).zip(answers) {
                        tell(report, result.as_ref(), answer);
                    }
                }
                Err(error) => {
                    // Their leases end, and they are asked again.
                    tracing::error!("{} reports are lost: {error}", reports.len());
                }
            }
        }
    }

    async fn store_all(&self, reports: &[Report]) -> Result<Vec<Result<Reported, StoreError>>, StoreError> {
        let deadline = tokio::time::Instant::now() + self.settings.lease;
        loop {
            match self.store.report(reports).await {
                Err(error) if error.is_temporary() && tokio::time::Instant::now() < deadline => {
                    tracing::error!("reports wait: {error}");
                    tokio::time::sleep(RETRY).await;
                }
                answer => return answer,
            }
        }
    }
}

/// In the words that operators know.
fn tell(report: &Report, result: Option<&AttestationResult>, answer: Result<Reported, StoreError>) {
    let uuid = &report.uuid;
    let Reported { from, to, due } = match answer {
        Ok(reported) => reported,
        Err(StoreError::Fenced) => return tracing::info!("{uuid}: it was changed meanwhile, and is asked again"),
        Err(StoreError::NotFound) => return tracing::info!("{uuid}: it was deleted meanwhile"),
        Err(error) => return tracing::error!("{uuid}: {error}"),
    };
    let last = report.changes.last();
    if let Some(change) = report.changes.iter().find(|change| change.reason == "rebooted") {
        tracing::info!("{uuid}: rebooted: {}", change.detail);
    }
    if from == to {
        return tracing::debug!("{uuid}: {to}");
    }
    let detail = last.map(|change| format!("{} ({})", change.reason, change.detail)).unwrap_or_default();
    if to != State::Failed {
        return tracing::info!("{uuid}: {from} to {to}: {detail}");
    }
    if let Some(result) = result {
        for finding in result.findings().iter().take(LOGGED) {
            let name = Printable(finding.name.as_deref().unwrap_or_default());
            match finding.kind {
                FindingKind::NotInWhitelist { .. } => tracing::warn!("{uuid}: File not found in whitelist: {name}"),
                _ => tracing::warn!("{uuid}: {name}: {}", goldseal_cli::findings::text(&finding.kind)),
            }
        }
        tracing::warn!("{uuid}: {}", ImaErrors::of(result.counts()));
    }
    tracing::error!("{uuid}: {detail}");
    match due {
        None => tracing::error!("agent {uuid} failed, stopping polling"),
        Some(_) => tracing::error!("agent {uuid} failed, polled all the same"),
    }
}

/// Between nine and eleven tenths.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness all are asked at the same time, which is slow and not wrong.
    let _ = goldseal_cli::random::fill(&mut random);
    let fraction = f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX);
    wait.mul_f64(0.9 + 0.2 * fraction)
}
