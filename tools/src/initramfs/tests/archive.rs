//! Writes records that no archiver would write.

/// A record as it goes into an archive; every field can be set.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) magic: &'static str,
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    pub(super) ino: u32,
    pub(super) links: u32,
    pub(super) sum: u32,
    pub(super) body: Vec<u8>,
}

pub(super) fn file(name: &str, body: &str) -> Record {
    Record {
        magic: "070701",
        name: format!("{name}\0").into_bytes(),
        mode: 0o100644,
        ino: 0,
        links: 1,
        sum: 0,
        body: body.as_bytes().to_vec(),
    }
}

pub(super) fn directory(name: &str) -> Record {
    Record { mode: 0o040755, links: 2, ..file(name, "") }
}

pub(super) fn symlink(name: &str, target: &str) -> Record {
    Record { mode: 0o120777, ..file(name, target) }
}

pub(super) fn fifo(name: &str) -> Record {
    Record { mode: 0o010644, ..file(name, "") }
}

/// One of the names of a file with several.
pub(super) fn linked(name: &str, ino: u32, body: &str) -> Record {
    Record { ino, links: 2, ..file(name, body) }
}

pub(super) fn trailer() -> Record {
    Record { mode: 0, ..file("TRAILER!!!", "") }
}

impl Record {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small");
        let fields =
            [self.ino, self.mode, 0, 0, self.links, 0, size(&self.body), 8, 1, 0, 0, size(&self.name), self.sum];
        let mut bytes = self.magic.as_bytes().to_vec();
        for field in fields {
            bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        bytes.extend_from_slice(&self.name);
        // A name of no bytes takes two.
        bytes.resize((bytes.len() + if self.name.is_empty() { 1 } else { 0 }).next_multiple_of(4), 0);
        bytes.extend_from_slice(&self.body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

pub(super) fn archive(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(Record::bytes).collect()
}
