//! The REST API: what the tenant and other programs ask of the service.
//!
//! Promises: without known credentials nothing is answered but whether the service works; what changes something needs
//! the role `operate` and leaves a line in the audit log, in the same transaction; every body, page and wait has a limit;
//! a negative answer is a [`Problem`]. What is believed of a list is decided where lists are loaded, not here.
//!
//! The steps of a request are all in `guard`: rate, credentials, role, deadline. Routes come after it.

pub mod access;
pub mod agents;
mod clears;
pub mod config;
mod extract;
pub mod listener;
pub mod openapi;
pub mod policies;
pub mod problem;
pub mod rate;
mod service;
#[cfg(test)]
pub(crate) mod tests;
pub mod tls;
pub mod views;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tokio::sync::{Notify, Semaphore};

use crate::policies::Policies;
use crate::store::Store;
use crate::time::Time;
use access::{Access, Caller, Role};
use listener::Peer;
use problem::Problem;
use rate::{Limiter, Rate};

/// When polling last went on.
#[derive(Debug)]
pub struct Pulse(AtomicI64);

impl Pulse {
    /// It goes on now.
    pub fn new(now: Time) -> Self {
        Self(AtomicI64::new(now.millis()))
    }

    /// It went on.
    pub fn beat(&self, now: Time) {
        self.0.store(now.millis(), Ordering::Relaxed);
    }

    /// How long ago that was.
    pub fn age(&self, now: Time) -> Duration {
        now.since(Time::from_millis(self.0.load(Ordering::Relaxed)))
    }
}

/// How much may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of each that is known.
    pub rate: Rate,
    /// Of each address that shows no known credentials.
    pub stranger_rate: Rate,
    /// Longest list, in bytes.
    pub policy: usize,
    /// Lists that are read at once.
    pub uploads: usize,
    /// Longest time for an answer.
    pub answer: Duration,
    /// Longest time for an answer to a list.
    pub upload: Duration,
    /// How long polling may stand still before health says so.
    pub poller_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A tenant that looks after ten thousand machines, one by one, in a few minutes.
            rate: Rate { per_second: 50, burst: 200 },
            // A person who mistypes, and a monitor that asks for health.
            stranger_rate: Rate { per_second: 1, burst: 20 },
            // A million paths of 100 bytes with SHA-256 have 170 MB.
            policy: 256 << 20,
            uploads: 2,
            answer: Duration::from_secs(30),
            // 256 MiB at 20 Mbit/s.
            upload: Duration::from_secs(120),
            poller_age: Duration::from_secs(60),
        }
    }
}

/// What the routes share.
#[derive(Debug)]
pub struct Api {
    store: Arc<dyn Store>,
    policies: Arc<Policies>,
    pulse: Arc<Pulse>,
    wake: Arc<Notify>,
    limits: Limits,
    uploads: Semaphore,
    access: RwLock<Arc<Access>>,
    known: Limiter<String>,
    strangers: Limiter<IpAddr>,
}

impl Api {
    /// `wake` is told when machines are due at once.
    pub fn new(
        store: Arc<dyn Store>,
        policies: Arc<Policies>,
        pulse: Arc<Pulse>,
        wake: Arc<Notify>,
        access: Access,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            policies,
            pulse,
            wake,
            limits,
            uploads: Semaphore::new(limits.uploads),
            access: RwLock::new(Arc::new(access)),
            known: Limiter::new(limits.rate),
            strangers: Limiter::new(limits.stranger_rate),
        })
    }

    /// Others are known from now on.
    pub fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self) {
        self.wake.notify_one();
    }
}

/// Every route, behind `guard`.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/health", get(service::health))
        .route("/v1/openapi.json", get(service::description))
        .route("/v1/agents", get(agents::list).post(agents::add))
        .route("/v1/agents/{uuid}", get(agents::show).delete(agents::delete))
        .route("/v1/agents/{uuid}/policy", put(agents::set_policy))
        .route("/v1/agents/{uuid}/reactivate", post(agents::reactivate))
        .route("/v1/agents:update", post(agents::update_many))
        .route("/v1/agents:reactivate", post(agents::reactivate_many))
        .route("/v1/findings", get(service::findings))
        .route("/v1/policies", get(policies::list).post(policies::upload))
        .route("/v1/policies/{identity}", get(policies::show))
        .route("/v1/policies/{identity}/diff/{new}", get(policies::diff))
        .route("/v1/audit", get(service::audit))
        .fallback(async || Problem::not_found("there is no such route"))
        .method_not_allowed_fallback(async || {
            Problem::new("no-method", "this route does not know this method", "see /v1/openapi.json")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api)
}

/// What every request passes, the unknown routes included.
async fn guard(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let admitted = admit(&api, &request);
    let actor = admitted.as_ref().ok().and_then(Option::as_ref).map(|caller| caller.name.clone());
    let mut response = match admitted {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let is_upload = method == Method::POST && path == "/v1/policies";
            let deadline = if is_upload { api.limits.upload } else { api.limits.answer };
            tokio::time::timeout(deadline, next.run(request)).await.unwrap_or_else(|_| {
                Problem::new("timeout", format!("not answered in {} seconds", deadline.as_secs()), "ask again")
                    .into_response()
            })
        }
        Err(problem) => problem.into_response(),
    };
    let status = response.status().as_u16();
    if method != Method::GET && method != Method::HEAD {
        tracing::info!(actor = actor.as_deref().unwrap_or("-"), %method, path, status, "asked");
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Who asks; `None` of health alone.
fn admit(api: &Api, request: &Request) -> Result<Option<Caller>, Problem> {
    let now = Instant::now();
    let peer = request.extensions().get::<Peer>();
    let source = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    let certificate = peer.and_then(|peer| peer.certificate.as_deref());
    let caller = match api.access().caller(request.headers(), certificate) {
        Ok(caller) => caller,
        Err(problem) => {
            api.strangers.take(&source, now).map_err(rate_limited)?;
            let is_health = request.method() == Method::GET && request.uri().path() == "/v1/health";
            let shows_nothing = !request.headers().contains_key(header::AUTHORIZATION);
            return if is_health && shows_nothing { Ok(None) } else { Err(problem) };
        }
    };
    api.known.take(&caller.name, now).map_err(rate_limited)?;
    let needed = Role::needed(request.method());
    if caller.role < needed {
        return Err(Problem::new(
            "forbidden",
            format!("{} may {}, and this needs the role {}", caller.name, caller.role.word(), needed.word()),
            "have it done by somebody with that role",
        ));
    }
    Ok(Some(caller))
}

fn rate_limited(wait: Duration) -> Problem {
    let seconds = wait.as_millis().div_ceil(1_000);
    Problem::new("rate-limited", "too much was asked", "ask less often")
        .retry_after(u64::try_from(seconds).unwrap_or(u64::MAX))
}

/// An answer is data, for whoever asked and nobody else: OWASP REST Security Cheat Sheet, Security Headers.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];
