//! The parts of a message.

use serde_json::{Value, json};

pub(super) fn text(content: &str) -> Value {
    json!({"type": "text", "content": content})
}

pub(super) fn reasoning(content: &str) -> Value {
    json!({"type": "reasoning", "content": content})
}

/// A call of a tool. Arguments in a text are read, if they can be.
pub(super) fn tool_call(id: &Value, name: &Value, arguments: &Value) -> Option<Value> {
    let name = name.as_str()?;
    let arguments = arguments.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(arguments.clone());
    Some(json!({"type": "tool_call", "id": id.as_str(), "name": name, "arguments": arguments}))
}

pub(super) fn tool_response(id: &Value, response: &Value) -> Value {
    json!({"type": "tool_call_response", "id": id.as_str(), "response": response})
}

/// The parts of a content, which is a text or a list.
pub(super) fn of_content(content: &Value) -> Vec<Value> {
    match content {
        Value::String(content) => vec![text(content)],
        Value::Array(list) => list.iter().filter_map(of_part).collect(),
        _ => Vec::new(),
    }
}

/// The calls of an assistant's message in the chat completions.
pub(super) fn of_calls(message: &Value) -> Vec<Value> {
    let list = message["tool_calls"].as_array().into_iter().flatten();
    let calls = list.filter_map(|call| match call["custom"].as_object() {
        Some(_) => tool_call(&call["id"], &call["custom"]["name"], &call["custom"]["input"]),
        None => tool_call(&call["id"], &call["function"]["name"], &call["function"]["arguments"]),
    });
    let old = &message["function_call"];
    calls.chain(tool_call(&Value::Null, &old["name"], &old["arguments"])).collect()
}

fn of_part(part: &Value) -> Option<Value> {
    let field = |name: &str| part[name].as_str();
    if let Some(content) = part.as_str() {
        return Some(text(content));
    }
    match field("type")? {
        "text" | "input_text" | "output_text" => Some(text(field("text")?)),
        "summary_text" | "reasoning_text" => Some(reasoning(field("text")?)),
        "refusal" => Some(text(field("refusal")?)),
        "thinking" => Some(reasoning(field("thinking")?)),
        "image_url" | "input_image" => media("image", part, part["image_url"]["url"].as_str().or(field("image_url"))),
        "file" => media("document", &part["file"], part["file"]["file_data"].as_str()),
        "input_file" => media("document", part, field("file_data").or(field("file_url"))),
        "input_audio" => {
            let audio = &part["input_audio"];
            let mime = audio["format"].as_str().map(|format| format!("audio/{format}"));
            Some(json!({"type": "blob", "mime_type": mime, "modality": "audio", "content": audio["data"].as_str()?}))
        }
        "image" => source("image", &part["source"]),
        "document" => source("document", &part["source"]),
        "tool_use" => tool_call(&part["id"], &part["name"], &part["input"]),
        "tool_result" => Some(tool_response(&part["tool_use_id"], &part["content"])),
        // Any part with a type is one.
        _ => Some(part.clone()),
    }
}

/// A medium by its address, which may hold it, or by the id of a file.
fn media(modality: &str, holder: &Value, address: Option<&str>) -> Option<Value> {
    let Some(address) = address else {
        let id = holder["file_id"].as_str()?;
        return Some(json!({"type": "file", "modality": modality, "file_id": id}));
    };
    let data = address.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    Some(match data {
        Some((mime, content)) => json!({"type": "blob", "mime_type": mime, "modality": modality, "content": content}),
        None => json!({"type": "uri", "modality": modality, "uri": address}),
    })
}

/// A medium of Anthropic's.
fn source(modality: &str, source: &Value) -> Option<Value> {
    match source["type"].as_str()? {
        "base64" => {
            let (mime, content) = (&source["media_type"], source["data"].as_str()?);
            Some(json!({"type": "blob", "mime_type": mime, "modality": modality, "content": content}))
        }
        "text" => Some(text(source["data"].as_str()?)),
        "file" => media(modality, source, None),
        _ => media(modality, source, source["url"].as_str()),
    }
}
