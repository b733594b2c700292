//! The words of findings are an API: docs/appraisal.md explains each, and no other.

use std::collections::BTreeSet;
use std::fs;

use crate::walls::root;

#[test]
fn every_finding_is_explained() {
    let source = fs::read_to_string(root().join("verifier-core/src/appraise/finding.rs")).unwrap();
    let words = source.split_once("fn word(&self)").unwrap().1.split_once("\n    }\n").unwrap().0;
    let words: BTreeSet<&str> = words.split('"').skip(1).step_by(2).collect();
    assert!(words.len() >= 18, "{words:?}");
    let page = fs::read_to_string(root().join("docs/appraisal.md")).unwrap();
    let (judged, table) = page.split_once("\n## Findings\n").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(word, _)| word);
    assert_eq!(rows.collect::<BTreeSet<_>>(), words);
    for word in words {
        assert!(judged.contains(&format!("`{word}`")), "no step ends in {word}");
    }
}
