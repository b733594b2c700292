//! Rules: what a list accepts beyond its entries (docs/format.md, Rules). An absent statement means the strict reading.

use std::fmt;

use base64ct::{Base64, Encoding};
use spki::der::asn1::{AnyRef, BitStringRef};
use spki::{ObjectIdentifier, SubjectPublicKeyInfo};

use crate::cursor::{Cursor, decimal};
use crate::digest::{Digest, HashAlgorithm};
use crate::excludes::{Excludes, Pattern, PatternError};
use crate::pcr::PCR_COUNT;

/// Longest label of a keyring or buffer in bytes: kernel key descriptions stay below it.
const MAX_LABEL_LEN: usize = 255;

/// Longest SubjectPublicKeyInfo in bytes: an RSA key of 16,384 bits takes 2,082.
const MAX_SPKI_LEN: usize = 4_096;

/// Templates of file entries that have a name of their own (security/integrity/ima/ima_template.c). `ima-buf` is not
/// among them: its entries are admitted by `buffer` and `keyring` rules alone.
const FILE_TEMPLATES: [&str; 7] = ["ima", "ima-ng", "ima-sig", "ima-ngv2", "ima-sigv2", "ima-modsig", "evm-sig"];

/// The templates of file entries that a list without `template` rules allows (docs/format.md, Rules).
pub const DEFAULT_TEMPLATES: [&str; 4] = ["ima-ng", "ima-sig", "ima-ngv2", "ima-sigv2"];

/// Fields of a template whose name is its format, joined by `|` (supported_fields in the same file).
const TEMPLATE_FIELDS: [&str; 16] = [
    "d",
    "n",
    "d-ng",
    "d-ngv2",
    "n-ng",
    "sig",
    "buf",
    "d-modsig",
    "modsig",
    "evmsig",
    "iuid",
    "igid",
    "imode",
    "xattrnames",
    "xattrlengths",
    "xattrvalues",
];

/// One statement. Printed, it is its line; `Rule::parse` of that line gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A quote over the sha1 bank alone is accepted.
    AcceptBankSha1,
    /// A file's sha1 digest is accepted.
    AcceptDigestSha1,
    /// A bank extended with zero-padded SHA-1, as kernels before 5.8 do, is accepted.
    AcceptReplayPaddedSha1,
    /// The boot aggregate may have any value.
    BootAggregateAny,
    /// The boot aggregate may have this value.
    BootAggregate(Digest),
    /// This exclude takes a probe, and that is meant.
    BroadExclude(Pattern),
    /// A buffer of this label may have this digest.
    Buffer {
        /// Name in the list, such as `kernel_version`.
        label: Label,
        /// Digest of the buffer.
        digest: Digest,
    },
    /// A file below the pattern with a good IMA signature by this key is accepted, listed or not.
    FileSignature {
        /// The signature's algorithm.
        algorithm: FileSignatureAlgorithm,
        /// SubjectPublicKeyInfo DER.
        spki: Vec<u8>,
        /// Which files.
        pattern: Pattern,
    },
    /// Keys put on this keyring are not judged.
    IgnoreKeyring(Label),
    /// A key with this digest may be put on this keyring.
    Keyring {
        /// Name of the keyring, such as `.ima`.
        label: Label,
        /// Digest of the key's buffer.
        digest: Digest,
    },
    /// A quoted PCR may have this value; several for one PCR are alternatives.
    Pcr {
        /// PCR number, 0 to 23.
        index: u8,
        /// Its value; the algorithm is the bank.
        value: Digest,
    },
    /// This template may occur; lines of this kind replace the default set.
    Template(String),
    /// A violation is reported instead of rejected.
    ViolationReport,
}

/// Algorithm of an IMA file signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 (RFC 8017).
    RsaPkcs1,
    /// ECDSA (FIPS 186-5).
    Ecdsa,
}

impl FileSignatureAlgorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1 => "rsa-pkcs1",
            Self::Ecdsa => "ecdsa",
        }
    }

    /// The algorithm of the keys it is used with: rsaEncryption (RFC 8017) or id-ecPublicKey (RFC 5480).
    const fn key_oid(self) -> ObjectIdentifier {
        match self {
            Self::RsaPkcs1 => ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
            Self::Ecdsa => ObjectIdentifier::new_unwrap("1.2.840.10045.2.1"),
        }
    }
}

/// Name of a keyring or of a measured buffer: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// A label, if it is one.
    pub fn new(text: &[u8]) -> Option<Self> {
        let fits = (1..=MAX_LABEL_LEN).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        fits.then(|| String::from_utf8(text.to_vec()).ok().map(Self)).flatten()
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Rule {
    /// Reads one statement, its LF left out.
    ///
    /// # Errors
    /// [`RuleError`] with the form the statement should have.
    pub fn parse(line: &[u8]) -> Result<Self, RuleError> {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let form = FORMS.iter().find(|form| form.split(' ').next().map(str::as_bytes) == Some(word));
        let form = *form.ok_or(RuleError::UnknownWord)?;
        let mut text = Cursor::new(line);
        let rest = text.literal(word).and_then(|()| text.literal(b" ")).and_then(|()| text.take_rest());
        let rest = rest.ok_or(RuleError::Form(form))?;
        match word {
            b"broad-exclude" => return Pattern::new(rest).map(Self::BroadExclude).map_err(RuleError::Pattern),
            b"file-signature" => return parse_file_signature(rest, form),
            _ => {}
        }
        let rule = match (word, rest) {
            (b"accept-bank", b"sha1") => Some(Self::AcceptBankSha1),
            (b"accept-digest", b"sha1") => Some(Self::AcceptDigestSha1),
            (b"accept-replay", b"padded-sha1") => Some(Self::AcceptReplayPaddedSha1),
            (b"boot-aggregate", b"any") => Some(Self::BootAggregateAny),
            (b"boot-aggregate", digest) => tagged_digest(digest).map(Self::BootAggregate),
            (b"buffer", rest) => labelled_digest(rest).map(|(label, digest)| Self::Buffer { label, digest }),
            (b"keyring", rest) => labelled_digest(rest).map(|(label, digest)| Self::Keyring { label, digest }),
            (b"ignore-keyring", label) => Label::new(label).map(Self::IgnoreKeyring),
            (b"pcr", rest) => parse_pcr(rest),
            (b"template", name) => template_name(name).map(Self::Template),
            (b"violation", b"report") => Some(Self::ViolationReport),
            _ => None,
        };
        rule.ok_or(RuleError::Form(form))
    }
}

/// The form of each statement; its first word decides.
const FORMS: [&str; 12] = [
    "accept-bank sha1",
    "accept-digest sha1",
    "accept-replay padded-sha1",
    "boot-aggregate any|ALG:HEX",
    "broad-exclude PATTERN",
    "buffer LABEL ALG:HEX",
    "file-signature rsa-pkcs1|ecdsa SPKI-BASE64 PATTERN",
    "ignore-keyring LABEL",
    "keyring LABEL ALG:HEX",
    "pcr BANK N HEX",
    "template NAME",
    "violation report",
];

fn tagged_digest(text: &[u8]) -> Option<Digest> {
    let mut text = Cursor::new(text);
    let algorithm = HashAlgorithm::from_name(text.until(b':')?)?;
    Digest::from_hex(text.take_rest()?).filter(|digest| digest.algorithm() == algorithm)
}

fn labelled_digest(text: &[u8]) -> Option<(Label, Digest)> {
    let mut text = Cursor::new(text);
    Some((Label::new(text.until(b' ')?)?, tagged_digest(text.take_rest()?)?))
}

fn parse_pcr(text: &[u8]) -> Option<Rule> {
    let mut text = Cursor::new(text);
    let bank = HashAlgorithm::from_name(text.until(b' ')?)?;
    let index = decimal(text.until(b' ')?, u64::from(PCR_COUNT).saturating_sub(1))
        .and_then(|index| u8::try_from(index).ok())?;
    let value = Digest::from_hex(text.take_rest()?).filter(|value| value.algorithm() == bank)?;
    Some(Rule::Pcr { index, value })
}

fn template_name(text: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(text).ok()?;
    let is_format = name.contains('|') && name.split('|').all(|field| TEMPLATE_FIELDS.contains(&field));
    (FILE_TEMPLATES.contains(&name) || is_format).then(|| name.to_owned())
}

fn parse_file_signature(text: &[u8], form: &'static str) -> Result<Rule, RuleError> {
    let mut text = Cursor::new(text);
    let algorithm = match text.until(b' ') {
        Some(b"rsa-pkcs1") => FileSignatureAlgorithm::RsaPkcs1,
        Some(b"ecdsa") => FileSignatureAlgorithm::Ecdsa,
        _ => return Err(RuleError::Form(form)),
    };
    let key = text.until(b' ').and_then(|key| std::str::from_utf8(key).ok()).ok_or(RuleError::Form(form))?;
    let spki =
        Base64::decode_vec(key).ok().filter(|spki| spki.len() <= MAX_SPKI_LEN && Base64::encode_string(spki) == key);
    let spki = spki.ok_or(RuleError::FileSignatureKey)?;
    type Spki<'a> = SubjectPublicKeyInfo<AnyRef<'a>, BitStringRef<'a>>;
    let parsed = Spki::try_from(spki.as_slice()).map_err(|_| RuleError::FileSignatureKey)?;
    if parsed.algorithm.oid != algorithm.key_oid() {
        return Err(RuleError::FileSignatureKey);
    }
    let pattern = Pattern::new(text.take_rest().unwrap_or_default()).map_err(RuleError::Pattern)?;
    let alone = Excludes::new([pattern.clone()]).map_err(|_| RuleError::BroadFileSignature)?;
    if !alone.broad().is_empty() {
        return Err(RuleError::BroadFileSignature);
    }
    Ok(Rule::FileSignature { algorithm, spki, pattern })
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcceptBankSha1 => f.write_str("accept-bank sha1"),
            Self::AcceptDigestSha1 => f.write_str("accept-digest sha1"),
            Self::AcceptReplayPaddedSha1 => f.write_str("accept-replay padded-sha1"),
            Self::BootAggregateAny => f.write_str("boot-aggregate any"),
            Self::BootAggregate(digest) => write!(f, "boot-aggregate {digest:?}"),
            Self::BroadExclude(pattern) => write!(f, "broad-exclude {pattern}"),
            Self::Buffer { label, digest } => write!(f, "buffer {} {digest:?}", label.0),
            Self::FileSignature { algorithm, spki, pattern } => {
                write!(f, "file-signature {} {} {pattern}", algorithm.name(), Base64::encode_string(spki))
            }
            Self::IgnoreKeyring(label) => write!(f, "ignore-keyring {}", label.0),
            Self::Keyring { label, digest } => write!(f, "keyring {} {digest:?}", label.0),
            Self::Pcr { index, value } => write!(f, "pcr {} {index} {value}", value.algorithm()),
            Self::Template(name) => write!(f, "template {name}"),
            Self::ViolationReport => f.write_str("violation report"),
        }
    }
}

/// Why a line is not a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleError {
    /// Its first word is no statement.
    UnknownWord,
    /// Not of the statement's form, which this is.
    Form(&'static str),
    /// Its pattern is none.
    Pattern(PatternError),
    /// Not the SubjectPublicKeyInfo of a key of that algorithm.
    FileSignatureKey,
    /// A file-signature rule may not take a probe.
    BroadFileSignature,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWord => f.write_str("its first word is not a statement"),
            Self::Form(form) => write!(f, "its form is `{form}`"),
            Self::Pattern(error) => write!(f, "its pattern: {error}"),
            Self::FileSignatureKey => {
                f.write_str("its key is not the SubjectPublicKeyInfo of that algorithm in base64")
            }
            Self::BroadFileSignature => f.write_str("its pattern takes system paths; name the folder it is for"),
        }
    }
}

impl std::error::Error for RuleError {}

/// All rules of a list, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Rules in canonical order; their order and repetitions do not matter.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut rules: Vec<Rule> = rules.into_iter().collect();
        rules.sort_by_cached_key(Rule::to_string);
        rules.dedup();
        Self(rules)
    }

    /// The rules in the order of their lines.
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }

    /// The section: one statement a line.
    pub fn print(&self) -> Vec<u8> {
        self.0.iter().flat_map(|rule| format!("{rule}\n").into_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout`
    const EC_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzhu0etDbt59GaEPP67D8n8e7rj4HzBjCRnhPr5bw8rDEEjHKOenLfsU4843osC2eAmr/nb75Y5wqsFLYWaL69Q==";

    #[test]
    fn every_statement_survives_parse_and_print() {
        let sha256 = "5".repeat(64);
        for line in [
            "accept-bank sha1".to_owned(),
            "accept-digest sha1".to_owned(),
            "accept-replay padded-sha1".to_owned(),
            "boot-aggregate any".to_owned(),
            format!("boot-aggregate sha256:{sha256}"),
            format!("boot-aggregate sha1:{}", "0".repeat(40)),
            "broad-exclude /root".to_owned(),
            format!("buffer kernel_version sha256:{sha256}"),
            format!("file-signature ecdsa {EC_KEY} /opt/app"),
            "ignore-keyring .builtin_trusted_keys".to_owned(),
            format!("keyring .ima sha256:{sha256}"),
            format!("pcr sha256 0 {sha256}"),
            format!("pcr sha384 23 {}", "a".repeat(96)),
            "template ima-sig".to_owned(),
            "template d-ng|n-ng|sig|iuid".to_owned(),
            "violation report".to_owned(),
        ] {
            let rule = Rule::parse(line.as_bytes());
            assert_eq!(rule.map(|rule| rule.to_string()), Ok(line));
        }
    }

    #[test]
    fn each_deviation_has_its_error() {
        let error = |line: &str| Rule::parse(line.as_bytes()).unwrap_err();
        for unknown in ["", "accept", "accept-bank-sha1", " accept-bank sha1", "Template ima"] {
            assert_eq!(error(unknown), RuleError::UnknownWord, "{unknown}");
        }
        let sha256 = "5".repeat(64);
        for malformed in [
            "accept-bank",
            "accept-bank sha256",
            "accept-bank sha1 ",
            "accept-digest  sha1",
            "accept-replay sha1",
            "boot-aggregate all",
            &format!("boot-aggregate sha1:{sha256}"),
            &format!("boot-aggregate sha256:{}", sha256.replace('5', "A")),
            &format!("buffer sha256:{sha256}"),
            &format!("buffer a b sha256:{sha256}"),
            &format!("keyring {} sha256:{sha256}", "a".repeat(256)),
            "ignore-keyring ",
            "ignore-keyring a b",
            &format!("pcr sha256 24 {sha256}"),
            &format!("pcr sha256 01 {sha256}"),
            &format!("pcr sha1 1 {sha256}"),
            "template ima-buf",
            "template ima-old",
            "template d-ng|",
            "violation ignore",
            "file-signature dsa AAAA /opt",
        ] {
            assert!(matches!(error(malformed), RuleError::Form(_)), "{malformed}");
        }
        assert!(matches!(error("broad-exclude /a b"), RuleError::Pattern(PatternError::Blank { .. })));
        assert_eq!(error(&format!("file-signature rsa-pkcs1 {EC_KEY} /opt")), RuleError::FileSignatureKey);
        assert_eq!(
            error(&format!("file-signature ecdsa {} /opt", EC_KEY.replace("69Q==", "6"))),
            RuleError::FileSignatureKey
        );
        assert_eq!(error("file-signature ecdsa AAAA /opt"), RuleError::FileSignatureKey);
        assert_eq!(error(&format!("file-signature ecdsa {EC_KEY} /usr")), RuleError::BroadFileSignature);
        assert_eq!(error(&format!("file-signature ecdsa {EC_KEY} ")), RuleError::Pattern(PatternError::Empty));
    }

    #[test]
    fn rules_are_sorted_as_their_lines() {
        let parse = |line: &str| Rule::parse(line.as_bytes()).unwrap();
        let digest = "5".repeat(64);
        let pcr = |index: u8| parse(&format!("pcr sha256 {index} {digest}"));
        let rules = Rules::new([pcr(2), pcr(10), parse("accept-bank sha1"), pcr(2)]);
        let lines = rules.print();
        assert!(lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).is_sorted());
        assert_eq!(rules.as_slice().len(), 3);
    }
}
