//! The messages of a request as turns of Converse.
//!
//! Converse wants turns of user and assistant that alternate, and the results of all tool calls of a turn together in the next
//! one, so neighbours of one role become one turn, and tool messages become blocks of the user's turn that follows.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::content::{self, BlockRole, DocumentNames, Outcome, Part};
use super::text;
use crate::json::{Cursor, RawJson};
use crate::translate::dropped::LostContent;
use crate::translate::object_fields::{CallFields, ListEnd, Message, calls_no_function, each, pick_of};
use crate::translate::{Content, Drops, TranslateError, arguments_object, has_half_a_character, invalid, write};

/// What the messages became.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// The blocks of `system`, without their brackets.
    pub(super) system: Vec<u8>,
    /// The turns, without their brackets.
    pub(super) turns: Vec<u8>,
    /// The names of the tools that were called, as the client knows them.
    pub(super) called: BTreeSet<String>,
    role: Option<&'static str>,
    /// The calls of the last turn of the assistant's, until their results are written.
    calls: Vec<ToolCall>,
    /// Where among them the call of an id is.
    call_of_id: BTreeMap<String, usize>,
    /// The ids of its calls that are left out.
    left_out: BTreeSet<String>,
    documents: DocumentNames,
    /// The assistant's thinking after which it has said nothing yet, as blocks, and where the client has it. A turn must not end in
    /// it (assumed: Claude's own API answers 400).
    waiting: Vec<u8>,
    waiting_paths: Vec<String>,
    /// Memory for the blocks of one content; empty between two.
    blocks: Vec<u8>,
}

/// A tool call that waits for its result.
#[derive(Debug)]
struct ToolCall {
    /// As the client wrote it.
    id: String,
    /// The blocks of its result, once a tool message brought one.
    result: Option<Vec<u8>>,
}

impl Conversation {
    pub(super) fn read(messages: RawJson<'_>, drops: &mut Drops) -> Result<Self, TranslateError> {
        if !messages.is_array() {
            return Err(invalid("messages", "must be an array of messages"));
        }
        let mut read = Self { turns: Vec::with_capacity(messages.bytes().len() + 256), ..Self::default() };
        let mut lost = LostContent::new(drops);
        each(messages, |at, message| {
            let message = Message::read(message)?;
            read.message(at, &message, drops)?;
            lost.note(drops, message.role);
            Ok(())
        })?;
        read.end_results(|| "messages".to_owned())?;
        read.leave_out_waiting(drops);
        let begins_with_answer = read.turns.starts_with(b"{\"role\":\"assistant\"");
        lost.refuse_a_rest(drops, begins_with_answer, read.role != Some("user"))?;
        if read.role.is_none() {
            // A turn of the user's is demanded. assumed: what was meant as an instruction is one there too.
            let system = std::mem::take(&mut read.system);
            if system.is_empty() {
                return Err(invalid("messages", "must have a message with content"));
            }
            read.turn("user").extend_from_slice(&system);
        }
        read.turns.extend_from_slice(b"]}");
        Ok(read)
    }

    fn message(&mut self, at: usize, message: &Message<'_>, drops: &mut Drops) -> Result<(), TranslateError> {
        let path = || format!("messages[{at}]");
        let Some(role) = message.role.and_then(RawJson::text) else {
            return Err(invalid(path(), "must be an object with a `role`"));
        };
        let is_assistant = role == "assistant";
        if is_assistant || role == "user" {
            self.end_results(path)?;
        }
        // What is left of the form of 2023 is a result without its call.
        if role == "function" || (role == "tool" && self.is_left_out(message)) {
            drops.push_content(path(), Some(Content::Tool));
            return Ok(());
        }
        let gives_thinking = is_assistant && self.reasoning(message, drops, &path);
        message.note_lost(drops, path, role.as_bytes(), gives_thinking);
        if message.cache_control.is_some_and(|mark| !mark.is_blank()) {
            drops.push(format!("{}.cache_control", path()));
        }
        let content = message.content;
        match role.as_ref() {
            "system" | "developer" => {
                let Some(content) = content else { return Err(invalid(path(), "has no `content`")) };
                let names = &mut self.documents;
                write_content(&mut self.system, content, BlockRole::System, names, drops, || {
                    format!("{}.content", path())
                })
            }
            "user" => {
                let Some(content) = content else { return Err(invalid(path(), "has no `content`")) };
                self.blocks("user", content, BlockRole::User, drops, || format!("{}.content", path()))
            }
            "assistant" => self.assistant(message, drops, &path),
            "tool" => self.tool_result(message, drops, &path),
            _ => Err(invalid(format!("{}.role", path()), "must be system, developer, user, assistant or tool")),
        }
    }

    /// The place of the next block of a role: in the turn that is open, or in a new one.
    fn turn(&mut self, role: &'static str) -> &mut Vec<u8> {
        if self.role != Some(role) {
            if self.role.is_some() {
                self.turns.extend_from_slice(b"]},");
            }
            self.turns.extend_from_slice(b"{\"role\":\"");
            self.turns.extend_from_slice(role.as_bytes());
            self.turns.extend_from_slice(b"\",\"content\":[");
            self.role = Some(role);
        }
        if role == "assistant" && !self.waiting.is_empty() {
            write::comma(&mut self.turns);
            self.turns.append(&mut self.waiting);
            self.waiting_paths.clear();
        }
        &mut self.turns
    }

    /// Appends content; a turn is begun only if any of it is written.
    fn blocks(
        &mut self,
        role: &'static str,
        content: RawJson<'_>,
        place: BlockRole,
        drops: &mut Drops,
        path: impl Fn() -> String,
    ) -> Result<(), TranslateError> {
        let mut blocks = std::mem::take(&mut self.blocks);
        let written = write_content(&mut blocks, content, place, &mut self.documents, drops, path);
        if !blocks.is_empty() {
            if role == "user" {
                self.leave_out_waiting(drops);
            }
            let turn = self.turn(role);
            write::comma(turn);
            turn.extend_from_slice(&blocks);
            blocks.clear();
        }
        self.blocks = blocks;
        written
    }

    fn assistant(
        &mut self,
        message: &Message<'_>,
        drops: &mut Drops,
        path: &impl Fn() -> String,
    ) -> Result<(), TranslateError> {
        for (name, content) in [("content", message.content), ("refusal", message.refusal)] {
            if let Some(content) = content {
                self.blocks("assistant", content, BlockRole::Assistant, drops, || format!("{}.{name}", path()))?;
            }
        }
        let Some(calls) = message.tool_calls else { return Ok(()) };
        each(calls, |at, call| self.tool_call(call, drops, &|| format!("{}.tool_calls[{at}]", path())))
    }

    /// Reasoning goes back only with what proves that the vendor wrote it. (Trap 15: `text` must stand there, if only empty.)
    /// Returns whether there is any that does.
    fn reasoning(&mut self, message: &Message<'_>, drops: &mut Drops, path: &impl Fn() -> String) -> bool {
        let Some(thinking) = message.thinking_blocks.filter(|thinking| !thinking.is_blank()) else { return false };
        if !thinking.is_array() {
            drops.push(format!("{}.thinking_blocks", path()));
        }
        let blocks = &mut self.waiting;
        let before = blocks.len();
        for (at, block) in thinking.elements().enumerate() {
            let path = format!("{}.thinking_blocks[{at}]", path());
            let ([text, signature, data, ..], others) =
                pick_of(block, ["thinking", "signature", "data", "type", "index"]);
            let filled = |text: &RawJson<'_>| text.quoted().is_some_and(|inside| !inside.is_empty());
            if has_half_a_character(block.bytes()) {
                drops.push(path);
                continue;
            }
            if let Some(signature) = signature.filter(filled) {
                write::comma(blocks);
                blocks.extend_from_slice(b"{\"reasoningContent\":{\"reasoningText\":{\"text\":");
                blocks.extend_from_slice(text.filter(filled).map_or(b"\"\"", RawJson::bytes));
                write::raw(blocks, "signature", signature);
                blocks.extend_from_slice(b"}}}");
            } else if let Some(data) = data.filter(filled) {
                write::comma(blocks);
                blocks.extend_from_slice(b"{\"reasoningContent\":{\"redactedContent\":");
                blocks.extend_from_slice(data.bytes());
                blocks.extend_from_slice(b"}}");
            } else {
                drops.push(path);
                continue;
            }
            drops.push_fields(|| path.clone(), &others);
            self.waiting_paths.push(path);
        }
        blocks.len() > before
    }

    /// The assistant's turn is over.
    fn leave_out_waiting(&mut self, drops: &mut Drops) {
        self.waiting.clear();
        self.waiting_paths.drain(..).for_each(|path| drops.push(path));
    }

    fn tool_call(
        &mut self,
        call: &mut Cursor<'_>,
        drops: &mut Drops,
        path: &impl Fn() -> String,
    ) -> Result<(), ListEnd> {
        let CallFields { id, kind, name, arguments, others, .. } = CallFields::read(call)?;
        if calls_no_function(kind) {
            drops.push_content(path(), Some(Content::Tool));
            self.left_out.extend(id.and_then(RawJson::text).map(Cow::into_owned));
            return Ok(());
        }
        let Some(name) = name.and_then(RawJson::text) else {
            return Err(invalid(path(), "must be a function's call, with `function.name`").into());
        };
        let Some(id) = id.and_then(RawJson::text) else { return Err(invalid(path(), "has no `id`").into()) };
        // Trap 2: two calls of one id are refused.
        if self.call_of_id.contains_key(id.as_ref()) {
            drops.push(path());
            return Ok(());
        }
        drops.push_fields(path, &others);
        let is_blank = arguments.is_none_or(|text| write::is_blank_string(text));
        let arguments = arguments.and_then(RawJson::text);
        let arguments = arguments.as_deref().and_then(arguments_object);
        if arguments.is_none() && !is_blank {
            // A model wrote them, and the conversation must be able to go on.
            drops.push(format!("{}.function.arguments", path()));
        }
        let turn = self.turn("assistant");
        write::comma(turn);
        turn.extend_from_slice(b"{\"toolUse\":{\"toolUseId\":");
        write::string(turn, &text::tool_id(&id));
        write::text(turn, "name", &text::tool_name(&name));
        write::json(turn, "input", arguments.map_or(b"{}", RawJson::bytes));
        turn.extend_from_slice(b"}}");
        self.called.insert(name.into_owned());
        self.call_of_id.insert(id.clone().into_owned(), self.calls.len());
        self.calls.push(ToolCall { id: id.into_owned(), result: None });
        Ok(())
    }

    /// Whether it is the result of a call that is left out.
    fn is_left_out(&self, result: &Message<'_>) -> bool {
        let id = result.tool_call_id.filter(|_| !self.left_out.is_empty()).and_then(RawJson::text);
        id.is_some_and(|id| self.left_out.contains(id.as_ref()) && !self.call_of_id.contains_key(id.as_ref()))
    }

    /// Traps 1 and 3: all results of a turn stand together in the next one, and each call has one.
    fn tool_result(
        &mut self,
        message: &Message<'_>,
        drops: &mut Drops,
        path: &impl Fn() -> String,
    ) -> Result<(), TranslateError> {
        let id = message.tool_call_id.and_then(RawJson::text);
        let Some(id) = id else { return Err(invalid(path(), "has no `tool_call_id`")) };
        let call = self.call_of_id.get(id.as_ref()).and_then(|at| self.calls.get_mut(*at));
        let Some(call) = call else {
            let message = "no call of the assistant's message before has this id";
            return Err(invalid(format!("{}.tool_call_id", path()), message));
        };
        let blocks = call.result.get_or_insert_default();
        let Some(content) = message.content else { return Ok(()) };
        write_content(blocks, content, BlockRole::ToolResult, &mut self.documents, drops, || {
            format!("{}.content", path())
        })
    }

    /// The tool messages are over: writes their results into the user's turn.
    fn end_results(&mut self, path: impl Fn() -> String) -> Result<(), TranslateError> {
        self.call_of_id.clear();
        self.left_out.clear();
        for ToolCall { id, result } in std::mem::take(&mut self.calls) {
            let Some(blocks) = result else {
                return Err(invalid(
                    path(),
                    format!("the tool call {id:?} before has no tool message with its result"),
                ));
            };
            let turn = self.turn("user");
            write::comma(turn);
            turn.extend_from_slice(b"{\"toolResult\":{\"toolUseId\":");
            write::string(turn, &text::tool_id(&id));
            // Assumed: a result without content is an empty list.
            write::list(turn, "content", &blocks);
            turn.extend_from_slice(b"}}");
        }
        Ok(())
    }
}

/// Appends the blocks of a content, which is a text or a list of parts.
fn write_content(
    out: &mut Vec<u8>,
    content: RawJson<'_>,
    place: BlockRole,
    names: &mut DocumentNames,
    drops: &mut Drops,
    path: impl Fn() -> String,
) -> Result<(), TranslateError> {
    if !content.is_array() {
        if content.quoted().is_none() {
            return Err(invalid(path(), "must be a string or an array of parts"));
        }
        return match content::write_text(out, content) {
            Outcome::Invalid(message) => Err(invalid(path(), message)),
            _ => Ok(()),
        };
    }
    let mut result = Ok(());
    for (at, part) in content.elements().enumerate() {
        let path = || format!("{}[{at}]", path());
        let mut part = Part::read(part);
        let outcome = part
            .as_mut()
            .map_or(Outcome::Invalid("has no `type`"), |part| content::write_part(out, part, place, names));
        match outcome {
            Outcome::Written => drops.push_fields(path, &part.map(|part| part.others).unwrap_or_default()),
            Outcome::Blank => {}
            Outcome::Unsupported => {
                drops.push_content(path(), part.and_then(|part| Content::of_part(&part.kind)));
            }
            Outcome::Invalid(message) if result.is_ok() => result = Err(invalid(path(), message)),
            Outcome::Invalid(_) => {}
        }
    }
    result
}
