//! The way to a TPM.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;

use tss_esapi::TctiNameConf;

use crate::tpm::TpmError;

/// A way to a TPM that can be gone again and again.
#[derive(Clone, Debug)]
pub(super) struct Tcti {
    text: String,
    conf: TctiNameConf,
    /// A device of the kernel's.
    device: Option<PathBuf>,
}

impl Tcti {
    /// Takes `device:PATH` or `swtpm:host=…,port=…`; also `mssim:` and `tabrmd:`, which the library knows. A socket of
    /// the file system, `swtpm:path=…`, is known neither to tss-esapi 7.7 nor to the swtpm module of tpm2-tss 3.2, and
    /// what they do not know they leave out in silence: it is refused here.
    pub(super) fn parse(text: &str) -> Result<Self, TpmError> {
        let unknown = || TpmError::Tcti { tcti: text.to_owned() };
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let known: &[&str] = match name {
            "swtpm" | "mssim" => &["host", "port"],
            "tabrmd" => &["bus_name", "bus_type"],
            _ => &[],
        };
        let is_known = |option: &str| option.split_once('=').is_some_and(|(key, _)| known.contains(&key));
        if !known.is_empty() && !options.is_empty() && !options.split(',').all(is_known) {
            return Err(unknown());
        }
        let device = (name == "device").then(|| PathBuf::from(if options.is_empty() { DEVICE } else { options }));
        let full = device.as_ref().map_or_else(|| text.to_owned(), |path| format!("device:{}", path.display()));
        let conf = TctiNameConf::from_str(&full).map_err(|_| unknown())?;
        Ok(Self { text: text.to_owned(), conf, device })
    }

    pub(super) fn conf(&self) -> TctiNameConf {
        self.conf.clone()
    }

    /// Why nothing could be opened here, if that can be told: the library gives one code for all reasons.
    pub(super) fn why_closed(&self) -> Option<TpmError> {
        let tcti = self.text.clone();
        let Some(device) = &self.device else { return Some(TpmError::Absent { tcti }) };
        match OpenOptions::new().read(true).write(true).open(device).map_err(|error| error.kind()) {
            Ok(_) => None,
            Err(ErrorKind::ResourceBusy) => Some(TpmError::Busy { code: 0 }),
            Err(ErrorKind::PermissionDenied) => Some(TpmError::Forbidden { tcti }),
            Err(_) => Some(TpmError::Absent { tcti }),
        }
    }
}

/// The kernel's resource manager, which several programs may open, and which cleans up behind each.
const DEVICE: &str = "/dev/tpmrm0";
