//! Who a machine is: what says that an EK is its own.

use goldseal_verifier_core::hex;

use crate::refusal::Refusal;
use crate::store::{Agent, EkIdentity, Enrolment, Pending, Provision};

/// What the tenant said of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// Nothing yet.
    NotProvisioned,
    /// It has the EK of this digest, whatever its certificate says.
    Named(&'a [u8; 32]),
    /// A trusted authority certifies its EK.
    Certified,
    /// The first EK that comes is believed.
    First,
}

impl<'a> Expected<'a> {
    /// As the tenant said it.
    pub fn of(named: Option<&'a [u8; 32]>, trust_first: bool) -> Self {
        match named {
            Some(digest) => Self::Named(digest),
            None if trust_first => Self::First,
            None => Self::Certified,
        }
    }
}

/// Whether a machine with this EK is the expected one. A certificate says more than that it came first, and less than the
/// tenant.
///
/// # Errors
/// `other-ek`: the tenant named another. `no-identity`: nothing says that it is the machine.
pub fn identify(expected: Expected<'_>, ek_sha256: &[u8; 32], certified: bool) -> Result<EkIdentity, Refusal> {
    match expected {
        Expected::Named(named) if named == ek_sha256 => Ok(EkIdentity::Named),
        Expected::Named(named) => Err(Refusal::new(
            "other-ek",
            format!("its EK has the digest {}, and {} is named", hex::encode(ek_sha256), hex::encode(named)),
            "if this is the right machine, name its EK: --ek-sha256 HEX; else find out who uses its name",
        )),
        Expected::Certified | Expected::First | Expected::NotProvisioned if certified => Ok(EkIdentity::Certificate),
        Expected::First => Ok(EkIdentity::FirstSeen),
        Expected::NotProvisioned => Ok(EkIdentity::Unconfirmed),
        Expected::Certified => Err(Refusal::new(
            "no-identity",
            format!("nothing says that the EK of digest {} is this machine's", hex::encode(ek_sha256)),
            "name it: --ek-sha256 HEX; or give the service its maker's CA certificate; or --trust-first-registration",
        )),
    }
}

/// Whether a machine may register so. Asked before a challenge is made, and again when its tag is right.
///
/// # Errors
/// `known-uuid`, `other-ek`, `no-identity`.
pub fn admit(known: Option<&Agent>, pending: &Pending) -> Result<EkIdentity, Refusal> {
    if let Some(Enrolment { ak, ek, .. }) = known.and_then(|agent| agent.enrolment.as_ref())
        && (*ak != pending.ak || *ek != pending.ek)
    {
        return Err(Refusal::new(
            "known-uuid",
            format!("{} is registered with another AK or EK", pending.uuid),
            "if its TPM was cleared or changed, delete the machine and add it again; else find out who uses its name",
        ));
    }
    let expected = match known.and_then(|agent| agent.provision.as_ref()) {
        Some(Provision { named_ek_sha256, trust_first, .. }) => Expected::of(named_ek_sha256.as_ref(), *trust_first),
        None => Expected::NotProvisioned,
    };
    let identity = identify(expected, &pending.ek_sha256, pending.certified)?;
    // What was only seen first stays so, whatever it shows later.
    let was = known.and_then(|agent| agent.enrolment.as_ref()).map(|enrolment| enrolment.identity);
    Ok(if was == Some(EkIdentity::FirstSeen) { EkIdentity::FirstSeen } else { identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_it_is_must_be_said_by_somebody() {
        let (right, other) = (&[1; 32], &[2; 32]);
        let word = |expected, certified| identify(expected, right, certified).map_err(|refusal| refusal.reason);
        for certified in [false, true] {
            assert_eq!(word(Expected::Named(right), certified), Ok(EkIdentity::Named));
            // The tenant's word counts for more than a certificate of another TPM.
            assert_eq!(word(Expected::Named(other), certified), Err("other-ek"));
        }
        assert_eq!(word(Expected::Certified, true), Ok(EkIdentity::Certificate));
        assert_eq!(word(Expected::Certified, false), Err("no-identity"));
        assert_eq!(word(Expected::First, true), Ok(EkIdentity::Certificate));
        assert_eq!(word(Expected::First, false), Ok(EkIdentity::FirstSeen));
        assert_eq!(word(Expected::NotProvisioned, true), Ok(EkIdentity::Certificate));
        assert_eq!(word(Expected::NotProvisioned, false), Ok(EkIdentity::Unconfirmed));
        assert_eq!(Expected::of(Some(right), true), Expected::Named(right));
        assert_eq!((Expected::of(None, true), Expected::of(None, false)), (Expected::First, Expected::Certified));
    }
}
