//! Paths as a whitelist writes them and as the kernel logs them. Names are bytes.

use std::borrow::Cow;

/// The longest path of an entry in bytes: Linux' `PATH_MAX` (4,096, `include/uapi/linux/limits.h`) less its NUL.
pub const MAX_PATH_LEN: usize = 4_095;

/// Whether `path` may stand in an entry: absolute, no NUL, no empty, `.` or `..` component, no trailing slash,
/// at most [`MAX_PATH_LEN`] bytes (docs/format.md, Entries).
pub fn is_canonical(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else { return false };
    path.len() <= MAX_PATH_LEN
        && !path.contains(&0)
        && rest.split(|byte| *byte == b'/').all(|component| !matches!(component, b"" | b"." | b".."))
}

/// `path` as GNU coreutils escape it: LF, CR and backslash as `\n`, `\r`, `\\`.
///
/// Borrowed when nothing was escaped; such a line does not start with a backslash.
pub fn escape(path: &[u8]) -> Cow<'_, [u8]> {
    if !needs_escape(path) {
        return Cow::Borrowed(path);
    }
    let mut escaped = Vec::with_capacity(path.len().saturating_add(8));
    for byte in path {
        match byte {
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            other => escaped.push(*other),
        }
    }
    Cow::Owned(escaped)
}

/// Whether [`escape`] changes `path`.
pub fn needs_escape(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\\'))
}

/// The inverse of [`escape`]: `None` if a backslash is followed by anything but `n`, `r` or a backslash.
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b'\\' => b'\\',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(path)
}

/// `path` as the kernel writes it into a measurement list: each blank becomes `_`
/// (`ima_eventname_init_common`, security/integrity/ima/ima_template_lib.c; seen in binary and ASCII lists alike).
pub fn kernel_name(path: &[u8]) -> Cow<'_, [u8]> {
    if path.contains(&b' ') {
        Cow::Owned(path.iter().map(|byte| if *byte == b' ' { b'_' } else { *byte }).collect())
    } else {
        Cow::Borrowed(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_paths() {
        for good in [&b"/a"[..], b"/a/b", b"/...", b"/a b\n\xff", b"/.a/..b"] {
            assert!(is_canonical(good), "{good:?}");
        }
        for bad in [&b""[..], b"/", b"a", b"./a", b"/a/", b"//a", b"/a//b", b"/./a", b"/a/..", b"/a\0b"] {
            assert!(!is_canonical(bad), "{bad:?}");
        }
        let mut long = vec![b'a'; MAX_PATH_LEN];
        if let Some(first) = long.first_mut() {
            *first = b'/';
        }
        assert!(is_canonical(&long));
        long.push(b'a');
        assert!(!is_canonical(&long));
    }

    #[test]
    fn escapes_as_coreutils_do() {
        assert_eq!(&*escape(b"/a\nb\r\\c"), b"/a\\nb\\r\\\\c");
        assert!(matches!(escape(b"/plain \x1b\xff"), Cow::Borrowed(_)));
        assert_eq!(unescape(b"/a\\nb\\r\\\\c").as_deref(), Some(&b"/a\nb\r\\c"[..]));
        assert_eq!(unescape(b"/a\\"), None);
        assert_eq!(unescape(b"/a\\t"), None);
    }

    #[test]
    fn a_blank_becomes_an_underscore() {
        assert_eq!(&*kernel_name(b"/a b/c"), b"/a_b/c");
        assert!(matches!(kernel_name(b"/a_b"), Cow::Borrowed(_)));
    }
}
