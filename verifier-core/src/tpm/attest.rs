//! The statement that is signed: TPMS_ATTEST of a quote (TPM Part 2, 10.12).

use std::fmt;

use crate::tpm::reader::{Reader, StructureError};
use crate::tpm::selection::{MAX_BANKS, MAX_SELECT, OrderedSelection, PcrSelection};

/// TPM_GENERATED_VALUE (TPM Part 2, 6.2). A restricted key signs nothing with this beginning but what its TPM made.
const MAGIC: u32 = 0xff54_4347;

/// TPM_ST_ATTEST_QUOTE (TPM Part 2, 6.9).
const QUOTE: u16 = 0x8018;

/// Longest TPM2B_NAME: a hash algorithm and a SHA-512 digest (TPM Part 2, 10.5).
const MAX_NAME: usize = 66;

/// Longest TPM2B_DATA: as long as a TPMT_HA, a hash algorithm and a SHA-512 digest (TPM Part 2, 10.4).
const MAX_DATA: usize = 66;

/// Longest TPM2B_DIGEST: SHA-512 (TPM Part 2, 10.4).
const MAX_DIGEST: usize = 64;

/// Longest quote: its fields at their longest. Nothing longer is hashed.
pub(crate) const MAX_ATTEST: usize = 4
    + 2
    + (2 + MAX_NAME)
    + (2 + MAX_DATA)
    + (8 + 4 + 4 + 1)
    + 8
    + (4 + MAX_BANKS * (2 + 1 + MAX_SELECT))
    + (2 + MAX_DIGEST);

/// What a quote says, before anybody has checked whether a TPM says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedAttest<'a> {
    pub(super) qualified_signer: &'a [u8],
    pub(super) extra_data: &'a [u8],
    pub(super) clock: Clock,
    pub(super) boot: Boot,
    pub(super) firmware_version: u64,
    pub(super) selection: OrderedSelection,
    pub(super) pcr_digest: &'a [u8],
}

impl<'a> ClaimedAttest<'a> {
    /// Reads a TPMS_ATTEST.
    ///
    /// # Errors
    /// [`AttestError`]: not exactly one, or one of something else than a quote.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AttestError> {
        let mut reader = Reader::new(bytes);
        let magic = reader.u32("magic")?;
        if magic != MAGIC {
            return Err(AttestError::NotFromTpm { found: magic });
        }
        let kind = reader.u16("type")?;
        if kind != QUOTE {
            return Err(AttestError::NotAQuote { found: kind });
        }
        let qualified_signer = reader.sized("qualifiedSigner", MAX_NAME)?;
        let extra_data = reader.sized("extraData", MAX_DATA)?;
        // TPMS_CLOCK_INFO (TPM Part 2, 10.11).
        let millis = reader.u64("clock")?;
        let boot = Boot { reset_count: reader.u32("resetCount")?, restart_count: reader.u32("restartCount")? };
        let safe = match reader.u8("safe")? {
            0 => false,
            1 => true,
            other => return Err(StructureError::Value { field: "safe", found: other.into() }.into()),
        };
        let firmware_version = reader.u64("firmwareVersion")?;
        // TPMS_QUOTE_INFO (TPM Part 2, 10.12).
        let selection = OrderedSelection::read(&mut reader)?;
        let pcr_digest = reader.sized("pcrDigest", MAX_DIGEST)?;
        reader.finish()?;
        let clock = Clock { millis, safe };
        Ok(Self { qualified_signer, extra_data, clock, boot, firmware_version, selection, pcr_digest })
    }

    /// The qualified name of the key that signs, if it is to be believed. A TPM makes it of the names from the
    /// hierarchy down to the key; nothing here depends on it.
    pub fn claimed_qualified_signer(&self) -> &'a [u8] {
        self.qualified_signer
    }

    /// The nonce.
    pub fn claimed_nonce(&self) -> &'a [u8] {
        self.extra_data
    }

    /// When.
    pub fn claimed_clock(&self) -> Clock {
        self.clock
    }

    /// In which boot.
    pub fn claimed_boot(&self) -> Boot {
        self.boot
    }

    /// The TPM's firmware, by numbers of its vendor.
    pub fn claimed_firmware_version(&self) -> u64 {
        self.firmware_version
    }

    /// What is quoted; `None` if nothing is.
    pub fn claimed_selection(&self) -> Option<PcrSelection> {
        self.selection.as_set()
    }

    /// The digest of what is quoted.
    pub fn claimed_pcr_digest(&self) -> &'a [u8] {
        self.pcr_digest
    }
}

/// A boot of a machine as its TPM counts (TPM Part 1, Reset and Restart Counters). If either number has changed, PCRs may
/// have begun anew. For a key of the endorsement hierarchy the numbers are the true ones; for one of another hierarchy
/// each has an unknown constant added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Boot {
    /// Power cycles and the like since the TPM was cleared.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
}

/// A TPM's clock (TPM Part 1, Clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// Milliseconds during which the TPM had power since it was cleared.
    pub millis: u64,
    /// Whether no later time was reported before. Without an orderly shutdown the clock goes back to when it was saved.
    pub safe: bool,
}

/// Why bytes are not a quote's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttestError {
    /// They do not begin as what a TPM makes itself.
    NotFromTpm {
        /// How they begin.
        found: u32,
    },
    /// It is a statement of something else.
    NotAQuote {
        /// Its TPM_ST.
        found: u16,
    },
    /// Not exactly one TPMS_ATTEST.
    Structure(StructureError),
}

impl From<StructureError> for AttestError {
    fn from(error: StructureError) -> Self {
        Self::Structure(error)
    }
}

impl fmt::Display for AttestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFromTpm { found } => write!(f, "it begins with 0x{found:08x}, not as what a TPM makes"),
            Self::NotAQuote { found } => write!(f, "it is a statement of type 0x{found:04x}, not a quote"),
            Self::Structure(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AttestError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn attest(safe: u8) -> Vec<u8> {
        let mut bytes = b"\xff\x54\x43\x47\x80\x18\0\x02qn\0\x03abc\0\0\0\0\0\0\x12\x34\0\0\0\x05\0\0\0\x06".to_vec();
        bytes.push(safe);
        bytes.extend_from_slice(b"\x20\x19\x10\x23\0\x16\x36\x36\0\0\0\x01\0\x0b\x03\0\x04\0\0\x04hash");
        bytes
    }

    #[test]
    fn every_field_is_read() {
        let bytes = attest(1);
        let read = ClaimedAttest::parse(&bytes).unwrap();
        assert_eq!(read.claimed_qualified_signer(), b"qn");
        assert_eq!(read.claimed_nonce(), b"abc");
        assert_eq!(read.claimed_clock(), Clock { millis: 0x1234, safe: true });
        assert_eq!(read.claimed_boot(), Boot { reset_count: 5, restart_count: 6 });
        assert_eq!(read.claimed_firmware_version(), 0x2019_1023_0016_3636);
        assert_eq!(read.claimed_selection().map(|selection| selection.to_string()).as_deref(), Some("sha256:10"));
        assert_eq!(read.claimed_pcr_digest(), b"hash");
    }

    #[test]
    fn magic_type_and_end_are_held() {
        for length in 0..attest(0).len() {
            assert!(matches!(
                ClaimedAttest::parse(&attest(0)[..length]),
                Err(AttestError::Structure(StructureError::Truncated { .. }))
            ));
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = attest(0);
            bytes[at] = byte;
            ClaimedAttest::parse(&bytes).map(drop)
        };
        assert_eq!(with(0, 0xfe), Err(AttestError::NotFromTpm { found: 0xfe54_4347 }));
        // TPM_ST_ATTEST_CERTIFY.
        assert_eq!(with(5, 0x17), Err(AttestError::NotAQuote { found: 0x8017 }));
        let safe = StructureError::Value { field: "safe", found: 2 };
        assert_eq!(ClaimedAttest::parse(&attest(2)), Err(AttestError::Structure(safe)));
        let longer = [attest(0), vec![0]].concat();
        let trailing = StructureError::Trailing { count: 1 };
        assert_eq!(ClaimedAttest::parse(&longer), Err(AttestError::Structure(trailing)));
    }
}
