//! What goes wrong around `goldseal build`: full disks, Ctrl-C, folders and keys that will not do. Each time there is a
//! message, an exit code, and not a byte more or less on the disk.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use goldseal_tests::{Run, World, goldseal, is_root, output_of, shell, words};

/// A list of this tree is longer than a small disk has room for.
fn world() -> World {
    let world = World::new();
    for number in 0..500 {
        world.file(format!("tree/{}-{number}", "n".repeat(200)), "x");
    }
    fs::create_dir(world.path("out")).unwrap();
    world
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let world = world();
    world.goldseal("build -o /dev/full --root tree").exits(3).says("no space left on device");
    if !is_root("a_full_disk_leaves_nothing_behind") {
        return;
    }
    for (folder, seal) in [("out", ""), ("out", "--seal-new out/key --no-passphrase"), ("/proc out", "")] {
        // A second tmpfs over /proc: then the file has a temporary name.
        let mounts = folder.split(' ').map(|folder| format!("mount -t tmpfs -o size=64k tmpfs {folder}; "));
        let script = format!("{}\"$@\" && status=0 || status=$?; ls -A out; exit $status", mounts.collect::<String>());
        let run = within(&world, &script, &format!("build -o out/list --root tree {seal}")).exits(3);
        run.says("out/list").says("no space left on device");
        assert_eq!(String::from_utf8_lossy(run.stdout()), "", "{folder} {seal}");
    }
}

/// Also what a failure does not reach stays as it was.
#[test]
fn a_failed_build_leaves_the_old_list() {
    let world = world();
    world.file("out.whitelist", "the old list");
    world.refuses("--root tree --root missing", 3, &["missing does not exist"]);
    world.refuses("--root tree --excludes missing", 3, &["missing does not exist"]);
    if is_root("a_failed_build_leaves_the_old_list") {
        let mount = "mount -t tmpfs -o size=64k tmpfs out; cp out.whitelist out/list; ";
        let script = format!("{mount}\"$@\" && status=0 || status=$?; ls -A out; cat out/list; exit $status");
        let run = within(&world, &script, "build -o out/list --root tree").exits(3);
        assert_eq!(String::from_utf8_lossy(run.stdout()), "list\nthe old list");
    }
}

#[test]
fn outputs_that_cannot_be_written() {
    let world = world();
    world.file("file", "x");
    for (output, says) in [
        ("missing/list", "missing"),
        ("out", "out names a folder"),
        ("out/", "out/ names a folder"),
        ("file/list", "file/list"),
        ("/proc/list", "/proc/list"),
    ] {
        let before = world.snapshot();
        let run = world.goldseal(&format!("build --root tree -o {output} --json")).exits(3);
        assert_eq!(run.says(says).json()["reason"], "unwritable", "{output}");
        assert_eq!(world.snapshot(), before, "{output}");
    }
}

/// In the middle of the work, which a pipe holds up until the signal is there.
#[test]
fn ctrl_c_leaves_nothing_behind() {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let world = world();
        shell(&world.path(""), "mkfifo pipe");
        interrupted(&world, world.command("build -o out/list --root tree --initramfs pipe"), name, number);
    }
}

/// The same where the file has a temporary name from the first moment.
#[test]
fn ctrl_c_takes_the_temporary_name_away() {
    if !is_root("ctrl_c_takes_the_temporary_name_away") {
        return;
    }
    let world = world();
    shell(&world.path(""), "mkfifo pipe");
    let script = "mount -t tmpfs tmpfs /proc; exec \"$@\"";
    let command = unshared(&world, script, "build -o out/list --root tree --initramfs pipe");
    let partial = || fs::read_dir(world.path("out")).unwrap().count();
    assert_eq!(interrupted(&world, command, "INT", 2), 1, "it should have been under way");
    assert_eq!(partial(), 0);
}

/// Runs the command until it reads `pipe`, counts what is in `out` then, and sends the signal.
fn interrupted(world: &World, mut command: Command, name: &str, number: i32) -> usize {
    let before = world.snapshot();
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Opening waits for the reader; nothing is ever written.
    let _pipe = File::options().write(true).open(world.path("pipe")).unwrap();
    let under_way = fs::read_dir(world.path("out")).unwrap().count();
    output_of(Command::new("kill").args([&format!("-{name}"), &running.id().to_string()]));
    Run::ended(&command, running.wait_with_output().unwrap()).ends_by_signal(number);
    assert_eq!(world.snapshot(), before, "{name}");
    under_way
}

#[test]
fn keys_that_will_not_do() {
    let world = world();
    shell(
        &world.path(""),
        "openssl genpkey -quiet -algorithm RSA -out rsa
         openssl genpkey -quiet -algorithm ED25519 -out open
         openssl genpkey -quiet -algorithm ED25519 -aes-256-cbc -pass pass:right -out locked
         chmod 600 rsa locked; chmod 644 open; mkdir folder; : >empty; chmod 600 empty
         echo wrong >wrong; echo right >right; openssl pkey -in open -pubout -out pub; chmod 600 pub",
    );
    for (key, reason) in [
        ("rsa", "bad-key"),
        ("open", "unsafe-key"),
        ("pub", "bad-key"),
        ("missing", "unreadable"),
        ("folder", "unreadable"),
        ("empty", "malformed"),
    ] {
        let run = world.refuses(&format!("--json --root tree --seal {key}"), 3, &[key]);
        assert_eq!(run.json()["reason"], reason, "{key}");
    }
    let with_passphrase = |file: &str| {
        let mut command = world.command("");
        let words = words("build --json --root tree -o out/list --seal locked --passphrase-fd 0");
        command.args(words).stdin(File::open(world.path(file)).unwrap());
        Run::of(command)
    };
    assert_eq!(with_passphrase("wrong").exits(3).json()["reason"], "wrong-passphrase");
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 0);
    with_passphrase("right").exits(0);
    assert_eq!(world.list("out/list").read.envelope().signatures().len(), 1);
}

/// A new list has the usual mode, a replaced one keeps its own, and inputs keep everything.
#[test]
fn modes_are_kept() {
    let world = world();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let list = world.path("out/list");
    world.goldseal("build -o out/list --root tree").exits(0);
    assert_eq!(mode(&list), mode(&world.file("usual", "")));
    fs::set_permissions(&list, fs::Permissions::from_mode(0o604)).unwrap();
    world.goldseal("build -o out/list --root tree").exits(0);
    assert_eq!(mode(&list), 0o604);
}

/// Runs the binary within a script of sh(1) that has mounts of its own.
fn within(world: &World, script: &str, arguments: &str) -> Run {
    Run::of(unshared(world, script, arguments))
}

fn unshared(world: &World, script: &str, arguments: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script, "sh"]).arg(goldseal()).args(words(arguments));
    command.current_dir(world.path("")).env("SOURCE_DATE_EPOCH", goldseal_tests::EPOCH).stdin(Stdio::null());
    command
}
