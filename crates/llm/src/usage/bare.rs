//! Numbers of tokens that stand among the other fields of an answer or a chunk, and not in an object of usage.

use super::{MAX_TOKENS, TokenCounts};
use crate::json::RawJson;

impl TokenCounts {
    /// The numbers of vendors that have no object for them.
    pub(crate) fn bare_field(&mut self, name: &[u8], value: RawJson<'_>) {
        match name {
            // Ollama: docs/api.md, "Generate a completion". Titan at Bedrock: userguide, model-parameters-titan-text and -titan-embed;
            // whole answers have the output in each result. Llama at Bedrock: userguide, model-parameters-meta.
            b"prompt_eval_count" | b"inputTextTokenCount" | b"prompt_token_count" => self.bare_input(value),
            b"eval_count" | b"totalOutputTextTokenCount" | b"generation_token_count" => {
                self.number(value, |counts| &mut counts.output);
            }
            b"results" => {
                for count in value.elements().filter_map(|result| result.field("tokenCount")) {
                    let before = self.output.unwrap_or(0);
                    self.number(count, |counts| &mut counts.output);
                    self.output = self.output.map(|count| count.saturating_add(before).min(MAX_TOKENS));
                }
            }
            // Cohere's chat of version 1, and embeddings: docs.cohere.com, `meta`. What is billed counts where nothing else does.
            b"meta" if value.is_object() => {
                if let Some(tokens) = value.field("tokens").or_else(|| value.field("billed_units")) {
                    self.read(tokens);
                }
            }
            _ => {}
        }
    }

    /// The input, where that alone shows that there is a usage.
    fn bare_input(&mut self, value: RawJson<'_>) {
        self.seen |= !value.is_null();
        self.number(value, |counts| &mut counts.input);
    }

    /// Reads `amazon-bedrock-invocationMetrics`, which Bedrock adds to the last chunk of a stream of any model: the numbers that the
    /// model's own events do not have. assumed: as everywhere at Bedrock, its input is without what came from the cache.
    pub(crate) fn read_metrics(&mut self, metrics: RawJson<'_>) {
        let mut other = Self::default();
        metrics.for_each_field(|name, value| match name {
            b"inputTokenCount" => other.bare_input(value),
            b"outputTokenCount" => other.number(value, |counts| &mut counts.output),
            _ => other.field(name, value),
        });
        if self.input.is_none() {
            *self = Self { output: other.output.or(self.output), tier: self.tier, ..other };
        } else if self.output.is_none() {
            self.output = other.output;
        }
    }
}
