//! URIs longer than the HTTP library takes: the gateway takes any that fits into a head of 1 MiB.
//!
//! On the way in, [`LongUriReader`] takes such a URI out of the request line, leaves `/` in its place, and hands it over
//! beside the request. On the way out, [`LongUriWriter`] drops the request line that the library writes, behind one that
//! was written before. A long URI in a pipelined request is not found, and refused by the library.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the library takes, in bytes.
pub(crate) const MAX_LIBRARY_URI: usize = u16::MAX as usize - 1;

/// The long URI of the request that was read last.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundUri(Arc<Mutex<Option<LongUri>>>);

#[derive(Clone, Debug)]
struct LongUri(String);

impl FoundUri {
    /// Hands the URI over to the request from which it was taken.
    pub(crate) fn attach_to<B>(&self, request: &mut Request<B>) {
        if let Some(uri) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            request.extensions_mut().insert(uri);
        }
    }

    fn set(&self, uri: &[u8]) {
        let uri = LongUri(String::from_utf8_lossy(uri).into_owned());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(uri);
    }
}

/// Escaped path and query of a request, whatever their length.
pub(crate) fn path_and_query<B>(request: &Request<B>) -> (String, Option<String>) {
    let Some(LongUri(uri)) = request.extensions().get() else {
        return (request.uri().path().to_owned(), request.uri().query().map(str::to_owned));
    };
    let target = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
    let target = if uri.starts_with('/') { uri } else { &target[target.find('/').unwrap_or(target.len())..] };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    (path.to_owned(), query.map(str::to_owned))
}

/// The server's side of a connection.
#[derive(Debug)]
pub(crate) struct LongUriReader<S> {
    inner: S,
    /// The longest request line, in bytes, that is searched for a URI.
    max: usize,
    /// The next byte begins a request.
    at_start: bool,
    /// What was read and not yet handed on.
    held: BytesMut,
    found: FoundUri,
}

impl<S> LongUriReader<S> {
    pub(crate) fn new(inner: S, max: usize) -> (Self, FoundUri) {
        let found = FoundUri::default();
        (Self { inner, max, at_start: true, held: BytesMut::new(), found: found.clone() }, found)
    }

    /// Takes the URI out of the request line in `held`, if it is too long for the library.
    fn shorten(&mut self, line_end: usize) {
        let line = &self.held[..line_end];
        let spaces: Vec<usize> = (0..line.len()).filter(|at| line[*at] == b' ').collect();
        let [before, behind] = spaces[..] else { return };
        if behind - before - 1 > MAX_LIBRARY_URI {
            self.found.set(&line[before + 1..behind]);
            self.held = [&self.held[..before], &b" /"[..], &self.held[behind..]].concat().as_slice().into();
        }
    }
}

/// A request line, or the beginning of one.
fn may_be_request(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    matches!(bytes[method..], [] | [b' '] | [b' ', b'/' | b'h', ..])
}

impl<S: AsyncRead + Unpin> AsyncRead for LongUriReader<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        while this.at_start {
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
            let read = &buffer.filled()[before..];
            let line_end = read.iter().position(|byte| *byte == b'\n').map(|at| this.held.len() + at);
            if this.held.is_empty() && line_end.is_some_and(|at| at <= MAX_LIBRARY_URI) {
                this.at_start = false;
                return Poll::Ready(Ok(()));
            }
            this.at_start = !read.is_empty() && line_end.is_none();
            this.held.extend_from_slice(read);
            buffer.set_filled(before);
            if let Some(line_end) = line_end {
                this.shorten(line_end);
            } else if this.held.len() > this.max || !may_be_request(&this.held) {
                this.at_start = false;
            }
        }
        if this.held.is_empty() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        let length = this.held.len().min(buffer.remaining());
        buffer.put_slice(&this.held[..length]);
        this.held.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LongUriReader<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // The head of a final answer: what is read after it is a new request.
        if bytes.starts_with(b"HTTP/1.") && bytes.get(9) != Some(&b'1') {
            this.at_start = true;
        }
        Pin::new(&mut this.inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

/// The client's side of a connection that carries one request, whose request line was written already.
#[derive(Debug)]
pub(crate) struct LongUriWriter<S> {
    inner: S,
    /// Bytes of the library's own request line that are still to be dropped.
    skip: usize,
}

impl<S> LongUriWriter<S> {
    /// `line` is the request line that the library is going to write.
    pub(crate) fn new(inner: S, line: &str) -> Self {
        Self { inner, skip: line.len() }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LongUriWriter<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let skipped = this.skip.min(bytes.len());
        if skipped > 0 {
            this.skip -= skipped;
            return Poll::Ready(Ok(skipped));
        }
        Pin::new(&mut this.inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LongUriWriter<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buffer)
    }
}
