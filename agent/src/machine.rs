//! Who this machine is: its keys, and the name it has in the protocol.

use std::path::Path;

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use goldseal_cli::printable::Printable;
use goldseal_cli::public_key::pem::encode_pem;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::tpm::{Name, PublicArea};
use ring::{digest, hmac};

use crate::config::{Config, UuidPolicy};
use crate::tpm::{EkCertificate, Identity};

/// What a verifier has to know of a machine to enrol it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name in the protocol.
    pub uuid: String,
    /// SHA-256 of the endorsement key's SubjectPublicKeyInfo DER, in hex.
    pub ek_sha256: String,
    /// Whether the TPM has its maker's certificate of that key.
    pub certificate: EkCertificate,
    /// The Name of the attestation key.
    pub ak_name: Name,
}

impl Machine {
    /// Of the TPM's keys, and whatever the name comes from. `root` is `/` but in tests.
    ///
    /// # Errors
    /// `tpm` if the keys are none; `no-uuid` if there is nothing to make a name of.
    pub fn of(config: &Config, identity: &Identity, root: &Path) -> Result<Self, Failure> {
        let area = |bytes: &[u8]| {
            PublicArea::parse(bytes).map_err(|error| {
                let what = format!("the TPM gave a key that is none: {error}");
                Failure::new(Exit::Input, "tpm", what, "do not trust this TPM; keep this message")
            })
        };
        let (ek, ak) = (area(&identity.ek_public)?, area(&identity.ak_public)?);
        let spki = ek.spki_der();
        Ok(Self {
            uuid: uuid(&config.uuid, &spki, root)?,
            ek_sha256: sha256(&spki),
            certificate: identity.ek_certificate.clone(),
            ak_name: ak.name(),
        })
    }
}

/// The name by this policy.
fn uuid(policy: &UuidPolicy, ek_spki: &[u8], root: &Path) -> Result<String, Failure> {
    match policy {
        UuidPolicy::HashEk => Ok(sha256(encode_pem("PUBLIC KEY", ek_spki).as_bytes())),
        UuidPolicy::MachineId => {
            let id = read_uuid(&root.join("etc/machine-id"))?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &id);
            let tag = hmac::sign(&key, APPLICATION);
            let mut bytes: [u8; 16] = tag.as_ref()[..16].try_into().expect("an HMAC-SHA256 has 32 bytes");
            // As sd_id128_get_machine_app_specific(3) makes it: version 4 of variant 1 (RFC 9562, section 5.4).
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            Ok(print_uuid(&bytes))
        }
        UuidPolicy::Dmi => read_uuid(&root.join("sys/class/dmi/id/product_uuid")).map(|bytes| print_uuid(&bytes)),
        UuidPolicy::Given(name) => Ok(name.clone()),
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// A file that holds 32 hex digits, with or without dashes.
fn read_uuid(path: &Path) -> Result<[u8; 16], Failure> {
    let no_uuid = |what: String| {
        Failure::new(Exit::Input, "no-uuid", what, "configure another source: uuid = \"hash_ek\", or a name")
    };
    let text = input::read_file(path, MAX_UUID_FILE).map_err(|failure| no_uuid(failure.what))?;
    let digits: Vec<u8> = text.trim_ascii().iter().copied().filter(|byte| *byte != b'-').collect();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?)).collect();
    let uuid: Option<[u8; 16]> = bytes.and_then(|bytes| bytes.try_into().ok());
    // Boards whose maker left it out have one of these; so would have a thousand other machines.
    let uuid = uuid.filter(|uuid| *uuid != [0; 16] && *uuid != [0xff; 16]);
    uuid.ok_or_else(|| no_uuid(format!("{} holds no id of this machine", Printable::path(path))))
}

fn print_uuid(bytes: &[u8; 16]) -> String {
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// What this program's id is derived for; never to be changed.
const APPLICATION: &[u8] = b"goldseal-agent";

/// 36 characters and a line feed.
const MAX_UUID_FILE: u64 = 256;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn root_with(path: &str, text: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        root
    }

    fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("openssl");
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    /// An endorsement key's hash_ek is what sha256sum says of the file that openssl writes.
    #[test]
    fn hash_ek_is_that_of_keylime() {
        for kind in [&["-algorithm", "rsa"][..], &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]] {
            let key = openssl(&[&["genpkey"][..], kind].concat(), b"");
            let der = openssl(&["pkey", "-pubout", "-outform", "DER"], &key);
            let text = openssl(&["pkey", "-pubout"], &key);
            let expected = String::from_utf8(openssl(&["dgst", "-sha256", "-r"], &text)).unwrap();
            assert_eq!(uuid(&UuidPolicy::HashEk, &der, Path::new("/")).unwrap(), expected[..64]);
        }
    }

    /// openssl makes the HMAC; the id itself is not in it.
    #[test]
    fn the_machine_id_is_not_shown() {
        let id = "0123456789abcdef0123456789abcdef";
        let root = root_with("etc/machine-id", &format!("{id}\n"));
        let found = uuid(&UuidPolicy::MachineId, b"", root.path()).unwrap();
        let arguments = ["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{id}"), "-r"];
        let mut expected = String::from_utf8(openssl(&arguments, b"goldseal-agent")).unwrap()[..32].to_owned();
        expected.replace_range(12..13, "4");
        let variant = u8::from_str_radix(&expected[16..17], 16).unwrap() & 3 | 8;
        expected.replace_range(16..17, &format!("{variant:x}"));
        assert_eq!(found.replace('-', ""), expected);
        assert_eq!(found.match_indices('-').map(|(at, _)| at).collect::<Vec<_>>(), [8, 13, 18, 23]);
    }

    #[test]
    fn the_firmware_names_the_machine() {
        let dmi = "sys/class/dmi/id/product_uuid";
        let ask = |text| uuid(&UuidPolicy::Dmi, b"", root_with(dmi, text).path());
        assert_eq!(ask("4C4C4544-0042-3510-8052-B4C04F4E4D32\n").unwrap(), "4c4c4544-0042-3510-8052-b4c04f4e4d32");
        for bad in [
            "",
            "Not Settable",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "4C4C4544-0042-3510-8052-B4C04F4E4D3",
            "4C4C4544-0042-3510-8052-B4C04F4E4D3233",
            "4C4C4544-0042-3510-8052-B4C04F4E4D3G",
        ] {
            assert_eq!(ask(bad).unwrap_err().reason, "no-uuid", "{bad}");
        }
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(uuid(&UuidPolicy::Dmi, b"", nothing.path()).unwrap_err().reason, "no-uuid");
    }
}
