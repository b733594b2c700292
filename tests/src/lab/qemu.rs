//! A machine under qemu: a stock kernel on a PC that is emulated whole (TCG, no KVM), with a TPM of swtpm(8) behind
//! tpm-tis, and IMA as it comes with `ima_policy=tcb`.
//!
//! Host and guest talk in two ways. A serial port carries commands to the guest and their output back
//! (tests/real-kernel/init); qemu forwards a port of 127.0.0.1 to the guest's [`AGENT_PORT`], and lets the guest reach
//! nothing. Whatever a machine does has a deadline; when a test fails, its console is printed. Its processes end with the
//! [`Machine`], and with the test that started it, however that ends.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::guest::Guest;
use super::swtpm::{Certificates, STATE, manufactured};

/// Where the agent of a guest listens.
pub const AGENT_PORT: u16 = 9002;

/// From power on to the first command; a boot takes 3 to 10 s on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// For one command.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The firmware of the PC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    SeaBios,
    Ovmf,
}

/// A machine that is switched on.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
    console: BufReader<UnixStream>,
    agent: SocketAddr,
    // In the order of their ends.
    qemu: Process,
    _tpm: Process,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    /// Switches a machine on, with a TPM nobody has used, and waits until it takes commands. What it writes to its disk is
    /// gone when it is switched off. `folder` is for what belongs to this machine.
    pub fn boot(guest: &Guest, firmware: Firmware, folder: &Path) -> Self {
        // One at a time: two emulated processors leave nothing to the other tests.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(folder).unwrap();
        let tpm = start_tpm(folder);
        if firmware == Firmware::Ovmf {
            fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", folder.join("vars.fd")).unwrap();
        }
        // For people who want to look inside (docs/real-kernel.md).
        let by_hand = [swtpm(), qemu(guest, firmware, "mon:stdio", "guest.shell")];
        fs::write(folder.join("by-hand"), format!("{:?} &\nsleep 1\n{:?}\n", by_hand[0], by_hand[1])).unwrap();
        let mut qemu = Process::start(&qemu(guest, firmware, "file:serial.log", ""), "qemu", folder);
        let console = BufReader::new(connect(folder, "console", &mut qemu));
        let agent = forwarded(connect(folder, "qmp", &mut qemu));
        let folder = folder.to_owned();
        let mut machine = Self { folder, console, agent, qemu, _tpm: tpm, _alone: alone };
        machine.is_ready();
        machine
    }

    /// Where the guest's [`AGENT_PORT`] is reached from here.
    pub fn agent(&self) -> SocketAddr {
        self.agent
    }

    /// Runs a script of sh(1) in the guest, as root, and gives its output; it must succeed.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> Vec<u8> {
        let (code, output) = self.tries(script);
        assert_eq!(code, 0, "{script}\n{}", String::from_utf8_lossy(&output));
        output
    }

    /// Runs a script in the guest and gives its exit code and its output, that on standard error too.
    pub fn tries(&mut self, script: &str) -> (i32, Vec<u8>) {
        let deadline = Instant::now() + COMMAND_LIMIT;
        let line = format!("{}\n", Base64::encode_string(script.as_bytes()));
        self.console.get_mut().write_all(line.as_bytes()).unwrap();
        let mut encoded = String::new();
        loop {
            let line = self.line(deadline, script);
            if let Some(code) = line.strip_prefix("exit ") {
                return (code.parse().unwrap(), Base64::decode_vec(&encoded).unwrap());
            }
            encoded.push_str(&line);
        }
    }

    /// A file of the guest.
    pub fn file(&mut self, path: &str) -> Vec<u8> {
        self.run(&format!("cat '{path}'"))
    }

    /// Puts a file there, piece by piece; it must not be there yet.
    pub fn gives(&mut self, path: &str, bytes: &[u8]) {
        for piece in bytes.chunks(2048) {
            self.run(&format!("echo '{}' | base64 -d >>'{path}'", Base64::encode_string(piece)));
        }
    }

    /// Restarts it: power stays on, the disk keeps what was written, and the TPM is reset.
    pub fn reboots(&mut self) {
        let line = format!("{}\n", Base64::encode_string(b"reboot -f"));
        self.console.get_mut().write_all(line.as_bytes()).unwrap();
        self.is_ready();
    }

    /// Waits for its first command prompt; firmware may write to the port before.
    fn is_ready(&mut self) {
        let deadline = Instant::now() + BOOT_LIMIT;
        while !self.line(deadline, "boot").ends_with("guest: ready") {}
    }

    /// The next line from the guest, without its end.
    fn line(&mut self, deadline: Instant, doing: &str) -> String {
        let mut line = Vec::new();
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.console.get_ref().set_read_timeout(Some(left)).unwrap();
        match self.console.read_until(b'\n', &mut line) {
            Ok(0) => panic!("{doing}: the machine went off"),
            Ok(_) => String::from_utf8_lossy(&line).trim_end().to_owned(),
            Err(error) => panic!("{doing}: no answer in time: {error}"),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.qemu.end();
        if thread::panicking() {
            eprintln!("{}", logs(&self.folder));
        }
    }
}

/// A process of the machine.
#[derive(Debug)]
struct Process(Child);

impl Process {
    /// Starts it in the folder; it dies with the thread that started it. What it says goes to `NAME.log` there.
    fn start(command: &Command, name: &str, folder: &Path) -> Self {
        let log = File::create(folder.join(name).with_extension("log")).unwrap();
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        bound.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(bound.spawn().unwrap_or_else(|error| panic!("{bound:?}: {error}")))
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A TPM with the banks sha1 and sha256 and the certificates that its maker gave it.
fn start_tpm(folder: &Path) -> Process {
    fs::create_dir_all(folder.join("tpm")).unwrap();
    let made = manufactured(&["sha1", "sha256"], Certificates::Local);
    fs::copy(made.path().join(STATE), folder.join("tpm").join(STATE)).unwrap();
    let mut tpm = Process::start(&swtpm(), "swtpm", folder);
    comes(folder, "tpm.socket", &mut tpm, || folder.join("tpm.socket").exists().then_some(()));
    tpm
}

fn swtpm() -> Command {
    let mut swtpm = Command::new("swtpm");
    swtpm.args(["socket", "--tpm2", "--tpmstate", "dir=tpm", "--ctrl", "type=unixio,path=tpm.socket", "--terminate"]);
    swtpm
}

/// The first serial port is its console.
fn qemu(guest: &Guest, firmware: Firmware, serial: &str, append: &str) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512"]);
    qemu.args(["-nodefaults", "-display", "none"]);
    if firmware == Firmware::Ovmf {
        let code = "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
        qemu.args(["-drive", code, "-drive", "if=pflash,format=raw,unit=1,file=vars.fd"]);
    }
    qemu.args(["-chardev", "socket,id=tpm,path=tpm.socket", "-tpmdev", "emulator,id=tpm,chardev=tpm"]);
    qemu.args(["-device", "tpm-tis,tpmdev=tpm"]);
    let disk = format!("if=none,id=root,format=raw,snapshot=on,file={}", guest.disk.display());
    qemu.args(["-drive", &disk, "-device", "virtio-blk-pci,drive=root"]);
    // Port 0: qemu takes a free one, and tells which.
    let network = format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:{AGENT_PORT}");
    qemu.args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net,romfile="]);
    qemu.args(["-serial", serial, "-serial", "unix:console,server=on,wait=off"]);
    qemu.args(["-qmp", "unix:qmp,server=on,wait=off"]);
    qemu.arg("-kernel").arg(guest.kernel.vmlinuz()).arg("-initrd").arg(&guest.initramfs);
    // With `root=` the kernel unpacks the initramfs to ramfs, which tcb measures; else to tmpfs, which it does not.
    qemu.args(["-append", format!("console=ttyS0 panic=-1 root=/dev/vda ima_policy=tcb {append}").trim_end()]);
    qemu
}

/// Connects to a socket that a process makes in the folder. Its path may be longer than an address of a socket; that of
/// the open folder is not.
fn connect(folder: &Path, name: &str, process: &mut Process) -> UnixStream {
    let open = File::open(folder).unwrap();
    let address = format!("/proc/self/fd/{}/{name}", open.as_raw_fd());
    let stream = comes(folder, name, process, || UnixStream::connect(&address).ok());
    stream.set_read_timeout(Some(COMMAND_LIMIT)).unwrap();
    stream
}

/// Waits for what a process makes.
fn comes<T>(folder: &Path, name: &str, process: &mut Process, made: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + COMMAND_LIMIT;
    loop {
        if let Some(made) = made() {
            return made;
        }
        assert!(process.is_running() && Instant::now() < deadline, "{name} does not come\n{}", logs(folder));
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asks qemu which port it has taken.
fn forwarded(stream: UnixStream) -> SocketAddr {
    let mut stream = BufReader::new(stream);
    let mut ask = |command: Value| {
        stream.get_mut().write_all(format!("{command}\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert!(answer.get("error").is_none(), "{answer}");
            // Before it stand a greeting, and events.
            if let Some(answer) = answer.get("return") {
                break answer.clone();
            }
        }
    };
    ask(json!({"execute": "qmp_capabilities"}));
    let info = ask(json!({"execute": "human-monitor-command", "arguments": {"command-line": "info usernet"}}));
    // `TCP[HOST_FORWARD]  12  127.0.0.1 40511  10.0.2.15  9002  0  0`
    let line = info.as_str().unwrap().lines().find(|line| line.contains("HOST_FORWARD")).unwrap().to_owned();
    let mut words = line.split_whitespace().skip(2);
    format!("{}:{}", words.next().unwrap(), words.next().unwrap()).parse().unwrap()
}

/// What the machine's processes and its console said.
fn logs(folder: &Path) -> String {
    let mut all = String::new();
    for name in ["swtpm.log", "qemu.log", "serial.log"] {
        let text = fs::read(folder.join(name)).unwrap_or_default();
        let _ = writeln!(all, "--- {name}\n{}", String::from_utf8_lossy(&text));
    }
    all
}
