//! What `goldseal build` makes of everything but files: excludes, rules, other lists, names, versions, times, messages.

use std::fs;
use std::process::Command;

use goldseal_tests::{EPOCH, Run, World, output_of, sha256sums};
use goldseal_tools::key::SealKey;
use goldseal_tools::key::file::write_key_pair;

/// A world with `tree`, in which every folder that people exclude has a file and a neighbour.
fn world() -> World {
    let world = World::new();
    for path in ["tmp/a", "tmp/b/c", "tmpx", "usr/tool", "usr/My Files/x", "var/log/messages", "var/logger-evil"] {
        world.file(format!("tree/{path}"), path);
    }
    world
}

const ALL: &str = "--root tree --all-directories";

#[test]
fn an_exclude_takes_a_folder_with_all_below_and_nothing_beside() {
    let world = world();
    for pattern in ["/tmp/*", "/tmp", "/tmp/"] {
        let run = world.goldseal(&format!("build --force -o out {ALL} --exclude {pattern}")).exits(0);
        run.says(&format!("1 files and folders excluded by {pattern}\n"));
        let list = world.list("out");
        let paths = ["/tmpx", "/usr/My Files/x", "/usr/tool", "/var/log/messages", "/var/logger-evil"];
        assert_eq!(list.paths(), paths, "{pattern}");
        assert_eq!(list.excludes(), format!("{pattern}\n"));
        assert!(list.provenance().contains(&format!("excluded 1 {pattern}\n")), "{}", list.provenance());
    }
    let list = world.build(&format!("{ALL} --exclude /tmp --exclude /var/log --exclude /usr/My_Files"));
    assert_eq!(list.paths(), ["/tmpx", "/usr/tool", "/var/logger-evil"]);
    assert_eq!(list.excludes(), "/tmp\n/usr/My_Files\n/var/log\n");
}

/// Every kind of input passes the same excludes and is counted alike.
#[test]
fn excludes_count_for_images_and_lists_too() {
    let world = world();
    world.file("image", goldseal_tests::image::cpio(&world.path("tree")));
    world.goldseal(&format!("build -o old {ALL}")).exits(0);
    for input in [ALL, "--initramfs image", "--list old"] {
        let list = world.build(&format!("{input} --exclude /tmp --exclude /usr/My_Files"));
        let paths = ["/tmpx", "/usr/tool", "/var/log/messages", "/var/logger-evil"];
        assert_eq!(list.paths(), paths, "{input}");
        let provenance = list.provenance();
        assert!(provenance.contains("excluded 1 /tmp\n"), "{input}: {provenance}");
        assert!(provenance.contains("excluded 1 /usr/My_Files\n"), "{input}: {provenance}");
    }
}

#[test]
fn a_file_of_excludes_has_remarks_and_empty_lines() {
    let world = world();
    world.file("excludes", "# scratch\n\n/tmp\r\n/var/log\n\n");
    let list = world.build(&format!("{ALL} --excludes excludes --exclude /tmp"));
    assert_eq!(list.paths(), ["/tmpx", "/usr/My Files/x", "/usr/tool", "/var/logger-evil"]);
    assert_eq!(list.excludes(), "/tmp\n/var/log\n");
    world.file("empty", "");
    assert_eq!(world.build(&format!("{ALL} --excludes empty")).excludes(), "");
}

#[test]
fn one_bad_pattern_refuses_the_list() {
    let world = world();
    world.file("blank", "/tmp\n\n/usr/My Files\n");
    world.file("unbalanced", "/a)|(?:.*\n");
    for (arguments, says) in [
        ("--exclude '/a)|(?:.*'", &["--exclude /a)|(?:.* is refused: it is not a regular expression"][..]),
        ("--exclude '/usr/My Files'", &["holds a blank", "write it as: /usr/My_Files"]),
        ("--exclude '/tmp '", &["write it as: /tmp\n"]),
        ("--exclude '/\\pL'", &["/\\pL is refused", "Unicode"]),
        ("--exclude ''", &["it is empty and would take every path"]),
        ("--excludes blank", &["blank, line 3: ", "write it as: /usr/My_Files"]),
        ("--excludes unbalanced", &["unbalanced, line 1: "]),
    ] {
        let run = world.refuses(&format!("{ALL} --json {arguments}"), 2, says);
        assert_eq!(run.json()["reason"], "bad-pattern", "{arguments}");
    }
    world.refuses(&format!("{ALL} --excludes missing"), 3, &["missing does not exist"]);
    world.refuses(&format!("{ALL} --excludes tree"), 3, &["tree is a folder"]);
}

#[test]
fn thousands_of_patterns() {
    let world = world();
    let patterns: String = (0..2_000).map(|number| format!("/srv/cache-{number}/[a-z]+\n")).collect();
    world.file("excludes", format!("{patterns}/tmp\n"));
    let list = world.build(&format!("{ALL} --excludes excludes"));
    assert_eq!(list.paths().len(), 5);
    assert_eq!(list.excludes().lines().count(), 2_001);
    let many: String = (0..=4_096).map(|number| format!("/srv/{number}\n")).collect();
    world.file("many", many);
    world.refuses(&format!("{ALL} --excludes many"), 2, &["more than 4096 patterns"]);
}

#[test]
fn an_exclude_that_takes_system_paths_must_be_meant() {
    let world = world();
    for pattern in ["/.*", "/usr", "/usr/s?bin", "/root", "/"] {
        let run = world.refuses(&format!("{ALL} --json --exclude {pattern}"), 2, &["--allow-broad-exclude"]);
        assert_eq!(run.json()["reason"], "broad-exclude", "{pattern}");
    }
    let list = world.build(&format!("{ALL} --exclude /usr --allow-broad-exclude"));
    assert_eq!(list.paths(), ["/tmp/a", "/tmp/b/c", "/tmpx", "/var/log/messages", "/var/logger-evil"]);
    assert_eq!(list.rules(), "broad-exclude /usr\n");
    // Who unites a list that has it need not say it again.
    fs::rename(world.path("out.whitelist"), world.path("old")).unwrap();
    assert_eq!(world.build("--list old").rules(), "broad-exclude /usr\n");
    // Allowed and not needed, it leaves no trace.
    assert_eq!(world.build(&format!("{ALL} --exclude /tmp --allow-broad-exclude")).rules(), "");
}

#[test]
fn rules_come_from_options_and_files() {
    let world = world();
    let digest = "5".repeat(64);
    world.file("rules", format!("# shared by all\n\npcr sha256 7 {digest}\r\ntemplate ima-ng\n"));
    let run = world.goldseal(&format!(
        "build -o out {ALL} --rules rules --rule 'violation report' --boot-aggregate sha256:{digest} --rule 'template ima-ng'"
    ));
    run.omits("no boot-aggregate rule");
    let rules = world.list("out").rules();
    assert_eq!(
        rules,
        format!("boot-aggregate sha256:{digest}\npcr sha256 7 {digest}\ntemplate ima-ng\nviolation report\n")
    );
    for (arguments, says) in [
        ("--rule 'trust everybody'", "--rule: trust everybody is not a rule"),
        ("--boot-aggregate sha256:5", "--boot-aggregate: boot-aggregate sha256:5 is not a rule"),
        ("--rules tree/tmpx", "tree/tmpx, line 1: tmpx is not a rule"),
    ] {
        assert_eq!(world.refuses(&format!("{ALL} --json {arguments}"), 2, &[says]).json()["reason"], "bad-rule");
    }
}

/// What it means for machines, and how to add one, in one line.
#[test]
fn a_missing_boot_aggregate_is_explained() {
    let world = world();
    let run = world.goldseal(&format!("build -o out {ALL}")).exits(0);
    let stderr = run.stderr();
    let lines: Vec<&str> = stderr.lines().filter(|line| line.contains("boot-aggregate")).collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].contains("will be rejected") && lines[0].contains("--boot-aggregate any"), "{stderr}");
    world.goldseal(&format!("build --force -o out {ALL} --boot-aggregate any")).exits(0).omits("boot-aggregate");
}

#[test]
fn name_version_and_expiry() {
    let world = world();
    let header = |arguments: &str| {
        world.goldseal(&format!("build --force {ALL} {arguments}")).exits(0);
        let output = arguments.split_whitespace().skip_while(|word| *word != "-o").nth(1).unwrap();
        let header = world.list(output.trim_matches('\'')).read.header().clone();
        (header.name.to_string(), header.version.number(), header.created.to_string(), header.expires.to_string())
    };
    let created = "2026-01-02T03:04:05Z";
    let expected = |name: &str, version, expires: &str| (name.to_owned(), version, created.to_owned(), expires.into());
    assert_eq!(header("-o prod-web.whitelist"), expected("prod-web", 1, "never"));
    assert_eq!(header("-o Pr@d.V2.txt"), expected("pr-d.v2", 1, "never"));
    assert_eq!(header("-o .list"), expected("list", 1, "never"));
    assert_eq!(header("-o ..."), expected("whitelist", 1, "never"));
    let long = "n".repeat(100);
    assert_eq!(header(&format!("-o {long}")), expected(&long[..64], 1, "never"));
    assert_eq!(header("-o x --name web --list-version 7 --expires 90d"), expected("web", 7, "2026-04-02T03:04:05Z"));
    assert_eq!(header("-o x --expires 2027-05-23T00:00:00Z"), expected("x", 1, "2027-05-23T00:00:00Z"));

    for (arguments, says) in [
        ("--name Web", "Web cannot be the name of a list"),
        ("--list-version 0", "0 cannot be the version of a list"),
        ("--list-version 1000000000000000", "cannot be the version of a list"),
        ("--list-version x", "invalid value 'x'"),
        ("--expires 0d", "is not a time after 2026-01-02T03:04:05Z"),
        ("--expires +90d", "is not a time after"),
        ("--expires 2026-01-02T03:04:05Z", "is not a time after"),
        ("--expires tomorrow", "tomorrow is not a time"),
        ("--expires 4294967295d", "is not a time"),
        ("--hash md5", "invalid value 'md5'"),
        ("--jobs 0", "0 is not in 1..=1024"),
        ("--jobs 1025", "1025 is not in 1..=1024"),
        ("--scope some", "invalid value 'some'"),
        ("--trust key.pub", "--list"),
        ("--no-passphrase", "--seal-new"),
    ] {
        world.refuses(&format!("{ALL} {arguments}"), 2, &[says]);
    }
}

#[test]
fn source_date_epoch_must_be_a_number() {
    let world = world();
    for wrong in ["", "yesterday", "-1", "253402300800"] {
        let mut command = world.command(&format!("build -o out {ALL}"));
        command.env("SOURCE_DATE_EPOCH", wrong);
        Run::of(command).exits(2).says("SOURCE_DATE_EPOCH is not a number of seconds");
    }
    // Without it, it is now.
    let mut command = world.command(&format!("build -o out {ALL}"));
    command.env_remove("SOURCE_DATE_EPOCH");
    let seconds = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().trim().parse::<u64>().unwrap();
    let before = seconds(&output_of(Command::new("date").arg("+%s")));
    Run::of(command).exits(0);
    let created = world.list("out").read.header().created.to_string();
    let created = seconds(&output_of(Command::new("date").args(["-u", "+%s", "-d", &created])));
    assert!((before..=seconds(&output_of(Command::new("date").arg("+%s")))).contains(&created));
}

/// A build one second later, as the next version must be.
fn later(world: &World, arguments: &str) -> Run {
    let mut command = world.command(&format!("build {arguments}"));
    command.env("SOURCE_DATE_EPOCH", (EPOCH.parse::<u64>().unwrap() + 1).to_string());
    Run::of(command)
}

#[test]
fn a_list_follows_its_previous_one() {
    let world = world();
    let old = "--name web --list-version 41 --exclude /tmp --exclude /var/log --rule 'violation report'";
    world.goldseal(&format!("build -o old {ALL} {old}")).exits(0);
    let run = later(&world, &format!("-o new {ALL} --previous old --exclude /tmp")).exits(0);
    run.says("the previous list has an exclude that this one lacks: /var/log\n");
    run.says("the previous list has a rule that this one lacks: violation report\n");
    run.omits("lacks: /tmp");
    let header = world.list("new").read.header().clone();
    assert_eq!((header.name.as_str(), header.version.number()), ("web", 42));
    // Said, both win.
    later(&world, &format!("-o x {ALL} --previous old --name db --list-version 50")).exits(0);
    let header = world.list("x").read.header().clone();
    assert_eq!((header.name.as_str(), header.version.number()), ("db", 50));
    later(&world, &format!("-o x {ALL} --previous old --list-version 41"))
        .exits(2)
        .says("does not follow version 41 of web");
    later(&world, &format!("-o x {ALL} --previous old --list-version 41 --name db")).exits(0);
    // Not created after it: at the same second.
    world.refuses(&format!("{ALL} --previous old"), 2, &["2026-01-02T03:04:05Z, not after the previous one"]);
    world.refuses(&format!("{ALL} --previous missing"), 3, &["missing does not exist"]);
    world.refuses(&format!("{ALL} --previous tree/tmpx"), 3, &["tree/tmpx: it does not begin with"]);
    world.goldseal(&format!("build -o last {ALL} --list-version 999999999999999")).exits(0);
    later(&world, &format!("-o x {ALL} --previous last")).exits(2).says("the last version there is");
}

#[test]
fn lists_are_united() {
    let world = world();
    world.file("other/opt/app", "app");
    world.goldseal(&format!("build -o one {ALL} --exclude /tmp --rule 'violation report'")).exits(0);
    world
        .goldseal("build -o two --root other --exclude /var/log --hash sha256,sha512 --rule 'template ima-ng'")
        .exits(0);
    let run = world.goldseal("build -o out --list one --list two").exits(0);
    run.says("one: its seal was not checked (--trust checks it)");
    let list = world.list("out");
    let paths = ["/opt/app", "/opt/app", "/tmpx", "/usr/My Files/x", "/usr/tool", "/var/logger-evil"];
    assert_eq!(list.paths(), paths, "the excludes of one list hold for the other");
    assert_eq!(list.excludes(), "/tmp\n/var/log\n");
    assert_eq!(list.rules(), "template ima-ng\nviolation report\n");
    assert_eq!(list.read.header().file_hash.to_string(), "sha256,sha512");
    let identity = world.list("one").read.envelope().identity().to_string();
    assert!(list.provenance().contains(&format!("input list {identity} 5 ")), "{}", list.provenance());

    // Renewed: the entries of one list as the next version of another.
    later(&world, "-o renewed --list one --previous two").exits(0).says("lacks: /var/log");
    let renewed = world.list("renewed");
    assert_eq!((renewed.read.header().name.as_str(), renewed.read.header().version.number()), ("two", 2));
    assert_eq!(renewed.entries(), world.list("one").entries());

    // Only what is read anew is hashed anew.
    world.goldseal("build -o sha512 --root other --hash sha512").exits(0);
    world.build("--list sha512").holds(world.list("sha512").entries().as_bytes());
    assert_eq!(world.list("out.whitelist").read.header().file_hash.to_string(), "sha512");
    assert_eq!(world.build("--list sha512 --root other").read.header().file_hash.to_string(), "sha256,sha512");

    world.refuses("--list missing", 3, &["missing does not exist"]);
    world.refuses("--list tree/tmpx", 3, &["tree/tmpx, line 1: "]);
    let mut cut = fs::read(world.path("one")).unwrap();
    cut.pop();
    world.file("cut", cut);
    world.refuses("--list cut", 3, &["cut: ", "changed or not copied completely"]);
}

#[test]
fn a_flat_list_is_a_source_too() {
    let world = world();
    let file = "1".repeat(64);
    let boot = "2".repeat(64);
    world.file("flat", format!("{boot}  boot_aggregate\n{file}  /opt/flat\n{file}  /tmp/x\n"));
    let run = world.goldseal(&format!("build -o out {ALL} --list flat --exclude /tmp")).exits(0);
    run.omits("no boot-aggregate rule");
    let list = world.list("out");
    assert!(list.entries().contains(&format!("{file}  /opt/flat\n")) && !list.entries().contains("/tmp/x"));
    assert_eq!(list.rules(), format!("boot-aggregate sha256:{boot}\n"));
    let sha256 = String::from_utf8(output_of(Command::new("sha256sum").arg(world.path("flat")))).unwrap();
    assert!(list.provenance().contains(&format!("input flat {} 2 ", &sha256[..64])), "{}", list.provenance());
    // Nobody can have sealed it.
    keys(&world);
    assert_eq!(world.refuses("--json --list flat --trust key.pub", 3, &[]).json()["reason"], "unsealed");
}

/// `key`, `key.pub`, `other`, `other.pub`.
fn keys(world: &World) {
    for name in ["key", "other"] {
        write_key_pair(&world.path(name), &SealKey::generate().unwrap(), None).unwrap();
    }
}

#[test]
fn a_list_is_held_to_the_keys_that_must_have_sealed_it() {
    let world = world();
    keys(&world);
    world.goldseal(&format!("build -o sealed {ALL} --seal key")).exits(0);
    world.goldseal(&format!("build -o unsealed {ALL}")).exits(0);
    world.goldseal("build -o out --list sealed --trust key.pub").exits(0).omits("not checked");
    let identity = world.list("sealed").read.envelope().identity().to_string();
    assert!(world.list("out").provenance().starts_with(&format!("input sealed-list {identity} 7 ")));
    world.goldseal("build --force -o out --list sealed --trust key.pub --trust other.pub --threshold 1").exits(0);

    for (arguments, exit, reason) in [
        ("--list unsealed --trust key.pub", 3, "unsealed"),
        ("--list sealed --list unsealed --trust key.pub", 3, "unsealed"),
        ("--list sealed --trust other.pub", 3, "threshold"),
        ("--list sealed --trust key.pub --trust other.pub", 3, "threshold"),
        ("--list sealed --trust key.pub --trust key.pub", 2, "usage"),
        ("--list sealed --trust key.pub --threshold 2", 2, "usage"),
        ("--list sealed --trust missing.pub", 3, "unreadable"),
        ("--list sealed --trust key", 3, "bad-key"),
    ] {
        assert_eq!(world.refuses(&format!("--json {arguments}"), exit, &[]).json()["reason"], reason, "{arguments}");
    }
    let mut bytes = fs::read(world.path("sealed")).unwrap();
    let version = bytes.windows(10).position(|text| text == b"version: 1").unwrap();
    bytes[version + 9] = b'2';
    world.file("changed", bytes);
    let run = world.refuses("--json --list changed --trust key.pub", 3, &["changed: "]);
    assert_eq!(run.json()["reason"], "bad-signature");
}

#[test]
fn existing_files_are_replaced_unless_they_matter() {
    let world = world();
    keys(&world);
    world.file("out.whitelist", "any other file");
    world.file("excludes", "/tmp\n");
    world.file("rules", "violation report\n");
    world.goldseal(&format!("build -o out.whitelist {ALL}")).exits(0);
    world.goldseal(&format!("build -o out.whitelist {ALL}")).exits(0);
    world.file("image", goldseal_tests::image::cpio(&world.path("tree")));
    world.goldseal(&format!("build -o sealed {ALL} --seal key")).exits(0);
    let build = |output: &str, arguments: &str| {
        let before = world.snapshot();
        let run = world.goldseal(&format!("build --json -o {output} {ALL} {arguments}"));
        (run.exits(2).json()["reason"].clone(), world.snapshot() == before)
    };
    for (output, arguments) in [
        ("sealed", ""),
        ("key", ""),
        ("key.pub", ""),
        ("key", "--force"),
        ("key", "--seal key"),
        ("image", "--initramfs image"),
        ("tree/tmpx", "tree/tmpx"),
        ("./tree/../image", "--initramfs image"),
        ("out.whitelist", "--list out.whitelist"),
        ("excludes", "--excludes excludes"),
        ("rules", "--rules rules"),
    ] {
        assert_eq!(build(output, arguments), ("exists".into(), true), "-o {output} {arguments}");
    }
    for (output, arguments) in [("new", "--seal-new new"), ("./new.pub", "--seal-new tree/../new")] {
        let (reason, untouched) = build(output, &format!("{arguments} --no-passphrase"));
        assert!(reason == "usage" && untouched, "-o {output} {arguments}");
    }
    assert_eq!(build("x", "--seal-new key --no-passphrase"), ("exists".into(), true));
    later(&world, &format!("-o sealed {ALL} --previous sealed")).exits(0);
    assert_eq!(world.list("sealed").read.header().version.number(), 2);
    world.goldseal(&format!("build -o sealed {ALL} --seal key --force")).exits(0);
    world.goldseal(&format!("build -o sealed {ALL} --force")).exits(0);
    world.goldseal("build -o image --initramfs image --force").exits(0);
    assert!(world.list("image").paths().contains(&"/usr/tool".to_owned()));
}

/// The README's first command; openssl(1) and coreutils alone accept what it makes.
#[test]
fn a_new_key_seals_in_one_go() {
    let world = world();
    world.goldseal(&format!("build --seal-new golden.key --no-passphrase -o golden {ALL}")).exits(0).says("sealed by ");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/emergency-verify.sh");
    output_of(Command::new("sh").arg(script).arg(world.path("golden")).arg(world.path("golden.key.pub")));
    world.list("golden").holds(&sha256sums(&world.path("tree")));
    // Neither passphrase nor terminal nor leave to go without.
    let mut command = Command::new("setsid");
    command
        .arg("--wait")
        .arg(goldseal_tests::goldseal())
        .args(goldseal_tests::words(&format!("build --seal-new second.key -o second {ALL}")));
    command.current_dir(world.path("")).stdin(std::process::Stdio::null());
    let before = world.snapshot();
    Run::of(command).exits(2).says("--no-passphrase");
    assert_eq!(world.snapshot(), before);
}

#[test]
fn json_is_one_object_and_quiet_is_quiet() {
    let world = world();
    let run = world.goldseal(&format!("build -o out {ALL} --exclude /tmp --json")).exits(0);
    let object = run.json();
    let identity = world.list("out").read.envelope().identity().to_string();
    for (field, value) in [("reason", "ok"), ("name", "out"), ("identity", &identity)] {
        assert_eq!(object[field], value, "{field}");
    }
    for (field, value) in [("version", 1), ("entries", 5), ("files", 5)] {
        assert_eq!(object[field], value, "{field}");
    }
    for (arguments, exit, reason) in [
        ("--root missing", 3, "unreadable"),
        ("--root tree --exclude /", 2, "broad-exclude"),
        ("", 2, "empty"),
        ("--no-such-option", 2, "usage"),
    ] {
        let object = world.refuses(&format!("--json {arguments}"), exit, &[]).json();
        assert_eq!(object["reason"], reason, "{arguments}");
        assert!(object["message"]["what"].is_string() && object["message"]["todo"].is_string(), "{arguments}");
    }

    let run = world.goldseal(&format!("build -o out {ALL} --quiet")).exits(0);
    assert_eq!((run.stderr().as_str(), run.stdout()), ("", &b""[..]));
    let run = world.goldseal("build -o out --root missing --quiet").exits(3);
    run.says("missing does not exist");
}

#[test]
fn a_list_goes_to_standard_output_alone() {
    let world = world();
    let run = world.goldseal(&format!("build -o - {ALL}")).exits(0);
    assert_eq!(run.stdout(), world.build(&format!("{ALL} --name whitelist")).bytes);
    let run = world.goldseal(&format!("build -o - {ALL} --json")).exits(2);
    assert_eq!(run.json()["reason"], "usage");
    // A file of that name is neither read nor written.
    world.file("-", "x");
    world.goldseal(&format!("build -o - {ALL}")).exits(0);
    assert_eq!(fs::read(world.path("-")).unwrap(), b"x");
}

#[test]
fn an_empty_list_must_be_meant() {
    let world = World::new();
    fs::create_dir(world.path("tree")).unwrap();
    world.refuses("--root tree", 2, &["no entry", "--allow-empty"]);
    let list = world.build("--root tree --allow-empty");
    assert_eq!((list.entries().as_str(), list.provenance().as_str()), ("", "input root - 0 0 tree\n"));
}
