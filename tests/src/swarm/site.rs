//! A service with its folder, its lists and its machines.

use std::path::PathBuf;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use goldseal_verifier::config::Config;
use goldseal_verifier::policies::Uploaded;
use goldseal_verifier::poll::identity::ClientIdentity;
use goldseal_verifier::service::Service;
use goldseal_verifier::state::State;
use goldseal_verifier::store::{
    Agent, Assignment, EventRecord, Pending, PendingLimits, Protocol, Provision, Store, StoreError,
};
use goldseal_verifier::time::Time;
use goldseal_verifier::uuid::Uuid;
use goldseal_verifier_core::digest::Digest;

use super::SoftAgent;
use crate::World;
use crate::forge::ek::{EkKind, SoftEk};
use crate::forge::golden::{Golden, public_key};
use crate::forge::machine::Machine;

/// How long a state is waited for. Machines that run other tests at the same time are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Site {
    pub world: World,
    pub config: Config,
    pub service: Option<Service>,
}

impl Site {
    /// A service that polls often, believes the seals of [`Golden`], and has machines registered on a free port.
    pub async fn start() -> Self {
        let mut site = Self::stopped();
        site.restart().await;
        site
    }

    /// The same, not yet running.
    pub fn stopped() -> Self {
        let world = World::new();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            Base64::encode_string(&public_key().spki_der())
        );
        let mut config = Config::default();
        config.service.state = world.path("state");
        config.trust.keys = vec![world.file("golden.pub", pem)];
        config.registrar.listen = "127.0.0.1:0".parse().unwrap();
        config.api.listen = config.registrar.listen;
        config.poll.interval_seconds = 1;
        config.poll.max_backoff_seconds = 1;
        config.poll.unreachable_after = 1;
        (config.poll.first_byte_ms, config.poll.whole_ms) = (1_000, 2_000);
        config.poll.handshake_ms = 2_000;
        Self { world, config, service: None }
    }

    /// Starts it, once more.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.service = Some(self.try_start().await.unwrap_or_else(|error| panic!("{error}")));
    }

    /// # Errors
    /// What keeps it from starting.
    pub async fn try_start(&self) -> Result<Service, StoreError> {
        Service::start(self.config.clone()).await
    }

    pub async fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
    }

    pub fn service(&self) -> &Service {
        self.service.as_ref().unwrap()
    }

    pub fn store(&self) -> std::sync::Arc<dyn Store> {
        self.service().store()
    }

    /// What agents are told to take of the service; made if need be.
    pub fn client_certificate(&self) -> PathBuf {
        let provider = rustls::crypto::ring::default_provider();
        std::fs::create_dir_all(&self.config.service.state).unwrap();
        ClientIdentity::load(None, &self.config.service.state, &provider).unwrap().certificate
    }

    /// An agent of this machine.
    pub async fn agent(&self, machine: Machine) -> SoftAgent {
        SoftAgent::start(machine, &self.client_certificate()).await
    }

    /// Takes a list.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn upload(&self, golden: &Golden) -> Result<Uploaded, StoreError> {
        self.service().policies().upload(golden.sealed(), None, "test", Time::now()).await
    }

    /// Uploads the golden list of an agent's machine, registers the machine, and has it polled.
    pub async fn add(&self, uuid: &str, agent: &SoftAgent, protocol: Protocol) -> Uuid {
        let golden = agent.state().machine.golden.clone();
        let record = self.upload(&golden).await.unwrap().record;
        let policy = Assignment { identity: record.identity, name: record.name };
        let uuid = Uuid::new(uuid).unwrap();
        let provision = Provision {
            address: agent.address().to_string(),
            protocol,
            policy,
            interval: None,
            keep_polling: false,
            named_ek_sha256: None,
            trust_first: true,
            provisioned_at: Time::now(),
        };
        self.store().provision(&uuid, &provision, Time::now(), "test").await.unwrap();
        self.register(&uuid, agent).await;
        uuid
    }

    /// As if the machine had registered.
    pub async fn register(&self, uuid: &Uuid, agent: &SoftAgent) {
        let ek = SoftEk::new(EkKind::P256).public_area();
        let pending = Pending {
            uuid: uuid.clone(),
            source: "127.0.0.1".to_owned(),
            ak: agent.state().machine.tpm.public_area(),
            ek_sha256: Digest::sha256(&ek).as_bytes().try_into().unwrap(),
            ek,
            ek_certificate: None,
            tls_certificate: Some(agent.certificate().to_vec()),
            certified: false,
            tag: b"tag".to_vec(),
            created: Time::now(),
            expires: Time::now().plus(Duration::from_secs(60)),
        };
        let limits = PendingLimits { per_uuid_and_source: 4, per_source: 100_000, total: 100_000 };
        let store = self.store();
        store.add_pending(&pending, &limits).await.unwrap();
        let (id, _) = store.pending(uuid, Time::now()).await.unwrap().remove(0);
        store.register(id, Time::now()).await.unwrap();
    }

    /// The machine as it stands.
    pub async fn look(&self, uuid: &Uuid) -> Agent {
        self.store().agent(uuid).await.unwrap().unwrap()
    }

    /// Waits until a machine stands so.
    pub async fn until(&self, uuid: &Uuid, state: State) -> Agent {
        self.until_so(uuid, state.word(), |agent| agent.standing.state == state).await
    }

    /// Waits until a machine is as asked.
    pub async fn until_so(&self, uuid: &Uuid, what: &str, is_so: impl Fn(&Agent) -> bool) -> Agent {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let agent = self.look(uuid).await;
            if is_so(&agent) {
                return agent;
            }
            assert!(std::time::Instant::now() < deadline, "{uuid} does not come to be {what}: {agent:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the next poll that comes to something.
    pub async fn next_poll(&self, uuid: &Uuid) -> Agent {
        let before = self.look(uuid).await.generation;
        self.until_so(uuid, "polled", |agent| agent.generation > before).await
    }

    /// What became of a machine, oldest first, as state and reason.
    pub async fn history(&self, uuid: &Uuid) -> Vec<EventRecord> {
        let mut events = self.store().events(uuid, None, 1_000).await.unwrap();
        events.reverse();
        events
    }
}

/// Runs a scenario.
pub fn run<T>(scenario: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(scenario)
}
