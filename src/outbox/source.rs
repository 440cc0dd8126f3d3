//! Where events wait that are to be delivered: this machine's journal, or a stream that several crosslinks share.

use std::sync::Arc;
use std::time::Duration;

use super::cursor::Cursor;
use super::dead_letters::LetterId;
use super::segments::Place;
use super::store::Store;
use super::stream::Stream;

/// One of the two.
pub(super) enum Source {
    Journal(Arc<Store>, Cursor),
    Stream(Box<Stream>),
}

impl Source {
    /// Whether an event still waits here, and for this crosslink.
    pub(super) fn holds(&self, place: Place) -> bool {
        match self {
            Self::Journal(store, _) => store.holds(place),
            Self::Stream(stream) => stream.holds(place),
        }
    }

    /// Whether it has lost events since it was asked last: they are somebody else's, or come again.
    pub(super) fn has_lost(&mut self) -> bool {
        match self {
            Self::Journal(..) => false,
            Self::Stream(stream) => stream.has_lost(),
        }
    }

    /// Notes that an event was delivered, or set aside.
    pub(super) fn done(&mut self, place: Place) {
        match self {
            Self::Journal(store, _) => store.done(place),
            Self::Stream(stream) => stream.done(place),
        }
    }

    /// By what commands name an event that was set aside.
    pub(super) fn letter_id(&self, place: Place) -> LetterId {
        match self {
            Self::Journal(..) => place.into(),
            Self::Stream(_) => Place { number: Stream::part(place), ..place }.into(),
        }
    }

    /// How often it is read at least.
    pub(super) fn pause(&self) -> Duration {
        match self {
            // Whoever adds to it says so.
            Self::Journal(..) => Duration::from_secs(2),
            Self::Stream(_) => Duration::from_millis(100),
        }
    }

    /// Reads no more.
    pub(super) fn leave(&mut self) {
        if let Self::Stream(stream) = self {
            stream.leave();
        }
    }
}
