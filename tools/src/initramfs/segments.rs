//! From an image to segments, from segments to records, from records to the tree (`unpack_to_rootfs`).

use goldseal_verifier_core::digest::HashAlgorithm;

use super::cpio::{ALIGNMENT, Cursor, Header};
use super::filesystem::{Detector, named};
use super::pipe::{Source, unpack};
use super::rootfs::{
    Contents, Refusal, Rootfs, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK,
};
use super::{Compression, Error, Limit, Limits, Position, Segment, Skip, Unpacked, Warning};
use crate::hash::Hasher;

/// Reads images one behind the other into one tree, as the kernel does with what a boot loader concatenates.
pub(super) struct Unpacker<'a> {
    algorithms: &'a [HashAlgorithm],
    limits: &'a Limits,
    progress: &'a (dyn Fn(u64) + Sync),
    rootfs: Rootfs,
    detector: Detector,
    segments: Vec<Segment>,
    pub(super) warnings: Warnings,
    records: u64,
    unpacked: u64,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(algorithms: &'a [HashAlgorithm], limits: &'a Limits, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        Self {
            algorithms,
            limits,
            progress,
            rootfs: Rootfs::new(Hasher::new(algorithms).finish().into(), limits),
            detector: Detector::new(),
            segments: Vec::new(),
            warnings: Warnings::default(),
            records: 0,
            unpacked: 0,
        }
    }

    /// Reads the segments of `image`, which lies at `base` in the file.
    pub(super) fn image(&mut self, image: &[u8], base: u64) -> Result<(), Error> {
        let mut rest = image;
        while let Some(first) = rest.first() {
            let position = (image.len() - rest.len()) as u64;
            let at = base + position;
            let taken = match *first {
                0 => {
                    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                    (self.progress)(zeros as u64);
                    zeros
                }
                b'0' if position.is_multiple_of(ALIGNMENT) => self.plain(rest, at)?,
                _ => self.compressed(rest, at)?,
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// The result, when all is read.
    pub(super) fn finish(self) -> Result<Unpacked, Error> {
        let found = self.rootfs.into_files(self.limits.path_bytes).map_err(|limit| {
            let at = self.segments.last().map_or(0, |segment| segment.offset);
            Error::Limit { at: Position { image: at, unpacked: None }, limit }
        })?;
        let mut warnings = self.warnings;
        let mut files = Vec::with_capacity(found.len());
        for (file, filesystem) in found {
            if let Some(filesystem) = filesystem.or_else(|| named(&file.path)) {
                warnings.push(Warning::Hides { path: file.path.clone(), filesystem });
            }
            files.push(file);
        }
        Ok(Unpacked { files, segments: self.segments, warnings: warnings.into_vec() })
    }

    /// Uncompressed records, as many as follow each other, read where they lie. Returns how many bytes they take.
    fn plain(&mut self, rest: &[u8], at: u64) -> Result<usize, Error> {
        let before = self.begin_segment(at)?;
        let mut source = rest;
        let mut cursor = Cursor::new(&mut source, at, Compression::None);
        self.records(&mut cursor)?;
        let unpacked = cursor.offset;
        let taken = rest.len() - source.len();
        (self.progress)(taken as u64);
        self.end_segment(at, Compression::None, unpacked, before);
        Ok(taken)
    }

    /// One compressed stream. Returns how many bytes it takes.
    fn compressed(&mut self, rest: &[u8], at: u64) -> Result<usize, Error> {
        let Some(compression) = Compression::detect(rest) else {
            let magic = [0, 1].map(|index| rest.get(index).copied().unwrap_or(0));
            return Err(Error::UnknownMagic { at, magic });
        };
        let before = self.begin_segment(at)?;
        let left = self.limits.unpacked - self.unpacked;
        let (read, taken) = unpack(compression, rest, self.limits, left, self.progress, |source| {
            let mut cursor = Cursor::new(source, at, compression);
            self.records(&mut cursor)?;
            match cursor.peek()? {
                None => Ok(cursor.offset),
                Some(_) => Err(Error::Junk { at: cursor.position() }),
            }
        });
        let unpacked = read?;
        self.unpacked += unpacked;
        self.end_segment(at, compression, unpacked, before);
        Ok(taken.expect("a reader that saw no fault saw the end of the stream"))
    }

    /// The records before it, unless it is one segment too many.
    fn begin_segment(&self, at: u64) -> Result<u64, Error> {
        if self.segments.len() < self.limits.segments {
            Ok(self.records)
        } else {
            Err(Error::Limit { at: Position { image: at, unpacked: None }, limit: Limit::Segments })
        }
    }

    fn end_segment(&mut self, offset: u64, compression: Compression, unpacked: u64, before: u64) {
        self.segments.push(Segment { offset, compression, unpacked, entries: self.records - before });
    }

    /// Records and zeros, up to anything else.
    fn records<S: Source>(&mut self, cursor: &mut Cursor<'_, S>) -> Result<(), Error> {
        loop {
            // Before the very first record Linux does not pass over zeros in a compressed segment.
            if self.records > 0 {
                cursor.skip_zeros()?;
                match cursor.peek()? {
                    None => return Ok(()),
                    Some(_) if !cursor.offset.is_multiple_of(ALIGNMENT) => {
                        return Err(Error::BrokenPadding { at: cursor.position() });
                    }
                    Some(b'0') => {}
                    Some(_) => return Ok(()),
                }
            }
            self.record(cursor)?;
        }
    }

    fn record<S: Source>(&mut self, cursor: &mut Cursor<'_, S>) -> Result<(), Error> {
        let at = cursor.position();
        let header = Header::read(cursor)?;
        self.records += 1;
        if self.records > self.limits.records {
            return Err(Error::Limit { at, limit: Limit::Records });
        }
        if header.name_size == 0 || header.name_size > PATH_MAX {
            self.warnings.push(Warning::Skipped { at, name: Vec::new(), why: Skip::NameSize(header.name_size) });
            cursor.pass(header.name_room(), at, "name", |_| {})?;
        } else {
            let name = read_name(cursor, &header, at)?;
            match self.named_record(cursor, &header, &name, at)? {
                Ok(()) => return cursor.skip_padding(at),
                Err(Refusal::Skip(why)) => self.warnings.push(Warning::Skipped { at, name, why }),
                Err(Refusal::Limit(limit)) => return Err(Error::Limit { at, limit }),
            }
        }
        cursor.pass(header.body_size.into(), at, "body", |_| {})?;
        cursor.skip_padding(at)
    }

    /// What `do_header`, `do_name` and `do_symlink` do. A refusal leaves the body to be passed over; success has read it.
    fn named_record<S: Source>(
        &mut self,
        cursor: &mut Cursor<'_, S>,
        header: &Header,
        name: &[u8],
        at: Position,
    ) -> Result<Result<(), Refusal>, Error> {
        let kind = header.mode & S_IFMT;
        let link = (header.links >= 2).then_some((header.inode, kind));
        if kind == S_IFLNK {
            if header.body_size > PATH_MAX {
                return Ok(Err(Refusal::Skip(Skip::TargetSize(header.body_size))));
            }
            let mut target = Vec::with_capacity(header.body_size as usize);
            cursor.pass(header.body_size.into(), at, "body", |bytes| target.extend_from_slice(bytes))?;
            return Ok(match self.rootfs.symlink(name, until_nul(&target)) {
                Err(Refusal::Skip(why)) => {
                    // Its body is read already.
                    self.warnings.push(Warning::Skipped { at, name: name.into(), why });
                    Ok(())
                }
                done => done,
            });
        }
        if kind != S_IFREG && header.body_size > 0 {
            return Ok(Err(Refusal::Skip(Skip::Body)));
        }
        if name == TRAILER {
            self.rootfs.trailer();
            cursor.pass(header.body_size.into(), at, "body", |_| {})?;
            return Ok(Ok(()));
        }
        Ok(match kind {
            S_IFREG => match self.rootfs.open(name, link) {
                Ok(opened) => {
                    let contents = self.body(cursor, header, at)?;
                    self.rootfs.write(opened, header.body_size.into(), contents);
                    Ok(())
                }
                Err(refusal) => Err(refusal),
            },
            S_IFDIR => self.rootfs.directory(name),
            S_IFBLK | S_IFCHR | S_IFIFO | S_IFSOCK => self.rootfs.special(name, kind, link),
            _ => self.rootfs.unknown(name, kind).and(Err(Refusal::Skip(Skip::UnknownType(header.mode)))),
        })
    }

    /// Hashes a body as it streams by.
    fn body<S: Source>(
        &mut self,
        cursor: &mut Cursor<'_, S>,
        header: &Header,
        at: Position,
    ) -> Result<Contents, Error> {
        let mut hasher = Hasher::new(self.algorithms);
        let mut sum = 0u32;
        let detector = &mut self.detector;
        detector.restart();
        cursor.pass(header.body_size.into(), at, "body", |bytes| {
            hasher.update(bytes);
            detector.update(bytes);
            if header.sum.is_some() {
                sum = bytes.iter().fold(sum, |sum, byte| sum.wrapping_add(u32::from(*byte)));
            }
        })?;
        match header.sum {
            Some(expected) if expected != sum => Err(Error::Checksum { at, expected, found: sum }),
            _ => Ok(Contents { digests: hasher.finish().into(), filesystem: detector.found() }),
        }
    }
}

/// The name up to its first NUL; the last of its bytes must be one.
fn read_name<S: Source>(cursor: &mut Cursor<'_, S>, header: &Header, at: Position) -> Result<Vec<u8>, Error> {
    let mut name = Vec::with_capacity(header.name_room() as usize);
    cursor.pass(header.name_room(), at, "name", |bytes| name.extend_from_slice(bytes))?;
    name.truncate(header.name_size as usize);
    if name.last() != Some(&0) {
        return Err(Error::NameNotTerminated { at });
    }
    name.truncate(until_nul(&name).len());
    Ok(name)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Warnings, as many as someone might read.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    kept: Vec<Warning>,
    more: u64,
}

impl Warnings {
    fn push(&mut self, warning: Warning) {
        if self.kept.len() < MAX_WARNINGS {
            self.kept.push(warning);
        } else {
            self.more += 1;
        }
    }

    fn into_vec(mut self) -> Vec<Warning> {
        if self.more > 0 {
            self.kept.push(Warning::More { count: self.more });
        }
        self.kept
    }
}

impl Extend<Warning> for Warnings {
    fn extend<I: IntoIterator<Item = Warning>>(&mut self, warnings: I) {
        warnings.into_iter().for_each(|warning| self.push(warning));
    }
}

const TRAILER: &[u8] = b"TRAILER!!!";
/// include/uapi/linux/limits.h.
const PATH_MAX: u32 = 4_096;
/// Kept in memory with names of up to 4 KiB each: 4 MiB. Real images have none.
const MAX_WARNINGS: usize = 1_000;
