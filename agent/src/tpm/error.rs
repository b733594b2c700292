//! What can go wrong at a TPM, and what to do about it.

use std::fmt;
use std::io;

use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::tpm::{Name, SelectionError};
use tss_esapi::constants::response_code::Tss2ResponseCode;
use tss_esapi::{Error, WrapperErrorKind};

use crate::tpm::Foreign;

/// Why a TPM gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TpmError {
    /// The configured way to the TPM is none.
    Tcti {
        /// As it was given.
        tcti: String,
    },
    /// The configured handle is not one of the owner's persistent objects.
    AkHandle {
        /// As it was given.
        handle: u32,
    },
    /// The system starts no thread.
    NoThread(io::ErrorKind),

    /// There is no TPM where it should be.
    Absent {
        /// Where that is.
        tcti: String,
    },
    /// This process may not open it.
    Forbidden {
        /// Where it is.
        tcti: String,
    },
    /// It takes no commands: it tests itself, has no room, or somebody else has opened it.
    Busy {
        /// Its response code; 0 if it could not be opened.
        code: u32,
    },
    /// It was reset, and nobody has started it yet.
    Resetting {
        /// Its response code.
        code: u32,
    },
    /// It was there, and does not answer any more.
    Lost {
        /// The response code of the layer that noticed.
        code: u32,
    },
    /// It has found itself to be broken.
    Failed {
        /// Its response code.
        code: u32,
    },
    /// Too many requests wait already.
    QueueFull,
    /// The time is over, and earlier requests or one command still take the TPM's.
    TimedOut,
    /// The thread that owns the TPM is gone.
    Stopped,

    /// A quote needs a nonce.
    EmptyNonce,
    /// The nonce is longer than the TPM takes.
    NonceTooLong {
        /// Its length.
        found: usize,
        /// The longest.
        max: usize,
    },
    /// Those are no PCRs.
    Selection(SelectionError),
    /// This bank holds nothing.
    InactiveBank {
        /// The bank asked for.
        bank: HashAlgorithm,
        /// The active ones.
        active: Vec<HashAlgorithm>,
    },
    /// The TPM has no bank of a known hash.
    NoBank,
    /// In all attempts PCRs changed between reading and quoting them.
    PcrsMove {
        /// How many attempts that were.
        attempts: usize,
    },
    /// The credential was made for other keys, or is damaged.
    CredentialRefused {
        /// The TPM's response code; 0 if it is longer than any credential.
        code: u32,
    },

    /// Something else is where the attestation key is to be kept.
    ForeignObject {
        /// That handle.
        handle: u32,
        /// What it is.
        reason: Foreign,
    },
    /// The attestation key was there, and is not any more: somebody cleared the TPM or evicted the key.
    AkGone {
        /// Its handle.
        handle: u32,
        /// Its Name.
        name: Name,
    },
    /// A hierarchy has a password, and it is another.
    Unauthorised {
        /// The TPM's response code.
        code: u32,
    },
    /// It made a quote that its own key did not sign, or something else that a TPM does not.
    Misbehaved(String),
    /// It refused a command for another reason.
    Refused {
        /// Its response code.
        code: u32,
    },
    /// The library refused to pass something on.
    Library(WrapperErrorKind),
}

/// What happened, on one line. See [`TpmError::advice`] for the second.
impl fmt::Display for TpmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcti { tcti } => write!(f, "{tcti:?} is no way to a TPM"),
            Self::AkHandle { handle } => write!(f, "{handle:#010x} is no handle for the owner's persistent keys"),
            Self::NoThread(error) => write!(f, "no thread could be started: {error}"),
            Self::Absent { tcti } => write!(f, "there is no TPM at {tcti}"),
            Self::Forbidden { tcti } => write!(f, "no permission to open the TPM at {tcti}"),
            Self::Busy { code: 0 } => f.write_str("the TPM is in use by another program"),
            Self::Busy { code } => write!(f, "the TPM is busy ({code:#x})"),
            Self::Resetting { code } => write!(f, "the TPM was reset and is not started ({code:#x})"),
            Self::Lost { code } => write!(f, "the connection to the TPM is lost ({code:#x})"),
            Self::Failed { code } => write!(f, "the TPM has failed its own tests ({code:#x})"),
            Self::QueueFull => f.write_str("too many requests wait for the TPM"),
            Self::TimedOut => f.write_str("the TPM did not come to this request in time"),
            Self::Stopped => f.write_str("the thread that owns the TPM has stopped"),
            Self::EmptyNonce => f.write_str("a quote without a nonce proves nothing"),
            Self::NonceTooLong { found, max } => {
                write!(f, "the nonce has {found} bytes, and this TPM takes {max} at most")
            }
            Self::Selection(error) => error.fmt(f),
            Self::InactiveBank { bank, active } => {
                write!(f, "the TPM's {bank} bank is not active; active: {}", names(active))
            }
            Self::NoBank => f.write_str("no PCR bank of the TPM is active that this program knows"),
            Self::PcrsMove { attempts } => {
                write!(f, "PCRs changed between reading and quoting them, {attempts} times in a row")
            }
            Self::CredentialRefused { code } => {
                write!(f, "the credential is not for this TPM's endorsement key and attestation key ({code:#x})")
            }
            Self::ForeignObject { handle, reason } => write!(f, "at {handle:#010x} is {reason}"),
            Self::AkGone { handle, name } => write!(f, "the attestation key {name} at {handle:#010x} is gone"),
            Self::Unauthorised { code } => write!(f, "a hierarchy of the TPM has another password ({code:#x})"),
            Self::Misbehaved(what) => write!(f, "the TPM misbehaves: {what}"),
            Self::Refused { code } => write!(f, "the TPM refused a command ({code:#x})"),
            Self::Library(kind) => write!(f, "the TPM library refused a command: {kind}"),
        }
    }
}

impl TpmError {
    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Tcti { .. } => "give device:/dev/tpmrm0, or swtpm:host=127.0.0.1,port=2321 for a TPM in software",
            Self::AkHandle { .. } => "choose one from 0x81000000 to 0x817fffff; 0x81010010 is the default",
            Self::NoThread(_) => "look at the limits on threads of this user and of this unit",
            Self::Absent { .. } => "enable the TPM in the firmware's setup, and look for tpm in the kernel's log",
            Self::Forbidden { .. } => "run as root, or as a user of the device's group (tss)",
            Self::Busy { code: 0 } => "use /dev/tpmrm0, which several programs may open",
            Self::Busy { .. } | Self::QueueFull | Self::TimedOut => "ask again later",
            Self::Resetting { .. } => "wait for the kernel to start it; if it does not, boot the machine again",
            Self::Lost { .. } => "nothing, if it comes back: it is asked again; else look at the kernel's log",
            Self::Failed { .. } => "switch the machine off and on; if it stays so, the TPM is broken",
            Self::Stopped => "restart the program",
            Self::EmptyNonce | Self::NonceTooLong { .. } => "ask with a nonce of 16 to 32 bytes",
            Self::Selection(_) => "ask for PCRs from 0 to 23",
            Self::InactiveBank { .. } => "ask for an active bank, or activate this one in the firmware's setup",
            Self::NoBank => "activate the sha256 bank in the firmware's setup",
            Self::PcrsMove { .. } => "ask again when the machine measures fewer files",
            Self::CredentialRefused { .. } => "enrol this machine again, with the keys it shows now",
            Self::ForeignObject { .. } => {
                "configure another handle, or evict it (tpm2_evictcontrol) if nobody needs it"
            }
            Self::AkGone { .. } => "restart the program, which makes a new key, and enrol this machine again",
            Self::Unauthorised { .. } => "configure the passwords of the owner and endorsement hierarchies",
            Self::Misbehaved(_) => "do not trust this TPM; keep this message",
            Self::Refused { .. } | Self::Library(_) => "look the code up with tpm2_rc_decode, and report it",
        }
    }
}

impl std::error::Error for TpmError {}

pub(super) fn names(banks: &[HashAlgorithm]) -> String {
    let names: Vec<&str> = banks.iter().map(|bank| bank.name()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Why a step failed, and what becomes of its request.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: TpmError,
    /// It is done again.
    pub(super) again: bool,
    /// The connection is closed: what was known by it does not hold any more, or something of it is left in the TPM.
    pub(super) reconnect: bool,
}

impl Fault {
    pub(super) fn again(error: TpmError) -> Self {
        Self { error, again: true, reconnect: false }
    }

    pub(super) fn reconnect(error: TpmError) -> Self {
        Self { error, again: true, reconnect: true }
    }
}

impl From<TpmError> for Fault {
    fn from(error: TpmError) -> Self {
        Self { error, again: false, reconnect: false }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::WrapperError(kind) => return TpmError::Library(kind).into(),
            Error::Tss2Error(code) => raw(code),
        };
        // The layer that speaks (TSS 2.0 Overview and Common Structures, TSS2_RC). The kernel's resource manager uses the
        // codes of TPMs.
        match code >> 16 {
            0 | RESOURCE_MANAGER => of_tpm(code),
            _ => Self::reconnect(TpmError::Lost { code }),
        }
    }
}

/// Codes of TPM Part 2, 6.6 (TPM_RC).
fn of_tpm(code: u32) -> Fault {
    let tpm_code = code & 0xfff;
    if tpm_code & FORMAT_ONE != 0 {
        // Without the number of the handle, session or parameter.
        return match tpm_code & 0xbf {
            // A handle that was good: something evicted or flushed it, as a reset does.
            RC_HANDLE => Fault::reconnect(TpmError::Resetting { code }),
            RC_AUTH_FAIL | RC_BAD_AUTH => TpmError::Unauthorised { code }.into(),
            _ => TpmError::Refused { code }.into(),
        };
    }
    match tpm_code {
        RC_INITIALIZE | RC_REBOOT | RC_REFERENCE_FIRST..=RC_REFERENCE_LAST => {
            Fault::reconnect(TpmError::Resetting { code })
        }
        RC_FAILURE => TpmError::Failed { code }.into(),
        // A key was persisted there a moment ago.
        RC_NV_DEFINED => Fault::again(TpmError::Busy { code }),
        RC_OBJECT_MEMORY..=RC_SESSION_HANDLES | RC_YIELDED | RC_CANCELED | RC_TESTING => {
            Fault::again(TpmError::Busy { code })
        }
        RC_NV_RATE | RC_RETRY | RC_NV_UNAVAILABLE => Fault::again(TpmError::Busy { code }),
        _ => TpmError::Refused { code }.into(),
    }
}

/// The number itself. The crate shows it in its text alone, which a test below holds it to.
pub(super) fn raw(code: Tss2ResponseCode) -> u32 {
    let text = match code {
        Tss2ResponseCode::Success => return 0,
        Tss2ResponseCode::FormatZero(code) => code.to_string(),
        Tss2ResponseCode::FormatOne(code) => code.to_string(),
    };
    let digits = text.rsplit("0x").next().unwrap_or_default();
    u32::from_str_radix(digits, 16).unwrap_or(u32::MAX)
}

/// Whether a command's parameter was refused, by whichever code.
pub(super) fn refused_parameter(error: &Error) -> Option<u32> {
    let Error::Tss2Error(code) = error else { return None };
    let code = raw(*code);
    let is_of_tpm = matches!(code >> 16, 0 | RESOURCE_MANAGER);
    (is_of_tpm && code & FORMAT_ONE != 0 && code & PARAMETER != 0).then_some(code)
}

/// TSS2_RESMGR_TPM_RC_LAYER: what Linux answers in `tpm2-space.c`.
const RESOURCE_MANAGER: u32 = 0x0b;

const FORMAT_ONE: u32 = 0x80;
const PARAMETER: u32 = 0x40;
const RC_HANDLE: u32 = 0x8b;
const RC_AUTH_FAIL: u32 = 0x8e;
const RC_BAD_AUTH: u32 = 0xa2;
const RC_INITIALIZE: u32 = 0x100;
const RC_FAILURE: u32 = 0x101;
const RC_REBOOT: u32 = 0x130;
const RC_NV_DEFINED: u32 = 0x14c;
const RC_OBJECT_MEMORY: u32 = 0x902;
const RC_SESSION_HANDLES: u32 = 0x905;
const RC_YIELDED: u32 = 0x908;
const RC_CANCELED: u32 = 0x909;
const RC_TESTING: u32 = 0x90a;
const RC_REFERENCE_FIRST: u32 = 0x910;
const RC_REFERENCE_LAST: u32 = 0x91e;
const RC_NV_RATE: u32 = 0x920;
const RC_RETRY: u32 = 0x922;
const RC_NV_UNAVAILABLE: u32 = 0x923;

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: u32) -> Fault {
        Fault::from(Error::Tss2Error(Tss2ResponseCode::from(code)))
    }

    #[test]
    fn codes_keep_their_number() {
        for code in [0x100, 0x101, 0x922, 0x18b, 0x9a2, 0x1df, 0x000a_000a, 0x000b_0143, 0x0007_0018, 0xffff_ffff] {
            assert_eq!(raw(Tss2ResponseCode::from(code)), code);
        }
    }

    /// Numbers of TPM Part 2, 6.6.3, and of tss2_common.h.
    #[test]
    fn every_code_has_its_consequence() {
        let of = |code| {
            let Fault { error, again, reconnect } = fault(code);
            (error, again, reconnect)
        };
        for code in [0x902, 0x903, 0x904, 0x905, 0x908, 0x909, 0x90a, 0x920, 0x922, 0x923, 0x14c] {
            assert_eq!(of(code), (TpmError::Busy { code }, true, false));
        }
        // The kernel's resource manager speaks for the TPM.
        assert_eq!(of(0x000b_0922), (TpmError::Busy { code: 0x000b_0922 }, true, false));
        for code in [0x100, 0x130, 0x910, 0x916, 0x918, 0x91e, 0x18b, 0x28b, 0x98b] {
            assert_eq!(of(code), (TpmError::Resetting { code }, true, true));
        }
        // TCTI: I/O error, no connection; ESYS: malformed response.
        for code in [0x000a_000a, 0x000a_0008, 0x0007_0017] {
            assert_eq!(of(code), (TpmError::Lost { code }, true, true));
        }
        for code in [0x98e, 0x9a2] {
            assert_eq!(of(code), (TpmError::Unauthorised { code }, false, false));
        }
        assert_eq!(of(0x101), (TpmError::Failed { code: 0x101 }, false, false));
        // VALUE of parameter 1, LOCKOUT, COMMAND_CODE, LOCALITY.
        for code in [0x1c4, 0x921, 0x143, 0x907] {
            assert_eq!(of(code), (TpmError::Refused { code }, false, false));
        }
        assert_eq!(fault(0x1c4).error.advice(), TpmError::Refused { code: 0 }.advice());
    }

    #[test]
    fn only_parameters_are_parameters() {
        let refused = |code: u32| refused_parameter(&Error::Tss2Error(Tss2ResponseCode::from(code)));
        // INTEGRITY and SIZE of parameter 1, VALUE of parameter 2.
        for code in [0x1df, 0x1d5, 0x2c4] {
            assert_eq!(refused(code), Some(code));
        }
        // VALUE of handle 1, AUTH_FAIL of session 1, RETRY, and an I/O error.
        for code in [0x184, 0x98e, 0x922, 0x000a_000a, 0x000a_00c4] {
            assert_eq!(refused(code), None);
        }
        assert_eq!(refused_parameter(&Error::WrapperError(WrapperErrorKind::InvalidParam)), None);
    }
}
