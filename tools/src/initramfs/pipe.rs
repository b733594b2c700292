//! Decoding on one core while records are read and hashed on another.
//!
//! A bounded channel carries buffers of decoded bytes; empty ones travel back. Errors travel in order with the bytes, so
//! what is reported does not depend on which thread was faster.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::{Compression, Limits, StreamFault, decompress};

/// A stream of bytes, read in pieces where they lie.
pub(super) trait Source {
    /// The next bytes, at least one; none at the end.
    fn chunk(&mut self) -> Result<&[u8], StreamFault>;
    /// Passes over the first `count` bytes of the chunk.
    fn consume(&mut self, count: usize);
}

impl Source for &[u8] {
    fn chunk(&mut self) -> Result<&[u8], StreamFault> {
        Ok(self)
    }

    fn consume(&mut self, count: usize) {
        *self = &self[count..];
    }
}

/// Decodes the stream at the start of `input` while `read` reads what it unpacks to.
///
/// Returns what `read` returned, and how many bytes of `input` the stream takes if it was decoded to its end.
pub(super) fn unpack<T>(
    compression: Compression,
    input: &[u8],
    limits: &Limits,
    max_unpacked: u64,
    progress: &(dyn Fn(u64) + Sync),
    read: impl FnOnce(&mut Unpacking) -> T,
) -> (T, Option<usize>) {
    let (full_sender, full_receiver) = sync_channel(BUFFERS);
    let (empty_sender, empty_receiver) = channel();
    thread::scope(|scope| {
        let decoder = scope.spawn(move || {
            let mut output =
                Output { full: full_sender, empty: empty_receiver, left: max_unpacked, progress, reported: 0 };
            match decompress::decode(compression, input, limits.window, &mut output) {
                Ok(consumed) => {
                    output.report(consumed);
                    Some(consumed)
                }
                Err(Stop::Fault(fault)) => {
                    // A reader that has gone wants no reason.
                    let _ = output.full.send(Err(fault));
                    None
                }
                Err(Stop::ReaderGone) => None,
            }
        });
        let mut source = Unpacking { full: full_receiver, empty: empty_sender, buffer: Vec::new(), consumed: 0 };
        let result = read(&mut source);
        drop(source);
        match decoder.join() {
            Ok(consumed) => (result, consumed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The reader's end: what a stream unpacks to.
#[derive(Debug)]
pub(super) struct Unpacking {
    full: Receiver<Result<Vec<u8>, StreamFault>>,
    empty: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    consumed: usize,
}

impl Source for Unpacking {
    fn chunk(&mut self) -> Result<&[u8], StreamFault> {
        while self.consumed == self.buffer.len() {
            // The decoder drops its end after the last buffer.
            let Ok(next) = self.full.recv() else { return Ok(&[]) };
            let done = std::mem::replace(&mut self.buffer, next?);
            self.consumed = 0;
            // The decoder may be done already.
            let _ = self.empty.send(done);
        }
        Ok(&self.buffer[self.consumed..])
    }

    fn consume(&mut self, count: usize) {
        self.consumed += count;
    }
}

/// The decoder's end.
pub(super) struct Output<'a> {
    full: SyncSender<Result<Vec<u8>, StreamFault>>,
    empty: Receiver<Vec<u8>>,
    left: u64,
    progress: &'a (dyn Fn(u64) + Sync),
    reported: usize,
}

impl Output<'_> {
    /// A buffer of `len` bytes with anything in it.
    pub(super) fn buffer(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// Hands over decoded bytes, for which `consumed` bytes of the stream have been read so far.
    pub(super) fn send(&mut self, bytes: Vec<u8>, consumed: usize) -> Result<(), Stop> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(StreamFault::TooLarge)?;
        self.report(consumed);
        self.full.send(Ok(bytes)).map_err(|_| Stop::ReaderGone)
    }

    fn report(&mut self, consumed: usize) {
        (self.progress)(consumed.saturating_sub(self.reported) as u64);
        self.reported = consumed;
    }
}

/// Why a decoder stops early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The stream is not good.
    Fault(StreamFault),
    /// Nobody reads what it unpacks to.
    ReaderGone,
}

impl From<StreamFault> for Stop {
    fn from(fault: StreamFault) -> Self {
        Self::Fault(fault)
    }
}

/// Buffers on their way to the reader. Enough that a pause of one side does not stop the other.
const BUFFERS: usize = 4;
