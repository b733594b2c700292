//! From an answer to what it means for the machine: quote, list and policy to a report.
//!
//! ```text
//! Evidence ─▶ verify_quote ─▶ bind ─▶ MeasurementList ─▶ replay, from the checkpoint or the first entry ─▶ appraise ─▶ Report
//! ```
//!
//! Promises: `accepted` needs a verified quote of this poll; a machine that was rejected in a boot is not accepted in it
//! again; a checkpoint is stored with the acceptance that it comes from, and with nothing else. Pure: the time is an
//! argument, and nothing is read or written.

use std::time::Duration;

use goldseal_cli::findings;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, Finding, Verdict};
use goldseal_verifier_core::ima::checkpoint::Checkpoint;
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::ima::replay::ReplayError;
use goldseal_verifier_core::tpm::{AttestationKey, Boot, ExpectedSelection, QuotedPcrs, Sha1Signatures, read_pcr_blob};
use goldseal_verifier_core::trust::Freshness;
use ring::digest::{Context, SHA256};

use super::exchange::{Evidence, ExchangeError};
use crate::state::{Event, State};
use crate::store::{Agent, Change, Enrolment, FindingRecord, Progress, Report};
use crate::time::Time;

/// Most findings that are stored one by one; the evidence has them all. More are read by nobody.
const MAX_FINDINGS: usize = 1_000;

/// What decides beside the evidence.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How much list is read.
    pub limits: Limits,
    /// How long a quote may leave out what was seen before.
    pub lagging: Duration,
    /// After so many polls without an answer a machine is unreachable.
    pub unreachable_after: u32,
}

/// What an answer came to.
#[derive(Debug)]
pub enum Judgement {
    /// It can be reported.
    Final(Box<Judged>),
    /// It does not go on from the checkpoint: the whole list has to be seen. Without an answer to that, this is what it
    /// came to.
    AskWhole(Box<Judged>),
}

/// A report, and what to tell people.
#[derive(Debug)]
pub struct Judged {
    /// What is stored; when it is asked next is the scheduler's.
    pub report: Report,
    /// What was appraised, if it came to that.
    pub result: Option<AttestationResult>,
    /// Whether its evidence is to be kept: of a machine that is failed by it.
    pub keep: bool,
}

impl Judgement {
    fn last(self) -> Box<Judged> {
        match self {
            Self::Final(judged) | Self::AskWhole(judged) => judged,
        }
    }
}

/// Judges an answer.
pub fn judge(
    appraiser: &Appraiser,
    agent: &Agent,
    enrolment: &Enrolment,
    evidence: &Evidence,
    at: Time,
    rules: &Rules,
) -> Judgement {
    let case = Case { appraiser, agent, digest: digest(evidence), at, rules };
    let quoted = match quoted(enrolment, evidence) {
        Ok(quoted) => quoted,
        Err(why) => return Judgement::Final(case.disbelieved("bad-quote", &why, Vec::new(), agent.progress.clone())),
    };
    let known = &agent.progress;
    let boot = quoted.boot();
    let is_new_boot = known.boot.is_some_and(|before| before != boot);
    // A clock that goes back within one boot is another TPM's, or one that was tampered with (TPM Part 1, Clock).
    if let Some(before) = known.clock.filter(|before| !is_new_boot && quoted.clock().millis < before.millis) {
        let why =
            format!("the TPM's clock went back from {} to {} within one boot", before.millis, quoted.clock().millis);
        return Judgement::Final(case.disbelieved("clock-went-back", &why, Vec::new(), known.clone()));
    }
    let mut changes = Vec::new();
    if let Some(before) = known.boot.filter(|_| is_new_boot) {
        changes.push(case.new_boot(before, &quoted));
    }
    // Of another boot nothing counts any more.
    let progress = if is_new_boot { of_new_boot(known, &quoted) } else { known.clone() };
    let checkpoint = progress.checkpoint.as_deref().and_then(|bytes| Checkpoint::parse(bytes).ok());
    let order = checkpoint.as_ref().map(Checkpoint::byte_order).or(evidence.claimed_order);
    let list = match MeasurementList::parse_increment(&evidence.list, order, &rules.limits) {
        Ok(list) => list,
        Err(error) => {
            return Judgement::Final(case.disbelieved("bad-list", &error.to_string(), changes, progress));
        }
    };
    let is_increment = evidence.claimed_first > 0;
    let replayed = match checkpoint.filter(|checkpoint| checkpoint.accepted() == evidence.claimed_first) {
        Some(checkpoint) if is_increment => appraiser.resume(&list, quoted.clone(), &checkpoint),
        None if is_increment => {
            // It rebooted, or its checkpoint was given up: an increment alone proves nothing.
            let judged =
                case.disbelieved("no-replay", "it shows an increment of a list that is not known", changes, progress);
            return Judgement::AskWhole(judged);
        }
        _ => appraiser.evidence(&list, quoted.clone()),
    };
    let appraised = match replayed {
        Ok(appraised) => appraised,
        Err(error) => {
            let reason = if matches!(error, ReplayError::Checkpoint(_)) { "no-checkpoint" } else { "no-replay" };
            let judged = case.disbelieved(reason, &replay_words(&error), changes, progress);
            // What follows on a checkpoint may be right without it, and is not evidence that others can look at.
            return if is_increment { Judgement::AskWhole(judged) } else { Judgement::Final(judged) };
        }
    };
    let result = appraiser.appraise(&appraised);
    let seen = evidence.claimed_first.saturating_add(u64::try_from(list.len()).unwrap_or(u64::MAX));
    let judged = case.judged(result, &quoted, seen, changes, progress);
    // The evidence of a rejection is the whole list, so that anybody can hold it against the quote.
    if judged.keep && is_increment { Judgement::AskWhole(judged) } else { Judgement::Final(judged) }
}

/// The second answer, to a question for the whole list, beside the first. A rejection stands, whatever comes second.
pub fn second(first: Box<Judged>, second: Judgement) -> Box<Judged> {
    let second = second.last();
    let failed = |judged: &Judged| {
        judged.report.changes.iter().any(|change| matches!(change.event, Event::Rejected | Event::LaggedTooLong))
    };
    if failed(&first) && !failed(&second) { first } else { second }
}

/// A machine without an answer.
pub fn unanswered(agent: &Agent, error: &ExchangeError, at: Time, rules: &Rules) -> Box<Judged> {
    let mut progress = agent.progress.clone();
    progress.failures = progress.failures.saturating_add(1);
    let is_out = progress.failures >= rules.unreachable_after || agent.standing.state == State::Attesting;
    let change = Change {
        detail: Printable(error.to_string().as_bytes()).to_string(),
        ..Change::plain(Event::Unreachable, error.reason())
    };
    // A failed machine is failed for a better reason than that it does not answer.
    let changes = if is_out && agent.standing.state != State::Failed { vec![change] } else { Vec::new() };
    let report = report(agent, at, changes, progress, None);
    Box::new(Judged { report, result: None, keep: false })
}

/// A machine whose list no longer verifies.
pub fn without_policy(agent: &Agent, refusal: &crate::refusal::Refusal, at: Time) -> Box<Judged> {
    // What was accepted by it has to be shown again, by whatever list comes next.
    let progress = Progress { checkpoint: None, ..agent.progress.clone() };
    let change = Change { detail: refusal.what.clone(), ..Change::plain(Event::PolicyLost, refusal.reason) };
    let changes = if agent.standing.state == State::Failed { Vec::new() } else { vec![change] };
    Box::new(Judged { report: report(agent, at, changes, progress, None), result: None, keep: false })
}

/// What is judged.
struct Case<'a> {
    appraiser: &'a Appraiser,
    agent: &'a Agent,
    digest: [u8; 32],
    at: Time,
    rules: &'a Rules,
}

impl Case<'_> {
    /// What was shown cannot be believed. What was accepted before stays where it was.
    fn disbelieved(&self, reason: &str, why: &str, mut changes: Vec<Change>, progress: Progress) -> Box<Judged> {
        let detail = Printable(why.as_bytes()).to_string();
        changes.push(Change { detail, evidence: Some(self.digest), ..Change::plain(Event::Disbelieved, reason) });
        let progress = Progress { contact_at: Some(self.at), failures: 0, ..progress };
        let keep = !self.failed_for(reason);
        let report = report(self.agent, self.at, changes, progress, Some(Vec::new()));
        Box::new(Judged { report, result: None, keep })
    }

    fn new_boot(&self, before: Boot, quoted: &QuotedPcrs) -> Change {
        let (Boot { reset_count, restart_count }, clock) = (quoted.boot(), quoted.clock());
        let back = match self.agent.progress.clock {
            Some(earlier) if clock.millis < earlier.millis && !clock.safe => {
                "; its clock went back, as after a power cut"
            }
            _ => "",
        };
        Change {
            detail: format!(
                "reset {} to {reset_count}, restart {} to {restart_count}{back}",
                before.reset_count, before.restart_count
            ),
            evidence: Some(self.digest),
            blind: self.agent.progress.attested_at.map(|attested| (attested, self.at)),
            ..Change::plain(Event::NewBoot, "rebooted")
        }
    }

    fn judged(
        &self,
        result: AttestationResult,
        quoted: &QuotedPcrs,
        seen: u64,
        mut changes: Vec<Change>,
        before: Progress,
    ) -> Box<Judged> {
        let Self { agent, at, rules, .. } = self;
        // A quote that leaves out what an earlier answer showed; not yet in a boot that is new.
        let is_behind = result.entries() < before.seen;
        let lagging_since = is_behind.then(|| before.lagging_since.unwrap_or(*at));
        let event = match result.verdict() {
            Verdict::Rejected => Event::Rejected,
            Verdict::Accepted => match lagging_since {
                Some(since) if at.since(since) > rules.lagging => Event::LaggedTooLong,
                Some(_) => Event::Lagging,
                None if result.freshness() == Freshness::Current => Event::Accepted,
                None => Event::AcceptedStale,
            },
        };
        let is_failure = matches!(event, Event::Rejected | Event::LaggedTooLong);
        let mut progress = Progress {
            // Of a rejection there is none.
            checkpoint: result.checkpoint().map(Checkpoint::print),
            boot: Some(quoted.boot()),
            clock: Some(quoted.clock()),
            entries: result.entries(),
            seen: seen.max(if is_behind { before.seen } else { 0 }),
            counts: findings::counts_json(result.counts()).to_string(),
            boot_state: Some(result.boot_state().word().to_owned()),
            attested_at: Some(*at),
            contact_at: Some(*at),
            lagging_since,
            failures: 0,
            findings: count(&result),
        };
        let state = changes.last().map_or(agent.standing.state, |_| State::Attesting);
        if state == State::Failed && !is_failure {
            // Sticky: it is polled all the same, and was rejected or not believed in this very boot.
            progress.checkpoint = None;
            progress.findings = agent.progress.findings;
            let report = report(agent, *at, changes, progress, None);
            return Box::new(Judged { report, result: Some(result), keep: false });
        }
        let (reason, detail) = self.why(event, &result);
        changes.push(Change { detail, evidence: Some(self.digest), ..Change::plain(event, reason) });
        let records = is_failure.then(|| records(&result, *at));
        let keep = is_failure && !self.failed_for(reason);
        Box::new(Judged { report: report(agent, *at, changes, progress, records), result: Some(result), keep })
    }

    /// Whether it is failed for this already, so that there is evidence of it.
    fn failed_for(&self, reason: &str) -> bool {
        self.agent.standing.state == State::Failed && self.agent.standing.reason == reason
    }

    fn why(&self, event: Event, result: &AttestationResult) -> (&'static str, String) {
        match event {
            Event::Rejected => ("rejected", findings_words(result)),
            Event::Lagging | Event::LaggedTooLong => (
                "lagging",
                format!(
                    "the quote confirms {} entries, and {} were seen before",
                    result.entries(),
                    self.agent.progress.seen
                ),
            ),
            Event::AcceptedStale => ("stale", format!("judged by {}", self.appraiser.policy().identity())),
            _ => ("ok", String::new()),
        }
    }
}

/// By the registered AK, for this nonce, of exactly these PCRs, with these values.
fn quoted(enrolment: &Enrolment, evidence: &Evidence) -> Result<QuotedPcrs, String> {
    if evidence.claimed_ak.as_ref().is_some_and(|claimed| *claimed != enrolment.ak) {
        return Err("the agent has another AK than the one that is registered".to_owned());
    }
    let ak = AttestationKey::from_public_area(&enrolment.ak).map_err(|error| error.to_string())?;
    let Evidence { attest, signature, nonce, selection, pcr_blob, .. } = evidence;
    let expected = ExpectedSelection::Exactly(selection);
    let quote = ak.verify_quote(attest, signature, nonce, expected, Sha1Signatures::Refuse);
    let quote = quote.map_err(|error| error.to_string())?;
    let values = read_pcr_blob(pcr_blob).map_err(|error| error.to_string())?;
    quote.bind(values).map_err(|error| error.to_string())
}

fn of_new_boot(known: &Progress, quoted: &QuotedPcrs) -> Progress {
    Progress {
        boot: Some(quoted.boot()),
        clock: Some(quoted.clock()),
        attested_at: known.attested_at,
        contact_at: known.contact_at,
        counts: "{}".to_owned(),
        ..Progress::default()
    }
}

fn report(
    agent: &Agent,
    at: Time,
    changes: Vec<Change>,
    progress: Progress,
    findings: Option<Vec<FindingRecord>>,
) -> Report {
    Report { uuid: agent.uuid.clone(), generation: agent.generation, at, changes, progress, findings, due: at }
}

fn replay_words(error: &ReplayError) -> String {
    format!("the quote does not confirm the list: {error}")
}

fn count(result: &AttestationResult) -> u64 {
    u64::try_from(result.findings().len()).unwrap_or(u64::MAX).saturating_add(result.omitted())
}

fn findings_words(result: &AttestationResult) -> String {
    let first = result.findings().first().map(|finding| {
        let name = finding.name.as_deref().map(|name| format!("{}: ", Printable(name))).unwrap_or_default();
        format!("{name}{}", findings::text(&finding.kind))
    });
    match (count(result), first) {
        (1, Some(first)) => first,
        (count, Some(first)) => format!("{first}; {} more", count.saturating_sub(1)),
        (_, None) => String::new(),
    }
}

fn records(result: &AttestationResult, at: Time) -> Vec<FindingRecord> {
    let record = |finding: &Finding| {
        let (found, expected) = findings::digests(&finding.kind);
        FindingRecord {
            entry: finding.entry,
            word: finding.kind.word().to_owned(),
            name: finding.name.clone(),
            found,
            expected,
            text: findings::text(&finding.kind),
            first_seen: at,
        }
    };
    result.findings().iter().take(MAX_FINDINGS).map(record).collect()
}

/// SHA-256 over all parts, each behind its length.
pub fn digest(evidence: &Evidence) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let Evidence { attest, signature, pcr_blob, nonce, list, claimed_first, .. } = evidence;
    for part in [&attest[..], signature, pcr_blob, nonce, &claimed_first.to_be_bytes(), list] {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
