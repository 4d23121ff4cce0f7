//! How a client's connection ends.
//!
//! Where HTTP gives a body no other end than that of its connection (HTTP/1.0), it is reset instead of closed if a body broke
//! off: a client would take the beginning for the whole.
//!
//! Where a request is answered before its body was read, the connection lingers: its side of the answer is closed, and what
//! still comes is thrown away. If it were closed at once, the system would reset it on the first byte that nobody reads, and a
//! client that writes its whole request before it reads would lose the answer.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A lingering connection ends when nothing came for so long, as Apache has it. A client that reads its answer closes sooner.
const LINGER_IDLE: Duration = Duration::from_secs(2);
/// And at last after this time, however steadily the client writes: enough for the rest of a body of 50 MB at 20 Mbit/s, and
/// less than the relay's grace at its end. It costs nobody a connection: one that lingers is idle, and makes room for a new one.
const LINGER_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that are thrown away at a time.
const DISCARD_BYTES: usize = 16 << 10;

/// Whether one connection is reset when it is dropped; clones are for the same connection.
#[derive(Debug, Clone, Default)]
pub struct ResetFlag(Arc<AtomicBool>);

impl ResetFlag {
    pub fn set(&self, resets: bool) {
        self.0.store(resets, Relaxed);
    }
}

/// Whether one connection lingers when it is closed: whether the body of its last request was not read to its end. Clones are
/// for the same connection.
#[derive(Debug, Clone, Default)]
pub struct LingerFlag(Arc<AtomicBool>);

impl LingerFlag {
    pub fn set(&self, lingers: bool) {
        self.0.store(lingers, Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A connection and its flags.
#[derive(Debug)]
pub struct ClientSocket {
    stream: TcpStream,
    reset: ResetFlag,
    linger: LingerFlag,
    lingering: Option<Lingering>,
}

/// A connection whose side of the answer is closed.
#[derive(Debug)]
struct Lingering {
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl ClientSocket {
    pub const fn new(stream: TcpStream, reset: ResetFlag, linger: LingerFlag) -> Self {
        Self { stream, reset, linger, lingering: None }
    }
}

impl Lingering {
    fn begin() -> Self {
        Self { end: Instant::now() + LINGER_TIMEOUT, timer: Box::pin(sleep(LINGER_IDLE)) }
    }

    /// Throws away what comes; done at its end, or when the time is over.
    fn poll(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(context).is_pending() {
            let mut bytes = [MaybeUninit::uninit(); DISCARD_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.timer.as_mut().reset(self.end.min(Instant::now() + LINGER_IDLE));
        }
        Poll::Ready(())
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        if self.reset.0.load(Relaxed)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "a client's connection could not be reset");
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientSocket {
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.linger.is_set() {
                return Poll::Ready(Ok(()));
            }
        }
        this.lingering.get_or_insert_with(Lingering::begin).poll(&mut this.stream, context).map(Ok)
    }
}
