//! A key that an ssh-agent holds: it signs there, and only the signature comes here (draft-ietf-sshm-ssh-agent).
//!
//! The agent is whoever listens on `$SSH_AUTH_SOCK`, a socket of this machine, and is not trusted: its answers are
//! bounded in length and time, parsed to their last byte, and a signature counts only if it is right for the key that
//! was asked for. Promises no more about the agent than that.

use std::env;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::key::{PublicKey, SIGNATURE_LEN};

use goldseal_cli::public_key::ssh::{KEY_TYPE, Wire, key_blob, put_string};

/// The agent of this session.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    stream: UnixStream,
}

impl Agent {
    /// Connects to the agent that `$SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// `agent`.
    pub fn of_session() -> Result<Self, Failure> {
        match env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) {
            Some(socket) => Self::connect(Path::new(&socket)),
            None => Err(failure(
                "there is no ssh-agent: $SSH_AUTH_SOCK is not set",
                "start one and load the key: eval \"$(ssh-agent)\"; ssh-add KEY",
            )),
        }
    }

    fn connect(socket: &Path) -> Result<Self, Failure> {
        let unreachable = |error: &io::Error| {
            failure(
                format!("the ssh-agent at {} cannot be reached: {}", Printable::path(socket), input::reason(error)),
                "check that it runs: ssh-add -l",
            )
        };
        // A socket whose owner does not accept holds connect(2) up for good, and std knows no limit for it.
        let (sender, receiver) = mpsc::channel();
        let path = socket.to_owned();
        thread::spawn(move || sender.send(UnixStream::connect(path)));
        let connected = receiver.recv_timeout(ANSWER_TIME).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|error| unreachable(&error))?;
        Ok(Self { socket: socket.to_owned(), stream })
    }

    /// Fails unless the agent holds the key; `path` is what messages call it.
    ///
    /// # Errors
    /// `agent`.
    pub fn check_holds(&mut self, key: &PublicKey, path: &Path) -> Result<(), Failure> {
        let answer = self.ask(&[REQUEST_IDENTITIES], ANSWER_TIME)?;
        let keys = parse_identities(&answer).map_err(|error| self.bad_answer(&error))?;
        if keys.contains(&&key_blob(key)[..]) {
            return Ok(());
        }
        let name = Printable::path(path);
        Err(failure(
            format!("the ssh-agent does not hold the key {name} (it holds {})", keys.len()),
            "load it, and see what is loaded: ssh-add KEY; ssh-add -L",
        ))
    }

    /// The signature of `key` over `message`. Whether it is right is for the caller to check.
    ///
    /// # Errors
    /// `agent`.
    pub fn sign(&mut self, key: &PublicKey, message: &[u8]) -> Result<[u8; SIGNATURE_LEN], Failure> {
        let answer = self.ask(&sign_request(key, message), PERSON_TIME)?;
        parse_signature(&answer).map_err(|error| match error {
            AnswerError::Refused => failure(
                "the ssh-agent refused to sign",
                "if it is locked, unlock it (ssh-add -X); if it asks for a confirmation or a touch, give it",
            ),
            error => self.bad_answer(&error),
        })
    }

    /// Sends a request and reads the answer, without their lengths.
    fn ask(&mut self, request: &[u8], time: Duration) -> Result<Vec<u8>, Failure> {
        let deadline = Instant::now() + time;
        let mut framed = Vec::new();
        put_string(&mut framed, request);
        self.exchange(&framed, deadline).map_err(|error| match error {
            ExchangeError::Stream(error) => failure(
                format!(
                    "the ssh-agent at {} does not answer: {}",
                    Printable::path(&self.socket),
                    // What a timeout is called depends on the system call.
                    if error.kind() == io::ErrorKind::WouldBlock {
                        "timed out".to_owned()
                    } else {
                        input::reason(&error)
                    }
                ),
                "check that it runs: ssh-add -l",
            ),
            ExchangeError::Answer(error) => self.bad_answer(&error),
        })
    }

    fn exchange(&mut self, request: &[u8], deadline: Instant) -> Result<Vec<u8>, ExchangeError> {
        self.stream.set_write_timeout(Some(ANSWER_TIME))?;
        self.stream.write_all(request)?;
        let mut length = [0; 4];
        self.read(&mut length, deadline)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            return Err(ExchangeError::Answer(AnswerError::TooLong { found: length }));
        }
        let mut answer = vec![0; length];
        self.read(&mut answer, deadline)?;
        Ok(answer)
    }

    /// Fills `bytes`; an answer that trickles in has the same time as any other.
    fn read(&mut self, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn bad_answer(&self, error: &AnswerError) -> Failure {
        failure(
            format!("the ssh-agent at {} answered wrongly: {error}", Printable::path(&self.socket)),
            "check which program listens there; nothing was signed",
        )
    }
}

/// What an agent is asked to sign with: the raw bytes, under no flags (draft-ietf-sshm-ssh-agent, section 3.6).
fn sign_request(key: &PublicKey, message: &[u8]) -> Vec<u8> {
    let mut request = vec![SIGN_REQUEST];
    put_string(&mut request, &key_blob(key));
    put_string(&mut request, message);
    request.extend_from_slice(&0_u32.to_be_bytes());
    request
}

/// The keys in an answer that lists them, of any kind.
///
/// # Errors
/// [`AnswerError`].
pub fn parse_identities(answer: &[u8]) -> Result<Vec<&[u8]>, AnswerError> {
    let mut wire = body_of(answer, IDENTITIES_ANSWER)?;
    let count = wire.number().ok_or(AnswerError::Malformed)?;
    let mut keys = Vec::new();
    for _ in 0..count {
        // A key and its comment.
        keys.push(wire.string().ok_or(AnswerError::Malformed)?);
        wire.string().ok_or(AnswerError::Malformed)?;
    }
    if wire.is_empty() { Ok(keys) } else { Err(AnswerError::Malformed) }
}

/// The signature in an answer that has one (RFC 8709, section 6).
///
/// # Errors
/// [`AnswerError`].
pub fn parse_signature(answer: &[u8]) -> Result<[u8; SIGNATURE_LEN], AnswerError> {
    let mut wire = body_of(answer, SIGN_RESPONSE)?;
    let mut signature = Wire(wire.string().filter(|_| wire.is_empty()).ok_or(AnswerError::Malformed)?);
    signature.string().filter(|kind| *kind == KEY_TYPE).ok_or(AnswerError::Malformed)?;
    let value = signature.string().filter(|_| signature.is_empty()).ok_or(AnswerError::Malformed)?;
    value.try_into().map_err(|_| AnswerError::Malformed)
}

fn body_of(answer: &[u8], expected: u8) -> Result<Wire<'_>, AnswerError> {
    match answer.split_first() {
        Some((found, body)) if *found == expected => Ok(Wire(body)),
        Some((&FAILURE, [])) => Err(AnswerError::Refused),
        Some((found, _)) => Err(AnswerError::Other { found: *found }),
        None => Err(AnswerError::Malformed),
    }
}

/// Why an answer of an agent is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerError {
    /// It says that it will not.
    Refused,
    /// Longer than any honest answer.
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// An answer to another question.
    Other {
        /// Its number.
        found: u8,
    },
    /// Cut short, too long, or not what was asked for.
    Malformed,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("it refuses"),
            Self::TooLong { found } => write!(f, "{found} bytes are more than the {MAX_ANSWER} of any answer"),
            Self::Other { found } => write!(f, "message {found} answers another question"),
            Self::Malformed => f.write_str("the message is not whole"),
        }
    }
}

impl std::error::Error for AnswerError {}

enum ExchangeError {
    Stream(io::Error),
    Answer(AnswerError),
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

fn failure(what: impl Into<String>, todo: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, "agent", what, todo)
}

// draft-ietf-sshm-ssh-agent, section 5.1.
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// OpenSSH's own limit for messages in both directions (ssh-agent.c, AGENT_MAX_LEN).
const MAX_ANSWER: usize = 256 * 1024;

/// For what a program answers by itself.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// For what may wait for a person: `ssh-add -c` asks for a confirmation, a token for a touch.
const PERSON_TIME: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use tempfile::tempdir;

    use super::*;
    use crate::key::SealKey;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, bytes);
        out
    }

    fn identities(count: u32, keys: &[&[u8]]) -> Vec<u8> {
        let keys = keys.iter().flat_map(|key| [string(key), string(b"comment")].concat());
        [&[IDENTITIES_ANSWER][..], &count.to_be_bytes(), &keys.collect::<Vec<u8>>()].concat()
    }

    fn signature(kind: &[u8], value: &[u8]) -> Vec<u8> {
        [&[SIGN_RESPONSE][..], &string(&[string(kind), string(value)].concat())].concat()
    }

    #[test]
    fn every_deviation_of_an_answer_is_refused() {
        let good = identities(2, &[b"one", b"two"]);
        assert_eq!(parse_identities(&good).unwrap(), [b"one", b"two"]);
        for end in 0..good.len() {
            assert_eq!(parse_identities(&good[..end]), Err(AnswerError::Malformed), "{end}");
        }
        for bad in [identities(1, &[b"one", b"two"]), identities(3, &[b"one", b"two"]), identities(u32::MAX, &[])] {
            assert_eq!(parse_identities(&bad), Err(AnswerError::Malformed));
        }
        assert_eq!(parse_identities(&[FAILURE]), Err(AnswerError::Refused));
        assert_eq!(parse_identities(&[SIGN_RESPONSE]), Err(AnswerError::Other { found: SIGN_RESPONSE }));

        let good = signature(KEY_TYPE, &[7; 64]);
        assert_eq!(parse_signature(&good), Ok([7; 64]));
        for end in 0..good.len() {
            assert_eq!(parse_signature(&good[..end]), Err(AnswerError::Malformed), "{end}");
        }
        for bad in [
            [&good[..], b"x"].concat(),
            signature(b"ssh-rsa", &[7; 64]),
            signature(KEY_TYPE, &[7; 63]),
            signature(KEY_TYPE, &[7; 65]),
        ] {
            assert_eq!(parse_signature(&bad), Err(AnswerError::Malformed));
        }
        assert_eq!(parse_signature(&[FAILURE]), Err(AnswerError::Refused));
    }

    /// An agent that answers each question with the next of `answers`, as they are, and then hangs up.
    fn agent(answers: Vec<Vec<u8>>) -> Agent {
        let folder = tempdir().unwrap();
        let socket = folder.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut question).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        Agent::connect(&socket).unwrap()
    }

    fn key() -> PublicKey {
        SealKey::from_seed(&[7; 32]).public_key()
    }

    fn says(result: Result<impl fmt::Debug, Failure>, words: &str) {
        let failure = result.unwrap_err();
        assert_eq!((failure.exit, failure.reason), (Exit::Input, "agent"));
        assert!(failure.what.contains(words), "expected {words}: {failure}");
    }

    #[test]
    fn it_is_asked_for_the_key_and_for_its_signature() {
        let key = key();
        let keys = identities(2, &[b"another kind of key", &key_blob(&key)]);
        let mut agent = agent(vec![string(&keys), string(&signature(KEY_TYPE, &[9; 64]))]);
        agent.check_holds(&key, Path::new("key.pub")).unwrap();
        assert_eq!(agent.sign(&key, b"message").unwrap(), [9; 64]);
    }

    #[test]
    fn an_agent_without_the_key_or_the_will_is_named() {
        let without = |keys: &[u8]| agent(vec![string(keys)]).check_holds(&key(), Path::new("key.pub"));
        says(without(&identities(0, &[])), "does not hold the key key.pub (it holds 0)");
        says(without(&identities(1, &[b"another"])), "(it holds 1)");
        says(without(&[FAILURE]), "it refuses");
        says(agent(vec![string(&[FAILURE])]).sign(&key(), b"message"), "refused to sign");
    }

    #[test]
    fn hostile_answers_are_refused() {
        let sign = |answer: Vec<u8>| agent(vec![answer]).sign(&key(), b"message");
        says(sign(u32::MAX.to_be_bytes().to_vec()), "4294967295 bytes are more than");
        says(sign((MAX_ANSWER as u32 + 1).to_be_bytes().to_vec()), "262145 bytes are more than");
        says(sign(string(&signature(KEY_TYPE, &[9; 64]))[..40].to_vec()), "does not answer");
        says(sign(Vec::new()), "does not answer");
        says(sign(string(&[])), "not whole");
        says(sign(string(&identities(0, &[]))), "message 12 answers another question");
    }

    /// Byte by byte, for longer than an answer may take.
    #[test]
    fn an_answer_that_trickles_in_has_no_more_time() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut agent = Agent { socket: "agent".into(), stream: ours };
        let trickle = thread::spawn(move || {
            while theirs.write_all(&[0]).is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let started = Instant::now();
        let error = agent.read(&mut [0; 4096], started + Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
        drop(agent);
        trickle.join().unwrap();
    }

    #[test]
    fn no_agent_is_named_as_such() {
        let folder = tempdir().unwrap();
        says(Agent::connect(&folder.path().join("none")), "cannot be reached: no such file or directory");
        let socket = folder.path().join("left behind");
        drop(UnixListener::bind(&socket).unwrap());
        says(Agent::connect(&socket), "cannot be reached: connection refused");
        says(Agent::connect(Path::new(&"x".repeat(200))), "cannot be reached");
    }
}
