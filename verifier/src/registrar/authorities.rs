//! Who vouches for endorsement keys: a folder of CA certificates of TPM makers.
//!
//! A certificate of an EK counts if a chain leads from it to a certificate in the folder (RFC 5280, section 6), if it is one of an
//! endorsement key (TCG EK Credential Profile, section 3.2.16: extended key usage 2.23.133.8.1), and if its public key is that
//! of the EK. It does not say which machine the TPM is in.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::tpm::credential::EndorsementKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::policies::refused;
use crate::refusal::Refusal;
use crate::time::Time;

/// tcg-kp-EKCertificate, as an OID and as DER without tag and length.
const EK_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");
const EK_USAGE_DER: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

/// id-RSAES-OAEP (RFC 8017, appendix A.2.1): some makers write an RSA key so, which TCG's profile allows.
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");

/// rsaEncryption (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Longest file in the folder: a bundle of every maker's certificates has 300 KB.
const MAX_FILE: u64 = 4 << 20;

/// Most files.
const MAX_FILES: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Authorities {
    /// Reads every certificate of a folder, PEM (several in a file are fine) or DER.
    ///
    /// # Errors
    /// `unreadable`, or `malformed` for a file that holds none.
    pub fn read(folder: &Path) -> Result<Self, Refusal> {
        let mut authorities = Self::default();
        let entries = fs::read_dir(folder).map_err(|error| refused(input::cannot_read(folder, &error)))?;
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).take(MAX_FILES).collect();
        paths.sort();
        for path in paths {
            let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_hidden && path.is_file() {
                authorities.add(&path)?;
            }
        }
        Ok(authorities)
    }

    fn add(&mut self, path: &Path) -> Result<(), Refusal> {
        let bytes = input::read_file(path, MAX_FILE).map_err(refused)?;
        let bad = |error: &dyn fmt::Display| {
            Refusal::new(
                "malformed",
                format!("{}: no certificate of a CA: {error}", Printable::path(path)),
                "take it out of the folder, or put the certificate there in PEM or DER",
            )
        };
        let certificates: Vec<CertificateDer<'static>> = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| bad(&error))?
        } else {
            vec![CertificateDer::from(bytes)]
        };
        for certificate in certificates {
            let anchor = anchor_from_trusted_cert(&certificate).map_err(|error| bad(&error))?.to_owned();
            self.anchors.push(anchor);
            self.certificates.push(certificate);
        }
        Ok(())
    }

    /// Whether there are none, so that no certificate counts.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Whether a certificate, DER without anything behind it, vouches for this EK now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn certify(&self, der: &[u8], ek: &EndorsementKey, now: Time) -> Result<(), CertificateError> {
        let leaf =
            x509_cert::Certificate::from_der(der).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let to_be_signed = leaf.tbs_certificate();
        if !same_key(to_be_signed.subject_public_key_info(), ek) {
            return Err(CertificateError::OtherKey);
        }
        // The chain is asked whether it may be for EKs; that this one is, has to be asked of it alone (a CA need not say so).
        let usage = to_be_signed.get_extension::<ExtendedKeyUsage>();
        let usage = usage.map_err(|error| CertificateError::Malformed(error.to_string()))?;
        if !usage.is_some_and(|(_, usage)| usage.0.contains(&EK_USAGE)) {
            return Err(CertificateError::OtherUsage);
        }
        let basic = to_be_signed.get_extension::<BasicConstraints>();
        let basic = basic.map_err(|error| CertificateError::Malformed(error.to_string()))?;
        if basic.is_some_and(|(_, basic)| basic.ca) {
            return Err(CertificateError::OtherUsage);
        }
        let der = CertificateDer::from(der);
        let end = EndEntityCert::try_from(&der).map_err(|error| CertificateError::Chain(error.to_string()))?;
        let since_epoch = Duration::from_millis(u64::try_from(now.millis()).unwrap_or(0));
        end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            &self.certificates,
            UnixTime::since_unix_epoch(since_epoch),
            KeyUsage::required_if_present(EK_USAGE_DER),
            None,
            None,
        )
        .map(drop)
        .map_err(|error| CertificateError::Chain(error.to_string()))
    }
}

/// Whether a certificate is of this key. An RSA key may be written as one for OAEP.
fn same_key(certified: &SubjectPublicKeyInfoOwned, ek: &EndorsementKey) -> bool {
    let posted = ek.public_area().spki_der();
    let Ok(posted) = SubjectPublicKeyInfoOwned::from_der(&posted) else { return false };
    let is_oaep = certified.algorithm.oid == RSAES_OAEP && posted.algorithm.oid == RSA_ENCRYPTION;
    let same_algorithm = is_oaep || certified.algorithm == posted.algorithm;
    same_algorithm && certified.subject_public_key == posted.subject_public_key
}

/// The certificate in bytes that may go on: NV indices of TPMs are longer than what is in them.
pub(super) fn trimmed(der: &[u8]) -> Option<&[u8]> {
    // X.690, 8.1.3: SEQUENCE, then the length in one byte, or in so many as that says.
    let (&[0x30, first], rest) = der.split_first_chunk::<2>()? else { return None };
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x83 => {
            let bytes = rest.get(..usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
        }
        _ => return None,
    };
    der.get(..header.checked_add(length)?)
}

/// Why a certificate does not vouch for an EK.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is none.
    Malformed(String),
    /// It is of another key.
    OtherKey,
    /// It is not one of an endorsement key.
    OtherUsage,
    /// No chain leads to a trusted authority.
    Chain(String),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "it cannot be read: {error}"),
            Self::OtherKey => f.write_str("it is of another key than the EK"),
            Self::OtherUsage => f.write_str("it is not a certificate of an endorsement key"),
            Self::Chain(error) => write!(f, "no trusted authority stands behind it: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cut_off() {
        assert_eq!(trimmed(&[0x30, 1, 7, 0xff, 0xff]), Some(&[0x30, 1, 7][..]));
        let long = [&[0x30, 0x82, 1, 0][..], &[5; 256], &[0xff; 9]].concat();
        assert_eq!(trimmed(&long), Some(&long[..260]));
        for bad in [&[][..], &[0x30], &[0x31, 0], &[0x30, 2, 7], &[0x30, 0x80, 0, 0], &[0x30, 0x84, 0, 0, 0, 0]] {
            assert_eq!(trimmed(bad), None, "{bad:?}");
        }
    }
}
