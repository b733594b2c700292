//! The TPM of the configuration, and what its errors are to whoever runs a command.

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::input;
use zeroize::Zeroizing;

use crate::config::{Ak, Config, Ek};
use crate::tpm::{AkKind, EkKind, Tpm, TpmConfig, TpmError};

/// A TPM that gave no answer.
pub fn tpm_failure(error: &TpmError) -> Failure {
    Failure::new(Exit::Input, "tpm", error.to_string(), error.advice())
}

/// The TPM of this configuration; it is not touched yet.
///
/// # Errors
/// `tpm`; `unreadable` if a password is to be read and cannot be.
pub fn start_tpm(config: &Config) -> Result<Tpm, Failure> {
    let password = |path: &std::path::Path| {
        if path.as_os_str().is_empty() {
            return Ok(Zeroizing::default());
        }
        let bytes = Zeroizing::new(input::read_file(path, MAX_PASSWORD_FILE)?);
        // An editor's line feed is not of the password.
        Ok(Zeroizing::new(bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec()))
    };
    let mut tpm = TpmConfig::new(config.tcti.clone());
    tpm.ek = match config.ek {
        Ek::Auto => None,
        Ek::Rsa2048 => Some(EkKind::Rsa2048),
        Ek::EccP256 => Some(EkKind::EccP256),
    };
    tpm.ak = match config.ak {
        Ak::EccP256 => AkKind::EccP256,
        Ak::Rsa2048 => AkKind::Rsa2048,
    };
    tpm.ak_hash = config.ak_hash().unwrap_or_default();
    tpm.ak_handle = config.ak_handle().unwrap_or(tpm.ak_handle);
    tpm.owner_auth = password(&config.owner_password_file)?;
    tpm.endorsement_auth = password(&config.endorsement_password_file)?;
    tpm.deadline = std::time::Duration::from_secs(config.tpm_seconds);
    Tpm::start(tpm).map_err(|error| tpm_failure(&error))
}

/// The longest that a TPM takes is that of its largest hash.
const MAX_PASSWORD_FILE: u64 = 65;
