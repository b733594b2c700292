//! How a machine is called in the protocol.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where the name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UuidPolicy {
    /// SHA-256 of the endorsement key's PEM, as Keylime's agent has it under this word.
    HashEk,
    /// From /etc/machine-id, which must not be shown itself (machine-id(5)).
    MachineId,
    /// The firmware's: /sys/class/dmi/id/product_uuid.
    Dmi,
    /// As it stands.
    Given(String),
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUuid(String);

impl fmt::Display for BadUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no name of a machine: hash_ek, machine-id, dmi, or 1 to {MAX_LEN} of A-Z a-z 0-9 . _ -",
            self.0
        )
    }
}

impl FromStr for UuidPolicy {
    type Err = BadUuid;

    fn from_str(text: &str) -> Result<Self, BadUuid> {
        match text {
            "hash_ek" => Ok(Self::HashEk),
            "machine-id" => Ok(Self::MachineId),
            "dmi" => Ok(Self::Dmi),
            name if is_name(name) => Ok(Self::Given(name.to_owned())),
            _ => Err(BadUuid(text.to_owned())),
        }
    }
}

/// It stands in paths of URLs (Keylime's validators.valid_agent_id: `^[\w.-]+$`).
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(is_plain) && text.bytes().any(|byte| byte != b'.')
}

impl fmt::Display for UuidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HashEk => "hash_ek",
            Self::MachineId => "machine-id",
            Self::Dmi => "dmi",
            Self::Given(name) => name,
        })
    }
}

impl Serialize for UuidPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UuidPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What Keylime's database takes (`agent_id`, String(80)).
const MAX_LEN: usize = 80;
