//! Tells the slot of a connection when it begins to answer a request and when it is idle again: the service reports the complete
//! head, the body of the answer that all of it is written, and the stream that it was handed to the system.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use super::{ConnectionSlot, StreamObserver};

/// Held while a request is being answered, until the body of the answer is written or dropped.
#[derive(Debug)]
pub struct AnsweringGuard(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// An answer is written completely, and not yet handed to the system.
    written: AtomicBool,
    /// An [`AwaitedInput`].
    awaits: AtomicU8,
}

/// What a connection awaits of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AwaitedInput {
    /// The head of its first request, or the rest of a head that has begun.
    Head = 0,
    /// Nothing: a request is being answered.
    Nothing = 1,
    /// The next request.
    Next = 2,
}

/// The body of an answer, with the guard that ends with it.
#[derive(Debug)]
pub struct GuardedBody<B> {
    body: B,
    _guard: AnsweringGuard,
}

/// Reports to the slot of one connection; clones are for the service and for the observer of the stream.
#[derive(Debug, Clone)]
pub struct SlotReporter {
    slot: Arc<ConnectionSlot>,
    shared: Arc<Shared>,
}

impl SlotReporter {
    pub fn for_slot(slot: Arc<ConnectionSlot>) -> Self {
        Self { slot, shared: Arc::default() }
    }

    /// The head of a request is complete.
    pub fn begin(&self) -> AnsweringGuard {
        self.shared.written.store(false, Ordering::Relaxed);
        self.shared.set(AwaitedInput::Nothing);
        self.slot.mark_answering();
        AnsweringGuard(Arc::clone(&self.shared))
    }

    /// What the connection awaits.
    pub(super) fn awaits(&self) -> AwaitedInput {
        match self.shared.awaits.load(Ordering::Relaxed) {
            0 => AwaitedInput::Head,
            1 => AwaitedInput::Nothing,
            _ => AwaitedInput::Next,
        }
    }

    /// The first byte of the next head came.
    pub(super) fn begins_head(&self) {
        self.shared.set(AwaitedInput::Head);
    }
}

impl Shared {
    fn set(&self, awaits: AwaitedInput) {
        self.awaits.store(awaits as u8, Ordering::Relaxed);
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
        self.0.written.store(true, Ordering::Relaxed);
        self.0.set(AwaitedInput::Next);
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

impl StreamObserver for SlotReporter {
    fn on_flushed(&mut self) {
        if self.shared.written.swap(false, Ordering::Relaxed) {
            self.slot.mark_idle();
        }
    }
}
