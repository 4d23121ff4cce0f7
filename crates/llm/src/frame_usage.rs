//! The usage of a stream in AWS's frames that passes by as it is: of Converse, or of InvokeModel with Anthropic's events.

use crate::event_stream::Parser;
use crate::protocol::Protocol;
use crate::stream::StreamState;
use crate::translate::StreamTranslator;
use crate::translate::bedrock_invoke;
use crate::translate::converse::{AnswerContext, AnswerIdentity, ConverseStream};
use crate::usage::{InvalidUsage, Usage};

/// A stream of frames, as it passes by. It is read by what it would be in a client's protocol; at most one frame is kept.
#[derive(Debug)]
pub(crate) struct FrameUsage {
    frames: Parser,
    converse: ConverseStream,
    events: StreamState,
    /// Events that were read, for the next ones to be written over.
    written: Vec<u8>,
}

impl Default for FrameUsage {
    fn default() -> Self {
        let identity = AnswerIdentity { id: "", created: 0 };
        Self {
            frames: Parser::default(),
            converse: ConverseStream::new(AnswerContext::default(), identity),
            events: StreamState::new(Protocol::Generic),
            written: Vec::new(),
        }
    }
}

impl FrameUsage {
    /// A part of it came.
    pub(crate) fn push(&mut self, part: &[u8]) {
        let Self { frames, converse, written, .. } = self;
        written.clear();
        // What cannot be read says nothing.
        let _ = frames.push(part, |frame| {
            let _ = match frame.text(":event-type") {
                Some(bedrock_invoke::CHUNK) => bedrock_invoke::write_event(frame, written),
                _ => converse.take(frame, written),
            };
        });
        self.events.push(written);
    }

    /// See [`StreamState::usage_or_estimate`].
    pub(crate) fn usage_or_estimate(&mut self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        self.events.set_counts(self.converse.counts());
        self.events.usage_or_estimate(request_bytes)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use serde_json::json;

    use super::*;
    use crate::event_stream::HeaderValue;
    use crate::event_stream::tests::frame;

    fn used(events: &[serde_json::Value], size: usize) -> Result<Option<Usage>, InvalidUsage> {
        let headers = [(":message-type", HeaderValue::Text("event")), (":event-type", HeaderValue::Text("chunk"))];
        let bytes: Vec<u8> = events
            .iter()
            .flat_map(|event| {
                let bytes = base64::engine::general_purpose::STANDARD.encode(event.to_string());
                frame(&headers, json!({"bytes": bytes}).to_string().as_bytes())
            })
            .collect();
        let mut usage = FrameUsage::default();
        bytes.chunks(size).for_each(|part| usage.push(part));
        usage.usage_or_estimate(80)
    }

    #[test]
    fn the_events_of_invoke_model_are_read_however_they_are_cut() {
        let events = |output: i32| {
            [
                json!({"type": "message_start", "message": {"usage": {"input_tokens": 25, "cache_read_input_tokens": 1000, "output_tokens": 1}}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x".repeat(40)}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}}),
            ]
        };
        let expected = Usage { input_uncached: 25, cache_read: 1000, output: 15, ..Usage::default() };
        for size in [1, 13, 10_000] {
            assert_eq!(used(&events(15), size), Ok(Some(expected)));
            let cut = Usage { output: 10, estimated: true, ..expected };
            assert_eq!(used(&events(15)[..2], size), Ok(Some(cut)));
            assert_eq!(used(&events(-1), size), Err(InvalidUsage::Number("output_tokens")));
        }
        assert_eq!(used(&[json!({"outputText": "of another model"})], 100), Ok(None));
    }

    #[test]
    fn what_is_no_stream_of_frames_says_nothing() {
        let mut usage = FrameUsage::default();
        usage.push(b"{\"usage\":{\"prompt_tokens\":5}} and more than a prelude");
        assert_eq!(usage.usage_or_estimate(80), Ok(None));
    }
}
