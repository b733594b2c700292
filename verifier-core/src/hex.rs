//! Lower-case hex, the only spelling the format knows.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Value of each byte as a lower-case hex digit; 0xff for any other byte.
const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut digit: u8 = 0;
    while digit < 16 {
        #[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "constant: a wrong index does not compile")]
        {
            values[DIGITS[digit as usize] as usize] = digit;
        }
        digit = digit.wrapping_add(1);
    }
    values
};

/// `bytes` as lower-case hex.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            if let Some(digit) = DIGITS.get(usize::from(nibble)) {
                text.push(char::from(*digit));
            }
        }
    }
    text
}

/// Decodes exactly `out.len()` bytes from `2 * out.len()` lower-case digits; `None` on any other input.
pub fn decode_lower(text: &[u8], out: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != out.len() {
        return None;
    }
    let mut wrong = 0;
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        let (high, low) = (value(*high), value(*low));
        wrong |= high | low;
        *byte = (high << 4) | (low & 0x0f);
    }
    (wrong < 0x10).then_some(())
}

/// Whether every byte of `text` is a lower-case hex digit.
pub fn is_lower(text: &[u8]) -> bool {
    text.iter().fold(0, |wrong, byte| wrong | value(*byte)) < 0x10
}

fn value(digit: u8) -> u8 {
    VALUES.get(usize::from(digit)).copied().unwrap_or(0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes_and_nothing_else() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut back = vec![0; bytes.len()];
        assert_eq!(decode_lower(encode(&bytes).as_bytes(), &mut back), Some(()));
        assert_eq!(back, bytes);
        let mut one = [0];
        for bad in [&b"0"[..], b"", b"000", b"0G", b"A0", b"0/", b"0:", b"`0", b"g0"] {
            assert_eq!(decode_lower(bad, &mut one), None, "{bad:?}");
        }
    }
}
