//! The HTTP client: connections are kept, redirects are not followed, TLS trusts the system's roots and those we are given.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::headers::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::proxy::{Proxy, ProxyConnector};
use super::tracked_connection::TrackedConnection;
use crate::system::{descriptors, files};

/// So many connections to one host wait for the next call.
const MAX_IDLE_PER_HOST: usize = 256;
/// A connection waits this long for the next call; many servers close theirs after 60 s or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The largest file of certificate authorities, in bytes; the system's own, with all there are, has a quarter of a megabyte.
const MAX_CA_FILE_BYTES: u64 = 4 << 20;

/// After this long without a byte the system asks whether the peer is still there, so often, and so many times. With that, a
/// target that vanished is found out although a whole answer may take minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// A connection whose peer does not confirm what was sent for this long is dead.
#[cfg(target_os = "linux")]
const UNCONFIRMED_TIMEOUT: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// The connect limit of the attempt that is being made.
    static CONNECT_LIMIT: Duration;
}

/// Makes an attempt, with its own limit on connecting.
pub(super) async fn connecting_within<F: Future>(limit: Duration, attempt: F) -> F::Output {
    CONNECT_LIMIT.scope(limit, attempt).await
}

/// A client.
pub(crate) type Client = legacy::Client<Connector, Full<Bytes>>;

/// The clients of the relay.
pub(crate) struct Clients {
    /// Keeps its connections for the next call.
    pub(crate) pooled: Client,
    /// Makes a connection for each call.
    pub(super) unpooled: Client,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file with certificate authorities cannot be read.
    #[error("cannot read the certificates in {path}: {source}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The library has none of the protocols it should have.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// How long connecting may take, TLS included; it may change.
#[derive(Debug, Clone)]
pub(crate) struct ConnectTimeout(Arc<AtomicU64>);

impl ConnectTimeout {
    pub(crate) fn new(time: Duration) -> Self {
        let connect_timeout = Self(Arc::default());
        connect_timeout.set(time);
        connect_timeout
    }

    pub(super) fn set(&self, time: Duration) {
        self.0.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The limit of the attempt that connects, else the last one set.
    fn get(&self) -> Duration {
        CONNECT_LIMIT.try_with(|limit| *limit).unwrap_or_else(|_| self.default())
    }

    fn default(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Builds the clients.
pub(crate) fn build(
    authorities: Option<&Path>,
    proxy: Proxy,
    connect_timeout: ConnectTimeout,
) -> Result<Clients, ClientError> {
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authorities)?)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEPALIVE_AFTER));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    #[cfg(target_os = "linux")]
    http.set_tcp_user_timeout(Some(UNCONFIRMED_TIMEOUT));
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let https =
        https.wrap_connector(ProxyConnector { tcp: TcpConnector { http, timeout: connect_timeout.clone() }, proxy });
    let connector = Connector(Arc::new(ConnectorParts { https, connect_timeout }));
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    // A request of which no byte was written is sent again over another connection (`retry_canceled_requests`, the default).
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .http1_max_headers(MAX_HEADERS);
    let pooled = builder.pool_max_idle_per_host(MAX_IDLE_PER_HOST).build(connector.clone());
    let unpooled = builder.pool_max_idle_per_host(0).build(connector);
    Ok(Clients { pooled, unpooled })
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "a certificate of the system cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    let Some(path) = authorities else { return Ok(roots) };
    let fault = |source: Box<dyn Error + Send + Sync>| ClientError::Authorities { path: path.to_owned(), source };
    let mut found = false;
    let pem = files::read(path, MAX_CA_FILE_BYTES).map_err(|error| fault(error.into()))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| fault(error.into()))?;
        roots.add(certificate).map_err(|error| fault(error.into()))?;
        found = true;
    }
    if found { Ok(roots) } else { Err(fault("there are none in it".into())) }
}

/// Connects within a time: name, TCP, a tunnel through a proxy, and TLS together. The client copies it for each call, and its parts
/// only where it connects: copies of all calls would count the references of the same dozen values on all processors.
#[derive(Debug, Clone)]
pub(crate) struct Connector(Arc<ConnectorParts>);

#[derive(Debug)]
struct ConnectorParts {
    https: HttpsConnector<ProxyConnector<TcpConnector>>,
    connect_timeout: ConnectTimeout,
}

/// Connects to one of the addresses of a name: one after the other, each for an equal part of the time, so that an address
/// that does not answer leaves time for the next. IPv6 and IPv4 are raced as RFC 8305 describes.
#[derive(Debug, Clone)]
struct TcpConnector<R = GaiResolver> {
    http: HttpConnector<R>,
    timeout: ConnectTimeout,
}

impl<R> Service<Uri> for TcpConnector<R>
where
    R: Clone,
    HttpConnector<R>: Service<Uri>,
{
    type Response = <HttpConnector<R> as Service<Uri>>::Response;
    type Error = <HttpConnector<R> as Service<Uri>>::Error;
    type Future = <HttpConnector<R> as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut http = self.http.clone();
        http.set_connect_timeout(Some(self.timeout.get()));
        http.call(uri)
    }
}

/// There was no connection in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no connection in time")]
pub(super) struct ConnectTimedOut;

impl Service<Uri> for Connector {
    type Response = TokioIo<TrackedConnection>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Nothing that it is made of waits before it connects.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let ConnectorParts { https, connect_timeout } = &*self.0;
        let connecting = tokio::time::timeout(connect_timeout.get(), https.clone().call(uri));
        Box::pin(async move {
            connecting
                .await
                .unwrap_or_else(|_| Err(ConnectTimedOut.into()))
                .map(|stream| TokioIo::new(TrackedConnection::new(stream)))
        })
    }
}

/// Whether an error comes of what this process has run out of.
pub(super) fn is_exhaustion(error: &legacy::Error) -> bool {
    descriptors::is_exhaustion(error) || (error.is_connect() && descriptors::is_exhaustion_in_connect(error))
}

/// Whether an error comes of a connection that took too long.
pub(super) fn is_too_slow(error: &legacy::Error) -> bool {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    cause::<ConnectTimedOut>(error).is_some() || (error.is_connect() && cause(error).is_some_and(timed_out))
}

/// Whether an error comes of an answer that is not HTTP, or whose head is too large.
pub(super) fn is_invalid_http(error: &legacy::Error) -> bool {
    cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse)
}

/// The first cause of this type.
fn cause<E: Error + 'static>(error: &legacy::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::net::{Ipv4Addr, SocketAddr};

    use hyper_util::client::legacy::connect::dns::Name;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;

    /// Resolves every name to these addresses.
    #[derive(Debug, Clone)]
    struct Fixed(Vec<SocketAddr>);

    impl Service<Name> for Fixed {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            ready(Ok(self.0.clone().into_iter()))
        }
    }

    const TIMEOUT: Duration = Duration::from_secs(2);

    async fn connect(addresses: Vec<SocketAddr>) -> Result<SocketAddr, io::ErrorKind> {
        let http = HttpConnector::new_with_resolver(Fixed(addresses));
        let mut connector = TcpConnector { http, timeout: ConnectTimeout::new(TIMEOUT) };
        let stream = connector.call(Uri::from_static("http://name.test/")).await;
        let stream = stream.map_err(|error| error.source().unwrap().downcast_ref::<io::Error>().unwrap().kind())?;
        Ok(stream.inner().peer_addr().unwrap())
    }

    /// An address that drops every further SYN because its queue of connections is full, as a host that is gone does.
    async fn black_hole(address: Ipv4Addr, port: u16) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, port).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        (listener, queued)
    }

    /// The port of a name is the same at all its addresses.
    async fn hosts() -> (TcpListener, [SocketAddr; 4]) {
        let alive = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).await.unwrap();
        let port = alive.local_addr().unwrap().port();
        let at = |last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
        (alive, [at(9), at(2), at(3), at(4)])
    }

    #[tokio::test]
    async fn s2_each_address_of_a_name_is_tried_within_the_time() {
        let (_listener, [alive, first, second, refused]) = hosts().await;
        let port = alive.port();
        let _holes =
            (black_hole(Ipv4Addr::new(127, 0, 0, 2), port).await, black_hole(Ipv4Addr::new(127, 0, 0, 3), port).await);
        let v6_refused = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), port);
        for addresses in [
            vec![alive],
            vec![first, alive],
            vec![refused, alive],
            vec![first, second, alive],
            vec![first, refused, second, alive],
            vec![v6_refused, first, alive],
        ] {
            let connected = tokio::time::timeout(TIMEOUT, connect(addresses.clone())).await;
            assert_eq!(connected.unwrap(), Ok(alive), "{addresses:?}");
        }
        // It ends by itself, a little after the time at most.
        let ended = tokio::time::timeout(TIMEOUT * 2, connect(vec![first, second])).await;
        assert_eq!(ended.unwrap(), Err(io::ErrorKind::TimedOut));
        assert_eq!(connect(vec![refused]).await, Err(io::ErrorKind::ConnectionRefused));
    }
}
