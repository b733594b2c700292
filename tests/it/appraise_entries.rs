//! A perfect machine, and one entry of its list that is not as it should be.

use goldseal_tests::forge::ak::hash;
use goldseal_tests::forge::golden::Golden;
use goldseal_tests::forge::machine::{Machine, assert_findings};
use goldseal_tests::forge::measurements::{Measurement, digest, text};
use goldseal_verifier_core::appraise::{FindingKind, Trier};
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::list;

use HashAlgorithm::{Sha1, Sha256, Sha512};

#[test]
fn a_perfect_machine_is_accepted() {
    let mut machine = Machine::perfect();
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!((result.entries(), result.counts().good, result.counts().boot_aggregate), (3, 2, 1));
    assert_eq!((result.before(), result.tail(), result.notes()), (0, 0, &[][..]));
}

/// A perfect machine that measures one more thing.
#[track_caller]
fn finds(change: impl FnOnce(&mut Golden), measurement: Measurement, expected: &[(&str, &str)]) {
    let mut machine = Machine::perfect();
    change(&mut machine.golden);
    machine.measure(measurement);
    assert_findings(&machine.appraise(), expected);
}

/// The same is allowed.
#[track_caller]
fn allows(change: impl FnOnce(&mut Golden), measurement: Measurement) {
    finds(change, measurement, &[]);
}

fn nothing(_: &mut Golden) {}

#[test]
fn a_file_is_listed_with_its_digest() {
    finds(nothing, Measurement::ng("/root/evil.sh", b"evil"), &[("/root/evil.sh", "not-in-whitelist")]);
    finds(nothing, Measurement::ng("/usr/bin/bash", b"evil"), &[("/usr/bin/bash", "digest-differs")]);
    finds(nothing, Measurement::ng("/usr/bin/bash/", b"bash"), &[("/usr/bin/bash/", "not-in-whitelist")]);
    finds(nothing, Measurement::ng("/usr/bin/bas", b"bash"), &[("/usr/bin/bas", "not-in-whitelist")]);
    // Another path's digest is not its own.
    finds(nothing, Measurement::ng("/usr/bin/bash", b"blank"), &[("/usr/bin/bash", "digest-differs")]);
}

#[test]
fn a_path_may_have_several_digests() {
    let two = |golden: &mut Golden| {
        golden.lists_file("/usr/bin/bash", b"newer");
    };
    allows(two, Measurement::ng("/usr/bin/bash", b"newer"));
    allows(two, Measurement::ng("/usr/bin/bash", b"bash"));
    finds(two, Measurement::ng("/usr/bin/bash", b"evil"), &[("/usr/bin/bash", "digest-differs")]);
}

/// The value is right, and of another algorithm than it says.
#[test]
fn a_digest_is_of_its_algorithm() {
    let sha256 = hash(Sha256, b"bash");
    for name in ["sha3-256", "sm3", "SHA256", "sha1", "sha512", ""] {
        let value = [name.as_bytes(), b":\0", &sha256].concat();
        let measurement = Measurement::of("ima-ng", &[&value, &text("/usr/bin/bash")]);
        finds(nothing, measurement, &[("/usr/bin/bash", "digest-differs")]);
    }
    let other = Measurement::ng_by(Sha512, "/usr/bin/bash", b"bash");
    finds(nothing, other, &[("/usr/bin/bash", "digest-differs")]);
    // Under an exclude, too: it is listed.
    let other = Measurement::ng_by(Sha512, "/usr/bin/bash", b"bash");
    finds(
        |golden| {
            golden.excludes("/usr/bin/bash").rule("broad-exclude /usr/bin/bash");
        },
        other,
        &[("/usr/bin/bash", "digest-differs")],
    );
}

#[test]
fn an_exclude_takes_only_what_is_not_listed() {
    finds(
        |golden| {
            golden.excludes("/usr/bin/ba.*").rule("broad-exclude /usr/bin/ba.*");
        },
        Measurement::ng("/usr/bin/bash", b"evil"),
        &[("/usr/bin/bash", "digest-differs")],
    );
    let mut machine = Machine::perfect();
    machine.golden.excludes("/usr/bin/ba.*|/var/lib").rule("broad-exclude /usr/bin/ba.*|/var/lib");
    machine.run("/var/lib/x", b"anything");
    let result = machine.appraise();
    assert_findings(&result, &[]);
    assert_eq!((result.counts().excluded, result.counts().good), (1, 2));
}

#[test]
fn a_name_without_a_path_is_none() {
    let listed = |golden: &mut Golden| {
        golden.lists_file("/evil", b"evil").excludes("/?evil");
    };
    finds(listed, Measurement::ng("evil", b"evil"), &[("evil", "relative-name")]);
    finds(listed, Measurement::ng("", b"evil"), &[("", "relative-name")]);
}

/// The kernel writes `_` for a blank, so that nobody can tell which of the two it was.
#[test]
fn names_with_blanks_share_their_digests() {
    let both = |golden: &mut Golden| {
        golden.lists_file("/opt/a b", b"one").lists_file("/opt/a_b", b"two");
    };
    allows(both, Measurement::ng("/opt/a_b", b"one"));
    allows(both, Measurement::ng("/opt/a_b", b"two"));
    let mut machine = Machine::perfect();
    both(&mut machine.golden);
    machine.run("/opt/a_b", b"three");
    let result = machine.appraise();
    assert_findings(&result, &[("/opt/a_b", "digest-differs")]);
    let FindingKind::DigestDiffers { expected, .. } = &result.findings()[0].kind else { panic!("{result:?}") };
    assert_eq!(expected.len(), 2);
    // No kernel writes a blank.
    finds(both, Measurement::ng("/opt/a b", b"one"), &[("/opt/a b", "not-in-whitelist")]);
}

#[test]
fn a_template_is_one_that_is_allowed() {
    let legacy = || Measurement::legacy("/usr/bin/bash", b"bash");
    finds(nothing, legacy(), &[("/usr/bin/bash", "template")]);
    // `template` lines replace the usual set.
    let mut machine = Machine::perfect();
    machine.golden.rule("template ima-sig");
    let expected = [("boot_aggregate", "template"), ("/usr/bin/bash", "template"), ("/usr/bin/a_b", "template")];
    assert_findings(&machine.appraise(), &expected);
    let both = |golden: &mut Golden| {
        let sha1 = Digest::new(Sha1, &hash(Sha1, b"bash")).unwrap();
        golden.lists("/usr/bin/bash", FileDigest::Contents(sha1)).rule("template ima").rule("template ima-ng");
    };
    finds(both, legacy(), &[("/usr/bin/bash", "sha1-digest")]);
    let accepted = |golden: &mut Golden| {
        both(golden);
        golden.rule("accept-digest sha1");
    };
    allows(accepted, legacy());
    finds(nothing, Measurement::ng("/usr/bin/bash", b"bash").relabelled("ima-new"), &[("", "fields")]);
    let spelled = || Measurement::ng("/usr/bin/bash", b"bash").relabelled("d-ng|n-ng");
    finds(nothing, spelled(), &[("/usr/bin/bash", "template")]);
    allows(
        |golden| {
            golden.rule("template d-ng|n-ng").rule("template ima-ng");
        },
        spelled(),
    );
}

/// A format of the kernel that has no digest, or no name.
#[test]
fn a_template_tells_of_a_file() {
    let rules = |golden: &mut Golden| {
        golden.rule("template ima-ng").rule("template n-ng|iuid").rule("template d-ng|iuid");
    };
    finds(rules, Measurement::of("n-ng|iuid", &[&text("/usr/bin/bash"), b""]), &[("/usr/bin/bash", "no-file")]);
    finds(rules, Measurement::of("d-ng|iuid", &[&digest(Sha256, b"bash"), b""]), &[("", "no-file")]);
}

#[test]
fn the_fields_take_up_the_template_data() {
    let value = digest(Sha256, b"bash");
    for fields in [
        &[&value[..], &text("/usr/bin/bash"), b""][..],
        &[&value],
        &[&value, b"/usr/bin/bash"],
        &[&value, b"/usr/bin/bash\0\0"],
        &[&value, b"/usr/bin/ba\0sh\0"],
        &[&value[..6], &text("/usr/bin/bash")],
    ] {
        finds(nothing, Measurement::of("ima-ng", fields), &[("", "fields")]);
    }
    let mut longer = Measurement::ng("/usr/bin/bash", b"bash");
    longer.data.push(0);
    finds(nothing, longer, &[("", "fields")]);
}

/// ima-sig and ima-buf have the same three fields, and nothing covers the name of the template.
#[test]
fn a_file_is_no_buffer() {
    let rules = |golden: &mut Golden| {
        golden.rule("ignore-keyring /root/evil").rule(format!("buffer /root/evil {:?}", Digest::sha256(b"evil")));
    };
    for signature in [&b""[..], b"\x03signature"] {
        let file = || Measurement::sig("/root/evil", b"evil", signature).relabelled("ima-buf");
        finds(rules, file(), &[("/root/evil", "buffer-digest")]);
        finds(nothing, file(), &[("/root/evil", "buffer-digest")]);
    }
    // An empty file without a signature: no buffer is empty.
    let empty = Measurement::sig("/root/evil", b"", b"").relabelled("ima-buf");
    finds(
        |golden| {
            golden.rule("ignore-keyring /root/evil");
        },
        empty,
        &[("/root/evil", "buffer-digest")],
    );
}

#[test]
fn a_buffer_is_no_file() {
    let buffer = || Measurement::buffer("/usr/bin/bash", b"bash").relabelled("ima-sig");
    // What its label would be the name of is what was measured: a file of these contents, as far as anyone can tell.
    allows(nothing, buffer());
    let evil = || Measurement::buffer("kernel_version", b"6.12").relabelled("ima-sig");
    let rule = |golden: &mut Golden| {
        golden.rule(format!("buffer kernel_version {:?}", Digest::sha256(b"6.12")));
    };
    finds(rule, evil(), &[("kernel_version", "relative-name")]);
}

#[test]
fn a_buffer_is_admitted_by_rule() {
    let key = || Measurement::buffer(".ima", b"a key");
    let digest = Digest::sha256(b"a key");
    finds(nothing, key(), &[(".ima", "buffer")]);
    for rule in [format!("keyring .ima {digest:?}"), format!("buffer .ima {digest:?}")] {
        let mut machine = Machine::perfect();
        machine.golden.rule(rule.as_str());
        machine.measure(key());
        let result = machine.appraise();
        assert_findings(&result, &[]);
        assert_eq!(result.counts().buffers, 1);
        let other = Measurement::buffer(".ima", b"another key");
        finds(
            |golden| {
                golden.rule(rule.as_str());
            },
            other,
            &[(".ima", "buffer")],
        );
        let other = Measurement::buffer(".imb", b"a key");
        finds(
            |golden| {
                golden.rule(rule.as_str());
            },
            other,
            &[(".imb", "buffer")],
        );
    }
    let mut machine = Machine::perfect();
    machine.golden.rule("ignore-keyring .ima");
    machine.measure(key());
    machine.measure(Measurement::buffer(".imb", b"a key"));
    let result = machine.appraise();
    assert_findings(&result, &[(".imb", "buffer")]);
    assert_eq!((result.counts().ignored, result.counts().bad_buffers), (1, 1));
    // No entry, exclude or template admits one.
    let rules = |golden: &mut Golden| {
        golden.lists_file("/.ima", b"a key").excludes("/?.ima").rule("template ima-sig").rule("template ima-ng");
    };
    finds(rules, key(), &[(".ima", "buffer")]);
}

/// A rule may name a digest of SHA-1; then it takes another one to accept such digests.
#[test]
fn a_buffer_with_a_sha1_digest_takes_two_rules() {
    let value = digest(Sha1, b"a key");
    let key = || Measurement::of("ima-buf", &[&value, &text(".ima"), b"a key"]);
    let rule = format!("keyring .ima {:?}", Digest::new(Sha1, &hash(Sha1, b"a key")).unwrap());
    finds(
        |golden| {
            golden.rule(rule.as_str());
        },
        key(),
        &[(".ima", "sha1-digest")],
    );
    allows(
        |golden| {
            golden.rule(rule.as_str()).rule("accept-digest sha1");
        },
        key(),
    );
}

#[test]
fn a_sha1_digest_takes_a_rule() {
    let sha1 = FileDigest::Contents(Digest::new(Sha1, &hash(Sha1, b"old")).unwrap());
    let old = || Measurement::ng_by(Sha1, "/usr/bin/old", b"old");
    finds(
        |golden| {
            golden.lists("/usr/bin/old", sha1);
        },
        old(),
        &[("/usr/bin/old", "sha1-digest")],
    );
    allows(
        |golden| {
            golden.lists("/usr/bin/old", sha1).rule("accept-digest sha1");
        },
        old(),
    );
}

#[test]
fn verity_digests_and_digests_of_contents_are_two_things() {
    let value = Digest::sha256(b"data");
    let verity = |golden: &mut Golden| {
        golden.lists("/srv/data", FileDigest::Verity(value));
    };
    let contents = |golden: &mut Golden| {
        golden.lists("/srv/data", FileDigest::Contents(value));
    };
    allows(verity, Measurement::ngv2("verity", "/srv/data", b"data"));
    allows(contents, Measurement::ngv2("ima", "/srv/data", b"data"));
    finds(contents, Measurement::ngv2("verity", "/srv/data", b"data"), &[("/srv/data", "digest-differs")]);
    finds(verity, Measurement::ngv2("ima", "/srv/data", b"data"), &[("/srv/data", "digest-differs")]);
    finds(verity, Measurement::ngv2("other", "/srv/data", b"data"), &[("/srv/data", "digest-differs")]);
    finds(contents, Measurement::ngv2("", "/srv/data", b"data"), &[("/srv/data", "digest-differs")]);
}

/// Nothing in the entry of a violation is authentic: no path in it, template or digest helps it.
#[test]
fn a_violation_is_judged_by_rule_alone() {
    let exclude = |golden: &mut Golden| {
        golden.excludes("/var/log");
    };
    finds(exclude, Measurement::violation("/var/log/x"), &[("/var/log/x", "violation")]);
    finds(exclude, Measurement::violation("/usr/bin/bash"), &[("/usr/bin/bash", "violation")]);
    let other = Measurement { violation: true, ..Measurement::ng("/usr/bin/bash", b"bash") };
    finds(exclude, other, &[("/usr/bin/bash", "violation")]);
    finds(exclude, Measurement::violation("x").relabelled("unknown"), &[("", "violation")]);
    let mut machine = Machine::perfect();
    machine.golden.rule("violation report");
    machine.measure(Measurement::violation("/root/evil"));
    let result = machine.appraise();
    assert_findings(&result, &[]);
    let notes: Vec<_> = result.notes().iter().map(|note| (note.entry, note.kind.word())).collect();
    assert_eq!((notes, result.counts().violations), (vec![(Some(4), "violation")], 1));
}

/// The path of a violation may be changed on its way: it is one all the same.
#[test]
fn a_violation_stays_one_under_another_name() {
    let mut machine = Machine::perfect();
    machine.golden.excludes("/var/log");
    machine.measure(Measurement::violation("/root/evil"));
    machine.list[3] = Measurement::violation("/var/log/x");
    assert_findings(&machine.appraise(), &[("/var/log/x", "violation")]);
}

/// Findings are in the order of the list, with the numbers of its entries.
#[test]
fn findings_are_in_order() {
    let mut machine = Machine::perfect();
    machine.golden.drops_rules("boot-aggregate").rule(format!("pcr sha256 0 {}", "1".repeat(64)));
    machine.run("/b", b"");
    machine.measure(Measurement::violation("/a"));
    machine.measure(Measurement::ng("/c", b"").in_pcr(11));
    machine.run("/a", b"");
    let result = machine.appraise();
    let expected = [
        ("", "pcr-value"),
        ("boot_aggregate", "boot-aggregate"),
        ("/b", "not-in-whitelist"),
        ("/a", "violation"),
        ("/c", "unquoted-entry"),
        ("/a", "not-in-whitelist"),
    ];
    assert_findings(&result, &expected);
    let entries: Vec<_> = result.findings().iter().map(|finding| finding.entry).collect();
    assert_eq!(entries, [None, Some(1), Some(4), Some(5), Some(6), Some(7)]);
    assert!(result.findings().iter().all(|finding| !finding.kind.to_string().is_empty()));
}

/// Without a quote there are the same findings, and no verdict.
#[test]
fn a_trial_finds_the_same() {
    let mut machine = Machine::perfect();
    machine.golden.rule("violation report");
    for measurement in [
        Measurement::ng("/root/evil", b""),
        Measurement::ng("/usr/bin/bash", b""),
        Measurement::violation("/a"),
        Measurement::buffer("x", b"x"),
        Measurement::ng("boot_aggregate", b""),
    ] {
        machine.measure(measurement);
    }
    let result = machine.appraise();
    let draft = list::inspect(machine.golden.sealed()).unwrap();
    let bytes = machine.bytes();
    let trial = Trier::new(draft.contents()).try_list(&MeasurementList::parse(&bytes, &Limits::DEFAULT).unwrap());
    assert_eq!(trial.findings, result.findings());
    assert_eq!((trial.notes.as_slice(), &trial.counts), (result.notes(), result.counts()));
    assert_eq!(trial.findings.len(), 4);
}
