//! The body of an answer on its way to the client, part by part as it comes: what the client does not take is not asked for.
//!
//! One that breaks off, or stands still for too long, never ends well: a stream of events says so in a last event, and every
//! connection is cut. That counts as a failure of its target; a client that goes away counts against no target.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::answer_rest::{AnswerRest, broken_event, next_part_by};
use super::attempt_guard::{AttemptEnd, AttemptGuard};
use super::running_call::RunningCall;
use super::upstream_body::UpstreamBody;
use super::whole_lines::whole_lines;
use crate::server::ResetFlag;
use llm::stream::StreamState;
use llm::stream_usage::UsageChunkFilter;
use types::outcome::TransportFailure;

/// The body is not whole: the connection is cut.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BodyCut;

/// A body on its way.
#[derive(Debug, Default)]
pub(super) struct ProxyBody {
    held: VecDeque<Bytes>,
    /// In memory of its own: the HTTP library moves bodies about, and most are here when they are passed on.
    rest: Option<Box<AnswerRest>>,
    /// It broke off.
    cut: Option<CutState>,
    /// The client sees no other end than that of the connection.
    reset: Option<ResetFlag>,
    /// Its place among the calls in progress.
    _place: Option<OwnedSemaphorePermit>,
}

/// How far the end of a broken answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CutState {
    /// All that was given is to be written first: the connection forgets it when it is cut.
    Writing,
    /// The connection is cut.
    Done,
}

impl ProxyBody {
    /// A body that is here.
    pub(super) fn buffered(held: impl Into<VecDeque<Bytes>>) -> Self {
        Self { held: held.into(), ..Self::default() }
    }

    /// A stream that broke off after this.
    pub(super) fn broken(held: Vec<Bytes>, stream: Option<&StreamState>, failure: TransportFailure) -> Self {
        let (held, _) = whole_lines(held, stream.is_some_and(StreamState::has_lines));
        let event = stream.and_then(|stream| broken_event(stream, failure));
        let held = held.into_iter().chain(event).collect();
        Self { held, cut: Some(CutState::Writing), ..Self::default() }
    }

    /// A body that is still to come. `stream`: its events so far, if it is a stream of them. `guard` reports how it ends:
    /// with `end`, if well. The times: between two parts, and until the first event where only comments came.
    pub(super) fn streaming(
        held: Vec<Bytes>,
        mut body: UpstreamBody,
        idle: Duration,
        first_event_by: Option<Instant>,
        stream: Option<Box<StreamState>>,
        guard: Option<AttemptGuard>,
        end: AttemptEnd,
    ) -> Self {
        let timer = Box::pin(sleep_until(next_part_by(idle, first_event_by, stream.as_deref())));
        let mut tail = body.take_tail();
        if stream.is_none() {
            held.iter().for_each(|part| tail.push(part));
        }
        let (held, lines) = whole_lines(held, stream.as_ref().is_some_and(|stream| stream.has_lines()));
        let rest = AnswerRest {
            body,
            idle,
            first_event_by,
            timer,
            stream,
            lines,
            tail,
            end,
            guard,
            call: None,
            usage_filter: None,
        };
        Self { held, rest: Some(Box::new(rest)), ..Self::default() }
    }

    /// A stream of which the client does not see the usage at its end, since it did not ask for it.
    #[must_use]
    pub(super) fn without_usage(mut self) -> Self {
        let mut filter = UsageChunkFilter::new();
        let mut held = Vec::new();
        // The filter keeps back whole events itself.
        let kept = self.rest.as_mut().and_then(|rest| rest.lines.take()).map(|mut lines| lines.finish());
        self.held.extend(kept);
        self.held.iter().for_each(|part| filter.push(part, &mut held));
        match &mut self.rest {
            Some(rest) => rest.usage_filter = Some(filter),
            None => filter.finish(&mut held),
        }
        self.held = [Bytes::from(held)].into_iter().filter(|held| !held.is_empty()).collect();
        self
    }

    /// Keeps this place until it has ended.
    #[must_use]
    pub(super) fn with_permits(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Resets the connection where it breaks off and no last event says so: whatever ends it, from now until it has ended well.
    #[must_use]
    pub(super) fn reset_if_broken(self, reset: Option<ResetFlag>) -> Self {
        let may_break = self.rest.is_some() || self.cut.is_some();
        reset.iter().for_each(|reset| reset.set(may_break));
        Self { reset, ..self }
    }

    /// What the client has of it is whole, or says itself that it is not.
    fn ended(&mut self) {
        self.rest = None;
        self.reset.iter().for_each(|reset| reset.set(false));
    }

    /// The call is recorded: now, or at the end of what is still to come.
    #[must_use]
    pub(super) fn recorded_by(mut self, mut call: RunningCall) -> Self {
        self.held.iter().for_each(|part| call.answers(part));
        match &mut self.rest {
            Some(rest) => rest.call = Some(call),
            None => call.finish(),
        }
        self
    }

    /// It has come to its end, as far as HTTP shows or its protocol says.
    fn ends(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let Some(rest) = self.rest.as_mut() else { return Poll::Ready(None) };
        let last = rest.last_shown();
        if let Some(failure) = rest.finish() {
            return self.cut(failure, None, context);
        }
        self.ended();
        Poll::Ready(last.map(|part| Ok(Frame::data(part))))
    }

    /// Ends it. A stream of events says why.
    fn cut(
        &mut self,
        failure: TransportFailure,
        reason: Option<&'static str>,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        self.cut = Some(CutState::Writing);
        let event = self.rest.take().and_then(|mut rest| {
            rest.report(Some(failure), reason);
            rest.stream.as_deref().and_then(|stream| broken_event(stream, failure))
        });
        if let Some(event) = event {
            self.ended();
            return Poll::Ready(Some(Ok(Frame::data(event))));
        }
        self.finish_writing(context)
    }

    /// The connection writes what it has, and polls again at once.
    fn finish_writing(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        self.cut = Some(CutState::Done);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let this = &mut *self;
        if let Some(part) = this.held.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match this.cut {
            Some(CutState::Writing) => return this.finish_writing(context),
            Some(CutState::Done) => return Poll::Ready(Some(Err(BodyCut))),
            None => {}
        }
        let Some(rest) = this.rest.as_mut() else { return Poll::Ready(None) };
        loop {
            let polled = match Pin::new(&mut rest.body).poll_frame(context) {
                Poll::Pending if rest.timer.as_mut().poll(context).is_ready() => None,
                polled => Some(polled),
            };
            // What has said all has ended well, however its connection ends, or does not.
            let is_cut = matches!(polled, None | Some(Poll::Ready(Some(Err(_)))));
            match polled {
                _ if is_cut && rest.is_over() => return this.ends(context),
                Some(Poll::Ready(Some(Ok(frame)))) => {
                    // Trailers belong to the hop.
                    let Ok(part) = frame.into_data() else { continue };
                    rest.note(&part);
                    let [line, part] = rest.shown(part);
                    // A length that was said is not read beyond.
                    if rest.stream.is_none() && rest.body.is_end_stream() {
                        rest.report(None, None);
                        this.ended();
                    }
                    if line.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(part))));
                    }
                    this.held.extend([part].into_iter().filter(|part| !part.is_empty()));
                    return Poll::Ready(Some(Ok(Frame::data(line))));
                }
                Some(Poll::Ready(Some(Err(error)))) => {
                    let (failure, reason) = error.failure(true);
                    return this.cut(failure, reason, context);
                }
                Some(Poll::Ready(None)) => return this.ends(context),
                None => return this.cut(TransportFailure::Stalled, None, context),
                Some(Poll::Pending) => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.rest.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.iter().map(Bytes::len).sum::<usize>() as u64;
        match &self.rest {
            None if self.cut.is_none() => SizeHint::with_exact(held),
            None => SizeHint::default(),
            // An event may be added to a stream that breaks off.
            Some(rest) if rest.stream.is_some() => SizeHint::default(),
            Some(rest) => match rest.body.size_hint().exact() {
                Some(more) => SizeHint::with_exact(held + more),
                None => SizeHint::default(),
            },
        }
    }
}
