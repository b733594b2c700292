//! The evidence of every machine that was failed: a folder each, as `goldseal appraise` reads it.
//!
//! Promises: a folder is whole or not there; those of one machine and all together stay within their limits, the oldest
//! give way. Does not promise that nobody changed it since: its digest stands in the machine's history.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::hex;

use crate::poll::exchange::Evidence;
use crate::time::Time;
use crate::uuid::Uuid;

/// Where lists are kept once for all folders.
const POLICIES: &str = "policies";

/// How names of what is being written begin.
const UNFINISHED: &str = ".unfinished-";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Folders of one machine.
    pub per_machine: usize,
    /// Bytes of all of them, lists not counted.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct EvidenceStore {
    folder: PathBuf,
    limits: Limits,
    /// By time and path, with their sizes.
    kept: Mutex<BTreeMap<(i64, PathBuf), u64>>,
}

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The machine.
    pub uuid: &'a Uuid,
    /// When.
    pub at: Time,
    /// TPM2B_PUBLIC of its AK.
    pub ak: &'a [u8],
    /// What it answered.
    pub evidence: &'a Evidence,
    /// The digest of that.
    pub digest: &'a [u8; 32],
    /// By which list it was judged.
    pub policy: &'a Identity,
    /// Why it is failed, in words that are escaped.
    pub why: &'a str,
}

impl EvidenceStore {
    /// Opens the folder, makes it if it is not there, and removes what was not finished.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<Self> {
        fs::create_dir_all(folder.join(POLICIES))?;
        let mut kept = BTreeMap::new();
        for machine in fs::read_dir(folder)?.filter_map(Result::ok) {
            if machine.file_name() == POLICIES {
                continue;
            }
            if machine.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_dir_all(machine.path())?;
                continue;
            }
            for case in fs::read_dir(machine.path())?.filter_map(Result::ok) {
                let name = case.file_name().to_string_lossy().into_owned();
                let at = name.split_once('-').and_then(|(millis, _)| millis.parse().ok()).unwrap_or(0);
                kept.insert((at, case.path()), size(&case.path())?);
            }
        }
        Ok(Self { folder: folder.to_owned(), limits, kept: Mutex::new(kept) })
    }

    /// Keeps a case. `policy` is asked for the bytes of the list if they are not kept yet.
    ///
    /// # Errors
    /// It cannot be written; then there is no folder of it.
    pub fn keep(&self, case: &Case<'_>, policy: Option<&[u8]>) -> io::Result<PathBuf> {
        let name = format!("{}-{}", case.at.millis(), &hex::encode(case.digest)[..16]);
        let machine = self.folder.join(case.uuid.as_str());
        let target = machine.join(&name);
        if target.exists() {
            return Ok(target);
        }
        let unfinished = self.folder.join(format!("{UNFINISHED}{}-{name}", case.uuid));
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir(&unfinished)?;
        let written = self.write(&unfinished, case, policy).and_then(|()| {
            fs::create_dir_all(&machine)?;
            fs::rename(&unfinished, &target)?;
            File::open(&machine)?.sync_all()
        });
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert((case.at.millis(), target.clone()), size(&target)?);
        self.make_room(&mut kept, &machine);
        Ok(target)
    }

    /// Whether the bytes of this list are kept already.
    pub fn has_policy(&self, identity: &Identity) -> bool {
        self.policy_path(identity).exists()
    }

    fn policy_path(&self, identity: &Identity) -> PathBuf {
        self.folder.join(POLICIES).join(format!("{identity}.whitelist"))
    }

    fn write(&self, folder: &Path, case: &Case<'_>, policy: Option<&[u8]>) -> io::Result<()> {
        let Case { uuid, at, ak, evidence, digest, policy: identity, why } = case;
        let shared = self.policy_path(identity);
        if let Some(bytes) = policy
            && !shared.exists()
        {
            let unfinished = self.folder.join(POLICIES).join(format!("{UNFINISHED}{}", hex::encode(*digest)));
            write_file(&unfinished, bytes)?;
            fs::rename(&unfinished, &shared)?;
        }
        if shared.exists() && fs::hard_link(&shared, folder.join("policy.whitelist")).is_err() {
            fs::copy(&shared, folder.join("policy.whitelist"))?;
        }
        write_file(&folder.join("ak.tpm2b"), ak)?;
        write_file(&folder.join("quote.msg"), &evidence.attest)?;
        write_file(&folder.join("quote.sig"), &evidence.signature)?;
        write_file(&folder.join("quote.pcrs"), &evidence.pcr_blob)?;
        write_file(&folder.join("ima-log"), &evidence.list)?;
        let nonce = hex::encode(&evidence.nonce);
        let increment = match evidence.claimed_first {
            0 => String::new(),
            first => format!(
                "ima-log begins at entry {first}: the machine did not show the rest, and goldseal cannot replay it alone.\n"
            ),
        };
        let text = format!(
            "{uuid} at {at}\n{why}\nevidence sha256:{}\n{increment}\n\
             goldseal appraise --policy policy.whitelist --trust-root ROOT --ak ak.tpm2b --quote quote.msg \\\n  \
             --signature quote.sig --pcrs quote.pcrs --nonce {nonce} \\\n  \
             --expect-pcrs {} --ima-log ima-log\n",
            hex::encode(*digest),
            evidence.selection
        );
        write_file(&folder.join("README"), text.as_bytes())?;
        File::open(folder)?.sync_all()
    }

    fn make_room(&self, kept: &mut BTreeMap<(i64, PathBuf), u64>, machine: &Path) {
        let of_machine: Vec<_> = kept.keys().filter(|(_, path)| path.parent() == Some(machine)).cloned().collect();
        let beyond = of_machine.len().saturating_sub(self.limits.per_machine);
        let mut oldest: Vec<_> = of_machine.into_iter().take(beyond).collect();
        for key in &oldest {
            kept.remove(key);
        }
        let mut total: u64 = kept.values().sum();
        while total > self.limits.bytes && kept.len() > 1 {
            let Some((key, size)) = kept.pop_first() else { break };
            total = total.saturating_sub(size);
            oldest.push(key);
        }
        for (_, path) in oldest {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!("old evidence cannot be removed: {error}");
            }
        }
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Bytes of the files that are a case's own.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(folder)? {
        let file = file?;
        if file.file_name() != "policy.whitelist" {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use goldseal_verifier_core::digest::HashAlgorithm;
    use goldseal_verifier_core::tpm::PcrSelection;

    use super::*;

    fn evidence(list: &[u8]) -> Evidence {
        Evidence {
            attest: b"attest".to_vec(),
            signature: b"signature".to_vec(),
            pcr_blob: b"pcrs".to_vec(),
            nonce: vec![0xab; 16],
            selection: PcrSelection::new([(HashAlgorithm::Sha256, 10)]).unwrap(),
            list: list.to_vec().into(),
            claimed_first: 0,
            claimed_order: None,
            claimed_ak: None,
        }
    }

    #[test]
    fn old_evidence_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::from_hex("ab".repeat(32).as_bytes()).unwrap();
        let store = EvidenceStore::open(folder.path(), Limits { per_machine: 2, bytes: 5_000 }).unwrap();
        let keep = |store: &EvidenceStore, uuid: &str, at: i64, list: &[u8]| {
            let (uuid, evidence) = (Uuid::new(uuid).unwrap(), evidence(list));
            let case = Case {
                uuid: &uuid,
                at: Time::from_millis(at),
                ak: b"ak",
                evidence: &evidence,
                digest: &[u8::try_from(at).unwrap(); 32],
                policy: &identity,
                why: "evil",
            };
            store.keep(&case, Some(b"the list")).unwrap()
        };
        let paths: Vec<PathBuf> = (1..=3).map(|at| keep(&store, "a", at, b"list")).collect();
        assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(fs::read(paths[2].join("policy.whitelist")).unwrap(), b"the list");
        assert_eq!(fs::read(paths[2].join("ima-log")).unwrap(), b"list");
        assert!(fs::read_to_string(paths[2].join("README")).unwrap().contains(&"ab".repeat(16)));
        // What was not finished is gone after a start, and what was kept still counts.
        fs::create_dir(folder.path().join(".unfinished-a-9")).unwrap();
        let store = EvidenceStore::open(folder.path(), Limits { per_machine: 2, bytes: 5_000 }).unwrap();
        assert!(!folder.path().join(".unfinished-a-9").exists());
        let large = keep(&store, "b", 4, &[0; 4_500]);
        assert!(large.exists() && !paths[1].exists() && !paths[2].exists());
        // The last is kept, however large.
        assert!(keep(&store, "c", 5, &[0; 9_000]).exists() && !large.exists());
    }
}
