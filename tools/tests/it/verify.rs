//! What no transcript of `verify` can hold: every flip of a bit, and how much is read.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use goldseal_tools::commands::verify::check;
use goldseal_tools::failure::{Exit, Failure};
use goldseal_tools::list_file::ListFile;
use goldseal_tools::trusted::read_trusted_keys;
use goldseal_verifier_core::envelope::MAX_HEAD_LEN;
use goldseal_verifier_core::trust::{Floor, TrustRoot, TrustedPolicy};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::world::{World, time, whitelist};

fn verify(root: &TrustRoot, bytes: &[u8]) -> Result<TrustedPolicy, Failure> {
    let path = Path::new("list");
    let list = ListFile::new(path, bytes, Some(bytes.len() as u64))?;
    check(list, path, root, &Floor::default(), time("2026-06-01T00:00:00Z"))
}

#[test]
fn every_flip_of_a_bit_and_every_truncation_is_refused() {
    let world = World::new();
    let root = TrustRoot::of_keys(read_trusted_keys(&[world.path("alice.pub")]).unwrap(), None).unwrap();
    let good = world.sealed(whitelist(), &["alice"]);
    verify(&root, &good).unwrap();
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let failure = verify(&root, &flipped).expect_err(&format!("bit {bit}"));
        assert_eq!(failure.exit, Exit::No, "bit {bit}: {failure}");
    }
    for length in 0..good.len() {
        let failure = verify(&root, &good[..length]).expect_err(&format!("{length} bytes"));
        assert_eq!(failure.exit, Exit::No, "{length} bytes: {failure}");
    }
}

#[test]
fn the_program_refuses_them_too() {
    let world = World::new();
    let good = world.sealed(whitelist(), &["alice"]);
    for at in (0..good.len()).step_by(31) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        world.write("flipped", &flipped);
        world.refuses("verify flipped --trust alice.pub", 1, "flipped: ");
        world.write("short", &good[..at]);
        world.refuses("verify short --trust alice.pub", 1, "short: ");
    }
}

/// The list comes through a pipe without end: what was not read when the program has answered was never wanted.
#[test]
fn a_list_that_is_not_sealed_as_asked_is_refused_without_reading_its_bulk() {
    let world = World::new();
    mknodat(CWD, world.path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let verifying = world.command("verify pipe --trust bob.pub").stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = OpenOptions::new().write(true).open(world.path("pipe")).unwrap();
    pipe.write_all(&world.sealed(whitelist(), &["alice"])).unwrap();
    let chunk = [b'x'; 4096];
    let mut written = 0;
    while pipe.write_all(&chunk).is_ok() {
        written += chunk.len();
    }
    let output = verifying.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    // What the pipe itself holds (pipe(7): 64 KiB) was taken by nobody.
    assert!(written <= MAX_HEAD_LEN + (64 << 10), "{written} bytes were taken");
}

/// Beside that of the list in memory nothing grows, and nothing is copied.
#[test]
fn the_rest_is_read_into_its_very_size() {
    let world = World::new();
    let mut list = whitelist();
    let (path, digest) = list.entries[0].clone();
    list.entries.extend((0..4_000).map(|number| ([&path[..], format!("{number}").as_bytes()].concat(), digest)));
    let bytes = world.sealed(list, &["alice"]);
    assert!(bytes.len() > 2 * MAX_HEAD_LEN);
    let (envelope, rest) =
        ListFile::new(Path::new("list"), &bytes[..], Some(bytes.len() as u64)).unwrap().head().unwrap();
    let expected = bytes.len() - envelope.print().len();
    let body = rest.read(expected as u64).unwrap();
    assert_eq!((body.len(), body.capacity()), (expected, expected));
    assert_eq!(body, bytes[bytes.len() - expected..]);
}

/// A header may claim gigabytes: what is reserved is no more than the file has, and of a pipe no more than was read.
#[test]
fn a_header_alone_reserves_no_memory() {
    let world = World::new();
    let bytes = world.sealed(whitelist(), &[]);
    for len in [Some(bytes.len() as u64), None] {
        let (_, rest) = ListFile::new(Path::new("list"), &bytes[..], len).unwrap().head().unwrap();
        let body = rest.read(4 << 30).unwrap();
        assert!(body.capacity() < bytes.len() + 64, "{}", body.capacity());
    }
}
