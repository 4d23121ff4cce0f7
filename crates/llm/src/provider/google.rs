//! What Google's endpoints in OpenAI's form refuse within a request: fields that they do not know, at whatever depth
//! (github/copilot-sdk#1129), and `null` (github/copilot-sdk#2061, lastmile-ai/mcp-agent#121), which OpenAI's own answers have when
//! they go back in a history. And what they ask for that OpenAI does not: the name of the tool at its result
//! (inference-gateway/inference-gateway#181, NousResearch/hermes-agent#16478).
//!
//! Which fields they know is what ai.google.dev/gemini-api/docs/openai shows, as for those of the request itself; that Vertex is
//! alike is assumed. Parts, tools and calls of kinds that are not listed here pass as they are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::json::{RawJson, unescaped_name};
use crate::translate::{Content, Drops};

/// The known fields of an object, each with what is in it.
#[derive(Debug)]
struct Shape(&'static [(&'static str, Inner)]);

#[derive(Debug, Clone, Copy)]
enum Inner {
    /// It passes, whatever it is.
    Any,
    Object(&'static Shape),
    /// A text, or a list of parts.
    Content,
    /// A list of calls.
    Calls,
}

const TEXT: Shape = Shape(&[("type", Inner::Any), ("text", Inner::Any), ("extra_content", Inner::Any)]);
const IMAGE: Shape = Shape(&[
    ("type", Inner::Any),
    ("image_url", Inner::Object(&Shape(&[("url", Inner::Any), ("detail", Inner::Any)]))),
    ("extra_content", Inner::Any),
]);
const AUDIO: Shape = Shape(&[
    ("type", Inner::Any),
    ("input_audio", Inner::Object(&Shape(&[("data", Inner::Any), ("format", Inner::Any)]))),
    ("extra_content", Inner::Any),
]);
const CALL: Shape = Shape(&[
    ("id", Inner::Any),
    ("type", Inner::Any),
    ("function", Inner::Object(&Shape(&[("name", Inner::Any), ("arguments", Inner::Any)]))),
    ("extra_content", Inner::Any),
]);
const MESSAGE: Shape = Shape(&[
    ("role", Inner::Any),
    ("content", Inner::Content),
    ("name", Inner::Any),
    ("tool_calls", Inner::Calls),
    ("tool_call_id", Inner::Any),
    ("refusal", Inner::Any),
    ("extra_content", Inner::Any),
]);
/// A tool's result, whose name is added.
const RESULT: Shape = Shape(&[
    ("role", Inner::Any),
    ("content", Inner::Content),
    ("tool_call_id", Inner::Any),
    ("extra_content", Inner::Any),
]);
const TOOL: Shape = Shape(&[
    ("type", Inner::Any),
    (
        "function",
        Inner::Object(&Shape(&[
            ("name", Inner::Any),
            ("description", Inner::Any),
            ("parameters", Inner::Any),
            ("strict", Inner::Any),
        ])),
    ),
]);
const STREAM_OPTIONS: Shape = Shape(&[("include_usage", Inner::Any)]);

/// Which fields pass that are not in the tables here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others {
    /// `function_call` in messages.
    pub(super) function_call: bool,
    /// All.
    pub(super) unknown: bool,
}

/// The value of a field of the request as it goes to Google; `None` where it passes as it is.
pub(super) fn rewrite(name: &str, value: RawJson<'_>, others: Others, drops: &mut Drops) -> Option<Vec<u8>> {
    let mut writer = Writer { drops, others, is_changed: false, out: Vec::new() };
    match name {
        "messages" if value.is_array() => Conversation::default().write(&mut writer, value),
        "tools" if value.is_array() => {
            writer.list(value, &|at| format!("tools[{at}]"), |writer, tool, path| match kind(tool).as_deref() {
                Some("custom") => writer.leave_out(path()),
                Some("function") => writer.object(tool, &TOOL, path),
                _ => writer.copy(tool),
            })
        }
        "stream_options" if value.is_object() => {
            writer.object(value, &STREAM_OPTIONS, &|| "stream_options".to_owned());
        }
        _ => return None,
    }
    writer.is_changed.then_some(writer.out)
}

fn kind(object: RawJson<'_>) -> Option<Cow<'_, str>> {
    object.field("type").and_then(RawJson::text)
}

/// Writes a value anew, and notes whether that made a difference.
struct Writer<'d> {
    drops: &'d mut Drops,
    others: Others,
    is_changed: bool,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn copy(&mut self, value: RawJson<'_>) {
        self.out.extend_from_slice(value.bytes());
    }

    /// Leaves an element of a list out.
    fn leave_out(&mut self, path: String) {
        self.is_changed = true;
        self.drops.push_content(path, Some(Content::Tool));
    }

    fn comma(&mut self, open: u8) {
        if self.out.last() != Some(&open) {
            self.out.push(b',');
        }
    }

    /// A list, of whose elements `write` may leave out some.
    fn list<'a>(
        &mut self,
        list: RawJson<'a>,
        path: &dyn Fn(usize) -> String,
        mut write: impl FnMut(&mut Self, RawJson<'a>, &dyn Fn() -> String),
    ) {
        self.out.push(b'[');
        let mut at = 0;
        list.for_each(|element| {
            let before = self.out.len();
            self.comma(b'[');
            let begin = self.out.len();
            write(self, element, &|| path(at));
            if self.out.len() == begin {
                self.out.truncate(before);
            }
            at += 1;
        });
        self.out.push(b']');
    }

    /// An object with the known fields of this shape.
    fn object(&mut self, object: RawJson<'_>, shape: &Shape, path: &dyn Fn() -> String) {
        if !object.is_object() {
            return self.copy(object);
        }
        self.out.push(b'{');
        object.for_each_field(|raw_name, value| {
            let name = unescaped_name(raw_name);
            let known = shape.0.iter().find(|(known, _)| *known == name).map(|(_, inner)| *inner);
            let passes = self.others.unknown || (self.others.function_call && name == "function_call");
            let inner = known.or(passes.then_some(Inner::Any));
            let Some(inner) = inner.filter(|_| !value.is_null()) else {
                self.is_changed = true;
                // The place in a list says the same.
                if name != "index" && !value.is_blank() {
                    self.drops.push_content(format!("{}.{name}", path()), Content::of_field(&name));
                }
                return;
            };
            let before = self.out.len();
            self.name(raw_name);
            self.value(value, inner, &|| format!("{}.{name}", path()));
            // Of a list of calls nothing is left: an empty one is refused.
            if matches!(inner, Inner::Calls) && self.out.ends_with(b":[]") && !value.is_blank() {
                self.out.truncate(before);
            }
        });
        self.out.push(b'}');
    }

    fn name(&mut self, name: &[u8]) {
        self.comma(b'{');
        self.out.push(b'"');
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b"\":");
    }

    fn value(&mut self, value: RawJson<'_>, inner: Inner, path: &dyn Fn() -> String) {
        match inner {
            Inner::Object(shape) => self.object(value, shape, path),
            Inner::Content if value.is_array() => {
                self.list(value, &|at| format!("{}[{at}]", path()), |writer, part, path| match kind(part).as_deref() {
                    Some("text") => writer.object(part, &TEXT, path),
                    Some("image_url") => writer.object(part, &IMAGE, path),
                    Some("input_audio") => writer.object(part, &AUDIO, path),
                    _ => writer.copy(part),
                });
            }
            Inner::Calls if value.is_array() => {
                self.list(value, &|at| format!("{}[{at}]", path()), |writer, call, path| match kind(call).as_deref() {
                    Some("custom") => writer.leave_out(path()),
                    Some("function") => writer.object(call, &CALL, path),
                    _ => writer.copy(call),
                });
            }
            Inner::Any | Inner::Content | Inner::Calls => self.copy(value),
        }
    }
}

/// What the messages so far said of calls.
#[derive(Debug, Default)]
struct Conversation<'a> {
    /// The names of the functions that were called, by the ids of the calls.
    names: BTreeMap<Cow<'a, str>, RawJson<'a>>,
    /// The ids of calls that are left out.
    left_out: BTreeSet<Cow<'a, str>>,
}

impl<'a> Conversation<'a> {
    fn write(mut self, writer: &mut Writer<'_>, messages: RawJson<'a>) {
        writer.list(messages, &|at| format!("messages[{at}]"), |writer, message, path| {
            let begin = writer.out.len();
            let [role, id, name, calls, content] =
                message.pick(["role", "tool_call_id", "name", "tool_calls", "content"]);
            let id = id.filter(|_| role.is_some_and(|role| role.is_text("tool"))).and_then(RawJson::text);
            if id.as_ref().is_some_and(|id| self.left_out.contains(id)) {
                return writer.leave_out(path());
            }
            let said_by_call = id.filter(|_| name.is_none_or(RawJson::is_blank)).and_then(|id| self.names.get(&id));
            if let Some(name) = said_by_call {
                writer.object(message, &RESULT, path);
                writer.is_changed = true;
                writer.out.pop();
                writer.name(b"name");
                writer.copy(*name);
                writer.out.push(b'}');
                return;
            }
            let had_calls = calls.is_some_and(|calls| self.read_calls(calls));
            writer.object(message, &MESSAGE, path);
            if had_calls && content.is_none_or(RawJson::is_blank) {
                writer.out.truncate(begin);
            }
        });
    }

    /// Notes the calls of a message, and returns whether there were some and none goes out.
    fn read_calls(&mut self, calls: RawJson<'a>) -> bool {
        let (mut some, mut go_out) = (false, false);
        calls.for_each(|call| {
            let [id, kind, function] = call.pick(["id", "type", "function"]);
            let is_custom = kind.is_some_and(|kind| kind.is_text("custom"));
            (some, go_out) = (true, go_out || !is_custom);
            let Some(id) = id.and_then(RawJson::text) else { return };
            if is_custom {
                self.left_out.insert(id);
                return;
            }
            self.left_out.remove(&id);
            let name = function.and_then(|function| function.field("name"));
            self.names.extend(name.filter(|name| !name.is_blank()).map(|name| (id, name)));
        });
        some && !go_out
    }
}
