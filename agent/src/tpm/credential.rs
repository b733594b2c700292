//! The proof that one TPM holds both keys: it opens what was made for them.

use tss_esapi::Context;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{EncryptedSecret, IdObject};

use crate::tpm::TpmError;
use crate::tpm::ek::with_ek;
use crate::tpm::error::{Fault, refused_parameter};
use crate::tpm::link::{Link, Secret, with_ek_policy};

impl Link {
    pub(super) fn activate(&mut self, id_object: &[u8], encrypted_secret: &[u8]) -> Result<Secret, Fault> {
        let ak = self.ak()?;
        // No key of a TPM makes or takes longer ones.
        let too_long = |_| TpmError::CredentialRefused { code: 0 };
        let id_object = IdObject::try_from(id_object).map_err(too_long)?;
        let secret = EncryptedSecret::try_from(encrypted_secret).map_err(too_long)?;
        with_ek(self.context()?, ak.parent, |context, ek| {
            with_ek_policy(context, |context, policy| {
                // The attestation key by its empty password, the endorsement key by its policy.
                let sessions = (Some(AuthSession::Password), Some(policy), None);
                let activate = |context: &mut Context| context.activate_credential(ak.handle, ek, id_object, secret);
                let opened = context.execute_with_sessions(sessions, activate);
                let opened = opened.map_err(|error| match refused_parameter(&error) {
                    Some(code) => TpmError::CredentialRefused { code }.into(),
                    None => Fault::from(error),
                })?;
                Ok(Secret::new(opened.value().to_vec()))
            })
        })
    }
}
