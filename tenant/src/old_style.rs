//! The command line of Keylime's tenant, for hands that know it: `-c add -t HOST -v HOST --uuid UUID --whitelist FILE
//! --exclude FILE -f FILE`. It is put into today's words; what has no place there is explained.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::Printable;

/// The uuid that Keylime's agent has unless it is told another; its tenant calls it `default`.
pub const DEFAULT_UUID: &str = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

/// The first bytes of a sealed list (docs/format.md).
const LIST_BEGINS: &[u8] = b"DSSEv1 ";

/// A command line in today's words.
#[derive(Debug, PartialEq, Eq)]
pub struct Translated {
    /// The program's name first.
    pub arguments: Vec<OsString>,
    /// What to say about it.
    pub notes: Vec<String>,
}

/// Puts a command line into today's words, if it has `-c` or `--command`.
///
/// # Errors
/// `usage`: what has no place today, and what to do instead.
pub fn translate(arguments: &[OsString]) -> Result<Option<Translated>, Failure> {
    let is_old = |argument: &OsString| {
        argument == "-c" || argument == "--command" || argument.to_string_lossy().starts_with("--command=")
    };
    if !arguments.iter().any(is_old) {
        return Ok(None);
    }
    let mut old = Old::default();
    let mut rest = arguments.iter().skip(1).cloned();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy().into_owned();
        let (option, mut value) = match text.split_once('=').filter(|_| text.starts_with("--")) {
            Some((option, value)) => (option.to_owned(), Some(OsString::from(value))),
            None => (text, None),
        };
        let mut take = |what: &str| {
            value.take().or_else(|| rest.next()).ok_or_else(|| {
                Failure::usage(format!("{what} is given without a value"), "see: goldseal tenant --help")
            })
        };
        match option.as_str() {
            "-c" | "--command" => old.command = Some(take("-c")?.to_string_lossy().into_owned()),
            "-t" | "--targethost" => old.target = Some(take("-t")?.to_string_lossy().into_owned()),
            "-tp" | "--targetport" => old.target_port = Some(take("-tp")?.to_string_lossy().into_owned()),
            "-v" | "--cv" | "--cv_targethost" | "--cv-host" => {
                old.verifier = Some(take("-v")?.to_string_lossy().into_owned());
            }
            "-vp" | "--cvport" => old.verifier_port = Some(take("-vp")?.to_string_lossy().into_owned()),
            "-u" | "--uuid" => old.rest.extend(["--uuid".into(), uuid(take("--uuid")?)]),
            "-f" | "--file" => old.payload = Some(take("-f")?.into()),
            "--whitelist" | "--allowlist" | "--runtime-policy" => old.whitelist = Some(take("--whitelist")?.into()),
            "--exclude" | "--excludelist" => old.excludes = Some(take("--exclude")?.into()),
            "-r" | "--registrar" | "--registrar-host" | "-rp" | "--registrarport" | "--registrar-port" => {
                take("the registrar")?;
                old.notes.push("the registrar is part of the verifier; its address is not needed".to_owned());
            }
            // Today's options stand as they are; one that takes a value brings it along.
            _ => {
                old.rest.push(argument);
                value = None;
            }
        }
        debug_assert!(value.is_none(), "every value is taken");
    }
    let program = arguments.first().cloned().unwrap_or_default();
    old.finish(program).map(Some)
}

/// `default` is Keylime's.
fn uuid(typed: OsString) -> OsString {
    if typed == "default" { DEFAULT_UUID.into() } else { typed }
}

#[derive(Debug, Default)]
struct Old {
    command: Option<String>,
    target: Option<String>,
    target_port: Option<String>,
    verifier: Option<String>,
    verifier_port: Option<String>,
    payload: Option<PathBuf>,
    whitelist: Option<PathBuf>,
    excludes: Option<PathBuf>,
    rest: Vec<OsString>,
    notes: Vec<String>,
}

impl Old {
    fn finish(self, program: OsString) -> Result<Translated, Failure> {
        let Self {
            command,
            target,
            target_port,
            verifier,
            verifier_port,
            payload,
            whitelist,
            excludes,
            rest,
            mut notes,
        } = self;
        let typed = command.unwrap_or_default();
        let command = command_of(&typed)?;
        let mut arguments: Vec<OsString> = vec![program];
        arguments.extend(command.iter().map(OsString::from));
        let takes_list = matches!(command, ["add" | "update"]);
        if let Some(list) = whitelist {
            if !is_sealed(&list) {
                return Err(one_sealed_file(&list, excludes.as_deref()));
            }
            if takes_list {
                arguments.extend(["--policy".into(), list.into_os_string()]);
            }
        }
        if let Some(excludes) = excludes {
            notes.push(format!(
                "--exclude {}: excludes travel in the sealed list; this file is not read",
                Printable::path(&excludes)
            ));
        }
        if let Some(payload) = payload {
            notes.push(format!(
                "-f {}: nothing is delivered to machines; this file is not read",
                Printable::path(&payload)
            ));
        }
        let with_port = |host: String, port: Option<String>| match port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        if let Some(target) = target.filter(|_| command == ["add"]) {
            arguments.extend(["-t".into(), with_port(target, target_port).into()]);
        }
        if let Some(verifier) = verifier {
            arguments.extend(["-v".into(), with_port(verifier, verifier_port).into()]);
        }
        arguments.extend(rest);
        let today: Vec<String> =
            arguments.iter().skip(1).map(|word| Printable(word.as_encoded_bytes()).to_string()).collect();
        notes.push(format!("in today's words: goldseal tenant {}", today.join(" ")));
        Ok(Translated { arguments, notes })
    }
}

fn command_of(typed: &str) -> Result<&'static [&'static str], Failure> {
    Ok(match typed {
        "add" => &["add"],
        "update" => &["update"],
        "delete" | "regdelete" => &["delete"],
        "status" | "cvstatus" | "regstatus" => &["status"],
        "list" | "cvlist" | "reglist" | "bulkinfo" => &["list"],
        "reactivate" => &["reactivate"],
        "listruntimepolicy" | "listallowlist" => &["policy", "list"],
        _ => {
            return Err(Failure::usage(
                format!("-c {} is no command", Printable(typed.as_bytes())),
                "one of add, update, delete, status, list, reactivate; today without -c: goldseal tenant add …",
            ));
        }
    })
}

fn is_sealed(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIST_BEGINS.len() as u64).read_to_end(&mut start));
    read.is_ok() && start == LIST_BEGINS
}

fn one_sealed_file(whitelist: &Path, excludes: Option<&Path>) -> Failure {
    let list = Printable::path(whitelist);
    let excludes = excludes.map(|path| format!(" --excludes {}", Printable::path(path))).unwrap_or_default();
    Failure::usage(
        format!(
            "{list} is no sealed list: whitelist and excludes now travel in one sealed file, and nothing else is believed"
        ),
        format!(
            "make it: goldseal import {list}{excludes} --seal KEY -o NAME.whitelist; \
             then: goldseal tenant add -t AGENT --uuid UUID --policy NAME.whitelist"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn today(line: &str) -> Result<String, Failure> {
        let translated = translate(&words(line))?.expect("old style");
        let words: Vec<_> = translated.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Ok(words.join(" "))
    }

    #[test]
    fn old_words_become_todays() {
        for (old, expected) in [
            (
                "t -c add -v 10.0.0.1 -t neptune -u default --trust-first-registration",
                "t add -t neptune -v 10.0.0.1 --uuid d432fbb3-d2f1-4a97-9ef7-75bd81c00000 --trust-first-registration",
            ),
            ("t --command=cvstatus --uuid=n1 -v a -vp 8", "t status -v a:8 --uuid n1"),
            ("t -t neptune -tp 9 -c add --uuid n1", "t add -t neptune:9 --uuid n1"),
            ("t -c reglist", "t list"),
            // Where a machine is not named by its address, the address is left out.
            ("t -c delete -t neptune --uuid n1 --json", "t delete --uuid n1 --json"),
        ] {
            assert_eq!(today(old).unwrap(), expected);
        }
        assert_eq!(translate(&words("t add -t neptune --uuid n1")).unwrap(), None);
    }

    #[test]
    fn what_has_no_place_is_explained() {
        let folder = tempfile::TempDir::new().unwrap();
        let (plain, sealed) = (folder.path().join("plain"), folder.path().join("sealed"));
        std::fs::write(&plain, "0a  /bin/ls\n").unwrap();
        std::fs::write(&sealed, "DSSEv1 37 …\n").unwrap();
        let line = |list: &Path| format!("t -c add -t a --uuid b --whitelist {} --exclude /e -f /f", list.display());
        let refused = today(&line(&plain)).unwrap_err();
        assert_eq!(refused.reason, "usage");
        assert!(refused.what.contains("now travel in one sealed file"), "{refused}");
        assert!(refused.todo.contains("--excludes /e"), "{refused}");
        let translated = translate(&words(&line(&sealed))).unwrap().unwrap();
        assert!(translated.arguments.contains(&sealed.clone().into_os_string()));
        assert!(translated.notes.iter().any(|note| note.contains("excludes travel in the sealed list")));
        assert!(translated.notes.iter().any(|note| note.contains("nothing is delivered to machines")));
        assert_eq!(today("t -c frobnicate").unwrap_err().reason, "usage");
        assert_eq!(today("t -c").unwrap_err().reason, "usage");
    }
}
