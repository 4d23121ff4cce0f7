//! Requests to Google's endpoints in OpenAI's form, which refuse within messages and tools what OpenAI and others ignore.

use llm::provider::{
    ClientRequest, ModelFacts, Operation, PrepareError, Provider, TargetModel, TargetSettings, prepare,
};
use llm::translate::{Content, Unsupported};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The body as it goes out, the names of what was left out, and the first content among that; what is refused otherwise.
fn made(
    (provider, model): (Provider, &str),
    body: &str,
    unsupported: Unsupported,
) -> Result<(String, Vec<String>, Option<Content>), String> {
    let settings = TargetSettings {
        project: Some("p".to_owned()),
        location: Some("global".to_owned()),
        ..TargetSettings::default()
    };
    let asked = ClientRequest {
        operation: Operation::Chat,
        path: "chat/completions",
        body: body.as_bytes(),
        anthropic_version: None,
        anthropic_beta: Vec::new(),
    };
    let body = body.replace("MODEL", model);
    let asked = ClientRequest { body: body.as_bytes(), ..asked };
    match prepare(&TargetModel { provider, settings, unsupported }, &asked, |_| ModelFacts::default()) {
        Ok(made) => {
            let named = made.dropped.iter().map(ToString::to_string).collect();
            Ok((String::from_utf8(made.body.into_owned()).unwrap(), named, made.dropped.content()))
        }
        Err(PrepareError::Translate(error)) => Err(error.to_string()),
        Err(other) => panic!("{other}"),
    }
}

const TARGETS: [(Provider, &str); 2] =
    [(Provider::Gemini, "gemini-2.5-flash"), (Provider::Vertex, "google/gemini-2.5-flash")];

/// The messages and tools of a request as they go out, and what is left out of them.
fn expect(messages: &Value, tools: &Value, sent_messages: &Value, sent_tools: &Value, named: &[&str]) {
    let mut request = json!({"model": "MODEL", "messages": messages});
    if !tools.is_null() {
        request["tools"] = tools.clone();
    }
    for target in TARGETS {
        let (body, mut dropped, _) = made(target, &request.to_string(), Unsupported::Drop).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        dropped.sort_unstable();
        assert_eq!((&body["messages"], &body["tools"]), (sent_messages, sent_tools), "{target:?} {request}");
        assert_eq!(dropped, named, "{target:?} {request}");
        let refused = made(target, &request.to_string(), Unsupported::Refuse);
        assert_eq!(refused.is_err(), !named.is_empty(), "{target:?} {request}: {refused:?}");
    }
}

#[test]
fn messages_that_google_takes_pass_byte_for_byte() {
    let body = r#"{ "model" : "MODEL", "messages": [ {"content":"\u00e4", "role":"user","name":"ann"},
        {"role": "assistant", "content": "ho", "tool_calls": [{"id":"a","type":"function","function":{"name":"f","arguments":"{ }"},"extra_content":{"google":{"thought_signature":"s"}}}], "refusal": "x"},
        {"role":"tool" ,"tool_call_id":"a","name":"f","content":"1"},
        {"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:,","detail":"low"}},{"type":"video_url","video_url":{"a":1}}]},
        {"role":"assistant","content":[]  ,"tool_calls":[{"id":"b","type":"mcp"}]},{"role":"assistant","content":"","tool_calls":[{"id":"b","name":"untyped"}]},
        {"role":"user","content":[{"text":"","type":"text","extra_content":{"a":1}}]} ],
        "tools": [{"type":"function","function":{"name":"f","description":"d","parameters":{"foo":null},"strict":true}}, {"google_search":{}}],
        "stream_options": {"include_usage":true} }"#;
    for target in TARGETS {
        let (sent, dropped, _) = made(target, body, Unsupported::Drop).unwrap();
        assert_eq!((sent, dropped.len()), (body.replace("MODEL", target.1), 0));
    }
}

/// github/copilot-sdk#2061 and #1129, lastmile-ai/mcp-agent#121, inference-gateway/inference-gateway#181.
#[test]
fn an_answer_of_openais_goes_back_without_what_google_refuses() {
    let user = json!({"role": "user", "content": "hi"});
    let function = json!({"name": "f", "arguments": "{}"});
    expect(
        &json!([
            user,
            {"role": "assistant", "content": null, "refusal": null, "annotations": [], "audio": null, "function_call": null,
                "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "assistant", "content": "ho", "refusal": null, "annotations": [{"type": "url_citation"}], "tool_calls": null,
                "reasoning_content": "hm"},
            user,
        ]),
        &json!([{"type": "function", "function": {"name": "f", "parameters": null, "strict": null, "foo": 1}, "copilot_mcp_server_name": "s"}]),
        &json!([
            user,
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": function}]},
            {"role": "tool", "name": "f", "tool_call_id": "a", "content": "1"},
            {"role": "assistant", "content": "ho"},
            user,
        ]),
        &json!([{"type": "function", "function": {"name": "f"}}]),
        &[
            "messages[3].annotations",
            "messages[3].reasoning_content",
            "tools[0].copilot_mcp_server_name",
            "tools[0].function.foo",
        ],
    );
}

#[test]
fn fields_that_google_does_not_know_are_left_out_at_every_place() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}", "foo": 1}, "bar": 1});
    expect(
        &json!([
            {"role": "user", "content": [
                {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "u", "foo": 1}, "bar": 1},
                {"type": "input_audio", "input_audio": {"data": "d", "format": "wav", "foo": 1}},
                "text", null]},
            {"role": "assistant", "tool_calls": [call, 7], "thinking_blocks": [1]},
            {"role": "tool", "tool_call_id": "a", "name": "", "content": "1"},
            7,
        ]),
        &Value::Null,
        &json!([
            {"role": "user", "content": [
                {"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "u"}},
                {"type": "input_audio", "input_audio": {"data": "d", "format": "wav"}}, "text", null]},
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}, 7]},
            {"role": "tool", "tool_call_id": "a", "name": "f", "content": "1"},
            7,
        ]),
        &Value::Null,
        &[
            "messages[0].content[0].cache_control",
            "messages[0].content[1].bar",
            "messages[0].content[1].image_url.foo",
            "messages[0].content[2].input_audio.foo",
            "messages[1].thinking_blocks",
            "messages[1].tool_calls[0].bar",
            "messages[1].tool_calls[0].function.foo",
        ],
    );
}

#[test]
fn custom_tools_and_their_calls_are_left_out_with_the_results() {
    let (user, result) = (
        json!({"role": "user", "content": "hi"}),
        |id: &str| json!({"role": "tool", "tool_call_id": id, "name": "n", "content": "1"}),
    );
    let custom = json!({"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}});
    let call = json!({"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let tool = json!({"type": "function", "function": {"name": "f"}});
    expect(
        &json!([user, {"role": "assistant", "tool_calls": [custom, call]}, result("a"), result("b"),
            {"role": "assistant", "tool_calls": [custom]}, result("a"), {"role": "assistant", "content": "x", "tool_calls": [custom]}, result("a"), user]),
        &json!([{"type": "custom", "custom": {"name": "c"}}, tool]),
        &json!([user, {"role": "assistant", "tool_calls": [call]}, result("b"), {"role": "assistant", "content": "x"}, user]),
        &json!([tool]),
        &[
            "messages[1].tool_calls[0]",
            "messages[2]",
            "messages[4].tool_calls[0]",
            "messages[5]",
            "messages[6].tool_calls[0]",
            "messages[7]",
            "tools[0]",
        ],
    );
    let request =
        json!({"model": "MODEL", "messages": [user, {"role": "assistant", "tool_calls": [custom]}, result("a")]});
    for target in TARGETS {
        assert_eq!(made(target, &request.to_string(), Unsupported::Drop).unwrap().2, Some(Content::Tool));
    }
}

#[test]
fn calls_of_the_form_of_2023_go_with_their_results_where_they_are_not_known() {
    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hm", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "user", "content": "so?"},
    ]);
    let request = json!({"model": "MODEL", "messages": messages}).to_string();
    let (body, dropped, content) = made(TARGETS[0], &request, Unsupported::Drop).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let left = json!([messages[0], {"role": "assistant", "content": "hm"}, messages[3]]);
    assert_eq!((&body["messages"], content), (&left, Some(Content::Tool)));
    assert_eq!(dropped, ["messages[1].function_call", "messages[2]"]);
    let (body, dropped, _) = made(TARGETS[1], &request, Unsupported::Drop).unwrap();
    assert_eq!((body, dropped.len()), (request.replace("MODEL", TARGETS[1].1), 0), "Vertex knows them");
}

#[test]
fn an_answer_that_says_nothing_is_left_out() {
    let user = json!({"role": "user", "content": "hi"});
    for (said, named) in [
        (json!({"content": null}), &[][..]),
        (json!({"content": ""}), &[]),
        (json!({"content": [], "tool_calls": []}), &[]),
        (json!({"refusal": null, "annotations": []}), &[]),
        (json!({"refusal": ""}), &[]),
        (json!({"content": [{"type": "text", "text": ""}]}), &[]),
        (
            json!({"content": [{"type": "text", "text": null}, {"type": "refusal", "refusal": ""}], "refusal": null}),
            &[],
        ),
        (json!({"content": null, "audio": {"id": "audio_1"}}), &["messages[1].audio"]),
        (json!({"content": null, "function_call": {"name": "f", "arguments": "{}"}}), &["messages[1].function_call"]),
    ] {
        let mut said = said;
        said["role"] = json!("assistant");
        let request = json!({"model": "MODEL", "messages": [user, said, user]}).to_string();
        let (body, dropped, _) = made(TARGETS[0], &request, Unsupported::Drop).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["messages"], json!([user, user]), "{request}");
        assert_eq!(dropped, named, "{request}");
    }
    let called = json!({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}});
    let request =
        json!({"model": "MODEL", "messages": [user, called, {"role": "function", "name": "f", "content": "1"}]})
            .to_string();
    assert_eq!(made(TARGETS[1], &request, Unsupported::Drop).unwrap().0, request.replace("MODEL", TARGETS[1].1));
    let thought = json!({"model": "MODEL", "messages": [user, {"role": "assistant", "reasoning_content": "hm"}, user]})
        .to_string();
    assert_eq!(made(TARGETS[0], &thought, Unsupported::Pass).unwrap().0, thought.replace("MODEL", TARGETS[0].1));
    for said in [json!({"extra_content": {"google": {"thought_signature": "s"}}}), json!({"content": " "})] {
        let mut said = said;
        said["role"] = json!("assistant");
        let request = json!({"model": "MODEL", "messages": [user, said, user]}).to_string();
        assert_eq!(made(TARGETS[0], &request, Unsupported::Drop).unwrap().0, request.replace("MODEL", TARGETS[0].1));
    }
}

/// microsoft/autogen#5762.
#[test]
fn a_refusal_is_a_text_and_empty_texts_are_left_out() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let refusal = |text: &str| json!({"type": "refusal", "refusal": text});
    let call = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let (user, result) = (
        json!({"role": "user", "content": "hi"}),
        json!({"role": "tool", "tool_call_id": "a", "name": "f", "content": "1"}),
    );
    for (said, sent) in [
        (json!({"content": null, "refusal": "no"}), json!({"content": "no"})),
        (json!({"content": "", "refusal": "no", "name": "bob"}), json!({"content": "no", "name": "bob"})),
        (json!({"refusal": "\"no\" \u{e4}", "content": []}), json!({"content": "\"no\" \u{e4}"})),
        (json!({"content": [text("")], "refusal": "no"}), json!({"content": "no"})),
        (json!({"content": null, "refusal": "no", "tool_calls": call}), json!({"content": "no", "tool_calls": call})),
        (json!({"content": "ho", "refusal": "no"}), json!({"content": "ho", "refusal": "no"})),
        (json!({"content": [text("ho")], "refusal": "no"}), json!({"content": [text("ho")], "refusal": "no"})),
        (json!({"content": [refusal("no")]}), json!({"content": [text("no")]})),
        (
            json!({"content": [text(""), text("ho"), refusal("no"), refusal("")]}),
            json!({"content": [text("ho"), text("no")]}),
        ),
        (json!({"content": [text("")], "tool_calls": call}), json!({"content": "", "tool_calls": call})),
    ] {
        let (mut said, mut sent) = (said, sent);
        said["role"] = json!("assistant");
        sent["role"] = json!("assistant");
        let tail = if sent.get("tool_calls").is_some() { json!([result]) } else { json!([user]) };
        expect(&json!([user, said, tail[0]]), &Value::Null, &json!([user, sent, tail[0]]), &Value::Null, &[]);
    }
    let image = json!({"type": "image_url", "image_url": {"url": "u"}});
    for (content, sent) in [(json!([text(""), image]), json!([image])), (json!([text("")]), json!(""))] {
        let message = |content: &Value| json!([{"role": "user", "content": content}]);
        expect(&message(&content), &Value::Null, &message(&sent), &Value::Null, &[]);
    }
}

/// floneum/kalosm#354.
#[test]
fn what_is_null_in_the_request_itself_is_left_out_without_its_name() {
    for target in TARGETS {
        for unsupported in [Unsupported::Drop, Unsupported::Refuse, Unsupported::Pass] {
            let body = r#"{"tools":null, "model":"MODEL","messages":[{"role":"user","content":"hi"}],"stop":null,
                "max_completion_tokens" : null , "tool_choice":null,"response_format":null,"stream_options":null,"seed":null,"x":null}"#;
            let (sent, dropped, _) = made(target, body, unsupported).unwrap();
            let left = r#"{ "model":"MODEL","messages":[{"role":"user","content":"hi"}]}"#;
            assert_eq!((sent, dropped.len()), (left.replace("MODEL", target.1), 0), "{unsupported:?}");
        }
    }
}

#[test]
fn a_choice_that_is_of_no_function_is_left_out_beside_other_tools() {
    let function = json!({"type": "function", "function": {"name": "f"}});
    let custom = json!({"type": "custom", "custom": {"name": "c"}});
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [custom]}});
    let other = json!({"type": "mcp", "server_label": "s"});
    for (choice, leaves, passes) in [
        (&custom, false, false),
        (&allowed, false, false),
        (&other, false, true),
        (&function, true, true),
        (&json!("required"), true, true),
        (&json!("auto"), true, true),
        (&json!({"function": {"name": "f"}}), true, true),
    ] {
        let request = json!({"model": "MODEL", "messages": [{"role": "user", "content": "hi"}], "tools": [custom, function], "tool_choice": choice});
        for target in TARGETS {
            for (unsupported, goes) in [(Unsupported::Drop, leaves), (Unsupported::Pass, passes)] {
                let (body, mut dropped, _) = made(target, &request.to_string(), unsupported).unwrap();
                let body: Value = serde_json::from_str(&body).unwrap();
                dropped.sort_unstable();
                let (sent, named) =
                    if goes { (Some(choice), &["tools[0]"][..]) } else { (None, &["tool_choice", "tools[0]"][..]) };
                assert_eq!((body.get("tool_choice"), &body["tools"]), (sent, &json!([function])), "{choice}");
                assert_eq!(dropped, named, "{choice}");
            }
        }
    }
}

#[test]
fn calls_and_tools_without_a_type_are_functions() {
    let (user, function) = (json!({"role": "user", "content": "hi"}), json!({"name": "f", "arguments": "{}"}));
    expect(
        &json!([
            user,
            {"role": "assistant", "tool_calls": [
                {"index": 0, "id": "a", "function": function, "foo": 1}, {"id": "b", "type": null, "function": function}]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": "2"},
        ]),
        &json!([{"function": {"name": "f", "strict": null, "foo": 1}}, {"google_search": {"a": null}}, {"type": null, "function": {"name": "g"}}]),
        &json!([
            user,
            {"role": "assistant", "tool_calls": [{"id": "a", "function": function}, {"id": "b", "function": function}]},
            {"role": "tool", "tool_call_id": "a", "content": "1", "name": "f"},
            {"role": "tool", "tool_call_id": "b", "content": "2", "name": "f"},
        ]),
        &json!([{"function": {"name": "f"}}, {"google_search": {"a": null}}, {"function": {"name": "g"}}]),
        &["messages[1].tool_calls[0].foo", "tools[0].function.foo"],
    );
}

#[test]
fn a_message_is_named_once_and_what_goes_out_as_it_was_is_not() {
    let request = json!({"model": "MODEL", "messages": [{"role": "function", "name": "f", "content": "1", "foo": 1}, {"role": "user", "content": "hi"}]});
    let (_, dropped, content) = made(TARGETS[0], &request.to_string(), Unsupported::Drop).unwrap();
    assert_eq!((&dropped[..], content), (&["messages[0]".to_owned()][..], Some(Content::Tool)));
    for broken in [r#"[{"role":"user","content":"hi","foo":1} {"a":1}]"#, r#"[{"role":"user","foo":1},{"a" 1}]"#] {
        let body = format!(r#"{{"model":"MODEL","messages":{broken}}}"#);
        for unsupported in [Unsupported::Drop, Unsupported::Refuse] {
            for target in TARGETS {
                let (sent, dropped, content) = made(target, &body, unsupported).unwrap();
                assert_eq!((sent, dropped.len(), content), (body.replace("MODEL", target.1), 0, None));
            }
        }
    }
}

#[test]
fn of_tools_and_messages_of_which_nothing_is_left_no_empty_lists_go_out() {
    let custom_tool = json!([{"type": "custom", "custom": {"name": "c"}}]);
    let user = json!({"role": "user", "content": "hi"});
    for (choice, named) in [
        (json!("auto"), &["tools[0]"][..]),
        (json!("none"), &["tools[0]"]),
        (json!("required"), &["tool_choice", "tools[0]"]),
        (json!({"type": "custom", "custom": {"name": "c"}}), &["tool_choice", "tools[0]"]),
    ] {
        let request = json!({"model": "MODEL", "messages": [user], "tools": custom_tool, "tool_choice": choice});
        for target in TARGETS {
            let (body, mut dropped, _) = made(target, &request.to_string(), Unsupported::Drop).unwrap();
            let body: Value = serde_json::from_str(&body).unwrap();
            dropped.sort_unstable();
            assert_eq!((body.get("tools"), body.get("tool_choice")), (None, None), "{choice}");
            assert_eq!(dropped, named, "{choice}");
        }
    }
    let calls = json!([{"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}]);
    let result = json!({"role": "tool", "tool_call_id": "a", "content": "1"});
    let brief = json!({"role": "developer", "content": "be brief"});
    let system = json!({"role": "system", "content": "be brief"});
    for (messages, named) in [
        (json!([{"role": "assistant", "tool_calls": calls}, result]), "`messages[1]`"),
        (json!([user, {"role": "assistant", "content": "ho", "tool_calls": calls}, result]), "`messages[2]`"),
        (json!([user, {"role": "assistant", "content": "ho", "tool_calls": calls}, result, brief]), "`messages[2]`"),
        (json!([system, {"role": "assistant", "tool_calls": calls}, result, system]), "`messages[2]`"),
    ] {
        for target in TARGETS {
            let request = json!({"model": "MODEL", "messages": messages, "moderation": {"a": 1}}).to_string();
            let refused = made(target, &request, Unsupported::Drop).unwrap_err();
            assert!(refused.ends_with(named) && !refused.contains("moderation"), "{refused}");
        }
    }
}

#[test]
fn what_passes_by_the_settings_keeps_its_fields_and_still_gets_names() {
    let messages = json!([
        {"role": "assistant", "foo": 1, "refusal": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "1", "bar": 2},
        {"role": "tool", "tool_call_id": "unknown", "content": "1"},
    ]);
    let request = json!({"model": "MODEL", "messages": messages, "store": true, "stream_options": {"include_usage": true, "include_obfuscation": false}});
    for target in TARGETS {
        let (body, dropped, _) = made(target, &request.to_string(), Unsupported::Pass).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let expected = json!([
            {"role": "assistant", "foo": 1, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "1", "bar": 2, "name": "f"},
            {"role": "tool", "tool_call_id": "unknown", "content": "1"},
        ]);
        assert_eq!((&body["messages"], &body["store"], dropped.len()), (&expected, &json!(true), 0));
        let (body, dropped, _) = made(target, &request.to_string(), Unsupported::Drop).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["stream_options"], json!({"include_usage": true}));
        assert_eq!(dropped, ["messages[0].foo", "messages[1].bar", "store"]);
    }
}

/// JSON of the names and words that matter here.
fn any_json() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 12] =
        ["", "a", "b", "f", "role", "tool", "assistant", "function", "custom", "text", "image_url", "c\u{e4}\n\""];
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!(false)),
        Just(json!(7)),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
        Just(json!({"id": "a", "type": "custom", "custom": {}})),
        Just(json!({"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}})),
        Just(json!({"role": "tool", "tool_call_id": "a", "content": "1"})),
        Just(json!({"role": "tool", "tool_call_id": "b", "content": null})),
    ];
    const NAMES: [&str; 19] = [
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "refusal",
        "extra_content",
        "type",
        "function",
        "custom",
        "id",
        "index",
        "text",
        "image_url",
        "url",
        "foo",
        "function_call",
        "arguments",
        "parameters",
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let fields = prop::collection::vec((prop::sample::select(&NAMES[..]), inner.clone()), 0..6);
        let object =
            fields.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        prop_oneof![prop::collection::vec(inner, 0..5).prop_map(Value::Array), object.prop_map(Value::Object)]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What comes out is JSON, has nothing that is refused in messages, and is not changed again.
    #[test]
    fn whatever_is_asked_is_sent_as_google_takes_it(
        messages in prop::collection::vec(any_json(), 0..6), tools in prop::collection::vec(any_json(), 0..3), passes: bool,
    ) {
        let unsupported = if passes { Unsupported::Pass } else { Unsupported::Drop };
        let request = json!({"model": "gemini-2.5-flash", "messages": messages, "tools": tools});
        let Ok((sent, _, _)) = made(TARGETS[0], &request.to_string(), unsupported) else { return Ok(()) };
        let body: Value = serde_json::from_str(&sent).unwrap();
        let messages = body["messages"].as_array().unwrap();
        for message in messages.iter().chain(body["tools"].as_array().into_iter().flatten()).filter_map(Value::as_object) {
            let is_known = message.get("type").is_none_or(|kind| kind == "function") || message.contains_key("role");
            let in_messages = messages.iter().any(|one| one.as_object() == Some(message));
            prop_assert!(!in_messages || !message.values().any(Value::is_null), "{}", sent);
            prop_assert!(!in_messages || passes || !message.contains_key("foo"), "{}", sent);
            // A message has no type, and passes with one where unknown fields do.
            let may_be_typed = in_messages && passes;
            prop_assert!(!is_known || may_be_typed || message.get("type").is_none_or(|kind| kind != "custom"), "{}", sent);
        }
        let again = made(TARGETS[0], &sent, unsupported).unwrap();
        prop_assert_eq!((&again.0, again.1.len()), (&sent, 0));
    }

    #[test]
    fn no_bytes_panic(bytes in "[\\[{\\]}:,\"\\\\a-z0-9 \n]{0,80}") {
        for name in ["messages", "tools", "stream_options"] {
            let _ = made(TARGETS[0], &format!("{{\"model\":\"m\",\"{name}\":{bytes}}}"), Unsupported::Drop);
        }
    }
}
