//! What must hold for any input: no cutting of a stream changes its translation, nothing panics, and every request that is made
//! is one that the vendor's rules allow.

use std::collections::HashSet;

use llm::translate::anthropic::{self, Envelope, RequestOptions, Stream, Thinking};
use llm::translate::{ChatContext, StreamTranslator, Unsupported};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{chunks, goldens, options, translate, translate_stream};

fn streams() -> Vec<Vec<u8>> {
    goldens("stream_", ".anthropic.sse").into_iter().map(|(_, stream)| stream).collect()
}

fn context() -> ChatContext {
    ChatContext { include_usage: true, ..ChatContext::default() }
}

/// JSON with the words of both protocols in all places.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "role",
        "content",
        "user",
        "assistant",
        "tool",
        "system",
        "type",
        "text",
        "image_url",
        "url",
        "file",
        "file_data",
        "tool_calls",
        "tool_call_id",
        "id",
        "function",
        "name",
        "arguments",
        "{}",
        "tools",
        "messages",
        "thinking",
        "signature",
        "thinking_blocks",
        "data:image/png;base64,AA==",
        "tool_use",
        "input",
        "stop_reason",
        "end_turn",
        "message",
        "delta",
        "content_block",
        "index",
        "usage",
        "input_tokens",
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
        "partial_json",
        "input_json_delta",
        "text_delta",
        "response_format",
        "json_schema",
        "schema",
        "$id",
        "properties",
        "tool_choice",
        "allowed_tools",
        "required",
        "stop",
        "user",
        "cache_control",
        "temperature",
        "n",
        "reasoning_effort",
        "high",
        "",
        " ",
        "\u{1F600}\n\"",
    ]);
    let leaf = prop_oneof![
        4 => words.clone().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((words.clone(), inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

fn part() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-z \n\"\\\\ä]{0,12}".prop_map(|text| json!({"type": "text", "text": text})),
        Just(json!({"type": "text", "text": "marked", "cache_control": {"type": "ephemeral"}})),
        Just(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})),
        Just(json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}})),
        Just(json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}})),
        Just(json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})),
    ]
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof!["[a-z \n]{0,12}".prop_map(Value::from), prop::collection::vec(part(), 0..4).prop_map(Value::from)]
}

/// Messages in which every call is answered, in any order, with other words between the results.
fn conversation() -> impl Strategy<Value = Value> {
    let calls = prop::collection::vec(("[a-c.:]{1,3}", "[a-zä. ]{1,70}"), 0..4);
    let turn = (content(), content(), calls, any::<bool>(), any::<u8>());
    prop::collection::vec(turn, 0..5).prop_map(|turns| {
        // Without anything that the user said first, it would be refused.
        let mut messages = vec![json!({"role": "user", "content": "first"})];
        for (user, assistant, calls, thinks, order) in turns {
            messages.push(json!({"role": if order % 5 == 0 { "developer" } else { "user" }, "content": "go"}));
            messages.push(json!({"role": "user", "content": user}));
            let text = if assistant.is_string() { assistant } else { Value::Null };
            let mut message = json!({"role": "assistant", "content": text});
            if thinks {
                message["thinking_blocks"] = json!([{"type": "thinking", "thinking": "x", "signature": "y"}]);
            }
            let mut ids = HashSet::new();
            let calls: Vec<_> = calls.into_iter().filter(|(id, _)| ids.insert(id.clone())).collect();
            message["tool_calls"] = calls
                .iter()
                .map(|(id, name)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{\"a\":1}"}}))
                .collect();
            messages.push(message);
            let mut results: Vec<_> =
                calls.iter().map(|(id, _)| json!({"role": "tool", "tool_call_id": id, "content": "done"})).collect();
            let middle = usize::from(order) % (results.len() + 1);
            results.rotate_left(middle);
            results.insert(middle, json!({"role": "user", "content": "and"}));
            messages.extend(results);
        }
        messages.push(json!({"role": "user", "content": "end"}));
        Value::from(messages)
    })
}

/// What the vendor refuses in messages.
fn assert_allowed(body: &Value) {
    let is_name = |name: &str| {
        (1..=64).contains(&name.len())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
    };
    let (mut ids, mut open, mut last_role) = (HashSet::new(), HashSet::new(), "");
    let names: HashSet<_> =
        body["tools"].as_array().into_iter().flatten().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.iter().all(|name| is_name(name)));
    assert!(body["max_tokens"].as_u64().unwrap() > 0);
    for message in body["messages"].as_array().unwrap() {
        let role = message["role"].as_str().unwrap();
        assert_ne!(role, last_role, "neighbours of one role");
        last_role = role;
        let (mut calls, mut may_be_result) = (HashSet::new(), true);
        let blocks = message["content"].as_array().unwrap();
        assert!(!blocks.is_empty());
        for block in blocks {
            match block["type"].as_str().unwrap() {
                "text" => assert!(!block["text"].as_str().unwrap().trim().is_empty()),
                "tool_use" => {
                    let id = block["id"].as_str().unwrap().to_owned();
                    assert!(
                        is_name(&id) && names.contains(block["name"].as_str().unwrap()) && block["input"].is_object()
                    );
                    assert!(ids.insert(id.clone()), "an id twice");
                    calls.insert(id);
                }
                "tool_result" => {
                    assert!(may_be_result && role == "user", "a result behind other blocks");
                    assert!(open.remove(block["tool_use_id"].as_str().unwrap()), "a result without a call");
                    continue;
                }
                _ => {}
            }
            may_be_result = false;
        }
        assert!(open.is_empty(), "a call without a result");
        open = calls;
    }
}

proptest! {
    #[test]
    fn no_cutting_changes_a_stream(which in any::<prop::sample::Index>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20), end in any::<prop::sample::Index>(), short: bool) {
        let streams = streams();
        let stream = which.get(&streams);
        let stream = if short { &stream[..end.index(stream.len())] } else { &stream[..] };
        let whole = translate_stream(Stream::new(context(), 1), [stream]);
        prop_assert_eq!(&whole, &translate_stream(Stream::new(context(), 1), stream.chunks(1)));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(&whole, &translate_stream(Stream::new(context(), 1), pieces));
        prop_assert_eq!(whole.1.is_ok(), whole.0.contains("[DONE]") || whole.0.contains("{\"error\""));
    }

    #[test]
    fn any_events_become_chunks_or_break(events in prop::collection::vec(any_json(), 0..6)) {
        let start = json!({"type": "message_start", "message": {"id": "m"}});
        let text: String = [start].iter().chain(&events).map(|event| format!("data: {event}\n\n")).collect();
        let (out, _) = translate_stream(Stream::new(context(), 1), [text.as_bytes()]);
        for chunk in chunks(&out) {
            prop_assert!(chunk["error"].is_object() || chunk["choices"].is_array());
        }
    }

    #[test]
    fn any_json_is_translated_or_refused(value in any_json(), messages in any_json(), tools in any_json(), refuse: bool) {
        let unsupported = if refuse { Unsupported::Refuse } else { Unsupported::Pass };
        let options = RequestOptions { unsupported, ..options() };
        let mut wrapped = json!({"messages": [messages, {"role": "user", "content": messages}], "tools": [tools]});
        if let (Value::Object(wrapped), Value::Object(more)) = (&mut wrapped, &value) {
            wrapped.extend(more.clone());
        }
        for request in [&value, &wrapped] {
            if let Ok((body, _)) = translate(request, &options) {
                prop_assert!(body["messages"].is_array());
            }
        }
        let text = value.to_string();
        if let Ok(answer) = anthropic::answer(text.as_bytes(), &context(), 1) {
            prop_assert!(serde_json::from_slice::<Value>(&answer).is_ok());
        }
        let error: Value = serde_json::from_slice(&anthropic::error(400, text.as_bytes())).unwrap();
        prop_assert!(error["error"]["message"].is_string());
    }

    #[test]
    fn any_bytes_are_translated_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = anthropic::request(&bytes, &options());
        let _ = anthropic::answer(&bytes, &context(), 1);
        let error: Value = serde_json::from_slice(&anthropic::error(500, &bytes)).unwrap();
        prop_assert!(error["error"].is_object());
        let _ = translate_stream(Stream::new(context(), 1), [&bytes[..]]);
    }

    #[test]
    fn every_request_that_is_made_is_one_that_the_vendor_allows(messages in conversation(), envelope in 0..3, tools: bool) {
        let envelope = [Envelope::Api, Envelope::Bedrock, Envelope::Vertex][usize::try_from(envelope).unwrap()];
        let options = RequestOptions { envelope, thinking: Thinking::Budget, ..options() };
        let mut request = json!({"model": "m", "messages": messages});
        if tools {
            // All that are called, each once.
            let called = messages.as_array().unwrap().iter().flat_map(|message| message["tool_calls"].as_array().into_iter().flatten());
            let names: HashSet<_> = called.map(|call| call["function"]["name"].as_str().unwrap().to_owned()).collect();
            request["tools"] = names.iter().map(|name| json!({"type": "function", "function": {"name": name}})).collect();
        }
        let (body, _) = translate(&request, &options).unwrap();
        assert_allowed(&body);
    }
}

#[test]
fn what_a_stream_keeps_does_not_grow() {
    let mut stream = Stream::new(context(), 1);
    let mut out = Vec::new();
    let start = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n\
        data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\"}}\n\n\
        data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":[0\"}}\n\n";
    stream.push(start.as_bytes(), &mut out).unwrap();
    let before = format!("{stream:?}").len();
    for _ in 0..1000 {
        out.clear();
        let piece = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\",1\"}}\n\n";
        stream.push(piece.as_bytes(), &mut out).unwrap();
    }
    assert!(format!("{stream:?}").len() < before + 500);
    let large = format!("data: {}\n\n", "x".repeat(llm::sse::MAX_EVENT_BYTES + 1));
    assert!(stream.push(large.as_bytes(), &mut out).is_err());
}
