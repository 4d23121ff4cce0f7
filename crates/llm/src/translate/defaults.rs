//! Which fields of a request to OpenAI's API are OpenAI's alone, and which ask for what happens without them: leaving one of these out
//! takes nothing from the client.

use crate::json::RawJson;

/// Fields of OpenAI's that never pass as they are: no protocol that requests are translated to means the same by them. Source:
/// `CompletionCreateParams` of the SDK `openai` 3.54.0.
pub(super) const OPENAI_ALONE: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "metadata",
    "modalities",
    "moderation",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "service_tier",
    "store",
    "top_logprobs",
    "user",
    "verbosity",
    "web_search_options",
];

/// Whether this field of the request itself asks for what happens anyway.
///
/// Source: the defaults in `CompletionCreateParams` of the SDK `openai` 3.54.0. Of a field that is not listed here, `false` says
/// something, since what is on by default is switched off by it.
pub(crate) fn asks_for_nothing(name: &str, value: RawJson<'_>) -> bool {
    if value.is_null() {
        return true;
    }
    match name {
        "frequency_penalty" | "presence_penalty" | "top_logprobs" => number(value) == Some(0.0),
        "n" | "best_of" => number(value) == Some(1.0),
        "service_tier" => value.is_text("auto") || value.is_text("default"),
        "modalities" => {
            let kinds: Vec<_> = value.elements().collect();
            value.is_blank() || matches!(*kinds, [kind] if kind.is_text("text"))
        }
        "response_format" => value.field("type").is_some_and(|kind| kind.is_text("text")),
        "parallel_tool_calls" => value.is_true(),
        "logprobs" | "store" | "stream" | "echo" => value.is_blank(),
        // An empty object switches the search on.
        "web_search_options" => false,
        _ => value.is_blank() && value.bytes() != b"false",
    }
}

fn number(value: RawJson<'_>) -> Option<f64> {
    serde_json::from_slice(value.bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_ask_for_nothing_and_fields_that_ask_for_something() {
        for (name, nothing, something) in [
            ("n", &["1", "1.0", "null"][..], &["2", "0", "\"1\""][..]),
            ("frequency_penalty", &["0", "-0.0", "0e3", "0.00", "null"], &["0.1", "-1"]),
            ("presence_penalty", &["0"], &["1"]),
            ("top_logprobs", &["0"], &["5"]),
            ("seed", &["null"], &["0", "7"]),
            ("store", &["false", "null"], &["true"]),
            ("logprobs", &["false"], &["true", "0", "3"]),
            ("logit_bias", &["{}", "{ }"], &["{\"5\":0}"]),
            ("metadata", &["{}"], &["{\"a\":\"b\"}"]),
            ("modalities", &["[\"text\"]", "[ \"text\" ]", "[]"], &["[\"text\",\"audio\"]", "[\"audio\"]"]),
            ("service_tier", &["\"auto\"", "\"default\""], &["\"flex\""]),
            ("response_format", &["{\"type\":\"text\"}"], &["{\"type\":\"json_object\"}"]),
            ("web_search_options", &["null"], &["{}", "{\"user_location\":null}"]),
            ("parallel_tool_calls", &["true", "null"], &["false"]),
            ("user", &["\"\""], &["\"u\""]),
            ("enable_thinking", &["null"], &["false", "true"]),
        ] {
            for (values, expected) in [(nothing, true), (something, false)] {
                for value in values {
                    let value = RawJson::parse(value.as_bytes()).unwrap();
                    assert_eq!(asks_for_nothing(name, value), expected, "{name}: {value:?}");
                }
            }
        }
    }
}
