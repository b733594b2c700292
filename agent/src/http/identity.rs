//! The agent's own TLS key and certificate: made at the first start, and kept. Verifiers pin the certificate, which the
//! agent registers; nobody signs it but itself. It has no end of validity that would matter (RFC 5280, 4.1.2.5), as a
//! machine whose certificate has run out would look like one that hides.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKeyData as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The file in the state folder: private key and certificate, which belong together, as PEM.
const FILE: &str = "tls.pem";

/// A key and the certificate of it.
pub struct TlsIdentity {
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    public_key_pem: String,
}

impl TlsIdentity {
    /// Reads it from the state folder. The first time it is made, for these names and addresses, and written there.
    ///
    /// # Errors
    /// [`IdentityError`]. What is there is never overwritten.
    pub fn load_or_make(state_folder: &Path, names: &[String]) -> Result<Self, IdentityError> {
        let path = state_folder.join(FILE);
        let fault = |error: io::Error| IdentityError::File { path: path.clone(), kind: error.kind() };
        let pem = match fs::read_to_string(&path) {
            Ok(pem) => {
                let mode = fs::metadata(&path).map_err(fault)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(IdentityError::Exposed { path, mode: mode & 0o7777 });
                }
                pem
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = make(names).ok_or_else(|| IdentityError::Names { names: names.to_vec() })?;
                write(state_folder, &pem).map_err(fault)?;
                pem
            }
            Err(error) => return Err(fault(error)),
        };
        Self::parse(&pem).ok_or(IdentityError::Malformed { path })
    }

    fn parse(pem: &str) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let pair = rcgen::KeyPair::from_pem(pem).ok()?;
        let begin = pem.find(BEGIN_CERTIFICATE)?;
        let certificate_pem = pem.get(begin..)?.to_owned();
        // As `openssl pkey -pubout` writes it: Keylime hashes this text.
        let public_key_pem = public_key_pem(&pair.subject_public_key_info());
        Some(Self { key, certificate, certificate_pem, public_key_pem })
    }

    /// The certificate, which a registrar is told.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The public key in it, SubjectPublicKeyInfo as PEM.
    pub fn public_key_pem(&self) -> &str {
        &self.public_key_pem
    }

    pub(super) fn pair(&self) -> (PrivateKeyDer<'static>, CertificateDer<'static>) {
        (self.key.clone_key(), self.certificate.clone())
    }
}

/// Without the private key.
impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("certificate", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// Key (P-256) and certificate as PEM; `None` if the names are none.
fn make(names: &[String]) -> Option<String> {
    let pair = rcgen::KeyPair::generate().ok()?;
    let mut params = CertificateParams::new(names).ok()?;
    params.distinguished_name.push(DnType::CommonName, "goldseal-agent");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2000, 1, 1), rcgen::date_time_ymd(9999, 12, 31));
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let certificate = params.self_signed(&pair).ok()?;
    Some(format!("{}{}", pair.serialize_pem(), certificate.pem()).replace("\r\n", "\n"))
}

fn public_key_pem(spki: &[u8]) -> String {
    use base64ct::{Base64, Encoding as _};
    let text = Base64::encode_string(spki);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

/// Beside its name first, on the disk before it is there, and for nobody else at any time.
fn write(folder: &Path, pem: &str) -> io::Result<()> {
    let beside = folder.join(format!(".{FILE}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Why the agent has no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// Others may read or write it.
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It does not hold a key and its certificate.
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// One of them cannot stand in a certificate.
    Names {
        /// The configured ones.
        names: Vec<String>,
    },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, kind } => {
                write!(f, "{}: {kind}\ncreate the state folder, writable for the agent alone", path.display())
            }
            Self::Exposed { path, mode } => write!(
                f,
                "{}: others may use this key (mode {mode:o})\nremove it, and enrol this machine again with the new one",
                path.display()
            ),
            Self::Malformed { path } => write!(
                f,
                "{}: not a private key and its certificate in PEM\n\
                 remove it, and enrol this machine again with the new one",
                path.display()
            ),
            Self::Names { names } => {
                write!(f, "no certificate can be made for {names:?}\nconfigure host names in ASCII, or addresses")
            }
        }
    }
}

impl std::error::Error for IdentityError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn it_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = TlsIdentity::load_or_make(folder.path(), &names()).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let again = TlsIdentity::load_or_make(folder.path(), &["other".to_owned()]).unwrap();
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        assert_eq!(first.public_key_pem(), again.public_key_pem());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let other = tempfile::tempdir().unwrap();
        let other = TlsIdentity::load_or_make(other.path(), &names()).unwrap();
        assert_ne!(first.certificate_pem(), other.certificate_pem());
        assert!(!format!("{first:?}").contains("PRIVATE"));
        assert!(!first.certificate_pem().contains("PRIVATE"));
    }

    #[test]
    fn what_an_interrupted_start_left_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".tls.pem.new"), "-----BEGIN PRI").unwrap();
        TlsIdentity::load_or_make(folder.path(), &names()).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn what_is_there_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let good = {
            TlsIdentity::load_or_make(folder.path(), &names()).unwrap();
            fs::read_to_string(&path).unwrap()
        };
        let certificate = &good[good.find(BEGIN_CERTIFICATE).unwrap()..];
        let key = &good[..good.find(BEGIN_CERTIFICATE).unwrap()];
        for malformed in ["", certificate, key, &good[..good.len() - 40]] {
            fs::write(&path, malformed).unwrap();
            let error = TlsIdentity::load_or_make(folder.path(), &names()).unwrap_err();
            assert_eq!(error, IdentityError::Malformed { path: path.clone() });
            assert_eq!(fs::read_to_string(&path).unwrap(), malformed);
        }
        fs::write(&path, &good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = TlsIdentity::load_or_make(folder.path(), &names()).unwrap_err();
        assert_eq!(error, IdentityError::Exposed { path: path.clone(), mode: 0o640 });
    }

    #[test]
    fn names_and_folder_must_be_good() {
        let folder = tempfile::tempdir().unwrap();
        let bad = vec!["gl\u{fc}ck".to_owned()];
        let error = TlsIdentity::load_or_make(folder.path(), &bad).unwrap_err();
        assert_eq!(error, IdentityError::Names { names: bad });
        let missing = folder.path().join("none");
        let error = TlsIdentity::load_or_make(&missing, &names()).unwrap_err();
        assert_eq!(error, IdentityError::File { path: missing.join(FILE), kind: io::ErrorKind::NotFound });
    }
}
