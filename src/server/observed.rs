//! A stream with an observer of the bytes that pass, which may end it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Is called for what passes through a stream.
pub trait StreamObserver: Unpin {
    /// These bytes were read; called with none at the end of the stream.
    fn on_read(&mut self, _bytes: &[u8]) {}

    /// All that was written was handed to the system. hyper flushes when it has nothing left to write.
    fn on_flushed(&mut self) {}

    /// The stream has nothing to read now. Ready if reading is to end here, as it ends at the end of the stream or with an error.
    fn poll_end(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Both observe; what the first one ends, the second one is not asked for.
impl<A: StreamObserver, B: StreamObserver> StreamObserver for (A, B) {
    fn on_read(&mut self, bytes: &[u8]) {
        self.0.on_read(bytes);
        self.1.on_read(bytes);
    }

    fn on_flushed(&mut self) {
        self.0.on_flushed();
        self.1.on_flushed();
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.poll_end(context) {
            Poll::Pending => self.1.poll_end(context),
            ended => ended,
        }
    }
}

#[derive(Debug)]
pub struct Observed<S, O> {
    stream: S,
    observer: O,
}

impl<S, O> Observed<S, O> {
    pub const fn new(stream: S, observer: O) -> Self {
        Self { stream, observer }
    }
}

impl<S: AsyncRead + Unpin, O: StreamObserver> AsyncRead for Observed<S, O> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            return self.observer.poll_end(context);
        }
        self.observer.on_read(buffer.filled().get(before..).unwrap_or_default());
        read
    }
}

impl<S: AsyncWrite + Unpin, O: StreamObserver> AsyncWrite for Observed<S, O> {
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

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.observer.on_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
