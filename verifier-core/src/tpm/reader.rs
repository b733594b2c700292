//! The only place where TPM structures are cut: numbers, and buffers that say their own size.

use std::fmt;

use crate::cursor::Cursor;

/// Reads one structure; every step names the field it is after.
#[derive(Debug)]
pub(super) struct Reader<'a>(Cursor<'a>);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    pub(super) fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], StructureError> {
        self.0.take(count).ok_or(StructureError::Truncated { field })
    }

    /// A `TPM2B_` buffer (TPM Part 2, 10.4): its size, then as many bytes. The size is held against `max` first.
    pub(super) fn sized(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], StructureError> {
        let size = usize::from(self.u16(field)?);
        if size > max {
            return Err(StructureError::TooLong { field, found: size, max });
        }
        self.take(field, size)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, StructureError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, StructureError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, StructureError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, StructureError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Little-endian, as in memory of the machines that dump it there: never in what a TPM writes.
    pub(super) fn u16_le(&mut self, field: &'static str) -> Result<u16, StructureError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// See [`Reader::u16_le`].
    pub(super) fn u32_le(&mut self, field: &'static str) -> Result<u32, StructureError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Nothing may be left.
    pub(super) fn finish(mut self) -> Result<(), StructureError> {
        match self.0.take_rest().unwrap_or_default().len() {
            0 => Ok(()),
            count => Err(StructureError::Trailing { count }),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], StructureError> {
        let bytes = self.take(field, N)?;
        bytes.try_into().map_err(|_| StructureError::Truncated { field })
    }
}

/// Why bytes are not the structure they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StructureError {
    /// They end within a field.
    Truncated {
        /// Which.
        field: &'static str,
    },
    /// A field is longer than it can be.
    TooLong {
        /// Which.
        field: &'static str,
        /// Its size, or its count.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// There are more bytes after the structure.
    Trailing {
        /// How many.
        count: usize,
    },
    /// An algorithm, curve or mode that is not known here.
    UnknownAlgorithm {
        /// Where it stands.
        field: &'static str,
        /// Its TPM_ALG_ID or TPM_ECC_CURVE.
        id: u16,
    },
    /// A field has a value that it cannot have.
    Value {
        /// Which.
        field: &'static str,
        /// Its value.
        found: u64,
    },
}

impl fmt::Display for StructureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { field } => write!(f, "it ends within {field}"),
            Self::TooLong { field, found, max } => write!(f, "{field} is {found} long, and at most {max} is possible"),
            Self::Trailing { count } => write!(f, "{count} bytes follow after its end"),
            Self::UnknownAlgorithm { field, id } => write!(f, "{field} names algorithm 0x{id:04x}, which is not known"),
            Self::Value { field, found } => write!(f, "{field} cannot be {found}"),
        }
    }
}

impl std::error::Error for StructureError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_meet_their_limit_before_their_bytes() {
        assert_eq!(Reader::new(b"\0\x02ab").sized("x", 2), Ok(&b"ab"[..]));
        assert_eq!(Reader::new(b"\0\x03").sized("x", 2), Err(StructureError::TooLong { field: "x", found: 3, max: 2 }));
        assert_eq!(Reader::new(b"\0\x02a").sized("x", 2), Err(StructureError::Truncated { field: "x" }));
        assert_eq!(Reader::new(b"\0").sized("x", 2), Err(StructureError::Truncated { field: "x" }));
    }

    #[test]
    fn numbers_are_big_endian_where_they_do_not_say_otherwise() {
        let mut reader =
            Reader::new(b"\x01\x02\x03\x01\x02\x03\x04\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x01\x02\x03\x04!");
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(0x0203));
        assert_eq!(reader.u32("c"), Ok(0x0102_0304));
        assert_eq!(reader.u64("d"), Ok(0x0102_0304_0506_0708));
        assert_eq!(reader.u16_le("e"), Ok(0x0201));
        assert_eq!(reader.u32_le("f"), Ok(0x0403_0201));
        assert_eq!(reader.finish(), Err(StructureError::Trailing { count: 1 }));
    }
}
