//! The server: connections in, within their bounds, and an end that lets calls in progress finish.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use super::admission::ClientBody;
use super::headers::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::heads::{LengthLineCounter, LengthScan};
use super::{Relay, call, metrics};
use crate::server::{
    self, ACCEPT_RETRY_DELAY, ClientSocket, ConnectionSlot, ConnectionSlots, HeadTimeout, LingerFlag, Observed,
    ResetFlag, SelfWakes, ServerTls, SlotReporter,
};
use crate::telemetry::NeededFor;

/// The head of a request must come within this time, counted from its first byte, and before it a TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection may be idle for so long between two requests. Longer than what is in front keeps connections that it may send the next
/// request over: nginx and AWS's balancers 60 s, clients in Go 90 s, Google's balancers 600 s. Connection slots bound their number.
const IDLE_TIMEOUT: Duration = Duration::from_secs(650);
/// What is idle at the stop may be so for this long: a head that is on its way comes within it.
const STOP_IDLE_TIME: Duration = Duration::from_secs(2);

/// Serves until the relay is stopped, then lets the calls in progress finish within the grace, and cuts the rest.
pub async fn serve(relay: Arc<Relay>, listener: TcpListener, tls: Option<ServerTls>) {
    let mut stop = relay.stopping.subscribe();
    let slots = ConnectionSlots::new(relay.limits.connections);
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            accepted = accept(&relay, &listener) => accepted,
        };
        let Some(stream) = accepted else { continue };
        let slot = tokio::select! {
            _ = stop.changed() => break,
            slot = take_slot(&slots) => slot,
        };
        let connection =
            serve_connection(Arc::clone(&relay), stream, tls.clone(), stop.clone(), graceful.watcher(), slot);
        tasks.spawn(SelfWakes::new(connection));
        while tasks.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(relay.limits.grace, graceful.shutdown()).await.is_err() {
        while tasks.try_join_next().is_some() {}
        tracing::warn!(connections = tasks.len(), "the relay's grace period is over: calls in progress are cut off");
    }
}

/// The next connection; others wait in the system's own, bounded queue.
async fn accept(relay: &Relay, listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            if let Some(total) = relay.broker.counts().exhausted(NeededFor::RelayAccept, relay.broker.now()) {
                tracing::warn!(%error, total, "the relay could not accept a connection");
            }
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            None
        }
    }
}

/// Waits for a slot: a free one, that of the connection that is idle for longest, or the first one that is free again where all
/// connections are answering.
async fn take_slot(slots: &ConnectionSlots) -> Arc<ConnectionSlot> {
    slots.notice_requests().await;
    loop {
        match slots.take() {
            Ok(slot) => return slot,
            Err(wait) => slots.changed(wait).await,
        }
    }
}

async fn serve_connection(
    relay: Arc<Relay>,
    stream: TcpStream,
    tls: Option<ServerTls>,
    mut stop: watch::Receiver<bool>,
    watcher: Watcher,
    slot: Arc<ConnectionSlot>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    // What a client that does not read does not take would else be held for it for ever.
    let (reset, linger) = (ResetFlag::default(), LingerFlag::default());
    let mut stream = TimeoutStream::new(ClientSocket::new(stream, reset.clone(), linger.clone()));
    stream.set_write_timeout(Some(relay.limits.client_io_timeout));
    let watch = LengthLineCounter::default();
    let handshake = server::handshake(tls.as_ref(), stream, &slot, HEAD_TIMEOUT);
    let stream = tokio::select! {
        _ = stop.changed() => return,
        ended = handshake => match ended {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "a client's TLS handshake failed"),
        },
    };
    let heads = SlotReporter::for_slot(Arc::clone(&slot));
    let timeout = HeadTimeout::new(heads.clone(), HEAD_TIMEOUT, IDLE_TIMEOUT);
    let stream = Observed::new(stream, (LengthScan::new(watch.clone()), timeout));
    let service = service_fn(move |request: Request<Incoming>| {
        let (relay, watch, linger) = (Arc::clone(&relay), watch.clone(), linger.clone());
        linger.set(!request.body().is_end_stream());
        let request = request.map(|body| ClientBody { body, lines: watch.lines(), linger: linger.clone() });
        let guard = heads.begin();
        let reset = (request.version() == Version::HTTP_10).then(|| reset.clone());
        async move {
            let counted = metrics::CallCounter::begin(relay.broker.clone());
            let mut response = counted.end(call::serve(&relay, request).await);
            // The rest of a body that was not read ends the connection: a client must not send its next request there.
            if linger.is_set() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            watch.restart();
            Ok::<_, Infallible>(response.map(|body| guard.guard_body(body.reset_if_broken(reset))))
        }
    });
    let connection = http().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        ended = watcher.watch(connection) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a client's connection ended");
            }
        }
        () = slot.evicted() => tracing::debug!("a client's idle connection was closed to make room for a new one"),
        () = idle_at_stop(&mut stop, &slot) => tracing::debug!("a client's connection without a whole request was closed"),
    }
}

/// HTTP/1 within the limits of heads. How long a head may take is [`HeadTimeout`]'s.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(None);
    http.max_buf_size(MAX_HEAD_BYTES).max_header_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    http
}

/// Ends when the process stops and the connection waits for the rest of a request's head, or throws a refused body away: that must
/// not delay the end. One whose request is being answered ends by itself.
async fn idle_at_stop(stop: &mut watch::Receiver<bool>, slot: &ConnectionSlot) {
    let stops = stop.wait_for(|stops| *stops).await.is_ok();
    tokio::time::sleep(STOP_IDLE_TIME).await;
    if !stops || !slot.is_idle() {
        std::future::pending().await
    }
}
