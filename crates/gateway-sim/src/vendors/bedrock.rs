//! Bedrock's runtime: InvokeModel for Anthropic's models and for embeddings, Converse, and the OpenAI-shaped endpoint; signatures
//! and keys. Source: botocore's service model `bedrock-runtime`, and docs.aws.amazon.com/bedrock.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Answer, Call, Refusal, State, anthropic, converse, embeddings, frames, openai, refuse, sigv4};

/// The content type of its streams.
pub(super) const STREAM: &str = "application/vnd.amazon.eventstream";

pub(super) fn respond(state: &State, call: &Call) -> Result<Answer, Refusal> {
    match call.bearer() {
        Some(key) if key == state.key => {}
        Some(_) => return refuse(403, "Authentication failed: Please make sure your API Key is valid."),
        None => sigv4::check(call, &state.key).or_else(|message| refuse(403, message))?,
    }
    if call.method != "POST" {
        return refuse(404, "UnknownOperationException");
    }
    let body: Value = serde_json::from_slice(&call.body).or_else(|_| refuse(400, "Malformed input request"))?;
    if call.path() == "/openai/v1/chat/completions" {
        return openai::chat(state.kind, &body);
    }
    let named = call.path().strip_prefix("/model/").and_then(|path| path.split_once('/'));
    let Some((model, action)) = named else { return refuse(404, "UnknownOperationException") };
    if model.contains("no-such") {
        return refuse(400, "The provided model identifier is invalid.");
    }
    match action {
        "invoke" if embeddings::is_for(model) => embeddings::answer(model, &body),
        "invoke" => anthropic::answer(state.kind, &body, anthropic::Envelope::Bedrock, false),
        "invoke-with-response-stream" => invoke_stream(state, &body),
        "converse" => converse::answer(state.kind, &body, false),
        "converse-stream" => converse::answer(state.kind, &body, true),
        _ => refuse(404, "UnknownOperationException"),
    }
}

/// Anthropic's events in frames.
fn invoke_stream(state: &State, body: &Value) -> Result<Answer, Refusal> {
    anthropic::check(body, anthropic::Envelope::Bedrock)?;
    let reply = anthropic::reply_to(state.kind, body);
    let events = anthropic::events("claude-of-a-cloud", &reply);
    let frame =
        |event: &Value| frames::event("chunk", &json!({"bytes": STANDARD.encode(event.to_string()), "p": "abc"}));
    Ok(Answer::stream(STREAM, events.iter().map(frame).collect()))
}

pub(super) fn error(refusal: &Refusal) -> Answer {
    let kind = match refusal.status {
        400 => "ValidationException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    };
    Answer::json(refusal.status, &json!({"message": refusal.message})).with("x-amzn-errortype", kind)
}
