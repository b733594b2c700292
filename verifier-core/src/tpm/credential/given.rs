//! Random bytes that were handed in, in the shape in which the `rsa` crate asks for them. There is no source of
//! randomness here: what is used up is gone, and asking for more fails.

use std::fmt;

use rsa::rand_core::{TryCryptoRng, TryRng};

use crate::cursor::Cursor;

/// Bytes to be used once, in order.
#[derive(Debug)]
pub(super) struct GivenBytes<'a>(Cursor<'a>);

impl<'a> GivenBytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], UsedUp> {
        self.0.take(N).and_then(|bytes| bytes.try_into().ok()).ok_or(UsedUp)
    }
}

impl TryRng for GivenBytes<'_> {
    type Error = UsedUp;

    fn try_next_u32(&mut self) -> Result<u32, UsedUp> {
        self.array().map(u32::from_be_bytes)
    }

    fn try_next_u64(&mut self) -> Result<u64, UsedUp> {
        self.array().map(u64::from_be_bytes)
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), UsedUp> {
        destination.copy_from_slice(self.0.take(destination.len()).ok_or(UsedUp)?);
        Ok(())
    }
}

/// The caller of core answers for it.
impl TryCryptoRng for GivenBytes<'_> {}

/// More was asked for than was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsedUp;

impl fmt::Display for UsedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more random bytes were asked for than there are")
    }
}

impl std::error::Error for UsedUp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_once_and_then_no_more() {
        let mut given = GivenBytes::new(b"\0\0\0\x01\0\0\0\0\0\0\0\x02abc");
        assert_eq!((given.try_next_u32(), given.try_next_u64()), (Ok(1), Ok(2)));
        let mut two = [0; 2];
        assert_eq!((given.try_fill_bytes(&mut two), two), (Ok(()), *b"ab"));
        assert_eq!(given.try_fill_bytes(&mut two), Err(UsedUp));
        assert_eq!((given.try_next_u32(), given.try_next_u64()), (Err(UsedUp), Err(UsedUp)));
    }
}
