//! The body of an answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// A body that is there as a whole and goes out in pieces: hyper copies what it is given, and of a long list no client
/// that does not read is to hold a copy.
#[derive(Debug, Default)]
pub struct Content(Bytes);

impl<T: Into<Bytes>> From<T> for Content {
    fn from(whole: T) -> Self {
        Self(whole.into())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.len().min(PIECE);
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(self.0.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// Larger than anything but a list of very many pairs, or their metrics.
const PIECE: usize = 16 * 1024;
