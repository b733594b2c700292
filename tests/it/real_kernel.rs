//! A stock kernel of Debian, its IMA and a TPM behind a real interface, held to a list that was made of the very images it
//! boots. The machine is accepted; it runs a script that nobody listed; the next quote is rejected, and names exactly that.

use std::fs;
use std::path::Path;
use std::process::Command;

use goldseal_tests::forge::machine::{assert_findings, findings};
use goldseal_tests::forge::time;
use goldseal_tests::lab::guest::{Guest, Kernel, Tree};
use goldseal_tests::lab::qemu::{Firmware, Machine};
use goldseal_tests::{World, output_of, skip_unless, skips};
use goldseal_verifier_core::appraise::{Appraiser, AttestationResult, Verdict};
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
    let Some((world, guest)) = prepared(kernel) else { return };
    let mut machine = Machine::boot(&guest, firmware, &world.path("machine"));
    let before = appraise(&world, &Evidence::taken(&mut machine, b"before"));
    assert_eq!(findings(&before), []);
    assert_eq!((before.verdict(), before.tail()), (Verdict::Accepted, 0));

    machine.run(EVIL);
    let after = appraise(&world, &Evidence::taken(&mut machine, b"after"));
    assert_findings(&after, &[("/root/evil_script.sh", "not-in-whitelist")]);
    assert_eq!(after.verdict(), Verdict::Rejected);
}

/// Comes over the console, as from somebody who got in.
const EVIL: &str = "printf '#!/bin/sh\necho evil\n' >/root/evil_script.sh
chmod +x /root/evil_script.sh
/root/evil_script.sh";

/// The images of a machine, and the list that was made of them and sealed, as docs/real-kernel.md does it by hand. `None` if
/// the kernel is not there.
fn prepared(kernel: Kernel) -> Option<(World, Guest)> {
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
    let guest = Guest::new(kernel, &root, &world.path(""));
    world.goldseal("keygen --no-passphrase golden.key").exits(0);
    world.goldseal("build -q --root root --initramfs initramfs.img --boot-aggregate any -o golden.whitelist").exits(0);
    world.goldseal("sign --yes golden.whitelist --key golden.key").exits(0);
    Some((world, guest))
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

/// The judgement of the sealed list, from the files as they stand there.
fn appraise(world: &World, evidence: &Evidence) -> AttestationResult {
    let appraiser = Appraiser::new(policy(world));
    let expected = PcrSelection::new((0..=10).map(|pcr| (HashAlgorithm::Sha256, pcr))).unwrap();
    let ak = AttestationKey::from_public_area(&evidence.ak).unwrap();
    let quote = ak
        .verify_quote(
            &evidence.attest,
            &evidence.signature,
            &evidence.nonce,
            ExpectedSelection::Exactly(&expected),
            Sha1Signatures::Refuse,
        )
        .unwrap();
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
