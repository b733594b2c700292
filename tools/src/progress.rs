//! What a person at a terminal sees while files are read: bytes, files and rate. Silent everywhere else.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::tree::Progress;

/// A progress bar over the bytes of all inputs.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    files: AtomicU64,
}

impl Bar {
    /// A bar on standard error, if that is a terminal and nobody asked for quiet.
    pub fn new(quiet: bool) -> Self {
        // A bar without a length would not grow one.
        let bar = ProgressBar::new(0).with_message("0");
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        } else {
            let style = "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {msg} files, {eta} left";
            bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, files: AtomicU64::new(0) }
    }

    /// More bytes are about to be read.
    pub fn expect_bytes(&self, bytes: u64) {
        self.bar.inc_length(bytes);
    }

    /// Takes the bar off the terminal.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn found(&self, _: u64, bytes: u64) {
        self.expect_bytes(bytes);
    }

    fn bytes(&self, count: u64) {
        self.bar.inc(count);
    }

    fn content(&self) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        if files.is_multiple_of(256) && !self.bar.is_hidden() {
            self.bar.set_message(files.to_string());
        }
    }
}
