//! Conversations that OpenAI's API takes, at vendors that speak another protocol: what has no counterpart there is left out and
//! named, and what is left of the conversation is one that the vendor takes. None ends as a 400 of ours.

use llm::provider::{
    ClientRequest, ModelFacts, Operation, PrepareError, Prepared, Provider, TargetModel, TargetSettings, prepare,
};
use llm::translate::{Content, TranslateError, Unsupported};
use proptest::prelude::*;
use serde_json::{Value, json};

const TARGETS: [(&str, Provider, &str); 4] = [
    ("anthropic", Provider::Anthropic, "claude-opus-4-6"),
    ("vertex claude", Provider::Vertex, "claude-opus-4-6"),
    ("bedrock claude", Provider::Bedrock, "anthropic.claude-opus-4-6-v1"),
    ("converse", Provider::Bedrock, "meta.llama3-1-70b-instruct-v1:0"),
];

/// What becomes of a request: its body, the names of what was left out, the first content among that.
type Made = Result<(Value, Vec<String>, Option<Content>), TranslateError>;

fn made(target: (&str, Provider, &str), request: &Value, unsupported: Unsupported) -> Made {
    let mut request = request.clone();
    request["model"] = target.2.into();
    made_of_text(target, &request.to_string(), unsupported)
}

/// The same of a body as it stands.
fn made_of_text((_, provider, _): (&str, Provider, &str), body: &str, unsupported: Unsupported) -> Made {
    let settings = TargetSettings {
        region: Some("eu-central-1".to_owned()),
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
    match prepare(&TargetModel { provider, settings, unsupported }, &asked, |_| ModelFacts::default()) {
        Ok(Prepared { body, dropped, .. }) => {
            let named = dropped.iter().map(ToString::to_string).collect();
            Ok((serde_json::from_slice(&body).unwrap(), named, dropped.content()))
        }
        Err(PrepareError::Translate(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// The ids of a turn's calls, or of its results, at either vendor.
fn ids<'a>(turn: &'a Value, kind: &str, field: &str, converse: &str) -> Vec<&'a str> {
    let blocks = turn["content"].as_array().unwrap().iter();
    let found = blocks.filter_map(|block| match block.get(converse) {
        Some(block) => block["toolUseId"].as_str(),
        None => block[field].as_str().filter(|_| block["type"] == kind),
    });
    let mut ids: Vec<_> = found.collect();
    ids.sort_unstable();
    ids
}

/// What both vendors ask of a conversation: turns that alternate, are not empty and end in no thinking, no blank texts, each call
/// with its result at the beginning of the next turn, and tools where there are calls.
fn check(name: &str, body: &Value) {
    let turns = body["messages"].as_array().unwrap();
    let mut open: Vec<&str> = Vec::new();
    for (number, turn) in turns.iter().enumerate() {
        assert_eq!(turn["role"], if number % 2 == 0 { "user" } else { "assistant" }, "{name}: {body}");
        assert_ne!(turn["content"], json!([]), "{name}: {body}");
        assert_eq!(ids(turn, "tool_result", "tool_use_id", "toolResult"), open, "{name}: {body}");
        open = ids(turn, "tool_use", "id", "toolUse");
        assert!(open.is_empty() || turn["role"] == "assistant", "{name}: {body}");
        let has_tools = body["tools"].is_array() || body["toolConfig"]["tools"].is_array();
        assert!(open.is_empty() || has_tools, "{name}: {body}");
        let last = turn["content"].as_array().unwrap().last().unwrap();
        assert!(!is_thinking(last), "{name}: {body}");
        for block in turn["content"].as_array().unwrap() {
            let is_blank = |text: &Value| text.as_str().unwrap().trim().is_empty();
            assert!(!block.get("text").is_some_and(is_blank), "{name}: {body}");
        }
    }
    assert_eq!(turns.last().unwrap()["role"], "user", "{name}: {body}");
}

fn is_thinking(block: &Value) -> bool {
    block.get("reasoningContent").is_some()
        || ["thinking", "redacted_thinking"].iter().any(|kind| block["type"] == *kind)
}

fn function_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn custom_call(id: &str) -> Value {
    json!({"id": id, "type": "custom", "custom": {"name": "shell", "input": "ls"}})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "ok"})
}

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn assistant(content: impl Into<Value>) -> Value {
    json!({"role": "assistant", "content": content.into()})
}

fn calling(content: impl Into<Value>, calls: &[Value]) -> Value {
    json!({"role": "assistant", "content": content.into(), "tool_calls": calls})
}

/// What a conversation becomes everywhere: these names are left out, and these texts, calls and results stay.
fn expect(more: &[Value], named: &[&str], content: Option<Content>, stays: &[&str]) {
    let mut messages = vec![user("first")];
    messages.extend(more.iter().cloned());
    let request = json!({"messages": messages});
    for target in TARGETS {
        let (body, mut dropped, lost) = made(target, &request, Unsupported::Drop)
            .unwrap_or_else(|error| panic!("{}: {error}: {request}", target.0));
        check(target.0, &body);
        let mut named = named.to_vec();
        named.sort_unstable();
        dropped.sort_unstable();
        assert_eq!(
            (&dropped[..], lost),
            (&named.iter().map(ToString::to_string).collect::<Vec<_>>()[..], content),
            "{}: {request}",
            target.0
        );
        let mut left = Vec::new();
        for turn in body["messages"].as_array().unwrap() {
            for block in turn["content"].as_array().unwrap() {
                let word =
                    [&block["text"], &block["name"], &block["toolUse"]["name"]].into_iter().find_map(Value::as_str);
                left.push(word.unwrap_or(if is_thinking(block) { "(thinking)" } else { "(result)" }));
            }
        }
        assert_eq!(left, [&["first"], stays].concat(), "{}: {request}", target.0);
        let refused = made(target, &request, Unsupported::Refuse);
        match named.first() {
            None => assert!(refused.is_ok(), "{}: {request}", target.0),
            Some(first) => assert!(refused.unwrap_err().to_string().contains(first), "{}: {request}", target.0),
        }
    }
}

#[test]
fn calls_of_tools_that_are_no_functions_are_left_out_together_with_their_results() {
    let tool = Some(Content::Tool);
    let other = |kind: &str| json!({"id": "x", "type": kind, kind: {"name": "shell"}});
    for (more, named, stays) in [
        (
            vec![calling(Value::Null, &[custom_call("a")]), result("a")],
            &["messages[1].tool_calls[0]", "messages[2]"][..],
            &[][..],
        ),
        (
            vec![calling(Value::Null, &[custom_call("a")]), result("a"), user("go")],
            &["messages[1].tool_calls[0]", "messages[2]"],
            &["go"],
        ),
        (
            vec![calling("hm", &[custom_call("a")]), result("a"), user("go")],
            &["messages[1].tool_calls[0]", "messages[2]"],
            &["hm", "go"],
        ),
        // Among functions, whose results stay, in whatever order they come.
        (
            vec![
                calling("hm", &[custom_call("a"), function_call("b", "f", "{}"), custom_call("c")]),
                result("c"),
                result("b"),
                result("a"),
            ],
            &["messages[1].tool_calls[0]", "messages[1].tool_calls[2]", "messages[2]", "messages[4]"],
            &["hm", "f", "(result)"],
        ),
        // Twice the same, and two results of one.
        (
            vec![calling(Value::Null, &[custom_call("a"), custom_call("a")]), result("a"), result("a"), user("go")],
            &["messages[1].tool_calls[0]", "messages[1].tool_calls[1]", "messages[2]", "messages[3]"],
            &["go"],
        ),
        // The answer after it stays, and the same id may come again for a function.
        (
            vec![
                calling(Value::Null, &[custom_call("a")]),
                result("a"),
                calling("so", &[function_call("a", "f", "{}")]),
                result("a"),
            ],
            &["messages[1].tool_calls[0]", "messages[2]"],
            &["so", "f", "(result)"],
        ),
        // Without a result, without an id.
        (vec![calling("hm", &[custom_call("a")]), user("go")], &["messages[1].tool_calls[0]"], &["hm", "go"]),
        (
            vec![calling("hm", &[json!({"type": "custom", "custom": {"name": "s", "input": ""}})]), user("go")],
            &["messages[1].tool_calls[0]"],
            &["hm", "go"],
        ),
        // Kinds that are still to come.
        (
            vec![calling("hm", &[other("mcp")]), result("x"), user("go")],
            &["messages[1].tool_calls[0]", "messages[2]"],
            &["hm", "go"],
        ),
    ] {
        expect(&more, named, tool, stays);
    }
    // They are OpenAI's own, so there is nothing to pass.
    let request = json!({"messages": [user("first"), calling("hm", &[custom_call("a")]), result("a"), user("go")]});
    for target in TARGETS {
        assert_eq!(
            made(target, &request, Unsupported::Pass),
            made(target, &request, Unsupported::Drop),
            "{}",
            target.0
        );
    }
    // A result with fields that are lost as well is named once, as a whole.
    let mut named = result("a");
    named["name"] = json!("shell");
    named["foo"] = json!(1);
    expect(
        &[calling("hm", &[custom_call("a")]), named, user("go")],
        &["messages[1].tool_calls[0]", "messages[2]"],
        tool,
        &["hm", "go"],
    );
}

#[test]
fn what_an_assistant_said_in_another_form_than_text_is_left_out_and_named() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let file = json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}});
    let text = json!({"type": "text", "text": "hm"});
    for (message, named, content, stays) in [
        (assistant(json!([image, text])), &["messages[1].content[0]"][..], Some(Content::Image), &["hm"][..]),
        (assistant(json!([text, file])), &["messages[1].content[1]"], Some(Content::File), &["hm"]),
        (
            assistant(json!([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}])),
            &["messages[1].content[0]"],
            Some(Content::Audio),
            &[],
        ),
        (assistant(json!([{"type": "reasoning", "text": "t"}, text])), &["messages[1].content[0]"], None, &["hm"]),
        (
            json!({"role": "assistant", "content": null, "audio": {"id": "audio_1"}}),
            &["messages[1].audio"],
            Some(Content::Audio),
            &[],
        ),
        (
            json!({"role": "assistant", "content": "hm", "annotations": [{"type": "url_citation"}], "name": "bob", "reasoning_content": "t"}),
            &["messages[1].annotations", "messages[1].name", "messages[1].reasoning_content"],
            None,
            &["hm"],
        ),
        (assistant(json!([{"type": "refusal", "refusal": "no"}])), &[], None, &["no"]),
        (assistant(""), &[], None, &[]),
        (assistant(Value::Null), &[], None, &[]),
        (json!({"role": "assistant"}), &[], None, &[]),
        (json!({"role": "system", "content": [text, image]}), &["messages[1].content[1]"], Some(Content::Image), &[]),
    ] {
        expect(&[message, user("go")], named, content, &[stays, &["go"]].concat());
    }
}

/// tailcallhq/forgecode#2107, NousResearch/hermes-agent#13010.
#[test]
fn thinking_after_which_the_assistant_says_nothing_that_goes_out_is_left_out_and_named() {
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"});
    let redacted = json!({"type": "redacted_thinking", "data": "AAAA"});
    let thinking = |blocks: &[&Value], mut message: Value| {
        message["thinking_blocks"] = json!(blocks);
        message
    };
    let (tool, audio) = (Some(Content::Tool), Some(Content::Audio));
    for (more, named, content, stays) in [
        // The answer was cut at its length, or is of 2023's form without a result.
        (vec![thinking(&[&thought], assistant(Value::Null))], &["messages[1].thinking_blocks[0]"][..], None, &[][..]),
        (vec![thinking(&[&redacted], assistant(""))], &["messages[1].thinking_blocks[0]"], None, &[]),
        (
            vec![thinking(&[&thought, &redacted], assistant(" "))],
            &["messages[1].thinking_blocks[0]", "messages[1].thinking_blocks[1]"],
            None,
            &[],
        ),
        (vec![assistant(json!([thought]))], &["messages[1].content[0]"], None, &[]),
        (
            vec![thinking(
                &[&thought],
                json!({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}),
            )],
            &["messages[1].function_call", "messages[1].thinking_blocks[0]"],
            tool,
            &[],
        ),
        // What stood behind it is left out.
        (
            vec![thinking(&[&thought], calling(Value::Null, &[custom_call("a")])), result("a")],
            &["messages[1].thinking_blocks[0]", "messages[1].tool_calls[0]", "messages[2]"],
            tool,
            &[],
        ),
        (
            vec![thinking(&[&thought], json!({"role": "assistant", "content": null, "audio": {"id": "audio_1"}}))],
            &["messages[1].audio", "messages[1].thinking_blocks[0]"],
            audio,
            &[],
        ),
        // Something stays behind it.
        (vec![thinking(&[&thought, &redacted], assistant("so"))], &[], None, &["(thinking)", "(thinking)", "so"]),
        (
            vec![
                thinking(&[&thought], calling(Value::Null, &[custom_call("a"), function_call("b", "f", "{}")])),
                result("a"),
                result("b"),
            ],
            &["messages[1].tool_calls[0]", "messages[2]"],
            tool,
            &["(thinking)", "f", "(result)"],
        ),
        (vec![thinking(&[&thought], assistant(Value::Null)), assistant("so")], &[], None, &["(thinking)", "so"]),
        // Behind what was said, in the same turn and in another.
        (
            vec![assistant("so"), thinking(&[&thought], assistant(Value::Null))],
            &["messages[2].thinking_blocks[0]"],
            None,
            &["so"],
        ),
        (
            vec![
                thinking(&[&thought], calling(Value::Null, &[function_call("b", "f", "{}")])),
                result("b"),
                thinking(&[&redacted], assistant(Value::Null)),
            ],
            &["messages[3].thinking_blocks[0]"],
            None,
            &["(thinking)", "f", "(result)"],
        ),
    ] {
        // A user's turn after a user's is more of it.
        expect(&[&more[..], &[user("go")]].concat(), named, content, &[stays, &["go"]].concat());
    }
    // A mark stays off it, and what is to be continued ends with its text.
    let mut marked = thinking(&[&thought], assistant(Value::Null));
    marked["cache_control"] = json!({"type": "ephemeral"});
    for target in &TARGETS[..3] {
        let request =
            json!({"messages": [user("first"), marked, assistant("so \n"), thinking(&[&redacted], assistant(""))]});
        let (body, dropped, _) = made(*target, &request, Unsupported::Drop).unwrap();
        let left = json!([thought, {"type": "text", "text": "so"}]);
        assert_eq!(
            (&body["messages"][1]["content"], &dropped[..]),
            (&left, &["messages[3].thinking_blocks[0]".to_owned()][..])
        );
    }
}

#[test]
fn a_conversation_of_whose_beginning_nothing_is_left_is_refused_by_the_names_of_what_is_missing() {
    let video = || user(json!([{"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}]));
    let mut named = video();
    named["name"] = json!("ann");
    for target in TARGETS {
        for first in [video(), named.clone()] {
            let request = json!({"messages": [{"role": "system", "content": "be brief"}, first, assistant("hm"), user("go")], "seed": 1});
            let refused = made(target, &request, Unsupported::Drop).unwrap_err().to_string();
            assert_eq!(refused, "the model cannot take `messages[1].content[0]`", "{}", target.0);
        }
        // Something else is left to begin with.
        for messages in [
            json!([video(), user("first"), assistant("hm"), user("go")]),
            json!([video(), {"role": "assistant", "content": null, "audio": {"id": "audio_1"}}, user("go")]),
        ] {
            let (body, dropped, _) = made(target, &json!({"messages": messages}), Unsupported::Drop).unwrap();
            check(target.0, &body);
            assert_eq!(dropped[0], "messages[0].content[0]", "{}", target.0);
        }
        // The client's own beginning.
        assert!(made(target, &json!({"messages": [assistant("hm"), user("go")]}), Unsupported::Drop).is_ok());
    }
}

#[test]
fn arguments_that_are_no_object_are_sent_as_an_empty_one_and_named() {
    for (arguments, is_lost) in [
        ("{\"a\":1}", false),
        ("", false),
        ("  ", false),
        ("{\"a\"", true),
        ("[1]", true),
        ("null", true),
        ("ls -l", true),
        // Half a character is a 400 of Anthropic's.
        (r#"{"a":"\ud83d"}"#, true),
        (r#"{"a":[{"\udca9":1}]}"#, true),
        (r#"{"a":"\ud83d\udca9","b":"\\ud83d","c":"\u00e4"}"#, false),
    ] {
        let named = if is_lost { &["messages[1].tool_calls[0].function.arguments"][..] } else { &[] };
        expect(
            &[calling(Value::Null, &[function_call("a", "f", arguments)]), result("a")],
            named,
            None,
            &["f", "(result)"],
        );
    }
}

#[test]
fn the_input_of_a_call_in_anthropics_form_is_an_object_of_whole_characters() {
    for (input, sent, is_lost) in [
        (r#"{"a":"\ud83d\udca9"}"#, json!({"a": "\u{1f4a9}"}), false),
        (r#"{"a":"\ud83d"}"#, json!({}), true),
        ("[1]", json!({}), true),
        ("null", json!({}), false),
    ] {
        let call = json!([{"type": "tool_use", "id": "a", "name": "f", "input": "INPUT"}]);
        for target in &TARGETS[..3] {
            let request = json!({"model": target.2, "messages": [user("first"), assistant(call.clone()), result("a")]});
            let body = request.to_string().replace("\"INPUT\"", input);
            let (body, dropped, _) = made_of_text(*target, &body, Unsupported::Drop).unwrap();
            assert_eq!(body["messages"][1]["content"][0]["input"], sent, "{input}");
            let named = if is_lost { &["messages[1].content[0].input"][..] } else { &[] };
            assert_eq!(dropped, named, "{input}");
        }
    }
}

#[test]
fn thinking_with_half_a_character_is_left_out_and_named() {
    for (text, is_lost) in [(r"\ud83d", true), (r"\ud83d\udca9", false)] {
        let mut said = assistant("so");
        said["thinking_blocks"] = json!([{"type": "thinking", "thinking": "TEXT", "signature": "c2ln"}]);
        for target in TARGETS {
            let request = json!({"model": target.2, "messages": [user("first"), said, user("go")]}).to_string();
            let (body, dropped, _) = made_of_text(target, &request.replace("TEXT", text), Unsupported::Drop).unwrap();
            check(target.0, &body);
            let named = if is_lost { &["messages[1].thinking_blocks[0]"][..] } else { &[] };
            assert_eq!(dropped, named, "{}: {text}", target.0);
        }
    }
}

/// OpenAI takes either without the other: a history is cut at its beginning, or others speak between the two.
#[test]
fn calls_and_results_of_the_form_of_2023_that_are_no_pair_are_left_out_and_named() {
    let called = || json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}});
    let answered = || json!({"role": "function", "name": "f", "content": "1"});
    let tool = Some(Content::Tool);
    for (more, named, stays) in [
        (vec![answered()], &["messages[1]"][..], &[][..]),
        (vec![answered(), assistant("hm")], &["messages[1]"], &["hm"]),
        (vec![called()], &["messages[1].function_call"], &[]),
        (vec![called(), assistant("hm"), answered()], &["messages[1].function_call", "messages[3]"], &["hm"]),
        (vec![called(), user("wait"), answered()], &["messages[1].function_call", "messages[3]"], &["wait"]),
        (vec![called(), called(), answered()], &["messages[1].function_call"], &["f", "(result)"]),
        (vec![called(), answered(), assistant("so"), answered()], &["messages[4]"], &["f", "(result)", "so"]),
        (
            vec![calling("hm", &[function_call("a", "g", "{}")]), result("a"), answered()],
            &["messages[3]"],
            &["hm", "g", "(result)"],
        ),
        (vec![called(), json!({"role": "developer", "content": "be brief"}), answered()], &[], &["f", "(result)"]),
        (vec![called(), answered(), answered()], &[], &["f", "(result)"]),
    ] {
        let content = tool.filter(|_| !named.is_empty());
        expect(&[&more[..], &[user("go")]].concat(), named, content, &[stays, &["go"]].concat());
    }
    for target in TARGETS {
        let cut = json!({"messages": [answered(), user("go")]});
        assert_eq!(made(target, &cut, Unsupported::Drop).unwrap().1, ["messages[0]"], "{}", target.0);
        let unanswered = json!({"messages": [user("first"), assistant("hm"), answered()]});
        let refused = made(target, &unanswered, Unsupported::Drop).unwrap_err().to_string();
        assert_eq!(refused, "the model cannot take `messages[2]`", "{}", target.0);
    }
    // In a request, it is a wish.
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let wish = json!({"messages": [user("go")], "tools": tools, "function_call": {"name": "f"}});
    for target in TARGETS {
        let (_, dropped, content) = made(target, &wish, Unsupported::Drop).unwrap();
        assert_eq!((&dropped[..], content), (&["function_call".to_owned()][..], None), "{}", target.0);
    }
}

#[test]
fn the_form_of_2023_is_read_in_histories_of_requests_with_tools() {
    let tools =
        json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]);
    let old = json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}});
    let answered = json!({"role": "function", "name": "f", "content": "1"});
    let new = calling(Value::Null, &[function_call("call_1", "f", "{}")]);
    for (messages, named) in [
        (json!([user("first"), old, answered, user("go")]), &[][..]),
        (json!([user("first"), old, answered, new, result("call_1"), user("go")]), &[]),
        (
            json!([user("first"), {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "[1]", "foo": 1}}, answered, user("go")]),
            &["messages[1].function_call.foo", "messages[1].function_call.arguments"],
        ),
        (
            json!([
                user("first"),
                calling(Value::Null, &[function_call("a", "f", "[1]")]),
                result("a"),
                old,
                answered,
                user("go")
            ]),
            &["messages[1].tool_calls[0].function.arguments"],
        ),
        // No result came, as where the call itself was the answer: nothing can be sent.
        (json!([user("first"), old, user("go")]), &["messages[1].function_call"]),
    ] {
        for request in [json!({"messages": messages}), json!({"messages": messages, "tools": tools})] {
            for target in TARGETS {
                let (body, dropped, _) = made(target, &request, Unsupported::Drop)
                    .unwrap_or_else(|error| panic!("{}: {error}: {request}", target.0));
                check(target.0, &body);
                assert_eq!(dropped, named, "{}: {request}", target.0);
            }
        }
    }
}

#[test]
fn a_choice_that_only_tools_without_a_counterpart_could_meet_is_left_out_with_them() {
    let custom = json!([{"type": "custom", "custom": {"name": "shell"}}]);
    let both =
        json!([{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "shell"}}]);
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "custom", "custom": {"name": "shell"}}]}});
    for (tools, choice, named) in [
        (&custom, json!("required"), ["tool_choice", "tools[0]"]),
        (&custom, json!({"type": "custom", "custom": {"name": "shell"}}), ["tool_choice", "tools[0]"]),
        (&both, allowed, ["tool_choice", "tools[1]"]),
    ] {
        let request = json!({"messages": [user("go")], "tools": tools, "tool_choice": choice});
        for target in TARGETS {
            let (body, mut dropped, content) = made(target, &request, Unsupported::Drop)
                .unwrap_or_else(|error| panic!("{}: {error}: {request}", target.0));
            check(target.0, &body);
            dropped.sort_unstable();
            assert_eq!(
                (dropped, content),
                (named.map(str::to_owned).to_vec(), Some(Content::Tool)),
                "{}: {request}",
                target.0
            );
            assert_eq!(
                (body.get("tool_choice"), body["toolConfig"].get("toolChoice")),
                (None, None),
                "{}: {request}",
                target.0
            );
        }
    }
}

/// Where nothing is left of what the model is to answer, it is not asked something else.
#[test]
fn a_conversation_of_whose_end_nothing_is_left_is_refused_by_the_names_of_what_is_missing() {
    let video = json!([{"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}]);
    for (messages, named) in [
        (json!([user(video.clone())]), "messages[0].content[0]"),
        (json!([user("first"), assistant("hm"), user(video)]), "messages[2].content[0]"),
        (json!([user("first"), calling("hm", &[custom_call("a")]), result("a")]), "messages[2]"),
    ] {
        for target in TARGETS {
            let refused = made(target, &json!({"messages": messages}), Unsupported::Drop).unwrap_err();
            assert!(matches!(refused, TranslateError::Unsupported(_)), "{}: {refused}", target.0);
            assert!(refused.to_string().contains(&format!("`{named}`")), "{}: {refused}", target.0);
        }
    }
}

#[test]
fn a_system_prompt_alone_is_what_the_user_says() {
    for role in ["system", "developer"] {
        for target in TARGETS {
            let request = json!({"messages": [{"role": role, "content": "say hi"}]});
            let (body, dropped, _) = made(target, &request, Unsupported::Drop).unwrap();
            check(target.0, &body);
            assert_eq!(
                (dropped.len(), &body["messages"][0]["content"][0]["text"]),
                (0, &json!("say hi")),
                "{}",
                target.0
            );
            assert_eq!(body.get("system"), None, "{}", target.0);
        }
    }
}

/// A user's message, as OpenAI's API takes it.
fn user_message() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(user("hi")),
        Just(user("")),
        Just(user(" \n")),
        Just(json!({"role": "user", "content": "hi", "name": "ann"})),
        Just(user(json!([]))),
        Just(user(json!([{"type": "text", "text": "hi"}, {"type": "text", "text": ""}]))),
        Just(user(json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}]))),
        Just(user(json!([{"type": "image_url", "image_url": {"url": "https://h/a.png"}}]))),
        Just(user(json!([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]))),
        Just(user(json!([{"type": "file", "file": {"file_id": "file-1"}}]))),
        Just(user(
            json!([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}}])
        )),
    ]
}

/// A message of the assistant's with up to three calls, and a result of each in some order.
fn assistant_messages() -> impl Strategy<Value = Vec<Value>> {
    let content = prop_oneof![
        Just(json!({"content": null})),
        Just(json!({})),
        Just(json!({"content": "ho"})),
        Just(json!({"content": ""})),
        Just(json!({"content": [{"type": "text", "text": "ho"}, {"type": "refusal", "refusal": "no"}]})),
        Just(json!({"content": null, "refusal": "no"})),
        Just(json!({"content": "ho", "refusal": "no", "annotations": [{"type": "url_citation"}]})),
        Just(json!({"content": null, "audio": {"id": "audio_1"}})),
        Just(json!({"content": "ho", "reasoning_content": "hm", "name": "bob"})),
    ];
    let call = prop_oneof![
        Just(custom_call("x")),
        Just(function_call("x", "f", "{}")),
        Just(function_call("x", "a.b c", "{\"a\":[1]}")),
        Just(function_call("x", "f", "{\"a\":")),
        Just(function_call("x", "f", "")),
    ];
    let results = prop_oneof![
        Just(json!("ok")),
        Just(json!("")),
        Just(json!([{"type": "text", "text": "ok"}])),
        Just(json!([{"type": "image_url", "image_url": {"url": "https://h/a.png"}}])),
    ];
    let calls = proptest::collection::vec((call, results), 0..4);
    let block = prop_oneof![
        Just(json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"})),
        Just(json!({"type": "thinking", "thinking": "hm"})),
        Just(json!({"type": "redacted_thinking", "data": "AAAA"})),
    ];
    let thinking = proptest::collection::vec(block, 0..3);
    (content, thinking, calls, any::<bool>(), any::<u16>()).prop_map(
        |(mut message, thinking, calls, reversed, turn)| {
            message["role"] = json!("assistant");
            if !thinking.is_empty() {
                message["thinking_blocks"] = json!(thinking);
            }
            let (mut made, mut results) = (Vec::new(), Vec::new());
            for (number, (mut call, content)) in calls.into_iter().enumerate() {
                let id = format!("call_{turn}_{number}");
                call["id"] = json!(id);
                made.push(call);
                results.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
            }
            if !made.is_empty() {
                message["tool_calls"] = json!(made);
            }
            if reversed {
                results.reverse();
            }
            let mut all = vec![message];
            all.append(&mut results);
            all
        },
    )
}

/// A call or a result in the form of functions, which stand in any order.
fn message_of_2023() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}})),
        Just(json!({"role": "assistant", "content": "ho", "function_call": {"name": "g", "arguments": "{\"a\":"}})),
        Just(json!({"role": "function", "name": "f", "content": "1"})),
        Just(json!({"role": "function", "name": "g", "content": null})),
        Just(user("and")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_conversation_of_openais_becomes_one_that_the_vendors_take(
        rounds in proptest::collection::vec(
            (user_message(), proptest::option::of(assistant_messages()), any::<bool>(), proptest::collection::vec(message_of_2023(), 0..4)), 0..5),
    ) {
        let mut messages = vec![user("first")];
        for (asked, answered, has_system, of_2023) in rounds {
            messages.push(asked);
            if has_system {
                messages.push(json!({"role": "developer", "content": "be brief"}));
            }
            messages.extend(answered.unwrap_or_default());
            messages.extend(of_2023);
        }
        messages.push(user("last"));
        let request = json!({"messages": messages});
        for target in TARGETS {
            let (body, dropped, _) = made(target, &request, Unsupported::Drop).unwrap_or_else(|error| panic!("{}: {error}: {request}", target.0));
            check(target.0, &body);
            let refused = made(target, &request, Unsupported::Refuse);
            prop_assert_eq!(refused.is_err(), !dropped.is_empty(), "{}: {}", target.0, request);
        }
    }
}
