//! Bodies of answers: whole, or with a measurement list that is read while it is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tracing::error;

use super::json::Escaper;
use crate::measurements::{ListReadError, Snapshot};

/// See the module.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing is left of it when it was sent.
    Whole(Option<Bytes>),
    /// Text, a list, and text.
    Listed(Box<Listed>),
}

/// What is still to be sent.
#[derive(Debug)]
pub(super) struct Listed {
    before: Option<Bytes>,
    list: Option<Snapshot>,
    /// Of a list that stands in a JSON string.
    escaper: Option<Escaper>,
    after: Option<Bytes>,
}

impl Body {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    /// The list as it is, behind a head.
    pub(super) fn exact(head: Vec<u8>, list: Snapshot) -> Self {
        let before = Some(head.into());
        Self::Listed(Box::new(Listed { before, list: Some(list), escaper: None, after: None }))
    }

    /// The list as the inside of a JSON string.
    pub(super) fn escaped(before: String, list: Snapshot, after: &'static str) -> Self {
        let (before, after) = (Some(before.into()), Some(Bytes::from_static(after.as_bytes())));
        Self::Listed(Box::new(Listed { before, list: Some(list), escaper: Some(Escaper::default()), after }))
    }
}

impl Listed {
    fn next(&mut self) -> Result<Option<Bytes>, ListReadError> {
        if let Some(before) = self.before.take() {
            return Ok(Some(before));
        }
        if let Some(list) = &mut self.list {
            while let Some(piece) = list.next_piece()? {
                let piece = match &mut self.escaper {
                    Some(escaper) => escaper.escape(&piece),
                    None => piece,
                };
                // An end of a character may be all there was.
                if !piece.is_empty() {
                    return Ok(Some(piece.into()));
                }
            }
            self.list = None;
            let rest = self.escaper.take().map(|mut escaper| escaper.finish()).unwrap_or_default();
            if !rest.is_empty() {
                return Ok(Some(rest.into()));
            }
        }
        Ok(self.after.take())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = ListReadError;

    /// Reads from the kernel, which makes the list in memory and waits for nothing.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ListReadError>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => Ok(bytes.take()),
            Self::Listed(listed) => listed.next(),
        };
        if let Err(error) = &next {
            // The connection ends without the end of the body: nobody takes it for the whole.
            error!("a list ends in the middle: {error}");
        }
        Poll::Ready(next.transpose().map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Listed(_) => SizeHint::default(),
        }
    }
}
