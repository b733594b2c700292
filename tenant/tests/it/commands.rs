//! What is sent, what is shown, and the exit codes.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::fake::{Fake, PROGRAM, Ran, Reply, details, identity, list, machine};

/// A verifier that does what it is asked, and whose machines stand so, one answer after the other.
fn verifier(states: &'static [&'static str]) -> Fake {
    Fake::new(move |asked, number| {
        let (method, path) = asked.line.split_once(' ').unwrap();
        match method {
            "GET" if path.starts_with("/v1/policies/") => Reply::Json(404, json!({ "reason": "not-found" })),
            "GET" if path.starts_with("/v1/agents/") => {
                // Uploading and adding came before.
                let state = states.get(number.saturating_sub(4)).or(states.last()).unwrap();
                Reply::Json(200, details("n1", state))
            }
            "POST" if path == "/v1/policies" => {
                let text = String::from_utf8_lossy(&asked.body).into_owned();
                assert!(text.starts_with("DSSEv1 "));
                let folder = tempfile::TempDir::new().unwrap();
                let file = folder.path().join("list");
                fs::write(&file, &asked.body).unwrap();
                Reply::Json(201, policy(&identity(&file)))
            }
            "POST" if path == "/v1/agents" => Reply::Json(201, machine("n1", "attesting")),
            "POST" if path.starts_with("/v1/agents:") => {
                Reply::Json(200, json!({ "dry_run": true, "count": 2, "uuids": ["n1", "n2"] }))
            }
            "DELETE" => Reply::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
            _ => Reply::Json(404, json!({ "reason": "not-found", "detail": "no such route" })),
        }
    })
}

fn policy(identity: &str) -> Value {
    json!({
        "identity": identity, "name": "prod", "version": 42, "created": "2026-01-01T00:00:00Z", "expires": "never",
        "entries": 2, "size": 1, "signers": ["alice"], "uploaded_at": "2026-01-02T03:04:05Z", "uploaded_by": "alice",
    })
}

#[test]
fn add_sends_the_list_and_then_the_machine() {
    let fake = verifier(&["attesting"]);
    let file = list(fake.folder.path(), "ok-never-expires");
    let ran = fake.tenant(&format!(
        "add -t neptune --uuid n1 --policy {} --ek-sha256 {} --interval 30 --json",
        file.display(),
        "0A".repeat(32)
    ));
    ran.exits(0).reason("ok");
    let asked = fake.asked.lock().unwrap().clone();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let identity = identity(&file);
    let look = format!("GET /v1/policies/{identity}");
    assert_eq!(lines, [look.as_str(), "POST /v1/policies", "POST /v1/agents"]);
    assert_eq!(asked[1].body, fs::read(&file).unwrap());
    let sent = json!({
        "uuid": "n1", "address": "neptune:9002", "policy": identity, "ek_sha256": "0a".repeat(32), "interval": 30,
        "keep_polling": false, "trust_first_registration": false,
    });
    assert_eq!(asked[2].json(), sent);
    assert!(asked.iter().all(|asked| asked.head.to_lowercase().contains("authorization: bearer a-token\r\n")));
}

/// `add -t neptune --uuid …` is enough where the file says the rest.
#[test]
fn defaults_come_from_the_file() {
    let fake = verifier(&["accepted"]);
    let file = list(fake.folder.path(), "ok-never-expires");
    let config = fake.folder.path().join("tenant.toml");
    let more = format!("policy = {file:?}\nname = \"prod\"\ntrust_first_registration = true\nagent_port = 9\n");
    fs::write(&config, fs::read_to_string(&config).unwrap() + &more).unwrap();
    fake.tenant("add -t neptune --uuid default --wait 30")
        .exits(0)
        .shows("provisioned d432fbb3-d2f1-4a97-9ef7-75bd81c00000 at neptune:9");
    let sent = fake.asked.lock().unwrap()[2].json();
    assert_eq!((&sent["trust_first_registration"], &sent["address"]), (&json!(true), &json!("neptune:9")));
}

#[test]
fn nothing_is_sent_of_a_list_that_is_not_sealed_as_asked() {
    let fake = verifier(&["accepted"]);
    let folder = fake.folder.path();
    let tampered = list(folder, "ok-empty-sections");
    let mut bytes = fs::read(&tampered).unwrap();
    bytes.push(b'\n');
    fs::write(&tampered, bytes).unwrap();
    for (file, arguments, reason) in [
        (list(folder, "unsealed"), "", "unsealed"),
        (list(folder, "threshold-one-of-two"), "--trust testdata/keys/bob.pub", "threshold"),
        (tampered, "", "tampered"),
        (list(folder, "ok-never-expires"), "--name other", "wrong-name"),
        (folder.join("none"), "", "unreadable"),
        (folder.join("token"), "", "malformed"),
    ] {
        let arguments = arguments.replace("testdata/", &format!("{}/", crate::fake::testdata("").display()));
        let ran = fake.tenant(&format!("add -t neptune --uuid n1 --policy {} {arguments} --json", file.display()));
        ran.exits(3).reason(reason);
        if arguments.is_empty() {
            let ran = fake.tenant(&format!("update --all --yes --policy {} --json", file.display()));
            ran.exits(3).reason(reason);
        }
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn exit_codes_are_verdicts() {
    for (state, exit, reason) in [
        ("accepted", 0, "ok"),
        ("failed", 1, "rejected"),
        ("stale-policy", 4, "stale"),
        ("attesting", 3, "no-verdict"),
        ("unreachable", 3, "no-verdict"),
        ("something-new", 3, "no-verdict"),
    ] {
        let fake = Fake::saying(200, details("n1", state));
        let ran = fake.tenant("status --uuid n1 --json").exits(exit);
        assert_eq!(ran.reason(reason)["details"]["agent"]["state"], state);
    }
    let fake = Fake::saying(404, json!({ "reason": "not-found", "detail": "there is no machine n1", "todo": "look" }));
    fake.tenant("status --uuid n1 --json").exits(3).reason("not-found");
    fake.tenant("status").exits(2).says("--uuid");
}

#[test]
fn wait_returns_at_the_first_verdict() {
    let fake = verifier(&["attesting", "attesting", "failed"]);
    let file = list(fake.folder.path(), "ok-never-expires");
    let ran = fake.tenant(&format!("add -t neptune --uuid n1 --policy {} --wait 600", file.display())).exits(1);
    assert!(ran.took.as_secs() < 60, "{:?}", ran.took);
    let looked = fake.lines().iter().filter(|line| *line == "GET /v1/agents/n1").count();
    assert_eq!(looked, 3);
    // Without a verdict it is over when the time is.
    let fake = Fake::saying(200, details("n1", "attesting"));
    let ran = fake.tenant("status --uuid n1 --wait 1 --json").exits(3);
    ran.reason("no-verdict");
    assert!(ran.took.as_secs() < 30, "{:?}", ran.took);
}

#[test]
fn what_is_done_to_many_is_said_first_and_asked() {
    let fake = verifier(&["accepted"]);
    let file = list(fake.folder.path(), "ok-never-expires");
    let update = format!("update --all --name prod --state failed --policy {}", file.display());
    // Nobody is there to be asked.
    let ran = fake.tenant(&update).exits(2).says("--yes");
    assert!(ran.stdout().starts_with("2 machines would get prod version 42"), "{}", ran.stdout());
    fake.tenant(&format!("{update} --dry-run --json")).exits(0).reason("ok");
    let sent: Vec<Value> = fake
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter(|asked| asked.line.ends_with(":update"))
        .map(|asked| asked.json())
        .collect();
    assert_eq!(sent.len(), 2);
    for sent in &sent {
        assert_eq!(sent["dry_run"], true);
        assert_eq!(sent["selection"], json!({ "all": true, "policy_name": "prod", "states": ["failed"] }));
    }
    fake.asked.lock().unwrap().clear();
    fake.tenant(&format!("{update} --yes")).exits(0).shows("2 moved");
    let dry: Vec<bool> = fake
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter(|asked| asked.line.ends_with(":update"))
        .map(|asked| asked.json()["dry_run"].as_bool().unwrap())
        .collect();
    assert_eq!(dry, [true, false]);
    fake.tenant("reactivate --all --finding /tmp/evil").exits(2).says("--yes");
    fake.tenant("reactivate").exits(2).says("it is not said which machines");
    fake.tenant("reactivate --all --uuid n1 --yes").exits(2);
    fake.tenant("delete --uuid n1").exits(0).shows("n1 is forgotten");
}

#[test]
fn a_file_of_machines_is_added_whole() {
    let fake = verifier(&["accepted"]);
    let file = list(fake.folder.path(), "ok-never-expires");
    let hosts = fake.folder.path().join("hosts");
    let digest = "0a".repeat(32);
    fs::write(&hosts, format!("n1 neptune {digest} prod\nn2 triton:7 {digest} prod\n")).unwrap();
    let add = format!("add --hosts {} --policy {}", hosts.display(), file.display());
    fake.tenant(&add).exits(0);
    let sent: Vec<Value> = fake
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter(|asked| asked.line == "POST /v1/agents")
        .map(|asked| asked.json())
        .collect();
    assert_eq!(sent.len(), 2);
    assert_eq!((&sent[1]["address"], &sent[1]["ek_sha256"]), (&json!("triton:7"), &json!(digest)));
    fake.asked.lock().unwrap().clear();
    fake.tenant(&format!("{add} --uuid n3")).exits(2).says("n3 does not stand in");
    fs::write(&hosts, format!("n1 neptune {digest} other\n")).unwrap();
    fake.tenant(&add).exits(2).says("judged by a list named other");
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn the_command_line_of_keylime_is_understood() {
    let fake = verifier(&["accepted"]);
    let file = list(fake.folder.path(), "ok-never-expires");
    let plain = fake.folder.path().join("whitelist.txt");
    fs::write(&plain, "0a  /bin/ls\n").unwrap();
    let old = |whitelist: &std::path::Path| {
        format!(
            "-c add -v {} -t neptune -u default -f /root/excludes.txt --whitelist {} --exclude /root/excludes.txt",
            fake.address,
            whitelist.display()
        )
    };
    let ran = fake.tenant(&old(&plain)).exits(2).says("whitelist and excludes now travel in one sealed file");
    assert!(ran.stderr().contains("goldseal import") && fake.lines().is_empty(), "{}", ran.stderr());
    let ran = fake.tenant(&old(&file)).exits(0).says("excludes travel in the sealed list");
    assert!(ran.stderr().contains("in today's words: goldseal tenant add"), "{}", ran.stderr());
    let sent = fake.asked.lock().unwrap()[2].json();
    assert_eq!(sent["uuid"], "d432fbb3-d2f1-4a97-9ef7-75bd81c00000");
    fake.tenant("-c delete --uuid n1").exits(0);
    fake.tenant("-c status --uuid n1").exits(0);
}

#[test]
fn tables_are_aligned_and_groups_count() {
    let fake = Fake::new(|asked, _| {
        if asked.line.starts_with("GET /v1/findings") {
            let group = json!({
                "word": "not-in-whitelist", "path": "/tmp/evil", "found": "sha256:0a", "machines": 3,
                "first_seen": "2026-01-02T03:04:05Z", "examples": ["n1", "n2"],
            });
            return Reply::Json(200, json!({ "findings": [group] }));
        }
        let page = if asked.line.contains("after=n2") {
            json!({ "agents": [machine("n3", "failed")], "next": null })
        } else {
            json!({ "agents": [machine("n1", "accepted"), machine("n2", "stale-policy")], "next": "n2" })
        };
        Reply::Json(200, page)
    });
    let table = "\
UUID  STATE         SINCE                 LIST  IDENTITY    ADDRESS       REASON
n1    accepted      2026-01-02T03:04:05Z  prod  first seen  neptune:9002
n2    stale-policy  2026-01-02T03:04:05Z  prod  first seen  neptune:9002
n3    failed        2026-01-02T03:04:05Z  prod  first seen  neptune:9002
";
    assert_eq!(fake.tenant("list").exits(0).stdout(), table);
    let object = fake.tenant("list --json").exits(0).reason("ok");
    assert_eq!(object["agents"].as_array().unwrap().len(), 3);
    let groups = fake.tenant("list --by-finding").exits(0).stdout();
    assert_eq!(
        groups,
        "MACHINES  FIRST SEEN            FINDING           PATH       DIGEST     EXAMPLES\n\
         3         2026-01-02T03:04:05Z  not-in-whitelist  /tmp/evil  sha256:0a  n1 n2\n"
    );
}

#[test]
fn a_token_is_private_and_its_digest_is_that_of_sha256sum() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("token");
    let make = || Ran::of(Command::new(PROGRAM).args(["token", "alice", "--role", "operate", "-o"]).arg(&file));
    let line = make().exits(0).stdout();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let script = format!("tr -d '\\n' < {} | sha256sum", file.display());
    let sums = Command::new("sh").args(["-c", &script]).output().unwrap();
    let digest = String::from_utf8(sums.stdout).unwrap()[..64].to_owned();
    assert_eq!(line, format!("alice operate {digest}\n"));
    let before = fs::read(&file).unwrap();
    make().exits(2).says("token");
    assert_eq!(fs::read(&file).unwrap(), before);
}
