//! The body of a target's answer in the protocol of the client, without its coding: as it comes, or translated part by part.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use llm::translate::{BrokenAnswer, StreamTranslator};
use llm::usage::TokenCounts;
use llm::usage_tail::Tail;
use types::outcome::TransportFailure;

use super::content_coding::Decoder;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct UpstreamBody<B = Incoming> {
    body: B,
    /// Of one that is compressed.
    decoder: Option<Box<Decoder>>,
    translation: Option<ActiveTranslation>,
    /// Finds the usage in what comes, where that is no stream of events; nothing came yet.
    tail: Tail,
}

/// A translation in progress.
#[derive(Debug)]
struct ActiveTranslation {
    translator: Box<dyn StreamTranslator>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// More is to come.
    Open,
    /// What is appended last is on its way; then this error follows.
    Broken(BrokenAnswer),
    Ended,
}

/// How a body comes to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError<E> {
    /// The connection broke.
    #[error(transparent)]
    Connection(E),
    /// What came breaks the protocol of the vendor, or its coding.
    #[error(transparent)]
    Broken(BrokenAnswer),
}

impl<E> UpstreamError<E> {
    /// What that means, and in words why, where the answer itself says it. `has_begun`: some of the body had come.
    pub(super) const fn failure(&self, has_begun: bool) -> (TransportFailure, Option<&'static str>) {
        match self {
            Self::Connection(_) if has_begun => (TransportFailure::Truncated, None),
            Self::Connection(_) => (TransportFailure::ConnectionClosed, None),
            Self::Broken(BrokenAnswer(reason)) => (TransportFailure::BrokenAnswer, Some(*reason)),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> UpstreamBody<B> {
    /// A body that passes as it is.
    pub(super) fn unchanged(body: B) -> Self {
        Self { body, decoder: None, translation: None, tail: Tail::default() }
    }

    /// A body that passes through this.
    pub(super) fn translated(body: B, translator: Box<dyn StreamTranslator>) -> Self {
        let translation = Some(ActiveTranslation { translator, state: State::Open });
        Self { translation, ..Self::unchanged(body) }
    }

    /// The same, decoded by this first.
    pub(super) fn decoded_by(self, decoder: Option<Decoder>) -> Self {
        Self { decoder: decoder.map(Box::new), ..self }
    }

    /// The length that it was sent with, whatever its text has; `None` if that is not known, or is no measure, of a translated one.
    pub(super) fn sent_length(&self) -> Option<u64> {
        if self.translation.is_some() { None } else { self.body.size_hint().exact() }
    }

    /// The same, with what finds the usage in it.
    pub(super) fn with_tail(self, tail: Tail) -> Self {
        Self { tail, ..self }
    }

    /// What finds the usage in it, for the one that reads it.
    pub(super) fn take_tail(&mut self) -> Tail {
        std::mem::take(&mut self.tail)
    }

    /// What the vendor of a translated one has counted so far.
    pub(super) fn counts(&self) -> TokenCounts {
        self.translation.as_ref().map(|it| it.translator.counts()).unwrap_or_default()
    }
}

impl ActiveTranslation {
    /// A part of the body came, or its end (`None`). Often nothing can be said yet: then the part is empty, which shows readers
    /// that the answer goes on.
    fn take(&mut self, part: Option<&[u8]>) -> Result<Bytes, BrokenAnswer> {
        let mut out = Vec::new();
        let taken = match part {
            Some(part) => self.translator.push(part, &mut out),
            None => {
                self.state = State::Ended;
                self.translator.finish(&mut out)
            }
        };
        match taken {
            Err(broken) if out.is_empty() => {
                self.state = State::Ended;
                Err(broken)
            }
            Err(broken) => {
                self.state = State::Broken(broken);
                Ok(out.into())
            }
            Ok(()) => Ok(out.into()),
        }
    }
}

/// What comes next of a body; `None` at its end.
type NextFrame<E> = Option<Result<Frame<Bytes>, UpstreamError<E>>>;

/// The next part of a body without its coding. One may give nothing yet: then it is empty, which shows readers that the answer goes on.
fn poll_decoded<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
    decoder: Option<&mut Decoder>,
    context: &mut Context<'_>,
) -> Poll<NextFrame<B::Error>> {
    let Some(decoder) = decoder else {
        return Pin::new(body).poll_frame(context).map_err(UpstreamError::Connection);
    };
    let text = match decoder.next() {
        Ok(None) if decoder.has_ended() => return Poll::Ready(None),
        Ok(None) => match ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => {
                // Trailers belong to the hop.
                decoder.push(frame.into_data().unwrap_or_default());
                decoder.next().map(Option::unwrap_or_default)
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(UpstreamError::Connection(error)))),
            None => decoder.finish(),
        },
        Ok(Some(text)) => Ok(text),
        Err(broken) => Err(broken),
    };
    Poll::Ready(Some(text.map(Frame::data).map_err(UpstreamError::Broken)))
}

impl<B: Body<Data = Bytes> + Unpin> Body for UpstreamBody<B> {
    type Data = Bytes;
    type Error = UpstreamError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, decoder, translation, .. } = &mut *self;
        let Some(translation) = translation else {
            return poll_decoded(body, decoder.as_deref_mut(), context);
        };
        match translation.state {
            State::Open => {}
            State::Ended => return Poll::Ready(None),
            State::Broken(broken) => {
                translation.state = State::Ended;
                return Poll::Ready(Some(Err(UpstreamError::Broken(broken))));
            }
        }
        let taken = loop {
            match ready!(poll_decoded(body, decoder.as_deref_mut(), context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(part) if translation.translator.passes(&part) => break Ok(part),
                    Ok(part) => break translation.take(Some(&part)),
                    // Trailers belong to the hop.
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => break translation.take(None),
            }
        };
        Poll::Ready(Some(taken.map(Frame::data).map_err(UpstreamError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        match (&self.translation, &self.decoder) {
            (Some(translation), _) => translation.state == State::Ended,
            (None, Some(decoder)) => decoder.has_ended(),
            (None, None) => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let is_changed = self.translation.is_some() || self.decoder.is_some();
        if is_changed { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body_util::BodyExt;

    use super::*;

    /// Doubles each byte, says `end` at the end, and breaks at an `x`.
    #[derive(Debug)]
    struct Doubled;

    impl StreamTranslator for Doubled {
        fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
            for byte in bytes {
                match byte {
                    b'x' => return Err(BrokenAnswer("an x")),
                    b' ' => {}
                    byte => out.extend([byte; 2]),
                }
            }
            Ok(())
        }

        fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
            out.extend(b"end");
            Ok(())
        }
    }

    struct Parts(VecDeque<&'static str>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(Bytes::from(part)))))
        }
    }

    async fn read(parts: &[&'static str]) -> Vec<String> {
        let parts = Parts(parts.iter().copied().collect());
        let mut body = UpstreamBody::translated(parts, Box::new(Doubled));
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            seen.push(match frame {
                Ok(frame) => String::from_utf8(frame.into_data().unwrap().into()).unwrap(),
                Err(error) => error.to_string(),
            });
        }
        assert!(body.is_end_stream());
        seen
    }

    #[tokio::test]
    async fn parts_are_translated_as_they_come_and_what_came_before_a_break_is_passed_on() {
        assert_eq!(read(&["ab", " ", "c"]).await, ["aabb", "", "cc", "end"]);
        assert_eq!(read(&["axb", "c"]).await, ["aa", "the answer is broken: an x"]);
        assert_eq!(read(&["x"]).await, ["the answer is broken: an x"]);
    }
}
