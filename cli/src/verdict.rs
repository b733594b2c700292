//! A machine's evidence held against a sealed list: the verdict with its reasons, for people and for programs.

use std::path::Path;

use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, Counts, Finding, Verdict};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::ima::list::MeasurementList;
use goldseal_verifier_core::ima::replay::{ReplayError, ReplayMode};
use goldseal_verifier_core::tpm::{AkIdentity, PcrSelection, QuotedPcrs};
use goldseal_verifier_core::trust::{Freshness, TrustedPolicy};
use serde_json::{Map, Value, json};

use crate::evidence;
use crate::failure::{Exit, Failure};
use crate::findings::{self, ImaErrors};
use crate::policy::{say_judging, stale_document};
use crate::report::{Outcome, Ui};
use crate::summary::say;

/// Judges a measurement list that a quote has to confirm; `ima_log` is what messages call it.
///
/// # Errors
/// `bad-list` or `no-replay`, if it cannot be believed.
pub fn judge(
    ui: Ui,
    policy: TrustedPolicy,
    quoted: QuotedPcrs,
    ima_log: &Path,
    bytes: &[u8],
) -> Result<Outcome, Failure> {
    let about = Quoted {
        selection: PcrSelection::of(quoted.values()).map(|selection| selection.to_string()).unwrap_or_default(),
        signature_hash: quoted.signature_hash(),
        firmware_version: quoted.firmware_version(),
    };

    let list = MeasurementList::parse(bytes, &evidence::LIMITS).map_err(|error| evidence::bad_list(ima_log, &error))?;
    let appraiser = Appraiser::new(policy);
    let replayed =
        appraiser.evidence(&list, quoted).map_err(|error: ReplayError| evidence::no_replay(ima_log, &error))?;
    let result = appraiser.appraise(&replayed);
    say_result(ui, appraiser.policy(), &result, &about)?;
    let (exit, reason) = match (result.verdict(), result.freshness()) {
        (Verdict::Rejected, _) => (Exit::No, "rejected"),
        (Verdict::Accepted, Freshness::Stale { .. }) => (Exit::Stale, "stale"),
        (Verdict::Accepted, Freshness::Current) => (Exit::Done, "ok"),
    };
    Ok(Outcome::new(exit, reason).with_all(result_fields(&result, &about)))
}

/// What the quote tells beside what the result carries.
#[derive(Debug)]
struct Quoted {
    selection: String,
    signature_hash: HashAlgorithm,
    firmware_version: u64,
}

fn say_result(ui: Ui, policy: &TrustedPolicy, result: &AttestationResult, about: &Quoted) -> Result<(), Failure> {
    let entries = result.entries();
    match (result.verdict(), result.freshness()) {
        (Verdict::Rejected, _) => {
            let count = (result.findings().len() as u64).saturating_add(result.omitted());
            let plural = if count == 1 { "" } else { "s" };
            ui.say(format_args!("REJECTED: {count} finding{plural} in what the quote confirms."))?;
        }
        (Verdict::Accepted, Freshness::Current) => {
            ui.say("ACCEPTED: everything that the quote confirms is allowed.")?;
        }
        (Verdict::Accepted, Freshness::Stale { document, .. }) => {
            let document = stale_document(document);
            ui.say(format_args!("ACCEPTED, BUT STALE: all is allowed, by a {document} that is past its expiry."))?;
        }
    }
    say(ui, "AK", result.ak())?;
    say_judging(ui, policy)?;
    say(ui, "quoted", &about.selection)?;
    let mode = match result.mode() {
        ReplayMode::PerBank => "",
        ReplayMode::PaddedSha1 => " (replayed over SHA-1 template hashes alone)",
    };
    say(ui, "entries", format_args!("{entries} confirmed by the quote{mode}, {} beyond it", result.tail()))?;
    if result.tail() > 0 {
        say(ui, "", "those beyond are neither judged nor believed: the next quote may cover them")?;
    }
    say(ui, "counts", findings::counts_text(result.counts()))?;
    say(ui, "boot state", result.boot_state().word())?;
    let (boot, clock) = (result.boot(), result.clock());
    say(ui, "boot", format_args!("reset count {}, restart count {}", boot.reset_count, boot.restart_count))?;
    let safe = if clock.safe { "" } else { ", not safe: it may have gone back" };
    say(ui, "clock", format_args!("{} ms{safe}", clock.millis))?;
    if about.signature_hash == HashAlgorithm::Sha1 {
        say(ui, "WARNING", "the quote is signed over a SHA-1 digest: it proves no more than SHA-1 does")?;
    }
    findings::say_all(ui, "note", result.notes(), 0)?;
    findings::say_all(ui, "finding", result.findings(), result.omitted())?;
    ui.say(format_args!("\n{}", ImaErrors::of(result.counts())))
}

fn result_fields(result: &AttestationResult, about: &Quoted) -> Map<String, Value> {
    let verdict = match result.verdict() {
        Verdict::Accepted => "accepted",
        Verdict::Rejected => "rejected",
    };
    let ak = match result.ak() {
        AkIdentity::Proven { name, .. } => json!({ "proven": true, "name": name.to_string() }),
        AkIdentity::Asserted { spki_sha256, .. } => {
            json!({ "proven": false, "spki_sha256": spki_sha256.to_string() })
        }
    };
    let (boot, clock) = (result.boot(), result.clock());
    let mode = match result.mode() {
        ReplayMode::PerBank => "per-bank",
        ReplayMode::PaddedSha1 => "padded-sha1",
    };
    let mut fields = common_fields(verdict, result.counts(), result.findings(), result.notes(), result.omitted());
    for (key, value) in [
        ("ak", ak),
        ("quoted", json!(about.selection)),
        ("signature_hash", json!(about.signature_hash.name())),
        ("firmware_version", json!(format!("{:016x}", about.firmware_version))),
        ("replay", json!(mode)),
        ("entries", json!(result.entries())),
        ("tail", json!(result.tail())),
        ("boot_state", json!(result.boot_state().word())),
        ("boot", json!({ "reset_count": boot.reset_count, "restart_count": boot.restart_count })),
        ("clock", json!({ "millis": clock.millis, "safe": clock.safe })),
    ] {
        fields.insert(key.into(), value);
    }
    fields
}

/// What every judgement has, for programs.
pub fn common_fields(
    verdict: &str,
    counts: &Counts,
    found: &[Finding],
    notes: &[Finding],
    omitted: u64,
) -> Map<String, Value> {
    let all = |of: &[_]| of.iter().map(findings::json).collect::<Value>();
    let mut fields = Map::new();
    for (key, value) in [
        ("verdict", json!(verdict)),
        ("counts", findings::counts_json(counts)),
        ("ima_errors", ImaErrors::of(counts).json()),
        ("findings", all(found)),
        ("notes", all(notes)),
        ("omitted", json!(omitted)),
    ] {
        fields.insert(key.into(), value);
    }
    fields
}
