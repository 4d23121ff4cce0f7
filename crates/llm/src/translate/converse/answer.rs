//! A whole answer of `converse` as a chat completion.

use crate::json::RawJson;
use crate::prices::ServiceTier;
use crate::translate::completion::{Message, write_head};
use crate::translate::{AnswerId, BrokenAnswer, ChatContext, checked_json, write};

/// Translates a whole answer with a good status.
///
/// # Errors
/// It is no answer of Converse's, or one that says of itself that it is malformed.
pub fn answer(body: &[u8], context: &ChatContext, id: &AnswerId) -> Result<Vec<u8>, BrokenAnswer> {
    let body = checked_json(body).filter(|body| body.is_object()).ok_or(BrokenAnswer("it is no JSON object"))?;
    let message = body.field("output").and_then(|output| output.field("message"));
    let content = message.and_then(|message| message.field("content")).filter(|content| content.is_array());
    let Some(content) = content else { return Err(BrokenAnswer("it has no message")) };
    let mut blocks = Blocks::default();
    content.elements().try_for_each(|block| blocks.take(block, context))?;
    let finish = finish_reason(body.field("stopReason"), blocks.called)?;
    let mut out = Vec::with_capacity(body.bytes().len() + 256);
    out.push(b'{');
    let model = write::to_json(&context.model);
    write_head(&mut out, "chat.completion", &write::to_json(&id.id), id.created, &model);
    blocks.message.write(None, finish, &mut out);
    if let Some(usage) = TokenUsage::read(body) {
        usage.write(&mut out);
    }
    out.push(b'}');
    Ok(out)
}

/// Whose tools an answer calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Called {
    /// The client's.
    pub(super) clients: bool,
    /// The vendor ran a tool of its own, which is no call of the client's.
    pub(super) vendors_own: bool,
}

/// Why an answer ended, in OpenAI's words.
pub(super) fn finish_reason(reason: Option<RawJson<'_>>, called: Called) -> Result<&'static str, BrokenAnswer> {
    let reason = reason.and_then(RawJson::text).ok_or(BrokenAnswer("it does not say why it ended"))?;
    Ok(match &*reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "content_filtered" | "guardrail_intervened" => "content_filter",
        "malformed_model_output" | "malformed_tool_use" => return Err(BrokenAnswer("the model's output is malformed")),
        // Some models call a tool and say `end_turn`; and trap 13: no `tool_calls` without a call.
        _ if called.clients => "tool_calls",
        "tool_use" if !called.vendors_own => return Err(BrokenAnswer("it stops for a tool call and has none")),
        _ => "stop",
    })
}

/// What the blocks of an answer hold.
#[derive(Debug, Default)]
struct Blocks {
    message: Message,
    called: Called,
}

impl Blocks {
    fn take(&mut self, block: RawJson<'_>, context: &ChatContext) -> Result<(), BrokenAnswer> {
        let mut result = Ok(());
        block.for_each_field(|name, value| match name {
            b"text" => self.message.add_text(value.quoted().unwrap_or_default()),
            b"citationsContent" => {
                let parts = value.field("content").into_iter().flat_map(RawJson::elements);
                for text in parts.filter_map(|part| part.field("text")) {
                    self.message.add_text(text.quoted().unwrap_or_default());
                }
            }
            b"reasoningContent" => self.reasoning(value),
            b"toolUse" => result = self.tool_call(value, context),
            _ => {}
        });
        result
    }

    fn reasoning(&mut self, reasoning: RawJson<'_>) {
        if let Some(redacted) = reasoning.field("redactedContent") {
            self.message.add_redacted(redacted);
        }
        let Some(reasoning) = reasoning.field("reasoningText") else { return };
        let text = reasoning.field("text");
        if let Some(text) = text {
            self.message.add_reasoning(text.quoted().unwrap_or_default());
        }
        // Only what is signed is sent back.
        if let Some(signature) = reasoning.field("signature") {
            let text = text.map_or(&b"\"\""[..], RawJson::bytes);
            self.message.add_thinking(Some(text), Some(signature.bytes()));
        }
    }

    fn tool_call(&mut self, call: RawJson<'_>, context: &ChatContext) -> Result<(), BrokenAnswer> {
        if call.field("type").is_some_and(|kind| kind.is_text("server_tool_use")) {
            self.called.vendors_own = true;
            return Ok(());
        }
        self.message.add_call(call, "toolUseId", context)?;
        self.called.clients = true;
        Ok(())
    }
}

/// The tokens of an answer. Trap 6: Converse counts what comes from a cache or goes into one apart from the input, OpenAI as a
/// part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenUsage {
    input: u64,
    output: u64,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    tier: ServiceTier,
}

impl TokenUsage {
    /// What an answer, or the last event of a stream, says. `None` where a number is missing or cannot be believed: unknown is
    /// better than wrong.
    pub(super) fn read(answer: RawJson<'_>) -> Option<Self> {
        let usage = answer.field("usage")?;
        let tier = answer.field("serviceTier").and_then(|tier| tier.field("type")).and_then(RawJson::text);
        let tier = tier.map_or(ServiceTier::Standard, |tier| ServiceTier::of_answer(&tier));
        let number =
            |name| usage.field(name).and_then(RawJson::unsigned).filter(|count| *count <= crate::usage::MAX_TOKENS);
        let (cache_read, cache_write) = (number("cacheReadInputTokens"), number("cacheWriteInputTokens"));
        Some(Self { input: number("inputTokens")?, output: number("outputTokens")?, cache_read, cache_write, tier })
    }

    /// Writes the fields of an answer: the usage, and the tier where it is another than the standard one.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"usage\":");
        let input = self.input + self.cache_read.unwrap_or(0) + self.cache_write.unwrap_or(0);
        let (output, total) = (self.output, input + self.output);
        let numbers = format!("{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total}");
        out.extend_from_slice(numbers.as_bytes());
        let details = [("cached_tokens", self.cache_read), ("cache_write_tokens", self.cache_write)];
        let details: Vec<_> =
            details.iter().filter_map(|(name, count)| Some(format!("\"{name}\":{}", (*count)?))).collect();
        if !details.is_empty() {
            out.extend_from_slice(format!(",\"prompt_tokens_details\":{{{}}}", details.join(",")).as_bytes());
        }
        out.push(b'}');
        if !self.tier.is_standard() {
            out.extend_from_slice(format!(",\"service_tier\":\"{}\"", self.tier.name()).as_bytes());
        }
    }
}
