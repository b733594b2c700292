//! What is asked, and by whom it is answered. All paths are here.

use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::query::Query;
use super::refusal::Refusal;
use super::{SUPPORTED_VERSIONS, Service, evidence, keylime};

/// Whose words errors are told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Those of Keylime's agent.
    Keylime,
    /// Those of the own route.
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// `GET /version`
    Version,
    /// `GET /v2.1/quotes/integrity`
    Integrity,
    /// `GET /v2.1/quotes/identity`
    Identity,
    /// `GET /v1/evidence`
    Evidence,
}

/// Answers one request.
pub(super) async fn answer(service: &Service, request: Request<Incoming>) -> Response<Body> {
    let (dialect, route) = route(request.method(), request.uri().path());
    let answer = match route {
        Err(refusal) => Err(refusal),
        Ok(_) if !request.body().is_end_stream() => Err(Refusal::bad_request("a GET carries no body")),
        Ok(route) => {
            let query = Query::parse(request.uri().query());
            match route {
                Route::Version => Ok(keylime::version()),
                Route::Integrity => keylime::integrity(service, &query).await,
                Route::Identity => keylime::identity(service, &query).await,
                Route::Evidence => evidence::evidence(service, &query).await,
            }
        }
    };
    answer.unwrap_or_else(|refusal| {
        tracing::warn!(path = ?request.uri().path(), reason = refusal.reason, "refused: {}", refusal.detail);
        refusal.answer(dialect)
    })
}

/// The refusals for Keylime are those of its own agent (rust-keylime 0.2.9, errors_handler.rs), which looks at the
/// version before the method.
fn route(method: &Method, path: &str) -> (Dialect, Result<Route, Refusal>) {
    let own = path.strip_prefix("/v1").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let (dialect, route) = match own {
        Some("/evidence") => (Dialect::Own, Ok(Route::Evidence)),
        Some(_) => (Dialect::Own, Err(Refusal::new(StatusCode::NOT_FOUND, "not-found", "there is /v1/evidence alone"))),
        None => match keylime_route(path) {
            Ok(route) => (Dialect::Keylime, route),
            Err(unsupported) => return (Dialect::Keylime, Err(unsupported)),
        },
    };
    if method != Method::GET {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method is not supported");
        return (dialect, Err(refusal));
    }
    (dialect, route)
}

/// A route under a version; the outer error is that of the version.
fn keylime_route(path: &str) -> Result<Result<Route, Refusal>, Refusal> {
    if path == "/version" {
        return Ok(Ok(Route::Version));
    }
    let versioned = path.strip_prefix("/v").map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    let Some((version, rest)) = versioned.filter(|(version, _)| is_version(version)) else {
        let newest = SUPPORTED_VERSIONS.last().copied().unwrap_or_default();
        return Ok(Err(Refusal::bad_request(format!("Not Implemented: Use /version or /v{newest} interfaces"))));
    };
    if !SUPPORTED_VERSIONS.contains(&version) {
        // A verifier that reads these words asks for /version and comes again.
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            format!("API version not supported: v{version}"),
        ));
    }
    Ok(match rest {
        "quotes/integrity" => Ok(Route::Integrity),
        "quotes/identity" => Ok(Route::Identity),
        rest if rest == "quotes" || rest.starts_with("quotes/") => Err(Refusal::bad_request(
            "URI not supported, only /identity and /integrity are supported for GET in /quotes/ interface",
        )),
        _ => Err(Refusal::bad_request("Not Implemented: Use /quotes interface; this agent takes no payloads")),
    })
}

/// Two short numbers with a dot.
fn is_version(text: &str) -> bool {
    let is_number = |part: &str| (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        let get = |path| route(&Method::GET, path);
        assert_eq!(get("/version"), (Dialect::Keylime, Ok(Route::Version)));
        assert_eq!(get("/v2.1/quotes/integrity"), (Dialect::Keylime, Ok(Route::Integrity)));
        assert_eq!(get("/v2.1/quotes/identity"), (Dialect::Keylime, Ok(Route::Identity)));
        assert_eq!(get("/v1/evidence"), (Dialect::Own, Ok(Route::Evidence)));
    }

    #[track_caller]
    fn refused(method: Method, path: &str, dialect: Dialect, status: u16, detail: &str) {
        let (found, route) = route(&method, path);
        let refusal = route.unwrap_err();
        assert_eq!((found, refusal.status.as_u16(), refusal.detail.as_str()), (dialect, status, detail), "{path}");
    }

    #[test]
    fn other_versions_are_told_apart_whatever_is_asked() {
        for version in ["2.0", "2.2", "1.0", "3.0", "02.1", "2.10", "99999.99999"] {
            for rest in ["", "/", "/quotes/integrity", "/keys/vkey"] {
                let says = format!("API version not supported: v{version}");
                for method in [Method::GET, Method::POST] {
                    refused(method, &format!("/v{version}{rest}"), Dialect::Keylime, 400, &says);
                }
            }
        }
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let keylime = "Not Implemented: Use /version or /v2.1 interfaces";
        for path in ["/", "/version/", "/Version", "/v2/quotes/integrity", "/v2.1.0/", "/v100000.1/x", "/v.1", "/v10"] {
            refused(Method::GET, path, Dialect::Keylime, 400, keylime);
        }
        let quotes = "URI not supported, only /identity and /integrity are supported for GET in /quotes/ interface";
        for path in ["/v2.1/quotes", "/v2.1/quotes/", "/v2.1/quotes/Identity", "/v2.1/quotes/identity/"] {
            refused(Method::GET, path, Dialect::Keylime, 400, quotes);
        }
        let others = "Not Implemented: Use /quotes interface; this agent takes no payloads";
        for path in ["/v2.1", "/v2.1/", "/v2.1/keys/pubkey", "/v2.1/quotesx"] {
            refused(Method::GET, path, Dialect::Keylime, 400, others);
        }
        for path in ["/v1", "/v1/", "/v1/evidence/", "/v1/Evidence"] {
            refused(Method::GET, path, Dialect::Own, 404, "there is /v1/evidence alone");
        }
        for method in [Method::POST, Method::PUT, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::CONNECT] {
            refused(method.clone(), "/v2.1/keys/ukey", Dialect::Keylime, 405, "Method is not supported");
            refused(method.clone(), "/version", Dialect::Keylime, 405, "Method is not supported");
            refused(method, "/v1/evidence", Dialect::Own, 405, "Method is not supported");
        }
    }
}
