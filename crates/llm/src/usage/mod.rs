//! The tokens that a call used: one value from every vendor's shape, whole answers and streams.
//!
//! Vendors differ in what their numbers include. OpenAI's `prompt_tokens` and Gemini's `promptTokenCount` include what came from
//! the cache, Anthropic's `input_tokens` and Bedrock's `inputTokens` do not. OpenAI's `completion_tokens` include reasoning;
//! Gemini's `candidatesTokenCount` do not, nor do those of xAI and of Gemini's OpenAI endpoint, which only the total shows.
//! A number that is negative, fractional, text or larger than [`MAX_TOKENS`] makes the whole usage invalid: unknown is better
//! than wrong.

mod bare;
pub(crate) mod objects;

use crate::json::{Cursor, RawJson, SyntaxError};
use crate::prices::ServiceTier;

/// No call uses more tokens of a kind than this.
pub const MAX_TOKENS: u64 = 1_000_000_000;
/// Output of which only the total shows is reasoning (Gemini's OpenAI endpoint). Where the reasoning is not stated, a total that shows
/// more of it cannot be believed. assumed: Gemini's models write at most 65,536 tokens, reasoning included (ai.google.dev, models), and
/// no other vendor's that leave it out more than twice as many.
pub const MAX_UNSTATED_OUTPUT: u64 = 131_072;
/// The number of bytes per token by which tokens are estimated where a vendor does not count them.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

/// The tokens that a call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Input that was neither read from a cache nor written to one.
    pub input_uncached: u64,
    /// Input read from the vendor's cache.
    pub cache_read: u64,
    /// Input written to the vendor's cache, for however long.
    pub cache_write: u64,
    /// The part of `cache_write` that is kept for an hour, which costs more.
    pub cache_write_1h: u64,
    /// Output, reasoning and audio included.
    pub output: u64,
    /// The part of `output` that is reasoning.
    pub reasoning: u64,
    /// The part of the input that is audio.
    pub audio_input: u64,
    /// The part of `output` that is audio.
    pub audio_output: u64,
    /// The vendor did not count, or not to the end: estimated from bytes.
    pub estimated: bool,
    /// How the call was served, by which its price differs.
    #[serde(skip_serializing_if = "ServiceTier::is_standard")]
    pub service_tier: ServiceTier,
}

impl Usage {
    /// All input.
    pub const fn input(&self) -> u64 {
        self.input_uncached.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// All input and output.
    pub const fn total(&self) -> u64 {
        self.input().saturating_add(self.output)
    }
}

/// A usage that cannot be believed, and so is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsage {
    #[error("the usage has no number of input tokens")]
    Missing,
    /// A number is none, negative, fractional or too large, or the total says far more than its parts.
    #[error("the usage has a number that cannot be believed")]
    Implausible,
}

/// What a whole answer says: any vendor's, also a stream that came as one JSON array. `Ok(None)` if it says nothing.
///
/// # Errors
/// It has a usage that cannot be believed.
pub fn of_answer(body: &[u8]) -> Result<Option<Usage>, InvalidUsage> {
    TokenCounts::of_answer(body).usage()
}

/// What a whole answer says at which a cursor stands, and the answer itself. Moves behind it.
///
/// # Errors
/// The answer has no end.
pub fn of_value<'a>(
    answer: &mut Cursor<'a>,
) -> Result<(RawJson<'a>, Result<Option<Usage>, InvalidUsage>), SyntaxError> {
    let mut counts = TokenCounts::default();
    let raw = answer.raw_with(|answer| counts.read_answer(answer))?;
    Ok((raw, counts.usage()))
}

/// What a whole stream of JSON objects says, one a line (Ollama, Cohere), or, where it was not counted to its end, an estimate.
/// `request_bytes` is the length of the request's body.
///
/// # Errors
/// It has a usage that cannot be believed.
pub fn of_lines(lines: &[u8], request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
    let mut usage = objects::LineUsage::default();
    usage.push(lines, |_| {});
    usage.finish(|_| {});
    usage.usage_or_estimate(request_bytes)
}

/// What a usage object says that was found already, such as the gateway's `token_count`.
///
/// # Errors
/// It cannot be believed.
pub fn of_object(usage: &[u8]) -> Result<Option<Usage>, InvalidUsage> {
    let mut counts = TokenCounts::default();
    if let Ok(usage) = RawJson::parse(usage) {
        counts.read(usage);
    }
    counts.usage()
}

/// The numbers of one call as its vendor gives them. In a stream a later number replaces an earlier one and is never added
/// to it: all vendors send running totals.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenCounts {
    /// There was a usage at all.
    seen: bool,
    /// It is counted in seconds, not in tokens.
    in_seconds: bool,
    /// Cached input is not part of the input.
    exclusive: bool,
    /// The total shows what the other numbers leave out.
    total_is_decisive: bool,
    /// A number in it cannot be believed.
    invalid: bool,
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: Option<u64>,
    reasoning: Option<u64>,
    /// Gemini's reasoning, which is not part of its output.
    thoughts: Option<u64>,
    /// Gemini's results of tools, which are not part of its input.
    tool_input: Option<u64>,
    audio_input: Option<u64>,
    audio_output: Option<u64>,
    tier: Option<ServiceTier>,
    /// Anthropic's faster mode, whatever the tier. assumed: `usage.speed` is `fast` exactly where it served the call, and the price
    /// table, which has no prices of it, does not hold; so the cost is unknown.
    fast: bool,
}

impl TokenCounts {
    /// Of a whole answer.
    pub(crate) fn of_answer(body: &[u8]) -> Self {
        let mut counts = Self::default();
        // What breaks off is read as far as it goes.
        let _ = counts.read_answer(&mut Cursor::new(body));
        counts
    }

    /// Reads the usage of a whole answer, and moves behind it.
    fn read_answer(&mut self, answer: &mut Cursor<'_>) -> Result<(), SyntaxError> {
        if answer.peek() == Some(b'[') {
            return answer.elements(|element| {
                self.read_top(element.raw()?);
                Ok(())
            });
        }
        answer.fields(|name, value| {
            self.top_field(name, value.raw()?);
            Ok(())
        })
    }

    /// Whether the vendor has said anything.
    pub(crate) const fn has_any(&self) -> bool {
        self.seen
    }

    /// The output, as the vendor counts it so far; Gemini leaves reasoning out.
    pub(crate) const fn stated_output(&self) -> Option<u64> {
        self.output
    }

    /// Reads the usage wherever it stands in an answer or in the data of an event.
    pub(crate) fn read_top(&mut self, answer: RawJson<'_>) {
        answer.for_each_field(|name, value| self.top_field(name, value));
    }

    fn top_field(&mut self, name: &[u8], value: RawJson<'_>) {
        match name {
            b"usage" | b"usageMetadata" | b"usage_metadata" | b"token_count" => self.read(value),
            b"response" | b"message" | b"x_groq" if value.is_object() => self.read_holder(value),
            b"service_tier" | b"serviceTier" => self.read_tier(value),
            _ => self.bare_field(name, value),
        }
    }

    /// Reads what an object says that may hold an answer.
    pub(crate) fn read_holder(&mut self, holder: RawJson<'_>) {
        holder.for_each_field(|name, value| match name {
            b"usage" => self.read(value),
            b"service_tier" => self.read_tier(value),
            // Cohere's last event of version 1.
            b"meta" => self.bare_field(name, value),
            _ => {}
        });
    }

    /// Reads the tier that an answer names: a text, or Bedrock's `{"type": "flex"}`.
    pub(crate) fn read_tier(&mut self, value: RawJson<'_>) {
        if value.is_null() {
            return;
        }
        let name = if value.is_object() { value.field("type") } else { Some(value) };
        let name = name.and_then(RawJson::text);
        self.tier = Some(name.map_or(ServiceTier::Other, |name| ServiceTier::of_answer(&name)));
    }

    /// How the call is served, as far as it is known.
    pub(crate) fn service_tier(&self) -> ServiceTier {
        if self.fast { ServiceTier::Other } else { self.tier.unwrap_or_default() }
    }

    /// Reads a usage object.
    pub(crate) fn read(&mut self, usage: RawJson<'_>) {
        if usage.is_null() {
            return;
        }
        self.seen = true;
        usage.for_each_field(|name, value| self.field(name, value));
    }

    fn field(&mut self, name: &[u8], value: RawJson<'_>) {
        match name {
            b"prompt_tokens" => {
                self.total_is_decisive = true;
                self.number(value, |counts| &mut counts.input);
            }
            b"input_tokens" | b"inputTokens" | b"promptTokenCount" => self.number(value, |counts| &mut counts.input),
            b"completion_tokens" | b"output_tokens" | b"outputTokens" | b"candidatesTokenCount" => {
                self.number(value, |counts| &mut counts.output);
            }
            b"total_tokens" | b"totalTokens" | b"totalTokenCount" => self.number(value, |counts| &mut counts.total),
            // Models of Nova that are invoked write Converse's names with `Count` (nova userguide, using-invoke-api).
            b"cache_read_input_tokens" | b"cacheReadInputTokens" | b"cacheReadInputTokenCount" => {
                self.exclusive = true;
                self.number(value, |counts| &mut counts.cache_read);
            }
            b"cache_creation_input_tokens" | b"cacheWriteInputTokens" | b"cacheWriteInputTokenCount" => {
                self.exclusive = true;
                self.number(value, |counts| &mut counts.cache_write);
            }
            b"cachedContentTokenCount" | b"prompt_cache_hit_tokens" | b"cached_tokens" => {
                self.number(value, |counts| &mut counts.cache_read);
            }
            b"thoughtsTokenCount" => self.number(value, |counts| &mut counts.thoughts),
            b"toolUsePromptTokenCount" => self.number(value, |counts| &mut counts.tool_input),
            b"reasoning_tokens" => self.number(value, |counts| &mut counts.reasoning),
            b"seconds" => self.in_seconds = true,
            b"tokens" if value.is_object() => value.for_each_field(|name, value| self.field(name, value)),
            _ => self.details(name, value),
        }
    }

    /// The parts of input and output.
    fn details(&mut self, name: &[u8], value: RawJson<'_>) {
        match name {
            b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => {
                value.for_each_field(|name, value| match name {
                    b"cached_tokens" => self.number(value, |counts| &mut counts.cache_read),
                    b"audio_tokens" => self.number(value, |counts| &mut counts.audio_input),
                    b"cache_write_tokens" | b"cache_creation_tokens" => {
                        self.number(value, |counts| &mut counts.cache_write);
                    }
                    _ => {}
                });
            }
            b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
                value.for_each_field(|name, value| match name {
                    b"reasoning_tokens" | b"thinking_tokens" => {
                        self.number(value, |counts| &mut counts.reasoning);
                    }
                    b"audio_tokens" => self.number(value, |counts| &mut counts.audio_output),
                    _ => {}
                });
            }
            b"service_tier" | b"serviceTier" | b"trafficType" => self.read_tier(value),
            b"speed" => self.fast = value.is_text("fast"),
            b"cache_creation" => value.for_each_field(|name, value| {
                if name == b"ephemeral_1h_input_tokens" {
                    self.number(value, |counts| &mut counts.cache_write_1h);
                }
            }),
            b"promptTokensDetails" => self.audio(value, |counts| &mut counts.audio_input),
            b"candidatesTokensDetails" => self.audio(value, |counts| &mut counts.audio_output),
            _ => {}
        }
    }

    /// The audio among Gemini's `[{"modality": "AUDIO", "tokenCount": 5}]`.
    fn audio(&mut self, list: RawJson<'_>, place: impl Fn(&mut Self) -> &mut Option<u64>) {
        let is_audio = |part: &RawJson<'_>| part.field("modality").is_some_and(|modality| modality.is_text("AUDIO"));
        let counts = list.elements().filter(is_audio).filter_map(|part| part.field("tokenCount"));
        counts.for_each(|count| self.number(count, &place));
    }

    fn number(&mut self, value: RawJson<'_>, place: impl Fn(&mut Self) -> &mut Option<u64>) {
        if value.is_null() {
            return;
        }
        // Some servers write 12.0.
        let bare = value.bytes();
        let digits = bare.strip_suffix(b".0").unwrap_or(bare);
        let number = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match number.and_then(|text| text.parse().ok()).filter(|number| *number <= MAX_TOKENS) {
            Some(number) => *place(self) = Some(number),
            None => self.invalid = true,
        }
    }

    /// What a call has used whose vendor did not count to its end: what it did count, and the rest by the lengths of the request's body
    /// and of the content, in bytes.
    pub(crate) fn estimate(&self, request_bytes: u64, content_bytes: u64) -> Usage {
        let counted = self.usage().ok().flatten();
        let output = content_bytes.div_ceil(BYTES_PER_TOKEN).max(self.output.unwrap_or(0));
        let input = Usage { input_uncached: request_bytes.div_ceil(BYTES_PER_TOKEN), ..Usage::default() };
        Usage { output, estimated: true, service_tier: self.service_tier(), ..counted.unwrap_or(input) }
    }

    /// What all of it means; `Ok(None)` if the vendor has said nothing.
    ///
    /// # Errors
    /// It cannot be believed.
    pub fn usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        if self.invalid {
            return Err(InvalidUsage::Implausible);
        }
        let known = |total: Option<u64>, part: Option<u64>| total.map(|total| total.saturating_sub(part.unwrap_or(0)));
        let Some(input) = self.input.or_else(|| known(self.total, self.output)) else {
            return if self.seen && !self.in_seconds { Err(InvalidUsage::Missing) } else { Ok(None) };
        };
        let total = self.total.filter(|_| self.total_is_decisive);
        let unstated = if self.output.is_none() { known(total, Some(input)).unwrap_or(0) } else { 0 };
        let output = self.output.unwrap_or(unstated);
        let (cache_read, cache_write) = (self.cache_read.unwrap_or(0), self.cache_write.unwrap_or(0));
        let cached = cache_read + cache_write;
        let reasoning = self.reasoning.unwrap_or(0);
        // What the total has more than the other numbers is what they leave out.
        let left_out = total.unwrap_or(0).saturating_sub(input + output);
        let cache_is_left_out = cached > 0 && left_out == cached;
        let exclusive = (self.exclusive && !self.total_is_decisive) || cache_is_left_out || cached > input;
        let hidden = if cache_is_left_out { 0 } else { left_out };
        if hidden.max(unstated) > reasoning.max(MAX_UNSTATED_OUTPUT) {
            return Err(InvalidUsage::Implausible);
        }
        // Where the reasoning is stated, that and no more is what the output may leave out.
        let hidden = if reasoning > 0 { hidden.min(reasoning) } else { hidden };
        let hidden = if reasoning > output { hidden.max(reasoning) } else { hidden };
        let thoughts = self.thoughts.unwrap_or(0);
        let output = output + thoughts + hidden;
        let input_uncached = if exclusive { input } else { input - cached } + self.tool_input.unwrap_or(0);
        Ok(Some(Usage {
            input_uncached,
            cache_read,
            cache_write,
            cache_write_1h: self.cache_write_1h.unwrap_or(0).min(cache_write),
            output,
            reasoning: (reasoning.max(hidden) + thoughts).min(output),
            audio_input: self.audio_input.unwrap_or(0).min(input_uncached + cached),
            audio_output: self.audio_output.unwrap_or(0).min(output),
            estimated: false,
            service_tier: self.service_tier(),
        }))
    }
}
