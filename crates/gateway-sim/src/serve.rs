//! A small HTTP/1.1 server on loopback: accepts, keeps connections alive, and ends with its handle.
//!
//! A handler that answers [`CloseConnection`] closes the connection without an answer, as the gateway does when
//! a handler panics.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::long_uri::LongUriReader;

/// The gateway takes headers up to 1 MiB.
const MAX_HEADERS: usize = 1 << 20;

/// The gateway limits bytes, not header lines. This number fits into the HTTP library's table.
pub(crate) const MAX_HEADER_LINES: usize = 4_000;

/// For a request's head, and between two requests.
const READ_TIMEOUT: Duration = Duration::from_secs(200);

/// Between attempts to accept, which fail while the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("connection closed without an answer")]
pub(crate) struct CloseConnection;

pub(crate) type HandlerResult = Result<Response<Full<Bytes>>, CloseConnection>;

/// JSON, unless `headers` name another content type.
pub(crate) fn response<N: AsRef<str>>(status: u16, headers: &[(N, String)], body: impl Into<Bytes>) -> HandlerResult {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| CloseConnection)?;
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_ref().as_bytes()).map_err(|_| CloseConnection)?;
        map.insert(name, HeaderValue::from_str(value).map_err(|_| CloseConnection)?);
    }
    Ok(response)
}

/// The lock of what the servers share, also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens to a request whose client has closed its sending side. A client that has left looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HalfClosed {
    Answered,
    Dropped,
}

/// A listening server; dropping it closes the port and all connections.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    accepting: AbortOnDropHandle<()>,
}

impl Server {
    pub(crate) async fn start<H, F>(addr: SocketAddr, half_closed: HalfClosed, handler: H) -> std::io::Result<Server>
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = HandlerResult> + Send + 'static,
    {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, half_closed, Arc::new(handler))));
        Ok(Server { addr, accepting })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends and waits until the port is free.
    pub(crate) async fn stop(self) {
        self.accepting.abort();
        if let Err(error) = self.accepting.await {
            tracing::trace!(%error, "server ended");
        }
    }
}

async fn accept<H, F>(listener: TcpListener, half_closed: HalfClosed, handler: Arc<H>)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = HandlerResult> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, half_closed, Arc::clone(&handler)))),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection<H, F>(stream: TcpStream, half_closed: HalfClosed, handler: Arc<H>)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = HandlerResult> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let (stream, long) = LongUriReader::new(stream, MAX_HEADERS);
    let service = service_fn(|mut request: Request<Incoming>| {
        long.attach_to(&mut request);
        handler(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .half_close(half_closed == HalfClosed::Answered)
        .title_case_headers(true)
        .max_buf_size(MAX_HEADERS)
        .max_headers(MAX_HEADER_LINES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}
