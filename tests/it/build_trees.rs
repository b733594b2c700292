//! `goldseal build` on trees: what find(1) and sha256sum(1) say is in them is what the list says.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use goldseal_tests::{Run, World, goldseal, is_root, output_of, quoted, sha256sums, shell, skip_unless, words};

/// Names that have fooled readers of lists, each of a regular file.
const ODD_NAMES: [&[u8]; 14] = [
    b"a blank",
    b"new\nline",
    b"\n",
    b"carriage\rreturn",
    b"back\\slash",
    b"\\n",
    b"\x1b[2Jescape",
    b"\xff\xfe not UTF-8",
    "\u{e9}t\u{e9}".as_bytes(),
    b"-dash",
    b" leading and trailing ",
    b"..dots..",
    b"'quotes\"",
    b"\x01\x7f",
];

#[test]
fn a_tree_of_odd_names_and_kinds() {
    let world = World::new();
    let truth = odd_tree(&world, "tree");
    let list = world.build("--root tree");
    list.holds(&sha256sums(&world.path("tree")));
    assert_eq!(list.paths().len(), truth);

    // sha256sum(1) takes the entries as they are, run where the paths lead: a chroot's `/`, or without their slash.
    let relative: Vec<u8> = {
        let entries = list.read.contents().section(goldseal_verifier_core::header::Section::Entries);
        let lines = entries.split_inclusive(|byte| *byte == b'\n');
        let cut = |line: &[u8]| {
            let slash = line.iter().position(|byte| *byte == b'/').unwrap();
            [&line[..slash], &line[slash + 1..]].concat()
        };
        lines.flat_map(cut).collect()
    };
    world.file("sums", relative);
    let checked = shell(&world.path("tree"), "sha256sum --check --strict ../sums");
    assert_eq!(checked.iter().filter(|byte| **byte == b'\n').count(), truth);
}

#[test]
fn a_path_is_listed_under_its_own_absolute_name() {
    let world = World::new();
    odd_tree(&world, "tree");
    let folder = world.path("tree");
    let expected = sha256sums(Path::new(&folder));
    let expected: Vec<u8> = expected
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| {
            let slash = line.iter().position(|byte| *byte == b'/').unwrap();
            [&line[..slash], folder.as_os_str().as_bytes(), &line[slash..]].concat()
        })
        .collect();
    world.build("tree").holds(&expected);
    world.build("./tree/../tree/.").holds(&expected);
    // Naming a part of it again changes nothing.
    world.build("tree/deep tree").holds(&expected);
}

/// The kernel logs /usr/bin/x, though it was run as /bin/x.
#[test]
fn symlinks_of_a_path_are_resolved_and_those_inside_are_not_followed() {
    let world = World::new();
    world.file("usr/bin/tool", "tool");
    world.file("elsewhere/secret", "not below it");
    shell(&world.path(""), "ln -s usr/bin bin; ln -s ../../elsewhere usr/bin/link; ln -s tool usr/bin/alias");
    let expected = format!("{}/usr/bin/tool", world.path("").display()).replace("//", "/");
    assert_eq!(world.build("bin").paths(), [expected.as_str()]);
    assert_eq!(world.build("bin/alias").paths(), [expected]);
    assert_eq!(world.build("--root .").paths(), ["/elsewhere/secret", "/usr/bin/tool"]);
}

#[test]
fn the_same_tree_in_two_folders_gives_the_same_entries() {
    let world = World::new();
    odd_tree(&world, "one");
    odd_tree(&world, "two/below");
    let one = world.build("--root one");
    assert_eq!(one.entries(), world.build("--root two/below").entries());
    assert_eq!(one.entries(), world.build("--root one --root two/below").entries());
}

#[test]
fn threads_and_order_of_arguments_change_no_byte() {
    let world = World::new();
    odd_tree(&world, "one");
    odd_tree(&world, "two");
    world.file("two/usr/bin/differs", "2");
    world.file("one/usr/bin/differs", "1");
    let image = goldseal_tests::image::cpio(&world.path("one"));
    world.file("image", image);
    world.goldseal("build -o old --root one --exclude /cache --rule 'violation report'").exits(0);
    let all = "--root one --root two --at /opt=two --initramfs image --list old --exclude /tmp --exclude /var/log \
               --hash sha512,sha1,sha256 --rule 'template ima-ng' --boot-aggregate any";
    let first = world.build(&format!("--jobs 1 {all}")).bytes;
    let reversed = "--boot-aggregate any --rule 'template ima-ng' --hash sha256,sha1,sha512 --exclude /var/log \
                    --exclude /tmp --list old --initramfs image --at /opt=two --root two --root one";
    for arguments in [format!("--jobs 7 {all}"), format!("--jobs 2 {reversed}"), format!("{reversed} --exclude /tmp")] {
        assert!(world.build(&arguments).bytes == first, "{arguments}");
    }
}

/// A golden list must be complete.
#[test]
fn what_cannot_be_read_is_refused_or_named() {
    let world = World::new();
    world.file("tree/good", "good");
    world.file("tree/closed", "closed");
    world.file("tree/folder/below", "below");
    shell(&world.path(""), "chmod 755 . tree; chmod 0 tree/closed tree/folder; mkdir out; chmod 777 out");
    let Some(plain) = plain_user(&world, "what_cannot_be_read_is_refused_or_named") else { return };

    let run = plain("build -o out/list --root tree").exits(3);
    run.says("tree/folder: permission denied").says("--keep-going");
    plain("build -o out/list --root tree --exclude /folder").exits(3).says("tree/closed: permission denied");
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 0);

    let run = plain("build -o out/list --root tree --keep-going").exits(1);
    run.says("missing: ").says("tree/closed").says("tree/folder");
    let list = world.list("out/list");
    assert_eq!(list.paths(), ["/good"]);
    assert!(list.provenance().contains("gap unreadable /closed\ngap unreadable /folder\n"), "{}", list.provenance());

    let quiet = plain("build -o out/list --force --root tree --keep-going --quiet").exits(1);
    quiet.says("tree/closed").omits("no boot-aggregate");
    let object = plain("build -o out/list --force --root tree --keep-going --json").exits(1).json();
    assert_eq!(object["reason"], "incomplete");
    plain("build -o out/list --force --root tree --exclude /closed --exclude /folder").exits(0);
    shell(&world.path(""), "chmod 700 tree/folder");
}

#[test]
fn volatile_folders_of_a_root_are_skipped_and_named() {
    let world = World::new();
    for folder in ["proc", "sys", "dev", "run", "tmp", "usr/tmp"] {
        world.file(format!("tree/{folder}/file"), "x");
    }
    let run = world.goldseal("build -o out --root tree").exits(0);
    run.says("/proc: skipped").says("/tmp: skipped");
    let list = world.list("out");
    assert_eq!(list.paths(), ["/usr/tmp/file"]);
    assert!(list.provenance().ends_with("skipped /dev\nskipped /proc\nskipped /run\nskipped /sys\nskipped /tmp\n"));
    world.build("--root tree --all-directories").holds(&sha256sums(&world.path("tree")));
    // A PATH other than `/` is no root.
    assert_eq!(world.build("tree").paths().len(), 6);
}

#[test]
fn other_file_systems_are_not_entered_and_are_named() {
    if !is_root("other_file_systems_are_not_entered_and_are_named") {
        return;
    }
    let world = World::new();
    world.file("tree/usr/file", "x");
    fs::create_dir_all(world.path("tree/mnt")).unwrap();
    let mounted = |arguments: &str| {
        let script = "mount -t tmpfs tmpfs tree/mnt && echo y >tree/mnt/inside && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", script, "sh"]).arg(goldseal()).args(words(arguments));
        Run::of(changed(command, world.path("")))
    };
    mounted("build -o out --root tree").exits(0).says("/mnt: other file system, not entered");
    let list = world.list("out");
    assert_eq!(list.paths(), ["/usr/file"]);
    assert!(list.provenance().contains("mount-point /mnt\n"), "{}", list.provenance());
    mounted("build -o out --root tree --cross-filesystems").exits(0);
    assert_eq!(world.list("out").paths(), ["/mnt/inside", "/usr/file"]);
    // Named as a source of its own, it is entered.
    mounted("build -o out --root tree --at /mnt=tree/mnt").exits(0).omits("other file system");
    assert_eq!(world.list("out").paths(), ["/mnt/inside", "/usr/file"]);
}

#[test]
fn the_output_is_never_listed() {
    let world = World::new();
    world.file("tree/file", "x");
    for _ in ["new", "replaced"] {
        world.goldseal("build -o tree/out --root tree").exits(0);
        assert_eq!(world.list("tree/out").paths(), ["/file"]);
    }
}

/// Standard output is an output too, and a file that is called `-` is none.
#[test]
fn standard_output_is_never_listed() {
    let world = World::new();
    world.file("tree/file", "x");
    world.file("tree/-", "a file of that name");
    let mut command = world.command("build -o - --root .");
    command.current_dir(world.path("tree")).stdout(fs::File::create(world.path("tree/out")).unwrap());
    Run::of(command).exits(0);
    assert_eq!(world.list("tree/out").paths(), ["/-", "/file"]);
}

/// Where files cannot be written without a name: on FAT and NFS, and, as here, without /proc.
#[test]
fn an_output_under_a_temporary_name_is_never_listed() {
    if !is_root("an_output_under_a_temporary_name_is_never_listed") {
        return;
    }
    let world = World::new();
    world.file("tree/file", "x");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", "mount -t tmpfs tmpfs /proc && exec \"$@\"", "sh"]).arg(goldseal());
    command.args(words("build -o tree/out --root tree"));
    Run::of(changed(command, world.path(""))).exits(0);
    assert_eq!(world.list("tree/out").paths(), ["/file"]);
}

#[test]
fn scope_code_takes_what_can_run() {
    let world = World::new();
    for (name, bytes) in [
        ("elf", "\x7fELF and more"),
        ("script", "#!/bin/sh\n"),
        ("module.ko", "x"),
        ("module.ko.gz", "x"),
        ("module.ko.xz", "x"),
        ("module.ko.zst", "x"),
        ("executable", "text"),
        ("text", "text"),
        ("module.ko.txt", "x"),
        ("empty", ""),
    ] {
        world.file(format!("tree/{name}"), bytes);
    }
    shell(&world.path("tree"), "chmod 644 *; chmod 645 executable");
    let list = world.build("--root tree --scope code");
    let code = ["elf", "executable", "module.ko", "module.ko.gz", "module.ko.xz", "module.ko.zst", "script"];
    assert_eq!(list.paths(), code.map(|name| format!("/{name}")));
    world.build("--root tree --scope all").holds(&sha256sums(&world.path("tree")));
}

#[test]
fn a_folder_elsewhere_on_the_target() {
    let world = World::new();
    odd_tree(&world, "media/app");
    world.file("media/tool", "tool");
    shell(&world.path(""), "mkdir -p target/opt; cp -a media/app target/opt/app; cp media/tool target/opt/tool");
    let list = world.build("--at /opt/app=media/app --at /opt/tool=media/tool");
    list.holds(&sha256sums(&world.path("target")));
    let sum = output_of(Command::new("sha256sum").arg(world.path("media/tool")));
    let sum = std::str::from_utf8(&sum[..64]).unwrap();
    assert!(list.provenance().contains(&format!("input path {sum} 1 4 /opt/tool=media/tool\n")));

    world.refuses("--at /opt/app", 2, &["--at /opt/app has no `=`", "TARGET=DIR"]);
    world.refuses("--at opt=media", 2, &["opt is not a canonical absolute path"]);
    world.refuses("--at /opt/../etc=media", 2, &["not a canonical absolute path"]);
    world.refuses("--at /opt=missing", 3, &["missing does not exist"]);
}

/// Names are bytes, also on the command line.
#[test]
fn names_on_the_command_line_are_bytes() {
    let world = World::new();
    let name = OsStr::from_bytes(b"not \xff UTF-8");
    world.file(Path::new(name).join("file"), "x");
    for option in ["--root", "--at", ""] {
        let mut command = world.command("build --force -o out");
        match option {
            "--at" => command.arg("--at").arg(OsStr::from_bytes(b"/\xfe=not \xff UTF-8")),
            "--root" => command.arg("--root").arg(name),
            _ => command.arg(name),
        };
        Run::of(command).exits(0);
        assert_eq!(world.list("out").paths().len(), 1);
    }
}

/// Code that runs before switch_root is logged with where the new root stood.
#[test]
fn extra_prefixes_list_every_file_once_more() {
    let world = World::new();
    world.file("tree/usr/bin/tool", "tool");
    world.file("tree/etc/file", "file");
    let list = world.build("--root tree --extra-prefix /sysroot --extra-prefix /root/");
    let paths = ["/etc/file", "/root/etc/file", "/root/usr/bin/tool", "/sysroot/etc/file", "/sysroot/usr/bin/tool"];
    assert_eq!(list.paths(), [&paths[..], &["/usr/bin/tool"]].concat());
    // An exclude keeps out what it names, whichever way it came in.
    let list = world.build("--root tree --extra-prefix /sysroot --exclude /sysroot/etc");
    assert_eq!(list.paths(), ["/etc/file", "/sysroot/usr/bin/tool", "/usr/bin/tool"]);
    assert!(list.provenance().contains("excluded 1 /sysroot/etc\n"), "{}", list.provenance());
    // A copy that meets another file of that name: both are listed, and the path is named.
    world.file("tree/sysroot/etc/file", "another");
    let list = world.build("--root tree --extra-prefix /sysroot");
    assert_eq!(list.paths().iter().filter(|path| **path == "/sysroot/etc/file").count(), 2);
    assert!(list.provenance().contains("conflict /sysroot/etc/file\n"), "{}", list.provenance());
    for bad in ["sysroot", "/", "/a/../b", "''"] {
        world.refuses(&format!("--root tree --extra-prefix {bad}"), 2, &["is not an absolute path"]);
    }
}

#[test]
fn inputs_that_disagree_are_named_and_all_listed() {
    let world = World::new();
    world.file("one/usr/bin/tool", "1");
    world.file("two/usr/bin/tool", "2");
    world.file("one/same", "x");
    world.file("two/same", "x");
    let run = world.goldseal("build -o out --root one --root two").exits(0);
    run.says("/usr/bin/tool: inputs give it different digests");
    let list = world.list("out");
    assert_eq!(list.paths(), ["/same", "/usr/bin/tool", "/usr/bin/tool"]);
    assert_eq!(list.provenance().matches("conflict ").count(), 1);
    assert!(list.provenance().starts_with("conflict /usr/bin/tool\n"));

    // An image and a tree disagree in the same way.
    world.file("image", goldseal_tests::image::cpio(&world.path("one")));
    let list = world.build("--root two --initramfs image");
    assert!(list.provenance().starts_with("conflict /usr/bin/tool\n"), "{}", list.provenance());
    // Neither file is said to have the other's sum.
    let list = world.build("--at /tool=one/usr/bin/tool --at /tool=two/usr/bin/tool");
    let files = "input path - 1 1 /tool=one/usr/bin/tool\ninput path - 1 1 /tool=two/usr/bin/tool\n";
    assert_eq!(list.provenance(), format!("conflict /tool\n{files}"));
}

#[test]
fn a_path_that_looks_like_an_image_draws_a_warning() {
    let world = World::new();
    world.file("tree/file", "x");
    let image = world.file("initrd.img", goldseal_tests::image::cpio(&world.path("tree")));
    let run = world.goldseal("build -o out initrd.img").exits(0);
    run.says("WARNING: ").says("--initramfs");
    let list = world.list("out");
    assert_eq!(list.paths(), [image.to_str().unwrap()]);
    assert!(list.provenance().contains("\nwarning "), "{}", list.provenance());
    world.goldseal("build --force -o out tree/file").exits(0).omits("WARNING");
}

#[test]
fn every_algorithm_asked_for_is_listed() {
    let world = World::new();
    world.file("tree/file", "x");
    let list = world.build("--root tree --hash sha512,sha1 --hash sha384");
    for (program, len) in [("sha1sum", 40), ("sha384sum", 96), ("sha512sum", 128)] {
        let sum = output_of(Command::new(program).arg(world.path("tree/file")));
        let line = format!("{}  /file\n", std::str::from_utf8(&sum[..len]).unwrap());
        assert!(list.entries().contains(&line), "{program}");
    }
    assert_eq!(list.read.header().file_hash.to_string(), "sha1,sha384,sha512");
    assert_eq!(list.paths().len(), 3);
}

/// script(1) is the terminal. What a pipe sees is held by the transcripts.
#[test]
fn progress_is_shown_on_a_terminal_alone() {
    let world = World::new();
    world.file("tree/large", vec![b'x'; 3 << 20]);
    let on_terminal = |options: &str| {
        let mut script = Command::new("script");
        let build = format!("{} build --force -o out --root tree {options}", quoted(goldseal()));
        script.args(["--quiet", "--return", "--command", &build, "/dev/null"]);
        script.current_dir(world.path("")).env("TERM", "xterm");
        String::from_utf8_lossy(&output_of(&mut script)).into_owned()
    };
    let shown = on_terminal("");
    assert!(shown.contains(" of 3.00 MiB, "), "{shown}");
    assert_eq!(on_terminal("--quiet"), "");
}

#[test]
fn sources_that_cannot_be() {
    let world = World::new();
    world.file("file", "x");
    shell(&world.path(""), "mkfifo fifo; ln -s nowhere dangling");
    world.refuses("missing", 3, &["missing does not exist", "check the name"]);
    world.refuses("dangling", 3, &["dangling does not exist"]);
    world.refuses("--root file", 3, &["file is not a folder"]);
    world.refuses("fifo", 3, &["fifo is neither a folder nor a regular file"]);
    world.refuses("", 2, &["no entry"]);
}

/// Makes a tree of everything odd and returns the number of names of regular files in it.
fn odd_tree(world: &World, name: &str) -> usize {
    let tree = world.path(name);
    let mut files = 0;
    let mut file = |name: &[u8], bytes: &[u8]| {
        world.file(tree.join(OsStr::from_bytes(name)), bytes);
        files += 1;
    };
    for (index, name) in ODD_NAMES.into_iter().enumerate() {
        file(name, format!("file {index}").as_bytes());
        file(&[b"deep/", name, b".d/", name].concat(), name);
    }
    file(&[b'n'; 255], b"longest name");
    file(&[[b'f'; 255].as_slice(), &[b'g'; 255], &[b'h'; 255]].join(&b'/'), b"long path");
    file(b"empty", b"");
    file(b"linked", b"one content, three names");
    let script = "ln linked deep/also; ln linked zlink
         truncate -s 3M sparse; printf end >>sparse; mkfifo fifo; ln -s linked symlink; ln -s . loop";
    shell(&tree, script);
    // A socket's path is short by necessity.
    let _socket = UnixListener::bind(tree.join("socket")).unwrap();
    files + 3
}

fn changed(mut command: Command, folder: impl AsRef<Path>) -> Command {
    command.current_dir(folder).env("SOURCE_DATE_EPOCH", goldseal_tests::EPOCH);
    command
}

/// Runs the binary as a user whom modes stop; nothing stops root.
fn plain_user<'a>(world: &'a World, test: &str) -> Option<impl Fn(&str) -> Run + 'a> {
    let root = output_of(Command::new("id").arg("-u")) == b"0\n";
    // The binary may stand where that user cannot go.
    let binary = world.path("goldseal");
    fs::copy(goldseal(), &binary).unwrap();
    let can = !root || Command::new("setpriv").arg("--version").output().is_ok();
    skip_unless(can, test, "needs setpriv").then_some(move |arguments: &str| {
        let mut command = Command::new(if root { "setpriv" } else { "env" });
        if root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.arg(&binary).args(words(arguments));
        Run::of(changed(command, world.path("")))
    })
}

#[test]
fn quoted_names_reach_the_binary_whole() {
    let world = World::new();
    let file = world.file("a blank/b  c", "x");
    assert_eq!(world.build(&quoted(&file)).paths(), [file.to_str().unwrap()]);
}
