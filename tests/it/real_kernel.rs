//! A stock kernel of Debian, its IMA and a TPM behind a real interface, held to a list that was made of the very images it
//! boots. The machine is accepted; it runs a script that nobody listed; the next quote is rejected, and names exactly that.

use std::fs;
use std::path::Path;
use std::process::Command;

use goldseal_tests::forge::machine::assert_findings;
use goldseal_tests::forge::time;
use goldseal_tests::lab::Pki;
use goldseal_tests::lab::guest::{Guest, Kernel, Tree};
use goldseal_tests::lab::qemu::{Firmware, Machine};
use goldseal_tests::{World, goldseal, goldseal_agent, output_of, skip_unless, skips};
use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, BootState, Verdict};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::envelope::Envelope;
use goldseal_verifier_core::evidence::Head;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::keylime::QuoteText;
use goldseal_verifier_core::tpm::{AttestationKey, ExpectedSelection, PcrSelection, Sha1Signatures, read_pcr_blob};
use goldseal_verifier_core::trust::{Floor, Now, TrustRoot, TrustedKey, TrustedPolicy};
use serde_json::Value;

#[test]
fn the_kernel_of_debian_12_on_seabios() {
    the_script_is_caught(Kernel::Debian12, Firmware::SeaBios);
}

#[test]
fn the_kernel_of_debian_12_on_ovmf() {
    the_script_is_caught(Kernel::Debian12, Firmware::Ovmf);
}

#[test]
fn a_newer_kernel_on_seabios() {
    the_script_is_caught(Kernel::Newer, Firmware::SeaBios);
}

#[test]
fn a_newer_kernel_on_ovmf() {
    the_script_is_caught(Kernel::Newer, Firmware::Ovmf);
}

fn the_script_is_caught(kernel: Kernel, firmware: Firmware) {
    let Some(site) = Site::prepared(kernel, ANY_BOOT) else { return };
    let mut machine = site.boots(firmware);
    let ak = site.enrols(&mut machine);
    machine.run("goldseal-agent doctor");
    machine.gives("/run/golden.whitelist", &fs::read(site.world.path("golden.whitelist")).unwrap());

    for evidence in [site.evidence(&machine, b"\x01"), site.keylimes_evidence(&machine, b"before", &ak)] {
        let result = site.judged(&evidence);
        assert_findings(&result, &[]);
        assert_eq!((result.verdict(), result.tail()), (Verdict::Accepted, 0));
    }
    let (exit, said) = machine.tries(CHECK);
    assert_eq!((exit, &json(&said)["verdict"]), (0, &"accepted".into()));

    machine.run(EVIL);
    for evidence in [site.evidence(&machine, b"\x02"), site.keylimes_evidence(&machine, b"after", &ak)] {
        let result = site.judged(&evidence);
        assert_findings(&result, &[("/root/evil_script.sh", "not-in-whitelist")]);
        assert_eq!(result.verdict(), Verdict::Rejected);
    }
    let (exit, said) = machine.tries(CHECK);
    let findings = json(&said)["findings"].clone();
    assert_eq!((exit, findings.as_array().unwrap().len()), (1, 1), "{findings}");
    assert_eq!(findings[0]["path"], "/root/evil_script.sh");
}

/// The machine asks itself what a verifier will say.
const CHECK: &str = "goldseal-agent check --policy /run/golden.whitelist --json 2>/dev/console";

/// Comes over the console, as from somebody who got in.
const EVIL: &str = "printf '#!/bin/sh\necho evil\n' >/root/evil_script.sh
chmod +x /root/evil_script.sh
/root/evil_script.sh";

/// Which boot it is nobody knows before the first one.
const ANY_BOOT: &str = "--boot-aggregate any";

/// What `goldseal explain` says of the first boot makes the list that holds the next one to the same firmware. The agent
/// comes back with the same key.
#[test]
fn the_boot_is_learned_once_and_proven_from_then_on() {
    let Some(site) = Site::prepared(Kernel::Debian12, "") else { return };
    let mut machine = site.boots(Firmware::SeaBios);
    site.enrols(&mut machine);
    let first = site.evidence(&machine, b"\x01");
    assert_findings(&site.judged(&first), &[("boot_aggregate", "boot-aggregate")]);
    let explained = site.world.goldseal("explain --policy golden.whitelist --ima-log log --json").exits(1).json();
    let groups = explained["policies"][0]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{explained}");
    let option = groups[0]["admit"][0]["option"].as_str().unwrap();
    assert!(option.starts_with("--boot-aggregate sha256:"), "{option}");

    site.seals(option);
    site.world.goldseal("explain --policy golden.whitelist --ima-log log").exits(0);
    let result = site.judged(&first);
    assert_eq!((result.verdict(), result.boot_state()), (Verdict::Accepted, BootState::Proven));
    machine.reboots();
    let second = site.evidence(&machine, b"\x02");
    assert_eq!(first.ak, second.ak);
    let second = site.judged(&second);
    assert_eq!((second.verdict(), second.boot_state()), (Verdict::Accepted, BootState::Proven));
    let boots = [result, second].map(|result| result.boot());
    assert_eq!((boots[1].reset_count, boots[1].restart_count), (boots[0].reset_count + 1, 0), "{boots:?}");
}

/// `goldseal ima-policy` on kernels that run, and not on files of them. There is no agent in them, and no network is
/// used: tpm2-tools quote.
#[test]
fn the_recommended_ima_policy_is_taken_by_kernels_and_measures_programs() {
    for kernel in [Kernel::Debian12, Kernel::Newer] {
        let Some(site) = Site::prepared_with(kernel, "", ANY_BOOT, |_, root| {
            root.program(goldseal(), "/usr/bin/goldseal").holds("/etc/one", "one\n").holds("/etc/other", "other\n");
            root.program(Path::new("/usr/bin/tpm2"), "/usr/bin/tpm2").tcti();
        }) else {
            continue;
        };
        let mut machine = site.boots(Firmware::SeaBios);
        // ima_policy=tcb measures all that and more: what root reads.
        machine.run("goldseal ima-policy check");
        machine.run("cat /etc/one");
        machine.run("goldseal ima-policy print >/run/policy && cat /run/policy >/sys/kernel/security/ima/policy");
        machine.run("goldseal ima-policy check");
        machine.run("cat /etc/other");
        let list = machine.file("/sys/kernel/security/ima/ascii_runtime_measurements");
        let list = String::from_utf8(list).unwrap();
        assert_eq!((list.contains(" /etc/one"), list.contains(" /etc/other")), (true, false), "{list}");
        machine.run(EVIL);
        let result = site.judged(&Evidence::by_tools(&mut machine, b"\x03"));
        assert_findings(&result, &[("/root/evil_script.sh", "not-in-whitelist")]);
    }
}

/// Where lists are made and machines are judged: images, keys, the list.
struct Site {
    world: World,
    guest: Guest,
    /// Of `goldseal build`, for every list.
    excludes: &'static str,
}

impl Site {
    /// A machine with the agent, as docs/real-kernel.md makes it by hand. `None` if the kernel is not there.
    fn prepared(kernel: Kernel, arguments: &str) -> Option<Self> {
        // What the agent keeps is not of the image; under tcb it is measured when it is read again.
        Self::prepared_with(kernel, "--exclude /var/lib/goldseal-agent", arguments, |world, root| {
            let clients = Pki::new();
            world.file("client.pem", fs::read(clients.client("verifier")).unwrap());
            root.program(goldseal_agent(), "/usr/bin/goldseal-agent").tcti();
            root.holds("/etc/passwd", "root:x:0:0::/root:/bin/sh\ngoldseal-agent:x:900:900::/:/bin/false\n");
            root.holds("/etc/group", "root:x:0:\ngoldseal-agent:x:900:\n");
            root.holds("/etc/goldseal/agent.toml", AGENT);
            root.holds("/etc/goldseal/clients.pem", fs::read(clients.ca()).unwrap());
            root.holds("/etc/goldseal/golden.key.pub", fs::read(world.path("golden.key.pub")).unwrap());
            root.holds("/etc/rc", "goldseal-agent serve >/dev/console 2>&1 &\n");
        })
    }

    fn prepared_with(
        kernel: Kernel,
        excludes: &'static str,
        arguments: &str,
        adds: impl FnOnce(&World, &Tree),
    ) -> Option<Self> {
        let (name, todo) = (format!("{kernel:?} under qemu"), "there is no such kernel: run tests/real-kernel/kernels");
        match kernel {
            Kernel::Debian12 if !skip_unless(kernel.is_there(), &name, todo) => return None,
            // Debian need not offer one.
            Kernel::Newer if !kernel.is_there() => {
                skips(&name, todo);
                return None;
            }
            _ => {}
        }
        let world = World::in_target();
        world.goldseal("keygen --no-passphrase golden.key").exits(0);
        let root = Tree::of_root(world.path("root"));
        adds(&world, &root);
        let guest = Guest::new(kernel, &root, &world.path(""));
        let site = Self { world, guest, excludes };
        site.seals(arguments);
        Some(site)
    }

    /// Lists both images, and seals the list.
    fn seals(&self, arguments: &str) {
        let inputs = format!("--root root --initramfs initramfs.img {}", self.excludes);
        self.world.goldseal(&format!("build -q --force {inputs} {arguments} -o golden.whitelist")).exits(0);
        self.world.goldseal("sign --yes golden.whitelist --key golden.key").exits(0);
    }

    fn boots(&self, firmware: Firmware) -> Machine {
        Machine::boot(&self.guest, firmware, &self.world.path("machine"))
    }

    /// What is carried from a machine to its verifier by a way that is trusted, here the console: the agent's certificate,
    /// and the Name of its AK. Gives its AK.
    fn enrols(&self, machine: &mut Machine) -> Vec<u8> {
        let tls = "/var/lib/goldseal-agent/tls.pem";
        let wait = format!("until [ -s {tls} ]; do sleep 0.1; done");
        let pem = machine.run(&format!("{wait}; sed -n '/BEGIN CERTIFICATE/,$p' {tls}"));
        self.world.file("server.pem", pem);
        let identity = json(&machine.run("goldseal-agent identity --json 2>/dev/console"));
        assert_eq!(identity["ek_certificate"], true, "{identity}");
        let ak = self.evidence(machine, b"\x00").ak;
        let name = AttestationKey::from_public_area(&ak).unwrap().name().to_string();
        assert_eq!(identity["ak_name"], name);
        ak
    }

    /// What goldseal's verifier asks of the agent.
    fn evidence(&self, machine: &Machine, nonce: &[u8]) -> Evidence {
        let body = self.asks(machine, &format!("/v1/evidence?nonce={}", hex::encode(nonce)));
        let (head, list) = Head::parse(&body).unwrap();
        assert_eq!(head.claimed_first_entry, 0);
        Evidence {
            nonce: nonce.to_vec(),
            asked: (0..=10).collect(),
            ak: head.claimed_ak,
            attest: head.attest,
            signature: head.signature,
            pcrs: head.pcr_blob,
            list: body[list..].to_vec(),
        }
    }

    /// What Keylime's asks. PCR 16 comes unasked: it binds the agent's TLS key.
    fn keylimes_evidence(&self, machine: &Machine, nonce: &[u8], ak: &[u8]) -> Evidence {
        let text = str::from_utf8(nonce).unwrap();
        let route = format!("/v2.1/quotes/integrity?nonce={text}&mask=0x400&partial=0&ima_ml_entry=0");
        let results = json(&self.asks(machine, &route))["results"].clone();
        assert_eq!(results["hash_alg"], "sha256");
        let quote = QuoteText::parse(results["quote"].as_str().unwrap()).unwrap();
        Evidence {
            nonce: nonce.to_vec(),
            asked: vec![10, 16],
            ak: ak.to_vec(),
            attest: quote.attest,
            signature: quote.signature,
            pcrs: quote.pcr_blob,
            list: results["ima_measurement_list"].as_str().unwrap().into(),
        }
    }

    /// By curl(1), with a client's certificate; the agent's is the one that was enrolled.
    fn asks(&self, machine: &Machine, route: &str) -> Vec<u8> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
        curl.args(["--cert", "client.pem", "--cacert", "server.pem"]);
        // After a boot it may not be there yet: qemu answers for the guest, and hangs up.
        curl.args(["--retry", "60", "--retry-delay", "1", "--retry-all-errors"]);
        output_of(curl.arg(format!("https://{}{route}", machine.agent())).current_dir(self.world.path("")))
    }

    /// The judgement of the sealed list: by core, and by `goldseal appraise` from files, which must say the same.
    /// tpm2-tools look at the quote besides.
    fn judged(&self, evidence: &Evidence) -> AttestationResult {
        let result = evidence.appraised(&Appraiser::new(self.policy()));
        let Evidence { ak, attest, signature, pcrs, list, .. } = evidence;
        for (name, bytes) in [("ak", ak), ("msg", attest), ("sig", signature), ("pcrs", pcrs), ("log", list)] {
            self.world.file(name, bytes);
        }
        let nonce = hex::encode(&evidence.nonce);
        let mut tpm2 = Command::new("tpm2_checkquote");
        tpm2.args(["-u", "ak", "-m", "msg", "-s", "sig", "-f", "pcrs", "-g", "sha256", "-q", &nonce]);
        output_of(tpm2.current_dir(self.world.path("")));

        let files = "--ak ak --quote msg --signature sig --pcrs pcrs --ima-log log";
        let sealed = "--policy golden.whitelist --trust golden.key.pub";
        let run = self.world.goldseal(&format!("appraise {sealed} {files} --nonce {nonce} --json"));
        let said = run.exits(i32::from(result.verdict() == Verdict::Rejected)).json()["findings"].clone();
        let said: Vec<_> = said.as_array().unwrap().iter().map(|finding| finding["word"].clone()).collect();
        let words: Vec<_> = result.findings().iter().map(|finding| finding.kind.word()).collect();
        assert_eq!(said, words);
        result
    }

    /// The sealed list, taken through all steps of docs/format.md, Verifying.
    fn policy(&self) -> TrustedPolicy {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-pubin", "-outform", "DER", "-in"]).arg(self.world.path("golden.key.pub"));
        let key = PublicKey::from_spki_der(&output_of(&mut openssl)).unwrap();
        let root = TrustRoot::of_keys(vec![TrustedKey { name: "golden".to_owned(), key }], None).unwrap();
        let sealed = fs::read(self.world.path("golden.whitelist")).unwrap();
        let (envelope, head_len) = Envelope::parse(&sealed).unwrap();
        let now = Now::by_clock(time("2026-07-01T00:00:00Z"));
        let header = root.authenticate(envelope, now).unwrap();
        header.admit(now, &Floor::default()).unwrap().load(&sealed[head_len..]).unwrap()
    }
}

/// The agent's configuration; the rest is as it comes.
const AGENT: &str = "\
listen = \"0.0.0.0:9002\"
names = [\"127.0.0.1\"]
client_ca = [\"/etc/goldseal/clients.pem\"]
trust = [\"/etc/goldseal/golden.key.pub\"]
user = \"goldseal-agent\"
";

/// What a verifier gets of a machine.
struct Evidence {
    nonce: Vec<u8>,
    /// The PCRs that must be quoted, in the sha256 bank.
    asked: Vec<u8>,
    ak: Vec<u8>,
    attest: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<u8>,
    list: Vec<u8>,
}

impl Evidence {
    /// By tpm2-tools in the guest.
    fn by_tools(machine: &mut Machine, nonce: &[u8]) -> Self {
        machine.run(&format!(
            "export TPM2TOOLS_TCTI=device:/dev/tpmrm0; cd /run
             tpm2 createek -Q -G ecc -c ek.ctx
             tpm2 createak -Q -C ek.ctx -c ak.ctx -G ecc -s ecdsa -g sha256 -u ak.pub
             tpm2 quote -Q -c ak.ctx -l sha256:0,1,2,3,4,5,6,7,8,9,10 -q {} -m msg -s sig -o pcrs",
            hex::encode(nonce)
        ));
        Self {
            nonce: nonce.to_vec(),
            asked: (0..=10).collect(),
            ak: machine.file("/run/ak.pub"),
            attest: machine.file("/run/msg"),
            signature: machine.file("/run/sig"),
            pcrs: machine.file("/run/pcrs"),
            list: machine.file("/sys/kernel/security/ima/binary_runtime_measurements"),
        }
    }
    fn appraised(&self, appraiser: &Appraiser) -> AttestationResult {
        let ak = AttestationKey::from_public_area(&self.ak).unwrap();
        let asked = PcrSelection::new(self.asked.iter().map(|pcr| (HashAlgorithm::Sha256, *pcr))).unwrap();
        let asked = ExpectedSelection::Exactly(&asked);
        let quote = ak.verify_quote(&self.attest, &self.signature, &self.nonce, asked, Sha1Signatures::Refuse).unwrap();
        let quoted = quote.bind(read_pcr_blob(&self.pcrs).unwrap()).unwrap();
        let list = MeasurementList::parse(&self.list, &Limits::DEFAULT).unwrap();
        appraiser.appraise(&appraiser.evidence(&list, quoted).unwrap())
    }
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
}
