//! Sealing: one signature, checked before it is kept, from a key in this process or one that an ssh-agent holds.

use std::path::Path;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::envelope::{HeadError, SignatureLine};
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::trust::signature_holds;

use crate::key::SealKey;
use crate::key::agent::Agent;

/// Who signs.
#[derive(Debug)]
pub enum Signer {
    /// A key of this process.
    Key(SealKey),
    /// A key that an ssh-agent holds.
    Agent {
        /// The agent.
        agent: Agent,
        /// Its key.
        key: PublicKey,
    },
}

impl Signer {
    /// A key that the agent of this session holds; `path` is what messages call it.
    ///
    /// # Errors
    /// `agent`: there is none, or it does not hold the key.
    pub fn of_agent(key: PublicKey, path: &Path) -> Result<Self, Failure> {
        let mut agent = Agent::of_session()?;
        agent.check_holds(&key, path)?;
        Ok(Self::Agent { agent, key })
    }

    /// The key that its signatures are checked with.
    pub fn public_key(&self) -> PublicKey {
        match self {
            Self::Key(key) => key.public_key(),
            Self::Agent { key, .. } => key.clone(),
        }
    }

    /// The signature over these bytes, held to be right.
    ///
    /// # Errors
    /// `refused`: the machine computes wrongly; `agent`: the agent will not, or answers wrongly.
    pub fn sign(&mut self, signed: &[u8]) -> Result<SignatureLine, Failure> {
        match self {
            Self::Key(key) => sign(key, signed),
            Self::Agent { agent, key } => {
                let line = SignatureLine::ed25519(key.key_id(), agent.sign(key, signed)?);
                if signature_holds(key, signed, &line) {
                    return Ok(line);
                }
                let what = "the ssh-agent gave a signature that is not of this key over these bytes";
                Err(Failure::new(Exit::Input, "agent", what, "do not use that agent; nothing was signed"))
            }
        }
    }
}

/// Puts the signature of `key` on a list; `path` is what messages call it.
///
/// # Errors
/// `refused`: the machine computes wrongly, or the list has no room for another signature.
pub fn seal(path: &Path, list: &mut UnverifiedList, key: &SealKey) -> Result<(), Failure> {
    let line = sign(key, list.envelope().signed_bytes())?;
    list.insert(line).map_err(|error| no_room(path, &error))
}

fn sign(key: &SealKey, signed: &[u8]) -> Result<SignatureLine, Failure> {
    let public = key.public_key();
    let line = SignatureLine::ed25519(public.key_id(), key.sign(signed));
    // A fault of this machine must not leave it as a signature: it could give the key away.
    if signature_holds(&public, signed, &line) {
        return Ok(line);
    }
    let what = "the new signature is not right: this machine computes wrongly";
    Err(Failure::new(Exit::Input, "refused", what, "use another machine"))
}

/// There are as many signatures as there may be.
pub fn no_room(path: &Path, error: &HeadError) -> Failure {
    let what = format!("{}: {error} with this one", Printable::path(path));
    Failure::new(Exit::Input, "refused", what, "make it anew, and have it signed by fewer keys")
}
