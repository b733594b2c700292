//! Where the passphrase of a seal key comes from: the terminal, a file descriptor, or a credential that systemd hands to
//! a service (systemd.exec(5), Credentials); never an argument or an environment variable, which other processes can
//! read.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::interrupt;
use goldseal_cli::printable::Printable;
use zeroize::Zeroizing;

/// The longest passphrase in bytes: what openssl can read of one (PEM_BUFSIZE in openssl/pem.h).
pub const MAX_LEN: usize = 1024;

/// A passphrase: not empty, at most [`MAX_LEN`] bytes, wiped on drop.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Checks the length.
    ///
    /// # Errors
    /// `usage`.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Failure> {
        match bytes.len() {
            0 => Err(Failure::usage(
                "the passphrase is empty",
                "give one, or choose a key without: --no-passphrase (keep such a key on encrypted media)",
            )),
            1..=MAX_LEN => Ok(Self(bytes)),
            _ => Err(Failure::usage(
                format!("the passphrase is longer than {MAX_LEN} bytes"),
                "openssl could not read such a key; choose a shorter one",
            )),
        }
    }

    /// The passphrase itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Where to read a passphrase instead of asking on the terminal, for every command that opens or makes a key.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PassphraseArgs {
    /// Read the passphrase from this file descriptor, up to the first line feed, instead of asking on the terminal
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u32>,
    /// Read it from this credential of a systemd service [default: goldseal-passphrase, if the service has it]
    #[arg(long, value_name = "NAME", value_parser = credential_name, conflicts_with = "passphrase_fd")]
    pub passphrase_credential: Option<String>,
}

impl PassphraseArgs {
    /// Whether one of them was given.
    pub fn is_given(&self) -> bool {
        self.passphrase_fd.is_some() || self.passphrase_credential.is_some()
    }

    /// The source they name; without them the default credential if there is one, else the terminal.
    ///
    /// # Errors
    /// `usage`: a credential is named, and this is no service with credentials.
    pub fn source(&self) -> Result<PassphraseSource, Failure> {
        self.source_among(env::var_os(CREDENTIALS).as_deref())
    }

    fn source_among(&self, credentials: Option<&OsStr>) -> Result<PassphraseSource, Failure> {
        let folder = credentials.map(Path::new).filter(|folder| folder.is_absolute());
        match (self.passphrase_fd, &self.passphrase_credential, folder) {
            (Some(number), _, _) => Ok(PassphraseSource::Descriptor(number)),
            (None, Some(name), Some(folder)) => Ok(PassphraseSource::Credential(folder.join(name))),
            (None, Some(name), None) => Err(Failure::usage(
                format!("there is no credential {name}: ${CREDENTIALS} names no folder"),
                format!("run it as a service of systemd, with LoadCredentialEncrypted={name}"),
            )),
            (None, None, folder) => {
                let default = folder.map(|folder| folder.join(DEFAULT_CREDENTIAL)).filter(|path| path.exists());
                Ok(default.map_or(PassphraseSource::Terminal, PassphraseSource::Credential))
            }
        }
    }
}

/// A file name: systemd allows no other (systemd.exec(5), LoadCredential=).
fn credential_name(text: &str) -> Result<String, String> {
    if matches!(text, "" | "." | "..") || text.contains(['/', '\0']) {
        return Err("a credential has the name of a file, without a folder".to_owned());
    }
    Ok(text.to_owned())
}

/// The folder of a service's credentials (systemd.exec(5), Credentials).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The credential that is read unless another is named.
const DEFAULT_CREDENTIAL: &str = "goldseal-passphrase";

/// What the command line says about passphrases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// Ask on the terminal (the default).
    Terminal,
    /// `--passphrase-fd N`: what can be read there before the first LF.
    Descriptor(u32),
    /// A credential of a service: what is in the file before the first LF.
    Credential(PathBuf),
    /// `--no-passphrase`: new keys are not encrypted.
    None,
}

impl PassphraseSource {
    /// The passphrase to encrypt a new key with; asked twice on a terminal.
    ///
    /// # Errors
    /// `usage`: no terminal, nothing given, two that differ.
    pub fn for_new_key(&self, key: &Path) -> Result<Option<Passphrase>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Descriptor(number) => from_descriptor(*number).map(Some),
            Self::Credential(path) => from_credential(path).map(Some),
            Self::Terminal => {
                let first = ask(&format!("New passphrase for {}: ", Printable::path(key)))?;
                let second = ask("The same again: ")?;
                if first.expose() == second.expose() {
                    return Ok(Some(first));
                }
                Err(Failure::usage("the two passphrases differ", "run the command again"))
            }
        }
    }

    /// The passphrase of a key that turned out to be encrypted.
    ///
    /// # Errors
    /// `usage`: no terminal, nothing given.
    pub fn for_existing_key(&self, key: &Path) -> Result<Passphrase, Failure> {
        let key = Printable::path(key);
        match self {
            Self::None => Err(Failure::usage(
                format!("{key} is encrypted"),
                "leave out --no-passphrase, or give the passphrase with --passphrase-fd N",
            )),
            Self::Descriptor(number) => from_descriptor(*number),
            Self::Credential(path) => from_credential(path),
            Self::Terminal => ask(&format!("Passphrase for {key}: ")),
        }
    }
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    match interrupt::with_terminal(|| rpassword::prompt_password(prompt)) {
        Ok(typed) => Passphrase::new(Zeroizing::new(typed.into_bytes())),
        Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof) => {
            Err(Failure::usage("no passphrase was typed", "run the command again"))
        }
        Err(_) => Err(Failure::usage(
            "a passphrase is needed and there is no terminal to ask for it",
            "use --passphrase-fd N (for example --passphrase-fd 3 3<FILE), or --passphrase-credential NAME in a service; \
             a new key may do without: --no-passphrase",
        )),
    }
}

fn from_descriptor(number: u32) -> Result<Passphrase, Failure> {
    // Opened anew by name: taking over a bare descriptor number would need unsafe code.
    let file = File::open(format!("/proc/self/fd/{number}")).map_err(|error| {
        Failure::usage(
            format!("file descriptor {number} cannot be read: {}", input::reason(&error)),
            format!("open it for the command, for example: --passphrase-fd {number} {number}<FILE"),
        )
    })?;
    read_line(file)
        .map_err(|error| {
            Failure::new(
                Exit::Input,
                "unreadable",
                format!("file descriptor {number} cannot be read: {}", input::reason(&error)),
                "check what it is connected to",
            )
        })
        .and_then(Passphrase::new)
}

fn from_credential(path: &Path) -> Result<Passphrase, Failure> {
    let (file, _) = input::open_file(path)?;
    let line = read_line(file).map_err(|error| input::cannot_read(path, &error))?;
    Passphrase::new(line)
}

/// Byte by byte: what follows the line in a pipe is not ours to take.
fn read_line(mut source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    let mut byte = Zeroizing::new([0]);
    while line.len() <= MAX_LEN {
        match source.read(byte.as_mut()) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};

    use super::*;

    fn number(descriptor: &impl AsRawFd) -> PassphraseSource {
        PassphraseSource::Descriptor(u32::try_from(descriptor.as_raw_fd()).unwrap())
    }

    /// Gives a pipe `bytes` and reads a passphrase from its other end.
    fn piped(bytes: &[u8]) -> Result<Passphrase, Failure> {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(writer);
        number(&reader).for_existing_key(Path::new("key"))
    }

    #[test]
    fn is_what_stands_before_the_first_line_feed() {
        assert_eq!(piped(b"correct horse\nnot this").unwrap().expose(), b"correct horse");
        assert_eq!(piped(b" no line feed \xff").unwrap().expose(), b" no line feed \xff");
    }

    #[test]
    fn leaves_the_rest_of_the_pipe() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"first\nsecond").unwrap();
        drop(writer);
        assert_eq!(number(&reader).for_new_key(Path::new("key")).unwrap().unwrap().expose(), b"first");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "second");
    }

    #[test]
    fn is_neither_empty_nor_endless() {
        for (bytes, words) in [(&b""[..], "is empty"), (b"\nx", "is empty"), (&[b'x'; MAX_LEN + 1], "longer")] {
            let failure = piped(bytes).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.what.contains(words), "{failure}");
        }
        assert_eq!(piped(&[b'x'; MAX_LEN]).unwrap().expose().len(), MAX_LEN);
        let endless = File::open("/dev/zero").unwrap();
        assert!(number(&endless).for_existing_key(Path::new("key")).unwrap_err().what.contains("longer"));
    }

    #[test]
    fn a_closed_descriptor_is_a_usage_error() {
        let failure = PassphraseSource::Descriptor(u32::MAX).for_existing_key(Path::new("key")).unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Usage, "usage"));
    }

    #[test]
    fn an_encrypted_key_and_no_passphrase_contradict_each_other() {
        let failure = PassphraseSource::None.for_existing_key(Path::new("key")).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(PassphraseSource::None.for_new_key(Path::new("key")).unwrap().is_none());
    }

    fn named(name: Option<&str>) -> PassphraseArgs {
        PassphraseArgs { passphrase_fd: None, passphrase_credential: name.map(str::to_owned) }
    }

    #[test]
    fn a_credential_is_the_first_line_of_a_file_of_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Some(folder.path().as_os_str());
        let source = |name| named(name).source_among(credentials).unwrap();
        assert_eq!(source(None), PassphraseSource::Terminal);
        std::fs::write(folder.path().join("goldseal-passphrase"), "correct horse\nnot this").unwrap();
        std::fs::write(folder.path().join("other"), "other").unwrap();
        for (name, expected) in [(None, "correct horse"), (Some("other"), "other")] {
            let passphrase = source(name).for_existing_key(Path::new("key")).unwrap();
            assert_eq!(passphrase.expose(), expected.as_bytes());
        }
        let failure = source(Some("missing")).for_new_key(Path::new("key")).unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Input, "unreadable"));
        let descriptor = PassphraseArgs { passphrase_fd: Some(3), ..named(None) };
        assert_eq!(descriptor.source_among(credentials).unwrap(), PassphraseSource::Descriptor(3));
    }

    #[test]
    fn outside_of_a_service_there_is_no_credential() {
        for folder in [None, Some(OsStr::new("")), Some(OsStr::new("relative"))] {
            assert_eq!(named(None).source_among(folder).unwrap(), PassphraseSource::Terminal);
            let failure = named(Some("x")).source_among(folder).unwrap_err();
            assert_eq!((failure.exit, failure.reason), (Exit::Usage, "usage"));
        }
    }

    #[test]
    fn a_credential_has_the_name_of_a_file() {
        for bad in ["", ".", "..", "a/b", "/etc/passwd", "../x"] {
            credential_name(bad).unwrap_err();
        }
        assert_eq!(credential_name("goldseal-passphrase").unwrap(), "goldseal-passphrase");
    }

    #[test]
    fn is_never_printed() {
        assert_eq!(format!("{:?}", piped(b"secret").unwrap()), "Passphrase(..)");
    }

    // What follows depends on the terminal of the process: these tests run themselves again, as `asked`.

    const ASKED: &str = "GOLDSEAL_TEST_ASKED";

    /// In the child: asks for a new passphrase and prints what came of it.
    fn asked() {
        match PassphraseSource::Terminal.for_new_key(Path::new("new.key")) {
            Ok(passphrase) => println!("GOT {}", String::from_utf8_lossy(passphrase.unwrap().expose())),
            Err(failure) => println!("FAILED {:?} {}", failure.exit, failure.what),
        }
    }

    fn again(test: &str) -> String {
        format!("{} --exact --nocapture passphrase::tests::{test}", env::current_exe().unwrap().display())
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        if env::var_os(ASKED).is_some() {
            return asked();
        }
        let command = again("without_a_terminal_nobody_is_asked");
        let output = Command::new("setsid").args(["-w", "sh", "-c", &command]).env(ASKED, "1").output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("FAILED Usage a passphrase is needed and there is no terminal"), "{output}");
    }

    #[test]
    fn on_a_terminal_it_is_asked_twice() {
        if env::var_os(ASKED).is_some() {
            return asked();
        }
        let command = again("on_a_terminal_it_is_asked_twice");
        for (typed, expected) in [
            ("correct horse\ncorrect horse\n", "GOT correct horse"),
            ("correct horse\ncorrect house\n", "FAILED Usage the two passphrases differ"),
            ("\n", "FAILED Usage the passphrase is empty"),
        ] {
            let mut terminal = Command::new("script");
            terminal.args(["-qec", &command, "/dev/null"]).env(ASKED, "1");
            let child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let Ok(mut child) = child else {
                eprintln!("SKIPPED on_a_terminal_it_is_asked_twice: no script(1) to make a terminal");
                return;
            };
            child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
            let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
            assert!(output.contains("New passphrase for new.key: "), "{output}");
            assert!(output.contains(expected), "{output}");
        }
    }

    #[test]
    fn ctrl_c_gives_the_terminal_back() {
        if env::var_os(ASKED).is_some() {
            return asked();
        }
        // Without `-isig`, a key typed before echo is off would end the child with nothing to put back.
        let command = format!("stty -isig; {}; stty -a", again("ctrl_c_gives_the_terminal_back"));
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &command, "/dev/null"]).env(ASKED, "1");
        let child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED ctrl_c_gives_the_terminal_back: no script(1) to make a terminal");
            return;
        };
        let mut shown = Vec::new();
        let mut output = child.stdout.take().unwrap();
        while !shown.ends_with(b"new.key: ") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            shown.push(byte[0]);
        }
        let mut keyboard = child.stdin.take().unwrap();
        keyboard.write_all(b"\x03").unwrap();
        let mut settings = String::new();
        output.read_to_string(&mut settings).unwrap();
        child.wait().unwrap();
        assert!(!settings.contains("GOT"), "{settings}");
        assert!(settings.split_whitespace().any(|setting| setting == "echo"), "{settings}");
    }
}
