//! Writes chat completions of OpenAI's form from what the answers of other protocols say.

pub(super) mod chunks;

use super::{BrokenAnswer, ChatContext, write};
use crate::json::RawJson;

/// Writes the fields that answers and chunks begin with. The id and the model are JSON strings; `created` is in seconds since 1970.
pub(super) fn write_head(out: &mut Vec<u8>, object: &str, id: &[u8], created: u64, model: &[u8]) {
    write::json(out, "id", id);
    write::text(out, "object", object);
    write::name(out, "created");
    write::number(out, created);
    write::json(out, "model", model);
}

/// The id, which is copied from the field of that name, and the name of a call.
pub(super) fn call_id_and_name<'a>(call: RawJson<'a>, id: &str) -> Result<(RawJson<'a>, String), BrokenAnswer> {
    let id = call.field(id).filter(|id| id.quoted().is_some_and(|id| !id.is_empty()));
    let name = call.field("name").and_then(RawJson::text).filter(|name| !name.is_empty());
    Ok((
        id.ok_or(BrokenAnswer("a tool call in it has no id"))?,
        name.ok_or(BrokenAnswer("a tool call in it has no name"))?.into_owned(),
    ))
}

/// The message of a whole answer. Texts are joined as they stand between their quotes, escapes and all.
#[derive(Debug, Default)]
pub(super) struct Message {
    has_text: bool,
    text: Vec<u8>,
    reasoning: Vec<u8>,
    thinking: Vec<u8>,
    calls: Vec<u8>,
}

impl Message {
    /// A block of text, which may be empty; the inside of a JSON string.
    pub(super) fn add_text(&mut self, inside: &[u8]) {
        self.text.extend_from_slice(inside);
        self.has_text = true;
    }

    /// A text of reasoning; the inside of a JSON string.
    pub(super) fn add_reasoning(&mut self, inside: &[u8]) {
        self.reasoning.extend_from_slice(inside);
    }

    /// A block of thinking; JSON strings.
    pub(super) fn add_thinking(&mut self, text: Option<&[u8]>, signature: Option<&[u8]>) {
        write_thinking(&mut self.thinking, None, text, signature);
    }

    /// A block of thinking that only the vendor can read.
    pub(super) fn add_redacted(&mut self, data: RawJson<'_>) {
        write_redacted(&mut self.thinking, None, data);
    }

    /// A call of a tool of the client's, whose id is in the field `id`.
    pub(super) fn add_call(&mut self, call: RawJson<'_>, id: &str, context: &ChatContext) -> Result<(), BrokenAnswer> {
        let (id, name) = call_id_and_name(call, id)?;
        let input = call.field("input");
        if input.is_some_and(|input| !input.is_object()) {
            return Err(BrokenAnswer("a tool call's input is no object"));
        }
        let arguments = input.map_or(&b"{}"[..], RawJson::bytes);
        let out = &mut self.calls;
        write::comma(out);
        out.push(b'{');
        write::raw(out, "id", id);
        out.extend_from_slice(b",\"type\":\"function\",\"function\":{");
        write::text(out, "name", context.tool_name(&name));
        write::text(out, "arguments", &String::from_utf8_lossy(arguments));
        out.extend_from_slice(b"}}");
        Ok(())
    }

    pub(super) const fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Writes the field `choices`.
    pub(super) fn write(&self, refusal: Option<RawJson<'_>>, finish_reason: &str, out: &mut Vec<u8>) {
        write::name(out, "choices");
        out.extend_from_slice(b"[{\"index\":0,\"message\":{\"role\":\"assistant\"");
        write::name(out, "content");
        // Only calls stand without a text.
        if self.has_text || !self.has_calls() {
            write::quoted(out, &self.text);
        } else {
            out.extend_from_slice(b"null");
        }
        write::json(out, "refusal", refusal.map_or(b"null", RawJson::bytes));
        if !self.reasoning.is_empty() {
            write::name(out, "reasoning_content");
            write::quoted(out, &self.reasoning);
        }
        for (name, list) in [("thinking_blocks", &self.thinking), ("tool_calls", &self.calls)] {
            if !list.is_empty() {
                write::list(out, name, list);
            }
        }
        out.extend_from_slice(b"},\"logprobs\":null");
        write::text(out, "finish_reason", finish_reason);
        out.extend_from_slice(b"}]");
    }
}

/// A block of thinking, or a piece of one, in the form that LiteLLM's clients know. Its index is there in streams: the vendor's
/// and OpenAI's SDKs put lists together by it.
fn write_thinking(out: &mut Vec<u8>, index: Option<u64>, text: Option<&[u8]>, signature: Option<&[u8]>) {
    begin_block(out, index, "thinking");
    for (name, value) in [("thinking", text), ("signature", signature)] {
        if let Some(value) = value {
            write::json(out, name, value);
        }
    }
    out.push(b'}');
}

/// A block of thinking that only the vendor can read.
fn write_redacted(out: &mut Vec<u8>, index: Option<u64>, data: RawJson<'_>) {
    begin_block(out, index, "redacted_thinking");
    write::raw(out, "data", data);
    out.push(b'}');
}

fn begin_block(out: &mut Vec<u8>, index: Option<u64>, kind: &str) {
    write::comma(out);
    out.push(b'{');
    if let Some(index) = index {
        write::name(out, "index");
        write::number(out, index);
    }
    write::text(out, "type", kind);
}
