//! Temporary names that do not outlive Ctrl-C.
//!
//! A thread waits for the signals that ask a process to end, removes what is listed, and lets the signal do what it
//! does by default. Names are made and settled under the list's lock, which that thread never gives back: after its
//! clean-up nothing new appears. It cannot help against SIGKILL or a power cut.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The temporary name of a file that is not finished; removed on drop.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// A new name in `folder`, for what `make` puts there.
    pub(super) fn make<T>(folder: &Path, make: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        clean_up_on_signals();
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let path = folder.join(format!(".goldseal-{:016x}.partial", u64::from_ne_bytes(random)));
        let mut names = lock();
        let made = make(&path)?;
        names.push(path.clone());
        Ok((Self { path }, made))
    }

    /// Lets `place` move the file to its lasting name; if that fails, the temporary one is removed.
    pub(super) fn settle(self, place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let mut names = lock();
        let placed = place(&self.path);
        if placed.is_ok() {
            names.retain(|name| *name != self.path);
        }
        placed
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut names = lock();
        if let Some(position) = names.iter().position(|name| *name == self.path) {
            names.swap_remove(position);
            // Nobody is left to tell if it fails: the failure that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

static NAMES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn lock() -> MutexGuard<'static, Vec<PathBuf>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where no thread can be had, a temporary file may be left behind: no reason not to write the list.
fn clean_up_on_signals() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let ignored = ignored_signals();
        let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let Ok(mut signals) = Signals::new(wanted) else { return };
        let _ = thread::Builder::new().name("clean-up".into()).spawn(move || {
            for signal in signals.forever() {
                let names = lock();
                for name in names.iter() {
                    let _ = fs::remove_file(name);
                }
                let _ = emulate_default_handler(signal);
            }
        });
    });
}

/// Bit n - 1 is signal n: what nohup(1) or a shell's `&` had ignored stays ignored (proc_pid_status(5), SigIgn).
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
