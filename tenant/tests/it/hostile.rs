//! Verifiers that are dead, slow, or lie.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::{Fake, Reply, details, machine};

/// The limit of `--timeout 1`, and what a busy machine takes on top.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_dead_verifier_is_no_answer() {
    let fake = Fake::saying(200, json!({}));
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let ran = fake.tenant(&format!("list -v 127.0.0.1:{port} --json")).exits(3);
    ran.reason("no-answer");
    let ran = fake.tenant("list -v no-such-host.invalid --json").exits(3);
    ran.reason("no-answer");
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn a_slow_verifier_is_left_at_the_deadline() {
    // One that accepts, and says nothing: not even TLS.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let fake = Fake::saying(200, json!({}));
    let ran = fake.tenant(&format!("list -v {} --timeout 1 --json", mute.local_addr().unwrap())).exits(3);
    ran.reason("no-answer");
    assert!(ran.took < SOON, "{:?}", ran.took);
    for silent in [true, false] {
        let fake = Fake::new(move |_, _| if silent { Reply::Silence } else { Reply::Drip });
        let ran = fake.tenant("list --timeout 1 --json").exits(3);
        ran.reason("no-answer");
        assert!(ran.took < SOON, "{:?}", ran.took);
    }
}

#[test]
fn another_certificate_is_told_nothing() {
    let (fake, other) = (Fake::saying(200, json!({})), Fake::saying(200, json!({})));
    let ran = fake.tenant(&format!("list -v {} --json", other.address)).exits(3);
    ran.reason("untrusted-verifier");
    let ran = fake.tenant(&format!("list --fingerprint {} --json", "0".repeat(64))).exits(3);
    ran.reason("untrusted-verifier");
    // An authority vouches for names, and this certificate is not of this one.
    let ca = other.folder.path().join("verifier.crt");
    let ran = fake.tenant(&format!("list --ca {} --json", ca.display())).exits(3);
    ran.reason("untrusted-verifier");
    assert_eq!((fake.lines(), other.lines()), (Vec::<String>::new(), Vec::new()));
}

#[test]
fn what_is_no_answer_is_bad_answer() {
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}\r\n").into_bytes();
    let replies: [fn() -> Reply; 12] = [
        || Reply::Flood,
        || Reply::Raw(b"\0\x1b[2Jgarbage\r\n\r\n".to_vec()),
        || Reply::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        || Reply::Text(200, "text/html", "<html>\u{1b}]0;forged\u{7}</html>".to_owned()),
        || Reply::Text(200, "application/json", String::new()),
        || Reply::Text(200, "application/json", "[".repeat(1_000_000)),
        || Reply::Text(500, "text/plain", "\u{1b}[2J oops".to_owned()),
        || Reply::Json(200, json!({})),
        || Reply::Json(200, json!({ "agents": [{ "uuid": 7 }] })),
        || Reply::Json(200, json!([])),
        || Reply::Json(302, json!({ "location": "https://example.com/" })),
        || Reply::Json(409, json!({ "detail": "no reason at all" })),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let fake = Fake::new(move |_, _| reply());
        let ran = fake.tenant("list --json").exits(3).harmless();
        let reason = ran.reason_of();
        assert!(
            reason == "bad-answer" || (number == 2 && reason == "no-answer"),
            "{number}: {reason}: {}",
            ran.stderr()
        );
    }
    let fake = Fake::new(move |_, _| Reply::Raw(head(&format!("x: {}\r\n", "a".repeat(1 << 20)))));
    fake.tenant("list --json").exits(3).harmless();
    // A redirect is not followed, and so takes no token anywhere.
    let fake =
        Fake::new(|_, _| Reply::Raw(b"HTTP/1.1 307 X\r\nlocation: /v1/other\r\ncontent-length: 0\r\n\r\n".to_vec()));
    fake.tenant("list --json").exits(3).reason("bad-answer");
    assert_eq!(fake.lines().len(), 1);
}

#[test]
fn a_page_that_leads_back_ends() {
    let fake = Fake::saying(200, json!({ "agents": [machine("n1", "accepted")], "next": "n1" }));
    fake.tenant("list").exits(0).says("and more");
    assert_eq!(fake.lines().len(), 2);
}

#[test]
fn another_list_than_the_one_that_was_sent_is_noticed() {
    let fake = Fake::new(|asked, _| match asked.line.as_str() {
        "POST /v1/policies" => Reply::Json(
            201,
            json!({
                "identity": "0".repeat(64), "name": "prod", "version": 42, "expires": "never", "entries": 2,
                "uploaded_at": "2026-01-02T03:04:05Z", "uploaded_by": "alice",
            }),
        ),
        _ => Reply::Json(404, json!({ "reason": "not-found" })),
    });
    let file = crate::fake::list(fake.folder.path(), "ok-never-expires");
    let ran = fake.tenant(&format!("policy upload {} --json", file.display())).exits(3);
    ran.reason("bad-answer");
}

/// Every text of an answer, with ESC and a forged line in it.
#[test]
fn names_that_hold_esc_and_forged_lines_are_harmless() {
    const EVIL: &str = "\u{1b}[2J\nforged: n1 accepted\u{202e}\r\u{9b}31m";
    fn poison(value: &mut Value) {
        match value {
            Value::String(text) => text.push_str(EVIL),
            Value::Array(items) => items.iter_mut().for_each(poison),
            Value::Object(fields) => fields.values_mut().for_each(poison),
            _ => {}
        }
    }
    let finding = json!({
        "entry": 12, "word": "not-in-whitelist", "path": "/tmp/evil", "found": "sha256:0a", "expected": [],
        "text": "not in the whitelist: sha256:0a", "first_seen": "2026-01-02T03:04:05Z",
    });
    let event = json!({ "at": "2026", "event": "rejected", "to": "failed", "reason": "rejected" });
    let mut shown = details("n1", "failed");
    shown["findings"] = json!([finding.clone(), { "word": "violation", "text": "written", "first_seen": "2026" }]);
    shown["events"] = json!([event]);
    shown["clears"] = json!(["reboot"]);
    let group = json!({ "word": "a", "path": "/b", "found": "c", "machines": 1, "first_seen": "d", "examples": ["e"] });
    let policy = json!({
        "identity": "a", "name": "b", "version": 1, "expires": "c", "entries": 1, "signers": ["d"], "uploaded_at": "e",
        "uploaded_by": "f",
    });
    let line = json!({ "id": 1, "at": "a", "actor": "b", "action": "c", "subject": "d", "detail": "e" });
    let answers = [
        ("status --uuid n1", shown.clone()),
        ("list", json!({ "agents": [machine("n1", "failed")], "next": null })),
        ("list --by-finding", json!({ "findings": [group] })),
        ("policy list", json!({ "policies": [policy.clone()] })),
        (
            "policy show 0",
            json!({ "policy": policy, "freshness": "current", "problem": "p", "agents": [{ "state": "s", "machines": 1 }] }),
        ),
        ("policy diff 0 1", json!({ "same": false, "text": "+ /bin/ls" })),
        ("audit", json!({ "audit": [line], "next": null })),
        ("health", json!({ "status": "ok", "version": "1", "agents": [{ "state": "s", "machines": 1 }] })),
        ("reactivate --uuid n1", json!({ "count": 1, "uuids": ["n1"], "dry_run": true })),
    ];
    for (arguments, mut answer) in answers {
        poison(&mut answer);
        let fake = Fake::saying(200, answer);
        let ran = fake.tenant(arguments).harmless();
        // A difference has several lines; each is set in.
        let shown = if arguments.starts_with("policy diff") { "  forged: n1" } else { "\\x1b[2J\\nforged: n1" };
        assert!(
            ran.stdout().contains(&format!("{shown} accepted\\u{{202e}}\\r\\x9b31m")),
            "{arguments}: {}",
            ran.stdout()
        );
        // JSON has it as it is, escaped as JSON is.
        let ran = fake.tenant(&format!("{arguments} --json"));
        assert!(!ran.stdout().contains('\u{1b}') && ran.stdout().lines().count() == 1, "{}", ran.stdout());
    }
    for (status, reason) in [(409, "exists"), (409, "\u{1b}[2Jnew-word"), (429, "rate-limited"), (503, "busy")] {
        let problem = json!({ "reason": reason, "detail": format!("a{EVIL}"), "todo": format!("b{EVIL}") });
        let fake = Fake::saying(status, problem);
        let ran = fake.tenant("list --json").exits(3).harmless();
        assert_eq!(ran.reason_of(), if reason.starts_with('\u{1b}') { "refused" } else { reason });
    }
}

#[test]
fn a_token_that_cannot_be_one_is_not_sent() {
    let fake = Fake::saying(200, json!({}));
    for bad in ["", "\n", "two words\n", "a\r\nx-forged: 1\n", "\u{1b}\n"] {
        fs::write(fake.folder.path().join("token"), bad).unwrap();
        fake.tenant("list --json").exits(3);
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}
