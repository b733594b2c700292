//! Where to go on: what a verifier keeps of an accepted list, so that the next poll need not start at entry 0.
//!
//! A checkpoint stands for accepted entries only, of one boot of one TPM under one policy; with anything else it is
//! refused, and the replay starts at entry 0. Its bytes are not signed: whoever can write where they are kept decides what
//! was accepted.

use std::fmt;

use crate::cursor::Cursor;
use crate::digest::{Digest, HashAlgorithm};
use crate::pcr::PcrValues;
use crate::tpm::Boot;

use super::entry::ByteOrder;
use super::replay::{ReplayMode, ReplayedList};

/// What its bytes begin with: the kind and the version.
const MAGIC: &[u8; 22] = b"goldseal-checkpoint-1\n";

/// The longest identity of an AK: a Name of SHA-512 behind its algorithm (TPM Part 1, Names; Part 2, TPMU_NAME).
pub const MAX_AK_IDENTITY: usize = 2 + 64;

/// The longest checkpoint: 24 PCRs of four banks, each behind two bytes, and less than 256 bytes beside them.
pub const MAX_CHECKPOINT_LEN: usize = 256 + 24 * (4 * 2 + 20 + 32 + 48 + 64);

/// Whose entries were accepted, and under which policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Identity of the AK: its Name, or what stands for it. Of 1 to [`MAX_AK_IDENTITY`] bytes.
    pub ak: &'a [u8],
    /// The boot.
    pub boot: Boot,
    /// Identity of the policy.
    pub policy: [u8; 32],
}

/// Accepted entries, by their number and the PCR values they give.
///
/// ```compile_fail
/// // Only an accepted appraisal makes one.
/// # use goldseal_verifier_core::ima::{checkpoint::{Binding, Checkpoint}, replay::ReplayedList};
/// fn checkpoint(list: &ReplayedList<'_>, binding: &Binding<'_>) -> Checkpoint {
///     Checkpoint::of_accepted(list, binding).unwrap()
/// }
/// ```
/// ```compile_fail
/// let checkpoint = goldseal_verifier_core::ima::checkpoint::Checkpoint::default();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    ak: Vec<u8>,
    boot: Boot,
    policy: [u8; 32],
    order: ByteOrder,
    mode: ReplayMode,
    accepted: u64,
    /// Weakest first.
    banks: Vec<HashAlgorithm>,
    values: PcrValues,
}

impl Checkpoint {
    /// The checkpoint of a list whose every entry up to its end was accepted; `None` if the AK's identity is of no possible
    /// length. Its caller vouches for that acceptance: nothing else may call it than the appraisal, once it has accepted.
    pub(crate) fn of_accepted(list: &ReplayedList<'_>, binding: &Binding<'_>) -> Option<Self> {
        let possible = (1..=MAX_AK_IDENTITY).contains(&binding.ak.len());
        possible.then(|| Self {
            ak: binding.ak.to_vec(),
            boot: binding.boot,
            policy: binding.policy,
            order: list.byte_order(),
            mode: list.mode(),
            accepted: list.total(),
            banks: list.banks().to_vec(),
            values: list.values().clone(),
        })
    }

    /// Number of accepted entries since boot: the next increment begins after them.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How the list was replayed.
    pub fn mode(&self) -> ReplayMode {
        self.mode
    }

    /// Byte order of the list.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// The PCR values that the accepted entries give.
    pub(super) fn values(&self) -> &PcrValues {
        &self.values
    }

    /// Whether the replay may go on from here. All that it replayed must be quoted again, else some entries would come to
    /// count without a quote.
    pub(super) fn holds_for(
        &self,
        binding: &Binding<'_>,
        quoted: &PcrValues,
        mode: ReplayMode,
        order: Option<ByteOrder>,
    ) -> Result<(), Mismatch> {
        if self.ak != binding.ak {
            return Err(Mismatch::Ak);
        }
        if self.boot != binding.boot {
            return Err(Mismatch::Boot { expected: self.boot, found: binding.boot });
        }
        if self.policy != binding.policy {
            return Err(Mismatch::Policy);
        }
        if self.mode != mode {
            return Err(Mismatch::Mode { expected: self.mode, found: mode });
        }
        if let Some(found) = order.filter(|order| *order != self.order) {
            return Err(Mismatch::Order { expected: self.order, found });
        }
        let banks: Vec<HashAlgorithm> = quoted.banks().collect();
        if self.banks != banks {
            return Err(Mismatch::Banks { expected: self.banks.clone(), found: banks });
        }
        for bank in self.values.banks() {
            let mut pcrs = self.values.pcrs(bank);
            if let Some((pcr, _)) = pcrs.find(|(pcr, _)| quoted.value(bank, *pcr).is_none()) {
                return Err(Mismatch::NotQuoted { bank, pcr });
            }
        }
        Ok(())
    }

    /// Its bytes. Numbers are big-endian; a list of the sort below is behind its length in one byte.
    ///
    /// | bytes | what |
    /// |---|---|
    /// | 22 | `goldseal-checkpoint-1`, LF |
    /// | 1 + n | identity of the AK |
    /// | 4 + 4 | reset and restart count |
    /// | 32 | identity of the policy |
    /// | 1 + 1 | byte order (0 little, 1 big), replay mode (0 per bank, 1 padded SHA-1) |
    /// | 8 | number of accepted entries |
    /// | 1 + n | quoted banks (0 SHA-1, 1 SHA-256, 2 SHA-384, 3 SHA-512), ascending |
    /// | 1 + … | replayed PCRs: bank, PCR, value; ascending |
    pub fn print(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(u8::try_from(self.ak.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.ak);
        out.extend(self.boot.reset_count.to_be_bytes());
        out.extend(self.boot.restart_count.to_be_bytes());
        out.extend(self.policy);
        out.push(code(&ORDERS, self.order));
        out.push(code(&MODES, self.mode));
        out.extend(self.accepted.to_be_bytes());
        out.push(u8::try_from(self.banks.len()).unwrap_or(u8::MAX));
        out.extend(self.banks.iter().map(|bank| code(&HashAlgorithm::ALL, *bank)));
        let values = || self.values.banks().flat_map(|bank| self.values.pcrs(bank));
        out.push(u8::try_from(values().count()).unwrap_or(u8::MAX));
        for (pcr, value) in values() {
            out.extend([code(&HashAlgorithm::ALL, value.algorithm()), pcr]);
            out.extend_from_slice(value.as_bytes());
        }
        out
    }

    /// Reads what [`Checkpoint::print`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if bytes.len() > MAX_CHECKPOINT_LEN {
            return Err(CheckpointError::TooLong { len: bytes.len() });
        }
        let mut cursor = Cursor::new(bytes);
        cursor.literal(MAGIC).ok_or(CheckpointError::Magic)?;
        let checkpoint = Self::read(&mut cursor).ok_or(CheckpointError::Malformed { offset: cursor.offset() })?;
        if !cursor.is_empty() {
            return Err(CheckpointError::Malformed { offset: cursor.offset() });
        }
        Ok(checkpoint)
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let length = usize::from(byte(cursor)?);
        let ak = cursor.take(length).filter(|ak| (1..=MAX_AK_IDENTITY).contains(&ak.len()))?.to_vec();
        let reset_count = u32::from_be_bytes(cursor.take(4)?.try_into().ok()?);
        let restart_count = u32::from_be_bytes(cursor.take(4)?.try_into().ok()?);
        let policy = cursor.take(32)?.try_into().ok()?;
        let order = coded(&ORDERS, cursor)?;
        let mode = coded(&MODES, cursor)?;
        let accepted = u64::from_be_bytes(cursor.take(8)?.try_into().ok()?);
        let banks: Option<Vec<_>> = (0..byte(cursor)?).map(|_| coded(&HashAlgorithm::ALL, cursor)).collect();
        let banks = banks.filter(|banks| banks.is_sorted_by(|a, b| a < b))?;
        let mut values = PcrValues::default();
        let mut last = None;
        for _ in 0..byte(cursor)? {
            let bank = coded(&HashAlgorithm::ALL, cursor).filter(|bank| banks.contains(bank))?;
            let pcr = byte(cursor)?;
            let place = Some((bank, pcr));
            if last.replace((bank, pcr)) >= place {
                return None;
            }
            values.insert(pcr, Digest::new(bank, cursor.take(bank.digest_len())?)?)?;
        }
        // There is none of an empty list, nor of one that nothing confirms.
        let holds_something = accepted > 0 && last.is_some();
        let boot = Boot { reset_count, restart_count };
        holds_something.then_some(Self { ak, boot, policy, order, mode, accepted, banks, values })
    }
}

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];
const MODES: [ReplayMode; 2] = [ReplayMode::PerBank, ReplayMode::PaddedSha1];

/// The place of a value among all there are.
fn code<T: PartialEq>(all: &[T], value: T) -> u8 {
    let place = all.iter().position(|one| *one == value);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn coded<T: Copy>(all: &[T], cursor: &mut Cursor<'_>) -> Option<T> {
    all.get(usize::from(byte(cursor)?)).copied()
}

fn byte(cursor: &mut Cursor<'_>) -> Option<u8> {
    cursor.take(1)?.first().copied()
}

/// Bytes that are no checkpoint. The replay must start at entry 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// More bytes than any checkpoint has.
    TooLong {
        /// Their number.
        len: usize,
    },
    /// Of another kind or version.
    Magic,
    /// Not as one is written.
    Malformed {
        /// Up to where it is.
        offset: usize,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => write!(f, "{len} bytes are more than the {MAX_CHECKPOINT_LEN} of any checkpoint"),
            Self::Magic => f.write_str("it is no checkpoint of this version"),
            Self::Malformed { offset } => write!(f, "the checkpoint is malformed at offset {offset}"),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// What a checkpoint is of, and what it was used with. The replay must start at entry 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// Of another AK.
    Ak,
    /// Of another boot.
    Boot {
        /// That of the checkpoint.
        expected: Boot,
        /// That of the quote.
        found: Boot,
    },
    /// Accepted under another policy.
    Policy,
    /// Replayed in another mode.
    Mode {
        /// That of the checkpoint.
        expected: ReplayMode,
        /// The other.
        found: ReplayMode,
    },
    /// Of a list of another byte order.
    Order {
        /// That of the checkpoint.
        expected: ByteOrder,
        /// That of the increment.
        found: ByteOrder,
    },
    /// Other banks were quoted.
    Banks {
        /// Those of the checkpoint.
        expected: Vec<HashAlgorithm>,
        /// Those of the quote.
        found: Vec<HashAlgorithm>,
    },
    /// A PCR that was replayed is not quoted any more.
    NotQuoted {
        /// The bank.
        bank: HashAlgorithm,
        /// The PCR.
        pcr: u8,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the checkpoint is of another ")?;
        let names = |banks: &[HashAlgorithm]| banks.iter().map(|bank| bank.name()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Ak => f.write_str("AK"),
            Self::Boot { expected, found } => {
                let Boot { reset_count, restart_count } = expected;
                write!(f, "boot: reset {reset_count}, restart {restart_count}, where the quote says ")?;
                write!(f, "reset {}, restart {}", found.reset_count, found.restart_count)
            }
            Self::Policy => f.write_str("policy"),
            Self::Mode { expected, found } => write!(f, "replay mode: {expected:?}, not {found:?}"),
            Self::Order { expected, found } => write!(f, "byte order: {expected:?}, not {found:?}"),
            Self::Banks { expected, found } => {
                write!(f, "set of banks: {}, where the quote is of {}", names(expected), names(found))
            }
            Self::NotQuoted { bank, pcr } => write!(f, "selection: PCR {pcr} of bank {bank} is not quoted"),
        }
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use HashAlgorithm::{Sha1, Sha256};

    use super::super::forge::Extension::Entry as E;
    use super::super::forge::{Forge, extended, pcrread};
    use super::super::list::{Limits, MeasurementList};
    use super::super::replay::ReplayError;
    use super::*;

    const Q1: &[u8] = include_bytes!("../../../testdata/captures/ng-incremental/q1/binary_runtime_measurements");
    const Q2: &[u8] = include_bytes!("../../../testdata/captures/ng-incremental/q2/binary_runtime_measurements");
    const Q1_PCRS: &str = include_str!("../../../testdata/captures/ng-incremental/q1/pcrs.yaml");
    const Q2_PCRS: &str = include_str!("../../../testdata/captures/ng-incremental/q2/pcrs.yaml");

    const BINDING: Binding<'static> =
        Binding { ak: b"\0\x0bname", boot: Boot { reset_count: 3, restart_count: 1 }, policy: [7; 32] };

    fn parse(bytes: &[u8]) -> MeasurementList<'_> {
        MeasurementList::parse(bytes, &Limits::DEFAULT).unwrap()
    }

    fn of_q1() -> Checkpoint {
        let list = parse(Q1);
        let replayed = ReplayedList::of_quoted(&list, &pcrread(Q1_PCRS), ReplayMode::PerBank).unwrap();
        Checkpoint::of_accepted(&replayed, &BINDING).unwrap()
    }

    fn resume<'l>(
        increment: &'l MeasurementList<'l>,
        quoted: &PcrValues,
        checkpoint: &Checkpoint,
    ) -> Result<ReplayedList<'l>, ReplayError> {
        ReplayedList::of_increment(increment, quoted, ReplayMode::PerBank, checkpoint, &BINDING)
    }

    #[test]
    fn the_replay_goes_on_where_it_was() {
        let checkpoint = of_q1();
        assert_eq!(checkpoint.accepted(), 118);
        let quoted = pcrread(Q2_PCRS);
        let increment = parse(&Q2[Q1.len()..]);
        let replayed = resume(&increment, &quoted, &checkpoint).unwrap();
        assert_eq!((replayed.before(), replayed.total(), replayed.tail_len()), (118, 121, 0));
        assert_eq!(replayed.entries().map(|entry| entry.number).collect::<Vec<_>>(), [119, 120, 121]);
        // The same checkpoint as that of the whole list.
        let whole = parse(Q2);
        let whole = ReplayedList::of_quoted(&whole, &quoted, ReplayMode::PerBank).unwrap();
        assert_eq!(Checkpoint::of_accepted(&replayed, &BINDING), Checkpoint::of_accepted(&whole, &BINDING));
    }

    #[test]
    fn there_may_be_nothing_new() {
        let checkpoint = of_q1();
        let empty = parse(b"");
        let replayed = resume(&empty, &pcrread(Q1_PCRS), &checkpoint).unwrap();
        assert_eq!((replayed.total(), replayed.entries().count(), replayed.tail_len()), (118, 0, 0));
        assert_eq!(Checkpoint::of_accepted(&replayed, &BINDING), Some(checkpoint.clone()));
        // All of it beyond the quote.
        let increment = parse(&Q2[Q1.len()..]);
        let replayed = resume(&increment, &pcrread(Q1_PCRS), &checkpoint).unwrap();
        assert_eq!((replayed.total(), replayed.entries().count(), replayed.tail_len()), (118, 0, 3));
        // And entries that are held back are missed.
        let refused = ReplayError::NoPrefix { bank: Sha1, pcr: 10, entries: 0 };
        assert_eq!(resume(&empty, &pcrread(Q2_PCRS), &checkpoint).map(|list| list.total()), Err(refused));
    }

    #[test]
    fn an_increment_begins_after_the_accepted_entries() {
        let checkpoint = of_q1();
        for start in [0, parse(Q1).entries().map(|entry| printed(&entry).len()).take(117).sum()] {
            let increment = parse(&Q2[start..]);
            let refused = ReplayError::NoPrefix { bank: Sha1, pcr: 10, entries: increment.len() };
            assert_eq!(resume(&increment, &pcrread(Q2_PCRS), &checkpoint).map(|list| list.total()), Err(refused));
        }
    }

    #[test]
    fn it_holds_for_nothing_else() {
        let checkpoint = of_q1();
        let quoted = pcrread(Q2_PCRS);
        let increment = parse(&Q2[Q1.len()..]);
        let refused = |quoted: &PcrValues, mode, binding: &Binding<'_>, mismatch| {
            let replayed = ReplayedList::of_increment(&increment, quoted, mode, &checkpoint, binding);
            assert_eq!(replayed.map(|list| list.total()), Err(ReplayError::Checkpoint(mismatch)));
        };
        use ReplayMode::{PaddedSha1, PerBank};
        refused(&quoted, PerBank, &Binding { ak: b"\0\x0bother", ..BINDING }, Mismatch::Ak);
        for (reset_count, restart_count) in [(4, 1), (3, 2), (2, 1), (3, 0)] {
            let boot = Boot { reset_count, restart_count };
            let mismatch = Mismatch::Boot { expected: BINDING.boot, found: boot };
            refused(&quoted, PerBank, &Binding { boot, ..BINDING }, mismatch);
        }
        refused(&quoted, PerBank, &Binding { policy: [8; 32], ..BINDING }, Mismatch::Policy);
        refused(&quoted, PaddedSha1, &BINDING, Mismatch::Mode { expected: PerBank, found: PaddedSha1 });

        let (mut fewer, mut more, mut without) = (PcrValues::default(), quoted.clone(), PcrValues::default());
        for (pcr, value) in quoted.banks().flat_map(|bank| quoted.pcrs(bank)) {
            if value.algorithm() == Sha256 {
                fewer.insert(pcr, *value).unwrap();
            }
            if (pcr, value.algorithm()) != (10, Sha1) {
                without.insert(pcr, *value).unwrap();
            }
        }
        more.insert(10, Digest::filled(HashAlgorithm::Sha384, 7)).unwrap();
        let both = vec![Sha1, Sha256];
        refused(&fewer, PerBank, &BINDING, Mismatch::Banks { expected: both.clone(), found: vec![Sha256] });
        let three = vec![Sha1, Sha256, HashAlgorithm::Sha384];
        refused(&more, PerBank, &BINDING, Mismatch::Banks { expected: both, found: three });
        refused(&without, PerBank, &BINDING, Mismatch::NotQuoted { bank: Sha1, pcr: 10 });
    }

    #[test]
    fn it_holds_for_one_byte_order() {
        let checkpoint = of_q1();
        let other = Forge::ng("/a").in_layout(ByteOrder::Big, Sha1).entry();
        let other = parse(&other);
        let mismatch = Mismatch::Order { expected: ByteOrder::Little, found: ByteOrder::Big };
        let replayed = resume(&other, &pcrread(Q2_PCRS), &checkpoint).map(|list| list.total());
        assert_eq!(replayed, Err(ReplayError::Checkpoint(mismatch)));
    }

    /// A PCR that first occurs in an increment starts at zero; one that was there before and not quoted does not fit.
    #[test]
    fn another_pcr_may_come_in_later() {
        let (a, b, c) = (Forge::ng("/a"), Forge { pcr: 11, ..Forge::ng("/b") }, Forge { pcr: 11, ..Forge::ng("/c") });
        let of = |entries: &[_], pcrs: &[u8]| extended(pcrs, &[Sha256], entries);
        let first = a.entry();
        let first = parse(&first);
        let quoted = of(&[E(&a)], &[10, 11]);
        let replayed = ReplayedList::of_quoted(&first, &quoted, ReplayMode::PerBank).unwrap();
        let checkpoint = Checkpoint::of_accepted(&replayed, &BINDING).unwrap();
        let increment = b.entry();
        let increment = parse(&increment);
        assert_eq!(resume(&increment, &of(&[E(&a), E(&b)], &[10, 11]), &checkpoint).unwrap().total(), 2);

        let both = [a.entry(), b.entry()].concat();
        let both = parse(&both);
        let replayed = ReplayedList::of_quoted(&both, &of(&[E(&a)], &[10]), ReplayMode::PerBank).unwrap();
        let checkpoint = Checkpoint::of_accepted(&replayed, &BINDING).unwrap();
        let increment = c.entry();
        let increment = parse(&increment);
        let replayed = resume(&increment, &of(&[E(&a), E(&b), E(&c)], &[10, 11]), &checkpoint);
        let refused = ReplayError::NoPrefix { bank: Sha256, pcr: 11, entries: 1 };
        assert_eq!(replayed.map(|list| list.total()), Err(refused));
    }

    #[test]
    fn identities_have_a_length() {
        let list = parse(Q1);
        let replayed = ReplayedList::of_quoted(&list, &pcrread(Q1_PCRS), ReplayMode::PerBank).unwrap();
        let of = |length| Checkpoint::of_accepted(&replayed, &Binding { ak: &vec![7; length], ..BINDING });
        assert_eq!((of(0), of(MAX_AK_IDENTITY + 1)), (None, None));
        for length in [1, MAX_AK_IDENTITY] {
            let checkpoint = of(length).unwrap();
            assert_eq!(Checkpoint::parse(&checkpoint.print()), Ok(checkpoint));
        }
    }

    #[test]
    fn it_has_one_encoding() {
        let checkpoint = of_q1();
        let bytes = checkpoint.print();
        assert_eq!(Checkpoint::parse(&bytes), Ok(checkpoint));
        for length in 0..bytes.len() {
            assert!(Checkpoint::parse(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], b"\0"].concat();
        assert_eq!(Checkpoint::parse(&longer), Err(CheckpointError::Malformed { offset: bytes.len() }));
        // Every change of a byte is refused or says something else.
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                match Checkpoint::parse(&changed) {
                    Ok(other) => assert_eq!(other.print(), changed, "{at}"),
                    Err(error) => assert_eq!(error == CheckpointError::Magic, at < MAGIC.len(), "{at}"),
                }
            }
        }
    }

    /// Where the parts begin in a checkpoint of these: AK of 6 bytes, two banks, two values.
    #[test]
    fn each_deviation_is_refused() {
        let bytes = of_q1().print();
        let ak = MAGIC.len();
        let order = ak + 1 + BINDING.ak.len() + 8 + 32;
        let (accepted, banks) = (order + 2, order + 10);
        let values = banks + 3;
        assert_eq!(bytes[banks..=values], [2, 0, 1, 2]);
        assert_eq!(bytes.len(), values + 1 + 2 + 20 + 2 + 32);
        let refused = |at: usize, change: &[u8]| {
            let mut changed = bytes.clone();
            changed[at..at + change.len()].copy_from_slice(change);
            assert!(matches!(Checkpoint::parse(&changed), Err(CheckpointError::Malformed { .. })), "{at}: {change:?}");
        };
        refused(ak, &[0]);
        refused(ak, &[67]);
        refused(order, &[2]);
        refused(order + 1, &[2]);
        refused(accepted, &[0; 8]);
        refused(banks, &[2, 1, 0]);
        refused(banks, &[2, 0, 0]);
        refused(banks, &[2, 0, 4]);
        // A value of a bank that was not quoted, of no PCR, and of none.
        refused(banks, &[2, 1, 2]);
        refused(values + 2, &[24]);
        refused(values, &[1]);
        refused(values, &[3]);
        let mut none = bytes[..=values].to_vec();
        none[values] = 0;
        assert!(Checkpoint::parse(&none).is_err());
        // The second value first, and twice.
        let (first, second) = bytes[values + 1..].split_at(22);
        for pair in [[second, first], [second, second]] {
            assert!(Checkpoint::parse(&[&bytes[..=values], pair[0], pair[1]].concat()).is_err());
        }
        assert_eq!(Checkpoint::parse(&[7; MAX_CHECKPOINT_LEN]), Err(CheckpointError::Magic));
        let len = MAX_CHECKPOINT_LEN + 1;
        assert_eq!(Checkpoint::parse(&vec![7; len]), Err(CheckpointError::TooLong { len }));
    }

    /// The longest one is within the limit.
    #[test]
    fn the_longest_can_be_read() {
        let mut values = PcrValues::default();
        for bank in HashAlgorithm::ALL {
            (0..24).for_each(|pcr| values.insert(pcr, Digest::filled(bank, 7)).unwrap());
        }
        let checkpoint =
            Checkpoint { ak: vec![7; MAX_AK_IDENTITY], banks: HashAlgorithm::ALL.to_vec(), values, ..of_q1() };
        let bytes = checkpoint.print();
        assert!(bytes.len() <= MAX_CHECKPOINT_LEN, "{}", bytes.len());
        assert_eq!(Checkpoint::parse(&bytes), Ok(checkpoint));
    }

    fn printed(entry: &super::super::entry::Entry<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.print(&mut bytes);
        bytes
    }
}
