//! Public areas and PEM keys: those of real TPMs, and such as must not be believed.

use std::fs;
use std::process::Command;

use goldseal_tests::forge::ak::{Kind, SoftTpm, sized};
use goldseal_tests::quotes::{captured_files, captures};
use goldseal_tests::{output_of, shell};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::tpm::{
    AttestationKey, AttestationKeyError, Attribute, Curve, PublicArea, PublicAreaError, PublicKeyError,
    SignatureAlgorithm, SignatureScheme, SpkiError, StructureError, Symmetric, UncheckedAttestationKey,
};

/// Where fields stand in a TPM2B_PUBLIC without a policy: size, type, nameAlg, objectAttributes, authPolicy,
/// symmetric, scheme, its hash.
const TYPE: usize = 2;
const NAME_ALG: usize = 4;
const ATTRIBUTES: usize = 6;
const SYMMETRIC: usize = 12;
const SCHEME: usize = 14;
const SCHEME_HASH: usize = 16;
/// Of an RSA key, then its exponent and the size of its modulus.
const KEY_BITS: usize = 18;
const EXPONENT: usize = 20;
/// Of a key on a curve, then its key derivation.
const CURVE: usize = 18;
const KDF: usize = 20;

#[test]
fn every_captured_key_has_its_name_and_its_public_key() {
    let areas = captured_files("ak-", "tpm2b");
    assert!(areas.len() > 20);
    for path in areas {
        let bytes = fs::read(&path).unwrap();
        let key =
            AttestationKey::from_public_area(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // What the TPM itself said, and what tpm2-tools made of it.
        assert_eq!(key.name().to_bytes(), fs::read(path.with_extension("name")).unwrap(), "{}", path.display());
        let pem = fs::read(path.with_extension("pem")).unwrap();
        let unchecked = UncheckedAttestationKey::from_pem_unchecked(&pem).unwrap();
        assert_eq!(key.public_area().spki_der(), unchecked.spki_der(), "{}", path.display());
        assert_eq!(key.public_area().symmetric(), None);
        assert_eq!(key.public_area().policy(), b"");
        // Without the size it is the same key.
        assert_eq!(AttestationKey::from_public_area(&bytes[2..]), Ok(key));
    }
}

#[test]
fn endorsement_keys_are_read_and_are_no_attestation_keys() {
    let areas = captured_files("ek-", "tpm2b");
    assert!(areas.len() > 20);
    for path in areas {
        let bytes = fs::read(&path).unwrap();
        let area = PublicArea::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(area.symmetric(), Some(Symmetric { key_bits: 128 }));
        assert_eq!(area.scheme(), None);
        assert_eq!(area.policy().len(), 32);
        assert!(area.has(Attribute::Decrypt) && area.has(Attribute::Restricted) && !area.has(Attribute::Sign));
        let error = AttestationKeyError::AttributeMissing(Attribute::Sign);
        assert_eq!(AttestationKey::from_public_area(&bytes), Err(error));
        if let Ok(pem) = fs::read(path.with_extension("pem")) {
            let unchecked = UncheckedAttestationKey::from_pem_unchecked(&pem).unwrap();
            assert_eq!(area.spki_der(), unchecked.spki_der(), "{}", path.display());
        }
    }
}

/// The certificate of the maker holds the key byte for byte as it is printed here.
#[test]
fn the_endorsement_key_is_in_its_certificate() {
    let case = captures().join("banks4-aks");
    let area = PublicArea::parse(&fs::read(case.join("ek-rsa.tpm2b")).unwrap()).unwrap();
    let certificate = fs::read(case.join("nv-0x01c00002.der")).unwrap();
    let spki = area.spki_der();
    assert!(certificate.windows(spki.len()).any(|window| window == spki));
    assert_eq!(area.curve(), None);
}

#[test]
fn each_attribute_of_an_attestation_key_is_required() {
    let required = [
        (Attribute::FixedTpm, 1),
        (Attribute::FixedParent, 4),
        (Attribute::SensitiveDataOrigin, 5),
        (Attribute::Restricted, 16),
        (Attribute::Sign, 18),
    ];
    let mut areas: Vec<Vec<u8>> = captured_files("ak-", "tpm2b").iter().map(|path| fs::read(path).unwrap()).collect();
    areas.extend(Kind::ALL.map(|kind| SoftTpm::new(kind).public_area()));
    for area in areas {
        let name = PublicArea::parse(&area).unwrap().name();
        for (attribute, bit) in required {
            let cleared = with_attributes(&area, |attributes| attributes & !(1 << bit));
            assert_ne!(PublicArea::parse(&cleared).unwrap().name(), name);
            let error = AttestationKeyError::AttributeMissing(attribute);
            assert_eq!(AttestationKey::from_public_area(&cleared), Err(error));
        }
        let decrypts = with_attributes(&area, |attributes| attributes | 1 << 17);
        assert_ne!(PublicArea::parse(&decrypts).unwrap().name(), name);
        let error = AttestationKeyError::AttributeForbidden(Attribute::Decrypt);
        assert_eq!(AttestationKey::from_public_area(&decrypts), Err(error));
        // An attribute that does not matter makes another key all the same: noDA.
        let other = with_attributes(&area, |attributes| attributes | 1 << 10);
        assert_ne!(AttestationKey::from_public_area(&other).unwrap().name(), name);
    }
}

#[test]
fn the_software_keys_are_what_openssl_says() {
    for kind in Kind::ALL {
        let tpm = SoftTpm::new(kind);
        let key = AttestationKey::from_public_area(&tpm.public_area()).unwrap();
        let unchecked = UncheckedAttestationKey::from_pem_unchecked(tpm.pem().as_bytes()).unwrap();
        assert_eq!(key.public_area().spki_der(), unchecked.spki_der());
        assert_eq!(key.scheme().hash, kind.hash());
        let curve = match kind {
            Kind::RsaSsa | Kind::RsaPss => None,
            Kind::P256 => Some(Curve::P256),
            Kind::P384 => Some(Curve::P384),
        };
        assert_eq!(key.public_area().curve(), curve);
    }
}

#[test]
fn weak_and_odd_parameters_are_refused() {
    let rsa = SoftTpm::new(Kind::RsaSsa).public_area();
    let p256 = SoftTpm::new(Kind::P256).public_area();
    let refused = |area: &[u8], at: usize, bytes: &[u8]| {
        let mut changed = area.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        AttestationKey::from_public_area(&changed).unwrap_err()
    };
    let unknown = |field, id| {
        AttestationKeyError::PublicArea(PublicAreaError::Structure(StructureError::UnknownAlgorithm { field, id }))
    };
    let value = |field, found| {
        AttestationKeyError::PublicArea(PublicAreaError::Structure(StructureError::Value { field, found }))
    };

    assert_eq!(refused(&rsa, NAME_ALG, &[0, 0x04]), AttestationKeyError::WeakName);
    assert_eq!(refused(&rsa, NAME_ALG, &[0, 0x12]), unknown("nameAlg", 0x12));
    // A key for HMACs, and one for a cipher.
    assert_eq!(refused(&rsa, TYPE, &[0, 0x08]), unknown("type", 0x08));
    assert_eq!(refused(&rsa, TYPE, &[0, 0x25]), unknown("type", 0x25));
    assert_eq!(refused(&rsa, SYMMETRIC, &[0, 0x13]), unknown("symmetric.algorithm", 0x13));
    // RSAES, and ECDSA of an RSA key.
    assert_eq!(refused(&rsa, SCHEME, &[0, 0x15]), unknown("scheme", 0x15));
    assert_eq!(refused(&rsa, SCHEME, &[0, 0x18]), unknown("scheme", 0x18));
    assert_eq!(refused(&p256, SCHEME, &[0, 0x1a]), unknown("scheme", 0x1a));
    assert_eq!(refused(&p256, SCHEME, &[0, 0x14]), unknown("scheme", 0x14));
    assert_eq!(refused(&rsa, SCHEME_HASH, &[0, 0x27]), unknown("scheme.hash", 0x27));
    // P-521 and BN-P256; a key derivation.
    assert_eq!(refused(&p256, CURVE, &[0, 0x05]), unknown("curveID", 0x05));
    assert_eq!(refused(&p256, CURVE, &[0, 0x10]), unknown("curveID", 0x10));
    assert_eq!(refused(&p256, KDF, &[0, 0x20]), unknown("kdf", 0x20));
    assert_eq!(refused(&rsa, KEY_BITS, &[0x0c, 0]), value("keyBits", 3_072));
    let exponent = |found| AttestationKeyError::PublicArea(PublicAreaError::Key(PublicKeyError::Exponent { found }));
    assert_eq!(refused(&rsa, EXPONENT, &[0, 0, 0, 3]), exponent(3));
    assert_eq!(refused(&rsa, EXPONENT, &[0, 1, 0, 2]), exponent(65_538));
    // A modulus whose first byte is zero has fewer bits than it says.
    let modulus = |bits| AttestationKeyError::PublicArea(PublicAreaError::Key(PublicKeyError::ModulusLength { bits }));
    assert_eq!(refused(&rsa, EXPONENT + 6, &[0x01]), modulus(2_041));

    // Schemes that a TPM may have and that cannot be checked here.
    let scheme = |algorithm, hash| AttestationKeyError::Unsupported(SignatureScheme { algorithm, hash });
    let pss_sha1 = scheme(SignatureAlgorithm::RsaPss, HashAlgorithm::Sha1);
    assert_eq!(refused(&rsa, SCHEME, &[0, 0x16, 0, 0x04]), pss_sha1);
    let ecdsa_sha512 = scheme(SignatureAlgorithm::Ecdsa, HashAlgorithm::Sha512);
    assert_eq!(refused(&p256, SCHEME_HASH, &[0, 0x0d]), ecdsa_sha512);
}

#[test]
fn a_short_modulus_is_refused() {
    let area = SoftTpm::new(Kind::RsaSsa).public_area();
    let (head, modulus) = area[2..].split_at(EXPONENT + 4 - 2);
    let mut head = head.to_vec();
    head[KEY_BITS - 2..KEY_BITS].copy_from_slice(&1_024u16.to_be_bytes());
    let short = sized(&[&head[..], &sized(&modulus[2..2 + 128])].concat());
    let error = PublicAreaError::Key(PublicKeyError::ModulusLength { bits: 1_024 });
    assert_eq!(AttestationKey::from_public_area(&short), Err(AttestationKeyError::PublicArea(error)));

    let pem = shell(&std::env::temp_dir(), "openssl genrsa 1024 2>/dev/null | openssl rsa -pubout 2>/dev/null");
    let error = SpkiError::Key(PublicKeyError::ModulusLength { bits: 1_024 });
    assert_eq!(UncheckedAttestationKey::from_pem_unchecked(&pem), Err(error));
}

#[test]
fn a_key_without_a_scheme_is_refused() {
    let area = SoftTpm::new(Kind::P256).public_area();
    let without = [&area[2..SCHEME], &[0, 0x10][..], &area[SCHEME_HASH + 2..]].concat();
    assert_eq!(AttestationKey::from_public_area(&sized(&without)), Err(AttestationKeyError::NoScheme));
}

#[test]
fn a_public_area_ends_where_it_says() {
    let structure = |error| Err(AttestationKeyError::PublicArea(PublicAreaError::Structure(error)));
    for kind in Kind::ALL {
        let area = SoftTpm::new(kind).public_area();
        let trailing = StructureError::Trailing { count: 1 };
        // After the size, within it, and without it.
        let longer = [&area[..], &[0]].concat();
        assert_eq!(AttestationKey::from_public_area(&longer), structure(trailing.clone()));
        let longer = [&area[2..], &[0]].concat();
        assert_eq!(AttestationKey::from_public_area(&sized(&longer)), structure(trailing.clone()));
        assert_eq!(AttestationKey::from_public_area(&longer), structure(trailing));
        for length in 0..area.len() {
            let cut = StructureError::Truncated { field: "publicArea" };
            assert_eq!(AttestationKey::from_public_area(&area[..length]), structure(cut), "{length}");
        }
        for length in 0..area.len() - 2 {
            let cut = AttestationKey::from_public_area(&sized(&area[2..2 + length]));
            assert!(cut.is_err(), "{kind:?}: {length}");
        }
    }
}

/// A TPM may leave out leading zeros of a coordinate; the key is the same, its Name is not.
#[test]
fn short_coordinates_are_padded() {
    let area = SoftTpm::new(Kind::P256).public_area();
    let x = 22;
    let mut zero = area.clone();
    zero[x + 2] = 0;
    let mut stripped = [&zero[..x], &[0, 31][..], &zero[x + 3..]].concat();
    stripped[1] -= 1;
    let (zero, stripped) = (PublicArea::parse(&zero).unwrap(), PublicArea::parse(&stripped).unwrap());
    assert_eq!(zero.spki_der(), stripped.spki_der());
    assert_ne!(zero.name(), stripped.name());
}

#[test]
fn pem_is_one_public_key_and_nothing_else() {
    let pem = SoftTpm::new(Kind::P256).pem();
    let read = |text: &str| UncheckedAttestationKey::from_pem_unchecked(text.as_bytes()).map(drop);
    for good in [pem.to_owned(), format!("\n{pem}\n\n"), pem.replace('\n', "\r\n")] {
        assert_eq!(read(&good), Ok(()));
    }
    for bad in [
        String::new(),
        pem[1..].to_owned(),
        format!("{pem}{pem}"),
        format!("subject=x\n{pem}"),
        pem.replace("PUBLIC KEY", "CERTIFICATE"),
        pem.replacen("\n", "\nComment: x\n\n", 1),
        pem.replace("==", "="),
        pem.replace('M', "!"),
    ] {
        assert_eq!(read(&bad), Err(SpkiError::NotPem), "{bad}");
    }
    let long = format!("{pem}{}", " ".repeat(4_096));
    assert_eq!(read(&long), Err(SpkiError::TooLong { found: long.len(), max: 4_096 }));
    assert_eq!(UncheckedAttestationKey::from_pem_unchecked(b"\xff"), Err(SpkiError::NotPem));
}

/// Other kinds of keys, as openssl makes them.
#[test]
fn other_keys_are_refused() {
    let openssl = |arguments: &str| {
        let script = format!("openssl genpkey {arguments} 2>/dev/null | openssl pkey -pubout");
        shell(&std::env::temp_dir(), &script)
    };
    for other in [
        "-algorithm ED25519",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
        "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
    ] {
        let pem = openssl(other);
        assert_eq!(UncheckedAttestationKey::from_pem_unchecked(&pem), Err(SpkiError::NotAKey), "{other}");
    }
    let exponent = openssl("-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3");
    let error = SpkiError::Key(PublicKeyError::Exponent { found: 3 });
    assert_eq!(UncheckedAttestationKey::from_pem_unchecked(&exponent), Err(error));
    // A compressed point.
    let key = captures().parent().unwrap().join("keys/ak-p256.key");
    let mut compressed = Command::new("openssl");
    compressed.args(["ec", "-pubout", "-conv_form", "compressed", "-in"]).arg(key);
    let pem = output_of(&mut compressed);
    assert_eq!(UncheckedAttestationKey::from_pem_unchecked(&pem), Err(SpkiError::NotAKey));
}

/// Each key has one encoding, whatever the DER would allow.
#[test]
fn der_has_one_spelling() {
    for kind in Kind::ALL {
        let der = PublicArea::parse(&SoftTpm::new(kind).public_area()).unwrap().spki_der();
        assert!(UncheckedAttestationKey::from_spki_der_unchecked(&der).is_ok());
        let longer = [&der[..], &[0]].concat();
        assert_eq!(UncheckedAttestationKey::from_spki_der_unchecked(&longer), Err(SpkiError::NotAKey));
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            if let Ok(other) = UncheckedAttestationKey::from_spki_der_unchecked(&changed) {
                assert_eq!(other.spki_der(), changed, "{kind:?}: byte {at}");
            }
        }
    }
}

fn with_attributes(area: &[u8], change: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut area = area.to_vec();
    let attributes: [u8; 4] = area[ATTRIBUTES..ATTRIBUTES + 4].try_into().unwrap();
    area[ATTRIBUTES..ATTRIBUTES + 4].copy_from_slice(&change(u32::from_be_bytes(attributes)).to_be_bytes());
    area
}
