//! Credentials: made here or by tpm2-tools and opened in software, and refused where they must be.

use std::fs;
use std::process::Command;

use goldseal_tests::forge::ak::{Kind, SoftTpm};
use goldseal_tests::forge::ek::{EkKind, SoftEk, aes_cfb};
use goldseal_tests::quotes::captured_files;
use goldseal_tests::{World, output_of};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::tpm::credential::{
    Credential, CredentialEntropy, CredentialError, CredentialSecret, EndorsementKey, EndorsementKeyError,
    make_credential,
};
use goldseal_verifier_core::tpm::{
    AttestationKey, Attribute, Name, PublicAreaError, SignatureAlgorithm, SignatureScheme, StructureError,
};

pub(crate) const SECRET: [u8; CredentialSecret::LEN] = *b"a secret of thirty-two bytes, ok";

#[test]
fn software_opens_what_is_made_here_and_nothing_else() {
    let ak = AttestationKey::from_public_area(&SoftTpm::new(Kind::P256).public_area()).unwrap().name();
    for kind in EkKind::ALL {
        let soft = SoftEk::new(kind);
        let credential = made(&endorsement_key(&soft), ak, entropy(7));
        let (id_object, secret) = (credential.id_object(), credential.encrypted_secret());
        assert_eq!(soft.open(id_object, secret, &ak.to_bytes()), Some(SECRET.to_vec()), "{kind:?}");
        for at in 0..id_object.len() {
            let mut broken = id_object.to_vec();
            broken[at] ^= 1;
            assert_eq!(soft.open(&broken, secret, &ak.to_bytes()), None, "{kind:?} {at}");
        }
        let mut name = ak.to_bytes();
        name[33] ^= 1;
        assert_eq!(soft.open(id_object, secret, &name), None, "{kind:?}");
        // Nothing of the secret is there to be read.
        assert!(!credential.to_file().windows(8).any(|bytes| bytes == &SECRET[..8]), "{kind:?}");
    }
}

#[test]
fn software_opens_what_tpm2_makecredential_makes() {
    let world = World::new();
    let ak = AttestationKey::from_public_area(&SoftTpm::new(Kind::RsaSsa).public_area()).unwrap().name();
    let secret = world.file("secret", b"of theirs");
    for kind in EkKind::ALL {
        let soft = SoftEk::new(kind);
        let (ek, out) = (world.file("ek.pub", soft.public_area()), world.path("credential"));
        let mut command = Command::new("tpm2_makecredential");
        command.args(["-T", "none", "-Q", "-n", &ak.to_string()]);
        output_of(command.arg("-u").arg(ek).arg("-s").arg(&secret).arg("-o").arg(&out));
        let file = fs::read(out).unwrap();
        let credential = Credential::from_file(&file).unwrap();
        let opened = soft.open(credential.id_object(), credential.encrypted_secret(), &ak.to_bytes());
        assert_eq!(opened.as_deref(), Some(&b"of theirs"[..]), "{kind:?}");
        assert_eq!(credential.to_file(), file, "{kind:?}");
        // Ours differs in nothing but what is random, and is as long for a secret as long.
        let ours = made(&endorsement_key(&soft), ak, entropy(3));
        assert_eq!(ours.to_file().len(), file.len() + SECRET.len() - b"of theirs".len(), "{kind:?}");
        assert_eq!(ours.to_file()[..8], file[..8], "{kind:?}");
    }
}

#[test]
fn randomness_decides_and_nothing_else() {
    let ak = AttestationKey::from_public_area(&SoftTpm::new(Kind::P256).public_area()).unwrap().name();
    for kind in EkKind::ALL {
        let ek = endorsement_key(&SoftEk::new(kind));
        assert_eq!(made(&ek, ak, entropy(1)), made(&ek, ak, entropy(1)));
        let (one, two) = (made(&ek, ak, entropy(1)), made(&ek, ak, entropy(2)));
        assert_ne!(one.encrypted_secret(), two.encrypted_secret());
        assert_ne!(one.id_object(), two.id_object());
    }
    // No number as large is a private key of a curve; the next candidate is.
    for (kind, len) in [(EkKind::P256, 32), (EkKind::P384, 48)] {
        let soft = SoftEk::new(kind);
        let make = |random: [u8; CredentialEntropy::LEN]| {
            make_credential(&endorsement_key(&soft), ak, CredentialSecret::new(SECRET), CredentialEntropy::new(random))
        };
        assert_eq!(make([0xff; CredentialEntropy::LEN]), Err(CredentialError::NotRandom));
        assert_eq!(make([0; CredentialEntropy::LEN]), Err(CredentialError::NotRandom));
        let mut random = [0xff; CredentialEntropy::LEN];
        random[len..2 * len].fill(5);
        let credential = make(random).unwrap();
        let opened = soft.open(credential.id_object(), credential.encrypted_secret(), &ak.to_bytes());
        assert_eq!(opened, Some(SECRET.to_vec()), "{kind:?}");
    }
}

#[test]
fn credential_files_are_read_to_their_end() {
    let soft = SoftEk::new(EkKind::P256);
    let ak = AttestationKey::from_public_area(&SoftTpm::new(Kind::P256).public_area()).unwrap().name();
    let file = made(&endorsement_key(&soft), ak, entropy(1)).to_file();
    for len in 0..file.len() {
        assert!(matches!(Credential::from_file(&file[..len]), Err(StructureError::Truncated { .. })), "{len}");
    }
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        Credential::from_file(&file).unwrap_err()
    };
    assert_eq!(with(3, 0xdf), StructureError::Value { field: "magic", found: 0xbadc_c0df });
    assert_eq!(with(7, 2), StructureError::Value { field: "version", found: 2 });
    assert_eq!(with(8, 1), StructureError::TooLong { field: "credential", found: 256 + 68, max: 132 });
    assert_eq!(with(10 + 68, 2), StructureError::TooLong { field: "secret", found: 512 + 68, max: 512 });
    let longer = [&file[..], &[0]].concat();
    assert_eq!(Credential::from_file(&longer), Err(StructureError::Trailing { count: 1 }));
}

#[test]
fn captured_endorsement_keys_are_such_and_attestation_keys_are_not() {
    let areas = captured_files("ek-", "tpm2b");
    assert!(areas.len() > 20);
    let mut compared = 0;
    for path in areas {
        let ek = EndorsementKey::from_public_area(&fs::read(&path).unwrap());
        let ek = ek.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if !path.with_extension("pem").exists() {
            continue;
        }
        compared += 1;
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-pubin", "-outform", "DER", "-in"]).arg(path.with_extension("pem"));
        let der = output_of(&mut openssl);
        assert_eq!(ek.sha256(), Digest::sha256(&der), "{}", path.display());
    }
    assert!(compared > 20, "{compared}");
    for path in captured_files("ak-", "tpm2b") {
        let ak = EndorsementKey::from_public_area(&fs::read(&path).unwrap()).unwrap_err();
        assert_eq!(ak, EndorsementKeyError::AttributeMissing(Attribute::Decrypt), "{}", path.display());
    }
}

#[test]
fn what_is_no_endorsement_key_is_refused_for_that() {
    let refused = |kind: EkKind, change: &dyn Fn(&mut SoftEk)| {
        let mut ek = SoftEk::new(kind);
        change(&mut ek);
        EndorsementKey::from_public_area(&ek.public_area()).map(drop).unwrap_err()
    };
    let unknown = |field, id| {
        EndorsementKeyError::PublicArea(PublicAreaError::Structure(StructureError::UnknownAlgorithm { field, id }))
    };
    for kind in EkKind::ALL {
        for (attribute, bit) in [
            (Attribute::FixedTpm, 0x0000_0002),
            (Attribute::FixedParent, 0x0000_0010),
            (Attribute::SensitiveDataOrigin, 0x0000_0020),
            (Attribute::Restricted, 0x0001_0000),
            (Attribute::Decrypt, 0x0002_0000),
        ] {
            let missing = refused(kind, &|ek| ek.attributes &= !bit);
            assert_eq!(missing, EndorsementKeyError::AttributeMissing(attribute), "{kind:?}");
        }
        let signs = refused(kind, &|ek| ek.attributes |= 0x0004_0000);
        assert_eq!(signs, EndorsementKeyError::AttributeForbidden(Attribute::Sign), "{kind:?}");
        assert_eq!(refused(kind, &|ek| ek.name_hash = HashAlgorithm::Sha1), EndorsementKeyError::WeakName);
        assert_eq!(refused(kind, &|ek| ek.symmetric = vec![0, 0x10]), EndorsementKeyError::NoCipher);
        let bits = EndorsementKeyError::UnknownCipher { key_bits: 129 };
        assert_eq!(refused(kind, &|ek| ek.symmetric = aes_cfb(129)), bits);
        // Camellia, and AES in counter mode.
        let camellia = refused(kind, &|ek| ek.symmetric = vec![0, 0x26, 0, 128, 0, 0x43]);
        assert_eq!(camellia, unknown("symmetric.algorithm", 0x26));
        let counter = refused(kind, &|ek| ek.symmetric = vec![0, 0x06, 0, 128, 0, 0x40]);
        assert_eq!(counter, unknown("symmetric.mode", 0x40));
    }
    let scheme = |algorithm| SignatureScheme { algorithm, hash: HashAlgorithm::Sha256 };
    let rsa = refused(EkKind::Rsa2048, &|ek| ek.scheme = vec![0, 0x14, 0, 0x0b]);
    assert_eq!(rsa, EndorsementKeyError::Signs(scheme(SignatureAlgorithm::RsaSsa)));
    let ecc = refused(EkKind::P256, &|ek| ek.scheme = vec![0, 0x18, 0, 0x0b]);
    assert_eq!(ecc, EndorsementKeyError::Signs(scheme(SignatureAlgorithm::Ecdsa)));
    for kind in EkKind::ALL {
        // An even modulus; a point beside its curve.
        let beside = refused(kind, &|ek| {
            *ek.unique.iter_mut().rfind(|unique| !unique.is_empty()).unwrap().last_mut().unwrap() ^= 1
        });
        assert_eq!(beside, EndorsementKeyError::NotAKey, "{kind:?}");
    }
    let trailing = EndorsementKey::from_public_area(&[SoftEk::new(EkKind::P256).public_area(), vec![0]].concat());
    let structure = PublicAreaError::Structure(StructureError::Trailing { count: 1 });
    assert_eq!(trailing.unwrap_err(), EndorsementKeyError::PublicArea(structure));
}

/// Every combination of hash and cipher that an endorsement key may have.
#[test]
fn all_hashes_and_ciphers_agree_with_the_software() {
    let ak = AttestationKey::from_public_area(&SoftTpm::new(Kind::P256).public_area()).unwrap().name();
    for kind in EkKind::ALL {
        for name_hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            for bits in [128, 192, 256] {
                let mut soft = SoftEk::new(kind);
                (soft.name_hash, soft.symmetric) = (name_hash, aes_cfb(bits));
                let credential = made(&endorsement_key(&soft), ak, entropy(9));
                let opened = soft.open(credential.id_object(), credential.encrypted_secret(), &ak.to_bytes());
                assert_eq!(opened, Some(SECRET.to_vec()), "{kind:?} {name_hash} {bits}");
            }
        }
    }
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", CredentialSecret::new(SECRET)), "CredentialSecret");
    assert_eq!(format!("{:?}", entropy(1)), "CredentialEntropy");
}

pub(crate) fn endorsement_key(soft: &SoftEk) -> EndorsementKey {
    EndorsementKey::from_public_area(&soft.public_area()).unwrap()
}

pub(crate) fn made(ek: &EndorsementKey, ak: Name, entropy: CredentialEntropy) -> Credential {
    make_credential(ek, ak, CredentialSecret::new(SECRET), entropy).unwrap()
}

pub(crate) fn entropy(byte: u8) -> CredentialEntropy {
    CredentialEntropy::new([byte; CredentialEntropy::LEN])
}
