//! Negative answers of the API: `application/problem+json` (RFC 9457) with a stable word, what happened, and what to do.
//!
//! The words are those of docs/exit-codes.md, and so are their statuses; a test holds the page to [`REASONS`].

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::refusal::Refusal;
use crate::store::StoreError;

/// Every word that an answer may carry, and its status. Those of seals say what is wrong with an uploaded list.
pub const REASONS: &[(&str, u16)] = &[
    ("bad-root", 503),
    ("bad-signature", 422),
    ("below-floor", 422),
    ("busy", 503),
    ("changed", 409),
    ("damaged", 500),
    ("equivocation", 422),
    ("exists", 409),
    ("forbidden", 403),
    ("from-the-future", 422),
    ("full", 503),
    ("known-uuid", 409),
    ("lost-state", 503),
    ("malformed", 400),
    ("no-identity", 409),
    ("no-method", 405),
    ("no-role", 422),
    ("not-found", 404),
    ("not-possible", 409),
    ("other-ek", 409),
    ("rate-limited", 429),
    ("refused", 422),
    ("revoked-list", 422),
    ("stale", 422),
    ("storage", 503),
    ("tampered", 422),
    ("threshold", 422),
    ("timeout", 408),
    ("too-large", 413),
    ("unauthenticated", 401),
    ("unknown", 422),
    ("unsealed", 422),
    ("unsupported", 415),
    ("wrong-name", 409),
    ("wrong-type", 422),
];

/// A negative answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    reason: &'static str,
    what: String,
    todo: String,
    retry_after: Option<u64>,
}

/// As it is told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Told<'a> {
    /// `urn:goldseal:` and the reason.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'a str,
    /// The status of the answer.
    status: u16,
    /// A stable word (docs/exit-codes.md).
    reason: &'a str,
    /// What happened.
    detail: &'a str,
    /// What to do.
    todo: &'a str,
}

impl Problem {
    /// With the status that [`REASONS`] has for the word.
    pub fn new(reason: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { reason, what: what.into(), todo: todo.into(), retry_after: None }
    }

    /// What was sent is not what belongs there.
    pub fn malformed(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new("malformed", what, todo)
    }

    /// There is no such machine, list or route.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new("not-found", what, "see what there is: goldseal tenant list, goldseal tenant policy list")
    }

    /// May be asked again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The stable word.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        let known = REASONS.iter().find(|(word, _)| *word == self.reason);
        known.and_then(|(_, status)| StatusCode::from_u16(*status).ok()).unwrap_or(StatusCode::CONFLICT)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let told = Told {
            kind: format!("urn:goldseal:{}", self.reason),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            reason: self.reason,
            detail: &self.what,
            todo: &self.todo,
        };
        let mut response = (status, serde_json::to_vec(&told).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"goldseal\""));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal { reason, what, todo }: Refusal) -> Self {
        let problem = Self::new(reason, what, todo);
        if problem.status() == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(RETRY_AFTER) } else { problem }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let what = error.to_string();
        match error {
            StoreError::Busy => Self::new("busy", what, "ask again").retry_after(RETRY_AFTER),
            StoreError::Full => Self::new("full", what, "make room there, and ask again").retry_after(RETRY_AFTER),
            StoreError::NotFound => Self::not_found(what),
            StoreError::Fenced => Self::new("changed", what, "look at it again, then ask again"),
            StoreError::Illegal(_) => Self::new("not-possible", what, "look how it stands: goldseal tenant status"),
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Damaged { .. } => Self::new("damaged", what, "see the service's log; restore a backup"),
            StoreError::Database(_) => {
                Self::new("storage", what, "see the service's log, and ask again").retry_after(RETRY_AFTER)
            }
        }
    }
}

/// Seconds after which what was busy may be asked again: as long as a write waits for the database.
pub(super) const RETRY_AFTER: u64 = 5;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// docs/exit-codes.md has a table of exactly these.
    #[test]
    fn every_reason_is_documented_with_its_status() {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exit-codes.md")).unwrap();
        let table = page.split("## Reasons of the service").nth(1).expect("the page has the table");
        let rows = table.lines().take_while(|line| !line.starts_with("## ")).filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let reason = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((reason.to_owned(), cells.next()?.parse::<u16>().ok()?))
        });
        let documented: BTreeSet<(String, u16)> = rows.collect();
        let known: BTreeSet<(String, u16)> =
            REASONS.iter().map(|(reason, status)| ((*reason).to_owned(), *status)).collect();
        assert_eq!(known.len(), REASONS.len(), "a word stands there twice");
        assert_eq!(known, documented);
    }

    /// A word that is in no table would be told with a status that nobody chose.
    #[test]
    fn every_word_of_the_code_has_a_status() {
        let mut found = BTreeSet::new();
        // The others keep the service from starting, or are Keylime's registrar's.
        for folder in ["src/api", "src/store"] {
            words(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
        }
        words_of(
            &fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/enrolment.rs")).unwrap(),
            &mut found,
        );
        assert!(found.contains("exists") && found.contains("forbidden"), "refusals are written otherwise now");
        let known: BTreeSet<String> = REASONS.iter().map(|(reason, _)| (*reason).to_owned()).collect();
        assert_eq!(found.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    fn words(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                words(&path, found);
                continue;
            }
            words_of(&fs::read_to_string(&path).unwrap(), found);
        }
    }

    fn words_of(source: &str, found: &mut BTreeSet<String>) {
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for call in ["Refusal::new(", "Problem::new("] {
            for rest in source.split(call).skip(1) {
                if let Some((word, _)) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                    found.insert(word.to_owned());
                }
            }
        }
    }

    #[test]
    fn what_may_succeed_later_says_when() {
        let answer = |error: StoreError| {
            let response = Problem::from(error).into_response();
            let retry = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            (response.status().as_u16(), retry)
        };
        for error in [StoreError::Busy, StoreError::Full, StoreError::Database("disk I/O error".to_owned())] {
            assert!(error.is_temporary());
            assert_eq!(answer(error), (503, Some("5".to_owned())));
        }
        assert_eq!(answer(StoreError::NotFound), (404, None));
        assert_eq!(answer(StoreError::Fenced), (409, None));
        assert_eq!(answer(StoreError::Damaged { what: "a row".to_owned() }), (500, None));
    }
}
