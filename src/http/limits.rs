//! What one client may take: connections, time, bytes. A client that is slow, on purpose or not, is cut off and never waited
//! for, so that a probe always finds room.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

use super::api::refusal;
use crate::server::{self, Heads, Observed, Place, Places, ServerTls, Wait};
use crate::shared_broker::SharedBroker;

/// Connections at a time. When all are taken, the one that has waited longest for a request is closed for a new one.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Connections that the system keeps for us until we take them; it may keep fewer (`net.core.somaxconn`).
pub(super) const BACKLOG: u32 = 1_024;
/// Further connections, for the probes only: so that no client that
/// takes all the others can make it look dead.
const SPARE_CONNECTIONS: usize = 8;
/// Of the others, streams of events.
pub(super) const MAX_STREAMS: usize = 16;
/// For a TLS handshake, for the first line and the headers, and between two requests of one connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The same on a spare one.
const PROBE_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// For an answer, the body of its request included; a stream has begun by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A reader that takes nothing for this time is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// So many bytes of an answer may wait in the system for a reader, on each connection (it takes twice as many). Left to itself
/// it would take megabytes, and a reader that stopped would be found out only when they are full.
pub(super) const SEND_BUFFER_BYTES: u32 = 128 << 10;
/// First line and headers together.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// After a failure to accept, such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Serves for ever: `routes`, or on a spare connection `probes`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<ServerTls>,
    handle: &SharedBroker,
    routes: Router,
    probes: Router,
) {
    let (room, spare) = (Places::new(MAX_CONNECTIONS), Places::new(SPARE_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if let Some(total) = handle.counts().exhausted("http_accept", handle.now()) {
                    tracing::warn!(%error, total, "HTTP could not accept a connection");
                }
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        room.notice_requests().await;
        let (place, kept) = place(&room, &spare).await;
        tokio::spawn(connection(stream, tls.clone(), place, if kept { routes.clone() } else { probes.clone() }, kept));
    }
}

/// A place, and whether it is one of those for everything.
async fn place(room: &Places, spare: &Places) -> (Arc<Place>, bool) {
    loop {
        let wait = match room.take() {
            Ok(place) => return (place, true),
            Err(Wait::Asked) => {
                room.changed(Wait::Asked).await;
                continue;
            }
            Err(wait) => wait,
        };
        let wait_spare = match spare.take() {
            Ok(place) => return (place, false),
            Err(wait) => wait,
        };
        tokio::select! {
            () = room.changed(wait) => {}
            () = spare.changed(wait_spare) => {}
        }
    }
}

/// One connection; one that is not `kept` is for one request.
async fn connection(stream: TcpStream, tls: Option<ServerTls>, place: Arc<Place>, routes: Router, kept: bool) {
    // An answer is one write; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let head_timeout = if kept { HEAD_TIMEOUT } else { PROBE_HEAD_TIMEOUT };
    let stream = match server::handshake(tls.as_ref(), stream, &place, head_timeout).await {
        Ok(stream) => stream,
        Err(error) => return tracing::trace!(%error, "a TLS handshake failed"),
    };
    let (heads, routes) = (Heads::for_place(Arc::clone(&place)), TowerToHyperService::new(routes));
    let stream = Observed::new(stream, heads.clone());
    let service = service_fn(move |request| {
        let (serving, answering) = (heads.begin(), routes.call(request));
        async move { answering.await.map(|response| response.map(|body| serving.whole(body))) }
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
        () = place.evicted() => tracing::trace!("an HTTP connection without a request gave its place to another one"),
    }
}

/// Ends a request that takes too long, most likely because its body does not come.
pub(super) async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    }
}
