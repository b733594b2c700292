//! Keylime's runtime policy: the JSON document its tenant uploads and its verifier holds measurement lists against.
//!
//! Names are written as the kernel logs them, since Keylime compares them as they are; the digests of paths that
//! become one name are united. Promises: the document accepts nothing that the list does not accept, but for what
//! [`unheld`] names. Does not promise the reverse: what the document cannot say, it refuses.

mod python;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use goldseal_verifier_core::entries::Entry;
use goldseal_verifier_core::excludes::Pattern;
use goldseal_verifier_core::path::kernel_name;
use goldseal_verifier_core::rules::Rule;
use goldseal_verifier_core::time::Timestamp;
use serde_json::json;

use crate::flat::BOOT_AGGREGATE;

pub use python::translate;

/// What goes into a runtime policy.
#[derive(Debug)]
pub struct RuntimePolicy<'a> {
    names: Vec<(Cow<'a, [u8]>, &'a [u8])>,
    excludes: Vec<String>,
    rules: &'a [Rule],
    created: Timestamp,
}

impl<'a> RuntimePolicy<'a> {
    /// Collects it. Entries must be UTF-8 and have digests of contents; patterns that cannot be translated are left out.
    pub fn new(entries: &[Entry<'a>], excludes: &[Pattern], rules: &'a [Rule], created: Timestamp) -> Self {
        let mut names: Vec<(Cow<'a, [u8]>, &'a [u8])> =
            entries.iter().map(|entry| (logged_name(&entry.path), entry.digest)).collect();
        names.sort_unstable();
        names.dedup();
        let mut excludes: Vec<String> = excludes.iter().filter_map(translate).collect();
        if rules.contains(&Rule::BootAggregateAny) {
            // Keylime tries excludes on this name too, and has no other way to say it.
            excludes.push(format!(r"{BOOT_AGGREGATE}\Z"));
        }
        Self { names, excludes, rules, created }
    }

    /// Writes the document, a path a line.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, mut out: &mut dyn Write) -> io::Result<()> {
        let boot_aggregates = digests(self.rules, |rule| match rule {
            Rule::BootAggregate(digest) => Some((BOOT_AGGREGATE, digest.to_string())),
            _ => None,
        });
        let keyrings = digests(self.rules, |rule| match rule {
            Rule::Keyring { label, digest } => Some((label.as_str(), digest.to_string())),
            _ => None,
        });
        let buffers = digests(self.rules, |rule| match rule {
            Rule::Buffer { label, digest } => Some((label.as_str(), digest.to_string())),
            _ => None,
        });
        let ignored: Vec<&str> = self
            .rules
            .iter()
            .filter_map(|rule| match rule {
                Rule::IgnoreKeyring(label) => Some(label.as_str()),
                _ => None,
            })
            .collect();
        let meta = json!({ "version": VERSION, "generator": GENERATOR, "timestamp": self.created.to_string() });
        writeln!(out, "{{\n\"meta\": {meta},\n\"release\": 0,\n\"digests\": {{")?;
        let mut separator = "";
        for (name, digests) in &boot_aggregates {
            write!(out, "{separator}{}: {}", json!(name), json!(digests))?;
            separator = ",\n";
        }
        for same in self.names.chunk_by(|(a, _), (b, _)| a == b) {
            out.write_all(separator.as_bytes())?;
            separator = ",\n";
            let [(name, _), ..] = same else { continue };
            serde_json::to_writer(&mut out, &String::from_utf8_lossy(name))?;
            let mut before: &[u8] = b": [\"";
            for (_, digest) in same {
                out.write_all(before)?;
                out.write_all(digest)?;
                before = b"\", \"";
            }
            out.write_all(b"\"]")?;
        }
        let excludes: Vec<String> = self.excludes.iter().map(|pattern| json!(pattern).to_string()).collect();
        let ima = json!({ "ignored_keyrings": ignored, "log_hash_alg": LOG_HASH, "dm_policy": null });
        writeln!(
            out,
            "\n}},\n\"excludes\": [\n{}\n],\n\"keyrings\": {},\n\"ima\": {ima},\n\"ima-buf\": {},\n\"verification-keys\": \"\"\n}}",
            excludes.join(",\n"),
            json!(keyrings),
            json!(buffers),
        )
    }
}

/// Why the document cannot say what a rule says; `None` if it can, or has nothing to say.
pub fn unheld(rule: &Rule) -> Option<&'static str> {
    match rule {
        Rule::BootAggregate(_)
        | Rule::BootAggregateAny
        | Rule::Buffer { .. }
        | Rule::IgnoreKeyring(_)
        | Rule::Keyring { .. } => None,
        // Belongs to its exclude.
        Rule::BroadExclude(_) => None,
        Rule::Pcr { .. } => Some("PCR values belong into Keylime's tpm_policy; without them more is accepted"),
        Rule::Template(_) => Some("a runtime policy does not restrict templates"),
        Rule::FileSignature { .. } => Some("its keys are not bound to a folder"),
        _ => Some("a runtime policy cannot say it"),
    }
}

/// Version of the document, and its maker: none of Keylime's own tools.
const VERSION: u64 = 1;
const GENERATOR: u64 = 0;

/// Template hashes of the kernel's ASCII list are SHA-1, whatever `ima_hash=` says.
const LOG_HASH: &str = "sha1";

fn logged_name<'a>(path: &Cow<'a, [u8]>) -> Cow<'a, [u8]> {
    match path {
        Cow::Borrowed(path) => kernel_name(path),
        Cow::Owned(path) => Cow::Owned(kernel_name(path).into_owned()),
    }
}

fn digests<'a>(
    rules: &'a [Rule],
    of: impl Fn(&'a Rule) -> Option<(&'a str, String)>,
) -> BTreeMap<&'a str, BTreeSet<String>> {
    let mut digests: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, digest) in rules.iter().filter_map(of) {
        digests.entry(name).or_default().insert(digest);
    }
    digests
}

#[cfg(test)]
mod tests {

    use super::*;

    fn entry<'a>(path: &'a str, digest: &'a str) -> Entry<'a> {
        Entry { path: Cow::Borrowed(path.as_bytes()), digest: digest.as_bytes() }
    }

    fn document(entries: &[Entry<'_>], excludes: &[&str], rules: &[&str]) -> serde_json::Value {
        let excludes: Vec<Pattern> = excludes.iter().map(|text| Pattern::new(text.as_bytes()).unwrap()).collect();
        let rules: Vec<Rule> =
            rules.iter().map(|line| Rule::parse(line.replace("HEX", &"5".repeat(64)).as_bytes()).unwrap()).collect();
        let created = Timestamp::from_unix(86_400).unwrap();
        let mut bytes = Vec::new();
        RuntimePolicy::new(entries, &excludes, &rules, created).write(&mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The members and types are those of Keylime's own schema (keylime/ima/ima.py).
    #[test]
    fn an_empty_policy_has_every_member() {
        assert_eq!(
            document(&[], &[], &[]),
            json!({
                "meta": { "version": 1, "generator": 0, "timestamp": "1970-01-02T00:00:00Z" },
                "release": 0,
                "digests": {},
                "excludes": [],
                "keyrings": {},
                "ima": { "ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null },
                "ima-buf": {},
                "verification-keys": "",
            })
        );
    }

    #[test]
    fn paths_that_the_kernel_logs_alike_share_their_digests() {
        let entries = [entry("/a b", "22"), entry("/a\"\n", "44"), entry("/a_b", "11"), entry("/a_b", "22")];
        let expected = json!({ "/a_b": ["11", "22"], "/a\"\n": ["44"] });
        assert_eq!(document(&entries, &[], &[])["digests"], expected);
    }

    #[test]
    fn rules_have_their_members() {
        let hex = "5".repeat(64);
        let document = document(
            &[entry("/a", "11")],
            &["/tmp"],
            &[
                "boot-aggregate any",
                "boot-aggregate sha256:HEX",
                "buffer kernel_version sha256:HEX",
                "ignore-keyring .evm",
                "keyring .ima sha256:HEX",
            ],
        );
        assert_eq!(document["digests"], json!({ "boot_aggregate": [hex], "/a": ["11"] }));
        assert_eq!(document["ima-buf"], json!({ "kernel_version": [hex] }));
        assert_eq!(document["keyrings"], json!({ ".ima": [hex] }));
        assert_eq!(document["ima"]["ignored_keyrings"], json!([".evm"]));
        assert_eq!(document["excludes"][1], json!(r"boot_aggregate\Z"));
    }
}
