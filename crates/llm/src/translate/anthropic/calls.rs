//! The assistant's calls of tools.

use std::fmt::Display;

use super::conversation::Conversation;
use super::request::{Draft, invalid};
use super::write;
use crate::json::{Cursor, RawJson, SyntaxError, unescaped_bytes};
use crate::translate::TranslateError;
use crate::translate::object_fields::{Message, Others};

#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The vendor's id.
    pub(super) id: String,
    /// What was called; `None` of a block in the content.
    function: Option<RawJson<'a>>,
    /// Its result, as a position in the list of results.
    pub(super) result: Option<usize>,
}

/// The fields of a call in OpenAI's form.
#[derive(Debug, Default)]
struct CallFields<'a> {
    id: Option<RawJson<'a>>,
    function: Option<RawJson<'a>>,
    /// The function's name.
    name: Option<RawJson<'a>>,
    /// The function's arguments.
    arguments: Option<RawJson<'a>>,
    /// Fields without a counterpart, of the call and of its function, such as Gemini's thought signature.
    others: Others<'a>,
}

impl<'a> CallFields<'a> {
    /// Reads a call in one pass and moves behind it.
    fn read(call: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let mut read = Self::default();
        call.fields(|name, value| {
            match &*unescaped_bytes(name) {
                b"id" => read.id = Some(value.raw()?),
                b"type" | b"index" => {}
                b"function" => {
                    (read.name, read.arguments) = (None, None);
                    let mut others = Others::default();
                    let function = value.raw_with_fields(|name, value| {
                        match &*unescaped_bytes(name) {
                            b"name" => read.name = Some(value.raw()?),
                            b"arguments" => read.arguments = Some(value.raw()?),
                            _ => others.note_unknown(name, value.raw()?),
                        }
                        Ok(())
                    })?;
                    read.function = Some(function);
                    read.others.add("function", &others);
                }
                _ => read.others.note_unknown(name, value.raw()?),
            }
            Ok(())
        })?;
        Ok(read)
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
        // Nothing here can break off: the body has been checked. An error ends the reading.
        let _ = list.cursor().elements(|call| {
            let number = position;
            position += 1;
            let path = format_args!("messages[{index}].tool_calls[{number}]");
            let CallFields { id, function, name, arguments, others } = CallFields::read(call)?;
            let Some(function) = function.filter(|function| function.is_object()) else {
                result = Err(invalid(&format!("{path}.function"), "it is missing or no object"));
                return Err(SyntaxError);
            };
            draft.drops_of("messages").push_fields(|| path.to_string(), &others);
            result =
                self.call(draft, id, name, Some(function), &path, |out, path| write_arguments(out, arguments, path));
            if result.is_err() { Err(SyntaxError) } else { Ok(()) }
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
        write_input: impl FnOnce(&mut Vec<u8>, &dyn Display) -> Result<(), TranslateError>,
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
        let name = draft.names.vendor(&name);
        let vendor_id = self.ids.issue(&id);
        let out = &mut self.blocks;
        write::comma(out);
        out.extend_from_slice(b"{\"type\":\"tool_use\"");
        write::text(out, "id", &vendor_id);
        write::text(out, "name", name);
        write::name(out, "input");
        write_input(out, path)?;
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

/// Writes the arguments of a call: a JSON object in a text, its keys in their order. No arguments are an empty object.
fn write_arguments(out: &mut Vec<u8>, text: Option<RawJson<'_>>, path: &dyn Display) -> Result<(), TranslateError> {
    let param = || format!("{path}.function.arguments");
    let text =
        text.filter(|text| !text.is_null()).map(|text| text.text().ok_or_else(|| invalid(&param(), "it is no text")));
    let text = text.transpose()?.unwrap_or_default();
    if text.trim().is_empty() {
        out.extend_from_slice(b"{}");
        return Ok(());
    }
    let object = write::checked(text.as_bytes()).filter(|object| object.is_object());
    let object = object.ok_or_else(|| invalid(&param(), "the text is no JSON object"))?;
    out.extend_from_slice(object.bytes());
    Ok(())
}
