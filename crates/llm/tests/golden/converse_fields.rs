//! Converse: no part of a request is lost without a word.

use llm::translate::converse::AnswerContext;
use llm::translate::{Unsupported, converse};
use serde_json::{Value, json};

use super::converse::{frames, translate};

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

/// Puts the pieces of a stream's thinking together as the SDKs do it: by their index, texts one behind the other.
fn assembled(chunks: &str) -> Value {
    let mut blocks: Vec<Value> = Vec::new();
    for event in chunks.split_terminator("\n\n").filter(|event| *event != "data: [DONE]") {
        let chunk: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        for piece in chunk["choices"][0]["delta"]["thinking_blocks"].as_array().into_iter().flatten() {
            let index = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
            assert!(index <= blocks.len(), "{chunks}");
            if index == blocks.len() {
                blocks.push(piece.clone());
                continue;
            }
            for (name, value) in piece.as_object().unwrap() {
                match &mut blocks[index][name] {
                    _ if matches!(name.as_str(), "index" | "type") => assert_eq!(blocks[index][name], *value),
                    Value::String(before) => before.push_str(value.as_str().unwrap()),
                    place => *place = value.clone(),
                }
            }
        }
    }
    Value::from(blocks)
}

#[test]
fn the_thinking_of_a_stream_can_be_sent_back() {
    let events = r#"messageStart {"role":"assistant"}
contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"thi"}}}
contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"nk\n\"x\""}}}
contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"SG"}}}
contentBlockStop {"contentBlockIndex":0}
contentBlockDelta {"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"eHl6"}}}
contentBlockStop {"contentBlockIndex":1}
contentBlockDelta {"contentBlockIndex":2,"delta":{"reasoningContent":{"text":"more"}}}
contentBlockDelta {"contentBlockIndex":2,"delta":{"reasoningContent":{"signature":"S2"}}}
contentBlockStop {"contentBlockIndex":2}
contentBlockDelta {"contentBlockIndex":3,"delta":{"text":"yes"}}
contentBlockStop {"contentBlockIndex":3}
messageStop {"stopReason":"end_turn"}
metadata {"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}"#;
    let (chunks, result, _) = translate(AnswerContext::default(), [&frames(events)[..]]);
    assert_eq!(result, Ok(()));
    let back = json!([{"role": "assistant", "content": "yes", "thinking_blocks": assembled(&chunks)}]);
    let body = converse::request(messages(&back).to_string().as_bytes(), Unsupported::Refuse).unwrap().body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let expected = json!([
        {"reasoningContent": {"reasoningText": {"text": "think\n\"x\"", "signature": "SG"}}},
        {"reasoningContent": {"redactedContent": "eHl6"}},
        {"reasoningContent": {"reasoningText": {"text": "more", "signature": "S2"}}},
        {"text": "yes"},
    ]);
    assert_eq!(body["messages"][1]["content"], expected, "{chunks}");
}
