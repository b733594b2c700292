//! Certificates of endorsement keys, as far as this side needs them: whose key they are of. Whether their signer is to be
//! believed is for the verifier to judge.

use spki::SubjectPublicKeyInfoRef;
use spki::der::asn1::AnyRef;
use spki::der::{Decode, Reader, SliceReader};

/// The certificate at the start of an NV index. Some makers fill the rest up with zeros or 0xff.
pub(super) fn trimmed(nv: &[u8]) -> Option<&[u8]> {
    elements(nv).next()
}

/// Whether a certificate's public key is that of a SubjectPublicKeyInfo. The keys alone are compared: some makers call an
/// RSA key one for OAEP.
pub(super) fn is_of(certificate: &[u8], spki_der: &[u8]) -> Option<bool> {
    let theirs = public_key(certificate)?;
    let ours = SubjectPublicKeyInfoRef::from_der(spki_der).ok()?.subject_public_key;
    Some(theirs == ours.raw_bytes())
}

/// The bits of a certificate's key (RFC 5280, section 4.1: the seventh field of `tbsCertificate`, of which the first may
/// be absent). Nothing else of it is looked at: makers' certificates have many a fault.
fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let certificate = AnyRef::from_der(certificate).ok()?.value();
    let fields = AnyRef::from_der(elements(certificate).next()?).ok()?.value();
    let is_version = |field: &&[u8]| field.first() == Some(&EXPLICIT_VERSION);
    let key = elements(fields).filter(|field| !is_version(field)).nth(BEFORE_THE_KEY)?;
    Some(SubjectPublicKeyInfoRef::from_der(key).ok()?.subject_public_key.raw_bytes())
}

/// DER elements, one after the other, as long as they are well-formed.
fn elements(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = SliceReader::new(bytes).ok();
    std::iter::from_fn(move || reader.as_mut()?.tlv_bytes().ok())
}

/// The tag of `[0] EXPLICIT`.
const EXPLICIT_VERSION: u8 = 0xa0;

/// Serial number, algorithm, issuer, validity, subject.
const BEFORE_THE_KEY: usize = 5;
