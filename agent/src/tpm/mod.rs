//! The machine's TPM: who it is, what it quotes, and that it holds both keys.
//!
//! One thread owns the connection and serves requests one after another, so that what belongs together (PCR 16 is reset,
//! extended and quoted) is not disturbed from within. [`Tpm`] is a handle to it: cloned freely, asked from a runtime or
//! from a plain thread. Every answer comes before a deadline. A TPM that is busy, resetting, lost or absent is asked
//! again until then, at growing intervals, and its state is the answer if it does not come back: [`TpmError`] says what
//! to do. The connection is opened when the first request needs it, and opened again after it was lost.
//!
//! Nothing stays in the TPM but the attestation key, which is persistent: sessions and transient keys live for one
//! request. This is why a reset of the TPM costs nothing but a retry.
//!
//! The library's sockets and devices pass on to whatever program this process starts (seen with tpm2-tss 3.2: no
//! O_CLOEXEC), and keep the TPM busy there: do not start any while this is in use.
//!
//! What is not done here: TPM2_Startup, which is the firmware's and the kernel's; and answering for the bus between
//! processor and TPM, whose commands are neither encrypted nor authenticated.

mod ak;
mod certificate;
mod credential;
mod ek;
mod error;
mod link;
mod pcrs;
mod properties;
mod quote;
mod tcti;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use goldseal_verifier_core::digest::HashAlgorithm;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

pub use ak::{AkKind, Foreign};
pub use ek::{EkCertificate, EkKind};
pub use error::TpmError;
pub use properties::Properties;
pub use quote::{Quote, QuoteRequest};

use error::Fault;
use link::Link;

/// What is to be known of a TPM before it can be asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TpmConfig {
    /// How it is reached: `device:/dev/tpmrm0` or `swtpm:host=127.0.0.1,port=2321`.
    pub tcti: String,
    /// The endorsement key to show and to create the attestation key under. By default the one whose certificate is of
    /// its own public key, and RSA if that is so of both or of neither.
    pub ek: Option<EkKind>,
    /// The attestation key to create.
    pub ak: AkKind,
    /// The hash of its signatures; by default SHA-256, or the TPM's strongest bank where it has no SHA-256 bank. Never
    /// SHA-1 unless it stands here: a signature over a SHA-1 digest is worth little.
    pub ak_hash: Option<HashAlgorithm>,
    /// Where it is kept.
    pub ak_handle: u32,
    /// Password of the owner hierarchy, which a new attestation key is persisted by. Mostly empty.
    pub owner_auth: Zeroizing<Vec<u8>>,
    /// Password of the endorsement hierarchy, which endorsement keys are used by. Mostly empty.
    pub endorsement_auth: Zeroizing<Vec<u8>>,
    /// Longest time from a request to its answer.
    pub deadline: Duration,
}

impl TpmConfig {
    /// A TPM that is reached so, and defaults.
    pub fn new(tcti: impl Into<String>) -> Self {
        Self {
            tcti: tcti.into(),
            ek: None,
            ak: AkKind::EccP256,
            ak_hash: None,
            ak_handle: DEFAULT_AK_HANDLE,
            owner_auth: Zeroizing::default(),
            endorsement_auth: Zeroizing::default(),
            deadline: DEFAULT_DEADLINE,
        }
    }
}

/// Who a TPM is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// TPM2B_PUBLIC of the endorsement key.
    pub ek_public: Vec<u8>,
    /// Its maker's certificate of that key.
    pub ek_certificate: EkCertificate,
    /// TPM2B_PUBLIC of the attestation key.
    pub ak_public: Vec<u8>,
}

/// A handle to the thread that owns the TPM. The thread ends with the last handle, which waits for it.
#[derive(Clone, Debug)]
pub struct Tpm {
    owner: Arc<Owner>,
    deadline: Duration,
}

/// The thread that owns the TPM.
#[derive(Debug)]
struct Owner {
    /// `None` while it ends.
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Tpm {
    /// Starts the thread. The TPM itself is not touched before it is asked for something.
    ///
    /// The thread has the user and the capabilities that this one has now.
    ///
    /// # Errors
    /// [`TpmError::Tcti`] or [`TpmError::AkHandle`], if the configuration makes no sense.
    pub fn start(config: TpmConfig) -> Result<Self, TpmError> {
        Self::of(Arc::new(config))
    }

    fn of(config: Arc<TpmConfig>) -> Result<Self, TpmError> {
        let deadline = config.deadline;
        let link = Link::new(config)?;
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("tpm".to_owned());
        let thread = thread.spawn(move || serve(link, &jobs)).map_err(|error| TpmError::NoThread(error.kind()))?;
        Ok(Self { owner: Arc::new(Owner { queue: Some(queue), thread: Some(thread) }), deadline })
    }

    /// The keys. The first time an attestation key is created, unless it is there; that takes a TPM some seconds.
    ///
    /// # Errors
    /// [`TpmError`].
    pub async fn identity(&self) -> Result<Identity, TpmError> {
        self.ask(Link::identity).await
    }

    /// [`Tpm::identity`] on a plain thread.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn identity_blocking(&self) -> Result<Identity, TpmError> {
        self.ask_blocking(Link::identity)
    }

    /// A quote, with the PCR values that belong to it.
    ///
    /// # Errors
    /// [`TpmError`].
    pub async fn quote(&self, request: QuoteRequest) -> Result<Quote, TpmError> {
        self.ask(move |link| link.quote(&request)).await
    }

    /// [`Tpm::quote`] on a plain thread.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn quote_blocking(&self, request: QuoteRequest) -> Result<Quote, TpmError> {
        self.ask_blocking(move |link| link.quote(&request))
    }

    /// Recovers the secret of a credential that was made for this endorsement key and this attestation key: the bodies
    /// of a TPM2B_ID_OBJECT and of a TPM2B_ENCRYPTED_SECRET (TPM Part 1, Credential Protection).
    ///
    /// # Errors
    /// [`TpmError`]; [`TpmError::CredentialRefused`] if it was made for other keys.
    pub async fn activate(
        &self,
        id_object: Vec<u8>,
        encrypted_secret: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.ask(move |link| link.activate(&id_object, &encrypted_secret)).await
    }

    /// [`Tpm::activate`] on a plain thread.
    ///
    /// # Errors
    /// As there.
    pub fn activate_blocking(
        &self,
        id_object: Vec<u8>,
        encrypted_secret: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.ask_blocking(move |link| link.activate(&id_object, &encrypted_secret))
    }

    /// Whose TPM it is and which banks it has.
    ///
    /// # Errors
    /// [`TpmError`].
    pub async fn properties(&self) -> Result<Properties, TpmError> {
        self.ask(Link::properties).await
    }

    /// [`Tpm::properties`] on a plain thread.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn properties_blocking(&self) -> Result<Properties, TpmError> {
        self.ask_blocking(Link::properties)
    }

    async fn ask<T: Send + 'static>(&self, step: impl Step<T>) -> Result<T, TpmError> {
        let (answer, answered) = oneshot::channel();
        self.submit(step, move |result| drop(answer.send(result)))?;
        match tokio::time::timeout(self.deadline.saturating_add(GRACE), answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(TpmError::Stopped),
            Err(_) => Err(TpmError::TimedOut),
        }
    }

    fn ask_blocking<T: Send + 'static>(&self, step: impl Step<T>) -> Result<T, TpmError> {
        let (answer, answered) = sync_channel(1);
        self.submit(step, move |result| drop(answer.send(result)))?;
        match answered.recv_timeout(self.deadline.saturating_add(GRACE)) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(TpmError::Stopped),
            Err(RecvTimeoutError::Timeout) => Err(TpmError::TimedOut),
        }
    }

    fn submit<T>(
        &self,
        mut step: impl Step<T>,
        answer: impl FnOnce(Result<T, TpmError>) + Send + 'static,
    ) -> Result<(), TpmError> {
        let deadline = Instant::now() + self.deadline;
        let job: Job = Box::new(move |link| answer(retried(link, deadline, &mut step)));
        let queue = self.owner.queue.as_ref().ok_or(TpmError::Stopped)?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => TpmError::QueueFull,
            TrySendError::Disconnected(_) => TpmError::Stopped,
        })
    }
}

/// At its end the thread closes the connection, which uses OpenSSL. A process that ends meanwhile frees OpenSSL's tables
/// under it (exit(3), OPENSSL_cleanup(3)) and now and then dies of that, after all was done and said.
impl Drop for Owner {
    fn drop(&mut self) {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return };
        // A TPM that does not end its command is not waited for any longer.
        let deadline = Instant::now() + GRACE;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// What a request does at the TPM. It may be done again, from its start.
trait Step<T>: FnMut(&mut Link) -> Result<T, Fault> + Send + 'static {}

impl<T, F: FnMut(&mut Link) -> Result<T, Fault> + Send + 'static> Step<T> for F {}

/// A request with the way back of its answer.
type Job = Box<dyn FnOnce(&mut Link) + Send>;

fn serve(mut link: Link, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job(&mut link);
    }
}

/// Does a step until it succeeds, or fails for good, or the time is over.
fn retried<T>(link: &mut Link, deadline: Instant, step: &mut impl Step<T>) -> Result<T, TpmError> {
    let mut pause = FIRST_PAUSE;
    let mut last = TpmError::TimedOut;
    while Instant::now() < deadline {
        match step(link) {
            Ok(value) => return Ok(value),
            Err(fault) => {
                if fault.reconnect {
                    link.disconnect(&fault.error);
                }
                if !fault.again {
                    return Err(fault.error);
                }
                last = fault.error;
            }
        }
        thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(last)
}

/// Where the attestation key is kept. Handles from 0x81010000 on are for keys of the endorsement hierarchy (TCG, Registry
/// of Reserved TPM 2.0 Handles and Localities), and the EK Credential Profile takes those up to 0x81010002 and from
/// 0x81010012 on for endorsement keys.
const DEFAULT_AK_HANDLE: u32 = 0x8101_0010;

/// A TPM on a slow bus takes this long for an RSA key, once.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Requests that wait at most. More come only from somebody who floods.
const QUEUE: usize = 128;

/// The thread gives its own answer at the deadline; only if the TPM does not end a command is nobody there to do so.
const GRACE: Duration = Duration::from_millis(500);

/// Between attempts. TPMs ask for about 20 ms (Linux, TPM2_DELAY_SHORT in drivers/char/tpm/tpm.h).
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Between later attempts: a TPM that is back is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Arc<TpmConfig> {
        Arc::new(TpmConfig::new("device:/dev/null"))
    }

    /// The thread has its configuration as long as it runs.
    #[test]
    fn the_last_handle_waits_for_the_thread() {
        let config = config();
        let tpm = Tpm::of(Arc::clone(&config)).unwrap();
        let slow = |_: &mut Link| {
            thread::sleep(Duration::from_millis(100));
            Ok(())
        };
        tpm.submit(slow, drop).unwrap();
        let other = tpm.clone();
        drop(tpm);
        assert_eq!(Arc::strong_count(&config), 2);
        drop(other);
        assert_eq!(Arc::strong_count(&config), 1);
    }

    /// As a TPM that hangs would have it do for ever.
    #[test]
    fn a_thread_that_hangs_is_not_waited_for() {
        let tpm = Tpm::of(config()).unwrap();
        let (release, released) = sync_channel::<()>(1);
        let hanging = move |_: &mut Link| {
            let _ = released.recv();
            Ok(())
        };
        tpm.submit(hanging, drop).unwrap();
        let before = Instant::now();
        drop(tpm);
        assert!((GRACE..GRACE * 20).contains(&before.elapsed()), "{:?}", before.elapsed());
        release.send(()).unwrap();
    }
}
