//! The messages of a request.

use serde_json::{Value, json};

use super::parts;

/// What a request says to its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputMessages {
    /// In their order.
    pub messages: Value,
    /// Instructions that stand beside the messages: Anthropic's `system`, `instructions` of OpenAI's responses.
    pub system: Option<Value>,
}

/// The messages of a request; `None` if it is none that is known.
pub fn input(body: &[u8]) -> Option<InputMessages> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let (messages, system) = if let Some(list) = body["messages"].as_array() {
        (list.iter().filter_map(of_chat).collect(), &body["system"])
    } else if !body["input"].is_null() {
        (of_responses(&body["input"]), &body["instructions"])
    } else {
        (of_prompt(&body["prompt"]), &Value::Null)
    };
    let system = Some(parts::of_content(system)).filter(|parts| !parts.is_empty()).map(Value::Array);
    (!messages.is_empty()).then_some(InputMessages { messages: Value::Array(messages), system })
}

fn message(role: &str, parts: Vec<Value>) -> Value {
    json!({"role": role, "parts": parts})
}

/// A message of OpenAI's chat completions or of Anthropic's Messages.
fn of_chat(said: &Value) -> Option<Value> {
    let role = said["role"].as_str()?;
    let mut made = match role {
        "tool" => message("tool", vec![parts::tool_response(&said["tool_call_id"], &said["content"])]),
        "function" => message("tool", vec![parts::tool_response(&Value::Null, &said["content"])]),
        _ => {
            let mut all: Vec<_> = said["reasoning_content"].as_str().map(parts::reasoning).into_iter().collect();
            all.extend(parts::of_content(&said["content"]));
            all.extend(parts::of_calls(said));
            message(role, all)
        }
    };
    if let Some(name) = said["name"].as_str() {
        made["name"] = name.into();
    }
    Some(made)
}

/// `input` of OpenAI's responses: a text, or items.
fn of_responses(input: &Value) -> Vec<Value> {
    match input {
        Value::String(text) => vec![message("user", vec![parts::text(text)])],
        Value::Array(items) => items.iter().filter_map(of_item).collect(),
        _ => Vec::new(),
    }
}

fn of_item(item: &Value) -> Option<Value> {
    match item["type"].as_str() {
        None | Some("message") => Some(message(item["role"].as_str()?, parts::of_content(&item["content"]))),
        Some("function_call") => {
            let call = parts::tool_call(&item["call_id"], &item["name"], &item["arguments"])?;
            Some(message("assistant", vec![call]))
        }
        Some("function_call_output") => {
            Some(message("tool", vec![parts::tool_response(&item["call_id"], &item["output"])]))
        }
        Some("reasoning") => Some(message("assistant", parts::of_content(&item["summary"]))),
        // Other calls of tools and their results.
        Some(_) => Some(message("assistant", vec![item.clone()])),
    }
}

/// `prompt` of OpenAI's completions.
fn of_prompt(prompt: &Value) -> Vec<Value> {
    match prompt {
        Value::String(text) => vec![message("user", vec![parts::text(text)])],
        Value::Array(list) => {
            list.iter().filter_map(Value::as_str).map(|text| message("user", vec![parts::text(text)])).collect()
        }
        _ => Vec::new(),
    }
}
