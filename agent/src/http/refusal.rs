//! Answers that are none: Keylime's envelope on its routes, problem details (RFC 9457) on the own one.

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::routes::Dialect;
use crate::measurements::ListReadError;
use crate::tpm::TpmError;

/// Why there is no answer. The words of docs/agent-protocol.md are those of `reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status, reason, detail: detail.into() }
    }

    /// A parameter or a request that is not as it must be.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// Too many at once.
    pub(super) fn crowded() -> Self {
        let detail = "too many connections are open; ask again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }

    /// The answer, in the words of whoever asked.
    pub(super) fn answer(self, dialect: Dialect) -> Response<Body> {
        let Self { status, reason, detail } = self;
        let (status, body) = match dialect {
            Dialect::Keylime => {
                // Keylime's verifier asks again after 500, and gives the machine up after 503.
                let again = status == StatusCode::SERVICE_UNAVAILABLE;
                let status = if again { StatusCode::INTERNAL_SERVER_ERROR } else { status };
                (status, text(&KeylimeError { code: status.as_u16(), status: &detail, results: Nothing {} }))
            }
            Dialect::Own => {
                let title = status.canonical_reason().unwrap_or_default();
                (status, text(&Problem { title, status: status.as_u16(), reason, detail: &detail }))
            }
        };
        let mut answer = Response::new(Body::whole(body));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(match dialect {
                Dialect::Keylime => "application/json",
                Dialect::Own => "application/problem+json",
            }),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        answer
    }
}

#[derive(Serialize)]
struct KeylimeError<'a> {
    code: u16,
    status: &'a str,
    results: Nothing,
}

/// `{}`.
#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    reason: &'a str,
    detail: &'a str,
}

fn text(value: &impl Serialize) -> String {
    // Numbers and text alone: there is nothing that JSON cannot say.
    serde_json::to_string(value).unwrap_or_default()
}

impl From<TpmError> for Refusal {
    fn from(error: TpmError) -> Self {
        let (status, reason) = match &error {
            TpmError::EmptyNonce
            | TpmError::NonceTooLong { .. }
            | TpmError::Selection(_)
            | TpmError::InactiveBank { .. } => (StatusCode::BAD_REQUEST, "bad-request"),
            TpmError::Busy { .. } | TpmError::QueueFull | TpmError::TimedOut | TpmError::PcrsMove { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "tpm-busy")
            }
            TpmError::Resetting { .. } => (StatusCode::SERVICE_UNAVAILABLE, "tpm-resetting"),
            TpmError::Lost { .. } => (StatusCode::SERVICE_UNAVAILABLE, "tpm-lost"),
            TpmError::Absent { .. } => (StatusCode::SERVICE_UNAVAILABLE, "tpm-absent"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "tpm-failed"),
        };
        Self::new(status, reason, format!("{error}; {}", error.advice()))
    }
}

impl From<ListReadError> for Refusal {
    fn from(error: ListReadError) -> Self {
        let detail = error.to_string().replace('\n', "; ");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "list-unreadable", detail)
    }
}
