//! What the fake vendors say, whatever their protocol: a text, a value that fits a schema, or two calls of the first tool.

use serde_json::{Map, Value, json};

use super::Kind;

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct RequestedReply<'a> {
    /// The first tool that may be called.
    pub(super) tool: Option<&'a str>,
    /// At most one call.
    pub(super) one_call: bool,
    /// The conversation ends with results of tools.
    pub(super) has_results: bool,
    /// The schema of the answer.
    pub(super) schema: Option<&'a Value>,
}

/// What is answered: pieces of a text, or calls.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) text: Vec<String>,
    pub(super) calls: Vec<ToolCall>,
}

#[derive(Debug)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Value,
}

impl ToolCall {
    /// Its arguments in two pieces, as they are streamed.
    pub(super) fn halves(&self) -> [String; 2] {
        let mut first = self.arguments.to_string();
        let second = first.split_off(first.len() / 2);
        [first, second]
    }
}

pub(super) fn reply(kind: Kind, asked: &RequestedReply<'_>) -> Reply {
    if let Some(tool) = asked.tool.filter(|_| !asked.has_results) {
        let call = |(number, city): (usize, &str)| ToolCall {
            id: format!("call_{}_{number}", kind.name()),
            name: tool.to_owned(),
            arguments: json!({"city": city}),
        };
        let cities = if asked.one_call { &["Paris"][..] } else { &["Paris", "Rome"] };
        return Reply { text: Vec::new(), calls: cities.iter().copied().enumerate().map(call).collect() };
    }
    let text = match asked.schema {
        Some(schema) => vec![fitting(schema).to_string()],
        None if asked.has_results => vec!["It is sunny,".to_owned(), format!(" says {}.", kind.name())],
        None => vec!["Hello".to_owned(), format!(" from {}.", kind.name())],
    };
    Reply { text, calls: Vec::new() }
}

/// A value that fits a simple schema.
fn fitting(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object();
            let fields = fields.into_iter().flatten().map(|(name, schema)| (name.clone(), fitting(schema)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Some("array") => json!([fitting(&schema["items"])]),
        Some("integer") => json!(36),
        Some("number") => json!(0.5),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => json!("Ada"),
    }
}
