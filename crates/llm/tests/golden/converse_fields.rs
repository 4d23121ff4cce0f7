//! Converse: no part of a request is lost without a word.

use llm::translate::{Unsupported, converse};
use serde_json::{Value, json};

/// What is said of a request: its error, or what is dropped.
fn said(request: &str) -> String {
    match converse::request(request.as_bytes(), Unsupported::Drop) {
        Ok(translated) => translated.dropped.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

/// A request with these messages behind one of the user's.
fn messages(more: &Value) -> Value {
    let mut messages = vec![json!({"role": "user", "content": "hi"})];
    messages.extend(more.as_array().unwrap().iter().cloned());
    json!({"model": "m", "messages": messages})
}

#[test]
fn a_text_with_half_a_character_is_refused_and_not_taken_for_blank() {
    let call = json!({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]});
    let part = json!([{"type": "text", "text": "ok"}, {"type": "text", "text": "HALF"}]);
    for (param, request) in [
        ("messages[1].content", messages(&json!([{"role": "user", "content": "HALF"}]))),
        ("messages[1].content", messages(&json!([{"role": "system", "content": "HALF"}]))),
        ("messages[1].content", messages(&json!([{"role": "assistant", "content": "HALF"}]))),
        ("messages[1].content[1]", messages(&json!([{"role": "user", "content": part}]))),
        ("messages[1].content[1]", messages(&json!([{"role": "developer", "content": part}]))),
        ("messages[2].content", messages(&json!([call, {"role": "tool", "tool_call_id": "a", "content": "HALF"}]))),
        ("messages[2].content[1]", messages(&json!([call, {"role": "tool", "tool_call_id": "a", "content": part}]))),
        ("tools[0].function.description", {
            let mut request = messages(&json!([]));
            request["tools"] = json!([{"type": "function", "function": {"name": "f", "description": "HALF"}}]);
            request
        }),
    ] {
        for half in [r"\ud83d lone", r"lone \ud83d", r" \udca9", r"\n\ud83d\ud83d"] {
            let said = said(&request.to_string().replace("HALF", half));
            assert_eq!(said, format!("{param}: the text has an escape that is no character"), "{half}");
        }
        assert_eq!(said(&request.to_string().replace("HALF", r"\ud83d\udca9")), "", "a whole one passes");
    }
}
