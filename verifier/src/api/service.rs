//! Routes about the service itself: findings of all machines, the audit log, health, and what may be asked.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Caller;
use super::agents::MAX_PAGE;
use super::extract::Asked;
use super::problem::Problem;
use super::{Api, openapi, views};
use crate::store::Filter;
use crate::time::Time;

/// Lines on a page unless asked otherwise.
const PAGE: u32 = 100;

/// How many lines are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupsQuery {
    /// At most so many.
    limit: Option<u32>,
}

/// Groups the findings of all failed machines by path and digest
#[utoipa::path(
    get, path = "/v1/findings", tag = "findings", params(GroupsQuery),
    responses((status = 200, description = "Most machines first", body = views::Groups))
)]
pub(super) async fn findings(
    State(api): State<Arc<Api>>,
    Asked(GroupsQuery { limit }): Asked<GroupsQuery>,
) -> Result<Json<views::Groups>, Problem> {
    let groups = api.store.finding_groups(limit.unwrap_or(PAGE).clamp(1, MAX_PAGE)).await?;
    Ok(Json(views::Groups { findings: groups.iter().map(views::Group::from).collect() }))
}

/// Which decisions are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// Those before this one.
    before: Option<i64>,
    /// At most so many.
    limit: Option<u32>,
}

/// Shows who decided what, latest first
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "Decisions, latest first", body = views::AuditLog))
)]
pub(super) async fn audit(
    State(api): State<Arc<Api>>,
    Asked(AuditQuery { before, limit }): Asked<AuditQuery>,
) -> Result<Json<views::AuditLog>, Problem> {
    let limit = limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let mut lines = api.store.audit(before, limit.saturating_add(1)).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| more).map(|line| line.id);
    let audit = lines.into_iter().map(|line| views::AuditLine {
        id: line.id,
        at: line.at.to_string(),
        actor: line.actor,
        action: line.action,
        subject: line.subject,
        detail: line.detail,
    });
    Ok(Json(views::AuditLog { audit: audit.collect(), next }))
}

/// Says whether the service works
///
/// Without credentials the status alone.
#[utoipa::path(
    get, path = "/v1/health", tag = "health", security(()),
    responses(
        (status = 200, description = "It works", body = views::Health),
        (status = 503, description = "Its database does not answer, or polling stands still", body = views::Health),
    )
)]
pub(super) async fn health(State(api): State<Arc<Api>>, caller: Option<Extension<Caller>>) -> Response {
    let store = api.store.ping().await.is_ok();
    let age = api.pulse.age(Time::now());
    let works = store && age <= api.limits.poller_age;
    let told = caller.is_some();
    let agents = if told { api.store.count(&Filter::default()).await.ok() } else { None };
    let health = views::Health {
        status: if works { "ok" } else { "failing" }.to_owned(),
        store: told.then_some(store),
        poller_age: told.then_some(age.as_secs()),
        agents: agents.map(views::Count::all),
        version: told.then(|| env!("CARGO_PKG_VERSION").to_owned()),
    };
    let status = if works { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// Says what may be asked
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "openapi",
    responses((status = 200, description = "This description", body = Object))
)]
pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response()
}
