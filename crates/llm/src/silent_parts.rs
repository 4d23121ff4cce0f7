//! Parts of an answer in which nothing is said: texts that are empty. Anything else, and what is not known, says something.

use crate::answer::says_nothing;
use crate::json::RawJson;

/// Whether these are parts, or messages of parts, and none says anything.
pub(crate) fn are_silent(parts: RawJson<'_>) -> bool {
    parts.is_array() && !parts.is_blank() && parts.elements().all(is_silent)
}

/// Whether this is a part, or a message of parts, that says nothing: Gemini's `{"text": ""}`, those of OpenAI's forms and Anthropic's.
pub(crate) fn is_silent(part: RawJson<'_>) -> bool {
    let (mut silent, mut has_text) = (part.is_object(), false);
    part.for_each_field(|name, value| {
        has_text |= matches!(name, b"text" | b"content");
        silent &= match name {
            b"type" => ["text", "output_text", "message"].iter().any(|kind| value.is_text(kind)),
            b"content" => value.is_blank() || are_silent(value),
            // An end before its time explains why there is nothing.
            b"status" => value.is_text("completed"),
            _ => says_nothing(name) || value.is_blank(),
        };
    });
    silent && has_text
}
