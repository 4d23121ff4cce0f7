//! The assistant's calls of tools.

use std::fmt::Display;

use super::content::{self, BlockRole};
use super::conversation::{Conversation, ToolResult};
use super::request::Draft;
use crate::json::RawJson;
use crate::translate::object_fields::{CallFields, Message, calls_no_function, each};
use crate::translate::write;
use crate::translate::{Content, TranslateError, arguments_object, invalid};

#[derive(Debug)]
pub(super) struct ToolCall<'a> {
    /// The vendor's id.
    pub(super) id: String,
    /// What was called; `None` of a block in the content.
    function: Option<RawJson<'a>>,
    /// Its result, as a position in the list of results.
    pub(super) result: Option<usize>,
}

impl<'a> Conversation<'a> {
    pub(super) fn openai_calls(
        &mut self,
        draft: &mut Draft<'a, '_>,
        message: &Message<'a>,
        index: usize,
    ) -> Result<(), TranslateError> {
        let Some(list) = message.tool_calls else { return Ok(()) };
        each(list, |number, call| {
            let path = format_args!("messages[{index}].tool_calls[{number}]");
            let CallFields { id, kind, function, name, arguments, others } = CallFields::read(call)?;
            if calls_no_function(kind) {
                draft.drops_of("messages").push_content(path.to_string(), Some(Content::Tool));
                self.left_out.extend(id.and_then(RawJson::text));
                return Ok(());
            }
            let Some(function) = function.filter(|function| function.is_object()) else {
                return Err(invalid(format!("{path}.function"), "it is missing or no object").into());
            };
            draft.drops_of("messages").push_fields(|| path.to_string(), &others);
            let mut is_lost = false;
            self.call(draft, id, name, Some(function), &path, |out| is_lost = !write_arguments(out, arguments))?;
            if is_lost {
                draft.leave_out("messages", format!("{path}.function.arguments"));
            }
            Ok(())
        })
    }

    /// Adds a call, once for each id of a turn.
    pub(super) fn call(
        &mut self,
        draft: &mut Draft<'a, '_>,
        id: Option<RawJson<'a>>,
        name: Option<RawJson<'a>>,
        function: Option<RawJson<'a>>,
        path: &dyn Display,
        write_input: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TranslateError> {
        let filled = |value: Option<RawJson<'a>>| value.and_then(RawJson::text).filter(|text| !text.is_empty());
        let Some(id) = filled(id) else {
            return Err(invalid(format!("{path}.id"), "it is missing or no text"));
        };
        let Some(name) = filled(name) else {
            return Err(invalid(format!("{path}.name"), "it is missing or no text"));
        };
        if let Some(known) = self.calls.get(&id) {
            // One call in two forms, or sent twice.
            return match (known.function, function) {
                (Some(one), Some(other)) if one != other => {
                    Err(invalid(format!("{path}.id"), "another call of the same turn has this id"))
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
        write_input(out);
        out.push(b'}');
        if !self.called.contains(name) {
            self.called.insert(name.to_owned());
        }
        self.calls.insert(id, ToolCall { id: vendor_id, function, result: None });
        Ok(())
    }

    /// Whether anything of it was read: the result of a call that is left out is left out as well.
    pub(super) fn tool_result(
        &mut self,
        draft: &mut Draft<'a, '_>,
        message: &Message<'a>,
        index: usize,
    ) -> Result<bool, TranslateError> {
        let id = message.tool_call_id.and_then(RawJson::text);
        let is_left_out = id.as_ref().is_some_and(|id| self.left_out.contains(id));
        let Some(call) = id.and_then(|id| self.calls.get_mut(&id)) else {
            if is_left_out {
                draft.drops_of("messages").push_content(format!("messages[{index}]"), Some(Content::Tool));
                return Ok(false);
            }
            let message = "the assistant's turn before it has no tool call with this id";
            return Err(invalid(format!("messages[{index}].tool_call_id"), message));
        };
        let position = *call.result.get_or_insert(self.results.len());
        if position == self.results.len() {
            self.results.push(ToolResult { id: call.id.clone(), blocks: Vec::new(), mark: None });
        }
        let (Some(result), Some(content)) = (self.results.get_mut(position), message.content) else { return Ok(true) };
        content::write_content(draft, &mut result.blocks, content, index, BlockRole::ToolResult)?;
        result.mark = message.cache_control.filter(|mark| mark.is_object()).map(|mark| mark.bytes().to_vec());
        Ok(true)
    }

    /// OpenAI refuses it too, as does the vendor: it is unknown what a call without a result did.
    pub(super) fn all_calls_are_answered(&self) -> Result<(), TranslateError> {
        let missing = self.calls.iter().filter(|(_, call)| call.result.is_none()).map(|(id, _)| id).min();
        match missing {
            None => Ok(()),
            Some(id) => Err(invalid(
                format!("messages[{}].tool_calls", self.calling),
                format!(
                    "the messages that follow have no result of the call `{id}`; each call needs one of role `tool`"
                ),
            )),
        }
    }
}

/// Writes the arguments of a call: a JSON object in a text, its keys in their order. No arguments are an empty object, and so is
/// what is no object: a model wrote it, and the conversation must be able to go on. Returns whether nothing is lost.
fn write_arguments(out: &mut Vec<u8>, arguments: Option<RawJson<'_>>) -> bool {
    let arguments = arguments.filter(|arguments| !arguments.is_null());
    let text = arguments.and_then(RawJson::text);
    let object = text.as_deref().and_then(arguments_object);
    out.extend_from_slice(object.map_or(b"{}", RawJson::bytes));
    object.is_some() || arguments.is_none_or(write::is_blank_string)
}
