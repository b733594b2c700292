//! The evidence of one machine as a folder of files that `goldseal appraise` reads, to be looked at later or elsewhere.
//!
//! Promises: nothing that is there is overwritten, and a file is there whole or not at all.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use goldseal_verifier_core::hex;

use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::AtomicFile;
use crate::printable::Printable;

/// What a machine showed, as it showed it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// TPM2B_PUBLIC of the attestation key.
    pub ak: &'a [u8],
    /// TPMS_ATTEST.
    pub attest: &'a [u8],
    /// TPMT_SIGNATURE.
    pub signature: &'a [u8],
    /// The PCR values as `tpm2_quote -o` writes them.
    pub pcrs: &'a [u8],
    /// The nonce that was asked with.
    pub nonce: &'a [u8],
    /// The measurement list, binary or ASCII.
    pub ima_log: &'a [u8],
}

/// The names of the files, as the examples of `goldseal appraise --help` have them.
pub const FILES: [&str; 6] = ["ak.pub", "msg", "sig", "pcrs", "nonce", "ima-log"];

impl Evidence<'_> {
    /// Writes the files into a folder, which is made if it is not there; the nonce as hex.
    ///
    /// # Errors
    /// `exists` if one of them is there, `unwritable`.
    pub fn save(&self, folder: &Path) -> Result<(), Failure> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                let what = format!("{} cannot be made: {}", Printable::path(folder), input::reason(&error));
                return Err(Failure::new(Exit::Input, "unwritable", what, "name a new folder in one that is there"));
            }
            _ => {}
        }
        let nonce = format!("{}\n", hex::encode(self.nonce));
        let contents = [self.ak, self.attest, self.signature, self.pcrs, nonce.as_bytes(), self.ima_log];
        for (name, bytes) in FILES.iter().zip(contents) {
            AtomicFile::create(&folder.join(name))?.fill(|file| file.write_all(bytes))?.place_new()?;
        }
        Ok(())
    }
}

/// The command line that judges the files of a folder, run in it.
pub fn appraise_command(policy: &Path) -> String {
    format!(
        "goldseal appraise --policy {} --trust PUB --ak ak.pub --quote msg --signature sig --pcrs pcrs \
         --nonce $(cat nonce) --ima-log ima-log",
        Printable::path(policy)
    )
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    const EVIDENCE: Evidence<'_> =
        Evidence { ak: b"a", attest: b"b", signature: b"c", pcrs: b"d", nonce: b"\x01\xfe", ima_log: b"e" };

    #[test]
    fn every_part_is_a_file() {
        let parent = tempdir().unwrap();
        let folder = parent.path().join("new");
        EVIDENCE.save(&folder).unwrap();
        let found: Vec<Vec<u8>> = FILES.iter().map(|name| fs::read(folder.join(name)).unwrap()).collect();
        assert_eq!(found, [&b"a"[..], b"b", b"c", b"d", b"01fe\n", b"e"]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), FILES.len());
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("sig"), b"mine").unwrap();
        let failure = EVIDENCE.save(folder.path()).unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Usage, "exists"));
        assert_eq!(fs::read(folder.path().join("sig")).unwrap(), b"mine");
        let failure = EVIDENCE.save(&folder.path().join("no/folder")).unwrap_err();
        assert_eq!(failure.reason, "unwritable");
    }
}
