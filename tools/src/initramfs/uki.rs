//! Unified kernel images: the initramfs inside a PE executable, as systemd-stub hands it to the kernel.
//!
//! The stub gives the kernel the section `.ucode` and behind it `.initrd`, each padded to 4 bytes. Only the section table
//! is read; nothing else of the executable is judged.

use super::{Error, Warning};

/// The parts of the image that the kernel gets, in its order.
#[derive(Debug)]
pub(super) struct Initrds<'a> {
    /// Offset in the file, and the bytes.
    pub(super) parts: Vec<(u64, &'a [u8])>,
    pub(super) warning: Option<Warning>,
}

/// Whether `file` begins like a PE executable. Linux has no use for these bytes in an initramfs.
pub(super) fn is_pe(file: &[u8]) -> bool {
    file.starts_with(b"MZ")
}

/// The microcode and the initramfs in the PE executable `file`.
pub(super) fn initrds(file: &[u8]) -> Result<Initrds<'_>, Error> {
    let sections = sections(file)?;
    let mut parts = Vec::new();
    let mut warning = None;
    for name in [UCODE, INITRD] {
        let mut count = 0;
        for section in sections.iter().filter(|section| section.is(name)) {
            let bytes = section.bytes(file).ok_or(Error::BrokenPe { what: "a section lies outside the file" })?;
            parts.push((u64::from(section.offset), bytes));
            count += 1;
        }
        if count > 1 {
            warning = Some(Warning::SeveralSections { section: name });
        }
        if count == 0 && name == INITRD {
            return Err(Error::NoInitrd);
        }
    }
    // Otherwise a small file could name the same bytes very often.
    if parts.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > file.len() {
        return Err(Error::BrokenPe { what: "its sections overlap" });
    }
    Ok(Initrds { parts, warning })
}

/// Whether the executable that begins with `head` has an initramfs.
pub(super) fn has_initrd(head: &[u8]) -> bool {
    sections(head).is_ok_and(|sections| sections.iter().any(|section| section.is(INITRD)))
}

/// A row of the section table (PE format, "Section Table").
#[derive(Debug)]
struct Section {
    name: [u8; 8],
    offset: u32,
    /// The smaller of the size in memory and the size in the file: what the contents really are.
    size: u32,
}

impl Section {
    fn is(&self, name: &str) -> bool {
        self.name.strip_prefix(name.as_bytes()).is_some_and(|padding| padding.iter().all(|byte| *byte == 0))
    }

    fn bytes<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.offset as usize;
        file.get(start..start.checked_add(self.size as usize)?)
    }
}

fn sections(file: &[u8]) -> Result<Vec<Section>, Error> {
    let outside = || Error::BrokenPe { what: "its headers lie outside the file" };
    let signature = u32::from_le_bytes(field(file, PE_OFFSET).ok_or_else(outside)?) as usize;
    if field(file, signature).ok_or_else(outside)? != *b"PE\0\0" {
        return Err(Error::NoInitrd);
    }
    let coff = signature + 4;
    let count = u16::from_le_bytes(field(file, coff + 2).ok_or_else(outside)?);
    let optional_header = u16::from_le_bytes(field(file, coff + 16).ok_or_else(outside)?);
    let table = coff + COFF_HEADER + usize::from(optional_header);
    (0..usize::from(count))
        .map(|index| {
            let row = table + index * ROW;
            let number = |at| field(file, row + at).map(u32::from_le_bytes).ok_or_else(outside);
            Ok(Section {
                name: field(file, row).ok_or_else(outside)?,
                size: number(8)?.min(number(16)?),
                offset: number(20)?,
            })
        })
        .collect()
}

fn field<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..)?.first_chunk().copied()
}

const UCODE: &str = ".ucode";
const INITRD: &str = ".initrd";
/// Where a PE executable says where its signature stands.
const PE_OFFSET: usize = 0x3c;
const COFF_HEADER: usize = 20;
const ROW: usize = 40;
