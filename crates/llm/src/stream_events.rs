//! What one event of a streamed answer is: preamble, content, end, error or usage, in each protocol.

use crate::ErrorClass;
use crate::error_class::{classify_error, classify_error_body};
use crate::json::RawJson;
use crate::protocol::Protocol;
use crate::stream::Seen;

/// The fields of an event that matter, whatever its protocol.
#[derive(Debug, Default)]
struct Fields<'a> {
    kind: Option<RawJson<'a>>,
    error: Option<RawJson<'a>>,
    choices: Option<RawJson<'a>>,
    candidates: Option<RawJson<'a>>,
    prompt_feedback: Option<RawJson<'a>>,
    delta: Option<RawJson<'a>>,
    content_block: Option<RawJson<'a>>,
    item: Option<RawJson<'a>>,
    response: Option<RawJson<'a>>,
    /// A usage, or an object that may have one.
    has_usage: bool,
}

impl<'a> Fields<'a> {
    fn read(event: RawJson<'a>) -> Self {
        let mut read = Self::default();
        event.for_each_field(|name, value| match name {
            b"type" => read.kind = Some(value),
            b"error" => read.error = Some(value),
            b"choices" => read.choices = Some(value),
            b"candidates" => read.candidates = Some(value),
            b"promptFeedback" => read.prompt_feedback = Some(value),
            b"delta" => read.delta = Some(value),
            b"content_block" => read.content_block = Some(value),
            b"item" => read.item = Some(value),
            b"response" => {
                read.response = Some(value);
                read.has_usage |= value.is_object();
            }
            b"message" | b"x_groq" => read.has_usage |= value.is_object(),
            b"usage" | b"usageMetadata" => read.has_usage |= !value.is_null(),
            _ => {}
        });
        read
    }
}

/// Whether an event of this name or type only keeps a connection alive.
pub(crate) fn is_ping(name: &[u8]) -> bool {
    matches!(name, b"ping" | b"keepalive" | b"keep-alive" | b"heartbeat")
}

/// Takes an event whose data is an object.
pub(crate) fn object(seen: &mut Seen, name: &[u8], event: RawJson<'_>) {
    let fields = Fields::read(event);
    let kind = fields.kind.and_then(RawJson::text).unwrap_or_default();
    let kind = kind.as_ref();
    if kind == "error" || fields.error.is_some_and(|error| !error.is_blank()) {
        return seen.fail(classify_error_body(event.bytes()));
    }
    if fields.has_usage {
        seen.counts.read_top(event);
    }
    if kind.starts_with("response.") {
        seen.protocol = Protocol::OpenAiResponses;
        responses(seen, kind, &fields, event);
    } else if let Some(choices) = fields.choices {
        seen.protocol = Protocol::OpenAiChat;
        choices.for_each(|choice| chat_choice(seen, choice));
    } else if fields.candidates.is_some() || fields.prompt_feedback.is_some() {
        seen.protocol = Protocol::Gemini;
        gemini(seen, &fields);
    } else if !anthropic(seen, kind, &fields) {
        other(seen, name, kind, &fields, event);
    }
}

/// OpenAI's chat completions and completions: one choice of a chunk.
fn chat_choice(seen: &mut Seen, choice: RawJson<'_>) {
    let mut reason = None;
    choice.for_each_field(|name, value| match name {
        b"delta" | b"message" => value.for_each_field(|name, value| delta_field(seen, name, value)),
        b"text" if !value.is_blank() => seen.content(length(value)),
        b"finish_reason" if !value.is_blank() => reason = Some(value),
        b"error" if !value.is_blank() => seen.fail(classify_error(value)),
        _ => {}
    });
    match reason {
        // OpenRouter: the upstream failed.
        Some(reason) if reason.is_text("error") => seen.fail(ErrorClass::ServerError),
        Some(_) => seen.finished = true,
        None => {}
    }
}

/// A field of a delta: text, reasoning, refusal, tool calls, audio, and whatever vendors add. Numbers and flags are no content.
fn delta_field(seen: &mut Seen, name: &[u8], value: RawJson<'_>) {
    let says_something = matches!(value.bytes().first(), Some(b'"' | b'[' | b'{')) && !value.is_blank();
    match name {
        _ if !says_something => {}
        b"role" | b"name" | b"id" | b"type" | b"provider_specific_fields" | b"extra_content" => {}
        b"tool_calls" => {
            seen.content = true;
            value.for_each(|call| {
                let text = |name| call.field("function")?.field(name).map(length);
                seen.content_bytes += (text("name").unwrap_or(0) + text("arguments").unwrap_or(0)) as u64;
            });
        }
        _ => seen.content(length(value)),
    }
}

/// OpenAI's Responses API.
fn responses(seen: &mut Seen, kind: &str, fields: &Fields<'_>, event: RawJson<'_>) {
    match kind {
        "response.created"
        | "response.in_progress"
        | "response.queued"
        | "response.content_part.added"
        | "response.reasoning_summary_part.added" => {}
        "response.output_item.added" => {
            let kind = fields.item.and_then(|item| item.field("type"));
            // A message or reasoning begins empty; a call of a tool has its name.
            let begins_empty = kind.is_none_or(|kind| kind.is_text("message") || kind.is_text("reasoning"));
            seen.content |= !begins_empty;
        }
        "response.failed" => seen.fail(classify_error_body(event.bytes())),
        "response.incomplete" | "response.cancelled" => {
            seen.finished = true;
            seen.done();
        }
        "response.completed" => {
            let output = fields.response.and_then(|response| response.field("output"));
            seen.finished |= output.is_none_or(|output| !output.is_blank());
            seen.done();
        }
        _ if kind.ends_with(".delta") => {
            if let Some(delta) = fields.delta.filter(|delta| !delta.is_blank()) {
                seen.content(length(delta));
            }
        }
        _ => seen.content = true,
    }
}

/// Anthropic's Messages API; returns whether the event is one of it.
fn anthropic(seen: &mut Seen, kind: &str, fields: &Fields<'_>) -> bool {
    match kind {
        "message_start" => {}
        "content_block_start" => {
            if let Some(block) = fields.content_block {
                let kind = block.field("type");
                let text = kind.is_some_and(|kind| kind.is_text("text") || kind.is_text("thinking"));
                let filled = |name| block.field(name).is_some_and(|text| !text.is_blank());
                seen.content |= !text || filled("text") || filled("thinking");
            }
        }
        "content_block_delta" => {
            if let Some(delta) = fields.delta {
                delta.for_each_field(|name, value| match name {
                    b"type" => {}
                    b"signature" => seen.content = true,
                    _ if !value.is_blank() => seen.content(length(value)),
                    _ => {}
                });
            }
        }
        "content_block_stop" => {}
        "message_delta" => {
            let reason = fields.delta.and_then(|delta| delta.field("stop_reason"));
            seen.finished |= reason.is_some_and(|reason| !reason.is_blank());
        }
        "message_stop" => seen.done(),
        _ => return false,
    }
    seen.protocol = Protocol::Anthropic;
    true
}

/// Gemini's `streamGenerateContent`.
fn gemini(seen: &mut Seen, fields: &Fields<'_>) {
    if let Some(candidates) = fields.candidates {
        candidates.for_each(|candidate| {
            if let Some(parts) = candidate.field("content").and_then(|content| content.field("parts")) {
                parts.for_each(|part| {
                    part.for_each_field(|name, value| {
                        let says_something = matches!(value.bytes().first(), Some(b'"' | b'{')) && !value.is_blank();
                        if says_something && name != b"thoughtSignature" {
                            seen.content(length(value));
                        }
                    });
                });
            }
            let reason = candidate.field("finishReason").filter(|reason| !reason.is_blank());
            seen.finished |= reason.is_some_and(|reason| !reason.is_text("FINISH_REASON_UNSPECIFIED"));
        });
    }
    // The prompt was refused, which is an answer.
    let blocked = fields.prompt_feedback.and_then(|feedback| feedback.field("blockReason"));
    seen.finished |= blocked.is_some_and(|reason| !reason.is_blank());
}

/// Everything else: the Assistants API by the names of its events, Cohere, images, speech, and what nobody knows.
fn other(seen: &mut Seen, name: &[u8], kind: &str, fields: &Fields<'_>, event: RawJson<'_>) {
    if is_ping(name) || is_ping(kind.as_bytes()) {
        return;
    }
    let name = std::str::from_utf8(name).unwrap_or_default();
    if name.starts_with("thread.") {
        match name.rsplit('.').next() {
            Some("failed") => seen.fail(event.field("last_error").map_or(ErrorClass::ServerError, classify_error)),
            Some("delta") => seen.content(event.bytes().len()),
            Some("completed" | "incomplete" | "cancelled" | "requires_action") if name.starts_with("thread.run.") => {
                seen.finished = true;
            }
            _ => {}
        }
        return;
    }
    match kind {
        "message-start" | "content-start" | "tool-call-end" | "content-end" => {}
        "message-end" => {
            seen.finished = true;
            if let Some(usage) = fields.delta.and_then(|delta| delta.field("usage")) {
                seen.counts.read(usage);
            }
        }
        // A usage alone, or a chunk without choices.
        "" if fields.has_usage || event.is_blank() => {}
        "" if event.field("object").is_some_and(|object| object.is_text("chat.completion.chunk")) => {}
        _ => seen.content(event.bytes().len()),
    }
}

/// The length of a value, in bytes between its quotes.
fn length(value: RawJson<'_>) -> usize {
    let bytes = value.bytes();
    if bytes.first() == Some(&b'"') { bytes.len().saturating_sub(2) } else { bytes.len() }
}
