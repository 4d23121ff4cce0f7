//! Tells the slot of a connection when it begins to answer a request and when it is idle again: the service reports the complete
//! head, the body of the answer that all of it is written, and the stream that it was handed to the system.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use super::{ConnectionSlot, StreamObserver};

/// Held while a request is being answered, until the body of the answer is written or dropped.
#[derive(Debug)]
pub struct AnsweringGuard(Arc<AtomicBool>);

/// The body of an answer, with the guard that ends with it.
#[derive(Debug)]
pub struct GuardedBody<B> {
    body: B,
    _guard: AnsweringGuard,
}

/// Reports to the slot of one connection; clones are for the service and for the observer of the stream.
#[derive(Debug, Clone)]
pub struct Heads {
    slot: Arc<ConnectionSlot>,
    /// An answer is written completely, and not yet handed to the system.
    written: Arc<AtomicBool>,
}

impl Heads {
    pub fn for_slot(slot: Arc<ConnectionSlot>) -> Self {
        Self { slot, written: Arc::default() }
    }

    /// The head of a request is complete.
    pub fn begin(&self) -> AnsweringGuard {
        self.written.store(false, Ordering::Relaxed);
        self.slot.mark_answering();
        AnsweringGuard(Arc::clone(&self.written))
    }
}

impl AnsweringGuard {
    /// Ends with this body, the one of the answer.
    pub fn guard_body<B>(self, body: B) -> GuardedBody<B> {
        GuardedBody { body, _guard: self }
    }
}

impl Drop for AnsweringGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<B: Body + Unpin> Body for GuardedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl StreamObserver for Heads {
    fn on_flushed(&mut self) {
        if self.written.swap(false, Ordering::Relaxed) {
            self.slot.mark_idle();
        }
    }
}
