//! How a place knows what its connection does: the service says that a head is complete, the body of the answer that all of
//! it is written, and the stream that it has been handed to the system.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use super::{Place, StreamObserver};

/// A request that is being answered; ends with the body of its answer.
#[derive(Debug)]
pub struct Serving(Arc<AtomicBool>);

/// The body of an answer, as long as it is written.
#[derive(Debug)]
pub struct ServedBody<B> {
    body: B,
    _serving: Serving,
}

/// What a connection does with its place. Its service says that the head of a request is complete; as the observer of its stream
/// this learns that an answer is with the system.
#[derive(Debug, Clone)]
pub struct Heads {
    place: Arc<Place>,
    /// All of an answer has been written, and may still have to be handed to the system.
    written: Arc<AtomicBool>,
}

impl Heads {
    pub fn for_place(place: Arc<Place>) -> Self {
        Self { place, written: Arc::default() }
    }

    /// A head is complete, and its request is answered from now on.
    pub fn begin(&self) -> Serving {
        self.written.store(false, Ordering::Relaxed);
        self.place.answer();
        Serving(Arc::clone(&self.written))
    }
}

impl Serving {
    /// The body of the answer.
    pub fn whole<B>(self, body: B) -> ServedBody<B> {
        ServedBody { body, _serving: self }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<B: Body + Unpin> Body for ServedBody<B> {
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
            self.place.wait();
        }
    }
}
