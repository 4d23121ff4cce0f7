//! A stream in AWS's frames that passes by as it is: of Converse, or of InvokeModel, with Anthropic's events or with the chunks of other
//! models. It is read by what it would be in a client's protocol.

use crate::event_stream::{Frame, Parser};
use crate::json::RawJson;
use crate::translate::bedrock_invoke;
use crate::translate::converse::ConverseStream;
use crate::translate::{AnswerId, ChatContext, StreamTranslator as _};
use crate::usage::TokenCounts;
use crate::usage::objects::ObjectUsage;

/// The frames as they pass by; at most one is kept.
#[derive(Debug)]
pub(crate) struct FrameEvents {
    frames: Parser,
    converse: ConverseStream,
    /// Chunks of models other than Anthropic's.
    chunks: ObjectUsage,
    /// Events that were read, for the next ones to be written over.
    written: Vec<u8>,
}

/// What some frames hold.
#[derive(Debug)]
pub(crate) struct ReadFrames<'a> {
    /// As server-sent events, where they have a known form.
    pub(crate) events: &'a [u8],
    /// There were some, whatever they hold.
    pub(crate) any: bool,
    /// The bytes of those whose form is unknown, or known by their usage alone.
    pub(crate) others: usize,
    /// Converse's last frame with content came, whatever a translation would make of it.
    pub(crate) ended: bool,
}

impl Default for FrameEvents {
    fn default() -> Self {
        Self {
            frames: Parser::default(),
            converse: ConverseStream::new(ChatContext::default(), &AnswerId::default()),
            chunks: ObjectUsage::default(),
            written: Vec::new(),
        }
    }
}

impl FrameEvents {
    /// A part of the stream came.
    pub(crate) fn push(&mut self, part: &[u8]) -> ReadFrames<'_> {
        let Self { frames, converse, chunks, written, .. } = self;
        written.clear();
        let (mut any, mut others, mut ended) = (false, 0, false);
        let mut take = |frame: Frame<'_>| match frame.text(":event-type") {
            Some(bedrock_invoke::CHUNK) => bedrock_invoke::write_event(frame, written).or_else(|broken| {
                others += frame.payload.len();
                let event = bedrock_invoke::event(frame).ok_or(broken)?;
                RawJson::parse(&event).map(|event| chunks.take(event)).map_err(|_| broken)
            }),
            Some(event) if !is_of_converse(event) => {
                others += frame.payload.len();
                Ok(())
            }
            _ => converse.take(frame, written).inspect_err(|_| others += frame.payload.len()),
        };
        // What cannot be read says nothing.
        let read = frames.push(part, |frame| {
            any = true;
            ended |= frame.text(":event-type") == Some("messageStop");
            let _ = take(frame);
        });
        if read.is_err() {
            (any, others) = (true, others + part.len());
        }
        ReadFrames { events: written, any, others, ended }
    }

    /// What Converse has counted.
    pub(crate) fn counts(&self) -> TokenCounts {
        self.converse.counts()
    }

    /// What chunks of other models say, once there were some.
    pub(crate) fn chunks(&self) -> Option<&ObjectUsage> {
        Some(&self.chunks).filter(|chunks| chunks.has_begun())
    }
}

fn is_of_converse(event: &str) -> bool {
    let events =
        ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];
    events.contains(&event)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use serde_json::{Value, json};

    use crate::ErrorClass;
    use crate::Protocol;
    use crate::event_stream::tests::frame;
    use crate::headers::AnswerHeaders;
    use crate::stream::{Progress, StreamEnd, StreamState};
    use crate::usage::{InvalidUsage, Usage};

    fn frames() -> StreamState {
        let headers = AnswerHeaders::read([(&b"content-type"[..], "application/vnd.amazon.eventstream")]);
        StreamState::of_answer(Protocol::Generic, &headers, false).unwrap()
    }

    fn used(events: &[Value], size: usize) -> Result<Option<Usage>, InvalidUsage> {
        let headers = [(":message-type", "event"), (":event-type", "chunk")];
        let bytes: Vec<u8> = events
            .iter()
            .flat_map(|event| {
                let bytes = base64::engine::general_purpose::STANDARD.encode(event.to_string());
                frame(&headers, json!({"bytes": bytes}).to_string().as_bytes())
            })
            .collect();
        let mut usage = frames();
        for part in bytes.chunks(size) {
            usage.push(part);
        }
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
            assert_eq!(used(&events(-1), size), Err(InvalidUsage::Implausible));
        }
        assert_eq!(used(&[json!({"secret": "of another model"})], 100), Ok(None));
    }

    /// Chunks as the vendors' examples and others' recordings have them: some text, then the last chunk.
    fn chunks_of_models(text: &str) -> [(&'static str, [Value; 2]); 6] {
        let metrics =
            json!({"inputTokenCount": 13, "outputTokenCount": 7, "invocationLatency": 833, "firstByteLatency": 200});
        let titan = |text: &str, reason: Value, input: Value, output: Value| json!({"outputText": text, "index": 0, "totalOutputTextTokenCount": output, "completionReason": reason, "inputTextTokenCount": input});
        let llama = |text: &str, input: Value, output: u8| json!({"generation": text, "prompt_token_count": input, "generation_token_count": output});
        let mistral = |text: &str, reason: Value| json!({"outputs": [{"text": text, "stop_reason": reason}]});
        let cohere = json!({"is_finished": false, "event_type": "text-generation", "text": text});
        let end = json!({"is_finished": true, "event_type": "stream-end", "response": {"text": text}});
        let nova = json!({"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": 0}});
        let usage = json!({"metadata": {"usage": {"inputTokens": 13, "outputTokens": 7}, "metrics": {}}});
        let chat = |delta: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        [
            (
                "Titan",
                [titan(text, json!(null), json!(13), json!(null)), titan("", json!("FINISH"), json!(null), json!(7))],
            ),
            ("Llama", [llama(text, json!(13), 6), llama("", json!(null), 7)]),
            ("Mistral", [mistral(text, json!(null)), mistral("", json!("stop"))]),
            ("Cohere", [cohere, end]),
            ("Nova", [nova, usage]),
            ("chat completions", [chat(json!({"content": text})), chat(json!({}))]),
        ]
        .map(|(model, [first, mut last])| {
            last["amazon-bedrock-invocationMetrics"] = metrics.clone();
            (model, [first, last])
        })
    }

    #[test]
    fn the_chunks_of_other_models_are_read_however_they_are_cut() {
        for (model, chunks) in chunks_of_models(&"x".repeat(40)) {
            let expected = Usage { input_uncached: 13, output: 7, ..Usage::default() };
            for size in [1, 13, 10_000] {
                assert_eq!(used(&chunks, size), Ok(Some(expected)), "{model}");
            }
            let cut = used(&chunks[..1], 100).unwrap().unwrap();
            let input = if matches!(model, "Titan" | "Llama") { 13 } else { 20 };
            assert_eq!((cut.input(), cut.output, cut.estimated), (input, 10, true), "{model} breaks off");
        }
        let hostile = json!({"amazon-bedrock-invocationMetrics": {"inputTokenCount": -1, "outputTokenCount": 7}});
        assert_eq!(used(&[hostile], 100), Err(InvalidUsage::Implausible));
    }

    #[test]
    fn exceptions_ends_and_content_are_known_before_they_are_passed_on() {
        let converse = |event: &str, payload: Value| {
            let headers = [(":message-type", "event"), (":event-type", event)];
            frame(&headers, payload.to_string().as_bytes())
        };
        let exception = |kind: &str| {
            let headers = [(":message-type", "exception"), (":exception-type", kind)];
            frame(&headers, br#"{"message": "x"}"#)
        };
        let start = converse("messageStart", json!({"role": "assistant"}));
        let text = converse("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "Hello"}}));
        let stop = converse("messageStop", json!({"stopReason": "end_turn"}));
        let (failed, ended) = (Progress::Failed, StreamEnd::Failed);
        for (what, bytes, progress, end) in [
            ("nothing", vec![], Progress::Preamble, ended(ErrorClass::EmptyAnswer)),
            ("a preamble", start.clone(), Progress::Preamble, ended(ErrorClass::BrokenAnswer)),
            ("cut", [&start[..], &text].concat(), Progress::Content, StreamEnd::Truncated),
            ("whole", [&start[..], &text, &stop].concat(), Progress::Content, StreamEnd::Complete),
            (
                "an exception first",
                exception("throttlingException"),
                failed(ErrorClass::RateLimited),
                ended(ErrorClass::RateLimited),
            ),
            (
                "an exception in the preamble",
                [&start[..], &exception("serviceUnavailableException")].concat(),
                failed(ErrorClass::Overloaded),
                ended(ErrorClass::Overloaded),
            ),
            (
                "an exception after content",
                [&start[..], &text, &exception("modelStreamErrorException")].concat(),
                Progress::Content,
                ended(ErrorClass::ServerError),
            ),
            (
                "of another service",
                converse("TranscriptEvent", json!({"a": 1})),
                Progress::Content,
                StreamEnd::Complete,
            ),
            ("no frames", b"something else entirely".to_vec(), Progress::Content, StreamEnd::Complete),
        ] {
            for size in [1, 7, 100_000] {
                let mut stream = frames();
                for part in bytes.chunks(size) {
                    stream.push(part);
                }
                assert_eq!((stream.progress(), stream.finish()), (progress, end), "{what}, parts of {size}");
                assert_eq!(stream.broken_event("x"), None, "{what}");
            }
        }
    }

    #[test]
    fn what_is_no_stream_of_frames_says_nothing() {
        let mut usage = frames();
        usage.push(b"{\"usage\":{\"prompt_tokens\":5}} and more than a prelude");
        assert_eq!(usage.usage_or_estimate(80), Ok(None));
    }
}
