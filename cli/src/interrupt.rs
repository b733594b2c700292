//! What must not outlive Ctrl-C: temporary names, and a terminal that shows nothing of what is typed.
//!
//! A thread waits for the signals that ask a process to end, undoes what is pending, and lets the signal do what it
//! does by default. Names are made and settled under the lock, which that thread never gives back: after its clean-up
//! nothing new appears. It cannot help against SIGKILL or a power cut.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

use crate::random;

/// The temporary name of a file that is not finished; removed on drop.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// A new name in `folder`, for what `make` puts there.
    pub(crate) fn make<T>(folder: &Path, make: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        clean_up_on_signals();
        let mut random = [0; 8];
        random::fill(&mut random)?;
        let path = folder.join(format!(".goldseal-{:016x}.partial", u64::from_ne_bytes(random)));
        let mut pending = lock();
        let made = make(&path)?;
        pending.names.push(path.clone());
        Ok((Self { path }, made))
    }

    /// Lets `place` move the file to its lasting name; if that fails, the temporary one is removed.
    pub(crate) fn settle(self, place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let mut pending = lock();
        let placed = place(&self.path);
        if placed.is_ok() {
            pending.names.retain(|name| *name != self.path);
        }
        placed
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut pending = lock();
        if let Some(position) = pending.names.iter().position(|name| *name == self.path) {
            pending.names.swap_remove(position);
            // Nobody is left to tell if it fails: the failure that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Does `work`, which changes how the terminal behaves; a signal in its middle puts the terminal back.
pub fn with_terminal<T>(work: impl FnOnce() -> T) -> T {
    clean_up_on_signals();
    lock().terminal = File::open("/dev/tty").ok().and_then(|terminal| {
        let settings = tcgetattr(&terminal).ok()?;
        Some((terminal, settings))
    });
    let done = work();
    lock().terminal = None;
    done
}

struct Pending {
    names: Vec<PathBuf>,
    terminal: Option<(File, Termios)>,
}

impl Pending {
    fn undo(&self) {
        for name in &self.names {
            let _ = fs::remove_file(name);
        }
        if let Some((terminal, settings)) = &self.terminal {
            let _ = tcsetattr(terminal, OptionalActions::Now, settings);
        }
    }
}

static PENDING: Mutex<Pending> = Mutex::new(Pending { names: Vec::new(), terminal: None });

fn lock() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where no thread can be had, a temporary file may be left behind: no reason not to write the list.
///
/// The thread looks every [`LOOK`] whether a signal came. A handler could wake it at once only through a socket pair,
/// and this program opens no socket of any kind.
fn clean_up_on_signals() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let ignored = ignored_signals();
        let caught = Arc::new(AtomicUsize::new(0));
        for signal in [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
            // A signal that cannot be caught ends the process as it always did.
            let _ = flag::register_usize(signal, Arc::clone(&caught), signal as usize);
        }
        let _ = thread::Builder::new().name("clean-up".into()).spawn(move || {
            loop {
                match caught.load(Ordering::SeqCst) {
                    0 => thread::sleep(LOOK),
                    signal => {
                        let pending = lock();
                        pending.undo();
                        let _ = emulate_default_handler(signal as i32);
                    }
                }
            }
        });
    });
}

/// Too short for a person to wait for, and too long to cost anything.
const LOOK: Duration = Duration::from_millis(20);

/// Bit n - 1 is signal n: what nohup(1) or a shell's `&` had ignored stays ignored (proc_pid_status(5), SigIgn).
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
