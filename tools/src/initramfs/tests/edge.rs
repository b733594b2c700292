//! Hand-made images, unpacked by Linux 6.1 and 6.12 (testdata/initramfs-edge/README.md).

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

/// Changes bytes and cuts ends: whatever comes out, it comes.
#[test]
fn damaged_images_end_in_a_result() {
    let limits = Limits { unpacked: 1 << 20, records: 1_000, lookups: 10_000, ..Limits::default() };
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |bound: usize| {
        // xorshift64 (Marsaglia 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let mut refused = 0;
    for image in images() {
        let original = fs::read(&image).expect("readable");
        for _ in 0..200 {
            let mut bytes = original.clone();
            for _ in 0..=next(3) {
                let at = next(bytes.len());
                bytes[at] = if next(2) == 0 { bytes[at] ^ 1 << next(8) } else { next(256) as u8 };
            }
            if next(4) == 0 {
                bytes.truncate(next(bytes.len()) + 1);
            }
            let result = read(&bytes, &[HashAlgorithm::Sha256], &limits, &|_| {});
            refused += usize::from(result.is_err());
            let _ = looks_like_initramfs(&bytes);
        }
    }
    assert!(refused > 0, "no damage was noticed at all");
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
