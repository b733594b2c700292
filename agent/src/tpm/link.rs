//! The connection, and what is known of the TPM as long as it lasts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use goldseal_verifier_core::tpm::Name;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{CapabilityType, SessionType};
use tss_esapi::handles::{AuthHandle, ObjectHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Auth, CapabilityData, Digest, Nonce, SymmetricDefinition};
use tss_esapi::{Context, WrapperErrorKind};
use zeroize::Zeroizing;

use crate::tpm::ak::{self, Ak};
use crate::tpm::ek::{Ek, EkKind};
use crate::tpm::error::Fault;
use crate::tpm::properties::Properties;
use crate::tpm::tcti::Tcti;
use crate::tpm::{Identity, TpmConfig, TpmError};

/// The connection of the thread that owns the TPM.
pub(super) struct Link {
    pub(super) config: Arc<TpmConfig>,
    tcti: Tcti,
    context: Option<Context>,
    /// Whether there ever was a connection.
    was_open: bool,
    /// Whether the last one may have left something in the TPM.
    is_unclean: bool,
    /// What was in the TPM before: not ours.
    others: Vec<TpmHandle>,
    /// Of this connection.
    pub(super) ak: Option<Ak>,
    pub(super) eks: BTreeMap<EkKind, Ek>,
    pub(super) properties: Option<Properties>,
    /// The Name of the attestation key, from its first use on.
    pub(super) known_ak: Option<Name>,
}

impl Link {
    pub(super) fn new(config: Arc<TpmConfig>) -> Result<Self, TpmError> {
        let tcti = Tcti::parse(&config.tcti)?;
        ak::check_handle(config.ak_handle)?;
        Ok(Self {
            config,
            tcti,
            context: None,
            was_open: false,
            is_unclean: false,
            others: Vec::new(),
            ak: None,
            eks: BTreeMap::new(),
            properties: None,
            known_ak: None,
        })
    }

    pub(super) fn identity(&mut self) -> Result<Identity, Fault> {
        let ak = self.ak()?;
        let ek = self.ek(ak.parent)?;
        Ok(Identity { ek_public: ek.public, ek_certificate: ek.certificate, ak_public: ak.public })
    }

    /// Forgets the connection and what was known by it. The library flushes what it still has a name for.
    pub(super) fn disconnect(&mut self, error: &TpmError) {
        // A connection that broke takes no flush any more, and a command may have been done whose answer was lost. A
        // resource manager cleans up then, and without one it falls to the next connection. A reset leaves nothing.
        self.is_unclean |= !matches!(error, TpmError::Resetting { .. });
        self.context = None;
        self.ak = None;
        self.eks.clear();
        self.properties = None;
    }

    /// The open connection; opens it first if need be.
    pub(super) fn context(&mut self) -> Result<&mut Context, Fault> {
        let context = match self.context.take() {
            Some(context) => context,
            None => self.connect()?,
        };
        Ok(self.context.insert(context))
    }

    fn connect(&mut self) -> Result<Context, Fault> {
        let mut context = Context::new(self.tcti.conf()).map_err(|error| {
            let mut fault = Fault::from(error);
            if fault.reconnect && !self.was_open {
                fault.error = self.tcti.why_closed().unwrap_or(fault.error);
            }
            fault
        })?;
        self.sweep(&mut context)?;
        for (hierarchy, password) in
            [(ObjectHandle::Owner, &self.config.owner_auth), (ObjectHandle::Endorsement, &self.config.endorsement_auth)]
        {
            if !password.is_empty() {
                context.tr_set_auth(hierarchy, Auth::try_from(password.to_vec())?)?;
            }
        }
        self.was_open = true;
        Ok(context)
    }

    /// Flushes what a broken connection has left. Behind a resource manager everybody sees only what is his, and after a
    /// break nothing; a TPM without one has one user, and what came since that user's connection is his.
    fn sweep(&mut self, context: &mut Context) -> Result<(), Fault> {
        let mut found = handles(context, TRANSIENT_FIRST, MANY)?;
        found.extend(handles(context, LOADED_SESSION_FIRST, MANY)?);
        if !self.is_unclean {
            self.others = found;
            return Ok(());
        }
        for handle in found.into_iter().filter(|handle| !self.others.contains(handle)) {
            let object = context.tr_from_tpm_public(handle)?;
            context.flush_context(object).map_err(|error| Fault::reconnect(Fault::from(error).error))?;
        }
        self.is_unclean = false;
        Ok(())
    }
}

/// The context has no form of its own.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("tcti", &self.tcti).finish_non_exhaustive()
    }
}

/// The handles in use from this one on, of its kind. A TPM has room for a few.
fn handles(context: &mut Context, first: u32, most: u32) -> Result<Vec<TpmHandle>, Fault> {
    let (found, _) = context.get_capability(CapabilityType::Handles, first, most)?;
    let CapabilityData::Handles(handles) = found else { return Ok(Vec::new()) };
    Ok(handles.into_inner())
}

/// Whether the TPM has something at this handle. Asking so is quiet, where using the handle makes the library complain.
pub(super) fn exists(context: &mut Context, handle: u32) -> Result<bool, Fault> {
    Ok(handles(context, handle, 1)?.first().is_some_and(|found| u32::from(*found) == handle))
}

/// Uses a persistent object or an NV index by its handle, and lets go of the library's name for it.
pub(super) fn with_handle<T>(
    context: &mut Context,
    handle: TpmHandle,
    step: impl FnOnce(&mut Context, ObjectHandle) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut object = context.tr_from_tpm_public(handle)?;
    let result = step(context, object);
    let closed = context.tr_close(&mut object);
    let value = result?;
    closed?;
    Ok(value)
}

/// Uses a transient object or a session, and flushes it whatever happened.
pub(super) fn with_flushed<T>(
    context: &mut Context,
    object: ObjectHandle,
    step: impl FnOnce(&mut Context) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let result = step(context);
    let Err(error) = context.flush_context(object) else { return result };
    // It is still there. The library flushes it once more when the connection is closed, and so does the kernel's
    // resource manager.
    let mut fault = result.err().unwrap_or_else(|| Fault::again(Fault::from(error).error));
    fault.reconnect = true;
    Err(fault)
}

/// Runs a step with a session that fulfils the policy of endorsement keys, which is to know the password of their
/// hierarchy (EK Credential Profile, B.2: PolicyA).
pub(super) fn with_ek_policy<T>(
    context: &mut Context,
    step: impl FnOnce(&mut Context, AuthSession) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let (kind, cipher) = (SessionType::Policy, SymmetricDefinition::AES_128_CFB);
    let session = context.start_auth_session(None, None, None, kind, cipher, HashingAlgorithm::Sha256)?;
    let session = session.ok_or(TpmError::Library(WrapperErrorKind::WrongValueFromTpm))?;
    with_flushed(context, SessionHandle::from(session).into(), |context| {
        // Otherwise the TPM flushes it after its use, and a second flush fails.
        let (attributes, mask) = SessionAttributesBuilder::new().with_continue_session(true).build();
        context.tr_sess_set_attributes(session, attributes, mask)?;
        let policy = PolicySession::try_from(session)?;
        with_password(context, |context| {
            let (nonce, digest) = (Nonce::default(), Digest::default());
            context.policy_secret(policy, AuthHandle::Endorsement, nonce, digest, Nonce::default(), None)
        })?;
        step(context, session)
    })
}

/// Runs one command with the password of its object, which is mostly empty.
pub(super) fn with_password<T>(
    context: &mut Context,
    command: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
) -> tss_esapi::Result<T> {
    context.execute_with_session(Some(AuthSession::Password), command)
}

/// The TPM2B of a structure: its size, then itself.
pub(super) fn sized(structure: &[u8]) -> Result<Vec<u8>, Fault> {
    let size = u16::try_from(structure.len()).map_err(|_| TpmError::Library(WrapperErrorKind::WrongParamSize))?;
    Ok([&size.to_be_bytes()[..], structure].concat())
}

/// TPM_HT_TRANSIENT and TPM_HT_LOADED_SESSION (TPM Part 2, 7.2).
const TRANSIENT_FIRST: u32 = 0x8000_0000;
const LOADED_SESSION_FIRST: u32 = 0x0200_0000;

/// TPMs for PCs hold three transient objects and three sessions at least; software ones up to 64.
const MANY: u32 = 100;

/// A secret that is wiped.
pub(super) type Secret = Zeroizing<Vec<u8>>;
