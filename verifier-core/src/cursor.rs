//! The only place where bytes from outside are cut: every parser of the container reads through it.

/// Reads forward through borrowed bytes; a step that finds something else consumes nothing.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    /// Bytes consumed so far.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        self.offset = self.offset.saturating_add(count);
        Some(taken)
    }

    /// Consumes exactly `literal`.
    pub(crate) fn literal(&mut self, literal: &[u8]) -> Option<()> {
        if !self.rest.starts_with(literal) {
            return None;
        }
        self.take(literal.len()).map(|_| ())
    }

    /// The bytes before the next `end`, which is consumed too.
    pub(crate) fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let length = memchr::memchr(end, self.rest)?;
        let taken = self.take(length)?;
        self.take(1)?;
        Some(taken)
    }

    /// Everything that is left.
    pub(crate) fn take_rest(&mut self) -> Option<&'a [u8]> {
        self.take(self.rest.len())
    }

    /// The next line, its LF consumed and left out.
    pub(crate) fn line(&mut self) -> Option<&'a [u8]> {
        self.until(b'\n')
    }
}

/// A decimal number as the format writes it: digits without a leading zero, at most `max`.
pub(crate) fn decimal(text: &[u8], max: u64) -> Option<u64> {
    let canonical = match text {
        [b'0'] => true,
        [b'0', ..] | [] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    if !canonical {
        return None;
    }
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number <= max).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_one_spelling() {
        assert_eq!(decimal(b"0", 9), Some(0));
        assert_eq!(decimal(b"42", 42), Some(42));
        for bad in [&b""[..], b"00", b"01", b"43", b"+1", b"-1", b" 1", b"1 ", b"18446744073709551616"] {
            assert_eq!(decimal(bad, 42), None, "{bad:?}");
        }
    }
}
