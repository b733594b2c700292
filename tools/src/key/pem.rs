//! Private keys as text: PKCS#8 (RFC 5958, RFC 8410) in PEM (RFC 7468).
//!
//! Writes version 1 of PKCS#8, which every openssl with Ed25519 reads; reads versions 1 and 2, plain or encrypted by
//! PBES2 (RFC 8018). Promises: bounded time and memory for a hostile file, and that the public key a file carries
//! beside the private one belongs to it. Whose key it is, and who may read the file, is not known here.

use std::fmt;

use goldseal_cli::failure::Failure;
use goldseal_cli::public_key::pem::{KeyFileError, check_algorithm, decode_pem, encode_pem, wrong_content};
use goldseal_cli::public_key::ssh;
use pkcs8::der::{Decode, Encode};
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Prf, Salt, ScryptParams};
use pkcs8::pkcs5::{self, EncryptionScheme as Pkcs5Scheme};
use pkcs8::{EncryptedPrivateKeyInfo, EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, der};
use zeroize::Zeroizing;

use super::{SealKey, fill_random};
use crate::passphrase::Passphrase;

/// Reads a private key.
///
/// # Errors
/// [`KeyFileError`].
pub fn parse_private(file: &[u8]) -> Result<PrivateKeyFile, KeyFileError> {
    if ssh::parse_public(file).is_some() {
        return Err(wrong_content("PUBLIC KEY"));
    }
    let (label, der) = decode_pem(file)?;
    match label {
        "PRIVATE KEY" => parse_private_der(&der).map(PrivateKeyFile::Plain),
        "ENCRYPTED PRIVATE KEY" => EncryptedKey::parse(&der).map(PrivateKeyFile::Encrypted),
        _ => Err(wrong_content(label)),
    }
}

/// A private key as a file holds it.
#[derive(Debug)]
pub enum PrivateKeyFile {
    /// Ready to seal.
    Plain(SealKey),
    /// Needs its passphrase.
    Encrypted(EncryptedKey),
}

/// A private key under a passphrase. What it costs to try one is known to be bounded.
pub struct EncryptedKey {
    parameters: Parameters,
    ciphertext: Vec<u8>,
}

impl EncryptedKey {
    fn parse(der: &[u8]) -> Result<Self, KeyFileError> {
        let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| match error.kind() {
            // The second: schemes older than PBES2.
            der::ErrorKind::OidUnknown { .. } | der::ErrorKind::Value { tag: der::Tag::ObjectIdentifier } => {
                KeyFileError::UnsupportedEncryption
            }
            _ => KeyFileError::Malformed,
        })?;
        let Pkcs5Scheme::Pbes2(parameters) = info.encryption_algorithm else {
            return Err(KeyFileError::UnsupportedEncryption);
        };
        check_cost(&parameters.kdf)?;
        Ok(Self { parameters, ciphertext: info.encrypted_data.as_bytes().to_vec() })
    }

    /// Opens the key.
    ///
    /// # Errors
    /// [`KeyFileError::WrongPassphrase`], which damage to the file looks like too; or what is wrong with the key inside.
    pub fn decrypt(&self, passphrase: &Passphrase) -> Result<SealKey, KeyFileError> {
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        let der = self.parameters.decrypt_in_place(passphrase.expose(), &mut buffer).map_err(|error| match error {
            pkcs5::Error::DecryptFailed => KeyFileError::WrongPassphrase,
            pkcs5::Error::UnsupportedAlgorithm { .. } => KeyFileError::UnsupportedEncryption,
            _ => KeyFileError::Malformed,
        })?;
        // One wrong passphrase in 256 leaves what looks like valid padding, and then no key.
        parse_private_der(der).map_err(|error| match error {
            KeyFileError::Malformed => KeyFileError::WrongPassphrase,
            error => error,
        })
    }
}

impl fmt::Debug for EncryptedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedKey(..)")
    }
}

/// The key as a file: encrypted if there is a passphrase.
///
/// # Errors
/// If the system gives no randomness.
pub fn private_pem(key: &SealKey, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, Failure> {
    let mut der = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
    der[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
    der[PKCS8_PREFIX.len()..].copy_from_slice(key.seed());
    match passphrase {
        None => Ok(Zeroizing::new(encode_pem("PRIVATE KEY", der.as_ref()))),
        Some(passphrase) => {
            let encrypted = encrypt(der.as_ref(), passphrase)?;
            Ok(Zeroizing::new(encode_pem("ENCRYPTED PRIVATE KEY", &encrypted)))
        }
    }
}

fn parse_private_der(der: &[u8]) -> Result<SealKey, KeyFileError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyFileError::Malformed)?;
    check_algorithm(&info.algorithm)?;
    // RFC 8410, section 7: the private key is an OCTET STRING within the OCTET STRING.
    let seed = info.private_key.as_bytes().strip_prefix(&[0x04, 0x20]);
    let seed = seed.and_then(|seed| <&[u8; 32]>::try_from(seed).ok()).ok_or(KeyFileError::Malformed)?;
    let key = SealKey::from_seed(seed);
    match info.public_key {
        Some(public) if public.as_bytes() != Some(key.0.verifying_key().as_bytes()) => {
            Err(KeyFileError::PublicKeyMismatch)
        }
        _ => Ok(key),
    }
}

fn check_cost(kdf: &Kdf) -> Result<(), KeyFileError> {
    match kdf {
        Kdf::Pbkdf2(pbkdf2) if pbkdf2.prf == Pbkdf2Prf::HmacWithSha1 => Err(KeyFileError::UnsupportedEncryption),
        Kdf::Pbkdf2(pbkdf2) => match pbkdf2.iteration_count {
            0 => Err(KeyFileError::Malformed),
            1..=MAX_PBKDF2_ITERATIONS => Ok(()),
            _ => Err(KeyFileError::TooCostly),
        },
        Kdf::Scrypt(scrypt) => {
            let (n, r, p) = (scrypt.cost_parameter, scrypt.block_size.into(), scrypt.parallelization.into());
            // RFC 7914, section 2: N is a power of two larger than 1.
            if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
                return Err(KeyFileError::Malformed);
            }
            let within = |blocks: Option<u64>, limit| blocks.is_some_and(|blocks| blocks <= limit);
            let lanes = u64::checked_mul(r, p);
            if within(n.checked_mul(r), MAX_SCRYPT_BLOCKS)
                && within(lanes, MAX_SCRYPT_LANE_BLOCKS)
                && within(lanes.and_then(|lanes| lanes.checked_mul(n)), MAX_SCRYPT_WORK)
            {
                Ok(())
            } else {
                Err(KeyFileError::TooCostly)
            }
        }
        _ => Err(KeyFileError::UnsupportedEncryption),
    }
}

fn encrypt(der: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, Failure> {
    let mut salt = [0; 16];
    fill_random(&mut salt)?;
    let mut iv = [0; 16];
    fill_random(&mut iv)?;
    let scrypt = ScryptParams {
        salt: Salt::new(salt).expect("16 bytes are within the limit of 32"),
        cost_parameter: SCRYPT_N,
        block_size: SCRYPT_R,
        parallelization: SCRYPT_P,
        key_length: None,
    };
    let parameters = Parameters { kdf: Kdf::Scrypt(scrypt), encryption: EncryptionScheme::Aes256Cbc { iv } };
    let ciphertext = parameters.encrypt(passphrase.expose(), der).expect("these parameters are valid");
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: parameters.into(),
        encrypted_data: der::asn1::OctetString::new(ciphertext).expect("64 bytes are a valid length"),
    };
    Ok(info.to_der().expect("every field has a DER encoding"))
}

/// PKCS#8 version 1 of an Ed25519 key (RFC 8410, section 7): this prefix, then the 32 bytes of the seed.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// 16 MiB: the largest power of two under which openssl, which stops at 32 MiB (SCRYPT_MAX_MEM), still reads the file.
const SCRYPT_N: u64 = 1 << 14;
const SCRYPT_R: u16 = 8;
/// What the OWASP Password Storage Cheat Sheet pairs with N = 2^14, r = 8.
const SCRYPT_P: u16 = 5;

/// RFC 8018, section 4.2: what may be appropriate "for especially critical keys".
const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
/// N × r blocks of 128 bytes, 128 MiB: the largest setting of the OWASP cheat sheet (N = 2^17, r = 8).
const MAX_SCRYPT_BLOCKS: u64 = 1 << 20;
/// r × p blocks of 128 bytes, 128 KiB: OWASP's largest is 80 (r = 8, p = 10).
const MAX_SCRYPT_LANE_BLOCKS: u64 = 1 << 10;
/// N × r × p: four times OWASP's largest, a few seconds.
const MAX_SCRYPT_WORK: u64 = 1 << 22;

#[cfg(test)]
mod tests {
    use std::fs;

    use goldseal_cli::public_key::pem::{PEM_BEGIN, parse_public, public_pem};
    use pkcs8::ObjectIdentifier;
    use pkcs8::der::asn1::BitStringRef;
    use pkcs8::der::asn1::OctetStringRef;
    use pkcs8::pkcs5::pbes2::Pbkdf2Params;
    use pkcs8::spki::AlgorithmIdentifierRef;
    use tempfile::tempdir;

    use super::*;
    use crate::key::openssl::openssl;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    fn plain(file: &[u8]) -> SealKey {
        match parse_private(file).unwrap() {
            PrivateKeyFile::Plain(key) => key,
            PrivateKeyFile::Encrypted(_) => panic!("it is not encrypted"),
        }
    }

    fn encrypted(file: &[u8]) -> EncryptedKey {
        match parse_private(file).unwrap() {
            PrivateKeyFile::Plain(_) => panic!("it is encrypted"),
            PrivateKeyFile::Encrypted(key) => key,
        }
    }

    fn error(file: &[u8]) -> KeyFileError {
        parse_private(file).expect_err("must be refused")
    }

    fn found(name: &str) -> KeyFileError {
        KeyFileError::NotEd25519 { found: name.to_owned() }
    }

    /// RFC 8410, section 10.3: the same private key in version 1, and in version 2 with an attribute.
    const RFC_V1: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
    const RFC_V2: &str = "-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";
    /// RFC 8410, section 10.1: its public key.
    const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    #[test]
    fn the_examples_of_the_rfc() {
        let key = plain(RFC_V1.as_bytes());
        assert_eq!(*private_pem(&key, None).unwrap(), RFC_V1);
        assert_eq!(public_pem(&key.spki_der()), RFC_PUBLIC);
        assert_eq!(parse_public(RFC_PUBLIC.as_bytes()), Ok(key.spki_der()));
        assert_eq!(plain(RFC_V2.as_bytes()).spki_der(), key.spki_der());
    }

    #[test]
    fn openssl_reads_what_is_written() {
        let folder = tempdir().unwrap();
        let key = SealKey::generate().unwrap();
        let file = private_pem(&key, None).unwrap();
        fs::write(folder.path().join("plain"), &*file).unwrap();
        assert_eq!(openssl(folder.path(), "pkey -in plain"), file.as_bytes());
        let file = private_pem(&key, Some(&passphrase("correct horse"))).unwrap();
        fs::write(folder.path().join("encrypted"), &*file).unwrap();
        let der = openssl(folder.path(), "pkey -in encrypted -passin pass:correct%horse -pubout -outform DER");
        assert_eq!(der, key.spki_der());
        let structure = openssl(folder.path(), "asn1parse -in encrypted");
        let structure = String::from_utf8(structure).unwrap();
        assert!(structure.contains(":1.3.6.1.4.1.11591.4.11") || structure.contains("scrypt"), "{structure}");
        assert!(structure.contains(":aes-256-cbc"), "{structure}");
        let opened = encrypted(file.as_bytes()).decrypt(&passphrase("correct horse")).unwrap();
        assert_eq!(opened.spki_der(), key.spki_der());
    }

    #[test]
    fn what_openssl_writes_is_read() {
        let folder = tempdir().unwrap();
        let run = |arguments: &str| openssl(folder.path(), arguments);
        run("genpkey -algorithm ed25519 -out key");
        let public = run("pkey -in key -pubout -outform DER");
        assert_eq!(plain(&fs::read(folder.path().join("key")).unwrap()).spki_der(), *public);
        assert_eq!(parse_public(&run("pkey -in key -pubout")).unwrap(), *public);
        assert_eq!(plain(&run("pkey -in key -text")[..]).spki_der(), *public);
        for arguments in [
            "pkcs8 -topk8 -in key -passout pass:x",
            "pkcs8 -topk8 -in key -passout pass:x -scrypt",
            "pkcs8 -topk8 -in key -passout pass:x -scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 16",
            "pkcs8 -topk8 -in key -passout pass:x -v2 aes-256-cbc -iter 10000",
            "pkcs8 -topk8 -in key -passout pass:x -v2 aes-128-cbc -v2prf hmacWithSHA512",
            "pkey -in key -aes-256-cbc -passout pass:x",
        ] {
            let key = encrypted(&run(arguments)).decrypt(&passphrase("x"));
            assert_eq!(key.unwrap_or_else(|error| panic!("{arguments}: {error}")).spki_der(), *public);
        }
        run("genpkey -algorithm ed25519 -aes-256-cbc -pass pass:x -out encrypted");
        let public = run("pkey -in encrypted -passin pass:x -pubout -outform DER");
        let key = encrypted(&fs::read(folder.path().join("encrypted")).unwrap()).decrypt(&passphrase("x")).unwrap();
        assert_eq!(key.spki_der(), *public);
    }

    #[test]
    fn encryption_of_other_kinds_is_named() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("key"), RFC_V1).unwrap();
        for kind in ["-v2 aes-256-cbc -v2prf hmacWithSHA1", "-v2 des3", "-v2 camellia-256-cbc", "-v1 PBE-SHA1-3DES"] {
            let file = openssl(folder.path(), &format!("pkcs8 -topk8 -in key -passout pass:x {kind}"));
            assert_eq!(error(&file), KeyFileError::UnsupportedEncryption, "{kind}");
        }
    }

    /// About 8 of these passphrases leave a valid padding.
    #[test]
    fn no_wrong_passphrase_opens_a_key() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("key"), RFC_V1).unwrap();
        let file = openssl(folder.path(), "pkcs8 -topk8 -in key -passout pass:right -v2 aes-256-cbc -iter 1");
        let key = encrypted(&file);
        key.decrypt(&passphrase("right")).unwrap();
        for number in 0..2048 {
            let error = key.decrypt(&passphrase(&number.to_string())).unwrap_err();
            assert_eq!(error, KeyFileError::WrongPassphrase);
        }
    }

    /// Version 2, as ed25519-dalek writes it by default.
    fn version_2(seed: &[u8; 32], public: &[u8; 32]) -> Vec<u8> {
        let seed = [&[0x04, 0x20][..], seed].concat();
        let info = PrivateKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid: ObjectIdentifier::new_unwrap("1.3.101.112"), parameters: None },
            private_key: OctetStringRef::new(&seed).unwrap(),
            public_key: Some(BitStringRef::from_bytes(public).unwrap()),
        };
        info.to_der().unwrap()
    }

    #[test]
    fn the_public_key_of_version_2_must_be_the_right_one() {
        let key = SealKey::from_seed(&[7; 32]);
        let mut public: [u8; 32] = key.spki_der()[12..].try_into().unwrap();
        let file = encode_pem("PRIVATE KEY", &version_2(&[7; 32], &public));
        assert_eq!(plain(file.as_bytes()).spki_der(), key.spki_der());
        public[31] ^= 0x80;
        let der = version_2(&[7; 32], &public);
        assert_eq!(error(encode_pem("PRIVATE KEY", &der).as_bytes()), KeyFileError::PublicKeyMismatch);
        let file = encode_pem("ENCRYPTED PRIVATE KEY", &encrypt(&der, &passphrase("x")).unwrap());
        let mismatch = encrypted(file.as_bytes()).decrypt(&passphrase("x")).unwrap_err();
        assert_eq!(mismatch, KeyFileError::PublicKeyMismatch);
    }

    #[test]
    fn keys_of_other_algorithms_are_named() {
        let folder = tempdir().unwrap();
        let run = |arguments: &str| openssl(folder.path(), arguments);
        for (algorithm, name) in [
            ("RSA -pkeyopt rsa_keygen_bits:1024", "an RSA key"),
            ("RSA-PSS -pkeyopt rsa_keygen_bits:1024", "an RSA key"),
            ("EC -pkeyopt ec_paramgen_curve:P-256", "a P-256 key"),
            ("EC -pkeyopt ec_paramgen_curve:P-384", "a P-384 key"),
            ("EC -pkeyopt ec_paramgen_curve:secp256k1", "an EC key"),
            ("X25519", "an X25519 key"),
            ("X448", "an X448 key"),
            ("ED448", "an Ed448 key"),
        ] {
            run(&format!("genpkey -algorithm {algorithm} -out other"));
            assert_eq!(error(&fs::read(folder.path().join("other")).unwrap()), found(name), "{algorithm}");
            assert_eq!(parse_public(&run("pkey -in other -pubout")), Err(found(name)), "{algorithm}");
            let file = encrypted(&run("pkcs8 -topk8 -in other -passout pass:x"));
            assert_eq!(file.decrypt(&passphrase("x")).unwrap_err(), found(name), "{algorithm}");
        }
        run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa");
        assert_eq!(error(&run("rsa -in rsa -traditional")), found("an RSA key"));
        // With header lines that PKCS#8 does not have.
        assert_eq!(error(&run("rsa -in rsa -traditional -aes128 -passout pass:long")), found("an RSA key"));
        assert_eq!(parse_public(&run("rsa -in rsa -RSAPublicKey_out")), Err(found("an RSA key")));
        run("ecparam -name prime256v1 -genkey -noout -out ec");
        assert_eq!(error(&fs::read(folder.path().join("ec")).unwrap()), found("an EC key"));
        let message = found("an RSA key").to_string();
        assert_eq!(message, "this is an RSA key; goldseal seals with ed25519");
    }

    #[test]
    fn other_things_in_pem_are_named() {
        let wrong = |label, parsed: fn(&[u8]) -> Option<KeyFileError>, found| {
            let file = encode_pem(label, b"anything at all");
            assert_eq!(parsed(file.as_bytes()), Some(KeyFileError::WrongContent { found }), "{label}");
        };
        let private = |file: &[u8]| parse_private(file).err();
        let public = |file: &[u8]| parse_public(file).err();
        wrong("PUBLIC KEY", private, "a public key, where the private key belongs");
        wrong("PRIVATE KEY", public, "a private key, where a public key belongs");
        wrong("ENCRYPTED PRIVATE KEY", public, "a private key, where a public key belongs");
        wrong("OPENSSH PRIVATE KEY", private, "a private key in OpenSSH's own format");
        wrong("CERTIFICATE", public, "a certificate, not a key");
        wrong("CMS", private, "PEM of something that is not a key");
    }

    #[test]
    fn what_is_cut_off_or_has_two_keys_is_refused() {
        let file = private_pem(&SealKey::generate().unwrap(), Some(&passphrase("x"))).unwrap();
        for text in [RFC_V1, RFC_V2, &file] {
            // Without its last line feed a file is still whole.
            for end in 0..text.len() - 1 {
                let expected = if end < PEM_BEGIN.len() { KeyFileError::NotPem } else { KeyFileError::Malformed };
                assert_eq!(error(&text.as_bytes()[..end]), expected, "{end} bytes");
            }
            assert_eq!(error(text.repeat(2).as_bytes()), KeyFileError::Malformed);
        }
        for end in 0..RFC_PUBLIC.len() - 1 {
            parse_public(&RFC_PUBLIC.as_bytes()[..end]).unwrap_err();
        }
    }

    #[test]
    fn what_editors_and_copying_do_to_a_file_is_harmless() {
        let body = RFC_V2.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        for text in [
            RFC_V2.replace('\n', "\r\n"),
            format!("\n{RFC_V2}\n\n"),
            format!("the key of Alice\n{RFC_V2}until 2030\n"),
            RFC_V2.trim_end().to_owned(),
            format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"),
        ] {
            assert_eq!(plain(text.as_bytes()).spki_der(), plain(RFC_V1.as_bytes()).spki_der(), "{text}");
        }
    }

    #[test]
    fn der_that_the_rfc_does_not_allow_is_refused() {
        let der = |change: fn(&mut Vec<u8>)| {
            let mut der = [&PKCS8_PREFIX[..], &[7; 32]].concat();
            change(&mut der);
            error(encode_pem("PRIVATE KEY", &der).as_bytes())
        };
        // A byte behind the end; a seed of 31 bytes; a version that does not exist; version 2 without its public key.
        assert_eq!(der(|der| der.push(0)), KeyFileError::Malformed);
        assert_eq!(
            der(|der| {
                der.pop();
                (der[1], der[13], der[15]) = (0x2d, 0x21, 0x1f);
            }),
            KeyFileError::Malformed
        );
        assert_eq!(der(|der| der[4] = 2), KeyFileError::Malformed);
        assert_eq!(der(|der| der[4] = 1), KeyFileError::Malformed);
    }

    #[test]
    fn the_price_of_a_passphrase_is_bounded() {
        let parsed = |kdf| {
            let encryption = EncryptionScheme::Aes256Cbc { iv: [0; 16] };
            let info = EncryptedPrivateKeyInfo {
                encryption_algorithm: Parameters { kdf, encryption }.into(),
                encrypted_data: OctetStringRef::new(&[0; 64]).unwrap(),
            };
            parse_private(encode_pem("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap()).as_bytes()).err()
        };
        let scrypt = |cost_parameter, block_size, parallelization| {
            let salt = Salt::new([0; 16]).unwrap();
            parsed(Kdf::Scrypt(ScryptParams { salt, cost_parameter, block_size, parallelization, key_length: None }))
        };
        let pbkdf2 = |iteration_count| {
            let salt = Salt::new([0; 16]).unwrap();
            let prf = Pbkdf2Prf::HmacWithSha256;
            parsed(Kdf::Pbkdf2(Pbkdf2Params { salt, iteration_count, key_length: None, prf }))
        };
        assert_eq!(scrypt(1 << 17, 8, 1), None);
        assert_eq!(scrypt(1 << 17, 8, 4), None);
        assert_eq!(scrypt(1 << 18, 8, 1), Some(KeyFileError::TooCostly));
        assert_eq!(scrypt(1 << 17, 8, 5), Some(KeyFileError::TooCostly));
        assert_eq!(scrypt(2, 1, u16::MAX), Some(KeyFileError::TooCostly));
        assert_eq!(scrypt(1 << 63, u16::MAX, u16::MAX), Some(KeyFileError::TooCostly));
        for (n, r, p) in [(0, 8, 1), (1, 8, 1), (3 << 10, 8, 1), (1 << 14, 0, 1), (1 << 14, 8, 0)] {
            assert_eq!(scrypt(n, r, p), Some(KeyFileError::Malformed), "{n} {r} {p}");
        }
        assert_eq!(pbkdf2(0), Some(KeyFileError::Malformed));
        assert_eq!(pbkdf2(10_000_000), None);
        assert_eq!(pbkdf2(10_000_001), Some(KeyFileError::TooCostly));
    }
}
