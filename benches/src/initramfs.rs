//! Reading a zstd initramfs, beside decompressing it and beside extracting and hashing it.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::contest::{self, Contestant};
use crate::report::{self, Bar};
use crate::{Bench, Fallible};

/// Contents of an image that is made.
const BYTES: u64 = 150_000_000;
const SOURCE: &str = "usr/lib";

/// What a zstd frame begins with (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(crate) fn run(bench: &Bench, given: Option<&Path>) -> Fallible<bool> {
    let image = match given {
        Some(image) => fs::canonicalize(image)?,
        None => make_image(bench)?,
    };
    let segment = compressed_segment(bench, &image)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a path is not UTF-8");
    let [image, segment] = [text(&image)?, text(&segment)?];
    let [output, scratch] =
        [text(&bench.folder.join("initramfs.whitelist"))?, text(&bench.folder.join("initramfs.extracted"))?];

    let build =
        bench.goldseal(&["build", "--quiet", "--name", "bench", "--force", "-o", &output, "--initramfs", &image]);
    let extract = |extract: &str| {
        let hash = "find . -type f -print0 | xargs -0 sha256sum >/dev/null";
        format!("rm -rf '{scratch}' && mkdir '{scratch}' && cd '{scratch}' && {extract} && {hash}")
    };
    let mut contestants = vec![
        Contestant::shell("zstd -dc", "zstd -dcq \"$1\" >/dev/null", &segment),
        Contestant::new("goldseal", build),
        Contestant::shell("unmkinitramfs + sha256sum", &extract("unmkinitramfs \"$1\" ."), &image),
    ];
    if contest::is_installed("3cpio") {
        contestants.push(Contestant::shell("3cpio + sha256sum", &extract("3cpio --extract \"$1\""), &image));
    }
    let results = contest::run(&mut contestants, bench.rounds)?;
    let [zstd, ours, unmkinitramfs, ..] = results.as_slice() else { return Err("a contestant is missing".into()) };
    let bars = [Bar::ratio(ours, zstd, 1.25), Bar::ratio(ours, unmkinitramfs, 0.1)];
    let input = format!("{:.1} MB of image", fs::metadata(&image)?.len() as f64 / 1e6);
    Ok(report::print("Initramfs", &input, bench.rounds, &results, &bars))
}

/// An image by GNU cpio and zstd, in the manner of mkinitramfs.
fn make_image(bench: &Bench) -> Fallible<PathBuf> {
    let image = bench.folder.join("initramfs.img");
    if image.exists() {
        return Ok(image);
    }
    let mut names = b"usr\0".to_vec();
    collect(Path::new(SOURCE), &mut 0, &mut names)?;
    let partial = bench.folder.join("initramfs.partial");
    let script = "cd / && cpio --null --create --format=newc --quiet --reproducible | zstd -q -9 -f -o \"$1\"";
    let mut cpio = Command::new("sh").args(["-c", script, "sh"]).arg(&partial).stdin(Stdio::piped()).spawn()?;
    cpio.stdin.take().ok_or("cpio reads no names")?.write_all(&names)?;
    if !cpio.wait()?.success() {
        return Err("cpio or zstd failed".into());
    }
    fs::rename(partial, &image)?;
    Ok(image)
}

/// Names below `folder`, NUL-terminated, parents first, until their files are large enough.
fn collect(folder: &Path, bytes: &mut u64, names: &mut Vec<u8>) -> Fallible<()> {
    names.extend(folder.as_os_str().as_bytes());
    names.push(0);
    let mut entries = fs::read_dir(Path::new("/").join(folder))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if *bytes >= BYTES {
            break;
        }
        let name = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(&name, bytes, names)?;
        } else {
            *bytes += entry.metadata()?.len();
            names.extend(name.as_os_str().as_bytes());
            names.push(0);
        }
    }
    Ok(())
}

/// The image from its zstd segment on, as a file: what `zstd -dc` is given.
fn compressed_segment(bench: &Bench, image: &Path) -> Fallible<PathBuf> {
    let bytes = fs::read(image)?;
    let segment = bench.folder.join("initramfs.zst");
    for (offset, window) in bytes.windows(4).enumerate() {
        if window == ZSTD_MAGIC {
            fs::write(&segment, &bytes[offset..])?;
            // A file of an early, uncompressed segment may be compressed as well; only the last stream ends the image.
            if contest::succeed(Command::new("zstd").args(["-tqq"]).arg(&segment)).is_ok() {
                return Ok(segment);
            }
        }
    }
    Err(format!("{} has no zstd segment", image.display()).into())
}
