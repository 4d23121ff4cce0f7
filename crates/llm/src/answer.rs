//! Whether a whole answer with a good status is an answer.
//!
//! Servers and proxies send 200 with an error in it, with nothing in it, or with half of it. Only forms that are well known are
//! judged, and in doubt an answer is good: tool calls without text, an end at the length limit, a refusal, a filtered prompt,
//! lists of what is kept and everything that is no JSON pass.

use crate::error_class::classify_error_body;
use crate::foreign_error::foreign_error;
use crate::headers::AnswerHeaders;
use crate::json::{Cursor, RawJson};
use crate::made_list;
use crate::ollama;
use crate::protocol::Protocol;
use crate::silent_parts::are_silent;
use crate::stream::{StreamEnd, StreamState};
use crate::vendor_codes;
use types::outcome::ErrorClass;

/// What is wrong with a whole answer whose status is 2xx; `None` if nothing is. `protocol` is that of the request. Only for
/// requests that ask for something to be made: what is stored (a failed job, an empty file) may say so in its own answer.
pub fn answer_error(protocol: Protocol, status: u16, headers: &AnswerHeaders<'_>, body: &[u8]) -> Option<ErrorClass> {
    if has_no_answer(status) || (headers.is_compressed() && !body.is_empty()) {
        return None;
    }
    let trimmed = body.trim_ascii();
    let is_stream = headers.is_event_stream()
        || (headers.is_json() || may_be_untyped_json(protocol, headers)) && begins_as_event_stream(trimmed);
    if is_stream {
        let mut stream = StreamState::new(protocol);
        stream.push(body);
        return match stream.finish() {
            StreamEnd::Complete => None,
            StreamEnd::Truncated => Some(ErrorClass::BrokenAnswer),
            StreamEnd::Failed(class) => Some(class),
        };
    }
    // Samples of sound may be any bytes, those of white space too.
    if trimmed.is_empty() && (body.is_empty() || !headers.is_media()) {
        // A file may be empty, but never without a type. What is heard or seen has bytes, however silent it is, and in it may be no word.
        let may_be_empty = headers.media_type().is_some() && !headers.is_json() && !headers.is_media();
        let may_say_nothing = matches!(protocol, Protocol::Generic | Protocol::Transcription);
        return (!may_be_empty || !may_say_nothing).then_some(ErrorClass::EmptyAnswer);
    }
    // Samples of sound begin with any byte.
    let is_nameless = headers.media_type().is_none() && protocol != Protocol::Speech;
    let is_untyped = is_nameless || may_be_untyped_json(protocol, headers);
    let is_json = headers.is_json() || (is_untyped && trimmed.starts_with(b"{"));
    if !is_json {
        return is_page(protocol, status, headers).then_some(ErrorClass::BrokenAnswer);
    }
    let Some(value) = whole(body) else { return Some(ErrorClass::BrokenAnswer) };
    judge_value(protocol, value, headers.is_problem())
}

/// Whether an answer is a page for people in the place of one for programs, which its head shows: it comes from a proxy.
pub fn is_page(protocol: Protocol, status: u16, headers: &AnswerHeaders<'_>) -> bool {
    headers.is_html() && protocol != Protocol::Generic && !has_no_answer(status)
}

/// Whether an answer without the type of JSON may be JSON: it has no type, or one that servers give to whatever they have not typed.
pub fn may_be_untyped_json(protocol: Protocol, headers: &AnswerHeaders<'_>) -> bool {
    protocol.is_json() && headers.is_untyped()
}

/// Whether a good status says that there is nothing to read yet, or at all.
const fn has_no_answer(status: u16) -> bool {
    matches!(status, 202 | 204 | 205)
}

/// Whether a body begins as server-sent events do, whatever its type is: some proxies call a stream JSON, or a text.
pub fn begins_as_event_stream(body: &[u8]) -> bool {
    const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
    let body = body.trim_ascii_start();
    FIELDS.iter().any(|field| body.starts_with(field))
}

/// Whether a body is JSON to its end, or several objects and arrays in a row, with or without a byte order mark.
pub fn is_whole_json(body: &[u8]) -> bool {
    whole(body).is_some()
}

/// The first value of a body, if all that is there is whole: one JSON text, or several of objects and arrays in a row.
fn whole(body: &[u8]) -> Option<RawJson<'_>> {
    let mut cursor = Cursor::new(body);
    let first = cursor.raw().ok()?;
    if cursor.is_at_end() {
        // A word that is no JSON (`OK`) is text with the wrong type; numbers such as NaN inside of objects pass.
        let nested = first.is_object() || first.is_array();
        return (nested || serde_json::from_slice::<serde::de::IgnoredAny>(first.bytes()).is_ok()).then_some(first);
    }
    loop {
        if !matches!(cursor.peek(), Some(b'{' | b'[')) {
            return None;
        }
        cursor.skip().ok()?;
        if cursor.is_at_end() {
            return Some(first);
        }
    }
}

fn judge_value(protocol: Protocol, value: RawJson<'_>, is_problem: bool) -> Option<ErrorClass> {
    if value.is_array() && !value.is_blank() {
        // Gemini's stream as one array: an error ends it.
        let is_error = |it: &RawJson<'_>| it.field("error").is_some_and(|error| error.is_object() && !error.is_blank());
        return value.elements().find(is_error).map(class_of);
    }
    if !value.is_object() || value.is_blank() {
        // Nothing of the form that was asked for. Servers that know one form of transcripts send their text, which may be empty.
        let is_none = match protocol {
            Protocol::Generic => false,
            Protocol::Transcription | Protocol::Speech => value.is_null() || value.is_object(),
            _ => true,
        };
        return is_none.then_some(ErrorClass::EmptyAnswer);
    }
    let answer = Answer::read(value);
    if answer.may_be_coded && vendor_codes::reports_error(value) {
        return Some(class_of(value));
    }
    let foreign =
        || (protocol != Protocol::Generic && answer.has_none_of_an_answer()).then(|| foreign_error(value, is_problem));
    let lacks_all = match protocol {
        Protocol::OpenAiChat => answer.lacks_choices(),
        _ => made_list::lacks_all(protocol, value),
    };
    if lacks_all && answer.error().is_none() {
        return Some(ErrorClass::EmptyAnswer);
    }
    answer.error().or_else(|| answer.emptiness()).or_else(|| foreign()?)
}

pub(crate) fn class_of(value: RawJson<'_>) -> ErrorClass {
    classify_error_body(value.bytes())
}

/// The fields by which the forms of answers are distinguished.
#[derive(Debug, Default)]
struct Answer<'a> {
    value: RawJson<'a>,
    kind: Option<RawJson<'a>>,
    object: Option<RawJson<'a>>,
    error: Option<RawJson<'a>>,
    status: Option<RawJson<'a>>,
    choices: Option<RawJson<'a>>,
    candidates: Option<RawJson<'a>>,
    prompt_feedback: Option<RawJson<'a>>,
    usage_metadata: Option<RawJson<'a>>,
    content: Option<RawJson<'a>>,
    stop_reason: Option<RawJson<'a>>,
    output: Option<RawJson<'a>>,
    usage: Option<RawJson<'a>>,
    message: Option<RawJson<'a>>,
    text: Option<RawJson<'a>>,
    finish_reason: Option<RawJson<'a>>,
    /// It has a field of one of the forms of [`vendor_codes`].
    may_be_coded: bool,
}

impl<'a> Answer<'a> {
    fn read(value: RawJson<'a>) -> Self {
        let mut read = Self { value, ..Self::default() };
        value.for_each_field(|name, field| {
            let place = match name {
                b"type" => &mut read.kind,
                b"object" => &mut read.object,
                b"error" => &mut read.error,
                b"status" => &mut read.status,
                b"choices" => &mut read.choices,
                b"candidates" => &mut read.candidates,
                b"promptFeedback" => &mut read.prompt_feedback,
                b"usageMetadata" => &mut read.usage_metadata,
                b"content" => &mut read.content,
                b"stop_reason" | b"stopReason" => &mut read.stop_reason,
                b"output" => &mut read.output,
                b"usage" => &mut read.usage,
                b"message" => &mut read.message,
                b"text" => &mut read.text,
                b"finish_reason" => &mut read.finish_reason,
                b"base_resp" | b"sid" | b"header" | b"Response" | b"ErrorMsg" => return read.may_be_coded = true,
                _ => return,
            };
            *place = Some(field);
        });
        read
    }

    /// No field that any known form of answers has.
    fn has_none_of_an_answer(&self) -> bool {
        let fields = [self.choices, self.candidates, self.content, self.output, self.usage, self.object];
        fields.iter().all(Option::is_none)
    }

    /// It says that it is a completion, and has none.
    fn lacks_choices(&self) -> bool {
        self.choices.is_none() && (Self::is(self.object, "chat.completion") || Self::is(self.object, "text_completion"))
    }

    fn is(place: Option<RawJson<'_>>, text: &str) -> bool {
        place.is_some_and(|value| value.is_text(text))
    }

    /// The error that it holds in an answer's place.
    fn error(&self) -> Option<ErrorClass> {
        if Self::is(self.object, "response") {
            return Self::is(self.status, "failed").then(|| class_of(self.value));
        }
        if Self::is(self.kind, "error") || Self::is(self.object, "error") {
            return Some(class_of(self.value));
        }
        self.error.filter(|error| !error.is_blank())?;
        // Jobs, runs, files and videos are stored things, and have errors of their own.
        let object = self.object.and_then(RawJson::text);
        let is_answer = object.is_none_or(|object| {
            let answers = ["chat.completion", "chat.completion.chunk", "text_completion", "embedding", "list"];
            object.is_empty() || answers.contains(&object.as_ref())
        });
        let has_content = self.choices.is_some_and(|choices| choices.elements().any(choice_has_content));
        (is_answer && !has_content).then(|| class_of(self.value))
    }

    /// Nothing where its form has the answer.
    fn emptiness(&self) -> Option<ErrorClass> {
        if let Some(choices) = self.choices {
            return self.fault_of_choices(choices);
        }
        // Cohere.
        if let Some(class) = self.finish_reason.and_then(gave_up) {
            let says = self.text.is_some_and(|text| !text.is_blank()) || self.message.is_some_and(has_content);
            return (!says).then_some(class);
        }
        let empty = if Self::is(self.object, "response") {
            let is_silent = |output| self.states_none("output_tokens") && are_silent(output);
            Self::is(self.status, "completed")
                && self.output.is_some_and(|output| output.is_blank() || is_silent(output))
        } else if Self::is(self.kind, "message") {
            self.content.is_some_and(|content| self.lacks_parts(content, "output_tokens"))
        } else if self.usage_metadata.is_some() || self.candidates.is_some() {
            self.candidates_are_empty()
        } else if let Some(message) = self.output.and_then(|output| output.field("message")) {
            // Bedrock's Converse.
            message.field("content").is_some_and(|content| self.lacks_parts(content, "outputTokens"))
        } else {
            ollama::is_empty(self.value)
        };
        empty.then_some(ErrorClass::EmptyAnswer)
    }

    /// The model says that it has nothing to add, or says nothing.
    fn ended_by_itself(&self) -> bool {
        self.stop_reason.is_none_or(|reason| reason.is_null() || is_own_end(reason))
    }

    /// No part, or none that says anything, and the model ended by itself. Where the usage counts some output, it did answer, if only
    /// with silence; parts that are there count as none only where it counts none.
    fn lacks_parts(&self, content: RawJson<'_>, output: &str) -> bool {
        let lacks = match self.count(output) {
            None => content.is_blank(),
            Some(0) => content.is_blank() || are_silent(content),
            Some(_) => false,
        };
        lacks && self.ended_by_itself()
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.usage?.field(name)?.unsigned()
    }

    fn states_none(&self, name: &str) -> bool {
        self.count(name) == Some(0)
    }

    /// No choice at all, or none that says or explains anything but an error of its own, as OpenRouter has it.
    fn fault_of_choices(&self, choices: RawJson<'_>) -> Option<ErrorClass> {
        if choices.is_blank() {
            return Some(ErrorClass::EmptyAnswer);
        }
        // Only where the vendor says that it made nothing, silence counts as none.
        let made_nothing = self.states_none("completion_tokens");
        let (mut explained, mut error) = (!choices.is_array(), None);
        for choice in choices.elements() {
            let reason = choice.field("finish_reason").filter(|reason| !reason.is_blank());
            let is_silent = match reason {
                None => !choice_has_other_fields(choice),
                Some(reason) => gave_up(reason).is_some() || (is_own_end(reason) && made_nothing),
            };
            explained |= !is_silent || choice_has_content(choice);
            let has_error = || choice.field("error").is_some_and(|error| !error.is_blank());
            let gave_up = reason.and_then(gave_up).map(|class| if has_error() { class_of(choice) } else { class });
            error = error.or(gave_up);
        }
        (!explained).then(|| error.unwrap_or(ErrorClass::EmptyAnswer))
    }

    /// Gemini: no candidate and no word that the prompt was refused; or one that stopped by itself without a word.
    fn candidates_are_empty(&self) -> bool {
        let blocked = self.prompt_feedback.and_then(|feedback| feedback.field("blockReason"));
        if blocked.is_some_and(|reason| !reason.is_blank()) {
            return false;
        }
        let Some(candidates) = self.candidates.filter(|candidates| !candidates.is_blank()) else { return true };
        let count = |name| self.usage_metadata?.field(name)?.unsigned();
        let made_something = count("candidatesTokenCount").is_some_and(|count| count > 0);
        let is_explained = |candidate: RawJson<'_>| {
            let parts = candidate.field("content").and_then(|content| content.field("parts"));
            // Google leaves out counts of 0.
            let lacks = |parts: RawJson<'_>| parts.is_blank() || (self.usage_metadata.is_some() && are_silent(parts));
            let has_parts = parts.is_some_and(|parts| !lacks(parts));
            let reason = candidate.field("finishReason");
            has_parts || reason.is_some_and(|reason| !is_own_end(reason))
        };
        !made_something && candidates.is_array() && !candidates.elements().any(is_explained)
    }
}

/// What the reason of an end means by which the server gave up: OpenRouter's `error`, which may stand beside it with more words;
/// DeepSeek's `insufficient_system_resource` (api-docs.deepseek.com, create-chat-completion); Zhipu's `network_error` (docs.bigmodel.cn);
/// `abort` of vLLM and SGLang (assumed: only where the client is not who left); Cohere's `ERROR` and `TIMEOUT` (docs.cohere.com, chat).
pub(crate) fn gave_up(finish_reason: RawJson<'_>) -> Option<ErrorClass> {
    match finish_reason.plain()? {
        "insufficient_system_resource" => Some(ErrorClass::Overloaded),
        "error" | "network_error" | "abort" | "ERROR" => Some(ErrorClass::ServerError),
        "TIMEOUT" => Some(ErrorClass::TimedOut),
        _ => None,
    }
}

/// Whether the model ended by itself, as it does where it has nothing to add: OpenAI, Gemini, Anthropic. Any other reason explains why
/// there is no content.
pub(crate) fn is_own_end(reason: RawJson<'_>) -> bool {
    matches!(reason.plain(), Some("stop" | "STOP" | "end_turn"))
}

/// Whether a choice has text, a tool call, reasoning, a refusal or audio.
fn choice_has_content(choice: RawJson<'_>) -> bool {
    choice.field("text").is_some_and(|text| !text.is_blank())
        || ["message", "delta"].iter().any(|name| choice.field(name).is_some_and(has_content))
}

fn has_content(message: RawJson<'_>) -> bool {
    let mut content = false;
    message.for_each_field(|name, value| content |= !says_nothing(name) && !value.is_blank() && !are_silent(value));
    content
}

/// Whether a field of a message, or of a part of one in a stream, says nothing whatever stands in it: what it is, where it is from, and
/// what LiteLLM and Gemini add of their own.
pub(crate) fn says_nothing(name: &[u8]) -> bool {
    matches!(
        name,
        b"role" | b"name" | b"id" | b"type" | b"annotations" | b"provider_specific_fields" | b"extra_content"
    )
}

/// Whether a choice has a form that is not known.
fn choice_has_other_fields(choice: RawJson<'_>) -> bool {
    let mut known = false;
    choice.for_each_field(|name, _| known |= matches!(name, b"message" | b"delta" | b"text"));
    !known
}
