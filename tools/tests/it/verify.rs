//! What no transcript of `verify` can hold: every flip of a bit, and how much is read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::list_file::ListFile;
use goldseal_cli::policy::check;
use goldseal_cli::trusted::read_trusted_keys;
use goldseal_verifier_core::contents::ContentsError;
use goldseal_verifier_core::envelope::{Envelope, MAX_HEAD_LEN};
use goldseal_verifier_core::header::Header;
use goldseal_verifier_core::trust::{Floor, Now, TrustRoot, TrustedPolicy};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::world::{World, time, whitelist};

fn verify(root: &TrustRoot, bytes: &[u8]) -> Result<TrustedPolicy, Failure> {
    let path = Path::new("list");
    let list = ListFile::new(path, bytes, Some(bytes.len() as u64))?;
    check(list, path, root, |_| Floor::default(), Now::by_clock(time("2026-06-01T00:00:00Z")))
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

/// A header may claim gigabytes: a file that is shorter is refused before any memory is asked for, and of a pipe no more
/// is taken than it gives.
#[test]
fn a_boastful_header_costs_nothing() {
    let world = World::new();
    let list = whitelist().print().unwrap();
    let honest = String::from_utf8(list.envelope().claimed_payload().to_vec()).unwrap();
    let (before, entries) = honest.split_once("section: entries ").unwrap();
    let (_, hash) = entries.split_once(' ').unwrap();
    let boast = format!("{before}section: entries 4294967295 {hash}");
    let head = Envelope::unsealed(list.envelope().claimed_type(), boast.as_bytes()).unwrap().print();
    let bytes = [&head[..], list.contents().body()].concat();
    fs::write(world.path("boast"), &bytes).unwrap();
    let output = world.command("show boast").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let (envelope, rest) = ListFile::new(Path::new("boast"), &bytes[..], None).unwrap().head().unwrap();
    let header = Header::parse(envelope.claimed_payload()).unwrap();
    let mut taken = Vec::new();
    let failure = rest.load(&header, Exit::No, |rest| {
        rest.read_to_end(&mut taken)?;
        Err::<(), _>(ContentsError::Length { expected: header.body_len(), found: taken.len() as u64 }.into())
    });
    assert_eq!(failure.unwrap_err().reason, "tampered");
    assert!(bytes.ends_with(&taken) && !taken.is_empty());
}
