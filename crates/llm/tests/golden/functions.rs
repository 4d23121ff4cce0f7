//! Functions of the old form: what vendors are sent, and what clients are answered.

use llm::provider::{
    AnswerId, ClientRequest, ModelFacts, Operation, Prepared, Provider, TargetModel, TargetSettings, prepare,
};
use llm::translate::Unsupported;
use serde_json::{Value, json};

use super::Golden;

const ASKED: &str =
    r#"{"model":"m","stream":STREAM,"messages":[{"role":"user","content":"hi"}],"functions":[{"name":"now"}]}"#;

fn sent(provider: Provider, body: &str) -> Result<Prepared<'_>, String> {
    let settings = TargetSettings { region: Some("eu-central-1".to_owned()), ..TargetSettings::default() };
    let target = TargetModel { provider, settings, unsupported: Unsupported::Drop };
    let request = ClientRequest {
        operation: Operation::Chat,
        path: "chat/completions",
        body: body.as_bytes(),
        anthropic_version: None,
        anthropic_beta: Vec::new(),
    };
    prepare(&target, &request, |_| ModelFacts::default()).map_err(|error| error.to_string())
}

#[test]
fn functions_become_tools() {
    for golden in Golden::all("functions") {
        let made = [("anthropic", Provider::Anthropic), ("converse", Provider::Bedrock)].map(|(name, provider)| {
            let made = sent(provider, golden.section("request")).map(|prepared| {
                let dropped: Vec<_> = prepared.dropped.iter().map(ToString::to_string).collect();
                format!("{}\n{}", String::from_utf8(prepared.body.into_owned()).unwrap(), dropped.join(" "))
            });
            (name, made.unwrap_or_else(|error| error).trim_end().to_owned())
        });
        golden.expect(&["request"], &made);
    }
}

/// What a client gets of an answer that comes in these parts.
fn answered(provider: Provider, is_stream: bool, parts: &[String]) -> String {
    let body = ASKED.replace("STREAM", if is_stream { "true" } else { "false" });
    let form = sent(provider, &body).unwrap().answer;
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 1 };
    let mut translator = if is_stream { form.stream(&id) } else { form.whole(&id, None) }.unwrap();
    let mut out = Vec::new();
    parts.iter().for_each(|part| translator.push(part.as_bytes(), &mut out).unwrap());
    translator.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn whole_answers_have_the_first_call() {
    let call =
        |number: u8| json!({"type": "tool_use", "id": format!("t{number}"), "name": "now", "input": {"n": number}});
    let anthropic = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [{"type": "text", "text": "the \"tool_calls\""}, call(1), call(2)], "usage": {"input_tokens": 1, "output_tokens": 2}});
    let call =
        |number: u8| json!({"toolUse": {"toolUseId": format!("t{number}"), "name": "now", "input": {"n": number}}});
    let converse = json!({"output": {"message": {"role": "assistant", "content": [{"text": "the \"tool_calls\""}, call(1), call(2)]}},
        "stopReason": "tool_use", "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}});
    for (provider, answer) in [(Provider::Anthropic, anthropic), (Provider::Bedrock, converse)] {
        let made: Value = serde_json::from_str(&answered(provider, false, &[answer.to_string()])).unwrap();
        let choice = &made["choices"][0];
        assert_eq!(choice["finish_reason"], "function_call", "{made}");
        assert_eq!(choice["message"]["function_call"], json!({"name": "now", "arguments": "{\"n\":1}"}));
        assert_eq!(choice["message"]["content"], "the \"tool_calls\"");
        assert_eq!(choice["message"].get("tool_calls"), None);
    }
}

#[test]
fn streams_have_the_first_call_whatever_the_cuts() {
    let event = |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    ];
    for index in 0..2 {
        let delta = |text: &str| json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": text}});
        events.extend([
            json!({"type": "content_block_start", "index": index,
                "content_block": {"type": "tool_use", "id": format!("t{index}"), "name": "now", "input": {}}}),
            delta("{\"n\": "),
            delta(&format!("{index}}}")),
            json!({"type": "content_block_stop", "index": index}),
        ]);
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}));
    events.push(json!({"type": "message_stop"}));
    let stream: String = events.into_iter().map(event).collect();
    let whole = answered(Provider::Anthropic, true, std::slice::from_ref(&stream));
    for size in [1, 7, 100] {
        let parts: Vec<_> =
            stream.as_bytes().chunks(size).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
        assert_eq!(answered(Provider::Anthropic, true, &parts), whole, "{size}");
    }
    let chunks: Vec<Value> = whole
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").filter(|data| *data != "[DONE]"))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let calls = || chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["function_call"]);
    let text = |field: &str| calls().filter_map(|call| call[field].as_str()).collect::<String>();
    assert_eq!((text("name").as_str(), text("arguments").as_str()), ("now", "{\"n\": 0}"), "{whole}");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "function_call");
    assert!(!whole.contains("tool_calls") && whole.ends_with("data: [DONE]\n\n"), "{whole}");
}
