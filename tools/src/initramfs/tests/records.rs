//! The rules of `init/initramfs.c` for records and names, one by one.

use super::archive::{Record, archive, directory, fifo, file, linked, symlink, trailer};
use super::*;

#[test]
fn what_the_cpio_crate_writes() {
    let mut image = Vec::new();
    for (name, mode, body) in [("bin", 0o040755, ""), ("bin/sh", 0o100755, "#!"), ("bin/empty", 0o100644, "")] {
        let mut writer = ::cpio::newc::Builder::new(name).mode(mode).write(&mut image, body.len() as u32);
        std::io::Write::write_all(&mut writer, body.as_bytes()).unwrap();
        writer.finish().unwrap();
    }
    ::cpio::newc::trailer(&mut image).unwrap();
    let unpacked = assert_files(&image, &[("/bin/empty", ""), ("/bin/sh", "#!")]);
    assert_eq!(unpacked.warnings, []);
    let expected = Segment { offset: 0, compression: Compression::None, unpacked: image.len() as u64, entries: 4 };
    assert_eq!(unpacked.segments, [expected]);
}

#[test]
fn all_algorithms_in_the_order_asked_for() {
    let image = archive(&[file("a", "abc")]);
    let algorithms = [HashAlgorithm::Sha512, HashAlgorithm::Sha1];
    let files = read(&image, &algorithms, &Limits::default(), &|_| {}).unwrap().files;
    let digests: Vec<HashAlgorithm> = files[0].digests.iter().map(|digest| digest.algorithm()).collect();
    assert_eq!(digests, algorithms);
    assert_eq!(files[0].digests[1].to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

#[test]
fn spellings_of_one_name() {
    let records =
        [directory("d"), file("./d/a", "1"), file("/d//a", "2"), file("//..//d/./a", "3"), file("d/../b", "4")];
    assert_files(&archive(&records), &[("/b", "4"), ("/d/a", "3")]);
}

#[test]
fn names_are_bytes() {
    let odd = Record { name: b"\xff\n\x1b\\\0".to_vec(), ..file("", "x") };
    let files = unpack(&archive(&[odd])).unwrap().files;
    assert_eq!(files[0].path, b"/\xff\n\x1b\\");
}

#[test]
fn parents_may_be_symbolic_links() {
    let records = [
        directory("usr"),
        directory("usr/bin"),
        symlink("bin", "usr/bin"),
        symlink("abs", "/usr/./bin/"),
        symlink("usr/up", "../bin"),
        file("bin/sh", "1"),
        file("abs/b", "2"),
        file("usr/up/c", "3"),
    ];
    assert_files(&archive(&records), &[("/usr/bin/b", "2"), ("/usr/bin/c", "3"), ("/usr/bin/sh", "1")]);
}

#[test]
fn a_file_replaces_a_link_and_not_its_target() {
    let records = [file("a", "1"), symlink("b", "a"), file("b", "2")];
    assert_files(&archive(&records), &[("/a", "1"), ("/b", "2")]);
}

/// Linux looks the name up again after it has cleared its place.
#[test]
fn a_name_that_leads_over_the_link_it_replaces() {
    let records = [directory("d"), symlink("d/l", "."), file("d/l/l", "1"), file("z", "2")];
    let unpacked = assert_files(&archive(&records), &[("/z", "2")]);
    assert_eq!(skips(&unpacked), [("d/l/l", Skip::MissingParent)]);
}

#[test]
fn a_link_replaces_a_file_and_a_directory_a_link() {
    let records =
        [directory("d"), file("d/a", "1"), symlink("l", "d"), directory("l"), file("l/b", "2"), symlink("d/a", "x")];
    assert_files(&archive(&records), &[("/l/b", "2")]);
}

#[test]
fn an_empty_directory_is_replaced_and_another_stays() {
    let records = [directory("empty"), file("empty", "1"), directory("full"), file("full/a", "2"), file("full", "3")];
    let unpacked = assert_files(&archive(&records), &[("/empty", "1"), ("/full/a", "2")]);
    assert_eq!(skips(&unpacked), [("full", Skip::InTheWay)]);
}

#[test]
fn every_kernel_begins_with_dev_and_root() {
    let records = [file("dev/a", "1"), file("root/b", "2"), fifo("dev/console")];
    assert_files(&archive(&records), &[("/dev/a", "1"), ("/root/b", "2")]);
}

#[test]
fn a_name_that_leads_nowhere_is_skipped() {
    let long = "n".repeat(256);
    let cases = [
        (file("missing/a", "1"), Skip::MissingParent),
        (file("f/a", "1"), Skip::NotADirectory),
        (file("loop/a", "1"), Skip::TooManyLinks),
        (file(&long, "1"), Skip::ComponentTooLong),
        (file("d/.", "1"), Skip::InTheWay),
        (file("new/", "1"), Skip::InTheWay),
        (symlink("d", "x"), Skip::InTheWay),
        (directory("f/d"), Skip::NotADirectory),
        (Record { mode: 0o130644, ..file("odd", "") }, Skip::UnknownType(0o130644)),
        (Record { body: vec![b'x'], ..directory("d") }, Skip::Body),
        (symlink("l", &"x".repeat(4_097)), Skip::TargetSize(4_097)),
        (Record { name: vec![], ..file("", "1") }, Skip::NameSize(0)),
        (file(&"n".repeat(4_096), "1"), Skip::NameSize(4_097)),
    ];
    for (record, why) in cases {
        let name = String::from_utf8_lossy(&record.name).trim_end_matches('\0').to_owned();
        let name = if matches!(why, Skip::NameSize(_)) { String::new() } else { name };
        let records =
            [file("f", "0"), symlink("loop", "loop"), directory("d"), file("d/x", ""), record, file("z", "9")];
        let unpacked = assert_files(&archive(&records), &[("/d/x", ""), ("/f", "0"), ("/z", "9")]);
        assert_eq!(skips(&unpacked), [(&*name, why)]);
    }
}

#[test]
fn forty_links_are_followed_and_not_one_more() {
    let mut records = vec![directory("0")];
    for n in 1..=41 {
        records.push(symlink(&n.to_string(), &(n - 1).to_string()));
    }
    records.extend([file("40/a", "1"), file("41/b", "2")]);
    let unpacked = assert_files(&archive(&records), &[("/0/a", "1")]);
    assert_eq!(skips(&unpacked), [("41/b", Skip::TooManyLinks)]);
}

#[test]
fn an_unknown_type_clears_its_place() {
    let records = [file("a", "1"), Record { mode: 0, ..file("a", "") }];
    assert_files(&archive(&records), &[]);
}

#[test]
fn hard_links_share_the_last_body() {
    let records = [linked("a", 7, "first"), linked("b", 7, ""), linked("c", 7, "last"), linked("d", 7, "")];
    let body = "last";
    assert_files(&archive(&records), &[("/a", body), ("/b", body), ("/c", body), ("/d", body)]);
}

#[test]
fn rewriting_one_name_rewrites_the_others() {
    let records = [linked("a", 7, "1"), linked("b", 7, ""), trailer(), file("a", "2")];
    assert_files(&archive(&records), &[("/a", "2"), ("/b", "2")]);
    let emptied = [linked("a", 7, "1"), linked("b", 7, ""), file("b", "")];
    assert_files(&archive(&emptied), &[("/a", ""), ("/b", "")]);
}

#[test]
fn a_trailer_ends_hard_links_and_nothing_else() {
    let records = [linked("a", 7, "1"), trailer(), linked("b", 7, "2"), trailer(), file("c", "3")];
    assert_files(&archive(&records), &[("/a", "1"), ("/b", "2"), ("/c", "3")]);
    let with_body = [linked("a", 7, "1"), Record { body: vec![0], ..trailer() }, linked("b", 7, "")];
    assert_files(&archive(&with_body), &[("/a", "1"), ("/b", "1")]);
}

#[test]
fn hard_links_need_the_same_inode_and_type_and_two_links() {
    let records = [
        linked("a", 7, "1"),
        linked("other-ino", 8, "2"),
        Record { links: 1, ..linked("one-link", 7, "3") },
        Record { ino: 7, links: 2, ..fifo("fifo") },
        linked("b", 7, ""),
    ];
    assert_files(&archive(&records), &[("/a", "1"), ("/b", "1"), ("/one-link", "3"), ("/other-ino", "2")]);
}

#[test]
fn a_hard_link_is_made_to_what_stands_there_now() {
    // The name was given to another file in between.
    let replaced = [linked("a", 7, "1"), symlink("a", "x"), file("a", "2"), linked("b", 7, "")];
    assert_files(&archive(&replaced), &[("/a", "2"), ("/b", "2")]);
    // A FIFO is linked to what has become a file.
    let fifo_first =
        [Record { ino: 7, links: 2, ..fifo("p") }, file("p", "1"), Record { ino: 7, links: 2, ..fifo("q") }];
    assert_files(&archive(&fifo_first), &[("/p", "1"), ("/q", "1")]);
    // A symbolic link: what is written goes through it.
    let through = [linked("a", 7, "1"), file("t", "2"), symlink("a", "t"), linked("b", 7, "3")];
    assert_files(&archive(&through), &[("/t", "3")]);
}

#[test]
fn a_hard_link_whose_first_name_is_gone_is_lost() {
    // Linux removes the name before it links to it.
    let itself = assert_files(&archive(&[linked("a", 7, "1"), linked("a", 7, "2")]), &[]);
    assert_eq!(skips(&itself), [("a", Skip::LostLink)]);
    // The first name is remembered even if it led nowhere.
    let nowhere = assert_files(&archive(&[linked("no/a", 7, "1"), linked("b", 7, "2")]), &[]);
    assert_eq!(skips(&nowhere), [("no/a", Skip::MissingParent), ("b", Skip::LostLink)]);
}

#[test]
fn sums_are_verified() {
    let good = Record { magic: "070702", sum: 3 * 255, ..file("a", "") };
    let good = Record { body: vec![255; 3], ..good };
    assert!(unpack(&archive(std::slice::from_ref(&good))).is_ok());
    let bad = archive(&[Record { sum: 1, ..good }]);
    assert_eq!(unpack(&bad), Err(Error::Checksum { at: at(0), expected: 1, found: 765 }));
    // Without the format that has sums, the field means nothing.
    assert!(unpack(&archive(&[Record { sum: 1, ..file("a", "x") }])).is_ok());
}

#[test]
fn broken_records_are_refused() {
    let good = archive(&[file("name", "12345")]);
    let with = |offset: usize, byte: u8| {
        let mut image = good.clone();
        image.extend(good.clone());
        image[good.len() + offset] = byte;
        unpack(&image)
    };
    let at = at(good.len() as u64);
    assert_eq!(with(5, b'7'), Err(Error::NoCpioMagic { at, found: *b"070707" }));
    assert_eq!(with(6, b'g'), Err(Error::NotHex { at, field: "ino" }));
    assert_eq!(with(6, b' '), Err(Error::NotHex { at, field: "ino" }));
    assert_eq!(with(109, b'x'), Err(Error::NotHex { at, field: "check" }));
    assert_eq!(with(114, b'x'), Err(Error::NameNotTerminated { at }));
    assert!(with(111, 0).is_ok(), "a name ends at its first NUL");
}

#[test]
fn every_truncation_of_a_record_is_refused() {
    let good = archive(&[file("first", "1"), file("name", "12345")]);
    let first = archive(&[file("first", "1")]).len();
    for length in first + 1..good.len() {
        let part = match length - first {
            0..110 => "header",
            110..116 => "name",
            116..121 => "body",
            _ => "padding",
        };
        let expected = Error::Truncated { at: at(first as u64), part };
        assert_eq!(unpack(&good[..length]), Err(expected), "{length} bytes");
    }
    assert!(unpack(&good[..first]).is_ok());
}

#[test]
fn padding_between_records() {
    let a = archive(&[file("a", "1")]);
    let b = archive(&[file("b", "2")]);
    let with_zeros = |count| [&a[..], &vec![0; count], &b].concat();
    assert_files(&with_zeros(512), &[("/a", "1"), ("/b", "2")]);
    let end = a.len() as u64 + 3;
    assert_eq!(unpack(&with_zeros(3)), Err(Error::BrokenPadding { at: at(end) }));
}

#[test]
fn junk_is_refused() {
    let a = archive(&[file("a", "1")]);
    let end = a.len() as u64;
    let behind = |junk: &[u8]| unpack(&[&a, junk].concat());
    assert_eq!(behind(b"JUNK"), Err(Error::UnknownMagic { at: end, magic: *b"JU" }));
    assert_eq!(behind(b"\x04\x22\x4d\x18"), Err(Error::UnknownMagic { at: end, magic: [0x04, 0x22] }));
    assert_eq!(behind(b"J"), Err(Error::UnknownMagic { at: end, magic: [b'J', 0] }));
    assert_eq!(unpack(&[b"\0\0", &a[..]].concat()), Err(Error::UnknownMagic { at: 2, magic: *b"07" }));
    assert_eq!(unpack(b""), Err(Error::Empty));
}

#[test]
fn limits_hold() {
    let image = archive(&[directory("d"), file("d/a", "1"), file("d/b", "2")]);
    let with = |limits: Limits| read(&image, &[HashAlgorithm::Sha256], &limits, &|_| {}).map(drop);
    let beyond = |at, limit| Err(Error::Limit { at, limit });
    let second = at(archive(&[directory("d")]).len() as u64);
    let exact = Limits { records: 3, segments: 1, lookups: 5, path_bytes: 2 + 4 + 4, ..Limits::default() };
    // `/dev`, `/dev/console` and `/root` count as paths too.
    let exact = Limits { path_bytes: exact.path_bytes + 4 + 12 + 5, ..exact };
    assert_eq!(with(exact.clone()), Ok(()));
    assert_eq!(with(Limits { records: 1, ..exact.clone() }), beyond(second, Limit::Records));
    assert_eq!(with(Limits { lookups: 2, ..exact.clone() }), beyond(second, Limit::Lookups));
    assert_eq!(with(Limits { segments: 0, ..exact.clone() }), beyond(at(0), Limit::Segments));
    assert_eq!(with(Limits { path_bytes: exact.path_bytes - 1, ..exact }), beyond(at(0), Limit::PathBytes));
}

#[test]
fn a_path_that_no_list_can_hold_is_refused() {
    // Each name is short; only the folders that the links lead to lie deep.
    let mut records = vec![directory("0")];
    let folder = "d".repeat(255);
    for n in 0..16 {
        records.push(directory(&format!("{n}/{folder}")));
        records.push(symlink(&(n + 1).to_string(), &format!("{n}/{folder}")));
    }
    let image = archive(&records);
    assert!(matches!(unpack(&image), Err(Error::Limit { limit: Limit::PathLength, .. })), "{:?}", unpack(&image));
    assert!(unpack(&archive(&records[..records.len() - 2])).is_ok());
}

#[test]
fn warnings_are_bounded() {
    let records = vec![file("no/a", "1"); 1_003];
    let warnings = unpack(&archive(&records)).unwrap().warnings;
    assert_eq!(warnings.len(), 1_001);
    assert_eq!(warnings.last(), Some(&Warning::More { count: 3 }));
}

#[test]
fn files_that_hide_files_are_named() {
    let erofs = [&[0; 1024][..], &[0xe2, 0xe1, 0xf5, 0xe0]].concat();
    let records = [
        directory("squash"),
        file("a", "hsqs\u{1}"),
        Record { body: erofs, ..file("b", "") },
        file("squash/root.img", "packed"),
        file("c", "hsqs"),
        file("c", "overwritten"),
        file("d", "not hsqs"),
    ];
    let hides = |path: &str, filesystem| Warning::Hides { path: path.into(), filesystem };
    assert_eq!(
        unpack(&archive(&records)).unwrap().warnings,
        [
            hides("/a", Filesystem::Squashfs),
            hides("/b", Filesystem::Erofs),
            hides("/squash/root.img", Filesystem::ByName),
        ]
    );
}

fn at(image: u64) -> Position {
    Position { image, unpacked: None }
}

fn skips(unpacked: &Unpacked) -> Vec<(&str, Skip)> {
    let skip = |warning| match warning {
        &Warning::Skipped { ref name, why, .. } => (std::str::from_utf8(name).unwrap(), why),
        other => panic!("{other:?}"),
    };
    unpacked.warnings.iter().map(skip).collect()
}
