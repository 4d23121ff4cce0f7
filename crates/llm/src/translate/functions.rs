//! The calls of functions of 2023 (`functions`, `function_call`, messages of the role `function`) as tools, and answers back.
//!
//! What the vendors' translations read is tools; a request of the old form is brought into that form first, and the answer back
//! into the old form last. Source: OpenAI's API reference of chat completions, which has both and calls the old form deprecated.
//! The old form has one call in a turn, so the vendor is asked for one where it can be.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{BrokenAnswer, DroppedList, RequestFields, StreamTranslator, TranslateError, write};
use crate::json::{RawJson, unescaped_name};
use crate::usage::TokenCounts;

/// A request that had something of the old form.
pub(crate) struct AsTools {
    /// The request with tools.
    pub(crate) body: Vec<u8>,
    /// Whether the client asked in the old form, and so reads its answer in it; else only its history had it.
    pub(crate) is_asked: bool,
    /// The positions of the messages that were calls or results in the old form.
    pairs: BTreeSet<usize>,
}

/// The request with tools instead of functions; `None` where it has nothing of the old form. What a request with `tools` asks for
/// in the old form as well is left for the translation to leave out. `says_one`: whether the vendor can be asked for one call at a
/// time.
pub(crate) fn as_tools(fields: &RequestFields<'_>, says_one: bool) -> Option<AsTools> {
    let (body, functions) = (fields.body(), fields.get("functions"));
    // Almost no request has it, and then nothing more is read.
    if functions.is_none() && memchr::memmem::find(body, b"function_call").is_none() {
        return None;
    }
    let is_asked = fields.get("tools").is_none();
    let functions = functions.filter(|functions| functions.is_array());
    let calls = fields.get("parallel_tool_calls");
    let json = RawJson::parse(body).ok()?;
    let mut out = Vec::with_capacity(body.len() + body.len() / 4 + 64);
    let mut pairs = BTreeSet::new();
    out.push(b'{');
    json.for_each_field(|name, value| match &*unescaped_name(name) {
        "messages" if value.is_array() => {
            pairs = calls_and_results(value);
            write_messages(&mut out, value, &pairs);
        }
        "functions" if is_asked && functions.is_some() => write_tools(&mut out, value),
        "function_call" if is_asked => write_choice(&mut out, value),
        "tools" if is_asked => {}
        _ => write::raw(&mut out, name, value),
    });
    if is_asked && says_one && functions.is_some() && calls.is_none() {
        write::json(&mut out, "parallel_tool_calls", b"false");
    }
    out.push(b'}');
    Some(AsTools { body: out, is_asked, pairs })
}

fn write_tools(out: &mut Vec<u8>, functions: RawJson<'_>) {
    write::name(out, "tools");
    out.push(b'[');
    for function in functions.elements() {
        write::comma(out);
        write_function(out, function);
    }
    out.push(b']');
}

/// `none`, `auto`, or an object with the name of the one that is to be called.
fn write_choice(out: &mut Vec<u8>, choice: RawJson<'_>) {
    if !choice.is_object() {
        return write::raw(out, "tool_choice", choice);
    }
    write::name(out, "tool_choice");
    write_function(out, choice);
}

fn write_function(out: &mut Vec<u8>, function: RawJson<'_>) {
    out.extend_from_slice(b"{\"type\":\"function\"");
    write::raw(out, "function", function);
    out.push(b'}');
}

fn write_messages(out: &mut Vec<u8>, messages: RawJson<'_>, pairs: &BTreeSet<usize>) {
    write::name(out, "messages");
    out.push(b'[');
    let mut calls = 0;
    for (at, message) in messages.elements().enumerate() {
        write::comma(out);
        write_message(out, message, pairs.contains(&at), &mut calls);
    }
    out.push(b']');
}

/// The positions of the calls whose result follows, and of these results. In the old form either may be without the other, as where a
/// history lost its beginning, and others may speak between them; tools take neither.
fn calls_and_results(messages: RawJson<'_>) -> BTreeSet<usize> {
    let (mut found, mut last_call) = (BTreeSet::new(), None);
    for (at, message) in messages.elements().enumerate() {
        let [role, call, calls] = message.pick(["role", "function_call", "tool_calls"]);
        let is = |name| role.is_some_and(|role| role.is_text(name));
        if is("assistant") {
            let is_call = call.is_some_and(RawJson::is_object) && calls.is_none_or(RawJson::is_blank);
            last_call = is_call.then_some(at);
        } else if is("user") {
            last_call = None;
        } else if let (true, Some(call)) = (is("function"), last_call) {
            found.extend([call, at]);
        }
    }
    found
}

/// A message; `calls` is the number of calls before it. Tools know by an id whose result a message is, and functions by the order.
/// A call or a result that is no part of a pair stays as it is, for which no vendor has a counterpart.
fn write_message(out: &mut Vec<u8>, message: RawJson<'_>, is_paired: bool, calls: &mut usize) {
    if !message.is_object() {
        return out.extend_from_slice(message.bytes());
    }
    let is_result = is_paired && message.field("role").is_some_and(|role| role.is_text("function"));
    let is_call = is_paired && !is_result;
    out.push(b'{');
    message.for_each_field(|name, value| match &*unescaped_name(name) {
        "role" if is_result => {
            write::json(out, name, b"\"tool\"");
            write::text(out, "tool_call_id", &format!("{ID}{calls}"));
        }
        "name" if is_result => {}
        // assumed: a function without a result says null.
        "content" if is_result && value.is_null() => write::json(out, name, b"\"\""),
        "function_call" if is_call => {
            *calls += 1;
            write::name(out, "tool_calls");
            out.extend_from_slice(format!("[{{\"id\":\"{ID}{calls}\",\"type\":\"function\"").as_bytes());
            write::raw(out, "function", value);
            out.extend_from_slice(b"}]");
        }
        "function_call" if value.is_null() => {}
        "tool_calls" if is_call => {}
        _ => write::raw(out, name, value),
    });
    out.push(b'}');
}

/// What the ids of calls that had none begin with.
const ID: &str = "call_";

impl AsTools {
    /// What was left out of the request, by the names that the client used.
    pub(crate) fn dropped(&self, dropped: DroppedList) -> DroppedList {
        dropped.renamed(|path| self.old_name(path))
    }

    /// What is wrong with the request, by the names that the client used.
    pub(crate) fn error(&self, error: TranslateError) -> TranslateError {
        match error {
            TranslateError::Invalid { param, message } => {
                TranslateError::Invalid { param: self.old_name(&param), message }
            }
            TranslateError::Unsupported(several) => TranslateError::Unsupported(self.dropped(several)),
        }
    }

    fn old_name(&self, path: &str) -> String {
        let position = || path.strip_prefix("messages[")?.split_once(']')?.0.parse().ok();
        match path.strip_prefix("tools") {
            Some(rest) if self.is_asked => format!("functions{}", rest.replacen(".function", "", 1)),
            None if self.is_asked && path == "tool_choice" => "function_call".to_owned(),
            None if self.is_asked && path == "tool_choice.function.name" => "function_call.name".to_owned(),
            None if position().is_some_and(|at| self.pairs.contains(&at)) => {
                path.replacen(".tool_calls[0].function", ".function_call", 1)
            }
            _ => path.to_owned(),
        }
    }
}

/// Answers with tools, which come out of `inner`, as answers with functions.
#[derive(Debug)]
pub(crate) struct AsFunctions {
    inner: Box<dyn StreamTranslator>,
    /// A stream of events instead of one whole answer.
    is_stream: bool,
}

impl AsFunctions {
    pub(crate) fn new(inner: Box<dyn StreamTranslator>, is_stream: bool) -> Self {
        Self { inner, is_stream }
    }

    /// What came out: whole events, or the whole answer.
    fn write(&self, made: &[u8], out: &mut Vec<u8>) {
        if !self.is_stream {
            return write_json(made, out);
        }
        for line in made.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_prefix(b"data: ") {
                Some(data) if data.starts_with(b"{") => {
                    out.extend_from_slice(b"data: ");
                    write_json(data.trim_ascii_end(), out);
                    out.push(b'\n');
                }
                _ => out.extend_from_slice(line),
            }
        }
    }
}

impl StreamTranslator for AsFunctions {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let mut made = Vec::new();
        let result = self.inner.push(bytes, &mut made);
        self.write(&made, out);
        result
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let mut made = Vec::new();
        let result = self.inner.finish(&mut made);
        self.write(&made, out);
        result
    }

    fn counts(&self) -> TokenCounts {
        self.inner.counts()
    }
}

/// An answer or a chunk; bytes without any calls stay as they are.
fn write_json(json: &[u8], out: &mut Vec<u8>) {
    let has_calls = memchr::memmem::find(json, b"\"tool_calls\"").is_some();
    let Some(mut value) = has_calls.then(|| serde_json::from_slice::<Value>(json).ok()).flatten() else {
        return out.extend_from_slice(json);
    };
    for choice in value.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(reason) = choice.get_mut("finish_reason").filter(|reason| *reason == "tool_calls") {
            *reason = "function_call".into();
        }
        for holder in ["message", "delta"] {
            let Some(holder) = choice.get_mut(holder).and_then(Value::as_object_mut) else { continue };
            let Some(Value::Array(calls)) = holder.remove("tool_calls") else { continue };
            // The old form has no place for a second call.
            let first = calls.into_iter().find(|call| call.get("index").is_none_or(|index| *index == 0));
            if let Some(function) = first.and_then(|mut call| call.get_mut("function").map(Value::take)) {
                holder.insert("function_call".to_owned(), function);
            }
        }
    }
    out.extend_from_slice(value.to_string().as_bytes());
}
