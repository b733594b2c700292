//! A machine for `./demo`: a TPM that is a program, and a kernel that measures what it is told to.
//!
//! `simulated-machine FOLDER` boots it: `FOLDER/tcti` says how its TPM is reached, `FOLDER/ima` has its measurement lists.
//! Each line of standard input is a path that is run: what stands at `FOLDER/root/PATH` is measured, and the path is
//! printed. It ends with its input.
#![expect(clippy::unwrap_used, reason = "a machine that does not work stops the demonstration")]

use std::fs;
use std::io::{self, BufRead};
use std::path::PathBuf;

use goldseal_tests::forge::measurements::Measurement;
use goldseal_tests::lab::{Mux, SimulatedKernel, Swtpm};
use goldseal_verifier_core::digest::HashAlgorithm;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: simulated-machine FOLDER"));
    let tpm = Swtpm::new();
    let mux = Mux::new(&tpm);
    let banks = [HashAlgorithm::Sha1, HashAlgorithm::Sha256];
    let mut kernel = SimulatedKernel::boot(&mux.socket(), &banks, &folder.join("ima"));
    fs::write(folder.join("tcti.new"), mux.tcti()).unwrap();
    fs::rename(folder.join("tcti.new"), folder.join("tcti")).unwrap();
    for path in io::stdin().lock().lines() {
        let path = path.unwrap();
        let contents = fs::read(folder.join("root").join(path.trim_start_matches('/'))).unwrap();
        kernel.measure(&Measurement::ng(&path, &contents));
        println!("{path}");
    }
}
