//! A stock kernel of Debian, its IMA and a TPM behind a real interface, held to a list that was made of the very images it
//! boots. The machine is accepted; it runs a script that nobody listed; the next quote is rejected, and names exactly that.

use std::fs;
use std::path::Path;
use std::process::Command;

use goldseal_tests::forge::machine::{assert_findings, findings};
use goldseal_tests::forge::time;
use goldseal_tests::lab::guest::{Guest, Kernel, Tree};
use goldseal_tests::lab::qemu::{Firmware, Machine};
use goldseal_tests::{World, goldseal, output_of, skip_unless, skips};
use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, BootState, Verdict};
use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::envelope::Envelope;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::key::PublicKey;
use goldseal_verifier_core::tpm::{AttestationKey, ExpectedSelection, PcrSelection, Sha1Signatures, read_pcr_blob};
use goldseal_verifier_core::trust::{Floor, Now, TrustRoot, TrustedKey, TrustedPolicy};

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
    let Some((world, guest)) = prepared(kernel, ANY_BOOT, |_| ()) else { return };
    let mut machine = Machine::boot(&guest, firmware, &world.path("machine"));
    let before = judged(&world, &Evidence::taken(&mut machine, b"before"));
    assert_eq!(findings(&before), []);
    assert_eq!((before.verdict(), before.tail()), (Verdict::Accepted, 0));
    // Some of it ran before there was a root.
    assert!(before.counts().good > 10, "{:?}", before.counts());

    machine.run(EVIL);
    let after = judged(&world, &Evidence::taken(&mut machine, b"after"));
    assert_findings(&after, &[("/root/evil_script.sh", "not-in-whitelist")]);
    assert_eq!(after.verdict(), Verdict::Rejected);
    assert_eq!(after.counts().good, before.counts().good);
}

/// Comes over the console, as from somebody who got in.
const EVIL: &str = "printf '#!/bin/sh\necho evil\n' >/root/evil_script.sh
chmod +x /root/evil_script.sh
/root/evil_script.sh";

/// Which boot it is nobody knows before the first one.
const ANY_BOOT: &str = "--boot-aggregate any";

/// What `goldseal explain` says of the first boot makes the list that holds the next one to the same firmware.
#[test]
fn the_boot_is_learned_once_and_proven_from_then_on() {
    let Some((world, guest)) = prepared(Kernel::Debian12, "", |_| ()) else { return };
    let mut machine = Machine::boot(&guest, Firmware::SeaBios, &world.path("machine"));
    let first = Evidence::taken(&mut machine, b"first");
    assert_findings(&judged(&world, &first), &[("boot_aggregate", "boot-aggregate")]);
    let explained = world.goldseal("explain --policy golden.whitelist --ima-log log --json").exits(1).json();
    let groups = explained["policies"][0]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{explained}");
    let option = groups[0]["admit"][0]["option"].as_str().unwrap();
    assert!(option.starts_with("--boot-aggregate sha256:"), "{option}");

    seal(&world, option);
    world.goldseal("explain --policy golden.whitelist --ima-log log").exits(0);
    let result = judged(&world, &first);
    assert_eq!((result.verdict(), result.boot_state()), (Verdict::Accepted, BootState::Proven));
    machine.reboots();
    let second = judged(&world, &Evidence::taken(&mut machine, b"second"));
    assert_eq!((second.verdict(), second.boot_state()), (Verdict::Accepted, BootState::Proven));
    let boots = [result, second].map(|result| result.boot());
    assert_eq!((boots[1].reset_count, boots[1].restart_count), (boots[0].reset_count + 1, 0), "{boots:?}");
}

/// `goldseal ima-policy` on kernels that run, and not on files of them.
#[test]
fn the_recommended_ima_policy_is_taken_by_kernels_and_measures_programs() {
    for kernel in [Kernel::Debian12, Kernel::Newer] {
        let program = |root: &Tree| {
            root.program(goldseal(), "/usr/bin/goldseal").holds("/etc/one", "one\n").holds("/etc/other", "other\n");
        };
        let Some((world, guest)) = prepared(kernel, ANY_BOOT, program) else { continue };
        let mut machine = Machine::boot(&guest, Firmware::SeaBios, &world.path("machine"));
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
        let result = judged(&world, &Evidence::taken(&mut machine, b"after"));
        assert_findings(&result, &[("/root/evil_script.sh", "not-in-whitelist")]);
    }
}

/// The images of a machine, and the list that was made of them and sealed, as docs/real-kernel.md does it by hand. `None` if
/// the kernel is not there.
fn prepared(kernel: Kernel, arguments: &str, adds: impl FnOnce(&Tree)) -> Option<(World, Guest)> {
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
    let root = Tree::of_root(world.path("root"));
    root.program(Path::new("/usr/bin/tpm2"), "/usr/bin/tpm2").tcti();
    adds(&root);
    let guest = Guest::new(kernel, &root, &world.path(""));
    world.goldseal("keygen --no-passphrase golden.key").exits(0);
    seal(&world, arguments);
    Some((world, guest))
}

/// Lists both images, and seals the list.
fn seal(world: &World, arguments: &str) {
    let inputs = "--root root --initramfs initramfs.img";
    world.goldseal(&format!("build -q --force {inputs} {arguments} -o golden.whitelist")).exits(0);
    world.goldseal("sign --yes golden.whitelist --key golden.key").exits(0);
}

/// What a verifier gets of a machine.
struct Evidence {
    nonce: Vec<u8>,
    ak: Vec<u8>,
    attest: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<u8>,
    list: Vec<u8>,
}

impl Evidence {
    /// By tpm2-tools in the guest.
    fn taken(machine: &mut Machine, nonce: &[u8]) -> Self {
        machine.run(&format!(
            "export TPM2TOOLS_TCTI=device:/dev/tpmrm0; cd /run
             [ -e ak.ctx ] || {{
                 tpm2 createek -Q -G ecc -c ek.ctx
                 tpm2 createak -Q -C ek.ctx -c ak.ctx -G ecc -s ecdsa -g sha256 -u ak.pub
             }}
             tpm2 quote -Q -c ak.ctx -l sha256:0,1,2,3,4,5,6,7,8,9,10 -q {} -m msg -s sig -o pcrs",
            hex::encode(nonce)
        ));
        Self {
            nonce: nonce.to_vec(),
            ak: machine.file("/run/ak.pub"),
            attest: machine.file("/run/msg"),
            signature: machine.file("/run/sig"),
            pcrs: machine.file("/run/pcrs"),
            list: machine.file("/sys/kernel/security/ima/binary_runtime_measurements"),
        }
    }
}

/// The judgement of the sealed list: by core, and by `goldseal appraise` from files, which must say the same. tpm2-tools
/// look at the quote besides.
fn judged(world: &World, evidence: &Evidence) -> AttestationResult {
    let result = appraise(&Appraiser::new(policy(world)), evidence);
    world.file("ak", &evidence.ak);
    world.file("msg", &evidence.attest);
    world.file("sig", &evidence.signature);
    world.file("pcrs", &evidence.pcrs);
    world.file("log", &evidence.list);
    let nonce = hex::encode(&evidence.nonce);
    let mut tpm2 = Command::new("tpm2_checkquote");
    tpm2.args(["-u", "ak", "-m", "msg", "-s", "sig", "-f", "pcrs", "-g", "sha256", "-q", &nonce]);
    output_of(tpm2.current_dir(world.path("")));

    let files = "--ak ak --quote msg --signature sig --pcrs pcrs --ima-log log";
    let sealed = "--policy golden.whitelist --trust golden.key.pub";
    let run = world.goldseal(&format!("appraise {sealed} {files} --nonce {nonce} --json"));
    let json = run.exits(i32::from(result.verdict() == Verdict::Rejected)).json();
    let said: Vec<_> = json["findings"].as_array().unwrap().iter().map(|finding| finding["word"].clone()).collect();
    let words: Vec<_> = result.findings().iter().map(|finding| finding.kind.word()).collect();
    assert_eq!(said, words);
    result
}

fn appraise(appraiser: &Appraiser, evidence: &Evidence) -> AttestationResult {
    let ak = AttestationKey::from_public_area(&evidence.ak).unwrap();
    let asked = PcrSelection::new((0..=10).map(|pcr| (HashAlgorithm::Sha256, pcr))).unwrap();
    let asked = ExpectedSelection::Exactly(&asked);
    let Evidence { attest, signature, nonce, .. } = evidence;
    let quote = ak.verify_quote(attest, signature, nonce, asked, Sha1Signatures::Refuse).unwrap();
    let quoted = quote.bind(read_pcr_blob(&evidence.pcrs).unwrap()).unwrap();
    let list = MeasurementList::parse(&evidence.list, &Limits::DEFAULT).unwrap();
    appraiser.appraise(&appraiser.evidence(&list, quoted).unwrap())
}

/// The sealed list, taken through all steps of docs/format.md, Verifying.
fn policy(world: &World) -> TrustedPolicy {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkey", "-pubin", "-outform", "DER", "-in"]).arg(world.path("golden.key.pub"));
    let key = PublicKey::from_spki_der(&output_of(&mut openssl)).unwrap();
    let root = TrustRoot::of_keys(vec![TrustedKey { name: "golden".to_owned(), key }], None).unwrap();
    let sealed = fs::read(world.path("golden.whitelist")).unwrap();
    let (envelope, head_len) = Envelope::parse(&sealed).unwrap();
    let now = Now::by_clock(time("2026-07-01T00:00:00Z"));
    let header = root.authenticate(envelope, now).unwrap();
    header.admit(now, &Floor::default()).unwrap().load(&sealed[head_len..]).unwrap()
}
