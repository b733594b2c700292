//! Whether a list gives the PCRs, and how much of it.
//!
//! Every entry was extended into its PCR, in each bank. Where the quoted values come up, all entries up to there are
//! what the kernel extended, in this order and no others. The largest such prefix counts; what follows is beyond the
//! quote: entries made after it, or made up.
//!
//! Not proven by that: template names and PCR columns; of a violation more than its place; the entries of PCRs without a
//! quoted value.

use std::fmt;

use crate::digest::{Digest, HashAlgorithm};
use crate::pcr::PcrValues;

use super::checkpoint::{Binding, Checkpoint, Mismatch};
use super::entry::{ByteOrder, Entry};
use super::list::{MeasurementList, pcr_bit};

/// The PCR of IMA (CONFIG_IMA_MEASURE_PCR_IDX). Every list has entries of it, boot_aggregate first.
pub const IMA_PCR: u8 = 10;

/// What the kernel extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayMode {
    /// Each bank with its own hash of the template data, for a violation all ones: Linux 5.8 and later.
    PerBank,
    /// Every bank with SHA-1 of the template data, for a violation 20 bytes of ones, and NULs up to its length: before
    /// Linux 5.8. What it proves is no more than SHA-1 does, whatever the bank.
    PaddedSha1,
}

impl ReplayMode {
    /// What an entry extends a bank with.
    fn extension(self, entry: &Entry<'_>, bank: HashAlgorithm) -> Digest {
        let hash = match self {
            Self::PerBank => bank,
            Self::PaddedSha1 => HashAlgorithm::Sha1,
        };
        let extension = if entry.is_violation() {
            Digest::filled(hash, 0xff)
        } else if entry.layout.template_hash == hash {
            // It was held against the template data when the list was parsed.
            Digest::new(hash, entry.template_hash()).unwrap_or_else(|| entry.hash(hash))
        } else {
            entry.hash(hash)
        };
        extension.padded_to(bank)
    }
}

/// How far a list gives some PCR values. Nobody vouches for those: see [`ReplayedList`] for what a quote confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Entries of the prefix.
    pub entries: usize,
    /// The replayed PCRs, with the values that were given and came up.
    pub values: PcrValues,
}

impl MeasurementList<'_> {
    /// Replays the list from entry 0: the largest prefix after which every PCR that has a value here and occurs in the list
    /// has that value, in each bank. PCRs that do not occur are left out, except PCR 10.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn replay_to(&self, values: &PcrValues, mode: ReplayMode) -> Result<Replay, ReplayError> {
        if self.is_empty() {
            return Err(ReplayError::Empty);
        }
        if let Some(bank) = values.banks().find(|bank| values.value(*bank, IMA_PCR).is_some_and(Digest::is_zero)) {
            return Err(ReplayError::NothingExtended { bank });
        }
        replay(self, values, mode, None)
    }
}

/// One PCR of one bank on its way.
struct Track {
    pcr: u8,
    bank: HashAlgorithm,
    target: Digest,
    running: Digest,
    /// The last prefix that gave the target.
    matched: Option<usize>,
}

impl Track {
    fn arrived(&self) -> bool {
        self.running == self.target
    }
}

fn replay(
    list: &MeasurementList<'_>,
    values: &PcrValues,
    mode: ReplayMode,
    from: Option<&PcrValues>,
) -> Result<Replay, ReplayError> {
    let mut tracks = tracks(list, values, from);
    if tracks.is_empty() {
        return Err(ReplayError::NothingToReplay);
    }
    let tracked = tracks.iter().fold(0, |pcrs, track| pcrs | pcr_bit(track.pcr));
    let mut astray = tracks.iter().filter(|track| !track.arrived()).count();
    // Before any entry the values of a checkpoint may be right; those of a boot prove nothing.
    let mut best = (from.is_some() && astray == 0).then_some(0);
    let mut extended = from.is_some();
    for (index, entry) in list.entries().enumerate() {
        let prefix = index.saturating_add(1);
        if tracked & pcr_bit(entry.claimed_pcr()) != 0 {
            if best.is_some() {
                // Only a cycle of the hash could lead back to the values, once they are extended.
                break;
            }
            extended = true;
            for track in tracks.iter_mut().filter(|track| track.pcr == entry.claimed_pcr()) {
                let before = track.arrived();
                let extension = mode.extension(&entry, track.bank);
                track.running = Digest::of(track.bank, [track.running.as_bytes(), extension.as_bytes()]);
                let now = track.arrived();
                if now {
                    track.matched = Some(prefix);
                }
                astray = astray.saturating_add(usize::from(before)).saturating_sub(usize::from(now));
            }
        }
        if extended && astray == 0 {
            best = Some(prefix);
        }
    }
    match best {
        Some(entries) => Ok(Replay { entries, values: values_of(&tracks) }),
        None => Err(no_prefix(&tracks, list.len())),
    }
}

/// The PCRs to replay. All of them are zero at boot (TCG PC Client Platform TPM Profile, PCR Attributes) but 17 to 22,
/// which the kernel cannot extend.
fn tracks(list: &MeasurementList<'_>, values: &PcrValues, from: Option<&PcrValues>) -> Vec<Track> {
    let mut tracks = Vec::new();
    for bank in values.banks() {
        for (pcr, target) in values.pcrs(bank) {
            let start = from.and_then(|from| from.value(bank, pcr)).copied();
            if list.claims_pcr(pcr) || pcr == IMA_PCR || start.is_some() {
                let running = start.unwrap_or(Digest::filled(bank, 0));
                let matched = (running == *target).then_some(0);
                tracks.push(Track { pcr, bank, target: *target, running, matched });
            }
        }
    }
    tracks
}

fn values_of(tracks: &[Track]) -> PcrValues {
    let mut values = PcrValues::default();
    for track in tracks {
        // Each occurs once among the tracks, as it does among the values they are made from.
        let _ = values.insert(track.pcr, track.target);
    }
    values
}

fn no_prefix(tracks: &[Track], entries: usize) -> ReplayError {
    let at = |track: &Track| (track.bank, track.pcr, track.matched);
    if let Some((bank, pcr, _)) = tracks.iter().find(|track| track.matched.is_none()).map(at) {
        return ReplayError::NoPrefix { bank, pcr, entries };
    }
    let first = tracks.iter().map(at).min_by_key(|(_, _, matched)| *matched);
    let last = tracks.iter().map(at).max_by_key(|(_, _, matched)| *matched);
    match (first, last) {
        (Some((bank, pcr, Some(first))), Some((other_bank, other_pcr, Some(last)))) if first != last => {
            ReplayError::Apart { bank, pcr, entries: first, other_bank, other_pcr, other_entries: last }
        }
        (Some((bank, pcr, _)), _) => ReplayError::NoPrefix { bank, pcr, entries },
        (None, _) => ReplayError::NothingToReplay,
    }
}

/// A list of which a prefix gives every quoted PCR that occurs in it, in every quoted bank.
///
/// It does not mean that template names, PCR columns and the contents of violations are authentic, nor that anything of
/// the tail is.
///
/// ```compile_fail
/// // Without a quote there is none.
/// # use goldseal_verifier_core::{ima::{list::MeasurementList, replay::{ReplayMode, ReplayedList}}, pcr::PcrValues};
/// fn replayed<'l>(list: &'l MeasurementList<'l>, values: &PcrValues) -> ReplayedList<'l> {
///     ReplayedList::of_quoted(list, values, ReplayMode::PerBank).unwrap()
/// }
/// ```
/// ```compile_fail
/// let list = goldseal_verifier_core::ima::replay::ReplayedList::default();
/// ```
#[derive(Clone, Debug)]
pub struct ReplayedList<'l> {
    list: &'l MeasurementList<'l>,
    mode: ReplayMode,
    /// All quoted banks, whether or not something was replayed in them.
    banks: Vec<HashAlgorithm>,
    /// Of the list; of the checkpoint where nothing is new.
    order: ByteOrder,
    /// Entries before this list, accepted earlier.
    before: u64,
    replay: Replay,
}

/// An entry of a replayed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedEntry<'l> {
    /// Counted from 1 since boot.
    pub number: u64,
    /// The entry.
    pub entry: Entry<'l>,
}

impl<'l> ReplayedList<'l> {
    /// From entry 0, to the values of a quote.
    pub(crate) fn of_quoted(
        list: &'l MeasurementList<'l>,
        quoted: &PcrValues,
        mode: ReplayMode,
    ) -> Result<Self, ReplayError> {
        let replay = list.replay_to(quoted, mode)?;
        let order = list.byte_order().ok_or(ReplayError::Empty)?;
        Ok(Self { list, mode, banks: quoted.banks().collect(), order, before: 0, replay })
    }

    /// From a checkpoint, whose entries the list leaves out. There may be nothing new.
    pub(crate) fn of_increment(
        list: &'l MeasurementList<'l>,
        quoted: &PcrValues,
        mode: ReplayMode,
        checkpoint: &Checkpoint,
        binding: &Binding<'_>,
    ) -> Result<Self, ReplayError> {
        checkpoint.holds_for(binding, quoted, mode, list.byte_order()).map_err(ReplayError::Checkpoint)?;
        let replay = replay(list, quoted, mode, Some(checkpoint.values()))?;
        Ok(Self {
            list,
            mode,
            banks: quoted.banks().collect(),
            order: checkpoint.byte_order(),
            before: checkpoint.accepted(),
            replay,
        })
    }

    /// The entries that the quote confirms: those of the prefix whose PCR was replayed. With [`ReplayedList::unquoted`] they
    /// are the prefix.
    pub fn entries(&self) -> impl Iterator<Item = NumberedEntry<'l>> + '_ {
        self.prefix().filter(|numbered| self.replays(numbered.entry.claimed_pcr()))
    }

    /// The entries among them whose PCR was not quoted. Nothing confirms them.
    pub fn unquoted(&self) -> impl Iterator<Item = NumberedEntry<'l>> + '_ {
        self.prefix().filter(|numbered| !self.replays(numbered.entry.claimed_pcr()))
    }

    /// The entries beyond the quote. Nothing confirms them; a next quote may.
    pub fn tail(&self) -> impl Iterator<Item = NumberedEntry<'l>> + '_ {
        self.numbered(self.replay.entries)
    }

    /// Number of entries beyond the quote.
    pub fn tail_len(&self) -> usize {
        self.list.len().saturating_sub(self.replay.entries)
    }

    /// Entries since boot up to the end of the prefix.
    pub fn total(&self) -> u64 {
        self.before.saturating_add(u64::try_from(self.replay.entries).unwrap_or(u64::MAX))
    }

    /// Entries since boot that are not in this list: accepted earlier.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// The PCRs that were replayed, with their values. In which banks a PCR stands here is in which it is proven.
    pub fn values(&self) -> &PcrValues {
        &self.replay.values
    }

    /// All quoted banks.
    pub fn banks(&self) -> &[HashAlgorithm] {
        &self.banks
    }

    /// The mode.
    pub fn mode(&self) -> ReplayMode {
        self.mode
    }

    /// The byte order of the list, or of the entries before it.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    fn prefix(&self) -> impl Iterator<Item = NumberedEntry<'l>> + use<'l> {
        self.numbered(0).take(self.replay.entries)
    }

    fn numbered(&self, from: usize) -> impl Iterator<Item = NumberedEntry<'l>> + use<'l> {
        let first = self.before.saturating_add(u64::try_from(from).unwrap_or(u64::MAX)).saturating_add(1);
        (first..).zip(self.list.entries_from(from)).map(|(number, entry)| NumberedEntry { number, entry })
    }

    fn replays(&self, pcr: u8) -> bool {
        let values = self.values();
        values.banks().any(|bank| values.value(bank, pcr).is_some())
    }
}

/// Why a list cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// It has no entries, and so not even a boot_aggregate.
    Empty,
    /// PCR 10 is zero: nothing was measured since it was reset, whatever the list says.
    NothingExtended {
        /// The bank.
        bank: HashAlgorithm,
    },
    /// No PCR of the list has a value.
    NothingToReplay,
    /// No prefix gives the value of a PCR.
    NoPrefix {
        /// The bank.
        bank: HashAlgorithm,
        /// The PCR.
        pcr: u8,
        /// Prefixes tried: the entries of the list.
        entries: usize,
    },
    /// The values of two PCRs come up, never both at once.
    Apart {
        /// Bank of the one.
        bank: HashAlgorithm,
        /// PCR of the one.
        pcr: u8,
        /// The last prefix that gave its value.
        entries: usize,
        /// Bank of the other.
        other_bank: HashAlgorithm,
        /// PCR of the other.
        other_pcr: u8,
        /// The last prefix that gave its value.
        other_entries: usize,
    },
    /// The checkpoint is of something else.
    Checkpoint(Mismatch),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the measurement list is empty"),
            Self::NothingExtended { bank } => {
                write!(f, "PCR 10 of bank {bank} is zero: nothing was measured, or it was reset")
            }
            Self::NothingToReplay => f.write_str("no PCR of the measurement list is quoted"),
            Self::NoPrefix { bank, pcr, entries } => {
                write!(f, "PCR {pcr} of bank {bank} is not the replay of any prefix of {entries} entries")
            }
            Self::Apart { bank, pcr, entries, other_bank, other_pcr, other_entries } => write!(
                f,
                "PCR {pcr} of bank {bank} is the replay of {entries} entries, \
                 but PCR {other_pcr} of bank {other_bank} of {other_entries}"
            ),
            Self::Checkpoint(mismatch) => mismatch.fmt(f),
        }
    }
}

impl std::error::Error for ReplayError {}

#[cfg(test)]
mod tests {
    use HashAlgorithm::{Sha1, Sha256, Sha384};
    use ReplayMode::PerBank;

    use super::super::forge::Extension::{Entry as E, Violation as V};
    use super::super::forge::{Forge, extended, pcrread};
    use super::super::list::Limits;
    use super::*;

    fn parse(bytes: &[u8]) -> MeasurementList<'_> {
        MeasurementList::parse(bytes, &Limits::DEFAULT).unwrap()
    }

    fn in_pcr(pcr: u8, name: &str) -> Forge {
        Forge { pcr, ..Forge::ng(name) }
    }

    fn prefix(bytes: &[u8], values: &PcrValues) -> Result<usize, ReplayError> {
        parse(bytes).replay_to(values, PerBank).map(|replay| replay.entries)
    }

    #[test]
    fn an_empty_list_is_no_list() {
        let values = extended(&[10], &[Sha256], &[E(&Forge::ng("/a"))]);
        assert_eq!(prefix(b"", &values), Err(ReplayError::Empty));
        assert_eq!(prefix(b"", &extended(&[10], &[Sha256], &[])), Err(ReplayError::Empty));
    }

    /// It would match the beginning of any list.
    #[test]
    fn a_pcr_10_of_zero_is_refused() {
        let entry = Forge::ng("/a").entry();
        let zero = extended(&[0, 10], &[Sha256], &[]);
        assert_eq!(prefix(&entry, &zero), Err(ReplayError::NothingExtended { bank: Sha256 }));
        // In one bank alone, too: that bank would vouch for nothing.
        let mut values = extended(&[10], &[Sha1], &[E(&Forge::ng("/a"))]);
        values.insert(10, Digest::filled(Sha256, 0)).unwrap();
        assert_eq!(prefix(&entry, &values), Err(ReplayError::NothingExtended { bank: Sha256 }));
    }

    #[test]
    fn a_list_without_entries_of_pcr_10_does_not_explain_it() {
        let other = in_pcr(11, "/a");
        let values = extended(&[10, 11], &[Sha256], &[E(&Forge::ng("/hidden")), E(&other)]);
        let refused = ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries: 1 };
        assert_eq!(prefix(&other.entry(), &values), Err(refused));
    }

    #[test]
    fn something_must_be_quoted() {
        let entry = Forge::ng("/a").entry();
        assert_eq!(prefix(&entry, &PcrValues::default()), Err(ReplayError::NothingToReplay));
        let boot = extended(&[0, 1, 2], &[Sha256], &[]);
        assert_eq!(prefix(&entry, &boot), Err(ReplayError::NothingToReplay));
    }

    #[test]
    fn every_bank_must_match_at_the_same_entry() {
        let (a, b) = (Forge::ng("/a"), Forge::ng("/b"));
        let bytes = [a.entry(), b.entry()].concat();
        let banks = [Sha1, Sha256, Sha384];
        assert_eq!(prefix(&bytes, &extended(&[10], &banks, &[E(&a), E(&b)])), Ok(2));
        assert_eq!(prefix(&bytes, &extended(&[10], &banks, &[E(&a)])), Ok(1));
        for (index, bank) in banks.iter().enumerate() {
            // This bank alone is one entry behind.
            let others: Vec<HashAlgorithm> = banks.iter().copied().filter(|other| other != bank).collect();
            let mut values = extended(&[10], &others, &[E(&a), E(&b)]);
            values.insert(10, *extended(&[10], &[*bank], &[E(&a)]).value(*bank, 10).unwrap()).unwrap();
            let error = prefix(&bytes, &values).unwrap_err();
            let other_bank = if index == 2 { Sha256 } else { Sha384 };
            let apart =
                ReplayError::Apart { bank: *bank, pcr: 10, entries: 1, other_bank, other_pcr: 10, other_entries: 2 };
            assert_eq!(error, apart);
            // And this one has another value altogether.
            let mut values = extended(&[10], &others, &[E(&a), E(&b)]);
            values.insert(10, Digest::filled(*bank, 7)).unwrap();
            assert_eq!(prefix(&bytes, &values), Err(ReplayError::NoPrefix { bank: *bank, pcr: 10, entries: 2 }));
        }
    }

    #[test]
    fn each_pcr_is_replayed_by_itself() {
        let (a, b, c, d) = (Forge::ng("/a"), in_pcr(11, "/b"), Forge::ng("/c"), in_pcr(11, "/d"));
        let bytes = [a.entry(), b.entry(), c.entry(), d.entry()].concat();
        let prefix_of = |entries: &[_]| prefix(&bytes, &extended(&[10, 11], &[Sha1, Sha256], entries));
        for count in 1..=4 {
            assert_eq!(prefix_of(&[E(&a), E(&b), E(&c), E(&d)][..count]), Ok(count));
        }
        // PCR 10 is ahead of PCR 11: no prefix gives both.
        let apart =
            ReplayError::Apart { bank: Sha1, pcr: 11, entries: 0, other_bank: Sha256, other_pcr: 10, other_entries: 3 };
        assert_eq!(prefix_of(&[E(&a), E(&c)]), Err(apart));
        // What is quoted and does not occur in the list is no matter of it.
        let mut values = extended(&[10, 11], &[Sha256], &[E(&a), E(&b)]);
        values.insert(7, Digest::filled(Sha256, 7)).unwrap();
        assert_eq!(prefix(&bytes, &values), Ok(2));
    }

    /// The largest prefix: entries that change no quoted PCR belong to it.
    #[test]
    fn entries_of_other_pcrs_are_in_the_prefix_and_unquoted() {
        let forges =
            [in_pcr(12, "/x"), Forge::ng("/a"), in_pcr(12, "/y"), in_pcr(12, "/z"), Forge::ng("/b"), in_pcr(12, "/w")];
        let bytes = forges.iter().flat_map(Forge::entry).collect::<Vec<u8>>();
        let list = parse(&bytes);
        let one = extended(&[10], &[Sha256], &[E(&forges[1])]);
        let replayed = ReplayedList::of_quoted(&list, &one, PerBank).unwrap();
        assert_eq!(numbers(replayed.entries()), [2]);
        assert_eq!(numbers(replayed.unquoted()), [1, 3, 4]);
        assert_eq!(numbers(replayed.tail()), [5, 6]);
        assert_eq!((replayed.total(), replayed.before(), replayed.tail_len()), (4, 0, 2));
        let both = extended(&[10], &[Sha256], &[E(&forges[1]), E(&forges[4])]);
        let replayed = ReplayedList::of_quoted(&list, &both, PerBank).unwrap();
        assert_eq!((numbers(replayed.unquoted()), replayed.tail_len()), (vec![1, 3, 4, 6], 0));
    }

    /// With PCR 11 still at zero, entries of no quoted PCR would be a prefix that nothing confirms.
    #[test]
    fn a_prefix_holds_something_confirmed() {
        let bytes = [Forge::ng("/a").entry(), in_pcr(11, "/b").entry()].concat();
        let zero = extended(&[11], &[Sha256], &[]);
        assert_eq!(prefix(&bytes, &zero), Err(ReplayError::NoPrefix { bank: Sha256, pcr: 11, entries: 2 }));
    }

    #[test]
    fn a_violation_extends_ones() {
        let (a, b) = (Forge::ng("/a"), Forge::ng("/b"));
        let bytes = [a.entry(), b.violation()].concat();
        assert_eq!(prefix(&bytes, &extended(&[10], &[Sha1, Sha256, Sha384], &[E(&a), V(&b)])), Ok(2));
        let unviolated = extended(&[10], &[Sha256], &[E(&a), E(&b)]);
        assert_eq!(prefix(&bytes, &unviolated), Err(ReplayError::NoPrefix { bank: Sha256, pcr: 10, entries: 2 }));
        // Of a violation only its place is proven: any other one in its stead replays as well.
        let other = [a.entry(), Forge::sig("/c", b"").violation()].concat();
        assert_eq!(prefix(&other, &extended(&[10], &[Sha256], &[E(&a), V(&b)])), Ok(2));
    }

    #[test]
    fn values_tell_which_bank_proves_which_pcr() {
        let a = Forge::ng("/a");
        let bytes = a.entry();
        let mut values = extended(&[10], &[Sha1], &[E(&a)]);
        values.insert(0, Digest::filled(Sha256, 7)).unwrap();
        let list = parse(&bytes);
        let replayed = ReplayedList::of_quoted(&list, &values, PerBank).unwrap();
        assert_eq!(replayed.banks(), [Sha1, Sha256]);
        assert!(replayed.values().banks().eq([Sha1]));
    }

    #[test]
    fn a_list_longer_than_its_quote_has_a_tail() {
        // The first reading's PCRs with the second reading's list.
        let bytes = include_bytes!("../../../testdata/captures/ng-incremental/q2/binary_runtime_measurements");
        let quoted = pcrread(include_str!("../../../testdata/captures/ng-incremental/q1/pcrs.yaml"));
        let list = parse(bytes);
        let replayed = ReplayedList::of_quoted(&list, &quoted, PerBank).unwrap();
        assert_eq!((replayed.total(), replayed.tail_len()), (118, 3));
        assert_eq!(numbers(replayed.tail()), [119, 120, 121]);
        assert_eq!(replayed.entries().count(), 118);
        assert_eq!(replayed.unquoted().count(), 0);
    }

    fn numbers<'l>(entries: impl Iterator<Item = NumberedEntry<'l>>) -> Vec<u64> {
        entries.map(|entry| entry.number).collect()
    }
}
