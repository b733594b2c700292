//! Routes about lists.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use goldseal_cli::difference::{self, Detail, Side};
use goldseal_verifier_core::appraise::Appraiser;
use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::trust::Freshness;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Caller;
use super::extract::{self, Asked, List, TwoLists};
use super::problem::{Problem, RETRY_AFTER, Told};
use super::{Api, views};
use crate::policies::{NoPolicy, Uploaded};
use crate::store::{Assignment, Filter, PolicyRecord};
use crate::time::Time;

/// What a sealed list is sent as.
pub const POLICY_TYPE: &str = "application/octet-stream";

impl Api {
    /// A list by which machines may be judged from now on.
    ///
    /// # Errors
    /// `unknown`, `stale`, `below-floor`, or why it no longer verifies.
    pub(super) async fn assignable(&self, identity: Identity, now: Time) -> Result<Assignment, Problem> {
        self.policies.assignable(&identity, now).await.map_err(Problem::from)
    }
}

impl From<NoPolicy> for Problem {
    fn from(error: NoPolicy) -> Self {
        match error {
            NoPolicy::Lost(refusal) => refusal.into(),
            NoPolicy::Store(error) => error.into(),
        }
    }
}

/// Uploads a sealed list
///
/// It is kept if it is sealed as the service's trust root asks, in time, and not older than what was accepted. No
/// machine is moved.
#[utoipa::path(
    post, path = "/v1/policies", tag = "policies",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file, byte for byte"),
    responses(
        (status = 200, description = "It was there already", body = views::Policy),
        (status = 201, description = "It is kept", body = views::Policy),
        (status = 413, description = "It is larger than the service takes", body = Told),
        (status = 422, description = "It is refused; the reason says why", body = Told),
        (status = 503, description = "Other lists are just being read", body = Told),
    )
)]
pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<views::Policy>), Problem> {
    extract::expect_type(&headers, POLICY_TYPE)?;
    // Each may take as much memory as a list may have bytes.
    let _one_of_few = api
        .uploads
        .try_acquire()
        .map_err(|_| Problem::new("busy", "other lists are just being read", "ask again").retry_after(RETRY_AFTER))?;
    let bytes = extract::read(&headers, body, api.limits.policy).await?;
    let Uploaded { record, known } = api.policies.upload(bytes, None, &caller.name, Time::now()).await?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(views::Policy::from(&record))))
}

/// Lists the lists
#[utoipa::path(
    get, path = "/v1/policies", tag = "policies",
    responses((status = 200, description = "By name and version, the latest first", body = views::Policies))
)]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<views::Policies>, Problem> {
    let policies = api.store.policies().await?;
    Ok(Json(views::Policies { policies: policies.iter().map(views::Policy::from).collect() }))
}

/// Shows a list, and how many machines it judges
#[utoipa::path(
    get, path = "/v1/policies/{identity}", tag = "policies",
    params(("identity" = String, Path, description = "SHA-256 of its signed bytes")),
    responses(
        (status = 200, description = "What its header says", body = views::PolicyDetails),
        (status = 404, description = "There is no such list", body = Told),
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    List(identity): List,
) -> Result<Json<views::PolicyDetails>, Problem> {
    let record = find(&api, &identity).await?;
    let (freshness, problem) = match api.policies.appraiser(&identity, Time::now()).await {
        Ok(appraiser) if appraiser.policy().freshness() == Freshness::Current => ("current", None),
        Ok(_) => ("stale", None),
        Err(NoPolicy::Lost(refusal)) => ("no-policy", Some(refusal.what)),
        Err(error) => return Err(error.into()),
    };
    let filter = Filter { policy: Some(identity), ..Filter::default() };
    Ok(Json(views::PolicyDetails {
        policy: views::Policy::from(&record),
        freshness: freshness.to_owned(),
        problem,
        agents: views::Count::all(api.store.count(&filter).await?),
    }))
}

async fn find(api: &Api, identity: &Identity) -> Result<PolicyRecord, Problem> {
    let known = api.store.policies().await?.into_iter().find(|policy| policy.identity == *identity);
    known.ok_or_else(|| Problem::not_found(format!("there is no list {identity}")))
}

/// How a difference is told.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    /// Whether every path is named, and not only its folder.
    #[serde(default)]
    paths: bool,
}

/// Says what a list accepts that another does not
#[utoipa::path(
    get, path = "/v1/policies/{old}/diff/{new}", tag = "policies",
    params(
        ("old" = String, Path, description = "The identity of the older list"),
        ("new" = String, Path, description = "The identity of the newer list"),
        DiffQuery
    ),
    responses(
        (status = 200, description = "As `goldseal diff --json` tells it", body = Object),
        (status = 404, description = "There is no such list", body = Told),
        (status = 422, description = "One of them no longer verifies", body = Told),
    )
)]
pub(super) async fn diff(
    State(api): State<Arc<Api>>,
    TwoLists(old, new): TwoLists,
    Asked(DiffQuery { paths }): Asked<DiffQuery>,
) -> Result<Json<serde_json::Value>, Problem> {
    let (old, new) = (load(&api, &old).await?, load(&api, &new).await?);
    let detail = if paths { Detail::Paths } else { Detail::Folders };
    // Lists of a million paths take a while: others are answered meanwhile.
    let compared = tokio::task::spawn_blocking(move || {
        let difference = difference::between(side(&old), side(&new));
        let mut told = difference.json(detail);
        told.insert("same".into(), difference.is_none().into());
        told.insert("text".into(), difference.text(detail).into());
        serde_json::Value::Object(told)
    });
    compared
        .await
        .map(Json)
        .map_err(|_| Problem::new("damaged", "the lists cannot be compared", "see the service's log"))
}

async fn load(api: &Api, identity: &Identity) -> Result<Arc<Appraiser>, Problem> {
    find(api, identity).await?;
    Ok(api.policies.appraiser(identity, Time::now()).await?)
}

fn side(appraiser: &Appraiser) -> Side<'_> {
    let policy = appraiser.policy();
    Side { header: policy.header(), contents: policy.contents() }
}
