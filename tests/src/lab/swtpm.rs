//! A TPM that is a program: swtpm, in a folder of its own, on two ports of loopback, behind a [`Mux`].
//!
//! tpm2-tss 3.2 opens a connection for every command, and sets the locality by another one before. Its sockets are
//! inherited by whatever this process starts meanwhile (they lack SOCK_CLOEXEC; seen with ss(8)), such as another test's
//! swtpm_setup. So a connection may stay open for long after its end, and a swtpm, which serves one at a time, would wait
//! for it. The multiplexer does not.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::mux::Mux;
use crate::{output_of, words};

/// Whether a TPM has certificates of its endorsement keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certificates {
    /// It has none, and no persistent endorsement key either.
    None,
    /// Those that swtpm_localca makes: of a persistent RSA-2048 key, and of a P-384 key, which no agent asks for.
    Local,
}

/// A running swtpm. It is killed when it goes.
#[derive(Debug)]
pub struct Swtpm {
    folder: TempDir,
    /// Where it was manufactured.
    factory: Arc<TempDir>,
    port: u16,
    process: Option<Child>,
    mux: Option<Mux>,
}

impl Swtpm {
    /// One with the sha1 and sha256 banks and certificates, as most machines have.
    pub fn new() -> Self {
        Self::with(&["sha1", "sha256"], Certificates::Local)
    }

    /// One with these active banks.
    pub fn with(banks: &[&str], certificates: Certificates) -> Self {
        let folder = folder_in_memory();
        let state = manufactured(banks, certificates);
        fs::copy(state.path().join(STATE), folder.path().join(STATE)).unwrap();
        let mut tpm = Self { folder, factory: state, port: 0, process: None, mux: None };
        for _ in 0..20 {
            tpm.port = free_ports();
            tpm.spawn("not-need-init,startup-clear");
            if tpm.is_up() {
                tpm.mux = Some(Mux::before(tpm.port));
                return tpm;
            }
        }
        panic!("swtpm does not start: {}", tpm.log());
    }

    /// How it is reached by any number of clients.
    pub fn tcti(&self) -> String {
        self.mux().tcti()
    }

    /// The certificate of the authority that signed those of its endorsement keys ([`Certificates::Local`]).
    pub fn issuer(&self) -> PathBuf {
        self.factory.path().join("issuercert.pem")
    }

    /// What stands between it and its clients.
    pub fn mux(&self) -> &Mux {
        self.mux.as_ref().expect("it was started")
    }

    /// Kills it at once, as a machine loses its power.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        if let Some(mux) = &self.mux {
            mux.let_go();
        }
    }

    /// Starts it again on its ports, with its state, and sends TPM2_Startup(CLEAR) as the firmware does.
    pub fn start_again(&mut self) {
        self.start_with("not-need-init,startup-clear");
    }

    /// The same without TPM2_Startup.
    pub fn start_again_unstarted(&mut self) {
        self.start_with("not-need-init");
    }

    fn start_with(&mut self, flags: &str) {
        assert!(self.process.is_none(), "it runs");
        self.spawn(flags);
        assert!(self.is_up(), "swtpm does not start: {}", self.log());
    }

    /// The power goes and comes back.
    pub fn power_cut(&mut self) {
        self.kill();
        self.start_again();
    }

    /// _TPM_Init, which the firmware has to follow by [`Swtpm::startup`].
    pub fn init(&self) {
        let control = format!("127.0.0.1:{}", self.port + 1);
        output_of(Command::new("swtpm_ioctl").args(["--tcp", &control, "-i"]));
    }

    /// TPM2_Startup(CLEAR).
    pub fn startup(&self) {
        self.tool("tpm2_startup -c");
    }

    /// A TPM reset, as a warm boot has it: TPM2_Shutdown(CLEAR), _TPM_Init, TPM2_Startup(CLEAR).
    pub fn reset(&self) {
        self.tool("tpm2_shutdown -c");
        self.init();
        self.startup();
    }

    /// A TPM restart, as a machine has it that slept and did not come back to what it was: TPM2_Shutdown(STATE),
    /// _TPM_Init, TPM2_Startup(CLEAR).
    pub fn sleep_and_boot(&self) {
        self.tool("tpm2_shutdown");
        self.init();
        self.startup();
    }

    /// A TPM resume, as a machine has it that slept: TPM2_Shutdown(STATE), _TPM_Init, TPM2_Startup(STATE).
    pub fn sleep_and_resume(&self) {
        self.tool("tpm2_shutdown");
        self.init();
        self.tool("tpm2_startup");
    }

    /// A program of tpm2-tools at this TPM, in its folder; see [`words`]. It must succeed.
    #[track_caller]
    pub fn tool(&self, command: &str) -> Vec<u8> {
        output_of(&mut self.command(command))
    }

    /// The command of [`Swtpm::tool`].
    pub fn command(&self, line: &str) -> Command {
        let words = words(line);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("TPM2TOOLS_TCTI", self.tcti()).current_dir(self.folder.path());
        command
    }

    /// A path in its folder, where the tools write.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Extends a PCR in one bank.
    pub fn extend(&self, pcr: u8, bank: &str, hex: &str) {
        self.tool(&format!("tpm2_pcrextend {pcr}:{bank}={hex}"));
    }

    /// Transient objects and sessions that are in it: nobody uses it, so there must be none.
    pub fn left_over(&self) -> String {
        let capabilities = ["handles-transient", "handles-loaded-session", "handles-saved-session"];
        let handles = capabilities.map(|capability| self.tool(&format!("tpm2_getcap {capability}")));
        String::from_utf8(handles.concat()).unwrap()
    }

    /// The process, to be stopped and continued.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    fn spawn(&mut self, flags: &str) {
        self.kill();
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", flags, "--tpmstate"]);
        command.arg(format!("dir={}", self.folder.path().display()));
        command.arg("--server").arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", self.port));
        command.arg("--ctrl").arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", self.port + 1));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    /// Waits until it listens, or has ended.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.process.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            if [self.port, self.port + 1].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Default for Swtpm {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Two ports in a row that are free now.
pub fn free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two free ports in a row");
}

/// swtpm flushes its state to the disk at each change, the clock's among them: no test waits for that.
fn folder_in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// The file that holds a TPM: its seeds, its persistent objects, its counters.
pub(super) const STATE: &str = "tpm2-00.permall";

/// A new TPM's state, made once for each kind: all TPMs of a kind are the same one.
pub(super) fn manufactured(banks: &[&str], certificates: Certificates) -> Arc<TempDir> {
    static MADE: Mutex<BTreeMap<(String, Certificates), Arc<TempDir>>> = Mutex::new(BTreeMap::new());
    let key = (banks.join(","), certificates);
    let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let state = made.entry(key.clone()).or_insert_with(|| Arc::new(manufacture(&key.0, certificates)));
    Arc::clone(state)
}

fn manufacture(banks: &str, certificates: Certificates) -> TempDir {
    let folder = folder_in_memory();
    let mut command = Command::new("swtpm_setup");
    command.args(["--tpm2", "--pcr-banks", banks, "--tpmstate"]).arg(folder.path());
    command.arg("--config").arg(configuration(folder.path()));
    if certificates == Certificates::Local {
        command.arg("--create-ek-cert");
    }
    output_of(&mut command);
    folder
}

/// A certificate authority of its own, which swtpm_localca makes at its first use.
fn configuration(folder: &Path) -> PathBuf {
    let file = |name: &str, text: String| {
        fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let here = folder.display();
    let authority = file(
        "localca.conf",
        format!(
            "statedir = {here}\nsigningkey = {here}/signkey.pem\nissuercert = {here}/issuercert.pem\n\
             certserial = {here}/certserial\n"
        ),
    );
    let platform = "--platform-manufacturer Goldseal\n--platform-version 1\n--platform-model lab\n".to_owned();
    let options = file("localca.options", platform);
    file(
        "setup.conf",
        format!(
            "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\n\
             create_certs_tool_options = {}\nactive_pcr_banks = sha256\n",
            authority.display(),
            options.display()
        ),
    )
}
