use serde_json::{Value, json};

use super::*;

const KEY: &str = "the-key";

fn call(kind: Kind, target: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Vec<String>) {
    let state = State {
        kind,
        key: KEY.to_owned(),
        calls: Mutex::default(),
        next: Mutex::default(),
        always: Mutex::default(),
        google: google::Tokens::default(),
    };
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = Bytes::from(body.to_string());
    let call = Call { method: "POST".to_owned(), target: target.to_owned(), headers, body, status: 0 };
    let answer = answer(&state, &call);
    (answer.status, answer.pieces.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect())
}

fn messages(changes: &Value) -> (u16, String) {
    let mut body = json!({"model": "claude-x", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let (status, pieces) = call(Kind::Anthropic, "/v1/messages", &headers, &body);
    (status, pieces.concat())
}

#[test]
fn anthropic_refuses_what_it_refuses() {
    assert_eq!(messages(&json!({})).0, 200);
    let block = |block: Value| json!([{"role": "user", "content": [block]}]);
    let used = json!({"type": "tool_use", "id": "a", "name": "t", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "a", "content": "1"});
    let split = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": [used]},
        {"role": "user", "content": [{"type": "text", "text": "first"}, result]}]);
    let tools = json!([{"name": "t", "input_schema": {"type": "object"}}]);
    for (changes, words) in [
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"messages": block(json!({"type": "text", "text": ""}))}), "must be non-empty"),
        (json!({"messages": block(json!({"type": "text", "text": " \n"}))}), "non-whitespace"),
        (json!({"messages": []}), "first message"),
        (json!({"messages": split, "tools": tools}), "without `tool_result` blocks immediately after: a"),
        (json!({"seed": 1}), "seed: Extra inputs are not permitted"),
        (json!({"temperature": 1.5}), "temperature"),
        (json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}), "should match pattern"),
    ] {
        let (status, said) = messages(&changes);
        assert!(status == 400 && said.contains(words), "{changes}: {status} {said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["type"], &said["error"]["type"]), (&json!("error"), &json!("invalid_request_error")));
    }
}

#[test]
fn gemini_refuses_unknown_fields_in_an_array() {
    let bearer = format!("Bearer {KEY}");
    let user = json!({"role": "user", "content": "hi"});
    let called =
        json!({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]});
    for (messages, field, words) in [
        (json!([user]), "store", "\"store\""),
        (json!([{"role": "user", "content": "hi", "foo": 1}]), "n", "\"foo\" at 'messages[0]'"),
        (json!([user, {"role": "assistant", "content": "ho", "refusal": null}, user]), "n", "null"),
        (json!([user, called, {"role": "tool", "tool_call_id": "a", "content": "1"}]), "n", "Name cannot be empty"),
    ] {
        let mut body = json!({"model": "gemini-x", "messages": messages});
        body[field] = json!(1);
        let headers = [("authorization", bearer.as_str())];
        let (status, said) = call(Kind::Gemini, "/v1beta/openai/chat/completions", &headers, &body);
        let said: Value = serde_json::from_str(&said.concat()).unwrap();
        assert_eq!((status, &said[0]["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
        assert!(said[0]["error"]["message"].as_str().unwrap().contains(words), "{said}");
    }
}

#[test]
fn converse_needs_its_tools_and_a_signature() {
    let used = json!({"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "t", "input": {}}}]});
    let result = json!({"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": []}}]});
    let body = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}, used, result]});
    let bearer = format!("Bearer {KEY}");
    let (status, said) = call(Kind::Bedrock, "/model/meta.llama3/converse", &[("authorization", &bearer)], &body);
    assert!(status == 400 && said.concat().contains("toolConfig"), "{said:?}");
    for header in ["Bearer other", "AWS4-HMAC-SHA256 Credential=AKIDFAKE/a/b/bedrock/aws4_request"] {
        let (status, _) = call(Kind::Bedrock, "/model/meta.llama3/converse", &[("authorization", header)], &body);
        assert_eq!(status, 403, "{header}");
    }
}

#[test]
fn a_signature_of_long_ago_has_expired() {
    let headers = [
        ("host", "127.0.0.1:1"),
        ("x-amz-date", "20240102T030405Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDFAKE/20240102/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=00",
        ),
    ];
    let (status, said) = call(Kind::Bedrock, "/model/meta.llama3/converse", &headers, &json!({}));
    assert!(status == 403 && said.concat().contains("expired"), "{said:?}");
}

#[test]
fn a_fault_breaks_the_pieces() {
    let whole = || vec![b"abcd".to_vec(), b"efgh".to_vec(), b"ijkl".to_vec()];
    for (fault, left) in [
        (Fault::CutAfter(1), "abcd"),
        (Fault::CutWithin(1), "abcdef"),
        (Fault::Without(1), "abcdijkl"),
        (Fault::WrongChecksum(0), "abceefghijkl"),
    ] {
        let mut pieces = whole();
        break_pieces(&mut pieces, Some(fault));
        assert_eq!(pieces.concat(), left.as_bytes(), "{fault:?}");
    }
}
