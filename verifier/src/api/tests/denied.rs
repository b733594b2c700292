//! Who may not, what is too much, and what cannot be read.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use hyper::body::Frame;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

use super::*;
use crate::api::openapi;
use crate::api::rate::Rate;

/// `METHOD PATH` of every route, from the description that is made of the code, and of some that there are not.
fn routes() -> Vec<String> {
    let description: Value = serde_json::from_str(&openapi::text()).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path.replace("{uuid}", "n1").replace("{identity}", IDENTITY).replace("{old}", IDENTITY);
        let path = path.replace("{new}", IDENTITY);
        assert!(!path.contains('{'), "{path}");
        routes.extend(methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
    }
    assert_eq!(routes.len(), 16);
    routes.extend(["GET /", "GET /v1", "POST /v1/health", "PATCH /v1/agents", "GET /v2/agents"].map(str::to_owned));
    routes
}

const IDENTITY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[tokio::test]
async fn without_credentials_there_is_nothing_but_health() {
    let world = World::new().await;
    for (route, number) in routes().into_iter().zip(0..) {
        for token in ["", "wrong-token"] {
            // From another address each, so that it is not about the rate.
            let answered = world.ask_as(&route, token, "application/json", "{}", [10, 0, number, 1]).await;
            if route == "GET /v1/health" && token.is_empty() {
                assert_eq!((answered.status, answered.json), (200, json!({ "status": "ok" })));
                continue;
            }
            answered.refuses(401, "unauthenticated");
            assert!(answered.headers.contains_key(header::WWW_AUTHENTICATE), "{route}");
            assert_eq!(answered.headers[header::CACHE_CONTROL], "no-store");
        }
    }
}

#[tokio::test]
async fn who_may_read_changes_nothing() {
    let world = World::new().await;
    let policy = world.upload("ok-never-expires").await;
    world.attesting("n1", &policy).await;
    let before = world.audit().await;
    for route in routes() {
        let answered = world.ask(&route, READ, "{}").await;
        if route.starts_with("GET ") {
            assert!([200, 404].contains(&answered.status), "{route}: {}", answered.status);
        } else {
            answered.refuses(403, "forbidden");
        }
    }
    assert_eq!(world.audit().await, before);
    let health = world.ask("GET /v1/health", READ, Body::empty()).await.json;
    assert_eq!((&health["store"], &health["agents"][0]["state"]), (&json!(true), &json!("attesting")));
}

/// A body that does not say how long it is.
fn endless(bytes: usize) -> Body {
    struct Endless(usize);
    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            assert!(self.0 > 0, "it is read to its end");
            self.0 = self.0.saturating_sub(65_536);
            std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b' '; 65_536])))))
        }
    }
    Body::new(Endless(bytes))
}

#[tokio::test]
async fn too_large_bodies_are_not_read_to_their_end() {
    let world = World::with(Limits { policy: 100_000, ..Limits::default() }).await;
    for route in routes().iter().filter(|route| route.starts_with("POST") || route.starts_with("PUT")) {
        if route.ends_with("/reactivate") || route.ends_with("/health") {
            continue; // They take no body.
        }
        let (limit, media) = match route.as_str() {
            "POST /v1/policies" => (100_000, "application/octet-stream"),
            _ => (1 << 20, "application/json"),
        };
        let source = [127, 0, 0, 1];
        let long = vec![b' '; limit + 1];
        world.ask_as(route, OPERATE, media, long, source).await.refuses(413, "too-large");
        world.ask_as(route, OPERATE, media, endless(4 * limit + 400_000), source).await.refuses(413, "too-large");
        // One byte less is only wrong.
        let fits = world.ask_as(route, OPERATE, media, vec![b' '; limit], source).await;
        assert_eq!(fits.json["reason"], "malformed", "{route}");
    }
    let uuids: Vec<String> = (0..=crate::api::agents::MAX_UUIDS).map(|number| format!("n{number}")).collect();
    let asked = json!({ "selection": { "uuids": uuids }, "dry_run": true });
    world.json("POST /v1/agents:reactivate", asked).await.refuses(413, "too-large");
}

#[tokio::test]
async fn what_cannot_be_read_says_what_and_changes_nothing() {
    let world = World::new().await;
    let policy = world.upload("ok-never-expires").await;
    let before = world.audit().await;
    let good = json!({ "uuid": "n1", "address": "neptune:9002", "policy": policy });
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body.to_string()
    };
    for body in [
        "".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\u{0}".to_owned(),
        "[".repeat(200_000),
        with("unknown", json!(1)),
        with("uuid", json!("a/b")),
        with("uuid", json!("a\u{1b}[2J")),
        with("uuid", json!(7)),
        with("address", json!("neptune")),
        with("address", json!("neptune:9002\nforged")),
        with("protocol", json!("http")),
        with("policy", json!("prod")),
        with("interval", json!(0)),
        with("ek_sha256", json!("00")),
        json!({ "uuid": "n1" }).to_string(),
        json!({ "uuid": "n1", "address": "a:1", "policy": policy, "ek_sha256": "00".repeat(32), "trust_first_registration": true })
            .to_string(),
    ] {
        let answered = world.ask("POST /v1/agents", OPERATE, body).await;
        answered.refuses(400, "malformed");
        for told in ["detail", "todo"].map(|field| answered.json[field].as_str().unwrap()) {
            assert!(!told.contains(char::is_control), "{told:?}");
        }
    }
    for query in [
        "state=good",
        "after=a%2Fb",
        "limit=x",
        "policy=1",
        "name=A",
        "finding_base64=%21",
        "nonsense=1",
        "uuid=",
        "state=%1b",
    ] {
        world.ask(&format!("GET /v1/agents?{query}"), READ, Body::empty()).await.refuses(400, "malformed");
    }
    for path in ["/v1/agents/a%2Fb", "/v1/agents/%ff", "/v1/policies/1", "/v1/policies/1/diff/2", "/v1/agents/%1b"] {
        world.ask(&format!("GET {path}"), READ, Body::empty()).await.refuses(400, "malformed");
    }
    // Neither says which machines: nothing is left to be guessed.
    for selection in
        [json!({}), json!({ "uuids": [] }), json!({ "all": true, "uuids": ["n1"] }), json!({ "states": ["failed"] })]
    {
        let body = json!({ "selection": selection, "policy": policy });
        world.json("POST /v1/agents:update", body).await.refuses(400, "malformed");
    }
    for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let answered = world.ask_as("POST /v1/agents", OPERATE, media, good.to_string(), [127, 0, 0, 1]).await;
        answered.refuses(415, "unsupported");
    }
    world.ask("POST /v1/policies", OPERATE, list("ok-never-expires")).await.refuses(415, "unsupported");
    world.ask("PATCH /v1/agents", OPERATE, "{}").await.refuses(405, "no-method");
    world.ask("GET /v1/nothing", OPERATE, "").await.refuses(404, "not-found");
    assert_eq!(world.audit().await, before);
}

#[tokio::test]
async fn who_asks_too_often_waits_and_nobody_else_does() {
    let limits = Limits {
        rate: Rate { per_second: 1, burst: 3 },
        stranger_rate: Rate { per_second: 1, burst: 2 },
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let guess = async |source| world.ask_as("GET /v1/agents", "guess", "application/json", "", source).await;
    for _ in 0..2 {
        guess([10, 0, 0, 1]).await.refuses(401, "unauthenticated");
    }
    let limited = guess([10, 0, 0, 1]).await;
    limited.refuses(429, "rate-limited");
    assert_eq!(limited.headers[header::RETRY_AFTER], "1");
    // Others are not held to account: neither another address, nor a known one at the same address.
    guess([10, 0, 0, 2]).await.refuses(401, "unauthenticated");
    let known = async |token| world.ask_as("GET /v1/agents", token, "application/json", "", [10, 0, 0, 1]).await;
    for _ in 0..3 {
        assert_eq!(known(READ).await.status, 200);
    }
    known(READ).await.refuses(429, "rate-limited");
    assert_eq!(known(OPERATE).await.status, 200);
    // Health is no way around it.
    let health = world.ask_as("GET /v1/health", "", "application/json", "", [10, 0, 0, 1]).await;
    health.refuses(429, "rate-limited");
}

#[tokio::test]
async fn a_database_that_does_not_take_it_is_503_and_no_half_state() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("db");
    let impatient = |options: SqliteConnectOptions| options.busy_timeout(Duration::from_millis(50));
    let store = Arc::new(SqliteStore::open_with(&file, impatient).await.unwrap());
    let world = World::of(folder, store, Limits::default()).await;
    let policy = world.upload("ok-never-expires").await;
    world.attesting("n1", &policy).await;
    let before = world.audit().await;
    let mut other = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let add = json!({ "uuid": "n2", "address": "neptune:9002", "policy": policy });
    let all = json!({ "selection": { "all": true } });
    let requests = [
        ("POST /v1/agents", add.clone()),
        ("DELETE /v1/agents/n1", json!({})),
        ("POST /v1/agents/n1/reactivate", json!({})),
        ("POST /v1/agents:reactivate", all),
    ];
    for (request, body) in &requests {
        let answered = world.json(request, body.clone()).await;
        answered.refuses(503, "busy");
        assert_eq!(answered.headers[header::RETRY_AFTER], "5");
    }
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!((world.audit().await, world.state("n1").await), (before, "attesting".to_owned()));
    assert_eq!(world.json("POST /v1/agents", add).await.status, 201);
}

#[tokio::test]
async fn health_says_when_polling_stands_still() {
    let limits = Limits { poller_age: Duration::ZERO, ..Limits::default() };
    let world = World::with(limits).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answered = world.ask("GET /v1/health", "", "").await;
    assert_eq!((answered.status, answered.json), (503, json!({ "status": "failing" })));
}

/// What a client writes into its request comes out of the log as one harmless line.
#[tokio::test]
async fn a_log_line_cannot_be_forged() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    // Another test's thread may have been the first to come by here, and nobody listened there.
    world.ask("DELETE /v1/agents/first", "", "").await;
    tracing::callsite::rebuild_interest_cache();
    lines.0.lock().unwrap().clear();
    world.ask("DELETE /v1/agents/n1%0a2026-01-01T00:00:00Z%20INFO%20accepted%1b[31m", OPERATE, "").await;
    world.ask("POST /v1/agents%0aforged", "", "").await;
    drop(guard);
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let asked: Vec<&str> = logged.lines().filter(|line| line.contains("asked")).collect();
    assert_eq!(asked.len(), 2, "{logged}");
    assert!(asked[0].contains("actor=\"alice\"") && asked[1].contains("actor=\"-\""), "{logged}");
    assert!(!logged.contains('\u{1b}') && logged.lines().all(|line| !line.starts_with("forged")), "{logged}");
}
