use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use goldseal_verifier_core::digest::Digest;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use tempfile::TempDir;

use super::*;

const SHA256: &[HashAlgorithm] = &[HashAlgorithm::Sha256];

const PLAIN: Options<'static> = Options {
    algorithms: SHA256,
    scope: Scope::All,
    cross_filesystems: false,
    keep_going: false,
    excluded: &|_| false,
    never: &[],
};

const KEEP_GOING: Options<'static> = Options { keep_going: true, ..PLAIN };

/// A scratch folder, its own symlinks resolved.
fn scratch() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

fn at(target: &str, dir: &Path) -> Source {
    Source::at(target.as_bytes(), dir).unwrap()
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.files.iter().map(|file| String::from_utf8(file.path.clone()).unwrap()).collect()
}

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn sha256(bytes: &[u8]) -> Vec<Digest> {
    use sha2::Digest as _;
    vec![Digest::new(HashAlgorithm::Sha256, &sha2::Sha256::digest(bytes)).unwrap()]
}

fn gap(target: &str, host_path: &Path, reason: Reason) -> Gap {
    Gap { path: target.as_bytes().to_vec(), host_path: host_path.to_owned(), reason }
}

/// What `find -type f` and coreutils say of a folder: (path, hex digest).
fn coreutils(dir: &Path, program: &str) -> BTreeSet<(Vec<u8>, String)> {
    let script = r#"find "$1" -xdev -type f -print0 | xargs -0 "$2" -z --"#;
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(dir).arg(program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    let pair = |line: &[u8]| {
        let digest = line.iter().position(|byte| *byte == b' ').unwrap();
        (line[digest + 2..].to_vec(), String::from_utf8(line[..digest].to_vec()).unwrap())
    };
    lines.map(pair).collect()
}

#[test]
fn odd_names_and_kinds_as_coreutils_see_them() {
    let (_scratch, dir) = scratch();
    let names: &[&[u8]] = &[
        b"a blank",
        b" ",
        b"new\nline",
        b"c\rr",
        b"back\\slash",
        b"\x1b[2J",
        b"\xff\xfe",
        b"-z",
        b"...",
        &[b'n'; 255],
    ];
    for name in names {
        let folder = dir.join(OsStr::from_bytes(name));
        fs::create_dir(&folder).unwrap();
        for inner in names {
            fs::write(folder.join(OsStr::from_bytes(inner)), [*name, inner].concat()).unwrap();
        }
    }
    let around = |len: usize| [len - 1, len, len + 1];
    let lens = [around(1), around(56), around(64), around(120), around(128), around(1 << 17), around(1 << 20)].concat();
    for len in lens {
        let content: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
        fs::write(dir.join(format!("len {len}")), content).unwrap();
    }
    let mut deep = dir.join("deep");
    (0..200).for_each(|_| deep.push("d"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "deep").unwrap();

    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    fs::hard_link(dir.join("len 64"), dir.join("hard link")).unwrap();
    symlink("len 64", dir.join("to a file")).unwrap();
    symlink("deep", dir.join("to a folder")).unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    symlink("..", dir.join("up")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
    let _socket = UnixListener::bind(dir.join("socket")).unwrap();

    let all = Options { algorithms: &HashAlgorithm::ALL, ..PLAIN };
    let source = [Source::path(&dir).unwrap()];
    let tree = with_threads(1, || read(&source, &all, &())).unwrap();
    for threads in [2, 5] {
        assert_eq!(with_threads(threads, || read(&source, &all, &())).unwrap(), tree);
    }
    assert!(tree.files.is_sorted_by(|a, b| a.path < b.path));
    assert_eq!(tree.counts[0].files, tree.files.len() as u64);
    for (index, program) in ["sha1sum", "sha256sum", "sha384sum", "sha512sum"].into_iter().enumerate() {
        let ours: BTreeSet<_> =
            tree.files.iter().map(|file| (file.path.clone(), file.digests[index].to_string())).collect();
        assert!(ours.len() > 120);
        assert_eq!(ours, coreutils(&dir, program));
    }
}

#[derive(Default)]
struct Counting {
    contents: AtomicU64,
    bytes: AtomicU64,
}

impl Progress for Counting {
    fn found(&self, _: u64, _: u64) {}
    fn bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
    }
    fn content(&self) {
        self.contents.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lanes are filled anew while others are in the middle of their files, and run empty one by one.
#[test]
fn many_more_files_than_lanes_as_coreutils_see_them() {
    let (_scratch, dir) = scratch();
    for n in 0..150_usize {
        // 7,919 is a prime: lengths of up to three buffers, some empty, in no order.
        let len = if n % 10 == 0 { 0 } else { n * 7_919 % 200_000 };
        let content: Vec<u8> = (0..len).map(|index| ((index + n) % 251) as u8).collect();
        fs::write(dir.join(n.to_string()), content).unwrap();
    }
    let source = [Source::path(&dir).unwrap()];
    let expected = coreutils(&dir, "sha256sum");
    for threads in [1, 3, 200] {
        let tree = with_threads(threads, || read(&source, &PLAIN, &())).unwrap();
        let listed = tree.files.iter().map(|file| (file.path.clone(), file.digests[0].to_string()));
        assert_eq!(listed.collect::<BTreeSet<_>>(), expected, "{threads} threads");
    }
}

#[test]
fn an_inode_is_read_once_and_listed_under_every_name_of_every_source() {
    let (_scratch, dir) = scratch();
    fs::create_dir(dir.join("one")).unwrap();
    fs::create_dir(dir.join("two")).unwrap();
    fs::write(dir.join("one/a"), "content").unwrap();
    fs::hard_link(dir.join("one/a"), dir.join("one/b")).unwrap();
    fs::hard_link(dir.join("one/a"), dir.join("two/c")).unwrap();
    let sources = [at("/x", &dir.join("one")), at("/y", &dir.join("two")), at("/z", &dir.join("two/c"))];
    let progress = Counting::default();
    let tree = read(&sources, &PLAIN, &progress).unwrap();
    assert_eq!(paths(&tree), ["/x/a", "/x/b", "/y/c", "/z"]);
    assert!(tree.files.iter().all(|file| file.digests == sha256(b"content")));
    assert_eq!((progress.contents.into_inner(), progress.bytes.into_inner()), (1, 7));
    assert_eq!(
        tree.counts.iter().map(|count| (count.files, count.bytes)).collect::<Vec<_>>(),
        [(2, 14), (1, 7), (1, 7)]
    );
}

#[test]
fn overlapping_sources() {
    let (_scratch, dir) = scratch();
    for (folder, content) in [("one", "1"), ("two", "2")] {
        fs::create_dir_all(dir.join(folder).join("bin")).unwrap();
        fs::write(dir.join(folder).join("bin/same"), "same").unwrap();
        fs::write(dir.join(folder).join("bin/differs"), content).unwrap();
    }
    let [one, two] = ["one", "two"].map(|folder| dir.join(folder));
    let same = read(&[at("/", &one), at("/bin", &one.join("bin"))], &PLAIN, &()).unwrap();
    assert_eq!(paths(&same), ["/bin/differs", "/bin/same"]);

    let forth = read(&[at("/", &one), at("/", &two)], &PLAIN, &()).unwrap();
    assert_eq!(paths(&forth), ["/bin/differs", "/bin/differs", "/bin/same"]);
    let mut both = [sha256(b"1"), sha256(b"2")];
    both.sort();
    assert_eq!([&forth.files[0].digests, &forth.files[1].digests], [&both[0], &both[1]]);
    assert_eq!(read(&[at("/", &two), at("/", &one)], &PLAIN, &()).unwrap(), forth);
}

#[test]
fn symlinks_of_a_source_itself_are_resolved() {
    let (_scratch, dir) = scratch();
    fs::create_dir_all(dir.join("usr/bin")).unwrap();
    fs::write(dir.join("usr/bin/sh"), "sh").unwrap();
    symlink("usr/bin", dir.join("bin")).unwrap();
    symlink("sh", dir.join("usr/bin/link")).unwrap();
    let real = dir.join("usr/bin/sh").into_os_string().into_string().unwrap();
    for given in ["bin", "bin/sh", "bin/link", "usr/../bin/."] {
        assert_eq!(paths(&read(&[Source::path(&dir.join(given)).unwrap()], &PLAIN, &()).unwrap()), [&*real]);
    }
    assert_eq!(paths(&read(&[Source::root(&dir.join("bin")).unwrap()], &PLAIN, &()).unwrap()), ["/sh"]);
    assert_eq!(paths(&read(&[at("/opt/sh", &dir.join("bin/link"))], &PLAIN, &()).unwrap()), ["/opt/sh"]);
}

#[test]
fn volatile_folders_of_a_root_are_skipped_and_named() {
    let (_scratch, dir) = scratch();
    for folder in ["proc", "sys", "dev", "run", "tmp/below", "usr/tmp", "tmp2"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
        fs::write(dir.join(folder).join("file"), folder).unwrap();
    }
    let tree = read(&[Source::root(&dir).unwrap()], &PLAIN, &()).unwrap();
    assert_eq!(paths(&tree), ["/tmp2/file", "/usr/tmp/file"]);
    assert_eq!(tree.skipped, [&b"/dev"[..], b"/proc", b"/run", b"/sys", b"/tmp"]);
    let tree = read(&[at("/", &dir)], &PLAIN, &()).unwrap();
    assert_eq!((tree.files.len(), tree.skipped.len()), (7, 0));

    assert!(Source::path(Path::new("/")).unwrap().skip_volatile);
    assert!(!Source::path(&dir).unwrap().skip_volatile);
}

#[test]
fn an_excluded_folder_is_not_entered_and_counts_once() {
    let (_scratch, dir) = scratch();
    for folder in ["keep", "log/below"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
        fs::write(dir.join(folder).join("file"), folder).unwrap();
        fs::write(dir.join(folder).join("file.tmp"), folder).unwrap();
    }
    let asked = std::sync::Mutex::new(Vec::new());
    let excluded = |path: &[u8]| {
        asked.lock().unwrap().push(path.to_vec());
        path == b"/a/log" || path.ends_with(b".tmp")
    };
    let source = [at("/a", &dir)];
    let tree = read(&source, &Options { excluded: &excluded, ..PLAIN }, &()).unwrap();
    assert_eq!(paths(&tree), ["/a/keep/file"]);
    assert_eq!(tree.excluded, [&b"/a/keep/file.tmp"[..], b"/a/log"]);
    assert!(!asked.into_inner().unwrap().iter().any(|path| path.starts_with(b"/a/log/")));

    let tree = read(&source, &Options { excluded: &|path| path == b"/a", ..PLAIN }, &()).unwrap();
    assert_eq!((tree.files.len(), tree.excluded), (0, vec![b"/a".to_vec()]));
}

#[test]
fn the_output_file_is_never_listed() {
    let (_scratch, dir) = scratch();
    fs::write(dir.join("output"), "").unwrap();
    fs::write(dir.join("other"), "").unwrap();
    let never = [FileIdentity::from(&fs::metadata(dir.join("output")).unwrap())];
    let tree = read(&[at("/", &dir)], &Options { never: &never, ..PLAIN }, &()).unwrap();
    assert_eq!(paths(&tree), ["/other"]);
}

#[test]
fn code_is_told_by_mode_name_or_first_bytes() {
    let (_scratch, dir) = scratch();
    let code: &[(&str, &[u8])] = &[
        ("library.so", b"\x7fELF\x02"),
        ("script", b"#!/bin/sh"),
        ("m.ko", b""),
        ("m.ko.gz", b""),
        ("m.ko.xz", b""),
        ("m.ko.zst", b""),
        ("executable", b"text"),
    ];
    let data: &[(&str, &[u8])] =
        &[("text", b"text"), ("empty", b""), ("short", b"\x7fEL"), ("m.ko.bz2", b""), ("ko", b""), ("late", b" #!")];
    for (name, content) in code.iter().chain(data) {
        fs::write(dir.join(name), content).unwrap();
    }
    fs::write(dir.join("large"), vec![b'x'; 1 << 20]).unwrap();
    fs::set_permissions(dir.join("executable"), fs::Permissions::from_mode(0o610)).unwrap();
    // An inode is code under all its names.
    fs::hard_link(dir.join("m.ko"), dir.join("linked")).unwrap();

    let tree = read(&[at("/", &dir)], &Options { scope: Scope::Code, ..PLAIN }, &()).unwrap();
    let mut expected: Vec<String> = code.iter().map(|(name, _)| format!("/{name}")).collect();
    expected.push("/linked".to_owned());
    expected.sort();
    assert_eq!(paths(&tree), expected);
    assert_eq!(tree.not_code, data.len() as u64 + 1);
    for (name, content) in code {
        let file = tree.files.iter().find(|file| file.path == format!("/{name}").as_bytes()).unwrap();
        assert_eq!(file.digests, sha256(content));
    }
}

/// Does something to a file when the walk is over, and each time that some bytes were read.
struct Meddling<'a> {
    found: &'a (dyn Fn() + Sync),
    bytes: &'a (dyn Fn() + Sync),
}

impl Progress for Meddling<'_> {
    fn found(&self, _: u64, _: u64) {
        (self.found)();
    }
    fn bytes(&self, _: u64) {
        (self.bytes)();
    }
    fn content(&self) {}
}

fn append(path: &Path) {
    File::options().append(true).open(path).unwrap().write_all(b"+").unwrap();
}

#[test]
fn a_file_that_changes_once_is_read_again() {
    let (_scratch, dir) = scratch();
    let file = dir.join("log");
    for len in [4, 300_000] {
        fs::write(&file, vec![b'x'; len]).unwrap();
        let changes = AtomicU64::new(0);
        let once = || {
            if changes.fetch_add(1, Ordering::Relaxed) == 0 {
                append(&file);
            }
        };
        let tree = read(&[at("/", &dir)], &PLAIN, &Meddling { found: &|| (), bytes: &once }).unwrap();
        assert_eq!(tree.files[0].digests, sha256(&fs::read(&file).unwrap()));
        assert_eq!(tree.counts[0].bytes, len as u64 + 1);
    }
}

#[test]
fn a_file_that_keeps_changing_is_an_error() {
    let (_scratch, dir) = scratch();
    let file = dir.join("log");
    let open = || File::options().write(true).open(&file).unwrap();
    let grows = || append(&file);
    let shrinks = || open().set_len(fs::metadata(&file).unwrap().len() - 1).unwrap();
    let count = AtomicU64::new(0);
    // Same size; the time is set, because two writes may fall into one tick of the clock that stamps files.
    let rewritten = || {
        open().write_all(b"other").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(count.fetch_add(1, Ordering::Relaxed));
        open().set_times(FileTimes::new().set_modified(time)).unwrap();
    };
    let changes: [&(dyn Fn() + Sync); 3] = [&grows, &shrinks, &rewritten];
    for bytes in changes {
        for len in [100, 300_000] {
            fs::write(&file, vec![b'x'; len]).unwrap();
            let progress = Meddling { found: &|| (), bytes };
            let error = read(&[at("/", &dir)], &PLAIN, &progress).unwrap_err();
            let first = gap("/log", &file, Reason::Changed);
            assert_eq!(error, Error::Incomplete { first: first.clone(), others: 0 });
            let tree = read(&[at("/", &dir)], &KEEP_GOING, &progress).unwrap();
            assert_eq!((tree.files, tree.gaps), (vec![], vec![first]));
        }
    }
}

/// What a file became between the walk and the reading.
fn after_the_walk(meddle: impl Fn(&Path) + Sync) -> Result<Tree, Error> {
    let (_scratch, dir) = scratch();
    let file = dir.join("file");
    fs::write(&file, "before").unwrap();
    let found = || {
        fs::remove_file(&file).unwrap();
        meddle(&file);
    };
    read(&[at("/", &dir)], &PLAIN, &Meddling { found: &found, bytes: &|| () })
}

#[test]
fn a_name_that_leads_elsewhere_after_the_walk() {
    let reason = |result| match result {
        Err(Error::Incomplete { first, others: 0 }) if first.path == b"/file" => first.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(after_the_walk(|_| ())), Reason::Unreadable(Errno::NOENT.raw_os_error()));
    assert_eq!(reason(after_the_walk(|file| symlink("/etc/passwd", file).unwrap())), Reason::NotRegular);
    assert_eq!(reason(after_the_walk(|file| fs::create_dir(file).unwrap())), Reason::NotRegular);
    // Nobody ever writes into it: opening it must not wait.
    let fifo = |file: &Path| assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
    assert_eq!(reason(after_the_walk(fifo)), Reason::NotRegular);
    let tree = after_the_walk(|file| fs::write(file, "after").unwrap()).unwrap();
    assert_eq!(tree.files[0].digests, sha256(b"after"));
}

#[test]
fn a_hard_link_that_is_replaced_spoils_all_its_names() {
    let (_scratch, dir) = scratch();
    let [a, b] = ["a", "b"].map(|name| dir.join(name));
    fs::write(&a, "before").unwrap();
    fs::hard_link(&a, &b).unwrap();
    let found = || {
        fs::write(dir.join("new"), "after").unwrap();
        fs::rename(dir.join("new"), &a).unwrap();
    };
    let tree = read(&[at("/", &dir)], &KEEP_GOING, &Meddling { found: &found, bytes: &|| () }).unwrap();
    assert_eq!((tree.files, tree.gaps), (vec![], vec![gap("/a", &a, Reason::Changed), gap("/b", &b, Reason::Changed)]));
}

#[test]
fn paths_too_long() {
    let (_scratch, dir) = scratch();
    fs::write(dir.join("fits"), "").unwrap();
    fs::write(dir.join("too long"), "").unwrap();
    let mut target = "/0123456".repeat(path::MAX_PATH_LEN / 8);
    target.push_str(&"x".repeat(path::MAX_PATH_LEN - "/fits".len() - target.len()));
    let tree = read(&[at(&target, &dir)], &KEEP_GOING, &()).unwrap();
    assert_eq!(paths(&tree), [format!("{target}/fits")]);
    assert_eq!(tree.gaps, [gap(&format!("{target}/too long"), &dir.join("too long"), Reason::PathTooLong)]);

    // Deeper than this machine's own paths reach.
    let mut folder = File::open(&dir).unwrap().into();
    let name = "d".repeat(255);
    for _ in 0..=path::MAX_PATH_LEN / 256 {
        mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = openat(&folder, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let error = read(&[at("/", &dir)], &PLAIN, &()).unwrap_err();
    let Error::Incomplete { first, others: 0 } = error else { panic!("{error:?}") };
    assert_eq!(first.reason, Reason::Unreadable(Errno::NAMETOOLONG.raw_os_error()));
    assert!(first.path.len() > 3_500);
}

#[test]
fn sources_that_cannot_be() {
    let (_scratch, dir) = scratch();
    let missing = dir.join("missing");
    let error = Error::Source { path: missing.clone(), errno: Errno::NOENT };
    assert_eq!(Source::path(&missing), Err(error.clone()));
    assert_eq!(Source::root(&missing), Err(error.clone()));
    assert_eq!(Source::at(b"/x", &missing), Err(error));
    symlink("loop", dir.join("loop")).unwrap();
    assert_eq!(Source::path(&dir.join("loop")), Err(Error::Source { path: dir.join("loop"), errno: Errno::LOOP }));

    fs::write(dir.join("file"), "").unwrap();
    let not_a_folder = Err(Error::NotAFolder { path: dir.join("file") });
    assert_eq!(Source::root(&dir.join("file")), not_a_folder);
    assert_eq!(Source::at(b"/", &dir.join("file")), not_a_folder);
    let _socket = UnixListener::bind(dir.join("socket")).unwrap();
    assert_eq!(Source::path(&dir.join("socket")), Err(Error::NotRegular { path: dir.join("socket") }));
    for target in ["", "opt", "/opt/", "/opt/../etc", "//opt"] {
        assert_eq!(Source::at(target.as_bytes(), &dir), Err(Error::Target { target: target.as_bytes().to_vec() }));
    }

    let gone = at("/gone", &dir.join("file"));
    fs::remove_file(dir.join("file")).unwrap();
    let first = gap("/gone", &dir.join("file"), Reason::Unreadable(Errno::NOENT.raw_os_error()));
    assert_eq!(read(&[gone], &PLAIN, &()), Err(Error::Incomplete { first, others: 0 }));
}

#[test]
fn a_file_that_looks_like_an_initramfs() {
    let (_scratch, dir) = scratch();
    let edge = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/initramfs-edge");
    let edge = |name: &str| fs::read(Path::new(edge).join(name)).unwrap();
    let (gzip, xz) = (edge("comp-gzip.img"), edge("comp-xz.img"));
    let mut text = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    text.write_all(b"not an archive").unwrap();
    let text = text.finish().unwrap();
    let images: &[(&str, &[u8])] =
        &[("whatever", b"0707010000"), ("checksums", b"0707020000"), ("gzip", &gzip), ("xz", &xz)];
    let others: &[(&str, &[u8])] =
        &[("initrd.gz", b"\x1f\x8b\x08"), ("disk.img", b"\0\0"), ("initrd", b""), ("s", b"07070"), ("text.gz", &text)];
    let mut sources = Vec::new();
    for (name, content) in images.iter().chain(others) {
        fs::write(dir.join(name), content).unwrap();
        sources.push(at(&format!("/{name}"), &dir.join(name)));
    }
    let mut expected: Vec<_> = images.iter().map(|(name, _)| format!("/{name}").into_bytes()).collect();
    expected.sort();
    assert_eq!(read(&sources, &PLAIN, &()).unwrap().lookalikes, expected);
    // In a folder it is one of the files of the machine.
    assert_eq!(read(&[at("/", &dir)], &PLAIN, &()).unwrap().lookalikes, Vec::<Vec<u8>>::new());
}

/// Runs this test again in a child process as `prepare` makes it; the child finds `dir` in the environment.
fn in_child(test: &str, dir: &Path, prepare: impl FnOnce(&Path) -> Command) {
    // The place of the test binary may be closed to the child.
    let binary = dir.join("test-binary");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let name = format!("tree::tests::{test}");
    let output = prepare(&binary).args(["--exact", &name, "--nocapture"]).env(CHILD, dir).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

const CHILD: &str = "GOLDSEAL_TEST_CHILD";

#[test]
fn unreadable_files_and_folders() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let tree = Path::new(&dir).join("tree");
        let denied = Reason::Unreadable(Errno::ACCESS.raw_os_error());
        let source = [at("/", &tree)];
        let read_all = read(&source, &KEEP_GOING, &()).unwrap();
        assert_eq!(paths(&read_all), ["/readable"]);
        let gaps = ["closed", "file", "zfile"].map(|name| gap(&format!("/{name}"), &tree.join(name), denied));
        assert_eq!(read_all.gaps, gaps);
        // The walk alone shows that the list would not be complete.
        let error = read(&source, &PLAIN, &()).unwrap_err();
        assert_eq!(error, Error::Incomplete { first: gaps[0].clone(), others: 0 });
        fs::remove_dir(tree.join("closed")).unwrap();
        let error = read(&source, &PLAIN, &()).unwrap_err();
        assert_eq!(error, Error::Incomplete { first: gaps[1].clone(), others: 1 });
        assert_eq!(
            error.to_string(),
            format!("{}: permission denied, and 1 other could not be read", tree.join("file").display())
        );
        // What is excluded need not be readable.
        let excluded = Options { excluded: &|path| path.ends_with(b"file"), ..PLAIN };
        assert_eq!(paths(&read(&source, &excluded, &()).unwrap()), ["/readable"]);
        return;
    }
    let (_scratch, dir) = scratch();
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("closed")).unwrap();
    for name in ["file", "zfile", "readable"] {
        fs::write(tree.join(name), name).unwrap();
    }
    for (name, mode) in [("", 0o777), ("closed", 0), ("file", 0), ("zfile", 0)] {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    in_child("unreadable_files_and_folders", &dir, |binary| {
        let mut command = Command::new(binary);
        // Root reads everything, so it becomes someone else.
        if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        command
    });
}

#[test]
fn mount_points_are_named_and_not_entered() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let tree = Path::new(&dir).join("tree");
        let one = read(&[at("/", &tree)], &PLAIN, &()).unwrap();
        assert_eq!(paths(&one), ["/file"]);
        assert_eq!(one.mount_points, [&b"/bound"[..], b"/mounted"]);
        let all = read(&[at("/", &tree)], &Options { cross_filesystems: true, ..PLAIN }, &()).unwrap();
        assert_eq!(paths(&all), ["/bound", "/file", "/mounted/inside"]);
        assert!(all.mount_points.is_empty());
        // A source of its own is not left out.
        let two = read(&[at("/", &tree), at("/mounted", &tree.join("mounted"))], &PLAIN, &()).unwrap();
        assert_eq!(paths(&two), ["/file", "/mounted/inside"]);
        assert_eq!(two.mount_points, [b"/bound"]);
        // An exclude takes it before anybody looks at it.
        let excluded = Options { excluded: &|path| path == b"/mounted", ..PLAIN };
        assert_eq!(read(&[at("/", &tree)], &excluded, &()).unwrap().mount_points, [b"/bound"]);
        return;
    }
    let unshare = ["--mount", "--user", "--map-root-user"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this machine permits no mount namespace");
        return;
    }
    let (_scratch, dir) = scratch();
    fs::create_dir_all(dir.join("tree/mounted")).unwrap();
    fs::write(dir.join("tree/file"), "file").unwrap();
    fs::write(dir.join("tree/bound"), "below the mount").unwrap();
    in_child("mount_points_are_named_and_not_entered", &dir, |binary| {
        let script = r#"
            mount -t tmpfs none "$1/tree/mounted" && echo inside > "$1/tree/mounted/inside" &&
            mount --bind "$1/tree/mounted/inside" "$1/tree/bound" && shift && exec "$@""#;
        let mut command = Command::new("unshare");
        command.args(unshare).args(["sh", "-c", script, "sh"]).arg(&dir).arg(binary);
        command
    });
}
