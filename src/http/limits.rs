//! Limits for a client of the HTTP port: connections, time, bytes. A client that is slow, on purpose or not, is disconnected, so
//! that a probe is always answered.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

use super::api::refusal;
use crate::server::{
    self, ACCEPT_RETRY_DELAY, ClientSocket, ConnectionSlot, ConnectionSlots, LingerFlag, Observed, ResetFlag,
    ServerTls, SlotReporter, Wait,
};
use crate::shared_broker::SharedBroker;
use crate::telemetry::NeededFor;

/// Connections at a time. When all are open, the one that is idle for longest is closed for a new one.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Connections that wait in the system until they are accepted; it may keep fewer (`net.core.somaxconn`).
pub(super) const LISTEN_BACKLOG: u32 = 1_024;
/// Further connections, which answer only probes (`/livez`, `/readyz`): a client that takes all the others cannot make the
/// process look dead.
const SPARE_CONNECTIONS: usize = 8;
/// Streams of events at a time, each on one of `MAX_CONNECTIONS`.
pub(super) const MAX_STREAMS: usize = 16;
/// For a TLS handshake, for the request line and the headers, and between two requests of one connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The same on a spare connection.
const PROBE_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// For an answer, the body of its request included; a stream has begun by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A reader that takes nothing for this time is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that the system buffers for a slow reader, on each connection (Linux doubles the value). By default it
/// would be megabytes, and a reader that stopped would be noticed only when they are full.
pub(super) const SEND_BUFFER_BYTES: u32 = 128 << 10;
/// Request line and headers together.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Never returns. Serves `routes`, or on a spare connection `probes`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<ServerTls>,
    broker: &SharedBroker,
    routes: Router,
    probes: Router,
) {
    let (regular, spare) = (ConnectionSlots::new(MAX_CONNECTIONS), ConnectionSlots::new(SPARE_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if let Some(total) = broker.counts().exhausted(NeededFor::HttpAccept, broker.now()) {
                    tracing::warn!(%error, total, "HTTP could not accept a connection");
                }
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        regular.notice_requests().await;
        let (slot, kept) = take_slot(&regular, &spare).await;
        tokio::spawn(connection(stream, tls.clone(), slot, if kept { routes.clone() } else { probes.clone() }, kept));
    }
}

/// A slot, and whether it is a regular one; on a spare one only probes are answered.
async fn take_slot(regular: &ConnectionSlots, spare: &ConnectionSlots) -> (Arc<ConnectionSlot>, bool) {
    loop {
        let wait = match regular.take() {
            Ok(slot) => return (slot, true),
            Err(Wait::ForEviction) => {
                regular.changed(Wait::ForEviction).await;
                continue;
            }
            Err(wait) => wait,
        };
        let wait_spare = match spare.take() {
            Ok(slot) => return (slot, false),
            Err(wait) => wait,
        };
        tokio::select! {
            () = regular.changed(wait) => {}
            () = spare.changed(wait_spare) => {}
        }
    }
}

/// One connection; one that is not `kept` is for one request.
async fn connection(stream: TcpStream, tls: Option<ServerTls>, slot: Arc<ConnectionSlot>, routes: Router, kept: bool) {
    // An answer is one write; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    // A refusal whose request has a body that nobody read must still arrive.
    let linger = LingerFlag::default();
    let mut stream = TimeoutStream::new(ClientSocket::new(stream, ResetFlag::default(), linger.clone()));
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let head_timeout = if kept { HEAD_TIMEOUT } else { PROBE_HEAD_TIMEOUT };
    let stream = match server::handshake(tls.as_ref(), stream, &slot, head_timeout).await {
        Ok(stream) => stream,
        Err(error) => return tracing::trace!(%error, "a TLS handshake failed"),
    };
    let (heads, routes) = (SlotReporter::for_slot(Arc::clone(&slot)), TowerToHyperService::new(routes));
    let stream = Observed::new(stream, heads.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        linger.set(!request.body().is_end_stream());
        let (guard, answering) = (heads.begin(), routes.call(request));
        async move { answering.await.map(|response| response.map(|body| guard.guard_body(body))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .keep_alive(kept)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        ended = connection => {
            if let Err(error) = ended {
                tracing::trace!(%error, "an HTTP connection ended early");
            }
        }
        () = slot.evicted() => tracing::trace!("an idle HTTP connection was closed to make room for a new one"),
    }
}

/// Answers 408 after `ANSWER_TIMEOUT`, most likely because the request's body does not arrive.
pub(super) async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    }
}
