//! Flat whitelists: a digest and a name a line, as `sha256sum` and Keylime's list-making scripts write them.
//!
//! Accepts what is in use: upper-case hex; one or two blanks, or a blank and `*`; GNU escaping; CR LF, if every line
//! ends so; empty lines and `#` lines, which `sha256sum -c` skips too. `boot_aggregate`, keyrings and measured buffers
//! become rules. Promises: whatever is returned can stand in a list; nothing is guessed, and the first line that is not
//! clear is an error. Does not promise order, nor that a path occurs once.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::Path;

use goldseal_cli::failure::Failure;
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::path;
use goldseal_verifier_core::rules::{Label, Rule};

/// What a flat list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatList {
    /// Files, in the order of their lines.
    pub entries: Vec<(Vec<u8>, FileDigest)>,
    /// What is no file, in the order of the lines.
    pub rules: Vec<Rule>,
}

/// Reads a flat list. Relative names are below `prefix`, an absolute folder; without one they are errors.
///
/// # Errors
/// [`FlatError`] with the first line at fault.
pub fn parse(bytes: &[u8], prefix: Option<&[u8]>) -> Result<FlatList, FlatError> {
    let mut list = FlatList::default();
    let crlf = bytes.split(|byte| *byte == b'\n').next().is_some_and(|first| first.ends_with(b"\r"));
    for (line, number) in bytes.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let at = |problem| FlatError { line: number, problem };
        let line = strip_line_end(line, crlf).ok_or(at(FlatProblem::LineEnd))?;
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (digest, name) = parse_line(line).map_err(at)?;
        match rule(&name, &digest).map_err(at)? {
            Some(rule) => list.rules.push(rule),
            None => list.entries.push((absolute(name, prefix).map_err(at)?, digest)),
        }
    }
    Ok(list)
}

/// Reads the flat list that a file holds.
///
/// # Errors
/// `malformed`, with the first line at fault.
pub fn parse_file(path: &Path, bytes: &[u8], prefix: Option<&[u8]>) -> Result<FlatList, Failure> {
    let name = Printable::path(path);
    if bytes.starts_with(MAGIC) {
        return Err(Failure::malformed(
            format!("{name} is a goldseal list already"),
            format!("to make a new version of it: goldseal build --list {name} --previous {name} -o OUT"),
        ));
    }
    parse(bytes, prefix).map_err(|error| Failure::malformed(format!("{name}, {error}"), error.problem.remedy()))
}

/// Whether a file does not begin as a goldseal list does. Only regular files are looked into: what is read of a pipe is
/// gone.
///
/// # Errors
/// `unreadable`.
pub fn is_flat(path: &Path) -> Result<bool, Failure> {
    let (file, metadata) = input::open_file(path)?;
    let mut start = Vec::new();
    if metadata.is_file() {
        file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(|error| input::cannot_read(path, &error))?;
    }
    Ok(!start.is_empty() && start != MAGIC)
}

/// What every goldseal list begins with (docs/format.md, Head).
const MAGIC: &[u8] = b"DSSEv1 ";

/// How a measured buffer of this label is named in a flat list: `parse` makes a `buffer` rule of it.
pub fn buffer_name(label: &Label) -> Cow<'_, str> {
    if KERNEL_BUFFERS.contains(&label.as_str()) {
        Cow::Borrowed(label.as_str())
    } else {
        Cow::Owned(format!("{BUFFER_MARK}{}", label.as_str()))
    }
}

/// How a keyring is named in a flat list: `parse` makes a `keyring` rule of it.
pub fn keyring_name(label: &Label) -> String {
    format!("{KEYRING_MARK}{}", label.as_str())
}

/// The name of the boot aggregate, in flat lists as in the kernel's.
pub const BOOT_AGGREGATE: &str = "boot_aggregate";

/// Marks keyrings in Keylime's flat lists.
const KEYRING_MARK: &str = "%keyring:";

/// Marks buffers, in the same manner; flat lists of others have no mark for them.
const BUFFER_MARK: &str = "%ima-buf:";

/// Names under which the kernel measures buffers (security/integrity/ima, drivers/md/dm-ima.c, security/selinux/ima.c
/// of Linux 6.12). A relative name among them is a buffer, as it is in the kernel's list.
const KERNEL_BUFFERS: [&str; 10] = [
    "dm_device_remove",
    "dm_device_rename",
    "dm_device_resume",
    "dm_table_clear",
    "dm_table_load",
    "init_module",
    "kernel_version",
    "kexec-cmdline",
    "selinux-policy-hash",
    "selinux-state",
];

/// A name that ends in a raw CR cannot be told from a line end; so all lines end alike, or the list is refused.
fn strip_line_end(line: &[u8], crlf: bool) -> Option<&[u8]> {
    match (line.strip_suffix(b"\n"), crlf) {
        (Some(line), true) => line.strip_suffix(b"\r"),
        (None, true) => Some(line.strip_suffix(b"\r").unwrap_or(line)),
        (stripped, false) => Some(stripped.unwrap_or(line)).filter(|line| !line.ends_with(b"\r")),
    }
}

fn parse_line(line: &[u8]) -> Result<(FileDigest, Cow<'_, [u8]>), FlatProblem> {
    let escaped = line.strip_prefix(b"\\");
    let fields = escaped.unwrap_or(line);
    let blank = fields.iter().position(|byte| *byte == b' ').ok_or(FlatProblem::Form)?;
    let (digest, name) = (&fields[..blank], &fields[blank + 1..]);
    let name = name.strip_prefix(b" ").or(name.strip_prefix(b"*")).unwrap_or(name);
    if name.is_empty() {
        return Err(FlatProblem::Form);
    }
    let name = match escaped {
        None => Cow::Borrowed(name),
        Some(_) => Cow::Owned(path::unescape(name).ok_or(FlatProblem::Escape)?),
    };
    Ok((parse_digest(digest)?, name))
}

fn parse_digest(field: &[u8]) -> Result<FileDigest, FlatProblem> {
    let lower = if field.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(field.to_ascii_lowercase())
    } else {
        Cow::Borrowed(field)
    };
    FileDigest::parse(&lower).ok_or_else(|| {
        let value = lower.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        let zero = !value.is_empty() && value.iter().all(|digit| *digit == b'0');
        if zero { FlatProblem::Zero } else { FlatProblem::Digest }
    })
}

/// The rule that a line stands for, if it is not a file's.
fn rule(name: &[u8], digest: &FileDigest) -> Result<Option<Rule>, FlatProblem> {
    // Nearly every line: do not look at it twice.
    if name.starts_with(b"/") {
        return Ok(None);
    }
    let label = |text| Label::new(text).ok_or(FlatProblem::Label);
    let value = *digest.digest();
    let rule = if name == BOOT_AGGREGATE.as_bytes() {
        Rule::BootAggregate(value)
    } else if let Some(keyring) = name.strip_prefix(KEYRING_MARK.as_bytes()) {
        Rule::Keyring { label: label(keyring)?, digest: value }
    } else if let Some(buffer) = name.strip_prefix(BUFFER_MARK.as_bytes()) {
        Rule::Buffer { label: label(buffer)?, digest: value }
    } else if KERNEL_BUFFERS.iter().any(|known| known.as_bytes() == name) {
        Rule::Buffer { label: label(name)?, digest: value }
    } else {
        return Ok(None);
    };
    match digest {
        FileDigest::Contents(_) => Ok(Some(rule)),
        // Only files have one.
        FileDigest::Verity(_) => Err(FlatProblem::Digest),
    }
}

/// The canonical path that a name means. Doubled slashes and `.` are dropped; `..` depends on links, and is refused.
fn absolute(name: Cow<'_, [u8]>, prefix: Option<&[u8]>) -> Result<Vec<u8>, FlatProblem> {
    if path::is_canonical(&name) {
        return Ok(name.into_owned());
    }
    let full = match prefix {
        _ if name.starts_with(b"/") => name.into_owned(),
        Some(prefix) => [prefix, b"/", &name].concat(),
        None => return Err(FlatProblem::Relative(name.into_owned())),
    };
    let names_folder = matches!(full.rsplit(|byte| *byte == b'/').next(), Some(b"" | b"."));
    let mut clean = Vec::with_capacity(full.len());
    for component in full.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b".")) {
        clean.push(b'/');
        clean.extend_from_slice(component);
    }
    if names_folder || !path::is_canonical(&clean) {
        return Err(FlatProblem::Path(full));
    }
    Ok(clean)
}

/// A line of a flat list cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatError {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: FlatProblem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlatProblem {
    /// Some lines end in CR LF, and this one does not, or the other way about.
    LineEnd,
    /// Not a digest, a blank and a name.
    Form,
    /// Not hex of a known length, or an fs-verity digest where no file is.
    Digest,
    /// A digest of zeros only.
    Zero,
    /// A wrong escape.
    Escape,
    /// A relative name, and no folder that it is below.
    Relative(Vec<u8>),
    /// Not the path of a file in a list.
    Path(Vec<u8>),
    /// Not the label of a keyring or buffer.
    Label,
}

impl FlatProblem {
    /// What to do about it, for the second line of a message.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::LineEnd => {
                "give all lines the same end, and write a CR in a name as sha256sum does: \\r in an escaped line"
            }
            Self::Form => "check that it is output of sha256sum, sha1sum, sha384sum or sha512sum, or a flat whitelist",
            Self::Digest => "take digests of sha1sum, sha256sum, sha384sum or sha512sum; others cannot be listed",
            Self::Zero => "remove that line: it is what a measurement violation looks like, never a file",
            Self::Escape => "a line that begins with a backslash may hold \\n, \\r and \\\\ only",
            Self::Relative(_) => "name the folder that it is below: --prefix DIR",
            Self::Path(_) => "write the path from / on, without `..`, and not ending in a slash",
            Self::Label => "a keyring or buffer has a name of 1 to 255 visible ASCII characters",
        }
    }
}

impl fmt::Display for FlatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.problem {
            FlatProblem::LineEnd => f.write_str("it does not end as the first line does"),
            FlatProblem::Form => f.write_str("it is not a digest, one or two blanks and a path"),
            FlatProblem::Digest => f.write_str("its digest is not hex of 40, 64, 96 or 128 digits"),
            FlatProblem::Zero => f.write_str("its digest is all zeros"),
            FlatProblem::Escape => f.write_str("its name is not escaped as sha256sum does"),
            FlatProblem::Relative(name) => write!(f, "{} is a relative name", Printable(name)),
            FlatProblem::Path(path) => write!(f, "{} cannot be the path of a listed file", Printable(path)),
            FlatProblem::Label => f.write_str("its keyring or buffer has no valid name"),
        }
    }
}

impl std::error::Error for FlatError {}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::*;

    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn digest(hex: &str) -> FileDigest {
        FileDigest::parse(hex.as_bytes()).unwrap()
    }

    fn paths(text: &str, prefix: Option<&str>) -> Vec<String> {
        let list = parse(text.as_bytes(), prefix.map(str::as_bytes)).unwrap();
        assert!(list.entries.iter().all(|(_, found)| *found == digest(SHA256)));
        list.entries.into_iter().map(|(path, _)| String::from_utf8(path).unwrap()).collect()
    }

    fn problem(text: &str, prefix: Option<&str>) -> FlatProblem {
        parse(text.as_bytes(), prefix.map(str::as_bytes)).expect_err("must be refused").problem
    }

    #[test]
    fn every_spelling_in_use_is_read() {
        let upper = SHA256.to_uppercase();
        for text in [
            format!("{SHA256}  /usr/bin/x\n"),
            format!("{SHA256} /usr/bin/x\n"),
            format!("{SHA256} */usr/bin/x"),
            format!("{upper}  /usr/bin/x\r\n\r\n"),
            format!("{upper}  /usr/bin/x\r\n{SHA256} */usr//bin/./x"),
            format!("# comment\n\n{SHA256}  //usr/bin/x\n"),
        ] {
            let found = paths(&text, None);
            assert!(!found.is_empty() && found.iter().all(|path| path == "/usr/bin/x"), "{text:?}: {found:?}");
        }
        assert_eq!(paths(&format!("\\{SHA256}  /a\\nb\\r\\\\c\n"), None), ["/a\nb\r\\c"]);
        assert_eq!(paths(&format!("{SHA256}  /a\\nb\n{SHA256}  /c d*e "), None), ["/a\\nb", "/c d*e "]);
        assert_eq!(parse(b"", None), Ok(FlatList::default()));
    }

    #[test]
    fn relative_names_need_their_folder() {
        let text = format!("{SHA256}  bin/x\n{SHA256}  ./bin/y\n{SHA256}  /z\n{SHA256}   blank\n");
        assert_eq!(paths(&text, Some("/opt/app")), ["/opt/app/bin/x", "/opt/app/bin/y", "/z", "/opt/app/ blank"]);
        assert_eq!(paths(&text, Some("/"))[..2], ["/bin/x", "/bin/y"]);
        assert_eq!(
            parse(format!("{SHA256}  /a\n{SHA256}  bin/x\n").as_bytes(), None),
            Err(FlatError { line: 2, problem: FlatProblem::Relative(b"bin/x".to_vec()) })
        );
        assert_eq!(problem(&format!("{SHA256}  ../x"), Some("/opt")), FlatProblem::Path(b"/opt/../x".to_vec()));
    }

    #[test]
    fn what_is_no_file_becomes_a_rule() {
        let text = format!(
            "{SHA256}  boot_aggregate\n{SHA1}  boot_aggregate\n{SHA256}  %keyring:.ima\n{SHA256}  kernel_version\n\
             {SHA1}  %ima-buf:my-label\n"
        );
        // With a folder for relative names, too: these are no files.
        for prefix in [None, Some(&b"/opt"[..])] {
            let list = parse(text.as_bytes(), prefix).unwrap();
            let rules: Vec<String> = list.rules.iter().map(ToString::to_string).collect();
            let expected = [
                format!("boot-aggregate sha256:{SHA256}"),
                format!("boot-aggregate sha1:{SHA1}"),
                format!("keyring .ima sha256:{SHA256}"),
                format!("buffer kernel_version sha256:{SHA256}"),
                format!("buffer my-label sha1:{SHA1}"),
            ];
            assert_eq!(rules, expected);
            assert_eq!(list.entries, []);
        }
        assert_eq!(paths(&format!("{SHA256}  ./boot_aggregate\n"), Some("/a")), ["/a/boot_aggregate"]);
    }

    #[test]
    fn names_of_keyrings_and_buffers_are_read_back() {
        for label in ["kernel_version", "my-label", ".ima", "%ima-buf:x"] {
            let label = Label::new(label.as_bytes()).unwrap();
            let text = format!("{SHA256}  {}\n{SHA256}  {}\n", buffer_name(&label), keyring_name(&label));
            let value = *digest(SHA256).digest();
            let expected =
                [Rule::Buffer { label: label.clone(), digest: value }, Rule::Keyring { label, digest: value }];
            assert_eq!(parse(text.as_bytes(), None).unwrap().rules, expected);
        }
    }

    #[test]
    fn each_deviation_has_its_error() {
        for (text, expected) in [
            (format!("{SHA256}  /a\r\n{SHA256}  /b\n"), FlatProblem::LineEnd),
            (format!("{SHA256}  /a\n{SHA256}  /b\r\n"), FlatProblem::LineEnd),
            (format!("{SHA256}  /a\n{SHA256}  /b\r"), FlatProblem::LineEnd),
            (SHA256.to_owned(), FlatProblem::Form),
            (format!("{SHA256} \n"), FlatProblem::Form),
            (format!("{SHA256}  \n"), FlatProblem::Form),
            (format!("{SHA256}\t/a\n"), FlatProblem::Form),
            (format!("SHA256 (/a) = {SHA256}\n"), FlatProblem::Digest),
            (format!("{}  /a\n", &SHA256[1..]), FlatProblem::Digest),
            ("d41d8cd98f00b204e9800998ecf8427e  /a\n".to_owned(), FlatProblem::Digest),
            (format!("sha256:{SHA256}  /a\n"), FlatProblem::Digest),
            (format!("verity:sha256:{SHA256}  boot_aggregate\n"), FlatProblem::Digest),
            (format!("  {SHA256}  /a\n"), FlatProblem::Digest),
            (format!("{}  /a\n", "0".repeat(64)), FlatProblem::Zero),
            (format!("{}  boot_aggregate\n", "0".repeat(40)), FlatProblem::Zero),
            (format!("verity:sha256:{}  /a\n", "0".repeat(64)), FlatProblem::Zero),
            (format!("\\{SHA256}  /a\\t\n"), FlatProblem::Escape),
            (format!("{SHA256}  %keyring:\n"), FlatProblem::Label),
            (format!("{SHA256}  %keyring:a b\n"), FlatProblem::Label),
            (format!("{SHA256}  /a/\n"), FlatProblem::Path(b"/a/".to_vec())),
            (format!("{SHA256}  /a/.\n"), FlatProblem::Path(b"/a/.".to_vec())),
            (format!("{SHA256}  /\n"), FlatProblem::Path(b"/".to_vec())),
            (format!("{SHA256}  /a/../b\n"), FlatProblem::Path(b"/a/../b".to_vec())),
            (format!("{SHA256}  /a\0b\n"), FlatProblem::Path(b"/a\0b".to_vec())),
        ] {
            assert_eq!(problem(&text, None), expected, "{text:?}");
        }
    }

    #[test]
    fn what_coreutils_write_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let names: [&[u8]; 5] = [b"plain", b"a blank", b"line\nfeed\r", b"back\\slash", b"\xff*"];
        for name in names {
            fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), b"abc").unwrap();
        }
        for (program, hex) in [("sha1sum", SHA1), ("sha256sum", SHA256)] {
            for mode in ["--text", "--binary"] {
                let mut command = Command::new(program);
                command.arg(mode).args(names.map(std::ffi::OsStr::from_bytes)).current_dir(folder.path());
                let output = command.output().unwrap();
                assert!(output.status.success());
                let list = parse(&output.stdout, Some(b"/d")).unwrap();
                let expected = names.map(|name| ([b"/d/", name].concat(), digest(hex)));
                assert_eq!(list.entries, expected);
            }
        }
    }
}
