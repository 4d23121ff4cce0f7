//! The events of OpenAI's Responses API.

use crate::error_class::classify_error_body;
use crate::json::RawJson;
use crate::silent_parts::{are_silent, is_silent};
use crate::stream::StreamSummary;
use crate::stream_events::length;

/// Takes an event with these fields.
pub(crate) fn responses(
    seen: &mut StreamSummary,
    kind: &[u8],
    response: Option<RawJson<'_>>,
    item: Option<RawJson<'_>>,
    delta: Option<RawJson<'_>>,
    data: &[u8],
) {
    match kind {
        b"response.created" => {
            if let Some(response) = response {
                seen.ids.add(response.bytes());
            }
        }
        b"response.in_progress"
        | b"response.queued"
        | b"response.content_part.added"
        | b"response.reasoning_summary_part.added"
        | b"response.mcp_list_tools.in_progress" => {}
        b"response.output_item.added" => {
            if let Some(item) = item {
                seen.ids.add(item.bytes());
            }
            let kind = item.and_then(|item| item.field("type"));
            // A message, reasoning and a list of tools begin empty; a call of a tool has its name.
            let begins_empty =
                |kind: RawJson<'_>| ["message", "reasoning", "mcp_list_tools"].iter().any(|known| kind.is_text(known));
            seen.content |= !kind.is_none_or(begins_empty);
        }
        b"response.output_item.done" => {
            // What is encrypted in it is whole only now.
            if let Some(item) = item {
                seen.ids.add(item.bytes());
                seen.begins_part(item);
            }
            seen.content |= !item.is_some_and(is_silent);
        }
        // The whole of what came in parts, which may be nothing.
        b"response.output_text.done" | b"response.content_part.done" if !seen.content => {
            let said = RawJson::parse(data).ok().map(|event| event.pick(["text", "part"]));
            let says_nothing = matches!(said, Some([Some(text), _]) if text.is_blank())
                || matches!(said, Some([_, Some(part)]) if is_silent(part));
            seen.content = !says_nothing;
        }
        b"response.failed" => seen.fail(classify_error_body(data), data),
        b"response.incomplete" | b"response.cancelled" => {
            seen.ends(true);
            seen.done();
        }
        b"response.completed" => {
            completed(seen, response.and_then(|response| response.field("output")));
        }
        _ if kind.ends_with(b".delta") => {
            if let Some(delta) = delta.filter(|delta| !delta.is_blank()) {
                seen.content(length(delta));
            }
        }
        _ => seen.content = true,
    }
}

/// The response ended as it should, with this output.
fn completed(seen: &mut StreamSummary, output: Option<RawJson<'_>>) {
    match output {
        Some(output) if output.is_blank() => {}
        Some(output) if are_silent(output) => {
            output.elements().for_each(|item| seen.begins_part(item));
            seen.ends(false);
        }
        _ => seen.ends(true),
    }
    seen.done();
}
