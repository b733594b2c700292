//! The attestation key: created once under an endorsement key, and kept in the TPM.

use std::fmt;

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::tpm::{AttestationKey, AttestationKeyError, SignatureAlgorithm, SignatureScheme};
use tss_esapi::Context;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::structures::{
    EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Public, PublicBuilder, PublicEccParametersBuilder,
    PublicKeyRsa, PublicRsaParametersBuilder, RsaExponent, RsaScheme,
};
use tss_esapi::traits::Marshall;

use crate::tpm::TpmError;
use crate::tpm::ek::{EkKind, with_ek};
use crate::tpm::error::Fault;
use crate::tpm::link::{Link, exists, sized, with_ek_policy, with_flushed, with_password};
use crate::tpm::pcrs;

/// A kind of attestation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AkKind {
    /// ECDSA on curve P-256: quick.
    EccP256,
    /// RSASSA with 2,048 bits: what Keylime's tenant accepts by default.
    Rsa2048,
}

impl fmt::Display for AkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EccP256 => "P-256",
            Self::Rsa2048 => "RSA-2048",
        })
    }
}

/// What is where the attestation key is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// It is no attestation key.
    NotAnAk(AttestationKeyError),
    /// It is an attestation key, and not of the configured kind.
    OtherKind {
        /// How it signs.
        found: SignatureScheme,
        /// The configured kind.
        configured: AkKind,
    },
    /// It is an attestation key under a key that is not the configured endorsement key.
    OtherParent,
    /// It is another attestation key than it was before.
    OtherName,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAk(error) => write!(f, "something else than an attestation key: {error}"),
            Self::OtherKind { found, configured } => {
                write!(f, "an attestation key that signs by {found}, and a {configured} key is configured")
            }
            Self::OtherParent => {
                f.write_str("an attestation key under another endorsement key than the configured one")
            }
            Self::OtherName => f.write_str("another attestation key than before"),
        }
    }
}

/// The attestation key as it is in this TPM.
#[derive(Clone, Debug)]
pub(super) struct Ak {
    pub(super) handle: KeyHandle,
    /// TPM2B_PUBLIC.
    pub(super) public: Vec<u8>,
    pub(super) key: AttestationKey,
    /// What it is under.
    pub(super) parent: EkKind,
}

/// Persistent handles that go with the owner's password (TPM Part 3, TPM2_EvictControl).
pub(super) fn check_handle(handle: u32) -> Result<(), TpmError> {
    if (0x8100_0000..=0x817f_ffff).contains(&handle) { Ok(()) } else { Err(TpmError::AkHandle { handle }) }
}

impl Link {
    /// The attestation key: the one that is there, or a new one.
    pub(super) fn ak(&mut self) -> Result<Ak, Fault> {
        if let Some(known) = &self.ak {
            return Ok(known.clone());
        }
        let handle = self.config.ak_handle;
        if !exists(self.context()?, handle)? {
            // A verifier that knew the old key would refuse the new one: this is not done behind anybody's back.
            if let Some(name) = self.known_ak {
                return Err(TpmError::AkGone { handle, name }.into());
            }
            self.create_ak()?;
        }
        let tpm_handle = TpmHandle::Persistent(PersistentTpmHandle::new(handle)?);
        let mut object = self.context()?.tr_from_tpm_public(tpm_handle)?;
        match self.judge_ak(object.into()) {
            Ok(ak) => {
                self.known_ak = Some(ak.key.name());
                self.ak = Some(ak.clone());
                Ok(ak)
            }
            Err(fault) => {
                self.context()?.tr_close(&mut object)?;
                Err(fault)
            }
        }
    }

    /// Takes what is there only if it is what would be created now.
    fn judge_ak(&mut self, handle: KeyHandle) -> Result<Ak, Fault> {
        let at = self.config.ak_handle;
        let foreign = |reason| TpmError::ForeignObject { handle: at, reason };
        let (public, _, qualified_name) = self.context()?.read_public(handle)?;
        let public = sized(&public.marshall()?)?;
        let key = AttestationKey::from_public_area(&public).map_err(|error| foreign(Foreign::NotAnAk(error)))?;
        if !self.is_configured(&key) {
            let (found, configured) = (key.scheme(), self.config.ak);
            return Err(foreign(Foreign::OtherKind { found, configured }).into());
        }
        if self.known_ak.is_some_and(|known| known != key.name()) {
            return Err(foreign(Foreign::OtherName).into());
        }
        for parent in self.possible_eks() {
            let expected = qualified(&self.ek(parent)?.qualified_name, &key);
            if expected == qualified_name.value() {
                return Ok(Ak { handle, public, key, parent });
            }
        }
        Err(foreign(Foreign::OtherParent).into())
    }

    fn is_configured(&self, key: &AttestationKey) -> bool {
        let algorithm = match self.config.ak {
            AkKind::EccP256 => SignatureAlgorithm::Ecdsa,
            AkKind::Rsa2048 => SignatureAlgorithm::RsaSsa,
        };
        let scheme = key.scheme();
        scheme.algorithm == algorithm && self.config.ak_hash.is_none_or(|hash| hash == scheme.hash)
    }

    fn create_ak(&mut self) -> Result<(), Fault> {
        let parent = self.preferred_ek()?;
        let template = template(self.config.ak, self.ak_hash()?)?;
        let persistent = Persistent::Persistent(PersistentTpmHandle::new(self.config.ak_handle)?);
        with_ek(self.context()?, parent, |context, ek| {
            let created = with_ek_policy(context, |context, policy| {
                let create = |context: &mut Context| context.create(ek, template, None, None, None, None);
                Ok(context.execute_with_session(Some(policy), create)?)
            })?;
            let loaded = with_ek_policy(context, |context, policy| {
                let load = |context: &mut Context| context.load(ek, created.out_private, created.out_public);
                Ok(context.execute_with_session(Some(policy), load)?)
            })?;
            with_flushed(context, loaded.into(), |context| {
                let persist =
                    |context: &mut Context| context.evict_control(Provision::Owner, loaded.into(), persistent);
                let mut object = with_password(context, persist)?;
                Ok(context.tr_close(&mut object)?)
            })
        })
    }

    /// The hash that a new key signs with.
    fn ak_hash(&mut self) -> Result<HashAlgorithm, Fault> {
        if let Some(hash) = self.config.ak_hash {
            return Ok(hash);
        }
        let bank = self.properties()?.default_bank().ok_or(TpmError::NoBank)?;
        Ok(bank.max(HashAlgorithm::Sha256))
    }
}

/// The qualified Name of a key under another (TPM Part 1, Qualified Name): the parent's, then its own, hashed.
fn qualified(parent: &[u8], key: &AttestationKey) -> Vec<u8> {
    let name = key.name().to_bytes();
    let hash = key.public_area().name_algorithm();
    let digest = Digest::of(hash, [parent, &name]);
    // A Name begins with the number of its hash.
    [name.get(..2).unwrap_or_default(), digest.as_bytes()].concat()
}

/// Attributes as verifiers demand them; no dictionary-attack protection, since its password is empty.
fn template(kind: AkKind, hash: HashAlgorithm) -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_sign_encrypt(true)
        .build()?;
    let scheme = HashScheme::new(pcrs::theirs(hash));
    let public =
        PublicBuilder::new().with_name_hashing_algorithm(HashingAlgorithm::Sha256).with_object_attributes(attributes);
    match kind {
        AkKind::EccP256 => {
            let parameters = PublicEccParametersBuilder::new()
                .with_ecc_scheme(EccScheme::EcDsa(scheme))
                .with_curve(EccCurve::NistP256)
                .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
                .with_is_signing_key(true)
                .with_restricted(true)
                .build()?;
            public
                .with_public_algorithm(PublicAlgorithm::Ecc)
                .with_ecc_parameters(parameters)
                .with_ecc_unique_identifier(EccPoint::default())
                .build()
        }
        AkKind::Rsa2048 => {
            let parameters = PublicRsaParametersBuilder::new()
                .with_scheme(RsaScheme::RsaSsa(scheme))
                .with_key_bits(RsaKeyBits::Rsa2048)
                .with_exponent(RsaExponent::default())
                .with_is_signing_key(true)
                .with_restricted(true)
                .build()?;
            public
                .with_public_algorithm(PublicAlgorithm::Rsa)
                .with_rsa_parameters(parameters)
                .with_rsa_unique_identifier(PublicKeyRsa::default())
                .build()
        }
    }
}
