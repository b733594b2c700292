//! Many clients at one swtpm, which serves one connection at a time: a simulated kernel and an agent share it as a
//! kernel's resource manager would have them, one command after another. (Handles are not virtual: what one client
//! leaves behind, all see.)
//!
//! Since every command comes by here, this is also where a TPM can be made to stumble: see [`Fate`].

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::swtpm::{Swtpm, free_ports};

/// What becomes of a command on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The TPM does it.
    Pass,
    /// The TPM does it, and then this one, whose answer nobody gets.
    Then(Vec<u8>),
    /// The TPM does not see it; its answer is this response code.
    Code(u32),
    /// The TPM does not see it, and the connection is closed.
    Close,
    /// The TPM does it, and the connection is closed before the answer.
    CloseAfter,
}

/// A multiplexer in front of a swtpm. It ends when it goes.
#[derive(Debug)]
pub struct Mux {
    port: u16,
    folder: TempDir,
    shared: Arc<Shared>,
}

impl Mux {
    /// One more in front of this TPM, which has one already ([`Swtpm::mux`]): with rules of its own.
    pub fn new(tpm: &Swtpm) -> Self {
        Self::before(tpm.mux().port)
    }

    /// In front of the TPM at this port of loopback, which nobody else must use as long as it lives.
    pub(super) fn before(upstream: u16) -> Self {
        let folder = TempDir::new().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            connection: Mutex::new(None),
            rule: Mutex::new(None),
            over: AtomicBool::new(false),
        });
        let (port, data, control) = listeners();
        let local = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let serving = Arc::clone(&shared);
        thread::spawn(move || each(&serving, || data.accept().map(|(client, _)| client), serve_commands));
        let serving = Arc::clone(&shared);
        thread::spawn(move || each(&serving, || control.accept().map(|(client, _)| client), serve_control));
        let serving = Arc::clone(&shared);
        thread::spawn(move || each(&serving, || local.accept().map(|(client, _)| client), serve_commands));
        Self { port, folder, shared }
    }

    /// How a client with libtss2 reaches it.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// A socket that takes plain commands.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    /// Decides over each command from now on.
    pub fn rule(&self, rule: impl FnMut(&[u8]) -> Fate + Send + 'static) {
        *locked(&self.shared.rule) = Some(Box::new(rule));
    }

    /// All commands pass again.
    pub fn no_rule(&self) {
        *locked(&self.shared.rule) = None;
    }

    /// Lets go of the TPM until the next command.
    pub fn let_go(&self) {
        *locked(&self.shared.connection) = None;
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Each accept(2) sees one more client.
        for port in [self.port, self.port + 1] {
            drop(TcpStream::connect(("127.0.0.1", port)));
        }
        drop(UnixStream::connect(self.socket()));
        self.let_go();
    }
}

/// One command at a TPM, by a socket that takes plain ones; its answer.
pub fn transact(socket: &Path, command: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(command).unwrap();
    packet(&mut stream).unwrap()
}

/// The code of a command (TPM Part 2, 6.5.2, TPM_CC).
pub fn command_code(command: &[u8]) -> u32 {
    u32::from_be_bytes(command[6..10].try_into().unwrap())
}

struct Shared {
    upstream: u16,
    /// Held while a command is under way.
    connection: Mutex<Option<TcpStream>>,
    rule: Mutex<Option<Rule>>,
    over: AtomicBool,
}

type Rule = Box<dyn FnMut(&[u8]) -> Fate + Send>;

impl Shared {
    fn fate(&self, command: &[u8]) -> Fate {
        locked(&self.rule).as_mut().map_or(Fate::Pass, |rule| rule(command))
    }

    fn transact(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = locked(&self.connection);
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(("127.0.0.1", self.upstream))?,
        };
        stream.write_all(command)?;
        let answer = packet(&mut stream)?;
        // Not if something failed: a swtpm that is started again has another connection.
        *connection = Some(stream);
        Ok(answer)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// Serves each client on a thread of its own.
fn each<C: Send + 'static>(
    shared: &Arc<Shared>,
    accept: impl Fn() -> io::Result<C>,
    serve: fn(&Shared, C) -> io::Result<()>,
) {
    while let Ok(client) = accept() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        // A client that has gone, or a TPM: the client sees its connection closed.
        thread::spawn(move || drop(serve(&shared, client)));
    }
}

fn serve_commands<C: Read + Write>(shared: &Shared, mut client: C) -> io::Result<()> {
    loop {
        let command = packet(&mut client)?;
        let answer = match shared.fate(&command) {
            Fate::Pass => shared.transact(&command)?,
            Fate::Then(next) => {
                let answer = shared.transact(&command)?;
                let done = shared.transact(&next)?;
                assert_eq!(done[6..10], [0; 4], "the TPM refused a command of the test");
                answer
            }
            Fate::Code(code) => [&[0x80, 0x01, 0, 0, 0, 10], &code.to_be_bytes()[..]].concat(),
            Fate::Close => return Ok(()),
            Fate::CloseAfter => return shared.transact(&command).map(drop),
        };
        client.write_all(&answer)?;
    }
}

/// Control commands of swtpm: CMD_SET_LOCALITY, a number of five bytes, before each command of libtss2. It is the only one
/// that clients have a use for; others find the connection closed.
fn serve_control(_: &Shared, mut client: TcpStream) -> io::Result<()> {
    loop {
        let mut command = [0; 5];
        client.read_exact(&mut command)?;
        if command[..4] != [0, 0, 0, 5] {
            return Ok(());
        }
        client.write_all(&[0; 4])?;
    }
}

/// A command or an answer: tag, size of the whole, and the rest.
fn packet(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 6];
    stream.read_exact(&mut packet)?;
    let size = u32::from_be_bytes(packet[2..6].try_into().unwrap());
    assert!((10..=4096).contains(&size), "no TPM command or answer has {size} bytes");
    packet.resize(usize::try_from(size).unwrap(), 0);
    stream.read_exact(&mut packet[6..])?;
    Ok(packet)
}

fn listeners() -> (u16, TcpListener, TcpListener) {
    for _ in 0..20 {
        let port = free_ports();
        let bound = |port| TcpListener::bind(("127.0.0.1", port));
        if let (Ok(data), Ok(control)) = (bound(port), bound(port + 1)) {
            return (port, data, control);
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no two free ports in a row");
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SOCKET: &str = "tpm";
