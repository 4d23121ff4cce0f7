//! The events of APIs whose vendors keep the conversation: OpenAI's Assistants, Mistral's Conversations.

use crate::ErrorClass;
use crate::error_class::{classify_error, classify_error_body};
use crate::json::RawJson;
use crate::stream::StreamSummary;

/// An event of OpenAI's Assistants API.
pub(crate) fn thread(seen: &mut StreamSummary, name: &[u8], data: &[u8]) {
    seen.shows_form();
    match name {
        b"thread.created" | b"thread.run.created" => seen.ids.add(data),
        b"thread.run.failed" => {
            let error = RawJson::parse(data).ok().and_then(|run| run.field("last_error"));
            let said = error.map_or(&b""[..], RawJson::bytes);
            seen.fail(error.map_or(ErrorClass::ServerError, classify_error), said);
        }
        b"thread.run.expired" => seen.fail(ErrorClass::TimedOut, data),
        // What is asked of the client is an answer.
        b"thread.run.requires_action" => {
            seen.content(data.len());
            seen.ends(true);
        }
        b"thread.run.completed" | b"thread.run.incomplete" | b"thread.run.cancelled" => seen.ends(true),
        // Content that came before in parts does not count twice.
        b"thread.message.completed" => seen.content(0),
        _ if name.ends_with(b".delta") => seen.content(data.len()),
        _ => {}
    }
}

/// Where a stream of Mistral's Conversations API begins and ends (docs.mistral.ai, agents); what is between is content.
pub(crate) fn conversation(seen: &mut StreamSummary, kind: &[u8], data: &[u8]) {
    seen.shows_form();
    match kind {
        b"conversation.response.started" => seen.ids.add(data),
        b"conversation.response.error" => seen.fail(classify_error_body(data), data),
        _ => {
            if seen.content {
                seen.ends(true);
            }
            seen.done();
        }
    }
}
