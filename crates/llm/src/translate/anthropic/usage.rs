//! The usage in OpenAI's form. Anthropic's `input_tokens` leave out what came from a cache and what went into one; OpenAI's
//! `prompt_tokens` include both.

use crate::translate::write;
use crate::usage::Usage;

/// Writes the fields of an answer: the usage, and the tier where it is another than the standard one.
pub(super) fn write(out: &mut Vec<u8>, usage: &Usage) {
    write::name(out, "usage");
    object(out, usage);
    if !usage.service_tier.is_standard() {
        write::name(out, "service_tier");
        write::string(out, usage.service_tier.name());
    }
}

fn object(out: &mut Vec<u8>, usage: &Usage) {
    let count = |out: &mut Vec<u8>, field, number| {
        write::name(out, field);
        write::number(out, number);
    };
    out.push(b'{');
    count(out, "prompt_tokens", usage.input());
    count(out, "completion_tokens", usage.output);
    count(out, "total_tokens", usage.total());
    write::name(out, "prompt_tokens_details");
    out.push(b'{');
    count(out, "cached_tokens", usage.cache_read);
    count(out, "cache_write_tokens", usage.cache_write);
    out.push(b'}');
    write::name(out, "completion_tokens_details");
    out.push(b'{');
    count(out, "reasoning_tokens", usage.reasoning);
    out.push(b'}');
    if usage.cache_write_1h > 0 {
        // No counterpart at OpenAI, and dearer: kept in Anthropic's words.
        write::name(out, "cache_creation");
        out.push(b'{');
        count(out, "ephemeral_5m_input_tokens", usage.cache_write.saturating_sub(usage.cache_write_1h));
        count(out, "ephemeral_1h_input_tokens", usage.cache_write_1h);
        out.push(b'}');
    }
    out.push(b'}');
}
