//! A target to which content of a request cannot be translated is passed over while another one takes it.

use gateway_sim::vendors::{Fault, Kind};
use serde_json::{Value, json};

use super::super::super::support::http::Answer;
use super::{Harness, Vendors, account, asking, error, router};

const OPERATORS: &str = "the-operators-own-token";

fn said_by_user(part: Value) -> Value {
    json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]})
}

fn file(name: &str, data: &str) -> Value {
    json!({"type": "file", "file": {"filename": name, "file_data": data}})
}

/// A pool of the named target and OpenAI's, in this order.
async fn before_openai(vendors: &Vendors, name: &str, unsupported: &str) -> Harness {
    let first = vendors.changed(name, &json!({"unsupported": unsupported}));
    operated(vendors, &[first, vendors.target("openai")]).await
}

/// A relay before these targets, in this order, whose operators may see what became of each attempt.
async fn operated(vendors: &Vendors, targets: &[Value]) -> Harness {
    let pool = json!({"ingress": "/llm/", "strategy": {"mode": "fallback"}, "targets": targets});
    let account = account(&vendors.of(Kind::Vertex).token_url());
    Harness::with(&json!({"pools": [pool]}), &[("ACCOUNT", &account), ("BROKER_ADMIN_TOKEN", OPERATORS)]).await
}

/// Asks as an operator.
async fn explained(harness: &Harness, request: &Value) -> Answer {
    let headers = [("X-Broker-Explain", "1"), ("X-Broker-Token", OPERATORS)];
    harness.send_with("/llm/chat/completions", &headers, &asking(request).to_string()).await
}

fn dropped(answer: &Answer) -> Option<&str> {
    answer.header("x-broker-dropped")
}

const IMAGE: &str = "it cannot take an image of the request";
const AUDIO: &str = "it cannot take the request's audio";
const FILE: &str = "it cannot take a file of the request";
const VIDEO: &str = "it cannot take a video of the request";
const PART: &str = "it cannot take a part of the request's content";
const TOOL: &str = "it cannot take a tool of the request";

/// A conversation with this message of the assistant's and results of these calls.
fn earlier(said: Value, results: &[&str]) -> Value {
    let mut messages = vec![json!({"role": "user", "content": "hi"}), said];
    messages.extend(results.iter().map(|id| json!({"role": "tool", "tool_call_id": id, "name": "c", "content": "ok"})));
    messages.push(json!({"role": "user", "content": "go on"}));
    json!({"messages": messages})
}

/// Conversations with calls of custom tools, and the fields that are left out.
fn custom_calls() -> impl Iterator<Item = (Value, &'static str)> {
    let custom = json!({"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}});
    let function = json!({"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let alone = earlier(json!({"role": "assistant", "tool_calls": [custom]}), &["a"]);
    let both = earlier(json!({"role": "assistant", "content": "ho", "tool_calls": [custom, function]}), &["b", "a"]);
    [(alone, "messages[1].tool_calls[0], messages[2]"), (both, "messages[1].tool_calls[0], messages[3]")].into_iter()
}

/// Conversations in which the assistant said something else than text, the field that is left out, and the words of the stamp.
fn said_before() -> impl Iterator<Item = (Value, &'static str, &'static str)> {
    let image = json!({"type": "image_url", "image_url": {"url": "https://h/a.png"}});
    let drawn = json!({"role": "assistant", "content": [{"type": "text", "text": "ho"}, image]});
    let spoken = json!({"role": "assistant", "content": "ho", "audio": {"id": "audio_1"}});
    [(drawn, "messages[1].content[1]", IMAGE), (spoken, "messages[1].audio", AUDIO)]
        .into_iter()
        .map(|(said, field, words)| (earlier(said, &[]), field, words))
}

/// What each target cannot be sent: the request, the field that would be left out, and the words of the stamp.
fn cases() -> Vec<(&'static str, Kind, Value, &'static str, &'static str)> {
    let address = json!({"type": "image_url", "image_url": {"url": "https://h/a.png"}});
    let tiff = json!({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}});
    let sound = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let flac = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "flac"}});
    let by_id = json!({"type": "file", "file": {"file_id": "file-1"}});
    let video = json!({"type": "video_url", "video_url": {"url": "https://h/a.mp4"}});
    let custom = json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]});
    let functions = json!({"functions": [{"name": "f", "parameters": {"type": "object", "properties": {}}}]});
    let result = |part: &Value| {
        json!({"messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "ok"}, part]}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]})
    };
    let second = "messages[0].content[1]";
    let mut cases = Vec::new();
    for (name, kind) in [
        ("anthropic", Kind::Anthropic),
        ("vertexclaude", Kind::Vertex),
        ("bedrockclaude", Kind::Bedrock),
        ("converse", Kind::Bedrock),
    ] {
        if name != "anthropic" {
            cases.push((name, kind, said_by_user(address.clone()), second, IMAGE));
            cases.push((name, kind, result(&address), "messages[2].content[1]", IMAGE));
        }
        let audio = if name == "converse" { &flac } else { &sound };
        cases.push((name, kind, said_by_user(audio.clone()), second, AUDIO));
        cases.push((name, kind, said_by_user(by_id.clone()), second, FILE));
        cases.push((
            name,
            kind,
            said_by_user(file("a.pptx", "data:application/vnd.ms-powerpoint;base64,AAAA")),
            second,
            FILE,
        ));
        cases.push((name, kind, said_by_user(video.clone()), second, VIDEO));
        cases.push((name, kind, said_by_user(json!({"type": "hologram", "x": 1})), second, PART));
        cases.push((name, kind, custom.clone(), "tools[0]", TOOL));
        cases.extend(said_before().map(|(request, field, words)| (name, kind, request, field, words)));
        cases.push((name, kind, said_by_user(tiff.clone()), second, IMAGE));
        cases.extend(custom_calls().map(|(request, fields)| (name, kind, request, fields, TOOL)));
    }
    cases.push(("converse", Kind::Bedrock, result(&sound), "messages[2].content[1]", AUDIO));
    for (name, kind) in [("gemini", Kind::Gemini), ("ollama", Kind::Ollama)] {
        cases.push((name, kind, functions.clone(), "functions", TOOL));
        cases.push((name, kind, json!({"documents": [{"text": "a"}]}), "documents", FILE));
        if name == "gemini" {
            cases.push((name, kind, custom.clone(), "tools[0]", TOOL));
            cases.extend(custom_calls().map(|(request, fields)| (name, kind, request, fields, TOOL)));
        }
    }
    cases
}

#[tokio::test]
async fn content_that_a_target_cannot_be_sent_leads_to_the_next_one_and_is_in_its_stamp() {
    let vendors = Vendors::start().await;
    let mut of: Option<(&str, Harness, Harness)> = None;
    for (name, kind, request, field, words) in cases() {
        if of.as_ref().is_none_or(|(known, ..)| *known != name) {
            of = Some((name, before_openai(&vendors, name, "drop").await, vendors.pool(&[vendors.target(name)]).await));
        }
        let (_, both, alone) = of.as_ref().unwrap();
        let before = (vendors.calls(kind), vendors.calls(Kind::OpenAi));
        let answer = explained(both, &request).await;
        assert_eq!(router(&answer), "/llm/openai/", "{name}: {request}: {}", answer.text());
        assert_eq!((dropped(&answer), answer.header("x-broker-attempts")), (None, Some("1")), "{name}: {request}");
        assert_eq!((vendors.calls(kind), vendors.calls(Kind::OpenAi)), (before.0, before.1 + 1), "{name}: {request}");
        assert_eq!(vendors.last(Kind::OpenAi).json()["messages"], asking(&request)["messages"], "whole");
        let trace: Value = serde_json::from_str(answer.header("x-broker-trace").unwrap()).unwrap();
        assert_eq!(trace[0]["broken"], format!("was passed over: {words}"), "{name}: {request}");
        let why = trace[1]["why"].as_str().unwrap();
        assert!(why.ends_with(&format!("; /llm/{name}/ passed over: {words}")), "{name}: {request}: {why}");
        // Alone, it is better than nothing.
        let answer = alone.chat("/llm/", &request).await;
        assert_eq!((answer.status, dropped(&answer)), (200, Some(field)), "{name}: {request}: {}", answer.text());
        assert_eq!(vendors.calls(kind), before.0 + 1, "{name}: {request}");
        both.assert_nothing_disabled();
    }
}

/// Settings decide as before where no target takes all of it.
#[tokio::test]
async fn where_no_target_takes_all_of_it_it_is_dropped_or_refused() {
    let vendors = Vendors::start().await;
    let request = said_by_user(json!({"type": "file", "file": {"file_id": "file-1"}}));
    let of = |name: &str, way: &str| vendors.changed(name, &json!({"unsupported": way}));
    let pool = vendors.pool(&[of("converse", "drop"), of("anthropic", "drop")]).await;
    let answer = pool.chat("/llm/", &request).await;
    assert_eq!((router(&answer), dropped(&answer)), ("/llm/converse/", Some("messages[0].content[1]")));
    assert_eq!((vendors.calls(Kind::Bedrock), vendors.calls(Kind::Anthropic)), (1, 0));
    // One that drops is better than one that refuses.
    let pool = vendors.pool(&[of("converse", "refuse"), of("anthropic", "drop")]).await;
    let answer = pool.chat("/llm/", &request).await;
    assert_eq!((router(&answer), dropped(&answer)), ("/llm/anthropic/", Some("messages[0].content[1]")));
    let pool = vendors.pool(&[of("converse", "refuse"), of("anthropic", "refuse")]).await;
    let answer = pool.chat("/llm/", &request).await;
    let said = error(&answer)["message"].to_string();
    assert!(answer.status == 400 && said.contains("`messages[0].content[1]`"), "{said}");
    assert_eq!((vendors.calls(Kind::Bedrock), vendors.calls(Kind::Anthropic)), (1, 1));
    pool.assert_nothing_disabled();
}

#[tokio::test]
async fn a_target_that_loses_content_is_better_than_one_that_fails() {
    let vendors = Vendors::start().await;
    let pool = before_openai(&vendors, "converse", "drop").await;
    vendors.of(Kind::OpenAi).always(Some(Fault::Status(503)));
    let request = said_by_user(json!({"type": "image_url", "image_url": {"url": "https://h/a.png"}}));
    let answer = pool.chat("/llm/", &request).await;
    assert_eq!((router(&answer), dropped(&answer)), ("/llm/converse/", Some("messages[0].content[1]")));
    assert_eq!((vendors.calls(Kind::OpenAi), vendors.calls(Kind::Bedrock)), (1, 1));
}

/// A target to which nothing could be sent of what the model is to answer is passed over, and alone a 400 with its names.
#[tokio::test]
async fn a_target_that_could_be_sent_nothing_to_answer_is_not_called() {
    let vendors = Vendors::start().await;
    let video = json!([{"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}]);
    let request = json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"},
        {"role": "user", "content": video}]});
    for (name, kind) in [("anthropic", Kind::Anthropic), ("converse", Kind::Bedrock)] {
        let both = before_openai(&vendors, name, "drop").await;
        assert_eq!(router(&both.chat("/llm/", &request).await), "/llm/openai/", "{name}");
        let alone = vendors.pool(&[vendors.target(name)]).await;
        let answer = alone.chat("/llm/", &request).await;
        let said = error(&answer);
        assert!(said["message"].as_str().unwrap().contains("`messages[2].content[0]`"), "{name}: {said}");
        assert_eq!((answer.status, &said["type"]), (400, &json!("invalid_request_error")), "{name}");
        assert_eq!(vendors.calls(kind), 0, "{name}");
        alone.assert_nothing_disabled();
    }
}

/// What takes nothing of the prompt away is dropped where it was before.
#[tokio::test]
async fn settings_that_a_target_does_not_have_do_not_change_the_choice() {
    let vendors = Vendors::start().await;
    for name in ["anthropic", "converse", "gemini"] {
        let pool = before_openai(&vendors, name, "drop").await;
        let request =
            json!({"seed": 1, "logit_bias": {"1": 1}, "messages": [{"role": "user", "content": "hi", "name": "n"}]});
        let answer = pool.chat("/llm/", &request).await;
        assert_eq!(router(&answer), format!("/llm/{name}/"), "{}", answer.text());
        assert!(dropped(&answer).is_some_and(|names| names.contains("seed")));
    }
}
