//! Usages that cannot be believed, and streams that break off before their vendor has counted: what stands in the record.

use serde_json::{Value, json};

use super::super::support::http::Open;
use super::super::support::metrics::Scrape;
use super::super::support::scripted::{Act, Scripted, answer, chunk, last_chunk, stream};
use super::usage::record;
use super::{CHAT, Harness, KEY};

const WHOLE: &str = r#"{"model":"mine","messages":[{"role":"user","content":"hi"}]}"#;
const STREAMED: &str = r#"{"model":"mine","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// A relay before one target with these settings besides its address.
async fn before(vendor: &Scripted, settings: &Value) -> Harness {
    let mut target = json!({"name": "a", "url": vendor.url(), "price": {"input": 10, "output": 10, "cache_read": 1}});
    target.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Harness::of(&json!({"pools": [{"ingress": "/llm/", "targets": [target]}]}).to_string()).await
}

fn keyed() -> Value {
    json!({"headers": {"Authorization": ["Bearer ${KEY}"]}})
}

fn anthropic() -> Value {
    json!({"provider": "anthropic", "model": "claude-sonnet-4-5", "api_key": "${KEY}"})
}

fn sent(events: &[Value]) -> Act {
    let named = |event: &Value| match event["type"].as_str() {
        Some(name) => chunk(&format!("event: {name}\ndata: {event}\n\n")),
        None => chunk(&format!("data: {event}\n\n")),
    };
    [stream()].into_iter().chain(events.iter().map(named)).collect()
}

fn message(usage: &Value, last: &Value) -> [Value; 6] {
    [
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [],
            "model": "claude-sonnet-4-5", "stop_reason": null, "usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x".repeat(40)}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last}),
        json!({"type": "message_stop"}),
    ]
}

async fn assert_unknown_and_counted(name: &str, (settings, path, body): (&Value, &str, &str), act: Act) {
    let vendor = Scripted::start(act).await;
    let relay = before(&vendor, settings).await;
    relay.send(path, &[], body).await;
    let record = record(&relay).await;
    assert_eq!(
        (&record["status"], &record["usage"], &record["cost"]),
        (&json!(200), &json!(null), &json!(null)),
        "{name}: {record}"
    );
    let metrics = Scrape::of(&relay.broker).await;
    assert_eq!(metrics.series("gecholog_broker_invalid_usages_total", &[]), Some(1.0), "{name}");
}

#[tokio::test]
async fn a_usage_that_cannot_be_believed_is_unknown_and_counted_once_wherever_it_comes() {
    let content = json!({"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}]});
    let ended = |events: &[Value]| [sent(events), vec![chunk("data: [DONE]\n\n"), last_chunk()]].concat();
    let good = json!({"input_tokens": 5, "output_tokens": 1});
    for usage in
        [json!({"prompt_tokens": -5, "completion_tokens": 1}), json!("12"), json!({}), json!({"prompt_tokens": 1e30})]
    {
        let plain = (&keyed(), CHAT, WHOLE);
        let whole = |filler: usize| {
            json!({"choices": [{"message": {"content": "x".repeat(filler)}}], "usage": usage}).to_string()
        };
        assert_unknown_and_counted("whole", plain, answer(200, &[], &whole(5))).await;
        assert_unknown_and_counted("longer than what is held", plain, answer(200, &[], &whole(200_000))).await;
        let events = [content.clone(), json!({"choices": [], "usage": usage})];
        assert_unknown_and_counted("stream", (&keyed(), CHAT, STREAMED), ended(&events)).await;
    }
    let hostile = json!({"input_tokens": -5, "output_tokens": -7});
    let native = (&keyed(), "/llm/v1/messages", STREAMED);
    let translated = (&anthropic(), CHAT, STREAMED);
    for (first, last) in [(&hostile, &good), (&good, &hostile)] {
        let act = [sent(&message(first, last)), vec![last_chunk()]].concat();
        assert_unknown_and_counted("Anthropic's stream", native, act.clone()).await;
        assert_unknown_and_counted("a translated stream", translated, act).await;
    }
    let whole = json!({"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn", "usage": hostile});
    assert_unknown_and_counted(
        "a translated answer",
        (&anthropic(), CHAT, WHOLE),
        answer(200, &[], &whole.to_string()),
    )
    .await;
    let converse = json!({"provider": "bedrock", "model": "amazon.nova-lite-v1:0", "api_key": "${KEY}"});
    let whole = json!({"output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 5, "outputTokens": "7", "totalTokens": 12}});
    assert_unknown_and_counted("Converse's answer", (&converse, CHAT, WHOLE), answer(200, &[], &whole.to_string()))
        .await;
}

/// Cached input is a tenth of the price, so what was counted is not to be lost.
#[tokio::test]
async fn what_a_broken_stream_had_counted_is_kept_and_the_rest_estimated() {
    let usage = json!({"input_tokens": 25, "cache_read_input_tokens": 1000, "output_tokens": 1});
    for (settings, path) in [(keyed(), "/llm/v1/messages"), (anthropic(), CHAT)] {
        let vendor = Scripted::start(sent(&message(&usage, &usage)[..3])).await;
        let relay = before(&vendor, &settings).await;
        Open::post(relay.relay, path, STREAMED).await.closed().await;
        let record = record(&relay).await;
        let used = &record["usage"];
        assert_eq!(
            (&used["input_uncached"], &used["cache_read"], &used["output"], &used["estimated"]),
            (&json!(25), &json!(1000), &json!(10), &json!(true)),
            "{path}: {record}"
        );
        assert!(!record.to_string().contains(KEY));
    }
}
