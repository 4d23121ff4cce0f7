//! The messages of a whole answer.

use serde_json::{Value, json};

use super::parts;

/// The messages of an answer; empty if it is none that is known.
pub(super) fn of_answer(answer: &Value) -> Vec<Value> {
    if let Some(choices) = answer["choices"].as_array() {
        return choices.iter().map(of_choice).collect();
    }
    if answer["type"] == "message" {
        return vec![message(parts::of_content(&answer["content"]), answer["stop_reason"].as_str())];
    }
    if answer["object"] == "response" {
        return vec![of_response(answer)];
    }
    Vec::new()
}

/// An answer of the model. A reason that is missing means that it broke off.
pub(super) fn message(parts: Vec<Value>, reason: Option<&str>) -> Value {
    let reason = match reason.unwrap_or("error") {
        "end_turn" | "stop_sequence" | "completed" => "stop",
        "max_tokens" | "max_output_tokens" | "model_context_window_exceeded" => "length",
        "tool_calls" | "tool_use" | "function_call" => "tool_call",
        "refusal" => "content_filter",
        other => other,
    };
    json!({"role": "assistant", "parts": parts, "finish_reason": reason})
}

/// A choice of OpenAI's chat completions or completions.
fn of_choice(choice: &Value) -> Value {
    let said = &choice["message"];
    let mut all: Vec<_> = said["reasoning_content"].as_str().map(parts::reasoning).into_iter().collect();
    all.extend(choice["text"].as_str().map(parts::text));
    all.extend(parts::of_content(&said["content"]));
    all.extend(said["refusal"].as_str().map(parts::text));
    all.extend(parts::of_calls(said));
    message(all, choice["finish_reason"].as_str())
}

/// A response of OpenAI's: its items are parts of one message.
fn of_response(response: &Value) -> Value {
    let mut all = Vec::new();
    let mut calls = false;
    for item in response["output"].as_array().into_iter().flatten() {
        match item["type"].as_str() {
            Some("message") => all.extend(parts::of_content(&item["content"])),
            Some("reasoning") => all.extend(parts::of_content(&item["summary"])),
            Some("function_call") => {
                calls = true;
                all.extend(parts::tool_call(&item["call_id"], &item["name"], &item["arguments"]));
            }
            Some(_) => all.push(item.clone()),
            None => {}
        }
    }
    let reason = match response["status"].as_str() {
        Some("completed") if calls => Some("tool_call"),
        Some("incomplete") => response["incomplete_details"]["reason"].as_str(),
        Some("failed" | "cancelled") => Some("error"),
        status => status,
    };
    message(all, reason)
}
