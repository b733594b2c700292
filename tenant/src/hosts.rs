//! A file of machines: a line each, `UUID ADDRESS EK_SHA256 LIST`, where `#` begins a comment.

use std::collections::BTreeSet;
use std::path::Path;

use goldseal_cli::failure::Failure;
use goldseal_cli::input::read_file;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::header::ListName;
use goldseal_verifier_core::hex;

/// Longest file: ten thousand of the longest lines, and comments.
const MAX_HOSTS_FILE: u64 = 8 << 20;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub uuid: String,
    /// Where its agent answers, with or without a port.
    pub address: String,
    /// SHA-256 of its EK's SubjectPublicKeyInfo DER, in hex.
    pub ek_sha256: String,
    /// The name of the list that judges it.
    pub list: ListName,
}

/// Reads a file of machines.
///
/// # Errors
/// `unreadable`; `malformed` names the line.
pub fn read(path: &Path) -> Result<Vec<Host>, Failure> {
    let bytes = read_file(path, MAX_HOSTS_FILE)?;
    let wrong = |line: usize, what: &str| {
        Failure::malformed(
            format!("{}, line {line}: {what}", Printable::path(path)),
            "a line is UUID ADDRESS EK_SHA256 LIST; the digest is that of the EK's SubjectPublicKeyInfo DER",
        )
    };
    let mut hosts = Vec::new();
    let mut known = BTreeSet::new();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let host = std::str::from_utf8(line).ok().and_then(parse).ok_or_else(|| wrong(number, "not a machine"))?;
        if !known.insert(host.uuid.clone()) {
            return Err(wrong(number, "this machine stands there twice"));
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err(wrong(1, "no machine at all"));
    }
    Ok(hosts)
}

fn parse(line: &str) -> Option<Host> {
    let mut words = line.split_whitespace();
    let (uuid, address, ek_sha256, list) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_digest = ek_sha256.len() == 64 && hex::is_lower(ek_sha256.as_bytes());
    (words.next().is_none() && is_digest).then_some(Host {
        uuid: uuid.to_owned(),
        address: address.to_owned(),
        ek_sha256: ek_sha256.to_owned(),
        list: ListName::new(list)?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_a_machine_or_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("hosts");
        let digest = "0a".repeat(32);
        let read = |text: String| {
            std::fs::write(&file, text).unwrap();
            super::read(&file).map_err(|failure| failure.what)
        };
        let good = read(format!("# rack 1\n\nn1 neptune {digest} prod\n  n2 10.0.0.2:9002\t{digest} test \n")).unwrap();
        assert_eq!((good.len(), good[1].address.as_str(), good[1].list.as_str()), (2, "10.0.0.2:9002", "test"));
        for bad in [
            "n1".to_owned(),
            format!("n1 neptune {digest}"),
            format!("n1 neptune {digest} prod more"),
            format!("n1 neptune {} prod", digest.to_uppercase()),
            format!("n1 neptune {} prod", &digest[1..]),
            format!("n1 neptune {digest} Prod"),
            "\u{1b}\u{fffd}".to_owned(),
        ] {
            assert!(read(format!("\n{bad}\n")).unwrap_err().ends_with("line 2: not a machine"), "{bad}");
        }
        let line = format!("n1 neptune {digest} prod\n");
        assert!(read(line.repeat(2)).unwrap_err().ends_with("line 2: this machine stands there twice"));
        assert!(read("# nobody\n".to_owned()).unwrap_err().ends_with("no machine at all"));
    }
}
