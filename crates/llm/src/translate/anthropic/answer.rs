//! Whole answers: a message becomes a chat completion.

use super::{AnswerContext, usage, write};
use crate::json::RawJson;
use crate::translate::{BrokenAnswer, checked_json};
use crate::usage::of_answer;

/// Translates a whole answer with a good status. `created` is in seconds since 1970.
///
/// # Errors
/// It is cut, or no message: another target may answer.
pub fn answer(body: &[u8], context: &AnswerContext, created: u64) -> Result<Vec<u8>, BrokenAnswer> {
    let message = checked_json(body).filter(|message| message.is_object());
    let message = message.ok_or(BrokenAnswer("it is no JSON object, or cut"))?;
    let content = message.field("content").filter(|content| content.is_array());
    let content = content.ok_or(BrokenAnswer("it has no content"))?;
    let mut parts = Parts::default();
    let mut result = Ok(());
    content.for_each(|block| {
        if result.is_ok() {
            result = parts.add(block, context);
        }
    });
    result?;
    let has_calls = !parts.calls.is_empty();
    let reason = message.field("stop_reason").and_then(RawJson::text);
    let reason = reason.ok_or(BrokenAnswer("it has no stop_reason"))?;
    if reason == "tool_use" && !has_calls {
        return Err(BrokenAnswer("it stops for a tool call and has none"));
    }

    let mut out = Vec::with_capacity(body.len() + 256);
    out.push(b'{');
    write_head(&mut out, "chat.completion", message, context, created);
    out.extend_from_slice(b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"");
    write::name(&mut out, "content");
    if parts.has_text || !has_calls {
        out.push(b'"');
        out.extend_from_slice(&parts.text);
        out.push(b'"');
    } else {
        out.extend_from_slice(b"null");
    }
    write::name(&mut out, "refusal");
    match refusal(message) {
        Some(refusal) => out.extend_from_slice(refusal.bytes()),
        None => out.extend_from_slice(b"null"),
    }
    parts.write(&mut out);
    out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":\"");
    out.extend_from_slice(finish_reason(&reason, has_calls).as_bytes());
    out.extend_from_slice(b"\"}]");
    if let Ok(Some(used)) = of_answer(message.bytes()) {
        usage::write(&mut out, &used);
    }
    out.push(b'}');
    Ok(out)
}

/// The content of a message by its kinds. Texts are joined as they stand between their quotes, escapes and all.
#[derive(Debug, Default)]
struct Parts {
    has_text: bool,
    text: Vec<u8>,
    reasoning: Vec<u8>,
    thinking: Vec<u8>,
    calls: Vec<u8>,
}

impl Parts {
    fn add(&mut self, block: RawJson<'_>, context: &AnswerContext) -> Result<(), BrokenAnswer> {
        let kind = block.field("type").and_then(RawJson::text).ok_or(BrokenAnswer("a block has no type"))?;
        match &*kind {
            "text" => {
                let text = block.field("text").and_then(RawJson::quoted);
                self.text.extend_from_slice(text.ok_or(BrokenAnswer("a text block has no text"))?);
                self.has_text = true;
            }
            "thinking" => {
                let text = block.field("thinking").filter(|text| text.quoted().is_some());
                let text = text.ok_or(BrokenAnswer("a thinking block has no thinking"))?;
                self.reasoning.extend_from_slice(text.quoted().unwrap_or_default());
                let signature = block.field("signature").filter(|text| text.quoted().is_some());
                write_thinking(&mut self.thinking, None, Some(text), signature);
            }
            "redacted_thinking" => {
                let data = block.field("data").ok_or(BrokenAnswer("a redacted thinking block has no data"))?;
                write_redacted(&mut self.thinking, None, data);
            }
            "tool_use" => self.call(block, context)?,
            // What the vendor's own tools did, and what is not known yet.
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, block: RawJson<'_>, context: &AnswerContext) -> Result<(), BrokenAnswer> {
        let (id, name) = call_id_and_name(block)?;
        let input = block.field("input");
        let input = match input {
            None => "{}",
            Some(input) if input.is_object() => std::str::from_utf8(input.bytes()).unwrap_or("{}"),
            Some(_) => return Err(BrokenAnswer("a tool call's input is no object")),
        };
        let out = &mut self.calls;
        write::comma(out);
        out.push(b'{');
        write::raw(out, "id", id);
        out.extend_from_slice(b",\"type\":\"function\",\"function\":{");
        write::text(out, "name", context.tool_name(&name));
        write::text(out, "arguments", input);
        out.extend_from_slice(b"}}");
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        if !self.reasoning.is_empty() {
            write::name(out, "reasoning_content");
            out.push(b'"');
            out.extend_from_slice(&self.reasoning);
            out.push(b'"');
        }
        for (name, list) in [("thinking_blocks", &self.thinking), ("tool_calls", &self.calls)] {
            if !list.is_empty() {
                write::name(out, name);
                out.push(b'[');
                out.extend_from_slice(list);
                out.push(b']');
            }
        }
    }
}

/// The id, which is copied, and the name of a call.
pub(super) fn call_id_and_name(block: RawJson<'_>) -> Result<(RawJson<'_>, String), BrokenAnswer> {
    let id = block.field("id").filter(|id| id.quoted().is_some_and(|id| !id.is_empty()));
    let name = block.field("name").and_then(RawJson::text).filter(|name| !name.is_empty());
    Ok((
        id.ok_or(BrokenAnswer("a tool call has no id"))?,
        name.ok_or(BrokenAnswer("a tool call has no name"))?.into_owned(),
    ))
}

/// The fields that answers and chunks begin with.
pub(super) fn write_head(out: &mut Vec<u8>, object: &str, message: RawJson<'_>, context: &AnswerContext, created: u64) {
    match message.field("id").filter(|id| id.quoted().is_some()) {
        Some(id) => write::raw(out, "id", id),
        None => write::text(out, "id", "msg"),
    }
    write::text(out, "object", object);
    write::name(out, "created");
    write::number(out, created);
    match message.field("model").filter(|model| model.quoted().is_some_and(|model| !model.is_empty())) {
        Some(model) => write::raw(out, "model", model),
        None => write::text(out, "model", &context.model),
    }
}

/// A block of thinking, or a piece of one. Its index is there in streams: the vendor's and OpenAI's SDKs put lists together by it.
pub(super) fn write_thinking(
    out: &mut Vec<u8>,
    index: Option<u64>,
    text: Option<RawJson<'_>>,
    signature: Option<RawJson<'_>>,
) {
    write::comma(out);
    out.push(b'{');
    if let Some(index) = index {
        write::name(out, "index");
        write::number(out, index);
    }
    write::text(out, "type", "thinking");
    for (name, value) in [("thinking", text), ("signature", signature)] {
        if let Some(value) = value {
            write::raw(out, name, value);
        }
    }
    out.push(b'}');
}

/// A block of thinking that only the vendor can read.
pub(super) fn write_redacted(out: &mut Vec<u8>, index: Option<u64>, data: RawJson<'_>) {
    write::comma(out);
    out.push(b'{');
    if let Some(index) = index {
        write::name(out, "index");
        write::number(out, index);
    }
    write::text(out, "type", "redacted_thinking");
    write::raw(out, "data", data);
    out.push(b'}');
}

/// Why the vendor's filter stopped the answer, where it says so: in a message, or in the delta of `message_delta`.
pub(super) fn refusal(message: RawJson<'_>) -> Option<RawJson<'_>> {
    message.field("stop_details")?.field("explanation").filter(|text| text.quoted().is_some())
}

/// OpenAI's reason for the end. Source: `StopReason` of the vendor's SDK; `compaction` is in beta.
pub(super) fn finish_reason(stop_reason: &str, has_calls: bool) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" | "compaction" => "length",
        "refusal" => "content_filter",
        "tool_use" => "tool_calls",
        "end_turn" | "stop_sequence" => "stop",
        // assumed: a reason that is not known is a good end.
        _ if has_calls => "tool_calls",
        _ => "stop",
    }
}

/// Whether the answer may end for this reason within a tool call.
pub(super) fn may_cut_a_call(stop_reason: &str) -> bool {
    matches!(finish_reason(stop_reason, false), "length" | "content_filter")
}
