//! Lists as they are sent: the very bytes whose seal was checked.

use std::io::Cursor;
use std::path::Path;

use goldseal_cli::failure::Failure;
use goldseal_cli::input::read_file;
use goldseal_cli::list_file::ListFile;
use goldseal_cli::policy;
use goldseal_cli::trusted::TrustArgs;
use goldseal_verifier_core::header::ListName;
use goldseal_verifier_core::trust::{Floor, Freshness, TrustedPolicy};

use crate::answers::Policy;
use crate::client::{Client, escape};

/// Longest list: what a service takes unless it is told otherwise.
const MAX_LIST: u64 = 256 << 20;

/// Arguments about a list.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Seal")]
pub struct SealArgs {
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Folder that remembers what was accepted, so that nothing older is (see goldseal state)
    #[arg(long = "state-dir", value_name = "DIR")]
    pub state_dir: Option<std::path::PathBuf>,
}

/// A list whose seal counts.
#[derive(Debug)]
pub struct SealedList {
    policy: TrustedPolicy,
    bytes: Vec<u8>,
}

impl SealedList {
    /// Reads a list once, and checks its seal.
    ///
    /// # Errors
    /// [`Failure`], exit 3 (2 if nobody is trusted): what is wrong with it. A stale list is refused as the service would.
    pub fn read(
        path: &Path,
        trust: &TrustArgs,
        state: Option<&Path>,
        name: Option<&ListName>,
    ) -> Result<Self, Failure> {
        let bytes = read_file(path, MAX_LIST)?;
        let list = ListFile::new(path, Cursor::new(&bytes), Some(bytes.len() as u64))?;
        let floor = Floor { name: name.cloned(), version: None, seen: None };
        let (policy, _) = policy::load_from(list, path, trust, state, &floor).map_err(policy::not_believed)?;
        if let Freshness::Stale { document, since } = policy.freshness() {
            return Err(Failure::new(
                goldseal_cli::failure::Exit::Input,
                "stale-list",
                format!("the {} is stale since {since}", policy::stale_document(document)),
                "nothing was sent: seal its next version with a later expiry",
            ));
        }
        Ok(Self { policy, bytes })
    }

    /// What was checked.
    pub fn policy(&self) -> &TrustedPolicy {
        &self.policy
    }

    /// Its identity, in hex.
    pub fn identity(&self) -> String {
        self.policy.identity().to_string()
    }

    /// Its name.
    pub fn name(&self) -> &ListName {
        &self.policy.header().name
    }

    /// In words.
    pub fn described(&self) -> String {
        let header = self.policy.header();
        format!("{} version {} ({})", header.name, header.version, self.policy.identity())
    }

    /// Sends it, unless the verifier has it and believes it.
    ///
    /// # Errors
    /// [`Failure`], exit 3.
    pub fn upload(&self, client: &Client) -> Result<(), Failure> {
        let known = client.find(&format!("/v1/policies/{}", escape(self.identity().as_bytes())))?;
        let judges = |answer: &serde_json::Value| answer.get("freshness").is_some_and(|word| word == "current");
        if known.as_ref().is_some_and(judges) {
            return Ok(());
        }
        let answer = client.upload("/v1/policies", self.bytes.clone())?;
        let kept: Policy = client.understand(&answer)?;
        if kept.identity == self.identity() {
            return Ok(());
        }
        Err(Failure::new(
            goldseal_cli::failure::Exit::Input,
            "bad-answer",
            "the verifier keeps another list than the one that was sent",
            "check -v: is it the verifier?",
        ))
    }
}
