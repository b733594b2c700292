//! What the kernel really did with each image of the corpus, and a test for each rule.

mod archive;
mod edge;
mod records;
mod streams;
mod uki;

use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use sha2::Digest as _;

use super::*;

/// Reads with defaults.
fn unpack(image: &[u8]) -> Result<Unpacked, Error> {
    read(image, &[HashAlgorithm::Sha256], &Limits::default(), &|_| {})
}

/// Reads `image`, which must leave exactly these files with these contents.
#[track_caller]
fn assert_files(image: &[u8], expected: &[(&str, &str)]) -> Unpacked {
    let unpacked = unpack(image).unwrap_or_else(|error| panic!("{error}"));
    let expected: Vec<MeasuredFile> = expected
        .iter()
        .map(|(path, contents)| {
            let digest = Digest::new(HashAlgorithm::Sha256, &sha2::Sha256::digest(contents));
            MeasuredFile { path: path.as_bytes().to_vec(), digests: vec![digest.expect("32 bytes")] }
        })
        .collect();
    assert_eq!(unpacked.files, expected);
    unpacked
}

/// Changes bytes of `original` and cuts its end, `rounds` times, always in the same way. Whatever comes out, it must come;
/// returns how often it was an error.
fn refused(original: &[u8], rounds: usize) -> usize {
    let limits = Limits { unpacked: 1 << 20, records: 1_000, lookups: 10_000, ..Limits::default() };
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |bound: usize| {
        // xorshift64 (Marsaglia 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let damaged = (0..rounds).map(|_| {
        let mut bytes = original.to_vec();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            bytes[at] = if next(2) == 0 { bytes[at] ^ 1 << next(8) } else { next(256) as u8 };
        }
        if next(4) == 0 {
            bytes.truncate(next(bytes.len()) + 1);
        }
        looks_like_initramfs(&bytes);
        read(&bytes, &[HashAlgorithm::Sha256], &limits, &|_| {})
    });
    damaged.filter(Result::is_err).count()
}

#[test]
fn messages_say_where_and_what_and_are_safe_to_print() {
    let stream = Position { image: 4_096, unpacked: Some(512) };
    let error = Error::NoCpioMagic { at: stream, found: *b"\x1b[2J\n\xff" };
    assert_eq!(
        error.to_string(),
        "byte 512 of what unpacks from byte 4096: not a cpio record of the format newc (070701 or 070702 expected, found \
         \\x1b[2J\\n\\xff)"
    );
    let detail = "its integrity check is not CRC32; compress it with xz --check=crc32";
    let fault = StreamFault::NotForLinux { detail };
    let error = Error::Stream { at: 8, compression: Compression::Xz, fault };
    assert_eq!(error.to_string(), format!("the xz segment at byte 8 cannot be read by Linux: {detail}"));
    let plain = Position { image: 7, unpacked: None };
    let warning = Warning::Skipped { at: plain, name: b"a\x1b".to_vec(), why: Skip::MissingParent };
    assert_eq!(warning.to_string(), "a\\x1b: Linux skips this record: its folder does not exist (byte 7)");
}
