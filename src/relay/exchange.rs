//! One attempt: a request out, and the beginning of its answer in, until it is known whether that is worth passing on.
//!
//! How much is held back: of an error all, so that another target may be asked instead; of a short answer that says its
//! length all, so that one that breaks off was never begun; of a stream the first event; of everything else the first byte.
//! At most [`HELD`] bytes of any.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::Extensions;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, capture_connection};
use tokio::time::{Instant, timeout_at};

use super::client::{self, Client};
use super::framing;
use super::held::Held;
use super::tracked::{Progress, Usage};
use crate::outcome::Breakage;
use crate::wire::answer::{self, FirstEvent};

/// So many bytes of an answer are held back at most.
pub(super) const HELD: usize = 64 << 10;

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Parts,
    /// What came of its body.
    pub(super) held: Vec<Bytes>,
    /// What is still to come.
    pub(super) rest: Option<Incoming>,
}

/// How much of an answer must be here before it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    FirstByte,
    FirstEvent,
    End,
}

/// When what must be here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The first byte.
    pub(super) first_byte: Instant,
    /// All that is held back.
    pub(super) end: Instant,
    /// Between two parts.
    pub(super) idle: Duration,
}

/// Sends a request, and waits for the beginning of its answer.
///
/// # Errors
/// How it came to nothing.
pub(super) async fn exchange(client: &Client, request: Request<Full<Bytes>>, times: Times) -> Result<Answer, Breakage> {
    let sent = timeout_at(times.first_byte, send(client, request)).await;
    let (head, body) = sent.map_err(|_| Breakage::Silent)??.into_parts();
    let until = until(&head, &body);
    let mut answer = Answer { head, held: Vec::new(), rest: Some(body).filter(|body| !body.is_end_stream()) };
    answer.begin(until, times).await?;
    answer.judge(until)
}

/// Sends a request until the head of its answer is here.
async fn send(client: &Client, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Breakage> {
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
) -> Result<Response<Incoming>, Breakage> {
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
            Err(Breakage::Protocol)
        }
    }
}

/// Why no answer began; nothing if no byte of the request was written to a connection that was kept.
fn failure(error: &legacy::Error, connection: Option<&Connected>) -> Option<Breakage> {
    if client::is_too_slow(error) {
        return Some(Breakage::ConnectTimeout);
    }
    if client::is_exhaustion(error) {
        return Some(Breakage::Exhausted);
    }
    if error.is_connect() {
        return Some(Breakage::Connect);
    }
    let mut extras = Extensions::new();
    if let Some(connection) = connection {
        connection.get_extras(&mut extras);
    }
    match extras.get::<Usage>().map_or(Progress::Begun, Usage::progress) {
        Progress::Unwritten => None,
        Progress::Unanswered => Some(Breakage::Stale),
        Progress::Begun if client::is_invalid_http(error) => Some(Breakage::Protocol),
        Progress::Begun => Some(Breakage::NoAnswer),
    }
}

fn until(head: &Parts, body: &Incoming) -> Until {
    if head.status.as_u16() >= 400 {
        Until::End
    } else if is_event_stream(&head.headers) {
        Until::FirstEvent
    } else if body.size_hint().exact().is_some_and(|length| length <= HELD as u64) {
        Until::End
    } else {
        Until::FirstByte
    }
}

/// Whether a body is a stream of events that we can read.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    is(headers, b"text/event-stream") && !is_packed(headers)
}

fn is(headers: &HeaderMap, kind: &[u8]) -> bool {
    let value = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let named = value.and_then(|value| value.split(|byte| *byte == b';').next());
    named.is_some_and(|named| named.trim_ascii().eq_ignore_ascii_case(kind))
}

/// Whether a body is compressed: it passes as it is, and says nothing to us.
fn is_packed(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

impl Answer {
    /// Reads on until enough is here.
    async fn begin(&mut self, until: Until, times: Times) -> Result<(), Breakage> {
        let mut held = Held::default();
        let begun = self.read(until, times, &mut held).await;
        self.held.extend(held.into_bytes());
        begun
    }

    async fn read(&mut self, until: Until, times: Times, held: &mut Held) -> Result<(), Breakage> {
        let mut by = times.first_byte;
        let mut length = 0;
        let mut event = FirstEvent::default();
        while let Some(rest) = self.rest.as_mut() {
            let frame = match timeout_at(by, rest.frame()).await {
                Err(_) if length == 0 => return Err(Breakage::Silent),
                Err(_) => return Err(Breakage::Stalled),
                Ok(Some(Err(_))) if length == 0 => return Err(Breakage::NoAnswer),
                Ok(Some(Err(_))) => return Err(Breakage::Cut),
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
                Until::FirstByte => length > 0,
                Until::FirstEvent => event.is_in(held.as_slice()),
                Until::End => false,
            };
            if enough || length >= HELD {
                return Ok(());
            }
            // Comments that keep a stream alive are no answer yet.
            by = if until == Until::FirstEvent { times.first_byte } else { times.end.min(Instant::now() + times.idle) };
        }
        Ok(())
    }

    /// What is held back may show that a good status is none.
    fn judge(self, until: Until) -> Result<Self, Breakage> {
        if self.head.status.as_u16() >= 400 || is_packed(&self.head.headers) {
            return Ok(self);
        }
        let start = self.start();
        if until == Until::FirstEvent && answer::first_event(&start).is_some_and(answer::is_error_event) {
            return Err(Breakage::ErrorEvent);
        }
        let is_json = is(&self.head.headers, b"application/json");
        if is_json && self.rest.is_none() && !start.is_empty() && !answer::is_json(&start) {
            return Err(Breakage::Malformed);
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
