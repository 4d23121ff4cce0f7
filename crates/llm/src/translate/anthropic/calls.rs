//! The assistant's calls of tools, and the messages' fields.

use std::borrow::Cow;
use std::fmt::Display;

use super::conversation::Conversation;
use super::request::{Draft, invalid};
use super::write;
use crate::json::{RawJson, unescaped_name};
use crate::translate::TranslateError;

#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The vendor's id.
    pub(super) id: String,
    /// What was called; `None` of a block in the content.
    function: Option<RawJson<'a>>,
    /// Its result, as a position in the list of results.
    pub(super) result: Option<usize>,
}

/// The fields of one message.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) role: Option<RawJson<'a>>,
    pub(super) content: Option<RawJson<'a>>,
    pub(super) refusal: Option<RawJson<'a>>,
    pub(super) tool_calls: Option<RawJson<'a>>,
    pub(super) tool_call_id: Option<RawJson<'a>>,
    pub(super) thinking_blocks: Option<RawJson<'a>>,
    pub(super) mark: Option<RawJson<'a>>,
    /// Fields without a counterpart.
    pub(super) others: Vec<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    pub(super) fn read(message: RawJson<'a>) -> Self {
        let mut read = Self::default();
        message.for_each_field(|name, value| {
            let name = unescaped_name(name);
            let place = match &*name {
                "role" => &mut read.role,
                "content" => &mut read.content,
                "refusal" => &mut read.refusal,
                "tool_calls" => &mut read.tool_calls,
                "tool_call_id" => &mut read.tool_call_id,
                "thinking_blocks" => &mut read.thinking_blocks,
                "cache_control" => &mut read.mark,
                _ if value.is_blank() => return,
                _ => return read.others.push(name),
            };
            *place = Some(value).filter(|value| !value.is_null());
        });
        read
    }
}

impl<'a> Conversation<'a> {
    pub(super) fn openai_calls(
        &mut self,
        draft: &mut Draft<'a, '_>,
        message: &Message<'a>,
        index: usize,
    ) -> Result<(), TranslateError> {
        let Some(list) = message.tool_calls else { return Ok(()) };
        let (mut position, mut result) = (0, Ok(()));
        list.for_each(|call| {
            let number = position;
            position += 1;
            if result.is_err() {
                return;
            }
            let path = format_args!("messages[{index}].tool_calls[{number}]");
            let [id, function, extra_content] = call.pick(["id", "function", "extra_content"]);
            let Some(function) = function.filter(|function| function.is_object()) else {
                result = Err(invalid(&format!("{path}.function"), "it is missing or no object"));
                return;
            };
            // Gemini's thought signature.
            if extra_content.is_some_and(|extra| !extra.is_blank()) {
                draft.leave_out("messages", format!("{path}.extra_content"));
            }
            let [name, written] = function.pick(["name", "arguments"]);
            result = self.call(draft, id, name, Some(function), &path, |path| arguments(written, path));
        });
        result
    }

    /// Adds a call, once for each id of a turn.
    pub(super) fn call(
        &mut self,
        draft: &mut Draft<'a, '_>,
        id: Option<RawJson<'a>>,
        name: Option<RawJson<'a>>,
        function: Option<RawJson<'a>>,
        path: &dyn Display,
        input: impl FnOnce(&dyn Display) -> Result<Cow<'a, [u8]>, TranslateError>,
    ) -> Result<(), TranslateError> {
        let filled = |value: Option<RawJson<'a>>| value.and_then(RawJson::text).filter(|text| !text.is_empty());
        let Some(id) = filled(id) else {
            return Err(invalid(&format!("{path}.id"), "it is missing or no text"));
        };
        let Some(name) = filled(name) else {
            return Err(invalid(&format!("{path}.name"), "it is missing or no text"));
        };
        if let Some(known) = self.calls.get(&id) {
            // One call in two forms, or sent twice.
            return match (known.function, function) {
                (Some(one), Some(other)) if one != other => {
                    Err(invalid(&format!("{path}.id"), "another call of the same turn has this id"))
                }
                _ => Ok(()),
            };
        }
        let input = input(path)?;
        let name = draft.names.vendor(&name);
        let vendor_id = self.ids.issue(&id);
        let out = &mut self.blocks;
        write::comma(out);
        out.extend_from_slice(b"{\"type\":\"tool_use\"");
        write::text(out, "id", &vendor_id);
        write::text(out, "name", name);
        write::name(out, "input");
        out.extend_from_slice(&input);
        out.push(b'}');
        if !self.called.contains(name) {
            self.called.insert(name.to_owned());
        }
        self.calls.insert(id, Call { id: vendor_id, function, result: None });
        Ok(())
    }

    /// OpenAI refuses it too, as does the vendor: it is unknown what a call without a result did.
    pub(super) fn all_calls_are_answered(&self) -> Result<(), TranslateError> {
        let missing = self.calls.iter().filter(|(_, call)| call.result.is_none()).map(|(id, _)| id).min();
        match missing {
            None => Ok(()),
            Some(id) => Err(invalid(
                &format!("messages[{}].tool_calls", self.calling),
                &format!(
                    "the messages that follow have no result of the call `{id}`; each call needs one of role `tool`"
                ),
            )),
        }
    }
}

/// The arguments of a call: a JSON object in a text, its keys in their order. No arguments are an empty object.
fn arguments<'a>(text: Option<RawJson<'a>>, path: &dyn Display) -> Result<Cow<'a, [u8]>, TranslateError> {
    let param = || format!("{path}.function.arguments");
    let Some(text) = text.filter(|text| !text.is_null()) else { return Ok(Cow::Borrowed(b"{}")) };
    let Some(text) = text.text() else { return Err(invalid(&param(), "it is no text")) };
    if text.trim().is_empty() {
        return Ok(Cow::Borrowed(b"{}"));
    }
    let object = write::checked(text.as_bytes()).filter(|object| object.is_object());
    let object = object.ok_or_else(|| invalid(&param(), "the text is no JSON object"))?;
    Ok(Cow::Owned(object.bytes().to_vec()))
}
