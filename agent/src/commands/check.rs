//! `goldseal-agent check`: what a verifier would say of this machine now.

use std::path::{Path, PathBuf};

use goldseal_cli::evidence::{self, Ak, QuoteFiles};
use goldseal_cli::evidence_folder::{self, Evidence};
use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::ListFile;
use goldseal_cli::policy;
use goldseal_cli::printable::{Printable, json_path};
use goldseal_cli::report::{Outcome, Ui};
use goldseal_cli::trusted::TrustArgs;
use goldseal_cli::{clock, random, verdict};
use goldseal_verifier_core::tpm::{AttestationKey, PcrSelection, Sha1Signatures};
use goldseal_verifier_core::trust::{Floor, Now, TrustedPolicy};

use crate::config::{Config, ConfigArgs};
use crate::installed::{self, Installed};
use crate::own_tpm::{start_tpm, tpm_failure};
use crate::tpm::QuoteRequest;

/// Judge this machine as a verifier would
///
/// Takes a quote with a fresh nonce, then the kernel's measurement list, and holds both to a sealed whitelist: the one
/// that is named, or the one that was installed. Nothing leaves the machine.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The sealed list to judge by [default: the one that was installed]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Write quote, nonce and measurement list there, as goldseal appraise reads them
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

const AFTER_HELP: &str = "\
Examples:
  goldseal-agent check --policy prod.whitelist --trust golden.key.pub
  goldseal-agent check --policy prod.whitelist --trust-root site.root --save evidence
  goldseal-agent check

Exit codes:
  0  accepted: everything that the quote confirms is allowed
  1  rejected: something is not, and each finding is named; also by a stale list
  2  usage
  3  the TPM, the measurement list or the sealed list cannot be asked, read or believed
  4  accepted, but the sealed list or the trust root is stale";

/// Runs the command.
///
/// # Errors
/// [`Failure`]: exit 2 for the command line, 3 for what cannot be believed.
pub fn run(args: Args, config: &Config, ui: Ui) -> Result<Outcome, Failure> {
    let (path, policy) = load(&args, config)?;
    let mut fields = policy::judging_fields(&policy);
    fields.extend(json_path(&path));
    judge(&args, config, ui, &path, policy)
        .map(|outcome| outcome.with_all(fields.clone()))
        .map_err(|failure| failure.with_all(fields))
}

/// The list to judge by, and where it is.
fn load(args: &Args, config: &Config) -> Result<(PathBuf, TrustedPolicy), Failure> {
    let TrustArgs { trust, threshold, trust_root } = &args.trust;
    let typed = TrustArgs { trust: trust.clone(), threshold: *threshold, trust_root: trust_root.clone() };
    let (trust, installed) = (installed::trust(typed, config), Installed::of(config));
    let Some(path) = &args.policy else { return Ok((installed.list(), installed.load(&trust)?)) };
    let root = match trust.root()? {
        Some(root) => Some(root),
        None => installed.root()?,
    };
    let root = root.ok_or_else(policy::nobody_trusted)?;
    let now = Now::by_clock(clock::now()?);
    let floor = Floor { name: None, version: None, seen: None };
    let checked = policy::check(ListFile::open(path)?, path, &root, |_| floor, now);
    let policy = checked.map_err(|failure| policy::not_believed(failure).with_all(json_path(path)))?;
    Ok((path.clone(), policy))
}

/// Quote first, list second: the list may be ahead of the quote, and never behind it.
fn judge(args: &Args, config: &Config, ui: Ui, path: &Path, policy: TrustedPolicy) -> Result<Outcome, Failure> {
    let tpm = start_tpm(config)?;
    let ak = tpm.identity_blocking().map_err(|error| tpm_failure(&error))?.ak_public;
    let nonce = nonce()?;
    let banks = config.banks().unwrap_or_default();
    let request = QuoteRequest { banks, pcrs: PCRS.to_vec(), nonce: nonce.clone(), bind: None };
    let quote = tpm.quote_blocking(request).map_err(|error| tpm_failure(&error))?;
    let ima_log = evidence::read_ima_log(&config.measurements)?;

    if let Some(folder) = &args.save {
        let evidence = Evidence {
            ak: &ak,
            attest: &quote.attest,
            signature: &quote.signature,
            pcrs: &quote.pcr_blob,
            nonce: &nonce,
            ima_log: &ima_log,
        };
        evidence.save(folder)?;
        let command = evidence_folder::appraise_command(path);
        ui.note(format_args!("the evidence is in {}; there:\n  {command}", Printable::path(folder)));
    }

    let key = AttestationKey::from_public_area(&ak).map_err(|error| {
        let what = format!("the TPM's attestation key is none: {error}");
        Failure::new(Exit::Input, "bad-ak", what, "do not trust this TPM; keep this message")
    })?;
    let expected: Vec<_> = quote.banks.iter().flat_map(|bank| PCRS.map(|pcr| (*bank, pcr))).collect();
    let expected = PcrSelection::new(expected)
        .map_err(|error| Failure::new(Exit::Input, "bad-quote", error.to_string(), "configure other banks"))?;
    // What messages call the parts, none of which is a file.
    let names = QuoteFiles { attest: Path::new("quote"), signature: Path::new("signature"), pcrs: Path::new("PCRs") };
    let parts = [&quote.attest[..], &quote.signature, &quote.pcr_blob];
    let quoted =
        names.check_bytes(parts, &Ak::Proven(Box::new(key)), &nonce, Some(&expected), Sha1Signatures::Refuse)?;
    verdict::judge(ui, policy, quoted, &config.measurements, &ima_log)
}

/// Fresh: a TPM that repeats an old quote is found out.
fn nonce() -> Result<Vec<u8>, Failure> {
    let mut nonce = vec![0; NONCE_LEN];
    random::fill(&mut nonce).map_err(|error| {
        Failure::unreadable(
            format!("the kernel gives no randomness: {}", goldseal_cli::input::reason(&error)),
            "a quote without a fresh nonce proves nothing",
        )
    })?;
    Ok(nonce)
}

/// What the service quotes: those of the boot, and the kernel's own.
const PCRS: [u8; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

/// As long as the digest of every TPM's smallest bank (TPM Part 2, TPM2B_DATA holds one of its largest).
const NONCE_LEN: usize = 20;
