//! What is still to come of an answer on its way to the client, and what becomes of it: what the client sees of each part, what its
//! target's health, its record and its usage learn.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use super::attempt_guard::{AttemptEnd, AttemptGuard};
use super::running_call::{RunningCall, StreamedEnd};
use super::upstream_body::UpstreamBody;
use super::whole_lines::WholeLines;
use llm::Usage;
use llm::stream::{StreamEnd, StreamState};
use llm::stream_usage::UsageChunkFilter;
use llm::usage_tail::Tail;
use types::outcome::{ErrorClass, TransportFailure};

/// Behind the last event of a stream the end of its HTTP body follows at once, with which its connection can be used again. A server
/// that keeps it open is not waited for longer than this.
const END_WAIT: Duration = Duration::from_secs(1);

/// What is still to come, and what becomes of it.
#[derive(Debug)]
pub(super) struct AnswerRest {
    pub(super) body: UpstreamBody,
    pub(super) idle: Duration,
    /// When the first event must be here, as long as only comments came.
    pub(super) first_event_by: Option<Instant>,
    pub(super) timer: Pin<Box<Sleep>>,
    /// Its events so far, if it is a stream of them that can be read.
    pub(super) stream: Option<Box<StreamState>>,
    /// Keeps back the beginning of a line, if it is such a stream and nothing else holds its events.
    pub(super) lines: Option<WholeLines>,
    /// The last bytes of what is no such stream.
    pub(super) tail: Tail,
    pub(super) end: AttemptEnd,
    pub(super) guard: Option<AttemptGuard>,
    /// The call that it answers.
    pub(super) call: Option<RunningCall>,
    /// Takes out the usage that the client did not ask for.
    pub(super) usage_filter: Option<UsageChunkFilter>,
}

/// The last event of a stream that breaks off, in the protocol of its client.
pub(super) fn broken_event(stream: &StreamState, failure: TransportFailure) -> Option<Bytes> {
    stream.broken_event(&format!("The answer is not whole: its target {failure}."))
}

/// When the next part must be here: comments that keep a client alive do not put off the first event.
pub(super) fn next_part_by(idle: Duration, first_event_by: Option<Instant>, stream: Option<&StreamState>) -> Instant {
    let wait = if stream.is_some_and(StreamState::is_over) { idle.min(END_WAIT) } else { idle };
    let by = Instant::now() + wait;
    first_event_by.map_or(by, |first| by.min(first))
}

impl AnswerRest {
    pub(super) fn report(&mut self, broken: Option<TransportFailure>, reason: Option<&'static str>) {
        if self.guard.is_none() && self.call.is_none() {
            return;
        }
        let usage = self.used();
        let time = self.guard.as_ref().map(AttemptGuard::time);
        if let Some(mut guard) = self.guard.take() {
            guard.finish(AttemptEnd { broken, usage, ..self.end });
        }
        if let Some(call) = self.call.take() {
            let error_class = self.end.error_class;
            call.finish_stream(StreamedEnd { time, broken, reason, error_class, usage, gone: false });
        }
    }

    /// What was used as far as it came: to be asked once, before the call and its attempt are reported.
    fn used(&mut self) -> Option<Usage> {
        let request_bytes = self.call.as_ref().map_or(0, RunningCall::request_bytes);
        let used = match &mut self.stream {
            Some(stream) => {
                stream.set_counts(self.body.counts());
                stream.usage_or_estimate(request_bytes)
            }
            None => self.tail.usage(request_bytes),
        };
        let of_call = || self.call.as_ref().map(RunningCall::counts);
        self.guard.as_ref().map(AttemptGuard::counts).or_else(of_call)?.valid_usage(used)
    }

    /// Its body has ended as HTTP has it. The events may say otherwise: then the failure that cuts it off.
    pub(super) fn finish(&mut self) -> Option<TransportFailure> {
        let end = self.stream.as_mut().map_or(StreamEnd::Complete, |stream| stream.finish());
        match end {
            StreamEnd::Complete => self.report(None, None),
            StreamEnd::Truncated => return Some(TransportFailure::Truncated),
            // What is only fetched may say of itself that it failed, or nothing.
            StreamEnd::Failed(class) if self.is_fetched() && (class == ErrorClass::EmptyAnswer || self.has_error()) => {
                self.report(None, None);
            }
            StreamEnd::Failed(class) if class.is_callers_fault() => {
                self.end.error_class = Some(class);
                self.report(None, None);
            }
            StreamEnd::Failed(ErrorClass::EmptyAnswer) => return Some(TransportFailure::EmptyAnswer),
            // No error came, and no content.
            StreamEnd::Failed(_) if !self.has_error() => return Some(TransportFailure::Truncated),
            // The client has read of it already.
            StreamEnd::Failed(class) => self.report(Some(TransportFailure::ErrorEvent(class)), None),
        }
        None
    }

    fn is_fetched(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| !guard.is_generation())
    }

    /// Whether an error came in its events.
    fn has_error(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.error().is_some())
    }

    /// What the client sees of a part, in two pieces; the HTTP library leaves out those in which nothing is left.
    pub(super) fn shown(&mut self, part: Bytes) -> [Bytes; 2] {
        let shown = if let Some(lines) = &mut self.lines {
            lines.push(part)
        } else if let Some(filter) = &mut self.usage_filter {
            let mut shown = Vec::with_capacity(part.len());
            filter.push(&part, &mut shown);
            [Bytes::new(), shown.into()]
        } else {
            [Bytes::new(), part]
        };
        if let Some(call) = &mut self.call {
            shown.iter().filter(|piece| !piece.is_empty()).for_each(|piece| call.answers(piece));
        }
        shown
    }

    /// What the client is still to see at the end.
    pub(super) fn last_shown(&mut self) -> Option<Bytes> {
        let shown = if let Some(lines) = &mut self.lines {
            lines.finish()
        } else {
            let mut shown = Vec::new();
            self.usage_filter.take()?.finish(&mut shown);
            shown.into()
        };
        if let Some(call) = &mut self.call {
            call.answers(&shown);
        }
        Some(shown).filter(|shown| !shown.is_empty())
    }

    /// Whether its protocol's last event came.
    pub(super) fn is_over(&self) -> bool {
        self.stream.as_deref().is_some_and(StreamState::is_over)
    }

    /// A part of it came.
    pub(super) fn note(&mut self, part: &Bytes) {
        if let Some(guard) = &mut self.guard {
            guard.add(part);
        }
        match &mut self.stream {
            Some(stream) => {
                stream.push(part);
                if stream.has_begun() {
                    self.first_event_by = None;
                }
                if let Some(guard) = &self.guard {
                    guard.note_ids(stream);
                }
            }
            None => self.tail.push(part),
        }
        let by = next_part_by(self.idle, self.first_event_by, self.stream.as_deref());
        self.timer.as_mut().reset(by);
    }
}

impl Drop for AnswerRest {
    /// Some clients close the connection at the last event, and some only after the end of the body.
    fn drop(&mut self) {
        if self.stream.as_ref().is_some_and(|stream| stream.has_ended() && stream.error().is_none()) {
            self.report(None, None);
        }
        let time = self.guard.as_ref().map(AttemptGuard::time);
        let usage = self.call.is_some().then(|| self.used()).flatten();
        if let Some(call) = self.call.take() {
            call.finish_stream(StreamedEnd { time, usage, gone: true, ..StreamedEnd::default() });
        }
    }
}
