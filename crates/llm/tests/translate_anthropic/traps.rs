//! The traps that other gateways fell into, by their numbers in `docs/providers.md`, as far as they concern Anthropic, and the
//! rules of the vendor that the golden files do not show.

use llm::translate::anthropic::{self, ApiVersion, Envelope, RequestOptions, Stream, Thinking};
use llm::translate::{BrokenAnswer, ChatContext, TranslateError, Unsupported};
use serde_json::{Value, json};

use super::{chunks, options, translate, translate_stream};

fn asked(messages: Value) -> Value {
    json!({"model": "gpt-4o", "messages": messages})
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn result(id: &str, content: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": content})
}

/// The messages of a translated conversation.
fn messages(asked_messages: Value) -> Vec<Value> {
    let (body, _) = translate(&asked(asked_messages), &options()).unwrap();
    body["messages"].as_array().unwrap().clone()
}

/// The field that is the client's mistake.
fn refused(request: &Value, options: &RequestOptions<'_>) -> String {
    match translate(request, options) {
        Err(TranslateError::Invalid { param, .. }) => param,
        other => panic!("{other:?}"),
    }
}

#[test]
fn trap_1_all_results_of_a_turn_are_in_one_user_message_before_its_text() {
    let calls = json!([call("a", "f", "{}"), call("b", "f", "{}"), call("c", "g", "{}")]);
    let (user, assistant) =
        (json!({"role": "user", "content": "Go"}), json!({"role": "assistant", "tool_calls": calls}));
    let comment = json!({"role": "user", "content": "By the way"});
    for after in [
        vec![result("a", "1"), result("b", "2"), result("c", "3"), comment.clone()],
        vec![result("c", "3"), comment.clone(), result("a", "1"), result("b", "2")],
        vec![comment, result("b", "2"), result("a", "1"), result("c", "3")],
    ] {
        let all: Vec<_> = [user.clone(), assistant.clone()].into_iter().chain(after).collect();
        let turns = messages(json!(all));
        assert_eq!(turns.len(), 3, "{turns:?}");
        let kinds: Vec<_> = turns[2]["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
        assert_eq!(kinds, ["tool_result", "tool_result", "tool_result", "text"]);
    }
}

#[test]
fn trap_2_a_call_in_the_content_and_in_tool_calls_is_one() {
    let turns = messages(json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I go."},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "b", "name": "f", "input": {"x": 2}},
        ], "tool_calls": [call("a", "f", "{\"x\":1}"), call("a", "f", "{\"x\":1}")]},
        result("a", "1"), result("b", "2"),
    ]));
    let ids: Vec<_> = turns[1]["content"].as_array().unwrap().iter().filter_map(|block| block["id"].as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    let two = json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [call("a", "f", "{}"), call("a", "g", "{}")]}, result("a", "1"),
    ]);
    assert_eq!(refused(&asked(two), &options()), "messages[1].tool_calls[1].id");
}

#[test]
fn trap_2_ids_that_come_again_in_a_later_turn_are_made_distinct() {
    let turn =
        |name: &str| [json!({"role": "assistant", "tool_calls": [call("call_0", name, "{}")]}), result("call_0", name)];
    let mut all = vec![json!({"role": "user", "content": "Go"})];
    for name in ["f", "g", "h"] {
        all.extend(turn(name));
    }
    let turns = messages(json!(all));
    let mut ids = std::collections::HashSet::new();
    for (call, result) in [(1, 2), (3, 4), (5, 6)] {
        let (call, result) = (&turns[call]["content"][0], &turns[result]["content"][0]);
        assert_eq!(call["id"], result["tool_use_id"]);
        assert_eq!(call["name"], result["content"][0]["text"]);
        assert!(ids.insert(call["id"].clone()), "{turns:?}");
    }
}

#[test]
fn trap_3_several_results_of_one_call_are_one_with_all_of_their_content() {
    let turns = messages(json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [call("a", "f", "{}"), call("b", "f", "{}")]},
        result("a", "1"), result("b", "2"), result("a", "3"),
    ]));
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        turns[2]["content"],
        json!([
            {"type": "tool_result", "tool_use_id": "a", "content": [text("1"), text("3")]},
            {"type": "tool_result", "tool_use_id": "b", "content": [text("2")]},
        ])
    );
}

#[test]
fn trap_4_a_history_with_calls_has_tools_and_none_may_be_called() {
    let history = json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [call("a", "f.1", "{}"), call("b", "f.1", "{}"), call("c", "g", "{}")]},
        result("a", "1"), result("b", "2"), result("c", "3"),
    ]);
    let with = |tools: Value| json!({"model": "m", "messages": history, "tools": tools});
    for request in [asked(history.clone()), with(json!([])), with(Value::Null)] {
        let (body, _) = translate(&request, &options()).unwrap();
        let names: Vec<_> = body["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert_eq!(names, ["f_1", "g"]);
        assert_eq!(body["tool_choice"], json!({"type": "none"}));
    }
}

#[test]
fn trap_6_cached_tokens_count_once_and_alike_in_answers_and_streams() {
    let used =
        json!({"input_tokens": 3, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 7, "output_tokens": 9});
    let message = json!({"id": "m", "model": "c", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn", "usage": used});
    let answer = anthropic::answer(message.to_string().as_bytes(), &ChatContext::default(), 1).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["usage"]["prompt_tokens"], 60);
    assert_eq!(answer["usage"]["total_tokens"], 69);
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 50);

    // The counts of the beginning are replaced by those of the end, never added.
    let start =
        json!({"input_tokens": 2, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 7, "output_tokens": 4});
    let events = [
        json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": start}}),
        json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": {"output_tokens": 6}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": used}),
        json!({"type": "message_stop"}),
    ];
    let (out, ended) = stream(&events, true);
    assert_eq!(ended, Ok(()));
    assert_eq!(chunks(&out).last().unwrap()["usage"], answer["usage"]);
}

#[test]
fn trap_7_the_usage_of_a_stream_comes_only_to_those_who_asked() {
    let events = text_stream();
    for (asked, count) in [(true, 1), (false, 0)] {
        let (out, _) = stream(&events, asked);
        let chunks = chunks(&out);
        assert_eq!(chunks.iter().filter(|chunk| chunk["usage"].is_object()).count(), count);
        assert_eq!(chunks.iter().filter(|chunk| chunk["choices"] == json!([])).count(), count);
        assert_eq!(out.matches("data: [DONE]").count(), 1);
    }
    let body = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "a"}]});
    let context = anthropic::request(body.to_string().as_bytes(), &options()).unwrap().answer;
    assert!(context.stream && context.include_usage);
}

#[test]
fn trap_5_what_gemini_wants_back_is_left_out_and_said() {
    let mut call = call("c1", "f", "{}");
    call["extra_content"] = json!({"google": {"thought_signature": "c2ln"}});
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}, result("c1", "1")]});
    let made = anthropic::request(body.to_string().as_bytes(), &options()).unwrap();
    let dropped: Vec<_> = made.dropped.iter().map(ToString::to_string).collect();
    assert_eq!(dropped, ["messages[1].tool_calls[0].extra_content"]);
    assert!(!String::from_utf8(made.body).unwrap().contains("c2ln"));
}

#[test]
fn trap_8_unknown_fields_do_not_reach_the_vendor_unasked() {
    let request =
        json!({"model": "m", "store": true, "new_field": {"a": 1}, "messages": [{"role": "user", "content": "a"}]});
    let (body, dropped) = translate(&request, &options()).unwrap();
    assert_eq!(dropped.len(), 2);
    assert!(body.get("store").is_none() && body.get("new_field").is_none());
    let pass = RequestOptions { unsupported: Unsupported::Pass, ..options() };
    let (body, dropped) = translate(&request, &pass).unwrap();
    assert_eq!((dropped, &body["new_field"]), (vec!["store".to_owned()], &json!({"a": 1})));
}

#[test]
fn trap_12_schema_keys_go_where_they_are_keywords_and_stay_where_they_are_names_or_values() {
    let parameters = json!({
        "$id": "a", "$schema": "b", "type": "object",
        "properties": {"$id": {"$id": "c", "type": "string", "default": {"$id": 1}}, "$schema": {"enum": ["$schema"]}},
        "$defs": {"$id": {"items": {"anyOf": [{"$schema": "d", "const": {"$schema": 2}}]}}},
    });
    let request = json!({"model": "m", "messages": [{"role": "user", "content": "a"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]});
    let expected = json!({
        "type": "object",
        "properties": {"$id": {"type": "string", "default": {"$id": 1}}, "$schema": {"enum": ["$schema"]}},
        "$defs": {"$id": {"items": {"anyOf": [{"const": {"$schema": 2}}]}}},
    });
    let (body, _) = translate(&request, &options()).unwrap();
    assert_eq!(body["tools"][0]["input_schema"], expected);
    let escaped = request.to_string().replace("$schema\":\"b", "\\u0024schema\":\"b");
    let body: Value =
        serde_json::from_slice(&anthropic::request(escaped.as_bytes(), &options()).unwrap().body).unwrap();
    assert_eq!(body["tools"][0]["input_schema"], expected);
}

#[test]
fn trap_13_a_stop_for_a_tool_call_without_one_is_broken() {
    let message = json!({"id": "m", "content": [{"type": "text", "text": "a"}], "stop_reason": "tool_use"});
    assert!(anthropic::answer(message.to_string().as_bytes(), &ChatContext::default(), 1).is_err());
    let mut events = text_stream();
    events[4]["delta"]["stop_reason"] = json!("tool_use");
    assert!(stream(&events, false).1.is_err());
}

#[test]
fn trap_14_calls_without_results_and_results_without_calls_are_the_clients_mistake() {
    let (user, calls) = (json!({"role": "user", "content": "Go"}), json!([call("a", "f", "{}"), call("b", "f", "{}")]));
    let assistant = json!({"role": "assistant", "tool_calls": calls});
    for (messages, param) in [
        (json!([user, assistant]), "messages[1].tool_calls"),
        (json!([user, assistant, result("a", "1")]), "messages[1].tool_calls"),
        (json!([user, assistant, result("a", "1"), user]), "messages[1].tool_calls"),
        (json!([user, assistant, user]), "messages[1].tool_calls"),
        (json!([user, assistant, {"role": "assistant", "content": "x"}]), "messages[1].tool_calls"),
        (json!([result("a", "1"), user]), "messages[0].tool_call_id"),
        (json!([user, assistant, result("c", "1")]), "messages[2].tool_call_id"),
        (
            json!([user, assistant, result("a", "1"), result("b", "1"), {"role": "assistant", "content": "x"}, result("a", "1")]),
            "messages[5].tool_call_id",
        ),
    ] {
        assert_eq!(refused(&asked(messages.clone()), &options()), param, "{messages}");
    }
}

#[test]
fn trap_15_thinking_is_given_back_once_with_its_signature_and_without_one_left_out() {
    let block = json!({"type": "thinking", "thinking": "Hm", "signature": "c2ln"});
    let ask = |message: Value| {
        translate(
            &asked(json!([{"role": "user", "content": "a"}, message, {"role": "user", "content": "b"}])),
            &options(),
        )
        .unwrap()
    };
    let (body, dropped) =
        ask(json!({"role": "assistant", "content": "x", "reasoning_content": "Hm", "thinking_blocks": [block]}));
    assert_eq!((&body["messages"][1]["content"][0], dropped.len()), (&block, 0));
    assert_eq!(body["messages"][1]["content"].as_array().unwrap().len(), 2);
    let (body, _) = ask(json!({"role": "assistant", "content": [block, {"type": "text", "text": "x"}]}));
    assert_eq!(body["messages"][1]["content"][0], block);
    let (body, dropped) = ask(json!({"role": "assistant", "content": "x", "reasoning_content": "Hm"}));
    assert_eq!(body["messages"][1]["content"], json!([{"type": "text", "text": "x"}]));
    assert_eq!(dropped, ["messages[1].reasoning_content"]);
}

#[test]
fn trap_15_a_signature_that_comes_at_the_beginning_of_its_block_is_kept() {
    let block = json!({"type": "thinking", "thinking": "", "signature": "c2ln"});
    let mut events = block_stream(block, json!({"type": "thinking_delta", "thinking": ""}), "end_turn");
    let (out, _) = stream(&events, false);
    assert!(out.contains(r#""thinking_blocks":[{"index":0,"type":"thinking","signature":"c2ln"}]"#), "{out}");
    events[1]["content_block"]["signature"] = json!("");
    assert!(!stream(&events, false).0.contains("thinking_blocks"));
}

#[test]
fn trap_15_a_budget_is_not_set_where_the_thinking_of_the_last_calls_is_missing() {
    let budget = RequestOptions { thinking: Thinking::Budget, ..options() };
    let block = json!({"type": "thinking", "thinking": "Hm", "signature": "c2ln"});
    for (blocks, thinks) in [(json!([block]), true), (json!([]), false)] {
        let mut request = asked(json!([
            {"role": "user", "content": "Go"},
            {"role": "assistant", "thinking_blocks": blocks, "tool_calls": [call("a", "f", "{}")]},
            result("a", "1"),
        ]));
        request["reasoning_effort"] = json!("low");
        let (body, dropped) = translate(&request, &budget).unwrap();
        assert_eq!(body.get("thinking").is_some(), thinks);
        assert_eq!(dropped.is_empty(), thinks);
    }
}

#[test]
fn trap_16_tools_that_are_forbidden_stay_forbidden_and_no_stream_ends_before_its_call() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let mut request = json!({"model": "m", "tools": tools, "messages": [{"role": "user", "content": "a"}], "tool_choice": "none", "parallel_tool_calls": false});
    assert_eq!(translate(&request, &options()).unwrap().0["tool_choice"], json!({"type": "none"}));
    request["tool_choice"] = json!({"type": "function", "function": {"name": "g"}});
    assert_eq!(refused(&request, &options()), "tool_choice.function.name");
    for events in [&call_stream("{\"a\":1")[..], &call_stream("{\"a\":1}")[..3], &call_stream("{\"a\":1}")[..4]] {
        let (out, ended) = stream(events, false);
        assert!(ended.is_err() && !out.contains("[DONE]") && !out.contains("\"tool_calls\"},"), "{out}");
    }
    let (_, ended) = stream(&call_stream("{\"a\":1}"), false);
    assert_eq!(ended, Ok(()));
}

#[test]
fn trap_17_an_answer_always_has_its_choice() {
    let message = json!({"id": "m", "content": [], "stop_reason": "end_turn"});
    let answer = anthropic::answer(message.to_string().as_bytes(), &ChatContext::default(), 1).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "");
}

#[test]
fn trap_18_what_the_client_did_wrong_is_named_and_never_an_error_of_ours() {
    let good = json!([{"role": "user", "content": "a"}]);
    for (request, param) in [
        (json!([]), "body"),
        (json!({"model": "m"}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user", "content": " \n"}]}), "messages"),
        (json!({"messages": [{"role": "robot", "content": "a"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [7]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages[0].content[0].text"),
        (json!({"messages": [{"role": "user", "content": [{"text": "a"}]}]}), "messages[0].content[0].type"),
        (json!({"messages": good, "max_tokens": 0}), "max_tokens"),
        (json!({"messages": good, "temperature": "hot"}), "temperature"),
        (json!({"messages": good, "temperature": 3}), "temperature"),
        (json!({"messages": good, "stop": [1]}), "stop"),
        (json!({"messages": good, "n": 0}), "n"),
        (json!({"messages": good, "reasoning_effort": "huge"}), "reasoning_effort"),
        (json!({"messages": good, "response_format": {"type": "yaml"}}), "response_format.type"),
        (json!({"messages": good, "response_format": {"type": "json_schema"}}), "response_format.json_schema.schema"),
        (json!({"messages": good, "tools": {}}), "tools"),
        (json!({"messages": good, "tools": [{"type": "function"}]}), "tools[0].function"),
        (json!({"messages": good, "tools": [{"function": {"name": ""}}]}), "tools[0].function.name"),
        (
            json!({"messages": good, "tools": [{"function": {"name": "f"}}, {"function": {"name": "f"}}]}),
            "tools[1].function.name",
        ),
        (
            json!({"messages": good, "tools": [{"function": {"name": "f", "parameters": []}}]}),
            "tools[0].function.parameters",
        ),
        (json!({"messages": good, "tool_choice": "required"}), "tool_choice"),
        (json!({"messages": good, "tool_choice": "perhaps"}), "tool_choice"),
    ] {
        assert_eq!(refused(&request, &options()), param, "{request}");
    }
    let broken = anthropic::request(b"{\"messages\":[", &options());
    assert!(matches!(broken, Err(TranslateError::Invalid { .. })));
}

#[test]
fn trap_19_keys_numbers_and_escapes_stay_as_they_are() {
    let schema = r#"{"type":"object","properties":{"z":{"type":"number","maximum":1.0e2},"a":{"const":"\u00e4"}}}"#;
    let request = format!(
        r#"{{"messages":[{{"role":"user","content":"\u00e4 \/"}},{{"role":"assistant","tool_calls":[{{"id":"i","type":"function","function":{{"name":"f","arguments":"{{\"z\":1.50,\"a\":10000000000000000000000}}"}}}}]}},{{"role":"tool","tool_call_id":"i","content":"1"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
    );
    let body = String::from_utf8(anthropic::request(request.as_bytes(), &options()).unwrap().body).unwrap();
    for copied in [schema, r#""\u00e4 \/""#, r#"{"z":1.50,"a":10000000000000000000000}"#] {
        assert!(body.contains(copied), "{body}");
    }
    assert!(body.find("\"tools\"") < body.find("\"messages\""));
}

#[test]
fn trap_21_images_are_never_fetched_and_only_web_addresses_and_data_pass() {
    let image = |url: &str| {
        asked(
            json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": url}}]}]),
        )
    };
    for url in [
        "file:///etc/passwd",
        "gopher://a",
        "a.png",
        "data:image/png,abc",
        "data:image/png;base64,",
        "data:image/png;base64,a b",
        "",
    ] {
        assert_eq!(refused(&image(url), &options()), "messages[0].content[1].image_url.url", "{url}");
    }
    let (body, dropped) = translate(&image("data:image/svg+xml;base64,AAAA"), &options()).unwrap();
    assert_eq!(dropped, ["messages[0].content[1]"], "a type that the vendor does not take");
    assert_eq!(body["messages"][0]["content"].as_array().unwrap().len(), 1);
    for envelope in [Envelope::Bedrock, Envelope::Vertex] {
        let (body, dropped) = translate(&image("https://a/b.png"), &RequestOptions { envelope, ..options() }).unwrap();
        assert_eq!(dropped, ["messages[0].content[1]"]);
        assert_eq!(body["messages"][0]["content"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn trap_22_an_event_that_cannot_be_read_breaks_the_stream_and_an_unknown_one_does_not() {
    let good = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n";
    for (event, broken) in [
        ("event: news\ndata: {\"type\":\"news\",\"a\":[1]}\n\n", false),
        ("data: {}\n\n", false),
        (": comment\n\n", false),
        ("event: ping\ndata:\n\n", false),
        ("data: {\"type\":\"ping\n\n", true),
        ("data: [1]\n\n", true),
        ("data: hello\n\n", true),
        (
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
            true,
        ),
        ("data: {\"type\":\"content_block_stop\",\"index\":0}\n\n", true),
        ("data: {\"type\":\"message_stop\"}\n\n", true),
    ] {
        let end = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
        let all = [good, event, end].concat();
        let (_, ended) = translate_stream(Stream::new(ChatContext::default(), 1), [all.as_bytes()]);
        assert_eq!(ended.is_err(), broken, "{event}");
    }
}

#[test]
fn a_cut_call_is_right_only_where_the_answer_was_cut() {
    for (reason, good) in
        [("max_tokens", true), ("model_context_window_exceeded", true), ("tool_use", false), ("end_turn", false)]
    {
        let mut events = call_stream("{\"a\":1");
        events[4]["delta"]["stop_reason"] = json!(reason);
        let (out, ended) = stream(&events, false);
        assert_eq!(ended.is_ok(), good, "{reason}");
        assert_eq!(out.contains("\"finish_reason\":\"length\""), good, "{reason}");
    }
    // What can never become an object is broken at once, whatever the reason.
    for arguments in ["[1]", "{\"a\":x", "}", "{}{"] {
        assert!(stream(&call_stream(arguments), false).1.is_err(), "{arguments}");
    }
}

#[test]
fn answers_that_are_no_answers_are_broken() {
    let good = json!({"id": "m", "model": "c", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}], "stop_reason": "tool_use"}).to_string();
    let context = ChatContext::default();
    assert!(anthropic::answer(good.as_bytes(), &context, 1).is_ok());
    for length in 0..good.len() {
        assert!(anthropic::answer(&good.as_bytes()[..length], &context, 1).is_err(), "{length}");
    }
    for (from, to) in [
        ("\"content\"", "\"text\""),
        ("\"id\":\"a\"", "\"id\":\"\""),
        ("\"name\"", "\"nam\""),
        ("{\"x\":1}", "[1]"),
        ("\"stop_reason\"", "\"reason\""),
    ] {
        assert!(good.contains(from));
        assert!(anthropic::answer(good.replace(from, to).as_bytes(), &context, 1).is_err(), "{to}");
    }
}

#[test]
fn reasons_for_the_end() {
    for (reason, expected) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("compaction", "length"),
        ("refusal", "content_filter"),
        ("news", "stop"),
    ] {
        let message = json!({"id": "m", "content": [{"type": "text", "text": "a"}], "stop_reason": reason});
        let answer = anthropic::answer(message.to_string().as_bytes(), &ChatContext::default(), 1).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["choices"][0]["finish_reason"], expected);
        let mut events = text_stream();
        events[4]["delta"]["stop_reason"] = json!(reason);
        let (out, _) = stream(&events, false);
        assert_eq!(chunks(&out).last().unwrap()["choices"][0]["finish_reason"], expected);
    }
}

#[test]
fn rules_of_the_versions() {
    let passing = |api_version| RequestOptions { api_version, unsupported: Unsupported::Pass, ..options() };
    let document = json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}});
    let mut request = asked(json!([
        {"role": "user", "content": [{"type": "text", "text": "a", "citations": [{"type": "char_location"}]}]},
        {"role": "assistant", "content": [document, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]));
    request["temperature"] = json!(1);
    let (body, dropped) = translate(&request, &passing(ApiVersion::V2023_06_01)).unwrap();
    assert!(dropped.is_empty(), "{dropped:?}");
    assert_eq!(body["messages"][1]["content"][0], document);
    assert!(body["messages"][0]["content"][0].get("citations").is_some());
    let (body, dropped) = translate(&request, &passing(ApiVersion::V2026_10_21)).unwrap();
    assert_eq!(dropped, ["messages[0].content[0].citations", "messages[1].content[0]", "temperature"]);
    assert!(body.get("temperature").is_none() && !body.to_string().contains("document"));
    for version in ["2023-06-01", "2026-10-21"] {
        assert_eq!(ApiVersion::parse(version).unwrap().as_str(), version);
    }
    assert_eq!(ApiVersion::parse("2024-01-01"), None);
}

#[test]
fn a_model_that_takes_less_gets_less() {
    let less = RequestOptions { sampling: false, schemas: false, thinking: Thinking::None, ..options() };
    let request = json!({"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": 0.5, "reasoning_effort": "low",
        "tools": [{"type": "function", "function": {"name": "f", "strict": true}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}});
    let (body, dropped) = translate(&request, &less).unwrap();
    // json! sorts the fields of this request.
    assert_eq!(dropped, ["reasoning_effort", "response_format", "temperature", "tools[0].function.strict"]);
    assert!(body.get("output_config").is_none() && body.get("thinking").is_none());
}

#[test]
fn a_forced_call_and_thinking_exclude_each_other() {
    let request = json!({"model": "m", "messages": [{"role": "user", "content": "a"}], "reasoning_effort": "high", "tool_choice": "required",
        "tools": [{"type": "function", "function": {"name": "f"}}]});
    let (body, dropped) = translate(&request, &options()).unwrap();
    assert_eq!((&body["output_config"]["effort"], body.get("thinking"), dropped.len()), (&json!("high"), None, 0));
    let (body, dropped) = translate(&request, &RequestOptions { thinking: Thinking::Budget, ..options() }).unwrap();
    assert_eq!((body.get("thinking"), dropped), (None, vec!["reasoning_effort".to_owned()]));
}

#[test]
fn personal_names_of_users_are_hashed_and_others_are_not() {
    let user_id = |user: &str| {
        let mut request = asked(json!([{"role": "user", "content": "a"}]));
        request["user"] = json!(user);
        translate(&request, &options()).unwrap().0["metadata"]["user_id"].as_str().unwrap().to_owned()
    };
    for user in ["ann@example.com", "+46 70 123 45 67", "0701234567", &"x".repeat(300)] {
        let id = user_id(user);
        assert!(id.starts_with("user_") && id.len() == 37 && id == user_id(user), "{id}");
    }
    assert_ne!(user_id("ann@example.com"), user_id("bob@example.com"));
    for user in ["u-17", "550e8400-e29b-41d4-a716-446655440000", "12345"] {
        assert_eq!(user_id(user), user);
    }
}

#[test]
fn marks_for_the_cache_stand_once_at_the_last_block_of_their_message() {
    let (short, long) = (json!({"type": "ephemeral"}), json!({"type": "ephemeral", "ttl": "1h"}));
    let text = |text: &str| json!({"type": "text", "text": text});
    let marked = |text: &str, mark: &Value| json!({"type": "text", "text": text, "cache_control": mark});
    let request = asked(json!([
        {"role": "system", "content": "a"},
        {"role": "system", "content": " ", "cache_control": short},
        {"role": "user", "content": [text("b"), marked("c", &long)], "cache_control": short},
        {"role": "assistant", "content": "d", "tool_calls": [call("i", "f", "{}")], "cache_control": short},
        {"role": "tool", "tool_call_id": "i", "content": "\",\"cache_control\":{}}", "cache_control": long},
        {"role": "user", "content": "e", "cache_control": short},
    ]));
    let (body, dropped) = translate(&request, &options()).unwrap();
    assert!(dropped.is_empty(), "{dropped:?}");
    let turn = |index: usize| body["messages"][index]["content"].clone();
    assert_eq!(body["system"], json!([text("a")]));
    assert_eq!(turn(0), json!([text("b"), marked("c", &long)]));
    assert_eq!((&turn(1)[0], &turn(1)[1]["cache_control"]), (&text("d"), &short));
    assert_eq!((&turn(2)[0]["cache_control"], &turn(2)[1]), (&long, &marked("e", &short)));
    let written = anthropic::request(request.to_string().as_bytes(), &options()).unwrap().body;
    assert_eq!(String::from_utf8(written).unwrap().matches(",\"cache_control\":{\"").count(), 4);
}

#[test]
fn arguments_are_an_object_and_nothing_around_it() {
    let input = |arguments: &str| {
        let turns = json!([{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call("i", "f", arguments)]}, result("i", "1")]);
        let (body, dropped) = translate(&asked(turns), &options()).unwrap();
        (body["messages"][1]["content"][0]["input"].clone(), dropped)
    };
    for (arguments, expected) in [
        ("", json!({})),
        (" \n", json!({})),
        ("\u{feff} {\"a\":1}\n", json!({"a": 1})),
        ("{\"\u{e4}\":\"\\\"\"}", json!({"\u{e4}": "\""})),
    ] {
        assert_eq!(input(arguments), (expected, Vec::new()), "{arguments:?}");
    }
    let named = vec!["messages[1].tool_calls[0].function.arguments".to_owned()];
    for arguments in ["[]", "1", "{\"a\":1", "{} {}", "{\"a\":tru}", "{]", "null"] {
        assert_eq!(input(arguments), (json!({}), named.clone()), "{arguments}");
    }
}

#[test]
fn a_system_prompt_alone_becomes_a_turn() {
    let (body, _) = translate(&asked(json!([{"role": "system", "content": "Tell a joke."}])), &options()).unwrap();
    assert_eq!(body["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "Tell a joke."}]}]));
    assert!(body.get("system").is_none());
}

/// A stream of these events.
fn stream(events: &[Value], include_usage: bool) -> (String, Result<(), BrokenAnswer>) {
    let text: String =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect();
    translate_stream(Stream::new(ChatContext { include_usage, ..ChatContext::default() }, 1), [text.as_bytes()])
}

/// The fifth event, `[4]`, has the reason for the end.
fn text_stream() -> Vec<Value> {
    block_stream(json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": "Hello"}), "end_turn")
}

fn call_stream(arguments: &str) -> Vec<Value> {
    let block = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
    block_stream(block, json!({"type": "input_json_delta", "partial_json": arguments}), "tool_use")
}

fn block_stream(block: Value, delta: Value, reason: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn trap_8_of_a_long_name_only_the_beginning_is_said() {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body["ä".repeat(1_000_000)] = json!(1);
    let made = anthropic::request(body.to_string().as_bytes(), &options()).unwrap();
    assert_eq!(made.dropped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ä".repeat(50)]);
    let refusing = RequestOptions { unsupported: Unsupported::Refuse, ..options() };
    let refused = anthropic::request(body.to_string().as_bytes(), &refusing).unwrap_err();
    assert!(refused.to_string().len() < 200, "{refused}");
}
