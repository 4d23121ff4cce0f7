//! One attempt: a request out, and the beginning of its answer in, until it is known whether that is worth passing on.
//!
//! How much is held back: of an error all, so that another target may be asked instead; of a short answer that says its
//! length all, so that one that breaks off was never begun; of a stream the first event; of everything else the first byte.
//! At most [`MAX_HELD_BYTES`] bytes of any.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::Extensions;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, capture_connection};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::{self, Client};
use super::framing;
use super::held::HeldBody;
use super::tracked::{Progress, Usage};
use gecholog_protocol::upstream_body::{self, FirstEvent};
use types::outcome::TransportFailure;

/// So many bytes of an answer are held back at most.
pub(super) const MAX_HELD_BYTES: usize = 64 << 10;

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct UpstreamResponse {
    pub(super) head: Parts,
    /// What came of its body.
    pub(super) held: Vec<Bytes>,
    /// What is still to come.
    pub(super) rest: Option<Incoming>,
}

/// How much of an answer must be here before it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HoldUntil {
    FirstByte,
    FirstEvent,
    End,
}

/// When what must be here.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptTimeouts {
    /// Until there is a connection.
    pub(super) connect: Duration,
    /// From the request being sent to the first byte of the answer's body, if that is limited.
    pub(super) first_byte: Option<Duration>,
    /// Between two parts.
    pub(super) idle: Duration,
    /// When the call's time is over: what is cut short by that says nothing about the target.
    pub(super) deadline: Instant,
}

impl AttemptTimeouts {
    /// When the first byte must be here of an answer to what was sent then, and what it means if it is not.
    fn first_byte_by(&self, sent: Option<Instant>) -> (Instant, TransportFailure) {
        self.earlier(sent.zip(self.first_byte).map(|(sent, limit)| sent + limit), TransportFailure::FirstByteTimeout)
    }

    /// When the next part must be here, and what it means if it is not.
    fn next_part_by(&self) -> (Instant, TransportFailure) {
        self.earlier(Some(Instant::now() + self.idle), TransportFailure::Stalled)
    }

    fn earlier(&self, by: Option<Instant>, failure: TransportFailure) -> (Instant, TransportFailure) {
        match by.filter(|by| *by < self.deadline) {
            Some(by) => (by, failure),
            None => (self.deadline, TransportFailure::DeadlineExceeded),
        }
    }
}

/// Sends a request, and waits for the beginning of its answer.
///
/// # Errors
/// How it came to nothing.
pub(super) async fn exchange(
    client: &Client,
    request: Request<Full<Bytes>>,
    times: AttemptTimeouts,
) -> Result<UpstreamResponse, TransportFailure> {
    let (response, sent) = send(client, request, &times).await?;
    let (head, body) = response.into_parts();
    let until = until(&head, &body);
    let mut answer = UpstreamResponse { head, held: Vec::new(), rest: Some(body).filter(|body| !body.is_end_stream()) };
    answer.begin(until, times, sent).await?;
    answer.judge(until)
}

/// Sends a request until the head of its answer is here; with the moment when it was sent.
async fn send(
    client: &Client,
    request: Request<Full<Bytes>>,
    times: &AttemptTimeouts,
) -> Result<(Response<Incoming>, Option<Instant>), TransportFailure> {
    loop {
        let mut request = request.clone();
        let method = request.method().clone();
        let mut connection = capture_connection(&mut request);
        let sending = client::connecting_within(times.connect, client.request(request));
        let (sent, at) = head(sending, &mut connection, times).await?;
        let connection = connection.connection_metadata();
        match sent {
            Ok(response) => {
                if let Some(usage) = response.extensions().get::<Usage>() {
                    usage.answered();
                }
                return accept(&method, response, connection.as_ref()).map(|response| (response, at));
            }
            Err(error) => match failure(&error, connection.as_ref()) {
                // The pool has one connection less: this ends.
                None => tracing::trace!("a kept connection was closed before the request was written"),
                Some(breakage) => return Err(breakage),
            },
        }
    }
}

/// Waits for the head of an answer. The time to its first byte runs from when the last byte of the request was written to an
/// open connection, however long connecting and writing took; connecting has its own limit.
async fn head<T>(
    sending: impl Future<Output = T>,
    connection: &mut CaptureConnection,
    times: &AttemptTimeouts,
) -> Result<(T, Option<Instant>), TransportFailure> {
    let mut sending = pin!(sending);
    let mut connected = None;
    loop {
        let sent = connected.map(|connected| last_written(connection).max(connected));
        let (by, late) = times.first_byte_by(sent);
        if by <= Instant::now() {
            return Err(late);
        }
        tokio::select! {
            biased;
            response = &mut sending => return Ok((response, sent)),
            () = async { drop(connection.wait_for_connection_metadata().await) }, if connected.is_none() => {
                connected = Some(Instant::now());
            }
            () = sleep_until(by) => {}
        }
    }
}

/// When the connection was last written to; without one, never.
fn last_written(connection: &CaptureConnection) -> Instant {
    let mut extras = Extensions::new();
    if let Some(connection) = connection.connection_metadata().as_ref() {
        connection.get_extras(&mut extras);
    }
    extras.get::<Usage>().map_or_else(Instant::now, Usage::last_written)
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

fn until(head: &Parts, body: &Incoming) -> HoldUntil {
    if head.status.as_u16() >= 400 {
        HoldUntil::End
    } else if is_event_stream(&head.headers) {
        HoldUntil::FirstEvent
    } else if body.size_hint().exact().is_some_and(|length| length <= MAX_HELD_BYTES as u64) {
        HoldUntil::End
    } else {
        HoldUntil::FirstByte
    }
}

/// Whether a body is a stream of events that we can read.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    is(headers, b"text/event-stream") && !is_compressed(headers)
}

fn is(headers: &HeaderMap, kind: &[u8]) -> bool {
    let value = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let named = value.and_then(|value| value.split(|byte| *byte == b';').next());
    named.is_some_and(|named| named.trim_ascii().eq_ignore_ascii_case(kind))
}

/// Whether a body is compressed: it passes as it is, and says nothing to us.
fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

impl UpstreamResponse {
    /// Reads on until enough is here.
    async fn begin(
        &mut self,
        until: HoldUntil,
        times: AttemptTimeouts,
        sent: Option<Instant>,
    ) -> Result<(), TransportFailure> {
        let mut held = HeldBody::default();
        let begun = self.read(until, times, sent, &mut held).await;
        self.held.extend(held.into_bytes());
        begun
    }

    async fn read(
        &mut self,
        until: HoldUntil,
        times: AttemptTimeouts,
        sent: Option<Instant>,
        held: &mut HeldBody,
    ) -> Result<(), TransportFailure> {
        let first_byte = times.first_byte_by(sent);
        let (mut by, mut late) = first_byte;
        let mut length = 0;
        let mut event = FirstEvent::default();
        while let Some(rest) = self.rest.as_mut() {
            let frame = match timeout_at(by, rest.frame()).await {
                Err(_) if late == TransportFailure::FirstByteTimeout && length > 0 => {
                    return Err(TransportFailure::Stalled);
                }
                Err(_) => return Err(late),
                Ok(Some(Err(_))) if length == 0 => return Err(TransportFailure::ConnectionClosed),
                Ok(Some(Err(_))) => return Err(TransportFailure::Truncated),
                Ok(None) => {
                    self.rest = None;
                    return Ok(());
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if rest.is_end_stream() {
                self.rest = None;
            }
            if let Ok(data) = frame.into_data() {
                length += data.len();
                held.push(data);
            }
            let enough = match until {
                HoldUntil::FirstByte => length > 0,
                HoldUntil::FirstEvent => event.is_in(held.as_slice()),
                HoldUntil::End => false,
            };
            if enough || length >= MAX_HELD_BYTES {
                return Ok(());
            }
            // Comments that keep a stream alive are no answer yet.
            (by, late) = if until == HoldUntil::FirstEvent { first_byte } else { times.next_part_by() };
        }
        Ok(())
    }

    /// What is held back may show that a good status is none.
    fn judge(self, until: HoldUntil) -> Result<Self, TransportFailure> {
        if self.head.status.as_u16() >= 400 || is_compressed(&self.head.headers) {
            return Ok(self);
        }
        let start = self.start();
        if until == HoldUntil::FirstEvent
            && upstream_body::first_event(&start).is_some_and(upstream_body::is_error_event)
        {
            return Err(TransportFailure::ErrorEvent);
        }
        let is_json = is(&self.head.headers, b"application/json");
        if is_json && self.rest.is_none() && !start.is_empty() && !upstream_body::is_json(&start) {
            return Err(TransportFailure::InvalidJson);
        }
        Ok(self)
    }

    /// What is held back, in one piece; almost always it came in one.
    pub(super) fn start(&self) -> Bytes {
        match self.held.as_slice() {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times(first_byte: Option<u32>, deadline: u32) -> AttemptTimeouts {
        AttemptTimeouts {
            connect: 5 * SECOND,
            first_byte: first_byte.map(|seconds| seconds * SECOND),
            idle: 120 * SECOND,
            deadline: Instant::now() + deadline * SECOND,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s1_5_each_limit_counts_from_what_its_name_says_and_the_calls_deadline_blames_no_target() {
        let began = Instant::now();
        let since = |(by, failure): (Instant, TransportFailure)| (by.duration_since(began).as_secs(), failure);
        let late = TransportFailure::FirstByteTimeout;
        let deadline = TransportFailure::DeadlineExceeded;
        let sent = Some(began + 7 * SECOND);
        assert_eq!(since(times(Some(30), 600).first_byte_by(sent)), (37, late), "from when it was sent");
        assert_eq!(since(times(Some(30), 600).first_byte_by(None)), (600, deadline), "nothing was sent yet");
        assert_eq!(since(times(None, 600).first_byte_by(sent)), (600, deadline), "a whole answer");
        assert_eq!(since(times(Some(30), 37).first_byte_by(sent)), (37, deadline), "at the same moment");
        tokio::time::advance(10 * SECOND).await;
        assert_eq!(since(times(None, 600).next_part_by()), (130, TransportFailure::Stalled));
        assert_eq!(since(times(None, 100).next_part_by()), (110, deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn s1_5_an_attempt_that_never_gets_a_connection_is_not_judged_by_its_first_byte() {
        let mut request = Request::new(Full::new(Bytes::new()));
        let mut connection = capture_connection(&mut request);
        let began = Instant::now();
        let limits = times(Some(1), 20);
        let ended = head(pending::<()>(), &mut connection, &limits).await;
        assert_eq!(ended, Err(TransportFailure::DeadlineExceeded));
        assert_eq!(began.elapsed(), 20 * SECOND);
        assert_eq!(head(ready(7), &mut connection, &times(Some(1), 20)).await, Ok((7, None)));
    }
}
