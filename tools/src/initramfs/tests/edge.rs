//! Hand-made images, unpacked by Linux 6.1 and 6.12 (testdata/initramfs-edge/README.md).

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::path::{escape, needs_escape};

use super::*;

#[test]
fn the_same_files_as_linux_or_an_error() {
    let mut valid = 0;
    let mut bad = 0;
    for image in images() {
        let name = image.file_stem().expect("an image has a name").to_str().expect("plain names").to_owned();
        let result = sums(&fs::read(&image).expect("readable"));
        if name.starts_with("bad-") {
            let error = result.expect_err(&name);
            assert!(is_expected(&name, &error), "{name}: {error:?}");
            bad += 1;
        } else {
            let expected = fs::read(image.with_extension("expect")).expect("readable");
            let found = result.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected), "{name}");
            valid += 1;
        }
    }
    assert_eq!((valid, bad), (27, 9));
}

/// The reason for which each bad image must be refused.
fn is_expected(name: &str, error: &Error) -> bool {
    use StreamFault as Fault;
    match name {
        "bad-gzip-crc-corrupt" => {
            matches!(error, Error::Stream { compression: Compression::Gzip, fault: Fault::Damaged { .. }, .. })
        }
        "bad-lz4-then-gzip-no-pad" => {
            matches!(error, Error::Stream { compression: Compression::Lz4, fault: Fault::Truncated, .. })
        }
        "bad-namesize-huge" => matches!(error, Error::Truncated { part: "name", .. }),
        "bad-nonhex" => matches!(error, Error::NotHex { .. }),
        "bad-split-over-two-gzip-members" => matches!(error, Error::Truncated { .. }),
        "bad-truncated-body" => matches!(error, Error::Truncated { part: "body", .. }),
        "bad-truncated-gzip-half" => {
            matches!(error, Error::Stream { compression: Compression::Gzip, fault: Fault::Truncated, .. })
        }
        "bad-truncated-zstd-skip" => matches!(error, Error::Truncated { .. }),
        "bad-zstd-skippable-frame" => matches!(error, Error::UnknownMagic { magic: [0x50, 0x2a], .. }),
        _ => false,
    }
}

/// Every image but the bad ones looks like one.
#[test]
fn images_are_recognised() {
    for image in images() {
        let bytes = fs::read(&image).expect("readable");
        let name = image.display();
        let expected = !["bad-zstd-skippable-frame", "empty-file-only-zeros"]
            .iter()
            .any(|odd| image.ends_with(format!("{odd}.img")));
        assert_eq!(looks_like_initramfs(&bytes), expected, "{name}");
    }
}

#[test]
fn damaged_images_end_in_a_result() {
    let refused: usize = images().iter().map(|image| refused(&fs::read(image).expect("readable"), 200)).sum();
    assert!(refused > 1_000, "{refused} of 7,200");
}

fn images() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/initramfs-edge");
    let mut images: Vec<PathBuf> = fs::read_dir(folder)
        .expect("testdata is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "img"))
        .collect();
    images.sort();
    assert_eq!(images.len(), 36);
    images
}

/// The files of an image as `sha256sum` prints them.
fn sums(image: &[u8]) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    for file in read(image, &[HashAlgorithm::Sha256], &Limits::default(), &|_| {})?.files {
        if needs_escape(&file.path) {
            text.push(b'\\');
        }
        text.extend_from_slice(format!("{}  ", file.digests[0]).as_bytes());
        text.extend_from_slice(&escape(&file.path));
        text.push(b'\n');
    }
    Ok(text)
}
