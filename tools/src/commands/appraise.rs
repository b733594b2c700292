//! `goldseal appraise`: a quote and a measurement list, held against a sealed list. A verdict, with its reasons.

use std::path::{Path, PathBuf};

use goldseal_cli::evidence::{self, Ak, QuoteFiles};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::findings::{self, ImaErrors};
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;
use goldseal_cli::trusted::TrustArgs;
use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, Counts, Finding, Trial, Trier, Verdict};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::header::{ListName, Version};
use goldseal_verifier_core::ima::list::MeasurementList;
use goldseal_verifier_core::ima::replay::{ReplayError, ReplayMode};
use goldseal_verifier_core::tpm::{AkIdentity, PcrSelection, Sha1Signatures};
use goldseal_verifier_core::trust::{Floor, Freshness, StaleDocument, TrustedPolicy};
use serde_json::{Map, Value, json};

use super::verify::{self, list_name, version};

/// Judge a machine by its TPM quote and its measurement list, offline
///
/// Takes the files as tpm2-tools and the kernel write them. First the sealed list is verified, then the quote, then the
/// measurement list is replayed to the quoted PCRs; what the quote confirms is judged by the list. Entries beyond the
/// quote are neither judged nor believed.
///
/// The last line has the counts that operators of Keylime know: `fnf` files that are not in the whitelist, `hash` files
/// with another digest, `good` entries that the whitelist vouches for (files by digest or signature, buffers, the
/// boot_aggregate, and not what an exclude lets pass). A wrong template hash refuses the whole list, so that the first
/// count is 0.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The sealed list to judge by
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Folder that remembers what was accepted, so that nothing older is (see goldseal state)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The name that the sealed list must have
    #[arg(long, value_name = "NAME", value_parser = list_name)]
    pub name: Option<ListName>,
    /// The lowest version of the sealed list that is taken
    #[arg(long, value_name = "N", value_parser = version)]
    pub min_version: Option<Version>,
    #[command(flatten)]
    pub quote: QuoteArgs,
    /// The measurement list, binary or ASCII
    #[arg(long, value_name = "FILE")]
    pub ima_log: PathBuf,
    /// Judge the list without a quote: nothing is proven then, and the exit code is never 0
    #[arg(long)]
    pub no_quote: bool,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// A quote as files.
#[derive(Debug, clap::Args)]
pub struct QuoteArgs {
    /// The AK: TPM2B_PUBLIC or TPMT_PUBLIC, or PEM, of which nothing is proven (`asserted`)
    #[arg(long, value_name = "KEY", required_unless_present = "no_quote", conflicts_with = "no_quote")]
    pub ak: Option<PathBuf>,
    /// The quote (TPMS_ATTEST): `tpm2_quote -m`
    #[arg(long, value_name = "MSG", required_unless_present = "no_quote", conflicts_with = "no_quote")]
    pub quote: Option<PathBuf>,
    /// Its signature (TPMT_SIGNATURE): `tpm2_quote -s`
    #[arg(long, value_name = "SIG", required_unless_present = "no_quote", conflicts_with = "no_quote")]
    pub signature: Option<PathBuf>,
    /// The PCR values: `tpm2_quote -o`
    #[arg(long, value_name = "BLOB", required_unless_present = "no_quote", conflicts_with = "no_quote")]
    pub pcrs: Option<PathBuf>,
    /// The nonce that was asked with, all of it, in hex: `tpm2_quote -q`
    #[arg(long, value_name = "HEX", required_unless_present = "no_quote", conflicts_with = "no_quote",
        value_parser = nonce)]
    pub nonce: Option<Nonce>,
    /// The PCRs that must be quoted, no more and no fewer [default: as quoted, if PCR 10 is]
    #[arg(long, value_name = "BANK:N,N…+…", conflicts_with = "no_quote", value_parser = evidence::selection)]
    pub expect_pcrs: Option<PcrSelection>,
    /// Believe a signature over a SHA-1 digest. Collisions of SHA-1 are made in practice
    #[arg(long, conflicts_with = "no_quote")]
    pub danger_allow_sha1_signature: bool,
}

/// `extraData` of the quote.
// A type of its own: of a `Vec` the parser would take several values.
#[derive(Clone, Debug)]
pub struct Nonce(Vec<u8>);

fn nonce(text: &str) -> Result<Nonce, String> {
    evidence::nonce(text).map(Nonce)
}

const AFTER_HELP: &str = "\
Example, with files as tpm2-tools write them:
  tpm2_quote -c ak.ctx -l sha256:0,1,2,3,4,5,6,7,8,9,10 -q $NONCE -m msg -s sig -o pcrs
  cat /sys/kernel/security/ima/binary_runtime_measurements > ima-log
  goldseal appraise --policy prod.whitelist --trust golden.key.pub \\
      --ak ak.pub --quote msg --signature sig --pcrs pcrs --nonce $NONCE \\
      --ima-log ima-log

Exit codes:
  0  accepted: everything that the quote confirms is allowed
  1  rejected: something is not, and each finding is named; also by a stale list.
     With --no-quote: something in the list would not be allowed
  2  usage
  3  quote, AK, measurement list or sealed list cannot be believed or read.
     With --no-quote: nothing was found, and nothing is proven
  4  accepted, but the sealed list or the trust root is stale";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for what cannot be believed.
pub fn run(args: Args, ui: Ui) -> Result<Outcome, Failure> {
    let Args { policy: path, trust, state, name, min_version, quote, ima_log, no_quote, json: _ } = args;
    let floor = Floor { name, version: min_version, seen: None };
    let (policy, _) = verify::load(&path, &trust, state.as_deref(), &floor).map_err(not_believed)?;
    let mut fields = policy_fields(&policy);
    fields.extend(json_path(&path));
    let outcome = if no_quote { unproven(ui, &policy, &ima_log) } else { judge(ui, policy, &quote, &ima_log) };
    outcome.map(|outcome| outcome.with_all(fields.clone())).map_err(|failure| failure.with_all(fields))
}

/// A sealed list that would be a negative answer of `verify` is one that cannot be believed here.
fn not_believed(failure: Failure) -> Failure {
    let exit = if failure.exit == Exit::No { Exit::Input } else { failure.exit };
    Failure { exit, ..failure }
}

fn policy_fields(policy: &TrustedPolicy) -> Map<String, Value> {
    let mut fields = verify::fields(policy.authentic());
    let freshness = if policy.freshness() == Freshness::Current { "current" } else { "stale" };
    fields.insert("freshness".into(), json!(freshness));
    fields
}

fn judge(ui: Ui, policy: TrustedPolicy, args: &QuoteArgs, ima_log: &Path) -> Result<Outcome, Failure> {
    let QuoteArgs { ak, quote, signature, pcrs, nonce, expect_pcrs, danger_allow_sha1_signature } = args;
    let given = (ak.as_deref(), quote.as_deref(), signature.as_deref(), pcrs.as_deref(), nonce.as_ref());
    let (Some(ak), Some(attest), Some(signature), Some(pcrs), Some(Nonce(nonce))) = given else {
        return Err(Failure::usage("the quote is not complete", "see goldseal appraise --help"));
    };
    let sha1 = if *danger_allow_sha1_signature { Sha1Signatures::AcceptDangerously } else { Sha1Signatures::Refuse };
    let files = QuoteFiles { attest, signature, pcrs };
    let quoted = files.check(&Ak::read(ak)?, nonce, expect_pcrs.as_ref(), sha1)?;
    let about = Quoted {
        selection: PcrSelection::of(quoted.values()).map(|selection| selection.to_string()).unwrap_or_default(),
        signature_hash: quoted.signature_hash(),
        firmware_version: quoted.firmware_version(),
    };

    let bytes = evidence::read_ima_log(ima_log)?;
    let list =
        MeasurementList::parse(&bytes, &evidence::LIMITS).map_err(|error| evidence::bad_list(ima_log, &error))?;
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
    say_policy(ui, policy)?;
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

fn say_policy(ui: Ui, policy: &TrustedPolicy) -> Result<(), Failure> {
    let header = policy.header();
    say(ui, "policy", format_args!("{} version {} ({})", header.name, header.version, policy.identity()))?;
    for signer in policy.authentic().signers() {
        let owner = signer.owner.as_ref().map(|owner| format!(", of {owner}")).unwrap_or_default();
        say(ui, "signed by", format_args!("{}{owner} ({})", signer.name, signer.key_id))?;
    }
    match policy.freshness() {
        Freshness::Current => say(ui, "freshness", "current"),
        Freshness::Stale { document, since } => {
            say(ui, "freshness", format_args!("the {} is STALE since {since}", stale_document(document)))
        }
    }
}

fn stale_document(document: StaleDocument) -> &'static str {
    match document {
        StaleDocument::List => "list",
        StaleDocument::TrustRoot => "trust root",
    }
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

fn common_fields(
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

/// Without a quote: whoever wrote the list may have left out what would be found.
fn unproven(ui: Ui, policy: &TrustedPolicy, ima_log: &Path) -> Result<Outcome, Failure> {
    let bytes = evidence::read_ima_log(ima_log)?;
    let list =
        MeasurementList::parse(&bytes, &evidence::LIMITS).map_err(|error| evidence::bad_list(ima_log, &error))?;
    let trial = Trier::new(policy.contents()).try_list(&list);
    let Trial { findings: found, notes, omitted, counts } = &trial;
    let name = Printable::path(ima_log);
    ui.say(format_args!("UNPROVEN: no quote confirms {name}. Whoever wrote it could leave out what they like."))?;
    say_policy(ui, policy)?;
    say(ui, "entries", format_args!("{}, none of them confirmed", list.len()))?;
    say(ui, "counts", findings::counts_text(counts))?;
    say(ui, "boot state", "unproven")?;
    findings::say_all(ui, "note", notes, 0)?;
    findings::say_all(ui, "finding", found, *omitted)?;
    ui.say(format_args!("\n{}", ImaErrors::of(counts)))?;
    let fields = common_fields("unproven", counts, found, notes, *omitted);
    let (exit, reason) = if found.is_empty() { (Exit::Input, "unproven") } else { (Exit::No, "rejected") };
    if found.is_empty() {
        ui.note("goldseal appraise: nothing was found, and nothing is proven\n  give the quote too: --ak, --quote, --signature, --pcrs, --nonce");
    }
    Ok(Outcome::new(exit, reason).with("entries", list.len()).with("boot_state", "unproven").with_all(fields))
}
