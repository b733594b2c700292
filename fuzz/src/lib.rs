//! What must hold for any bytes, one function per parser.
//!
//! A target returns if its input was accepted or refused in an orderly way, and panics if a promise is broken: accepted
//! input survives printing and parsing again. `fuzz_targets/` hands them to libFuzzer; `tests/smoke.rs` runs them all
//! on a stable toolchain.

use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::{hex, path};

/// A parser under test.
pub struct Target {
    /// Its name, also that of the libFuzzer binary.
    pub name: &'static str,
    /// Runs it once.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: &'static [&'static [u8]],
    /// Folders of testdata/ with more of them.
    pub folders: &'static [&'static str],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "path", run: path, seeds: &[b"/a b/c", b"/a\\nb\\r\\\\c", b"/a\nb\r\\", b"//./../"], folders: &[] },
    Target { name: "hex", run: hex, seeds: &[b"00ff", b"ba7816bf8f01cfea414140de5dae2223b00361a3"], folders: &[] },
];

/// Escaping and unescaping are inverse to each other, and neither leaves a byte that would end a line.
pub fn path(data: &[u8]) {
    let escaped = path::escape(data);
    assert!(!escaped.contains(&b'\n') && !escaped.contains(&b'\r'));
    assert_eq!(path::unescape(&escaped).as_deref(), Some(data));
    assert_eq!(escaped.as_ref() != data, path::needs_escape(data));
    if let Some(unescaped) = path::unescape(data)
        && !data.contains(&b'\n')
        && !data.contains(&b'\r')
    {
        assert_eq!(path::escape(&unescaped).as_ref(), data);
    }
    let _ = path::is_canonical(data);
    assert!(!path::kernel_name(data).contains(&b' '));
}

/// Lower-case hex has one spelling.
pub fn hex(data: &[u8]) {
    let mut decoded = vec![0; data.len() / 2];
    if hex::decode_lower(data, &mut decoded).is_some() {
        assert_eq!(hex::encode(&decoded).as_bytes(), data);
    }
    if let Some(digest) = Digest::from_hex(data) {
        assert_eq!(digest.to_string().as_bytes(), data);
    }
}
