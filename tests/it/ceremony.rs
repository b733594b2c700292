//! docs/ceremony.md, run as it stands: each command with the exit code that it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use goldseal_tests::{World, goldseal};

use crate::walls::root;

/// A command of the page.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    exit: i32,
}

/// The indented lines in their order; a line that ends with a backslash goes on in the next.
fn steps(page: &str) -> Vec<Step> {
    let lines: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let step = |line: &str| match line.split_once("# exit ") {
        Some((command, exit)) => Step { command: command.trim().to_owned(), exit: exit.trim().parse().unwrap() },
        None => Step { command: line.trim().to_owned(), exit: 0 },
    };
    joined.lines().map(step).collect()
}

#[test]
fn steps_are_found() {
    let page = "text `a`\n\n    one \\\n        two\n    three    # exit 1\n\ntext\n\n    four\n";
    let found: Vec<(String, i32)> = steps(page).into_iter().map(|step| (step.command, step.exit)).collect();
    assert_eq!(found, [("one      two".to_owned(), 0), ("three".to_owned(), 1), ("four".to_owned(), 0)]);
}

#[test]
fn the_ceremony_goes_as_written() {
    let page = fs::read_to_string(root().join("docs/ceremony.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() > 70 && steps.iter().filter(|step| step.exit != 0).count() > 8, "{steps:?}");
    let world = World::new();
    let path = [goldseal().parent().unwrap(), Path::new("/usr/bin"), Path::new("/bin")];
    let path = std::env::join_paths(path).unwrap();
    // People need an hour for each step, and so every document is younger than the one before.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let start = now - steps.len() as u64 * 3_600;
    let mut said = Vec::new();
    for (step, number) in steps.iter().zip(0..) {
        let mut sh = Command::new("sh");
        sh.args(["-ec", &step.command]).current_dir(world.path(".")).env("PATH", &path).env("LC_ALL", "C");
        sh.env("SOURCE_DATE_EPOCH", (start + number * 3_600).to_string()).stdin(Stdio::null());
        let output = sh.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(step.exit), "{}\n{text}", step.command);
        said.push((step.command.as_str(), text));
    }
    // An exit code says that something is refused; this, that it is refused for the reason the page gives.
    for (command, words) in [
        ("trust verify usb/site.root", "by itself, role root: 1 of 2, missing: bob, carol"),
        ("trust set-floor usb/site.root prod 2", "there would be two roots of version 1"),
        ("verify usb/alone.whitelist", "role lists: 1 of 2, missing: bob, carol"),
        ("trust verify usb/site.root usb/site-2.root", "by the root before it, role root: 1 of 2, missing: bob, carol"),
        (
            "trust verify usb/site.root usb/site-2.root --list",
            "LOST       usb/web.whitelist: role lists: 1 of 2, missing: bob, carol; not counted: carol (revoked)",
        ),
        ("verify usb/web.whitelist --trust-root usb/site.root", "it follows version 2 of the trust root"),
        ("verify usb/evil.whitelist", "missing: bob, carol; not counted: carol (revoked)"),
        ("verify usb/prod-2.whitelist --state", "its version is 2, below 900"),
        ("verify usb/prod-900.whitelist", "the trust root revokes this very list"),
        ("verify usb/prod.whitelist", "its version is 1, below 2"),
        ("--trust-root usb/site.root --trust-root usb/site-3.root", "its version is 3, and that before it is 1"),
    ] {
        let told = said.iter().any(|(step, text)| step.contains(&format!(" {command}")) && text.contains(words));
        assert!(told, "{command}: nothing says {words:?}: {said:#?}");
    }
}
