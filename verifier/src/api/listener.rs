//! Connections of the API and of the registrar: TLS, or none, and HTTP/1.1, with a deadline for every part that the other side decides.
//!
//! Promises: at most so many connections, and of one address at most a quarter of them; no handshake, no header and no
//! connection lasts longer than its limit, whatever the other side sends or does not read.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Whose connection a request came by.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address.
    pub address: SocketAddr,
    /// DER of the client certificate, if it showed one. The CA list vouches for it.
    pub certificate: Option<Vec<u8>>,
}

/// How long and how many.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections: usize,
    /// For the handshake.
    pub handshake: Duration,
    /// For the header of each request.
    pub header: Duration,
    /// For all requests of a connection together.
    pub lifetime: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            lifetime: Duration::from_secs(600),
        }
    }
}

/// Longest header: a token, and what a client adds by itself.
const MAX_HEADER: usize = 16 << 10;

/// How long requests under way may take when the service stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop`, then finishes what is under way. Without `tls` in the clear.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) {
    let places = Places::new(limits.connections);
    let (stopping, stopped) = watch::channel(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often there are no descriptors left; those of others will be closed.
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = places.take(address.ip()) else {
            tracing::warn!(%address, "too many connections");
            continue;
        };
        let (tls, router, stopped) = (tls.clone().map(TlsAcceptor::from), router.clone(), stopped.clone());
        tokio::spawn(async move {
            let lived = timeout(limits.lifetime, connection(stream, address, tls, router, limits, stopped)).await;
            if lived.is_err() {
                tracing::debug!(%address, "the connection was closed at the end of its time");
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = stopping.send(true);
    drop(stopped);
    // Each connection holds a receiver.
    let _ = timeout(GRACE, stopping.closed()).await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: ConnectionLimits,
    stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return requests(stream, Peer { address, certificate: None }, router, limits, stopped).await;
    };
    let stream = match timeout(limits.handshake, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "no TLS"),
        Err(_) => return tracing::debug!(%address, "the handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    requests(stream, Peer { address, certificate }, router, limits, stopped).await;
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    limits: ConnectionLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let address = peer.address;
    let router = router.layer(axum::Extension(peer));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(MAX_HEADER);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "the connection broke off");
    }
}

/// Connections that there are, by address.
#[derive(Clone, Debug)]
struct Places {
    total: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    fn new(total: usize) -> Self {
        Self { total, taken: Arc::default() }
    }

    fn take(&self, source: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = taken.get(&source).copied().unwrap_or(0);
        if taken.values().sum::<usize>() >= self.total || of_source >= self.total.div_ceil(4) {
            return None;
        }
        taken.insert(source, of_source + 1);
        Some(Place { places: self.clone(), source })
    }
}

/// One of them; given back when it is dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_source) = taken.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_places_for_others() {
        let places = Places::new(8);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let mut held: Vec<Place> = (0..2).map(|_| places.take(a).unwrap()).collect();
        assert!(places.take(a).is_none());
        held.push(places.take(b).unwrap());
        held.remove(0);
        assert!(places.take(a).is_some());
        drop(held);
        assert_eq!(places.taken.lock().unwrap().len(), 0);
        let of_others: Vec<Place> = (0..8).map(|n| places.take(IpAddr::from([10, 0, 0, n])).unwrap()).collect();
        assert!(places.take(b).is_none());
        drop(of_others);
    }
}
