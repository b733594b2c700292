//! Certificates that openssl makes: of an authority, and of clients.

use std::path::PathBuf;

use crate::{World, shell};

/// An authority of its own, in a folder of its own.
#[derive(Debug)]
pub struct Pki(World);

impl Pki {
    #[expect(clippy::new_without_default, reason = "an authority is made on purpose")]
    pub fn new() -> Self {
        let pki = Self(World::new());
        pki.sh(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj '/CN=clients CA' \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
             -keyout ca.key -out ca.pem",
        );
        pki
    }

    /// The certificate of the authority.
    pub fn ca(&self) -> PathBuf {
        self.0.path("ca.pem")
    }

    /// A client's certificate, valid from now on for a day.
    pub fn client(&self, name: &str) -> PathBuf {
        self.client_until(name, "$(date -u -d '+1 day' +%Y%m%d%H%M%SZ)")
    }

    /// A client's certificate, valid from 2020 until this time; its key stands in the same file.
    pub fn client_until(&self, name: &str, end: &str) -> PathBuf {
        self.sh(&format!(
            "mkdir -p issued && : >index.txt && rm -f serial && \
             printf '[ca]\\ndefault_ca=a\\n[a]\\ndatabase=index.txt\\nnew_certs_dir=issued\\nrand_serial=yes\\n\
             default_md=sha256\\npolicy=p\\nx509_extensions=e\\nunique_subject=no\\n[p]\\ncommonName=supplied\\n\
             [e]\\nbasicConstraints=CA:FALSE\\nextendedKeyUsage=clientAuth\\n' >ca.conf && \
             openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr && \
             openssl ca -batch -config ca.conf -cert ca.pem -keyfile ca.key -in {name}.csr -notext \
             -startdate 20200101000000Z -enddate {end} -out {name}.crt && cat {name}.crt {name}.key >{name}.pem"
        ));
        self.0.path(format!("{name}.pem"))
    }

    fn sh(&self, script: &str) {
        shell(&self.0.path(""), &format!("({script}) 2>log || {{ cat log >&2; exit 1; }}"));
    }
}
