//! Questions to a verifier. Promises: each answer comes before its deadline or not at all, is JSON of a bounded length, and
//! a negative one is a [`Failure`] with the verifier's word. Does not promise that what is answered is true.

use std::fmt;
use std::time::Duration;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::printable::{Printable, PrintableLine};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::config::Config;
use ureq::http::{Method, Request, Response, StatusCode, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body};

use crate::tls::Tls;

/// Longest answer: a page of a thousand machines, or the paths by which two large lists differ.
const MAX_ANSWER: u64 = 16 << 20;

/// Longest negative answer.
const MAX_PROBLEM: u64 = 64 << 10;

/// Longest header of an answer.
const MAX_HEADER: usize = 16 << 10;

/// Longest text of a negative answer that is repeated.
const MAX_REPEATED: usize = 1_000;

/// A verifier, and how it is asked.
pub struct Client {
    agent: Agent,
    /// `HOST:PORT`.
    verifier: String,
    token: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl Client {
    /// Asks at `HOST:PORT`; nothing takes longer than `deadline`.
    pub fn new(verifier: String, tls: Tls, token: Option<String>, deadline: Duration) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(deadline))
            .max_response_header_size(MAX_HEADER)
            .user_agent(concat!("goldseal-tenant/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = TcpConnector::default().chain(tls);
        Self { agent: Agent::with_parts(config, connector, DefaultResolver::default()), verifier, token }
    }

    /// What stands at a path; `None` if nothing does.
    ///
    /// # Errors
    /// [`Failure`], exit 3.
    pub fn find(&self, path: &str) -> Result<Option<Value>, Failure> {
        let mut response = self.run(Method::GET, path, None)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.read(&mut response).map(Some)
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// [`Failure`], exit 3.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.read(&mut self.run(Method::GET, path, None)?)
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// [`Failure`], exit 3.
    pub fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let sent = Some(("application/json", body.to_string().into_bytes()));
        self.read(&mut self.run(method, path, sent)?)
    }

    /// Sends a file as it is.
    ///
    /// # Errors
    /// [`Failure`], exit 3.
    pub fn upload(&self, path: &str, bytes: Vec<u8>) -> Result<Value, Failure> {
        self.read(&mut self.run(Method::POST, path, Some(("application/octet-stream", bytes)))?)
    }

    /// Has something forgotten.
    ///
    /// # Errors
    /// [`Failure`], exit 3.
    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        let mut response = self.run(Method::DELETE, path, None)?;
        if response.status() == StatusCode::NO_CONTENT { Ok(()) } else { self.read(&mut response).map(drop) }
    }

    fn run(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.verifier))
            .header(header::ACCEPT, "application/json, application/problem+json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let wrong = |error: ureq::http::Error| {
            Failure::usage(format!("this cannot be asked: {error}"), "check the verifier's name and the token's file")
        };
        let answered = match body {
            None => self.agent.run(request.body(()).map_err(wrong)?),
            Some((media, bytes)) => {
                self.agent.run(request.header(header::CONTENT_TYPE, media).body(bytes).map_err(wrong)?)
            }
        };
        answered.map_err(|error| self.unanswered(&error))
    }

    fn read(&self, response: &mut Response<Body>) -> Result<Value, Failure> {
        let status = response.status();
        let limit = if status.is_success() { MAX_ANSWER } else { MAX_PROBLEM };
        let bytes = response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(limit) => self.no_verifier(&format!("more than {limit} bytes")),
            error => self.unanswered(&error),
        })?;
        if !status.is_success() {
            return Err(self.refused(status, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| self.no_verifier(&format!("no JSON ({error})")))
    }

    /// A value of what was answered.
    ///
    /// # Errors
    /// `bad-answer`.
    pub fn understand<T: DeserializeOwned>(&self, answer: &Value) -> Result<T, Failure> {
        T::deserialize(answer).map_err(|error| self.no_verifier(&format!("something else ({error})")))
    }

    fn refused(&self, status: StatusCode, bytes: &[u8]) -> Failure {
        let Ok(problem) = serde_json::from_slice::<Problem>(bytes) else {
            return self.no_verifier(&format!("status {}, and no reason", status.as_u16()));
        };
        let Problem { reason, detail, todo } = problem;
        let known = REASONS.iter().find(|known| **known == reason);
        let todo = if todo.is_empty() { "see the service's log".to_owned() } else { shown(&todo) };
        let failure = match known {
            Some(reason) => Failure::new(Exit::Input, reason, shown(&detail), todo),
            None => Failure::new(Exit::Input, "refused", format!("{}: {}", shown(&reason), shown(&detail)), todo),
        };
        failure.with("status", status.as_u16())
    }

    fn unanswered(&self, error: &ureq::Error) -> Failure {
        let verifier = Printable(self.verifier.as_bytes());
        let text = error.to_string();
        let text = shown(&text);
        if text.contains("invalid peer certificate") {
            return Failure::new(
                Exit::Input,
                "untrusted-verifier",
                format!("{verifier} is not the verifier that it should be: {text}"),
                "compare the fingerprint in the service's log with --fingerprint; if they differ, ask who answers there",
            );
        }
        let what = match error {
            ureq::Error::Timeout(_) => format!("{verifier} did not answer in time"),
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::Http(_) => {
                return self.no_verifier(&text);
            }
            _ => format!("{verifier} does not answer: {text}"),
        };
        Failure::new(Exit::Input, "no-answer", what, "check -v and that the service runs: goldseal tenant health")
    }

    fn no_verifier(&self, what: &str) -> Failure {
        Failure::new(
            Exit::Input,
            "bad-answer",
            format!("{} answers as no verifier does: {}", Printable(self.verifier.as_bytes()), shown(what)),
            "check -v: is it the port of the API?",
        )
    }
}

/// A negative answer (RFC 9457), as far as it is told.
#[derive(Debug, Deserialize)]
struct Problem {
    reason: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    todo: String,
}

/// Words of the service (docs/exit-codes.md, Reasons of the service). Another one is told as `refused`.
const REASONS: &[&str] = &[
    "bad-root",
    "bad-signature",
    "below-floor",
    "busy",
    "changed",
    "damaged",
    "equivocation",
    "exists",
    "forbidden",
    "from-the-future",
    "full",
    "known-uuid",
    "lost-state",
    "malformed",
    "no-identity",
    "no-method",
    "no-role",
    "not-found",
    "not-possible",
    "other-ek",
    "rate-limited",
    "revoked-list",
    "stale",
    "storage",
    "tampered",
    "threshold",
    "timeout",
    "too-large",
    "unauthenticated",
    "unknown",
    "unsealed",
    "unsupported",
    "wrong-name",
    "wrong-type",
];

/// What a verifier says, made safe for a terminal and cut. What it escaped itself stays as it is.
fn shown(text: &str) -> String {
    let mut cut = MAX_REPEATED.min(text.len());
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let (text, rest) = text.split_at(cut);
    format!("{}{}", PrintableLine(text.as_bytes()), if rest.is_empty() { "" } else { " …" })
}

/// A part of a path or a query: what is not unreserved is escaped (RFC 3986, 2.3).
pub fn escape(text: &[u8]) -> String {
    let mut escaped = String::new();
    for byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(*byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_verifier_says_is_cut_and_harmless() {
        assert_eq!(shown("a\u{1b}[2J\nforged: \\x1b"), "a\\x1b[2J\\nforged: \\x1b");
        let long = "é".repeat(MAX_REPEATED);
        let cut = shown(&long);
        assert!(cut.ends_with("é …") && cut.len() <= MAX_REPEATED + 6);
        assert_eq!(escape(b"/a b\xff&x=~"), "%2Fa%20b%FF%26x%3D~");
    }
}
