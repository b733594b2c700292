//! Where the entries of a binary list end, told while its bytes come in, in whatever pieces.
//!
//! For whoever hands a list on and must neither hold it all nor cut an entry. Of an entry only the lengths are looked at:
//! that its template hash fits, and what it says, is for [`MeasurementList`](super::list::MeasurementList).

use crate::digest::HashAlgorithm;

use super::entry::{ByteOrder, Entry, Layout, MAX_BEGINNING};
use super::list::{ListError, ListProblem};

/// Counts entries. It keeps the beginning of at most one, some 300 bytes.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Unknown before the first entry.
    order: Option<ByteOrder>,
    entries: u64,
    /// Where the last complete entry ends.
    end: usize,
    at_hand: AtHand,
}

/// The entry that has begun and not ended.
#[derive(Clone, Debug)]
enum AtHand {
    /// These are its first bytes, too few to tell its length.
    Beginning(Vec<u8>),
    /// It has `length` bytes, of which `missing` are still to come.
    Missing { length: usize, missing: usize },
}

impl Walk {
    /// From the first entry of a list with SHA-1 template hashes, which `binary_runtime_measurements` is.
    #[expect(clippy::new_without_default, reason = "a walk starts on purpose")]
    pub fn new() -> Self {
        Self::resume(0, 0, None)
    }

    /// From the entry after `entries` others, which begins at this offset.
    pub fn resume(entries: u64, offset: usize, order: Option<ByteOrder>) -> Self {
        Self { order, entries, end: offset, at_hand: AtHand::Beginning(Vec::new()) }
    }

    /// Complete entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Where the last complete entry ends: the offset of the next one.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The byte order; `None` before the first entry.
    pub fn byte_order(&self) -> Option<ByteOrder> {
        self.order
    }

    /// Goes on to the end of the entry at hand and takes the bytes up to there out of `bytes`. `false` if all are taken
    /// and it has not ended.
    ///
    /// # Errors
    /// [`ListError`]: no entry begins so. Nothing after it can be told apart; the error comes again.
    pub fn next_end(&mut self, bytes: &mut &[u8]) -> Result<bool, ListError> {
        loop {
            match &mut self.at_hand {
                AtHand::Missing { length, missing } => {
                    let taken = bytes.len().min(*missing);
                    *bytes = bytes.get(taken..).unwrap_or_default();
                    *missing = missing.saturating_sub(taken);
                    if *missing > 0 {
                        return Ok(false);
                    }
                    self.end = self.end.saturating_add(*length);
                    self.entries = self.entries.saturating_add(1);
                    self.at_hand = AtHand::Beginning(Vec::new());
                    return Ok(true);
                }
                AtHand::Beginning(beginning) => {
                    let known = beginning.len();
                    let wanted = MAX_BEGINNING.saturating_sub(known).min(bytes.len());
                    let more = bytes.get(..wanted).unwrap_or_default();
                    // Where the pieces are large, no entry's beginning is ever copied.
                    let length = if known == 0 {
                        length(more, &mut self.order)
                    } else {
                        beginning.extend_from_slice(more);
                        length(beginning, &mut self.order)
                    };
                    let length = length.map_err(|problem| ListError {
                        entry: self.entries.saturating_add(1),
                        offset: self.end,
                        problem,
                    });
                    match length? {
                        // Its bytes so far are taken again, as a part of all of it.
                        Some(length) => {
                            self.at_hand = AtHand::Missing { length, missing: length.saturating_sub(known) };
                        }
                        None => {
                            if known == 0 {
                                beginning.extend_from_slice(more);
                            }
                            *bytes = bytes.get(wanted..).unwrap_or_default();
                            return Ok(false);
                        }
                    }
                }
            }
        }
    }
}

/// The length of the entry that begins so. The first one whose length is known tells the byte order.
fn length(beginning: &[u8], order: &mut Option<ByteOrder>) -> Result<Option<usize>, ListProblem> {
    let of = |order| Entry::length(beginning, Layout { order, template_hash: HashAlgorithm::Sha1 });
    if let Some(order) = *order {
        return of(order);
    }
    let (found, length) = match (of(ByteOrder::Little), of(ByteOrder::Big)) {
        (Err(ListProblem::Pcr(_)), big) => (ByteOrder::Big, big),
        // A PCR 0 reads the same; the length of the template's name does not.
        (Err(_), Ok(length)) => (ByteOrder::Big, Ok(length)),
        (little, _) => (ByteOrder::Little, little),
    };
    let length = length?;
    if length.is_some() {
        *order = Some(found);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::super::forge::Forge;
    use super::*;

    /// The ends of the entries of a list that comes in pieces of this size, and the walk after it.
    fn walked(list: &[u8], size: usize) -> Result<(Vec<usize>, Walk), ListError> {
        let (mut walk, mut ends) = (Walk::new(), Vec::new());
        for mut piece in list.chunks(size) {
            while walk.next_end(&mut piece)? {
                ends.push(walk.end());
            }
            assert!(piece.is_empty());
        }
        assert_eq!(usize::try_from(walk.entries()), Ok(ends.len()));
        Ok((ends, walk))
    }

    fn list(order: ByteOrder) -> Vec<Vec<u8>> {
        let forges = [
            Forge { pcr: 0, ..Forge::ng("/a") },
            Forge::sig("/usr/bin/bash", &[7; 300]),
            Forge::of(&"x".repeat(255), b""),
            Forge::ng("/b"),
        ];
        let mut entries: Vec<Vec<u8>> =
            forges.into_iter().map(|forge| forge.in_layout(order, HashAlgorithm::Sha1).entry()).collect();
        if order == ByteOrder::Little {
            entries.push(Forge::legacy(&[7; 20], &[b'a'; 255]).entry());
            entries.push(Forge::legacy(&[7; 20], b"").entry());
        }
        entries.push(Forge::ng("/c").in_layout(order, HashAlgorithm::Sha1).violation());
        entries
    }

    #[test]
    fn ends_are_those_of_the_entries_whatever_the_pieces() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let entries = list(order);
            let mut end = 0;
            let ends: Vec<usize> = entries
                .iter()
                .map(|entry| {
                    end += entry.len();
                    end
                })
                .collect();
            let bytes = entries.concat();
            for size in (1..700).chain([bytes.len()]) {
                let (found, walk) = walked(&bytes, size).unwrap();
                assert_eq!(found, ends, "pieces of {size}");
                assert_eq!(walk.byte_order(), Some(order));
            }
        }
    }

    #[test]
    fn an_entry_that_has_not_ended_is_not_counted() {
        let entries = list(ByteOrder::Little);
        let last = entries[..2].concat();
        for missing in 1..entries[1].len() {
            let (ends, walk) = walked(&last[..last.len() - missing], 50).unwrap();
            assert_eq!((ends.as_slice(), walk.entries(), walk.end()), (&[entries[0].len()][..], 1, entries[0].len()));
            // The rest may come later.
            let mut walk = walk;
            assert_eq!(walk.next_end(&mut &last[last.len() - missing..]), Ok(true));
            assert_eq!(walk.end(), last.len());
        }
    }

    #[test]
    fn a_walk_goes_on_where_another_stopped() {
        let entries = list(ByteOrder::Big);
        let mut walk = Walk::resume(2, 1_000, Some(ByteOrder::Big));
        assert_eq!(walk.next_end(&mut entries[2].as_slice()), Ok(true));
        assert_eq!((walk.entries(), walk.end()), (3, 1_000 + entries[2].len()));
    }

    #[test]
    fn what_is_no_entry_is_refused_where_it_begins() {
        let good = Forge::ng("/a").entry();
        let broken = |at: usize, byte: u8| {
            let mut entry = good.clone();
            entry[at] = byte;
            [good.clone(), entry, good.clone()].concat()
        };
        let problems = [
            (broken(0, 24), ListProblem::Pcr(24)),
            (broken(25, 1), ListProblem::TemplateName { len: 0x106 }),
            (broken(28, b' '), ListProblem::TemplateName { len: 6 }),
            (broken(37, 0xff), ListProblem::TemplateData { len: 0xff00_0000 + good.len() - 38 }),
        ];
        for (list, problem) in problems {
            for size in [1, 40, list.len()] {
                let expected = ListError { entry: 2, offset: good.len(), problem };
                assert_eq!(walked(&list, size).map(|(ends, _)| ends), Err(expected));
            }
        }
        // The other order is not taken up later.
        let big = Forge::ng("/a").in_layout(ByteOrder::Big, HashAlgorithm::Sha1).entry();
        assert_eq!(walked(&[good, big].concat(), 9).unwrap_err().problem, ListProblem::Pcr(0x0a00_0000));
        assert_eq!(walked(b"no list at all, but long enough", 9).unwrap_err().entry, 1);
    }

    #[test]
    fn an_error_comes_again() {
        let mut walk = Walk::new();
        let error = walk.next_end(&mut &[0xff; 40][..]).unwrap_err();
        assert_eq!(walk.next_end(&mut &[0xff; 40][..]), Err(error));
        assert_eq!(walk.entries(), 0);
    }
}
