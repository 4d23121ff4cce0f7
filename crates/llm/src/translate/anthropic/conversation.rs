//! The messages: system and developer texts apart, the rest as turns of the user and the assistant.
//!
//! Neighbouring messages of one side become one turn. Within a user's turn the results of tools come first, one for each call,
//! and everything else after them: the vendor refuses a turn of calls that the next turn does not answer in whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::calls::ToolCall;
use super::content::{self, BlockRole, Part, Path};
use super::names::Ids;
use super::request::Draft;
use crate::json::{RawJson, unescaped_bytes};
use crate::translate::dropped::LostContent;
use crate::translate::object_fields::{Message, each};
use crate::translate::write;
use crate::translate::{Content, TranslateError, has_half_a_character, invalid};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    User,
    Assistant,
}

/// The conversation in the vendor's form.
#[derive(Debug, Default)]
pub(super) struct Conversation<'a> {
    /// The blocks of the system prompt, with commas between them.
    pub(super) system: Vec<u8>,
    /// The turns, with commas between them.
    pub(super) turns: Vec<u8>,
    /// The names of the tools that were called, each once.
    pub(super) called: BTreeSet<String>,
    /// The last turn of the assistant called tools and does not begin with its thinking.
    pub(super) calls_without_thinking: bool,
    side: Option<Side>,
    /// The side of the last turn in `turns`.
    written: Option<Side>,
    /// The blocks of the current turn, results aside.
    pub(super) blocks: Vec<u8>,
    /// Where the JSON string of the assistant's last text is in `blocks`.
    last_text: Option<Range<usize>>,
    pub(super) results: Vec<ToolResult>,
    /// Memory for a turn of the user's; empty between two.
    user_turn: Vec<u8>,
    /// The calls of the assistant's last turn, by the client's ids.
    pub(super) calls: BTreeMap<Cow<'a, str>, ToolCall<'a>>,
    /// The client's ids of its calls that are left out.
    pub(super) left_out: BTreeSet<Cow<'a, str>>,
    /// Where the calls were made, for messages about them.
    pub(super) calling: usize,
    /// Where the thinking of the assistant's current turn is in `blocks`, with the comma before it, and where the client has it.
    thinking: Vec<(Range<usize>, Path)>,
    pub(super) ids: Ids,
}

#[derive(Debug)]
pub(super) struct ToolResult {
    /// The vendor's id of the call.
    pub(super) id: String,
    pub(super) blocks: Vec<u8>,
    pub(super) mark: Option<Vec<u8>>,
}

impl<'a> Conversation<'a> {
    pub(super) fn read(draft: &mut Draft<'a, '_>) -> Result<Self, TranslateError> {
        let list = draft.fields.get("messages").filter(|list| list.is_array());
        let list = list.ok_or_else(|| invalid("messages", "it is missing or no array"))?;
        let mut conversation = Self { turns: Vec::with_capacity(list.bytes().len() + 128), ..Self::default() };
        let mut lost = LostContent::new(draft.drops_of("messages"));
        each(list, |index, message| {
            let message = Message::read(message)?;
            conversation.message(draft, &message, index)?;
            lost.note(draft.drops_of("messages"), message.role);
            Ok(())
        })?;
        conversation.finish(draft)?;
        let begins_with_answer = conversation.turns.starts_with(b"{\"role\":\"assistant\"");
        let ends_with_answer = conversation.written != Some(Side::User);
        lost.refuse_a_rest(draft.drops_of("messages"), begins_with_answer, ends_with_answer)?;
        conversation.need_a_turn()?;
        Ok(conversation)
    }

    fn message(
        &mut self,
        draft: &mut Draft<'a, '_>,
        message: &Message<'a>,
        index: usize,
    ) -> Result<(), TranslateError> {
        let role = message.role.and_then(RawJson::quoted).map(unescaped_bytes);
        let mut gives_thinking = false;
        match role.as_deref() {
            // Texts for the system prompt, wherever they stand.
            Some(b"system" | b"developer") => {
                write_message(draft, &mut self.system, message, index, BlockRole::System)?
            }
            Some(b"user") => {
                self.begin(draft, Side::User)?;
                write_message(draft, &mut self.blocks, message, index, BlockRole::User)?;
            }
            Some(b"assistant") => {
                self.begin(draft, Side::Assistant)?;
                gives_thinking = self.assistant(draft, message, index)?;
            }
            Some(b"tool") => {
                self.begin(draft, Side::User)?;
                if !self.tool_result(draft, message, index)? {
                    return Ok(());
                }
            }
            // What is left of the form of 2023 is a result without its call.
            Some(b"function") => {
                draft.drops_of("messages").push_content(format!("messages[{index}]"), Some(Content::Tool));
                return Ok(());
            }
            _ => {
                let message = "it is none of `system`, `developer`, `user`, `assistant` and `tool`";
                return Err(invalid(format!("messages[{index}].role"), message));
            }
        }
        let role = role.as_deref().unwrap_or_default();
        let path = || format!("messages[{index}]");
        message.note_lost(draft.drops_of("messages"), path, role, gives_thinking);
        if message.cache_control.is_some_and(|mark| !mark.is_object() && !mark.is_blank()) {
            draft.leave_out("messages", format!("messages[{index}].cache_control"));
        }
        // Where the assistant said nothing else, its refusal is what it said.
        let is_said = role != b"assistant" || says_only_its_refusal(message);
        if message.refusal.is_some_and(|refusal| !refusal.is_blank()) && !is_said {
            draft.leave_out("messages", format!("messages[{index}].refusal"));
        }
        Ok(())
    }

    /// Whether the message has thinking blocks that go out.
    fn assistant(
        &mut self,
        draft: &mut Draft<'a, '_>,
        message: &Message<'a>,
        index: usize,
    ) -> Result<bool, TranslateError> {
        let before = self.blocks.len();
        let gives_thinking = message.thinking_blocks.is_some_and(|blocks| self.thinking_blocks(draft, blocks, index));
        // Blocks with calls of Anthropic's own form come after the texts, as the calls of OpenAI's do.
        let mut native_calls = Vec::new();
        let said = if says_only_its_refusal(message) { message.refusal } else { message.content };
        if let Some(content) = said {
            let (blocks, last_text) = (&mut self.blocks, &mut self.last_text);
            let thinking = &mut self.thinking;
            content::parts(content, index, |part, path| match part {
                Part::Text(text, fields) => {
                    if let Some(written) = content::text(draft, blocks, text, fields, path, false)? {
                        *last_text = Some(written);
                    }
                    Ok(())
                }
                Part::Other(part) if part.field("type").is_some_and(|kind| kind.is_text("tool_use")) => {
                    native_calls.push((part, path.to_string()));
                    Ok(())
                }
                Part::Other(part) => match content::thinking(blocks, part) {
                    Some((range, others)) => {
                        thinking.push((range, path));
                        draft.drops_of("messages").push_fields(|| path.to_string(), &others);
                        Ok(())
                    }
                    None => content::block(draft, blocks, part, path, BlockRole::Assistant),
                },
            })?;
        }
        if self.calls.is_empty() {
            self.calling = index;
        }
        self.openai_calls(draft, message, index)?;
        for (block, path) in native_calls {
            let [id, name, input] = block.pick(["id", "name", "input"]);
            let object = input.filter(|input| input.is_object() && !has_half_a_character(input.bytes()));
            if object.is_none() && input.is_some_and(|input| !input.is_blank()) {
                draft.leave_out("messages", format!("{path}.input"));
            }
            self.call(draft, id, name, None, &path, |out| {
                out.extend_from_slice(object.map_or(b"{}", RawJson::bytes));
            })?;
        }
        // The vendor refuses a mark at thinking.
        if self.blocks.len() > before && !self.ends_in_thinking() {
            content::mark_last(&mut self.blocks, message.cache_control);
        }
        Ok(gives_thinking)
    }

    /// Whether any of them goes out. Those without a signature do not.
    fn thinking_blocks(&mut self, draft: &mut Draft<'a, '_>, list: RawJson<'a>, index: usize) -> bool {
        let drops = draft.drops_of("messages");
        if !list.is_array() && !list.is_blank() {
            drops.push(format!("messages[{index}].thinking_blocks"));
        }
        let mut gives_thinking = false;
        for (at, block) in list.elements().enumerate() {
            let path = Path::thinking(index, at);
            match content::thinking(&mut self.blocks, block) {
                Some((range, others)) => {
                    gives_thinking = true;
                    self.thinking.push((range, path));
                    drops.push_fields(|| path.to_string(), &others);
                }
                None => drops.push(path.to_string()),
            }
        }
        gives_thinking
    }

    /// The next message is of this side.
    fn begin(&mut self, draft: &mut Draft<'_, '_>, side: Side) -> Result<(), TranslateError> {
        if self.side == Some(side) {
            return Ok(());
        }
        self.end_turn(draft)?;
        self.side = Some(side);
        Ok(())
    }

    fn ends_in_thinking(&self) -> bool {
        self.thinking.last().is_some_and(|(range, _)| range.end == self.blocks.len())
    }

    /// Leaves out thinking after which the assistant said nothing that goes out, such as before a custom tool's call: the vendor
    /// answers 400 (tailcallhq/forgecode#2107).
    fn cut_last_thinking(&mut self, draft: &mut Draft<'_, '_>) {
        let mut kept = self.thinking.len();
        let mut length = self.blocks.len();
        while let Some((range, _)) = kept.checked_sub(1).and_then(|last| self.thinking.get(last)) {
            if range.end != length {
                break;
            }
            (kept, length) = (kept - 1, range.start);
        }
        self.blocks.truncate(length);
        for (_, path) in self.thinking.drain(kept..) {
            draft.leave_out("messages", path.to_string());
        }
    }

    fn end_turn(&mut self, draft: &mut Draft<'_, '_>) -> Result<(), TranslateError> {
        match self.side {
            Some(Side::User) => self.end_user_turn()?,
            Some(Side::Assistant) => {
                self.cut_last_thinking(draft);
                self.calls_without_thinking = !self.calls.is_empty() && self.thinking.is_empty();
                self.thinking.clear();
                let blocks = std::mem::take(&mut self.blocks);
                self.write_turn(Side::Assistant, &blocks);
                self.blocks = blocks;
            }
            None => {}
        }
        self.blocks.clear();
        self.last_text = None;
        Ok(())
    }

    fn end_user_turn(&mut self) -> Result<(), TranslateError> {
        self.all_calls_are_answered()?;
        self.calls.clear();
        self.left_out.clear();
        let mut blocks = std::mem::take(&mut self.user_turn);
        for result in self.results.drain(..) {
            write::comma(&mut blocks);
            blocks.extend_from_slice(b"{\"type\":\"tool_result\"");
            write::text(&mut blocks, "tool_use_id", &result.id);
            if !result.blocks.is_empty() {
                write::list(&mut blocks, "content", &result.blocks);
            }
            if let Some(mark) = result.mark {
                write::json(&mut blocks, "cache_control", &mark);
            }
            blocks.push(b'}');
        }
        if !self.blocks.is_empty() {
            write::comma(&mut blocks);
            blocks.append(&mut self.blocks);
        }
        self.write_turn(Side::User, &blocks);
        blocks.clear();
        self.user_turn = blocks;
        Ok(())
    }

    /// Writes a turn, unless it has no blocks; behind one of the same side it is more of that one.
    fn write_turn(&mut self, side: Side, blocks: &[u8]) {
        if blocks.is_empty() {
            return;
        }
        let turns = &mut self.turns;
        if self.written == Some(side) {
            turns.truncate(turns.len().saturating_sub(2));
            write::comma(turns);
        } else {
            write::comma(turns);
            turns.extend_from_slice(match side {
                Side::User => b"{\"role\":\"user\",\"content\":[",
                Side::Assistant => b"{\"role\":\"assistant\",\"content\":[",
            });
        }
        turns.extend_from_slice(blocks);
        turns.extend_from_slice(b"]}");
        self.written = Some(side);
    }

    fn finish(&mut self, draft: &mut Draft<'_, '_>) -> Result<(), TranslateError> {
        if self.side == Some(Side::Assistant) {
            self.all_calls_are_answered()?;
            self.cut_last_thinking(draft);
            self.trim_prefill();
        }
        self.end_turn(draft)
    }

    /// The system prompt is a turn where there is no other.
    fn need_a_turn(&mut self) -> Result<(), TranslateError> {
        if self.turns.is_empty() {
            if self.system.is_empty() {
                return Err(invalid("messages", "no message has content"));
            }
            // The vendor demands a turn of the user's. assumed: what was meant as an instruction is one there too.
            let system = std::mem::take(&mut self.system);
            self.write_turn(Side::User, &system);
        }
        Ok(())
    }

    /// An answer that the assistant shall continue must not end with white space (the vendor answers 400).
    fn trim_prefill(&mut self) {
        // Only if nothing follows the text, neither a block nor a mark: the brace that ends its block is the last byte.
        let Some(range) = self.last_text.take().filter(|range| range.end + 1 == self.blocks.len()) else { return };
        let string = self.blocks.get(range.clone()).and_then(|bytes| RawJson::parse(bytes).ok());
        let Some(text) = string.and_then(RawJson::text).map(Cow::into_owned) else { return };
        let trimmed = text.trim_end();
        if trimmed.len() < text.len() {
            let mut string = Vec::new();
            write::string(&mut string, trimmed);
            self.blocks.splice(range, string);
        }
    }
}

/// It has a refusal and no content beside it.
fn says_only_its_refusal(message: &Message<'_>) -> bool {
    message.refusal.is_some() && message.content.is_none_or(RawJson::is_blank)
}

/// Writes the content that a message must have, and its mark.
fn write_message(
    draft: &mut Draft<'_, '_>,
    out: &mut Vec<u8>,
    message: &Message<'_>,
    index: usize,
    place: BlockRole,
) -> Result<(), TranslateError> {
    let content = message.content.ok_or_else(|| invalid(format!("messages[{index}].content"), "it is missing"))?;
    let before = out.len();
    content::write_content(draft, out, content, index, place)?;
    if out.len() > before {
        content::mark_last(out, message.cache_control);
    }
    Ok(())
}
