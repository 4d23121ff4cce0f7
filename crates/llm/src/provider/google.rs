//! What Google's endpoints in OpenAI's form refuse within a request: fields that they do not know, at whatever depth
//! (github/copilot-sdk#1129), and `null` (github/copilot-sdk#2061, lastmile-ai/mcp-agent#121), which OpenAI's own answers have when
//! they go back in a history. And what they ask for that OpenAI does not: the name of the tool at its result
//! (inference-gateway/inference-gateway#181, NousResearch/hermes-agent#16478).
//!
//! Which fields they know is what ai.google.dev/gemini-api/docs/openai shows, as for those of the request itself; that Vertex is
//! alike is assumed. Parts, tools and calls of kinds that are not listed pass as they are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::google_fields::{AUDIO, CALL, IMAGE, Inner, MESSAGE, STREAM_OPTIONS, Shape, TEXT, TOOL};
use crate::json::{Cursor, RawJson, SyntaxError, unescaped_name};
use crate::translate::{Content, Drops, TranslateError, calls_no_function, write};

/// Which fields pass that are not in the tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others {
    /// `function_call` in messages.
    pub(super) function_call: bool,
    /// All.
    pub(super) unknown: bool,
}

/// The value of a field of the request as it goes to Google; `None` where it passes as it is.
///
/// # Errors
/// Nothing is left of what the model is to answer.
pub(super) fn rewrite(
    name: &str,
    value: RawJson<'_>,
    others: Others,
    drops: &mut Drops,
) -> Result<Option<Vec<u8>>, TranslateError> {
    if !matches!(name, "messages" | "tools" | "stream_options") {
        return Ok(None);
    }
    let (answered, before) = (drops.contents(), drops.mark());
    let mut writer = Writer {
        drops,
        others,
        is_changed: false,
        out: Vec::with_capacity(value.bytes().len() + 64),
        names: BTreeMap::new(),
        left_out: BTreeSet::new(),
        has_parts: false,
        has_calls: false,
        ends_with_answer: true,
        answered,
    };
    let mut cursor = value.cursor();
    let written = match name {
        "messages" => writer.list(&mut cursor, Writer::message),
        "tools" => writer.list(&mut cursor, Writer::tool),
        _ => writer.object(&mut cursor, &STREAM_OPTIONS, &|| "stream_options".to_owned(), &mut |_, _| {}),
    };
    let rewritten = writer.is_changed && written.is_ok();
    if !rewritten {
        // What is no JSON passes, for the vendor to say so.
        writer.drops.back_to(before);
    }
    if rewritten && name == "messages" && writer.ends_with_answer && writer.drops.contents() > writer.answered {
        writer.drops.take_refusal()?;
    }
    Ok(rewritten.then_some(writer.out))
}

/// Whether a `tool_choice` is of a kind that only OpenAI has, or none that is known unless those pass.
pub(super) fn is_choice_of_no_function(choice: RawJson<'_>, passes_unknown: bool) -> bool {
    let kind = choice.field("type");
    let is_openai = is(kind, "custom") || is(kind, "allowed_tools");
    choice.is_object() && calls_no_function(kind) && (is_openai || !passes_unknown)
}

/// The kind of a part, a tool or a call, of which no more is read than that.
fn kind<'a>(object: &Cursor<'a>) -> Option<RawJson<'a>> {
    let mut kind = None;
    // The error ends the reading.
    let _ = object.clone().fields(|name, value| {
        if name != b"type" {
            return Ok(());
        }
        kind = value.raw().ok();
        Err(SyntaxError)
    });
    kind.filter(|kind| !kind.is_null())
}

/// Whether a tool or a call of this kind is a function's. Without a kind it is one that says what function.
fn is_function(object: &Cursor<'_>, kind: Option<RawJson<'_>>) -> bool {
    match kind {
        Some(_) => !calls_no_function(kind),
        None => matches!(object.clone().pick(["function"]), Ok([Some(function)]) if function.is_object()),
    }
}

fn is(kind: Option<RawJson<'_>>, text: &str) -> bool {
    kind.is_some_and(|kind| kind.is_text(text))
}

/// Writes a value anew in one pass, and notes whether that made a difference.
struct Writer<'a, 'd> {
    drops: &'d mut Drops,
    others: Others,
    is_changed: bool,
    out: Vec<u8>,
    /// The names of the functions that were called, by the ids of the calls.
    names: BTreeMap<Cow<'a, str>, RawJson<'a>>,
    /// The ids of calls that are left out.
    left_out: BTreeSet<Cow<'a, str>>,
    /// The message that is being written has a part, or a call.
    has_parts: bool,
    has_calls: bool,
    /// The last message that goes out is the assistant's, or there is none, instructions aside.
    ends_with_answer: bool,
    /// How much content was left out up to the assistant's last message.
    answered: usize,
}

type Written = Result<(), SyntaxError>;

impl<'a> Writer<'a, '_> {
    fn copy(&mut self, value: &mut Cursor<'a>) -> Written {
        self.out.extend_from_slice(value.raw()?.bytes());
        Ok(())
    }

    /// Leaves an element of a list out.
    fn leave_out(&mut self, path: String) -> Written {
        self.is_changed = true;
        self.drops.push_content(path, Some(Content::Tool));
        Ok(())
    }

    /// A list, of whose elements `write` may leave out some; it gets their numbers. Another value passes.
    fn list(
        &mut self,
        list: &mut Cursor<'a>,
        mut write: impl FnMut(&mut Self, &mut Cursor<'a>, usize) -> Written,
    ) -> Written {
        if list.peek() != Some(b'[') {
            return self.copy(list);
        }
        self.out.push(b'[');
        let mut at = 0;
        list.elements(|element| {
            let before = self.out.len();
            write::comma(&mut self.out);
            let begin = self.out.len();
            write(self, element, at)?;
            if self.out.len() == begin {
                self.out.truncate(before);
            }
            at += 1;
            Ok(())
        })?;
        self.out.push(b']');
        Ok(())
    }

    /// An object with the known fields of this shape; `see` gets those that are copied, of inner objects too. Another value passes.
    fn object(
        &mut self,
        object: &mut Cursor<'a>,
        shape: &Shape,
        path: &dyn Fn() -> String,
        see: &mut dyn FnMut(&str, RawJson<'a>),
    ) -> Written {
        if object.peek() != Some(b'{') {
            return self.copy(object);
        }
        self.out.push(b'{');
        object.fields(|raw_name, value| {
            let name = unescaped_name(raw_name);
            let known = shape.0.iter().find(|(known, _)| *known == name).map(|(_, inner)| *inner);
            let passes = self.others.unknown || (self.others.function_call && name == "function_call");
            let inner = known.or(passes.then_some(Inner::Any)).filter(|_| value.peek() != Some(b'n'));
            let before = self.out.len();
            write::name(&mut self.out, raw_name);
            let path = || format!("{}.{name}", path());
            match inner {
                Some(Inner::Object(shape)) => return self.object(value, shape, &path, see),
                Some(Inner::Content) if value.peek() == Some(b'[') => {
                    return self.parts(value, &path);
                }
                Some(Inner::Calls) if value.peek() == Some(b'[') => {
                    let length = self.out.len();
                    self.list(value, |writer, call, at| writer.call(call, &|| format!("{}[{at}]", path())))?;
                    if self.out.get(length..) == Some(b"[]") {
                        // An empty list is refused.
                        self.is_changed = true;
                        self.out.truncate(before);
                    } else {
                        self.has_calls = true;
                    }
                    return Ok(());
                }
                Some(Inner::Any | Inner::Content | Inner::Calls | Inner::Name) | None => {}
            }
            let raw = value.raw()?;
            if inner.is_some() && !(matches!(inner, Some(Inner::Name)) && raw.is_blank()) {
                self.out.extend_from_slice(raw.bytes());
                see(&name, raw);
                return Ok(());
            }
            self.out.truncate(before);
            self.is_changed = true;
            // The place in a list says the same.
            if inner.is_none() && name != "index" && !raw.is_blank() {
                self.drops.push_content(path(), Content::of_inner_field(&name));
            }
            Ok(())
        })?;
        self.out.push(b'}');
        Ok(())
    }

    fn message(&mut self, message: &mut Cursor<'a>, at: usize) -> Written {
        let path = || format!("messages[{at}]");
        let (begin, before) = (self.out.len(), self.drops.mark());
        if !self.left_out.is_empty() {
            let [role, id] = message.clone().pick(["role", "tool_call_id"])?;
            let id = id.filter(|_| is(role, "tool")).and_then(RawJson::text);
            if id.is_some_and(|id| self.left_out.contains(&id)) {
                return self.leave_out(path());
            }
        }
        let (mut role, mut id, mut refusal) = (None, None, false);
        let (mut has_name, mut has_text, mut says_more) = (false, false, false);
        (self.has_parts, self.has_calls) = (false, false);
        self.object(message, &MESSAGE, &path, &mut |name, value| match name {
            "role" => role = Some(value),
            "tool_call_id" => id = Some(value),
            "name" => has_name = true,
            "content" => has_text = !value.is_blank(),
            "refusal" if value.quoted().is_some() => refusal = !value.is_blank(),
            _ => says_more |= !value.is_blank(),
        })?;
        let has_content = has_text || self.has_parts;
        if is(role, "assistant") {
            self.answered = self.drops.contents();
        }
        if is(role, "assistant") && refusal && !has_content {
            self.refusal_as_content(begin);
        } else if is(role, "assistant") && !has_content && !self.has_calls && !says_more {
            // "contents.parts must not be empty": evalstate/fast-agent#6.
            self.is_changed = true;
            self.out.truncate(begin);
            return Ok(());
        }
        // The result of a call that is not known there.
        if is(role, "function") && !self.others.function_call && !self.others.unknown {
            self.out.truncate(begin);
            // As a whole, and not by its fields as well.
            self.drops.back_to(before);
            return self.leave_out(path());
        }
        if !is(role, "system") && !is(role, "developer") {
            self.ends_with_answer = is(role, "assistant");
        }
        let id = id.filter(|_| is(role, "tool") && !has_name).and_then(RawJson::text);
        if let Some(name) = id.and_then(|id| self.names.get(&id)) {
            self.is_changed = true;
            self.out.pop();
            write::raw(&mut self.out, "name", *name);
            self.out.push(b'}');
        }
        Ok(())
    }

    /// Where the assistant said nothing else, its refusal is what it said.
    fn refusal_as_content(&mut self, begin: usize) {
        self.is_changed = true;
        let written = self.out.split_off(begin);
        self.out.push(b'{');
        let Ok(message) = RawJson::parse(&written) else { return };
        message.for_each_field(|name, value| {
            let is_refusal = unescaped_name(name) == "refusal";
            if !is_refusal && unescaped_name(name) == "content" {
                return;
            }
            write::raw(&mut self.out, if is_refusal { &b"content"[..] } else { name }, value);
        });
        self.out.push(b'}');
    }

    /// The parts of a content. Of one whose parts say nothing an empty text is left.
    fn parts(&mut self, parts: &mut Cursor<'a>, path: &dyn Fn() -> String) -> Written {
        let (begin, mut count) = (self.out.len(), 0);
        self.list(parts, |writer, part, at| {
            count += 1;
            writer.part(part, &|| format!("{}[{at}]", path()))
        })?;
        let is_empty = self.out.get(begin..) == Some(b"[]");
        self.has_parts |= !is_empty;
        if is_empty && count > 0 {
            self.out.truncate(begin);
            self.out.extend_from_slice(b"\"\"");
        }
        Ok(())
    }

    fn part(&mut self, part: &mut Cursor<'a>, path: &dyn Fn() -> String) -> Written {
        let kind = kind(part);
        if is(kind, "refusal") {
            let [refusal] = part.pick(["refusal"])?;
            self.is_changed = true;
            if let Some(text) = refusal.filter(|text| !text.is_blank()) {
                self.out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
                self.out.extend_from_slice(text.bytes());
                self.out.push(b'}');
            }
            return Ok(());
        }
        if is(kind, "text") {
            let (begin, mut says) = (self.out.len(), false);
            self.object(part, &TEXT, path, &mut |name, value| {
                says |= matches!(name, "text" | "extra_content") && !value.is_blank();
            })?;
            if !says {
                // "it has an empty text parameter": microsoft/autogen#5762.
                self.is_changed = true;
                self.out.truncate(begin);
            }
            return Ok(());
        }
        let shapes = [("image_url", &IMAGE), ("input_audio", &AUDIO)];
        match shapes.into_iter().find(|(known, _)| is(kind, known)) {
            Some((_, shape)) => self.object(part, shape, path, &mut |_, _| {}),
            None => self.copy(part),
        }
    }

    fn call(&mut self, call: &mut Cursor<'a>, path: &dyn Fn() -> String) -> Written {
        let kind = kind(call);
        if is(kind, "custom") {
            let [id] = call.clone().pick(["id"])?;
            self.left_out.extend(id.and_then(RawJson::text));
            return self.leave_out(path());
        }
        if !is_function(call, kind) {
            return self.copy(call);
        }
        let (mut id, mut called) = (None, None);
        self.object(call, &CALL, path, &mut |name, value| match name {
            "id" => id = value.text(),
            "name" => called = Some(value).filter(|name| !name.is_blank()),
            _ => {}
        })?;
        if let Some(id) = id {
            self.left_out.remove(&id);
            self.names.extend(called.map(|name| (id, name)));
        }
        Ok(())
    }

    fn tool(&mut self, tool: &mut Cursor<'a>, at: usize) -> Written {
        let kind = kind(tool);
        let path = || format!("tools[{at}]");
        if is(kind, "custom") {
            return self.leave_out(path());
        }
        if !is_function(tool, kind) {
            return self.copy(tool);
        }
        self.object(tool, &TOOL, &path, &mut |_, _| {})
    }
}
