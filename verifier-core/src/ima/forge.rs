//! Entries made up for tests, with the template hashes that a kernel would give them.

use crate::digest::{Digest, HashAlgorithm};
use crate::hex;
use crate::pcr::PcrValues;

use super::entry::ByteOrder;

/// An entry to be.
#[derive(Clone, Debug)]
pub(super) struct Forge {
    pub(super) pcr: u8,
    pub(super) template: String,
    /// Template data; of template `ima` what is hashed.
    pub(super) data: Vec<u8>,
    /// The values as the ASCII list shows them.
    pub(super) shown: Vec<u8>,
    /// What stands in the list behind the template's name, if it is not length and data.
    pub(super) legacy: Option<Vec<u8>>,
    pub(super) order: ByteOrder,
    pub(super) template_hash: HashAlgorithm,
}

impl Forge {
    /// An entry of PCR 10, little-endian.
    pub(super) fn of(template: &str, data: &[u8]) -> Self {
        Self {
            pcr: 10,
            template: template.to_owned(),
            data: data.to_vec(),
            shown: Vec::new(),
            legacy: None,
            order: ByteOrder::Little,
            template_hash: HashAlgorithm::Sha1,
        }
    }

    pub(super) fn shown(template: &str, data: &[u8], shown: &str) -> Self {
        Self { shown: shown.into(), ..Self::of(template, data) }
    }

    pub(super) fn ng(name: &str) -> Self {
        let digest = Digest::of(HashAlgorithm::Sha256, [name.as_bytes()]);
        let value = [b"sha256:\0", digest.as_bytes()].concat();
        let data = [field(&value), field(format!("{name}\0").as_bytes())].concat();
        Self::shown("ima-ng", &data, &format!("sha256:{digest} {name}"))
    }

    pub(super) fn sig(name: &str, signature: &[u8]) -> Self {
        let Self { data, shown, .. } = Self::ng(name);
        let shown = [&shown[..], b" ", hex::encode(signature).as_bytes()].concat();
        Self { shown, ..Self::of("ima-sig", &[data, field(signature)].concat()) }
    }

    pub(super) fn legacy(digest: &[u8], name: &[u8]) -> Self {
        let mut hashed = [digest, name].concat();
        hashed.resize(20 + 256, 0);
        let listed = [digest, &field(name)].concat();
        let shown = [hex::encode(digest).as_bytes(), b" ", name].concat();
        Self { legacy: Some(listed), shown, ..Self::of("ima", &hashed) }
    }

    /// The same with other numbers. Lengths within the data are turned, values are not.
    pub(super) fn in_layout(self, order: ByteOrder, template_hash: HashAlgorithm) -> Self {
        assert!(self.legacy.is_none() && self.order == ByteOrder::Little);
        let mut data = Vec::new();
        let mut rest = &self.data[..];
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[..4].try_into().unwrap());
            let (value, after) = rest[4..].split_at(usize::try_from(length).unwrap());
            data.extend(order.bytes(length));
            data.extend_from_slice(value);
            rest = after;
        }
        Self { data, order, template_hash, ..self }
    }

    /// Its bytes in the binary list.
    pub(super) fn entry(&self) -> Vec<u8> {
        self.binary(Digest::of(self.template_hash, [&self.data[..]]))
    }

    /// A violation of the same contents.
    pub(super) fn violation(&self) -> Vec<u8> {
        self.binary(Digest::filled(self.template_hash, 0))
    }

    /// Its line, or lines, in the ASCII list.
    pub(super) fn line(&self) -> Vec<u8> {
        self.ascii(Digest::of(self.template_hash, [&self.data[..]]))
    }

    pub(super) fn violation_line(&self) -> Vec<u8> {
        self.ascii(Digest::filled(self.template_hash, 0))
    }

    fn binary(&self, template_hash: Digest) -> Vec<u8> {
        let length = |bytes: &[u8]| self.order.bytes(u32::try_from(bytes.len()).unwrap());
        let mut out = self.order.bytes(self.pcr.into()).to_vec();
        out.extend_from_slice(template_hash.as_bytes());
        out.extend(length(self.template.as_bytes()));
        out.extend_from_slice(self.template.as_bytes());
        match &self.legacy {
            Some(listed) => out.extend_from_slice(listed),
            None => {
                out.extend(length(&self.data));
                out.extend_from_slice(&self.data);
            }
        }
        out
    }

    fn ascii(&self, template_hash: Digest) -> Vec<u8> {
        let head = format!("{:2} {template_hash} {} ", self.pcr, self.template);
        [head.as_bytes(), &self.shown, b"\n"].concat()
    }
}

/// A value behind its length, little-endian.
pub(super) fn field(value: &[u8]) -> Vec<u8> {
    [&u32::try_from(value.len()).unwrap().to_le_bytes()[..], value].concat()
}

/// PCR values as a kernel would leave them: of each PCR that is named, in each bank, after these entries.
pub(super) fn extended(pcrs: &[u8], banks: &[HashAlgorithm], entries: &[Extension<'_>]) -> PcrValues {
    let mut values = PcrValues::default();
    for bank in banks {
        for pcr in pcrs {
            let mut value = Digest::filled(*bank, 0);
            for extension in entries {
                let (forge, extension) = match extension {
                    Extension::Entry(forge) => (forge, Digest::of(*bank, [&forge.data[..]])),
                    Extension::Violation(forge) => (forge, Digest::filled(*bank, 0xff)),
                };
                if forge.pcr == *pcr {
                    value = Digest::of(*bank, [value.as_bytes(), extension.as_bytes()]);
                }
            }
            values.insert(*pcr, value).unwrap();
        }
    }
    values
}

/// What a kernel extends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extension<'f> {
    Entry(&'f Forge),
    Violation(&'f Forge),
}

/// Values as tpm2_pcrread(1) prints them, of PCRs 0 to 10.
pub(super) fn pcrread(text: &str) -> PcrValues {
    let mut values = PcrValues::default();
    for (pcr, value) in text.lines().filter_map(|line| line.split_once(": 0x")) {
        let pcr: u8 = pcr.trim().parse().unwrap();
        if pcr <= 10 {
            values.insert(pcr, Digest::from_hex(value.to_lowercase().as_bytes()).unwrap()).unwrap();
        }
    }
    values
}
