//! The agent's TPM at a real one in software: what it quotes is believed by verifier-core and by tpm2-tools, and nothing
//! that a TPM does to it makes it crash, hang, or leave something behind.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use goldseal_agent::tpm::{
    AkKind, EkCertificate, EkKind, Foreign, Identity, Quote, QuoteRequest, Tpm, TpmConfig, TpmError,
};
use goldseal_tests::forge::measurements::Measurement;
use goldseal_tests::lab::kernel::pcr_extend;
use goldseal_tests::lab::mux::command_code;
use goldseal_tests::lab::swtpm::free_ports;
use goldseal_tests::lab::{Certificates, Fate, Mux, SimulatedKernel, Swtpm};
use goldseal_tests::output_of;
use goldseal_verifier_core::digest::{Digest, HashAlgorithm};
use goldseal_verifier_core::ima::boot_aggregate;
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::ima::replay::ReplayMode;
use goldseal_verifier_core::pcr::PcrValues;
use goldseal_verifier_core::tpm::{
    AttestationKey, AttestationKeyError, Attribute, Boot, Clock, ExpectedSelection, PcrSelection, QuotedPcrs,
    Sha1Signatures, SignatureAlgorithm, read_pcr_blob,
};

use HashAlgorithm::{Sha1, Sha256, Sha384, Sha512};

const NONCE: &[u8] = b"0123456789abcdef0123456789ABCDEF";

/// Where the agent keeps its key, unless it is told otherwise.
const AK_HANDLE: u32 = 0x8101_0010;

#[test]
fn quotes_of_both_kinds_are_believed() {
    for kind in [AkKind::EccP256, AkKind::Rsa2048] {
        let swtpm = Swtpm::new();
        swtpm.extend(10, "sha256", &"ab".repeat(32));
        let tpm = start(&swtpm, |config| config.ak = kind);
        let identity = tpm.identity_blocking().unwrap();
        let quote = tpm.quote_blocking(request(&[0, 7, 10])).unwrap();
        assert_eq!(quote.banks, [Sha256]);
        let quoted = believed(&identity, &quote, &[(Sha256, 0), (Sha256, 7), (Sha256, 10)]);
        let extended = Digest::of(Sha256, [&[0; 32][..], &[0xab; 32]]);
        assert_eq!(quoted.values().value(Sha256, 10), Some(&extended));
        assert!(tpm2_checkquote(&swtpm, &identity, &quote, NONCE));
        assert!(!tpm2_checkquote(&swtpm, &identity, &quote, b"another nonce"));
        assert_eq!(swtpm.left_over(), "");
    }
}

/// TPM2B_DATA has room for a digest and its algorithm; libtss2 passes 64 bytes at most.
#[test]
fn nonces_have_limits() {
    let swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    let quote = |length: usize| {
        let nonce = vec![0xa5; length];
        tpm.quote_blocking(QuoteRequest { nonce: nonce.clone(), ..request(&[10]) }).map(|quote| (nonce, quote))
    };
    assert_eq!(quote(0), Err(TpmError::EmptyNonce));
    for length in [1, 32, 64] {
        let (nonce, quote) = quote(length).unwrap();
        assert!(tpm2_checkquote(&swtpm, &identity, &quote, &nonce), "{length} bytes");
    }
    for length in [65, 66, 1_000_000] {
        assert_eq!(quote(length), Err(TpmError::NonceTooLong { found: length, max: 64 }));
    }
    assert_eq!(tpm.properties_blocking().unwrap().max_nonce, 64);
}

#[test]
fn requests_without_sense_are_refused() {
    let swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let quote = |request| tpm.quote_blocking(request).map(drop);
    let none = quote(request(&[]));
    assert!(matches!(none, Err(TpmError::Selection(_))), "{none:?}");
    let none = quote(request(&[10, 24]));
    assert!(matches!(none, Err(TpmError::Selection(_))), "{none:?}");
    let inactive = QuoteRequest { banks: vec![Sha256, Sha512], ..request(&[10]) };
    let active = vec![Sha1, Sha256];
    assert_eq!(quote(inactive), Err(TpmError::InactiveBank { bank: Sha512, active }));
}

#[test]
fn the_key_is_the_same_after_every_restart() {
    for kind in [AkKind::EccP256, AkKind::Rsa2048] {
        let mut swtpm = Swtpm::new();
        let configured = |config: &mut TpmConfig| config.ak = kind;
        let first = start(&swtpm, configured).identity_blocking().unwrap();
        assert_eq!(key(&first).scheme().algorithm, algorithm(kind));
        assert_eq!(start(&swtpm, configured).identity_blocking(), Ok(first.clone()), "another agent");
        let tpm = start(&swtpm, configured);
        swtpm.power_cut();
        assert_eq!(tpm.identity_blocking(), Ok(first.clone()), "after a power cut");
        swtpm.reset();
        assert_eq!(tpm.identity_blocking(), Ok(first.clone()), "after a reset");
        // What the TPM says of it.
        let name = String::from_utf8(swtpm.tool("tpm2_readpublic -Q -c 0x81010010 -n name")).unwrap();
        assert_eq!(name, "");
        assert_eq!(key(&first).name().to_bytes(), fs::read(swtpm.path("name")).unwrap());
        assert_eq!(swtpm.left_over(), "");
    }
}

#[test]
fn several_banks_in_one_quote() {
    let swtpm = Swtpm::with(&["sha1", "sha256", "sha384", "sha512"], Certificates::None);
    for bank in HashAlgorithm::ALL {
        swtpm.extend(10, bank.name(), &"5a".repeat(bank.digest_len()));
    }
    let tpm = start(&swtpm, |_| {});
    assert_eq!(tpm.properties_blocking().unwrap().banks, HashAlgorithm::ALL);
    let identity = tpm.identity_blocking().unwrap();
    // In whatever order they are asked for, and twice.
    let banks = vec![Sha512, Sha1, Sha384, Sha256, Sha1];
    let quote = tpm.quote_blocking(QuoteRequest { banks, ..request(&(0..24).collect::<Vec<u8>>()) }).unwrap();
    assert_eq!(quote.banks, HashAlgorithm::ALL);
    let all: Vec<_> = HashAlgorithm::ALL.into_iter().flat_map(|bank| (0..24).map(move |pcr| (bank, pcr))).collect();
    believed(&identity, &quote, &all);
    assert!(tpm2_checkquote(&swtpm, &identity, &quote, NONCE));
    // tpm2_pcrread says the same, bank by bank.
    swtpm.tool("tpm2_pcrread -Q -o values");
    assert_eq!(fs::read(swtpm.path("values")).unwrap(), values_of(&quote));
}

/// The values in a PCR blob, one after the other.
fn values_of(quote: &Quote) -> Vec<u8> {
    let values = read_pcr_blob(&quote.pcr_blob).unwrap();
    let banks: Vec<HashAlgorithm> = values.banks().collect();
    banks.iter().flat_map(|bank| values.pcrs(*bank)).flat_map(|(_, value)| value.as_bytes().to_vec()).collect()
}

/// The bank, and the hash that the key signs with: SHA-1 is never chosen for that.
#[test]
fn tpms_with_one_bank() {
    for (bank, scheme) in [(Sha1, Sha256), (Sha256, Sha256), (Sha384, Sha384), (Sha512, Sha512)] {
        for kind in [AkKind::EccP256, AkKind::Rsa2048] {
            if (kind, scheme) == (AkKind::EccP256, Sha512) {
                // No curve of 256 bits is checked with SHA-512.
                continue;
            }
            let swtpm = Swtpm::with(&[bank.name()], Certificates::None);
            let tpm = start(&swtpm, |config| config.ak = kind);
            let identity = tpm.identity_blocking().unwrap();
            let quote = tpm.quote_blocking(request(&[0, 10])).unwrap();
            assert_eq!(quote.banks, [bank]);
            assert_eq!(key(&identity).scheme().hash, scheme);
            believed(&identity, &quote, &[(bank, 0), (bank, 10)]);
            assert!(tpm2_checkquote(&swtpm, &identity, &quote, NONCE), "{bank} {kind}");
        }
    }
}

#[test]
fn a_sha1_key_is_made_if_it_is_asked_for() {
    let swtpm = Swtpm::with(&["sha1"], Certificates::None);
    let tpm = start(&swtpm, |config| (config.ak, config.ak_hash) = (AkKind::Rsa2048, Some(Sha1)));
    let identity = tpm.identity_blocking().unwrap();
    assert_eq!(key(&identity).scheme().hash, Sha1);
    let quote = tpm.quote_blocking(request(&[10])).unwrap();
    assert!(tpm2_checkquote(&swtpm, &identity, &quote, NONCE));
}

#[test]
fn pcr_16_tells_what_is_bound() {
    let swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    let key = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
    for bytes in [key, Vec::new()] {
        let banks = vec![Sha1, Sha256];
        let bound = QuoteRequest { banks, bind: Some(bytes.clone()), ..request(&[10]) };
        let quote = tpm.quote_blocking(bound).unwrap();
        let quoted = believed(&identity, &quote, &[(Sha1, 10), (Sha1, 16), (Sha256, 10), (Sha256, 16)]);
        for bank in [Sha1, Sha256] {
            let extension = Digest::of(bank, [&bytes[..]]);
            let expected = Digest::of(bank, [Digest::filled(bank, 0).as_bytes(), extension.as_bytes()]);
            assert_eq!(quoted.values().value(bank, 16), Some(&expected), "{bank}");
        }
    }
    // Nothing but what is bound, as for Keylime's identity quote.
    let bound = QuoteRequest { bind: Some(b"key".to_vec()), ..request(&[]) };
    believed(&identity, &tpm.quote_blocking(bound).unwrap(), &[(Sha256, 16)]);
}

/// A boot is (resetCount, restartCount), and the TPM's own words for them are those of the quote: the key is in the
/// endorsement hierarchy.
#[test]
fn resets_restarts_and_power_cuts_are_told() {
    let mut swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    let seen = |swtpm: &Swtpm| {
        let quoted = believed(&identity, &tpm.quote_blocking(request(&[10])).unwrap(), &[(Sha256, 10)]);
        let said = String::from_utf8(swtpm.tool("tpm2_readclock")).unwrap();
        let number = |name: &str| -> u32 {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        let (boot, clock) = (quoted.boot(), quoted.clock());
        assert_eq!((boot.reset_count, boot.restart_count), (number("reset_count:"), number("restart_count:")));
        (boot, clock, quoted.values().value(Sha256, 10).unwrap().is_zero())
    };
    swtpm.extend(10, "sha256", &"01".repeat(32));
    let (first, _, zero) = seen(&swtpm);
    assert!(!zero);

    swtpm.sleep_and_resume();
    let (resumed, _, zero) = seen(&swtpm);
    assert_eq!((resumed.reset_count, resumed.restart_count), (first.reset_count, first.restart_count + 1));
    assert!(!zero, "a resume keeps PCR 10");

    swtpm.sleep_and_boot();
    let (restarted, _, zero) = seen(&swtpm);
    assert_eq!((restarted.reset_count, restarted.restart_count), (resumed.reset_count, resumed.restart_count + 1));
    assert!(zero, "a restart does not");

    swtpm.reset();
    let (reset, before, zero) = seen(&swtpm);
    assert_eq!((reset.reset_count, reset.restart_count), (restarted.reset_count + 1, 0));
    assert!(zero && before.safe);

    // The clock goes back to what was saved last, which may have been a moment ago: every 4 s, or at a shutdown.
    let (mut boot, mut went_back) = (reset, false);
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(600));
        let (_, before, _): (Boot, Clock, bool) = seen(&swtpm);
        swtpm.power_cut();
        let (cut, after, zero) = seen(&swtpm);
        assert_eq!((cut.reset_count, cut.restart_count), (boot.reset_count + 1, 0));
        assert!(zero && !after.safe, "{after:?}");
        went_back |= after.millis < before.millis;
        boot = cut;
    }
    assert!(went_back);
    assert_eq!(swtpm.left_over(), "");
}

#[test]
fn a_series_goes_on_after_the_tpm_was_killed() {
    let mut swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    let series = thread::spawn(move || (0..60).map(|_| tpm.quote_blocking(request(&[0, 10]))).collect::<Vec<_>>());
    for pause in [50, 150, 100] {
        thread::sleep(Duration::from_millis(pause));
        swtpm.kill();
        thread::sleep(Duration::from_millis(300));
        swtpm.start_again();
    }
    for quote in series.join().unwrap() {
        believed(&identity, &quote.unwrap(), &[(Sha256, 0), (Sha256, 10)]);
    }
    assert_eq!(swtpm.left_over(), "");
}

#[test]
fn a_lost_tpm_is_lost_and_an_absent_one_absent() {
    let mut swtpm = Swtpm::new();
    let short = |config: &mut TpmConfig| config.deadline = Duration::from_millis(700);
    let tpm = start(&swtpm, short);
    // Creating the key may take longer than that.
    let identity = start(&swtpm, |_| {}).identity_blocking().unwrap();
    assert_eq!(tpm.identity_blocking(), Ok(identity.clone()));
    swtpm.kill();
    let before = Instant::now();
    let lost = tpm.quote_blocking(request(&[10]));
    assert!(matches!(lost, Err(TpmError::Lost { .. })), "{lost:?}");
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    swtpm.start_again();
    believed(&identity, &tpm.quote_blocking(request(&[10])).unwrap(), &[(Sha256, 10)]);

    // Where nobody ever was.
    let mut config = TpmConfig::new(format!("swtpm:host=127.0.0.1,port={}", free_ports()));
    short(&mut config);
    let tcti = config.tcti.clone();
    assert_eq!(Tpm::start(config).unwrap().identity_blocking(), Err(TpmError::Absent { tcti }));
}

#[test]
fn ways_to_nowhere() {
    for tcti in ["", "tpm", "swtpm:path=/run/tpm", "swtpm:host=127.0.0.1,prt=1", "swtpm:port=one", "device;/dev/tpm0"] {
        let error = Tpm::start(TpmConfig::new(tcti)).map(drop);
        assert_eq!(error, Err(TpmError::Tcti { tcti: tcti.to_owned() }), "{tcti}");
    }
    for handle in [0, 0x8180_0000, 0x8000_0000, 0x4000_0001] {
        let mut config = TpmConfig::new("device");
        config.ak_handle = handle;
        assert_eq!(Tpm::start(config).map(drop), Err(TpmError::AkHandle { handle }));
    }
    let at = |tcti: &str| {
        let mut config = TpmConfig::new(tcti);
        config.deadline = Duration::from_millis(100);
        Tpm::start(config).unwrap().properties_blocking().map(drop)
    };
    let nowhere = "device:/nonexistent/tpmrm0";
    assert_eq!(at(nowhere), Err(TpmError::Absent { tcti: nowhere.to_owned() }));
    // A device that swallows commands and answers nothing.
    assert!(matches!(at("device:/dev/null"), Err(TpmError::Lost { .. })), "{:?}", at("device:/dev/null"));
}

#[test]
fn fifty_at_once() {
    let swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let quotes = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..50_u8 {
            let tpm = tpm.clone();
            tasks.spawn(async move {
                let bind = Some(vec![number; 3]);
                (number, tpm.quote(QuoteRequest { nonce: vec![number; 20], bind, ..request(&[10]) }).await)
            });
        }
        tasks.join_all().await
    });
    // Each has its own nonce and its own PCR 16.
    let numbers: BTreeSet<u8> = quotes.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), 50);
    let selection = PcrSelection::new([(Sha256, 10), (Sha256, 16)]).unwrap();
    for (number, quote) in quotes {
        let quote = quote.unwrap();
        let (expected, nonce) = (ExpectedSelection::Exactly(&selection), vec![number; 20]);
        let refuse = Sha1Signatures::Refuse;
        let verified = key(&identity).verify_quote(&quote.attest, &quote.signature, &nonce, expected, refuse);
        let quoted = verified.unwrap().bind(read_pcr_blob(&quote.pcr_blob).unwrap()).unwrap();
        let bound = Digest::sha256(&[&[0; 32][..], Digest::sha256(&[number; 3]).as_bytes()].concat());
        assert_eq!(quoted.values().value(Sha256, 16), Some(&bound));
    }
    assert_eq!(swtpm.left_over(), "");
}

#[test]
fn nothing_is_left_in_the_tpm() {
    let swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    for number in 0..200 {
        tpm.quote_blocking(request(&[10])).unwrap();
        if number % 20 == 0 {
            // What fails leaves nothing either.
            assert!(tpm.activate_blocking(vec![0; 50], vec![0; 256]).is_err());
            let inactive = QuoteRequest { banks: vec![Sha384], ..request(&[10]) };
            assert!(tpm.quote_blocking(inactive).is_err());
        }
    }
    assert_eq!(swtpm.left_over(), "");
}

#[test]
fn foreign_objects_stay_where_they_are() {
    let swtpm = Swtpm::new();
    let name = |swtpm: &Swtpm| {
        swtpm.tool("tpm2_readpublic -Q -c 0x81010010 -n name");
        fs::read(swtpm.path("name")).unwrap()
    };
    let refused = |change: fn(&mut TpmConfig), expected: Foreign| {
        let before = name(&swtpm);
        let found = start(&swtpm, change).identity_blocking();
        assert_eq!(found, Err(TpmError::ForeignObject { handle: AK_HANDLE, reason: expected }));
        assert_eq!(name(&swtpm), before, "it was overwritten");
        assert_eq!(swtpm.left_over(), "");
    };
    // A storage key.
    swtpm.tool("tpm2_createprimary -Q -C o -c primary.ctx");
    swtpm.tool("tpm2_evictcontrol -Q -C o -c primary.ctx 0x81010010");
    swtpm.tool("tpm2_flushcontext -t");
    refused(|_| {}, Foreign::NotAnAk(AttestationKeyError::AttributeMissing(Attribute::Sign)));

    // An attestation key of another kind, and one under another endorsement key.
    swtpm.tool("tpm2_evictcontrol -Q -C o -c 0x81010010");
    let identity = start(&swtpm, |config| config.ek = Some(EkKind::EccP256)).identity_blocking().unwrap();
    let found = key(&identity).scheme();
    refused(|config| config.ak = AkKind::Rsa2048, Foreign::OtherKind { found, configured: AkKind::Rsa2048 });
    let configured = AkKind::EccP256;
    refused(|config| config.ak_hash = Some(Sha384), Foreign::OtherKind { found, configured });
    refused(|config| config.ek = Some(EkKind::Rsa2048), Foreign::OtherParent);
    // Without a configured one, the endorsement key is the one that it is under.
    assert_eq!(start(&swtpm, |_| {}).identity_blocking(), Ok(identity));

    // And elsewhere there is room.
    let elsewhere = |config: &mut TpmConfig| (config.ak, config.ak_handle) = (AkKind::Rsa2048, 0x8101_0abc);
    start(&swtpm, elsewhere).identity_blocking().unwrap();
    swtpm.tool("tpm2_readpublic -Q -c 0x81010abc");
}

/// A verifier that knows the old key refuses the new one: an agent that runs does not make one by itself.
#[test]
fn a_key_that_is_gone_is_not_replaced_in_silence() {
    let mut swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    swtpm.tool("tpm2_evictcontrol -Q -C o -c 0x81010010");
    let gone = TpmError::AkGone { handle: AK_HANDLE, name: key(&identity).name() };
    let short = |config: &mut TpmConfig| config.deadline = Duration::from_secs(3);
    assert_eq!(tpm.quote_blocking(request(&[10])), Err(gone.clone()));
    swtpm.power_cut();
    assert_eq!(tpm.identity_blocking(), Err(gone));
    // After a restart there is a new one, which the old agent does not take for its own.
    let new = start(&swtpm, short).identity_blocking().unwrap();
    assert_ne!(new.ak_public, identity.ak_public);
    assert_eq!(new.ek_public, identity.ek_public);
    let other = TpmError::ForeignObject { handle: AK_HANDLE, reason: Foreign::OtherName };
    assert_eq!(tpm.quote_blocking(request(&[10])), Err(other));
}

#[test]
fn secrets_are_recovered_and_those_for_others_are_not() {
    for (ek, certificates) in [
        (EkKind::Rsa2048, Certificates::Local),
        (EkKind::Rsa2048, Certificates::None),
        (EkKind::EccP256, Certificates::None),
    ] {
        let swtpm = Swtpm::with(&["sha256"], certificates);
        let tpm = start(&swtpm, |config| config.ek = Some(ek));
        let identity = tpm.identity_blocking().unwrap();
        fs::write(swtpm.path("ek.tpm2b"), &identity.ek_public).unwrap();
        let secret = b"0123456789abcdef0123456789abcdef";
        fs::write(swtpm.path("secret"), secret).unwrap();
        let credential = |name: &str| {
            swtpm.tool(&format!("tpm2_makecredential -Q -T none -u ek.tpm2b -s secret -n {name} -o credential"));
            parts(&fs::read(swtpm.path("credential")).unwrap())
        };
        let name = key(&identity).name().to_string();
        let (id_object, encrypted) = credential(&name);
        let opened = tpm.activate_blocking(id_object.clone(), encrypted.clone()).unwrap();
        assert_eq!(opened.as_slice(), secret, "{ek:?}");

        let refused = |id_object: Vec<u8>, encrypted: Vec<u8>| {
            let opened = tpm.activate_blocking(id_object, encrypted);
            assert!(matches!(opened, Err(TpmError::CredentialRefused { .. })), "{opened:?}");
        };
        let (other, to_other) = credential(&format!("000b{}", "00".repeat(32)));
        refused(other.clone(), to_other);
        refused(other, encrypted.clone());
        let mut damaged = id_object.clone();
        *damaged.last_mut().unwrap() ^= 1;
        refused(damaged, encrypted.clone());
        refused(id_object.clone(), encrypted[1..].to_vec());
        refused(Vec::new(), Vec::new());
        refused(vec![0; 10_000], encrypted.clone());
        refused(id_object.clone(), vec![0; 10_000]);
        // It can be opened again: no session or key is left over, and none is used up.
        assert_eq!(tpm.activate_blocking(id_object, encrypted).unwrap().as_slice(), secret);
        assert_eq!(swtpm.left_over(), "");
    }
}

/// tpm2_makecredential's file: magic and version, then TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.
fn parts(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let rest = file.strip_prefix(b"\xba\xdc\xc0\xde\0\0\0\x01").unwrap();
    let sized = |bytes: &[u8]| {
        let (body, rest) = bytes[2..].split_at(u16::from_be_bytes([bytes[0], bytes[1]]).into());
        (body.to_vec(), rest.to_vec())
    };
    let (id_object, rest) = sized(rest);
    let (encrypted, rest) = sized(&rest);
    assert!(rest.is_empty());
    (id_object, encrypted)
}

#[test]
fn a_certificate_counts_if_it_is_of_the_key() {
    let swtpm = Swtpm::new();
    let identity = start(&swtpm, |_| {}).identity_blocking().unwrap();
    let der = identity.ek_certificate.der().expect("swtpm has one");
    // openssl reads the same key from it, and finds nothing behind it.
    fs::write(swtpm.path("ek.der"), der).unwrap();
    fs::write(swtpm.path("ek.tpm2b"), &identity.ek_public).unwrap();
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        output_of(command.args(line.split(' ')).current_dir(swtpm.path("")))
    };
    assert_eq!(openssl("x509 -inform der -in ek.der -outform der"), der);
    let theirs = openssl("x509 -inform der -in ek.der -noout -pubkey");
    assert_eq!(swtpm.tool("tpm2_print -t TPM2B_PUBLIC -f pem ek.tpm2b"), theirs);

    // Of a P-256 key swtpm has none; and what is put there instead.
    let with = |ek, expected: fn(&EkCertificate) -> bool| {
        let tpm = start(&swtpm, |config| (config.ek, config.ak_handle) = (Some(ek), 0x8101_0200));
        let found = tpm.identity_blocking().unwrap();
        assert!(expected(&found.ek_certificate), "{:?}", found.ek_certificate);
        assert_eq!(swtpm.left_over(), "");
        found
    };
    let ecc = with(EkKind::EccP256, |found| *found == EkCertificate::Absent);
    let nv = |bytes: &[u8]| {
        fs::write(swtpm.path("nv"), bytes).unwrap();
        let attributes = "ownerwrite|ownerread|authread|authwrite|no_da";
        swtpm.tool(&format!("tpm2_nvdefine -Q -C o -s {} -a '{attributes}' 0x01c0000a", bytes.len()));
        swtpm.tool("tpm2_nvwrite -Q -C o -i nv 0x01c0000a");
    };
    let no_nv = || drop(swtpm.tool("tpm2_nvundefine -Q -C o 0x01c0000a"));
    // The certificate of the RSA key, and of swtpm's P-384 key.
    nv(der);
    with(EkKind::EccP256, |found| *found == EkCertificate::OfAnotherKey);
    no_nv();
    swtpm.tool("tpm2_nvread -Q -C o -o p384.der 0x01c00016");
    nv(&fs::read(swtpm.path("p384.der")).unwrap());
    with(EkKind::EccP256, |found| *found == EkCertificate::OfAnotherKey);
    no_nv();
    for garbage in [&b"no certificate at all"[..], &[0xff; 900], &[0; 900], &der[..der.len() - 1], &[0x30, 0]] {
        nv(garbage);
        with(EkKind::EccP256, |found| *found == EkCertificate::Unreadable);
        no_nv();
    }
    // One that is of the key, made by openssl; and with the room behind it filled up, as makers do.
    fs::write(swtpm.path("ecc.tpm2b"), &ecc.ek_public).unwrap();
    fs::write(swtpm.path("ecc.pem"), swtpm.tool("tpm2_print -t TPM2B_PUBLIC -f pem ecc.tpm2b")).unwrap();
    openssl("genpkey -algorithm ED25519 -out ca.key");
    openssl("x509 -new -key ca.key -force_pubkey ecc.pem -subj /CN=maker -outform der -out good.der");
    let good = fs::read(swtpm.path("good.der")).unwrap();
    for padding in [vec![], vec![0; 700], vec![0xff; 300]] {
        nv(&[good.clone(), padding].concat());
        let found = with(EkKind::EccP256, |found| matches!(found, EkCertificate::Fits(_)));
        assert_eq!(found.ek_certificate.der(), Some(good.as_slice()));
        no_nv();
    }
    // The kind whose certificate fits is preferred, and RSA if both do.
    nv(&good);
    let preferred = |handle| start(&swtpm, |config| config.ak_handle = handle).identity_blocking().unwrap();
    assert_eq!(preferred(0x8101_0300).ek_public, identity.ek_public);
    swtpm.tool("tpm2_nvundefine -Q -C p 0x01c00002");
    let found = preferred(0x8101_0301);
    assert_eq!(found.ek_public, ecc.ek_public);
    assert_eq!(found.ek_certificate, EkCertificate::Fits(good));
    no_nv();
    let found = preferred(0x8101_0302);
    assert_eq!((found.ek_public, found.ek_certificate), (identity.ek_public.clone(), EkCertificate::Absent));
}

/// The examples of tpm2-tools keep attestation keys where endorsement keys belong.
#[test]
fn what_is_at_the_place_of_an_endorsement_key_need_not_be_one() {
    let swtpm = Swtpm::with(&["sha256"], Certificates::None);
    let created = start(&swtpm, |_| {}).identity_blocking().unwrap();
    swtpm.tool("tpm2_createprimary -Q -C o -c primary.ctx");
    swtpm.tool("tpm2_evictcontrol -Q -C o -c primary.ctx 0x81010001");
    swtpm.tool("tpm2_flushcontext -t");
    assert_eq!(start(&swtpm, |_| {}).identity_blocking(), Ok(created.clone()));
    // tpm2-tools make the same key, by the same template.
    swtpm.tool("tpm2_evictcontrol -Q -C o -c 0x81010001");
    swtpm.tool("tpm2_createek -Q -c 0x81010001 -G rsa -u ek.tpm2b");
    assert_eq!(fs::read(swtpm.path("ek.tpm2b")).unwrap(), created.ek_public);
    assert_eq!(start(&swtpm, |_| {}).identity_blocking(), Ok(created));
    assert_eq!(swtpm.left_over(), "");
}

#[test]
fn passwords_of_hierarchies() {
    let swtpm = Swtpm::with(&["sha256"], Certificates::None);
    swtpm.tool("tpm2_changeauth -c o owner");
    swtpm.tool("tpm2_changeauth -c e endorsement");
    let refused = start(&swtpm, |_| {}).identity_blocking();
    assert!(matches!(refused, Err(TpmError::Unauthorised { .. })), "{refused:?}");
    let half = start(&swtpm, |config| config.endorsement_auth = b"endorsement".to_vec().into()).identity_blocking();
    assert!(matches!(half, Err(TpmError::Unauthorised { .. })), "{half:?}");
    assert_eq!(swtpm.left_over(), "");
    let tpm = start(&swtpm, |config| {
        (config.owner_auth, config.endorsement_auth) = (b"owner".to_vec().into(), b"endorsement".to_vec().into());
    });
    let identity = tpm.identity_blocking().unwrap();
    believed(&identity, &tpm.quote_blocking(request(&[10])).unwrap(), &[(Sha256, 10)]);
    assert_eq!(swtpm.left_over(), "");
}

#[test]
fn who_the_tpm_is() {
    let swtpm = Swtpm::new();
    let found = start(&swtpm, |_| {}).properties_blocking().unwrap();
    let said = String::from_utf8(swtpm.tool("tpm2_getcap properties-fixed")).unwrap();
    assert_eq!((found.manufacturer.as_str(), found.vendor.as_str()), ("IBM", "SWTPM"));
    assert!(said.contains("\"IBM\"") || said.contains("IBM"), "{said}");
    for number in [found.firmware.0, found.firmware.1] {
        assert!(said.contains(&format!("0x{number:X}")) || said.contains(&format!("0x{number:08X}")), "{said}");
    }
    assert_eq!((found.banks.clone(), found.default_bank()), (vec![Sha1, Sha256], Some(Sha256)));
}

/// Faults on the way: each command of a quote is done again, and the quote comes.
#[test]
fn stumbles_of_the_tpm_are_got_over() {
    let swtpm = Swtpm::new();
    let mux = swtpm.mux();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    // RETRY, YIELDED, TESTING, NV_RATE, SESSION_MEMORY, INITIALIZE, REFERENCE_H0; and connections that break.
    let codes = [0x922, 0x908, 0x90a, 0x920, 0x903, 0x100, 0x910].map(Fate::Code);
    for fate in codes.into_iter().chain([Fate::Close, Fate::CloseAfter]) {
        for code in [TPM2_QUOTE, TPM2_PCR_READ, TPM2_PCR_EXTEND] {
            // After RETRY, YIELDED and TESTING libtss2 itself tries five times.
            let is_tried = [0x922, 0x908, 0x90a].map(Fate::Code).contains(&fate);
            let (mut left, told) = (if is_tried { 7 } else { 2 }, fate.clone());
            mux.rule(move |command| {
                let stumbles = command_code(command) == code && left > 0;
                left -= i32::from(stumbles);
                if stumbles { told.clone() } else { Fate::Pass }
            });
            let bind = Some(b"key".to_vec());
            let quote = tpm.quote_blocking(QuoteRequest { bind, ..request(&[10]) });
            let quote = quote.unwrap_or_else(|error| panic!("{fate:?} {code:#x}: {error:?}"));
            believed(&identity, &quote, &[(Sha256, 10), (Sha256, 16)]);
        }
    }
    mux.no_rule();
    assert_eq!(swtpm.left_over(), "");
}

/// The same for every command of making keys and opening credentials, whose sessions and transient keys must not stay.
#[test]
fn broken_requests_leave_nothing() {
    let swtpm = Swtpm::with(&["sha256"], Certificates::None);
    let mux = swtpm.mux();
    for (handle, code) in (0x8101_0400..).zip([
        TPM2_CREATE_PRIMARY,
        TPM2_START_AUTH_SESSION,
        TPM2_POLICY_SECRET,
        TPM2_CREATE,
        TPM2_LOAD,
        TPM2_EVICT_CONTROL,
        TPM2_READ_PUBLIC,
        TPM2_FLUSH_CONTEXT,
    ]) {
        for (handle, fate) in [(handle, Fate::Code(0x922)), (handle + 0x100, Fate::Close), (handle + 0x200, REFUSED)] {
            let tpm = start(&swtpm, |config| (config.ak_handle, config.ek) = (handle, Some(EkKind::EccP256)));
            let (mut left, told) = (if fate == Fate::Close { 3 } else { 6 }, fate.clone());
            mux.rule(move |command| {
                let stumbles = command_code(command) == code && left > 0;
                left -= i32::from(stumbles);
                if stumbles { told.clone() } else { Fate::Pass }
            });
            let made = tpm.identity_blocking();
            if fate == REFUSED && code != TPM2_FLUSH_CONTEXT {
                assert_eq!(made, Err(TpmError::Refused { code: 0x120 }), "{code:#x}");
            }
            mux.no_rule();
            tpm.identity_blocking().unwrap_or_else(|error| panic!("{fate:?} {code:#x}: {error:?}"));
            assert_eq!(swtpm.left_over(), "", "{fate:?} {code:#x}");
            swtpm.tool(&format!("tpm2_evictcontrol -Q -C o -c {handle:#x}"));
        }
    }
}

/// TPM_RC_DISABLED: for good.
const REFUSED: Fate = Fate::Code(0x120);

#[test]
fn states_have_names() {
    let swtpm = Swtpm::new();
    let mux = swtpm.mux();
    start(&swtpm, |_| {}).identity_blocking().unwrap();
    let short = |config: &mut TpmConfig| config.deadline = Duration::from_millis(800);
    let tpm = start(&swtpm, short);
    tpm.identity_blocking().unwrap();
    for (code, expected) in [
        (0x922, TpmError::Busy { code: 0x922 }),
        (0x90a, TpmError::Busy { code: 0x90a }),
        (0x100, TpmError::Resetting { code: 0x100 }),
        (0x101, TpmError::Failed { code: 0x101 }),
        (0x120, TpmError::Refused { code: 0x120 }),
    ] {
        let of_quote = move |command: &[u8]| command_code(command) == TPM2_QUOTE;
        mux.rule(move |command| if of_quote(command) { Fate::Code(code) } else { Fate::Pass });
        assert_eq!(tpm.quote_blocking(request(&[10])), Err(expected), "{code:#x}");
        mux.no_rule();
        assert!(tpm.quote_blocking(request(&[10])).is_ok(), "after {code:#x}");
    }
    for error in [TpmError::Busy { code: 0 }, TpmError::Stopped, TpmError::QueueFull] {
        assert!(!error.to_string().is_empty() && !error.advice().is_empty());
    }
}

#[test]
fn a_tpm_that_was_reset_is_waited_for() {
    let swtpm = Swtpm::new();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    let short = start(&swtpm, |config| config.deadline = Duration::from_millis(500));
    short.identity_blocking().unwrap();
    swtpm.init();
    // TPM_RC_INITIALIZE: not even the key can be asked for.
    assert_eq!(short.quote_blocking(request(&[10])), Err(TpmError::Resetting { code: 0x100 }));
    let waiting = thread::spawn(move || tpm.quote_blocking(request(&[10])));
    thread::sleep(Duration::from_millis(300));
    swtpm.startup();
    believed(&identity, &waiting.join().unwrap().unwrap(), &[(Sha256, 10)]);
    assert_eq!(swtpm.left_over(), "");
}

/// A TPM that takes a command and never ends it: nobody waits longer than the deadline, and the rest is refused at once.
#[test]
fn a_hanging_tpm_hangs_nobody() {
    let swtpm = Swtpm::new();
    start(&swtpm, |_| {}).identity_blocking().unwrap();
    let tpm = start(&swtpm, |config| config.deadline = Duration::from_millis(800));
    let identity = tpm.identity_blocking().unwrap();
    let signal = |name: &str| output_of(Command::new("kill").args([name, &swtpm.pid().to_string()]));
    signal("-STOP");
    let before = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let errors = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..140 {
            let tpm = tpm.clone();
            tasks.spawn(async move { tpm.quote(request(&[10])).await.unwrap_err() });
        }
        tasks.join_all().await
    });
    let took = before.elapsed();
    signal("-CONT");
    let full = errors.iter().filter(|error| **error == TpmError::QueueFull).count();
    assert!((1..=12).contains(&full), "{full}");
    assert!(errors.iter().all(|error| matches!(error, TpmError::QueueFull | TpmError::TimedOut)), "{errors:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    // What was asked long ago is not done any more: the queue is empty as soon as the TPM is back.
    let quote = (0..100).find_map(|_| {
        thread::sleep(Duration::from_millis(20));
        tpm.quote_blocking(request(&[10])).ok()
    });
    believed(&identity, &quote.unwrap(), &[(Sha256, 10)]);
    assert_eq!(swtpm.left_over(), "");
}

/// PCR 10 is extended right after it was read: the values do not belong to the quote. Done three times it is got over; a
/// machine that does so always has no quote.
#[test]
fn pcrs_that_move() {
    let swtpm = Swtpm::new();
    let mux = swtpm.mux();
    let tpm = start(&swtpm, |_| {});
    let identity = tpm.identity_blocking().unwrap();
    let moving = |times: usize, pcr: u8| {
        let extend = pcr_extend(pcr, &[(Sha1, vec![1; 20]), (Sha256, vec![2; 32])]);
        let mut left = times;
        mux.rule(move |command| {
            let is_read = command_code(command) == TPM2_PCR_READ && left > 0;
            left -= usize::from(is_read);
            if is_read { Fate::Then(extend.clone()) } else { Fate::Pass }
        });
    };
    moving(3, 10);
    believed(&identity, &tpm.quote_blocking(request(&[10])).unwrap(), &[(Sha256, 10)]);
    moving(usize::MAX, 10);
    assert_eq!(tpm.quote_blocking(request(&[10])), Err(TpmError::PcrsMove { attempts: 16 }));
    // Another program extends PCR 16 between reset and quote: it tells something else then.
    let extend = pcr_extend(16, &[(Sha256, vec![2; 32])]);
    let mut left = 2;
    mux.rule(move |command| {
        let meddles = command_code(command) == TPM2_PCR_EXTEND && left > 0;
        left -= i32::from(meddles);
        if meddles { Fate::Then(extend.clone()) } else { Fate::Pass }
    });
    let quote = tpm.quote_blocking(QuoteRequest { bind: Some(b"key".to_vec()), ..request(&[]) }).unwrap();
    let quoted = believed(&identity, &quote, &[(Sha256, 16)]);
    let bound = Digest::sha256(&[&[0; 32][..], Digest::sha256(b"key").as_bytes()].concat());
    assert_eq!(quoted.values().value(Sha256, 16), Some(&bound));
}

/// A kernel measures while the agent quotes: every quote is of a prefix of the list.
#[test]
fn a_simulated_kernel_and_the_agent_share_a_tpm() {
    for (banks, aggregate) in [
        (&[Sha1, Sha256][..], Some(Sha256)),
        (&[Sha1], Some(Sha1)),
        (&[Sha384], None),
        (&[Sha256, Sha384], Some(Sha256)),
    ] {
        let names: Vec<&str> = banks.iter().map(|bank| bank.name()).collect();
        let swtpm = Swtpm::with(&names, Certificates::None);
        for bank in banks {
            swtpm.extend(4, bank.name(), &"44".repeat(bank.digest_len()));
        }
        // Through one of its own: they can be stacked.
        let mux = Mux::new(&swtpm);
        let mut kernel = SimulatedKernel::boot(&mux.socket(), banks, &swtpm.path("ima"));
        let (binary, ascii) = (kernel.binary(), kernel.ascii());
        let measuring = thread::spawn(move || {
            for number in 0..40 {
                kernel.measure(&Measurement::ng(format!("/usr/bin/program_{number}"), &[number]));
                if number % 10 == 0 {
                    kernel.measure(&Measurement::violation("/var/log/messages"));
                    kernel.measure(&Measurement::sig("/usr/bin/signed", &[number], &[3, 2, number]));
                    kernel.measure(&Measurement::buffer("kexec-cmdline", b"root=/dev/sda1"));
                }
            }
            kernel
        });
        let tpm = start(&swtpm, |_| {});
        let identity = tpm.identity_blocking().unwrap();
        let all: Vec<(HashAlgorithm, u8)> = banks.iter().flat_map(|bank| (0..=10).map(|pcr| (*bank, pcr))).collect();
        let pcrs: Vec<u8> = (0..=10).collect();
        let quoted = || {
            let quote = tpm.quote_blocking(QuoteRequest { banks: banks.to_vec(), ..request(&pcrs) }).unwrap();
            believed(&identity, &quote, &all)
        };
        let early = quoted();
        let mut kernel = measuring.join().unwrap();
        let late = quoted();
        // The list is ahead of its PCR.
        let tail = Measurement::ng("/usr/bin/late", b"late");
        kernel.list(&tail);
        let ahead = quoted();
        let bytes = fs::read(&binary).unwrap();
        let list = MeasurementList::parse(&bytes, &Limits::DEFAULT).unwrap();
        assert_eq!(list.len(), 1 + 40 + 4 * 3 + 1);
        let prefix = |values: &PcrValues| list.replay_to(values, ReplayMode::PerBank).unwrap().entries;
        assert!((1..list.len()).contains(&prefix(early.values())));
        assert_eq!((prefix(late.values()), prefix(ahead.values())), (list.len() - 1, list.len() - 1));
        kernel.extend(&tail);
        assert_eq!(prefix(quoted().values()), list.len());
        // What securityfs shows as text is the same list.
        let text = fs::read(&ascii).unwrap();
        assert_eq!(MeasurementList::parse(&text, &Limits::DEFAULT).unwrap().bytes(), bytes);
        let first = list.entries().next().unwrap();
        let digest = first.fields().unwrap().digest.unwrap().digest().unwrap();
        match aggregate {
            Some(bank) => assert_eq!(Some(digest), boot_aggregate::recompute(late.values(), bank)),
            None => assert!(digest.is_zero()),
        }
        assert_eq!(swtpm.left_over(), "");
    }
}

fn algorithm(kind: AkKind) -> SignatureAlgorithm {
    match kind {
        AkKind::EccP256 => SignatureAlgorithm::Ecdsa,
        AkKind::Rsa2048 => SignatureAlgorithm::RsaSsa,
    }
}

// TPM Part 2, 6.5.2.
const TPM2_EVICT_CONTROL: u32 = 0x120;
const TPM2_CREATE_PRIMARY: u32 = 0x131;
const TPM2_POLICY_SECRET: u32 = 0x151;
const TPM2_CREATE: u32 = 0x153;
const TPM2_LOAD: u32 = 0x157;
const TPM2_QUOTE: u32 = 0x158;
const TPM2_FLUSH_CONTEXT: u32 = 0x165;
const TPM2_READ_PUBLIC: u32 = 0x173;
const TPM2_START_AUTH_SESSION: u32 = 0x176;
const TPM2_PCR_READ: u32 = 0x17e;
const TPM2_PCR_EXTEND: u32 = 0x182;

/// An agent at a TPM, with a short deadline: nothing here takes a real TPM's time.
fn start(swtpm: &Swtpm, change: impl FnOnce(&mut TpmConfig)) -> Tpm {
    let mut config = TpmConfig::new(swtpm.tcti());
    config.deadline = Duration::from_secs(20);
    change(&mut config);
    Tpm::start(config).unwrap()
}

fn request(pcrs: &[u8]) -> QuoteRequest {
    QuoteRequest { pcrs: pcrs.to_vec(), nonce: NONCE.to_vec(), ..QuoteRequest::default() }
}

fn key(identity: &Identity) -> AttestationKey {
    AttestationKey::from_public_area(&identity.ak_public).unwrap()
}

/// What verifier-core makes of a quote, of exactly these PCRs.
#[track_caller]
fn believed(identity: &Identity, quote: &Quote, pcrs: &[(HashAlgorithm, u8)]) -> QuotedPcrs {
    let selection = PcrSelection::new(pcrs.iter().copied()).unwrap();
    let expected = ExpectedSelection::Exactly(&selection);
    let key = key(identity);
    let verified = key.verify_quote(&quote.attest, &quote.signature, NONCE, expected, Sha1Signatures::Refuse);
    verified.unwrap().bind(read_pcr_blob(&quote.pcr_blob).unwrap()).unwrap()
}

fn tpm2_checkquote(swtpm: &Swtpm, identity: &Identity, quote: &Quote, nonce: &[u8]) -> bool {
    for (name, bytes) in [
        ("ak.tpm2b", &identity.ak_public),
        ("attest", &quote.attest),
        ("signature", &quote.signature),
        ("pcrs", &quote.pcr_blob),
    ] {
        fs::write(swtpm.path(name), bytes).unwrap();
    }
    let pem = swtpm.tool("tpm2_print -t TPM2B_PUBLIC -f pem ak.tpm2b");
    fs::write(swtpm.path("ak.pem"), pem).unwrap();
    let hash = key(identity).scheme().hash;
    let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("tpm2_checkquote -u ak.pem -m attest -s signature -f pcrs -g {hash} -q {nonce}");
    swtpm.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}
