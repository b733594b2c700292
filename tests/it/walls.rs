//! The import walls of docs/architecture.md, held mechanically.
//!
//! Two guarantees rest on the absence of code: the binary that signs contains no network client, and a verifier
//! contains no code that can seal. These tests read what cargo resolves and what the sources name. They cannot see what
//! a dependency does inside, only which dependencies there are.
//!
//! Every rule is a function from facts to violations, so each is also shown a forged violation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Closures are taken for one target, so that the lists below are the same on every machine.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The crates whose walls are held; anything else in the workspace (tests, benches) may import anything.
const CORE: &str = "goldseal-verifier-core";
const CLI: &str = "goldseal-cli";
const TOOLS: &str = "goldseal-tools";
const MEMBERS: [&str; 6] = [CORE, CLI, TOOLS, "goldseal-agent", "goldseal-verifier", "goldseal-tenant"];

/// The one crate that may link the TPM software stack.
const TPM_OWNER: &str = "goldseal-agent";

/// Network clients, servers, TLS and async runtimes: nothing that signs or judges may contain one.
const NETWORK: &[&str] = &[
    "actix-web",
    "async-std",
    "attohttpc",
    "axum",
    "curl",
    "curl-sys",
    "futures-executor",
    "h2",
    "hickory-resolver",
    "hyper",
    "isahc",
    "minreq",
    "mio",
    "native-tls",
    "openssl",
    "openssl-sys",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tiny_http",
    "tokio",
    "tonic",
    "ureq",
    "warp",
];

/// Everything verifier-core is made of, procedural macros included. A new name here is a decision: say in Cargo.toml
/// which need it serves.
const CORE_CLOSURE: &[&str] = &[
    // The cipher of credentials (docs/decisions/0014-credentials.md), with what it is made of.
    "aes",
    "aho-corasick",
    "base16ct",
    "base64ct",
    "block-buffer",
    "cfg-if",
    "cipher",
    "cmov",
    "const-oid",
    "cpubits",
    "cpufeatures",
    "crypto-bigint",
    "crypto-common",
    "crypto-primes",
    "ctutils",
    "curve25519-dalek",
    "curve25519-dalek-derive",
    "der",
    "digest",
    "ecdsa",
    "ed25519",
    "ed25519-dalek",
    "elliptic-curve",
    "ff",
    // ring's, for its randomness, which core never asks for.
    "getrandom",
    CORE,
    "group",
    "hmac",
    "hybrid-array",
    "inout",
    "libc",
    "memchr",
    "num-traits",
    // IMA file signatures (docs/decisions/0012-file-signatures.md), with what they are made of.
    "p256",
    "p384",
    "pem-rfc7468",
    "pkcs1",
    "pkcs8",
    "primefield",
    "primeorder",
    "proc-macro2",
    "quote",
    // Traits of random numbers; no source of any.
    "rand_core",
    "regex",
    "regex-automata",
    "regex-syntax",
    "rfc6979",
    "ring",
    "rsa",
    "sec1",
    "sha1",
    "sha2",
    "signature",
    "spki",
    "subtle",
    "syn",
    "typenum",
    "unicode-ident",
    "untrusted",
    "wnaf",
    "zeroize",
    "zeroize_derive",
];

/// `links` keys of crates in the tools' closure. ring, zstd and lzma compile vendored C; rayon-core links nothing.
const LINKS: &[&str] = &["lzma", "rayon-core", "ring_core_0_17_14_", "zstd"];

/// Licences a dependency may be used under.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// What verifier-core's sources never name: time, randomness, files and keys are arguments of its functions.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "Instant",
    "SystemTime",
    "OsRng",
    "getrandom",
    "rand::",
    "rand_core",
    "async",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "log::",
    "tracing::",
    "extern",
    "unsafe",
];

/// Keys that sign, of ed25519-dalek and of ring, and those of rcgen that could sign lists.
const SIGNING: &[&str] = &["PKCS_ED25519", "SigningKey", "KeyPair", "Ed25519KeyPair", "EcdsaKeyPair", "RsaKeyPair"];

#[test]
fn crates_import_core_and_cli_and_never_each_other() {
    assert_eq!(forbidden_imports(&Workspace::read().imports), Vec::<String>::new());
}

#[test]
fn forbidden_imports_are_found() {
    let import = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let forged = [
        import(TOOLS, CORE),
        import(TOOLS, CLI),
        import(CLI, CORE),
        import("goldseal-tests", TOOLS),
        import(CORE, TOOLS),
        import(CORE, CLI),
        import(CLI, TOOLS),
        import(CLI, "tss-esapi"),
        import("goldseal-verifier", TOOLS),
        import("goldseal-verifier", "tss-esapi"),
        import(TPM_OWNER, "tss-esapi"),
    ];
    assert_eq!(
        forbidden_imports(&forged),
        [
            "goldseal-verifier-core imports goldseal-tools",
            "goldseal-verifier-core imports goldseal-cli",
            "goldseal-cli imports goldseal-tools",
            "goldseal-cli imports tss-esapi",
            "goldseal-verifier imports goldseal-tools",
            "goldseal-verifier imports tss-esapi"
        ]
    );
}

#[test]
fn nothing_that_signs_or_judges_contains_a_network_client() {
    for package in [CORE, CLI, TOOLS] {
        let closure = closure(package);
        assert!(closure.contains(package) && closure.contains("sha2"), "not a closure: {closure:?}");
        assert_eq!(named(&closure, NETWORK), Vec::<&str>::new(), "in {package}");
    }
}

#[test]
fn a_network_client_is_found() {
    let forged = BTreeSet::from(["sha2", "h2", "rustls"].map(str::to_owned));
    assert_eq!(named(&forged, NETWORK), ["h2", "rustls"]);
}

#[test]
fn core_is_made_of_these_crates_alone() {
    assert_eq!(not_named(&closure(CORE), CORE_CLOSURE), Vec::<&str>::new());
    assert_eq!(not_named(&BTreeSet::from(["sha2", "rand"].map(str::to_owned)), CORE_CLOSURE), ["rand"]);
}

#[test]
fn core_is_pure() {
    let mut files = 0;
    for file in production_files(&root().join("verifier-core/src")) {
        let allowed: &[&str] = if file.ends_with(GIVEN_RANDOMNESS) { &["rand_core"] } else { &[] };
        assert_eq!(impurities(&fs::read_to_string(&file).unwrap()), allowed, "{}", file.display());
        files += 1;
    }
    assert!(files >= 4, "verifier-core has moved");
}

/// The one file of core that speaks of random numbers: it hands out bytes that were handed in.
const GIVEN_RANDOMNESS: &str = "tpm/credential/given.rs";

#[test]
fn impurities_are_found() {
    let forged = "//! std::fs in a comment\nuse std::{fmt, fs};\nlet now = Instant::now(); // println!\nlet instance = 1;\n\
                  #[cfg(test)]\nmod tests {\n    use std::net;\n}\n";
    assert_eq!(impurities(forged), ["std::fs", "Instant"]);
}

#[test]
fn only_tools_can_seal() {
    // rcgen's keys are those of TLS certificates, which are no keys of lists: their default is ECDSA on P-256.
    let can_sign = |code: &str| SIGNING.iter().any(|word| names(&code.replace("rcgen::KeyPair::", ""), word));
    for folder in ["verifier-core", "cli", "agent", "verifier", "tenant"] {
        for file in production_files(&root().join(folder).join("src")) {
            let code = production_code(&fs::read_to_string(&file).unwrap());
            assert!(!can_sign(&code), "{} can sign", file.display());
        }
    }
    assert!(!can_sign("let pair = rcgen::KeyPair::generate();"));
    assert!(can_sign("rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)") && can_sign("use rcgen::KeyPair;"));
    assert!(can_sign("let key: SigningKey = make();") && can_sign("use ring::signature::Ed25519KeyPair;"));
}

/// Who judges machines never reads a list that nobody vouches for; what every program shares offers no way to.
#[test]
fn nothing_that_judges_reads_unverified_lists() {
    // `inspect` is a method of options and iterators, too.
    let reads = |code: &str| UNVERIFIED.iter().any(|word| names(&code.replace(".inspect(", ""), word));
    let mut files = 0;
    for folder in ["cli", "agent", "verifier", "tenant"] {
        for file in production_files(&root().join(folder).join("src")) {
            let code = production_code(&fs::read_to_string(&file).unwrap());
            assert!(!reads(&code), "{} reads lists that nobody vouches for", file.display());
            files += 1;
        }
    }
    assert!(files > 15, "cli has moved");
    assert!(
        reads("let list = inspect(&bytes)?;") && reads("use core::list::{UnverifiedList};") && !reads("a.inspect(b)")
    );
}

/// The ways of core to a list without its seal.
const UNVERIFIED: &[&str] = &["UnverifiedList", "UnverifiedHead", "inspect", "inspect_head"];

/// The one file of what signs that may open a socket, and only of this machine.
#[test]
fn only_the_agent_client_opens_a_socket() {
    let agent = root().join("tools/src/key/agent.rs");
    let mut found = 0;
    let folders = ["tools/src", "cli/src"].map(|folder| rust_files(&root().join(folder)));
    for file in folders.into_iter().flatten().filter(|file| !file.ends_with("tests.rs")) {
        let code = production_code(&fs::read_to_string(&file).unwrap());
        let sockets = sockets(&code);
        found += usize::from(!sockets.is_empty());
        let allowed: &[&str] = if file == agent { &["UnixStream"] } else { &[] };
        assert_eq!(sockets, allowed, "{}", file.display());
    }
    assert_eq!(found, 1, "the client has moved");
    assert_eq!(
        sockets("use std::net::TcpStream;\nlet a = rustix::net::socket(b);"),
        ["TcpStream", "std::net", "net::"]
    );
}

fn sockets(code: &str) -> Vec<&'static str> {
    // Of the standard library's paths only that of the sockets of this machine.
    let other = code.replace("std::os::unix::net::", "");
    let named = SOCKETS.iter().filter(|word| names(&other, word));
    named.copied().collect()
}

const SOCKETS: &[&str] = &[
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "socketpair",
    "std::net",
    "net::",
];

#[test]
fn licences_are_permissive() {
    for (package, licence) in Workspace::read().licences {
        assert!(is_permissive(&licence), "{package} is under {licence:?}");
    }
}

#[test]
fn licence_expressions() {
    for good in ["MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT OR LGPL-2.1-or-later"] {
        assert!(is_permissive(good), "{good}");
    }
    for bad in ["", "GPL-3.0-only", "MIT AND GPL-2.0-only", "(MIT OR Apache-2.0) AND LGPL-2.1-or-later", "MPL-2.0"] {
        assert!(!is_permissive(bad), "{bad}");
    }
}

#[test]
fn default_members_need_no_library_of_the_machine() {
    let workspace = Workspace::read();
    let tools = closure(TOOLS);
    let links: BTreeSet<String> = workspace
        .links
        .iter()
        .filter(|(package, _)| tools.contains(*package))
        .map(|(_, links)| links.clone())
        .collect();
    assert!(links.contains("zstd"), "the zstd decoder has moved");
    assert_eq!(not_named(&links, LINKS), Vec::<&str>::new());
    assert_eq!(not_named(&BTreeSet::from(["zstd", "tss2-esys"].map(str::to_owned)), LINKS), ["tss2-esys"]);
}

#[test]
fn fuzzing_uses_the_same_versions() {
    let versions = |path: &str| -> BTreeSet<(String, String)> {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let mut lines = text.lines();
        let mut versions = BTreeSet::new();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("name = ") {
                versions.insert((name.to_owned(), lines.next().unwrap().to_owned()));
            }
        }
        versions
    };
    let ours = versions("Cargo.lock");
    let own = ["\"arbitrary\"", "\"libfuzzer-sys\"", "\"goldseal-fuzz\""];
    let fuzz = versions("fuzz/Cargo.lock");
    assert!(fuzz.len() > 10);
    for package in fuzz {
        assert!(own.contains(&package.0.as_str()) || ours.contains(&package), "fuzz/Cargo.lock: {package:?}");
    }
}

/// What `cargo metadata` says of the workspace.
struct Workspace {
    /// (member, package it names in its Cargo.toml), of every kind.
    imports: Vec<(String, String)>,
    /// Every package of the lock file that this target builds, with its licence expression.
    licences: BTreeMap<String, String>,
    /// Packages with a `links` key.
    links: BTreeMap<String, String>,
}

impl Workspace {
    fn read() -> Self {
        let text = cargo(&["metadata", "--format-version", "1", "--filter-platform", TARGET]);
        let metadata: Value = serde_json::from_str(&text).unwrap();
        let members: BTreeSet<&str> = array(&metadata["workspace_members"]).map(|id| id.as_str().unwrap()).collect();
        let built: BTreeSet<&str> = array(&metadata["resolve"]["nodes"]).map(|node| text_of(&node["id"])).collect();
        let mut workspace = Self { imports: Vec::new(), licences: BTreeMap::new(), links: BTreeMap::new() };
        for package in array(&metadata["packages"]) {
            let (id, name) = (text_of(&package["id"]), text_of(&package["name"]));
            if members.contains(id) {
                let imports = array(&package["dependencies"]).map(|import| text_of(&import["name"]));
                workspace.imports.extend(imports.map(|import| (name.to_owned(), import.to_owned())));
            }
            if built.contains(id) {
                let licence = package["license"].as_str().unwrap_or_default();
                workspace.licences.insert(format!("{name} {}", text_of(&package["version"])), licence.to_owned());
            }
            if let Some(links) = package["links"].as_str() {
                workspace.links.insert(name.to_owned(), links.to_owned());
            }
        }
        assert!(workspace.imports.contains(&(TOOLS.to_owned(), CORE.to_owned())), "the workspace has moved");
        workspace
    }
}

/// Names of the packages that are compiled into `package`, itself included, with the features that it alone asks for.
fn closure(package: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", package, "-e", "normal", "--target", TARGET, "--prefix", "none"]);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline", "--color", "never"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The imports that cross a wall.
fn forbidden_imports(imports: &[(String, String)]) -> Vec<String> {
    let crosses = |from: &str, to: &str| {
        let allowed = (to == CORE && from != CORE) || (to == CLI && ![CORE, CLI].contains(&from));
        let between_members = MEMBERS.contains(&from) && MEMBERS.contains(&to) && !allowed;
        between_members || (to.starts_with("tss-esapi") && MEMBERS.contains(&from) && from != TPM_OWNER)
    };
    let crossing = imports.iter().filter(|(from, to)| crosses(from, to));
    crossing.map(|(from, to)| format!("{from} imports {to}")).collect()
}

fn named<'a>(found: &'a BTreeSet<String>, list: &[&str]) -> Vec<&'a str> {
    found.iter().map(String::as_str).filter(|name| list.contains(name)).collect()
}

fn not_named<'a>(found: &'a BTreeSet<String>, list: &[&str]) -> Vec<&'a str> {
    found.iter().map(String::as_str).filter(|name| !list.contains(name)).collect()
}

/// The words of [`IMPURE`] that production code in `source` names.
fn impurities(source: &str) -> Vec<String> {
    let code = production_code(source);
    let mut found: Vec<String> =
        IMPURE.iter().filter(|word| names(&code, word)).map(|word| (*word).to_owned()).collect();
    // `use std::{fmt, fs}` names a module without writing `std::fs`.
    for group in code.split("std::{").skip(1) {
        let group = group.split('}').next().unwrap_or_default();
        let modules = group.split(',').map(|name| format!("std::{}", name.trim()));
        found.extend(modules.filter(|module| IMPURE.iter().any(|word| module.starts_with(word))));
    }
    found.sort_by_key(|word| IMPURE.iter().position(|impure| impure == word));
    found
}

/// Whether `code` holds `word` other than as a part of a longer word.
fn names(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && (word.ends_with([':', '!']) || !after.is_some_and(is_part))
    })
}

/// `source` without comments and without its `mod tests`, which stands last.
pub(crate) fn production_code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether an SPDX expression (AND, OR, one level of parentheses; `/` is an old spelling of OR) can be satisfied.
fn is_permissive(expression: &str) -> bool {
    let allowed = |licence: &str| LICENCES.contains(&licence.trim());
    let any = |text: &str| text.trim().trim_matches(['(', ')']).replace('/', " OR ").split(" OR ").any(allowed);
    expression.split(" AND ").all(any)
}

/// Rust files that are not below a `tests` folder. Such a folder is a module that is compiled for tests alone.
pub(crate) fn production_files(folder: &Path) -> Vec<PathBuf> {
    let is_tests = |file: &Path| file.parent().is_some_and(|folder| folder.ends_with("tests"));
    let (tests, production): (Vec<_>, Vec<_>) = rust_files(folder).into_iter().partition(|file| is_tests(file));
    for file in tests {
        let source = fs::read_to_string(file.ancestors().nth(2).unwrap().join("mod.rs")).unwrap();
        assert!(source.contains("#[cfg(test)]\npub(crate) mod tests;\n"), "{} is not for tests alone", file.display());
    }
    production
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
