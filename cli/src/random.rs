//! Randomness from the kernel, by getrandom(2): it waits until there is enough, and needs no file.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `bytes`.
///
/// # Errors
/// If the kernel has no such call (before Linux 3.17), or a sandbox forbids it.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut missing = bytes;
    while !missing.is_empty() {
        let filled = rustix::io::retry_on_intr(|| getrandom(&mut *missing, GetRandomFlags::empty()))?;
        missing = &mut missing[filled..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_to_the_end_and_never_twice_the_same() {
        // Longer than one call gives without interruption (getrandom(2): 256 bytes).
        let (mut a, mut b) = ([0; 1000], [0; 1000]);
        fill(&mut a).unwrap();
        fill(&mut b).unwrap();
        assert!(a != b && a[990..] != [0; 10]);
    }
}
