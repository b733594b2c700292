//! Sealing: one signature, checked before it is kept.

use std::path::Path;

use goldseal_verifier_core::envelope::SignatureLine;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::trust::signature_holds;

use crate::failure::{Exit, Failure};
use crate::key::SealKey;
use crate::printable::Printable;

/// Puts the signature of `key` on a list; `path` is what messages call it.
///
/// # Errors
/// `refused`: the machine computes wrongly, or the list has no room for another signature.
pub fn seal(path: &Path, list: &mut UnverifiedList, key: &SealKey) -> Result<(), Failure> {
    let public = key.public_key();
    let line = SignatureLine::ed25519(public.key_id(), key.sign(list.envelope().signed_bytes()));
    // A fault of this machine must not leave it as a signature: it could give the key away.
    if !signature_holds(&public, list.envelope().signed_bytes(), &line) {
        let what = "the new signature is not right: this machine computes wrongly";
        return Err(Failure::new(Exit::Input, "refused", what, "use another machine"));
    }
    list.insert(line).map_err(|error| {
        let what = format!("{}: {error} with this one", Printable::path(path));
        Failure::new(Exit::Input, "refused", what, "build the list anew, and have it signed by fewer keys")
    })
}
