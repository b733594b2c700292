//! Keylime's own verifier, registrar and tenant (the Python package), on loopback, in a folder of their own.
//!
//! They are installed once, into a virtual environment below the target folder.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{output_of, target_folder};

/// What is installed.
const REQUIREMENTS: &str = include_str!("../../keylime/requirements.txt");

/// Python programs on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A registrar, and a verifier if it was asked for. They are killed when it goes.
#[derive(Debug)]
pub struct Keylime {
    folder: TempDir,
    ports: Ports,
    processes: Vec<Child>,
}

#[derive(Debug)]
struct Ports {
    verifier: u16,
    /// For agents, plain HTTP.
    registrar: u16,
    registrar_tls: u16,
}

impl Keylime {
    /// A registrar and a verifier. The verifier makes the certificates of all of them.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let ports = Ports { verifier: free_port(), registrar: free_port(), registrar_tls: free_port() };
        let mut keylime = Self { folder, ports, processes: Vec::new() };
        for (component, text) in keylime.configuration() {
            fs::write(keylime.path(component).with_extension("conf"), text).unwrap();
        }
        keylime.spawn("keylime_verifier", keylime.ports.verifier);
        keylime.spawn("keylime_registrar", keylime.ports.registrar);
        keylime
    }

    /// Where agents register: `host:port`.
    pub fn registrar(&self) -> String {
        format!("127.0.0.1:{}", self.ports.registrar)
    }

    /// The certificate of the CA of the verifier's and the tenant's client certificates.
    pub fn client_ca(&self) -> PathBuf {
        self.path("work/cv_ca/cacert.crt")
    }

    /// A client certificate and its key, as verifier and tenant have.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.path("work/cv_ca/client-cert.crt"), self.path("work/cv_ca/client-private.pem"))
    }

    /// Where the tenant looks for CA certificates of TPM makers.
    pub fn tpm_cert_store(&self) -> PathBuf {
        self.path("tpm_cert_store")
    }

    /// A run of the tenant.
    pub fn tenant(&self, arguments: &[&str]) -> Output {
        self.command("keylime_tenant").args(arguments).output().unwrap()
    }

    /// What the verifier knows of an agent.
    pub fn status(&self, uuid: &str) -> Value {
        self.asked("cvstatus", uuid)
    }

    /// What the registrar knows of one.
    pub fn registered(&self, uuid: &str) -> Value {
        self.asked("regstatus", uuid)
    }

    /// The tenant prints a JSON object that has the agent's, alone or below `results`, among the lines of its log.
    fn asked(&self, command: &str, uuid: &str) -> Value {
        let output = self.tenant(&["-c", command, "-u", uuid]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let objects = text.lines().filter_map(|line| serde_json::from_str::<Value>(&line[line.find('{')?..]).ok());
        let agent =
            objects.filter_map(|object| object.get("results").unwrap_or(&object).get(uuid).cloned()).next_back();
        agent.unwrap_or_else(|| panic!("{command} says nothing of {uuid}: {text}"))
    }

    /// Waits until the verifier says something of an agent, and returns all it says.
    pub fn wait_for(&self, uuid: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + START;
        loop {
            let status = self.status(uuid);
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "never {what}: {status}\n{}", self.log("keylime_verifier"));
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// What a program has logged.
    pub fn log(&self, program: &str) -> String {
        fs::read_to_string(self.path(program).with_extension("log")).unwrap_or_default()
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&mut self, program: &str, port: u16) {
        let log = fs::File::create(self.path(program).with_extension("log")).unwrap();
        let mut command = self.command(program);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.processes.push(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.processes.last_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{program}: {ended:?}\n{}", self.log(program));
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(installed().join("bin").join(program));
        command.env("KEYLIME_DIR", self.path("work")).current_dir(self.folder.path());
        for component in self.configuration().into_keys() {
            let file = self.path(component).with_extension("conf");
            command.env(format!("KEYLIME_{}_CONFIG", component.to_uppercase()), file);
        }
        command
    }

    /// Keylime's defaults (templates/2.6), with ports of our own, a poll every second and no more processes than needed.
    fn configuration(&self) -> BTreeMap<&'static str, String> {
        fs::create_dir_all(self.path("work")).unwrap();
        fs::create_dir_all(self.tpm_cert_store()).unwrap();
        let Ports { verifier, registrar, registrar_tls } = self.ports;
        let store = self.tpm_cert_store();
        // Seven and no others: the verifier holds an event against the highest of the default ones, whatever is configured.
        let severities = r#"["info", "notice", "warning", "error", "critical", "alert", "emergency"]"#;
        let tls = "server_key = default\nserver_key_password =\nserver_cert = default\n\
                   cert_subject_alternative_names =\ntrusted_client_ca = default\nclient_key = default\n\
                   client_key_password =\nclient_cert = default\ntrusted_server_ca = default\n\
                   enable_agent_mtls = True\nexponential_backoff = True\nretry_interval = 1\nmax_retries = 5\n\
                   authorization_provider = simple\ndatabase_url = sqlite\ndatabase_pool_sz_ovfl = 5,10\n\
                   auto_migrate_db = True\ndurable_attestation_import =\npersistent_store_url =\n\
                   transparency_log_url =\ntime_stamp_authority_url =\ntime_stamp_authority_certs_path =\n\
                   persistent_store_format = json\npersistent_store_encoding =\ntransparency_log_sign_algo = sha256\n";
        BTreeMap::from([
            (
                "verifier",
                format!(
                    "[verifier]\nversion = 2.6\nuuid = default\nip = 127.0.0.1\nport = {verifier}\n\
                     registrar_ip = 127.0.0.1\nregistrar_port = {registrar_tls}\ntls_dir = generate\n{tls}\
                     num_workers = 1\nmax_workers = 2\nquote_interval = 1\nmax_upload_size = 104857600\n\
                     request_timeout = 60.0\nmeasured_boot_policy_name = accept-all\nmeasured_boot_imports = []\n\
                     measured_boot_evaluate = once\nsigned_attributes =\nseverity_labels = {severities}\n\
                     severity_policy = [{{\"event_id\": \".*\", \"severity_label\": \"emergency\"}}]\n\
                     ignore_tomtou_errors = False\nrequire_allow_list_signatures = False\nmode = pull\n\
                     challenge_lifetime = 1800\nverification_timeout = 0\nsession_lifetime = 180\n\
                     session_create_rate_limit_per_ip = 50\nsession_create_rate_limit_window_ip = 60\n\
                     session_create_rate_limit_per_agent = 15\nsession_create_rate_limit_window_agent = 60\n\
                     extend_token_on_attestation = True\nauto_recover_attestation_failures = False\n\
                     shutdown_drain_timeout = 1\n\n[revocations]\nenabled_revocation_notifications = ['agent']\n\
                     zmq_ip = 127.0.0.1\nzmq_port = 8992\nwebhook_url =\n"
                ),
            ),
            (
                "registrar",
                format!(
                    "[registrar]\nversion = 2.6\nip = 127.0.0.1\nport = {registrar}\ntls_port = {registrar_tls}\n\
                     tls_dir = default\n{tls}max_workers = 1\nsigned_attributes = ek_tpm,aik_tpm,ekcert\n\
                     tpm_identity = default\nmalformed_cert_action = warn\n"
                ),
            ),
            (
                "tenant",
                format!(
                    "[tenant]\nversion = 2.6\nverifier_ip = 127.0.0.1\nverifier_port = {verifier}\n\
                     registrar_ip = 127.0.0.1\nregistrar_port = {registrar_tls}\ntls_dir = default\n{tls}\
                     tpm_cert_store = {}\nmax_payload_size = 1048576\n\
                     accept_tpm_hash_algs = ['sha512', 'sha384', 'sha256']\n\
                     accept_tpm_encryption_algs = ['ecc', 'rsa']\naccept_tpm_signing_algs = ['ecschnorr', 'rsassa']\n\
                     request_timeout = 60\nrequire_ek_cert = True\nek_check_script =\nmb_refstate =\n",
                    store.display()
                ),
            ),
            ("ca", "[ca]\nversion = 2.6\npassword = default\ncert_country = US\ncert_ca_name = CA\ncert_state = MA\n\
                    cert_locality = L\ncert_organization = O\ncert_org_unit = U\ncert_ca_lifetime = 3650\n\
                    cert_lifetime = 365\ncert_bits = 2048\ncert_crl_dist = http://localhost:38080/crl\n".to_owned()),
            (
                "logging",
                "[logging]\nversion = 2.6\n[loggers]\nkeys = root,keylime\n[handlers]\nkeys = consoleHandler\n\
                 [formatters]\nkeys = formatter\n[formatter_formatter]\nformat = %(name)s - %(levelname)s - %(message)s\n\
                 datefmt =\n[logger_root]\nlevel = INFO\nhandlers = consoleHandler\n[handler_consoleHandler]\n\
                 class = StreamHandler\nlevel = INFO\nformatter = formatter\nargs = (sys.stdout,)\n[logger_keylime]\n\
                 level = INFO\nqualname = keylime\nhandlers =\n"
                    .to_owned(),
            ),
        ])
    }
}

impl Drop for Keylime {
    fn drop(&mut self) {
        // The verifier has workers, which end when it does so in its own way.
        for process in &self.processes {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        for process in &mut self.processes {
            while Instant::now() < deadline && matches!(process.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The virtual environment, made once for these requirements.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = target_folder().join("keylime");
        let stamp = folder.join("requirements.txt");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
            return folder;
        }
        let _ = fs::remove_dir_all(&folder);
        let start = Instant::now();
        output_of(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let pip = folder.join("bin/pip");
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("keylime/requirements.txt");
        output_of(
            Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements),
        );
        // Keylime imports gpg, for policies with PGP signatures alone; the package needs a compiler and a library.
        let packages = output_of(
            Command::new(folder.join("bin/python"))
                .args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]),
        );
        let packages = String::from_utf8(packages).unwrap();
        fs::write(Path::new(packages.trim()).join("gpg.py"), "").unwrap();
        fs::write(stamp, REQUIREMENTS).unwrap();
        println!("keylime was installed in {} s", start.elapsed().as_secs());
        folder
    })
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
