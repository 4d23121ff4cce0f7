//! The answers of Ollama's own API, `/api/chat` and `/api/generate`, whole or as one line of many.

use crate::answer::is_own_end;
use crate::json::RawJson;

/// What an object says: text, thinking, calls of tools, images. Source: `api/types.go`, `ChatResponse` and `GenerateResponse`.
pub(crate) fn said(object: RawJson<'_>) -> impl Iterator<Item = RawJson<'_>> {
    let [message, response, thinking, calls, image] =
        object.pick(["message", "response", "thinking", "tool_calls", "image"]);
    let of_message = |name| message.and_then(|message| message.field(name));
    let all = [
        response,
        thinking,
        calls,
        image,
        of_message("content"),
        of_message("thinking"),
        of_message("tool_calls"),
        of_message("images"),
    ];
    all.into_iter().flatten().filter(|text| !text.is_blank())
}

/// Whether the last object ends what the model made by itself, of which nothing is counted. A model that is only loaded or unloaded, or
/// a reason that is not stated, explains that nothing was made.
pub(crate) fn made_nothing(last: RawJson<'_>) -> bool {
    let [done, reason, count] = last.pick(["done", "done_reason", "eval_count"]);
    done.is_some_and(RawJson::is_true)
        && reason.is_some_and(is_own_end)
        && count.and_then(RawJson::unsigned).is_none_or(|count| count == 0)
}

/// Whether a whole answer has the form of these, and nothing in it.
pub(crate) fn is_empty(answer: RawJson<'_>) -> bool {
    let has_form = answer.pick(["message", "response"]).iter().any(Option::is_some);
    has_form && made_nothing(answer) && said(answer).next().is_none()
}
