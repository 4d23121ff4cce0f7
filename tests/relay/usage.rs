//! Streams that are asked what they used although their client did not ask: what goes out, what the client sees, and targets that
//! do not take it.

use serde_json::{Value, json};

use super::super::support::http::Answer;
use super::super::support::scripted::{Act, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::soon;
use super::{CHAT, Harness, KEY};

const STREAMED: &str = r#"{"model":"mine", "stream":true , "messages":[]}"#;
const ASKING: &str = r#"{"model":"mine", "stream":true,"stream_options":{"include_usage":true} , "messages":[]}"#;
const USAGE: &str = r#""usage":{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17}"#;
const UNKNOWN: &str =
    r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}"#;

/// What a vendor that counts streams only when asked says to this body.
fn streamed(body: &str) -> Act {
    let word = chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n");
    let usage = chunk(&format!("data: {{\"choices\":[],{USAGE}}}\n\n"));
    let asked = body.contains("\"include_usage\":true").then_some(usage);
    [stream(), word].into_iter().chain(asked).chain([chunk("data: [DONE]\n\n"), last_chunk()]).collect()
}

async fn vendor() -> Scripted {
    Scripted::answering(|call| streamed(&call.body)).await
}

/// A vendor that does not know the field.
async fn old_vendor() -> Scripted {
    Scripted::answering(|call| match call.body.contains("stream_options") {
        true => answer(400, &[], UNKNOWN),
        false => streamed(&call.body),
    })
    .await
}

/// A pools file whose first target has these settings besides an address.
fn pools(upstreams: &[(&Scripted, Value)]) -> String {
    let targets = ["a", "b"].iter().zip(upstreams).map(|(name, (upstream, settings))| {
        let mut target = json!({"name": name, "url": upstream.url(), "headers": {"Authorization": ["Bearer ${KEY}"]}});
        target.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        target
    });
    let targets: Vec<_> = targets.collect();
    json!({"pools": [{"ingress": "/llm/", "strategy": {"mode": "fallback"}, "targets": targets}]}).to_string()
}

fn priced() -> Value {
    json!({"price": {"input": 1, "output": 2}})
}

/// The record of the only call.
pub(super) async fn record(relay: &Harness) -> Value {
    soon("the record", async {
        loop {
            let page: Value = serde_json::from_slice(&relay.broker.get("/api/v1/calls").await.body).unwrap();
            if let Some(record) = page["calls"].as_array().and_then(|calls| calls.first()) {
                break record.clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn assert_hidden(answer: &Answer) {
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.contains("hello") && text.contains("[DONE]") && !text.contains("usage"), "{text}");
}

#[tokio::test]
async fn a_stream_is_asked_where_a_price_or_a_budget_needs_it_and_its_client_sees_no_more_than_it_asked_for() {
    for settings in [priced(), json!({"budget": {"tpm": 100_000}})] {
        let vendor = vendor().await;
        let relay = Harness::of(&pools(&[(&vendor, settings.clone())])).await;
        assert_hidden(&relay.send(CHAT, &[], STREAMED).await);
        assert_eq!(vendor.last().body, ASKING, "{settings}");
        let record = record(&relay).await;
        assert_eq!(
            (&record["usage"]["input_uncached"], &record["usage"]["output"]),
            (&json!(12), &json!(5)),
            "{record}"
        );
        assert!(record["usage"].get("estimated").is_none_or(|estimated| estimated == false), "{record}");
        if settings.get("price").is_some() {
            assert_eq!(record["cost"]["nano_usd"], 22_000, "{record}");
        }

        let own = relay.send(CHAT, &[], ASKING).await;
        assert_eq!(vendor.last().body, ASKING);
        assert!(own.text().contains(USAGE), "its client asked: {}", own.text());
    }
}

#[tokio::test]
async fn the_bytes_stay_as_they_are_where_nothing_needs_the_usage() {
    let vendor = vendor().await;
    let relay = Harness::of(&pools(&[(&vendor, json!({}))])).await;
    let known = STREAMED.replace("mine", "gpt-4o");
    for body in [STREAMED, &known] {
        assert_hidden(&relay.send(CHAT, &[], body).await);
        assert_eq!(vendor.last().body, body);
    }
    assert_eq!(record(&relay).await["usage"]["estimated"], true);

    let priced = Harness::of(&pools(&[(&vendor, priced())])).await;
    for (path, body) in [
        (CHAT, r#"{"model":"mine","messages":[]}"#),
        ("/llm/responses", STREAMED),
        ("/llm/messages", STREAMED),
        (CHAT, r#"{"model":"mine","stream":"true"}"#),
    ] {
        priced.send(path, &[], body).await;
        assert_eq!(vendor.last().body, body, "{path}");
    }
}

#[tokio::test]
async fn a_file_of_calls_and_a_known_price_of_a_named_provider_need_the_usage() {
    let vendor = vendor().await;
    let file = std::env::temp_dir().join(format!("broker-usage-{}.jsonl", std::process::id()));
    let relay = Harness::with(&pools(&[(&vendor, json!({}))]), |setup| setup.set("BROKER_CALLS", &file)).await;
    assert_hidden(&relay.send(CHAT, &[], STREAMED).await);
    assert_eq!(vendor.last().body, ASKING);
    drop(relay);
    std::fs::remove_file(&file).unwrap();

    let target = json!({"name": "a", "provider": "openai", "url": vendor.url(), "api_key": "${KEY}"});
    let pool = json!({"ingress": "/llm/", "targets": [target]});
    let relay = Harness::of(&json!({"pools": [pool]}).to_string()).await;
    for (model, asks) in [("gpt-4o", true), ("nobody-knows-this", false)] {
        let body = STREAMED.replace("mine", model);
        assert_hidden(&relay.send(CHAT, &[], &body).await);
        assert_eq!(vendor.last().body.contains("include_usage"), asks, "{model}");
        assert!(vendor.last().head.contains(&format!("authorization: bearer {KEY}")));
    }
}

#[tokio::test]
async fn a_target_that_does_not_take_the_field_is_sent_the_request_once_without_it_and_never_asked_again() {
    let (old, other) = (old_vendor().await, vendor().await);
    let relay = Harness::of(&pools(&[(&old, priced()), (&other, priced())])).await;
    let first = relay.send(CHAT, &[], STREAMED).await;
    assert_hidden(&first);
    assert_eq!((first.header("x-broker-router"), first.header("x-broker-attempts")), (Some("/llm/a/"), Some("1")));
    assert_eq!((old.calls(), other.calls()), (2, 0));
    assert_eq!(old.last().body, STREAMED);
    let record = record(&relay).await;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{record}");
    assert_eq!((&record["attempts"][0]["status"], &record["usage"]["estimated"]), (&json!(200), &json!(true)));

    assert_hidden(&relay.send(CHAT, &[], STREAMED).await);
    assert_eq!((old.calls(), other.calls()), (3, 0));
    assert!(relay.disabled().await.is_empty());

    let own = relay.send(CHAT, &[], ASKING).await;
    assert_eq!((own.status, old.calls()), (400, 4), "what the client asks itself is its own mistake");
}

#[tokio::test]
async fn a_request_that_is_refused_without_the_field_too_says_nothing_about_the_target() {
    const BAD: &str = r#"{"model":"mine", "stream":true , "messages":[{"role":"user","content":"stream_options"}]}"#;
    let target = Scripted::answering(|call| match call.body.contains("\"content\"") {
        true => answer(400, &[], UNKNOWN),
        false => streamed(&call.body),
    })
    .await;
    let relay = Harness::of(&pools(&[(&target, priced())])).await;
    let refused = relay.send(CHAT, &[], BAD).await;
    assert_eq!((refused.status, target.calls()), (400, 2));
    assert_hidden(&relay.send(CHAT, &[], STREAMED).await);
    assert_eq!(target.calls(), 3);
    assert!(target.last().body.contains("include_usage"), "{}", target.last().body);
}

/// Ollama's own API streams lines of JSON; Bedrock counts in headers what a model's answer does not; some servers name no type.
#[tokio::test]
async fn what_is_counted_in_other_forms_than_json_is_recorded() {
    let lines = |size: usize| {
        let line = json!({"model": "llama3.2", "message": {"role": "assistant", "content": "hello"}, "done": false})
            .to_string();
        let last = r#"{"model":"llama3.2","message":{"role":"assistant","content":""},"done":true,"prompt_eval_count":12,"eval_count":5}"#;
        format!("{}{last}\n", format!("{line}\n").repeat(size))
    };
    let headers = [("X-Amzn-Bedrock-Input-Token-Count", "12"), ("X-Amzn-Bedrock-Output-Token-Count", "5")];
    let mistral = |size: usize| json!({"outputs": [{"text": "x".repeat(size), "stop_reason": "stop"}]}).to_string();
    let ndjson = [("Content-Type", "application/x-ndjson")];
    let untyped = format!(r#"{{"choices":[{{"message":{{"content":"hello"}}}}],{USAGE}}}"#);
    let events = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"hello\"}}}}]}}\n\ndata: {{\"choices\":[],{USAGE}}}\n\ndata: [DONE]\n\n"
    );
    for (what, path, act) in [
        ("a short stream of events that is called JSON", CHAT, answer(200, &[], &events)),
        ("a short stream", "/llm/api/chat", answer(200, &ndjson, &lines(2))),
        ("a long stream", "/llm/api/chat", answer(200, &ndjson, &lines(5_000))),
        ("a short answer", "/llm/model/mistral/invoke", answer(200, &headers, &mistral(10))),
        ("a long answer", "/llm/model/mistral/invoke", answer(200, &headers, &mistral(300_000))),
        ("an answer without the type of JSON", CHAT, answer(200, &[("Content-Type", "text/plain")], &untyped)),
    ] {
        let vendor = Scripted::start(act).await;
        let relay = Harness::of(&pools(&[(&vendor, priced())])).await;
        assert_eq!(relay.send(path, &[], r#"{"messages":[]}"#).await.status, 200, "{what}");
        let record = record(&relay).await;
        let usage = &record["usage"];
        assert_eq!(
            (&usage["input_uncached"], &usage["output"], &usage["estimated"]),
            (&json!(12), &json!(5), &json!(false)),
            "{what}: {record}"
        );
        assert_eq!(record["cost"]["nano_usd"], 22_000, "{what}: {record}");
    }
}
