//! Initramfs images inside PE executables.

use super::archive::{archive, file};
use super::*;

#[test]
fn microcode_first_then_the_initrd() {
    let sections = [section(".ucode", &archive(&[file("a", "1")])), section(".initrd", &archive(&[file("a", "2")]))];
    let image = pe(&sections);
    let unpacked = assert_files(&image, &[("/a", "2")]);
    let offsets: Vec<u64> = unpacked.segments.iter().map(|segment| segment.offset).collect();
    assert_eq!(offsets, [u64::from(sections_at(2) + ALIGNMENT), u64::from(sections_at(2))]);
    assert_eq!(unpacked.warnings, []);
    assert!(looks_like_initramfs(&image));
    assert!(looks_like_initramfs(&image[..0x200]), "the section table is enough");
}

#[test]
fn what_pads_a_section_is_not_part_of_it() {
    let mut padded = section(".initrd", &archive(&[file("a", "1")]));
    padded.bytes.extend(b"JUNK");
    assert_files(&pe(&[padded]), &[("/a", "1")]);
}

#[test]
fn several_sections_of_one_name() {
    let sections = ["1", "2"].map(|body| section(".initrd", &archive(&[file("a", body)])));
    let unpacked = assert_files(&pe(&sections), &[("/a", "2")]);
    assert_eq!(unpacked.warnings, [Warning::SeveralSections { section: ".initrd" }]);
}

#[test]
fn without_an_initrd() {
    let image = pe(&[section(".linux", b"x"), section(".initrdx", b"x"), section(".ucode", b"")]);
    assert_eq!(unpack(&image), Err(Error::NoInitrd));
    assert!(!looks_like_initramfs(&image));
    assert_eq!(unpack(&[&b"MZ"[..], &[0; 100]].concat()), Err(Error::NoInitrd));
}

#[test]
fn every_truncation_is_refused() {
    let image = pe(&[section(".initrd", &archive(&[file("a", "1")]))]);
    let contents = sections_at(1) as usize + archive(&[file("a", "1")]).len();
    for length in 2..contents {
        let result = unpack(&image[..length]);
        assert!(matches!(result, Err(Error::BrokenPe { .. })), "{length}: {result:?}");
    }
    assert!(unpack(&image[..contents]).is_ok());
}

#[test]
fn the_same_bytes_count_once() {
    let mut overlapping = section(".initrd", &archive(&[file("a", "1")]));
    overlapping.repeat = 20;
    let what = "its sections overlap";
    assert_eq!(unpack(&pe(&[overlapping])), Err(Error::BrokenPe { what }));
}

#[test]
fn damaged_executables_end_in_a_result() {
    let sections = [section(".ucode", &archive(&[file("a", "1")])), section(".initrd", &archive(&[file("b", "2")]))];
    assert!(refused(&pe(&sections), 1_000) > 100);
}

struct Section {
    name: &'static str,
    bytes: Vec<u8>,
    /// Size in memory.
    size: u32,
    /// Rows of the table that name it.
    repeat: usize,
}

fn section(name: &'static str, bytes: &[u8]) -> Section {
    Section { name, bytes: bytes.to_vec(), size: bytes.len() as u32, repeat: 1 }
}

/// A PE executable of these sections, the last of them first in the file.
fn pe(sections: &[Section]) -> Vec<u8> {
    let rows: usize = sections.iter().map(|section| section.repeat).sum();
    let mut table = Vec::new();
    let mut contents = Vec::new();
    for section in sections.iter().rev() {
        let offset = sections_at(rows as u32) + contents.len() as u32;
        contents.extend(&section.bytes);
        contents.resize(contents.len().next_multiple_of(ALIGNMENT as usize), 0xcc);
        for _ in 0..section.repeat {
            let mut row = section.name.as_bytes().to_vec();
            row.resize(8, 0);
            let in_file = (section.bytes.len() as u32).next_multiple_of(ALIGNMENT);
            for number in [section.size, 0x1000, in_file, offset, 0, 0, 0, 0] {
                row.extend(number.to_le_bytes());
            }
            table.push(row);
        }
    }
    table.reverse();
    let mut image = b"MZ".to_vec();
    image.resize(0x3c, 0);
    image.extend(SIGNATURE.to_le_bytes());
    image.resize(SIGNATURE as usize, 0);
    image.extend(b"PE\0\0\x64\x86");
    image.extend((rows as u16).to_le_bytes());
    image.extend([0; 12]);
    image.extend(OPTIONAL_HEADER.to_le_bytes());
    image.extend([0; 2]);
    image.extend(vec![0; usize::from(OPTIONAL_HEADER)]);
    image.extend(table.concat());
    image.resize(sections_at(rows as u32) as usize, 0);
    image.extend(contents);
    image
}

fn sections_at(rows: u32) -> u32 {
    (SIGNATURE + 24 + u32::from(OPTIONAL_HEADER) + rows * 40).next_multiple_of(ALIGNMENT)
}

const SIGNATURE: u32 = 0x80;
const OPTIONAL_HEADER: u16 = 16;
const ALIGNMENT: u32 = 0x200;
