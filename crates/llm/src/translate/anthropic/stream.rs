//! Streamed answers: events become chunks, one by one. Of an event nothing is kept but what later ones need.

use super::answer::{self, finish_reason, may_cut_a_call};
use super::error::write_error;
use super::usage;
use crate::error_body::ErrorBody;
use crate::json::RawJson;
use crate::sse::{Event, EventTooLarge, Parser};
use crate::translate::completion::call_id_and_name;
use crate::translate::completion::chunks::Chunks;
use crate::translate::json_progress::JsonProgress;
use crate::translate::{BrokenAnswer, ChatContext, StreamTranslator, checked_json, write};
use crate::usage::TokenCounts;

/// A streamed answer on its way back.
#[derive(Debug)]
pub struct Stream {
    parser: Parser,
    events: Events,
}

impl Stream {
    /// A stream that answers a request. `created` is in seconds since 1970.
    pub fn new(context: ChatContext, created: u64) -> Self {
        Self { parser: Parser::default(), events: Events { context, created, ..Events::default() } }
    }
}

impl StreamTranslator for Stream {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let (events, mut result) = (&mut self.events, Ok(()));
        self.parser.push(bytes, |event| {
            if result.is_ok() {
                result = events.take(event, out);
            }
        });
        result
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let (events, mut result) = (&mut self.events, Ok(()));
        std::mem::take(&mut self.parser).finish(|event| {
            if result.is_ok() {
                result = events.take(event, out);
            }
        });
        result?;
        match self.events.end {
            Some(_) => Ok(()),
            None => Err(BrokenAnswer("the stream ended before message_stop")),
        }
    }

    fn counts(&self) -> TokenCounts {
        self.events.counts
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageEnd {
    Stopped,
    Failed,
}

/// The block that is open.
#[derive(Debug)]
enum Block {
    Text,
    Thinking,
    ToolCall(JsonProgress),
    /// What has no counterpart.
    Other,
}

/// What earlier events said.
#[derive(Debug, Default)]
struct Events {
    context: ChatContext,
    created: u64,
    chunks: Chunks,
    /// The open block and the vendor's index of it.
    block: Option<(u64, Block)>,
    /// A call's arguments broke off: right only if the answer was cut.
    cut_call: bool,
    /// The reason for the end was sent.
    finished: bool,
    end: Option<MessageEnd>,
    counts: TokenCounts,
}

impl Events {
    fn take(&mut self, event: Result<Event<'_>, EventTooLarge>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        self.event(&event.map_err(|_| BrokenAnswer("an event is too large"))?, out)
    }

    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if self.end.is_some() {
            return Ok(());
        }
        let data = checked_json(event.data).filter(|data| data.is_object());
        let Some(data) = data else {
            // Vendors' proxies send it with any data or none.
            if event.name == b"ping" {
                out.extend_from_slice(b": ping\n\n");
                return Ok(());
            }
            return Err(BrokenAnswer("an event is no JSON object"));
        };
        let mut kind = event.name;
        let mut fields = EventFields::default();
        data.for_each_field(|name, value| match name {
            b"type" => kind = value.quoted().unwrap_or_default(),
            b"index" => fields.index = value.unsigned(),
            b"delta" => fields.delta = Some(value),
            b"content_block" => fields.block = Some(value),
            b"message" => fields.message = Some(value),
            b"usage" => fields.usage = Some(value),
            b"error" => fields.error = Some(value),
            _ => {}
        });
        match kind {
            b"content_block_delta" => self.delta(&fields, out),
            b"content_block_start" => self.start_block(&fields, out),
            b"content_block_stop" => self.stop_block(&fields, out),
            b"message_start" => self.start(fields.message),
            b"message_delta" => self.message_delta(&fields, data, out),
            b"message_stop" => self.stop(out),
            b"ping" => {
                out.extend_from_slice(b": ping\n\n");
                Ok(())
            }
            b"error" => {
                self.fail(&fields, data, out);
                Ok(())
            }
            // "New event types may be added" (platform.claude.com, streaming).
            _ => Ok(()),
        }
    }

    fn start(&mut self, message: Option<RawJson<'_>>) -> Result<(), BrokenAnswer> {
        let message = message.ok_or(BrokenAnswer("message_start has no message"))?;
        if self.chunks.has_begun() {
            return Err(BrokenAnswer("message_start came twice"));
        }
        if let Some(usage) = message.field("usage") {
            self.counts.read(usage);
        }
        let [id, model] = answer::id_and_model(message, &self.context);
        self.chunks.begin(&id, self.created, &model, self.context.include_usage);
        Ok(())
    }

    fn start_block(&mut self, fields: &EventFields<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let (Some(index), Some(block)) = (fields.index, fields.block) else {
            return Err(BrokenAnswer("content_block_start has no block"));
        };
        if !self.chunks.has_begun() || self.finished {
            return Err(BrokenAnswer("a block began outside of its message"));
        }
        if self.block.is_some() {
            return Err(BrokenAnswer("a block began within another"));
        }
        let filled = |name| block.field(name).filter(|text| text.quoted().is_some_and(|text| !text.is_empty()));
        let kind = block.field("type").and_then(RawJson::quoted).unwrap_or_default();
        let open = match kind {
            b"text" => {
                if let Some(text) = filled("text") {
                    self.chunks.text(text, out);
                }
                Block::Text
            }
            b"thinking" => {
                self.chunks.begin_thinking();
                let (text, signature) = (filled("thinking"), filled("signature"));
                if text.is_some() || signature.is_some() {
                    self.chunks.thinking(text, signature, out);
                }
                Block::Thinking
            }
            b"redacted_thinking" => {
                self.chunks.begin_thinking();
                let data = block.field("data").ok_or(BrokenAnswer("a redacted thinking block has no data"))?;
                self.chunks.redacted(data, out);
                Block::Other
            }
            b"tool_use" => self.start_call(block, out)?,
            _ => Block::Other,
        };
        self.block = Some((index, open));
        Ok(())
    }

    fn start_call(&mut self, block: RawJson<'_>, out: &mut Vec<u8>) -> Result<Block, BrokenAnswer> {
        let (id, name) = call_id_and_name(block, "id")?;
        self.chunks.begin_call(id, self.context.tool_name(&name), out);
        let mut progress = JsonProgress::default();
        // Some servers send the whole input at once; the vendor sends an empty one here.
        if let Some(input) = block.field("input").filter(|input| !input.is_blank()) {
            progress.push(input.bytes()).map_err(|_| BrokenAnswer("a tool call's input is no object"))?;
            let piece = write::to_json(std::str::from_utf8(input.bytes()).unwrap_or_default());
            self.chunks.arguments(&piece, out);
        }
        Ok(Block::ToolCall(progress))
    }

    fn delta(&mut self, fields: &EventFields<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let delta = fields.delta.ok_or(BrokenAnswer("content_block_delta has no delta"))?;
        let [kind, text, json, thinking, signature] =
            delta.pick(["type", "text", "partial_json", "thinking", "signature"]);
        let kind = kind.and_then(RawJson::quoted).unwrap_or_default();
        let Some((open, block)) = &mut self.block else { return Err(BrokenAnswer("a delta came outside of a block")) };
        if fields.index != Some(*open) {
            return Err(BrokenAnswer("a delta belongs to no open block"));
        }
        let is_text = |value: &RawJson<'_>| value.quoted().is_some();
        let piece = match (kind, &mut *block) {
            (b"text_delta", Block::Text) => text,
            (b"input_json_delta", Block::ToolCall(progress)) => {
                let piece = json.filter(is_text).ok_or(BrokenAnswer("a delta has no text"))?;
                let text = piece.text().ok_or(BrokenAnswer("a tool call's arguments are no text"))?;
                progress.push(text.as_bytes()).map_err(|_| BrokenAnswer("a tool call's arguments are no JSON"))?;
                json
            }
            (b"thinking_delta", Block::Thinking) => thinking,
            (b"signature_delta", Block::Thinking) => signature,
            (b"text_delta" | b"input_json_delta" | b"thinking_delta" | b"signature_delta", block) => {
                return match block {
                    Block::Other => Ok(()),
                    _ => Err(BrokenAnswer("a delta does not fit its block")),
                };
            }
            // Citations, and what is not known yet.
            _ => return Ok(()),
        };
        let piece = piece.filter(is_text).ok_or(BrokenAnswer("a delta has no text"))?;
        if piece.is_blank() {
            return Ok(());
        }
        match kind {
            b"text_delta" => self.chunks.text(piece, out),
            b"input_json_delta" => self.chunks.arguments(piece.bytes(), out),
            b"thinking_delta" => self.chunks.thinking(Some(piece), None, out),
            _ => self.chunks.thinking(None, Some(piece), out),
        }
        Ok(())
    }

    fn stop_block(&mut self, fields: &EventFields<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let block = self.block.take().filter(|(open, _)| fields.index == Some(*open));
        let (_, block) = block.ok_or(BrokenAnswer("a block ended that is not open"))?;
        if let Block::ToolCall(progress) = block {
            if progress.is_empty() {
                // A call without arguments; clients parse them as JSON.
                self.chunks.arguments(b"\"{}\"", out);
            } else {
                self.cut_call |= !progress.is_complete();
            }
        }
        Ok(())
    }

    fn message_delta(
        &mut self,
        fields: &EventFields<'_>,
        event: RawJson<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), BrokenAnswer> {
        if !self.chunks.has_begun() || self.block.is_some() {
            return Err(BrokenAnswer("message_delta came outside of its message, or within a block"));
        }
        // A snapshot of all that was used so far: each number replaces the one before.
        if fields.usage.is_some() {
            self.counts.read_top(event);
        }
        let reason = fields.delta.and_then(|delta| delta.field("stop_reason")).and_then(RawJson::text);
        let Some(reason) = reason.filter(|_| !self.finished) else { return Ok(()) };
        if self.cut_call && !may_cut_a_call(&reason) {
            return Err(BrokenAnswer("a tool call's arguments break off"));
        }
        if reason == "tool_use" && !self.chunks.has_calls() {
            return Err(BrokenAnswer("it stops for a tool call and has none"));
        }
        self.finished = true;
        let refusal = fields.delta.and_then(answer::refusal);
        self.chunks.finish(finish_reason(&reason, self.chunks.has_calls()), refusal, out);
        Ok(())
    }

    fn stop(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if !self.finished {
            return Err(BrokenAnswer("message_stop came without a stop_reason"));
        }
        let used = self.counts.usage().ok().flatten();
        self.chunks.end(used.map(|used| move |out: &mut Vec<u8>| usage::write(out, &used)), out);
        self.end = Some(MessageEnd::Stopped);
        Ok(())
    }

    fn fail(&mut self, fields: &EventFields<'_>, event: RawJson<'_>, out: &mut Vec<u8>) {
        let read = ErrorBody::of_error(fields.error.unwrap_or(event));
        out.extend_from_slice(b"data: ");
        write_error(out, &read, None);
        out.extend_from_slice(b"\n\n");
        self.end = Some(MessageEnd::Failed);
    }
}

/// The fields of an event that any part reads.
#[derive(Debug, Default)]
struct EventFields<'a> {
    index: Option<u64>,
    delta: Option<RawJson<'a>>,
    block: Option<RawJson<'a>>,
    message: Option<RawJson<'a>>,
    usage: Option<RawJson<'a>>,
    error: Option<RawJson<'a>>,
}
