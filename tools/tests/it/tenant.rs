//! `goldseal tenant` hands over to goldseal-tenant, wherever that is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A copy of the program in a folder of its own, run with this PATH.
fn goldseal(folder: &Path, path: &str, arguments: &[&str]) -> Output {
    let program = folder.join("goldseal");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_goldseal"), &program).unwrap();
    }
    Command::new(program).args(arguments).env("PATH", path).stdin(Stdio::null()).output().unwrap()
}

/// A program that says what it was given, and ends with 4.
fn place(folder: &Path, says: &str) {
    let script = format!("#!/bin/sh\nprintf '{says}'\nprintf ' [%s]' \"$@\"\nexit 4\n");
    let program = folder.join("goldseal-tenant");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_one_beside_it_comes_first_and_gets_everything_as_it_was_typed() {
    let (beside, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    place(elsewhere.path(), "elsewhere");
    let path = format!("relative:{}", elsewhere.path().display());
    let typed = ["tenant", "-c", "add", "--help", "-t", "a b", "--json", "--", "-x"];
    let said = |output: Output| {
        assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        said(goldseal(beside.path(), &path, &typed)),
        "elsewhere [-c] [add] [--help] [-t] [a b] [--json] [--] [-x]"
    );
    place(beside.path(), "beside");
    assert_eq!(said(goldseal(beside.path(), &path, &["tenant", "list"])), "beside [list]");
    assert_eq!(said(goldseal(beside.path(), &path, &["tenant"])), "beside []");
}

#[test]
fn without_one_it_says_what_to_install() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["tenant", "list"][..], &["tenant", "add", "--json"]] {
        let output = goldseal(folder.path(), "relative:", arguments);
        let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(3));
        assert!(error.contains("goldseal-tenant is neither beside this program nor in PATH\n  install it"), "{error}");
        assert_eq!(out.contains("\"reason\":\"not-installed\""), arguments.contains(&"--json"), "{out}");
    }
}
