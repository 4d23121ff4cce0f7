//! A request: from OpenAI's chat completions to the body of `converse` and `converse-stream`.

use std::collections::BTreeMap;

use super::messages::Conversation;
use super::tools::ToolConfig;
use crate::json::{RawJson, unescaped_name};
use crate::translate::object_fields::pick_of;
use crate::translate::{
    ChatContext, Drops, OPENAI_ALONE, RequestFields, TranslateError, TranslatedRequest, Unsupported, asks_for_nothing,
    invalid, write,
};

/// Fields of Converse itself, which pass as they are. Those that OpenAI's fields become (`inferenceConfig`, `toolConfig`,
/// `outputConfig`, `serviceTier`) are not among them.
const OWN: &[&str] = &[
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
];

/// Fields that are asked for by their names.
const TRANSLATED: &[&str] = &[
    "additionalModelRequestFields",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "response_format",
    "service_tier",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
];

/// The fields that pass as they are.
#[derive(Debug, Default)]
struct Passed<'a> {
    /// Those of Converse.
    own: Vec<(&'a str, RawJson<'a>)>,
    /// Those that we do not know, which belong to a model.
    unknown: Vec<(&'a str, RawJson<'a>)>,
}

/// Names of tools as they are sent, and as the client knows them.
type Renamed = BTreeMap<String, String>;

/// Translates a request. The model's id goes into the address (see [`crate::provider`]), not into the body.
///
/// A `temperature` above 1, which Converse does not take, becomes 1 and counts as dropped.
///
/// # Errors
/// It is no request of OpenAI's, or asks for what Converse cannot do and `unsupported` says to refuse that.
pub fn request(body: &[u8], unsupported: Unsupported) -> Result<TranslatedRequest<ChatContext>, TranslateError> {
    request_of(RequestFields::read(body), unsupported)
}

/// The same of a request whose fields have been read; `None` is a body that has none.
pub(crate) fn request_of(
    fields: Option<RequestFields<'_>>,
    unsupported: Unsupported,
) -> Result<TranslatedRequest<ChatContext>, TranslateError> {
    let asked = RequestFields::of_request(fields)?;
    let mut drops = Drops::default();
    let passed = Passed::read(&asked, unsupported, &mut drops)?;
    let (body, renamed) = write_body(&asked, &passed, &mut drops)?;
    let dropped = drops.into_list(unsupported)?;
    let (model, stream) = (asked.model().into_owned(), asked.is_stream());
    let answer = ChatContext { model, stream, include_usage: asked.includes_usage(), renamed };
    Ok(TranslatedRequest { body, dropped, answer })
}

impl<'a> Passed<'a> {
    fn read(asked: &'a RequestFields<'a>, unsupported: Unsupported, drops: &mut Drops) -> Result<Self, TranslateError> {
        let mut passed = Self::default();
        for (at, (name, value)) in asked.list().iter().enumerate() {
            drops.at = at;
            let (name, value) = (&**name, *value);
            if value.is_null() || TRANSLATED.contains(&name) {
                continue;
            }
            match name {
                "n" if !asks_for_nothing(name, value) => {
                    return Err(invalid("n", "must be 1: this model gives one answer to a request"));
                }
                "n" => {}
                // Only `false` asks for what Converse cannot do.
                "parallel_tool_calls" if value.is_true() => {}
                "parallel_tool_calls" => drops.push(name),
                _ if OWN.contains(&name) => passed.own.push((name, value)),
                _ if OPENAI_ALONE.contains(&name) && asks_for_nothing(name, value) => {}
                _ if OPENAI_ALONE.contains(&name) || unsupported != Unsupported::Pass => drops.push_field(name),
                _ => passed.unknown.push((name, value)),
            }
        }
        Ok(passed)
    }
}

/// The body, and the names of tools that had to be changed. Tools come first and what changes from call to call last, so
/// that as much as possible of the body's beginning stays the same (trap 19).
fn write_body(
    asked: &RequestFields<'_>,
    passed: &Passed<'_>,
    drops: &mut Drops,
) -> Result<(Vec<u8>, Renamed), TranslateError> {
    let Some(messages) = asked.get("messages") else { return Err(invalid("messages", "is missing")) };
    drops.at = asked.position("messages");
    let conversation = Conversation::read(messages, drops)?;
    let of_tools = ["tools", "tool_choice"].into_iter().find(|name| asked.get(name).is_some());
    drops.at = asked.position(of_tools.unwrap_or("messages"));
    let tools = ToolConfig::read(asked, &conversation, drops)?;
    let mut out = Vec::with_capacity(conversation.turns.len() + conversation.system.len() + tools.json.len() + 256);
    out.push(b'{');
    if !tools.json.is_empty() {
        write::json(&mut out, "toolConfig", &tools.json);
    }
    if !conversation.system.is_empty() {
        write::list(&mut out, "system", &conversation.system);
    }
    write::list(&mut out, "messages", &conversation.turns);
    let inference = inference(asked, drops)?;
    if !inference.is_empty() {
        write::name(&mut out, "inferenceConfig");
        out.push(b'{');
        out.extend_from_slice(&inference);
        out.push(b'}');
    }
    output_config(asked, &mut out, drops)?;
    service_tier(asked, &mut out, drops);
    for (name, value) in &passed.own {
        write::raw(&mut out, name, *value);
    }
    additional(asked, passed, &mut out)?;
    out.push(b'}');
    Ok((out, tools.renamed))
}

/// The inside of `inferenceConfig`.
fn inference(asked: &RequestFields<'_>, drops: &mut Drops) -> Result<Vec<u8>, TranslateError> {
    let mut out = Vec::new();
    let mut limits = ["max_completion_tokens", "max_tokens"].into_iter();
    if let Some((name, tokens)) = limits.find_map(|name| Some((name, asked.get(name)?))) {
        if tokens.unsigned().is_none_or(|tokens| tokens == 0) {
            return Err(invalid(name, "must be a whole number above 0"));
        }
        write::raw(&mut out, "maxTokens", tokens);
    }
    if let Some(temperature) = asked.get("temperature") {
        let value = number("temperature", temperature, 2.0)?;
        if value > 1.0 {
            drops.at = asked.position("temperature");
            drops.push("temperature");
            write::json(&mut out, "temperature", b"1");
        } else {
            write::raw(&mut out, "temperature", temperature);
        }
    }
    if let Some(top_p) = asked.get("top_p") {
        number("top_p", top_p, 1.0)?;
        write::raw(&mut out, "topP", top_p);
    }
    let mut stops = Vec::new();
    if let Some(stop) = asked.get("stop") {
        let mut add = |text: RawJson<'_>| {
            if text.quoted().is_some_and(|inside| !inside.is_empty()) {
                write::comma(&mut stops);
                stops.extend_from_slice(text.bytes());
            }
            text.quoted().is_some()
        };
        let mut all_texts = true;
        if stop.is_array() {
            stop.elements().for_each(|one| all_texts &= add(one));
        } else {
            all_texts = add(stop);
        }
        if !all_texts {
            return Err(invalid("stop", "must be a string or an array of strings"));
        }
    }
    if !stops.is_empty() {
        write::list(&mut out, "stopSequences", &stops);
    }
    Ok(out)
}

/// A schema becomes `outputConfig`; JSON without a schema has no counterpart.
fn output_config(asked: &RequestFields<'_>, out: &mut Vec<u8>, drops: &mut Drops) -> Result<(), TranslateError> {
    let Some(format) = asked.get("response_format") else { return Ok(()) };
    let ([kind, schema], others) = pick_of(format, ["type", "json_schema"]);
    drops.at = asked.position("response_format");
    drops.push_fields(|| "response_format".to_owned(), &others);
    match kind.and_then(RawJson::text).as_deref() {
        Some("text") => Ok(()),
        Some("json_schema") => {
            let ([raw, name, description, _], others) =
                schema.map(|schema| pick_of(schema, ["schema", "name", "description", "strict"])).unwrap_or_default();
            let Some(raw) = raw.filter(|raw| raw.is_object()) else {
                return Err(invalid("response_format.json_schema.schema", "must be a JSON schema, which is an object"));
            };
            drops.push_fields(|| "response_format.json_schema".to_owned(), &others);
            write::name(out, "outputConfig");
            out.extend_from_slice(
                b"{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{\"jsonSchema\":{\"schema\":",
            );
            write::string(out, &String::from_utf8_lossy(raw.bytes()));
            for (name, text) in [("name", name), ("description", description)] {
                if let Some(text) = text.filter(|text| text.quoted().is_some()) {
                    write::raw(out, name, text);
                }
            }
            out.extend_from_slice(b"}}}}");
            Ok(())
        }
        Some("json_object") => {
            drops.push("response_format");
            Ok(())
        }
        _ => Err(invalid("response_format.type", "must be \"text\", \"json_object\" or \"json_schema\"")),
    }
}

fn service_tier(asked: &RequestFields<'_>, out: &mut Vec<u8>, drops: &mut Drops) {
    let Some(tier) = asked.get("service_tier") else { return };
    if ["default", "flex", "priority"].iter().any(|known| tier.is_text(known)) {
        write::name(out, "serviceTier");
        out.extend_from_slice(b"{\"type\":");
        out.extend_from_slice(tier.bytes());
        out.push(b'}');
    } else if !tier.is_text("auto") {
        drops.at = asked.position("service_tier");
        drops.push("service_tier");
    }
}

/// The place of fields that belong to a model, not to Converse.
fn additional(asked: &RequestFields<'_>, passed: &Passed<'_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
    let additional = asked.get("additionalModelRequestFields");
    if additional.is_some_and(|additional| !additional.is_object()) {
        return Err(invalid("additionalModelRequestFields", "must be an object"));
    }
    if passed.unknown.is_empty() && additional.is_none() {
        return Ok(());
    }
    write::name(out, "additionalModelRequestFields");
    out.push(b'{');
    if let Some(additional) = additional {
        additional.for_each_field(|name, value| write::clients_field(out, &unescaped_name(name), value));
    }
    for (name, value) in &passed.unknown {
        write::clients_field(out, name, *value);
    }
    out.push(b'}');
    Ok(())
}

/// A number from 0 to `most`.
fn number(name: &str, value: RawJson<'_>, most: f64) -> Result<f64, TranslateError> {
    let number = serde_json::from_slice::<f64>(value.bytes()).ok().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| invalid(name, format!("must be a number from 0 to {most}")))
}
