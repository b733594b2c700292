//! Lists of real machines, in files that grow as the kernel's do.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use goldseal_verifier_core::ima::list::{ListProblem, MeasurementList};
use tempfile::TempDir;

use super::*;

/// A list in a file.
struct Grown {
    folder: TempDir,
    bytes: Vec<u8>,
}

impl Grown {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("list"), bytes).unwrap();
        Self { folder, bytes: bytes.to_vec() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("list")
    }

    fn grow(&mut self, bytes: &[u8]) {
        OpenOptions::new().append(true).open(self.path()).unwrap().write_all(bytes).unwrap();
        self.bytes.extend_from_slice(bytes);
    }

    fn open(&self, form: Form) -> List {
        List::open(&self.path(), form).unwrap()
    }
}

/// A list of `testdata/captures`, of Debian under qemu with 5,000 files run.
fn captured(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/captures/big-5000/q1");
    fs::read(folder.join(name)).unwrap()
}

/// Where entries begin, and where the last one ends, by verifier-core.
fn starts(binary: &[u8]) -> Vec<usize> {
    let list = MeasurementList::parse(binary, &Limits::DEFAULT).unwrap();
    let mut starts = vec![0];
    let mut printed = Vec::new();
    for entry in list.entries() {
        entry.print(&mut printed);
        starts.push(printed.len());
    }
    starts
}

fn line_starts(text: &[u8]) -> Vec<usize> {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(ends).collect()
}

async fn from(list: &List, entry: u64) -> (u64, Vec<u8>) {
    let mut snapshot = list.from(entry).await.unwrap();
    (snapshot.first(), all(&mut snapshot))
}

fn all(snapshot: &mut Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = snapshot.next_piece().unwrap() {
        assert!(!piece.is_empty() && piece.len() <= PIECE.max(RECENT * 2 + PIECE));
        bytes.extend(piece);
    }
    bytes
}

/// From every entry on, in an order that makes descriptors go back and forth.
async fn serves_from_each(list: &List, bytes: &[u8], starts: &[usize]) {
    let entries = starts.len() - 1;
    let each = (0..=entries).step_by(97).chain((0..=entries).rev().step_by(113)).chain([0, 1, entries]);
    for entry in each {
        let (first, found) = from(list, entry as u64).await;
        assert_eq!(first, entry as u64);
        assert!(found == bytes[starts[entry]..], "from {entry}");
    }
    for beyond in [entries as u64 + 1, entries as u64 + 1_000, u64::MAX] {
        assert!(from(list, beyond).await == (0, bytes.to_vec()), "from {beyond}");
    }
}

#[tokio::test]
async fn a_binary_list_is_served_from_any_entry_on() {
    let bytes = captured("binary_runtime_measurements");
    let starts = starts(&bytes);
    assert!(starts.len() > 1_000 && bytes.len() > 2 * RECENT, "{} of {}", starts.len(), bytes.len());
    let grown = Grown::new(&bytes);
    let list = grown.open(Form::Binary);
    serves_from_each(&list, &bytes, &starts).await;
    assert_eq!(list.from(0).await.unwrap().byte_order(), ByteOrder::Little);
}

#[tokio::test]
async fn an_ascii_list_is_served_from_any_line_on() {
    let bytes = captured("ascii_runtime_measurements");
    let grown = Grown::new(&bytes);
    serves_from_each(&grown.open(Form::Ascii), &bytes, &line_starts(&bytes)).await;
}

/// A file that the kernel makes as it makes its lists, a page for each read, which plain files are not.
#[tokio::test]
async fn a_seq_file_is_served_from_any_line_on() {
    let path = Path::new("/proc/kallsyms");
    let bytes = fs::read(path).unwrap();
    assert!(bytes.len() > 20 * PIECE, "the kernel shows few symbols");
    let list = List::open(path, Form::Ascii).unwrap();
    let starts = line_starts(&bytes);
    for entry in [0, 1, 63, 64, 65, 1_000, starts.len() / 2, starts.len() - 700, starts.len() - 2, starts.len() - 1] {
        let (first, found) = from(&list, entry as u64).await;
        assert_eq!(first, entry as u64);
        assert!(found == bytes[starts[entry]..], "from {entry}");
    }
}

#[tokio::test]
async fn what_is_new_is_served_and_nothing_is_cut() {
    let whole = captured("binary_runtime_measurements");
    let starts = starts(&whole);
    let mut grown = Grown::new(b"");
    let list = grown.open(Form::Binary);
    assert_eq!(from(&list, 0).await, (0, Vec::new()));
    assert_eq!(from(&list, 5).await, (0, Vec::new()));
    // The kernel adds entries; a file shows some of them by halves.
    for cut in (0..whole.len()).step_by(19_997) {
        grown.grow(&whole[grown.bytes.len()..cut]);
        let complete = starts.iter().filter(|start| **start <= cut).count() - 1;
        for entry in [0, complete / 2, complete] {
            let found = from(&list, entry as u64).await;
            assert!(found == (entry as u64, whole[starts[entry]..starts[complete]].to_vec()), "{entry} at {cut}");
        }
        if complete > 0 {
            assert_eq!(from(&list, complete as u64 + 1).await.0, 0);
        }
    }
}

#[tokio::test]
async fn a_line_without_its_end_is_not_served() {
    let mut grown = Grown::new(b"one\ntw");
    let list = grown.open(Form::Ascii);
    assert_eq!(from(&list, 0).await, (0, b"one\n".to_vec()));
    assert_eq!(from(&list, 1).await, (1, Vec::new()));
    assert_eq!(from(&list, 2).await, (0, b"one\n".to_vec()));
    grown.grow(b"o\n\nthree");
    assert_eq!(from(&list, 1).await, (1, b"two\n\n".to_vec()));
    assert_eq!(from(&list, 3).await, (3, Vec::new()));
}

/// The agent gives up its privileges, and with them the right to open the list.
#[tokio::test]
async fn a_list_is_opened_once() {
    let bytes = captured("ascii_runtime_measurements");
    let grown = Grown::new(&bytes);
    let list = grown.open(Form::Ascii);
    fs::remove_file(grown.path()).unwrap();
    assert!(from(&list, 0).await == (0, bytes));
    let error = List::open(&grown.path(), Form::Ascii).unwrap_err();
    assert_eq!(error, ListReadError::Open { path: grown.path(), kind: io::ErrorKind::NotFound });
}

#[tokio::test]
async fn a_snapshot_is_of_its_time() {
    let bytes = captured("binary_runtime_measurements");
    let mut grown = Grown::new(&bytes);
    let list = grown.open(Form::Binary);
    let mut early = list.from(0).await.unwrap();
    let mut part = early.next_piece().unwrap().unwrap();
    grown.grow(&bytes);
    assert_eq!(from(&list, 0).await.1.len(), 2 * bytes.len());
    part.extend(all(&mut early));
    assert!(part == bytes);
}

#[tokio::test]
async fn what_is_no_list_is_an_error_with_its_place() {
    let mut bytes = captured("binary_runtime_measurements");
    let place = starts(&bytes)[100];
    bytes[place] = 99;
    let mut grown = Grown::new(&bytes);
    let list = grown.open(Form::Binary);
    let error = ListError { entry: 101, offset: place, problem: ListProblem::Pcr(99) };
    let expected = ListReadError::Malformed { path: grown.path(), error };
    assert_eq!(list.from(0).await.unwrap_err(), expected);
    // It does not heal.
    grown.grow(&captured("binary_runtime_measurements"));
    assert_eq!(list.from(0).await.unwrap_err(), expected);
    assert!(expected.to_string().contains(&format!("entry 101 at offset {place}: no TPM has a PCR 99")));
}

#[tokio::test]
async fn a_list_that_shrinks_is_an_error() {
    let bytes = captured("binary_runtime_measurements");
    let grown = Grown::new(&bytes);
    let list = grown.open(Form::Binary);
    let mut snapshot = list.from(0).await.unwrap();
    OpenOptions::new().write(true).open(grown.path()).unwrap().set_len(100).unwrap();
    assert_eq!(snapshot.next_piece().unwrap_err(), ListReadError::Shrunk { path: grown.path() });
    assert_eq!(list.from(1).await.unwrap_err(), ListReadError::Shrunk { path: grown.path() });
}

#[tokio::test]
async fn a_folder_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let list = List::open(folder.path(), Form::Binary).unwrap();
    let kind = io::ErrorKind::IsADirectory;
    assert_eq!(list.from(0).await.unwrap_err(), ListReadError::Read { path: folder.path().to_owned(), kind });
}

/// More readers than descriptors: the others wait, and get theirs when one goes back.
#[tokio::test]
async fn descriptors_are_lent_and_go_back() {
    let bytes = captured("binary_runtime_measurements");
    let grown = Grown::new(&bytes);
    let list = grown.open(Form::Binary);
    let mut lent = Vec::new();
    for _ in 0..READERS {
        let mut snapshot = list.from(0).await.unwrap();
        snapshot.next_piece().unwrap().unwrap();
        lent.push(snapshot);
    }
    let waiting = tokio::time::timeout(Duration::from_millis(50), list.from(0)).await;
    assert!(waiting.is_err(), "there are no more descriptors");
    // What is recent needs none.
    let entries = starts(&bytes).len() as u64 - 1;
    assert!(!from(&list, entries - 10).await.1.is_empty());
    // One goes back when its list is at its end, another when nobody wants the rest.
    all(&mut lent[0]);
    assert!(from(&list, 0).await.1 == bytes);
    lent.remove(1);
    let both = tokio::join!(from(&list, 0), from(&list, 1));
    assert!(both.0.1 == bytes && both.1.1.len() < bytes.len());
}

#[tokio::test]
async fn many_at_once_get_the_same() {
    let bytes = captured("binary_runtime_measurements");
    let grown = Grown::new(&bytes);
    let list = grown.open(Form::Binary);
    let starts = starts(&bytes);
    let tasks: Vec<_> = (0..50_usize)
        .map(|number| {
            let list = list.clone();
            let entry = number * 100;
            tokio::spawn(async move { (entry, from(&list, entry as u64).await) })
        })
        .collect();
    for task in tasks {
        let (entry, (first, found)) = task.await.unwrap();
        assert_eq!(first, entry as u64);
        assert!(found == bytes[starts[entry]..], "from {entry}");
    }
}
