//! The messages of a streamed answer, put together from its events.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::output::{self, message};
use super::parts;
use crate::sse::Parser;

/// What came so far.
#[derive(Debug, Default)]
struct Streamed {
    /// Of OpenAI's chat completions and completions, by their numbers.
    choices: BTreeMap<u64, Choice>,
    /// Of Anthropic's Messages, by their numbers.
    blocks: BTreeMap<u64, Block>,
    stop_reason: Option<String>,
    /// OpenAI's responses say all of it again at the end.
    response: Option<Value>,
}

#[derive(Debug, Default)]
struct Choice {
    reasoning: String,
    content: String,
    /// By their numbers.
    calls: BTreeMap<u64, ToolCall>,
    reason: Option<String>,
}

#[derive(Debug, Default)]
struct ToolCall {
    id: Value,
    name: String,
    arguments: String,
}

/// A block with the pieces that belong to it.
#[derive(Debug, Default)]
struct Block {
    start: Value,
    pieces: String,
}

/// The messages of the events; empty if they are none that are known.
pub(super) fn of_events(body: &[u8]) -> Vec<Value> {
    let mut streamed = Streamed::default();
    let mut parser = Parser::default();
    let mut take = |event: Result<crate::sse::Event<'_>, _>| {
        if let Some(data) = event.ok().and_then(|event| serde_json::from_slice::<Value>(event.data).ok()) {
            streamed.event(&data);
        }
    };
    parser.push(body, &mut take);
    parser.finish(&mut take);
    streamed.into_messages()
}

impl Streamed {
    fn event(&mut self, data: &Value) {
        for choice in data["choices"].as_array().into_iter().flatten() {
            self.choices.entry(choice["index"].as_u64().unwrap_or(0)).or_default().add(choice);
        }
        let block = || data["index"].as_u64().unwrap_or(0);
        match data["type"].as_str().unwrap_or_default() {
            "content_block_start" => {
                let start = data["content_block"].clone();
                self.blocks.insert(block(), Block { start, pieces: String::new() });
            }
            "content_block_delta" => {
                let delta = &data["delta"];
                let piece = ["text", "thinking", "partial_json"].iter().find_map(|name| delta[*name].as_str());
                self.blocks.entry(block()).or_default().pieces.push_str(piece.unwrap_or_default());
            }
            "message_delta" => self.stop_reason = data["delta"]["stop_reason"].as_str().map(str::to_owned),
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.response = Some(data["response"].clone());
            }
            _ => {}
        }
    }

    fn into_messages(self) -> Vec<Value> {
        if let Some(response) = &self.response {
            return output::of_answer(response);
        }
        if !self.blocks.is_empty() {
            let blocks = self.blocks.into_values().map(Block::into_part).collect();
            return vec![message(parts::of_content(&Value::Array(blocks)), self.stop_reason.as_deref())];
        }
        self.choices.into_values().map(Choice::into_message).collect()
    }
}

impl Choice {
    fn add(&mut self, choice: &Value) {
        let delta = &choice["delta"];
        let append = |text: &mut String, value: &Value| text.push_str(value.as_str().unwrap_or_default());
        append(&mut self.reasoning, &delta["reasoning_content"]);
        append(&mut self.content, &delta["content"]);
        append(&mut self.content, &delta["refusal"]);
        append(&mut self.content, &choice["text"]);
        let old = delta["function_call"].as_object().map(|_| json!({"function": delta["function_call"]}));
        for call in delta["tool_calls"].as_array().into_iter().flatten().chain(&old) {
            let known = self.calls.entry(call["index"].as_u64().unwrap_or(0)).or_default();
            if call["id"].is_string() {
                known.id = call["id"].clone();
            }
            append(&mut known.name, &call["function"]["name"]);
            append(&mut known.arguments, &call["function"]["arguments"]);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.reason = Some(reason.to_owned());
        }
    }

    fn into_message(self) -> Value {
        let filled = |text: &String| !text.is_empty();
        let mut all: Vec<_> =
            Some(&self.reasoning).filter(|text| filled(text)).map(|text| parts::reasoning(text)).into_iter().collect();
        all.extend(Some(&self.content).filter(|text| filled(text)).map(|text| parts::text(text)));
        let calls = self.calls.into_values();
        all.extend(calls.filter_map(|call| parts::tool_call(&call.id, &call.name.into(), &call.arguments.into())));
        message(all, self.reason.as_deref())
    }
}

impl Block {
    /// As it would stand in a whole answer.
    fn into_part(mut self) -> Value {
        let field = match self.start["type"].as_str() {
            Some("text") => "text",
            Some("thinking") => "thinking",
            Some("tool_use") => "input",
            _ => return self.start,
        };
        if field == "input" && !self.pieces.is_empty() {
            self.start[field] = serde_json::from_str(&self.pieces).unwrap_or_else(|_| self.pieces.clone().into());
        } else if field != "input" {
            let begun = self.start[field].as_str().unwrap_or_default().to_owned();
            self.start[field] = (begun + &self.pieces).into();
        }
        self.start
    }
}
