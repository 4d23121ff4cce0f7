//! Whole answers: a message becomes a chat completion.

use std::borrow::Cow;

use super::usage;
use crate::json::RawJson;
use crate::translate::completion::{Message, write_head};
use crate::translate::{BrokenAnswer, ChatContext, checked_json, write};
use crate::usage::of_answer;

/// Translates a whole answer with a good status. `created` is in seconds since 1970.
///
/// # Errors
/// It is cut, or no message: another target may answer.
pub fn answer(body: &[u8], context: &ChatContext, created: u64) -> Result<Vec<u8>, BrokenAnswer> {
    let message = checked_json(body).filter(|message| message.is_object());
    let message = message.ok_or(BrokenAnswer("it is no JSON object, or cut"))?;
    let content = message.field("content").filter(|content| content.is_array());
    let content = content.ok_or(BrokenAnswer("it has no content"))?;
    let mut made = Message::default();
    content.elements().try_for_each(|block| add(&mut made, block, context))?;
    let reason = message.field("stop_reason").and_then(RawJson::text);
    let reason = reason.ok_or(BrokenAnswer("it has no stop_reason"))?;
    if reason == "tool_use" && !made.has_calls() {
        return Err(BrokenAnswer("it stops for a tool call and has none"));
    }

    let mut out = Vec::with_capacity(body.len() + 256);
    out.push(b'{');
    let [id, model] = id_and_model(message, context);
    write_head(&mut out, "chat.completion", &id, created, &model);
    made.write(refusal(message), finish_reason(&reason, made.has_calls()), &mut out);
    if let Ok(Some(used)) = of_answer(message.bytes()) {
        usage::write(&mut out, &used);
    }
    out.push(b'}');
    Ok(out)
}

fn add(message: &mut Message, block: RawJson<'_>, context: &ChatContext) -> Result<(), BrokenAnswer> {
    let kind = block.field("type").and_then(RawJson::text).ok_or(BrokenAnswer("a block has no type"))?;
    let string = |name| block.field(name).filter(|text| text.quoted().is_some());
    match &*kind {
        "text" => {
            let text = string("text").and_then(RawJson::quoted);
            message.add_text(text.ok_or(BrokenAnswer("a text block has no text"))?);
        }
        "thinking" => {
            let text = string("thinking").ok_or(BrokenAnswer("a thinking block has no thinking"))?;
            message.add_reasoning(text.quoted().unwrap_or_default());
            message.add_thinking(Some(text.bytes()), string("signature").map(RawJson::bytes));
        }
        "redacted_thinking" => {
            let data = block.field("data").ok_or(BrokenAnswer("a redacted thinking block has no data"))?;
            message.add_redacted(data);
        }
        "tool_use" => message.add_call(block, "id", context)?,
        // What the vendor's own tools did, and what is not known yet.
        _ => {}
    }
    Ok(())
}

/// The id and the model of an answer, as JSON strings.
pub(super) fn id_and_model<'a>(message: RawJson<'a>, context: &ChatContext) -> [Cow<'a, [u8]>; 2] {
    let string = |name| message.field(name).filter(|text| text.quoted().is_some_and(|text| !text.is_empty()));
    [("id", "msg"), ("model", context.model.as_str())].map(|(name, default)| match string(name) {
        Some(text) => Cow::Borrowed(text.bytes()),
        None => Cow::Owned(write::to_json(default)),
    })
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
