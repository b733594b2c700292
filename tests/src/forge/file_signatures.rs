//! IMA file signatures, made by openssl(1): `signature_v2_hdr` and a signature over the digest of the contents.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::digest::HashAlgorithm;

use super::ak::pem_body;

/// A key that signs files, of testdata/keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKey {
    Rsa,
    P256,
    P384,
}

impl FileKey {
    pub const ALL: [Self; 3] = [Self::Rsa, Self::P256, Self::P384];

    /// The content of security.ima of a file of these contents.
    pub fn sign(self, hash: HashAlgorithm, contents: &[u8]) -> Vec<u8> {
        signature_field(hash, &openssl_sign(&self.path("key"), hash, contents))
    }

    /// A rule for it.
    pub fn rule(self, pattern: &str) -> String {
        let pem = std::fs::read_to_string(self.path("pub")).unwrap();
        rule(if self == Self::Rsa { "rsa-pkcs1" } else { "ecdsa" }, &pem_body(&pem), pattern)
    }

    fn path(self, extension: &str) -> PathBuf {
        let name = match self {
            Self::Rsa => "ak-rsa",
            Self::P256 => "ak-p256",
            Self::P384 => "ak-p384",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../testdata/keys/{name}.{extension}"))
    }
}

/// A rule for a SubjectPublicKeyInfo.
pub fn rule(algorithm: &str, spki: &[u8], pattern: &str) -> String {
    format!("file-signature {algorithm} {} {pattern}", Base64::encode_string(spki))
}

/// `openssl dgst -sign`.
pub fn openssl_sign(key: &Path, hash: HashAlgorithm, contents: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", &format!("-{hash}"), "-sign"]).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = openssl.spawn().unwrap();
    running.stdin.take().unwrap().write_all(contents).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{openssl:?}");
    output.stdout
}

/// Type, version, `enum hash_algo`, a key id that nobody looks at, and the signature behind its length.
pub fn signature_field(hash: HashAlgorithm, signature: &[u8]) -> Vec<u8> {
    let number = match hash {
        HashAlgorithm::Sha1 => 2,
        HashAlgorithm::Sha256 => 4,
        HashAlgorithm::Sha384 => 5,
        HashAlgorithm::Sha512 => 6,
    };
    let length = u16::try_from(signature.len()).unwrap().to_be_bytes();
    [&[3, 2, number, 1, 2, 3, 4], &length[..], signature].concat()
}
