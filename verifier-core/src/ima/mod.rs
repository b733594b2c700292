//! The kernel's measurement list, from received bytes to a prefix that a quote confirms:
//!
//! ```text
//! bytes ─▶ MeasurementList::parse ─▶ replay ─▶ ReplayedList ─▶ (appraisal) ─▶ Checkpoint ─▶ the next increment
//! ```
//!
//! What no PCR covers keeps `claimed_` in its name: the PCR and the template's name of every entry. Of a violation only
//! its position is proven, whatever else its entry says.

mod ascii;
pub mod boot_aggregate;
pub mod checkpoint;
pub mod entry;
pub mod fields;
#[cfg(test)]
mod forge;
pub mod list;
pub mod replay;
mod template;
pub mod walk;
