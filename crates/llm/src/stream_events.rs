//! What one event of a streamed answer is: preamble, content, end, error or usage, in each protocol.

use crate::ErrorClass;
use crate::answer::{gave_up, is_own_end, says_nothing};
use crate::conversation_events;
use crate::error_class::{classify_error, classify_error_body};
use crate::foreign_error::foreign_error;
use crate::json::{Cursor, RawJson, SyntaxError};
use crate::protocol::Protocol;
use crate::response_events;
use crate::silent_parts::are_silent;
use crate::stream::StreamSummary;
use crate::{vendor_codes, vendor_streams};

/// The fields of an event that matter, whatever its protocol. Most events are chunks of chats, so those are read in the same
/// pass.
#[derive(Debug, Default)]
struct Fields<'a> {
    kind: Option<RawJson<'a>>,
    object: Option<RawJson<'a>>,
    error: Option<RawJson<'a>>,
    chat: Option<Chunk<'a>>,
    candidates: Option<RawJson<'a>>,
    prompt_feedback: Option<RawJson<'a>>,
    delta: Option<RawJson<'a>>,
    content_block: Option<RawJson<'a>>,
    item: Option<RawJson<'a>>,
    response: Option<RawJson<'a>>,
    usage: Option<RawJson<'a>>,
    /// An object that may have the usage inside.
    usage_holder: Option<RawJson<'a>>,
    service_tier: Option<RawJson<'a>>,
    /// It has a field of one of the forms of [`vendor_codes`].
    may_be_coded: bool,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Result<Self, SyntaxError> {
        let mut read = Self::default();
        let mut cursor = Cursor::new(data);
        cursor.fields(|name, value| read.field(name, value))?;
        if cursor.is_at_end() { Ok(read) } else { Err(SyntaxError) }
    }

    fn has_usage(&self) -> bool {
        let held = || self.usage_holder?.field("usage").filter(|usage| !usage.is_null());
        self.usage.or_else(held).is_some()
    }

    fn field(&mut self, name: &[u8], value: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        match name {
            b"choices" => return self.chat.insert(Chunk::default()).read(value),
            b"type" => self.kind = Some(value.raw()?),
            b"object" => self.object = Some(value.raw()?),
            b"error" => self.error = Some(value.raw()?),
            b"delta" => self.delta = Some(value.raw()?),
            b"usage" | b"usageMetadata" => self.usage = Some(value.raw()?).filter(|usage| !usage.is_null()),
            b"service_tier" => self.service_tier = Some(value.raw()?),
            b"candidates" => self.candidates = Some(value.raw()?),
            b"promptFeedback" => self.prompt_feedback = Some(value.raw()?),
            b"content_block" => self.content_block = Some(value.raw()?),
            b"item" => self.item = Some(value.raw()?),
            b"response" => {
                self.response = Some(value.raw()?).filter(|response| response.is_object());
                self.usage_holder = self.response;
            }
            b"base_resp" | b"sid" | b"header" | b"Response" | b"ErrorMsg" | b"error_code" => self.may_be_coded = true,
            b"message" => self.usage_holder = Some(value.raw()?).filter(|holder| holder.is_object()),
            b"x_groq" => {
                self.usage_holder = Some(value.raw()?).filter(|holder| holder.is_object());
                self.error = self.error.or_else(|| self.usage_holder?.field("error"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The choices of a chunk of OpenAI's chat completions or completions.
#[derive(Debug, Default)]
struct Chunk<'a> {
    content: bool,
    content_bytes: usize,
    finished: bool,
    /// A reason for the end says why there may be no content.
    explained: bool,
    /// A reason for the end by which the server gave up.
    gave_up: Option<ErrorClass>,
    error: Option<RawJson<'a>>,
    /// What is said aloud, with its id.
    audio: Option<RawJson<'a>>,
}

impl<'a> Chunk<'a> {
    fn read(&mut self, choices: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        choices.elements(|choice| {
            choice.fields(|name, value| {
                match name {
                    b"delta" | b"message" => return value.fields(|name, value| self.delta_field(name, value.raw()?)),
                    b"finish_reason" => {
                        let reason = value.raw()?;
                        self.gave_up = self.gave_up.or(gave_up(reason));
                        self.finished |= !reason.is_blank();
                        self.explained |= !reason.is_blank() && !is_own_end(reason);
                    }
                    b"text" => self.add(value.raw()?),
                    b"error" => self.error = Some(value.raw()?).filter(|error| !error.is_blank()),
                    _ => {}
                }
                Ok(())
            })
        })
    }

    /// A field of a delta: text, reasoning, refusal, tool calls, audio, and whatever vendors add. Numbers and flags are none.
    fn delta_field(&mut self, name: &[u8], value: RawJson<'a>) -> Result<(), SyntaxError> {
        match name {
            b"content" => self.add(value),
            _ if says_nothing(name) => {}
            b"tool_calls" => {
                for call in value.elements() {
                    self.content = true;
                    let text = |name| call.field("function")?.field(name).map(length);
                    self.content_bytes += text("name").unwrap_or(0) + text("arguments").unwrap_or(0);
                }
            }
            _ => {
                if name == b"audio" {
                    self.audio = Some(value);
                }
                self.add(value);
            }
        }
        Ok(())
    }

    fn add(&mut self, value: RawJson<'a>) {
        if matches!(value.bytes().first(), Some(b'"' | b'[' | b'{')) && !value.is_blank() && !are_silent(value) {
            self.content = true;
            self.content_bytes += length(value);
        }
    }

    fn apply(&self, seen: &mut StreamSummary) {
        seen.speaks(Protocol::OpenAiChat);
        if self.content {
            seen.content(self.content_bytes);
        }
        if let Some(audio) = self.audio {
            seen.ids.add(audio.bytes());
        }
        if let Some(error) = self.error {
            seen.fail(classify_error(error), error.bytes());
        } else if let Some(class) = self.gave_up {
            seen.fail(class, b"");
        } else if self.finished {
            seen.ends(self.explained);
        }
    }
}

/// Whether an event of this name or type only keeps a connection alive.
pub(crate) fn is_ping(name: &[u8]) -> bool {
    matches!(name, b"ping" | b"keepalive" | b"keep-alive" | b"heartbeat")
}

/// Takes an event whose data begins like an object.
///
/// # Errors
/// It is no JSON; nothing was taken.
pub(crate) fn object(seen: &mut StreamSummary, name: &[u8], data: &[u8]) -> Result<(), SyntaxError> {
    let fields = Fields::read(data)?;
    let kind = fields.kind.and_then(RawJson::quoted).unwrap_or_default();
    // vLLM's and Mistral's have their fields at the top.
    let is_error = kind == b"error" || fields.object.is_some_and(|object| object.is_text("error"));
    if is_error || fields.error.is_some_and(|error| !error.is_blank()) {
        seen.fail(classify_error_body(data), data);
        return Ok(());
    }
    if fields.may_be_coded && reports_error(&fields, data) {
        seen.fail(classify_error_body(data), data);
        return Ok(());
    }
    if let Some(tier) = fields.service_tier {
        seen.counts.read_tier(tier);
    }
    if let Some(usage) = fields.usage {
        seen.counts.read(usage);
    } else if let Some(holder) = fields.usage_holder {
        seen.counts.read_holder(holder);
    }
    if let Some(chunk) = &fields.chat {
        if !seen.content {
            seen.ids.add_chat(data);
        }
        chunk.apply(seen);
    } else if kind.starts_with(b"response.") {
        seen.speaks(Protocol::OpenAiResponses);
        response_events::responses(seen, kind, fields.response, fields.item, fields.delta, data);
    } else if fields.candidates.is_some() || fields.prompt_feedback.is_some() {
        seen.speaks(Protocol::Gemini);
        gemini(seen, &fields);
    } else if !anthropic(seen, kind, &fields) {
        other(seen, name, kind, &fields, data);
    }
    Ok(())
}

/// Whether an event is an error in a vendor's own form. Not inlined, because it is rare.
#[inline(never)]
fn reports_error(fields: &Fields<'_>, data: &[u8]) -> bool {
    if fields.chat.as_ref().is_some_and(|chunk| chunk.content) {
        return false;
    }
    let Ok(top) = RawJson::parse(data) else { return false };
    // Baidu's answers have a text in `result`.
    let is_baidus = || {
        let code = top.field("error_code").and_then(RawJson::unsigned).is_some_and(|code| code != 0);
        code && top.field("error_msg").is_some() && top.field("result").is_none_or(RawJson::is_blank)
    };
    vendor_codes::reports_error(top) || is_baidus()
}

/// Anthropic's Messages API; returns whether the event is one of it.
fn anthropic(seen: &mut StreamSummary, kind: &[u8], fields: &Fields<'_>) -> bool {
    match kind {
        b"message_start" => {}
        b"content_block_start" => {
            if let Some(block) = fields.content_block {
                seen.begins_part(block);
                let kind = block.field("type");
                let text = kind.is_some_and(|kind| kind.is_text("text") || kind.is_text("thinking"));
                let filled = |name| block.field(name).is_some_and(|text| !text.is_blank());
                seen.content |= !text || filled("text") || filled("thinking");
            }
        }
        b"content_block_delta" => {
            if let Some(delta) = fields.delta {
                delta.for_each_field(|name, value| match name {
                    b"type" => {}
                    b"signature" => seen.content = true,
                    _ if !value.is_blank() => seen.content(length(value)),
                    _ => {}
                });
            }
        }
        b"content_block_stop" => {}
        b"message_delta" => {
            let reason = fields.delta.and_then(|delta| delta.field("stop_reason"));
            if let Some(reason) = reason.filter(|reason| !reason.is_blank()) {
                seen.ends(!is_own_end(reason));
            }
            if let Some(container) = fields.delta.and_then(|delta| delta.field("container")) {
                seen.ids.add(container.bytes());
            }
        }
        b"message_stop" => seen.done(),
        _ => return false,
    }
    seen.speaks(Protocol::Anthropic);
    true
}

/// Gemini's `streamGenerateContent`.
fn gemini(seen: &mut StreamSummary, fields: &Fields<'_>) {
    for candidate in fields.candidates.into_iter().flat_map(RawJson::elements) {
        let parts = candidate.field("content").and_then(|content| content.field("parts"));
        for part in parts.into_iter().flat_map(RawJson::elements) {
            seen.begins_part(part);
            part.for_each_field(|name, value| {
                let says_something = matches!(value.bytes().first(), Some(b'"' | b'{')) && !value.is_blank();
                if says_something && name != b"thoughtSignature" {
                    seen.content(length(value));
                }
            });
        }
        let reason = candidate.field("finishReason").filter(|reason| !reason.is_blank());
        if let Some(reason) = reason.filter(|reason| !reason.is_text("FINISH_REASON_UNSPECIFIED")) {
            seen.ends(!is_own_end(reason));
        }
    }
    // The prompt was refused, which is an answer.
    let blocked = fields.prompt_feedback.and_then(|feedback| feedback.field("blockReason"));
    if blocked.is_some_and(|reason| !reason.is_blank()) {
        seen.ends(true);
    }
}

/// Everything else: the Assistants API by the names of its events, Cohere, images, speech, and unknown events.
fn other(seen: &mut StreamSummary, name: &[u8], kind: &[u8], fields: &Fields<'_>, data: &[u8]) {
    if is_ping(name) || is_ping(kind) {
        return seen.was_ping();
    }
    if name.starts_with(b"thread.") {
        return conversation_events::thread(seen, name, data);
    }
    match kind {
        b"conversation.response.started" | b"conversation.response.error" | b"conversation.response.done" => {
            conversation_events::conversation(seen, kind, data);
        }
        // Cohere.
        b"message-start" | b"content-start" | b"tool-call-end" | b"content-end" => seen.shows_form(),
        b"content-delta" | b"tool-plan-delta" | b"tool-call-start" | b"tool-call-delta" => {
            seen.shows_form();
            seen.content(data.len());
        }
        b"message-end" => {
            let reason = fields.delta.and_then(|delta| delta.field("finish_reason"));
            if let Some(class) = reason.and_then(gave_up) {
                return seen.fail(class, data);
            }
            seen.ends(true);
            if let Some(usage) = fields.delta.and_then(|delta| delta.field("usage")) {
                seen.counts.read(usage);
            }
        }
        _ if is_of_media(kind) => {
            seen.shows_form();
            seen.content(data.len());
            if kind.ends_with(b".completed") || kind.ends_with(b".done") {
                seen.ends(true);
            }
        }
        // A usage alone, or a chunk without choices.
        b"" if fields.has_usage() && vendor_streams::is_usage_alone(data) => {}
        b"" if RawJson::parse(data).is_ok_and(RawJson::is_blank) => {}
        b"" if fields.object.is_some_and(|object| object.is_text("chat.completion.chunk")) => {}
        _ => match error_of_unknown_form(seen, data) {
            Some(class) => seen.fail(class, data),
            None => vendor_streams::take(seen, data),
        },
    }
}

/// Whether an event is of OpenAI's streams of images, speech and transcripts, whose last one is completed or done.
fn is_of_media(kind: &[u8]) -> bool {
    let beginnings: [&[u8]; 4] = [b"image_generation.", b"image_edit.", b"speech.audio.", b"transcript.text."];
    beginnings.iter().any(|beginning| kind.starts_with(beginning))
}

/// The error that an event of no known form is, before any content, in a stream that answers a request of a known protocol.
fn error_of_unknown_form(seen: &StreamSummary, data: &[u8]) -> Option<ErrorClass> {
    if seen.content || seen.protocol() == Protocol::Generic {
        return None;
    }
    let value = RawJson::parse(data).ok()?;
    // A word as code may be a state, such as `queued`, that content follows, unless it is known as that of an error.
    let [code, success, error_code, status, detail, errors] =
        value.pick(["code", "success", "error_code", "status", "detail", "errors"]);
    let is_error = code.is_some_and(|code| code.unsigned().is_some())
        || [success, error_code, status, detail, errors].iter().any(Option::is_some);
    foreign_error(value, false).filter(|class| is_error || *class != ErrorClass::ServerError)
}

/// The length of a value, in bytes between its quotes.
pub(crate) fn length(value: RawJson<'_>) -> usize {
    let bytes = value.bytes();
    if bytes.first() == Some(&b'"') { bytes.len().saturating_sub(2) } else { bytes.len() }
}
