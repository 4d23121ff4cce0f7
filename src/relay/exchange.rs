//! One attempt: a request out, and the beginning of its answer in, until it is known whether that is worth passing on.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, capture_connection};
use tokio::time::{Instant, timeout_at};

use super::client::{self, Client};
use super::framing;
use super::hold::{AskedFor, UpstreamResponse};
use super::tracked::{Progress, Usage};
use llm::Protocol;
use types::outcome::{NamedBy, TransportFailure};

/// When what must be here.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptTimeouts {
    /// The first byte.
    pub(super) first_byte: Instant,
    /// All that is held back.
    pub(super) end: Instant,
    /// Between two parts.
    pub(super) idle: Duration,
    /// For how long a stream without content is held back, counted from its head.
    pub(super) hold: Duration,
}

/// Sends a request, and waits for the beginning of its answer. `key`: whose key it carries.
///
/// # Errors
/// How it came to nothing.
pub(super) async fn exchange(
    client: &Client,
    request: Request<Full<Bytes>>,
    key: Option<NamedBy>,
    times: AttemptTimeouts,
) -> Result<UpstreamResponse, TransportFailure> {
    let protocol = Protocol::of_path(request.uri().path());
    let asked = AskedFor { protocol, creates: request.method() == Method::POST, key };
    let sent = timeout_at(times.first_byte, send(client, request)).await;
    let (head, body) = sent.map_err(|_| TransportFailure::FirstByteTimeout)??.into_parts();
    UpstreamResponse::hold(head, body, asked, times).await
}

/// Sends a request until the head of its answer is here.
async fn send(client: &Client, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, TransportFailure> {
    loop {
        let mut request = request.clone();
        let method = request.method().clone();
        let connection = capture_connection(&mut request);
        let sent = client.request(request).await;
        let connection = connection.connection_metadata();
        match sent {
            Ok(response) => {
                if let Some(usage) = response.extensions().get::<Usage>() {
                    usage.answered();
                }
                return accept(&method, response, connection.as_ref());
            }
            Err(error) => match failure(&error, connection.as_ref()) {
                // The pool has one connection less: this ends.
                None => tracing::trace!("a kept connection was closed before the request was written"),
                Some(breakage) => return Err(breakage),
            },
        }
    }
}

/// Refuses an answer whose end is ambiguous. A connection on which something may still come is not used again.
fn accept(
    method: &Method,
    response: Response<Incoming>,
    connection: Option<&Connected>,
) -> Result<Response<Incoming>, TransportFailure> {
    let (head, body) = response.into_parts();
    let checked = framing::check(&head);
    if let Some(connection) = connection
        && (checked.is_err() || framing::is_bodiless(method, head.status))
    {
        connection.poison();
    }
    match checked {
        Ok(()) => Ok(Response::from_parts(head, body)),
        Err(fault) => {
            tracing::debug!(status = head.status.as_u16(), "an answer is refused: it {fault}");
            Err(TransportFailure::Protocol)
        }
    }
}

/// Why no answer began; nothing if no byte of the request was written to a connection that was kept.
fn failure(error: &legacy::Error, connection: Option<&Connected>) -> Option<TransportFailure> {
    if client::is_too_slow(error) {
        return Some(TransportFailure::ConnectTimeout);
    }
    if client::is_exhaustion(error) {
        return Some(TransportFailure::Exhausted);
    }
    if error.is_connect() {
        return Some(TransportFailure::Connect);
    }
    let mut extras = Extensions::new();
    if let Some(connection) = connection {
        connection.get_extras(&mut extras);
    }
    match extras.get::<Usage>().map_or(Progress::Begun, Usage::progress) {
        Progress::Unwritten => None,
        Progress::Unanswered => Some(TransportFailure::Stale),
        Progress::Begun if client::is_invalid_http(error) => Some(TransportFailure::Protocol),
        Progress::Begun => Some(TransportFailure::ConnectionClosed),
    }
}
