//! What must hold for any bytes, one function per parser.
//!
//! A target returns if its input was accepted or refused in an orderly way, and panics if a promise is broken: accepted
//! input survives printing and parsing again. `fuzz_targets/` hands them to libFuzzer; `tests/smoke.rs` runs them all
//! on a stable toolchain.

pub mod appraise;
pub mod tpm;
pub mod trust;

use goldseal_cli::public_key::pem;
use goldseal_tools::flat::{self, FlatList};
use goldseal_tools::initramfs::{self, Limits};
use goldseal_tools::key::agent;
use goldseal_tools::keylime;
use goldseal_tools::signature_file::{self, SignatureFile};
use goldseal_verifier_core::contents::Contents;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::entries::{FileDigest, print_line};
use goldseal_verifier_core::envelope::{Envelope, SignatureLine, pae};
use goldseal_verifier_core::evidence::{Head, HeadError};
use goldseal_verifier_core::excludes::{Excludes, Pattern};
use goldseal_verifier_core::header::{Header, Section, SectionSeal, WHITELIST_TYPE};
use goldseal_verifier_core::ima::checkpoint::Checkpoint;
use goldseal_verifier_core::ima::entry::TemplateData;
use goldseal_verifier_core::ima::list::{Limits as ListLimits, ListError, MeasurementList};
use goldseal_verifier_core::ima::replay::{Replay, ReplayMode};
use goldseal_verifier_core::ima::walk::Walk;
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::list::inspect;
use goldseal_verifier_core::pcr::PcrValues;
use goldseal_verifier_core::provenance::Fact;
use goldseal_verifier_core::rules::Rule;
use goldseal_verifier_core::{hex, path};

/// A parser under test.
pub struct Target {
    /// Its name, also that of the libFuzzer binary.
    pub name: &'static str,
    /// Runs it once.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Folders of this project with more of them, in files named `.img`.
    pub folders: &'static [&'static str],
    /// Mutations in the smoke test: seconds, not minutes, on a slow machine.
    pub runs: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "appraise", run: appraise::appraise, seeds: appraise::seeds, folders: &[], runs: 20_000 },
    Target { name: "ascii_list", run: ascii_list, seeds: ascii_lists, folders: &[], runs: 3_000 },
    Target { name: "checkpoint", run: checkpoint, seeds: || vec![CHECKPOINT.concat()], folders: &[], runs: 20_000 },
    Target { name: "container", run: container, seeds: || vec![list(SECTIONS)], folders: &[], runs: 20_000 },
    Target { name: "decompressors", run: decompressors, seeds: Vec::new, folders: IMAGES, runs: 1_000 },
    Target { name: "evidence", run: evidence, seeds: || vec![EVIDENCE.to_vec()], folders: &[], runs: 20_000 },
    Target { name: "excludes", run: excludes, seeds: || lines(EXCLUDES), folders: &[], runs: 20_000 },
    Target { name: "flat", run: flat, seeds: || vec![FLAT.to_vec()], folders: &[], runs: 20_000 },
    Target { name: "hex", run: hex, seeds: || lines(SECTIONS), folders: &[], runs: 20_000 },
    Target { name: "initramfs", run: initramfs, seeds: Vec::new, folders: IMAGES, runs: 20_000 },
    Target { name: "keylime", run: keylime, seeds: || lines(EXCLUDES), folders: &[], runs: 20_000 },
    Target { name: "keylime_texts", run: tpm::keylime_texts, seeds: tpm::texts, folders: &[], runs: 5_000 },
    Target { name: "measurement_list", run: measurement_list, seeds: binary_lists, folders: &[], runs: 5_000 },
    Target { name: "path", run: path, seeds: || lines(PATHS), folders: &[], runs: 20_000 },
    Target { name: "root", run: trust::root, seeds: trust::root_seeds, folders: &[], runs: 20_000 },
    Target { name: "sections", run: sections, seeds: || vec![SECTIONS.to_vec()], folders: &[], runs: 20_000 },
    Target { name: "signatures", run: signatures, seeds: signature_seeds, folders: &[], runs: 20_000 },
    Target { name: "state", run: trust::state, seeds: || vec![trust::STATE.to_vec()], folders: &[], runs: 20_000 },
    Target { name: "statements", run: statements, seeds: || lines(STATEMENTS), folders: &[], runs: 20_000 },
    Target { name: "tpm_attest", run: tpm::attest, seeds: || tpm::captured("msg"), folders: &[], runs: 20_000 },
    Target { name: "tpm_credential", run: tpm::credential, seeds: tpm::credentials, folders: &[], runs: 20_000 },
    Target { name: "tpm_pcr_blob", run: tpm::pcr_blob, seeds: || tpm::captured("pcrs"), folders: &[], runs: 20_000 },
    Target { name: "tpm_public", run: tpm::public_area, seeds: || tpm::captured("tpm2b"), folders: &[], runs: 20_000 },
    Target { name: "tpm_signature", run: tpm::signature, seeds: || tpm::captured("sig"), folders: &[], runs: 20_000 },
    Target { name: "tpm_spki", run: tpm::spki, seeds: || tpm::captured("pem"), folders: &[], runs: 20_000 },
    Target { name: "template_data", run: template_data, seeds: template_data_seeds, folders: &[], runs: 20_000 },
];

/// A whole list: what is accepted is printed as the same bytes.
pub fn container(data: &[u8]) {
    if let Ok((envelope, head_len)) = Envelope::parse(data) {
        assert_eq!(envelope.print(), &data[..head_len]);
        if let Ok(header) = Header::parse(envelope.claimed_payload()) {
            assert_eq!(header.print(), envelope.claimed_payload());
        }
    }
    if let Ok(list) = inspect(data.to_vec()) {
        assert_eq!([&list.envelope().print(), list.contents().body()].concat(), data);
        printed_as_read(list.contents());
    }
}

/// Four sections, separated by NUL, behind a header that fits them: what is accepted has one encoding.
pub fn sections(data: &[u8]) {
    if let Ok(list) = inspect(list(data)) {
        printed_as_read(list.contents());
    }
}

/// What signers and agents send: a signature file, an answer of an ssh-agent, a line of OpenSSH.
pub fn signatures(data: &[u8]) {
    match signature_file::parse(data) {
        Ok(SignatureFile::Bare(value)) => assert_eq!(signature_file::parse(&value), Ok(SignatureFile::Bare(value))),
        Ok(SignatureFile::Lines(lines)) => {
            assert!(!lines.is_empty());
            let printed: Vec<u8> = lines.iter().flat_map(SignatureLine::print).collect();
            assert_eq!(signature_file::parse(&printed), Ok(SignatureFile::Lines(lines)));
        }
        Ok(SignatureFile::Copy(envelope)) => assert!(data.starts_with(envelope.signed_bytes())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(keys) = agent::parse_identities(data) {
        assert!(keys.iter().map(|key| key.len()).sum::<usize>() < data.len());
    }
    if let Ok(signature) = agent::parse_signature(data) {
        assert!(data.ends_with(&signature));
    }
    if let Ok(spki) = pem::parse_public(data) {
        assert_eq!(pem::parse_public(pem::public_pem(&spki).as_bytes()), Ok(spki));
    }
}

fn signature_seeds() -> Vec<Vec<u8>> {
    let line = format!("sig ed25519 {} {}==\n", "a".repeat(64), "A".repeat(86));
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let signature = [string(b"ssh-ed25519"), string(&[7; 64])].concat();
    vec![
        line.clone().into_bytes(),
        line.as_bytes()[77..].to_vec(),
        [&pae("a", b"\nb\n")[..], line.as_bytes(), b"\n"].concat(),
        [&[14][..], &string(&signature)].concat(),
        [&[12, 0, 0, 0, 1][..], &string(b"key"), &string(b"comment")].concat(),
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh a\n".to_vec(),
    ]
}

/// One pattern a line: what compiles alone compiles in its list, and takes what it names.
pub fn excludes(data: &[u8]) {
    let patterns = data.split(|byte| *byte == b'\n').filter_map(|line| Pattern::new(line).ok());
    if let Ok(excludes) = Excludes::new(patterns) {
        for path in [&b"/"[..], b"/tmp/a b", b"/goldseal-probe/x\xff\n", data] {
            assert_eq!(excludes.takes(path), excludes.taking(path).next().is_some());
            assert!(path.starts_with(b"/") || !excludes.takes(path));
        }
        let _ = excludes.broad();
    }
}

/// A flat whitelist: what is accepted, written as `sha256sum` would, says the same.
pub fn flat(data: &[u8]) {
    for prefix in [None, Some(&b"/opt"[..])] {
        let Ok(FlatList { entries, rules }) = flat::parse(data, prefix) else { continue };
        let mut lines = Vec::new();
        for (path, digest) in &entries {
            assert!(path::is_canonical(path));
            print_line(path, digest.to_string().as_bytes(), &mut lines);
        }
        assert_eq!(flat::parse(&lines, None), Ok(FlatList { entries, rules: Vec::new() }));
        assert!(rules.iter().all(|rule| Rule::parse(rule.to_string().as_bytes()).as_ref() == Ok(rule)));
    }
}

/// One pattern: Keylime's form of it takes names, and nothing that is none.
pub fn keylime(data: &[u8]) {
    if let Ok(pattern) = Pattern::new(data)
        && let Some(translated) = keylime::translate(&pattern)
    {
        assert!(translated.starts_with("(?=/)") && !translated.contains('\n'));
    }
}

/// One rule, fact or key: what is accepted has one spelling.
pub fn statements(data: &[u8]) {
    if let Ok(rule) = Rule::parse(data) {
        assert_eq!(rule.to_string().as_bytes(), data);
    }
    // A line has no LF; only here could one come from a caller.
    if let Some(fact) = Fact::parse(data).filter(|_| !data.contains(&b'\n')) {
        assert_eq!(fact.print(), data);
    }
    if let Ok(key) = PublicKey::from_spki_der(data) {
        assert_eq!(key.spki_der().as_slice(), data);
    }
}

/// An image: what is accepted is sorted and canonical, and the same on every reading, whatever the threads do.
pub fn initramfs(data: &[u8]) {
    let limits = Limits {
        unpacked: 4 << 20,
        segments: 64,
        records: 10_000,
        window: 8 << 20,
        lookups: 100_000,
        path_bytes: 1 << 20,
    };
    let read = || initramfs::read(data, &[HashAlgorithm::Sha256], &limits, &|_| {});
    let unpacked = read();
    assert_eq!(unpacked, read());
    if let Ok(unpacked) = unpacked {
        assert!(unpacked.files.is_sorted_by(|a, b| a.path < b.path));
        assert!(unpacked.files.iter().all(|file| path::is_canonical(&file.path) && file.digests.len() == 1));
    }
    let _ = initramfs::looks_like_initramfs(data);
}

/// The same bytes as an image of every compression.
pub fn decompressors(data: &[u8]) {
    for magic in MAGICS {
        initramfs(&[magic, data].concat());
        // A seed that has its magic already.
        initramfs(&[magic, data.get(magic.len()..).unwrap_or_default()].concat());
    }
}

/// A list: what is accepted is printed as the same bytes, and each of its beginnings replays.
pub fn measurement_list(data: &[u8]) {
    let walked = walk(data);
    let limits = ListLimits { bytes: 1 << 20, entries: 1_000 };
    let Ok(list) = MeasurementList::parse(data, &limits) else { return };
    let mut printed = Vec::new();
    list.entries().for_each(|entry| entry.print(&mut printed));
    assert_eq!(printed, list.bytes());
    assert_eq!(list.entries().count(), list.len());
    if list.bytes() == data && list.template_hash() == Some(HashAlgorithm::Sha1) {
        let walked = walked.expect("these are entries");
        assert_eq!((walked.entries(), walked.end()), (list.len() as u64, data.len()));
        assert_eq!(walked.byte_order(), list.byte_order());
    }
    assert_eq!(MeasurementList::parse(&printed, &limits).as_ref(), Ok(&list));
    for entry in list.entries() {
        let _ = entry.fields().map(|fields| fields.digest_is_of_buffer());
    }
    let mut values = PcrValues::default();
    values.insert(10, Digest::filled(HashAlgorithm::Sha256, 7)).expect("the first value");
    for mode in [ReplayMode::PerBank, ReplayMode::PaddedSha1] {
        assert!(list.replay_to(&values, mode).is_err());
    }
}

/// Walks over a binary list, which comes to the same in whatever pieces the list comes.
fn walk(data: &[u8]) -> Result<Walk, ListError> {
    let in_pieces = |size: usize| {
        let mut walk = Walk::new();
        for mut piece in data.chunks(size) {
            while walk.next_end(&mut piece)? {
                assert!(walk.end() <= data.len());
            }
            assert!(piece.is_empty());
        }
        Ok(walk)
    };
    let ends = |walk: &Walk| (walk.entries(), walk.end(), walk.byte_order());
    let whole = in_pieces(data.len().max(1));
    for size in [1, 100] {
        assert_eq!(in_pieces(size).as_ref().map(ends), whole.as_ref().map(ends));
    }
    whole
}

/// The head of an answer: what is accepted is printed as the same bytes, whatever follows.
pub fn evidence(data: &[u8]) {
    let Ok((head, len)) = Head::parse(data) else { return };
    assert_eq!(head.print(), &data[..len]);
    assert_eq!(Head::parse(&data[..len]), Ok((head, len)));
    assert_eq!(Head::parse(&data[..len - 1]), Err(HeadError::CutShort));
}

/// The same of a text, whatever its first bytes; and its binary list says what it says.
pub fn ascii_list(data: &[u8]) {
    let text = [b"10 ", data.get(3..).unwrap_or_default()].concat();
    measurement_list(&text);
    if let Ok(list) = MeasurementList::parse(&text, &ListLimits::DEFAULT) {
        assert_eq!(MeasurementList::parse(list.bytes(), &ListLimits::DEFAULT).as_ref(), Ok(&list));
    }
}

/// A template's number and template data, given the right template hash: a list of one entry, which replays. Where they are
/// fields that the kernel could print, the ASCII list is that list.
pub fn template_data(data: &[u8]) {
    let Some((number, data)) = data.split_first() else { return };
    let template = TEMPLATES[usize::from(*number) % TEMPLATES.len()];
    let hash = Digest::of(HashAlgorithm::Sha1, [data]);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("an input of libFuzzer is short").to_le_bytes();
    let head = [&10_u32.to_le_bytes()[..], hash.as_bytes(), &length(template.as_bytes()), template.as_bytes()].concat();
    let binary = [&head[..], &length(data), data].concat();
    measurement_list(&binary);
    let list = MeasurementList::parse(&binary, &ListLimits::DEFAULT).expect("an entry with its template hash");
    let mut values = PcrValues::default();
    let zero = Digest::filled(HashAlgorithm::Sha1, 0);
    values.insert(10, Digest::of(HashAlgorithm::Sha1, [zero.as_bytes(), hash.as_bytes()])).expect("the first value");
    let replay = Replay { entries: 1, values: values.clone() };
    assert_eq!(list.replay_to(&values, ReplayMode::PerBank), Ok(replay));

    let fields = list.entries().next().expect("one entry").fields();
    let Some((fields, digest, name)) = fields.ok().and_then(|fields| Some((fields, fields.digest?, fields.name?)))
    else {
        return;
    };
    let printable = |bytes: &[u8]| !bytes.iter().any(|byte| [b' ', b'\n', 0].contains(byte));
    if ["ima-ng", "ima-sig"].contains(&template) && printable(digest.algorithm) && !name.contains(&b' ') {
        let digest = [digest.algorithm, b":", hex::encode(digest.value).as_bytes()].concat();
        let signature = fields.signature.map(|signature| format!(" {}", hex::encode(signature))).unwrap_or_default();
        let head = format!("10 {hash} {template} ");
        let text = [head.as_bytes(), &digest, b" ", name, signature.as_bytes(), b"\n"].concat();
        assert_eq!(MeasurementList::parse(&text, &ListLimits::DEFAULT), Ok(list));
    }
}

/// A checkpoint has one encoding.
pub fn checkpoint(data: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::parse(data) {
        assert_eq!(checkpoint.print(), data);
        assert!(checkpoint.accepted() > 0);
    }
}

/// Escaping and unescaping are inverse to each other, and neither leaves a byte that would end a line.
pub fn path(data: &[u8]) {
    let escaped = path::escape(data);
    assert!(!escaped.contains(&b'\n') && !escaped.contains(&b'\r'));
    assert_eq!(path::unescape(&escaped).as_deref(), Some(data));
    assert_eq!(escaped.as_ref() != data, path::needs_escape(data));
    if let Some(unescaped) = path::unescape(data)
        && !data.contains(&b'\n')
        && !data.contains(&b'\r')
    {
        assert_eq!(path::escape(&unescaped).as_ref(), data);
    }
    let _ = path::is_canonical(data);
    assert!(!path::kernel_name(data).contains(&b' '));
}

/// Lower-case hex has one spelling.
pub fn hex(data: &[u8]) {
    let mut decoded = vec![0; data.len() / 2];
    if hex::decode_lower(data, &mut decoded).is_some() {
        assert_eq!(hex::encode(&decoded).as_bytes(), data);
    }
    if let Some(digest) = Digest::from_hex(data) {
        assert_eq!(digest.to_string().as_bytes(), data);
    }
}

/// Every section, printed from what was read of it, is the section.
fn printed_as_read(contents: &Contents) {
    assert_eq!(contents.provenance().print(), contents.section(Section::Provenance));
    assert_eq!(contents.excludes().print(), contents.section(Section::Excludes));
    assert_eq!(contents.rules().print(), contents.section(Section::Rules));
    let mut entries = Vec::new();
    for entry in contents.entries() {
        assert!(path::is_canonical(&entry.path));
        let digest = FileDigest::parse(entry.digest).expect("a checked digest").to_string();
        print_line(&entry.path, digest.as_bytes(), &mut entries);
    }
    assert_eq!(entries, contents.section(Section::Entries));
}

/// An unsealed list of `sections`, which NUL separates.
fn list(sections: &[u8]) -> Vec<u8> {
    let mut parts = sections.splitn(4, |byte| *byte == 0).map(<[u8]>::to_vec);
    let parts: [Vec<u8>; 4] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let mut payload = "\nformat: 1\nname: fuzz\nversion: 1\ncreated: 2026-11-23T16:00:00Z\nexpires: never\n\
                       file-hash: sha1,sha256,sha384,sha512\n"
        .to_owned();
    for (section, part) in Section::ALL.iter().zip(&parts) {
        let seal = SectionSeal::of(part);
        payload += &format!("section: {section} {} sha256:{}\n", seal.len, seal.sha256);
    }
    [pae(WHITELIST_TYPE, payload.as_bytes()), b"\n".to_vec(), parts.concat()].concat()
}

/// Lists of real kernels.
fn captured(file: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/captures");
    let list = |case: &&str| std::fs::read(folder.join(case).join("q1").join(file)).expect("a capture has moved");
    ["banks4-aks", "bufs", "evm-sig", "ima-legacy-sha1", "ng-odd-names", "s390x-be-native", "sigv2-verity"]
        .iter()
        .map(list)
        .collect()
}

const EVIDENCE: &[u8] =
    b"goldseal-evidence 1\nquote cXVvdGU=\nsignature c2ln\npcrs YmxvYg==\nlist 17 little\nak YWs=\n\n\x0a\0\0\0";

fn binary_lists() -> Vec<Vec<u8>> {
    let mut lists = captured("binary_runtime_measurements");
    lists.extend(std::iter::once(first_entry(&lists[0])));
    lists
}

fn ascii_lists() -> Vec<Vec<u8>> {
    captured("ascii_runtime_measurements")
}

fn first_entry(list: &[u8]) -> Vec<u8> {
    let list = MeasurementList::parse(list, &ListLimits::DEFAULT).expect("a good list");
    let mut entry = Vec::new();
    list.entries().next().expect("a list has entries").print(&mut entry);
    entry
}

/// Template data of real entries, each behind the number of its template.
fn template_data_seeds() -> Vec<Vec<u8>> {
    let lists = captured("binary_runtime_measurements");
    let lists = lists.iter().map(|list| MeasurementList::parse(list, &ListLimits::DEFAULT).expect("a good list"));
    let mut seeds = Vec::new();
    for list in lists {
        for entry in list.entries() {
            let number = TEMPLATES.iter().position(|name| name.as_bytes() == entry.claimed_template());
            if let (Some(number), TemplateData::Prefixed(data)) = (number, entry.template_data()) {
                seeds.push([&[u8::try_from(number).expect("few templates")], data].concat());
            }
        }
    }
    seeds
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect()
}

const IMAGES: &[&str] = &["fuzz/seeds", "testdata/initramfs-edge"];

/// What segments begin with (lib/decompress.c), lzo with its whole magic, and an uncompressed archive.
const MAGICS: [&[u8]; 8] = [
    b"070701",
    &[0x1f, 0x8b, 0x08],
    b"BZh9",
    &[0x5d, 0, 0],
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    &[0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a],
    &[0x02, 0x21, 0x4c, 0x18],
    &[0x28, 0xb5, 0x2f, 0xfd],
];

const TEMPLATES: [&str; 9] = [
    "ima-ng",
    "ima-sig",
    "ima-ngv2",
    "ima-sigv2",
    "ima-buf",
    "ima-modsig",
    "evm-sig",
    "d|n",
    "d-ng|n-ng|sig|iuid|xattrnames",
];

/// AK, boot and policy; byte order, mode, number; banks; PCRs 9 and 10 of SHA-256.
const CHECKPOINT: &[&[u8]] = &[
    b"goldseal-checkpoint-1\n",
    b"\x02ak\0\0\0\x03\0\0\0\x01",
    &[7; 32],
    b"\0\x01\0\0\0\0\0\0\0\x76",
    b"\x02\0\x01",
    b"\x02\x01\x09",
    &[8; 32],
    b"\x01\x0a",
    &[9; 32],
];

const PATHS: &[u8] = b"/a b/c\n/a\\nb\\r\\\\c\n/a\rb\\\n//./../";

const EXCLUDES: &[u8] =
    b"/tmp/*\n/tmp/\n/home/[^/]*/\\.cache\n/a)|(?:.*\n(?x) /a #\n/[[:alpha:]&&[^b-d]]{2,9}?\\x{ff}\\z";

const FLAT: &[u8] = b"# sums\n\n\
    A9993E364706816ABA3E25717850C26C9CD0D89D */a//b/./c\n\
    \\a9993e364706816aba3e25717850c26c9cd0d89d  /a\\nb\\r\\\\c\n\
    a9993e364706816aba3e25717850c26c9cd0d89d boot_aggregate\n\
    a9993e364706816aba3e25717850c26c9cd0d89d  %keyring:.ima\n\
    a9993e364706816aba3e25717850c26c9cd0d89d  kernel_version\n";

const STATEMENTS: &[u8] = b"accept-bank sha1\n\
    boot-aggregate sha1:a9993e364706816aba3e25717850c26c9cd0d89d\n\
    boot-aggregate any\n\
    broad-exclude /.*\n\
    buffer kernel_version sha1:a9993e364706816aba3e25717850c26c9cd0d89d\n\
    file-signature ecdsa MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE /opt/app\n\
    ignore-keyring .ima\n\
    pcr sha1 7 a9993e364706816aba3e25717850c26c9cd0d89d\n\
    template d-ng|n-ng\n\
    violation report\n\
    conflict /a\\nb\n\
    excluded 12 /tmp/*\n\
    gap unreadable /a\n\
    input path - 3 44 /usr/bin\n\
    0*0\x05\x06\x03+ep\x03!\0\xd7Z\x98\x01\x82\xb1\n\xb7\xd5K\xfe\xd3\xc9d\x07:\x0e\xe1r\xf3\xda\xa6#%\xaf\x02\x1ah\xf7\x07Q\x1a";

/// A small list's sections.
const SECTIONS: &[u8] = b"input path - 3 44 /usr\nskipped /proc\n\0\
    /tmp/*\n/var/log\n\0\
    boot-aggregate any\ntemplate ima-ng\n\0\
    2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806  /a\n\
    \\27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a  /a\\nb\n\
    a9993e364706816aba3e25717850c26c9cd0d89d  /a b\n\
    verity:sha256:27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a  /b\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// Else mutations of it would only ever see refusals.
    #[test]
    fn the_seed_is_a_good_list() {
        assert_eq!(inspect(list(SECTIONS)).expect("a good list").contents().entry_count(), 4);
    }

    #[test]
    fn the_seeds_of_measurement_lists_are_good() {
        for list in binary_lists().iter().chain(&ascii_lists()) {
            assert!(MeasurementList::parse(list, &ListLimits::DEFAULT).is_ok_and(|list| !list.is_empty()));
        }
        assert!(template_data_seeds().len() > 500);
        assert_eq!(Checkpoint::parse(&CHECKPOINT.concat()).expect("a good checkpoint").accepted(), 118);
    }

    #[test]
    fn the_seed_is_a_good_flat_list() {
        let list = flat::parse(FLAT, None).expect("a good flat list");
        assert_eq!((list.entries.len(), list.rules.len()), (2, 3));
    }

    #[test]
    fn most_seeds_of_statements_are_good() {
        assert_eq!(lines(STATEMENTS).iter().filter(|line| Rule::parse(line).is_ok()).count(), 9);
        assert_eq!(lines(STATEMENTS).iter().filter(|line| Fact::parse(line).is_some()).count(), 4);
    }

    #[test]
    fn each_compression_has_a_good_seed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
        let mut first_bytes = std::collections::BTreeSet::new();
        for entry in folder.read_dir().expect("a folder of this project") {
            let image = std::fs::read(entry.expect("readable").path()).expect("readable");
            let unpacked = initramfs::read(&image, &[], &Limits::default(), &|_| {}).expect("a good image");
            assert_eq!(unpacked.files.len(), 1);
            first_bytes.insert(image[0]);
        }
        assert_eq!(first_bytes, MAGICS.iter().map(|magic| magic[0]).collect());
    }
}
