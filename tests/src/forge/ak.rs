//! A TPM in software, as far as quotes see one: PCRs, counters, a clock, and one attestation key.
//!
//! Unlike a TPM it signs whatever it is given, so that each check can be met by a quote that is right in all else. Its
//! encodings and hashes are its own: nothing here is code of the verifier.

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::tpm::PcrSelection;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// TPMA_OBJECT of an attestation key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign.
pub const AK_ATTRIBUTES: u32 = 0x0005_0072;

/// What key a [`SoftTpm`] has, and how it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA-2048, RSASSA with SHA-256.
    RsaSsa,
    /// RSA-2048, RSAPSS with SHA-256.
    RsaPss,
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::RsaSsa, Self::RsaPss, Self::P256, Self::P384];

    /// The hash of its signatures and quotes.
    pub fn hash(self) -> HashAlgorithm {
        if self == Self::P384 { HashAlgorithm::Sha384 } else { HashAlgorithm::Sha256 }
    }

    fn scheme_id(self) -> u16 {
        match self {
            Self::RsaSsa => 0x0014,
            Self::RsaPss => 0x0016,
            Self::P256 | Self::P384 => 0x0018,
        }
    }

    /// Key and public key as openssl wrote them.
    fn pem(self) -> (&'static str, &'static str) {
        match self {
            Self::RsaSsa | Self::RsaPss => {
                (include_str!("../../../testdata/keys/ak-rsa.key"), include_str!("../../../testdata/keys/ak-rsa.pub"))
            }
            Self::P256 => {
                (include_str!("../../../testdata/keys/ak-p256.key"), include_str!("../../../testdata/keys/ak-p256.pub"))
            }
            Self::P384 => {
                (include_str!("../../../testdata/keys/ak-p384.key"), include_str!("../../../testdata/keys/ak-p384.pub"))
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct SoftTpm {
    kind: Kind,
    key: Key,
    /// Each bank with its 24 PCRs.
    banks: Vec<(HashAlgorithm, Vec<Vec<u8>>)>,
    reset_count: u32,
    restart_count: u32,
    clock: u64,
    saved_clock: u64,
    safe: bool,
}

#[derive(Debug)]
enum Key {
    Rsa(RsaKeyPair),
    Ecc(EcdsaKeyPair),
}

impl Key {
    fn of(kind: Kind) -> Self {
        let der = pem_body(kind.pem().0);
        let random = SystemRandom::new();
        match kind {
            Kind::RsaSsa | Kind::RsaPss => Self::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap()),
            Kind::P256 => Self::Ecc(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random).unwrap()),
            Kind::P384 => Self::Ecc(EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der, &random).unwrap()),
        }
    }
}

/// What a quote consists of, as it travels.
#[derive(Clone, Debug)]
pub struct SoftQuote {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// The values, as `tpm2_quote -o` writes them.
    pub pcrs_blob: Vec<u8>,
}

impl SoftTpm {
    /// A TPM just started, with the banks sha1 and sha256.
    pub fn new(kind: Kind) -> Self {
        Self::with_banks(kind, &[HashAlgorithm::Sha1, HashAlgorithm::Sha256])
    }

    pub fn with_banks(kind: Kind, banks: &[HashAlgorithm]) -> Self {
        let key = Key::of(kind);
        let banks = banks.iter().map(|bank| (*bank, initial_pcrs(*bank))).collect();
        Self { kind, key, banks, reset_count: 1, restart_count: 0, clock: 10_000, saved_clock: 0, safe: true }
    }

    /// The same TPM with another attestation key.
    pub fn use_key(&mut self, kind: Kind) {
        (self.kind, self.key) = (kind, Key::of(kind));
    }

    /// TPM2B_PUBLIC of the key.
    pub fn public_area(&self) -> Vec<u8> {
        let mut area = Vec::new();
        area.extend(if matches!(self.key, Key::Rsa(_)) { 0x0001u16 } else { 0x0023 }.to_be_bytes());
        area.extend(hash_id(HashAlgorithm::Sha256).to_be_bytes());
        area.extend(AK_ATTRIBUTES.to_be_bytes());
        area.extend(sized(b""));
        // No symmetric cipher.
        area.extend(0x0010u16.to_be_bytes());
        area.extend(self.kind.scheme_id().to_be_bytes());
        area.extend(hash_id(self.kind.hash()).to_be_bytes());
        match &self.key {
            Key::Rsa(key) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                area.extend(u16::try_from(public.n.len() * 8).unwrap().to_be_bytes());
                area.extend(0u32.to_be_bytes());
                area.extend(sized(&public.n));
            }
            Key::Ecc(key) => {
                area.extend(if self.kind == Kind::P256 { 0x0003u16 } else { 0x0004 }.to_be_bytes());
                area.extend(0x0010u16.to_be_bytes());
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                area.extend([sized(x), sized(y)].concat());
            }
        }
        sized(&area)
    }

    /// The public key as SubjectPublicKeyInfo PEM.
    pub fn pem(&self) -> &'static str {
        self.kind.pem().1
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// TPM2_PCR_Extend in one bank.
    pub fn extend(&mut self, bank: HashAlgorithm, pcr: u8, digest: &[u8]) {
        assert_eq!(digest.len(), bank.digest_len());
        let pcrs = self.banks.iter_mut().find(|(known, _)| *known == bank).map(|(_, pcrs)| pcrs).unwrap();
        let value = &mut pcrs[usize::from(pcr)];
        *value = hash(bank, &[value.as_slice(), digest].concat());
    }

    /// The value of a PCR.
    pub fn pcr(&self, bank: HashAlgorithm, pcr: u8) -> Digest {
        Digest::new(bank, self.value(bank, pcr)).unwrap()
    }

    /// A reset: orderly shutdown, then a start from nothing.
    pub fn reset(&mut self) {
        self.reset_count += 1;
        self.restart_count = 0;
        self.saved_clock = self.clock;
        self.start_pcrs_anew();
    }

    /// A power cut: a reset after which the clock goes on from where it was last saved, unsafe.
    pub fn power_cut(&mut self) {
        let saved = self.saved_clock;
        self.reset();
        (self.clock, self.saved_clock, self.safe) = (saved, saved, false);
    }

    /// A restart: Shutdown(STATE), then Startup(CLEAR).
    pub fn restart(&mut self) {
        self.restart_count += 1;
        self.start_pcrs_anew();
    }

    /// A resume: Shutdown(STATE), then Startup(STATE). PCRs stay.
    pub fn resume(&mut self) {
        self.restart_count += 1;
    }

    /// A quote of these PCRs for this nonce.
    pub fn quote(&mut self, nonce: &[u8], selection: &PcrSelection) -> SoftQuote {
        let attest = self.attest(nonce, selection);
        self.sign_quote(&attest)
    }

    /// The statement of such a quote, to be altered and then given to [`SoftTpm::sign_quote`].
    pub fn attest(&mut self, nonce: &[u8], selection: &PcrSelection) -> SoftAttest {
        self.clock += 1_000;
        let selection: Vec<_> = selection
            .banks()
            .map(|bank| (bank, selection.iter().filter(|(of, _)| *of == bank).map(|(_, pcr)| pcr).collect()))
            .collect();
        SoftAttest {
            magic: 0xff54_4347,
            kind: 0x8018,
            qualified_signer: [&hash_id(HashAlgorithm::Sha256).to_be_bytes()[..], &[7; 32]].concat(),
            extra_data: nonce.to_vec(),
            clock: self.clock,
            reset_count: self.reset_count,
            restart_count: self.restart_count,
            safe: self.safe.into(),
            firmware_version: 0x2026_0101_0000_0001,
            pcr_digest: self.pcr_digest(&selection),
            selection,
        }
    }

    /// Signs it, whatever it says.
    pub fn sign_quote(&self, attest: &SoftAttest) -> SoftQuote {
        let bytes = attest.encode();
        let signature = self.sign(&bytes);
        SoftQuote { attest: bytes, signature, pcrs_blob: self.pcrs_blob(&attest.selection) }
    }

    /// TPMT_SIGNATURE of any bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let mut signature = self.kind.scheme_id().to_be_bytes().to_vec();
        signature.extend(hash_id(self.kind.hash()).to_be_bytes());
        match &self.key {
            Key::Rsa(key) => {
                let padding: &dyn ring::signature::RsaEncoding =
                    if self.kind == Kind::RsaPss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut value = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut value).unwrap();
                signature.extend(sized(&value));
            }
            Key::Ecc(key) => {
                let value = key.sign(&random, message).unwrap();
                let (r, s) = value.as_ref().split_at(value.as_ref().len() / 2);
                signature.extend([sized(r), sized(s)].concat());
            }
        }
        signature
    }

    /// What a TPM puts into `pcrDigest`: bank after bank as listed, PCRs by number, hashed by the key's hash.
    pub fn pcr_digest(&self, selection: &[(HashAlgorithm, Vec<u8>)]) -> Vec<u8> {
        let values = selection.iter().flat_map(|(bank, pcrs)| pcrs.iter().map(|pcr| self.value(*bank, *pcr)));
        hash(self.kind.hash(), &values.collect::<Vec<_>>().concat())
    }

    /// The values of a selection, as `tpm2_quote -o` writes them.
    pub fn pcrs_blob(&self, selection: &[(HashAlgorithm, Vec<u8>)]) -> Vec<u8> {
        let mut blob = u32::try_from(selection.len()).unwrap().to_le_bytes().to_vec();
        for (bank, pcrs) in selection {
            blob.extend(hash_id(*bank).to_le_bytes());
            blob.push(3);
            blob.extend([select(pcrs), vec![0, 0]].concat());
        }
        blob.resize(132, 0);
        let values: Vec<&[u8]> =
            selection.iter().flat_map(|(bank, pcrs)| pcrs.iter().map(|pcr| self.value(*bank, *pcr))).collect();
        let lists = values.chunks(8);
        blob.extend(u32::try_from(lists.len()).unwrap().to_le_bytes());
        for list in lists {
            let end = blob.len() + 532;
            blob.extend(u32::try_from(list.len()).unwrap().to_le_bytes());
            for value in list {
                blob.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
                blob.extend([*value, &[0; 64][value.len()..]].concat());
            }
            blob.resize(end, 0);
        }
        blob
    }

    fn value(&self, bank: HashAlgorithm, pcr: u8) -> &[u8] {
        let (_, pcrs) = self.banks.iter().find(|(known, _)| *known == bank).unwrap();
        &pcrs[usize::from(pcr)]
    }

    fn start_pcrs_anew(&mut self) {
        for (bank, pcrs) in &mut self.banks {
            *pcrs = initial_pcrs(*bank);
        }
    }
}

/// TPMS_ATTEST of a quote, field by field.
#[derive(Clone, Debug)]
pub struct SoftAttest {
    pub magic: u32,
    pub kind: u16,
    pub qualified_signer: Vec<u8>,
    pub extra_data: Vec<u8>,
    pub clock: u64,
    pub reset_count: u32,
    pub restart_count: u32,
    pub safe: u8,
    pub firmware_version: u64,
    pub selection: Vec<(HashAlgorithm, Vec<u8>)>,
    pub pcr_digest: Vec<u8>,
}

impl SoftAttest {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_be_bytes().to_vec();
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(sized(&self.qualified_signer));
        bytes.extend(sized(&self.extra_data));
        bytes.extend(self.clock.to_be_bytes());
        bytes.extend(self.reset_count.to_be_bytes());
        bytes.extend(self.restart_count.to_be_bytes());
        bytes.push(self.safe);
        bytes.extend(self.firmware_version.to_be_bytes());
        bytes.extend(u32::try_from(self.selection.len()).unwrap().to_be_bytes());
        for (bank, pcrs) in &self.selection {
            bytes.extend(hash_id(*bank).to_be_bytes());
            bytes.push(3);
            bytes.extend(select(pcrs));
        }
        bytes.extend(sized(&self.pcr_digest));
        bytes
    }
}

/// A TPM2B_ buffer.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// TPM_ALG_ID of a hash.
pub fn hash_id(hash: HashAlgorithm) -> u16 {
    match hash {
        HashAlgorithm::Sha1 => 0x0004,
        HashAlgorithm::Sha256 => 0x000b,
        HashAlgorithm::Sha384 => 0x000c,
        HashAlgorithm::Sha512 => 0x000d,
    }
}

/// The bytes in a PEM block.
pub fn pem_body(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    Base64::decode_vec(&base64).unwrap()
}

fn select(pcrs: &[u8]) -> Vec<u8> {
    let mut bits = vec![0; 3];
    for pcr in pcrs {
        bits[usize::from(pcr / 8)] |= 1 << (pcr % 8);
    }
    bits
}

/// PCRs 17 to 22 begin with all ones (TCG PC Client Platform TPM Profile, PCR Initial and Reset Values).
fn initial_pcrs(bank: HashAlgorithm) -> Vec<Vec<u8>> {
    (0..24).map(|pcr| vec![if (17..=22).contains(&pcr) { 0xff } else { 0 }; bank.digest_len()]).collect()
}

pub fn hash(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        HashAlgorithm::Sha1 => Sha1::digest(bytes).to_vec(),
        HashAlgorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        HashAlgorithm::Sha384 => Sha384::digest(bytes).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}
