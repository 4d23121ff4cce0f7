//! A streamed answer on its way: whether its content has begun, whether an error came, whether it ended, what it used.
//!
//! Bytes are pushed as they come, cut anywhere: server-sent events, or one of the forms of `stream_form`. Events are recognised by
//! their form, not only by the path of the request, since many servers speak a protocol of others. What an event *says* never
//! counts: a text that mentions errors is a text.
//!
//! Before its content a stream has a preamble that a good answer and a failed one share: role chunks, Azure's
//! `prompt_filter_results`, `message_start`, `response.created`, pings, comments. As long as a caller holds that back, another
//! target can still answer.

use bytes::Bytes;
use serde_json::json;

use crate::broken_event::broken_event;
use crate::error_body::MAX_ERROR_BODY_BYTES;
use crate::error_class::classify_error_body;
use crate::headers::AnswerHeaders;
use crate::json::{RawJson, SyntaxError};
use crate::prices::ServiceTier;
use crate::protocol::Protocol;
use crate::shown_ids::ShownIds;
use crate::silent_parts::is_silent;
use crate::sse::{Event, Parser, Unread};
use crate::stream_events as events;
use crate::stream_form::Form;
pub use crate::stream_progress::{Progress, StreamEnd};
use crate::usage::{InvalidUsage, TokenCounts, Usage};
use types::outcome::ErrorClass;

/// One streamed answer. Its memory is bounded by [`crate::sse::MAX_EVENT_BYTES`].
#[derive(Debug)]
pub struct StreamState {
    form: Form,
    /// The protocol of the request.
    asked: Protocol,
    /// It ended in the middle of an event.
    ended_within_event: bool,
    pub(crate) seen: StreamSummary,
}

/// What came so far.
#[derive(Debug, Default)]
pub(crate) struct StreamSummary {
    protocol: Protocol,
    /// An event showed the protocol.
    shown: bool,
    /// The number of events, comments left aside.
    events: u64,
    /// Content came.
    pub(crate) content: bool,
    /// The length of the content, in bytes of its JSON.
    pub(crate) content_bytes: u64,
    /// A reason for the end came (`finish_reason` and its kin).
    pub(crate) finished: bool,
    /// A reason for the end came that explains why there may be no content, or a part that is more than an empty text.
    explained: bool,
    /// A part of an answer began that may stay empty.
    has_parts: bool,
    /// The protocol's last event came (`[DONE]` and its kin).
    done: bool,
    /// The last event was too large to be read.
    unread: bool,
    /// And its end has a usage.
    unread_is_counted: bool,
    /// Some event was, so that the length of the content is unknown.
    has_unread: bool,
    /// The last line of a known form came (Ollama's, Cohere's).
    pub(crate) last_line: bool,
    error: Option<ErrorClass>,
    /// What the error says, at most [`MAX_ERROR_BODY_BYTES`].
    error_body: Vec<u8>,
    /// Content came before the error.
    error_came_late: bool,
    pub(crate) counts: TokenCounts,
    pub(crate) ids: ShownIds,
}

impl StreamState {
    /// A stream of server-sent events that answers a request of this protocol; what comes may show another.
    pub fn new(protocol: Protocol) -> Self {
        Self::of_form(protocol, Form::Events(Parser::default()))
    }

    fn of_form(protocol: Protocol, form: Form) -> Self {
        let seen = StreamSummary { protocol, ids: ShownIds::of_answer(protocol), ..StreamSummary::default() };
        Self { form, asked: protocol, ended_within_event: false, seen }
    }

    /// The stream that an answer with these headers is, if it is one that can be read. `grows`: JSON that answers this request is an
    /// array that grows; see [`Protocol::is_growing_array`].
    pub fn of_answer(protocol: Protocol, headers: &AnswerHeaders<'_>, grows: bool) -> Option<Self> {
        Some(Self::of_form(protocol, Form::of_answer(headers, grows)?))
    }

    /// Whether it is written in lines: of one that breaks off no half line is to be passed on.
    pub const fn has_lines(&self) -> bool {
        matches!(self.form, Form::Events(_) | Form::Lines(_))
    }

    /// Whether it is one of server-sent events.
    pub const fn is_event_stream(&self) -> bool {
        matches!(self.form, Form::Events(_))
    }

    /// Takes the next bytes, and returns how far the stream has come.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        self.form.push(bytes, &mut self.seen);
        self.progress()
    }

    /// The stream has ended, as far as HTTP shows.
    pub fn finish(&mut self) -> StreamEnd {
        self.ended_within_event |= !self.form.is_between_events();
        let seen = &mut self.seen;
        self.form.finish(seen);
        // Lines of no known form are results of whatever kind, of which there may be none; one that is too long may be the last.
        let is_whole = match &self.form {
            Form::Lines(lines) => lines.is_unread() || (seen.protocol == Protocol::Generic && !seen.shown),
            // The last event of an image, or of a response with one, has all of it. What cannot be read is no proof that more was to come.
            _ => seen.unread && !self.ended_within_event,
        };
        if let Some(error) = seen.error {
            StreamEnd::Failed(error)
        } else if seen.is_silent() && seen.made_nothing() {
            StreamEnd::Failed(ErrorClass::EmptyAnswer)
        } else if seen.finished || seen.done || is_whole {
            StreamEnd::Complete
        } else if !seen.content {
            StreamEnd::Failed(if seen.events == 0 { ErrorClass::EmptyAnswer } else { ErrorClass::BrokenAnswer })
        } else if seen.shown {
            StreamEnd::Truncated
        } else {
            // The end of an unknown protocol is unknown.
            StreamEnd::Complete
        }
    }

    /// How far the stream has come.
    pub fn progress(&self) -> Progress {
        match self.seen.error {
            Some(error) if !self.seen.error_came_late => Progress::Failed(error),
            _ if self.seen.content => Progress::Content,
            // The usage that is still to come may show that there is no answer.
            _ if self.seen.finished && (self.seen.done || !self.seen.may_be_empty()) => Progress::Ended,
            _ => Progress::Preamble,
        }
    }

    /// Whether an event came; comments and pings are none.
    pub const fn has_begun(&self) -> bool {
        self.seen.events > 0
    }

    /// The class of the first error that came, before content or after it.
    pub const fn error(&self) -> Option<ErrorClass> {
        self.seen.error
    }

    /// What the first error says, as the body of an error answer would; empty without one.
    pub fn error_body(&self) -> &[u8] {
        &self.seen.error_body
    }

    /// Whether the protocol's end came: a reason for it, or the last event. What follows are usage and trailers.
    pub const fn has_ended(&self) -> bool {
        self.seen.finished || self.seen.done
    }

    /// Whether nothing but white space may follow: the last event of the request's protocol came, or the last line, and no error. A
    /// reason for the end is not the last event: of several answers in one stream each has one, and Gemini's models have sent one in
    /// each chunk. Where the request's protocol is unknown, several answers may follow each other.
    pub fn is_over(&self) -> bool {
        let seen = &self.seen;
        let is_last_event = seen.done && self.asked != Protocol::Generic && self.asked == seen.protocol;
        seen.error.is_none() && (is_last_event || seen.last_line)
    }

    /// The protocol: the one of the request until an event shows another.
    pub const fn protocol(&self) -> Protocol {
        self.seen.protocol
    }

    /// The ids of what the stream makes (a response, a thread, a run) or is (a chat), each once; see [`crate::affinity`].
    pub fn take_ids(&mut self) -> Vec<String> {
        self.seen.ids.take()
    }

    /// What the vendor says that the call has used, as of the last event; `Ok(None)` if it has not said.
    ///
    /// # Errors
    /// It says what cannot be believed.
    pub fn usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        self.seen.counts.usage()
    }

    /// What its vendor has counted so far, if anything, of a stream that was translated: a translation tells it only at its end.
    pub fn set_counts(&mut self, counts: TokenCounts) {
        self.seen.set_counts(counts);
    }

    /// How the call is served, as far as the stream has said.
    pub fn service_tier(&self) -> ServiceTier {
        self.seen.counts.service_tier()
    }

    /// What the call used: as its vendor counts, or, where it did not or not to the end, an estimate. `Ok(None)` of a stream that
    /// is only an error, or whose form is unknown: that says nothing about tokens. `request_bytes` is the length of the request's
    /// body.
    ///
    /// # Errors
    /// The vendor says what cannot be believed.
    pub fn usage_or_estimate(&self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        match &self.form {
            Form::Lines(lines) => return lines.usage_or_estimate(request_bytes),
            Form::Frames(frames, _) => {
                if let Some(chunks) = frames.chunks() {
                    return chunks.usage_or_estimate(request_bytes);
                }
            }
            Form::Events(_) | Form::Array(_) => {}
        }
        let counted = self.usage()?;
        let is_failed = matches!(self.progress(), Progress::Failed(_));
        Ok(match counted {
            // The last event of an image, or of a response with one, has all of it.
            Some(usage) if self.has_ended() || self.seen.unread_is_counted => Some(usage),
            None if is_failed || self.seen.has_unread || !self.protocol().is_counted_by_length() => None,
            _ => self.has_begun().then(|| self.estimated_usage(request_bytes)),
        })
    }

    /// What a call has used whose vendor did not count, or whose stream broke off before it did: what it did count, and the
    /// rest by bytes. `request_bytes` is the length of the request's body.
    pub fn estimated_usage(&self, request_bytes: u64) -> Usage {
        self.seen.counts.estimate(request_bytes, self.seen.content_bytes)
    }

    /// The event or line that reports to the client, in its own protocol, that the stream was truncated; `None` where its form has
    /// none that may follow at any place.
    pub fn broken_event(&self, message: &str) -> Option<Bytes> {
        let ends_line = self.ended_within_event || !self.form.is_between_events();
        match self.form {
            Form::Events(_) => Some(broken_event(self.seen.protocol, message, self.seen.events, ends_line)),
            // Clients read each line as JSON, so none may be empty.
            Form::Lines(_) => Some(Bytes::from(format!("{}\n", json!({"error": message})))),
            Form::Frames(..) | Form::Array(_) => None,
        }
    }
}

impl StreamSummary {
    pub(crate) fn take(&mut self, event: Result<Event<'_>, Unread<'_>>) {
        if self.has_failed() {
            return;
        }
        if let Err(Unread::Ended(last)) = event {
            self.unread_is_counted = last.read_into(&mut self.counts);
            return;
        }
        self.events += 1;
        (self.unread, self.unread_is_counted) = (event.is_err(), false);
        match event {
            Ok(event) => self.event(event),
            Err(_) => self.unread_content(),
        }
    }

    /// Content came that is too large to be read, such as a picture: its length says nothing about tokens. No preamble is that large.
    pub(crate) const fn unread_content(&mut self) {
        (self.content, self.has_unread) = (true, true);
    }

    fn event(&mut self, event: Event<'_>) {
        let data = event.data.trim_ascii();
        if event.name == b"error" {
            return self.fail(classify_error_body(data), data);
        }
        if data == b"[DONE]" {
            return self.done();
        }
        let read = match data.first() {
            Some(b'{') => events::object(self, event.name, data),
            Some(b'[') => RawJson::parse(data).map(|list| {
                for element in list.elements() {
                    if self.error.is_none() {
                        // The end of an element is known.
                        let _ = events::object(self, event.name, element.bytes());
                    }
                }
            }),
            Some(_) => Err(SyntaxError),
            None => return self.events -= 1,
        };
        match read {
            Ok(()) => {}
            Err(SyntaxError) if events::is_ping(event.name) => self.events -= 1,
            // Plain text, or a form that is unknown.
            Err(SyntaxError) => self.content(data.len()),
        }
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Something came that is no server-sent event.
    pub(crate) const fn came(&mut self) {
        self.events += 1;
    }

    /// What came keeps a connection alive, and is no event.
    pub(crate) const fn was_ping(&mut self) {
        self.events = self.events.saturating_sub(1);
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// An event of a form came whose end is known.
    pub(crate) const fn shows_form(&mut self) {
        self.shown = true;
    }

    pub(crate) fn set_counts(&mut self, counts: TokenCounts) {
        if counts.has_any() {
            self.counts = counts;
        }
    }

    /// An event of this protocol came.
    pub(crate) fn speaks(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.shown = true;
    }

    /// Content of this length came.
    pub(crate) fn content(&mut self, bytes: usize) {
        self.content = true;
        self.content_bytes += bytes as u64;
    }

    /// A reason for the end came. `explains`: it says why there may be no content.
    pub(crate) const fn ends(&mut self, explains: bool) {
        self.finished = true;
        self.explained |= explains;
    }

    /// A part of an answer began. One that stays an empty text is an answer unless the vendor says that it made nothing, as in whole
    /// answers; anything else is one.
    pub(crate) fn begins_part(&mut self, part: RawJson<'_>) {
        self.has_parts = true;
        self.explained |= !is_silent(part);
    }

    /// It has said nothing, and what is counted may still show that there is no answer. Where there are parts, their usage comes with
    /// the reason for the end.
    fn may_be_empty(&self) -> bool {
        self.is_silent() && (!self.has_parts || self.made_nothing())
    }

    /// The model ended by itself and said nothing.
    const fn is_silent(&self) -> bool {
        self.finished && !self.explained && !self.content
    }

    /// Whether the vendor counts no output: else the model did answer, if only with silence. OpenAI's form has counts only where they
    /// were asked for, so there they have to be stated, as in [`crate::answer`]; so have those of any vendor beside an empty part.
    fn made_nothing(&self) -> bool {
        let unstated = match self.protocol {
            Protocol::OpenAiChat => 1,
            // Google leaves out counts of 0.
            Protocol::Gemini if self.counts.has_any() => 0,
            _ => u64::from(self.has_parts),
        };
        self.counts.stated_output().unwrap_or(unstated) == 0
    }

    /// An error came that says this.
    pub(crate) fn fail(&mut self, class: ErrorClass, body: &[u8]) {
        if self.error.is_none() {
            self.error = Some(class);
            self.error_body = body.get(..MAX_ERROR_BODY_BYTES).unwrap_or(body).to_vec();
            self.error_came_late = self.content;
        }
    }

    /// The protocol's last event came; with nothing before it there was no answer.
    pub(crate) fn done(&mut self) {
        self.done = true;
        if (!self.content && !self.finished) || (self.is_silent() && self.made_nothing()) {
            self.fail(ErrorClass::EmptyAnswer, b"");
        }
    }
}
