//! Writes the chunks of a translated stream.

use super::answer::{self, write_head};
use super::{AnswerContext, usage, write};
use crate::json::RawJson;
use crate::usage::Usage;

/// What the chunks of one stream have in common.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// What each begins with, up to its choices; empty until the answer has begun.
    head: Vec<u8>,
    /// The role was said, which comes with the first content.
    pub(super) has_role: bool,
    include_usage: bool,
}

impl Chunks {
    /// The answer begins.
    pub(super) fn start(&mut self, message: RawJson<'_>, context: &AnswerContext, created: u64) {
        self.include_usage = context.include_usage;
        self.head.extend_from_slice(b"data: {");
        write_head(&mut self.head, "chat.completion.chunk", message, context, created);
        self.head.extend_from_slice(b",\"choices\":[");
    }

    pub(super) const fn has_begun(&self) -> bool {
        !self.head.is_empty()
    }

    /// Begins a chunk up to the fields of its delta.
    pub(super) fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{");
        if !self.has_role {
            self.has_role = true;
            out.extend_from_slice(b"\"role\":\"assistant\"");
        }
    }

    /// Ends a chunk behind the fields of its delta.
    pub(super) fn close(&self, finish_reason: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        match finish_reason {
            None => out.extend_from_slice(b"null"),
            Some(reason) => write::string(out, reason),
        }
        out.extend_from_slice(b"}]");
        if self.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// A chunk with one field that is copied.
    pub(super) fn chunk(&mut self, field: &str, value: RawJson<'_>, out: &mut Vec<u8>) {
        self.open(out);
        write::raw(out, field, value);
        self.close(None, out);
    }

    /// A chunk with a piece of a call's arguments, which is the JSON string of it.
    pub(super) fn arguments(&mut self, call: u64, piece: &[u8], out: &mut Vec<u8>) {
        self.open(out);
        write::name(out, "tool_calls");
        out.extend_from_slice(b"[{\"index\":");
        write::number(out, call);
        out.extend_from_slice(b",\"function\":{\"arguments\":");
        out.extend_from_slice(piece);
        out.extend_from_slice(b"}}]");
        self.close(None, out);
    }

    /// A chunk with a piece of a block of thinking.
    pub(super) fn thinking(
        &mut self,
        block: u64,
        text: Option<RawJson<'_>>,
        signature: Option<RawJson<'_>>,
        out: &mut Vec<u8>,
    ) {
        self.open(out);
        if let Some(text) = text {
            write::raw(out, "reasoning_content", text);
        }
        write::name(out, "thinking_blocks");
        out.push(b'[');
        answer::write_thinking(out, Some(block), text, signature);
        out.push(b']');
        self.close(None, out);
    }

    /// The chunk with what was used, which has no choice.
    pub(super) fn usage(&self, used: &Usage, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.push(b']');
        usage::write(out, used);
        out.extend_from_slice(b"}\n\n");
    }
}
