//! What a request says, as values: from its path, its query and its body. What cannot be read is a [`Problem`].

use std::future::Future;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::envelope::Identity;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::uuid::Uuid;

/// Longest JSON body: a selection of [`MAX_UUIDS`](super::agents::MAX_UUIDS) of the longest names, with quotes and commas.
pub(super) const MAX_JSON: usize = 1 << 20;

/// The machine that a path names.
#[derive(Debug)]
pub(super) struct Machine(pub(super) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Machine {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|error| path(&error))?;
        uuid(&text).map(Self)
    }
}

/// A machine's name.
///
/// # Errors
/// `malformed`.
pub(super) fn uuid(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|error: crate::uuid::UuidError| {
        Problem::malformed(format!("{} is no uuid", Printable(text.as_bytes())), error.to_string())
    })
}

/// The list that a path names.
#[derive(Debug)]
pub(super) struct List(pub(super) Identity);

impl<S: Send + Sync> FromRequestParts<S> for List {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|error| path(&error))?;
        identity(&text).map(Self)
    }
}

/// The two lists that a path names.
#[derive(Debug)]
pub(super) struct TwoLists(pub(super) Identity, pub(super) Identity);

impl<S: Send + Sync> FromRequestParts<S> for TwoLists {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((old, new)) = read.map_err(|error| path(&error))?;
        Ok(Self(identity(&old)?, identity(&new)?))
    }
}

/// The identity of a list.
///
/// # Errors
/// `malformed`.
pub(super) fn identity(text: &str) -> Result<Identity, Problem> {
    Identity::from_hex(text.as_bytes()).ok_or_else(|| {
        Problem::malformed(
            format!("{} is no identity of a list", Printable(text.as_bytes())),
            "an identity has 64 digits of 0-9 a-f: goldseal tenant policy list",
        )
    })
}

fn path(error: &dyn std::fmt::Display) -> Problem {
    Problem::malformed(format!("the path cannot be read: {error}"), "see openapi.json")
}

/// What a query says.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(asked) = Query::from_request_parts(parts, state).await.map_err(|error| {
            let what = format!("the query cannot be read: {error}");
            Problem::malformed(Printable(what.as_bytes()).to_string(), "see openapi.json for what may be asked")
        })?;
        Ok(Self(asked))
    }
}

/// What a body of JSON says.
#[derive(Debug)]
pub(super) struct Sent<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        expect_type(&parts.headers, "application/json")?;
        let bytes = read(&parts.headers, body, MAX_JSON).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let what = format!("the body cannot be read: {error}");
            Problem::malformed(Printable(what.as_bytes()).to_string(), "see openapi.json for what belongs there")
        })
    }
}

/// Refuses a body of another kind, and one that would have to be unpacked first.
///
/// # Errors
/// `unsupported`.
pub(super) fn expect_type(headers: &HeaderMap, expected: &str) -> Result<(), Problem> {
    let value = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let found = value(header::CONTENT_TYPE).unwrap_or_default();
    let media = found.split(';').next().unwrap_or_default().trim();
    let encoding = value(header::CONTENT_ENCODING).unwrap_or_else(|| "identity".to_owned());
    if media.eq_ignore_ascii_case(expected) && encoding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    Err(Problem::new(
        "unsupported",
        format!("the body is {:?} in encoding {:?}", Printable(media.as_bytes()).to_string(), encoding),
        format!("send `Content-Type: {expected}`, as it is"),
    ))
}

/// All of a body, if that is at most `limit` bytes. Read once; room is made as it comes, and at most as much.
///
/// # Errors
/// `too-large`, `malformed`.
pub(super) fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send + use<> {
    let claimed = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    read_claimed(claimed, body, limit)
}

async fn read_claimed(claimed: Option<u64>, mut body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(
            "too-large",
            format!("the body has more than {limit} bytes"),
            "send less, or raise the limit there",
        )
    };
    if claimed.is_some_and(|claimed| claimed > limit as u64) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Problem::malformed(format!("the body broke off: {error}"), "send it again, whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
