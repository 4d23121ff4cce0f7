//! What translating and signing cost: `cargo test --release -p llm figures -- --ignored --nocapture`. `make bench ARGS="--only translate"` has the rows with goals.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use llm::Protocol;
use llm::provider::{Provider, Settings, endpoint, fields};
use llm::sigv4;
use llm::stream::StreamState;
use llm::translate::converse::{self, AnswerContext, AnswerIdentity, ConverseStream};
use llm::translate::{StreamTranslator, Unsupported};
use serde_json::json;

use crate::golden::converse::frame;

/// The median of many rounds, so that a busy machine counts little.
fn cost(rounds: usize, calls: u32, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| work());
            start.elapsed() / calls
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

/// A request of about 4 KB with a system prompt, two tools with schemas, and a history with calls.
fn request() -> Vec<u8> {
    let properties = json!({"city": {"type": "string", "description": "The name of the city"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}, "days": {"type": "integer", "minimum": 1}});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "Gives the weather of a city for a number of days.", "parameters": {"type": "object", "properties": properties, "required": ["city"]}}});
    let prompt =
        "You are a careful assistant. Answer in one paragraph, name your sources and say what you do not know.\n"
            .repeat(16);
    let mut messages = vec![json!({"role": "system", "content": prompt})];
    for turn in 0..3 {
        let id = format!("call_{turn}");
        messages.extend([
            json!({"role": "user", "content": "What will the weather be in \"Cologne\" tomorrow, and what should I wear?"}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": {"name": "forecast", "arguments": "{\"city\": \"Cologne\", \"unit\": \"celsius\", \"days\": 2}"}}]}),
            json!({"role": "tool", "tool_call_id": id, "content": "{\"temperature\": 12, \"rain\": true, \"wind\": \"15 km/h from the west\"}"}),
            json!({"role": "assistant", "content": "It will rain at about 12 degrees, with some wind from the west: take a coat."}),
        ]);
    }
    messages.push(json!({"role": "user", "content": "And in Bonn?"}));
    serde_json::to_vec(&json!({"model": "amazon.nova-lite-v1:0", "messages": messages, "tools": [tool("forecast"), tool("history")], "max_tokens": 500, "temperature": 0.2, "stream": true})).unwrap()
}

#[test]
#[ignore = "it measures"]
fn figures() {
    let body = request();
    assert!((3_800..4_600).contains(&body.len()), "{}", body.len());
    let translate = cost(101, 200, || {
        black_box(converse::request(black_box(&body), Unsupported::Drop).unwrap());
    });
    println!("request of {} bytes to Converse: {translate:?}", body.len());
    let event = frame(
        &[(":event-type", "contentBlockDelta"), (":content-type", "application/json"), (":message-type", "event")],
        br#"{"contentBlockIndex":0,"delta":{"text":" and some words"},"p":"abcdefghijklmnopqrstuvwxyz"}"#,
    );
    let identity = AnswerIdentity { id: "chatcmpl-1", created: 1_796_000_000 };
    let (mut stream, mut out) = (ConverseStream::new(AnswerContext::default(), identity), Vec::new());
    let per_event = cost(101, 2_000, || {
        out.clear();
        stream.push(black_box(&event), &mut out).unwrap();
        black_box(&out);
    });
    println!("event of {} bytes to a chunk: {per_event:?}", event.len());
    let answer = br#"{"metrics":{"latencyMs":551},"output":{"message":{"content":[{"text":"It will rain at about 12 degrees, with some wind from the west: take a coat."},{"toolUse":{"toolUseId":"tooluse_1","name":"forecast","input":{"city":"Bonn","days":2}}}],"role":"assistant"}},"stopReason":"tool_use","usage":{"inputTokens":1100,"outputTokens":50,"totalTokens":1150}}"#;
    let whole = cost(101, 200, || {
        black_box(converse::answer(black_box(answer), &AnswerContext::default(), identity).unwrap());
    });
    println!("whole answer of {} bytes: {whole:?}", answer.len());
    let chunk = b"data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\"created\":1796000000,\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" dough\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
    let mut state = StreamState::new(Protocol::OpenAiChat);
    let watched = cost(101, 2_000, || {
        black_box(state.push(black_box(chunk)));
    });
    println!("stream event of {} bytes: {watched:?}", chunk.len());
    let call = endpoint::Call {
        operation: llm::provider::Operation::Chat,
        model: "amazon.nova-lite-v1:0",
        stream: true,
        path: "",
    };
    let settings = Settings { region: Some("eu-central-1"), ..Settings::default() };
    let place = cost(101, 200, || {
        black_box(endpoint::endpoint(Provider::Bedrock, &settings, black_box(&call)).unwrap());
    });
    println!("endpoint: {place:?}");
    let url = endpoint::endpoint(Provider::Bedrock, &settings, &call).unwrap().url;
    let sign = cost(101, 200, || {
        let request = sigv4::Request {
            method: "POST",
            url: &url,
            headers: &[("content-type", "application/json")],
            body_sha256: &sigv4::sha256_hex(black_box(&body)),
            region: "eu-central-1",
            service: sigv4::BEDROCK,
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let credentials = sigv4::Credentials {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "secret",
            session_token: Some("token"),
        };
        black_box(sigv4::sign(&request, &credentials).unwrap());
    });
    println!("signature with the hash of a body of {} bytes: {sign:?}", body.len());
    let rules = endpoint::endpoint(Provider::Gemini, &Settings::default(), &call).unwrap().fields;
    let filter = cost(101, 200, || {
        black_box(fields::filter(black_box(&body), &rules, Unsupported::Drop).unwrap());
    });
    println!("filter of {} bytes, nothing removed: {filter:?}", body.len());
    if !cfg!(debug_assertions) {
        assert!(translate <= Duration::from_micros(10) && per_event <= Duration::from_micros(2));
    }
}
