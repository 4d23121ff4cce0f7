//! Anthropic's Messages: its own API, and what the clouds take of it. Source: platform.claude.com/docs/en/api, and the types of the
//! vendor's SDK (`anthropic` 2.14.0, PyPI).

use serde_json::{Value, json};

use super::reply::{Reply, RequestedReply, reply};
use super::{Answer, Call, INPUT_TOKENS, Kind, OUTPUT_TOKENS, Refusal, State, is_word, list, refuse, text, unknown};

/// What stands around a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    /// Anthropic's API; `is_new` is its version 2026-10-21.
    Api {
        is_new: bool,
    },
    Bedrock,
    Vertex,
}

const FIELDS: &[&str] = &[
    "cache_control",
    "container",
    "max_tokens",
    "messages",
    "metadata",
    "output_config",
    "service_tier",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

pub(super) fn respond(state: &State, call: &Call) -> Result<Answer, Refusal> {
    let key = call.header("x-api-key").or_else(|| call.bearer());
    if key != Some(&state.key) {
        return refuse(401, if key.is_some() { "invalid x-api-key" } else { "x-api-key header is required" });
    }
    let is_new = match call.header("anthropic-version") {
        Some("2023-06-01") => false,
        Some("2026-10-21") => true,
        Some(_) => return refuse(400, "anthropic-version: is not a valid version"),
        None => return refuse(400, "anthropic-version: header is required"),
    };
    match (call.method.as_str(), call.path()) {
        ("GET", "/v1/models") => {
            let model = json!({"type": "model", "id": "claude-sonnet-4-5", "display_name": "Claude",
                "created_at": "2025-09-29T00:00:00Z"});
            let list = json!({"data": [model], "has_more": false, "first_id": model["id"], "last_id": model["id"]});
            Ok(Answer::json(200, &list))
        }
        ("POST", "/v1/messages") => {
            let body: Value =
                serde_json::from_slice(&call.body).or_else(|_| refuse(400, "The request body is not valid JSON"))?;
            answer(state.kind, &body, Envelope::Api { is_new }, body["stream"] == true)
        }
        _ => refuse(404, "Not Found"),
    }
}

/// The answer to a request that is in order.
pub(super) fn answer(kind: Kind, body: &Value, envelope: Envelope, stream: bool) -> Result<Answer, Refusal> {
    check(body, envelope)?;
    let asked = asked(body);
    let reply = reply(kind, &asked);
    let model = if text(body, "model").is_empty() { "claude-of-a-cloud" } else { text(body, "model") };
    if stream {
        let written = |event: Value| format!("event: {}\ndata: {event}\n\n", text(&event, "type")).into_bytes();
        return Ok(Answer::events(events(model, &reply).into_iter().map(written).collect()));
    }
    Ok(Answer::json(200, &whole(model, &reply)))
}

/// Refuses what Anthropic refuses.
pub(super) fn check(body: &Value, envelope: Envelope) -> Result<(), Refusal> {
    let own: &[&str] = match envelope {
        Envelope::Api { .. } => &["model", "stream"],
        Envelope::Bedrock => &["anthropic_version", "anthropic_beta"],
        Envelope::Vertex => &["anthropic_version", "stream"],
    };
    if let Some(name) = unknown(body, &[FIELDS, own].concat()) {
        return refuse(400, format!("{name}: Extra inputs are not permitted"));
    }
    match envelope {
        Envelope::Api { .. } if text(body, "model").is_empty() => return refuse(400, "model: Field required"),
        Envelope::Api { .. } if text(body, "model").contains("no-such") => {
            return refuse(404, format!("model: {}", text(body, "model")));
        }
        Envelope::Bedrock if body["anthropic_version"] != "bedrock-2023-05-31" => {
            return refuse(400, "anthropic_version: Field required");
        }
        Envelope::Vertex if body["anthropic_version"] != "vertex-2023-10-16" => {
            return refuse(400, "anthropic_version: Field required");
        }
        _ => {}
    }
    if body["max_tokens"].as_u64().is_none_or(|most| most == 0) {
        return refuse(400, "max_tokens: Field required");
    }
    check_sampling(body, envelope)?;
    for block in list(body, "system") {
        check_text(block, "system")?;
    }
    for (number, tool) in list(body, "tools").iter().enumerate() {
        if !is_word(text(tool, "name"), 128) {
            return refuse(
                400,
                format!("tools.{number}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"),
            );
        }
        if text(&tool["input_schema"], "type") != "object" {
            return refuse(400, format!("tools.{number}.custom.input_schema.type: Field required"));
        }
        if tool["strict"] == true {
            check_enforced(&tool["input_schema"], &format!("tools.{number}.custom.input_schema"))?;
        }
    }
    check_enforced(&body["output_config"]["format"]["schema"], "output_config.format.schema")?;
    check_turns(body)
}

/// A schema that is enforced has a part of the keywords only. Source: platform.claude.com, structured outputs, JSON Schema
/// limitations; the words of the message are assumed.
fn check_enforced(schema: &Value, path: &str) -> Result<(), Refusal> {
    let Some(fields) = schema.as_object() else { return Ok(()) };
    let kind = text(schema, "type");
    for (name, value) in fields {
        match name.as_str() {
            "$ref" | "type" | "title" | "description" | "default" | "required" | "enum" | "const" | "format" => {}
            "additionalProperties" if *value == false => {}
            "minItems" if *value == 0 || *value == 1 => {}
            "properties" | "$defs" | "definitions" => {
                for schema in value.as_object().into_iter().flatten().map(|(_, schema)| schema) {
                    check_enforced(schema, path)?;
                }
            }
            "anyOf" | "allOf" => {
                for schema in list(schema, name) {
                    check_enforced(schema, path)?;
                }
            }
            "items" => check_enforced(value, path)?,
            _ => return refuse(400, format!("{path}: For '{kind}' type, property '{name}' is not supported")),
        }
    }
    if kind == "object" && fields.get("additionalProperties").is_none() {
        return refuse(
            400,
            format!("{path}: For 'object' type, 'additionalProperties' must be explicitly set to false"),
        );
    }
    Ok(())
}

fn check_sampling(body: &Value, envelope: Envelope) -> Result<(), Refusal> {
    let said = |name: &&&str| body.get(**name).is_some();
    let sampling = ["temperature", "top_p", "top_k"];
    if let Some(name) = sampling.iter().find(said).filter(|_| envelope == Envelope::Api { is_new: true }) {
        return refuse(400, format!("{name}: is not supported in this version"));
    }
    if body["temperature"].as_f64().is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return refuse(400, "temperature: range: 0..1");
    }
    if sampling[..2].iter().filter(said).count() == 2 {
        return refuse(400, "`temperature` and `top_p` cannot both be specified for this model.");
    }
    Ok(())
}

fn check_text(block: &Value, place: &str) -> Result<(), Refusal> {
    match block["type"].as_str() {
        Some("text") if text(block, "text").is_empty() => {
            refuse(400, format!("{place}: text content blocks must be non-empty"))
        }
        Some("text") if text(block, "text").trim().is_empty() => {
            refuse(400, format!("{place}: text content blocks must contain non-whitespace text"))
        }
        Some(_) => Ok(()),
        None => refuse(400, format!("{place}.type: Field required")),
    }
}

/// Turns begin with the user's; all results of a turn's calls come first in the next one.
fn check_turns(body: &Value) -> Result<(), Refusal> {
    let turns = list(body, "messages");
    if turns.first().is_none_or(|first| first["role"] != "user") {
        return refuse(400, "messages: first message must use the \"user\" role");
    }
    let mut calls: Vec<&str> = Vec::new();
    for (number, turn) in turns.iter().enumerate() {
        let place = format!("messages.{number}");
        if !["user", "assistant"].contains(&text(turn, "role")) {
            return refuse(400, format!("{place}.role: Input should be 'user' or 'assistant'"));
        }
        if turn["content"] == "" {
            return refuse(400, format!("{place}: user messages must have non-empty content"));
        }
        let blocks = list(turn, "content");
        for block in blocks {
            check_text(block, &format!("{place}.content"))?;
        }
        let results = blocks.iter().take_while(|block| block["type"] == "tool_result");
        let results: Vec<_> = results.map(|block| text(block, "tool_use_id")).collect();
        if let Some(open) = calls.iter().find(|id| !results.contains(id)) {
            return refuse(
                400,
                format!("{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {open}."),
            );
        }
        let all = blocks.iter().filter(|block| block["type"] == "tool_result");
        if let Some(odd) = all.map(|block| text(block, "tool_use_id")).find(|id| !calls.contains(id)) {
            return refuse(400, format!("{place}: unexpected `tool_use_id` found in `tool_result` blocks: {odd}."));
        }
        let uses = blocks.iter().filter(|block| block["type"] == "tool_use");
        calls = uses.map(|block| text(block, "id")).collect();
        if calls.iter().any(|id| !is_word(id, usize::MAX)) {
            return refuse(400, format!("{place}.content.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"));
        }
        if !calls.is_empty() && list(body, "tools").is_empty() {
            return refuse(400, "Requests which include `tool_use` or `tool_result` blocks must define tools.");
        }
    }
    if calls.is_empty() {
        Ok(())
    } else {
        refuse(400, "messages: `tool_use` ids were found without `tool_result` blocks.")
    }
}

fn asked(body: &Value) -> RequestedReply<'_> {
    let tool = list(body, "tools").first().map(|tool| text(tool, "name"));
    let last = list(body, "messages").last();
    RequestedReply {
        tool: tool.filter(|_| body["tool_choice"]["type"] != "none"),
        one_call: body["tool_choice"]["disable_parallel_tool_use"] == true,
        has_results: last.is_some_and(|last| list(last, "content").iter().any(|block| block["type"] == "tool_result")),
        schema: body["output_config"]["format"].get("schema"),
    }
}

const fn reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "end_turn" } else { "tool_use" }
}

/// A whole answer.
pub(super) fn whole(model: &str, reply: &Reply) -> Value {
    let texts = (!reply.text.is_empty()).then(|| json!({"type": "text", "text": reply.text.concat()}));
    let calls = reply
        .calls
        .iter()
        .map(|call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}));
    let content: Vec<_> = texts.into_iter().chain(calls).collect();
    json!({"id": "msg_fake", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": reason(reply), "stop_sequence": null,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}})
}

/// The events of a stream.
pub(super) fn events(model: &str, reply: &Reply) -> Vec<Value> {
    let mut message = whole(model, reply);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    message["usage"]["output_tokens"] = json!(1);
    let mut events = vec![json!({"type": "message_start", "message": message})];
    let mut index = 0;
    let mut block = |events: &mut Vec<Value>, begin: Value, deltas: Vec<Value>| {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": begin}));
        events.extend(
            deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
        index += 1;
    };
    if !reply.text.is_empty() {
        let deltas = reply.text.iter().map(|text| json!({"type": "text_delta", "text": text})).collect();
        block(&mut events, json!({"type": "text", "text": ""}), deltas);
    }
    for call in &reply.calls {
        let deltas = call.halves().map(|half| json!({"type": "input_json_delta", "partial_json": half}));
        let begin = json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}});
        block(&mut events, begin, deltas.to_vec());
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": reason(reply), "stop_sequence": null},
        "usage": {"output_tokens": OUTPUT_TOKENS}}));
    events.push(json!({"type": "message_stop"}));
    events
}

/// What a request to a cloud is answered with, for those who put it into another form.
pub(super) fn reply_to(kind: Kind, body: &Value) -> Reply {
    reply(kind, &asked(body))
}

pub(super) fn error(refusal: &Refusal) -> Answer {
    let kind = match refusal.status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let error = json!({"type": kind, "message": refusal.message});
    Answer::json(refusal.status, &json!({"type": "error", "error": error, "request_id": "req_fake"}))
}
