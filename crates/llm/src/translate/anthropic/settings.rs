//! Limits, sampling, thinking, the answer's form and who asks.

use super::conversation::Conversation;
use super::request::Draft;
use super::tools::Tools;
use super::{Thinking, schema};
use crate::json::RawJson;
use crate::translate::object_fields::pick_of;
use crate::translate::write;
use crate::translate::{Content, TranslateError, invalid};

/// The least that may be thought (`ThinkingConfigEnabledParam` of the vendor's SDK).
const MIN_BUDGET_TOKENS: u64 = 1024;
/// The most that is thought without being asked for more by name.
const BUDGETS: [(&str, u64); 6] =
    [("minimal", 1024), ("low", 1024), ("medium", 2048), ("high", 4096), ("xhigh", 8192), ("max", 16384)];
/// A longer `metadata.user_id` is refused.
const MAX_USER_ID_BYTES: usize = 256;

/// The settings of a request.
pub(super) struct RequestSettings {
    max_tokens: u64,
    /// The other fields, with commas between them.
    fields: Vec<u8>,
}

impl RequestSettings {
    pub(super) fn read(
        draft: &mut Draft<'_, '_>,
        conversation: &Conversation<'_>,
        tools: &Tools,
    ) -> Result<Self, TranslateError> {
        let mut settings = Self { max_tokens: max_tokens(draft)?, fields: Vec::new() };
        let mut output = Vec::new();
        let thinks = settings.thinking(draft, conversation, tools, &mut output)?;
        settings.sampling(draft, thinks)?;
        settings.stop(draft)?;
        response_format(draft, &mut output)?;
        if !output.is_empty() {
            write::name(&mut settings.fields, "output_config");
            settings.fields.push(b'{');
            settings.fields.append(&mut output);
            settings.fields.push(b'}');
        }
        settings.user(draft);
        match draft.fields.get("cache_control") {
            Some(mark) if mark.is_object() => write::raw(&mut settings.fields, "cache_control", mark),
            Some(mark) if !mark.is_blank() => draft.leave_out("cache_control", "cache_control"),
            _ => {}
        }
        Ok(settings)
    }

    pub(super) fn write_limit(&self, out: &mut Vec<u8>) {
        write::name(out, "max_tokens");
        write::number(out, self.max_tokens);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if !self.fields.is_empty() {
            write::comma(out);
            out.extend_from_slice(&self.fields);
        }
    }

    /// Returns whether the model thinks. The vendor's own `thinking` counts more than `reasoning_effort`.
    fn thinking(
        &mut self,
        draft: &mut Draft<'_, '_>,
        conversation: &Conversation<'_>,
        tools: &Tools,
        output: &mut Vec<u8>,
    ) -> Result<bool, TranslateError> {
        let effort = draft.fields.get("reasoning_effort");
        if let Some(own) = draft.fields.get("thinking") {
            if draft.options.thinking == Thinking::None {
                draft.leave_out("thinking", "thinking");
            } else {
                write::raw(&mut self.fields, "thinking", own);
                if effort.is_some() {
                    draft.leave_out("reasoning_effort", "reasoning_effort");
                }
                return Ok(!own.field("type").is_some_and(|kind| kind.is_text("disabled")));
            }
        }
        let Some(effort) = effort else { return Ok(false) };
        let effort = effort.text().unwrap_or_default();
        let Some((_, budget)) = BUDGETS.iter().find(|(name, _)| *name == effort) else {
            if effort != "none" {
                let message = "it is none of `none`, `minimal`, `low`, `medium`, `high`, `xhigh` and `max`";
                return Err(invalid("reasoning_effort", message));
            }
            if draft.options.thinking == Thinking::Adaptive {
                // assumed: where thinking is on by default it can be turned off.
                write::json(&mut self.fields, "thinking", b"{\"type\":\"disabled\"}");
            }
            return Ok(false);
        };
        match draft.options.thinking {
            Thinking::None => draft.leave_out("reasoning_effort", "reasoning_effort"),
            Thinking::Adaptive => {
                write::text(output, "effort", if effort == "minimal" { "low" } else { &effort });
                // A forced call and thinking exclude each other (platform.claude.com, extended thinking); the effort counts alone.
                if !tools.forces_a_call() {
                    write::json(&mut self.fields, "thinking", b"{\"type\":\"adaptive\"}");
                    return Ok(true);
                }
            }
            Thinking::Budget => {
                // Half of the limit stays for the answer. A turn that called tools must begin with its thinking if the next one
                // shall think, and clients may not have kept it.
                let budget = (*budget).min(self.max_tokens / 2);
                if budget >= MIN_BUDGET_TOKENS && !tools.forces_a_call() && !conversation.calls_without_thinking {
                    write::name(&mut self.fields, "thinking");
                    self.fields.extend_from_slice(b"{\"type\":\"enabled\",\"budget_tokens\":");
                    write::number(&mut self.fields, budget);
                    self.fields.push(b'}');
                    return Ok(true);
                }
                draft.leave_out("reasoning_effort", "reasoning_effort");
            }
        }
        Ok(false)
    }

    fn sampling(&mut self, draft: &mut Draft<'_, '_>, thinks: bool) -> Result<(), TranslateError> {
        // A model that thinks takes none of them (platform.claude.com, extended thinking).
        let takes = draft.options.sampling && draft.options.rules().sampling && !thinks;
        let mut has_temperature = false;
        for (name, most) in [("temperature", 2.0), ("top_p", 1.0), ("top_k", f64::MAX)] {
            let Some(value) = draft.fields.get(name) else { continue };
            let number = decimal(value).filter(|number| (0.0..=most).contains(number));
            let number = number.ok_or_else(|| match name {
                "top_k" => invalid(name, "it is no number from 0"),
                _ => invalid(name, format!("it is no number from 0 to {most}")),
            })?;
            // assumed: models from 4.5 on refuse both; older ones advise against it.
            if !takes || (name == "top_p" && has_temperature) {
                draft.leave_out(name, name);
            } else if name == "temperature" && number > 1.0 {
                // The vendor's go to 1.
                draft.leave_out(name, name);
                write::json(&mut self.fields, name, b"1");
                has_temperature = true;
            } else {
                write::raw(&mut self.fields, name, value);
                has_temperature |= name == "temperature";
            }
        }
        Ok(())
    }

    fn stop(&mut self, draft: &mut Draft<'_, '_>) -> Result<(), TranslateError> {
        let Some(stop) = draft.fields.get("stop") else { return Ok(()) };
        let mut list = vec![b'['];
        let (mut has_blank, mut has_other) = (false, false);
        let mut add = |value: RawJson<'_>| {
            if value.text().is_none() {
                has_other = true;
            } else if write::is_blank_string(value) {
                has_blank = true;
            } else {
                write::comma(&mut list);
                list.extend_from_slice(value.bytes());
            }
        };
        if stop.is_array() {
            stop.elements().for_each(&mut add)
        } else {
            add(stop)
        }
        if has_other {
            return Err(invalid("stop", "it is neither a text nor an array of texts"));
        }
        if has_blank {
            // "each stop sequence must contain non-whitespace".
            draft.leave_out("stop", "stop");
        }
        if list.len() > 1 {
            list.push(b']');
            write::name(&mut self.fields, "stop_sequences");
            self.fields.append(&mut list);
        }
        Ok(())
    }

    fn user(&mut self, draft: &mut Draft<'_, '_>) {
        let [user, identifier] = ["user", "safety_identifier"].map(|name| {
            let value = draft.fields.get(name)?;
            if value.text().is_none() && !value.is_blank() {
                draft.leave_out(name, name);
            }
            value.text().filter(|text| !text.is_empty())
        });
        if user.is_some() && identifier.is_some() && user != identifier {
            draft.leave_out("safety_identifier", "safety_identifier");
        }
        let Some(user) = user.or(identifier) else { return };
        write::name(&mut self.fields, "metadata");
        self.fields.push(b'{');
        if is_personal(&user) || user.len() > MAX_USER_ID_BYTES {
            write::text(&mut self.fields, "user_id", &format!("user_{:032x}", hash(&user)));
        } else {
            write::text(&mut self.fields, "user_id", &user);
        }
        self.fields.push(b'}');
    }
}

fn max_tokens(draft: &Draft<'_, '_>) -> Result<u64, TranslateError> {
    for name in ["max_completion_tokens", "max_tokens"] {
        if let Some(value) = draft.fields.get(name) {
            let number = value.unsigned().filter(|number| *number > 0);
            return number.ok_or_else(|| invalid(name, "it is not a whole number from 1"));
        }
    }
    Ok(draft.options.default_max_tokens.max(1))
}

fn response_format(draft: &mut Draft<'_, '_>, output: &mut Vec<u8>) -> Result<(), TranslateError> {
    const NAME: &str = "response_format";
    let Some(format) = draft.fields.get(NAME) else { return Ok(()) };
    let ([kind, named], others) = pick_of(format, ["type", "json_schema"]);
    draft.drops_of(NAME).push_fields(|| NAME.to_owned(), &others);
    match kind.and_then(RawJson::text).as_deref() {
        Some("text") => Ok(()),
        // The vendor has no form "any JSON", and its schemas must be closed: a wish, not a guarantee. The conversation has a
        // sentence that asks for it.
        Some("json_object") => {
            draft.leave_out(NAME, NAME);
            Ok(())
        }
        Some("json_schema") => {
            // The name says nothing about the answer, and what is taken is always enforced.
            let ([schema, ..], others) =
                named.map(|named| pick_of(named, ["schema", "name", "strict"])).unwrap_or_default();
            let Some(schema) = schema.filter(|schema| schema.is_object()) else {
                return Err(invalid("response_format.json_schema.schema", "it is missing or no object"));
            };
            let takes_schemas = draft.options.schemas;
            let drops = draft.drops_of(NAME);
            if !takes_schemas {
                drops.push_content(NAME, Some(Content::Schema));
                return Ok(());
            }
            drops.push_fields(|| format!("{NAME}.json_schema"), &others);
            write::name(output, "format");
            output.extend_from_slice(b"{\"type\":\"json_schema\",\"schema\":");
            schema::write_enforced(output, schema, true, "response_format.json_schema.schema", drops);
            output.push(b'}');
            Ok(())
        }
        _ => Err(invalid("response_format.type", "it is none of `text`, `json_object` and `json_schema`")),
    }
}

fn decimal(value: RawJson<'_>) -> Option<f64> {
    std::str::from_utf8(value.bytes()).ok()?.parse().ok()
}

/// E-mail addresses and phone numbers are refused as `metadata.user_id` (LiteLLM, `_valid_user_id`).
fn is_personal(user: &str) -> bool {
    let digits = user.bytes().filter(u8::is_ascii_digit).count();
    let of_a_number = |letter: char| letter.is_ascii_digit() || " +-.()/".contains(letter);
    user.contains('@') || (digits >= 7 && user.chars().all(of_a_number))
}

/// FNV-1a with 128 bits: hides the text from a reader, not from someone who tries all addresses, as no hash without a key does.
fn hash(text: &str) -> u128 {
    const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.bytes().fold(START, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}
