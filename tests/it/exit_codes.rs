//! docs/exit-codes.md lists every reason a command can give, with its exit code.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::walls::{production_code, root, rust_files};

#[test]
fn every_reason_is_documented() {
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    let documented = documented(&page);
    assert!(documented.contains(&("ok".to_owned(), 0)) && documented.contains(&("malformed".to_owned(), 3)));
    let mut found = 0;
    for file in sources() {
        for reason in given(&production_code(&fs::read_to_string(&file).unwrap())) {
            assert!(documented.contains(&reason), "{} gives {reason:?}: not in docs/exit-codes.md", file.display());
            found += 1;
        }
    }
    assert!(found >= 3, "reasons are no longer written as Exit::X, \"reason\"");
}

/// A reason that nothing gives would be waited for in vain.
#[test]
fn every_documented_reason_is_given() {
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    let service = rust_files(&root().join("verifier/src"));
    let sources = sources().into_iter().chain(service).map(|file| fs::read_to_string(file).unwrap());
    let code: String = sources.map(|source| production_code(&source)).collect();
    for (reason, _) in documented(&page) {
        assert!(code.contains(&format!("{reason:?}")), "{reason} is documented and nothing gives it");
    }
}

#[test]
fn reasons_are_found() {
    let code = "Self::new(Exit::Usage, \"usage\", what)\nOutcome::new(\n    Exit::No,\n    \"differs\",\n)\nif exit == Exit::No {}";
    assert_eq!(given(code), [("usage".to_owned(), 2), ("differs".to_owned(), 1)]);
    let page = "| a | b |\n| `malformed` | 1, 3 | text with 7 |\n";
    assert_eq!(documented(page), BTreeSet::from([("malformed".to_owned(), 1), ("malformed".to_owned(), 3)]));
}

/// Every program's own, and what they share.
fn sources() -> Vec<PathBuf> {
    let folders = ["cli/src", "tools/src", "agent/src", "tenant/src"];
    folders.iter().flat_map(|folder| rust_files(&root().join(folder))).collect()
}

/// Reasons of the tables with each of their exit codes, or their HTTP status: the service's own tests hold those.
fn documented(page: &str) -> BTreeSet<(String, u16)> {
    let mut reasons = BTreeSet::new();
    for line in page.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(reason), Some(exits)) = (cells.next(), cells.next()) else { continue };
        let Some(reason) = reason.strip_prefix('`').and_then(|reason| reason.strip_suffix('`')) else { continue };
        reasons.extend(exits.split(',').map(|exit| (reason.to_owned(), exit.trim().parse().unwrap())));
    }
    reasons
}

/// Reasons in the source, as in `Exit::Usage, "usage"`.
fn given(code: &str) -> Vec<(String, u16)> {
    let mut reasons = Vec::new();
    for rest in code.split("Exit::").skip(1) {
        let Some((exit, rest)) = rest.split_once(',') else { continue };
        let exit = match exit {
            "Done" => 0,
            "No" => 1,
            "Usage" => 2,
            "Input" => 3,
            "Stale" => 4,
            _ => continue,
        };
        if let Some((reason, _)) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            reasons.push((reason.to_owned(), exit));
        }
    }
    reasons
}
