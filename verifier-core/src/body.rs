//! What follows a head: read once into own memory, and hashed while it comes in.
//!
//! The second thread here and those of [`crate::entries`] are all that this crate asks of the system. They change no
//! result: a list of 250 MB is read, hashed and checked in little more than the time its hash takes.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::contents::{ContentsError, LoadError};
use crate::digest::hash_from_memory;
use crate::header::{Header, Section};

/// How much is read before the other thread hashes it: enough to make handing it over cheap.
const CHUNK_LEN: usize = 256 << 10;

/// Sections that have the lengths and hashes of their header. None of them was parsed.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    /// In the order of [`Section::ALL`].
    ranges: [Range<usize>; 4],
}

impl Body {
    /// Holds bytes to their header.
    pub(crate) fn check(header: &Header, bytes: Vec<u8>) -> Result<Self, ContentsError> {
        let ranges = section_ranges(header, bytes.len())?;
        hash_sections(header, std::iter::once(bytes.as_slice()))?;
        Ok(Self { bytes, ranges })
    }

    /// Reads as many bytes as the header says, and holds them to it. There must be no more.
    pub(crate) fn read(header: &Header, mut source: impl Read) -> Result<Self, LoadError> {
        let len = usize::try_from(header.body_len()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // Zeros that nobody touches before they are read over: a short file under a boastful header takes no memory.
        let mut bytes = vec![0; len];
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel::<&[u8]>();
            let hashing = thread::Builder::new().spawn_scoped(scope, || hash_sections(header, receiver))?;
            let mut found = 0_u64;
            for chunk in bytes.chunks_mut(CHUNK_LEN) {
                let filled = read_full(&mut source, chunk)?;
                found = found.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
                if filled < chunk.len() {
                    return Err(wrong_length(header, found).into());
                }
                // It has hung up only if it has already seen enough to refuse; then that is what `join` says.
                let _ = sender.send(chunk);
            }
            drop(sender);
            if read_full(&mut source, &mut [0])? > 0 {
                return Err(wrong_length(header, found.saturating_add(1)).into());
            }
            hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(LoadError::Contents)
        })?;
        let ranges = section_ranges(header, bytes.len())?;
        Ok(Self { bytes, ranges })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn section(&self, section: Section) -> &[u8] {
        let [provenance, excludes, rules, entries] = &self.ranges;
        let range = match section {
            Section::Provenance => provenance,
            Section::Excludes => excludes,
            Section::Rules => rules,
            Section::Entries => entries,
        };
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// Compares the hash of every section, cut from `chunks` by the lengths in the header.
fn hash_sections<'a>(header: &Header, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<(), ContentsError> {
    let mut chunks = chunks.into_iter();
    let mut rest: &[u8] = &[];
    for (section, seal) in Section::ALL.into_iter().zip(&header.sections) {
        let mut hasher = Sha256::new();
        let mut missing = seal.len;
        while missing > 0 {
            if rest.is_empty() {
                rest = chunks.next().ok_or(ContentsError::Tampered(section))?;
            }
            let share = usize::try_from(missing).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_checked(share).unwrap_or_default();
            hash_from_memory(&mut hasher, now);
            missing = missing.saturating_sub(u64::try_from(share).unwrap_or(u64::MAX));
            rest = later;
        }
        if hasher.finalize().as_slice() != seal.sha256.as_bytes() {
            return Err(ContentsError::Tampered(section));
        }
    }
    Ok(())
}

fn section_ranges(header: &Header, found: usize) -> Result<[Range<usize>; 4], ContentsError> {
    let wrong = || wrong_length(header, u64::try_from(found).unwrap_or(u64::MAX));
    if usize::try_from(header.body_len()).ok() != Some(found) {
        return Err(wrong());
    }
    let mut start = 0_usize;
    let mut ranges = [const { 0..0 }; 4];
    for (range, seal) in ranges.iter_mut().zip(&header.sections) {
        let end = usize::try_from(seal.len).ok().and_then(|len| start.checked_add(len)).ok_or_else(wrong)?;
        *range = start..end;
        start = end;
    }
    Ok(ranges)
}

fn wrong_length(header: &Header, found: u64) -> ContentsError {
    ContentsError::Length { expected: header.body_len(), found }
}

/// Reads until `buffer` is full or the source ends.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::HashAlgorithm;
    use crate::header::{Expiry, FileHash, ListName, SectionSeal, Version};
    use crate::time::Timestamp;

    /// Sections whose ends fall on, before and after the ends of chunks, and one that is empty.
    fn sections() -> [Vec<u8>; 4] {
        [CHUNK_LEN - 1, 0, 3 * CHUNK_LEN + 1, 7].map(|len| (0..=u8::MAX).cycle().take(len).collect())
    }

    fn header() -> Header {
        Header {
            name: ListName::new("test").unwrap(),
            version: Version::FIRST,
            created: Timestamp::from_unix(0).unwrap(),
            expires: Expiry::Never,
            file_hash: FileHash::new(&[HashAlgorithm::Sha256]).unwrap(),
            sections: sections().each_ref().map(SectionSeal::of),
        }
    }

    /// Gives one byte more at each call, so that chunks are filled by many reads.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1.saturating_add(1);
            let share = buffer.len().min(self.1);
            self.0.read(&mut buffer[..share])
        }
    }

    #[track_caller]
    fn refused(bytes: &[u8], expected: ContentsError) {
        assert!(matches!(Body::read(&header(), bytes), Err(LoadError::Contents(error)) if error == expected));
        let checked = Body::check(&header(), bytes.to_vec()).err();
        let is_length = matches!(checked, Some(ContentsError::Length { .. }));
        assert!(is_length || checked == Some(expected));
    }

    #[test]
    fn gives_the_sections_of_what_it_read() {
        let bytes = sections().concat();
        for body in [Body::read(&header(), Trickle(&bytes, 0)).unwrap(), Body::check(&header(), bytes).unwrap()] {
            assert_eq!(Section::ALL.map(|section| body.section(section).to_vec()), sections());
        }
    }

    #[test]
    fn every_section_is_held_to_its_hash() {
        let whole = sections().concat();
        let mut start = 0;
        for (section, bytes) in Section::ALL.into_iter().zip(sections()).filter(|(_, bytes)| !bytes.is_empty()) {
            for changed in [start, start + bytes.len() - 1] {
                let mut whole = whole.clone();
                whole[changed] ^= 1;
                refused(&whole, ContentsError::Tampered(section));
            }
            start += bytes.len();
        }
    }

    #[test]
    fn the_length_must_be_exact() {
        let bytes = sections().concat();
        let expected = header().body_len();
        for found in [0, 1, CHUNK_LEN, bytes.len() - 1] {
            refused(&bytes[..found], ContentsError::Length { expected, found: u64::try_from(found).unwrap() });
        }
        let longer = [&bytes[..], b"\n"].concat();
        refused(&longer, ContentsError::Length { expected, found: expected + 1 });
    }

    #[test]
    fn a_source_that_fails_is_no_list_that_is_short() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let bytes = sections().concat();
        let source = bytes[..CHUNK_LEN].chain(Broken);
        assert!(
            matches!(Body::read(&header(), source), Err(LoadError::Read(error)) if error.kind() == io::ErrorKind::PermissionDenied)
        );
    }
}
