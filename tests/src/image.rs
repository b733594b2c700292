//! Images made by other programs: cpio(1), the compressors, mkinitramfs(8), dracut(8) and objcopy(1).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::{output_of, shell};

/// The compressors as initramfs generators call them (the kernel takes no other checks and frames): each reads standard
/// input and writes standard output.
pub const COMPRESSORS: [(&str, &str); 8] = [
    ("none", "cat"),
    ("gzip", "gzip -n -6"),
    ("bzip2", "bzip2 -1"),
    ("lzma", "xz --format=lzma -0"),
    ("xz", "xz --check=crc32 -0"),
    ("lzo", "lzop -1"),
    ("lz4", "lz4 -l -1"),
    ("zstd", "zstd -q -3"),
];

/// An image of the folder's contents, uncompressed.
pub fn cpio(folder: &Path) -> Vec<u8> {
    shell(folder, "find . -mindepth 1 -print0 | sort -z | cpio --null --create --format=newc --quiet --reproducible")
}

/// Passes bytes through a command of [`COMPRESSORS`].
pub fn pipe(command: &str, bytes: &[u8]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("input");
    fs::write(&input, bytes).unwrap();
    output_of(Command::new("sh").args(["-c", command]).stdin(fs::File::open(input).unwrap()))
}

/// Unpacks a plain archive into a folder with cpio(1); device nodes, for which it would want root, are left out.
pub fn unpack(archive: &[u8], folder: &Path) {
    let input = folder.with_extension("cpio");
    fs::write(&input, archive).unwrap();
    fs::create_dir_all(folder).unwrap();
    let mut cpio = Command::new("cpio");
    cpio.args(["--extract", "--make-directories", "--unconditional", "--no-absolute-filenames", "--quiet"]);
    cpio.args(["--nonmatching", "dev/*"]).current_dir(folder).stdin(fs::File::open(&input).unwrap());
    output_of(&mut cpio);
    fs::remove_file(input).unwrap();
}

/// An image as `mkinitramfs` makes it for an installed kernel, with few modules: its plain archive.
pub fn from_mkinitramfs() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let script = "cp -r /etc/initramfs-tools conf
             sed -i 's/^MODULES=.*/MODULES=list/' conf/initramfs.conf
             printf 'loop\\next4\\n' >>conf/modules
             mkinitramfs -d conf -c gzip -o image \"$(basename \"$KERNEL\")\" >&2
             gzip -dc image";
        generate(folder.path(), script)
    })
}

/// The same as `dracut` makes it.
pub fn from_dracut() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let script = "dracut --no-hostonly --no-early-microcode --modules base --drivers 'loop ext4' --gzip --quiet \\
                 --tmpdir \"$PWD\" --kver \"$(basename \"$KERNEL\")\" image >&2
             gzip -dc image";
        generate(folder.path(), script)
    })
}

fn generate(folder: &Path, script: &str) -> Vec<u8> {
    let kernel = kernel();
    let mut sh = Command::new("sh");
    sh.args(["-ec", script]).current_dir(folder).env("KERNEL", kernel).env("LC_ALL", "C").stdin(Stdio::null());
    // Where a plain user's PATH leaves out what Debian puts there.
    sh.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    let archive = output_of(&mut sh);
    assert!(archive.starts_with(b"070701"), "an image that is not one gzip stream: unpack it in parts");
    archive
}

/// The modules of an installed kernel.
fn kernel() -> PathBuf {
    let kernels = fs::read_dir("/lib/modules").into_iter().flatten().map(|entry| entry.unwrap().path());
    let found = kernels.filter(|kernel| kernel.join("modules.dep").exists()).max();
    found.expect("an installed kernel: ./test installs one")
}

/// A PE executable of these sections, as `dracut --uefi` and `ukify` have objcopy(1) put them behind a stub; this stub
/// does nothing.
pub fn unified(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let stub = "printf '.text\\n.globl _start\\n_start: ret\\n' | as -o stub.o
         ld -e _start -o stub stub.o
         objcopy -O pei-x86-64 stub stub.efi";
    shell(folder.path(), stub);
    let mut objcopy = Command::new("objcopy");
    for (index, (name, bytes)) in sections.iter().enumerate() {
        fs::write(folder.path().join(name), bytes).unwrap();
        objcopy.arg("--add-section").arg(format!("{name}={name}"));
        objcopy.arg("--change-section-vma").arg(format!("{name}={:#x}", (index + 1) << 28));
    }
    output_of(objcopy.args(["stub.efi", "unified.efi"]).current_dir(folder.path()));
    fs::read(folder.path().join("unified.efi")).unwrap()
}
