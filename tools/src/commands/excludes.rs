//! `goldseal excludes`

use crate::failure::Failure;
use crate::report::{Outcome, Ui};

/// excludes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object on standard output; text for people goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// excludes
pub fn run(_args: Args, _ui: Ui) -> Result<Outcome, Failure> {
    Err(Failure::usage("Not built yet.", "Wait."))
}
