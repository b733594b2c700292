//! What makes an answer new.

use std::io;
use std::time::{Duration, Instant};

use goldseal_cli::random;
use goldseal_verifier_core::hex;

/// Bytes of randomness: more than the 128 bits that nobody guesses, and no more than TPM2B_DATA holds with SHA-256 alone (TPM
/// Part 2, 10.4: 34).
const LEN: usize = 32;

/// Characters of the nonce on Keylime's routes. Hex of 128 bits; its agents take at most 64 (keylime/src/common.rs).
const KEYLIME_LEN: usize = 32;

/// A nonce: fresh, for one quote, and not for long. It is used up by what it is compared with.
#[derive(Debug)]
pub struct Nonce {
    random: [u8; LEN],
    made: Instant,
}

impl Nonce {
    /// A fresh one.
    ///
    /// # Errors
    /// The kernel gives no randomness.
    pub fn fresh() -> io::Result<Self> {
        let mut random = [0; LEN];
        random::fill(&mut random)?;
        Ok(Self { random, made: Instant::now() })
    }

    /// As our own route takes it.
    pub fn hex(&self) -> String {
        hex::encode(&self.random)
    }

    /// As Keylime's routes take it.
    pub fn alphanumeric(&self) -> String {
        let mut text = self.hex();
        text.truncate(KEYLIME_LEN);
        text
    }

    /// What a quote of our own route must hold; `None` if it took longer than `lifetime`.
    pub fn spend(self, lifetime: Duration) -> Option<Vec<u8>> {
        (self.made.elapsed() <= lifetime).then(|| self.random.to_vec())
    }

    /// What a quote of Keylime's routes must hold; `None` if it took longer than `lifetime`.
    pub fn spend_alphanumeric(self, lifetime: Duration) -> Option<Vec<u8>> {
        (self.made.elapsed() <= lifetime).then(|| self.alphanumeric().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nonce_comes_twice_or_late() {
        let (a, b) = (Nonce::fresh().unwrap(), Nonce::fresh().unwrap());
        assert_ne!(a.hex(), b.hex());
        assert_ne!(a.alphanumeric(), b.alphanumeric());
        assert_eq!((a.hex().len(), a.alphanumeric().len()), (64, 32));
        assert!(a.alphanumeric().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let hex = a.hex();
        assert_eq!(a.spend(Duration::from_secs(60)).map(|bytes| hex::encode(&bytes)), Some(hex));
        let text = b.alphanumeric();
        assert_eq!(b.spend_alphanumeric(Duration::from_secs(60)), Some(text.into_bytes()));
        let late = Nonce::fresh().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(late.spend(Duration::from_millis(1)), None);
    }
}
