//! Outside judges: tpm2_checkquote on quotes, and openssl as a signer that is not ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use goldseal_tests::World;
use goldseal_tests::forge::ak::{Kind, SoftTpm, hash_id, sized};
use goldseal_tests::output_of;
use goldseal_tests::quotes::{CapturedQuote, captured_quotes};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::tpm::{
    ExpectedSelection, PcrSelection, QuoteError, Sha1Signatures, SignatureAlgorithm, SignatureScheme,
    UncheckedAttestationKey, read_pcr_blob,
};

#[test]
fn tpm2_checkquote_judges_captures_the_same() {
    let world = World::new();
    let mut judged = 0;
    for quote in captured_quotes() {
        // tpm2_checkquote 5.4 cannot check RSAPSS.
        if quote.ak != "rsapss" {
            assert!(tpm2_checkquote(&world, &quote), "{}", quote.name);
            judged += 1;
        }
        assert!(ours(&quote), "{}", quote.name);
    }
    assert!(judged > 90, "{judged}");
}

#[test]
fn tpm2_checkquote_judges_mutations_the_same() {
    let world = World::new();
    let mut verdicts = (0, 0);
    let quotes: Vec<CapturedQuote> = captured_quotes()
        .into_iter()
        .filter(|quote| quote.name.starts_with("banks4-aks/") && quote.ak != "rsapss")
        .collect();
    for (index, quote) in quotes.iter().enumerate() {
        let other = &quotes[(index + 1) % quotes.len()];
        for (what, mutated) in mutations(quote, other) {
            let theirs = tpm2_checkquote(&world, &mutated);
            assert_eq!(ours(&mutated), theirs, "{}: {what}", quote.name);
            *if theirs { &mut verdicts.0 } else { &mut verdicts.1 } += 1;
        }
    }
    assert!(verdicts.0 >= 9 && verdicts.1 >= 50, "{verdicts:?}");
}

/// Where tpm2_checkquote is laxer: it stops reading where it has what it wants.
#[test]
fn bytes_too_many_are_refused_where_tpm2_checkquote_takes_them() {
    let world = World::new();
    for quote in captured_quotes().iter().filter(|quote| quote.name.starts_with("banks4-aks/") && quote.ak != "rsapss")
    {
        let blob = [&quote.blob[..], &[0]].concat();
        let signature = [&quote.signature[..], &[0]].concat();
        let longer_blob = CapturedQuote { blob, ..quote.clone() };
        let longer_signature = CapturedQuote { signature, ..quote.clone() };
        assert!(!ours(&longer_blob) && !ours(&longer_signature));
        assert!(tpm2_checkquote(&world, &longer_blob), "{}: it has become stricter", quote.name);
        assert!(tpm2_checkquote(&world, &longer_signature), "{}: it has become stricter", quote.name);
    }
}

/// Quotes of the software TPM, which a program that is not ours believes too.
#[test]
fn tpm2_checkquote_believes_the_software_tpm() {
    let world = World::new();
    let selection = PcrSelection::new((0..24).map(|pcr| (HashAlgorithm::Sha256, pcr))).unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::RsaPss) {
        let mut tpm = SoftTpm::new(kind);
        tpm.extend(HashAlgorithm::Sha256, 10, &[3; 32]);
        let quote = tpm.quote(b"nonce", &selection);
        let files = Files {
            key: world.file("key.pem", tpm.pem()),
            attest: world.file("attest", &quote.attest),
            signature: world.file("signature", &quote.signature),
            blob: world.file("blob", &quote.pcrs_blob),
        };
        assert!(files.checked(kind.hash(), b"nonce"), "{kind:?}");
        assert!(!files.checked(kind.hash(), b"other"), "{kind:?}");
    }
}

/// Every scheme that is checked here, by a signer that is not ours; and those that are not.
#[test]
fn every_scheme_by_openssl() {
    let world = World::new();
    for (algorithm, key) in [
        (SignatureAlgorithm::RsaSsa, Kind::RsaSsa),
        (SignatureAlgorithm::RsaPss, Kind::RsaSsa),
        (SignatureAlgorithm::Ecdsa, Kind::P256),
        (SignatureAlgorithm::Ecdsa, Kind::P384),
    ] {
        for hash in HashAlgorithm::ALL {
            let scheme = SignatureScheme { algorithm, hash };
            let unsupported = match algorithm {
                SignatureAlgorithm::RsaSsa => false,
                SignatureAlgorithm::RsaPss => hash == HashAlgorithm::Sha1,
                _ => matches!(hash, HashAlgorithm::Sha1 | HashAlgorithm::Sha512),
            };
            let expected = if unsupported { Err(QuoteError::Unsupported(scheme)) } else { Ok(()) };
            assert_eq!(signed_by_openssl(&world, key, scheme, "digest"), expected, "{scheme} {key:?}");
        }
    }
    // The longest salt that fits, as TPMs of older revisions take it: openssl checks it, ring does not.
    let pss = SignatureScheme { algorithm: SignatureAlgorithm::RsaPss, hash: HashAlgorithm::Sha256 };
    assert_eq!(signed_by_openssl(&world, Kind::RsaSsa, pss, "max"), Err(QuoteError::BadSignature));
}

/// A quote of the software TPM whose signature openssl made.
fn signed_by_openssl(world: &World, key: Kind, scheme: SignatureScheme, salt: &str) -> Result<(), QuoteError> {
    let selection = PcrSelection::new([(HashAlgorithm::Sha256, 10)]).unwrap();
    let mut tpm = SoftTpm::new(key);
    let mut attest = tpm.attest(b"nonce", &selection);
    // What is signed has to be right only as far as the signature is concerned.
    attest.pcr_digest = vec![0; scheme.hash.digest_len()];
    let file = world.file("message", attest.encode());
    let key_file = testdata().join(match key {
        Kind::RsaSsa | Kind::RsaPss => "keys/ak-rsa.key",
        Kind::P256 => "keys/ak-p256.key",
        Kind::P384 => "keys/ak-p384.key",
    });
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", &format!("-{}", scheme.hash), "-sign"]).arg(key_file);
    if scheme.algorithm == SignatureAlgorithm::RsaPss {
        openssl.args(["-sigopt", "rsa_padding_mode:pss", "-sigopt", &format!("rsa_pss_saltlen:{salt}")]);
    }
    let value = output_of(openssl.arg(file));
    let (id, value) = match scheme.algorithm {
        SignatureAlgorithm::RsaSsa => (0x0014u16, sized(&value)),
        SignatureAlgorithm::RsaPss => (0x0016, sized(&value)),
        _ => (0x0018, numbers(&value).concat()),
    };
    let signature = [&id.to_be_bytes()[..], &hash_id(scheme.hash).to_be_bytes(), &value].concat();
    let key = UncheckedAttestationKey::from_pem_unchecked(tpm.pem().as_bytes()).unwrap();
    let (expected, sha1) = (ExpectedSelection::Exactly(&selection), Sha1Signatures::AcceptDangerously);
    key.verify_quote(&attest.encode(), &signature, b"nonce", expected, sha1).map(drop)
}

/// r and s of an Ecdsa-Sig-Value, each as a TPM2B_ECC_PARAMETER without leading zeros. All lengths are short.
fn numbers(der: &[u8]) -> [Vec<u8>; 2] {
    let r_end = 4 + usize::from(der[3]);
    let number = |digits: &[u8]| sized(&digits[digits.iter().take_while(|byte| **byte == 0).count()..]);
    [number(&der[4..r_end]), number(&der[r_end + 2..])]
}

/// A quote, itself and with one thing changed.
fn mutations(quote: &CapturedQuote, other: &CapturedQuote) -> Vec<(String, CapturedQuote)> {
    let mut mutations = vec![("as it is".to_owned(), quote.clone())];
    let mut add = |what: &str, change: &dyn Fn(&mut CapturedQuote)| {
        let mut changed = quote.clone();
        change(&mut changed);
        mutations.push((what.to_owned(), changed));
    };
    add("nonce", &|quote| quote.nonce[19] ^= 1);
    add("prefix of the nonce", &|quote| quote.nonce.truncate(19));
    add("longer nonce", &|quote| quote.nonce.push(0));
    add("magic", &|quote| quote.attest[0] ^= 1);
    add("clock", &|quote| quote.attest[70] ^= 0x10);
    add("digest", &|quote| *quote.attest.last_mut().unwrap() ^= 0x80);
    add("longer statement", &|quote| quote.attest.push(0));
    add("signature", &|quote| *quote.signature.last_mut().unwrap() ^= 1);
    add("shorter signature", &|quote| quote.signature.truncate(quote.signature.len() - 1));
    add("first value", &|quote| quote.blob[142] ^= 1);
    add("selected PCR", &|quote| quote.blob[8] ^= 0x08);
    add("count of values", &|quote| quote.blob[136] ^= 1);
    add("shorter values", &|quote| quote.blob.truncate(quote.blob.len() - 532));
    if quote.ak != other.ak {
        add("another key", &|quote| quote.ak.clone_from(&other.ak));
    }
    if quote.selection != other.selection {
        add("another's values", &|quote| quote.blob.clone_from(&other.blob));
        add("another's statement", &|quote| quote.attest.clone_from(&other.attest));
    }
    mutations
}

fn ours(quote: &CapturedQuote) -> bool {
    let key = UncheckedAttestationKey::from_pem_unchecked(&quote.pem()).unwrap();
    let (expected, sha1) = (ExpectedSelection::AsQuoted, Sha1Signatures::AcceptDangerously);
    let verified = key.verify_quote(&quote.attest, &quote.signature, &quote.nonce, expected, sha1);
    verified.is_ok_and(|verified| read_pcr_blob(&quote.blob).is_ok_and(|values| verified.bind(values).is_ok()))
}

fn tpm2_checkquote(world: &World, quote: &CapturedQuote) -> bool {
    let files = Files {
        key: quote.case.join(format!("ak-{}.pem", quote.ak)),
        attest: world.file("attest", &quote.attest),
        signature: world.file("signature", &quote.signature),
        blob: world.file("blob", &quote.blob),
    };
    files.checked(quote.hash(), &quote.nonce)
}

struct Files {
    key: PathBuf,
    attest: PathBuf,
    signature: PathBuf,
    blob: PathBuf,
}

impl Files {
    fn checked(&self, hash: HashAlgorithm, nonce: &[u8]) -> bool {
        let mut command = Command::new("tpm2_checkquote");
        command.arg("-u").arg(&self.key).arg("-m").arg(&self.attest).arg("-s").arg(&self.signature);
        command.arg("-f").arg(&self.blob).args(["-g", hash.name(), "-q", &hex(nonce)]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("testdata")
}
