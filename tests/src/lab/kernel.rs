//! What IMA does, without a kernel: a list in files as securityfs has them, and extensions of PCR 10 in every bank.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::digest::HashAlgorithm;

use super::mux::transact;
use crate::forge::ak::{hash, hash_id};
use crate::forge::measurements::{Measurement, text};

/// A kernel that measures files, with its TPM behind a socket that takes plain commands ([`Mux::socket`]).
///
/// [`Mux::socket`]: super::Mux::socket
#[derive(Debug)]
pub struct SimulatedKernel {
    socket: PathBuf,
    banks: Vec<HashAlgorithm>,
    folder: PathBuf,
    binary: File,
    ascii: File,
}

impl SimulatedKernel {
    /// Boots: the lists in `folder` hold boot_aggregate and nothing else then. The TPM has these active banks.
    pub fn boot(socket: &Path, banks: &[HashAlgorithm], folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let fresh = |name: &str| {
            fs::write(folder.join(name), []).unwrap();
            OpenOptions::new().append(true).open(folder.join(name)).unwrap()
        };
        let (binary, ascii) = (fresh(BINARY), fresh(ASCII));
        let mut kernel =
            Self { socket: socket.to_owned(), banks: banks.to_vec(), folder: folder.to_owned(), binary, ascii };
        kernel.measure(&kernel.boot_aggregate());
        kernel
    }

    /// `binary_runtime_measurements`.
    pub fn binary(&self) -> PathBuf {
        self.folder.join(BINARY)
    }

    /// `ascii_runtime_measurements`.
    pub fn ascii(&self) -> PathBuf {
        self.folder.join(ASCII)
    }

    /// Measures: first the list, then the PCR, as `ima_add_template_entry` in `security/integrity/ima/ima_queue.c` has it.
    pub fn measure(&mut self, entry: &Measurement) {
        self.list(entry);
        self.extend(entry);
    }

    /// The first half of [`SimulatedKernel::measure`]: the list is ahead of the PCR then.
    pub fn list(&mut self, entry: &Measurement) {
        // One write each: readers see whole entries.
        self.binary.write_all(&entry.listed()).unwrap();
        self.ascii.write_all(&ascii_line(entry)).unwrap();
    }

    /// The second half.
    pub fn extend(&self, entry: &Measurement) {
        let digests: Vec<_> = self.banks.iter().map(|bank| (*bank, entry.extension(*bank))).collect();
        let answer = transact(&self.socket, &pcr_extend(entry.pcr, &digests));
        assert_eq!(answer[6..10], [0; 4], "TPM2_PCR_Extend was refused");
    }

    /// `ima_calc_boot_aggregate`: SHA-256 over PCRs 0 to 9 of that bank, or SHA-1 over PCRs 0 to 7 where that is the only
    /// one; zeros where the TPM has neither.
    fn boot_aggregate(&self) -> Measurement {
        let (bank, pcrs) =
            match (self.banks.contains(&HashAlgorithm::Sha256), self.banks.contains(&HashAlgorithm::Sha1)) {
                (false, true) => (HashAlgorithm::Sha1, 0..8),
                _ => (HashAlgorithm::Sha256, 0..10),
            };
        let digest = if self.banks.contains(&bank) {
            let values: Vec<u8> = pcrs.flat_map(|pcr| pcr_read(&self.socket, bank, pcr)).collect();
            hash(bank, &values)
        } else {
            vec![0; bank.digest_len()]
        };
        let field = [bank.name().as_bytes(), b":\0", &digest].concat();
        Measurement::of("ima-ng", &[&field, &text("boot_aggregate")])
    }
}

/// TPM2_PCR_Extend with an empty password.
pub fn pcr_extend(pcr: u8, digests: &[(HashAlgorithm, Vec<u8>)]) -> Vec<u8> {
    let mut body = u32::from(pcr).to_be_bytes().to_vec();
    // TPM_RS_PW, no nonce, no attributes, no password.
    body.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    body.extend(u32::try_from(digests.len()).unwrap().to_be_bytes());
    for (bank, digest) in digests {
        body.extend(hash_id(*bank).to_be_bytes());
        body.extend(digest);
    }
    command(0x8002, 0x0000_0182, &body)
}

/// The value of a PCR, by TPM2_PCR_Read.
pub fn pcr_read(socket: &Path, bank: HashAlgorithm, pcr: u8) -> Vec<u8> {
    let mut body = [&[0, 0, 0, 1], &hash_id(bank).to_be_bytes()[..], &[3, 0, 0, 0]].concat();
    body[7 + usize::from(pcr / 8)] = 1 << (pcr % 8);
    let answer = transact(socket, &command(0x8001, 0x0000_017e, &body));
    assert_eq!(answer[6..10], [0; 4], "TPM2_PCR_Read was refused");
    // Counter, the selection as it was sent, one digest with its size.
    assert_eq!(answer[14..24], body, "the TPM has no such PCR");
    assert_eq!(answer[24..28], [0, 0, 0, 1]);
    answer[30..].to_vec()
}

fn command(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(10 + body.len()).unwrap();
    [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// A line as `ima_ascii_measurements_show` in `security/integrity/ima/ima_fs.c` prints it: a blank before every field,
/// empty ones too; digests and buffers in hex; names raw.
fn ascii_line(entry: &Measurement) -> Vec<u8> {
    let template_hash = if entry.violation { vec![0; 20] } else { hash(HashAlgorithm::Sha1, &entry.data) };
    let head = format!("{} {} {}", entry.pcr, hex(&template_hash), entry.template);
    let mut line = head.into_bytes();
    let kinds: &[Field] = match entry.template.as_str() {
        "ima-ng" | "ima-ngv2" => &[Field::Digest, Field::Name],
        "ima-sig" | "ima-sigv2" | "ima-buf" => &[Field::Digest, Field::Name, Field::Bytes],
        other => panic!("this kernel does not print template {other}"),
    };
    let mut rest = entry.data.as_slice();
    for kind in kinds {
        let (size, after) = rest.split_at(4);
        let (field, after) = after.split_at(u32::from_le_bytes(size.try_into().unwrap()).try_into().unwrap());
        rest = after;
        line.push(b' ');
        match kind {
            Field::Digest => {
                let end = field.windows(2).position(|bytes| bytes == b":\0").unwrap() + 1;
                line.extend(&field[..end]);
                line.extend(hex(&field[end + 1..]).into_bytes());
            }
            Field::Name => line.extend(field.strip_suffix(&[0]).unwrap()),
            Field::Bytes => line.extend(hex(field).into_bytes()),
        }
    }
    assert!(rest.is_empty(), "more fields than the template has");
    line.push(b'\n');
    line
}

#[derive(Clone, Copy)]
enum Field {
    Digest,
    Name,
    Bytes,
}

fn hex(bytes: &[u8]) -> String {
    goldseal_verifier_core::hex::encode(bytes)
}

const BINARY: &str = "binary_runtime_measurements";
const ASCII: &str = "ascii_runtime_measurements";
