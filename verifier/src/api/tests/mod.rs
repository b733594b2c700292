//! The API as a client sees it: over its router, with a database in a file; and over TLS on loopback.

mod connections;
mod denied;
mod flows;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::access::Access;
use super::listener::Peer;
use super::{Api, Limits, Pulse, router};
use crate::policies::{Mark, Policies, Roots};
use crate::state::Event;
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, EkIdentity, FindingRecord, Pending, PendingLimits, Progress, Report, Store};
use crate::time::Time;
use crate::uuid::Uuid;

pub(super) const OPERATE: &str = "operate-token";
pub(super) const READ: &str = "read-token";

/// The service without polling.
pub(super) struct World {
    pub(super) api: Arc<Api>,
    pub(super) store: Arc<SqliteStore>,
    pub(super) policies: Arc<Policies>,
    pub(super) folder: TempDir,
    router: Router,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("db")).await.unwrap());
        Self::of(folder, store, limits).await
    }

    pub(super) async fn of(folder: TempDir, store: Arc<SqliteStore>, limits: Limits) -> Self {
        let shared: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
        let roots = Roots::Keys { files: vec![testdata("keys/alice.pub")], threshold: None };
        let mark = Mark::at(&folder.path().join("mark"));
        let policies = Policies::open(Arc::clone(&shared), roots, mark, Time::now()).await.unwrap();
        let policies = Arc::new(policies);
        let pulse = Arc::new(Pulse::new(Time::now()));
        let api = Api::new(shared, Arc::clone(&policies), pulse, Arc::new(Notify::new()), access(), limits);
        let router = router(Arc::clone(&api));
        Self { api, store, policies, folder, router }
    }

    /// As `METHOD PATH`, with a token unless it is empty.
    pub(super) async fn ask(&self, request: &str, token: &str, body: impl Into<Body>) -> Answered {
        self.ask_as(request, token, "application/json", body, [127, 0, 0, 1]).await
    }

    pub(super) async fn json(&self, request: &str, body: Value) -> Answered {
        self.ask(request, OPERATE, body.to_string()).await
    }

    pub(super) async fn ask_as(
        &self,
        request: &str,
        token: &str,
        media: &str,
        body: impl Into<Body>,
        source: [u8; 4],
    ) -> Answered {
        let (method, path) = request.split_once(' ').unwrap();
        let mut builder = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, media);
        if !token.is_empty() {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let peer = Peer { address: SocketAddr::from((source, 1)), certificate: None };
        let request = builder.extension(peer).body(body.into()).unwrap();
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answered { status: parts.status.as_u16(), headers: parts.headers, json }
    }

    /// Uploads a list of testdata/vectors; its identity.
    pub(super) async fn upload(&self, vector: &str) -> String {
        let answered =
            self.ask_as("POST /v1/policies", OPERATE, "application/octet-stream", list(vector), [127, 0, 0, 1]).await;
        assert_eq!(answered.status, 201, "{}", answered.json);
        answered.json["identity"].as_str().unwrap().to_owned()
    }

    /// Has a machine provisioned, and lets it register.
    pub(super) async fn attesting(&self, uuid: &str, policy: &str) {
        let added = self
            .json(
                "POST /v1/agents",
                serde_json::json!({ "uuid": uuid, "address": "neptune:9002", "policy": policy, "trust_first_registration": true }),
            )
            .await;
        assert_eq!(added.status, 201, "{}", added.json);
        let pending = Pending {
            uuid: Uuid::new(uuid).unwrap(),
            source: "192.0.2.1".to_owned(),
            ak: vec![1],
            ek: vec![2],
            ek_certificate: None,
            ek_sha256: [3; 32],
            tls_certificate: Some(vec![4]),
            certified: false,
            tag: vec![5],
            created: Time::now(),
            expires: Time::from_millis(i64::MAX),
        };
        let limits = PendingLimits { per_uuid_and_source: 9, per_source: 9_999, total: 9_999 };
        self.store.add_pending(&pending, &limits).await.unwrap();
        let waiting = self.store.pending(&pending.uuid, Time::now()).await.unwrap();
        let agent = self.store.register(waiting[0].0, Time::now()).await.unwrap();
        assert_eq!(agent.enrolment.unwrap().identity, EkIdentity::FirstSeen);
    }

    /// Lets a poll find this name in its measurement list.
    pub(super) async fn fails(&self, uuid: &str, name: &[u8]) {
        let uuid = Uuid::new(uuid).unwrap();
        let agent = self.store.agent(&uuid).await.unwrap().unwrap();
        let now = Time::now();
        let finding = FindingRecord {
            entry: Some(12),
            word: "not-in-whitelist".to_owned(),
            name: Some(name.to_vec()),
            found: Some(format!("sha256:{}", "0a".repeat(32))),
            expected: Vec::new(),
            text: "not in the whitelist".to_owned(),
            first_seen: now,
        };
        let report = Report {
            uuid,
            generation: agent.generation,
            at: now,
            changes: vec![Change::plain(Event::Rejected, "rejected")],
            progress: Progress { findings: 1, counts: "{}".to_owned(), ..Progress::default() },
            findings: Some(vec![finding]),
            due: now,
        };
        let reported = self.store.report(&[report]).await.unwrap();
        assert!(reported.into_iter().all(|reported| reported.is_ok()));
    }

    pub(super) async fn state(&self, uuid: &str) -> String {
        let answered = self.ask(&format!("GET /v1/agents/{uuid}"), READ, Body::empty()).await;
        answered.json["agent"]["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Decisions, oldest first: who, what, about what.
    pub(super) async fn audit(&self) -> Vec<String> {
        let answered = self.ask("GET /v1/audit", READ, Body::empty()).await;
        let lines = answered.json["audit"].as_array().unwrap().iter().rev();
        let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        lines
            .map(|line| format!("{} {} {}", word(line, "actor"), word(line, "action"), word(line, "subject")))
            .collect()
    }
}

/// What came back.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
}

impl Answered {
    /// A negative answer with this word.
    #[track_caller]
    pub(super) fn refuses(&self, status: u16, reason: &str) -> &Self {
        assert_eq!((self.status, &self.json["reason"]), (status, &Value::from(reason)), "{}", self.json);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert!(!self.json["detail"].as_str().unwrap().is_empty() && !self.json["todo"].as_str().unwrap().is_empty());
        self
    }
}

pub(super) fn access() -> Access {
    let line = |name: &str, role: &str, token: &str| {
        let digest = goldseal_verifier_core::digest::Digest::sha256(token.as_bytes());
        format!("{name} {role} {}\n", goldseal_verifier_core::hex::encode(digest.as_bytes()))
    };
    Access::new(&(line("alice", "operate", OPERATE) + &line("board", "read", READ)), &[]).unwrap()
}

/// A file of testdata.
fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name)
}

/// The list of a vector: what follows its first empty line.
pub(super) fn list(vector: &str) -> Vec<u8> {
    let bytes = fs::read(testdata(&format!("vectors/{vector}.vector"))).unwrap();
    let start = bytes.windows(2).position(|bytes| bytes == b"\n\n").unwrap() + 2;
    bytes[start..].to_vec()
}
