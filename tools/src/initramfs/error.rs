//! Why an image is refused, and what is worth a word although it is not.

use std::fmt;

use goldseal_cli::printable::Printable;

use super::{Compression, Filesystem};

/// Why an image is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file has no bytes.
    Empty,
    /// A PE executable whose headers or sections are not all there.
    BrokenPe {
        /// What is wrong.
        what: &'static str,
    },
    /// A PE executable without a section `.initrd`.
    NoInitrd,
    /// Neither a cpio archive nor a compression that Linux unpacks.
    UnknownMagic {
        /// Offset in the image.
        at: u64,
        /// What stands there.
        magic: [u8; 2],
    },
    /// A compressed segment that does not decompress to its end.
    Stream {
        /// Offset of the segment in the image.
        at: u64,
        /// Its compression.
        compression: Compression,
        /// What is wrong.
        fault: StreamFault,
    },
    /// The segment ends within a record.
    Truncated {
        /// Where the record begins.
        at: Position,
        /// The part of the record that is not complete.
        part: &'static str,
    },
    /// A record that does not begin with 070701 or 070702.
    NoCpioMagic {
        /// Where the record begins.
        at: Position,
        /// What stands there.
        found: [u8; 6],
    },
    /// A header field that is not eight hex digits.
    NotHex {
        /// Where the record begins.
        at: Position,
        /// The field, as cpio(5) names it.
        field: &'static str,
    },
    /// A name whose last byte is not NUL.
    NameNotTerminated {
        /// Where the record begins.
        at: Position,
    },
    /// The contents do not add up to the sum in the header (070702).
    Checksum {
        /// Where the record begins.
        at: Position,
        /// The sum in the header.
        expected: u32,
        /// The sum of the contents.
        found: u32,
    },
    /// Something other than zeros at an offset that is not a multiple of 4, behind a record.
    BrokenPadding {
        /// Where it stands.
        at: Position,
    },
    /// Neither a record nor zeros behind a record of a compressed segment.
    Junk {
        /// Where it stands.
        at: Position,
    },
    /// The image would cost more than [`super::Limits`] allow.
    Limit {
        /// The record that went beyond.
        at: Position,
        /// Which limit.
        limit: Limit,
    },
}

/// What was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`super::Limits::segments`].
    Segments,
    /// [`super::Limits::records`].
    Records,
    /// [`super::Limits::lookups`].
    Lookups,
    /// [`super::Limits::path_bytes`].
    PathBytes,
    /// The path of a file, all links resolved, is longer than a whitelist can hold (4,095 bytes).
    PathLength,
}

/// A place in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Offset in the image: of the place itself, or of the compressed segment that holds it.
    pub image: u64,
    /// Offset in what the compressed segment unpacks to.
    pub unpacked: Option<u64>,
}

/// What is wrong with a compressed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamFault {
    /// The image ends before the stream does.
    Truncated,
    /// It does not decode, or a checksum is wrong.
    Damaged {
        /// The decoder's words.
        detail: String,
    },
    /// It decodes, but not with Linux' decoder.
    NotForLinux {
        /// What Linux cannot read, and what it can.
        detail: &'static str,
    },
    /// It unpacks to more than [`super::Limits::unpacked`].
    TooLarge,
}

/// What deserves a word though the image is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A record of which Linux makes no file.
    Skipped {
        /// Where the record begins.
        at: Position,
        /// Its name, as raw bytes.
        name: Vec<u8>,
        /// Why.
        why: Skip,
    },
    /// A file that holds a file system: the files inside are not read, and not listed.
    Hides {
        /// Path of the file.
        path: Vec<u8>,
        /// What it holds.
        filesystem: Filesystem,
    },
    /// A UKI has several sections of one name; they were read one behind the other. Which of them a multi-profile UKI
    /// boots with is chosen at boot.
    SeveralSections {
        /// The name.
        section: &'static str,
    },
    /// More warnings than are kept.
    More {
        /// How many.
        count: u64,
    },
}

/// Why Linux makes no file of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// The name is empty or longer than `PATH_MAX` (4,096).
    NameSize(u32),
    /// The target of a symbolic link is longer than `PATH_MAX`.
    TargetSize(u32),
    /// A body on something that is not a regular file.
    Body,
    /// A type that is none of Linux'.
    UnknownType(u16),
    /// A component of the path does not exist.
    MissingParent,
    /// A component of the path is not a directory.
    NotADirectory,
    /// More than 40 symbolic links on the way.
    TooManyLinks,
    /// A component is longer than `NAME_MAX` (255).
    ComponentTooLong,
    /// The name leads to a directory that cannot be replaced, or ends in a slash as only a directory's may.
    InTheWay,
    /// The file to write to is not a regular one.
    NotRegular,
    /// The file it is a hard link to is gone.
    LostLink,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::BrokenPe { what } => write!(f, "not a whole PE executable (UKI): {what}"),
            Self::NoInitrd => {
                f.write_str("a PE executable (UKI) without a section .initrd: there is no initramfs in it")
            }
            Self::UnknownMagic { at, magic } => {
                write!(f, "byte {at}: ")?;
                match magic {
                    [0x04, 0x22] => f.write_str("an lz4 frame; Linux reads the legacy format only (lz4 -l)"),
                    [0x50..=0x5f, 0x2a] => f.write_str("a skippable frame, which Linux does not read"),
                    b"07" => f.write_str("a cpio archive that does not begin at a multiple of 4 bytes"),
                    [a, b] => {
                        write!(f, "neither a cpio archive nor a compression that Linux unpacks ({a:02x} {b:02x})")
                    }
                }
            }
            Self::Stream { at, compression, fault } => {
                write!(f, "the {compression} segment at byte {at} ")?;
                match fault {
                    StreamFault::Truncated => f.write_str("is truncated"),
                    StreamFault::Damaged { detail } => write!(f, "is damaged: {detail}"),
                    StreamFault::NotForLinux { detail } => write!(f, "cannot be read by Linux: {detail}"),
                    StreamFault::TooLarge => f.write_str("unpacks to more than the limit"),
                }
            }
            Self::Truncated { at, part } => write!(f, "{at}: the archive ends within the {part} of this record"),
            Self::NoCpioMagic { at, found } => {
                let found = Printable(found);
                write!(f, "{at}: not a cpio record of the format newc (070701 or 070702 expected, found {found})")
            }
            Self::NotHex { at, field } => write!(f, "{at}: the field {field} of this record is not hexadecimal"),
            Self::NameNotTerminated { at } => write!(f, "{at}: the name of this record does not end in NUL"),
            Self::Checksum { at, expected, found } => {
                write!(f, "{at}: the contents add up to {found:08x}, the record says {expected:08x}")
            }
            Self::BrokenPadding { at } => {
                write!(f, "{at}: expected zeros up to a multiple of 4 bytes (broken padding)")
            }
            Self::Junk { at } => write!(f, "{at}: neither a record nor zeros in a compressed archive"),
            Self::Limit { at, limit } => {
                let what = match limit {
                    Limit::Segments => "more segments than the limit",
                    Limit::Records => "more records than the limit",
                    Limit::Lookups => "more path components to resolve than the limit",
                    Limit::PathBytes => "more bytes of paths than the limit",
                    Limit::PathLength => "a path of more than 4,095 bytes",
                };
                write!(f, "{at}: {what}")
            }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unpacked {
            None => write!(f, "byte {}", self.image),
            Some(offset) => write!(f, "byte {offset} of what unpacks from byte {}", self.image),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped { at, name, why } => write!(f, "{}: Linux skips this record: {why} ({at})", Printable(name)),
            Self::Hides { path, filesystem } => write!(
                f,
                "{} holds a file system ({filesystem}): the files inside are NOT in the list; unpack it and add them",
                Printable(path)
            ),
            Self::SeveralSections { section } => {
                write!(f, "several sections {section}: read as one image; the stub may choose among them at boot")
            }
            Self::More { count } => write!(f, "{count} more warnings"),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameSize(size) => write!(f, "a name of {size} bytes"),
            Self::TargetSize(size) => write!(f, "a symbolic link to a name of {size} bytes"),
            Self::Body => f.write_str("contents on something that is not a regular file"),
            Self::UnknownType(mode) => write!(f, "unknown type (mode {mode:06o})"),
            Self::MissingParent => f.write_str("its folder does not exist"),
            Self::NotADirectory => f.write_str("part of its path is not a folder"),
            Self::TooManyLinks => f.write_str("more than 40 symbolic links on its path"),
            Self::ComponentTooLong => f.write_str("part of its path is longer than 255 bytes"),
            Self::InTheWay => f.write_str("its name is that of a folder"),
            Self::NotRegular => f.write_str("what it would write to is not a regular file"),
            Self::LostLink => f.write_str("the file it is a hard link to is gone"),
        }
    }
}
