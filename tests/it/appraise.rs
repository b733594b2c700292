//! `goldseal appraise` on quotes and lists of real machines: the whole way from a file of sha256sum to a verdict, and
//! what of it cannot be believed.

use std::fs;
use std::io::Write;
use std::path::Path;

use goldseal_tests::captures::Dump;
use goldseal_tests::forge::ak::{Kind, SoftTpm};
use goldseal_tests::quotes::{CapturedQuote, captured_quote_named, captures};
use goldseal_tests::{Run, World};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::tpm::PcrSelection;
use serde_json::Value;

/// A list of the files of the captures' machines, sealed; files that tests made at run time are not among them.
fn world(case: &str, arguments: &str) -> World {
    let world = World::new();
    let sums = fs::read(captures().join("_shared/rootfs-sha256sums.txt")).unwrap();
    let first = Dump::of(&format!("{case}/q1")).ascii();
    let first = String::from_utf8(first.split(|byte| *byte == b'\n').next().unwrap().to_vec()).unwrap();
    let aggregate = first.split(' ').nth(3).unwrap();
    // Copied there when the machine starts; the copy is what /opt/tools/uname is.
    let mut lines = sums.split(|byte| *byte == b'\n');
    let uname = lines.find_map(|line| line.strip_suffix(b"/opt/tools/uname")).unwrap();
    world.file("uname", [uname, b"/opt/disk-uname\n"].concat());
    world.file("sums", &sums);
    let lists = "--list sums --list uname --seal-new golden.key --no-passphrase";
    let boot =
        if arguments.contains("boot-aggregate") { String::new() } else { format!("--boot-aggregate {aggregate}") };
    world.goldseal(&format!("build -q -o prod.whitelist {lists} {boot} {arguments}")).exits(0);
    world
}

/// Puts a captured quote and its list into the folder and gives the arguments that name them.
fn evidence(world: &World, quote: &CapturedQuote, log: &str) -> String {
    world.file("ak", quote.public_area());
    world.file("ak.pem", quote.pem());
    world.file("msg", &quote.attest);
    world.file("sig", &quote.signature);
    world.file("pcrs", &quote.blob);
    let folder = Path::new(&quote.name).parent().unwrap();
    world.file("log", Dump::of(folder.to_str().unwrap()).file(log));
    format!("--nonce {} {FILES}", hex::encode(&quote.nonce))
}

const FILES: &str = "--ak ak --quote msg --signature sig --pcrs pcrs --ima-log log";
const POLICY: &str = "appraise --policy prod.whitelist --trust golden.key.pub";
const BINARY: &str = "binary_runtime_measurements";
const ASCII: &str = "ascii_runtime_measurements";

/// The quote of PCRs 0 to 10 by the RSA key.
fn quote(dump: &str) -> CapturedQuote {
    captured_quote_named(&format!("{dump}/quote-rsa-all"))
}

#[test]
fn the_script_that_nobody_listed_is_found() {
    let world = world("ng-incremental", "");
    let before = evidence(&world, &quote("ng-incremental/q1"), BINARY);
    let run = world.goldseal(&format!("{POLICY} {before}")).exits(0);
    let text = String::from_utf8(run.stdout().to_vec()).unwrap();
    assert!(text.starts_with("ACCEPTED: ") && text.contains("AK         proven"), "{text}");
    assert!(text.ends_with("\nIMA ERRORS: template-hash 0 fnf 0 hash 0 good 118\n"), "{text}");

    let after = evidence(&world, &quote("ng-incremental/q2"), BINARY);
    let run = world.goldseal(&format!("{POLICY} {after}")).exits(1);
    let text = String::from_utf8(run.stdout().to_vec()).unwrap();
    assert!(text.starts_with("REJECTED: 1 finding "), "{text}");
    assert!(text.lines().any(|line| line == "File not found in whitelist: /opt/evil2.sh"), "{text}");
    assert!(text.ends_with("\nIMA ERRORS: template-hash 0 fnf 1 hash 0 good 120\n"), "{text}");
    let json = world.goldseal(&format!("{POLICY} {after} --json")).exits(1).json();
    assert_eq!((&json["reason"], &json["verdict"]), (&Value::from("rejected"), &Value::from("rejected")));
    let finding = &json["findings"][0];
    assert_eq!((&finding["word"], &finding["path"]), (&Value::from("not-in-whitelist"), &Value::from("/opt/evil2.sh")));
    assert_eq!((&json["entries"], &json["tail"]), (&Value::from(121), &Value::from(0)));
}

/// What is beyond the quote is named and not judged, the script in it too.
#[test]
fn the_tail_is_not_judged() {
    let world = world("race-longer-list", "");
    let late = evidence(&world, &quote("race-longer-list/q3"), BINARY);
    let json = world.goldseal(&format!("{POLICY} {late} --json")).exits(0).json();
    assert_eq!((&json["entries"], &json["tail"], &json["verdict"]), (&118.into(), &4.into(), &"accepted".into()));
}

#[test]
fn ascii_and_binary_lists_give_the_same_answer() {
    let world = world("ng-incremental", "");
    for dump in ["ng-incremental/q1", "ng-incremental/q2"] {
        let [binary, ascii] = [BINARY, ASCII].map(|log| {
            let evidence = evidence(&world, &quote(dump), log);
            Run::of(world.command(&format!("{POLICY} {evidence} --json"))).json()
        });
        assert!(binary["verdict"].is_string());
        assert_eq!(binary, ascii, "{dump}");
    }
}

#[test]
fn every_key_of_the_captures_is_taken() {
    let world = world("banks4-aks", "--rule 'violation report'");
    for ak in ["rsa", "ecc", "rsapss", "rsa384", "ecc384"] {
        let quote = captured_quote_named(&format!("banks4-aks/q1/quote-{ak}-all"));
        let evidence = evidence(&world, &quote, BINARY);
        let json = world.goldseal(&format!("{POLICY} {evidence} --json"));
        let json = json.json();
        assert_eq!(json["ak"]["proven"], Value::from(true), "{ak}");
        // The two violations are allowed; the files that made them are not listed.
        assert_eq!(json["counts"]["violations"], Value::from(2), "{ak}");
        assert_eq!(json["notes"].as_array().unwrap().len(), 2, "{ak}");
        let pem = evidence.replace("--ak ak", "--ak ak.pem");
        let pem = world.goldseal(&format!("{POLICY} {pem} --json")).json();
        assert_eq!((&pem["ak"]["proven"], &pem["verdict"]), (&Value::from(false), &json["verdict"]), "{ak}");
    }
}

#[test]
fn what_cannot_be_believed_is_never_a_verdict() {
    let world = world("ng-incremental", "");
    let good = evidence(&world, &quote("ng-incremental/q1"), BINARY);
    let read = |name: &str| fs::read(world.path(name)).unwrap();
    world.file("other-ak", fs::read(captures().join("ng-incremental/ak-ecc.tpm2b")).unwrap());
    world.file("ek", fs::read(captures().join("ng-incremental/ek-rsa.tpm2b")).unwrap());
    world.file("other-pcrs", fs::read(captures().join("ng-incremental/q2/quote-rsa-all.pcrs")).unwrap());
    world.file("other-log", Dump::of("reboot-1/q1").list());
    for (name, from) in [("cut-msg", "msg"), ("cut-sig", "sig"), ("cut-pcrs", "pcrs"), ("cut-log", "log")] {
        let bytes = read(from);
        world.file(name, &bytes[..bytes.len() - 1]);
    }
    let mut edited = read("log");
    let path = edited.windows(9).position(|bytes| bytes == b"/usr/bin/").unwrap();
    edited[path + 1] = b'U';
    world.file("edited-log", edited);
    world.file("empty", "");
    world.file("garbage", "what is this?");
    world.file("long", vec![0; (64 << 10) + 1]);
    let sparse = fs::File::create(world.path("huge")).unwrap();
    sparse.set_len(2 << 30).unwrap();
    let sealed = read("prod.whitelist");
    let lines = sealed.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"sig "));
    let unsealed = lines.collect::<Vec<_>>().concat();
    world.file("unsealed", unsealed);
    world.goldseal("keygen --no-passphrase other.key").exits(0);

    for (from, to, reason) in [
        ("--nonce a6", "--nonce a7", "bad-quote"),
        ("--nonce a6b4", "--nonce a6", "bad-quote"),
        ("--ak ak", "--ak other-ak", "bad-quote"),
        ("--ak ak", "--ak ek", "bad-ak"),
        ("--ak ak", "--ak garbage", "bad-ak"),
        ("--ak ak", "--ak empty", "bad-ak"),
        ("--ak ak", "--ak long", "bad-ak"),
        ("--ak ak", "--ak missing", "unreadable"),
        ("--quote msg", "--quote cut-msg", "bad-quote"),
        ("--quote msg", "--quote empty", "bad-quote"),
        ("--signature sig", "--signature cut-sig", "bad-quote"),
        ("--signature sig", "--signature garbage", "bad-quote"),
        ("--pcrs pcrs", "--pcrs cut-pcrs", "bad-quote"),
        ("--pcrs pcrs", "--pcrs other-pcrs", "bad-quote"),
        ("--pcrs pcrs", "--pcrs /dev/zero", "bad-quote"),
        ("--ima-log log", "--ima-log cut-log", "bad-list"),
        ("--ima-log log", "--ima-log edited-log", "bad-list"),
        ("--ima-log log", "--ima-log garbage", "bad-list"),
        ("--ima-log log", "--ima-log empty", "bad-list"),
        ("--ima-log log", "--ima-log huge", "bad-list"),
        ("--ima-log log", "--ima-log other-log", "no-replay"),
        ("--ima-log log", "--ima-log .", "unreadable"),
        ("--ima-log log", "--ima-log log --expect-pcrs sha256:10", "bad-quote"),
        ("--ima-log log", "--ima-log log --expect-pcrs sha256:0,1,2,3,4,5,6,7,8,9,10,11", "bad-quote"),
        ("--ima-log log", "--ima-log log --min-version 2", "below-floor"),
        ("--ima-log log", "--ima-log log --name other", "wrong-name"),
    ] {
        let broken = good.replace(from, to);
        assert_ne!(broken, good);
        let json = world.goldseal(&format!("{POLICY} {broken} --json")).exits(3).json();
        assert_eq!(json["reason"], Value::from(reason), "{to}");
        assert!(json["verdict"].is_null(), "{to}");
    }
    for (policy, reason) in [
        ("--policy unsealed --trust golden.key.pub", "unsealed"),
        ("--policy prod.whitelist --trust other.key.pub", "threshold"),
        ("--policy sums --trust golden.key.pub", "malformed"),
        ("--policy missing --trust golden.key.pub", "unreadable"),
    ] {
        let json = world.goldseal(&format!("appraise {policy} {good} --json")).exits(3).json();
        assert_eq!(json["reason"], Value::from(reason), "{policy}");
    }
    // Nothing of the above was wrong with what was not touched.
    world.goldseal(&format!("{POLICY} {good} --expect-pcrs {ALL}")).exits(0);
}

const ALL: &str = "sha1:0,1,2,3,4,5,6,7,8,9,10+sha256:0,1,2,3,4,5,6,7,8,9,10";

#[test]
fn a_pcr_extended_by_others_is_no_verdict() {
    let world = world("tampered-pcr10", "");
    let good = evidence(&world, &quote("tampered-pcr10/q1"), BINARY);
    assert_eq!(Run::of(world.command(&format!("{POLICY} {good} --json"))).json()["entries"], Value::from(55));
    let tampered = evidence(&world, &quote("tampered-pcr10/q2"), BINARY);
    let json = world.goldseal(&format!("{POLICY} {tampered} --json")).exits(3).json();
    assert_eq!(json["reason"], Value::from("no-replay"));
}

#[test]
fn a_stale_list_goes_on_catching() {
    let world = world("ng-incremental", "--expires 1d");
    let before = evidence(&world, &quote("ng-incremental/q1"), BINARY);
    let json = world.goldseal(&format!("{POLICY} {before} --json")).exits(4).json();
    assert_eq!((&json["reason"], &json["verdict"]), (&Value::from("stale"), &Value::from("accepted")));
    assert_eq!(json["freshness"], Value::from("stale"));
    let after = evidence(&world, &quote("ng-incremental/q2"), BINARY);
    let json = world.goldseal(&format!("{POLICY} {after} --json")).exits(1).json();
    assert_eq!((&json["reason"], &json["verdict"]), (&Value::from("rejected"), &Value::from("rejected")));
}

#[test]
fn a_list_older_than_the_state_is_no_verdict() {
    let world = world("ng-incremental", "--list-version 7");
    let good = evidence(&world, &quote("ng-incremental/q1"), BINARY);
    world.goldseal("state init state").exits(0);
    world.goldseal(&format!("{POLICY} {good} --state state")).exits(0);
    let older =
        "build -q -o prod.whitelist --force --list sums --seal golden.key --boot-aggregate any --list-version 6";
    world.goldseal(older).exits(0);
    let json = world.goldseal(&format!("{POLICY} {good} --state state --json")).exits(3).json();
    assert_eq!(json["reason"], Value::from("below-floor"));
    let json = world.goldseal(&format!("{POLICY} {good} --state missing --json")).exits(3).json();
    assert_eq!(json["reason"], Value::from("lost-state"));
}

/// A signature over SHA-1 is refused unless it is asked for; a bank of SHA-1 is believed and not allowed.
#[test]
fn sha1_is_accepted_only_where_somebody_says_so() {
    let world = world("banks4-aks", "--rule 'violation report'");
    let signed = evidence(&world, &captured_quote_named("banks4-aks/q1/quote-rsa1-all"), BINARY);
    let json = world.goldseal(&format!("{POLICY} {signed} --json")).exits(3).json();
    assert_eq!(json["reason"], Value::from("bad-quote"));
    let allowed = world.goldseal(&format!("{POLICY} {signed} --danger-allow-sha1-signature --json"));
    allowed.says("WARNING");
    assert_eq!(allowed.json()["signature_hash"], Value::from("sha1"));
    assert!(allowed.json()["verdict"].is_string());

    let bank = evidence(&world, &captured_quote_named("banks4-aks/q1/quote-rsa-sha1-pcr10"), BINARY);
    let json = world.goldseal(&format!("{POLICY} {bank} --json")).exits(1).json();
    assert_eq!(json["findings"][0]["word"], Value::from("sha1-bank-alone"));
    assert_eq!(json["boot_state"], Value::from("unproven"));
}

/// Without a quote nothing is a verdict, and nothing is exit 0.
#[test]
fn without_a_quote_nothing_is_proven() {
    let world = world("ng-incremental", "");
    for (dump, exit, reason) in [("ng-incremental/q1", 3, "unproven"), ("ng-incremental/q2", 1, "rejected")] {
        evidence(&world, &quote(dump), BINARY);
        let run = world.goldseal(&format!("{POLICY} --no-quote --ima-log log --json")).exits(exit);
        run.says("UNPROVEN");
        assert_eq!((&run.json()["reason"], &run.json()["verdict"]), (&Value::from(reason), &Value::from("unproven")));
    }
    world.goldseal(&format!("{POLICY} --no-quote {FILES}")).exits(2);
    world.goldseal(&format!("{POLICY} --ima-log log")).exits(2);
}

/// No capture is of a quote without PCR 10.
#[test]
fn a_quote_without_pcr_10_is_refused() {
    let world = world("ng-incremental", "");
    let mut tpm = SoftTpm::new(Kind::P256);
    let quote = tpm.quote(b"nonce", &PcrSelection::new([(HashAlgorithm::Sha256, 0)]).unwrap());
    world.file("ak", tpm.public_area());
    world.file("msg", &quote.attest);
    world.file("sig", &quote.signature);
    world.file("pcrs", &quote.pcrs_blob);
    world.file("log", Dump::of("ng-incremental/q1").list());
    let run = world.goldseal(&format!("{POLICY} {FILES} --nonce {} --json", hex::encode(b"nonce"))).exits(3);
    run.says("it does not cover PCR 10");
    assert_eq!(run.json()["reason"], Value::from("bad-quote"));
}

/// A list from a pipe, as the shell's `<(…)` gives it, whole and cut.
#[test]
fn a_list_may_come_through_a_pipe() {
    let world = world("ng-incremental", "");
    let good = evidence(&world, &quote("ng-incremental/q1"), BINARY).replace("--ima-log log", "--ima-log /dev/stdin");
    let list = fs::read(world.path("log")).unwrap();
    for (bytes, exit) in [(&list[..], 0), (&list[..list.len() - 1], 3), (&[][..], 3)] {
        let mut command = world.command(&format!("{POLICY} {good}"));
        let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        child = child.stderr(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        Run::ended(&command, child.wait_with_output().unwrap()).exits(exit);
    }
}

/// What a machine measured accepts that machine, except for what must not be learned.
#[test]
fn a_learned_list_accepts_what_it_was_learned_from() {
    let mut accepted = 0;
    for dump in Dump::all().iter().filter(|dump| dump.path("quote-rsa-all.msg").exists()) {
        let name = dump.name.as_str();
        let world = World::new();
        let evidence = evidence(&world, &quote(name), BINARY);
        let build = "build --force -o prod.whitelist --ima-log log";
        let run = world.goldseal(&format!("{build} -q --seal-new golden.key --no-passphrase")).exits(0);
        run.says("WARNING: log: learned from a measurement list: what ran on one machine, not what is good");
        let list = world.list("prod.whitelist");
        assert!(list.provenance().contains("warning log: learned from"), "{name}");
        assert!(list.provenance().contains("input ima-log "), "{name}");
        let found = |rules: &str| {
            world.goldseal(&format!("{build} -q --seal golden.key {rules}")).exits(0);
            let json = Run::of(world.command(&format!("{POLICY} {evidence} --json"))).json();
            let words = |finding: &Value| finding["word"].as_str().unwrap().to_owned();
            json["findings"].as_array().map(|findings| findings.iter().map(words).collect::<Vec<String>>())
        };
        let violations = dump.number("violations");
        match name {
            // Nothing confirms it, learned or not.
            "tampered-pcr10/q2" => assert_eq!(found(""), None),
            // Names without a path, and digests that only a rule lets count.
            "ima-legacy-sha1/q1" => {
                let rules = "--rule 'accept-digest sha1' --rule 'violation report'";
                assert_eq!(found(rules), Some(vec!["relative-name".to_owned(); 5]), "{name}");
                assert_eq!(found("--rule 'violation report'").unwrap().len(), 146, "{name}");
            }
            // Its boot_aggregate is all zeros.
            "s390x-be-native/q1" => {
                assert_eq!(found("--rule 'violation report'"), Some(vec!["boot-aggregate".to_owned()]), "{name}");
            }
            _ => {
                assert_eq!(found(""), Some(vec!["violation".to_owned(); violations]), "{name}");
                assert_eq!(found("--rule 'violation report'"), Some(Vec::new()), "{name}");
                accepted += 1;
            }
        }
    }
    assert_eq!(accepted, 22);
}

/// What is learned is in the list as a person would have written it.
#[test]
fn each_kind_of_entry_is_learned_as_what_it_is() {
    let world = World::new();
    world.file("bufs", Dump::of("bufs/q1").ascii());
    world.file("verity", Dump::of("sigv2-verity/q1").list());
    world.file("evm", Dump::of("evm-sig/q1").list());
    let bufs = world.build("--ima-log bufs -q");
    let kinds =
        |rules: String| rules.lines().map(|rule| rule.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    let expected = ["boot-aggregate", "buffer", "buffer", "buffer", "buffer", "buffer", "keyring", "keyring"];
    assert_eq!(kinds(bufs.rules()), expected);
    assert!(bufs.rules().contains("keyring .builtin_trusted_keys sha256:"), "{}", bufs.rules());
    // A template beyond the default ones is the only one then.
    assert!(world.build("--ima-log evm -q").rules().ends_with("template evm-sig\n"));
    let both = world.build("--ima-log evm --ima-log bufs -q");
    assert!(both.rules().ends_with("template evm-sig\ntemplate ima-sig\n"), "{}", both.rules());
    let verity = world.build("--ima-log verity -q");
    assert!(verity.entries().contains("verity:sha256:") && verity.entries().contains("verity:sha512:"));
    // Those of sha512 are in the header, without --hash.
    assert!(String::from_utf8_lossy(&verity.bytes).contains("file-hash: sha256,sha512\n"));
}

/// The options that `explain` names admit what it was about, and nothing is left to say then.
#[test]
fn what_explain_proposes_admits_it() {
    for (dump, digests) in [
        ("ng-incremental/q2", "sha256"),
        ("ng-odd-names/q1", "sha256"),
        ("bufs/q1", "sha256"),
        ("evm-sig/q1", "sha256"),
        ("sig-violations/q2", "sha256"),
        ("banks4-aks/q1", "sha256"),
    ] {
        let world = World::new();
        world.file("sums", fs::read(captures().join(format!("_shared/rootfs-{digests}sums.txt"))).unwrap());
        world.file("log", Dump::of(dump).ascii());
        world.goldseal("build -q -o first.whitelist --list sums").exits(0);
        let mut options = String::new();
        // What a template hides shows only when it is allowed.
        for round in 0..3 {
            world.goldseal(&format!("build -q --force -o draft.whitelist --list sums {options}")).exits(0);
            let run = world.goldseal("explain --policy draft.whitelist --ima-log log --json");
            let json = run.json();
            let groups = json["policies"][0]["groups"].as_array().unwrap().clone();
            if groups.is_empty() {
                assert!(round > 0, "{dump}: nothing was to say");
                break;
            }
            assert!(round < 2, "{dump}: {groups:?}");
            let admits = groups.iter().flat_map(|group| group["admit"].as_array().unwrap().clone());
            for admit in admits {
                options.push_str(&format!(" {}", admit["option"].as_str().unwrap()));
            }
        }
        assert!(!options.is_empty(), "{dump}");
    }
}
