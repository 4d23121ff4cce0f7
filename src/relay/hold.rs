//! How much of an answer is held back before it is passed on, and what that shows: as long as nothing has gone to the client,
//! another target can still answer.
//!
//! Of an error all is held back that comes within [`ERROR_BODY_WAIT`], since its status and headers say enough to ask another
//! target; of a short answer that says its length, and of JSON or of what names no type, all; of a stream (events, lines of JSON,
//! frames of AWS, a growing array) its preamble, up to the first event with content; of everything else the first byte. At most
//! [`MAX_BUFFERED_BYTES`] of any, and of streams and of JSON without a length for no longer than the setting `hold`: then what came
//! is passed on, which is no failure.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::http::response::Parts;
use llm::stream::{Progress, StreamEnd, StreamState};
use llm::usage::{self, InvalidUsage, TokenCounts, Usage};
use llm::usage_tail::Tail;
use llm::{ErrorClass, Protocol, answer};
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout_at};

use super::buffered_parts::BufferedParts;
use super::exchange::AttemptTimeouts;
pub(super) use super::hold_until::answer_headers;
use super::hold_until::{HoldUntil, is_error, stream_of};
use super::upstream_body::UpstreamBody;
use super::upstream_request::AnswerTranslation;
use types::outcome::{SetBy, TransportFailure};

/// The most that is held back of an answer, in bytes.
pub(super) const MAX_BUFFERED_BYTES: usize = 64 << 10;

/// For the rest of an error the wait after its head is this, or `hold` where that is less: servers write the head and the body of an
/// error at once, and another target may be able to answer.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(3);

/// What a request asks for, as far as it matters for judging its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpectedAnswer {
    /// The protocol in which its answer is judged.
    pub(super) protocol: Protocol,
    /// JSON that answers it is an array that grows.
    pub(super) grows: bool,
    /// It asks for something to be made; see [`llm::request_view::is_generation`]. What is only fetched, kept or cancelled may say of
    /// itself that it failed.
    pub(super) is_generation: bool,
    /// It asks for the content of a file, which may be anything, whatever its type says.
    pub(super) is_download: bool,
    /// Whose key it carries; behind the gateway that is unknown.
    pub(super) key: Option<SetBy>,
}

/// An attempt that came to nothing.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub(super) failure: TransportFailure,
    /// The headers of an answer with a good status that carries an error, and what that says; nothing otherwise.
    pub(super) error: Option<Box<(HeaderMap, Bytes)>>,
    /// Why the answer could not be decoded or translated; reads after "it", which is the answer.
    pub(super) reason: Option<&'static str>,
    /// Why there is no connection, with all causes; for the log.
    pub(super) not_connected: Option<Box<str>>,
}

impl From<TransportFailure> for FailedAttempt {
    fn from(failure: TransportFailure) -> Self {
        Self { failure, error: None, reason: None, not_connected: None }
    }
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct UpstreamAnswer {
    pub(super) head: Parts,
    /// The protocol that was expected of it.
    protocol: Protocol,
    /// What came of its body.
    pub(super) held: Vec<Bytes>,
    /// What is still to come.
    pub(super) rest: Option<UpstreamBody>,
    /// Its events so far, if it is a stream of them that can be read.
    pub(super) stream: Option<Box<StreamState>>,
    /// What its vendor has counted, where it was translated and all of it is here.
    counts: TokenCounts,
    /// What is wrong with it although its status is good, where that is the caller's fault.
    pub(super) error_class: Option<ErrorClass>,
    /// What its provider's answers need on their way to the client.
    pub(super) translation: Option<Box<AnswerTranslation>>,
    /// The usage at the end of its stream is not for the client, who did not ask for it.
    pub(super) hides_usage: bool,
    /// How it broke off, with a preamble and no content.
    pub(super) broken: Option<TransportFailure>,
    /// It is an error whose body did not come to its end.
    is_partial_error: bool,
    /// Why it could not be decoded or translated.
    pub(super) reason: Option<&'static str>,
    /// When its first event must be here, where it is a stream with nothing but comments so far.
    pub(super) first_event_by: Option<Instant>,
    /// When the first byte of its body came; of an empty one its head.
    pub(super) first_byte: Instant,
}

impl UpstreamAnswer {
    /// Holds an answer back until it is worth passing on. `sent`: when the request was.
    ///
    /// # Errors
    /// How the attempt failed.
    pub(super) async fn hold(
        head: Parts,
        body: UpstreamBody,
        expected: ExpectedAnswer,
        times: AttemptTimeouts,
        sent: Option<Instant>,
    ) -> Result<Self, FailedAttempt> {
        let (mut answer, until) = Self::begin(head, body, expected)?;
        let mut held = BufferedParts::default();
        let mut read = answer.read(until, times, sent, &mut held).await;
        answer.held.extend(held.into_bytes());
        if read.is_err() && is_error(answer.head.status) {
            // Its status and its headers are here, and say more than how its body ended.
            answer.end();
            answer.is_partial_error = true;
            read = Ok(());
        }
        if until == HoldUntil::Content && answer.stream.as_ref().is_some_and(|stream| !stream.has_begun()) {
            answer.first_event_by = times.first_event_by(sent);
        }
        // The gateway collects a stream, and makes a text of it and of all that is no JSON.
        if expected.key.is_none() && answer.held.first().is_some_and(|body| body.starts_with(b"\"")) {
            answer.stream = None;
            let reason = answer.reason;
            return read.map(|()| answer).map_err(|failure| FailedAttempt { reason, ..failure.into() });
        }
        match read.and_then(|()| answer.check_good_status(expected)) {
            Ok(()) => Ok(answer),
            Err(failure) if answer.is_broken_preamble(failure) => {
                answer.end();
                answer.broken = Some(failure);
                Ok(answer)
            }
            Err(failure) => {
                Err(FailedAttempt { reason: answer.reason, error: answer.into_error(failure), ..failure.into() })
            }
        }
    }

    /// An answer whose head is here, and how much of it to hold back.
    ///
    /// # Errors
    /// Its head shows that it answers nothing.
    fn begin(head: Parts, body: UpstreamBody, expected: ExpectedAnswer) -> Result<(Self, HoldUntil), FailedAttempt> {
        let headers = answer_headers(&head.headers);
        if expected.is_generation
            && head.status.is_success()
            && answer::is_page(expected.protocol, head.status.as_u16(), &headers)
        {
            return Err(TransportFailure::ErrorAnswer(ErrorClass::BrokenAnswer).into());
        }
        let stream = stream_of(head.status, &headers, expected);
        let until = HoldUntil::for_answer(head.status, &headers, &body, expected, stream.is_some());
        let body = if stream.is_none() { body.with_tail(Tail::new(&headers)) } else { body };
        let answer = Self {
            head,
            protocol: expected.protocol,
            held: Vec::new(),
            rest: Some(body).filter(|body| !body.is_end_stream()),
            stream: stream.map(Box::new),
            counts: TokenCounts::default(),
            error_class: None,
            translation: None,
            hides_usage: false,
            broken: None,
            is_partial_error: false,
            reason: None,
            first_event_by: None,
            first_byte: Instant::now(),
        };
        Ok((answer, until))
    }

    /// The error that a failed answer carries.
    fn into_error(self, failure: TransportFailure) -> Option<Box<(HeaderMap, Bytes)>> {
        use TransportFailure::{ErrorAnswer, ErrorEvent};
        let said = match (&self.stream, failure) {
            (Some(stream), ErrorEvent(_)) => Bytes::copy_from_slice(stream.error_body()),
            (None, ErrorAnswer(_)) => self.start(),
            _ => return None,
        };
        Some(Box::new((self.head.headers, said)))
    }

    /// Whether a failure cut a stream off whose client can learn of it in the stream itself.
    fn is_broken_preamble(&self, failure: TransportFailure) -> bool {
        use TransportFailure::{BrokenAnswer, DeadlineExceeded, Stalled, Truncated};
        matches!(failure, Truncated | Stalled | DeadlineExceeded | BrokenAnswer)
            && self.stream.as_ref().is_some_and(|stream| stream.has_begun())
    }

    /// Reads on until enough is here.
    async fn read(
        &mut self,
        mut until: HoldUntil,
        times: AttemptTimeouts,
        sent: Option<Instant>,
        held: &mut BufferedParts,
    ) -> Result<(), TransportFailure> {
        use TransportFailure::{FirstByteTimeout, Stalled};
        let mut hold_end = Instant::now() + times.hold;
        let error_end = is_error(self.head.status).then(|| Instant::now() + times.hold.min(ERROR_BODY_WAIT));
        let (mut length, mut has_come) = (0, false);
        while let Some(rest) = self.rest.as_mut() {
            // Comments that keep a stream alive are no answer yet.
            let has_begun = self.stream.as_ref().map_or(has_come, |stream| stream.has_begun());
            let (by, late) = if has_begun { times.next_part_by() } else { times.first_byte_by(sent) };
            let may_pass = until.ends_in_time() && length > 0;
            let by = if may_pass { by.min(hold_end) } else { by };
            let by = error_end.map_or(by, |end| by.min(end));
            let frame = match timeout_at(by, rest.frame()).await {
                Err(_) if may_pass && Instant::now() >= hold_end => return Ok(()),
                Err(_) if late == FirstByteTimeout && length > 0 => return Err(Stalled),
                Err(_) => return Err(late),
                Ok(Some(Err(error))) => {
                    let (failure, reason) = error.failure(length > 0);
                    self.reason = reason;
                    return Err(failure);
                }
                Ok(None) => {
                    self.end();
                    return Ok(());
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let is_end = rest.is_end_stream();
            let mut progress = Progress::Preamble;
            if let Ok(data) = frame.into_data() {
                if length == 0 {
                    self.first_byte = Instant::now();
                }
                // What is translated may give nothing to pass on yet.
                has_come = true;
                length += data.len();
                let known = self.known_by(until, &data);
                if known != until {
                    // An error behind white space has its time to come to its end, however late it begins.
                    hold_end = hold_end.max(Instant::now() + times.hold.min(ERROR_BODY_WAIT));
                }
                until = known;
                progress = self.stream.as_mut().map_or(progress, |stream| stream.push(&data));
                held.push(data);
            }
            if is_end {
                self.end();
            }
            if until.is_reached(length, progress) || length >= MAX_BUFFERED_BYTES {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Nothing more of it is read.
    fn end(&mut self) {
        let Some(rest) = self.rest.take() else { return };
        self.counts = rest.counts();
        if let Some(stream) = &mut self.stream {
            stream.set_counts(self.counts);
        }
    }

    /// What it used, once all of it is here; `Ok(None)` before. `request_bytes` is the length of the request's body.
    ///
    /// # Errors
    /// Its vendor says what cannot be believed.
    pub(super) fn usage(&self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        if self.rest.is_some() {
            return Ok(None);
        }
        if let Some(stream) = &self.stream {
            return stream.usage_or_estimate(request_bytes);
        }
        if let Some(used) = self.counts.usage()? {
            return Ok(Some(used));
        }
        let body = self.start();
        let headers = answer_headers(&self.head.headers);
        if headers.is_framed() || headers.is_json_lines() {
            let mut tail = Tail::new(&headers);
            tail.push(&body);
            return tail.usage(request_bytes);
        }
        let may_be_json = headers.is_json() || answer::may_be_untyped_json(self.protocol, &headers);
        let may_be_json = may_be_json && !headers.is_compressed();
        if may_be_json && answer::begins_as_event_stream(&body) {
            let mut stream = StreamState::new(self.protocol);
            stream.push(&body);
            stream.finish();
            return stream.usage_or_estimate(request_bytes);
        }
        let counted = if may_be_json { usage::of_answer(&body)? } else { None };
        counted.map_or_else(|| headers.usage(), |usage| Ok(Some(usage)))
    }

    /// What is held back may show that a good status is none.
    fn check_good_status(&mut self, expected: ExpectedAnswer) -> Result<(), TransportFailure> {
        if !self.head.status.is_success() {
            // A redirect is no answer to a chat, and may be to what the client asked for.
            if self.head.status.is_redirection() && expected.is_generation && !expected.protocol.may_redirect() {
                self.error_class = Some(ErrorClass::InvalidRequest);
            }
            return Ok(());
        }
        let is_stream = self.stream.is_some();
        let class = match &mut self.stream {
            Some(_) if !expected.is_generation => None,
            Some(stream) => stream_error(stream, self.rest.is_none()),
            None if self.rest.is_some() => None,
            None => self.whole_error(expected),
        };
        let Some(class) = class else { return Ok(()) };
        let of_account = matches!(class, ErrorClass::KeyRefused | ErrorClass::QuotaExhausted);
        if class.is_callers_fault() || (of_account && expected.key == Some(SetBy::Client)) {
            self.error_class = Some(class);
            return Ok(());
        }
        let is_json = answer_headers(&self.head.headers).is_json();
        Err(match class {
            ErrorClass::EmptyAnswer => TransportFailure::EmptyAnswer,
            ErrorClass::BrokenAnswer if is_stream => TransportFailure::Truncated,
            ErrorClass::BrokenAnswer if is_json => TransportFailure::InvalidJson,
            class if is_stream => TransportFailure::ErrorEvent(class),
            class => TransportFailure::ErrorAnswer(class),
        })
    }

    /// What is wrong with an answer that is here to its end and is no stream.
    fn whole_error(&self, expected: ExpectedAnswer) -> Option<ErrorClass> {
        let (headers, body) = (answer_headers(&self.head.headers), self.start());
        if expected.is_generation {
            return answer::answer_error(expected.protocol, self.head.status.as_u16(), &headers, &body);
        }
        let is_readable = headers.is_json() && !headers.is_compressed() && !body.is_empty() && !expected.is_download;
        let is_broken = is_readable && !answer::is_whole_json(&body);
        is_broken.then_some(ErrorClass::BrokenAnswer)
    }

    /// How long an answer is held that may be JSON, by how it begins: JSON, server-sent events, or a text. White space is no beginning.
    fn known_by(&mut self, until: HoldUntil, data: &[u8]) -> HoldUntil {
        match (until, data.trim_ascii_start()) {
            (HoldUntil::ItsBeginning, text) if answer::begins_as_event_stream(text) => {
                self.stream = Some(Box::new(StreamState::new(self.protocol)));
                HoldUntil::Content
            }
            (HoldUntil::ItsBeginning, [b'{' | b'[', ..]) => HoldUntil::EndOrTime,
            (HoldUntil::ItsBeginning, [_, ..]) if answer_headers(&self.head.headers).is_json() => HoldUntil::EndOrTime,
            (HoldUntil::ItsBeginning, [_, ..]) => HoldUntil::FirstByte,
            (until, _) => until,
        }
    }

    /// Whether what came of it is a part of an error, which cannot be read as one: JSON says itself where it ends.
    pub(super) fn is_cut_error(&self) -> bool {
        self.is_partial_error && serde_json::from_slice::<IgnoredAny>(&self.start()).is_err()
    }

    /// What is held back, in one piece; almost always it came in one.
    pub(super) fn start(&self) -> Bytes {
        match self.held.as_slice() {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

/// What is wrong with a stream as far as it came.
fn stream_error(stream: &mut StreamState, is_at_end: bool) -> Option<ErrorClass> {
    match stream.progress() {
        Progress::Failed(class) => Some(class),
        Progress::Preamble | Progress::Content | Progress::Ended if is_at_end => match stream.finish() {
            StreamEnd::Complete => None,
            StreamEnd::Truncated => Some(ErrorClass::BrokenAnswer),
            StreamEnd::Failed(class) => Some(class),
        },
        Progress::Preamble | Progress::Content | Progress::Ended => None,
    }
}
