//! Prompt and answer of a call as the messages of OpenTelemetry's conventions for generative AI: a role and its parts each.
//!
//! Source: `open-telemetry/semantic-conventions-genai`, schema 1.42.0, `docs/gen-ai/gen-ai-input-messages.json`,
//! `gen-ai-output-messages.json` and `gen-ai-system-instructions.json`. What is read are bodies of OpenAI's chat completions,
//! completions and responses and of Anthropic's Messages, whole and streamed. Anything else, a body that is cut among it, has none.

mod input;
mod output;
mod parts;
mod streamed;

use serde_json::Value;

pub use input::{InputMessages, input};

/// The messages of an answer, a stream's events included; `None` if it is no answer that is known.
pub fn output(body: &[u8]) -> Option<Value> {
    let messages = match body.trim_ascii_start().first() {
        Some(b'{') => output::of_answer(&serde_json::from_slice(body).ok()?),
        _ => streamed::of_events(body),
    };
    Some(Value::Array(messages)).filter(|messages| messages.as_array().is_some_and(|messages| !messages.is_empty()))
}

#[cfg(test)]
mod tests;
