//! What the excludes took, for provenance and for people: a folder counts once, with everything below it, so that the
//! count is the same whether the folder was walked, or its files came one by one from an image or a list.

use std::collections::{BTreeMap, BTreeSet};

use goldseal_cli::printable::PrintableLine;
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use goldseal_verifier_core::provenance::Fact;

/// Takes paths out, and remembers the topmost file or folder of each.
#[derive(Debug)]
pub struct Excluded<'a> {
    excludes: &'a Excludes,
    topmost: BTreeSet<Vec<u8>>,
}

impl<'a> Excluded<'a> {
    /// Nothing taken yet.
    pub fn new(excludes: &'a Excludes) -> Self {
        Self { excludes, topmost: BTreeSet::new() }
    }

    /// Whether an exclude takes this path.
    pub fn take(&mut self, path: &[u8]) -> bool {
        if !self.excludes.takes(path) {
            return false;
        }
        let ends = (1..path.len()).filter(|end| path[*end] == b'/').chain([path.len()]);
        let topmost = ends.map(|end| &path[..end]).find(|folder| self.excludes.takes(folder)).unwrap_or(path);
        if !self.topmost.contains(topmost) {
            self.topmost.insert(topmost.to_vec());
        }
        true
    }

    /// Adds files and folders that a walk did not enter.
    pub fn extend(&mut self, topmost: Vec<Vec<u8>>) {
        self.topmost.extend(topmost);
    }

    /// What each pattern took, as lines for people and as facts.
    pub fn into_facts(self) -> Vec<(String, Fact)> {
        let mut counts: BTreeMap<&Pattern, u64> = BTreeMap::new();
        for pattern in self.topmost.iter().flat_map(|path| self.excludes.taking(path)) {
            *counts.entry(pattern).or_default() += 1;
        }
        let fact = |(pattern, count): (&Pattern, u64)| {
            let pattern = pattern.as_str().as_bytes();
            let line = format!("{count} files and folders excluded by {}", PrintableLine(pattern));
            (line, Fact::Excluded { count, pattern: pattern.to_vec() })
        };
        counts.into_iter().map(fact).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_counts_once() {
        let patterns = ["/var/log", r"/var/log/.*\.gz", "/opt"];
        let excludes = Excludes::new(patterns.map(|text| Pattern::new(text.as_bytes()).unwrap())).unwrap();
        let mut excluded = Excluded::new(&excludes);
        for taken in ["/var/log/a/b", "/var/log/c.gz", "/var/log", "/opt/x"] {
            assert!(excluded.take(taken.as_bytes()), "{taken}");
        }
        assert!(!excluded.take(b"/var/logger"));
        excluded.extend(vec![b"/opt".to_vec()]);
        let facts: Vec<Vec<u8>> = excluded.into_facts().iter().map(|(_, fact)| fact.print()).collect();
        assert_eq!(facts, [b"excluded 1 /opt".to_vec(), b"excluded 1 /var/log".to_vec()]);
    }
}
