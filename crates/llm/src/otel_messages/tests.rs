use proptest::prelude::*;
use serde_json::{Value, json};

use super::{input, output};

fn asked(body: &Value) -> Value {
    let made = input(body.to_string().as_bytes()).unwrap();
    json!([made.messages, made.system])
}

fn answered(body: &str) -> Value {
    output(body.as_bytes()).unwrap()
}

fn text(content: &str) -> Value {
    json!({"type": "text", "content": content})
}

#[test]
fn a_chat_with_media_tools_and_results() {
    let made = asked(&json!({"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": ["hi", {"type": "text", "text": "and this"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "https://h/a.png"}},
            {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
            {"type": "file", "file": {"file_id": "f1"}}, {"type": "of-tomorrow", "x": 1}]},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{\"a\""}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "12"}]}));
    assert_eq!(
        made,
        json!([[
            {"role": "system", "parts": [text("Be brief.")]},
            {"role": "user", "name": "ann", "parts": [text("hi"), text("and this"),
                {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "AAAA"},
                {"type": "uri", "modality": "image", "uri": "https://h/a.png"},
                {"type": "blob", "mime_type": "audio/wav", "modality": "audio", "content": "BBBB"},
                {"type": "file", "modality": "document", "file_id": "f1"}, {"type": "of-tomorrow", "x": 1}]},
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"},
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
                {"type": "tool_call", "id": "c2", "name": "g", "arguments": "{\"a\""}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "12"}]},
        ], null])
    );
}

#[test]
fn messages_of_anthropic_and_their_system_prompt() {
    let made = asked(&json!({"system": [{"type": "text", "text": "Be brief."}], "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
            {"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "said"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "12"}]}]}]}));
    assert_eq!(
        made,
        json!([[
            {"role": "user", "parts": [{"type": "blob", "mime_type": "image/png", "modality": "image", "content": "AA"},
                {"type": "uri", "modality": "document", "uri": "https://h/a.pdf"}, text("said")]},
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"},
                {"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}}]},
            {"role": "user", "parts": [{"type": "tool_call_response", "id": "t1", "response": [{"type": "text", "text": "12"}]}]},
        ], [text("Be brief.")]])
    );
}

#[test]
fn responses_and_completions() {
    let user = |content: &str| json!({"role": "user", "parts": [text(content)]});
    assert_eq!(asked(&json!({"input": "hi", "instructions": "Be brief."})), json!([[user("hi")], [text("Be brief.")]]));
    assert_eq!(asked(&json!({"prompt": ["a", "b"]})), json!([[user("a"), user("b")], null]));
    let items = asked(&json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "12"}]}));
    assert_eq!(
        items,
        json!([[user("hi"),
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": {}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "12"}]}], null])
    );
}

#[test]
fn whole_answers() {
    let call = json!({"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}});
    let chat = json!({"choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": null, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}, "finish_reason": "tool_calls"}]});
    let said = |parts: Value, reason: &str| json!({"role": "assistant", "parts": parts, "finish_reason": reason});
    assert_eq!(
        answered(&chat.to_string()),
        json!([said(json!([text("hi")]), "stop"), said(json!([call]), "tool_call")])
    );
    let messages = json!({"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "max_tokens"});
    assert_eq!(answered(&messages.to_string()), json!([said(json!([text("hi")]), "length")]));
    let response = json!({"object": "response", "status": "completed", "output": [
        {"type": "reasoning", "summary": []}, {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":1}"}]});
    assert_eq!(answered(&response.to_string()), json!([said(json!([text("hi"), call]), "tool_call")]));
    let completion = json!({"choices": [{"text": "hi", "finish_reason": "length"}]});
    assert_eq!(answered(&completion.to_string()), json!([said(json!([text("hi")]), "length")]));
    for none in ["", "{}", "[]", "no", r#"{"error":{"message":"x"}}"#, r#"{"data":[{"embedding":[1]}]}"#] {
        assert_eq!(output(none.as_bytes()), None, "{none}");
        assert!(input(none.as_bytes()).is_none(), "{none}");
    }
    assert!(input(br#"{"input":[1,2,3]}"#).is_none(), "tokens are no messages");
}

fn events(list: &[Value]) -> String {
    list.iter().map(|event| format!("data: {event}\n\n")).collect()
}

#[test]
fn streams_are_put_together() {
    let call = |arguments: Value| json!({"type": "tool_call", "id": "c", "name": "f", "arguments": arguments});
    let said = |parts: Value, reason: &str| json!([{"role": "assistant", "parts": parts, "finish_reason": reason}]);
    let delta =
        |delta: Value, reason: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    let chat = [
        delta(json!({"role": "assistant", "content": ""}), Value::Null),
        delta(json!({"reasoning_content": "hm"}), Value::Null),
        delta(json!({"content": "h"}), Value::Null),
        delta(json!({"content": "i"}), Value::Null),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
            Value::Null,
        ),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":"}}]}), Value::Null),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}), Value::Null),
        delta(json!({}), json!("tool_calls")),
        json!({"choices": [], "usage": {"prompt_tokens": 1}}),
    ];
    let thought = json!({"type": "reasoning", "content": "hm"});
    let whole = events(&chat) + "data: [DONE]\n\n";
    assert_eq!(answered(&whole), said(json!([thought, text("hi"), call(json!({"a": 1}))]), "tool_call"));
    assert_eq!(
        answered(&events(&chat[..6])),
        said(json!([thought, text("hi"), call(json!("{\"a\":"))]), "error"),
        "one that breaks off"
    );
    let messages = [
        json!({"type": "message_start", "message": {"type": "message"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "c", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":1}"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(answered(&events(&messages)), said(json!([text("hi"), call(json!({"a": 1}))]), "tool_call"));
    let response = json!({"object": "response", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]});
    let responses = [json!({"type": "response.created"}), json!({"type": "response.completed", "response": response})];
    assert_eq!(answered(&events(&responses)), said(json!([text("hi")]), "stop"));
    assert_eq!(output(b": ping\n\n"), None);
}

proptest! {
    #[test]
    fn no_body_panics(bytes: Vec<u8>, body in "\\{(\"(messages|input|choices|type|system)\":(\\[\\{\\}\\]|\"message\"|null|\\[\\[7\\]\\]),?){0,4}\\}") {
        let _ = (input(&bytes), output(&bytes), input(body.as_bytes()), output(body.as_bytes()));
        let _ = output(format!("data: {body}\n\n").as_bytes());
    }
}
