//! `goldseal appraise`: a quote and a measurement list, held against a sealed list. A verdict, with its reasons.

use std::path::{Path, PathBuf};

use goldseal_cli::evidence::{self, Ak, QuoteFiles};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::findings::{self, ImaErrors};
use goldseal_cli::policy::{self, list_name, version};
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::summary::say;
use goldseal_cli::trusted::TrustArgs;
use goldseal_cli::verdict;
use goldseal_verifier_core::appraise::{Trial, Trier};
use goldseal_verifier_core::header::{ListName, Version};
use goldseal_verifier_core::ima::list::MeasurementList;
use goldseal_verifier_core::tpm::{PcrSelection, Sha1Signatures};
use goldseal_verifier_core::trust::{Floor, TrustedPolicy};

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
    let (policy, _) = policy::load(&path, &trust, state.as_deref(), &floor).map_err(policy::not_believed)?;
    let mut fields = policy::judging_fields(&policy);
    fields.extend(json_path(&path));
    let outcome = if no_quote { unproven(ui, &policy, &ima_log) } else { judge(ui, policy, &quote, &ima_log) };
    outcome.map(|outcome| outcome.with_all(fields.clone())).map_err(|failure| failure.with_all(fields))
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
    verdict::judge(ui, policy, quoted, ima_log, &evidence::read_ima_log(ima_log)?)
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
    policy::say_judging(ui, policy)?;
    say(ui, "entries", format_args!("{}, none of them confirmed", list.len()))?;
    say(ui, "counts", findings::counts_text(counts))?;
    say(ui, "boot state", "unproven")?;
    findings::say_all(ui, "note", notes, 0)?;
    findings::say_all(ui, "finding", found, *omitted)?;
    ui.say(format_args!("\n{}", ImaErrors::of(counts)))?;
    let fields = verdict::common_fields("unproven", counts, found, notes, *omitted);
    let (exit, reason) = if found.is_empty() { (Exit::Input, "unproven") } else { (Exit::No, "rejected") };
    if found.is_empty() {
        ui.note("goldseal appraise: nothing was found, and nothing is proven\n  give the quote too: --ak, --quote, --signature, --pcrs, --nonce");
    }
    Ok(Outcome::new(exit, reason).with("entries", list.len()).with("boot_state", "unproven").with_all(fields))
}
