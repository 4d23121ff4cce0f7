//! What a translation costs. Ignored: a figure of a machine, not a property of the code.
//! `cargo test --release -p llm --test vendors -- --ignored --nocapture timing`

use std::hint::black_box;
use std::time::Instant;

use llm::translate::anthropic::{self, Stream};
use llm::translate::{ChatContext, StreamTranslator};

use super::options;

/// The best of many short rounds: what else runs on the machine is in the others.
fn nanoseconds(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..4000 {
        let start = Instant::now();
        for _ in 0..20 {
            run();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / 20.0);
    }
    best
}

/// A request of about 4 KB: a system prompt, two tools, a conversation with a call.
fn request() -> String {
    let text = "The quick brown fox jumps over the lazy dog, and it does so again.\\n".repeat(6);
    let tool = |name: &str| {
        format!(
            r#"{{"type":"function","function":{{"name":"{name}","description":"Looks something up.","parameters":{{"type":"object","properties":{{"city":{{"type":"string","description":"Where"}},"days":{{"type":"integer"}}}},"required":["city"],"additionalProperties":false}}}}}}"#
        )
    };
    let messages = [
        format!(r#"{{"role":"system","content":"{text}{text}"}}"#),
        format!(r#"{{"role":"user","content":"{text}"}}"#),
        r#"{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Paris\", \"days\": 3}"}}]}"#.to_owned(),
        format!(r#"{{"role":"tool","tool_call_id":"call_1","content":"{text}"}}"#),
        format!(r#"{{"role":"assistant","content":"{text}"}}"#),
        format!(r#"{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}}"#),
    ];
    format!(
        r#"{{"model":"gpt-4o","stream":true,"max_tokens":1000,"temperature":0.7,"tools":[{},{}],"messages":[{}]}}"#,
        tool("weather"),
        tool("clock"),
        messages.join(",")
    )
}

#[test]
#[ignore = "prints figures"]
fn timing() {
    let request = request();
    let options = options();
    let whole = nanoseconds(|| {
        black_box(anthropic::request(black_box(request.as_bytes()), &options).unwrap());
    });
    let check = nanoseconds(|| {
        black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(request.as_bytes())).unwrap());
    });
    println!("a request of {} bytes: {whole:.0} ns, of which checking that it is JSON {check:.0} ns", request.len());

    let start = b"data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n\
        data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let text = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello there\"}}\n\n";
    let mut stream = Stream::new(ChatContext::default(), 1);
    let mut out = Vec::new();
    stream.push(start, &mut out).unwrap();
    let event = nanoseconds(|| {
        out.clear();
        stream.push(black_box(text), &mut out).unwrap();
    });
    println!("a text event of a stream: {event:.0} ns");

    let start = b"data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\"}}\n\n\
        data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\",\"input\":{}}}\n\n\
        data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":[0\"}}\n\n";
    let piece = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\",\\\"Paris\\\"\"}}\n\n";
    let mut stream = Stream::new(ChatContext::default(), 1);
    stream.push(start, &mut out).unwrap();
    let event = nanoseconds(|| {
        out.clear();
        stream.push(black_box(piece), &mut out).unwrap();
    });
    println!("an event with a piece of a tool call: {event:.0} ns");
}
