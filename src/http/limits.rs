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

/// Connections at a time; who comes beyond waits until one ends.
pub(super) const CONNECTIONS: usize = 64;
/// Of these, streams of events.
pub(super) const STREAMS: usize = 16;
/// For the first line and the headers, and between two requests of one connection.
const HEADERS: Duration = Duration::from_secs(5);
/// For an answer, the body of its request included; a stream has begun by then.
const ANSWER: Duration = Duration::from_secs(10);
/// A reader that takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(10);
/// First line and headers together.
const HEAD_BYTES: usize = 16 << 10;
/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever.
pub async fn serve(listener: TcpListener, routes: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, routes).await {
                        tracing::trace!(%error, "an HTTP connection ended early");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, routes: Router) -> Result<(), hyper::Error> {
    // An answer is one write; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STUCK));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
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
