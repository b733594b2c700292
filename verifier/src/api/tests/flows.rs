//! What the tenant does with it.

use axum::body::Body;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_machine_is_added_shown_moved_and_forgotten() {
    let world = World::new().await;
    let (prod, other) = (world.upload("ok-never-expires").await, world.upload("ok-smallest-header").await);
    world.attesting("n1", &prod).await;
    let shown = world.ask("GET /v1/agents/n1", READ, Body::empty()).await.json;
    assert_eq!(shown["agent"]["policy"], json!({ "identity": prod, "name": "prod" }));
    assert_eq!((&shown["agent"]["identity"], &shown["ek_sha256"]), (&json!("first seen"), &json!("03".repeat(32))));
    assert_eq!(shown["events"].as_array().unwrap().len(), 2);
    assert_eq!(shown["clears"].as_array().unwrap().len(), 1);

    let again = json!({ "uuid": "n1", "address": "neptune:9002", "policy": prod });
    world.json("POST /v1/agents", again).await.refuses(409, "exists");
    let unknown = json!({ "uuid": "n2", "address": "neptune:9002", "policy": "0".repeat(64) });
    world.json("POST /v1/agents", unknown).await.refuses(422, "unknown");
    world.json("PUT /v1/agents/n1/policy", json!({ "policy": other })).await.refuses(409, "wrong-name");
    let renamed = world.json("PUT /v1/agents/n1/policy", json!({ "policy": other, "change_name": true })).await;
    assert_eq!((renamed.status, &renamed.json["count"]), (200, &json!(1)));
    let same = world.json("PUT /v1/agents/n1/policy", json!({ "policy": other })).await;
    assert_eq!((same.status, &same.json["count"]), (200, &json!(0)));
    assert_eq!(world.json("POST /v1/agents/n1/reactivate", json!({})).await.json["count"], 1);
    assert_eq!(world.json("DELETE /v1/agents/n1", json!({})).await.status, 204);
    for request in ["GET /v1/agents/n1", "DELETE /v1/agents/n1", "POST /v1/agents/n1/reactivate"] {
        world.ask(request, OPERATE, Body::empty()).await.refuses(404, "not-found");
    }
    world.json("PUT /v1/agents/n1/policy", json!({ "policy": other })).await.refuses(404, "not-found");
    assert_eq!(
        world.audit().await,
        [
            &format!("alice policy-uploaded {prod}"),
            &format!("alice policy-uploaded {other}"),
            "alice agent-added n1",
            "alice policy-name-changed n1",
            "alice agent-reactivated n1",
            "alice agent-deleted n1",
        ]
    );
}

#[tokio::test]
async fn lists_are_verified_shown_and_compared() {
    let world = World::new().await;
    let media = "application/octet-stream";
    let send = async |bytes: Vec<u8>| world.ask_as("POST /v1/policies", OPERATE, media, bytes, [127, 0, 0, 1]).await;
    send(list("unsealed")).await.refuses(422, "unsealed");
    send(b"no list".to_vec()).await.refuses(400, "malformed");
    send(Vec::new()).await.refuses(400, "malformed");
    let mut changed = list("ok-never-expires");
    *changed.last_mut().unwrap() ^= 1;
    send(changed).await.refuses(422, "tampered");
    assert_eq!(world.audit().await, Vec::<String>::new());

    let (prod, other) = (world.upload("ok-empty-sections").await, world.upload("ok-smallest-header").await);
    assert_eq!(send(list("ok-empty-sections")).await.status, 200, "it is there already");
    send(list("ok-never-expires")).await.refuses(422, "equivocation");
    let all = world.ask("GET /v1/policies", READ, Body::empty()).await.json;
    assert_eq!(all["policies"].as_array().unwrap().len(), 2);
    world.attesting("n1", &other).await;
    let shown = world.ask(&format!("GET /v1/policies/{other}"), READ, Body::empty()).await.json;
    assert_eq!(
        (&shown["freshness"], &shown["agents"], &shown["policy"]["signers"]),
        (&json!("current"), &json!([{ "state": "attesting", "machines": 1 }]), &json!(["alice"]))
    );
    // What was accepted proves that the year 9999 has come: nothing that expired before is fresh any more.
    let end = Time::from_millis(253_402_300_798_000);
    world.policies.upload(list("ok-largest-header"), None, "alice", end).await.unwrap();
    let stale = world.ask(&format!("GET /v1/policies/{prod}"), READ, Body::empty()).await.json;
    assert_eq!(stale["freshness"], "stale");
    // A stale list is given to nobody.
    let body = json!({ "selection": { "all": true }, "policy": prod, "change_name": true });
    world.json("POST /v1/agents:update", body).await.refuses(422, "stale");
    let body = json!({ "uuid": "n2", "address": "neptune:9002", "policy": prod });
    world.json("POST /v1/agents", body).await.refuses(422, "stale");
    world.json("PUT /v1/agents/n1/policy", json!({ "policy": prod })).await.refuses(422, "stale");

    let diff = world.ask(&format!("GET /v1/policies/{prod}/diff/{other}?paths=true"), READ, Body::empty()).await.json;
    assert_eq!((&diff["same"], &diff["entries"]["added"]), (&json!(false), &json!(2)));
    let same = world.ask(&format!("GET /v1/policies/{prod}/diff/{prod}"), READ, Body::empty()).await.json;
    assert_eq!((&same["same"], &same["text"]), (&json!(true), &json!("entries: the same\n")));
    let none = format!("GET /v1/policies/{}", "0".repeat(64));
    world.ask(&none, READ, Body::empty()).await.refuses(404, "not-found");
    world.ask(&format!("{none}/diff/{prod}"), READ, Body::empty()).await.refuses(404, "not-found");
}

#[tokio::test]
async fn what_is_done_to_many_is_counted_first() {
    let world = World::new().await;
    let (prod, other) = (world.upload("ok-never-expires").await, world.upload("ok-smallest-header").await);
    for uuid in ["a1", "a2", "a3", "b1"] {
        world.attesting(uuid, &prod).await;
    }
    world.fails("a1", b"/tmp/evil").await;
    world.fails("a2", b"/tmp/evil").await;
    world.fails("b1", b"/tmp/other").await;
    let moved = async |path: &str, selection: Value, dry_run: bool| {
        let body = json!({ "selection": selection, "dry_run": dry_run });
        let answered = world.json(path, body).await;
        assert_eq!((answered.status, &answered.json["dry_run"]), (200, &json!(dry_run)), "{}", answered.json);
        answered.json["count"].as_u64().unwrap()
    };
    let reactivate = "POST /v1/agents:reactivate";
    let before = world.audit().await;
    for (selection, count) in [
        (json!({ "all": true }), 4),
        (json!({ "all": true, "states": ["failed"] }), 3),
        (json!({ "all": true, "finding": { "path": "/tmp/evil" } }), 2),
        (json!({ "all": true, "finding": { "path_base64": "L3RtcC9ldmls" } }), 2),
        (json!({ "all": true, "finding": { "path": "/tmp/evil", "found": "sha256:00" } }), 0),
        (json!({ "all": true, "policy": prod }), 4),
        (json!({ "all": true, "policy": other }), 0),
        (json!({ "all": true, "policy_name": "prod", "states": ["attesting", "failed"] }), 4),
        (json!({ "uuids": ["a1", "a3", "nobody"] }), 2),
        (json!({ "uuids": ["a1", "a3"], "states": ["failed"] }), 1),
    ] {
        assert_eq!(moved(reactivate, selection.clone(), true).await, count, "{selection}");
    }
    assert_eq!((world.audit().await, world.state("a1").await), (before, "failed".to_owned()));
    assert_eq!(moved(reactivate, json!({ "all": true, "finding": { "path": "/tmp/evil" } }), false).await, 2);
    let mut states = Vec::new();
    for uuid in ["a1", "a2", "a3", "b1"] {
        states.push(world.state(uuid).await);
    }
    assert_eq!(states, ["attesting", "attesting", "attesting", "failed"]);

    // All or none: one machine of another name is enough.
    let update = |change_name: bool, dry_run: bool| json!({ "selection": { "all": true }, "policy": other, "change_name": change_name, "dry_run": dry_run });
    for dry_run in [true, false] {
        world.json("POST /v1/agents:update", update(false, dry_run)).await.refuses(409, "wrong-name");
    }
    assert_eq!(world.json("POST /v1/agents:update", update(true, true)).await.json["count"], 4);
    assert_eq!(world.state("b1").await, "failed");
    assert_eq!(world.json("POST /v1/agents:update", update(true, false)).await.json["count"], 4);
    assert_eq!((world.state("b1").await, world.audit().await.len()), ("attesting".to_owned(), 2 + 4 + 2 + 4));
}

#[tokio::test]
async fn pages_go_through_all_and_end() {
    let world = World::new().await;
    let prod = world.upload("ok-never-expires").await;
    for uuid in ["a", "a-1", "a-2", "a.1", "b", "ab"] {
        world.attesting(uuid, &prod).await;
    }
    let pages = async |query: &str| {
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let request = format!("GET /v1/agents?limit=2{query}{after}");
            let page = world.ask(&request, READ, Body::empty()).await.json;
            let names = page["agents"].as_array().unwrap().iter().map(|agent| agent["uuid"].as_str().unwrap());
            pages.push(names.collect::<Vec<_>>().join(" "));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return pages,
            }
        }
    };
    assert_eq!(pages("").await, ["a a-1", "a-2 a.1", "ab b"]);
    assert_eq!(pages("&uuid=a").await, ["a a-1", "a-2 a.1", "ab"]);
    assert_eq!(pages("&uuid=a-").await, ["a-1 a-2"]);
    assert_eq!(pages("&uuid=a&state=failed").await, [""]);
    let capped = world.ask("GET /v1/agents?limit=4294967295", READ, Body::empty()).await;
    assert_eq!(capped.json["agents"].as_array().unwrap().len(), 6);
    let audit = world.ask("GET /v1/audit?limit=2", READ, Body::empty()).await.json;
    let next = audit["next"].as_i64().unwrap();
    let rest = world.ask(&format!("GET /v1/audit?limit=1000&before={next}"), READ, Body::empty()).await.json;
    assert_eq!((rest["audit"].as_array().unwrap().len(), &rest["next"]), (5, &Value::Null));
}

/// A name may be any bytes: JSON has them all, and words about it are harmless.
#[tokio::test]
async fn a_path_with_esc_and_a_forged_line_is_data() {
    let world = World::new().await;
    let prod = world.upload("ok-never-expires").await;
    let name = b"/tmp/\x1b[2J\nagent n1 accepted\xff";
    for uuid in ["n1", "n2"] {
        world.attesting(uuid, &prod).await;
        world.fails(uuid, name).await;
    }
    let shown = world.ask("GET /v1/agents/n1", READ, Body::empty()).await.json;
    let finding = &shown["findings"][0];
    assert_eq!(finding["path"], "/tmp/\u{1b}[2J\nagent n1 accepted\u{fffd}");
    assert_eq!(finding["path_base64"], "L3RtcC8bWzJKCmFnZW50IG4xIGFjY2VwdGVk/w==");
    for advice in shown["clears"].as_array().unwrap() {
        assert!(!advice.as_str().unwrap().contains(char::is_control), "{advice}");
    }
    assert!(shown["clears"][0].as_str().unwrap().contains("\\x1b[2J\\nagent n1 accepted\\xff"));
    let groups = world.ask("GET /v1/findings", READ, Body::empty()).await.json;
    assert_eq!(
        (&groups["findings"][0]["machines"], &groups["findings"][0]["examples"]),
        (&json!(2), &json!(["n1", "n2"]))
    );
    let query = "GET /v1/agents?finding_base64=L3RtcC8bWzJKCmFnZW50IG4xIGFjY2VwdGVk/w==";
    assert_eq!(world.ask(query, READ, Body::empty()).await.json["agents"].as_array().unwrap().len(), 2);
}
