//! What TPMs and their tools write. Seeds are those of real ones, in testdata/captures.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
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
    self_delimiting(data, |data| PublicArea::parse(data).is_ok());
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
    }
}
