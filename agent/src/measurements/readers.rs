//! Descriptors for whoever reads from an earlier entry on. They were opened when the agent might; now they are lent.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Those that are not lent.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    free: Arc<Mutex<Vec<Resting>>>,
    /// One for each that is free.
    count: Arc<Semaphore>,
}

/// A descriptor, and where the last read through it ended.
#[derive(Debug)]
struct Resting {
    file: File,
    offset: usize,
}

impl Readers {
    pub(super) fn new(files: Vec<File>) -> Self {
        let count = Arc::new(Semaphore::new(files.len()));
        let free = files.into_iter().map(|file| Resting { file, offset: 0 }).collect();
        Self { free: Arc::new(Mutex::new(free)), count }
    }

    /// Waits for one; rather the one that stands where the reading will begin.
    pub(super) async fn take(&self, offset: usize) -> Reader {
        let permit = Arc::clone(&self.count).acquire_owned().await.expect("it is never closed");
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let best = free.iter().position(|resting| resting.offset == offset).unwrap_or(0);
        let resting = free.swap_remove(best);
        drop(free);
        Reader { resting: Some(resting), offset, home: Arc::clone(&self.free), _permit: permit }
    }
}

/// A lent descriptor, which goes back by itself.
#[derive(Debug)]
pub(super) struct Reader {
    /// `None` only while it goes back.
    resting: Option<Resting>,
    /// Where the next read begins.
    pub(super) offset: usize,
    home: Arc<Mutex<Vec<Resting>>>,
    /// Given back after the descriptor: fields are dropped after `drop`.
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    pub(super) fn file(&self) -> &File {
        &self.resting.as_ref().expect("it is lent").file
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(resting) = self.resting.take() {
            let resting = Resting { offset: self.offset, ..resting };
            self.home.lock().unwrap_or_else(PoisonError::into_inner).push(resting);
        }
    }
}
