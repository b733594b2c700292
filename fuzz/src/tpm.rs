//! What TPMs and their tools write. Seeds are those of real ones, in testdata/captures.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::keylime::{AuthTag, QuoteText};
use goldseal_verifier_core::tpm::credential::{
    Credential, CredentialEntropy, CredentialSecret, EndorsementKey, make_credential,
};
use goldseal_verifier_core::tpm::{
    AttestationKey, Attribute, ClaimedAttest, ExpectedSelection, PcrSelection, PublicArea, QuoteSignature,
    Sha1Signatures, SignatureAlgorithm, UncheckedAttestationKey, print_pcr_blob, read_pcr_blob,
};

/// A quote's statement: what is accepted is made of what was read of it.
pub fn attest(data: &[u8]) {
    let Ok(attest) = ClaimedAttest::parse(data) else { return };
    let mut head = b"\xff\x54\x43\x47\x80\x18".to_vec();
    head.extend(sized(attest.claimed_qualified_signer()));
    head.extend(sized(attest.claimed_nonce()));
    head.extend(attest.claimed_clock().millis.to_be_bytes());
    head.extend(attest.claimed_boot().reset_count.to_be_bytes());
    head.extend(attest.claimed_boot().restart_count.to_be_bytes());
    head.push(attest.claimed_clock().safe.into());
    head.extend(attest.claimed_firmware_version().to_be_bytes());
    let selection = data.strip_prefix(head.as_slice()).expect("as it was read");
    let selection = selection.strip_suffix(sized(attest.claimed_pcr_digest()).as_slice()).expect("as it was read");
    assert_eq!(attest.claimed_selection(), selected(selection));
    self_delimiting(data, |data| ClaimedAttest::parse(data).is_ok());
}

/// A signature: what is accepted says what it is, and is no signature of anything but what was signed.
pub fn signature(data: &[u8]) {
    if let Ok(signature) = QuoteSignature::parse(data) {
        let scheme = signature.claimed_scheme();
        let algorithm: u16 = match scheme.algorithm {
            SignatureAlgorithm::RsaSsa => 0x0014,
            SignatureAlgorithm::RsaPss => 0x0016,
            _ => 0x0018,
        };
        assert!(data.starts_with(&[algorithm.to_be_bytes(), hash_id(scheme.hash).to_be_bytes()].concat()));
        self_delimiting(data, |data| QuoteSignature::parse(data).is_ok());
        for key in KEYS {
            let key = UncheckedAttestationKey::from_pem_unchecked(key).expect("a good key");
            let (expected, sha1) = (ExpectedSelection::AsQuoted, Sha1Signatures::AcceptDangerously);
            assert!(key.verify_quote(b"nobody signed this", data, b"nonce", expected, sha1).is_err());
        }
    }
}

/// A public area, with or without its size: what is accepted has its bytes' Name, and a key that has one spelling.
pub fn public_area(data: &[u8]) {
    let Ok(area) = PublicArea::parse(data) else { return };
    let bare = match PublicArea::parse(&sized(data)) {
        Ok(_) => data,
        Err(_) => &data[2..],
    };
    assert_eq!(PublicArea::parse(bare).as_ref(), Ok(&area));
    assert_eq!(PublicArea::parse(&sized(bare)).as_ref(), Ok(&area));
    let hash = area.name_algorithm();
    let name = [&hash_id(hash).to_be_bytes(), Digest::of(hash, [bare]).as_bytes()].concat();
    assert_eq!(area.name().to_bytes(), name);
    let key = UncheckedAttestationKey::from_spki_der_unchecked(&area.spki_der()).expect("as it was printed");
    assert_eq!(key.spki_der(), area.spki_der());
    if let Ok(key) = AttestationKey::from_public_area(data) {
        assert_eq!(key.name(), area.name());
        assert!(area.has(Attribute::Restricted) && area.has(Attribute::Sign) && !area.has(Attribute::Decrypt));
    }
    if let Ok(ek) = EndorsementKey::from_public_area(data) {
        assert!(area.has(Attribute::Restricted) && area.has(Attribute::Decrypt) && !area.has(Attribute::Sign));
        let (secret, entropy) = (CredentialSecret::new([1; _]), CredentialEntropy::new([1; _]));
        let credential = make_credential(&ek, area.name(), secret, entropy).expect("a key that was taken is of use");
        assert_eq!(Credential::from_file(&credential.to_file()), Ok(credential));
    }
    self_delimiting(data, |data| PublicArea::parse(data).is_ok());
}

/// A credential's file: what is accepted is written as it was.
pub fn credential(data: &[u8]) {
    let Ok(credential) = Credential::from_file(data) else { return };
    assert_eq!(credential.to_file(), data);
    self_delimiting(data, |data| Credential::from_file(data).is_ok());
}

/// A credential as `tpm2_makecredential` wrote it, and one that is empty.
pub fn credentials() -> Vec<Vec<u8>> {
    vec![CREDENTIAL.to_vec(), b"\xba\xdc\xc0\xde\0\0\0\x01\0\0\0\0".to_vec()]
}

/// The text of a quote, and a tag: what is accepted has one spelling.
pub fn keylime_texts(data: &[u8]) {
    if let Ok(tag) = AuthTag::parse(data) {
        assert_eq!(tag.to_hex().as_bytes(), data);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(quote) = QuoteText::parse(text) {
        assert_eq!(quote.to_string(), text);
    }
}

/// Quotes of real TPMs as texts, and a tag.
pub fn texts() -> Vec<Vec<u8>> {
    let [attests, signatures, blobs] = ["msg", "sig", "pcrs"].map(captured);
    let quotes = attests.into_iter().zip(signatures).zip(blobs);
    let texts = quotes.map(|((attest, signature), pcr_blob)| QuoteText { attest, signature, pcr_blob }.to_string());
    texts.map(String::into_bytes).take(8).chain([vec![b'c'; 2 * AuthTag::LEN]]).collect()
}

/// A public key, as DER and as PEM: what is accepted has one spelling as DER.
pub fn spki(data: &[u8]) {
    if let Ok(key) = UncheckedAttestationKey::from_spki_der_unchecked(data) {
        assert_eq!(key.spki_der(), data);
    }
    if let Ok(key) = UncheckedAttestationKey::from_pem_unchecked(data) {
        assert_eq!(UncheckedAttestationKey::from_spki_der_unchecked(&key.spki_der()), Ok(key));
    }
}

/// A PCR blob: what is accepted has the same values after it is written again.
pub fn pcr_blob(data: &[u8]) {
    let Ok(values) = read_pcr_blob(data) else { return };
    assert_eq!(read_pcr_blob(&print_pcr_blob(&values)), Ok(values));
    self_delimiting(data, |data| read_pcr_blob(data).is_ok());
}

/// Every captured file of this extension, each once.
pub fn captured(extension: &str) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/captures"), extension, &mut files);
    let mut contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("readable")).collect();
    contents.sort();
    contents.dedup();
    assert!(contents.len() > 10, "captures have moved");
    contents
}

fn find(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().expect("a folder of this project") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            find(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}

/// Keys under which nothing that comes here was signed.
const KEYS: [&[u8]; 2] =
    [include_bytes!("../../testdata/keys/ak-rsa.pub"), include_bytes!("../../testdata/keys/ak-p256.pub")];

/// Of tpm2-tools 5.4, for the P-256 key of testdata/keys.
const CREDENTIAL: &[u8] = include_bytes!("credential.bin");

/// What is accepted says itself where it ends.
fn self_delimiting(data: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    assert!(!accepts(&[data, &[0]].concat()));
    assert!(!accepts(&data[..data.len() - 1]));
    assert!(!accepts(&data[..data.len() / 2]));
}

/// The PCRs of an accepted TPML_PCR_SELECTION.
fn selected(list: &[u8]) -> Option<PcrSelection> {
    let mut rest = &list[4..];
    let mut pcrs = Vec::new();
    while let [high, low, size, after @ ..] = rest {
        let id = u16::from_be_bytes([*high, *low]);
        let bank = HashAlgorithm::ALL.into_iter().find(|hash| hash_id(*hash) == id).expect("a known bank");
        let (bits, after) = after.split_at((*size).into());
        let is_set = |pcr: &u8| bits.get(usize::from(pcr / 8)).is_some_and(|byte| byte >> (pcr % 8) & 1 == 1);
        pcrs.extend((0..32).filter(is_set).map(|pcr| (bank, pcr)));
        rest = after;
    }
    PcrSelection::new(pcrs).ok()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}

fn hash_id(hash: HashAlgorithm) -> u16 {
    match hash {
        HashAlgorithm::Sha1 => 0x0004,
        HashAlgorithm::Sha256 => 0x000b,
        HashAlgorithm::Sha384 => 0x000c,
        HashAlgorithm::Sha512 => 0x000d,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else mutations would only ever see refusals.
    #[test]
    fn the_seeds_are_good() {
        assert!(captured("msg").iter().all(|data| ClaimedAttest::parse(data).is_ok()));
        assert!(captured("sig").iter().all(|data| QuoteSignature::parse(data).is_ok()));
        assert!(captured("tpm2b").iter().all(|data| PublicArea::parse(data).is_ok()));
        assert!(captured("pem").iter().any(|data| UncheckedAttestationKey::from_pem_unchecked(data).is_ok()));
        assert!(captured("pcrs").iter().all(|data| read_pcr_blob(data).is_ok()));
        assert!(credentials().iter().all(|data| Credential::from_file(data).is_ok()));
        let quotes =
            texts().iter().filter(|text| QuoteText::parse(str::from_utf8(text).expect("text")).is_ok()).count();
        assert_eq!(quotes, 8);
    }
}
