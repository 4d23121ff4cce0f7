//! The chunks of a streamed chat completion.

use super::{write, write_head, write_redacted, write_thinking};
use crate::json::RawJson;

/// What the chunks of one stream have in common.
#[derive(Debug, Default)]
pub(in crate::translate) struct Chunks {
    /// What each begins with, up to its choices; empty until the answer has begun.
    head: Vec<u8>,
    /// The role was said, which comes with the first content.
    has_role: bool,
    include_usage: bool,
    /// The number of tool calls and of blocks of thinking that have begun.
    calls: u64,
    thoughts: u64,
}

impl Chunks {
    /// The answer begins; the arguments are those of [`write_head`].
    pub(in crate::translate) fn begin(&mut self, id: &[u8], created: u64, model: &[u8], include_usage: bool) {
        self.include_usage = include_usage;
        self.head.extend_from_slice(b"data: {");
        write_head(&mut self.head, "chat.completion.chunk", id, created, model);
        self.head.extend_from_slice(b",\"choices\":[");
    }

    pub(in crate::translate) const fn has_begun(&self) -> bool {
        !self.head.is_empty()
    }

    pub(in crate::translate) const fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Begins a chunk up to the fields of its delta.
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{");
        if !self.has_role {
            self.has_role = true;
            out.extend_from_slice(b"\"role\":\"assistant\"");
        }
    }

    /// Ends a chunk behind the fields of its delta.
    fn close(&self, finish_reason: Option<&str>, out: &mut Vec<u8>) {
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

    /// A chunk with a piece of text.
    pub(in crate::translate) fn text(&mut self, piece: RawJson<'_>, out: &mut Vec<u8>) {
        self.open(out);
        write::raw(out, "content", piece);
        self.close(None, out);
    }

    /// The chunk that a call of a tool of the client's begins with.
    pub(in crate::translate) fn begin_call(&mut self, id: RawJson<'_>, name: &str, out: &mut Vec<u8>) {
        self.open(out);
        write::name(out, "tool_calls");
        out.extend_from_slice(b"[{\"index\":");
        write::number(out, self.calls);
        write::raw(out, "id", id);
        out.extend_from_slice(b",\"type\":\"function\",\"function\":{");
        write::text(out, "name", name);
        out.extend_from_slice(b",\"arguments\":\"\"}}]");
        self.close(None, out);
        self.calls += 1;
    }

    /// A chunk with a piece of the last call's arguments, which is a JSON string.
    pub(in crate::translate) fn arguments(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.open(out);
        write::name(out, "tool_calls");
        out.extend_from_slice(b"[{\"index\":");
        write::number(out, self.calls.saturating_sub(1));
        out.extend_from_slice(b",\"function\":{\"arguments\":");
        out.extend_from_slice(piece);
        out.extend_from_slice(b"}}]");
        self.close(None, out);
    }

    /// A block of thinking begins; nothing is written before its first piece.
    pub(in crate::translate) const fn begin_thinking(&mut self) {
        self.thoughts += 1;
    }

    /// A chunk with a piece of the last block of thinking.
    pub(in crate::translate) fn thinking(
        &mut self,
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
        let index = Some(self.thoughts.saturating_sub(1));
        write_thinking(out, index, text.map(RawJson::bytes), signature.map(RawJson::bytes));
        out.push(b']');
        self.close(None, out);
    }

    /// A chunk with a piece of the last block of thinking, which only the vendor can read.
    pub(in crate::translate) fn redacted(&mut self, data: RawJson<'_>, out: &mut Vec<u8>) {
        self.open(out);
        write::name(out, "thinking_blocks");
        out.push(b'[');
        write_redacted(out, Some(self.thoughts.saturating_sub(1)), data);
        out.push(b']');
        self.close(None, out);
    }

    /// The chunk with the reason of the end. An answer without any content has an empty text.
    pub(in crate::translate) fn finish(&mut self, reason: &str, refusal: Option<RawJson<'_>>, out: &mut Vec<u8>) {
        let is_empty = !self.has_role;
        self.open(out);
        if is_empty {
            out.extend_from_slice(b",\"content\":\"\"");
        }
        if let Some(refusal) = refusal {
            write::raw(out, "refusal", refusal);
        }
        self.close(Some(reason), out);
    }

    /// The end, and before it, if the client wants it, the chunk with what was used, which has no choice.
    pub(in crate::translate) fn end(&self, write_usage: Option<impl FnOnce(&mut Vec<u8>)>, out: &mut Vec<u8>) {
        if let Some(write_usage) = write_usage.filter(|_| self.include_usage) {
            out.extend_from_slice(&self.head);
            out.push(b']');
            write_usage(out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
