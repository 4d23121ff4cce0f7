//! The forms in which answers are streamed that are no server-sent events: JSON objects, one a line (Ollama, Cohere), AWS's frames
//! (Bedrock), and an array that grows (Gemini's `streamGenerateContent` as it is by default).

use crate::answer::gave_up;
use crate::error_class::classify_error_body;
use crate::frame_events::FrameEvents;
use crate::headers::AnswerHeaders;
use crate::json::RawJson;
use crate::last_bytes::LastBytes;
use crate::ollama;
use crate::protocol::Protocol;
use crate::sse::{EventTooLarge, MAX_EVENT_BYTES, Parser, Unread};
use crate::stream::StreamSummary;
use crate::stream_events as events;
use crate::usage::objects::LineUsage;

/// How a stream is written.
#[derive(Debug)]
pub(crate) enum Form {
    Events(Parser),
    Lines(Box<LineUsage>),
    /// Frames, read as the events that they would be.
    Frames(Box<FrameEvents>, Parser),
    Array(Box<Elements>),
}

impl Form {
    /// The form of an answer with these headers; `None` if it is no stream that can be read. `grows`: its JSON is an array that grows.
    pub(crate) fn of_answer(headers: &AnswerHeaders<'_>, grows: bool) -> Option<Self> {
        Some(if headers.is_event_stream() {
            Self::Events(Parser::default())
        } else if headers.is_json_lines() {
            Self::Lines(Box::default())
        } else if headers.is_framed() {
            Self::Frames(Box::default(), Parser::default())
        } else if grows && headers.is_json() && !headers.is_compressed() {
            Self::Array(Box::default())
        } else {
            return None;
        })
    }

    pub(crate) fn push(&mut self, bytes: &[u8], seen: &mut StreamSummary) {
        match self {
            Self::Events(parser) => parser.push_with_ends(bytes, |event| seen.take(event)),
            Self::Lines(lines) => {
                lines.push(bytes, |bytes| line(seen, bytes));
                if lines.is_unread() && !seen.content {
                    seen.came();
                    seen.unread_content();
                }
            }
            Self::Frames(frames, parser) => {
                let read = frames.push(bytes);
                if read.any {
                    seen.came();
                }
                parser.push_with_ends(read.events, |event| seen.take(event));
                if read.others > 0 {
                    seen.content(read.others);
                }
                seen.finished |= read.ended;
                seen.set_counts(frames.counts());
            }
            Self::Array(elements) => elements.push(bytes, |element| take_element(seen, element)),
        }
    }

    /// The stream has ended.
    pub(crate) fn finish(&mut self, seen: &mut StreamSummary) {
        match self {
            Self::Events(parser) | Self::Frames(_, parser) => {
                std::mem::take(parser).finish_with_ends(|event| seen.take(event));
            }
            Self::Lines(lines) => lines.finish(|bytes| line(seen, bytes)),
            // Not every model says a reason for the end.
            Self::Array(elements) => seen.finished |= elements.closed && seen.content,
        }
    }

    /// Whether everything that came belongs to whole events or lines.
    pub(crate) fn is_between_events(&self) -> bool {
        match self {
            Self::Events(parser) => parser.is_between_events(),
            Self::Lines(lines) => lines.is_between_lines(),
            Self::Frames(..) | Self::Array(_) => true,
        }
    }
}

/// Takes one line.
fn line(seen: &mut StreamSummary, line: &[u8]) {
    let line = line.trim_ascii();
    if line.is_empty() || seen.has_failed() {
        return;
    }
    seen.came();
    let Some(object) = RawJson::parse(line).ok().filter(|value| value.is_object()) else {
        return seen.content(line.len());
    };
    let [error, done, is_finished] = object.pick(["error", "done", "is_finished"]);
    if error.is_some_and(|error| !error.is_blank()) {
        // Another field is a result, of which one may have failed; so is an object beside a status, where any API may have answered.
        let may_be_result =
            seen.protocol() == Protocol::Generic && !error.is_some_and(|error| error.bytes().starts_with(b"\""));
        return if is_only_error(object) && !may_be_result {
            seen.fail(classify_error_body(line), line)
        } else {
            seen.content(line.len())
        };
    }
    let is_ollamas = object.pick(["model", "message", "response"]).iter().any(Option::is_some);
    if let Some(done) = done.filter(|done| is_ollamas && matches!(done.bytes(), b"true" | b"false")) {
        take_ollamas(seen, object, done.is_true());
    } else if let Some(finished) = is_finished {
        cohere(seen, object, finished.is_true());
    } else if events::object(seen, b"", line).is_err() {
        seen.content(line.len());
    }
}

/// Whether an object has nothing but what says what went wrong.
fn is_only_error(object: RawJson<'_>) -> bool {
    let mut only = true;
    object.for_each_field(|name, _| {
        let known: [&[u8]; 9] =
            [b"error", b"error_type", b"status", b"status_code", b"code", b"message", b"type", b"signin_url", b"done"];
        only &= known.contains(&name);
    });
    only
}

/// A line of Ollama's, of a chat or of one text.
fn take_ollamas(seen: &mut StreamSummary, object: RawJson<'_>, done: bool) {
    seen.shows_form();
    for text in ollama::said(object) {
        seen.content(events::length(text));
    }
    if done {
        seen.ends(!ollama::made_nothing(object));
        seen.last_line = true;
        seen.done();
    }
}

/// A line of Cohere's API of version 1.
fn cohere(seen: &mut StreamSummary, object: RawJson<'_>, finished: bool) {
    seen.shows_form();
    let [kind, text, reason] = object.pick(["event_type", "text", "finish_reason"]);
    if !finished {
        if kind.is_none_or(|kind| !kind.is_text("stream-start")) {
            seen.content(text.map_or(0, events::length));
        }
        return;
    }
    if let Some(class) = reason.and_then(gave_up) {
        return seen.fail(class, object.bytes());
    }
    seen.ends(true);
    seen.last_line = true;
}

fn take_element(seen: &mut StreamSummary, element: Result<&[u8], Unread<'_>>) {
    if seen.has_failed() {
        return;
    }
    match element {
        Err(Unread::Began(_)) => {
            seen.came();
            seen.unread_content();
        }
        Err(Unread::Ended(last)) => _ = last.read_into(&mut seen.counts),
        Ok(element) => {
            seen.came();
            if events::object(seen, b"", element).is_err() {
                seen.content(element.len());
            }
        }
    }
}

/// Finds the objects of an array as it grows, or of what is no array. It keeps one, of at most [`MAX_EVENT_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct Elements {
    /// How many objects and arrays are open, from the element on.
    depth: usize,
    in_text: bool,
    escaped: bool,
    element: Vec<u8>,
    /// It is too large to be kept.
    skipping: bool,
    /// The last bytes of it.
    skipped: LastBytes,
    /// The end of the array came.
    closed: bool,
}

impl Elements {
    fn push(&mut self, bytes: &[u8], mut visit: impl FnMut(Result<&[u8], Unread<'_>>)) {
        for byte in bytes {
            if self.depth == 0 && *byte != b'{' {
                self.closed |= *byte == b']';
                continue;
            }
            if self.skipping {
                self.skipped.push(&[*byte]);
            } else {
                self.element.push(*byte);
                if self.element.len() > MAX_EVENT_BYTES {
                    self.skipped.push(&self.element);
                    (self.skipping, self.element) = (true, Vec::new());
                    visit(Err(Unread::Began(EventTooLarge { limit: MAX_EVENT_BYTES })));
                }
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
            if self.depth == 0 {
                if std::mem::take(&mut self.skipping) {
                    visit(Err(Unread::Ended(&std::mem::take(&mut self.skipped))));
                } else {
                    visit(Ok(&self.element));
                }
                self.element.clear();
            }
        }
    }
}
