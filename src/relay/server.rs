//! The server: connections in, within their bounds, and an end that lets calls under way finish.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use super::headers::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::heads::{HeadWatch, Watched};
use super::{Relay, call, count};

/// The head of a request must come within this time.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Accepting fails when files run out, which no event announces the end of.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves until `stop` says so, then lets the calls under way finish within the grace, and cuts the rest.
pub async fn serve(relay: Arc<Relay>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(relay.room.connections));
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            accepted = accept(&listener, &connections) => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let Some((stream, place)) = accepted else { continue };
        tasks.spawn(converse(Arc::clone(&relay), stream, graceful.watcher(), place));
    }
    drop(listener);
    let left = graceful.count();
    if tokio::time::timeout(relay.room.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = left, "the relay's time to end is over: calls under way are cut");
    }
}

/// The next connection, once there is room for it; others wait in the system's own, bounded queue.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "the relay could not accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn converse(relay: Arc<Relay>, stream: TcpStream, watcher: Watcher, place: OwnedSemaphorePermit) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    // What a client that does not read does not take would else be held for it for ever.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(relay.room.patience));
    let watch = HeadWatch::default();
    let stream = Watched::new(Box::pin(stream), watch.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        let (relay, watch) = (Arc::clone(&relay), watch.clone());
        request.extensions_mut().insert(watch.lines());
        async move {
            let counted = count::Call::begin(relay.handle.clone());
            let response = call::serve(&relay, request).await;
            watch.restart();
            Ok::<_, std::convert::Infallible>(counted.end(response))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_header_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a client's connection ended");
    }
    drop(place);
}
