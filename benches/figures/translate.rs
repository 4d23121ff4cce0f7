//! What a translation costs: a request of 4 KB as it goes out, and one event of the answer's stream on its way back.

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use llm::provider::{
    AnswerId, ClientRequest, ModelFacts, Operation, Prepared, Provider, TargetModel, TargetSettings, prepare,
};
use llm::translate::{StreamTranslator, Unsupported};
use serde_json::json;

use crate::Effort;
use crate::stats::nanos;
use crate::table::{Figure, Row, Target};

/// A vendor whose protocol is another than OpenAI's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vendor {
    name: &'static str,
    provider: Provider,
    model: &'static str,
    /// What its stream begins with.
    begin: &'static [u8],
    /// An event with a piece of the text.
    event: &'static [u8],
}

pub(crate) const ANTHROPIC: Vendor = Vendor {
    name: "Anthropic",
    provider: Provider::Anthropic,
    model: "claude-opus-4-6",
    begin: b"data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-opus-4-6\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    event: b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" and some words\"}}\n\n",
};

pub(crate) const CONVERSE: Vendor = Vendor {
    name: "Bedrock Converse",
    provider: Provider::Bedrock,
    model: "amazon.nova-lite-v1:0",
    begin: b"",
    // {"contentBlockIndex":0,"delta":{"text":" and some words"},"p":"abcdefghijklmnopqrstuvwxyz"}, with its checksums.
    event: include_bytes!("converse_event.bin"),
};

/// All rows of translations.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for vendor in [ANTHROPIC, CONVERSE] {
        let body = request(vendor)?;
        let took = nanos(effort, || translated(vendor, black_box(&body)).map(|sent| sent.body.len()));
        let row = Row::new(format!("a request of {} bytes for {}", body.len(), vendor.name), Figure::Time(took));
        rows.push(row.target(Target::AtMost(Figure::Time(10_000.0))));
        let (mut stream, mut out) = stream(vendor)?;
        let took = nanos(effort, || {
            out.clear();
            stream.push(black_box(vendor.event), &mut out)
        });
        ensure!(!out.is_empty(), "{} gave no chunk", vendor.name);
        let row = Row::new(format!("one event of its stream, {} bytes", vendor.event.len()), Figure::Time(took));
        rows.push(row.target(Target::AtMost(Figure::Time(2_000.0))));
    }
    Ok(rows)
}

/// A request of about 4 KB with a system prompt, two tools with schemas, and a history with calls.
pub(crate) fn request(vendor: Vendor) -> Result<Vec<u8>> {
    let properties = json!({"city": {"type": "string", "description": "The name of the city"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}, "days": {"type": "integer", "minimum": 1}});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "Gives the weather of a city for a number of days.", "parameters": {"type": "object", "properties": properties, "required": ["city"]}}});
    let prompt =
        "You are a careful assistant. Answer in one paragraph, name your sources and say what you do not know.\n";
    let mut messages = vec![json!({"role": "system", "content": prompt.repeat(16)})];
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
    let request = json!({"model": vendor.model, "messages": messages, "tools": [tool("forecast"), tool("history")], "max_tokens": 500, "temperature": 0.2, "stream": true});
    let body = serde_json::to_vec(&request)?;
    ensure!((3_800..4_600).contains(&body.len()), "it has {} bytes", body.len());
    Ok(body)
}

/// The request as it goes out.
fn translated(vendor: Vendor, body: &[u8]) -> Result<Prepared<'_>> {
    let target = TargetModel {
        provider: vendor.provider,
        settings: TargetSettings { region: Some("eu-central-1".to_owned()), ..TargetSettings::default() },
        unsupported: Unsupported::Drop,
    };
    let asked = ClientRequest {
        operation: Operation::Chat,
        path: "chat/completions",
        body,
        anthropic_version: None,
        anthropic_beta: Vec::new(),
    };
    Ok(prepare(&target, &asked, |_| ModelFacts::default())?)
}

/// What translates a stream that has begun, and memory for its chunks.
pub(crate) fn stream(vendor: Vendor) -> Result<(Box<dyn StreamTranslator>, Vec<u8>)> {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 1_796_000_000 };
    let stream = translated(vendor, &request(vendor)?)?.answer.stream(&id);
    let mut stream = stream.context("the stream passes as it is")?;
    let mut out = Vec::new();
    stream.push(vendor.begin, &mut out)?;
    Ok((stream, out))
}

/// Translates the request this many times.
pub(crate) fn repeat_request(vendor: Vendor, times: u64) -> Result<()> {
    let body = request(vendor)?;
    for _ in 0..times {
        black_box(translated(vendor, black_box(&body))?);
    }
    Ok(())
}

/// Translates the event this many times.
pub(crate) fn repeat_event(vendor: Vendor, times: u64) -> Result<()> {
    let (mut stream, mut out) = stream(vendor)?;
    for _ in 0..times {
        out.clear();
        stream.push(black_box(vendor.event), &mut out)?;
    }
    Ok(())
}
