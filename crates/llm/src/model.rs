//! The model that an answer names, whole or as a stream: it can be another than the one that was asked for (an alias, a
//! deployment, a router of the vendor's).

use std::borrow::Cow;

use crate::json::{Cursor, RawJson, SyntaxError, without_mark};
use crate::sse;

/// Only this many bytes at the start of an answer are looked at: vendors name the model in the first fields or events.
const MAX_START_BYTES: usize = 16 << 10;

/// The model that an answer names; also of one of which only the start is there.
pub fn of_answer(body: &[u8]) -> Option<Cow<'_, str>> {
    let body = without_mark(body).trim_ascii_start();
    match body.first()? {
        b'{' => of_object(body),
        b'[' => of_object(body.get(1..)?.trim_ascii_start()),
        _ => of_events(body.get(..MAX_START_BYTES).unwrap_or(body)),
    }
}

/// The same of the first event that names one.
fn of_events(body: &[u8]) -> Option<Cow<'_, str>> {
    sse::data_lines(body).filter(|data| data.starts_with(b"{")).find_map(of_object)
}

/// `model` (OpenAI, Anthropic), `modelVersion` (Gemini), and `model` in the `message` or `response` of a stream's first event.
/// The first that is there.
fn of_object(object: &[u8]) -> Option<Cow<'_, str>> {
    let mut found = None;
    // What breaks off is read as far as it goes.
    let _ = Cursor::new(object).fields(|name, value| {
        found = match name {
            b"model" | b"modelVersion" => named(value.raw()?),
            b"message" | b"response" => {
                let inner = value.raw()?;
                inner.is_object().then(|| inner.field("model")).flatten().and_then(named)
            }
            _ => None,
        };
        // What follows, such as the choices, may be long.
        if found.is_some() { Err(SyntaxError) } else { Ok(()) }
    });
    found
}

fn named(value: RawJson<'_>) -> Option<Cow<'_, str>> {
    value.text().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_in_every_vendors_answer() {
        for (body, model) in [
            (r#"{"id":"1","model":"gpt-4o-2024-08-06","choices":[]}"#, Some("gpt-4o-2024-08-06")),
            (r#"{"candidates":[],"modelVersion":"gemini-2.0-flash"}"#, Some("gemini-2.0-flash")),
            (r#"[{"modelVersion":"gemini-2.0-flash"}]"#, Some("gemini-2.0-flash")),
            ("data: {\"model\":\"\",\"choices\":[]}\n\ndata: {\"model\":\"gpt-4o\"}\n\n", Some("gpt-4o")),
            (
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\"}}\n\n",
                Some("claude"),
            ),
            ("event: response.created\r\ndata: {\"response\":{\"model\":\"o3\"}}\r\n\r\n", Some("o3")),
            (r#"{"model":"gpt-4o","choices":[{"message":{"content":"half"#, Some("gpt-4o")),
            (r#"{"choices":[{"message":{"content":"\"model\":\"x\""}}]}"#, None),
            (r#"{"model":5}"#, None),
            ("", None),
            ("hello", None),
            ("\u{feff}{\"model\":\"a\\u0062\"}", Some("ab")),
        ] {
            assert_eq!(of_answer(body.as_bytes()).as_deref(), model, "{body}");
        }
    }
}
