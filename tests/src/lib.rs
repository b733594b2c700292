//! Harness of the scenarios: a folder to work in, the real binary, and what a run of it came to.
//!
//! Truth comes from outside: [`sha256sums`] asks find(1) and sha256sum(1), [`image`] makes images with cpio(1) and the
//! compressors' own programs, [`quotes`] are those of real machines. [`forge`] makes what is right in all but one thing. A
//! failed step of the harness panics and says which command it was.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod captures;
pub mod forge;
pub mod image;
pub mod lab;
pub mod quotes;
pub mod swarm;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use goldseal_verifier_core::header::Section;
use goldseal_verifier_core::list::{self, UnverifiedList};
use serde_json::Value;
use tempfile::TempDir;

/// The tool, built once from the sources of this workspace.
pub fn goldseal() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| binaries().join("goldseal"))
}

/// The service, likewise.
pub fn verifier() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| binaries().join("goldseal-verifier"))
}

/// The agent, likewise.
pub fn goldseal_agent() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| binaries().join("goldseal-agent"))
}

/// Where the binaries are, built as this test was. All of them at once: one at a time, dependencies that they share would
/// be built again with the features that each asks for.
fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = profile_folder();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--quiet", "--workspace", "--bins", "--target-dir"]);
        build.arg(target_folder()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        output_of(&mut build);
        folder
    })
}

/// Where cargo builds to.
pub fn target_folder() -> PathBuf {
    profile_folder().parent().unwrap().to_owned()
}

/// This test stands in TARGET/PROFILE/deps.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

/// A folder of its own, in which everything of one test happens.
#[derive(Debug)]
pub struct World(TempDir);

impl World {
    #[expect(clippy::new_without_default, reason = "a world is made on purpose")]
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Below the target folder, for what is too large for a /tmp in memory. It stays if GOLDSEAL_KEEP is set.
    pub fn in_target() -> Self {
        let folder = target_folder().join("tmp");
        fs::create_dir_all(&folder).unwrap();
        let mut folder = TempDir::new_in(folder).unwrap();
        folder.disable_cleanup(std::env::var_os("GOLDSEAL_KEEP").is_some());
        Self(folder)
    }

    /// A path in it; without symbolic links, as `goldseal` lists paths.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    /// Writes a file, with the folders it needs.
    pub fn file(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(Path::new(name.as_ref()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A run of the binary in it; see [`words`] for the arguments. Made at the same second each time.
    pub fn goldseal(&self, arguments: &str) -> Run {
        Run::of(self.command(arguments))
    }

    /// The command of [`World::goldseal`], to be changed first.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(goldseal());
        command.args(words(arguments)).current_dir(self.0.path());
        command.env("SOURCE_DATE_EPOCH", EPOCH).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// The list that a run wrote.
    pub fn list(&self, name: &str) -> List {
        List::parse(fs::read(self.path(name)).unwrap())
    }

    /// Builds `out.whitelist` with these further arguments, which must succeed, and reads it.
    pub fn build(&self, arguments: &str) -> List {
        self.goldseal(&format!("build --force -o out.whitelist {arguments}")).exits(0);
        self.list("out.whitelist")
    }

    /// The same must end with this exit code, say each of these, and write nothing at all.
    pub fn refuses(&self, arguments: &str, exit: i32, says: &[&str]) -> Run {
        let before = self.snapshot();
        let run = self.goldseal(&format!("build -o out.whitelist {arguments}")).exits(exit);
        for text in says {
            run.says(text);
        }
        assert_eq!(self.snapshot(), before, "{arguments}: files were changed");
        run
    }

    /// Every name in the folder with what stands there, by find(1) and sha256sum(1).
    pub fn snapshot(&self) -> String {
        let names = output_of(Command::new("find").args(["-printf", "%y %m %p %l\\n"]).current_dir(self.0.path()));
        let mut names: Vec<&[u8]> = names.split_inclusive(|byte| *byte == b'\n').collect();
        names.sort_unstable();
        let sums = sha256sums(self.0.path());
        String::from_utf8_lossy(&[names.concat(), sums].concat()).into_owned()
    }
}

/// The time at which all lists are said to be made: 2026-01-02T03:04:05Z.
pub const EPOCH: &str = "1767323045";

/// A finished run of the binary.
#[derive(Debug)]
pub struct Run {
    command: String,
    output: Output,
}

impl Run {
    pub fn of(mut command: Command) -> Self {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self::ended(&command, output)
    }

    /// A command that was waited for elsewhere.
    pub fn ended(command: &Command, output: Output) -> Self {
        Self { command: format!("{command:?}"), output }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.output.status.code(), Some(code), "{self}");
        self
    }

    #[track_caller]
    pub fn ends_by_signal(&self, signal: i32) {
        assert_eq!(self.output.status.signal(), Some(signal), "{self}");
    }

    /// Standard error holds this.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr().contains(text), "expected: {text}\n{self}");
        self
    }

    /// Standard error holds nothing of the kind.
    #[track_caller]
    pub fn omits(&self, text: &str) -> &Self {
        assert!(!self.stderr().contains(text), "unexpected: {text}\n{self}");
        self
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn stdout(&self) -> &[u8] {
        &self.output.stdout
    }

    /// Standard output is exactly one JSON object, and it agrees with the exit code.
    #[track_caller]
    pub fn json(&self) -> Value {
        let object: Value = serde_json::from_slice(self.stdout()).unwrap_or_else(|error| panic!("{error}: {self}"));
        assert_eq!(object["exit"].as_i64(), self.output.status.code().map(i64::from), "{self}");
        assert!(object["schema"].is_u64() && object["command"].is_string() && object["reason"].is_string(), "{self}");
        object
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, output } = self;
        write!(f, "{command}\n{}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
    }
}

/// A list as the format's own reader sees it.
#[derive(Debug)]
pub struct List {
    pub bytes: Vec<u8>,
    pub read: UnverifiedList,
}

impl List {
    pub fn parse(bytes: Vec<u8>) -> Self {
        let read = list::inspect(bytes.clone()).unwrap();
        Self { bytes, read }
    }

    pub fn entries(&self) -> String {
        self.section(Section::Entries)
    }

    pub fn provenance(&self) -> String {
        self.section(Section::Provenance)
    }

    pub fn excludes(&self) -> String {
        self.section(Section::Excludes)
    }

    pub fn rules(&self) -> String {
        self.section(Section::Rules)
    }

    /// The paths of the entries, escaped as they stand there.
    pub fn paths(&self) -> Vec<String> {
        self.entries().lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect()
    }

    /// Bytes that are not UTF-8 are replaced: [`List::holds`] compares those.
    fn section(&self, section: Section) -> String {
        String::from_utf8_lossy(self.read.contents().section(section)).into_owned()
    }

    /// Its entries are exactly these bytes.
    #[track_caller]
    pub fn holds(&self, expected: &[u8]) -> &Self {
        let found = self.read.contents().section(Section::Entries);
        // The text is for people; it is the bytes that must be equal.
        assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(expected));
        assert!(found == expected, "they differ in bytes that are not UTF-8");
        self
    }
}

/// Splits a command line at blanks; a word in single quotes may hold some. No other quoting.
pub fn words(line: &str) -> Vec<OsString> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.into());
        } else {
            words.extend(part.split_whitespace().map(OsString::from));
        }
    }
    words
}

/// The regular files of a folder as entries of a list in which the folder is `/`, by find(1), sort(1) and sha256sum(1).
pub fn sha256sums(folder: &Path) -> Vec<u8> {
    let script = "find . -type f -print0 | sort -z | xargs -0 -r sha256sum --";
    let sums = output_of(Command::new("sh").args(["-ec", script]).current_dir(folder).env("LC_ALL", "C"));
    let lines = sums.split_inclusive(|byte| *byte == b'\n');
    let absolute = |line: &[u8]| {
        let name = line.windows(4).position(|bytes| bytes == b"  ./").unwrap() + 2;
        [&line[..name], &line[name + 1..]].concat()
    };
    lines.flat_map(absolute).collect()
}

/// What a command prints; it must succeed.
#[track_caller]
pub fn output_of(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a script of sh(1) in a folder; it must succeed.
#[track_caller]
pub fn shell(folder: &Path, script: &str) -> Vec<u8> {
    output_of(Command::new("sh").args(["-ec", script]).current_dir(folder).env("LC_ALL", "C"))
}

/// Whether a test that needs root can run. Without root it is skipped, loudly, and never in CI.
pub fn is_root(test: &str) -> bool {
    let root = output_of(Command::new("id").arg("-u")) == b"0\n";
    skip_unless(root, test, "needs root")
}

/// Says that a test is skipped where `can` is false; in CI that is a failure.
pub fn skip_unless(can: bool, test: &str, reason: &str) -> bool {
    assert!(can || std::env::var_os("CI").is_none(), "{test}: {reason}");
    if !can {
        skips(test, reason);
    }
    can
}

/// Says that a test is skipped, in CI too.
pub fn skips(test: &str, reason: &str) {
    // Past the capture of the test runner.
    let _ = fs::write("/dev/tty", format!("SKIPPED: {test}: {reason}\n"));
    eprintln!("SKIPPED: {test}: {reason}");
}

/// An argument made of a path, in quotes for [`words`].
pub fn quoted(path: &Path) -> String {
    format!("'{}'", std::str::from_utf8(path.as_os_str().as_bytes()).unwrap())
}
