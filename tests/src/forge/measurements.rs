//! Entries of a measurement list, as the kernel writes them and as it extends them. Nothing here is code of the verifier.

use goldseal_verifier_core::digest::HashAlgorithm;

use super::ak::hash;

/// One entry to be, little-endian.
#[derive(Clone, Debug)]
pub struct Measurement {
    pub pcr: u8,
    pub template: String,
    /// The template data; of template `ima` what is hashed.
    pub data: Vec<u8>,
    /// What stands behind the template's name, if it is not length and data.
    pub legacy: Option<Vec<u8>>,
    pub violation: bool,
}

impl Measurement {
    /// An entry of PCR 10 with these fields.
    pub fn of(template: &str, fields: &[&[u8]]) -> Self {
        let data = fields.iter().flat_map(|value| prefixed(value)).collect();
        Self { pcr: 10, template: template.to_owned(), data, legacy: None, violation: false }
    }

    /// `ima-ng` of a file's contents.
    pub fn ng(path: impl AsRef<[u8]>, contents: &[u8]) -> Self {
        Self::ng_by(HashAlgorithm::Sha256, path, contents)
    }

    pub fn ng_by(algorithm: HashAlgorithm, path: impl AsRef<[u8]>, contents: &[u8]) -> Self {
        Self::of("ima-ng", &[&digest(algorithm, contents), &text(path)])
    }

    /// `ima-sig`, with whatever stands in security.ima.
    pub fn sig(path: &str, contents: &[u8], signature: &[u8]) -> Self {
        Self::of("ima-sig", &[&digest(HashAlgorithm::Sha256, contents), &text(path), signature])
    }

    /// `ima-ngv2`, its digest with this prefix: `ima` or `verity`.
    pub fn ngv2(prefix: &str, path: &str, contents: &[u8]) -> Self {
        let digest = [prefix.as_bytes(), b":", &digest(HashAlgorithm::Sha256, contents)].concat();
        Self::of("ima-ngv2", &[&digest, &text(path)])
    }

    /// `ima-buf`.
    pub fn buffer(label: &str, buffer: &[u8]) -> Self {
        Self::of("ima-buf", &[&digest(HashAlgorithm::Sha256, buffer), &text(label), buffer])
    }

    /// Template `ima`.
    pub fn legacy(path: &str, contents: &[u8]) -> Self {
        let digest = hash(HashAlgorithm::Sha1, contents);
        let mut data = [&digest[..], path.as_bytes()].concat();
        data.resize(20 + 256, 0);
        let legacy = Some([digest, prefixed(path.as_bytes())].concat());
        Self { legacy, data, ..Self::of("ima", &[]) }
    }

    /// A violation of a file, in template `ima-ng`.
    pub fn violation(path: &str) -> Self {
        let zeros = [&b"sha256:\0"[..], &[0; 32]].concat();
        Self { violation: true, ..Self::of("ima-ng", &[&zeros, &text(path)]) }
    }

    pub fn in_pcr(self, pcr: u8) -> Self {
        Self { pcr, ..self }
    }

    /// Under another template's name.
    pub fn relabelled(self, template: &str) -> Self {
        Self { template: template.to_owned(), ..self }
    }

    /// Its bytes in the list.
    pub fn listed(&self) -> Vec<u8> {
        let mut out = u32::from(self.pcr).to_le_bytes().to_vec();
        if self.violation {
            out.extend([0; 20]);
        } else {
            out.extend(hash(HashAlgorithm::Sha1, &self.data));
        }
        out.extend(prefixed(self.template.as_bytes()));
        out.extend(self.legacy.clone().unwrap_or_else(|| prefixed(&self.data)));
        out
    }

    /// Its line in the ASCII list, if it is of template `ima-ng` and its path is plain text.
    pub fn line(&self) -> String {
        assert_eq!(self.template, "ima-ng");
        let (digest, path) = self.data[4..].split_at(usize::try_from(u32_le(&self.data)).unwrap());
        let colon = digest.windows(2).position(|bytes| bytes == b":\0").unwrap();
        let (name, value) = (str::from_utf8(&digest[..colon]).unwrap(), hex(&digest[colon + 2..]));
        let path = str::from_utf8(&path[4..]).unwrap().trim_end_matches('\0');
        let template_hash = if self.violation { vec![0; 20] } else { hash(HashAlgorithm::Sha1, &self.data) };
        format!("{:2} {} ima-ng {name}:{value} {path}\n", self.pcr, hex(&template_hash))
    }

    /// What the kernel extends a bank with.
    pub fn extension(&self, bank: HashAlgorithm) -> Vec<u8> {
        if self.violation { vec![0xff; bank.digest_len()] } else { hash(bank, &self.data) }
    }

    /// What a kernel before 5.8 extends it with.
    pub fn padded_extension(&self, bank: HashAlgorithm) -> Vec<u8> {
        let mut extension = self.extension(HashAlgorithm::Sha1);
        extension.resize(bank.digest_len(), 0);
        extension
    }
}

/// The value of a field `d-ng`.
pub fn digest(algorithm: HashAlgorithm, contents: &[u8]) -> Vec<u8> {
    [algorithm.name().as_bytes(), b":\0", &hash(algorithm, contents)].concat()
}

/// The value of a field `n-ng`.
pub fn text(name: impl AsRef<[u8]>) -> Vec<u8> {
    [name.as_ref(), &[0]].concat()
}

fn u32_le(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn prefixed(value: &[u8]) -> Vec<u8> {
    [&u32::try_from(value.len()).unwrap().to_le_bytes()[..], value].concat()
}
