use std::fs;
use std::path::Path;

use goldseal_cli::failure::{Exit, Failure};
use tempfile::tempdir;
use toml::Table;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// A file with this text, the environment, and flags.
fn loaded(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Failure> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    fs::write(&path, file).unwrap();
    let key = |name: &str| KEYS.iter().find(|key| key.name == name).unwrap();
    let set = flags.iter().map(|(name, value)| (key(name), (*value).to_owned())).collect();
    load(&ConfigArgs { file: Some(path), print: false, set }, &variables(environment))
}

fn refused(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    let failure = loaded(file, environment, flags).unwrap_err();
    assert_eq!((failure.exit, failure.reason), (Exit::Usage, "bad-config"));
    failure.what
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn the_table_of_keys_is_that_of_the_struct() {
    let defaults = Table::try_from(Config::default()).unwrap();
    for key in &KEYS {
        let kind = match defaults.get(key.name) {
            Some(toml::Value::String(_)) => Kind::Text,
            Some(toml::Value::Integer(_)) => Kind::Number,
            Some(toml::Value::Array(_)) => Kind::List,
            other => panic!("{}: {other:?}", key.name),
        };
        assert_eq!(kind, key.kind, "{}", key.name);
    }
    assert_eq!(defaults.len(), KEYS.len());
}

/// As it is shipped every line is a comment; with the comments of settings taken away it is the defaults, each key once.
#[test]
fn the_packaged_file_has_every_key_with_its_default() {
    let text = fs::read_to_string(root().join("packaging/agent.toml")).unwrap();
    assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && *line != "#";
    let settings: Vec<&str> = text.lines().filter(is_setting).map(|line| &line[1..]).collect();
    assert_eq!(settings.len(), KEYS.len());
    let uncommented = settings.join("\n");
    assert_eq!(uncommented.parse::<Table>().unwrap(), Table::try_from(Config::default()).unwrap());
    assert_eq!(toml::from_str::<Config>(&uncommented).unwrap(), Config::default());
}

#[test]
fn the_page_has_every_key_with_its_default() {
    let page = fs::read_to_string(root().join("docs/agent.md")).unwrap();
    let defaults = Table::try_from(Config::default()).unwrap();
    for key in &KEYS {
        let row = format!("| `{}` | `{}` |", key.name, defaults[key.name]);
        assert!(page.contains(&row), "docs/agent.md lacks {row}");
    }
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let file = "tcti = \"device:/dev/file\"\nlisten = \"192.0.2.1:1\"\nbanks = [\"sha1\"]\n";
    let environment = [("GOLDSEAL_AGENT_LISTEN", "192.0.2.1:2"), ("GOLDSEAL_AGENT_BANKS", "sha256,sha384")];
    let config = loaded(file, &environment, &[("banks", "sha512")]).unwrap();
    assert_eq!(config.tcti, "device:/dev/file");
    assert_eq!(config.listen, "192.0.2.1:2".parse().unwrap());
    assert_eq!(config.banks().unwrap(), [HashAlgorithm::Sha512]);
    assert_eq!(loaded(file, &environment, &[("banks", "")]).unwrap().banks().unwrap(), []);
}

#[test]
fn the_tpm_is_that_of_other_programs_unless_something_is_said() {
    let usual = [("TCTI", "swtpm:port=1"), ("TPM2TOOLS_TCTI", "swtpm:port=2")];
    let tcti = |file, environment: &[_]| loaded(file, environment, &[]).unwrap().tcti;
    assert_eq!(tcti("", &[]), "device:/dev/tpmrm0");
    assert_eq!(tcti("", &usual[..1]), "swtpm:port=1");
    assert_eq!(tcti("", &usual), "swtpm:port=2");
    assert_eq!(tcti("tcti = \"device:/dev/tpm1\"", &usual), "device:/dev/tpm1");
}

#[test]
fn what_is_not_known_is_an_error() {
    assert!(refused("lisden = \"x\"", &[], &[]).contains("agent.toml, line 1: unknown field `lisden`"));
    assert!(refused("\n[tpm]\ntcti = \"x\"", &[], &[]).contains("line 2: unknown field `tpm`"));
    let what = refused("", &[("GOLDSEAL_AGENT_LISDEN", "x")], &[]);
    assert_eq!(what, "GOLDSEAL_AGENT_LISDEN is no setting of the agent");
    // Another program's.
    loaded("", &[("GOLDSEAL_OTHER", "x"), ("GOLDSEAL", "x")], &[]).unwrap();
}

#[test]
fn wrong_values_are_told_with_where_they_were_set() {
    assert!(refused("\nlisten = \"here\"", &[], &[]).contains("agent.toml, line 2: "));
    // Also if something overrides them.
    assert!(refused("listen = 5", &[], &[("listen", "127.0.0.1:1")]).contains("line 1: "));
    assert!(refused("", &[("GOLDSEAL_AGENT_AK", "dsa")], &[]).starts_with("$GOLDSEAL_AGENT_AK is wrong: "));
    assert_eq!(
        refused("", &[("GOLDSEAL_AGENT_TPM_SECONDS", "x")], &[]),
        "$GOLDSEAL_AGENT_TPM_SECONDS must be a number"
    );
    assert!(refused("", &[], &[("log_level", "loud")]).starts_with("--log-level is wrong: "));
    assert!(refused("listen = \"\u{1b}[2J\"", &[], &[]).find('\u{1b}').is_none());
    for (key, value) in [
        ("banks", "sha256,md5"),
        ("ak_hash", "sm3_256"),
        ("ak_handle", "81010010"),
        ("tpm_seconds", "0"),
        ("tpm_seconds", "601"),
        ("contact", "here"),
        ("contact", "neptune.example:9002"),
    ] {
        assert!(refused("", &[], &[(key, value)]).starts_with(&format!("{key} is wrong: ")), "{key} {value}");
    }
    let both = "trust = [\"a\"]\ntrust_root = [\"b\"]";
    assert_eq!(refused(both, &[], &[]), "trust is wrong: give keys or a trust root, not both");
}

#[test]
fn a_file_must_be_there_only_if_it_was_named() {
    let folder = tempdir().unwrap();
    let args = ConfigArgs { file: Some(folder.path().join("none")), ..ConfigArgs::default() };
    assert_eq!(load(&args, &Vec::new()).unwrap_err().reason, "unreadable");
}

#[test]
fn what_is_printed_is_read_again() {
    let config = loaded("uuid = \"dmi\"\nbanks = [\"sha384\"]", &[], &[("log_format", "json")]).unwrap();
    let printed = toml::to_string(&config).unwrap();
    assert_eq!(loaded(&printed, &[], &[]).unwrap(), config);
}

#[test]
fn names_of_machines() {
    let parse = |text: &str| text.parse::<UuidPolicy>();
    assert_eq!(parse("hash_ek").unwrap(), UuidPolicy::HashEk);
    assert_eq!(parse("machine-id").unwrap(), UuidPolicy::MachineId);
    let given = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
    assert_eq!(parse(given).unwrap(), UuidPolicy::Given(given.to_owned()));
    for bad in ["", "a b", "a/b", "..", "\u{e4}", &"a".repeat(81)] {
        parse(bad).unwrap_err();
    }
}

#[test]
fn the_contact_is_where_it_listens_unless_something_is_said() {
    let contact = |listen: &str, contact: &str| {
        let listen = listen.parse().unwrap();
        Config { listen, contact: contact.to_owned(), ..Config::default() }.contact()
    };
    assert_eq!(contact("127.0.0.1:9002", ""), Some("127.0.0.1:9002".parse().unwrap()));
    assert_eq!(contact("0.0.0.0:9002", ""), None);
    assert_eq!(contact("[::]:9002", "[2001:db8::1]:1"), Some("[2001:db8::1]:1".parse().unwrap()));
}
