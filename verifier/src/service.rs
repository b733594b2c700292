//! The service: everything it consists of, from a configuration to a running whole and back.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goldseal_cli::printable::Printable;
use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::listener::{self, ConnectionLimits};
use crate::api::tls::Tls;
use crate::api::{self, Api};
use crate::config::Config;
use crate::evidence_store::EvidenceStore;
use crate::policies::{Mark, Policies};
use crate::poll::Poller;
use crate::poll::client::Client;
use crate::poll::identity::ClientIdentity;
use crate::refusal::Refusal;
use crate::registrar::{Authorities, Registrar};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::time::Time;

/// Between looks at what has expired.
const TIDY: Duration = Duration::from_secs(60);

/// A running service.
#[derive(Debug)]
pub struct Service {
    config: Config,
    store: Arc<SqliteStore>,
    policies: Arc<Policies>,
    registrar: Arc<Registrar>,
    api: Arc<Api>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    registrar_address: SocketAddr,
    api_address: SocketAddr,
    /// Held to the end: two services on one database would each undo the other's work.
    _lock: File,
}

impl Service {
    /// Opens the database, follows the trust root, and begins to listen and to poll.
    ///
    /// # Errors
    /// [`StoreError`]: what keeps it from starting, and what to do.
    pub async fn start(config: Config) -> Result<Self, StoreError> {
        let lock = prepare(&config.service.state)?;
        let store = Arc::new(SqliteStore::open(&config.database()).await?);
        let shared: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
        let mark = Mark::at(&config.mark());
        let policies = Policies::open(Arc::clone(&shared), config.roots(), mark, Time::now()).await?;
        let policies = Arc::new(policies);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let files = config.poll.certificate.as_deref().zip(config.poll.key.as_deref());
        let identity = ClientIdentity::load(files, &config.service.state, &provider)?;
        let client = Client::new(provider, identity.resolver, config.timeouts(), config.poll.max_body);
        let (folder, limits) = config.evidence();
        let evidence = EvidenceStore::open(&folder, limits).map_err(|error| unusable(&folder, &error))?;
        let (client, evidence) = (Arc::new(client), Arc::new(evidence));
        let settings = config.settings();
        let poller = Poller::new(Arc::clone(&shared), Arc::clone(&policies), client, evidence, settings);
        let poller = Arc::new(poller);
        let authorities = authorities(&config)?;
        let registrar = Registrar::new(Arc::clone(&shared), authorities, config.registrar(), poller.wake());

        let listen = config.registrar.listen;
        let socket = TcpListener::bind(listen).await.map_err(|error| cannot_listen(listen, &error))?;
        let registrar_address = socket.local_addr().map_err(|error| cannot_listen(listen, &error))?;
        let tls = Tls::load(&config.api.tls(&config.service.state)?, config.api.client_ca.as_deref())?;
        let known = config.api.access()?;
        if known.is_empty() {
            tracing::warn!(
                "nobody may ask the API: name a file of tokens, api.tokens, or client certificates, api.clients"
            );
        }
        let api = Api::new(
            Arc::clone(&shared),
            Arc::clone(&policies),
            poller.pulse(),
            poller.wake(),
            known,
            config.api.limits(),
        );
        let listen = config.api.listen;
        let api_socket = TcpListener::bind(listen).await.map_err(|error| cannot_listen(listen, &error))?;
        let api_address = api_socket.local_addr().map_err(|error| cannot_listen(listen, &error))?;
        let (stop, stopped) = watch::channel(false);
        let asking = listener::serve(
            api_socket,
            Some(tls.config),
            api::router(Arc::clone(&api)),
            config.api.connection_limits(),
            until(stopped.clone()),
        );
        let router = Arc::clone(&registrar).router();
        let serving = listener::serve(socket, None, router, ConnectionLimits::default(), until(stopped.clone()));
        let tasks = vec![
            tokio::spawn(serving),
            tokio::spawn(asking),
            tokio::spawn(Arc::clone(&poller).run(stopped.clone())),
            tokio::spawn(tidy(Arc::clone(&shared), Arc::clone(&policies), config.service.events_kept, stopped)),
        ];
        tracing::info!("machines register at http://{registrar_address}");
        tracing::info!(
            "the tenant asks at {api_address}; the certificate is {}, its fingerprint {}",
            Printable::path(&tls.certificate),
            tls.fingerprint
        );
        tracing::info!("agents are shown {}", Printable::path(&identity.certificate));
        Ok(Self { config, store, policies, registrar, api, stop, tasks, registrar_address, api_address, _lock: lock })
    }

    /// What it remembers.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::<SqliteStore>::clone(&self.store)
    }

    /// Its lists.
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }

    /// Where machines register.
    pub fn registrar_address(&self) -> SocketAddr {
        self.registrar_address
    }

    /// Where the tenant asks.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Reads trust roots, tokens and authorities again, as on SIGHUP. What cannot be used changes nothing.
    pub async fn reload(&self) {
        match self.policies.reload(Time::now()).await {
            Ok(changed) => {
                tracing::info!(
                    "the trust root was read again; {}",
                    if changed { "it is another" } else { "it is the same" }
                );
                if changed {
                    match self.store.forget_checkpoints().await {
                        Ok(machines) => tracing::info!("{machines} machines are appraised from their first entry"),
                        Err(error) => tracing::error!("checkpoints stay: {error}"),
                    }
                }
            }
            Err(error) => tracing::error!("the trust root stays as it was: {error}"),
        }
        match self.config.api.access() {
            Ok(access) => self.api.set_access(access),
            Err(error) => tracing::error!("who may ask the API stays as it was: {error}"),
        }
        match authorities(&self.config) {
            Ok(authorities) => self.registrar.set_authorities(authorities),
            Err(error) => tracing::error!("the authorities of EKs stay as they were: {error}"),
        }
    }

    /// Ends: what is under way is finished and stored.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!("a part of the service ended: {error}");
            }
        }
        self.store.close().await;
    }
}

/// Makes the state folder, and takes its lock.
pub fn prepare(folder: &Path) -> Result<File, Refusal> {
    let lock = || {
        fs::create_dir_all(folder)?;
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))
    };
    let lock = lock().map_err(|error| unusable(folder, &error))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Refusal::new(
            "busy",
            format!("another goldseal-verifier uses {}", Printable::path(folder)),
            "stop that one first, or set service.state to another folder",
        )
    })?;
    Ok(lock)
}

fn authorities(config: &Config) -> Result<Authorities, Refusal> {
    config.registrar.ek_authorities.as_deref().map_or_else(|| Ok(Authorities::default()), Authorities::read)
}

async fn tidy(store: Arc<dyn Store>, policies: Arc<Policies>, events_kept: u32, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let now = Time::now();
        policies.tidy(now);
        if let Err(error) = store.tidy(now, events_kept).await {
            tracing::error!("what has expired stays: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(TIDY) => {}
            _ = stop.changed() => {}
        }
    }
}

async fn until(mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if stop.changed().await.is_err() {
            break;
        }
    }
}

fn unusable(folder: &Path, error: &std::io::Error) -> Refusal {
    Refusal::new(
        "unwritable",
        format!("{}: {error}", Printable::path(folder)),
        "let the user of the service own it, or set service.state to another folder",
    )
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> StoreError {
    Refusal::new("no-listen", format!("{address}: {error}"), "set another address, or stop what listens there").into()
}
