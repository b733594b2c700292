//! `goldseal build --initramfs`: what Linux, cpio(1) and sha256sum(1) make of an image is what the list says.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use goldseal_tests::image::{self, COMPRESSORS, cpio, pipe};
use goldseal_tests::{World, quoted, sha256sums};

/// testdata/initramfs-edge/README.md: each image was booted, and `.expect` is what Linux left in rootfs.
#[test]
fn hand_made_images_give_what_linux_made_of_them() {
    let (mut valid, mut bad) = (0, 0);
    for image in edge_images() {
        let world = World::new();
        let name = image.file_stem().unwrap().to_str().unwrap();
        let typed = format!("--initramfs {}", quoted(&image));
        if name.starts_with("bad-") {
            world.refuses(&typed, 3, &[name, "make the image again"]);
            bad += 1;
        } else {
            let expected = fs::read(image.with_extension("expect")).unwrap();
            let allow_empty = if expected.is_empty() { "--allow-empty" } else { "" };
            world.build(&format!("{typed} {allow_empty}")).holds(&expected);
            valid += 1;
        }
    }
    assert_eq!((valid, bad), (27, 9));
}

#[test]
fn an_image_without_a_file_is_an_empty_list() {
    let image = edge_images().into_iter().find(|image| image.ends_with("empty-file-only-zeros.img")).unwrap();
    World::new().refuses(&format!("--initramfs {}", quoted(&image)), 2, &["no entry", "--allow-empty"]);
}

#[test]
fn images_of_mkinitramfs_in_every_compression() {
    every_compression(image::from_mkinitramfs());
}

#[test]
fn images_of_dracut_in_every_compression() {
    every_compression(image::from_dracut());
}

/// As boot loaders hand images to the kernel: microcode twice, uncompressed and in front, then the image itself.
fn every_compression(archive: &[u8]) {
    let world = World::new();
    image::unpack(archive, &world.path("truth"));
    let early = microcode(&world, "truth");
    let truth = sha256sums(&world.path("truth"));
    let files = truth.iter().filter(|byte| **byte == b'\n').count();
    assert!(files > 100, "{files} files are no real image");
    for (name, command) in COMPRESSORS {
        world.file("image", [&early[..], &pipe(command, archive)].concat());
        let list = world.build("--initramfs image");
        list.holds(&truth);
        assert!(list.provenance().contains(&format!(" {files} ")), "{name}: {}", list.provenance());
    }
}

/// Each part in another compression, padded as GRUB does: the last one wins where two give one path.
#[test]
fn an_image_of_many_segments() {
    let world = World::new();
    let early = microcode(&world, "truth");
    let mut image = early;
    for (number, (_, command)) in COMPRESSORS.into_iter().enumerate() {
        for folder in ["part", "truth"] {
            world.file(format!("{folder}/usr/bin/from-{number}"), format!("only in {number}"));
            world.file(format!("{folder}/etc/last"), format!("written by {number}"));
        }
        image.extend(pipe(command, &cpio(&world.path("part"))));
        image.resize(image.len().next_multiple_of(4), 0);
        // The kernel's lz4 reads on until a word of zeros.
        image.extend([0; 4]);
        fs::remove_dir_all(world.path("part")).unwrap();
    }
    world.file("image", image);
    world.build("--initramfs image").holds(&sha256sums(&world.path("truth")));
}

/// The stub gives Linux `.ucode` and `.initrd`, and nothing else of the executable.
#[test]
fn a_unified_kernel_image_gives_its_initrd_and_microcode() {
    let world = World::new();
    world.file("truth/usr/bin/tool", "tool");
    let initrd = pipe("zstd -q", &cpio(&world.path("truth")));
    let linux = cpio(&world.path("truth"));
    world.file("plain.efi", image::unified(&[(".linux", &linux), (".cmdline", b"quiet"), (".initrd", &initrd)]));
    let list = world.build("--initramfs plain.efi");
    list.holds(&sha256sums(&world.path("truth")));
    assert!(list.provenance().starts_with("input uki "), "{}", list.provenance());

    let early = microcode(&world, "truth");
    world.file("ucode.efi", image::unified(&[(".linux", &linux), (".initrd", &initrd), (".ucode", &early)]));
    world.build("--initramfs ucode.efi").holds(&sha256sums(&world.path("truth")));

    world.file("none.efi", image::unified(&[(".linux", &linux), (".initrx", &initrd)]));
    world.refuses("--initramfs none.efi", 3, &["none.efi"]);
}

#[test]
fn what_is_no_image_is_refused() {
    let world = World::new();
    world.file("empty", "");
    world.file("text", "This is a letter.");
    world.file("folder/file", "x");
    world.refuses("--initramfs missing", 3, &["missing does not exist"]);
    world.refuses("--initramfs folder", 3, &["folder is a folder"]);
    world.refuses("--initramfs empty", 3, &["empty is empty"]);
    world.refuses("--initramfs text", 3, &["text: "]);
}

/// An error of an image says where it is and what, and one bad image spoils the list.
#[test]
fn one_damaged_image_among_good_ones() {
    let world = World::new();
    world.file("tree/file", "x".repeat(10_000));
    let good = cpio(&world.path("tree"));
    world.file("good", &good);
    world.file("cut", &good[..good.len() / 2]);
    world.refuses("--initramfs good --initramfs cut", 3, &["cut: ", "at "]);
}

/// The kernel skips it silently; whoever signs the list should know.
#[test]
fn warnings_stand_in_provenance_and_on_stderr() {
    let image = edge_images().into_iter().find(|image| image.ends_with("symlink-too-long-skipped.img")).unwrap();
    let world = World::new();
    let run = world.goldseal(&format!("build -o out --initramfs {}", quoted(&image))).exits(0);
    run.says("WARNING: ");
    let provenance = world.list("out").provenance();
    assert!(provenance.lines().any(|line| line.starts_with("warning ")), "{provenance}");
}

/// Two segments as `iucode_tool` and `ukify` put in front, which also stand in the folder `truth`.
fn microcode(world: &World, truth: &str) -> Vec<u8> {
    let mut segments = Vec::new();
    for vendor in ["GenuineIntel", "AuthenticAMD"] {
        for folder in [vendor, truth] {
            let path = format!("{folder}/kernel/x86/microcode/{vendor}.bin");
            world.file(path, vendor.repeat(1000));
        }
        segments.extend(cpio(&world.path(vendor)));
        // As GRUB pads; cpio(1) itself pads to 512.
        segments.resize(segments.len().next_multiple_of(4), 0);
    }
    segments
}

fn edge_images() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/initramfs-edge").canonicalize().unwrap();
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut images: Vec<PathBuf> = entries.filter(|path| path.as_os_str().as_bytes().ends_with(b".img")).collect();
    images.sort();
    images
}
