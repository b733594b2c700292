//! The decompressors, fed by other people's compressors.

use std::io::Write;
use std::process::{Command, Stdio};

use liblzma::stream::{Check, Stream};

use super::archive::{archive, directory, file, trailer};
use super::*;

/// Every compression stops at the end of its stream, and what lies behind is read.
#[test]
fn a_segment_of_each_compression_and_one_behind() {
    let big: String = (0..200_000).map(|n: u32| format!("{n:x}")).collect();
    let first = archive(&[directory("d"), file("d/a", "1"), file("big", &big), trailer()]);
    let second = archive(&[file("d/b", "2")]);
    for compression in ALL {
        let stream = compress(compression, &first);
        for behind in [Compression::None].into_iter().chain(ALL) {
            if compression == Compression::Lz4 && behind == Compression::Lz4 {
                continue;
            }
            let mut image = stream.clone();
            // lz4's end is marked by a zero word; an uncompressed archive begins at a multiple of 4.
            image.resize((image.len() + 4).next_multiple_of(4), 0);
            let offset = image.len() as u64;
            image.extend(if behind == Compression::None { second.clone() } else { compress(behind, &second) });
            let unpacked = assert_files(&image, &[("/big", &big), ("/d/a", "1"), ("/d/b", "2")]);
            let expected = [
                Segment { offset: 0, compression, unpacked: first.len() as u64, entries: 4 },
                Segment { offset, compression: behind, unpacked: second.len() as u64, entries: 1 },
            ];
            assert_eq!(unpacked.segments, expected, "{compression}, then {behind}");
            assert!(looks_like_initramfs(&image), "{compression}");
        }
    }
}

/// Without any padding between them.
#[test]
fn a_stream_right_behind_a_stream() {
    for compression in ALL {
        if compression == Compression::Lz4 {
            continue;
        }
        let parts = [archive(&[file("a", "1")]), archive(&[file("b", "2")])];
        let image = parts.map(|part| compress(compression, &part)).concat();
        assert_files(&image, &[("/a", "1"), ("/b", "2")]);
    }
    // lz4 would take the next stream for a block; but its own magic number may return.
    let parts = [archive(&[file("a", "1")]), archive(&[file("b", "2")])];
    let image = parts.map(|part| compress(Compression::Lz4, &part)).concat();
    assert_eq!(assert_files(&image, &[("/a", "1"), ("/b", "2")]).segments.len(), 1);
}

#[test]
fn every_truncation_of_a_stream_is_refused() {
    let plain = archive(&[file("a", "some text, some text, some text"), file("b", "2")]);
    for compression in ALL {
        let stream = compress(compression, &plain);
        for length in 2..stream.len() {
            match unpack(&stream[..length]) {
                Err(Error::Stream { at: 0, fault: StreamFault::Truncated, .. }) => {}
                other => panic!("{compression}, {length} of {} bytes: {other:?}", stream.len()),
            }
        }
        assert!(unpack(&stream).is_ok());
    }
}

#[test]
fn a_wrong_checksum_is_refused() {
    let text: String = (0..5_000).map(|n: u32| format!("{n:x}")).collect();
    let plain = archive(&[file("a", &text)]);
    for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Lzo, Compression::Zstd] {
        let mut stream = compress(compression, &plain);
        // Behind the data, there is the checksum; lzo has it in front of the only block.
        let at = match compression {
            Compression::Gzip => stream.len() - 8,
            Compression::Bzip2 => stream.len() - 2,
            Compression::Zstd => stream.len() - 1,
            Compression::Xz => stream.len() - 12 - 8 - 1,
            _ => lzo_checksum(&stream, plain.len()),
        };
        stream[at] ^= 0x10;
        match unpack(&stream) {
            Err(Error::Stream { fault: StreamFault::Damaged { .. }, .. }) => {}
            other => panic!("{compression}: {other:?}"),
        }
    }
}

#[test]
fn what_only_other_decoders_read_is_refused() {
    let plain = archive(&[file("a", "1")]);
    let for_linux = |image: &[u8]| match unpack(image) {
        Err(Error::Stream { fault: StreamFault::NotForLinux { .. }, .. }) => false,
        Ok(_) => true,
        other => panic!("{other:?}"),
    };
    assert!(!for_linux(&xz(&plain, Check::Crc64)));
    assert!(!for_linux(&xz(&plain, Check::Sha256)));
    assert!(for_linux(&xz(&plain, Check::None)));
    let gzip = |builder: flate2::GzBuilder| {
        let mut encoder = builder.write(Vec::new(), flate2::Compression::default());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    assert!(for_linux(&gzip(flate2::GzBuilder::new().filename("name"))));
    assert!(!for_linux(&gzip(flate2::GzBuilder::new().comment("comment"))));
    assert!(!for_linux(&gzip(flate2::GzBuilder::new().extra(*b"extra"))));
    assert!(!for_linux(b"\x1f\x9e\x08\0\0\0\0\0\0\0\0\0"));
    assert!(!for_linux(&tool("lzop", &["-F", "-c"], &plain)));
    assert!(!for_linux(&tool("lzop", &["-CC", "-c"], &plain)));
    assert!(for_linux(&tool("lzop", &["-9", "-c"], &plain)));
    assert!(for_linux(&tool("lzop", &["--crc32", "-c"], &plain)));
    // The modern frame of lz4 has another magic number.
    assert!(matches!(unpack(&tool("lz4", &["-c"], &plain)), Err(Error::UnknownMagic { magic: [0x04, 0x22], .. })));
}

#[test]
fn lzma_with_a_known_size_and_without_an_end_marker() {
    let plain = archive(&[file("a", "1")]);
    // As LZMA utils and 7-Zip write them: the size stands in the header instead of 2^64-1.
    let mut stream = compress(Compression::Lzma, &plain);
    assert_eq!(stream[5..13], [0xff; 8]);
    stream[5..13].copy_from_slice(&(plain.len() as u64).to_le_bytes());
    assert_files(&stream, &[("/a", "1")]);
}

#[test]
fn a_window_beyond_the_limit_is_refused() {
    let plain = archive(&[file("a", &"text ".repeat(1_000_000))]);
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(23).unwrap();
    encoder.write_all(&plain).unwrap();
    for (stream, name) in
        [(encoder.finish().unwrap(), "zstd"), (xz(&plain, Check::Crc32), "xz"), (lzma(&plain), "lzma")]
    {
        let with = |window| read(&stream, &[], &Limits { window, ..Limits::default() }, &|_| {}).map(drop);
        assert_eq!(with(8 << 20), Ok(()), "{name}");
        assert!(matches!(with(4 << 20), Err(Error::Stream { fault: StreamFault::Damaged { .. }, .. })), "{name}");
    }
}

#[test]
fn the_unpacked_size_is_bounded() {
    let plain = archive(&[file("a", &"\0".repeat(1_000_000))]);
    for compression in ALL {
        let stream = [compress(compression, &plain), vec![0; 4], compress(Compression::Gzip, &plain)].concat();
        let with = |unpacked| read(&stream, &[], &Limits { unpacked, ..Limits::default() }, &|_| {}).map(drop);
        let size = plain.len() as u64;
        assert_eq!(with(size * 2), Ok(()), "{compression}");
        for limit in [size - 1, size * 2 - 1] {
            let result = with(limit);
            assert!(
                matches!(result, Err(Error::Stream { fault: StreamFault::TooLarge, .. })),
                "{compression}: {result:?}"
            );
        }
    }
}

#[test]
fn places_in_a_stream_count_what_is_unpacked() {
    let good = archive(&[file("a", "1")]);
    let end = Position { image: 4, unpacked: Some(good.len() as u64) };
    let with = |behind: &[u8]| unpack(&[&[0; 4][..], &compress(Compression::Zstd, &[&good, behind].concat())].concat());
    assert_eq!(with(b"070707"), Err(Error::NoCpioMagic { at: end, found: *b"070707" }));
    assert_eq!(with(b"JUNK"), Err(Error::Junk { at: end }));
    assert_eq!(with(b"0"), Err(Error::Truncated { at: end, part: "header" }));
    let broken = Position { unpacked: Some(good.len() as u64 + 1), ..end };
    assert_eq!(with(b"\x000"), Err(Error::BrokenPadding { at: broken }));
}

/// `unpack_to_rootfs` begins in the state Start: zeros are passed over only behind a record.
#[test]
fn zeros_before_the_very_first_record_of_a_stream() {
    let zeros = compress(Compression::Gzip, &[&[0; 128][..], &archive(&[file("a", "1")])].concat());
    let first = Position { image: 0, unpacked: Some(0) };
    assert_eq!(unpack(&zeros), Err(Error::NoCpioMagic { at: first, found: [0; 6] }));
    let empty = compress(Compression::Gzip, b"");
    assert_eq!(unpack(&empty), Err(Error::Truncated { at: first, part: "header" }));
    let later = [compress(Compression::Gzip, &archive(&[file("b", "2")])), zeros, empty].concat();
    assert_files(&later, &[("/a", "1"), ("/b", "2")]);
}

#[test]
fn a_compressed_file_of_another_kind_is_no_initramfs() {
    for compression in ALL {
        assert!(!looks_like_initramfs(&compress(compression, b"just some text, more than a header has: 070701")));
        let image = compress(compression, &archive(&[file("a", &"text".repeat(500))]));
        assert!(looks_like_initramfs(&[&[0; 512][..], &image].concat()), "{compression}");
    }
    for other in [&b""[..], b"\0\0", b"070707", b"#!/bin/sh", b"\x7fELF", b"\x1f\x8b", b"MZ"] {
        assert!(!looks_like_initramfs(other), "{other:?}");
    }
}

#[test]
fn progress_adds_up_to_the_image() {
    let plain = archive(&[file("a", "1")]);
    for compression in ALL {
        let image = [&plain[..], &compress(compression, &plain), &[0; 9]].concat();
        let done = std::sync::atomic::AtomicU64::new(0);
        let add = |bytes| {
            done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        read(&image, &[], &Limits::default(), &add).unwrap();
        assert_eq!(done.into_inner(), image.len() as u64, "{compression}");
    }
}

#[test]
fn damaged_streams_end_in_a_result() {
    let plain = archive(&[directory("d"), file("d/a", "some text, some text, some text"), trailer()]);
    let refused: usize = ALL.into_iter().map(|compression| refused(&compress(compression, &plain), 300)).sum();
    assert!(refused > 1_000, "{refused} of 2,100");
}

const ALL: [Compression; 7] = [
    Compression::Gzip,
    Compression::Bzip2,
    Compression::Lzma,
    Compression::Xz,
    Compression::Lzo,
    Compression::Lz4,
    Compression::Zstd,
];

fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lzma => lzma(bytes),
        Compression::Xz => xz(bytes, Check::Crc32),
        Compression::Lzo => tool("lzop", &["-c"], bytes),
        Compression::Lz4 => tool("lz4", &["-l", "-c"], bytes),
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn xz(bytes: &[u8], check: Check) -> Vec<u8> {
    lzma_stream(Stream::new_easy_encoder(6, check).unwrap(), bytes)
}

fn lzma(bytes: &[u8]) -> Vec<u8> {
    let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
    lzma_stream(Stream::new_lzma_encoder(&options).unwrap(), bytes)
}

fn lzma_stream(stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a command-line compressor makes of `bytes`.
fn tool(name: &str, options: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(name)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("the tests need the program {name}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{name}");
    output.stdout
}

/// Where the checksum of the first block stands, whose unpacked length is `length`.
fn lzo_checksum(stream: &[u8], length: usize) -> usize {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    stream.windows(4).position(|word| word == length).unwrap() + 8
}
