//! The body of an answer on its way to the client, part by part as it comes: what the client does not take is not asked for.
//!
//! One that breaks off, or stands still for too long, never ends well: a stream of events says so in a last event, and every
//! connection is cut. That counts as a failure of its target; a client that goes away counts for nobody.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use super::answer;
use super::underway::{End, Underway};
use crate::outcome::Breakage;
use crate::wire::answer::hints_at_error;

/// The body is not whole: the connection is cut.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct Broken;

/// A body on its way.
#[derive(Debug, Default)]
pub(super) struct Passing {
    held: VecDeque<Bytes>,
    rest: Option<Rest>,
    /// It broke off.
    cut: Option<Cut>,
    /// Its place among the calls under way.
    _place: Option<OwnedSemaphorePermit>,
}

/// How far the end of a broken answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// All that was given is to be written first: the connection forgets it when it is cut.
    Writing,
    /// The connection is cut.
    Now,
}

/// What is still to come, and what becomes of it.
#[derive(Debug)]
struct Rest {
    body: Incoming,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    events: bool,
    failed: bool,
    end: End,
    underway: Option<Underway>,
}

impl Passing {
    /// A body that is here.
    pub(super) fn whole(held: impl Into<VecDeque<Bytes>>) -> Self {
        Self { held: held.into(), ..Self::default() }
    }

    /// A body that is still to come. `events`: it is a stream of them. `underway` is told how it ends: with `end`, if well.
    pub(super) fn to_come(
        held: Vec<Bytes>,
        body: Incoming,
        idle: Duration,
        events: bool,
        underway: Option<Underway>,
        end: End,
    ) -> Self {
        let timer = Box::pin(sleep(idle));
        let rest = Rest { body, idle, timer, events, failed: false, end, underway };
        Self { held: held.into(), rest: Some(rest), ..Self::default() }
    }

    /// Keeps this place until it has ended.
    #[must_use]
    pub(super) fn keeping(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Ends it. A stream of events says why.
    fn cut(&mut self, breakage: Breakage, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.cut = Some(Cut::Writing);
        let events = self.rest.take().is_some_and(|mut rest| {
            rest.tell(End { broken: Some(breakage), ..rest.end });
            rest.events
        });
        if events {
            return Poll::Ready(Some(Ok(Frame::data(answer::broken_event(breakage)))));
        }
        self.finish_writing(context)
    }

    /// Whoever asks is told to write what it has and to ask again at once.
    fn finish_writing(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.cut = Some(Cut::Now);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Rest {
    fn tell(&mut self, end: End) {
        if let Some(mut underway) = self.underway.take() {
            underway.tell(end);
        }
    }

    /// It has ended well, but for an error that it may have carried.
    fn finish(&mut self) {
        let broken = self.failed.then_some(Breakage::ErrorEvent);
        self.tell(End { broken, ..self.end });
    }

    /// A part of it came.
    fn note(&mut self, part: &Bytes) {
        if let Some(underway) = &mut self.underway {
            underway.add(part);
        }
        self.failed |= self.events && hints_at_error(part);
        self.timer.as_mut().reset(Instant::now() + self.idle);
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(part) = self.held.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match self.cut {
            Some(Cut::Writing) => return self.finish_writing(context),
            Some(Cut::Now) => return Poll::Ready(Some(Err(Broken))),
            None => {}
        }
        let Some(rest) = self.rest.as_mut() else { return Poll::Ready(None) };
        loop {
            match Pin::new(&mut rest.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers belong to the hop.
                    let Ok(part) = frame.into_data() else { continue };
                    rest.note(&part);
                    if rest.body.is_end_stream() {
                        rest.finish();
                        self.rest = None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(part))));
                }
                Poll::Ready(Some(Err(_))) => return self.cut(Breakage::Cut, context),
                Poll::Ready(None) => {
                    rest.finish();
                    self.rest = None;
                    return Poll::Ready(None);
                }
                Poll::Pending if rest.timer.as_mut().poll(context).is_ready() => {
                    return self.cut(Breakage::Stalled, context);
                }
                Poll::Pending => return Poll::Pending,
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
            Some(rest) => match rest.body.size_hint().exact() {
                Some(more) => SizeHint::with_exact(held + more),
                None => SizeHint::default(),
            },
        }
    }
}
