//! How many may connect, and for how long.
//!
//! Whoever can reach the port can begin a handshake, so there are [`MAX_HANDSHAKES`] at a time, each for so long at
//! most, and one more ends the oldest: a flood then costs a verifier a retry only if thousands come in the milliseconds
//! that its own handshake takes. Who has shown a certificate counts among [`MAX_CONNECTIONS`]; one more is told to come
//! again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::Service;
use super::paced::Paced;
use super::refusal::Refusal;
use super::routes::{self, Dialect};

/// Handshakes under way at most: each takes some 30 KB and, if its client means it, some milliseconds.
const MAX_HANDSHAKES: usize = 64;

/// Connections of clients with a certificate. An agent has a verifier or two, each with one connection at a time.
const MAX_CONNECTIONS: usize = 64;

/// Connections beyond, of clients that are told so.
const MAX_REFUSED: usize = 64;

/// The longest head of a request, request line included. Those of the protocol are below 400 bytes.
const MAX_REQUEST_HEAD: usize = 8 << 10;

/// The most header fields. Clients send about six.
const MAX_HEADERS: usize = 32;

/// Bytes of an answer that wait to be sent: what a slow client makes the agent hold.
const MAX_BUFFERED: usize = 64 << 10;

/// What is under way has so long to end when the agent stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Between attempts when the system gives no socket, as it does when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// How long clients are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// The longest handshake. By default 10 s: two round trips over the slowest line, and a client that is under load.
    pub handshake: Duration,
    /// From the end of the handshake or of an answer to the end of the next request's head. By default 30 s.
    pub request: Duration,
    /// How long a client may take nothing of what it is sent. By default 20 s: the kernel's buffers are full by then,
    /// so it stands still, and its line is not just slow.
    pub stalled: Duration,
    /// The longest that one connection may last. By default 15 minutes: a long list over a slow line.
    pub connection: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            request: Duration::from_secs(30),
            stalled: Duration::from_secs(20),
            connection: Duration::from_secs(15 * 60),
        }
    }
}

pub(super) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: Arc<Service>,
    patience: Patience,
    stop: impl Future<Output = ()>,
) {
    let (stopping, stopped) = watch::channel(false);
    let shared = Arc::new(Shared {
        tls: TlsAcceptor::from(tls),
        service,
        patience,
        handshakes: Handshakes::default(),
        connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        refused: Arc::new(Semaphore::new(MAX_REFUSED)),
    });
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                    let number = shared.handshakes.begin();
                    let task = tasks.spawn(connection(Arc::clone(&shared), number, stream, peer, stopped));
                    shared.handshakes.began(number, task);
                }
                Err(error) => {
                    warn!("no connection can be taken: {error}; see the limit on open files");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    shared.handshakes.end_all();
    // Whoever listens is there until the last connection has ended.
    let _ = stopping.send(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(LAST_ANSWERS, all).await.is_err() {
        warn!("answers that were under way are cut off");
    }
}

struct Shared {
    tls: TlsAcceptor,
    service: Arc<Service>,
    patience: Patience,
    handshakes: Handshakes,
    connections: Arc<Semaphore>,
    refused: Arc<Semaphore>,
}

async fn connection(
    shared: Arc<Shared>,
    number: u64,
    stream: TcpStream,
    peer: SocketAddr,
    stopped: watch::Receiver<bool>,
) {
    let patience = shared.patience;
    // Answers are written as a whole; nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let handshake = timeout(patience.handshake, shared.tls.accept(Paced::new(stream, patience.stalled))).await;
    shared.handshakes.ended(number);
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return warn!(%peer, "no TLS connection: {error}"),
        Err(_) => return warn!(%peer, "no TLS connection: the handshake took too long"),
    };
    let Some(admission) = shared.admit() else { return warn!(%peer, "too many connections") };
    let is_refused = matches!(admission, Admission::Refused(_));
    let service = service_fn(|request| {
        let service = Arc::clone(&shared.service);
        async move {
            let mut answer = if is_refused {
                let own = request.uri().path().starts_with("/v1/");
                Refusal::crowded().answer(if own { Dialect::Own } else { Dialect::Keylime })
            } else {
                routes::answer(&service, request).await
            };
            debug!(%peer, status = answer.status().as_u16(), "answered");
            if is_refused || answer.status().is_client_error() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.request)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_REQUEST_HEAD)
        .max_buf_size(MAX_BUFFERED)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(patience.connection, until_stopped(connection, stopped)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, "the connection ended: {error}"),
        Err(_) => warn!(%peer, "the connection lasted too long"),
    }
}

/// Serves a connection; when the agent stops, no further request of it.
async fn until_stopped<S, B>(
    connection: http1::Connection<TokioIo<tokio_rustls::server::TlsStream<Paced>>, S>,
    mut stopped: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// A place among those who are answered, or among those who are told that there is none.
enum Admission {
    Served(#[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit),
    Refused(#[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit),
}

impl Shared {
    fn admit(&self) -> Option<Admission> {
        let place = |among: &Arc<Semaphore>| Arc::clone(among).try_acquire_owned().ok();
        place(&self.connections).map(Admission::Served).or_else(|| place(&self.refused).map(Admission::Refused))
    }
}

/// Handshakes under way, oldest first.
#[derive(Debug, Default)]
struct Handshakes(Mutex<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    last: u64,
    /// The task is not known for the moment in which it is started.
    tasks: VecDeque<(u64, Option<AbortHandle>)>,
}

impl Handshakes {
    fn lock(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a new one; the oldest ends if there are too many.
    fn begin(&self) -> u64 {
        let mut under_way = self.lock();
        if under_way.tasks.len() >= MAX_HANDSHAKES
            && let Some((_, Some(oldest))) = under_way.tasks.pop_front()
        {
            oldest.abort();
        }
        under_way.last += 1;
        let number = under_way.last;
        under_way.tasks.push_back((number, None));
        number
    }

    /// By this task, unless it is over already.
    fn began(&self, number: u64, started: AbortHandle) {
        if let Some((_, task)) = self.lock().tasks.iter_mut().find(|(known, _)| *known == number) {
            *task = Some(started);
        }
    }

    /// It is over, and the task may go on as long as it will.
    fn ended(&self, number: u64) {
        self.lock().tasks.retain(|(known, _)| *known != number);
    }

    fn end_all(&self) {
        self.lock().tasks.drain(..).filter_map(|(_, task)| task).for_each(|task| task.abort());
    }
}
