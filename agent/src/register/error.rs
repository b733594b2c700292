//! Why this machine is not registered, and what to do about it.

use std::fmt;
use std::io;

use goldseal_cli::printable::Printable;
use goldseal_verifier_core::tpm::StructureError;

use crate::tpm::TpmError;

/// A step of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Which versions are spoken.
    Version,
    /// The keys are shown, and a credential comes back.
    Keys,
    /// The tag is shown.
    Tag,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "asking for its versions",
            Self::Keys => "showing it the keys",
            Self::Tag => "showing it the tag",
        })
    }
}

/// Why there is no registration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The configured registrar is no host with a port.
    Registrar {
        /// As it was given.
        found: String,
    },
    /// The name of this machine cannot stand in a path.
    Uuid {
        /// As it was given.
        found: String,
    },
    /// Nobody answers there.
    Unreachable {
        /// When.
        step: Step,
        /// Why.
        kind: io::ErrorKind,
    },
    /// The connection broke, or it does not speak HTTP.
    Broken {
        /// When.
        step: Step,
    },
    /// There was no answer in time.
    TimedOut {
        /// When.
        step: Step,
    },
    /// The answer is longer than any of a registrar.
    TooLong {
        /// When.
        step: Step,
        /// The limit.
        max: usize,
    },
    /// The answer is not one of a registrar.
    Malformed {
        /// When.
        step: Step,
    },
    /// It speaks other versions.
    Versions {
        /// What is spoken here.
        ours: &'static str,
        /// What is spoken there.
        supported: Vec<String>,
    },
    /// It is there and cannot answer now.
    Unwell {
        /// When.
        step: Step,
        /// The HTTP status.
        code: u16,
        /// What it said.
        status: String,
    },
    /// It knows this machine's name with other keys.
    OtherKeys {
        /// What it said.
        status: String,
    },
    /// It refused.
    Refused {
        /// What.
        step: Step,
        /// The HTTP status.
        code: u16,
        /// What it said.
        status: String,
    },
    /// It did not take the tag.
    TagRefused {
        /// What it said.
        status: String,
    },
    /// What it sent is no credential.
    Credential(StructureError),
    /// The TPM gave no answer.
    Tpm(TpmError),
}

impl RegisterError {
    /// Whether another attempt would come to the same.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Registrar { .. }
            | Self::Uuid { .. }
            | Self::Versions { .. }
            | Self::OtherKeys { .. }
            | Self::Refused { .. } => true,
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::TooLong { .. }
            | Self::Malformed { .. }
            | Self::Unwell { .. }
            | Self::TagRefused { .. }
            | Self::Credential(_) => false,
            Self::Tpm(error) => !may_pass(error),
        }
    }

    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Registrar { .. } => "give a host and a port, such as registrar.example.org:8890",
            Self::Uuid { .. } => "give up to 80 letters, digits, hyphens, underscores and full stops",
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "see that the registrar runs, and that its address and the firewalls between are right"
            }
            Self::Broken { .. } | Self::TooLong { .. } | Self::Malformed { .. } | Self::Credential(_) => {
                "see that a registrar listens there: on its port for agents, which is plain HTTP (8890)"
            }
            Self::Versions { .. } => "use a registrar that speaks version 2.1 of Keylime's protocol",
            Self::Unwell { .. } => "look at the registrar's log",
            Self::OtherKeys { .. } => {
                "if this machine's TPM was replaced or cleared, delete the name at the registrar and restart the agent; \
                 if not, another machine uses this name"
            }
            Self::Refused { .. } => "look at the registrar's log, which says what it did not like",
            Self::TagRefused { .. } => "see that no other machine registers by this name",
            Self::Tpm(error) => error.advice(),
        }
    }
}

/// Whether a TPM that failed so may do better later.
fn may_pass(error: &TpmError) -> bool {
    matches!(
        error,
        TpmError::Absent { .. }
            | TpmError::Busy { .. }
            | TpmError::Resetting { .. }
            | TpmError::Lost { .. }
            | TpmError::QueueFull
            | TpmError::TimedOut
            // A registrar that answered to somebody else.
            | TpmError::CredentialRefused { .. }
    )
}

/// What happened, on one line; what a registrar said is shown escaped. See [`RegisterError::advice`] for the second.
impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |f: &mut fmt::Formatter<'_>, status: &str| match status {
            "" => Ok(()),
            status => write!(f, ": {}", Printable(status.as_bytes())),
        };
        match self {
            Self::Registrar { found } => write!(f, "{found:?} is no registrar"),
            Self::Uuid { found } => write!(f, "{found:?} is no name for a machine"),
            Self::Unreachable { step, kind } => write!(f, "the registrar is not reached on {step}: {kind}"),
            Self::Broken { step } => write!(f, "the connection to the registrar broke on {step}"),
            Self::TimedOut { step } => write!(f, "the registrar did not answer in time on {step}"),
            Self::TooLong { step, max } => {
                write!(f, "the registrar answered more than {max} bytes on {step}")
            }
            Self::Malformed { step } => write!(f, "the registrar answered something else than registrars do on {step}"),
            Self::Versions { ours, supported } => {
                write!(
                    f,
                    "the registrar does not speak version {ours} but {}",
                    Printable(supported.join(", ").as_bytes())
                )
            }
            Self::Unwell { step, code, status } => {
                write!(f, "the registrar has a fault ({code}) on {step}")?;
                said(f, status)
            }
            Self::OtherKeys { status } => {
                f.write_str("the registrar knows this machine's name with other keys")?;
                said(f, status)
            }
            Self::Refused { step, code, status } => {
                write!(f, "the registrar refused ({code}) on {step}")?;
                said(f, status)
            }
            Self::TagRefused { status } => {
                f.write_str("the registrar refused the proof that this TPM holds both keys")?;
                said(f, status)
            }
            Self::Credential(error) => write!(f, "the registrar sent no credential: {error}"),
            Self::Tpm(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RegisterError {}
