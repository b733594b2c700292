//! A list with the quote that confirms it.

use crate::envelope::Identity;
use crate::ima::checkpoint::{Binding, Checkpoint};
use crate::ima::list::MeasurementList;
use crate::ima::replay::{ReplayError, ReplayMode, ReplayedList};
use crate::tpm::QuotedPcrs;

/// A replayed list, and the quote whose PCR values a prefix of it gives.
///
/// ```compile_fail
/// # use goldseal_verifier_core::{appraise::Evidence, ima::replay::ReplayedList, tpm::QuotedPcrs};
/// // A list and a quote that do not belong together.
/// fn join<'l>(list: ReplayedList<'l>, quoted: QuotedPcrs) -> Evidence<'l> {
///     Evidence { list, quoted }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Evidence<'l> {
    list: ReplayedList<'l>,
    quoted: QuotedPcrs,
}

impl<'l> Evidence<'l> {
    pub(super) fn replay(
        list: &'l MeasurementList<'l>,
        quoted: &QuotedPcrs,
        mode: ReplayMode,
    ) -> Result<Self, ReplayError> {
        Ok(Self { list: ReplayedList::of_quoted(list, quoted.values(), mode)?, quoted: quoted.clone() })
    }

    pub(super) fn resume(
        list: &'l MeasurementList<'l>,
        quoted: &QuotedPcrs,
        checkpoint: &Checkpoint,
        policy: Identity,
    ) -> Result<Self, ReplayError> {
        let ak = quoted.ak().to_bytes();
        let binding = Binding { ak: &ak, boot: quoted.boot(), policy: policy.to_bytes() };
        let mode = checkpoint.mode();
        let list = ReplayedList::of_increment(list, quoted.values(), mode, checkpoint, &binding)?;
        Ok(Self { list, quoted: quoted.clone() })
    }

    /// The list.
    pub fn list(&self) -> &ReplayedList<'l> {
        &self.list
    }

    /// The quote.
    pub fn quoted(&self) -> &QuotedPcrs {
        &self.quoted
    }
}
