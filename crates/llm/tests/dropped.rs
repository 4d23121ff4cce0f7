//! What is left out of requests, by every way in which something can be.

use llm::provider::{
    ClientRequest, ModelFacts, Operation, PrepareError, Prepared, Provider, TargetModel, TargetSettings, prepare,
};
use llm::translate::{MAX_DROPPED, TranslateError, Unsupported};
use serde_json::{Value, json};

/// A target of each kind that leaves something out.
const TARGETS: [(&str, Provider, &str); 7] = [
    ("anthropic", Provider::Anthropic, "claude-opus-4-6"),
    ("vertex claude", Provider::Vertex, "claude-opus-4-6"),
    ("bedrock claude", Provider::Bedrock, "anthropic.claude-opus-4-6-v1"),
    ("converse", Provider::Bedrock, "meta.llama3-1-70b-instruct-v1:0"),
    ("gemini", Provider::Gemini, "gemini-2.5-flash"),
    ("ollama", Provider::Ollama, "llama3.2"),
    ("openai", Provider::OpenAi, "gpt-4o"),
];

/// The request as this target takes it; its `model` is the target's.
fn prepared<T>(
    (provider, model): (Provider, &str),
    operation: Operation,
    request: &Value,
    unsupported: Unsupported,
    read: impl FnOnce(Result<Prepared<'_>, PrepareError>) -> T,
) -> T {
    let settings = TargetSettings {
        region: Some("eu-central-1".to_owned()),
        project: Some("p".to_owned()),
        location: Some("global".to_owned()),
        ..TargetSettings::default()
    };
    let target = TargetModel { provider, settings, unsupported };
    let mut request = request.clone();
    request["model"] = model.into();
    let body = request.to_string();
    let asked = ClientRequest {
        operation,
        path: "chat/completions",
        body: body.as_bytes(),
        anthropic_version: None,
        anthropic_beta: Vec::new(),
    };
    read(prepare(&target, &asked, |_| ModelFacts::default()))
}

/// Fields that no vendor knows, at every place of a request; and what of the known ones cannot be taken.
#[test]
fn nothing_that_says_something_is_left_out_in_silence() {
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let hi = || user(json!("hi"));
    let with = |name: &str, value: Value| {
        let mut request = hi();
        request[name] = value;
        request
    };
    let tool = |tool: Value| with("tools", json!([tool]));
    let parameters = json!({"type": "object", "properties": {}});
    let called = |call: Value| {
        json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]})
    };
    let said = |message: Value| json!({"messages": [{"role": "user", "content": "hi"}, message, {"role": "user", "content": "go on"}]});
    let thought = |blocks: Value| said(json!({"role": "assistant", "content": "ho", "thinking_blocks": blocks}));
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let image = "data:image/png;base64,AAAA";
    let pdf = "data:application/pdf;base64,AAAA";
    for (request, named) in [
        (with("foo", json!(1)), &["foo"][..]),
        (json!({"messages": [{"role": "user", "content": "hi", "foo": 1}]}), &["messages[0].foo"]),
        (user(json!([{"type": "text", "text": "hi", "foo": 1}])), &["messages[0].content[0].foo"]),
        (
            user(json!([{"type": "image_url", "image_url": {"url": image, "foo": 1}, "bar": 1}])),
            &["messages[0].content[0].image_url.foo", "messages[0].content[0].bar"],
        ),
        (
            user(json!([{"type": "image_url", "image_url": {"url": image}, "text": "hidden"}])),
            &["messages[0].content[0].text"],
        ),
        (
            user(json!([{"type": "file", "file": {"file_data": pdf, "filename": "a.pdf", "foo": 1}, "bar": 1}])),
            &["messages[0].content[0].file.foo", "messages[0].content[0].bar"],
        ),
        (
            tool(json!({"type": "function", "foo": 1, "function": {"name": "f", "parameters": parameters}})),
            &["tools[0].foo"],
        ),
        (
            tool(json!({"type": "function", "function": {"name": "f", "parameters": parameters, "foo": 1}})),
            &["tools[0].function.foo"],
        ),
        (
            tool(
                json!({"type": "function", "function": {"name": "f", "parameters": parameters, "description": {"a": 1}}}),
            ),
            &["tools[0].function.description"],
        ),
        (
            called(json!({"id": "c", "type": "function", "foo": 1, "function": {"name": "f", "arguments": "{}"}})),
            &["messages[1].tool_calls[0].foo"],
        ),
        (
            called(
                json!({"id": "c", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}", "foo": 1}}),
            ),
            &["messages[1].tool_calls[0].function.foo"],
        ),
        (
            called(
                json!({"id": "c", "type": "function", "extra_content": {"google": {"thought_signature": "s"}}, "function": {"name": "f", "arguments": "{}"}}),
            ),
            &["messages[1].tool_calls[0].extra_content"],
        ),
        (
            with(
                "response_format",
                json!({"type": "json_schema", "foo": 1, "json_schema": {"name": "n", "schema": schema}}),
            ),
            &["response_format.foo"],
        ),
        (
            with(
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema, "foo": 1}}),
            ),
            &["response_format.json_schema.foo"],
        ),
        (thought(json!([{"type": "thinking", "thinking": "hm"}])), &["messages[1].thinking_blocks[0]"]),
        (
            thought(
                json!([{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "thinking", "thinking": "so", "signature": "s"}]),
            ),
            &["messages[1].thinking_blocks[0]"],
        ),
        (
            thought(json!([{"type": "thinking", "thinking": "hm", "signature": "s", "index": 0, "foo": 1}])),
            &["messages[1].thinking_blocks[0].foo"],
        ),
        (thought(json!([{"type": "redacted_thinking"}])), &["messages[1].thinking_blocks[0]"]),
        (thought(json!("hm")), &["messages[1].thinking_blocks"]),
        (
            said(
                json!({"role": "assistant", "content": "ho", "reasoning_content": "hm", "thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}),
            ),
            &["messages[1].thinking_blocks[0]", "messages[1].reasoning_content"],
        ),
        (
            said(
                json!({"role": "user", "content": "ho", "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}),
            ),
            &["messages[1].thinking_blocks"],
        ),
        (
            said(json!({"role": "user", "content": "ho", "tool_calls": [{"id": "x"}], "tool_call_id": "x"})),
            &["messages[1].tool_calls", "messages[1].tool_call_id"],
        ),
        (said(json!({"role": "user", "content": "ho", "refusal": "no"})), &["messages[1].refusal"]),
        (
            json!({"messages": [{"role": "user", "content": "hi", "cache_control": "ephemeral"}]}),
            &["messages[0].cache_control"],
        ),
    ] {
        for (name, provider, model) in TARGETS.into_iter().take(4) {
            let dropped =
                prepared((provider, model), Operation::Chat, &request, Unsupported::Drop, |made| made.unwrap().dropped);
            let mut dropped: Vec<_> = dropped.iter().map(ToString::to_string).collect();
            let mut named = named.to_vec();
            dropped.sort_unstable();
            named.sort_unstable();
            assert_eq!(dropped, named, "{name}: {request}");
        }
    }
    // What is known only to Anthropic, or only here.
    for (request, named) in [
        (
            said(
                json!({"role": "assistant", "content": [{"type": "text", "text": "ho"}, {"type": "thinking", "thinking": "hm"}]}),
            ),
            "messages[1].content[1]",
        ),
        (with("cache_control", json!("ephemeral")), "cache_control"),
        (
            tool(json!({"type": "function", "cache_control": 7, "function": {"name": "f", "parameters": parameters}})),
            "tools[0].cache_control",
        ),
        (
            user(json!([{"type": "image_url", "image_url": {"url": image}, "cache_control": true}])),
            "messages[0].content[0].cache_control",
        ),
        (
            with(
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": schema}}),
            ),
            "response_format.json_schema.description",
        ),
    ] {
        for (name, provider, model) in TARGETS.into_iter().take(3) {
            let dropped =
                prepared((provider, model), Operation::Chat, &request, Unsupported::Drop, |made| made.unwrap().dropped);
            assert_eq!(dropped.iter().map(ToString::to_string).collect::<Vec<_>>(), [named], "{name}: {request}");
        }
    }
    // What says nothing is not named.
    for request in [
        with("foo", json!(null)),
        tool(
            json!({"type": "function", "foo": null, "function": {"name": "f", "parameters": parameters, "bar": "", "description": null}}),
        ),
        called(
            json!({"id": "c", "type": "function", "foo": [], "function": {"name": "f", "arguments": "{}", "bar": false}}),
        ),
        thought(json!(null)),
        thought(json!([])),
        with("response_format", json!({"type": "text"})),
        user(json!([{"type": "image_url", "image_url": {"url": image, "detail": "auto"}, "foo": {}}])),
    ] {
        for (name, provider, model) in TARGETS.into_iter().take(4) {
            let dropped =
                prepared((provider, model), Operation::Chat, &request, Unsupported::Drop, |made| made.unwrap().dropped);
            assert_eq!(dropped.total(), 0, "{name}: {request}: {dropped:?}");
        }
    }
}

#[test]
fn what_is_left_out_is_counted_where_it_is_not_named() {
    let fields = |object: &mut Value, count: usize| (0..count).for_each(|at| object[format!("x{at}")] = json!(1));
    let hi = json!({"role": "user", "content": "hi"});
    let mut at_the_top = json!({"messages": [hi]});
    fields(&mut at_the_top, 150);
    let (mut first, mut second) = (hi.clone(), hi.clone());
    fields(&mut first, 140);
    fields(&mut second, 10);
    let in_messages = json!({"messages": [first, second]});
    let mut text = json!({"type": "text", "text": "hi"});
    fields(&mut text, 150);
    let in_a_part = json!({"messages": [{"role": "user", "content": [text]}]});
    for (name, provider, model) in TARGETS {
        // Those who refuse what they do not know within messages.
        let is_strict = name.contains("claude") || ["anthropic", "converse", "gemini"].contains(&name);
        for (place, request, total) in [
            ("the top", &at_the_top, if name == "openai" { 0 } else { 150 }),
            ("messages", &in_messages, if is_strict { 150 } else { 0 }),
            ("a part", &in_a_part, if is_strict { 150 } else { 0 }),
        ] {
            let dropped =
                prepared((provider, model), Operation::Chat, request, Unsupported::Drop, |made| made.unwrap().dropped);
            assert_eq!((dropped.total(), dropped.iter().count()), (total, total.min(MAX_DROPPED)), "{name}: {place}");
            let refused = prepared((provider, model), Operation::Chat, request, Unsupported::Refuse, |made| made.err());
            match refused {
                None => assert_eq!(total, 0, "{name}: {place}"),
                Some(PrepareError::Translate(TranslateError::Unsupported(dropped))) => {
                    assert_eq!(dropped.total(), total, "{name}: {place}");
                    let said = TranslateError::Unsupported(dropped).to_string();
                    assert!(said.ends_with(" and 50 more"), "{name}: {place}: {said}");
                }
                Some(other) => panic!("{name}: {place}: {other}"),
            }
        }
    }
}
