//! Which state of the database was the last: kept beside it, so that an older one, put back from a backup, is noticed.
//!
//! An older database would take back what was accepted since: lists of versions that were replaced would be taken again.
//! The mark holds the number of the last change. A database behind its mark is an older one; a mark behind its database is
//! one whose writing was interrupted, and follows. Whoever puts back both is not noticed: keep them in different places,
//! or the mark out of backups.

use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;
use goldseal_cli::input;
use goldseal_cli::output::AtomicFile;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::hex;

use super::refused;
use crate::refusal::Refusal;
use crate::store::TrustRecord;

/// Longest file: four short lines.
const MAX_MARK: u64 = 1_024;

/// See the module.
#[derive(Clone, Debug)]
pub struct Mark {
    path: PathBuf,
}

impl Mark {
    /// In this file.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Whether this is the database that was here last, or a later state of it.
    ///
    /// # Errors
    /// `restored-backup`, `unreadable`.
    pub(super) fn check(&self, record: &TrustRecord) -> Result<(), Refusal> {
        let name = Printable::path(&self.path);
        if !self.path.exists() {
            // A database that has accepted nothing yet has nothing to lose.
            return if record.mark == 0 { Ok(()) } else { Err(asks(format!("{name} is gone"))) };
        }
        let bytes = input::read_file_or_empty(&self.path, MAX_MARK).map_err(refused)?;
        let Some((database, mark, state)) = parse(&bytes) else {
            return Err(asks(format!("{name} is not as it was written")));
        };
        if database != hex::encode(&record.database) {
            return Err(asks(format!("{name} is of another database")));
        }
        if record.mark < mark {
            return Err(asks(format!("the database is at change {}, and {name} at {mark}", record.mark)));
        }
        if record.mark == mark && state != digest(record) {
            return Err(asks(format!("the database has another change {mark} than {name}")));
        }
        Ok(())
    }

    /// Remembers this state as the last.
    ///
    /// # Errors
    /// `unwritable`.
    pub(super) fn write(&self, record: &TrustRecord) -> Result<(), Refusal> {
        let TrustRecord { database, mark, .. } = record;
        let text =
            format!("{FIRST_LINE}\ndatabase {}\nchange {mark}\nstate {}\n", hex::encode(database), digest(record));
        if input::read_file_or_empty(&self.path, MAX_MARK).is_ok_and(|known| known == text.as_bytes()) {
            return Ok(());
        }
        let write = || -> Result<(), Failure> {
            AtomicFile::create_with_mode(&self.path, 0o600)?.fill(|file| file.write_all(text.as_bytes()))?.replace()
        };
        write().map_err(refused)
    }
}

const FIRST_LINE: &str = "goldseal-mark 1";

fn parse(bytes: &[u8]) -> Option<(String, i64, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let mut value = |name: &str| lines.next()?.strip_prefix(name).map(str::to_owned);
    if !value(FIRST_LINE)?.is_empty() {
        return None;
    }
    let found = (value("database ")?, value("change ")?.parse().ok()?, value("state ")?);
    lines.next().is_none().then_some(found)
}

fn digest(record: &TrustRecord) -> String {
    Digest::sha256(&record.accepted.state).to_string()
}

fn asks(what: String) -> Refusal {
    Refusal::new(
        "restored-backup",
        format!("{what}: this database may be an older one, which would take back what was accepted since"),
        "if it is the right one all the same: goldseal-verifier accept-backup --reason TEXT",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Accepted;

    fn record(database: u8, mark: i64, state: &str) -> TrustRecord {
        TrustRecord { database: [database; 16], mark, accepted: Accepted { state: state.into(), root: None } }
    }

    #[test]
    fn an_older_database_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mark = Mark::at(&folder.path().join("mark"));
        let check = |record: &TrustRecord| mark.check(record).map_err(|refusal| refusal.reason);
        // New, and a database that was used before its mark was lost.
        assert_eq!(check(&record(1, 0, "a")), Ok(()));
        assert_eq!(check(&record(1, 1, "a")), Err("restored-backup"));
        mark.write(&record(1, 5, "five")).unwrap();
        assert_eq!(check(&record(1, 5, "five")), Ok(()));
        // The writing of the mark was interrupted.
        assert_eq!(check(&record(1, 6, "six")), Ok(()));
        for older in [record(1, 4, "four"), record(1, 5, "another five"), record(2, 5, "five"), record(1, 0, "a")] {
            assert_eq!(check(&older), Err("restored-backup"), "{older:?}");
        }
        for bad in ["", "goldseal-mark 2\n", "goldseal-mark 1\ndatabase 01\nchange x\nstate a\n"] {
            std::fs::write(folder.path().join("mark"), bad).unwrap();
            assert_eq!(check(&record(1, 9, "nine")), Err("restored-backup"), "{bad:?}");
        }
    }
}
