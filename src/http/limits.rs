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
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use super::api::refusal;

/// Connections at a time.
pub(super) const CONNECTIONS: usize = 64;
/// Beside these, connections that are answered whether the process is alive and ready, and nothing else: so that nobody who
/// takes all the others can make it look dead.
const SPARE: usize = 8;
/// Of the others, streams of events.
pub(super) const STREAMS: usize = 16;
/// For the first line and the headers, and between two requests of one connection.
const HEADERS: Duration = Duration::from_secs(5);
/// The same on a spare one.
const HURRY: Duration = Duration::from_secs(1);
/// For an answer, the body of its request included; a stream has begun by then.
const ANSWER: Duration = Duration::from_secs(10);
/// A reader that takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(10);
/// So many bytes of an answer may wait in the system for a reader, on each connection (it takes twice as many). Left to itself
/// it would take megabytes, and a reader that stopped would be found out only when they are full.
pub(super) const WAITING: u32 = 128 << 10;
/// First line and headers together.
const HEAD_BYTES: usize = 16 << 10;
/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever: `routes`, or on a spare connection `probes`.
pub async fn serve(listener: TcpListener, routes: Router, probes: Router) {
    let (room, spare) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(SPARE)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (place, routes, kept) = tokio::select! {
            biased;
            Ok(place) = Arc::clone(&room).acquire_owned() => (place, routes.clone(), true),
            Ok(place) = Arc::clone(&spare).acquire_owned() => (place, probes.clone(), false),
            else => return,
        };
        tokio::spawn(async move {
            if let Err(error) = connection(stream, routes, kept).await {
                tracing::trace!(%error, "an HTTP connection ended early");
            }
            drop(place);
        });
    }
}

/// One connection; one that is not `kept` is for one request.
async fn connection(stream: TcpStream, routes: Router, kept: bool) -> Result<(), hyper::Error> {
    // An answer is one write; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STUCK));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if kept { HEADERS } else { HURRY })
        .keep_alive(kept)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(routes))
        .await
}

/// Ends a request that takes too long, most likely because its body does not come.
pub(super) async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    }
}
