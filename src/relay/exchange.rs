//! One attempt: a request out, and the beginning of its answer in, until it is known whether that is worth passing on.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::CONNECTION;
use hyper::http::{Extensions, request};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, capture_connection};
use tokio::time::{Instant, sleep_until};

use super::client::{self, Client};
use super::content_coding::Decoder;
use super::framing;
use super::hold::{ExpectedAnswer, FailedAttempt, UpstreamAnswer};
use super::hold_until::is_error;
use super::tracked_connection::{ConnectionActivity, RequestProgress};
use super::upstream_body::UpstreamBody;
use super::upstream_request::UpstreamRequest;
use crate::fault::with_causes;
use types::outcome::TransportFailure;

/// A 408 with which a target ends a connection that it took to be idle comes this soon after a request that it crossed.
const CROSSED_WITHIN: Duration = Duration::from_secs(1);

/// A connection that is older is used no more, so that a name whose address has changed leads to the new one although calls never
/// cease.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(300);

/// When what must be here.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptTimeouts {
    /// Until there is a connection.
    pub(super) connect: Duration,
    /// From the request being sent to the first byte of the answer's body, if that is limited.
    pub(super) first_byte: Option<Duration>,
    /// Between two parts.
    pub(super) idle: Duration,
    /// For how long a stream without content is held back, counted from its head.
    pub(super) hold: Duration,
    /// When the call's time is over: what is cut short by that says nothing about the target.
    pub(super) deadline: Instant,
}

impl AttemptTimeouts {
    /// When the first byte must be here of an answer to what was sent then, and what it means if it is not.
    pub(super) fn first_byte_by(&self, sent: Option<Instant>) -> (Instant, TransportFailure) {
        self.earlier(self.first_event_by(sent), TransportFailure::FirstByteTimeout)
    }

    /// When the first event of a stream must be here that was passed on with nothing but comments. The call's time is over once its
    /// answer has begun.
    pub(super) fn first_event_by(&self, sent: Option<Instant>) -> Option<Instant> {
        sent.zip(self.first_byte).map(|(sent, limit)| sent + limit)
    }

    /// When the next part must be here, and what it means if it is not.
    pub(super) fn next_part_by(&self) -> (Instant, TransportFailure) {
        self.earlier(Some(Instant::now() + self.idle), TransportFailure::Stalled)
    }

    fn earlier(&self, by: Option<Instant>, failure: TransportFailure) -> (Instant, TransportFailure) {
        match by.filter(|by| *by < self.deadline) {
            Some(by) => (by, failure),
            None => (self.deadline, TransportFailure::DeadlineExceeded),
        }
    }
}

/// Sends a request, and waits for the beginning of its answer in the protocol of the client.
///
/// # Errors
/// How it came to nothing.
pub(super) async fn exchange(
    client: &Client,
    request: &UpstreamRequest,
    expected: ExpectedAnswer,
    times: AttemptTimeouts,
) -> Result<UpstreamAnswer, FailedAttempt> {
    let (response, sent) = send(client, &request.head, &request.body, &times).await?;
    let (mut head, body) = response.into_parts();
    // Of a body that does not come the headers may still tell, as for `HEAD`. A file is the client's, and nobody reads it here.
    let is_unread = body.is_end_stream() || (expected.is_download && !is_error(head.status));
    let decoder = if is_unread { None } else { Decoder::of_answer(&mut head) };
    let body = match &request.translation {
        Some(translation) => translation.body(&mut head, body),
        None => UpstreamBody::unchanged(body),
    };
    UpstreamAnswer::hold(head, body.decoded_by(decoder), expected, times, sent).await
}

/// Sends a request until the head of its answer is here; with the moment when it was sent.
async fn send(
    client: &Client,
    head: &request::Parts,
    body: &Bytes,
    times: &AttemptTimeouts,
) -> Result<(Response<Incoming>, Option<Instant>), FailedAttempt> {
    loop {
        let mut request = Request::from_parts(head.clone(), Full::new(body.clone()));
        let mut connection = capture_connection(&mut request);
        let sending = client::connecting_within(times.connect, client.request(request));
        let (result, opened) = await_head(sending, &mut connection, times).await?;
        let connection = connection.connection_metadata();
        match result {
            Ok(response) => {
                let mut sent = opened;
                if let Some(usage) = response.extensions().get::<ConnectionActivity>() {
                    usage.answered();
                    sent = opened.map(|opened| usage.last_written().max(opened));
                    let crossed = sent.is_none_or(|sent| sent.elapsed() < CROSSED_WITHIN);
                    if usage.is_reused() && crossed && ends_idle_connection(&response) {
                        return Err(TransportFailure::Stale.into());
                    }
                    if usage.age() > MAX_CONNECTION_AGE
                        && let Some(connection) = connection.as_ref()
                    {
                        connection.poison();
                    }
                }
                return Ok((accept(&head.method, response, connection.as_ref())?, sent));
            }
            Err(error) => match failure(&error, connection.as_ref()) {
                // The pool has one connection less: this ends.
                None => tracing::trace!("a kept connection was closed before the request was written"),
                Some(failure) => {
                    let not_connected = error.is_connect().then(|| with_causes(&error).into());
                    return Err(FailedAttempt { not_connected, ..failure.into() });
                }
            },
        }
    }
}

/// Waits for the head of an answer; with the moment when there was a connection. The time to its first byte runs from when the last
/// byte of the request was written to an open connection, however long connecting and writing took; connecting has its own limit.
async fn await_head<T>(
    sending: impl Future<Output = T>,
    connection: &mut CaptureConnection,
    times: &AttemptTimeouts,
) -> Result<(T, Option<Instant>), TransportFailure> {
    let mut sending = pin!(sending);
    let (mut opened, mut sent) = (None, None);
    loop {
        let (by, late) = times.first_byte_by(sent);
        if by <= Instant::now() {
            return Err(late);
        }
        tokio::select! {
            biased;
            response = &mut sending => return Ok((response, opened)),
            () = async { drop(connection.wait_for_connection_metadata().await) }, if opened.is_none() => {
                opened = Some(Instant::now());
                sent = opened;
            }
            // More may have been written meanwhile, also to another connection: the client repeats what it could not write.
            () = sleep_until(by) => sent = opened.map(|opened| last_written(connection).max(opened)),
        }
    }
}

/// When the request was last written to its connection; as long as nothing was, now.
fn last_written(connection: &CaptureConnection) -> Instant {
    let activity = activity_of(connection.connection_metadata().as_ref());
    let begun = activity.filter(|activity| activity.progress() != RequestProgress::Unwritten);
    begun.map_or_else(Instant::now, |activity| activity.last_written())
}

fn activity_of(connection: Option<&Connected>) -> Option<ConnectionActivity> {
    let mut extras = Extensions::new();
    connection?.get_extras(&mut extras);
    extras.remove()
}

/// Whether an answer may be to no request: a server says so before it closes a connection that was idle for too long, and the
/// request may be repeated over a new one (RFC 9110, 15.5.9).
fn ends_idle_connection<B>(response: &Response<B>) -> bool {
    let closes =
        response.headers().get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    response.status() == StatusCode::REQUEST_TIMEOUT && closes
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
            tracing::debug!(status = head.status.as_u16(), "a target's response is not usable HTTP: it {fault}");
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
    match activity_of(connection).map_or(RequestProgress::Begun, |activity| activity.progress()) {
        RequestProgress::Unwritten => None,
        RequestProgress::Unanswered => Some(TransportFailure::Stale),
        RequestProgress::Begun if client::is_invalid_http(error) => Some(TransportFailure::Protocol),
        RequestProgress::Begun => Some(TransportFailure::ConnectionClosed),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::io;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use hyper::Uri;
    use hyper::rt::ReadBufCursor;
    use hyper_util::client::legacy::connect::Connection;
    use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::sleep;
    use tower_service::Service;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times(first_byte: Option<u32>, deadline: u32) -> AttemptTimeouts {
        AttemptTimeouts {
            connect: 5 * SECOND,
            first_byte: first_byte.map(|seconds| seconds * SECOND),
            idle: 120 * SECOND,
            hold: 10 * SECOND,
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
        let ended = await_head(pending::<()>(), &mut connection, &limits).await;
        assert_eq!(ended, Err(TransportFailure::DeadlineExceeded));
        assert_eq!(began.elapsed(), 20 * SECOND);
        assert_eq!(await_head(ready(7), &mut connection, &times(Some(1), 20)).await, Ok((7, None)));
    }

    /// A connection in memory that knows what it has carried.
    struct Pipe {
        stream: TokioIo<DuplexStream>,
        activity: ConnectionActivity,
    }

    impl Connection for Pipe {
        fn connected(&self) -> Connected {
            Connected::new().extra(self.activity.clone())
        }
    }

    impl hyper::rt::Read for Pipe {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        }
    }

    impl hyper::rt::Write for Pipe {
        fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let written = Pin::new(&mut self.stream).poll_write(context, bytes);
            if matches!(written, Poll::Ready(Ok(1..))) {
                self.activity.wrote();
            }
            written
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(context)
        }
    }

    /// The connections that are made, the last one first, and how long each takes.
    #[derive(Clone)]
    struct Pipes(Arc<Mutex<Vec<(Duration, DuplexStream)>>>);

    impl Service<Uri> for Pipes {
        type Response = Pipe;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Pipe>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            let (wait, stream) = self.0.lock().unwrap().pop().unwrap();
            Box::pin(async move {
                sleep(wait).await;
                Ok(Pipe { stream: TokioIo::new(stream), activity: ConnectionActivity::default() })
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s1_5_a_request_that_goes_out_over_a_second_connection_is_timed_on_that_one() {
        let (mut kept, first) = duplex(1024);
        let (mut next, second) = duplex(1024);
        let pipes = Pipes(Arc::new(Mutex::new(vec![(4 * SECOND, second), (Duration::ZERO, first)])));
        let client = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(pipes);
        let request = |body: Vec<u8>| Request::post("http://h/").body(Full::new(Bytes::from(body))).unwrap();
        let serving = async {
            assert!(kept.read(&mut [0; 1024]).await.unwrap() > 0);
            kept.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        };
        let (response, ()) = tokio::join!(client.request(request(Vec::new())), serving);
        response.unwrap().extensions().get::<ConnectionActivity>().unwrap().answered();
        // Until the connection is back in the pool.
        sleep(SECOND).await;
        drop(kept);
        let mut uploaded = request(vec![b'x'; 8 << 10]);
        let mut connection = capture_connection(&mut uploaded);
        let began = Instant::now();
        // It takes a kilobyte a second, and then answers nothing.
        let server = tokio::spawn(async move {
            while next.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
                sleep(SECOND).await;
            }
        });
        let ended = await_head(client.request(uploaded), &mut connection, &times(Some(3), 600)).await;
        assert_eq!(ended.map(|_| ()), Err(TransportFailure::FirstByteTimeout));
        let activity = activity_of(connection.connection_metadata().as_ref()).unwrap();
        assert!(activity.last_written() >= began + 11 * SECOND, "{:?}", activity.last_written() - began);
        assert_eq!(activity.last_written().elapsed().as_secs(), 3);
        server.abort();
    }

    /// Calls never cease, and yet each connection ends: otherwise a name whose address has changed would lead to the old one for ever.
    #[tokio::test]
    async fn a_connection_is_replaced_when_it_is_old() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, connections) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.send(()).unwrap();
                tokio::spawn(async move {
                    while stream.read(&mut [0; 4_096]).await.is_ok_and(|read| read > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        let connect_timeout = client::ConnectTimeout::new(5 * SECOND);
        let clients = client::build(None, super::super::proxy::Proxy::default(), connect_timeout).unwrap();
        for (calls, expected) in [(1, 1), (7, 1), (1, 1), (1, 2)] {
            for _ in 0..calls {
                let (head, ()) = Request::get(format!("http://{address}/")).body(()).unwrap().into_parts();
                send(&clients.pooled, &head, &Bytes::new(), &times(None, 600)).await.unwrap();
                tokio::time::pause();
                tokio::time::advance(40 * SECOND).await;
                tokio::time::resume();
            }
            assert_eq!(connections.len(), expected);
        }
    }
}
