//! Endorsement keys: the TPM's own, one for each kind, with its maker's certificate.

use goldseal_verifier_core::tpm::PublicArea;
use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
use tss_esapi::abstraction::{AsymmetricAlgorithmSelection, nv};
use tss_esapi::handles::{KeyHandle, NvIndexHandle, NvIndexTpmHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth};
use tss_esapi::structures::{MaxNvBuffer, Public};
use tss_esapi::traits::Marshall;
use tss_esapi::{Context, WrapperErrorKind};

use crate::tpm::TpmError;
use crate::tpm::certificate;
use crate::tpm::error::Fault;
use crate::tpm::link::{Link, exists, sized, with_flushed, with_handle, with_password};

/// A kind of endorsement key, by the default templates of the TCG (EK Credential Profile, B.3.3 and B.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EkKind {
    /// RSA of 2,048 bits (template L-1).
    Rsa2048,
    /// On curve P-256 (template L-2).
    EccP256,
}

impl EkKind {
    /// Where makers and operating systems keep it, if they do (EK Credential Profile, 2.2.2).
    fn persistent_handle(self) -> u32 {
        match self {
            Self::Rsa2048 => 0x8101_0001,
            Self::EccP256 => 0x8101_0002,
        }
    }

    /// Where its certificate is (EK Credential Profile, 2.2.1.4).
    fn certificate_index(self) -> u32 {
        match self {
            Self::Rsa2048 => 0x01c0_0002,
            Self::EccP256 => 0x01c0_000a,
        }
    }

    fn template(self) -> tss_esapi::Result<Public> {
        let algorithm = match self {
            Self::Rsa2048 => AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048),
            Self::EccP256 => AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256),
        };
        create_ek_public_from_default_template_2(algorithm, None)
    }

    /// Whether a key has everything of the template but its own bits: it is that endorsement key then, since a hierarchy
    /// has one key of a template, or one that does the same.
    fn describes(self, public: &Public) -> tss_esapi::Result<bool> {
        let mut template = self.template()?;
        match (&mut template, public) {
            (Public::Rsa { unique, .. }, Public::Rsa { unique: found, .. }) => *unique = found.clone(),
            (Public::Ecc { unique, .. }, Public::Ecc { unique: found, .. }) => *unique = found.clone(),
            _ => return Ok(false),
        }
        Ok(template.marshall()? == public.marshall()?)
    }
}

/// What a TPM has as the certificate of its endorsement key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EkCertificate {
    /// A certificate of this key, as DER.
    Fits(Vec<u8>),
    /// A certificate of another key.
    OfAnotherKey,
    /// Something that is no certificate.
    Unreadable,
    /// None: it was never written, or is to be had from the maker's server.
    Absent,
}

impl EkCertificate {
    /// The certificate, if it counts.
    pub fn der(&self) -> Option<&[u8]> {
        match self {
            Self::Fits(der) => Some(der),
            _ => None,
        }
    }
}

/// An endorsement key as it is in this TPM.
#[derive(Clone, Debug)]
pub(super) struct Ek {
    /// TPM2B_PUBLIC.
    pub(super) public: Vec<u8>,
    /// What the Names of keys below it hang on (TPM Part 1, Qualified Name).
    pub(super) qualified_name: Vec<u8>,
    pub(super) certificate: EkCertificate,
}

impl Link {
    pub(super) fn ek(&mut self, kind: EkKind) -> Result<Ek, Fault> {
        if let Some(known) = self.eks.get(&kind) {
            return Ok(known.clone());
        }
        let context = self.context()?;
        let (public, qualified_name) = with_ek(context, kind, |context, ek| {
            let (public, _, qualified_name) = context.read_public(ek)?;
            Ok((sized(&public.marshall()?)?, qualified_name.value().to_vec()))
        })?;
        let certificate = read_certificate(context, kind, &public)?;
        let ek = Ek { public, qualified_name, certificate };
        self.eks.insert(kind, ek.clone());
        Ok(ek)
    }

    /// The endorsement key to create an attestation key under.
    pub(super) fn preferred_ek(&mut self) -> Result<EkKind, Fault> {
        for kind in self.possible_eks() {
            if self.ek(kind)?.certificate.der().is_some() {
                return Ok(kind);
            }
        }
        Ok(self.possible_eks()[0])
    }

    /// Those that the configuration allows, in the order of preference. Never none.
    pub(super) fn possible_eks(&self) -> Vec<EkKind> {
        self.config.ek.map_or_else(|| vec![EkKind::Rsa2048, EkKind::EccP256], |kind| vec![kind])
    }
}

/// Uses an endorsement key: the persistent one if there is one, else one that is created for this.
pub(super) fn with_ek<T>(
    context: &mut Context,
    kind: EkKind,
    step: impl FnOnce(&mut Context, KeyHandle) -> Result<T, Fault>,
) -> Result<T, Fault> {
    match persistent(context, kind)? {
        Some(handle) => with_handle(context, handle, |context, ek| step(context, ek.into())),
        None => with_created_ek(context, kind, step),
    }
}

/// The handle of the persistent endorsement key. Others keep other keys there: the examples of tpm2-tools an attestation
/// key at 0x81010002.
fn persistent(context: &mut Context, kind: EkKind) -> Result<Option<TpmHandle>, Fault> {
    let handle = kind.persistent_handle();
    if !exists(context, handle)? {
        return Ok(None);
    }
    let handle = TpmHandle::Persistent(PersistentTpmHandle::new(handle)?);
    let (found, _, _) = with_handle(context, handle, |context, object| Ok(context.read_public(object.into())?))?;
    Ok(kind.describes(&found)?.then_some(handle))
}

fn with_created_ek<T>(
    context: &mut Context,
    kind: EkKind,
    step: impl FnOnce(&mut Context, KeyHandle) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let template = kind.template()?;
    let created = with_password(context, |context| {
        context.create_primary(Hierarchy::Endorsement, template, None, None, None, None)
    })?;
    let ek = created.key_handle;
    with_flushed(context, ek.into(), |context| step(context, ek))
}

/// Reads an NV index to its end. Anybody may read this one, by its own empty password (EK Credential Profile, 2.2.1.2).
fn read_nv(context: &mut Context, index: NvIndexHandle) -> Result<Vec<u8>, Fault> {
    // The crate's own reader closes the library's name of the index, which is not its to close.
    let piece = nv::max_nv_buffer_size(context)?.clamp(1, MaxNvBuffer::MAX_SIZE);
    let (public, _) = context.nv_read_public(index)?;
    let mut bytes = Vec::new();
    while bytes.len() < public.data_size() {
        let too_long = |_| TpmError::Library(WrapperErrorKind::WrongParamSize);
        let size = u16::try_from(piece.min(public.data_size() - bytes.len())).map_err(too_long)?;
        let offset = u16::try_from(bytes.len()).map_err(too_long)?;
        let read = with_password(context, |context| context.nv_read(NvAuth::NvIndex(index), index, size, offset))?;
        if read.is_empty() {
            return Err(TpmError::Misbehaved("it reads nothing from its NV memory".to_owned()).into());
        }
        bytes.extend_from_slice(read.value());
    }
    Ok(bytes)
}

fn read_certificate(context: &mut Context, kind: EkKind, public: &[u8]) -> Result<EkCertificate, Fault> {
    let index = kind.certificate_index();
    if !exists(context, index)? {
        return Ok(EkCertificate::Absent);
    }
    let index = NvIndexTpmHandle::new(index)?;
    let nv = with_handle(context, TpmHandle::NvIndex(index), |context, object| read_nv(context, object.into()))?;
    let ek = PublicArea::parse(public).map_err(|error| TpmError::Misbehaved(error.to_string()))?;
    let Some(certificate) = certificate::trimmed(&nv) else { return Ok(EkCertificate::Unreadable) };
    Ok(match certificate::is_of(certificate, &ek.spki_der()) {
        Some(true) => EkCertificate::Fits(certificate.to_vec()),
        Some(false) => EkCertificate::OfAnotherKey,
        None => EkCertificate::Unreadable,
    })
}
