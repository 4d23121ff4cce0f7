//! Usages that cannot be believed, and streams that break off before their vendor has counted: what stands in the record.

use serde_json::{Value, json};

use super::super::support::http::Open;
use super::super::support::metrics::Scrape;
use super::super::support::scripted::{Act, Move, Scripted, answer, chunk, last_chunk, stream};
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
    let whole = json!({"output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 5, "outputTokens": "7", "totalTokens": 12}});
    assert_unknown_and_counted("Converse's answer", (&bedrock(), CHAT, WHOLE), answer(200, &[], &whole.to_string()))
        .await;
}

/// A frame of AWS's event streams: an event of this type.
fn frame(kind: &str, payload: &Value) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
    };
    let size = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let header = |name: &str, value: &str| {
        let (name_length, length) = (u8::try_from(name.len()).unwrap(), u16::try_from(value.len()).unwrap());
        [&[name_length][..], name.as_bytes(), &[7], &length.to_be_bytes(), value.as_bytes()].concat()
    };
    let headers = [header(":message-type", "event"), header(":event-type", kind)].concat();
    let payload = payload.to_string().into_bytes();
    let mut frame = [size(16 + headers.len() + payload.len()), size(headers.len())].concat();
    frame.extend(crc(&frame).to_be_bytes());
    frame.extend([headers, payload].concat());
    frame.extend(crc(&frame).to_be_bytes());
    frame
}

fn framed(frames: &[Vec<u8>]) -> Act {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |frame: &Vec<u8>| [format!("{:x}\r\n", frame.len()).as_bytes(), frame, b"\r\n"].concat();
    [head.into()].into_iter().chain(frames.iter().map(chunk)).map(Move::Send).collect()
}

fn converse(usage: &Value) -> [Vec<u8>; 5] {
    [
        frame("messageStart", &json!({"role": "assistant"})),
        frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": "x".repeat(40)}})),
        frame("contentBlockStop", &json!({"contentBlockIndex": 0})),
        frame("messageStop", &json!({"stopReason": "end_turn"})),
        frame("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 7}})),
    ]
}

fn bedrock() -> Value {
    json!({"provider": "bedrock", "model": "amazon.nova-lite-v1:0", "api_key": "${KEY}"})
}

/// The stream passes as it is, or is translated.
#[tokio::test]
async fn a_stream_of_frames_is_counted_by_its_metadata_and_estimated_without() {
    let counted = json!({"inputTokens": 25, "cacheReadInputTokens": 1000, "outputTokens": 7, "totalTokens": 1032});
    let frames = converse(&counted);
    let input = json!(STREAMED.len().div_ceil(4));
    for (settings, path) in [(keyed(), "/llm/model/amazon.nova-lite-v1%3A0/converse-stream"), (bedrock(), CHAT)] {
        for (name, act, expected) in [
            ("whole", [framed(&frames), vec![last_chunk()]].concat(), json!([25, 1000, 7, false])),
            ("no metadata", [framed(&frames[..4]), vec![last_chunk()]].concat(), json!([input, 0, 10, true])),
            ("cut off", framed(&frames[..2]), json!([input, 0, 10, true])),
        ] {
            let vendor = Scripted::start(act).await;
            let relay = before(&vendor, &settings).await;
            let open = Open::post(relay.relay, path, STREAMED).await;
            if name == "cut off" {
                open.closed().await;
            } else {
                let mut open = open;
                open.until("\r\n0\r\n\r\n").await;
            }
            let record = record(&relay).await;
            let usage = &record["usage"];
            let found = json!([usage["input_uncached"], usage["cache_read"], usage["output"], usage["estimated"]]);
            assert_eq!(found, expected, "{path} {name}: {record}");
        }
        let hostile = json!({"inputTokens": 25, "outputTokens": -7, "totalTokens": 32});
        let act = [framed(&converse(&hostile)), vec![last_chunk()]].concat();
        assert_unknown_and_counted("frames", (&settings, path, STREAMED), act).await;
    }
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
