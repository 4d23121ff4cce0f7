//! Bedrock's Converse: what it refuses and what it answers. Source: botocore's service model `bedrock-runtime`, and
//! docs.aws.amazon.com/bedrock.

use serde_json::{Value, json};

use super::reply::{Reply, RequestedReply, reply};
use super::{
    Answer, INPUT_TOKENS, Kind, OUTPUT_TOKENS, Refusal, bedrock, frames, is_word, list, refuse, text, unknown,
};

const FIELDS: &[&str] = &[
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "inferenceConfig",
    "messages",
    "outputConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
    "system",
    "toolConfig",
];

pub(super) fn answer(kind: Kind, body: &Value, stream: bool) -> Result<Answer, Refusal> {
    check(body)?;
    let reply = reply(kind, &asked(body));
    if stream {
        let frames = events(&reply).iter().map(|(kind, payload)| frames::event(kind, payload)).collect();
        return Ok(Answer::stream(bedrock::STREAM, frames));
    }
    let texts = (!reply.text.is_empty()).then(|| json!({"text": reply.text.concat()}));
    let calls = reply
        .calls
        .iter()
        .map(|call| json!({"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}));
    let content: Vec<_> = texts.into_iter().chain(calls).collect();
    Ok(Answer::json(
        200,
        &json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason(&reply),
            "usage": usage(), "metrics": {"latencyMs": 7}}),
    ))
}

fn usage() -> Value {
    json!({"inputTokens": INPUT_TOKENS, "outputTokens": OUTPUT_TOKENS, "totalTokens": INPUT_TOKENS + OUTPUT_TOKENS})
}

const fn reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "end_turn" } else { "tool_use" }
}

fn check(body: &Value) -> Result<(), Refusal> {
    if let Some(name) = unknown(body, FIELDS) {
        return refuse(400, format!("#: extraneous key [{name}] is not permitted"));
    }
    let inference = &body["inferenceConfig"];
    if inference["temperature"].as_f64().is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return refuse(400, "Value at 'inferenceConfig.temperature' failed to satisfy constraint");
    }
    for (number, tool) in list(&body["toolConfig"], "tools").iter().enumerate() {
        let tool = &tool["toolSpec"];
        if !is_word(text(tool, "name"), 64) || tool["inputSchema"]["json"]["type"] != "object" {
            return refuse(400, format!("The value at toolConfig.tools.{number}.toolSpec is invalid."));
        }
    }
    check_turns(body)
}

/// Turns alternate, and each call has its result in the next turn.
fn check_turns(body: &Value) -> Result<(), Refusal> {
    let turns = list(body, "messages");
    let mut calls: Vec<&str> = Vec::new();
    for (number, turn) in turns.iter().enumerate() {
        let expected = if number % 2 == 0 { "user" } else { "assistant" };
        if turn["role"] != expected {
            return refuse(
                400,
                "A conversation must alternate between user and assistant roles, and start with a user message.",
            );
        }
        let blocks = list(turn, "content");
        if blocks.is_empty() {
            return refuse(400, format!("The content field in the Message object at messages.{number} is empty."));
        }
        for block in blocks {
            if block.get("text").is_some_and(|text| text.as_str().unwrap_or_default().trim().is_empty()) {
                return refuse(
                    400,
                    format!("The text field in the ContentBlock object at messages.{number}.content is blank."),
                );
            }
        }
        let has_tools = blocks.iter().any(|block| block.get("toolUse").is_some() || block.get("toolResult").is_some());
        if has_tools && list(&body["toolConfig"], "tools").is_empty() {
            return refuse(
                400,
                "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
            );
        }
        let ids = |name: &str, field: &str| -> Vec<&str> {
            blocks
                .iter()
                .filter_map(|block| block.get(name))
                .map(|block| block[field].as_str().unwrap_or_default())
                .collect()
        };
        let results = ids("toolResult", "toolUseId");
        if results.len() != calls.len() || calls.iter().any(|id| !results.contains(id)) {
            return refuse(
                400,
                format!(
                    "Expected toolResult blocks at messages.{number}.content for the following Ids: {}",
                    calls.join(", ")
                ),
            );
        }
        calls = ids("toolUse", "toolUseId");
        if calls.iter().any(|id| !is_word(id, 64)) {
            return refuse(400, format!("The toolUseId at messages.{number} is invalid."));
        }
    }
    if turns.last().is_none_or(|last| last["role"] != "user") {
        return refuse(400, "A conversation must end with a user message.");
    }
    Ok(())
}

fn asked(body: &Value) -> RequestedReply<'_> {
    let tool = list(&body["toolConfig"], "tools").first().map(|tool| text(&tool["toolSpec"], "name"));
    let last = list(body, "messages").last();
    RequestedReply {
        tool,
        one_call: false,
        has_results: last
            .is_some_and(|last| list(last, "content").iter().any(|block| block.get("toolResult").is_some())),
        // A schema comes as a text within `outputConfig`; what it says does not matter here.
        schema: None,
    }
}

/// The events of a stream, by their types.
fn events(reply: &Reply) -> Vec<(&'static str, Value)> {
    let mut events = vec![("messageStart", json!({"role": "assistant"}))];
    let mut index = 0;
    if !reply.text.is_empty() {
        let delta = |text: &String| ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": text}}));
        events.extend(reply.text.iter().map(delta));
        events.push(("contentBlockStop", json!({"contentBlockIndex": 0})));
        index += 1;
    }
    for call in &reply.calls {
        let start = json!({"toolUse": {"toolUseId": call.id, "name": call.name}});
        events.push(("contentBlockStart", json!({"contentBlockIndex": index, "start": start})));
        events.extend(call.halves().map(|half| {
            ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": {"toolUse": {"input": half}}}))
        }));
        events.push(("contentBlockStop", json!({"contentBlockIndex": index})));
        index += 1;
    }
    events.push(("messageStop", json!({"stopReason": reason(reply)})));
    events.push(("metadata", json!({"usage": usage(), "metrics": {"latencyMs": 7}})));
    events
}
