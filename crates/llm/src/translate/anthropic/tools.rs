//! Tools, and which of them the model may or must call.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::conversation::Conversation;
use super::request::Draft;
use super::schema;
use crate::json::{Cursor, RawJson, SyntaxError, unescaped_bytes};
use crate::translate::object_fields::{Others, each};
use crate::translate::write;
use crate::translate::{Content, TranslateError, invalid};

/// More tools than any vendor takes; OpenAI takes 128. What is read of each is larger than its shortest text.
const MAX_TOOLS: usize = 4_096;

/// Which tools the model may or must call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    Auto,
    /// At least one of them.
    Any,
    None,
    /// This one, by the vendor's name.
    Tool(String),
}

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// The definitions, with commas between them.
    definitions: Vec<u8>,
    choice: Option<Choice>,
    one_at_a_time: bool,
}

/// The fields of one tool.
#[derive(Default)]
struct Definition<'a> {
    start: Cursor<'a>,
    kind: Option<Cow<'a, str>>,
    has_function: bool,
    name: Option<Cow<'a, str>>,
    description: Option<RawJson<'a>>,
    parameters: Option<RawJson<'a>>,
    /// Whether the parameters have a field `type`.
    is_typed: bool,
    is_strict: bool,
    mark: Option<RawJson<'a>>,
    /// Fields without a counterpart, of the tool and of its function.
    others: Others<'a>,
}

impl<'a> Definition<'a> {
    /// Reads a tool in one pass and moves behind it.
    fn read(tool: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let mut read = Self { start: tool.clone(), ..Self::default() };
        tool.fields(|name, value| {
            match &*unescaped_bytes(name) {
                b"type" => read.kind = value.raw()?.text(),
                b"function" if value.peek() == Some(b'{') => read.function(value)?,
                b"cache_control" if value.peek() == Some(b'{') => read.mark = Some(value.raw()?),
                _ => read.others.note_unknown(name, value.raw()?),
            }
            Ok(())
        })?;
        Ok(read)
    }

    fn function(&mut self, function: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        self.has_function = true;
        let mut others = Others::default();
        function.fields(|name, value| {
            match &*unescaped_bytes(name) {
                b"name" => self.name = value.raw()?.text(),
                b"description" if value.peek() == Some(b'"') => self.description = Some(value.raw()?),
                b"parameters" => {
                    let is_typed = &mut self.is_typed;
                    *is_typed = false;
                    let schema = value.raw_with(|object| {
                        object.fields(|name, _| {
                            *is_typed |= &*unescaped_bytes(name) == b"type";
                            Ok(())
                        })
                    })?;
                    self.parameters = Some(schema).filter(|schema| !schema.is_null());
                }
                b"strict" => self.is_strict = value.raw()?.is_true(),
                b"cache_control" if value.peek() == Some(b'{') => self.mark = self.mark.or(Some(value.raw()?)),
                _ => others.note_unknown(name, value.raw()?),
            }
            Ok(())
        })?;
        self.others.add("function", &others);
        Ok(())
    }
}

impl Definition<'_> {
    /// Writes `input_schema`; one that is enforced is closed.
    fn write_parameters(
        &self,
        out: &mut Vec<u8>,
        draft: &mut Draft<'_, '_>,
        index: usize,
        is_enforced: bool,
    ) -> Result<(), TranslateError> {
        write::name(out, "input_schema");
        let path = || format!("tools[{index}].function.parameters");
        match self.parameters {
            None if is_enforced => {
                out.extend_from_slice(b"{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}");
            }
            None => out.extend_from_slice(b"{\"type\":\"object\"}"),
            Some(parameters) if !parameters.is_object() => return Err(invalid(path(), "it is no object")),
            Some(parameters) if is_enforced => {
                schema::write_enforced(out, parameters, self.is_typed, &path(), draft.drops_of("tools"));
            }
            Some(parameters) => schema::write(out, parameters, self.is_typed),
        }
        Ok(())
    }
}

impl Tools {
    pub(super) fn read(draft: &mut Draft<'_, '_>) -> Result<Self, TranslateError> {
        let asked = draft.fields.get("tool_choice");
        let allowed = asked.and_then(allowed_names);
        let mut tools = Self { one_at_a_time: is_false(draft.fields.get("parallel_tool_calls")), ..Self::default() };
        let mut offered = BTreeSet::new();
        let mut definitions = Vec::new();
        if let Some(list) = draft.fields.get("tools") {
            if !list.is_array() {
                return Err(invalid("tools", "it is no array"));
            }
            each(list, |index, tool| {
                if index == MAX_TOOLS {
                    return Err(invalid("tools", format!("there are more than {MAX_TOOLS}")).into());
                }
                definitions.push(Definition::read(tool)?);
                Ok(())
            })?;
            for name in definitions.iter().filter_map(|tool| tool.name.as_deref()) {
                draft.names.reserve(name);
            }
            for (index, tool) in definitions.iter().enumerate() {
                tools.add(draft, tool, index, allowed.as_ref(), &mut offered)?;
            }
        }
        if let Some(asked) = asked {
            tools.choice = tools.read_choice(draft, asked, &offered)?;
        }
        Ok(tools)
    }

    fn add<'a>(
        &mut self,
        draft: &mut Draft<'_, '_>,
        tool: &'a Definition<'_>,
        index: usize,
        allowed: Option<&BTreeSet<String>>,
        offered: &mut BTreeSet<&'a str>,
    ) -> Result<(), TranslateError> {
        let out = &mut self.definitions;
        if !tool.has_function {
            match tool.kind.as_deref() {
                None | Some("function") => {
                    return Err(invalid(format!("tools[{index}].function"), "it is missing or no object"));
                }
                // The vendor's own tools, such as web_search_20250305.
                Some(kind) if draft.passes() && kind != "custom" => {
                    write::comma(out);
                    out.extend_from_slice(tool.start.clone().raw().map_or(b"{}", RawJson::bytes));
                }
                Some(_) => draft.drops_of("tools").push_content(format!("tools[{index}]"), Some(Content::Tool)),
            }
            return Ok(());
        }
        let name_param = || format!("tools[{index}].function.name");
        let name = tool.name.as_deref().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| invalid(name_param(), "it is missing or no text"))?;
        if !offered.insert(name) {
            return Err(invalid(name_param(), "another tool has this name; each must have its own"));
        }
        if allowed.is_some_and(|allowed| !allowed.contains(name)) {
            return Ok(());
        }
        write::comma(out);
        out.push(b'{');
        write::text(out, "name", draft.names.vendor(name));
        if let Some(description) = tool.description.filter(|text| !write::is_blank_string(*text)) {
            write::raw(out, "description", description);
        }
        let is_enforced = tool.is_strict && draft.options.schemas;
        tool.write_parameters(out, draft, index, is_enforced)?;
        if is_enforced {
            write::json(out, "strict", b"true");
        } else if tool.is_strict {
            draft.leave_out("tools", format!("tools[{index}].function.strict"));
        }
        if let Some(mark) = tool.mark {
            write::raw(out, "cache_control", mark);
        }
        draft.drops_of("tools").push_fields(|| format!("tools[{index}]"), &tool.others);
        out.push(b'}');
        Ok(())
    }

    fn read_choice(
        &self,
        draft: &mut Draft<'_, '_>,
        asked: RawJson<'_>,
        offered: &BTreeSet<&str>,
    ) -> Result<Option<Choice>, TranslateError> {
        let mode = asked.field("allowed_tools").and_then(|allowed| allowed.field("mode")).unwrap_or(asked);
        let choice = match mode.text().as_deref() {
            Some("auto") => Choice::Auto,
            Some("none") => Choice::None,
            Some("required") => Choice::Any,
            Some(_) => return Err(invalid("tool_choice", "it is none of `auto`, `none`, `required` and an object")),
            None => {
                let Some(name) = function_name(asked) else {
                    if asked.field("type").is_some_and(|kind| kind.is_text("custom")) {
                        draft.leave_out("tool_choice", "tool_choice");
                        return Ok(None);
                    }
                    return Err(invalid(
                        "tool_choice",
                        "it is none of `auto`, `none`, `required` and an object with a function",
                    ));
                };
                if !offered.contains(&*name) {
                    return Err(invalid("tool_choice.function.name", "no tool of `tools` has this name"));
                }
                Choice::Tool(draft.names.vendor(&name).to_owned())
            }
        };
        if self.definitions.is_empty() && choice == Choice::Any {
            // Those that there are have no counterpart, or are not allowed.
            if draft.fields.get("tools").is_some_and(|tools| tools.first().is_some()) {
                draft.leave_out("tool_choice", "tool_choice");
                return Ok(None);
            }
            return Err(invalid("tool_choice", "a call is required and there is no tool that may be called"));
        }
        Ok(Some(choice))
    }

    /// Declares the tools that the conversation has used where the request declares none: the vendor refuses calls and results
    /// without `tools`. They may not be called. (The counterpart of trap 4; assumed from LiteLLM, which adds a tool of its own.)
    pub(super) fn for_conversation(mut self, conversation: &Conversation<'_>) -> Self {
        if self.definitions.is_empty() && !conversation.called.is_empty() {
            for name in &conversation.called {
                write::comma(&mut self.definitions);
                self.definitions.push(b'{');
                write::text(&mut self.definitions, "name", name);
                self.definitions.extend_from_slice(b",\"input_schema\":{\"type\":\"object\"}}");
            }
            self.choice = Some(Choice::None);
        }
        self
    }

    /// Whether the model must call a tool, which it cannot while it thinks.
    pub(super) fn forces_a_call(&self) -> bool {
        matches!(self.choice, Some(Choice::Any | Choice::Tool(_)))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.definitions.is_empty() {
            return;
        }
        write::list(out, "tools", &self.definitions);
        let choice = match &self.choice {
            None if self.one_at_a_time => &Choice::Auto,
            None => return,
            Some(choice) => choice,
        };
        write::name(out, "tool_choice");
        out.push(b'{');
        let kind = match choice {
            Choice::Auto => "auto",
            Choice::Any => "any",
            Choice::None => "none",
            Choice::Tool(_) => "tool",
        };
        write::text(out, "type", kind);
        if let Choice::Tool(name) = choice {
            write::text(out, "name", name);
        }
        if self.one_at_a_time && *choice != Choice::None {
            write::json(out, "disable_parallel_tool_use", b"true");
        }
        out.push(b'}');
    }
}

fn is_false(value: Option<RawJson<'_>>) -> bool {
    value.is_some_and(|value| value.bytes() == b"false")
}

/// The name in `{"type": "function", "function": {"name": …}}`.
fn function_name(tool: RawJson<'_>) -> Option<Cow<'_, str>> {
    tool.field("function")?.field("name")?.text()
}

/// The names of `{"type": "allowed_tools", "allowed_tools": {"mode": …, "tools": […]}}`.
fn allowed_names(choice: RawJson<'_>) -> Option<BTreeSet<String>> {
    let tools = choice.field("allowed_tools")?.field("tools")?;
    Some(tools.elements().filter_map(function_name).map(Cow::into_owned).collect())
}
