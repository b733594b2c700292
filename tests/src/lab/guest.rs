//! What a machine of [`super::qemu`] boots: one of Debian's kernels, a root file system on ext4 and an initramfs, both made
//! here, without root. Their trees stay, so that `goldseal build` can read what the machine will run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{image, output_of, target_folder};

/// One of Debian's kernels for cloud machines, as `tests/real-kernel/kernels` found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// That of Debian 12: Linux 6.1.
    Debian12,
    /// The newest that Debian 12 offers: Linux 6.12.
    Newer,
}

impl Kernel {
    /// The kernel's image.
    pub fn vmlinuz(self) -> PathBuf {
        self.folder().join("vmlinuz")
    }

    /// Whether it is there. `./test` has put it there, if Debian offers it.
    pub fn is_there(self) -> bool {
        self.vmlinuz().exists()
    }

    fn folder(self) -> PathBuf {
        let name = match self {
            Self::Debian12 => "debian-12",
            Self::Newer => "newer",
        };
        target_folder().join("kernels").join(name)
    }

    /// The contents of one of its modules; `None` if it is built in.
    fn module(self, name: &str) -> Option<Vec<u8>> {
        let plain = self.folder().join("modules/kernel").join(name).with_extension("ko");
        let packed = plain.with_extension("ko.xz");
        if packed.exists() {
            return Some(output_of(Command::new("xz").arg("-dc").arg(packed)));
        }
        plain.exists().then(|| fs::read(plain).unwrap())
    }
}

/// Modules that a guest needs for its disk and its network, each after those it needs itself.
const MODULES: [&str; 9] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// A folder that is the `/` of something.
#[derive(Debug)]
pub struct Tree(PathBuf);

impl Tree {
    /// The root of a small system: busybox, and the `init` of tests/real-kernel/.
    pub fn of_root(folder: PathBuf) -> Self {
        let tree = Self(folder);
        let usr = ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64"];
        for folder in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "var/lib"].iter().chain(&usr) {
            fs::create_dir_all(tree.0.join(folder)).unwrap();
        }
        for merged in ["bin", "sbin", "lib", "lib64"] {
            symlink(Path::new("usr").join(merged), tree.0.join(merged)).unwrap();
        }
        tree.holds("/usr/bin/busybox", fs::read(busybox()).unwrap()).runs("/usr/bin/busybox");
        for name in String::from_utf8(output_of(Command::new(busybox()).arg("--list"))).unwrap().lines() {
            if name != "busybox" {
                symlink("busybox", tree.0.join("usr/bin").join(name)).unwrap();
            }
        }
        tree.holds("/usr/sbin/init", include_bytes!("../../real-kernel/init")).runs("/usr/sbin/init");
        tree
    }

    /// An initramfs for a kernel: busybox, the modules it lacks, and the `initramfs-init` of tests/real-kernel/.
    pub fn of_initramfs(folder: PathBuf, kernel: Kernel) -> Self {
        let tree = Self(folder);
        for folder in ["bin", "dev", "modules", "newroot"] {
            fs::create_dir_all(tree.0.join(folder)).unwrap();
        }
        tree.holds("/bin/busybox", fs::read(busybox()).unwrap()).runs("/bin/busybox");
        tree.holds("/init", include_bytes!("../../real-kernel/initramfs-init")).runs("/init");
        for (index, name) in MODULES.iter().enumerate() {
            if let Some(module) = kernel.module(name) {
                // The shell loads them in the order of their names.
                tree.holds(&format!("/modules/{index}-{}.ko", name.rsplit('/').next().unwrap()), module);
            }
        }
        tree
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Puts a file there.
    pub fn holds(&self, path: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Makes a file executable.
    fn runs(&self, path: &str) -> &Self {
        fs::set_permissions(self.0.join(path.trim_start_matches('/')), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Puts a program of this machine there, without its debug information, and the libraries that it needs.
    pub fn program(&self, from: &Path, path: &str) -> &Self {
        let to = self.0.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        output_of(Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(from));
        self.runs(path).libraries_of(from)
    }

    /// Puts the library of the device's TCTI there, which the TPM software stack opens by its name alone.
    pub fn tcti(&self) -> &Self {
        let cache = String::from_utf8(output_of(Command::new("/sbin/ldconfig").arg("-p"))).unwrap();
        let line = cache.lines().find(|line| line.trim_start().starts_with("libtss2-tcti-device.so.0 ")).unwrap();
        let library = Path::new(line.rsplit_once("=> ").unwrap().1);
        self.library(library).libraries_of(library)
    }

    fn libraries_of(&self, file: &Path) -> &Self {
        // `NAME => PATH (ADDRESS)`, and the loader without a name.
        let listing = String::from_utf8(output_of(Command::new("ldd").arg(file))).unwrap();
        for word in listing.split_whitespace().filter(|word| word.starts_with('/')) {
            self.library(Path::new(word));
        }
        self
    }

    fn library(&self, library: &Path) -> &Self {
        let name = library.to_str().unwrap();
        // Debian's /lib is /usr/lib.
        let name = if name.starts_with("/lib") { format!("/usr{name}") } else { name.to_owned() };
        self.holds(&name, fs::read(library).unwrap()).runs(&name)
    }
}

/// Everything that qemu starts a machine with.
#[derive(Clone, Debug)]
pub struct Guest {
    pub kernel: Kernel,
    /// The root file system, ext4.
    pub disk: PathBuf,
    /// Its initramfs, a plain archive.
    pub initramfs: PathBuf,
}

impl Guest {
    /// Makes the images of a root's tree and of the initramfs that goes with the kernel, in a folder.
    pub fn new(kernel: Kernel, root: &Tree, folder: &Path) -> Self {
        let disk = folder.join("root.ext4");
        let mut mkfs = Command::new("/sbin/mkfs.ext4");
        // Everything belongs to whoever made the tree; root may read it all.
        mkfs.args(["-q", "-E", "root_owner=0:0", "-d"]).arg(root.path()).arg(&disk).arg("128M");
        output_of(&mut mkfs);
        let initramfs = folder.join("initramfs.img");
        fs::write(&initramfs, image::cpio(Tree::of_initramfs(folder.join("initramfs"), kernel).path())).unwrap();
        Self { kernel, disk, initramfs }
    }
}

/// Debian's busybox-static: one file, which runs in an initramfs without libraries.
fn busybox() -> &'static Path {
    Path::new("/bin/busybox")
}
