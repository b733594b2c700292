//! Code cites the clauses of docs/format.md. Each of them exists, and each clause of what decides about trust is cited.

use std::collections::BTreeSet;
use std::fs;

use crate::walls::{root, rust_files};

const PAGE: &str = "docs/format.md";

/// Headings every clause of which some code or test answers for.
const HELD: [&str; 5] = ["Trust root", "Chain of roots", "Verifying", "Time", "Trust state"];

#[test]
fn every_clause_that_is_cited_exists() {
    let clauses = clauses(&fs::read_to_string(root().join(PAGE)).unwrap());
    let mut cited = BTreeSet::new();
    for folder in ["verifier-core/src", "cli/src", "tools/src", "agent/src", "tests", "fuzz/src", "benches"] {
        for file in rust_files(&root().join(folder)).iter().filter(|file| !file.ends_with("format_clauses.rs")) {
            for citation in citations(&fs::read_to_string(file).unwrap()) {
                let found = resolve(&citation, &clauses);
                cited.extend(found.unwrap_or_else(|missing| panic!("{}: no clause {missing:?}", file.display())));
            }
        }
    }
    let uncited: Vec<&String> = clauses.iter().filter(|clause| is_unheld(clause, &cited)).collect();
    assert!(uncited.is_empty(), "nothing answers for {uncited:?}");
}

#[test]
fn citations_are_found_and_resolved() {
    let page = "# Title\n## One thing\n1. a\n   a. b\n2. c\n## Other\ntext\n3. no list\n";
    let clauses = clauses(page);
    let expected = ["One thing", "One thing 1", "One thing 1a", "One thing 2", "Other", "Other 3"];
    assert_eq!(clauses, expected.map(str::to_owned).into());
    let source = "/// see (docs/format.md,\n    /// One thing 1a). And docs/format.md, Other.\n//! docs/format.md, One thing 1 and 2; x";
    let found: Vec<_> = citations(source).iter().map(|citation| resolve(citation, &clauses)).collect();
    let names = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(found, [names(&["One thing 1a"]), names(&["Other"]), names(&["One thing 1", "One thing 2"])]);
    assert_eq!(resolve("One thing 1b).", &clauses), Err("One thing 1b".to_owned()));
    assert_eq!(resolve("One thing 3", &clauses), Err("One thing 3".to_owned()));
    assert_eq!(resolve("One thing, 2).", &clauses), Err("One thing, 2".to_owned()));
    assert_eq!(resolve("Nothing 2", &clauses), Err("Nothing 2".to_owned()));
}

/// Whether neither it is cited, nor a part of it, nor what it is a part of.
fn is_unheld(clause: &str, cited: &BTreeSet<String>) -> bool {
    let number = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned();
    let is_held = |name: &String| name == clause || *name == number(clause) || number(name) == clause;
    clause.rsplit_once(' ').is_some_and(|(heading, _)| HELD.contains(&heading)) && !cited.iter().any(is_held)
}

/// Headings, and their numbered clauses: `Heading`, `Heading 2`, `Heading 2a`.
fn clauses(page: &str) -> BTreeSet<String> {
    let (mut heading, mut number) = (String::new(), 0);
    let mut clauses = BTreeSet::new();
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.to_owned();
            clauses.insert(heading.clone());
        } else if let Some((digits, _)) = line.split_once(". ").filter(|(digits, _)| digits.parse::<u32>().is_ok()) {
            number = digits.parse().unwrap();
            clauses.insert(format!("{heading} {number}"));
        } else if let [b' ', b' ', b' ', letter @ b'a'..=b'z', b'.', b' ', ..] = line.as_bytes() {
            clauses.insert(format!("{heading} {number}{}", char::from(*letter)));
        }
    }
    clauses
}

/// What follows each `docs/format.md, `, across the ends of comment lines.
fn citations(source: &str) -> Vec<String> {
    let lines = source.lines().map(|line| line.trim_start().trim_start_matches(['/', '!']).trim());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.split(&format!("{PAGE}, ")).skip(1).map(|rest| rest.chars().take(60).collect()).collect()
}

/// The clauses that a citation names: `Heading`, `Heading 2`, `Heading 2 and 3`, `Heading 2a to 2e`.
fn resolve(citation: &str, clauses: &BTreeSet<String>) -> Result<Vec<String>, String> {
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let headings = clauses.iter().filter(|clause| !is_number(clause.rsplit(' ').next().unwrap()));
    let heading = headings.filter(|heading| citation.starts_with(*heading)).max_by_key(|heading| heading.len());
    let heading = heading.ok_or(citation)?;
    let mut words = citation[heading.len()..].split(' ');
    // What stands right after the heading must be no `, 2`: that is not how clauses are cited.
    let (after, first) = (words.next().unwrap_or_default(), words.next().filter(|word| is_number(word)));
    let Some(first) = first else { return Ok(vec![heading.clone()]) };
    let clause = |word: &str| {
        let name = format!("{heading}{after} {}", word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()));
        clauses.get(&name).cloned().ok_or(name)
    };
    let first = clause(first)?;
    match (words.next(), words.next().filter(|word| is_number(word))) {
        (Some("and"), Some(second)) => Ok(vec![first, clause(second)?]),
        (Some("to"), Some(last)) => Ok(clauses.range(first..=clause(last)?).cloned().collect()),
        _ => Ok(vec![first]),
    }
}
