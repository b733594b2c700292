//! The inside of a JSON string (RFC 8259, section 7), written while its bytes come in.

use std::str;

/// Writes bytes as the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD, as JSON has no way to say them:
/// file names in an ASCII list may hold some. A verifier then finds that the entry does not have its template hash.
#[derive(Debug, Default)]
pub(super) struct Escaper {
    /// The beginning of a character whose rest is still to come: three bytes at most.
    begun: Vec<u8>,
}

impl Escaper {
    /// The next bytes.
    pub(super) fn escape(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
        if self.begun.is_empty() {
            self.write(bytes, &mut out);
        } else {
            let joined = [&std::mem::take(&mut self.begun)[..], bytes].concat();
            self.write(&joined, &mut out);
        }
        out
    }

    /// The end: a character that has only begun is none.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        if self.begun.is_empty() {
            return Vec::new();
        }
        self.begun.clear();
        REPLACEMENT.to_vec()
    }

    fn write(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            match str::from_utf8(bytes) {
                Ok(text) => return write_text(text.as_bytes(), out),
                Err(error) => {
                    let (text, rest) = bytes.split_at(error.valid_up_to());
                    write_text(text, out);
                    let Some(bad) = error.error_len() else {
                        self.begun = rest.to_vec();
                        return;
                    };
                    out.extend_from_slice(REPLACEMENT);
                    bytes = &rest[bad..];
                }
            }
        }
    }
}

/// Text between what has to be escaped is copied as a whole.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| must_be_escaped(*byte)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn must_be_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// U+FFFD.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8], size: usize) -> String {
        let mut escaper = Escaper::default();
        let mut out: Vec<u8> = bytes.chunks(size).flat_map(|piece| escaper.escape(piece)).collect();
        out.extend(escaper.finish());
        String::from_utf8(out).unwrap()
    }

    /// Another implementation reads what is written.
    #[test]
    fn serde_reads_the_same_text_whatever_the_pieces() {
        let all: String = (0..0x3000_u32).chain(0x1_f600..0x1_f640).filter_map(char::from_u32).collect();
        let texts = ["", "10 ab ima-ng sha256:00 /usr/bin/\"a\\b\"\n", "\u{0}\u{1f}\u{7f}\t\r\n", &all];
        for text in texts {
            for size in [1, 2, 3, 5, 1_000, usize::MAX] {
                let string = format!("\"{}\"", escaped(text.as_bytes(), size));
                assert_eq!(serde_json::from_str::<String>(&string).unwrap(), text, "pieces of {size}");
            }
        }
    }

    /// As the standard library replaces them (Unicode 3.9, maximal subparts).
    #[test]
    fn what_is_no_utf8_is_replaced() {
        let texts: [&[u8]; 7] = [
            b"/tmp/\xff\xfe",
            b"\x80",
            b"a\xe2\x82",
            b"\xe2\x82b",
            b"\xf0\x9f\x98\n\xc3\xa9",
            b"\xed\xa0\x80",
            b"\xc0\xaf",
        ];
        for text in texts {
            for size in [1, 2, 3, 100] {
                let string = format!("\"{}\"", escaped(text, size));
                let read: String = serde_json::from_str(&string).unwrap();
                assert_eq!(read, String::from_utf8_lossy(text), "{text:?} in pieces of {size}");
            }
        }
    }
}
