//! Every capture with a quote, judged by the golden list of its file system: what was run from it is accepted, and what was
//! not is found, and nothing else. The golden digests are those that sha256sum(1) and sha1sum(1) found when the file
//! systems were made.

use std::fs;
use std::process::Command;

use goldseal_tests::captures::Dump;
use goldseal_tests::forge::golden::Golden;
use goldseal_tests::forge::machine::{assert_findings, findings};
use goldseal_tests::output_of;
use goldseal_tests::quotes::{CapturedQuote, captured_quote_named, captured_quotes, captures};
use goldseal_verifier_core::appraise::{AttestationResult, BootState, FindingKind, SignatureNote, Verdict};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::ima::checkpoint::{Checkpoint, Mismatch};
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::ima::replay::ReplayError;
use goldseal_verifier_core::tpm::{AttestationKey, ExpectedSelection, QuotedPcrs, Sha1Signatures, read_pcr_blob};

/// Cases whose second reading is after an attack.
const EVIL: [&str; 6] = ["big-5000", "bios-ng", "k61-sig", "keylime-policy", "ng-incremental", "sig-violations"];

#[test]
fn what_is_golden_is_accepted_and_what_is_evil_is_found() {
    let mut evil = 0;
    for quote in captured_quotes() {
        let (case, dump) = parts(&quote);
        if ["ima-legacy-sha1", "s390x-be-native"].contains(&case) || dump == "tampered-pcr10/q2" {
            continue;
        }
        let result = appraise(&golden(dump), &quote);
        if EVIL.contains(&case) && dump.ends_with("/q2") {
            assert_findings(&result, &[("/opt/evil.sh", NOT_LISTED), ("/opt/evil2.sh", NOT_LISTED)]);
            evil += 1;
        } else {
            assert_eq!(findings(&result), [], "{}", quote.name);
            assert_eq!(result.verdict(), Verdict::Accepted, "{}", quote.name);
        }
    }
    assert_eq!(evil, 23);
}

const NOT_LISTED: &str = "not-in-whitelist";

#[test]
fn each_entry_counts_once() {
    for quote in captured_quotes().iter().filter(|quote| parts(quote).1 != "tampered-pcr10/q2") {
        let result = appraise(&golden(parts(quote).1), quote);
        let counts = result.counts();
        let good = counts.good + counts.signed + counts.excluded + counts.boot_aggregate + counts.buffers;
        let bad = counts.not_in_whitelist + counts.digest_differs + counts.bad_boot_aggregate + counts.bad_buffers;
        let all = good + counts.ignored + bad + counts.violations + counts.malformed + counts.unquoted;
        assert_eq!(all, result.entries(), "{}: {counts:?}", quote.name);
    }
}

/// A quote of PCRs 0 to 10 proves the boot; one of PCR 10 alone does not.
#[test]
fn the_boot_is_proven_by_its_pcrs() {
    for quote in captured_quotes() {
        let (case, dump) = parts(&quote);
        if case == "s390x-be-native" || dump == "tampered-pcr10/q2" {
            continue;
        }
        let all = quote.name.ends_with("-all");
        let expected = if all { BootState::Proven } else { BootState::Unproven };
        assert_eq!(appraise(&golden(dump), &quote).boot_state(), expected, "{}", quote.name);
        // No rule constrains it.
        let mut any = golden(dump);
        any.drops_rules("boot-aggregate").rule("boot-aggregate any");
        let result = appraise(&any, &quote);
        assert_eq!(result.boot_state(), BootState::Unproven, "{}", quote.name);
        assert_eq!(result.counts().bad_boot_aggregate, 0, "{}", quote.name);
        // And without any rule it is not allowed.
        any.drops_rules("boot-aggregate");
        assert_eq!(appraise(&any, &quote).counts().bad_boot_aggregate, 1, "{}", quote.name);
    }
}

/// The list of a machine without a TPM, whose PCRs were made from it: its boot_aggregate is all zeros, and that of no
/// PCRs.
#[test]
fn a_boot_aggregate_is_held_against_the_quoted_pcrs() {
    let quote = captured_quote_named("s390x-be-native/q1/quote-rsa-all");
    let mut golden = Golden::new();
    golden.rule("boot-aggregate any").rule("violation report").excludes("/(?:init|bin/.*|opt/.*)").rule(BROAD);
    assert_findings(&appraise(&golden, &quote), &[("boot_aggregate", "boot-aggregate-of-other-pcrs")]);
}

const BROAD: &str = "broad-exclude /(?:init|bin/.*|opt/.*)";

#[test]
fn sha1_alone_proves_nothing_unless_a_rule_accepts_it() {
    let quote = captured_quote_named("ng-incremental/q1/quote-rsa-sha1-pcr10");
    let mut golden = golden("ng-incremental/q1");
    golden.drops_rules("accept-bank");
    assert_findings(&appraise(&golden, &quote), &[("", "sha1-bank-alone")]);
    let quote = captured_quote_named("ng-incremental/q1/quote-rsa-all");
    assert_findings(&appraise(&golden, &quote), &[]);
}

#[test]
fn what_is_beyond_the_quote_is_not_judged() {
    let quote = captured_quote_named("race-longer-list/q3/quote-rsa-all");
    let result = appraise(&golden("race-longer-list/q3"), &quote);
    assert_findings(&result, &[]);
    assert_eq!((result.entries(), result.tail()), (118, 4));
    assert_eq!(result.checkpoint().unwrap().accepted(), 118);
}

#[test]
fn a_pcr_extended_by_hand_is_not_believed() {
    for quote in captured_quotes().iter().filter(|quote| parts(quote).1 == "tampered-pcr10/q2") {
        let refused = try_appraise(&golden("tampered-pcr10/q2"), quote, None).map(drop);
        let (bank, pcr) = quote.selection.iter().find(|(_, pcr)| *pcr == 10).unwrap();
        assert_eq!(refused, Err(ReplayError::NoPrefix { bank, pcr, entries: 55 }), "{}", quote.name);
    }
}

/// Names longer than its template has room for are without a path, and nothing can list those.
#[test]
fn a_list_of_the_legacy_template_stays_rejected() {
    let dump = "ima-legacy-sha1/q1";
    let mut golden = golden(dump);
    for quote in captured_quotes().iter().filter(|quote| parts(quote).1 == dump) {
        let result = appraise(&golden, quote);
        let found = findings(&result);
        assert_eq!(found.len(), 5, "{}: {found:?}", quote.name);
        assert!(found.iter().all(|(name, word)| name.starts_with('L') && *word == "relative-name"), "{found:?}");
        assert_eq!(result.notes().len(), 2);
    }
    // Nothing of it is accepted by itself.
    let quote = captured_quote_named("ima-legacy-sha1/q1/quote-rsa-all");
    golden.drops_rules("accept-digest");
    let sha1 = findings(&appraise(&golden, &quote));
    assert!(sha1.iter().filter(|(_, word)| *word == "sha1-digest").count() > 100, "{sha1:?}");
    golden.drops_rules("template");
    let result = appraise(&golden, &quote);
    assert_eq!(result.counts().malformed + result.counts().violations, result.entries());
}

#[test]
fn a_violation_rejects_unless_a_rule_has_it_reported() {
    for (dump, template) in [("banks4-aks/q1", "ima-ng"), ("sig-violations/q1", "ima-sig")] {
        let violations = |dump: &str| {
            let ascii = String::from_utf8(Dump::of(dump).ascii()).unwrap();
            let lines = ascii.lines().filter(|line| line.split(' ').nth(1).unwrap().bytes().all(|byte| byte == b'0'));
            lines.map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect::<Vec<_>>()
        };
        let names = violations(dump);
        assert_eq!(names.len(), 2, "{template}");
        let quote = captured_quote_named(&format!("{dump}/quote-rsa-all"));
        let mut golden = golden(dump);
        let result = appraise(&golden, &quote);
        assert_findings(&result, &[]);
        let notes: Vec<_> = result.notes().iter().map(|note| (note.name.clone().unwrap(), note.kind.word())).collect();
        assert_eq!(notes, names.iter().map(|name| (name.clone().into_bytes(), "violation")).collect::<Vec<_>>());
        golden.drops_rules("violation");
        let expected: Vec<_> = names.iter().map(|name| (name.as_str(), "violation")).collect();
        assert_findings(&appraise(&golden, &quote), &expected);
    }
}

/// The same TPM and AK, another boot.
#[test]
fn a_checkpoint_holds_for_one_boot() {
    let (first, second) =
        (captured_quote_named("reboot-1/q1/quote-rsa-all"), captured_quote_named("reboot-2/q1/quote-rsa-all"));
    let mut golden = golden("reboot-1/q1");
    golden.rule(boot_aggregate("reboot-2/q1"));
    for (one, other) in [(&first, &second), (&second, &first)] {
        let accepted = appraise(&golden, one);
        let checkpoint = accepted.checkpoint().unwrap();
        let refused = try_appraise(&golden, other, Some(checkpoint)).map(drop);
        let boots = Mismatch::Boot { expected: quoted(one).boot(), found: quoted(other).boot() };
        assert_eq!(refused, Err(ReplayError::Checkpoint(boots)));
    }
}

#[test]
fn an_increment_is_judged_from_where_the_last_one_ended() {
    let (before, after) = (
        captured_quote_named("ng-incremental/q1/quote-ecc-all"),
        captured_quote_named("ng-incremental/q2/quote-ecc-all"),
    );
    let golden = golden("ng-incremental/q2");
    let checkpoint = appraise(&golden, &before).checkpoint().unwrap().clone();
    let result = try_appraise(&golden, &after, Some(&checkpoint)).unwrap();
    assert_findings(&result, &[("/opt/evil.sh", NOT_LISTED), ("/opt/evil2.sh", NOT_LISTED)]);
    assert_eq!(result.findings().iter().map(|finding| finding.entry).collect::<Vec<_>>(), [Some(119), Some(121)]);
    assert_eq!((result.before(), result.entries(), result.boot_state()), (118, 121, BootState::Proven));
    // The other key of the same TPM.
    let other = captured_quote_named("ng-incremental/q2/quote-rsa-all");
    let refused = try_appraise(&golden, &other, Some(&checkpoint)).map(drop);
    assert_eq!(refused, Err(ReplayError::Checkpoint(Mismatch::Ak)));
}

/// What evmctl(1) signed needs no entry below the pattern, and nothing else of it is taken.
#[test]
fn signed_files_need_no_entry() {
    for (dump, signed) in [("k61-sig/q1", 12), ("sigv2-verity/q1", 12), ("evm-sig/q1", 12)] {
        let quote = captured_quote_named(&format!("{dump}/quote-rsa-all"));
        let mut golden = golden(dump);
        golden.forgets(|path| path.starts_with(b"/opt/signed/"));
        golden.rule(file_signature("rsa", "/opt/signed")).rule(file_signature("ec", "/opt/signed"));
        let result = appraise(&golden, &quote);
        assert_eq!(result.counts().signed, signed, "{dump}");
        // Signed by nobody but EVM, and not signed.
        assert_eq!(
            noted(&result, "/opt/signed/"),
            [
                ("/opt/signed/evmonly-cat", SignatureNote::NotAccepted { kind: 5 }),
                ("/opt/signed/evmonly-id", SignatureNote::NotAccepted { kind: 5 }),
                ("/opt/signed/hash-cat", SignatureNote::None),
                ("/opt/signed/hash-id", SignatureNote::None),
                ("/opt/signed/hash-ls", SignatureNote::None),
                ("/opt/signed/hash-nproc", SignatureNote::None),
            ]
            .map(|(name, note)| (name.to_owned(), note)),
            "{dump}"
        );
        // The key of the one does not do for the other, nor the pattern of another folder.
        golden.drops_rules("file-signature").rule(file_signature("rsa", "/opt/signed"));
        let result = appraise(&golden, &quote);
        assert_eq!(result.counts().signed, 8, "{dump}");
        let by_ec = noted(&result, "/opt/signed/ec-");
        assert!(by_ec.len() == 4 && by_ec.iter().all(|(_, note)| *note == SignatureNote::Bad), "{dump}: {by_ec:?}");
        golden.drops_rules("file-signature").rule(file_signature("rsa", "/opt/signe"));
        let result = appraise(&golden, &quote);
        assert_eq!(result.counts().signed, 0, "{dump}");
        let by_rsa = noted(&result, "/opt/signed/rsa-");
        assert!(
            by_rsa.len() == 4 && by_rsa.iter().all(|(_, note)| *note == SignatureNote::NoRule),
            "{dump}: {by_rsa:?}"
        );
    }
}

/// A digest of the contents is not one of the Merkle tree, and a signature of type 06 is over neither.
#[test]
fn verity_digests_are_their_own() {
    let dump = "sigv2-verity/q1";
    let quote = captured_quote_named("sigv2-verity/q1/quote-rsa-all");
    let mut golden = golden(dump);
    golden.forgets(|path| path.starts_with(b"/opt/verity/"));
    golden.rule(file_signature("rsa", "/opt/verity"));
    let result = appraise(&golden, &quote);
    let notes: Vec<_> = noted(&result, "/opt/verity/").into_iter().map(|(_, note)| note).collect();
    let (none, verity) = (SignatureNote::None, SignatureNote::NotAccepted { kind: 6 });
    assert_eq!(notes, [none, none, none, verity]);
    // With the digests that sha256sum(1) found.
    let contents = sums("sha256");
    for (path, digest) in contents.iter().filter(|(path, _)| path.starts_with(b"/opt/verity/")) {
        golden.lists(path, *digest);
    }
    let result = appraise(&golden, &quote);
    assert_eq!((result.counts().digest_differs, result.counts().not_in_whitelist), (4, 0));
}

#[test]
fn buffers_are_admitted_by_label_and_digest() {
    let quote = captured_quote_named("bufs/q1/quote-rsa-all");
    let buffers = buffers();
    assert_eq!(buffers.len(), 7);
    for (label, _) in &buffers {
        let mut without = golden("bufs/q1");
        without.drops_rules(&format!("buffer {label} "));
        assert_findings(&appraise(&without, &quote), &[(label.as_str(), "buffer")]);
        // Under another label its digest admits nothing.
        without.rule(format!("buffer other {}", buffers.iter().find(|(of, _)| of == label).unwrap().1));
        assert_findings(&appraise(&without, &quote), &[(label.as_str(), "buffer")]);
    }
    let mut golden = golden("bufs/q1");
    golden.drops_rules("buffer _ima").rule("ignore-keyring _ima");
    let result = appraise(&golden, &quote);
    assert_findings(&result, &[]);
    assert_eq!((result.counts().buffers, result.counts().ignored), (6, 1));
}

/// The golden list of a case, with what its README names as not of the file system, and with rules for what is odd.
fn golden(dump: &str) -> Golden {
    let case = dump.split('/').next().unwrap();
    let legacy = case == "ima-legacy-sha1";
    let hash = if legacy { "sha1" } else { "sha256" };
    let mut golden = Golden::new();
    let mut uname = None;
    for (path, digest) in sums(hash) {
        match path.as_slice() {
            b"/opt/evil.sh" => continue,
            b"/opt/tools/uname" => uname = Some(digest),
            _ => {}
        }
        golden.lists(path, digest);
    }
    golden.lists("/opt/disk-uname", uname.unwrap());
    // Made on the machine.
    golden.excludes("/opt/gone").excludes("/opt/v[-_].*").rule("violation report");
    golden.rule(boot_aggregate(dump)).rule("accept-bank sha1");
    match case {
        "big-5000" => {
            for number in 1..=5000 {
                golden.lists_file(&format!("/opt/big/file-{number:05}.dat"), format!("content {number}\n").as_bytes());
            }
        }
        "bufs" => {
            for (label, digest) in buffers() {
                golden.rule(format!("buffer {label} {digest}"));
            }
        }
        "evm-sig" => {
            golden.rule("template evm-sig");
        }
        "sigv2-verity" => {
            // As fs-verity found them on the machine: there is no other program here that computes them.
            for line in ascii(dump).lines().filter(|line| line.contains(" verity:")) {
                let words: Vec<&str> = line.split(' ').collect();
                golden.lists(words[4], FileDigest::parse(words[3].as_bytes()).unwrap());
            }
        }
        "ima-legacy-sha1" => {
            golden.rule("template ima").rule("accept-digest sha1");
        }
        _ => {}
    }
    golden
}

/// What sha256sum(1) or its like found.
fn sums(hash: &str) -> Vec<(Vec<u8>, FileDigest)> {
    Golden::of_sums(&fs::read(captures().join(format!("_shared/rootfs-{hash}sums.txt"))).unwrap()).entries().to_vec()
}

fn ascii(dump: &str) -> String {
    String::from_utf8_lossy(&Dump::of(dump).ascii()).into_owned()
}

/// The rule for the boot_aggregate of a list.
fn boot_aggregate(dump: &str) -> String {
    let ascii = ascii(dump);
    let digest = ascii.lines().next().unwrap().split(' ').nth(3).unwrap();
    let digest = digest.strip_prefix("ima:").unwrap_or(digest);
    let colon = if digest.contains(':') { "" } else { "sha1:" };
    format!("boot-aggregate {colon}{digest}")
}

/// Label and digest of each buffer in the case of buffers, with the digest computed from the buffer.
fn buffers() -> Vec<(String, String)> {
    let ascii = ascii("bufs/q1");
    let lines = ascii.lines().filter(|line| line.contains(" ima-buf "));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let buffer = goldseal_tests::quotes::unhex(words[5]);
            (words[4].to_owned(), format!("{:?}", Digest::of(HashAlgorithm::Sha256, [&buffer[..]])))
        })
        .collect()
}

/// A rule for one of the keys that evmctl(1) signed with; openssl takes it out of its certificate.
fn file_signature(key: &str, pattern: &str) -> String {
    let certificate = captures().join(format!("_shared/{key}-cert.der"));
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-inform", "DER", "-noout", "-pubkey", "-in"]).arg(certificate);
    let pem = String::from_utf8(output_of(&mut openssl)).unwrap();
    let spki: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let algorithm = if key == "rsa" { "rsa-pkcs1" } else { "ecdsa" };
    format!("file-signature {algorithm} {spki} {pattern}")
}

/// What is said of the signatures of files that are not listed, sorted.
fn noted(result: &AttestationResult, prefix: &str) -> Vec<(String, SignatureNote)> {
    let mut notes = Vec::new();
    for finding in result.findings() {
        let name = String::from_utf8(finding.name.clone().unwrap()).unwrap();
        if let FindingKind::NotInWhitelist { signature, .. } = &finding.kind
            && name.starts_with(prefix)
        {
            notes.push((name, *signature));
        }
    }
    notes.sort_by(|(a, _), (b, _)| a.cmp(b));
    notes
}

/// Case and dump of a quote.
fn parts(quote: &CapturedQuote) -> (&str, &str) {
    let dump = quote.name.rsplit_once('/').unwrap().0;
    (dump.split_once('/').unwrap().0, dump)
}

fn appraise(golden: &Golden, quote: &CapturedQuote) -> AttestationResult {
    try_appraise(golden, quote, None).unwrap_or_else(|error| panic!("{}: {error}", quote.name))
}

/// From the first entry, or from a checkpoint.
fn try_appraise(
    golden: &Golden,
    quote: &CapturedQuote,
    from: Option<&Checkpoint>,
) -> Result<AttestationResult, ReplayError> {
    let bytes = fs::read(quote.file("msg").with_file_name("binary_runtime_measurements")).unwrap();
    let appraiser = golden.appraiser();
    let Some(checkpoint) = from else {
        let list = MeasurementList::parse(&bytes, &Limits::DEFAULT).unwrap();
        let evidence = appraiser.evidence(&list, quoted(quote))?;
        return Ok(appraiser.appraise(&evidence));
    };
    let whole = MeasurementList::parse(&bytes, &Limits::DEFAULT).unwrap();
    let mut increment = Vec::new();
    let accepted = usize::try_from(checkpoint.accepted()).unwrap();
    whole.entries_from(accepted).for_each(|entry| entry.print(&mut increment));
    let list = MeasurementList::parse(&increment, &Limits::DEFAULT).unwrap();
    let evidence = appraiser.resume(&list, quoted(quote), checkpoint)?;
    Ok(appraiser.appraise(&evidence))
}

fn quoted(quote: &CapturedQuote) -> QuotedPcrs {
    let ak = AttestationKey::from_public_area(&quote.public_area()).unwrap();
    let sha1 = match quote.hash() {
        HashAlgorithm::Sha1 => Sha1Signatures::AcceptDangerously,
        _ => Sha1Signatures::Refuse,
    };
    let expected = ExpectedSelection::Exactly(&quote.selection);
    let verified = ak.verify_quote(&quote.attest, &quote.signature, &quote.nonce, expected, sha1).unwrap();
    verified.bind(read_pcr_blob(&quote.blob).unwrap()).unwrap()
}
