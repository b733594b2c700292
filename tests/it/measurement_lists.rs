//! Measurement lists of real kernels: each is read as its kernel counted it, and gives the PCRs of its TPM.

use std::fmt::Write as _;
use std::process::Command;

use goldseal_tests::World;
use goldseal_tests::captures::Dump;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::hex;
use goldseal_verifier_core::ima::boot_aggregate;
use goldseal_verifier_core::ima::entry::{ByteOrder, Entry, TemplateData};
use goldseal_verifier_core::ima::fields::{DigestKind, FieldError, Fields};
use goldseal_verifier_core::ima::list::{Limits, ListError, ListProblem, MeasurementList};
use goldseal_verifier_core::ima::replay::{ReplayError, ReplayMode};
use goldseal_verifier_core::pcr::PcrValues;
use sha1::Digest as _;

use HashAlgorithm::{Sha1, Sha256};
use ReplayMode::{PaddedSha1, PerBank};

/// Where the list holds more than the quote, and where PCR 10 was extended by hand.
const LATE: &str = "race-longer-list/q3";
const TAMPERED: &str = "tampered-pcr10/q2";

#[test]
fn every_list_is_read_as_its_kernel_counted_it() {
    for dump in Dump::all() {
        let bytes = dump.list();
        let list = parse(&bytes);
        let name = &dump.name;
        assert_eq!(list.len(), dump.number("count"), "{name}");
        assert_eq!(list.violations(), dump.number("violations"), "{name}");
        assert_eq!(list.entries().filter(Entry::is_violation).count(), list.violations(), "{name}");
        assert_eq!(list.template_hash(), Some(Sha1), "{name}");
        let order = if name.starts_with("s390x") { ByteOrder::Big } else { ByteOrder::Little };
        assert_eq!(list.byte_order(), Some(order), "{name}");
        assert!(list.entries().all(|entry| entry.claimed_pcr() == 10 && entry.fields().is_ok()), "{name}");
        // Outside of the first entry and of violations, digests are never zero.
        for (index, entry) in list.entries().enumerate() {
            let digest = fields(&entry).digest.unwrap().digest().unwrap();
            assert!(!digest.is_zero() || index == 0 || entry.is_violation(), "{name}: entry {index}");
        }
    }
}

#[test]
fn template_hashes_are_those_of_the_template_data() {
    for dump in Dump::all() {
        let bytes = dump.list();
        for entry in parse(&bytes).entries().filter(|entry| !entry.is_violation()) {
            assert_eq!(entry.template_hash(), sha1::Sha1::digest(hashed(&entry)).as_slice(), "{}", dump.name);
        }
    }
}

#[test]
fn printed_entries_are_the_list() {
    for dump in Dump::all() {
        let bytes = dump.list();
        let mut printed = Vec::new();
        parse(&bytes).entries().for_each(|entry| entry.print(&mut printed));
        assert!(printed == bytes, "{}", dump.name);
    }
}

#[test]
fn ascii_lists_are_the_binary_lists() {
    for dump in Dump::all() {
        let (ascii, binary) = (dump.ascii(), dump.list());
        let transcribed = parse(&ascii);
        assert!(transcribed.bytes() == binary, "{}", dump.name);
        assert_eq!(transcribed, parse(&binary), "{}", dump.name);
    }
}

#[test]
fn lists_with_other_template_hashes_say_the_same() {
    let mut lists = 0;
    for dump in Dump::all() {
        let plain = dump.list();
        let plain = parse(&plain);
        for algorithm in dump.variants() {
            let bytes = dump.file(&format!("binary_runtime_measurements_{algorithm}"));
            let list = parse(&bytes);
            assert_eq!(list.template_hash(), Some(algorithm), "{}", dump.name);
            assert_eq!(list.violations(), plain.violations(), "{}", dump.name);
            assert!(said(&list).eq(said(&plain)), "{}", dump.name);
            let ascii = dump.file(&format!("ascii_runtime_measurements_{algorithm}"));
            assert!(parse(&ascii).bytes() == bytes, "{}: {algorithm}", dump.name);
            for banks in dump.pcrs().iter().flat_map(|pcrs| pcrs.banks()).map(|bank| [bank]) {
                let quoted = dump.quoted(&banks);
                assert_eq!(list.replay_to(&quoted, PerBank), plain.replay_to(&quoted, PerBank), "{}", dump.name);
            }
            lists += 1;
        }
    }
    assert_eq!(lists, 22);
}

#[test]
fn every_list_gives_the_pcrs_of_its_tpm() {
    let mut replays = 0;
    for dump in Dump::all() {
        let bytes = dump.list();
        let list = parse(&bytes);
        let Some(pcrs) = dump.pcrs() else { continue };
        let all: Vec<HashAlgorithm> = pcrs.banks().collect();
        let each = all.iter().map(|bank| vec![*bank]);
        for banks in each.chain([all.clone()]) {
            let replay = list.replay_to(&dump.quoted(&banks), PerBank);
            match dump.name.as_str() {
                TAMPERED => {
                    let refused = ReplayError::NoPrefix { bank: banks[0], pcr: 10, entries: 55 };
                    assert_eq!(replay, Err(refused));
                }
                name => {
                    let replay = replay.unwrap_or_else(|error| panic!("{name}: {banks:?}: {error}"));
                    assert_eq!(replay.entries, if name == LATE { 118 } else { list.len() }, "{name}: {banks:?}");
                    assert!(replay.values.banks().eq(banks.iter().copied()), "{name}");
                    let pcrs = |bank: &HashAlgorithm| replay.values.pcrs(*bank).map(|(pcr, _)| pcr).eq([10]);
                    assert!(banks.iter().all(pcrs), "{name}");
                }
            }
            replays += 1;
        }
    }
    assert_eq!(replays, 77);
}

/// Not only the last value is tried: with each prefix of the list as the whole of it, PCR 10 is refused.
#[test]
fn a_pcr_extended_by_hand_matches_no_prefix() {
    let dump = Dump::of(TAMPERED);
    let bytes = dump.list();
    let quoted = dump.quoted(&[Sha1, Sha256]);
    let mut prefix = Vec::new();
    for (index, entry) in parse(&bytes).entries().enumerate() {
        entry.print(&mut prefix);
        let refused = ReplayError::NoPrefix { bank: Sha1, pcr: 10, entries: index + 1 };
        assert_eq!(parse(&prefix).replay_to(&quoted, PerBank), Err(refused));
    }
}

#[test]
fn the_boot_aggregate_is_recomputed() {
    let mut recomputed = 0;
    for dump in Dump::all() {
        let bytes = dump.list();
        let list = parse(&bytes);
        let first = fields(&list.entries().next().unwrap());
        assert_eq!(first.name, Some(boot_aggregate::NAME), "{}", dump.name);
        let listed = first.digest.unwrap().digest().unwrap();
        match dump.pcrs() {
            // Its list is of a machine without a TPM; the PCRs were made from it.
            Some(_) if dump.name.starts_with("s390x") => assert!(listed.is_zero()),
            None => assert!(listed.is_zero()),
            Some(pcrs) => {
                assert_eq!(boot_aggregate::recompute(&pcrs, listed.algorithm()), Some(listed), "{}", dump.name);
                let sha1 = dump.name.starts_with("ima-legacy-sha1");
                assert_eq!(listed.algorithm(), if sha1 { Sha1 } else { Sha256 }, "{}", dump.name);
                recomputed += 1;
            }
        }
    }
    assert_eq!(recomputed, 24);
}

#[test]
fn each_boot_has_its_own_list() {
    let (first, second) = (Dump::of("reboot-1/q1"), Dump::of("reboot-2/q1"));
    for (list, pcrs) in [(&first, &second), (&second, &first)] {
        let bytes = list.list();
        let list = parse(&bytes);
        let refused = ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries: list.len() };
        assert_eq!(list.replay_to(&pcrs.quoted(&[Sha256]), PerBank), Err(refused));
    }
}

#[test]
fn names_are_bytes() {
    let dump = Dump::of("ng-odd-names/q1");
    let bytes = dump.list();
    let list = parse(&bytes);
    let names: Vec<&[u8]> = list.entries().map(|entry| fields(&entry).name.unwrap()).collect();
    let forged = b"/opt/odd/inject.sh\n10_0000000000000000000000000000000000000000_ima-ng_sha256:00_";
    for name in [&b"/opt/odd/new\nline.sh"[..], b"/opt/odd/notutf8-\xff\xfe.sh", b"/opt/odd/quote\"and'tick.sh"] {
        assert!(names.contains(&name), "{}", name.escape_ascii());
    }
    assert!(names.contains(&&forged[..]), "no forged line");
    assert!(names.iter().any(|name| name.len() == 2100));
    assert!(names.iter().all(|name| !name.contains(&b' ')));

    let dump = Dump::of("ima-legacy-sha1/q1");
    let bytes = dump.list();
    let list = parse(&bytes);
    let names: Vec<&[u8]> = list.entries().map(|entry| fields(&entry).name.unwrap()).collect();
    // 255 bytes and less as a path, more as a name alone.
    assert!(names.iter().any(|name| name.len() == 255 && name.starts_with(b"/")));
    assert!(names.iter().any(|name| name.starts_with(b"L256-")));
}

#[test]
fn a_buffer_is_what_its_digest_says() {
    let dump = Dump::of("bufs/q1");
    let bytes = dump.list();
    let list = parse(&bytes);
    let mut labels = Vec::new();
    for entry in list.entries() {
        let is_buffer = entry.claimed_template() == b"ima-buf";
        assert_eq!(fields(&entry).digest_is_of_buffer(), is_buffer);
        if is_buffer {
            labels.push(String::from_utf8(fields(&entry).name.unwrap().to_vec()).unwrap());
        }
    }
    let expected = [
        "kernel_version",
        "init_module",
        ".builtin_trusted_keys",
        "dm_table_load",
        "dm_device_resume",
        "_ima",
        "kexec-cmdline",
    ];
    labels.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(labels, expected);
}

#[test]
fn signatures_and_verity_digests_are_told_apart() {
    let dump = Dump::of("sigv2-verity/q1");
    let bytes = dump.list();
    let list = parse(&bytes);
    let kinds = |kind: DigestKind<'_>, algorithm: &[u8]| {
        let digests = list.entries().map(|entry| fields(&entry).digest.unwrap());
        digests.filter(|digest| digest.kind == kind && digest.algorithm == algorithm).count()
    };
    let (contents, verity) = (kinds(DigestKind::Contents, b"sha256"), kinds(DigestKind::Verity, b"sha256"));
    let verity_sha512 = kinds(DigestKind::Verity, b"sha512");
    assert!(contents > 0 && verity > 0 && verity_sha512 > 0);
    assert_eq!(contents + verity + verity_sha512, list.len());
    // The file's name says how it was signed.
    let types: Vec<(String, Option<u8>)> = list
        .entries()
        .map(|entry| {
            let fields = fields(&entry);
            (String::from_utf8(fields.name.unwrap().to_vec()).unwrap(), fields.signature.unwrap().first().copied())
        })
        .collect();
    let of = |prefix: &str| types.iter().find(|(name, _)| name.starts_with(prefix)).unwrap().1;
    assert_eq!(of("/opt/signed/rsa-"), Some(3));
    assert_eq!(of("/opt/signed/evmonly-"), Some(5));
    assert!(types.iter().any(|(_, first)| *first == Some(6)));
    assert_eq!(of("boot_aggregate"), None);
}

#[test]
fn evm_entries_have_owner_and_mode() {
    let dump = Dump::of("evm-sig/q1");
    let bytes = dump.list();
    let list = parse(&bytes);
    let named =
        |name: &[u8]| list.entries().map(|entry| fields(&entry)).find(|fields| fields.name == Some(name)).unwrap();
    let first = named(b"boot_aggregate");
    assert_eq!((first.uid, first.gid, first.mode, first.xattr_names), (None, None, None, Some(&b""[..])));
    let bash = named(b"/usr/bin/bash");
    assert_eq!((bash.uid, bash.gid, bash.mode), (Some(0), Some(0), Some(0o100_755)));
    let signed = named(b"/opt/signed/ec-cat");
    assert_eq!(signed.xattr_names, Some(&b"security.ima"[..]));
    assert_eq!(signed.xattr_lengths, Some(&[0x51, 0, 0, 0][..]));
    assert_eq!(signed.xattr_values.unwrap().len(), 0x51);
}

#[test]
fn violations_look_the_same_in_every_template() {
    for (name, template) in
        [("banks4-aks/q1", "ima-ng"), ("ima-legacy-sha1/q1", "ima"), ("sig-violations/q2", "ima-sig")]
    {
        let dump = Dump::of(name);
        let bytes = dump.list();
        let list = parse(&bytes);
        let violations: Vec<Entry<'_>> = list.entries().filter(Entry::is_violation).collect();
        assert_eq!(violations.len(), 2);
        for violation in violations {
            assert_eq!(violation.claimed_template(), template.as_bytes());
            assert!(fields(&violation).digest.unwrap().digest().unwrap().is_zero());
        }
    }
}

/// ima-evm-utils finds the same prefix. Left out: big-endian lists, which it takes for little-endian ones, and banks
/// other than SHA-1 and SHA-256, which it passes over and calls good. It wants to be told to take violations as the
/// kernel extends them.
#[test]
fn evmctl_finds_the_same_prefix() {
    let mut compared = 0;
    for dump in Dump::all().into_iter().filter(|dump| !dump.name.starts_with("s390x")) {
        let bytes = dump.list();
        let list = parse(&bytes);
        let Some(pcrs) = dump.pcrs() else { continue };
        for bank in [Sha1, Sha256] {
            let found = evmctl(&dump, &pcrs, bank);
            let ours = list.replay_to(&dump.quoted(&[bank]), PerBank).ok().map(|replay| replay.entries);
            assert_eq!(found, ours, "{}: {bank}", dump.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 48);
}

/// No kernel before 5.8 was captured. The PCR that one would have extended is computed here; ima-evm-utils knows the rule.
#[test]
fn padded_sha1_is_another_mode() {
    for name in ["ng-incremental/q1", "banks4-aks/q1"] {
        let dump = Dump::of(name);
        let bytes = dump.list();
        let list = parse(&bytes);
        let mut pcr = [0; 32];
        for entry in list.entries() {
            let mut extension = [0; 32];
            match entry.is_violation() {
                true => extension[..20].fill(0xff),
                false => extension[..20].copy_from_slice(&sha1::Sha1::digest(hashed(&entry))),
            }
            pcr = sha2::Sha256::new().chain_update(pcr).chain_update(extension).finalize().into();
        }
        let mut padded = PcrValues::default();
        padded.insert(10, Digest::new(Sha256, &pcr).unwrap()).unwrap();
        assert_eq!(evmctl(&dump, &padded, Sha256), Some(list.len()));
        assert_eq!(list.replay_to(&padded, PaddedSha1).map(|replay| replay.entries), Ok(list.len()));
        let refused = ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries: list.len() };
        assert_eq!(list.replay_to(&padded, PerBank), Err(refused.clone()));
        assert_eq!(list.replay_to(&dump.quoted(&[Sha256]), PaddedSha1), Err(refused));
        // A SHA-1 bank is the same in both.
        let sha1 = dump.quoted(&[Sha1]);
        assert_eq!(list.replay_to(&sha1, PaddedSha1), list.replay_to(&sha1, PerBank));
    }
}

/// Each is a list of its own, with right template hashes; only the replay shows that it did not happen.
#[test]
fn an_altered_list_does_not_replay() {
    let dump = Dump::of("sig-violations/q1");
    let bytes = dump.list();
    let list = parse(&bytes);
    let entries: Vec<Vec<u8>> = list.entries().map(|entry| printed(&entry)).collect();
    let quoted = dump.quoted(&[Sha1, Sha256]);
    let refused = |altered: &[Vec<u8>]| {
        let bytes = altered.concat();
        let refused = ReplayError::NoPrefix { bank: Sha1, pcr: 10, entries: altered.len() };
        assert_eq!(parse(&bytes).replay_to(&quoted, PerBank), Err(refused));
    };
    assert_eq!(parse(&entries.concat()).replay_to(&quoted, PerBank).unwrap().entries, entries.len());
    for at in 0..entries.len() {
        let mut dropped = entries.clone();
        dropped.remove(at);
        refused(&dropped);
        let mut doubled = entries.clone();
        doubled.insert(at, entries[at].clone());
        // A quote taken before the last entry was listed twice: the second one is beyond it.
        if at + 1 < entries.len() {
            refused(&doubled);
        } else {
            assert_eq!(parse(&doubled.concat()).replay_to(&quoted, PerBank).unwrap().entries, entries.len());
        }
        if at > 0 && entries[at] != entries[at - 1] {
            let mut swapped = entries.clone();
            swapped.swap(at, at - 1);
            refused(&swapped);
        }
        let mut moved = entries.clone();
        moved[at][0] = 11;
        refused(&moved);
    }
}

/// Neither the template's name nor anything of a violation but its place is covered: `claimed_` says so.
#[test]
fn what_no_pcr_covers_can_be_altered() {
    let dump = Dump::of("sig-violations/q1");
    let bytes = dump.list();
    let list = parse(&bytes);
    let quoted = dump.quoted(&[Sha1, Sha256]);
    let replay = |altered: &[u8]| parse(altered).replay_to(&quoted, PerBank).unwrap().entries;

    // ima-sig and ima-buf have the same three fields. What is no buffer is still none, not even the empty file, whose
    // digest is that of nothing.
    let relabelled = replaced(&bytes, b"\x07\0\0\0ima-sig", b"\x07\0\0\0ima-buf");
    assert_eq!(replay(&relabelled), list.len());
    let relabelled = parse(&relabelled);
    assert!(relabelled.entries().all(|entry| !fields(&entry).digest_is_of_buffer()));

    // As ima-ng the same data do not fit, and an unknown template has no fields.
    let shorter = replaced(&bytes, b"\x07\0\0\0ima-sig", b"\x06\0\0\0ima-ng");
    assert_eq!(replay(&shorter), list.len());
    let trailing = |entry: Entry<'_>| matches!(entry.fields(), Err(FieldError::Trailing { .. }));
    assert!(parse(&shorter).entries().all(trailing));
    let unknown = replaced(&bytes, b"\x07\0\0\0ima-sig", b"\x07\0\0\0ima-new");
    assert_eq!(replay(&unknown), list.len());
    assert!(parse(&unknown).entries().all(|entry| entry.fields() == Err(FieldError::UnknownTemplate)));

    let mut renamed = Vec::new();
    for entry in list.entries() {
        let bytes = printed(&entry);
        let of_violation = entry.is_violation() && fields(&entry).name == Some(b"/opt/v-writers");
        renamed.extend(if of_violation { replaced(&bytes, b"/opt/v-writers", b"/opt/v-nothing") } else { bytes });
    }
    assert_eq!(replay(&renamed), list.len());
    let names = |bytes| parse(bytes).entries().map(|entry| fields(&entry).name.unwrap().to_vec()).collect::<Vec<_>>();
    let differ = names(&bytes).iter().zip(names(&renamed)).filter(|(a, b)| **a != *b).count();
    assert_eq!(differ, 1);
}

/// Cut anywhere, a list is either one of fewer entries or none.
#[test]
fn a_cut_list_ends_between_entries_or_is_refused() {
    for name in ["ima-legacy-sha1/q1", "s390x-be-native/q1", "evm-sig/q1", "banks4-aks/q1"] {
        let dump = Dump::of(name);
        for (bytes, is_ascii) in [(dump.list(), false), (dump.ascii(), true)] {
            let mut ends = vec![0];
            let mut printed = Vec::new();
            for entry in parse(&dump.list()).entries() {
                entry.print(&mut printed);
                ends.push(printed.len());
            }
            let mut whole = 0;
            // Every offset of the first entries, one of seven after them: long lists are read from the start each time.
            for end in (0..bytes.len()).filter(|end| *end < 2000 || end % 7 == 0) {
                match MeasurementList::parse(&bytes[..end], &Limits::DEFAULT) {
                    Ok(list) if is_ascii => assert!(end == 0 || bytes[end - 1] == b'\n' && !list.is_empty()),
                    Ok(list) => assert_eq!(list.len(), ends.iter().position(|known| *known == end).unwrap()),
                    Err(ListError { problem, .. }) if is_ascii => {
                        let expected = matches!(
                            problem,
                            ListProblem::AsciiForm | ListProblem::TemplateHash | ListProblem::CutShort
                        ) || end < 4;
                        assert!(expected, "{name}: {end}: {problem:?}");
                        continue;
                    }
                    Err(error) => {
                        assert_eq!(error.problem, ListProblem::CutShort, "{name}: {end}");
                        assert!(!ends.contains(&end), "{name}: {end}");
                        continue;
                    }
                }
                whole += 1;
            }
            assert!(whole > 1, "{name}");
        }
    }
}

/// Whatever follows the last entry is read as another one.
#[test]
fn what_follows_a_list_is_refused() {
    let dump = Dump::of("s390x-be-native/q1");
    for (list, after, problem) in [
        (dump.list(), &b"\0"[..], ListProblem::CutShort),
        (dump.list(), b"\0\0\0\x0a", ListProblem::CutShort),
        (dump.list(), b"\x0a\0\0\0", ListProblem::Pcr(0x0a00_0000)),
        (dump.ascii(), b"\n", ListProblem::AsciiForm),
        (dump.ascii(), b"10 ", ListProblem::AsciiForm),
    ] {
        let bytes = [&list[..], after].concat();
        let error = MeasurementList::parse(&bytes, &Limits::DEFAULT).unwrap_err();
        assert_eq!(error, ListError { entry: 9, offset: list.len(), problem });
    }
}

fn parse(bytes: &[u8]) -> MeasurementList<'_> {
    MeasurementList::parse(bytes, &Limits::DEFAULT).unwrap()
}

fn fields<'a>(entry: &Entry<'a>) -> Fields<'a> {
    entry.fields().unwrap()
}

fn printed(entry: &Entry<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.print(&mut bytes);
    bytes
}

/// What the kernel hashes.
fn hashed(entry: &Entry<'_>) -> Vec<u8> {
    match entry.template_data() {
        TemplateData::Prefixed(data) => data.to_vec(),
        TemplateData::Legacy { digest, name } => {
            let mut data = [digest, name].concat();
            data.resize(20 + 256, 0);
            data
        }
    }
}

/// What the entries say, without their template hashes.
fn said<'l>(list: &'l MeasurementList<'l>) -> impl Iterator<Item = (u8, &'l [u8], TemplateData<'l>)> {
    list.entries().map(|entry| (entry.claimed_pcr(), entry.claimed_template(), entry.template_data()))
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(from) {
            out.extend_from_slice(to);
            at += from.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    assert_ne!(out, bytes);
    out
}

/// The entry at which evmctl(1) finds PCR 10 of a bank.
fn evmctl(dump: &Dump, pcrs: &PcrValues, bank: HashAlgorithm) -> Option<usize> {
    let world = World::new();
    let mut text = String::new();
    for pcr in 0..24 {
        let value = pcrs.value(bank, pcr).copied().unwrap_or(Digest::filled(bank, 0));
        let bytes: Vec<String> = value.as_bytes().iter().map(|byte| hex::encode(&[*byte])).collect();
        writeln!(text, "PCR-{pcr:02}: {}", bytes.join(" ").to_uppercase()).unwrap();
    }
    let file = world.file("pcrs", text);
    let mut command = Command::new("evmctl");
    command.args(["-v", "ima_measurement", "--ignore-violations", "--pcrs"]);
    command.arg(format!("{bank},{}", file.display())).arg(dump.path("binary_runtime_measurements"));
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // `sha256 PCR-10: succeed at entry 118`
    let found = said.lines().find_map(|line| line.split_once(" PCR-10: succeed at entry "));
    assert_eq!(found.is_some(), output.status.success(), "{}: {said}", dump.name);
    found.map(|(_, entry)| entry.trim().parse().unwrap())
}
