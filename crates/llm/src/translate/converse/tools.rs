//! The tools of a request as Converse's `toolConfig`.

use std::collections::BTreeMap;

use super::messages::Conversation;
use super::text;
use crate::json::RawJson;
use crate::translate::object_fields::{each, pick, pick_of};
use crate::translate::{Content, Drops, RequestFields, TranslateError, has_half_a_character, invalid, write};

/// The `toolConfig`, and the names that had to be changed.
#[derive(Debug, Default)]
pub(super) struct ToolConfig {
    /// Empty where there is none.
    pub(super) json: Vec<u8>,
    /// What is sent, and what the client calls it.
    pub(super) renamed: BTreeMap<String, String>,
}

/// What the client wants the model to do.
enum Choice {
    Auto,
    None,
    Any,
    Tool(String),
    /// What Converse has no word for, such as a list of allowed tools.
    Unsupported,
}

impl ToolConfig {
    /// Trap 4: where the history has blocks of tools there must be a `toolConfig` that is not empty, even if the request has no
    /// tools or wants none.
    pub(super) fn read(
        asked: &RequestFields<'_>,
        conversation: &Conversation,
        drops: &mut Drops,
    ) -> Result<Self, TranslateError> {
        let mut config = Self::default();
        let mut list = Vec::new();
        let tools = asked.get("tools");
        if let Some(tools) = tools {
            config.write_tools(&mut list, tools, drops)?;
        }
        let has_tools = !list.is_empty();
        for name in &conversation.called {
            config.rename(name);
            if !has_tools {
                write_tool(&mut list, name, None, None, None);
            }
        }
        let choice = Choice::read(asked.get("tool_choice"))?;
        if let Choice::Tool(name) = &choice
            && !offers(tools, name)
        {
            return Err(invalid("tool_choice.function.name", "no tool of `tools` has this name"));
        }
        // Converse has no `none`: without a history the tools are left out, which is the same.
        let withheld = matches!(choice, Choice::None) && conversation.called.is_empty();
        if list.is_empty() || withheld {
            if matches!(choice, Choice::Any | Choice::Tool(_) | Choice::Unsupported) {
                drops.push("tool_choice".to_owned());
            }
            return Ok(config);
        }
        config.json.extend_from_slice(b"{\"tools\":[");
        config.json.extend_from_slice(&list);
        config.json.push(b']');
        match choice {
            // What happens without it, and not every model takes the word.
            Choice::Auto => {}
            Choice::Any if has_tools => config.json.extend_from_slice(b",\"toolChoice\":{\"any\":{}}"),
            Choice::Tool(name) if has_tools => {
                config.json.extend_from_slice(b",\"toolChoice\":{\"tool\":{\"name\":");
                write::string(&mut config.json, &text::tool_name(&name));
                config.json.extend_from_slice(b"}}");
            }
            Choice::None if !has_tools => {}
            _ => drops.push("tool_choice".to_owned()),
        }
        config.json.push(b'}');
        Ok(config)
    }

    fn rename(&mut self, name: &str) {
        let sent = text::tool_name(name);
        if sent != name {
            self.renamed.insert(sent.into_owned(), name.to_owned());
        }
    }

    fn write_tools(&mut self, list: &mut Vec<u8>, tools: RawJson<'_>, drops: &mut Drops) -> Result<(), TranslateError> {
        if !tools.is_array() {
            return Err(invalid("tools", "must be an array"));
        }
        list.reserve(tools.bytes().len() + 256);
        each(tools, |at, tool| {
            let path = |end: &str| format!("tools[{at}]{end}");
            let ([kind, function], others) = pick(tool, ["type", "function"])?;
            if let Some(function) = function.filter(|_| kind.is_some_and(|kind| kind.is_text("function"))) {
                self.write_function(list, function, drops, path)?;
                drops.push_fields(|| path(""), &others);
            } else {
                drops.push_content(path(""), Some(Content::Tool));
            }
            Ok(())
        })
    }

    fn write_function(
        &mut self,
        list: &mut Vec<u8>,
        function: RawJson<'_>,
        drops: &mut Drops,
        path: impl Fn(&str) -> String,
    ) -> Result<(), TranslateError> {
        let ([name, description, parameters, strict], mut others) =
            pick_of(function, ["name", "description", "parameters", "strict"]);
        let Some(name) = name.and_then(RawJson::text).filter(|name| !name.is_empty()) else {
            return Err(invalid(path(".function.name"), "must be the function's name"));
        };
        if parameters.is_some_and(|parameters| !parameters.is_object()) {
            return Err(invalid(path(".function.parameters"), "must be a JSON schema, which is an object"));
        }
        if description.is_some_and(|text| has_half_a_character(text.bytes())) {
            return Err(invalid(path(".function.description"), text::HALF_A_CHARACTER));
        }
        others.note("description", description.filter(|text| text.quoted().is_none()));
        drops.push_fields(|| path(".function"), &others);
        self.rename(&name);
        write_tool(list, &name, description, parameters, strict.filter(|strict| strict.is_true()));
        Ok(())
    }
}

/// Whether a function of this name is among the tools.
fn offers(tools: Option<RawJson<'_>>, name: &str) -> bool {
    tools.into_iter().flat_map(RawJson::elements).any(|tool| {
        let [kind, function] = tool.pick(["type", "function"]);
        let function = function.filter(|_| kind.is_some_and(|kind| kind.is_text("function")));
        let other = function.and_then(|function| function.field("name")).and_then(RawJson::text);
        other.is_some_and(|other| other == name)
    })
}

fn write_tool(
    list: &mut Vec<u8>,
    name: &str,
    description: Option<RawJson<'_>>,
    parameters: Option<RawJson<'_>>,
    strict: Option<RawJson<'_>>,
) {
    write::comma(list);
    list.extend_from_slice(b"{\"toolSpec\":{\"name\":");
    write::string(list, &text::tool_name(name));
    if let Some(description) = description.filter(|text| !write::is_blank_string(*text)) {
        write::raw(list, "description", description);
    }
    list.extend_from_slice(b",\"inputSchema\":{\"json\":");
    write_schema(list, parameters);
    list.push(b'}');
    if strict.is_some() {
        list.extend_from_slice(b",\"strict\":true");
    }
    list.extend_from_slice(b"}}");
}

/// A schema in the order of its keys, without those that name it (trap 12), and with the type that Converse asks for.
fn write_schema(out: &mut Vec<u8>, schema: Option<RawJson<'_>>) {
    let Some(schema) = schema.filter(|schema| !schema.is_blank()) else {
        out.extend_from_slice(b"{\"type\":\"object\",\"properties\":{}}");
        return;
    };
    let [kind, meta_schema, id] = schema.pick(["type", "$schema", "$id"]);
    if meta_schema.is_none() && id.is_none() && kind.is_some() {
        out.extend_from_slice(schema.bytes());
        return;
    }
    out.push(b'{');
    if kind.is_none() {
        out.extend_from_slice(b"\"type\":\"object\"");
    }
    schema.for_each_field(|name, value| {
        if name != b"$schema" && name != b"$id" {
            write::raw(out, name, value);
        }
    });
    out.push(b'}');
}

impl Choice {
    fn read(choice: Option<RawJson<'_>>) -> Result<Self, TranslateError> {
        let Some(choice) = choice else { return Ok(Self::Auto) };
        let refuse = || {
            let message = "must be \"auto\", \"none\", \"required\" or an object that names a function";
            Err(invalid("tool_choice", message))
        };
        if let Some(word) = choice.text() {
            return match word.as_ref() {
                "auto" => Ok(Self::Auto),
                "none" => Ok(Self::None),
                "required" | "any" => Ok(Self::Any),
                _ => refuse(),
            };
        }
        if !choice.is_object() {
            return refuse();
        }
        let name = choice.field("function").and_then(|function| function.field("name")).and_then(RawJson::text);
        Ok(name.map_or(Self::Unsupported, |name| Self::Tool(name.into_owned())))
    }
}
