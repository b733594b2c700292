//! Lower-case hex, the only spelling the format knows.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `bytes` as lower-case hex.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).map(char::from).collect()
}

/// Decodes exactly `out.len()` bytes from `2 * out.len()` lower-case digits; `None` on any other input.
pub fn decode_lower(text: &[u8], out: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != out.len() {
        return None;
    }
    if !is_lower(text) {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = (value(*high) << 4) | value(*low);
    }
    Some(())
}

/// Whether every byte of `text` is a lower-case hex digit. Branchless, so that lists of millions of lines are checked
/// sixteen bytes at a time.
pub fn is_lower(text: &[u8]) -> bool {
    let is_digit = |byte: u8| (byte.wrapping_sub(b'0') < 10) | (byte.wrapping_sub(b'a') < 6);
    text.iter().fold(true, |all, byte| all & is_digit(*byte))
}

/// Value of a lower-case hex digit.
fn value(digit: u8) -> u8 {
    if digit <= b'9' { digit.wrapping_sub(b'0') } else { digit.wrapping_sub(b'a').wrapping_add(10) }
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
