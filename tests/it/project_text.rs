//! What no tracked file may say: names of one machine or one site. A fresh clone builds anywhere.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Hosts that project text may point to. Package mirrors are a matter of each machine's own configuration.
const HOSTS: &[&str] = &[
    "example.com",
    "github.com",
    // The name of a type, not a place to go to (docs/export.md).
    "in-toto.io",
    "keepachangelog.com",
    "semver.org",
    "www.apache.org",
    "www.rfc-editor.org",
];

/// Folders of the machines this is developed on, spelled so that this file passes its own test.
const FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/."), concat!("/tmp/", "wt/")];

#[test]
fn tracked_files_name_no_machine_and_no_mirror() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let listing = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().unwrap();
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let files = String::from_utf8(listing.stdout).unwrap();
    let files: Vec<&str> = files.split_terminator('\0').collect();
    assert!(files.contains(&"Cargo.toml"));
    for file in files {
        // A tracked file may be gone in a working tree; a link or an image of a fixture is no text.
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        let findings = findings(&text);
        assert!(findings.is_empty(), "{file}: {findings:?}");
    }
}

#[test]
fn machine_names_are_found() {
    let forged = format!("see {}x and https://{}/a, https://github.com/b", FOLDERS[0], "mirror.example");
    assert_eq!(findings(&forged), [FOLDERS[0], "mirror.example"]);
    assert_eq!(findings("/a/wor\u{6b}/b is a folder of a fixture"), Vec::<&str>::new());
}

fn findings(text: &str) -> Vec<&str> {
    let starts_a_path = |at: usize| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '*' | '}'))
    };
    let mut found: Vec<&str> = FOLDERS
        .iter()
        .filter(|folder| text.match_indices(**folder).any(|(at, _)| starts_a_path(at)))
        .copied()
        .collect();
    for rest in text.split("://").skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | ':' | '@'));
        let host = &rest[..end.unwrap_or(rest.len())];
        let is_host = host.contains('.') && host.starts_with(|c: char| c.is_ascii_alphanumeric());
        if is_host && !HOSTS.contains(&host.trim_end_matches('.')) {
            found.push(host);
        }
    }
    found
}
