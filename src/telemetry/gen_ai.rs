//! The names of OpenTelemetry's semantic conventions for generative AI, of one version, and those that Langfuse reads.
//!
//! Source: `open-telemetry/semantic-conventions-genai`, schema 1.42.0, `docs/gen-ai/gen-ai-spans.md` and `gen-ai-metrics.md`; all
//! of it has the status Development, so it stands here and nowhere else. Langfuse:
//! `https://langfuse.com/integrations/native/opentelemetry`, "Property mapping".

use llm::provider::{Operation, without_query};

/// The schema of the names of this file.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/gen-ai/1.42.0";

pub const OPERATION: &str = "gen_ai.operation.name";
pub const PROVIDER: &str = "gen_ai.provider.name";
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// In seconds.
pub const TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
/// Cached tokens included.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub const CACHE_READ_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub const CACHE_WRITE_TOKENS: &str = "gen_ai.usage.cache_write.input_tokens";
pub const REASONING_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";

/// JSON, with `BROKER_TRACE_CONTENT=full`: see [`llm::otel_messages`].
pub const INPUT_MESSAGES: &str = "gen_ai.input.messages";
pub const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
pub const SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";

/// Of the general conventions.
pub const ERROR_TYPE: &str = "error.type";
pub const HTTP_ROUTE: &str = "http.route";
pub const HTTP_STATUS: &str = "http.response.status_code";
pub const HTTP_RESENDS: &str = "http.request.resend_count";

/// Ours: no convention has them.
pub const CALL_ID: &str = "broker.call.id";
pub const CALL_CLASS: &str = "broker.call.class";
pub const CALL_ATTEMPTS: &str = "broker.call.attempts";
pub const TRACE_IDS: &str = "broker.call.trace_ids";
pub const VIA: &str = "broker.call.via";
pub const REPLICA: &str = "broker.replica";
pub const ROUTER: &str = "broker.router";
pub const ATTEMPT: &str = "broker.attempt.number";
pub const TRANSACTION: &str = "broker.attempt.transaction";
pub const FAILURE: &str = "broker.attempt.failure";
pub const DECISION_ID: &str = "broker.decision.id";
pub const DECISION_P: &str = "broker.decision.p";
pub const DECISION_WHY: &str = "broker.decision.why";
pub const DECISION_PROBE: &str = "broker.decision.probe";
/// The row of the price table by which the cost was computed.
pub const PRICE: &str = "broker.price";
/// The tokens were not counted by the vendor.
pub const USAGE_ESTIMATED: &str = "broker.usage.estimated";

/// Langfuse: of the trace, on every span.
pub const LANGFUSE_NAME: &str = "langfuse.trace.name";
pub const LANGFUSE_USER: &str = "langfuse.user.id";
pub const LANGFUSE_SESSION: &str = "langfuse.session.id";
pub const LANGFUSE_TAGS: &str = "langfuse.trace.tags";
/// Metadata: only what has this prefix can be filtered by.
pub const LANGFUSE_CALL: &str = "langfuse.trace.metadata.call_id";
pub const LANGFUSE_POOL: &str = "langfuse.trace.metadata.pool";
pub const LANGFUSE_ROUTER: &str = "langfuse.trace.metadata.router";
pub const LANGFUSE_ASKED: &str = "langfuse.trace.metadata.model";
pub const LANGFUSE_CLASS: &str = "langfuse.trace.metadata.class";
pub const LANGFUSE_TRACE_ID: &str = "langfuse.trace.metadata.trace_id";
/// Langfuse: of one span.
pub const LANGFUSE_TYPE: &str = "langfuse.observation.type";
pub const LANGFUSE_LEVEL: &str = "langfuse.observation.level";
pub const LANGFUSE_STATUS: &str = "langfuse.observation.status_message";
pub const LANGFUSE_MODEL: &str = "langfuse.observation.model.name";
/// The body of the request, as the client sent it, and that of its answer; see `BROKER_TRACE_CONTENT`.
pub const LANGFUSE_INPUT: &str = "langfuse.observation.input";
pub const LANGFUSE_OUTPUT: &str = "langfuse.observation.output";
/// JSON: tokens by kind, each counted once.
pub const LANGFUSE_USAGE: &str = "langfuse.observation.usage_details";
/// JSON: US dollars.
pub const LANGFUSE_COST: &str = "langfuse.observation.cost_details";
pub const LANGFUSE_FIRST_TOKEN: &str = "langfuse.observation.completion_start_time";

/// The histogram of tokens per call and kind, as Prometheus spells it.
pub const TOKEN_USAGE: &str = "gen_ai_client_token_usage";
/// The histogram of the time of attempts; Prometheus adds the unit, seconds.
pub const OPERATION_DURATION: &str = "gen_ai_client_operation_duration";
/// Upper bounds of the buckets of [`TOKEN_USAGE`], in tokens.
pub const TOKEN_BUCKET_BOUNDS: [u64; 14] =
    [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];
/// Upper bounds of the buckets of [`OPERATION_DURATION`], in milliseconds.
pub const DURATION_BUCKET_BOUNDS_MS: [u64; 14] =
    [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, 81_920];

/// A provider that is not known, as a label and an attribute.
pub const UNKNOWN_PROVIDER: &str = "_OTHER";

/// What `gen_ai.provider.name` calls a provider that the price table and the pools file call so.
pub fn provider(ours: &'static str) -> &'static str {
    match ours {
        "azure" => "azure.ai.openai",
        "azure_ai" => "azure.ai.inference",
        "bedrock" | "bedrock_converse" => "aws.bedrock",
        "gemini" => "gcp.gemini",
        "vertex" | "vertex_ai" => "gcp.vertex_ai",
        "mistral" => "mistral_ai",
        "xai" => "x_ai",
        "openai_compatible" => UNKNOWN_PROVIDER,
        other => other,
    }
}

/// What `gen_ai.operation.name` calls what a whole path asks for; `None` where nothing is generated, or it is unknown.
pub fn operation(path: &str) -> Option<&'static str> {
    match Operation::of_whole_path(path) {
        Operation::Chat | Operation::Responses | Operation::Messages => Some("chat"),
        Operation::Completions => Some("text_completion"),
        Operation::Embeddings => Some("embeddings"),
        Operation::Models => None,
        Operation::Other => {
            let path = without_query(path).trim_end_matches('/');
            match path.rsplit_once(['/', ':']).map_or(path, |(_, last)| last) {
                "generateContent" | "streamGenerateContent" => Some("generate_content"),
                "converse" | "converse-stream" | "invoke" | "invoke-with-response-stream" => Some("chat"),
                "rawPredict" | "streamRawPredict" => Some("chat"),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_paths() {
        for (path, name) in [
            ("/llm/chat/completions?a=b", Some("chat")),
            ("/llm/v1/responses", Some("chat")),
            ("/llm/v1/messages", Some("chat")),
            ("/llm/completions", Some("text_completion")),
            ("/llm/embeddings/", Some("embeddings")),
            ("/llm/v1beta/models/gemini-3:streamGenerateContent", Some("generate_content")),
            ("/llm/model/anthropic.claude:0/converse-stream", Some("chat")),
            ("/llm/models", None),
            ("/llm/files", None),
            ("/llm/v1/organization/usage/completions", None),
            ("", None),
        ] {
            assert_eq!(operation(path), name, "{path}");
        }
    }

    #[test]
    fn providers_have_the_conventions_names() {
        for (ours, theirs) in [("openai", "openai"), ("azure", "azure.ai.openai"), ("vertex_ai", "gcp.vertex_ai")] {
            assert_eq!(provider(ours), theirs);
        }
    }
}
