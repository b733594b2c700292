//! Who asks, and what they may: bearer tokens (RFC 6750) and client certificates, with two roles.
//!
//! Promises: a token is known here only by its SHA-256, and is compared with all of them in the same time; a request
//! without either is nobody's. Does not promise that whoever holds a token is the one it was given to.

use std::fmt;
use std::hint::black_box;

use axum::http::{HeaderMap, Method, header};
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::hex;
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::problem::Problem;

/// Longest token that is hashed: three times what `goldseal tenant token` makes.
const MAX_TOKEN: usize = 200;

/// Most lines of a file of tokens: more people and programs than run one service.
const MAX_TOKENS: usize = 1_000;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// See everything, and change nothing.
    Read,
    /// See and change everything.
    Operate,
}

impl Role {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    /// What a request needs. By its method, so that no route can forget to ask.
    pub fn needed(method: &Method) -> Self {
        if method == Method::GET || method == Method::HEAD { Self::Read } else { Self::Operate }
    }
}

/// Somebody who is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As in the audit log.
    pub name: String,
    /// What they may.
    pub role: Role,
}

/// A token, as it is known.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    caller: Caller,
    sha256: [u8; 32],
}

/// The digest of a good token is no secret, and no help to a reader of logs either.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// A client certificate that is known, of those that the CA list vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// As in the audit log.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// SHA-256 of the certificate's DER, in hex.
    pub sha256: Option<String>,
    /// Its subject as RFC 4514 writes it: `openssl x509 -noout -subject -nameopt RFC2253`.
    pub subject: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Client {
    caller: Caller,
    by: By,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum By {
    Fingerprint([u8; 32]),
    Subject(String),
}

/// Everybody who is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    tokens: Vec<Token>,
    clients: Vec<Client>,
}

impl Access {
    /// From lines `NAME ROLE SHA256`, where `#` begins a comment, and from what the configuration says of certificates.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn new(tokens: &str, clients: &[ClientConfig]) -> Result<Self, AccessError> {
        let lines = tokens.lines().zip(1..).map(|(line, number)| (line.trim(), number));
        let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let tokens: Vec<Token> =
            lines.map(|(line, number)| token(line).ok_or(AccessError::Line(number))).collect::<Result<_, _>>()?;
        if tokens.len() > MAX_TOKENS {
            return Err(AccessError::TooMany);
        }
        for (at, token) in tokens.iter().enumerate() {
            if tokens.iter().take(at).any(|before| before.sha256 == token.sha256) {
                return Err(AccessError::Twice(token.caller.name.clone()));
            }
        }
        Ok(Self { tokens, clients: clients.iter().map(client).collect::<Result<_, _>>()? })
    }

    /// Whether nobody is known, so that nothing but health can be asked.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.clients.is_empty()
    }

    /// Who asks. A token counts before the certificate of the connection.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub fn caller(&self, headers: &HeaderMap, certificate: Option<&[u8]>) -> Result<Caller, Problem> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let known = match (values.next(), values.next()) {
            (Some(value), None) => bearer(value.as_bytes()).and_then(|token| self.by_token(token)),
            (Some(_), Some(_)) => None,
            (None, _) => certificate.and_then(|der| self.by_certificate(der)),
        };
        known.cloned().ok_or_else(|| {
            Problem::new(
                "unauthenticated",
                "nobody is known by these credentials",
                "send `Authorization: Bearer TOKEN`, or a client certificate that the service knows",
            )
        })
    }

    fn by_token(&self, token: &[u8]) -> Option<&Caller> {
        let digest = Digest::sha256(token);
        // All are compared to their end, whichever fits.
        let mut known = None;
        for Token { caller, sha256 } in &self.tokens {
            if is_same(digest.as_bytes(), sha256) {
                known = Some(caller);
            }
        }
        known
    }

    fn by_certificate(&self, der: &[u8]) -> Option<&Caller> {
        let digest = Digest::sha256(der);
        let fingerprint = self.clients.iter().find(|client| match &client.by {
            By::Fingerprint(sha256) => digest.as_bytes() == sha256,
            By::Subject(_) => false,
        });
        let by_subject = || {
            let subject = Certificate::from_der(der).ok()?.tbs_certificate().subject().to_string();
            self.clients.iter().find(|client| matches!(&client.by, By::Subject(known) if *known == subject))
        };
        fingerprint.or_else(by_subject).map(|client| &client.caller)
    }
}

/// What follows `Bearer `; the scheme's name is of either case (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty() && token.len() <= MAX_TOKEN).then_some(token)
}

/// Compares in a time that says nothing about where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b));
    a.len() == b.len() && black_box(differing) == 0
}

fn token(line: &str) -> Option<Token> {
    let mut words = line.split_whitespace();
    let (name, role, digest) = (words.next()?, words.next()?, words.next()?);
    let role = [Role::Read, Role::Operate].into_iter().find(|known| known.word() == role)?;
    let mut sha256 = [0; 32];
    hex::decode_lower(digest.as_bytes(), &mut sha256)?;
    let token = Token { caller: Caller { name: name.to_owned(), role }, sha256 };
    (words.next().is_none() && is_name(name)).then_some(token)
}

fn client(config: &ClientConfig) -> Result<Client, AccessError> {
    let ClientConfig { name, role, sha256, subject } = config;
    let by = match (sha256, subject) {
        (Some(digest), None) => {
            let mut sha256 = [0; 32];
            hex::decode_lower(digest.as_bytes(), &mut sha256).map(|()| By::Fingerprint(sha256))
        }
        (None, Some(subject)) if !subject.is_empty() => Some(By::Subject(subject.clone())),
        _ => None,
    };
    let by = by.filter(|_| is_name(name)).ok_or_else(|| AccessError::Client(name.clone()))?;
    Ok(Client { caller: Caller { name: name.clone(), role: *role }, by })
}

/// Safe in logs.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@'))
}

/// Why nobody can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// This line of the file of tokens.
    Line(usize),
    /// Two names for one token.
    Twice(String),
    /// More than `MAX_TOKENS`.
    TooMany,
    /// The entry of this client certificate.
    Client(String),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => {
                write!(f, "tokens, line {line}: not NAME read|operate SHA256, as `goldseal tenant token` prints it")
            }
            Self::Twice(name) => write!(f, "tokens: {name} has the token of another name"),
            Self::TooMany => write!(f, "tokens: more than {MAX_TOKENS}"),
            Self::Client(name) => write!(
                f,
                "client {name:?}: needs a name of A-Z a-z 0-9 . _ - @, and either sha256 (64 hex digits) or subject"
            ),
        }
    }
}

impl std::error::Error for AccessError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> String {
        let line = |name: &str, role: &str, token: &str| {
            format!("{name} {role} {}\n", hex::encode(Digest::sha256(token.as_bytes()).as_bytes()))
        };
        format!("# people\n\n{}{}", line("alice", "operate", "a-secret"), line("board", "read", "b-secret"))
    }

    fn name(access: &Access, authorization: &[&str], certificate: Option<&[u8]>) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        access.caller(&headers, certificate).ok().map(|caller| format!("{} {}", caller.name, caller.role.word()))
    }

    #[test]
    fn only_whole_tokens_are_known() {
        let access = Access::new(&tokens(), &[]).unwrap();
        assert_eq!(name(&access, &["Bearer a-secret"], None).as_deref(), Some("alice operate"));
        assert_eq!(name(&access, &["bearer  b-secret "], None).as_deref(), Some("board read"));
        let digest = hex::encode(Digest::sha256(b"a-secret").as_bytes());
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer a-secre",
            "Bearer a-secrets",
            "Basic a-secret",
            "a-secret",
            // The digest is not the token.
            &format!("Bearer {digest}"),
            &long,
        ] {
            assert_eq!(name(&access, &[bad], None), None, "{bad}");
        }
        assert_eq!(name(&access, &[], None), None);
        assert_eq!(name(&access, &["Bearer a-secret", "Bearer a-secret"], None), None);
    }

    #[test]
    fn certificates_are_known_by_digest_or_subject() {
        let certificate = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap().cert;
        let (der, other) = (certificate.der().to_vec(), rcgen::generate_simple_self_signed(["y".to_owned()]).unwrap());
        let client = |sha256: Option<String>, subject: Option<&str>| ClientConfig {
            name: "robot".to_owned(),
            role: Role::Operate,
            sha256,
            subject: subject.map(str::to_owned),
        };
        let digest = hex::encode(Digest::sha256(&der).as_bytes());
        let by_digest = Access::new("", &[client(Some(digest.clone()), None)]).unwrap();
        assert_eq!(name(&by_digest, &[], Some(&der)).as_deref(), Some("robot operate"));
        assert_eq!(name(&by_digest, &[], Some(other.cert.der())), None);
        // A wrong token is not made good by a certificate.
        assert_eq!(name(&by_digest, &["Bearer x"], Some(&der)), None);
        let by_subject = Access::new("", &[client(None, Some("CN=rcgen self signed cert"))]).unwrap();
        assert_eq!(name(&by_subject, &[], Some(&der)).as_deref(), Some("robot operate"));
        let by_other = Access::new("", &[client(None, Some("CN=rcgen"))]).unwrap();
        assert_eq!(name(&by_other, &[], Some(&der)), None);
        assert_eq!(name(&by_other, &[], Some(b"no certificate")), None);
        for bad in [client(None, None), client(Some(digest), Some("CN=a")), client(Some("00".to_owned()), None)] {
            assert_eq!(Access::new("", &[bad]), Err(AccessError::Client("robot".to_owned())));
        }
    }

    #[test]
    fn lines_are_whole_or_refused() {
        let digest = "0".repeat(64);
        for bad in [
            "alice",
            "alice operate",
            &format!("alice all {digest}"),
            &format!("alice operate {digest} more"),
            &format!("alice operate {digest}0"),
            &format!("al\u{1b}ce operate {digest}"),
            &format!("alice operate {}", "A".repeat(64)),
        ] {
            assert_eq!(Access::new(&format!("#\n{bad}\n"), &[]), Err(AccessError::Line(2)), "{bad}");
        }
        let twice = format!("a read {digest}\nb operate {digest}\n");
        assert_eq!(Access::new(&twice, &[]), Err(AccessError::Twice("b".to_owned())));
        assert!(Access::new("# nobody\n", &[]).unwrap().is_empty());
        assert!(!format!("{:?}", Access::new(&format!("a read {digest}"), &[])).contains("000"));
    }

    #[test]
    fn what_changes_something_needs_operate() {
        for (method, role) in [
            (Method::GET, Role::Read),
            (Method::HEAD, Role::Read),
            (Method::POST, Role::Operate),
            (Method::PUT, Role::Operate),
            (Method::DELETE, Role::Operate),
            (Method::PATCH, Role::Operate),
            (Method::OPTIONS, Role::Operate),
        ] {
            assert_eq!(Role::needed(&method), role);
        }
        assert!(Role::Operate > Role::Read);
    }
}
