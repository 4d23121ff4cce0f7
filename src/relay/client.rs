//! The HTTP client: connections are kept, redirects are not followed, TLS trusts the system's roots and those we are given.

use std::error::Error;
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
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::headers::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::tracked::TrackedConnection;
use crate::system::{descriptors, files};

/// So many connections to one host wait for the next call.
const MAX_IDLE_PER_HOST: usize = 256;
/// A connection waits so long for the next call; many servers close theirs after 60 s or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The largest file of certificate authorities, in bytes; the system's own, with all there are, has a quarter of a megabyte.
const LARGEST_AUTHORITIES: u64 = 4 << 20;

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
pub(super) type Client = legacy::Client<Connector, Full<Bytes>>;

/// The clients of the relay.
pub(super) struct Clients {
    /// Keeps its connections for the next call.
    pub(super) pooled: Client,
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
pub(super) struct ConnectTimeout(Arc<AtomicU64>);

impl ConnectTimeout {
    pub(super) fn new(time: Duration) -> Self {
        let patience = Self(Arc::default());
        patience.set(time);
        patience
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
pub(super) fn build(authorities: Option<&Path>, patience: ConnectTimeout) -> Result<Clients, ClientError> {
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
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    let connector = Connector { https, patience };
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
    let pem = files::read(path, LARGEST_AUTHORITIES).map_err(|error| fault(error.into()))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| fault(error.into()))?;
        roots.add(certificate).map_err(|error| fault(error.into()))?;
        found = true;
    }
    if found { Ok(roots) } else { Err(fault("there are none in it".into())) }
}

/// Connects within a time: name, TCP and TLS together.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    patience: ConnectTimeout,
}

/// There was no connection in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no connection in time")]
pub(super) struct ConnectTimedOut;

impl Service<Uri> for Connector {
    type Response = TokioIo<TrackedConnection>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.patience.get(), self.https.call(uri));
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
    cause::<ConnectTimedOut>(error).is_some()
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
