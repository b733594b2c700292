//! What reading a tree or an image gives: paths on the target machine with the digests of their contents.

use goldseal_verifier_core::digest::Digest;

/// A regular file of the target machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredFile {
    /// Absolute path on the target, canonical as `goldseal_verifier_core::path::is_canonical` says.
    pub path: Vec<u8>,
    /// One digest per algorithm asked for, in that order.
    pub digests: Vec<Digest>,
}
