//! What becomes of clients' mistakes, of vendors' errors, and of answers that break.

use gateway_sim::vendors::{Fault, Kind};
use serde_json::{Value, json};

use super::super::super::support::http;
use super::super::super::support::scripted::{Move, Scripted, answer, chunk, last_chunk, stream};
use super::{Vendors, error, read, router, unchunked};

#[tokio::test]
async fn errors_keep_their_status_and_come_in_the_clients_form() {
    let vendors = Vendors::start().await;
    // One target and no other: the client is sent what it said.
    let harness = vendors.each().await;
    for (name, kind, _) in &vendors.targets {
        for status in [400, 429, 503] {
            let file = json!({"pools": [{"ingress": "/llm/", "targets": [vendors.target(name)]}]});
            let alone = vendors.harness(&file).await;
            vendors.of(*kind).always(Some(Fault::Status(status)));
            let answer = alone.chat("/llm/", &json!({})).await;
            vendors.of(*kind).always(None);
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
            let said = error(&answer);
            assert_eq!(said["message"], "This is what the script says.", "{name} {status}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
        }
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn a_clients_mistake_is_a_400_and_no_targets_fault() {
    let vendors = Vendors::start().await;
    for (name, kind) in [("anthropic", Kind::Anthropic), ("converse", Kind::Bedrock), ("bedrockclaude", Kind::Bedrock)]
    {
        let harness = vendors.pool(&[vendors.target(name)]).await;
        let call = json!({"id": "a", "type": "function", "function": {"name": "t", "arguments": "{}"}});
        for (changes, param) in [
            (json!({"n": 2}), "n"),
            (json!({"messages": 7}), "messages"),
            (
                json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]}),
                "messages",
            ),
            (json!({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}), "messages"),
        ] {
            let answer = harness.chat("/llm/", &changes).await;
            assert_eq!(answer.status, 400, "{name} {changes}: {}", answer.text());
            let said = error(&answer);
            assert_eq!(said["type"], "invalid_request_error", "{name}: {said}");
            assert!(said["param"].as_str().unwrap_or_default().starts_with(param), "{name}: {said}");
        }
        let answer = harness.send_with("/llm/chat/completions", &[], "{\"model\":").await;
        assert_eq!((answer.status, &error(&answer)["type"]), (400, &json!("invalid_request_error")), "{name}");
        assert_eq!(vendors.calls(kind), 0, "{name} was not called");
        harness.assert_nothing_disabled();
        assert_eq!(read(&harness.chat("/llm/", &json!({})).await)["object"], "chat.completion");
        vendors.of(kind).forget();
    }
}

/// What the vendors refuse because the client asked for it is a 400 too, and disables no target.
#[tokio::test]
async fn what_a_vendor_refuses_trips_no_target() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, kind, _) in &vendors.targets {
        let answer = harness.chat(&format!("/{name}/"), &json!({"messages": []})).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        error(&answer);
        assert!(vendors.calls(*kind) < 20, "{name}");
    }
    harness.assert_nothing_disabled();
}

/// Each broken answer: whose, what is asked, and what is wrong.
fn broken() -> Vec<(&'static str, Kind, Value, Fault)> {
    let (whole, stream) = (json!({}), json!({"stream": true}));
    let schema = json!({"type": "object", "properties": {}});
    let tools =
        json!({"stream": true, "tools": [{"type": "function", "function": {"name": "t", "parameters": schema}}]});
    vec![
        ("anthropic", Kind::Anthropic, whole.clone(), Fault::CutWithin(0)),
        ("bedrockclaude", Kind::Bedrock, whole.clone(), Fault::CutWithin(0)),
        ("converse", Kind::Bedrock, whole.clone(), Fault::CutWithin(0)),
        ("vertexclaude", Kind::Vertex, whole, Fault::CutWithin(0)),
        ("anthropic", Kind::Anthropic, stream.clone(), Fault::CutAfter(1)),
        ("anthropic", Kind::Anthropic, stream.clone(), Fault::CutWithin(0)),
        ("converse", Kind::Bedrock, stream.clone(), Fault::CutAfter(0)),
        ("converse", Kind::Bedrock, stream.clone(), Fault::WrongChecksum(0)),
        ("converse", Kind::Bedrock, stream.clone(), Fault::LongFrame(0)),
        ("converse", Kind::Bedrock, stream.clone(), Fault::LongFrame(1)),
        ("bedrockclaude", Kind::Bedrock, stream.clone(), Fault::WrongChecksum(0)),
        ("bedrockclaude", Kind::Bedrock, stream.clone(), Fault::WrongChecksum(1)),
        ("bedrockclaude", Kind::Bedrock, stream, Fault::CutWithin(1)),
        ("anthropic", Kind::Anthropic, tools.clone(), Fault::CutAfter(1)),
        ("converse", Kind::Bedrock, tools, Fault::CutAfter(1)),
    ]
}

#[tokio::test]
async fn a_broken_answer_of_which_nothing_was_sent_comes_from_elsewhere() {
    let vendors = Vendors::start().await;
    for (name, kind, asked, fault) in broken() {
        let harness = vendors.pool(&[vendors.target(name), vendors.target("openai")]).await;
        vendors.of(kind).once(fault);
        let answer = harness.chat("/llm/", &asked).await;
        assert_eq!(
            (answer.status, router(&answer)),
            (200, "/llm/openai/"),
            "{name} {asked} {fault:?}: {}",
            answer.text()
        );
        let disabled = harness.broker.until(&["router disabled"]).await;
        assert!(disabled.contains(&format!("/llm/{name}/")), "{disabled}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_after_its_beginning_ends_with_an_error_event() {
    let vendors = Vendors::start().await;
    let schema = json!({"type": "object", "properties": {}});
    let tools =
        json!({"stream": true, "tools": [{"type": "function", "function": {"name": "t", "parameters": schema}}]});
    let text = json!({"stream": true});
    for (name, kind, asked, fault) in [
        ("anthropic", Kind::Anthropic, &text, Fault::CutAfter(4)),
        ("anthropic", Kind::Anthropic, &text, Fault::CutWithin(3)),
        ("anthropic", Kind::Anthropic, &tools, Fault::Without(3)),
        ("bedrockclaude", Kind::Bedrock, &text, Fault::WrongChecksum(4)),
        ("bedrockclaude", Kind::Bedrock, &tools, Fault::Without(3)),
        ("converse", Kind::Bedrock, &text, Fault::WrongChecksum(3)),
        ("converse", Kind::Bedrock, &text, Fault::LongFrame(3)),
        ("converse", Kind::Bedrock, &text, Fault::CutWithin(3)),
        ("converse", Kind::Bedrock, &tools, Fault::Without(3)),
        ("vertexclaude", Kind::Vertex, &text, Fault::CutAfter(4)),
    ] {
        let harness = vendors.pool(&[vendors.target(name), vendors.target("openai")]).await;
        vendors.of(kind).once(fault);
        let answer = harness.chat("/llm/", asked).await;
        assert_eq!((answer.status, router(&answer)), (200, format!("/llm/{name}/").as_str()), "{fault:?}");
        let text = unchunked(&answer);
        assert!(!text.contains("[DONE]") && !text.contains("\"finish_reason\":\"stop\""), "{name} {fault:?}: {text}");
        let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert!(last["error"]["message"].is_string(), "{name} {fault:?}: {text}");
        let disabled = harness.broker.until(&["router disabled"]).await;
        assert!(disabled.contains(&format!("/llm/{name}/")), "{name} {fault:?}: {disabled}");
    }
}

/// Bedrock says within a stream what others say by a status.
#[tokio::test]
async fn an_exception_before_any_content_is_answered_by_the_next_target() {
    let vendors = Vendors::start().await;
    for name in ["converse", "bedrockclaude"] {
        for (exception, class) in [
            ("throttlingException", "rate_limited"),
            ("serviceUnavailableException", "overloaded"),
            ("internalServerException", "server_error"),
            ("modelStreamErrorException", "server_error"),
            ("modelTimeoutException", "timed_out"),
        ] {
            // First of all, and behind `messageStart` or `message_start`.
            for at in [0, 1] {
                let harness = vendors.pool(&[vendors.target(name), vendors.target("openai")]).await;
                vendors.of(Kind::Bedrock).once(Fault::Exception(at, exception));
                let answer = harness.chat("/llm/", &json!({"stream": true})).await;
                let case = format!("{name} {exception} {at}: {}", answer.text());
                assert_eq!((answer.status, router(&answer)), (200, "/llm/openai/"), "{case}");
                assert!(!answer.text().contains("script"), "{case}");
                let page: Value = serde_json::from_slice(&harness.broker.get("/api/v1/calls").await.body).unwrap();
                let attempts = &page["calls"][0]["attempts"];
                assert_eq!(
                    (&attempts[0]["class"], &attempts[1]["class"]),
                    (&json!(class), &json!("success")),
                    "{case} {page}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_exception_behind_content_is_an_error_event_in_the_clients_protocol() {
    let vendors = Vendors::start().await;
    let messages =
        json!({"model": "x", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    for name in ["converse", "bedrockclaude"] {
        let harness = vendors.pool(&[vendors.target(name), vendors.target("openai")]).await;
        vendors.of(Kind::Bedrock).once(Fault::Exception(3, "throttlingException"));
        let answer = harness.chat("/llm/", &json!({"stream": true})).await;
        assert_eq!((answer.status, router(&answer)), (200, format!("/llm/{name}/").as_str()), "{}", answer.text());
        let text = unchunked(&answer);
        let events: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|event| serde_json::from_str(event).unwrap())
            .collect();
        assert!(events[0]["choices"][0]["delta"].is_object(), "{text}");
        let error = &events.last().unwrap()["error"];
        assert_eq!(
            (&error["message"], &error["type"]),
            (&json!("This is what the script says."), &json!("rate_limit_error")),
            "{text}"
        );
        assert_eq!(events.iter().filter(|event| event["error"].is_object()).count(), 1, "{text}");
        let page: Value = serde_json::from_slice(&harness.broker.get("/api/v1/calls").await.body).unwrap();
        let call = &page["calls"][0];
        assert_eq!(
            (&call["class"], &call["attempts"][0]["class"], &call["usage"]["estimated"]),
            (&json!("rate_limited"), &json!("rate_limited"), &json!(true)),
            "{page}"
        );
    }
    let harness = vendors.pool(&[vendors.target("bedrockclaude")]).await;
    vendors.of(Kind::Bedrock).once(Fault::Exception(4, "throttlingException"));
    let text = unchunked(&harness.send("/llm/v1/messages", &messages).await);
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
    assert_eq!(
        error,
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": "This is what the script says."}})
    );
}

#[tokio::test]
async fn where_every_target_throttles_a_stream_the_client_gets_429() {
    let vendors = Vendors::start().await;
    let harness = vendors.pool(&[vendors.target("converse"), vendors.target("bedrockclaude")]).await;
    vendors.of(Kind::Bedrock).always(Some(Fault::Exception(0, "throttlingException")));
    let answer = harness.chat("/llm/", &json!({"stream": true})).await;
    assert_eq!((answer.status, &error(&answer)["code"]), (429, &json!("all_targets_rate_limited")));
}

/// What the client got wrong stays its mistake, and trips no target.
#[tokio::test]
async fn a_validation_exception_in_a_stream_is_the_clients_mistake() {
    let vendors = Vendors::start().await;
    for name in ["converse", "bedrockclaude"] {
        let harness = vendors.pool(&[vendors.target(name), vendors.target("openai")]).await;
        vendors.of(Kind::Bedrock).always(Some(Fault::Exception(0, "validationException")));
        for _ in 0..3 {
            let answer = harness.chat("/llm/", &json!({"stream": true})).await;
            assert_eq!((answer.status, router(&answer)), (200, format!("/llm/{name}/").as_str()), "{}", answer.text());
            let text = unchunked(&answer);
            let only = text.strip_prefix("data: ").unwrap();
            let error: Value = serde_json::from_str(only).unwrap();
            assert_eq!(error["error"]["type"], "invalid_request_error", "{name}: {text}");
        }
        vendors.of(Kind::Bedrock).always(None);
        harness.assert_nothing_disabled();
    }
}

#[tokio::test]
async fn why_an_answer_could_not_be_translated_stands_in_the_words_and_in_the_record() {
    let vendors = Vendors::start().await;
    for (asked, fault, status) in [
        (json!({"stream": true}), Fault::WrongChecksum(0), 503),
        (json!({"stream": true}), Fault::WrongChecksum(3), 200),
        (json!({}), Fault::CutWithin(0), 503),
    ] {
        let harness = vendors.pool(&[vendors.target("converse")]).await;
        vendors.of(Kind::Bedrock).always(Some(fault));
        let answer = harness.chat("/llm/", &asked).await;
        assert_eq!(answer.status, status, "{fault:?} {}", answer.text());
        let reason = if asked["stream"] == json!(true) { "its frames cannot be read" } else { "it is no JSON object" };
        if status == 503 {
            let said = format!("/llm/converse/ sent an answer that cannot be read: {reason} after");
            assert!(answer.text().contains(&said), "{}", answer.text());
        }
        let page: Value = serde_json::from_slice(&harness.broker.get("/api/v1/calls").await.body).unwrap();
        let attempt = &page["calls"][0]["attempts"][0];
        assert_eq!(
            (&attempt["class"], &attempt["failure"], &attempt["reason"]),
            (&json!("broken_answer"), &json!("broken_answer"), &json!(reason)),
            "{page}"
        );
        vendors.of(Kind::Bedrock).always(None);
    }
}

#[tokio::test]
async fn a_client_of_messages_gets_its_own_error_event() {
    let vendors = Vendors::start().await;
    let harness = vendors.pool(&[vendors.target("bedrockclaude")]).await;
    vendors.of(Kind::Bedrock).once(Fault::WrongChecksum(4));
    let body = json!({"model": "x", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let text = unchunked(&harness.send("/llm/v1/messages", &body).await);
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
    assert!(error["type"] == "error" && error["error"]["message"].is_string(), "{text}");
}

#[tokio::test]
async fn googles_error_in_the_middle_of_a_stream_is_one_that_openais_clients_see() {
    let error = json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
    let content = json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}}]});
    let event = |data: &str| chunk(&format!("data: {data}\n\n"));
    let act = vec![stream(), event(&content.to_string()), event(&format!("[{error}]")), last_chunk()];
    // Google stands behind an address as well.
    for provider in ["gemini", "openai_compatible"] {
        let upstream = Scripted::start(act.clone()).await;
        let target =
            json!({"name": "a", "provider": provider, "api_key": "${KEY}", "url": upstream.url(), "model": "g"});
        let harness = super::Harness::of(&[("/llm/", &[target])]).await;
        let answer = harness.chat("/llm/", &json!({"stream": true})).await;
        assert_eq!(unchunked(&answer), format!("data: {content}\n\ndata: {error}\n\n"), "{provider}");
        let page: Value = serde_json::from_slice(&harness.broker.get("/api/v1/calls").await.body).unwrap();
        assert_eq!(page["calls"][0]["class"], "overloaded", "{provider}: {page}");
    }
}

/// The error that Google writes into an array is one, wherever it stands: the next target answers, and alone it has OpenAI's form.
#[tokio::test]
async fn googles_errors_are_recognised_behind_an_address() {
    let error = json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
    let array = format!("[{error}]");
    let json_type = [("content-type", "application/json; charset=UTF-8")];
    let in_a_stream = vec![stream(), chunk(&format!("data: {array}\n\n")), last_chunk()];
    let good = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]});
    for (what, act, streams) in [
        ("a status", answer(503, &json_type, &array), false),
        ("a status of a stream", answer(503, &json_type, &array), true),
        ("a good status", answer(200, &json_type, &array), false),
        ("a good status of a stream", answer(200, &json_type, &array), true),
        ("the first event", in_a_stream, true),
    ] {
        let upstream = Scripted::start(act).await;
        let other = Scripted::start(answer(200, &json_type, &good.to_string())).await;
        let target = |name: &str, url: String| json!({"name": name, "provider": "openai_compatible", "api_key": "${KEY}", "url": url, "model": "g"});
        let both = [target("a", upstream.url()), target("b", other.url())];
        let harness = super::Harness::of(&[("/llm/", &both), ("/alone/", &both[..1])]).await;
        let answer = harness.chat("/llm/", &json!({"stream": streams})).await;
        assert_eq!((answer.status, super::router(&answer)), (200, "/llm/b/"), "{what}: {}", answer.text());
        let page: Value = serde_json::from_slice(&harness.broker.get("/api/v1/calls").await.body).unwrap();
        assert_eq!(page["calls"][0]["attempts"][0]["class"], "overloaded", "{what}: {page}");
        let answer = harness.chat("/alone/", &json!({"stream": streams})).await;
        let text = unchunked(&answer);
        let said = text.strip_prefix("data: ").unwrap_or(&text);
        let said: Value = serde_json::from_str(said).unwrap();
        // What had a good status is no answer.
        if what.starts_with("a status") {
            assert_eq!(said, error, "{what}");
        } else {
            assert_eq!(said["error"]["code"], "all_targets_unavailable", "{what}");
        }
    }
}

#[tokio::test]
async fn a_client_of_messages_gets_bedrocks_errors_in_anthropics_form() {
    let messages = json!({"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    for (status, body, kind, message) in [
        (400, r#"{"message":"Malformed input"}"#, "invalid_request_error", "Malformed input"),
        (403, r#"{"Message":"User: arn:aws:iam::1:user/x"}"#, "permission_error", "User: arn:aws:iam::1:user/x"),
        (503, "<html>no</html>", "overloaded_error", "the model answered with status 503"),
    ] {
        let upstream = Scripted::start(answer(status, &[("content-type", "text/html")], body)).await;
        let target = json!({"name": "a", "provider": "bedrock", "region": "eu-central-1", "api_key": "${KEY}",
            "url": upstream.url(), "model": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"});
        let harness = super::Harness::of(&[("/llm/", &[target])]).await;
        let answer = harness.send("/llm/v1/messages", &messages).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/json")));
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said, json!({"type": "error", "error": {"type": kind, "message": message}}));
        let called = upstream.calls();
        let answer = harness.send_with("/llm/v1/messages", &[], "no json").await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &said["error"]["type"]), (400, &json!("invalid_request_error")), "{said}");
        assert_eq!(upstream.calls(), called);
    }
}

/// A stream that is translated is held back until it has content, and then passed on as it comes.
#[tokio::test]
async fn a_translated_stream_is_held_until_its_content_and_then_flows() {
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let event = |kind: &str, rest: &str| chunk(&format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n"));
    let start = event(
        "message_start",
        r#","message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#,
    );
    let begin = event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#);
    let delta = |text: &str| {
        event("content_block_delta", &format!(r#","index":0,"delta":{{"type":"text_delta","text":"{text}"}}"#))
    };
    let end = [
        event("content_block_stop", r#","index":0"#),
        event(
            "message_delta",
            r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}"#,
        ),
        event("message_stop", ""),
        last_chunk(),
    ];
    let wait = || Move::Await(std::sync::Arc::clone(&go));
    let mut act = vec![stream(), start, begin, wait(), delta("one"), wait(), delta("two")];
    act.extend(end);
    let upstream = Scripted::start(act).await;
    let target =
        json!({"name": "a", "provider": "anthropic", "api_key": "${KEY}", "url": upstream.url(), "model": "claude-x"});
    let harness = super::Harness::of(&[("/llm/", &[target])]).await;
    let mut open =
        http::Open::post(harness.relay, "/llm/chat/completions", &super::asking(&json!({"stream": true})).to_string())
            .await;
    upstream.called(1).await;
    assert_eq!(open.text(), "", "nothing is passed on before there is content");
    go.notify_one();
    open.until("\"content\":\"one\"").await;
    assert!(!open.text().contains("two"));
    go.notify_one();
    open.until("data: [DONE]").await;
    assert!(
        open.text().contains("\"content\":\"two\"") && open.text().contains("\"finish_reason\":\"stop\""),
        "{}",
        open.text()
    );
}

#[tokio::test]
async fn a_model_that_a_client_makes_up_takes_no_target_out() {
    let deployment =
        r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#;
    let bedrock = r#"{"message":"The provided model identifier is invalid."}"#;
    let unknown = r#"{"message":"Could not resolve the foundation model from the provided model identifier."}"#;
    let key = json!({"api_key": "k"});
    for (provider, settings, status, body) in [
        ("azure", json!({"api_version": "2024-06-01"}), 404, deployment),
        ("bedrock", json!({"region": "eu-central-1"}), 400, bedrock),
        ("bedrock", json!({"region": "eu-central-1"}), 404, unknown),
    ] {
        let upstreams =
            [Scripted::start(answer(status, &[], body)).await, Scripted::start(answer(status, &[], body)).await];
        let targets: Vec<Value> = upstreams
            .iter()
            .enumerate()
            .map(|(number, upstream)| {
                let mut target = json!({"name": format!("t{number}"), "provider": provider, "url": upstream.url()});
                for more in [&key, &settings] {
                    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                }
                target
            })
            .collect();
        let file = json!({"pools": [{"ingress": "/llm/", "targets": targets}], "health": {"consecutive": 1}});
        let harness = super::Harness::with(&file, &[]).await;
        let refused = harness.chat("/llm/", &json!({"model": "made-up"})).await;
        assert!(refused.status == status || refused.status == 503, "{provider}: {}", refused.text());
        harness.assert_nothing_disabled();
    }
}
