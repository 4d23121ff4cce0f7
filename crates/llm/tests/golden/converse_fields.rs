//! Converse: no part of a request is lost without a word.

use llm::translate::{AnswerId, BrokenAnswer, ChatContext, Unsupported, converse};
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
    let (chunks, result, _) = translate(ChatContext::default(), [&frames(events)[..]]);
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

#[test]
fn every_field_without_a_counterpart_is_named() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low", "foo": 1}, "bar": 1});
    let file =
        json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "file_id": "f"}, "text": "x"});
    let audio = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav", "foo": 1}});
    let function = json!({"name": "f", "arguments": "{}", "foo": 1});
    let call = json!({"id": "a", "type": "function", "index": 0, "function": function, "extra_content": {"google": 1}, "foo": 1});
    let result = json!({"role": "tool", "name": "f", "tool_call_id": "a", "content": "1", "foo": 1});
    let signed = json!({"type": "thinking", "index": 0, "thinking": "t", "signature": "S", "foo": 1});
    for (more, named) in [
        (json!([{"role": "user", "content": "a", "foo": 1}]), "messages[1].foo"),
        (json!([{"role": "user", "content": "a", "name": "ann"}]), "messages[1].name"),
        (json!([{"role": "system", "content": "a", "cache_control": {"type": "x"}}]), "messages[1].cache_control"),
        (
            json!([{"role": "assistant", "content": "a", "annotations": [1], "reasoning_details": [1], "audio": {"id": 1}}]),
            "messages[1].annotations messages[1].audio messages[1].reasoning_details",
        ),
        (
            json!([{"role": "user", "content": "a", "tool_calls": [1], "refusal": "r", "tool_call_id": "t", "thinking_blocks": [1]}]),
            "messages[1].tool_calls messages[1].tool_call_id messages[1].refusal messages[1].thinking_blocks",
        ),
        (
            json!([{"role": "user", "content": [{"type": "text", "text": "a", "foo": 1, "file": 2}]}]),
            "messages[1].content[0].foo messages[1].content[0].file",
        ),
        (
            json!([{"role": "user", "content": [image, file, audio]}]),
            "messages[1].content[0].bar messages[1].content[0].image_url.foo messages[1].content[0].image_url.detail \
             messages[1].content[1].text messages[1].content[1].file.file_id messages[1].content[2].input_audio.foo",
        ),
        (
            json!([{"role": "assistant", "tool_calls": [call]}, result]),
            "messages[1].tool_calls[0].extra_content messages[1].tool_calls[0].foo messages[1].tool_calls[0].function.foo \
             messages[2].foo",
        ),
        (
            json!([{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"a": 1}}}]}, {"role": "tool", "tool_call_id": "a", "content": "1"}]),
            "messages[1].tool_calls[0].function.arguments",
        ),
        // Thinking goes back with its signature, and then says what the other forms of it say.
        (
            json!([{"role": "assistant", "content": "a", "reasoning_content": "t", "reasoning": "t", "thinking_blocks": [signed]}]),
            "messages[1].thinking_blocks[0].foo",
        ),
        (
            json!([{"role": "assistant", "content": "a", "reasoning_content": "t", "thinking_blocks": [{"type": "thinking", "thinking": "t"}, {"type": "x"}, 5]}]),
            "messages[1].thinking_blocks[0] messages[1].thinking_blocks[1] messages[1].thinking_blocks[2] messages[1].reasoning_content",
        ),
        (json!([{"role": "assistant", "content": "a", "thinking_blocks": "t"}]), "messages[1].thinking_blocks"),
        // What clients send back as it came, and what says nothing.
        (
            json!([{"role": "assistant", "content": "a", "refusal": null, "annotations": [], "audio": null, "function_call": null, "tool_calls": null}]),
            "",
        ),
        (json!([{"role": "assistant", "content": null, "refusal": "no"}]), ""),
        (
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "auto"}}]}]),
            "",
        ),
    ] {
        let request = messages(&more).to_string();
        assert_eq!(said(&request), named, "{request}");
        let refused = converse::request(request.as_bytes(), Unsupported::Refuse);
        assert_eq!(refused.is_err(), !named.is_empty(), "{request}");
    }
    for (field, value, named) in [
        (
            "tools",
            json!([{"type": "function", "cache_control": {"type": "x"}, "function": {"name": "f", "foo": 1, "description": 5, "strict": false}}]),
            "tools[0].function.foo tools[0].function.description tools[0].cache_control",
        ),
        ("response_format", json!({"type": "text", "foo": 1}), "response_format.foo"),
        (
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {}, "foo": 1}}),
            "response_format.json_schema.foo",
        ),
    ] {
        let mut request = messages(&json!([]));
        request[field] = value;
        assert_eq!(said(&request.to_string()), named, "{request}");
    }
    // However the name is written, and what stands twice counts as it stands last.
    let escaped =
        r#"{"model":"m","messages":[{"r\u006fle":"user","content":[],"c\u006fntent":"hi","f\u006fo":1,"foo2":1}]}"#;
    assert_eq!(said(escaped), "messages[0].foo messages[0].foo2");
}

/// What a whole answer with this text for its content becomes.
fn answered(content: &str, reason: &str) -> Result<String, BrokenAnswer> {
    let body = format!(r#"{{"output":{{"message":{{"role":"assistant","content":[{content}]}}}}{reason}}}"#);
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 1 };
    let made = converse::answer(body.as_bytes(), &ChatContext::default(), &id)?;
    Ok(String::from_utf8(made).unwrap())
}

#[test]
fn an_answer_that_is_not_what_converse_says_is_broken() {
    let (end, calls) = (r#","stopReason":"end_turn""#, r#","stopReason":"tool_use""#);
    for (content, reason, good) in [
        (r#"{"text":"a"}"#, end, true),
        (r#"{"text":"\u00e4\n\"\ud83d"}"#, end, true),
        (r#"{"text":"a"}"#, "", false),
        (r#"{"text":"a"}"#, r#","stopReason":null"#, false),
        (r#"{"text":"a"}"#, r#","stopReason":"a word of tomorrow""#, true),
        ("{\"text\":\"a\nb\"}", end, false),
        ("{\"text\":\"a\u{1}b\"}", end, false),
        (r#"{"text":"a\qb"}"#, end, false),
        (
            "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"a\nb\",\"signature\":\"s\"}}},{\"text\":\"b\"}",
            end,
            false,
        ),
        (r#"{"toolUse":{"toolUseId":"a","name":"f","input":{}}}"#, calls, true),
        (r#"{"toolUse":{"toolUseId":"a","name":"f"}}"#, calls, true),
        (r#"{"toolUse":{"toolUseId":"a","name":"f","input":{"a":tru}}}"#, calls, false),
        (r#"{"toolUse":{"toolUseId":"a","name":"f","input":null}}"#, calls, false),
        (r#"{"toolUse":{"toolUseId":"a","name":"f","input":"x"}}"#, calls, false),
        (r#"{"toolUse":{"toolUseId":"","name":"f","input":{}}}"#, calls, false),
        (r#"{"toolUse":{"name":"f","input":{}}}"#, calls, false),
        (r#"{"toolUse":{"toolUseId":"a","name":"","input":{}}}"#, calls, false),
        (r#"{"toolUse":{"toolUseId":"a","input":{}}}"#, calls, false),
    ] {
        let made = answered(content, reason);
        assert_eq!(made.is_ok(), good, "{content} {reason}: {made:?}");
        if let Ok(made) = made {
            serde_json::from_str::<&serde_json::value::RawValue>(&made).unwrap();
        }
    }
}

#[test]
fn a_stream_that_is_not_what_converse_says_is_broken() {
    let call = |start: &str| {
        format!(
            "contentBlockStart {{\"contentBlockIndex\":0,\"start\":{{\"toolUse\":{start}}}}}\ncontentBlockStop {{}}\nmessageStop {{\"stopReason\":\"tool_use\"}}"
        )
    };
    let text = |text: &str| {
        format!("contentBlockDelta {{\"delta\":{{\"text\":\"{text}\"}}}}\nmessageStop {{\"stopReason\":\"end_turn\"}}")
    };
    for (events, good) in [
        (text("a"), true),
        (text(r#"\u00e4\n\"\ud83d"#), true),
        (text("a\u{1}b"), false),
        (text(r"a\qb"), false),
        ("contentBlockDelta {\"delta\":{\"text\":\"a\"}}\nmessageStop {}".to_owned(), false),
        (call(r#"{"toolUseId":"a","name":"f"}"#), true),
        (call(r#"{"toolUseId":"","name":"f"}"#), false),
        (call(r#"{"toolUseId":"a","name":""}"#), false),
    ] {
        let (chunks, result, _) = translate(ChatContext::default(), [&frames(&events)[..]]);
        assert_eq!(result.is_ok(), good, "{events}: {chunks}");
    }
}

#[test]
fn a_refusal_of_the_assistants_goes_back_as_its_text() {
    let more = json!([{"role": "assistant", "content": "well", "refusal": "no"}, {"role": "user", "content": "why?"}]);
    let body = converse::request(messages(&more).to_string().as_bytes(), Unsupported::Refuse).unwrap().body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["messages"][1]["content"], json!([{"text": "well"}, {"text": "no"}]));
}

#[test]
fn a_choice_of_an_unknown_function_is_the_clients_mistake() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}]);
    let call = json!([
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "old", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]);
    let refused = "tool_choice.function.name: no tool of `tools` has this name";
    for (more, tools, name, expected) in [
        (json!([]), tools.clone(), "f", "tools[1]"),
        (json!([]), tools.clone(), "nope", refused),
        (json!([]), tools.clone(), "c", refused),
        (json!([]), Value::Null, "f", refused),
        (json!([]), json!([]), "f", refused),
        (call, tools, "old", refused),
    ] {
        let mut request = messages(&more);
        request["tools"] = tools;
        request["tool_choice"] = json!({"type": "function", "function": {"name": name}});
        assert_eq!(said(&request.to_string()), expected, "{request}");
    }
}

#[test]
fn a_file_may_be_base64_without_its_type() {
    for (name, data, expected) in [
        (json!("a.pdf"), "JVBERi0xLjQ=", Ok(("pdf", "a"))),
        (json!("notes.md"), "IyBoaQ==", Ok(("md", "notes"))),
        (json!("odd.bin"), "JVBERi0xLjQ=", Ok(("pdf", "odd"))),
        (json!("table.CSV"), "YSxi", Ok(("csv", "table"))),
        (Value::Null, "JVBERi0xLjQ=", Ok(("pdf", "document"))),
        (json!("odd.bin"), "YSxi", Err("messages[1].content[0]")),
        (json!("a.pdf"), "https://example.com/a.pdf", Err("messages[1].content[0]")),
        (json!("a.pdf"), "no base64!", Err("messages[1].content[0]")),
        (json!("a.pdf"), "", Err("messages[1].content[0]")),
    ] {
        let part = json!({"type": "file", "file": {"filename": name, "file_data": data}});
        let request = messages(&json!([{"role": "user", "content": [part]}])).to_string();
        let translated = converse::request(request.as_bytes(), Unsupported::Drop).unwrap();
        let body: Value = serde_json::from_slice(&translated.body).unwrap();
        let document = &body["messages"][0]["content"][1]["document"];
        match expected {
            Ok((format, name)) => {
                assert_eq!(*document, json!({"format": format, "name": name, "source": {"bytes": data}}), "{request}")
            }
            Err(dropped) => assert_eq!(said(&request), dropped),
        }
    }
}
