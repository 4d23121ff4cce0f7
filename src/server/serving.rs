//! How a place knows what its connection does: the service says that a head is complete, the body of the answer that all of
//! it is written, and the stream that it has been handed to the system.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Place;

/// The place was taken back while the request came.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection was closed to make room for another one")]
pub struct Evicted;

/// A connection with its place.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    place: Arc<Place>,
    /// All of an answer has been written, and may still have to be handed to the system.
    written: Arc<AtomicBool>,
}

/// A request that is being answered; ends with the body of its answer.
#[derive(Debug)]
pub struct Serving(Arc<AtomicBool>);

/// The body of an answer, as long as it is written.
#[derive(Debug)]
pub struct ServedBody<B> {
    body: B,
    _serving: Serving,
}

/// Says that the head of a request is complete.
#[derive(Debug, Clone)]
pub struct Heads {
    place: Arc<Place>,
    written: Arc<AtomicBool>,
}

impl<S> Watched<S> {
    /// A stream that has this place.
    pub fn new(stream: S, place: Arc<Place>) -> Self {
        Self { stream, place, written: Arc::default() }
    }

    /// By which its service says what it does.
    pub fn heads(&self) -> Heads {
        Heads { place: Arc::clone(&self.place), written: Arc::clone(&self.written) }
    }
}

impl Heads {
    /// A head is complete, and its request is answered from now on.
    ///
    /// # Errors
    /// The place was taken back.
    pub fn begin(&self) -> Result<Serving, Evicted> {
        self.written.store(false, Ordering::Relaxed);
        if self.place.answer() { Ok(Serving(Arc::clone(&self.written))) } else { Err(Evicted) }
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

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks for this when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() && self.written.swap(false, Ordering::Relaxed) {
            self.place.wait();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
