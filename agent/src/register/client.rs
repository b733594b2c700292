//! One request, one answer, over a connection of its own. What a registrar may cost is bounded: its time and its bytes.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;

use super::error::{RegisterError, Step};

/// Longest answer. A credential takes some 900 bytes, the list of versions less.
const MAX_ANSWER: usize = 64 << 10;

/// Longest text of a refusal that is shown.
const MAX_STATUS: usize = 512;

/// A registrar.
#[derive(Debug)]
pub(super) struct Client<'a> {
    authority: &'a str,
    deadline: Duration,
}

/// What it said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: StatusCode,
    pub(super) status: String,
    pub(super) results: Value,
}

/// The form of all answers.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    status: String,
    #[serde(default)]
    results: Value,
}

impl<'a> Client<'a> {
    pub(super) fn new(authority: &'a str, deadline: Duration) -> Result<Self, RegisterError> {
        let good = authority.parse::<hyper::http::uri::Authority>().is_ok_and(|parsed| {
            parsed.port_u16().is_some_and(|port| port != 0) && !parsed.host().is_empty() && !authority.contains('@')
        });
        if good {
            Ok(Self { authority, deadline })
        } else {
            Err(RegisterError::Registrar { found: authority.to_owned() })
        }
    }

    pub(super) async fn call(
        &self,
        step: Step,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, RegisterError> {
        let call = self.exchange(step, method, path, body);
        tokio::time::timeout(self.deadline, call).await.map_err(|_| RegisterError::TimedOut { step })?
    }

    async fn exchange(
        &self,
        step: Step,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, RegisterError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.authority);
        // Keylime's registrar (7.14.3) answers 400 to a GET that has the type and no body.
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request =
            request.body(Full::new(body)).map_err(|_| RegisterError::Registrar { found: self.authority.to_owned() })?;
        let stream = TcpStream::connect(self.authority).await;
        let stream = stream.map_err(|error| RegisterError::Unreachable { step, kind: error.kind() })?;
        let broken = |_| RegisterError::Broken { step };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It moves the bytes, and ends when the sender is gone.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let code = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => RegisterError::TooLong { step, max: MAX_ANSWER },
            None => RegisterError::Broken { step },
        })?;
        Answer::of(step, code, &body.to_bytes())
    }
}

impl Answer {
    /// A refusal may have any body: a proxy's, or none. What was accepted has the protocol's.
    fn of(step: Step, code: StatusCode, body: &[u8]) -> Result<Self, RegisterError> {
        match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { status, results }) => Ok(Self { code, status, results }),
            Err(_) if code == StatusCode::OK => Err(RegisterError::Malformed { step }),
            Err(_) => Ok(Self { code, status: String::new(), results: Value::Null }),
        }
    }

    /// The error that an answer other than 200 is.
    pub(super) fn refusal(&self, step: Step) -> RegisterError {
        let status: String = self.status.chars().take(MAX_STATUS).collect();
        match (step, self.code.as_u16()) {
            (Step::Keys, 403) => RegisterError::OtherKeys { status },
            (Step::Tag, 400 | 404) => RegisterError::TagRefused { status },
            (_, code @ (408 | 429 | 500..=599)) => RegisterError::Unwell { step, code, status },
            (_, code) => RegisterError::Refused { step, code, status },
        }
    }
}
