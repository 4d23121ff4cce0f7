//! The frames of `converse-stream` as the chunks of a chat completion.

use super::answer::{self, Called, TokenUsage};
use super::error::write_error;
use super::text;
use crate::event_stream::{Frame, Parser};
use crate::json::RawJson;
use crate::translate::completion::call_id_and_name;
use crate::translate::completion::chunks::Chunks;
use crate::translate::json_progress::JsonProgress;
use crate::translate::{AnswerId, BrokenAnswer, ChatContext, StreamTranslator, write};
use crate::usage::TokenCounts;

/// A streamed answer. It keeps at most one frame.
#[derive(Debug)]
pub struct ConverseStream {
    parser: Parser,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    context: ChatContext,
    chunks: Chunks,
    called: Called,
    block: Block,
    /// The arguments of a call broke off.
    cut_call: bool,
    usage: Option<TokenUsage>,
    counts: TokenCounts,
    progress: Progress,
}

/// The block that is open.
#[derive(Debug, Default)]
enum Block {
    /// None, or one that is no call of the client's.
    #[default]
    Other,
    /// A tool call, and how far its arguments have come.
    ToolCall(JsonProgress),
    /// Thinking, which begins with its first piece, of this kind and with the vendor's index of the block.
    Thought(Thought, Option<u64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thought {
    Thinking,
    /// What only the vendor can read.
    Redacted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    Running,
    /// The reason of the end has been written; the usage may follow.
    Finished,
    /// `[DONE]` has been written.
    Done,
    /// The vendor reported an error.
    Failed,
}

impl ConverseStream {
    /// The answer to a request of this context.
    pub fn new(context: ChatContext, id: &AnswerId) -> Self {
        let mut chunks = Chunks::default();
        let model = write::to_json(&context.model);
        chunks.begin(&write::to_json(&id.id), id.created, &model, context.include_usage);
        Self { parser: Parser::default(), state: State { context, chunks, ..State::default() } }
    }

    /// Takes a frame that was read already; not to be mixed with [`StreamTranslator::push`].
    pub(crate) fn take(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        self.state.take(frame, out)
    }
}

impl StreamTranslator for ConverseStream {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let (state, mut result) = (&mut self.state, Ok(()));
        let read = self.parser.push(bytes, |frame| {
            if result.is_ok() {
                result = state.take(frame, out);
            }
        });
        result.and(read.map_err(|_| BrokenAnswer("its frames cannot be read")))
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let read = std::mem::take(&mut self.parser).finish();
        match (self.state.progress, read) {
            (Progress::Failed | Progress::Done, _) => Ok(()),
            (_, Err(_)) => Err(BrokenAnswer("it ended within a frame")),
            (Progress::Running, Ok(())) => Err(BrokenAnswer("it ended before its end")),
            (Progress::Finished, Ok(())) => {
                self.state.done(out);
                Ok(())
            }
        }
    }

    fn counts(&self) -> TokenCounts {
        self.state.counts
    }
}

impl State {
    fn take(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if matches!(self.progress, Progress::Done | Progress::Failed) {
            return Ok(());
        }
        let payload = std::str::from_utf8(frame.payload).ok().map(str::as_bytes);
        let event = match frame.text(":message-type") {
            Some("event") => frame.text(":event-type").unwrap_or_default(),
            Some("exception") => {
                let message = payload.and_then(|payload| RawJson::parse(payload).ok()?.field("message")?.text());
                self.fail(frame.text(":exception-type"), message.as_deref(), out);
                return Ok(());
            }
            _ => {
                self.fail(frame.text(":error-code"), frame.text(":error-message"), out);
                return Ok(());
            }
        };
        // Trap 22: what cannot be read is no reason to go on as if nothing had been said.
        let payload = payload.and_then(|payload| RawJson::parse(payload).ok()).filter(|payload| payload.is_object());
        let Some(payload) = payload else { return Err(BrokenAnswer("an event in it is no JSON object")) };
        match event {
            "contentBlockStart" => self.start(payload, out),
            "contentBlockDelta" => self.delta(payload, out),
            "contentBlockStop" => {
                if let Block::ToolCall(arguments) = std::mem::replace(&mut self.block, Block::Other) {
                    if arguments.is_empty() {
                        self.chunks.arguments(b"\"{}\"", out);
                    } else {
                        self.cut_call |= !arguments.is_complete();
                    }
                }
                Ok(())
            }
            "messageStop" => self.stop(payload, out),
            "metadata" => {
                self.metadata(payload, out);
                Ok(())
            }
            // `messageStart` says nothing that the first chunk does not say; others may come to be.
            _ => Ok(()),
        }
    }

    fn start(&mut self, payload: RawJson<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        self.block = Block::Other;
        let call = payload.field("start").and_then(|start| start.field("toolUse"));
        let Some(call) = call else { return Ok(()) };
        if call.field("type").is_some_and(|kind| kind.is_text("server_tool_use")) {
            self.called.vendors_own = true;
            return Ok(());
        }
        let (id, name) = call_id_and_name(call, "toolUseId")?;
        text::inside(id)?;
        self.chunks.begin_call(id, self.context.tool_name(&name), out);
        self.called.clients = true;
        self.block = Block::ToolCall(JsonProgress::default());
        Ok(())
    }

    fn delta(&mut self, payload: RawJson<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let Some(delta) = payload.field("delta") else { return Err(BrokenAnswer("a delta in it is empty")) };
        let mut result = Ok(());
        delta.for_each_field(|name, value| {
            let written = match name {
                b"text" => self.text(value, out),
                b"toolUse" => self.input(value, out),
                b"reasoningContent" => self.reasoning(value, payload, out),
                _ => Ok(()),
            };
            if result.is_ok() {
                result = written;
            }
        });
        result
    }

    fn text(&mut self, value: RawJson<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if !text::inside(value)?.is_empty() {
            self.chunks.text(value, out);
        }
        Ok(())
    }

    fn input(&mut self, call: RawJson<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let Block::ToolCall(arguments) = &mut self.block else { return Ok(()) };
        let Some(input) = call.field("input") else { return Ok(()) };
        if !text::inside(input)?.is_empty() {
            let text = input.text().ok_or(BrokenAnswer("a piece of a tool call's arguments is no text"))?;
            arguments.push(text.as_bytes()).map_err(|_| BrokenAnswer("a tool call's arguments are no JSON"))?;
            self.chunks.arguments(input.bytes(), out);
        }
        Ok(())
    }

    /// Pieces of thinking have what a client must send back, with an index by which SDKs put them together.
    fn reasoning(
        &mut self,
        reasoning: RawJson<'_>,
        payload: RawJson<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), BrokenAnswer> {
        let block = payload.field("contentBlockIndex").and_then(RawJson::unsigned);
        let pieces = reasoning.pick(["text", "signature", "redactedContent"]);
        for (name, value) in ["text", "signature", "data"].into_iter().zip(pieces) {
            let Some(value) = value else { continue };
            if text::inside(value)?.is_empty() {
                continue;
            }
            self.think(if name == "data" { Thought::Redacted } else { Thought::Thinking }, block)?;
            match name {
                "text" => self.chunks.thinking(Some(value), None, out),
                "signature" => self.chunks.thinking(None, Some(value), out),
                _ => self.chunks.redacted(value, out),
            }
        }
        Ok(())
    }

    /// A piece of thinking belongs to the block that is open, or begins a new one.
    fn think(&mut self, thought: Thought, index: Option<u64>) -> Result<(), BrokenAnswer> {
        match self.block {
            Block::ToolCall(_) => return Err(BrokenAnswer("thinking came within a tool call")),
            Block::Thought(open, at) if (open, at) == (thought, index) => {}
            _ => {
                self.block = Block::Thought(thought, index);
                self.chunks.begin_thinking();
            }
        }
        Ok(())
    }

    fn stop(&mut self, payload: RawJson<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if matches!(self.block, Block::ToolCall(_)) {
            return Err(BrokenAnswer("it ended within a tool call"));
        }
        if self.progress != Progress::Running {
            return Err(BrokenAnswer("it ended twice"));
        }
        let reason = answer::finish_reason(payload.field("stopReason"), self.called)?;
        // An answer that is cut at its length, or by a filter, may end within a call.
        if self.cut_call && !matches!(reason, "length" | "content_filter") {
            return Err(BrokenAnswer("a tool call's arguments break off"));
        }
        self.chunks.finish(reason, None, out);
        self.progress = Progress::Finished;
        if self.usage.is_some() {
            self.done(out);
        }
        Ok(())
    }

    fn metadata(&mut self, payload: RawJson<'_>, out: &mut Vec<u8>) {
        if payload.field("usage").is_none() {
            return;
        }
        self.counts.read_top(payload);
        self.usage = TokenUsage::read(payload).or(self.usage);
        if self.progress == Progress::Finished {
            self.done(out);
        }
    }

    /// Appends the usage, if the client wants it, and the end.
    fn done(&mut self, out: &mut Vec<u8>) {
        self.chunks.end(self.usage.map(|usage| move |out: &mut Vec<u8>| usage.write(out)), out);
        self.progress = Progress::Done;
    }

    fn fail(&mut self, exception: Option<&str>, message: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        let message = message.unwrap_or("the model's vendor reported an error without a message");
        write_error(out, exception.unwrap_or_default(), None, message);
        out.extend_from_slice(b"\n\n");
        self.progress = Progress::Failed;
    }
}
