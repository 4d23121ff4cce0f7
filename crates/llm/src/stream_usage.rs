//! The usage of a stream whose client did not ask for it: the one change to a request, and the chunk that the client does not see.
//!
//! OpenAI's chat and completions count a stream only if `stream_options.include_usage` is true, and say it then in a chunk of its
//! own: `choices` empty, `usage` an object (<https://platform.openai.com/docs/api-reference/chat/create>, `stream_options`).

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::{self, Finder};

use crate::error_body::MAX_ERROR_BODY_BYTES;
use crate::json::{Cursor, RawJson, without_mark};
use crate::sse;

const INCLUDE_USAGE: &str = r#"{"include_usage":true}"#;
const USAGE_NAME: &[u8] = b"\"usage\"";
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(USAGE_NAME));
/// The event with the usage is some hundred bytes; what is larger is no such event and goes on without being held.
const MAX_USAGE_EVENT_BYTES: usize = 64 << 10;

/// A request that asks for the usage of its stream, all other bytes as they are. `None` where nothing is to be changed: it asks
/// already, is no stream, or is not what could be changed.
pub fn add_include_usage(body: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(body);
    if cursor.peek() != Some(b'{') {
        return None;
    }
    let [stream, options] = cursor.pick(["stream", "stream_options"]).ok().filter(|_| cursor.is_at_end())?;
    let stream = stream.filter(|stream| stream.is_true())?;
    let Some(options) = options else {
        return Some(replaced(body, end_of(body, stream), 0, &format!(r#","stream_options":{INCLUDE_USAGE}"#)));
    };
    if options.is_null() {
        return Some(replaced(body, start_of(body, options), options.bytes().len(), INCLUDE_USAGE));
    }
    if !options.is_object() {
        return None;
    }
    match options.field("include_usage") {
        Some(wish) if wish.is_true() => None,
        Some(wish) => Some(replaced(body, start_of(body, wish), wish.bytes().len(), "true")),
        None => {
            let comma = if options.is_blank() { "" } else { "," };
            Some(replaced(body, start_of(body, options) + 1, 0, &format!(r#""include_usage":true{comma}"#)))
        }
    }
}

/// Whether an answer says that the request must not have `stream_options`: the same request without it may be answered.
pub fn refuses_include_usage(status: u16, body: &[u8]) -> bool {
    // Some servers answer 422 for fields that they do not know.
    let body = body.get(..MAX_ERROR_BODY_BYTES).unwrap_or(body);
    matches!(status, 400 | 422)
        && ["stream_options", "include_usage"].iter().any(|name| memmem::find(body, name.as_bytes()).is_some())
}

/// Where a value of this body begins.
fn start_of(body: &[u8], value: RawJson<'_>) -> usize {
    value.bytes().as_ptr().addr() - body.as_ptr().addr()
}

fn end_of(body: &[u8], value: RawJson<'_>) -> usize {
    start_of(body, value) + value.bytes().len()
}

/// The body with other bytes in the place of some.
fn replaced(body: &[u8], at: usize, length: usize, by: &str) -> Vec<u8> {
    let (before, behind) = body.split_at_checked(at).unwrap_or((body, &[]));
    [before, by.as_bytes(), behind.get(length..).unwrap_or_default()].concat()
}

/// A stream of server-sent events without the chunk that has nothing but the usage; all other bytes as they are. What comes out
/// does not depend on how the bytes were cut.
///
/// An event is held until its end has come, which servers send with it.
#[derive(Debug, Default)]
pub struct UsageChunkFilter {
    /// The event so far.
    held: Vec<u8>,
    /// The event is too large to be held, and goes on as it comes.
    passing: bool,
    /// The current line has something in it.
    in_line: bool,
    /// The last byte was a CR, so that a LF belongs to it.
    after_cr: bool,
    /// The last event was hidden, so that a LF after its CR is.
    hidden: bool,
    /// Nothing of the event came.
    begins: bool,
}

impl UsageChunkFilter {
    pub fn new() -> Self {
        Self { begins: true, ..Self::default() }
    }

    /// Takes the next bytes and appends what the client gets to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes.first() == Some(&b'\n') {
                bytes = bytes.get(1..).unwrap_or_default();
                // It belongs to the line that its CR ended, and with it to the event that this line ended.
                if !self.begins {
                    self.take(b"\n", out);
                } else if !self.hidden {
                    out.push(b'\n');
                }
                continue;
            }
            let end = memchr2(b'\r', b'\n', bytes);
            let (line, rest) = bytes.split_at_checked(end.map_or(bytes.len(), |end| end + 1)).unwrap_or((bytes, &[]));
            bytes = rest;
            self.take(line, out);
            if end.is_none() {
                self.in_line = true;
                return;
            }
            self.after_cr = line.last() == Some(&b'\r');
            let is_continued = std::mem::take(&mut self.in_line);
            if line.len() == 1 && !is_continued {
                self.end_event(out);
            }
        }
    }

    /// The bytes have ended: appends what was held, unless it is hidden.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_event(out);
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.begins = false;
        if !self.passing && self.held.len() + bytes.len() > MAX_USAGE_EVENT_BYTES {
            self.passing = true;
            out.append(&mut self.held);
        }
        if self.passing { out.extend_from_slice(bytes) } else { self.held.extend_from_slice(bytes) }
    }

    fn end_event(&mut self, out: &mut Vec<u8>) {
        self.hidden = !self.passing && is_usage_alone(&self.held);
        if !self.hidden {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
        self.passing = false;
        self.in_line = false;
        self.begins = true;
    }
}

/// Whether a colon and an object follow.
fn begins_object(behind: &[u8]) -> bool {
    let value = behind.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    value.is_some_and(|value| value.first() == Some(&b'{'))
}

/// Whether an event is a chunk without choices that has a usage.
fn is_usage_alone(event: &[u8]) -> bool {
    // Most events are distinguished without being read: they have no usage, or null.
    if !USAGE.find_iter(event).any(|at| begins_object(event.get(at + USAGE_NAME.len()..).unwrap_or_default())) {
        return false;
    }
    let mut data = sse::data_lines(without_mark(event));
    let (Some(first), None) = (data.next(), data.next()) else { return false };
    let Ok(chunk) = RawJson::parse(first) else { return false };
    let no_choices = chunk.field("choices").is_some_and(|choices| choices.is_array() && choices.is_blank());
    no_choices && chunk.field("usage").is_some_and(RawJson::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn added(body: &str) -> Option<String> {
        add_include_usage(body.as_bytes()).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn the_wish_is_added_and_all_else_stays() {
        for (body, changed) in [
            (r#"{"stream": true , "b":1.0}"#, r#"{"stream": true,"stream_options":{"include_usage":true} , "b":1.0}"#),
            (r#"{"stream":true,"stream_options":null}"#, r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
            (r#"{"stream_options":{},"stream":true}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#),
            (
                r#"{"stream_options": { "x" : 1 } ,"stream":true}"#,
                r#"{"stream_options": {"include_usage":true, "x" : 1 } ,"stream":true}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage" : false}}"#,
                r#"{"stream":true,"stream_options":{"include_usage" : true}}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":null,"y":2}}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true,"y":2}}"#,
            ),
            (
                r#"{"stream":true,"stream_\u006fptions":null}"#,
                r#"{"stream":true,"stream_\u006fptions":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":{}}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":{"include_usage":true}}"#,
            ),
        ] {
            assert_eq!(added(body).as_deref(), Some(changed), "{body}");
        }
        for body in [
            "",
            "[]",
            "{}",
            "7",
            r#"{"stream":false}"#,
            r#"{"stream":"true"}"#,
            r#"{"stream":true,"stream":false}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"stream":true,"stream_options":5}"#,
            r#"{"stream":true,"stream_options":[]}"#,
            r#"{"stream":true"#,
            r#"{"stream":true} x"#,
        ] {
            assert_eq!(added(body), None, "{body}");
        }
    }

    #[test]
    fn errors_that_name_the_field() {
        let openai =
            br#"{"error": {"message": "Unrecognized request argument supplied: stream_options", "code": null}}"#;
        let pydantic = br#"{"detail": [{"loc": ["body", "stream_options", "include_usage"], "msg": "extra fields not permitted"}]}"#;
        assert!(refuses_include_usage(400, openai) && refuses_include_usage(422, pydantic));
        assert!(!refuses_include_usage(500, openai) && !refuses_include_usage(200, openai));
        assert!(!refuses_include_usage(400, br#"{"error": {"message": "the model is too hot"}}"#));
    }

    /// What comes out, with the bytes cut after each of these lengths.
    fn filtered(stream: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut filter, mut out, mut rest) = (UsageChunkFilter::new(), Vec::new(), stream);
        for cut in cuts {
            let (part, behind) = rest.split_at(rest.len().min(*cut));
            filter.push(part, &mut out);
            rest = behind;
        }
        filter.push(rest, &mut out);
        filter.finish(&mut out);
        out
    }

    const USAGE: &str = r#"data: {"id":"1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

    #[test]
    fn only_the_chunk_with_nothing_but_the_usage_is_hidden() {
        for end in ["\n", "\r\n", "\r"] {
            let event = |data: &str| format!("{data}{end}{end}");
            let before = event(r#"data: {"choices":[{"delta":{"content":"\"usage\""}}],"usage":null}"#);
            let usage = event(USAGE);
            let after = event("data: [DONE]");
            let whole = format!("{before}{usage}{after}");
            assert_eq!(filtered(whole.as_bytes(), &[]), format!("{before}{after}").as_bytes(), "{end:?}");
        }
        for kept in [
            r#"data: {"choices":[],"prompt_filter_results":[]}"#,
            r#"data: {"choices":[],"usage":null}"#,
            r#"data: {"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#,
            r#"data: {"usage":{"prompt_tokens":1}}"#,
            r#"data: {"choices":[],"usage":{"prompt_tokens":1}"#,
            r#": {"choices":[],"usage":{"prompt_tokens":1}}"#,
            "data: [DONE]",
            "",
        ] {
            let stream = format!("{kept}\n\n");
            assert_eq!(filtered(stream.as_bytes(), &[]), stream.as_bytes(), "{kept}");
        }
        assert_eq!(filtered(USAGE.as_bytes(), &[]), b"", "without its end");
        assert_eq!(filtered(format!("\u{feff}{USAGE}\n\n").as_bytes(), &[]), b"");
    }

    #[test]
    fn an_event_that_is_too_large_goes_on_before_its_end() {
        let (mut filter, mut out) = (UsageChunkFilter::new(), Vec::new());
        let large = vec![b'x'; 2 * MAX_USAGE_EVENT_BYTES];
        filter.push(b"data: ", &mut out);
        assert_eq!(out, b"");
        filter.push(&large, &mut out);
        assert_eq!(out.len(), large.len() + 6);
        filter.push(format!("\n\n{USAGE}\n\ndata: [DONE]\n\n").as_bytes(), &mut out);
        assert!(out.ends_with(b"x\n\ndata: [DONE]\n\n"), "{:?}", String::from_utf8_lossy(&out[large.len()..]));
    }

    fn any_event() -> impl Strategy<Value = (String, bool)> {
        let lines = prop_oneof![
            Just((USAGE.to_owned(), true)),
            Just((r#"data: {"choices":[{"delta":{"content":"a"}}],"usage":null}"#.to_owned(), false)),
            Just((": ping".to_owned(), false)),
            Just(("data: [DONE]".to_owned(), false)),
            "[ -~]{0,20}".prop_map(|text| (format!("event: x\ndata: {text}"), false)),
        ];
        (lines, prop_oneof![Just("\n"), Just("\r\n"), Just("\r")])
            .prop_map(|((lines, hidden), end)| (format!("{}{end}{end}", lines.replace('\n', end)), hidden))
    }

    proptest! {
        #[test]
        fn what_is_hidden_does_not_depend_on_the_cuts(
            events in prop::collection::vec(any_event(), 0..8),
            cuts in prop::collection::vec(0..20_usize, 0..60),
        ) {
            // A CR before a LF of the next event would be one line end: such streams are no streams of these events.
            let stream: String = events.iter().map(|(text, _)| text.as_str()).collect();
            let kept: String = events.iter().filter(|(_, hidden)| !hidden).map(|(text, _)| text.as_str()).collect();
            prop_assert_eq!(filtered(stream.as_bytes(), &[]), kept.as_bytes());
            prop_assert_eq!(filtered(stream.as_bytes(), &cuts), kept.as_bytes());
            prop_assert_eq!(filtered(stream.as_bytes(), &vec![1; stream.len()]), kept.as_bytes());
        }

        #[test]
        fn any_bytes_come_out_the_same_however_they_are_cut(
            bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'd'), any::<u8>()], 0..80),
            cuts in prop::collection::vec(0..9_usize, 0..60),
        ) {
            prop_assert_eq!(filtered(&bytes, &cuts), bytes);
        }

        #[test]
        fn the_request_means_the_same_but_for_the_wish(
            fields in prop::collection::btree_map("[a-z]{1,3}", any::<i32>().prop_map(Value::from), 0..5),
            options in prop_oneof![
                Just(None), Just(Some(Value::Null)), Just(Some(json!({}))), Just(Some(json!({"include_usage": false, "x": [1]}))),
                Just(Some(json!({"x": "}"}))),
            ],
            pretty: bool,
        ) {
            let mut request = json!(fields);
            request["stream"] = json!(true);
            if let Some(options) = options {
                request["stream_options"] = options;
            }
            let body = if pretty { serde_json::to_vec_pretty(&request) } else { serde_json::to_vec(&request) }.unwrap();
            let changed = add_include_usage(&body).unwrap();
            let before = request.get("stream_options").filter(|options| options.is_object()).cloned();
            request["stream_options"] = before.unwrap_or_else(|| json!({}));
            request["stream_options"]["include_usage"] = json!(true);
            prop_assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), request);
            prop_assert_eq!(add_include_usage(&changed), None, "once is enough");
        }

        #[test]
        fn no_body_panics(bytes: Vec<u8>, body in "\\{(\"stream(_options)?\": ?(true|null|\\{|\\}),?){0,5}\\}?") {
            let _ = (add_include_usage(&bytes), add_include_usage(body.as_bytes()), refuses_include_usage(400, &bytes));
        }
    }
}
