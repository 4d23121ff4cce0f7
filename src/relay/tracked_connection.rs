//! A connection to a target that knows what it has carried.
//!
//! A server may close a kept connection in the moment in which the next request is on its way. That says nothing about the
//! server, and it can be distinguished from a refused call only by what was written to this connection and read from it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a connection has carried. Clones are about the same connection.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionActivity(Arc<Flags>);

#[derive(Debug)]
struct Flags {
    opened: Instant,
    /// When bytes were last written, in nanoseconds since it was opened.
    written: AtomicU64,
    /// The head of an answer has come, and nothing of another request was written since.
    answered: AtomicBool,
    /// The request in progress is not the first one.
    reused: AtomicBool,
    /// A byte was read since the request in progress began.
    heard: AtomicBool,
}

impl Default for Flags {
    fn default() -> Self {
        let (answered, reused, heard) = Default::default();
        Self { opened: Instant::now(), written: AtomicU64::default(), answered, reused, heard }
    }
}

/// How far a request came on a connection that broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestProgress {
    /// No byte of it was written.
    Unwritten,
    /// The connection had carried an answer before, and no byte of this one came.
    Unanswered,
    /// The connection was a new one, or a part of an answer came.
    Begun,
}

impl ConnectionActivity {
    /// The head of an answer has come.
    pub(super) fn answered(&self) {
        self.0.answered.store(true, Relaxed);
    }

    /// Whether the request in progress, or that was answered last, is not the first one.
    pub(super) fn is_reused(&self) -> bool {
        self.0.reused.load(Relaxed)
    }

    /// How far the request in progress has come.
    pub(super) fn progress(&self) -> RequestProgress {
        let Flags { answered, reused, heard, .. } = &*self.0;
        match (answered.load(Relaxed), reused.load(Relaxed), heard.load(Relaxed)) {
            (true, ..) => RequestProgress::Unwritten,
            (false, true, false) => RequestProgress::Unanswered,
            (false, ..) => RequestProgress::Begun,
        }
    }

    /// The time since it was opened.
    pub(super) fn age(&self) -> Duration {
        self.0.opened.elapsed()
    }

    /// When bytes were last written, or it was opened.
    pub(super) fn last_written(&self) -> Instant {
        self.0.opened + Duration::from_nanos(self.0.written.load(Relaxed))
    }

    /// Bytes were written. The first ones after an answer begin another request.
    pub(super) fn wrote(&self) {
        self.0.written.store(u64::try_from(self.0.opened.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
        if self.0.answered.load(Relaxed) {
            self.0.answered.store(false, Relaxed);
            self.0.reused.store(true, Relaxed);
            self.0.heard.store(false, Relaxed);
        }
    }

    /// Bytes were read.
    fn read(&self) {
        self.0.heard.store(true, Relaxed);
    }
}

/// A connection, after TLS: what TLS itself says is no answer.
#[derive(Debug)]
pub(crate) struct TrackedConnection {
    stream: TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>,
    usage: ConnectionActivity,
}

impl TrackedConnection {
    pub(super) fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        Self { stream: TokioIo::new(stream), usage: ConnectionActivity::default() }
    }

    /// Notes what was written of `bytes` bytes. A server may answer early (413) and close: its answer is then still to be read,
    /// so what it takes no more is dropped here, and the end is seen when reading.
    fn note_written(&self, written: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error)) if is_closed(&error) => Poll::Ready(Ok(bytes)),
            Poll::Ready(Ok(1..)) => {
                self.usage.wrote();
                written
            }
            _ => written,
        }
    }
}

impl Connection for TrackedConnection {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.usage.clone())
    }
}

impl AsyncRead for TrackedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.usage.read();
        }
        read
    }
}

impl AsyncWrite for TrackedConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_written(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note_written(written, parts.iter().map(|part| part.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(error)) if is_closed(&error) => Poll::Ready(Ok(())),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Whether an error says that the other side takes no more.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reused_connection_without_a_byte_of_an_answer_is_unanswered() {
        let usage = ConnectionActivity::default();
        usage.wrote();
        assert_eq!(usage.progress(), RequestProgress::Begun, "a new connection");
        usage.read();
        usage.answered();
        usage.read();
        assert_eq!(usage.progress(), RequestProgress::Unwritten, "nothing of the second request was written");
        usage.wrote();
        assert_eq!(usage.progress(), RequestProgress::Unanswered);
        usage.wrote();
        assert_eq!(usage.progress(), RequestProgress::Unanswered, "in several parts");
        usage.read();
        usage.wrote();
        assert_eq!(
            usage.progress(),
            RequestProgress::Begun,
            "a part of an answer came before all of the request was written"
        );
        usage.answered();
        usage.wrote();
        assert_eq!(usage.progress(), RequestProgress::Unanswered, "the third request");
    }
}
